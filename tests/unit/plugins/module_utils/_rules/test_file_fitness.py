# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a module file suits a kernel: every verdict by the facts that it rests on."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_file
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import file_fitness
from hypothesis import given
from hypothesis import strategies as st

VERMAGIC = '6.1.0-56-amd64 SMP preempt mod_unload modversions '
OTHER_RELEASE = '6.1.0-50-amd64 SMP preempt mod_unload modversions '
CRC = 0x9060323f
HIDDEN = unavailable('nothing shows it')


def compiler(family='gcc', version='12.2.0'):
    return {'family': family, 'version': version, 'vendor': '', 'banner': ''}


def file(**changes):
    """The facts of a module file that suits :func:`kernel`."""
    vermagic = changes.get('vermagic', VERMAGIC)
    return dict({
        'name': 'foo', 'vermagic': vermagic, 'release': vermagic.split(' ')[0] if isinstance(vermagic, str) else '',
        'machine': 'x86_64', 'format': '64-bit little-endian', 'signed': False, 'depends': [], 'build_id': None,
        'crc': CRC, 'compilers': [compiler()], 'layout': dict(builders.LAYOUT, source='foo.ko'),
    }, **changes)


def kernel(**changes):
    return dict({
        'release': '6.1.0-56-amd64', 'arch': 'x86_64', 'vermagic': VERMAGIC, 'crc': CRC,
        'layout': dict(builders.LAYOUT, source='btf'), 'compiler': compiler(), 'module_signatures': 'permissive',
    }, **changes)


def moved(**changes):
    return dict(dict(builders.LAYOUT, source='foo.ko'), **changes)


REFUSED = 'vermagic_differs', 'error'
RUST = compiler('rustc', '1.85.0')
PLAIN = '7.3.4 SMP preempt mod_unload '
NEWER = {'release': '7.3.4', 'vermagic': PLAIN, 'crc': None}

# id: (the file, the kernel, verdict, severity, words of the reason)
CASES = {
    'all the same': (file(), kernel(), 'match', 'ok', 'built by its compiler, gcc 12.2.0'),
    'rustc beside gcc': (file(compilers=[compiler(), RUST]), kernel(), 'match', 'ok', 'gcc 12.2.0.'),
    'another vendor': (file(compilers=[dict(compiler(), vendor='Debian 12.2.0-14')]), kernel(), 'match', 'ok', ''),
    'no compiler named': (file(compilers=[]), kernel(), 'match', 'ok', 'names no C compiler'),
    'a linker named': (file(compilers=[compiler(None, None)]), kernel(), 'match', 'ok', 'names no C compiler'),
    'compilers not read': (file(compilers=HIDDEN), kernel(), 'match', 'ok', 'not known (nothing shows it)'),
    'compiler of the kernel not known': (file(), kernel(compiler=HIDDEN), 'match', 'ok', 'is not known'),
    'compiler of the kernel has no family': (file(), kernel(compiler=compiler(None, None)), 'match', 'ok', 'not known'),
    'vermagic of the kernel not known': (file(), kernel(vermagic=HIDDEN, crc=HIDDEN), 'match', 'ok', ''),
    'CRC of the kernel not known': (file(), kernel(crc=HIDDEN), 'match', 'ok', ''),
    'a kernel without versions': (file(vermagic=PLAIN, crc=None), kernel(**NEWER), 'match', 'ok', ''),
    'a file with versions, a kernel without': (file(vermagic=PLAIN), kernel(**NEWER), 'match', 'ok', ''),

    'another patch level': (file(compilers=[compiler(version='12.3.0')]), kernel(), 'compiler_differs', 'info',
                            'built by gcc 12.3.0, the kernel by gcc 12.2.0; struct module has the kernel\'s layout'),
    'another major': (file(compilers=[compiler(version='4.8.5')]), kernel(), 'compiler_differs', 'warning',
                      'so it will unload'),
    'another family': (file(compilers=[compiler('clang', '12.2.0')]), kernel(), 'compiler_differs', 'warning', 'clang'),
    'one object by another': (file(compilers=[compiler(), compiler(version='11.1.0')]), kernel(), 'compiler_differs',
                              'warning', 'built by gcc 11.1.0, the kernel'),
    'one near, one far': (file(compilers=[compiler(version='12.1.0'), compiler(version='11.1.0')]), kernel(),
                          'compiler_differs', 'warning', 'gcc 11.1.0 and gcc 12.1.0'),
    'majors of two digits': (file(compilers=[compiler(version='1.2.0')]), kernel(), 'compiler_differs', 'warning', ''),

    'another machine': (file(machine='aarch64'), kernel(), *REFUSED, 'file for aarch64, and this kernel is for x86_64'),
    '32-bit': (file(machine='i386', format='32-bit little-endian'), kernel(), *REFUSED, '32-bit little-endian file'),
    'i686 is i386': (file(machine='i386'), kernel(arch='i686'), 'match', 'ok', ''),
    'armv7l is arm': (file(machine='arm'), kernel(arch='armv7l'), 'match', 'ok', ''),
    'machine not known': (file(), kernel(arch=HIDDEN), 'match', 'ok', ''),
    'headline of a foreign file': (
        file(machine='s390x', vermagic='', compilers=HIDDEN, layout=HIDDEN, crc=HIDDEN), kernel(), *REFUSED, 's390x'),

    'no vermagic': (file(vermagic=''), kernel(), *REFUSED, 'names no kernel'),
    'another release, no CRC': (file(vermagic=OTHER_RELEASE, crc=None), kernel(), *REFUSED,
                                'for "6.1.0-50-amd64 SMP preempt mod_unload modversions", this kernel is'),
    'another release, the same CRC': (file(vermagic=OTHER_RELEASE), kernel(), 'vermagic_differs', 'warning',
                                      'the CRC of module_layout is the same, so the kernel passes over the release'),
    'another release, another CRC': (file(vermagic=OTHER_RELEASE, crc=1), kernel(), *REFUSED,
                                     'is 0x00000001, the kernel\'s is 0x9060323f'),
    'another release, other flags': (file(vermagic=OTHER_RELEASE.replace('preempt ', '')), kernel(), *REFUSED,
                                     'the kernel refuses it'),
    'another release, CRC not known': (file(vermagic=OTHER_RELEASE), kernel(crc=HIDDEN), 'vermagic_differs', 'warning',
                                       'cannot be told: nothing shows it'),
    'another release, a kernel without versions': (
        file(vermagic=PLAIN.replace('7.3.4', '7.3.3')), kernel(**NEWER), *REFUSED, 'the kernel refuses it'),
    'another release, neither known': (file(vermagic=OTHER_RELEASE), kernel(vermagic=HIDDEN, crc=HIDDEN),
                                       'vermagic_differs', 'warning', 'cannot be told'),
    'another release, neither known, no CRC': (file(vermagic=OTHER_RELEASE, crc=None),
                                               kernel(vermagic=HIDDEN, crc=HIDDEN), *REFUSED, 'refuses it'),
    'another CRC': (file(crc=1), kernel(), *REFUSED, 'CRC of module_layout is 0x00000001'),
    'CRC missing': (file(crc=None), kernel(), *REFUSED, 'CRC of module_layout is missing'),

    'exit elsewhere': (file(layout=moved(exit=864)), kernel(), 'layout_mismatch', 'error',
                       'exit at 864 instead of 848. It loads without a word and never goes: the kernel looks for'),
    'what to do about it': (file(layout=moved(exit=864)), kernel(), 'layout_mismatch', 'error',
                            'Build it against the headers of 6.1.0-56-amd64 with gcc 12.2.0, which built this kernel.'),
    'init elsewhere': (file(layout=moved(init=320)), kernel(), 'layout_mismatch', 'error',
                       'init at 320 instead of 312. It loads without a word, and its init does not run'),
    'both elsewhere': (file(layout=moved(init=320, exit=856)), kernel(), 'layout_mismatch', 'error',
                       'init at 320 instead of 312, exit at 856 instead of 848. It loads without a word and'),
    'another size': (file(layout=moved(size=832)), kernel(), 'layout_mismatch', 'error',
                     'size 832 instead of 896. The kernel loads it all the same'),
    'another size from 6.4 on': (file(vermagic=PLAIN, crc=None, layout=moved(size=832)), kernel(**NEWER),
                                 'layout_mismatch', 'error', 'The kernel refuses it'),
    'a layout comes before a compiler': (file(layout=moved(exit=864), compilers=[compiler('clang')]), kernel(),
                                         'layout_mismatch', 'error', ''),
    'a layout comes before another release that loads': (
        file(vermagic=OTHER_RELEASE, layout=moved(exit=864)), kernel(), 'layout_mismatch', 'error', ''),
    'what is refused comes before a layout': (file(crc=1, layout=moved(exit=864)), kernel(), *REFUSED, ''),
    'layout and compiler of the kernel not known': (
        file(layout=moved(exit=864)), kernel(compiler=HIDDEN), 'layout_mismatch', 'error',
        'Build it against the headers of 6.1.0-56-amd64.'),

    'no exit': (file(layout=moved(exit=None)), kernel(), 'match', 'ok', 'has an init and no exit: permanent by design'),
    'no exit, another init': (file(layout=moved(exit=None, init=320)), kernel(), 'layout_mismatch', 'error',
                              'permanent by design'),
    'neither init nor exit': (file(layout=moved(init=None, exit=None)), kernel(), 'match', 'ok', ''),
    'exit alone': (file(layout=moved(init=None)), kernel(), 'match', 'ok', ''),

    'unreadable': (unavailable('Cannot read it: cut.'), kernel(), 'unknown', 'warning', 'Cannot read it: cut.'),
    'not read': (None, kernel(), 'unknown', 'warning', 'was not read'),
    'layout of the kernel not known': (file(), kernel(layout=HIDDEN), 'unknown', 'warning',
                                       'This kernel\'s struct module cannot be compared: nothing shows it'),
    'layout of the file not known': (file(layout=HIDDEN), kernel(), 'unknown', 'warning', 'nothing shows it'),
    'vermagic of the file not known': (file(vermagic=HIDDEN), kernel(), 'unknown', 'warning', 'not known: nothing'),

    'unsigned where signatures are enforced': (file(), kernel(module_signatures='enforced'), 'match', 'warning',
                                               'this kernel refuses modules without one'),
    'signed where that is enforced': (file(signed=True), kernel(module_signatures='enforced'), 'match', 'ok', ''),
    'unsigned and another layout': (file(layout=moved(exit=864)), kernel(module_signatures='enforced'),
                                    'layout_mismatch', 'error', 'has no signature'),
    'signatures not known': (file(), kernel(module_signatures=HIDDEN), 'match', 'ok', ''),
}


@pytest.mark.parametrize(('built', 'running', 'verdict', 'severity', 'words'), CASES.values(), ids=list(CASES))
def test_verdict(built, running, verdict, severity, words):
    found = file_fitness.judge(built, running)
    assert (found['verdict'], found['severity']) == (verdict, severity), found
    assert words in found['reason']
    assert set(found) == {'verdict', 'severity', 'reason'}


def test_every_verdict_and_severity_is_in_the_table():
    assert {case[2] for case in CASES.values()} == set(file_fitness.VERDICTS)
    assert {case[3] for case in CASES.values()} == set(file_fitness.SEVERITIES)


FACTS = {
    'vermagic': st.sampled_from([VERMAGIC, OTHER_RELEASE, PLAIN, '', HIDDEN]),
    'crc': st.sampled_from([CRC, 1, None, HIDDEN]),
    'layout': st.sampled_from([moved(), moved(exit=864), moved(exit=None), moved(size=1), HIDDEN, None]),
}
FILES = st.fixed_dictionaries(dict(FACTS, compilers=st.sampled_from([[], [compiler()], [RUST], HIDDEN]),
                                   machine=st.sampled_from(['x86_64', 'i386']), signed=st.booleans()))
KERNELS = st.fixed_dictionaries({
    'vermagic': st.sampled_from([VERMAGIC, PLAIN, HIDDEN]), 'crc': st.sampled_from([CRC, None, HIDDEN]),
    'layout': st.sampled_from([moved(), HIDDEN]), 'compiler': st.sampled_from([compiler(), RUST, HIDDEN]),
    'arch': st.sampled_from(['x86_64', HIDDEN]), 'module_signatures': st.sampled_from(['enforced', 'off', HIDDEN])})


@given(FILES, KERNELS)
def test_any_facts_have_a_verdict_and_a_sentence(built, running):
    found = file_fitness.judge(file(**built), kernel(**running))
    assert found['verdict'] in file_fitness.VERDICTS
    assert found['severity'] in file_fitness.SEVERITIES
    assert found['reason'][0].isupper()
    assert found['reason'].endswith('.')
    assert 'None' not in found['reason']
    assert '..' not in found['reason']
    assert (found['severity'] == 'ok') <= (found['verdict'] == 'match')


# Of the module files beside the tests, judged by a Debian kernel 6.1
REAL = {
    'healthy-6.1': ('match', ''),
    'kmod_reset-6.1': ('match', ''),
    'no_exit-6.1': ('match', 'permanent by design'),
    'layout_pad-6.1': ('layout_mismatch', 'exit at 864 instead of 848'),
    'dummy-6.1-s390x': ('vermagic_differs', '64-bit big-endian file for s390x'),
    'dummy-6.1-armmp': ('vermagic_differs', '32-bit little-endian file for arm'),
}


@pytest.mark.parametrize('file_name', REAL)
def test_real_files(file_name):
    found = module_file.read(str(builders.MODULE_FILES / (file_name + '.ko.xz')))
    verdict, words = REAL[file_name]
    answer = file_fitness.judge(found, kernel())
    assert answer['verdict'] == verdict
    assert words in answer['reason']
