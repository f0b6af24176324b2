# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's compilers: directories made for the test, and programs that print what compilers print."""

import os
import sys
import time

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import host_compilers
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import compiler_choice

GCC12 = 'x86_64-linux-gnu-gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0'
CLANG = 'Debian clang version 14.0.6'


class Host:
    """A root directory with programs in it; ``runs`` are the paths that were run, below the root."""

    def __init__(self, root):
        self.root, self.runs, self.answers = root, [], {}

    def program(self, place, text=GCC12, mode=0o755):
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(place)
        path.chmod(mode)
        self.answers[place] = text

    def link(self, place, target):
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def run(self, path):
        assert os.access(path, os.X_OK)
        place = os.path.relpath(path, str(self.root))
        self.runs.append(place)
        answer = self.answers[place]
        if isinstance(answer, OSError):
            raise answer
        return answer

    def found(self, search='/usr/local/bin:/usr/bin'):
        return host_compilers.found(str(self.root), search, self.run)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_debian_s_names_of_one_compiler(host):
    host.program('usr/bin/x86_64-linux-gnu-gcc-12')
    host.link('usr/bin/gcc-12', 'x86_64-linux-gnu-gcc-12')
    host.link('usr/bin/gcc', 'gcc-12')
    host.link('usr/bin/x86_64-linux-gnu-gcc', 'gcc-12')
    host.link('usr/bin/cc', '/etc/alternatives/cc')
    host.link('etc/alternatives/cc', '/usr/bin/gcc')
    found = host.found()
    assert [(entry['command'], entry['target'], entry['text']) for entry in found] == [
        ('cc', '', 'cc (Debian 12.2.0-14+deb12u1) 12.2.0'),
        ('gcc', '', 'gcc (Debian 12.2.0-14+deb12u1) 12.2.0'),
        ('gcc-12', '', 'gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0'),
        ('x86_64-linux-gnu-gcc', 'x86_64-linux-gnu', 'x86_64-linux-gnu-gcc (Debian 12.2.0-14+deb12u1) 12.2.0'),
        ('x86_64-linux-gnu-gcc-12', 'x86_64-linux-gnu', GCC12),
    ]
    assert len(host.runs) == 1
    for entry in found:
        assert entry['path'] == '/usr/bin/' + entry['command']
        assert {key: entry[key] for key in ('family', 'version', 'major', 'vendor')} == {
            'family': 'gcc', 'version': '12.2.0', 'major': '12', 'vendor': 'Debian 12.2.0-14+deb12u1'}
        assert not is_unavailable(entry)


# name: the prefix, None for what is no compiler
NAMES = {
    'gcc': '', 'cc': '', 'clang': '', 'gcc-4.8': '', 'gcc-12': '', 'gcc12': '', 'clang-14': '', 'gcc10-gcc': '',
    'gcc-13.2.1': '', 'aarch64-linux-gnu-gcc-12': 'aarch64-linux-gnu', 'arm-linux-gnueabihf-gcc': 'arm-linux-gnueabihf',
    'x86_64-pc-linux-gnu-gcc-13': 'x86_64-pc-linux-gnu', 'aarch64-linux-gnu-clang': 'aarch64-linux-gnu',
    'gcc-ar': None, 'gcc-ar-12': None, 'x86_64-linux-gnu-gcc-nm-12': None, 'afl-gcc': None, 'musl-gcc': None,
    'c99-gcc': None, 'clang++': None, 'clang-format-14': None, 'g++': None, 'ccache': None, 'gccgo': None,
    'clang-cl': None, 'gcc-': None, 'gcc.bak': None, 'mygcc': None,
}


@pytest.mark.parametrize('name', NAMES)
def test_names(name, host):
    host.program('usr/bin/' + name)
    assert [entry['target'] for entry in host.found()] == ([] if NAMES[name] is None else [NAMES[name]])


def test_the_first_directory_of_the_path_wins(host):
    host.program('usr/local/bin/gcc', 'gcc (GCC) 13.1.0')
    host.program('usr/bin/gcc', 'gcc (GCC) 12.1.0')
    assert [(entry['path'], entry['version']) for entry in host.found()] == [('/usr/local/bin/gcc', '13.1.0')]


def test_a_directory_by_two_names(host):
    host.program('usr/bin/gcc')
    host.link('bin', 'usr/bin')
    assert [entry['path'] for entry in host.found('/bin:/usr/bin')] == ['/bin/gcc']


@pytest.mark.parametrize('search', ['', 'bin:.:usr/bin', '/nowhere', '/usr/bin/gcc'],
                         ids=['none', 'relative', 'missing', 'a file'])
def test_odd_paths(search, host):
    host.program('usr/bin/gcc')
    assert host.found(search) == []


def test_software_collections(host):
    for place in ('devtoolset-9', 'gcc-toolset-12', 'python27', 'gcc-toolset-12.old'):
        host.program('opt/rh/%s/root/usr/bin/gcc' % place, 'gcc (GCC) 9.3.1 20200408 (Red Hat 9.3.1-2)')
    (host.root / 'opt/rh/devtoolset-11').mkdir()
    assert [(entry['command'], entry['path'], entry['target'], entry['text']) for entry in host.found()] == [
        (path, path, '', 'gcc (GCC) 9.3.1 20200408 (Red Hat 9.3.1-2)') for path in (
            '/opt/rh/devtoolset-9/root/usr/bin/gcc', '/opt/rh/gcc-toolset-12/root/usr/bin/gcc')]


def test_a_link_to_another_program_is_a_compiler_of_its_own(host):
    host.program('usr/bin/ccache', None)
    for name, text in (('gcc', 'gcc (GCC) 12.1.0'), ('clang', CLANG)):
        host.link('usr/lib64/ccache/' + name, '../../bin/ccache')
        host.answers['usr/lib64/ccache/' + name] = text
    assert {entry['command']: entry['version'] for entry in host.found('/usr/lib64/ccache')} == {
        'gcc': '12.1.0', 'clang': '14.0.6'}


def test_clang_keeps_its_words(host):
    host.program('usr/lib/llvm-14/bin/clang', CLANG)
    host.link('usr/bin/clang-14', '../lib/llvm-14/bin/clang')
    [entry] = host.found()
    assert (entry['command'], entry['path'], entry['family'], entry['version'], entry['text']) == (
        'clang-14', '/usr/bin/clang-14', 'clang', '14.0.6', CLANG)


# id: (how the program is, words of the reason)
BROKEN = {
    'ends with an error': (OSError('/usr/bin/gcc --version ended with 1'), 'ended with 1'),
    'cannot be started': (OSError(8, 'Exec format error'), 'usr/bin/gcc: Exec format error'),
    'prints nothing that is known': ('ccache version 4.8', "--version begins with 'ccache version 4.8'"),
    'prints nothing': ('', "begins with ''"),
}


@pytest.mark.parametrize(('answer', 'why'), BROKEN.values(), ids=list(BROKEN))
def test_one_that_cannot_be_run_says_why(answer, why, host):
    host.program('usr/bin/gcc', answer)
    host.program('usr/bin/gcc-12')
    broken, sound = host.found()
    assert is_unavailable(broken)
    assert why in broken['unavailable']
    assert (broken['family'], broken['version'], broken['vendor']) == (None, None, '')
    assert not is_unavailable(sound)
    kernel = dict(sound, command='gcc')
    assert compiler_choice.choose_compiler(kernel, [broken, sound])['cc'] == 'gcc-12'
    assert compiler_choice.choose_compiler(kernel, [broken]) is None


def test_what_is_no_program_is_passed_over(host):
    host.program('usr/bin/gcc-9', mode=0o644)
    host.link('usr/bin/gcc-10', 'nowhere')
    host.link('usr/bin/gcc-11', 'gcc-11')
    (host.root / 'usr/bin/gcc').mkdir()
    assert host.found() == []


# --- real programs ------------------------------------------------------------------------------------------------

def script(directory, text):
    path = directory / 'gcc'
    path.write_text('#!%s\n%s' % (sys.executable, text))
    path.chmod(0o755)
    return str(path)


def test_first_line(tmp_path):
    path = script(tmp_path, 'import os, sys\nprint(sys.argv[1:], os.environ["LC_ALL"], sys.stdin.read())\nprint(2)')
    assert host_compilers.first_line(path) == "['--version'] C "


@pytest.mark.parametrize(('text', 'why'), [
    ('raise SystemExit(3)', 'ended with 3'), ('', 'prints nothing'),
    ('import sys; sys.stdout.buffer.write(b"\\xff\\n")', None)], ids=['error', 'nothing', 'no UTF-8'])
def test_first_line_of_what_is_no_compiler(text, why, tmp_path):
    path = script(tmp_path, text)
    if why is None:
        assert host_compilers.first_line(path) == '\N{REPLACEMENT CHARACTER}'
    else:
        with pytest.raises(OSError, match=why):
            host_compilers.first_line(path)


def test_first_line_of_what_is_no_program(tmp_path):
    (tmp_path / 'gcc').write_text('no program')
    (tmp_path / 'gcc').chmod(0o755)
    with pytest.raises(OSError, match='Exec format error'):
        host_compilers.first_line(str(tmp_path / 'gcc'))


def test_one_that_hangs_ends_with_its_children(tmp_path, monkeypatch):
    monkeypatch.setattr(host_compilers, 'DEADLINE', 1.5)
    path = script(tmp_path, 'import subprocess, sys\n'
                  'subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"])')
    start = time.monotonic()
    [entry] = host_compilers.found(search=str(tmp_path))[:1]
    assert entry['unavailable'] == path + ' --version did not end within 1.5 seconds'
    assert time.monotonic() - start < 20
