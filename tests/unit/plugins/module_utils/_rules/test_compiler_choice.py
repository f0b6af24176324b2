# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which compiler to take, what kbuild is told of it, which package is missing."""

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import compiler_text
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import compiler_choice


def compiler(command, text, target='', **changes):
    """An entry of host_compilers.found."""
    parsed = compiler_text.parse_cc_line(text)
    return dict({key: parsed[key] for key in ('family', 'version', 'major', 'vendor')}, command=command, text=text,
                path='/usr/bin/' + command, target=target, **changes)


def gcc(command, version, target=''):
    return compiler(command, f'{command} (Debian {version}-1) {version}', target)


def clang(command, version, target=''):
    return compiler(command, f'Debian clang version {version}', target)


KERNELS = {
    'gcc-12': compiler_text.parse_cc_line('gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0'),
    'cross-14': compiler_text.parse_cc_line('x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0'),
    'arm': compiler_text.parse_cc_line('aarch64-linux-gnu-gcc-12 (Debian 12.2.0-14) 12.2.0'),
    'red hat 8': compiler_text.parse_cc_line('gcc (GCC) 8.5.0 20210514 (Red Hat 8.5.0-22)'),
    'clang-14': compiler_text.parse_cc_line('Debian clang version 14.0.6'),
    'unknown': compiler_text.parse_cc_line(''),
    # /proc/version of Linux 5.7 and older does not say the command.
    'banner': compiler_text.parse_version_banner('Linux version 4.18.0 (a@b) (gcc version 8.5.0 (Red Hat) (GCC)) #1'),
}
TOOLSET = '/opt/rh/gcc-toolset-12/root/usr/bin/gcc'
# id: (the kernel, the host's, cc, what the reason adds: the host's version)
CHOICES = {
    'the very one': ('gcc-12', [gcc('gcc', '8.5.0'), gcc('gcc-12', '12.2.0')], 'gcc-12', None),
    'the same by another name': ('gcc-12', [gcc('gcc', '12.2.0')], 'gcc', None),
    'a plain name before cc': ('gcc-12', [gcc('cc', '12.2.0'), gcc('gcc', '12.2.0')], 'gcc', None),
    'cc where there is no other': ('gcc-12', [gcc('cc', '12.2.0')], 'cc', None),
    'the version before the name': ('gcc-12', [gcc('gcc-12', '12.4.0'), gcc('gcc', '12.2.0')], 'gcc', None),
    'the major version before others': ('gcc-12', [gcc('gcc', '13.2.0'), gcc('gcc-12', '12.4.0')], 'gcc-12',
                                        'gcc 12.4.0'),
    'the nearest minor version': ('gcc-12', [gcc('a-gcc', '12.9.0'), gcc('gcc', '12.3.0')], 'gcc', 'gcc 12.3.0'),
    'the nearest major version': ('gcc-12', [gcc('gcc', '8.5.0'), gcc('gcc-11', '11.3.0')], 'gcc-11', 'gcc 11.3.0'),
    'of two, the newer': ('gcc-12', [gcc('gcc-11', '11.3.0'), gcc('gcc-13', '13.2.0')], 'gcc-13', 'gcc 13.2.0'),
    'a version before none': ('gcc-12', [compiler('gcc', 'gcc'), gcc('gcc-4', '4.8.5')], 'gcc-4', 'gcc 4.8.5'),
    'none is better than nothing': ('gcc-12', [compiler('gcc', 'gcc')], 'gcc', 'gcc of an unknown version'),
    'a software collection': ('gcc-12', [gcc('gcc', '8.5.0'), gcc(TOOLSET, '12.2.1')], TOOLSET, 'gcc 12.2.1'),
    'the platform compiler on Red Hat': ('red hat 8', [gcc(TOOLSET, '12.2.1'), gcc('gcc', '8.5.0')], 'gcc', None),
    'no other machine': ('gcc-12', [gcc('aarch64-linux-gnu-gcc-12', '12.2.0', 'aarch64-linux-gnu'),
                                    gcc('gcc', '11.2.0')], 'gcc', 'gcc 11.2.0'),
    'the prefix that the kernel has': ('cross-14', [
        gcc('gcc-14', '14.2.0'), gcc('x86_64-linux-gnu-gcc-14', '14.2.0', 'x86_64-linux-gnu')],
        'x86_64-linux-gnu-gcc-14', None),
    'that prefix, another version': ('cross-14', [
        gcc('gcc', '12.2.0'), gcc('x86_64-linux-gnu-gcc-13', '13.2.0', 'x86_64-linux-gnu')],
        'x86_64-linux-gnu-gcc-13', 'gcc 13.2.0'),
    'clang for clang': ('clang-14', [gcc('gcc', '14.0.6'), clang('clang-14', '14.0.6')], 'clang-14', None),
    'another clang': ('clang-14', [clang('clang', '17.0.6')], 'clang', 'clang 17.0.6'),
    'gcc for a kernel that does not say': ('unknown', [clang('clang', '14.0.6'), gcc('gcc', '12.2.0')], 'gcc',
                                           'gcc 12.2.0'),
    'a banner': ('banner', [gcc('gcc', '8.5.0'), gcc('gcc-12', '12.2.0')], 'gcc', None),
}
NO_CHOICE = {
    'nothing there': ('gcc-12', []),
    'clang cannot build for gcc': ('gcc-12', [clang('clang', '14.0.6')]),
    'gcc cannot build for clang': ('clang-14', [gcc('gcc', '14.0.6')]),
    'only one of another machine': ('gcc-12', [gcc('aarch64-linux-gnu-gcc-12', '12.2.0', 'aarch64-linux-gnu')]),
    'only one that cannot be run': ('gcc-12', [dict(gcc('gcc-12', '12.2.0'), unavailable='no memory')]),
    'only clang for a kernel that does not say': ('unknown', [clang('clang', '14.0.6')]),
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


@pytest.mark.parametrize('row', CHOICES.values(), ids=list(CHOICES))
def test_choice(row):
    name, compilers, cc, other = row
    kernel = KERNELS[name]
    for listed in (compilers, compilers[::-1]):
        choice = compiler_choice.choose_compiler(kernel, listed)
        assert choice['cc'] == cc
        [entry] = [entry for entry in compilers if entry['command'] == cc]
        assert (choice['family'], choice['version']) == (entry['family'], entry['version'])
        assert choice['llvm'] is (entry['family'] == 'clang')
        assert choice['same'] is (kernel['major'] is not None and entry['major'] == kernel['major'])
        assert choice['reason'].startswith('the kernel was built by ')
        assert choice['reason'].partition(', and the host has ')[2] == (other or '')


@pytest.mark.parametrize(('kernel', 'compilers'), NO_CHOICE.values(), ids=list(NO_CHOICE))
def test_no_choice(kernel, compilers):
    assert compiler_choice.choose_compiler(KERNELS[kernel], compilers) is None


ARM = gcc('aarch64-linux-gnu-gcc-12', '12.2.0', 'aarch64-linux-gnu')
# id: (the kernel, the host's, cc, what make is told)
CROSS = {
    'the prefix that it needs': ('arm', [gcc('gcc-12', '12.2.0'), ARM], 'aarch64-linux-gnu-gcc-12',
                                 ['ARCH=arm64', 'CROSS_COMPILE=aarch64-linux-gnu-']),
    'another version of it': ('gcc-12', [gcc('gcc-12', '12.2.0'),
                                         gcc('aarch64-linux-gnu-gcc', '10.2.1', 'aarch64-linux-gnu')],
                              'aarch64-linux-gnu-gcc', ['ARCH=arm64', 'CROSS_COMPILE=aarch64-linux-gnu-']),
    'clang has every machine': ('clang-14', [clang('clang', '14.0.6')], 'clang', ['LLVM=1', 'ARCH=arm64']),
    'the host\'s own': ('gcc-12', [gcc('gcc-12', '12.2.0')], None, []),
    'of no Linux': ('gcc-12', [gcc('aarch64-none-elf-gcc', '12.2.0', 'aarch64-none-elf')], None, []),
    'of 32 bits': ('gcc-12', [gcc('arm-linux-gnueabihf-gcc', '12.2.0', 'arm-linux-gnueabihf')], None, []),
}


@pytest.mark.parametrize('row', CROSS.values(), ids=list(CROSS))
def test_a_kernel_of_another_machine(row):
    kernel, compilers, cc, arguments = row
    choice = compiler_choice.choose_compiler(KERNELS[kernel], compilers, 'arm64')
    assert (choice and choice['cc']) == cc
    if choice:
        assert compiler_choice.make_arguments(choice, None, '6.1', 'arm64') == ['CC=' + cc] + arguments


@pytest.mark.parametrize(('cc', 'linker', 'release', 'arguments'), [
    ('clang', 'ld.lld', '6.1.0-50-amd64', ['LLVM=1']),
    ('clang-14', 'ld.lld-14', '6.1.0-50-amd64', ['LLVM=-14']),
    ('clang-14', 'ld.lld-14', '5.18', ['LLVM=-14']),
    ('clang-14', 'ld.lld-14', '5.17.15', [
        'LLVM=1', 'LD=ld.lld-14', 'AR=llvm-ar-14', 'NM=llvm-nm-14', 'OBJCOPY=llvm-objcopy-14',
        'OBJDUMP=llvm-objdump-14', 'READELF=llvm-readelf-14', 'STRIP=llvm-strip-14']),
    ('clang-14', 'ld.lld', '6.1', ['LLVM=1']),
], ids=['plain', 'suffix', '5.18', 'before 5.18', 'only a plain linker'])
def test_what_make_is_told_for_clang(cc, linker, release, arguments):
    choice = compiler_choice.choose_compiler(KERNELS['clang-14'], [clang(cc, '14.0.6')])
    assert compiler_choice.make_arguments(choice, linker, release) == ['CC=' + cc] + arguments


@pytest.mark.parametrize(('cc', 'names'), [
    ('clang-14', ['ld.lld-14', 'ld.lld']), ('clang', ['ld.lld']), ('/opt/llvm/bin/clang', ['ld.lld'])])
def test_linkers(cc, names):
    assert compiler_choice.linkers(cc) == names


@pytest.mark.parametrize(('word', 'arch'), [
    ('x86_64', 'x86'), ('i686', 'x86'), ('aarch64', 'arm64'), ('armv7l', 'arm'), ('ppc64le', 'powerpc'),
    ('s390x', 's390'), ('riscv64', 'riscv'), ('alpha', 'alpha')])
def test_arch(word, arch):
    assert compiler_choice.kernel_arch(word) == arch


@pytest.mark.parametrize(('os_release', 'headers'), DISTRIBUTIONS.values(), ids=list(DISTRIBUTIONS))
def test_packages(os_release, headers):
    assert compiler_choice.packages_for(os_release, '6.1') == {'headers': headers, 'compiler': 'gcc'}
