# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compilers by their own words, which one to take, which package is missing, whether two layouts are one."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils import _kernel, _toolchain
from hypothesis import given, settings
from hypothesis import strategies as st

# line: (command, family, version, major)
COMPILERS = {
    'gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0': ('gcc-12', 'gcc', '12.2.0', '12'),
    'gcc-10 (Debian 10.2.1-6) 10.2.1 20210110': ('gcc-10', 'gcc', '10.2.1', '10'),
    'x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0': ('x86_64-linux-gnu-gcc-14', 'gcc', '14.2.0', '14'),
    'gcc (GCC) 8.5.0 20210514 (Red Hat 8.5.0-22)': ('gcc', 'gcc', '8.5.0', '8'),
    'gcc (SUSE Linux) 7.5.0': ('gcc', 'gcc', '7.5.0', '7'),
    'gcc (GCC) 4.8.5 20150623 (Red Hat 4.8.5-44)': ('gcc', 'gcc', '4.8.5', '4'),
    'gcc (Ubuntu 9.4.0-1ubuntu1~20.04.2) 9.4.0': ('gcc', 'gcc', '9.4.0', '9'),
    'gcc-13': ('gcc-13', 'gcc', '13', '13'),
    'gcc': ('gcc', 'gcc', None, None),
    '/usr/bin/gcc-12 (Debian 12.2.0-14) 12.2.0': ('/usr/bin/gcc-12', 'gcc', '12.2.0', '12'),
    'Debian clang version 14.0.6': ('clang', 'clang', '14.0.6', '14'),
    'Ubuntu clang version 17.0.6 (9ubuntu1)': ('clang', 'clang', '17.0.6', '17'),
    'clang version 18.1.8 (Fedora 18.1.8-1.fc40)': ('clang', 'clang', '18.1.8', '18'),
    'tcc version 0.9.27': (None, None, None, None),
    '': (None, None, None, None),
}
GCC12 = _toolchain.parse_compiler('gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0')
GCC = _toolchain.parse_compiler('gcc (Debian 12.2.0-14+deb12u1) 12.2.0')
GCC8 = _toolchain.parse_compiler('gcc (GCC) 8.5.0')
CLANG = _toolchain.parse_compiler('Debian clang version 14.0.6')
CLANG17 = _toolchain.parse_compiler('clang version 17.0.6')
UNKNOWN = _toolchain.parse_compiler('')

# id: (the kernel's, those of the host, cc, LLVM=1, the same major version)
CHOICES = {
    'the very one': (GCC12, {'gcc-12': GCC12, 'gcc': GCC8}, 'gcc-12', False, True),
    'the same by another name': (GCC12, {'gcc': GCC}, 'gcc', False, True),
    'the same before the better name': (GCC12, {'gcc-12': GCC8, 'gcc': GCC}, 'gcc', False, True),
    'another version': (GCC12, {'gcc': GCC8}, 'gcc', False, False),
    'clang for clang': (CLANG, {'clang-14': CLANG, 'gcc': GCC}, 'clang-14', True, True),
    'another clang': (CLANG, {'clang': CLANG17}, 'clang', True, False),
    'unknown kernel compiler': (UNKNOWN, {'gcc': GCC}, 'gcc', False, False),
}
NO_CHOICE = {
    'nothing there': (GCC12, {}),
    'clang cannot build for gcc': (GCC12, {'gcc': CLANG}),
    'gcc cannot build for clang': (CLANG, {'gcc': GCC, 'clang': GCC}),
}
# id: (os-release, package of the headers)
DISTRIBUTIONS = {
    'debian': ({'ID': 'debian'}, 'linux-headers-6.1'),
    'ubuntu': ({'ID': 'ubuntu', 'ID_LIKE': 'debian'}, 'linux-headers-6.1'),
    'mint': ({'ID': 'linuxmint', 'ID_LIKE': 'ubuntu debian'}, 'linux-headers-6.1'),
    'rocky': ({'ID': 'rocky', 'ID_LIKE': 'rhel centos fedora'}, 'kernel-devel-6.1'),
    'fedora': ({'ID': 'fedora'}, 'kernel-devel-6.1'),
    'leap': ({'ID': 'opensuse-leap', 'ID_LIKE': 'suse opensuse'}, 'kernel-default-devel (for 6.1)'),
    'sles': ({'ID': 'sles', 'ID_LIKE': 'suse'}, 'kernel-default-devel (for 6.1)'),
    'arch': ({'ID': 'arch'}, 'linux-headers (for 6.1)'),
    'unknown': ({'ID': 'void'}, 'the headers of kernel 6.1'),
    'no os-release': ({}, 'the headers of kernel 6.1'),
}
PAD = dict(builders.LAYOUT, exit=864)


@pytest.mark.parametrize('line', COMPILERS)
def test_compiler(line):
    assert _toolchain.parse_compiler(line) == dict(zip(('command', 'family', 'version', 'major'), COMPILERS[line]))


@pytest.mark.parametrize(('kernel', 'version'), [
    ('5.10', '10.2.1'), ('6.1', '12.2.0'), ('6.12', '14.2.0'), ('7.3', '14.2.0')])
def test_compiler_of_four_kernels(kernel, version):
    config = _kernel.parse_config(builders.captured(kernel, 'config'))
    found = _toolchain.parse_compiler(config['CONFIG_CC_VERSION_TEXT'])
    assert (found['family'], found['version']) == ('gcc', version)
    # The configuration says the same in another way.
    major, minor, patch = version.split('.')
    assert int(config['CONFIG_GCC_VERSION']) == int(major) * 10000 + int(minor) * 100 + int(patch)


PIECES = st.sampled_from([
    'gcc', 'clang', '-12', ' (', ')', '((', ' 12.2.0', '.', ' clang version ', '9' * 50, ' ', 'x'])


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=60).map(''.join)))
def test_any_line_has_an_answer(line):
    found = _toolchain.parse_compiler(line)
    assert found['family'] in ('gcc', 'clang', None)
    assert (found['version'] is None) == (found['major'] is None)
    assert found['version'] is None or found['version'] in line
    assert all(_toolchain.compiler_candidates(found))


@pytest.mark.parametrize('row', CHOICES.values(), ids=list(CHOICES))
def test_choice(row):
    kernel, found, cc, llvm, same = row
    choice = _toolchain.choose_compiler(kernel, found)
    assert (choice['cc'], choice['llvm'], choice['same']) == (cc, llvm, same)
    assert choice['reason'].startswith('the kernel was built by ')
    assert ('the host has' in choice['reason']) != same


@pytest.mark.parametrize(('kernel', 'found'), NO_CHOICE.values(), ids=list(NO_CHOICE))
def test_no_choice(kernel, found):
    assert _toolchain.choose_compiler(kernel, found) is None


@pytest.mark.parametrize(('kernel', 'names'), [
    (GCC12, ['gcc-12', 'gcc', 'cc']), (GCC8, ['gcc', 'gcc-8', 'cc']), (CLANG, ['clang-14', 'clang']),
    (UNKNOWN, ['gcc', 'cc'])], ids=['gcc-12', 'gcc 8', 'clang', 'unknown'])
def test_candidates(kernel, names):
    assert _toolchain.compiler_candidates(kernel) == names


@pytest.mark.parametrize(('os_release', 'headers'), DISTRIBUTIONS.values(), ids=list(DISTRIBUTIONS))
def test_packages(os_release, headers):
    assert _toolchain.packages_for(os_release, '6.1') == {'headers': headers, 'compiler': 'gcc'}


@pytest.mark.parametrize(('built', 'differences'), [
    (builders.LAYOUT, []),
    (PAD, ['exit at 864 instead of 848']),
    (dict(builders.LAYOUT, exit=None), []),
    (dict(PAD, size=1280, init=304), ['size 1280 instead of 896', 'init at 304 instead of 312',
                                      'exit at 864 instead of 848']),
], ids=['same', 'pad before exit', 'no exit to compare', 'all'])
def test_layouts(built, differences):
    assert _toolchain.layout_differences(built, builders.LAYOUT) == differences
