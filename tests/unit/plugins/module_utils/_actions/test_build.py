# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds by kbuild: a make that stands in for it, real directories, and what is left behind."""

import errno
import json
import stat
import sys
import time
from pathlib import Path

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import build
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import trust
from kbuild_workshop import COMPILER, CONFIG, GCC_LINE, Workshop, program


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    return Workshop(tmp_path, monkeypatch)


def test_build(workshop):
    result = workshop.build(jobs=3, make_args=['CONFIG_DEBUG_INFO='])
    path = str(workshop.dest / 'foo.ko')
    assert result['changed'] is True
    assert result['modules'] == [{
        'name': 'foo', 'path': path, 'signed': False, 'sha256': build.digest(path), 'layout': builders.LAYOUT,
        'verdict': 'match', 'severity': 'ok',
        'reason': "Struct module has the kernel's layout; it names no C compiler.",
        'vermagic': '%s SMP preempt mod_unload modversions ' % builders.RELEASE}]
    assert (result['msg'], result['warnings']) == ('Built %s.' % path, [])
    assert result['compiler'] == {'cc': 'gcc-12', 'llvm': False, 'family': 'gcc', 'version': '12.2.0', 'same': True,
                                  'version_text': GCC_LINE, 'reason': 'the kernel was built by gcc 12.2.0'}
    [run] = workshop.runs()
    assert run['arguments'] == ['-C', str(workshop.kdir), 'M=' + run['tree'], '-j3', 'CC=gcc-12', 'CONFIG_DEBUG_INFO=',
                                'modules']
    assert (run['stdin'], run['lc_all']) == ('', 'C')
    assert run['seen'] == ['Kbuild', 'foo.c']


def test_only_the_modules_and_the_stamp_are_left(workshop):
    before = workshop.left()
    workshop.build()
    assert set(workshop.left()) - set(before) == {str(workshop.dest / 'foo.ko'), str(workshop.dest / trust.STAMP)}
    assert {path: workshop.left()[path] for path in before} == before
    assert stat.S_IMODE((workshop.dest / 'foo.ko').stat().st_mode) == 0o644
    assert not Path(workshop.runs()[0]['tree']).exists()


def test_the_default_destination_is_the_source(workshop):
    workshop.build(dest=None)
    assert (workshop.src / 'foo.ko').exists()
    again = workshop.build(dest=None)
    assert again['changed'] is False
    assert [run['seen'] for run in workshop.runs()] == [['Kbuild', 'foo.c']]


def test_several_modules_below_several_directories(workshop):
    for name in ('bar', 'sub_baz'):
        workshop.makes(name)
    result = workshop.build()
    assert sorted(module['path'] for module in result['modules']) == [
        str(workshop.dest / name) for name in ('bar.ko', 'foo.ko', 'sub_baz.ko')]


def test_products_of_an_earlier_build_are_no_sources(workshop):
    for name in ('foo.o', 'foo.ko', 'foo.mod.c', '.foo.ko.cmd', 'Module.symvers', 'sub/modules.order', '.git/config'):
        builders.write(workshop.src, name, '')
    builders.write(workshop.src, 'sub/deep.h', '')
    workshop.build()
    assert workshop.runs()[0]['seen'] == ['Kbuild', 'foo.c', 'sub/deep.h']


@pytest.mark.parametrize('target', ['../shared/inc', '{tmp}/shared/inc'], ids=['relative', 'absolute'])
def test_what_links_lead_to_is_built_and_a_change_of_it_is_seen(target, workshop, tmp_path):
    builders.write(tmp_path, 'shared/inc/deep.h', 'old')
    (workshop.src / 'inc').symlink_to(target.format(tmp=tmp_path))
    (workshop.src / 'linked.h').symlink_to(target.format(tmp=tmp_path) + '/deep.h')
    (workshop.src / 'nowhere.h').symlink_to('no/such/file')
    workshop.build()
    assert workshop.runs()[0]['seen'] == ['Kbuild', 'foo.c', 'inc/deep.h', 'linked.h']
    assert not workshop.build()['changed']
    builders.write(tmp_path, 'shared/inc/deep.h', 'new')
    assert workshop.build()['changed']


def test_links_in_a_circle_come_to_an_end(workshop):
    (workshop.src / 'again').symlink_to('.')
    assert workshop.build()['changed']


GIVEN = {'src': None, 'files': {'Kbuild': 'obj-m := foo.o\n', 'foo.c': '/* gr\u00fcn */'}}


def test_files_that_are_given_are_built_and_none_of_them_is_left(workshop):
    assert workshop.build(check_mode=True, **GIVEN)['changed']
    assert not workshop.dest.exists()
    result = workshop.build(**GIVEN)
    assert result['msg'] == f'Built {workshop.dest / "foo.ko"}.'
    assert workshop.runs()[0]['seen'] == ['Kbuild', 'foo.c']
    assert sorted(path.name for path in workshop.dest.iterdir()) == ['.kmod_build.json', 'foo.ko']
    assert not workshop.build(**GIVEN)['changed']
    changed = dict(GIVEN, files=dict(GIVEN['files'], **{'foo.c': 'other'}))
    assert workshop.build(check_mode=True, **changed)['changed']


@pytest.mark.parametrize('name', ['../foo.c', 'sub/foo.c', '/foo.c', '.foo.c', '', 'foo.c\n', 'foo\0.c', '-o'])
def test_a_name_that_leads_elsewhere_is_refused(workshop, name):
    before = workshop.left()
    refusal = workshop.refused(src=None, files=dict(GIVEN['files'], **{name: 'x'}))
    assert 'in files is no file\'s name' in str(refusal)
    assert workshop.left() == before


@pytest.mark.parametrize(('files', 'why'), [
    ({'foo.c': ''}, 'neither Kbuild nor Makefile'), ({}, 'neither Kbuild nor Makefile'),
    ({'Kbuild': '', 'foo.c': None}, 'foo.c in files has no text'),
    ({'Kbuild': {'a': 1}}, 'Kbuild in files has no text')])
def test_files_that_cannot_be_built_are_told(workshop, files, why):
    assert why in str(workshop.refused(src=None, files=files))


def test_what_would_be_removed_is_still_there(workshop):
    workshop.build()
    before = workshop.left()
    assert workshop.build(src=None, state='clean', check_mode=True)['msg'].startswith('Would remove ')
    assert workshop.left() == before
    assert workshop.build(src=None, state='clean')['msg'].startswith('Removed ')


def test_a_full_disk_leaves_the_destination_as_it_was(workshop, monkeypatch):
    workshop.build()
    builders.write(workshop.src, 'foo.c', '/* more */')
    before = workshop.left()

    def full(*_arguments, **_more):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(build.json, 'dump', full)
    assert 'No space left on device' in str(workshop.refused())
    assert workshop.left() == before


def test_what_cannot_be_removed_is_told(workshop, monkeypatch):
    workshop.build()

    def refuse(path):
        raise OSError(errno.EPERM, 'Operation not permitted', path)

    monkeypatch.setattr(build.os, 'unlink', refuse)
    error = workshop.refused(state='clean')
    assert str(error).startswith('Cannot remove %s: Operation not permitted' % (workshop.dest / 'foo.ko'))


# id: what happens between two builds
CHANGES = {
    'a source': lambda shop: builders.write(shop.src, 'foo.c', '/* more */\n'),
    'a new source': lambda shop: builders.write(shop.src, 'sub/bar.c', ''),
    'a source less': lambda shop: (shop.src / 'foo.c').unlink(),
    'the configuration': lambda shop: builders.write(shop.kdir, '.config', CONFIG + 'CONFIG_SMP=y\n'),
    'the compiler': lambda shop: program(shop.bin / 'gcc-12', COMPILER % (sys.executable, GCC_LINE + ' patched')),
    'the built file': lambda shop: (shop.dest / 'foo.ko').write_bytes(b''),
    'the built file gone': lambda shop: (shop.dest / 'foo.ko').unlink(),
    'the stamp gone': lambda shop: (shop.dest / trust.STAMP).unlink(),
    'the stamp damaged': lambda shop: (shop.dest / trust.STAMP).write_text('{"wanted"'),
    'the stamp is another thing': lambda shop: (shop.dest / trust.STAMP).write_text('[]'),
}


def test_the_second_build_changes_nothing(workshop):
    first = workshop.build()
    left = workshop.left()
    for check_mode in (False, True):
        again = workshop.build(check_mode=check_mode)
        assert (again['changed'], again['modules']) == (False, first['modules'])
        assert again['msg'] == 'Already built in %s.' % workshop.dest
        assert again['diff']['before'] == again['diff']['after'] != ''
    assert len(workshop.runs()) == 1
    assert workshop.left() == left


@pytest.mark.parametrize('change', CHANGES.values(), ids=list(CHANGES))
def test_what_calls_for_another_build(change, workshop):
    workshop.build()
    change(workshop)
    assert workshop.build(check_mode=True)['changed'] is True
    assert len(workshop.runs()) == 1
    assert workshop.build()['changed'] is True
    assert len(workshop.runs()) == 2
    assert workshop.build()['changed'] is False


def test_other_options_call_for_another_build(workshop):
    workshop.build()
    assert workshop.build(make_args=['V=1'])['changed'] is True
    assert workshop.build(make_args=['V=1'], jobs=2)['changed'] is False


def test_check_mode_builds_nothing(workshop):
    before = workshop.left()
    result = workshop.build(check_mode=True)
    assert (result['changed'], result['modules']) == (True, [])
    assert result['msg'] == 'Would be built into %s.' % workshop.dest
    assert result['diff']['before'] == ''
    assert builders.RELEASE in result['diff']['after']
    assert workshop.runs() == []
    assert workshop.left() == before
    assert not workshop.dest.exists()


# --- clean --------------------------------------------------------------------------------------------------------

def test_clean_removes_what_a_build_put_there_and_no_more(workshop):
    workshop.build()
    builders.write(workshop.dest, 'mine.ko', '')
    left = workshop.left()
    foreseen = workshop.build(state='clean', check_mode=True)
    assert workshop.left() == left
    result = workshop.build(state='clean')
    assert result == dict(foreseen, msg=foreseen['msg'].replace('Would remove', 'Removed'))
    assert result['changed'] is True
    assert set(left) - set(workshop.left()) == {str(workshop.dest / 'foo.ko'), str(workshop.dest / trust.STAMP)}
    assert result['diff']['before'].split() == [str(workshop.dest / 'foo.ko'), str(workshop.dest / trust.STAMP)]
    again = workshop.build(state='clean')
    assert (again['changed'], again['msg']) == (False, 'Nothing to remove.')


def test_clean_needs_neither_sources_nor_headers(workshop):
    workshop.build()
    for name in ('Makefile', '.config'):
        (workshop.kdir / name).unlink()
    assert workshop.build(state='clean', src='/nowhere')['changed'] is True


# --- what fails ---------------------------------------------------------------------------------------------------

def nothing(_shop):
    """What is wrong is in the options."""


def another_kernel(shop):
    shop.headers_of('6.1.0-50-amd64')


def no_kbuild(shop):
    (shop.src / 'Kbuild').unlink()


def no_module(shop):
    (shop.outcome / 'foo.ko').unlink()


def compile_error(shop):
    (shop.outcome / 'say').write_text('\n'.join('line %d\n' % number for number in range(40)) + (
        "\nfoo.c:3:1: error: unknown type name 'innt'\n"))
    (shop.outcome / 'exit').write_text('2')


def other_compiler(shop):
    (shop.bin / 'gcc-12').unlink()
    program(shop.bin / 'clang', COMPILER % (sys.executable, 'clang version 14.0.6'))


# id: (what is wrong, options, words of the error, facts beside it)
FAILURES = {
    'no source directory': (nothing, {'src': '/nowhere'}, 'no such directory on this host', {}),
    'neither Kbuild nor Makefile': (no_kbuild, {}, 'neither Kbuild nor Makefile', {}),
    'no headers': (nothing, {'kdir': '/nowhere'}, 'headers of this kernel are not there (/nowhere has no',
                   {'package': 'linux-headers-' + builders.RELEASE}),
    'headers without configuration': (lambda shop: (shop.kdir / '.config').unlink(), {}, 'has no .config',
                                      {'package': 'linux-headers-' + builders.RELEASE}),
    'headers of another kernel': (another_kernel, {}, 'are those of kernel 6.1.0-50-amd64',
                                  {'package': 'linux-headers-' + builders.RELEASE}),
    'no make': (lambda shop: (shop.bin / 'make').unlink(), {}, 'the host has no make', {'package': 'make'}),
    'no compiler': (lambda shop: (shop.bin / 'gcc-12').unlink(), {}, 'was built by gcc 12.2.0, and the host has none',
                    {'package': 'gcc-12'}),
    'a compiler of another family': (other_compiler, {}, 'gcc 12.2.0, and the host has clang', {'package': 'gcc-12'}),
    'the compiler asked for is not there': (nothing, {'cc': 'gcc-99'}, 'compiler gcc-99 cannot be run', {}),
    'no key': (nothing, {'sign_key': '/nowhere.key', 'sign_cert': '/nowhere.pub'},
               'no key file /nowhere.key', {}),
    'compile error': (compile_error, {}, "ended with 2. Its last lines:", {}),
    'no module': (no_module, {}, 'kbuild made no module', {}),
    'a module for another kernel': (lambda shop: shop.makes('foo', release='6.1.0-50-amd64'), {},
                                    'foo.ko came out for kernel 6.1.0-50-amd64', {}),
    'one module of two for another kernel': (lambda shop: shop.makes('bar', release='5.10'), {},
                                             'bar.ko came out for kernel 5.10', {}),
    'no module at all': (lambda shop: (shop.outcome / 'foo.ko').write_bytes(b'text'), {}, 'no ELF file', {}),
}


@pytest.mark.parametrize('built_before', [False, True], ids=['first', 'again'])
@pytest.mark.parametrize('row', FAILURES.values(), ids=list(FAILURES))
def test_a_failure_says_why_and_leaves_all_as_it_was(row, built_before, workshop):
    spoil, options, why, facts = row
    if built_before:
        workshop.build()
        builders.write(workshop.src, 'foo.c', '/* changed */\n')
    spoil(workshop)
    before = workshop.left()
    error = workshop.refused(**options)
    assert why in str(error)
    assert str(error).startswith('Cannot ')
    assert {key: error.facts.get(key) for key in facts} == facts
    if 'package' in facts:
        assert 'Install the package %s' % facts['package'] in str(error)
    assert workshop.left() == before
    assert workshop.dest.exists() == built_before


def test_a_compile_error_shows_the_last_lines_alone(workshop):
    compile_error(workshop)
    error = workshop.refused()
    assert "error: unknown type name 'innt'" in str(error)
    assert len(str(error).splitlines()) <= build.LAST_LINES + 2
    assert 'line 39' in str(error)
    assert 'line 5\n' not in str(error)
    assert 'line 5\n' in error.facts['output']


@pytest.mark.parametrize('option', ['dest', 'parent of dest'])
def test_a_destination_that_is_a_file(option, workshop):
    builders.write(workshop.dest.parent, 'file', '')
    path = workshop.dest.parent / 'file'
    error = workshop.refused(dest=str(path if option == 'dest' else path / 'below'))
    assert str(path) in str(error)


def test_directories_made_for_the_destination_go_with_a_failure(workshop):
    compile_error(workshop)
    workshop.refused(dest=str(workshop.dest / 'below' / 'it'))
    assert not workshop.dest.exists()


def alive(pid):
    try:
        return Path('/proc/%d/stat' % pid).read_text().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False


def test_a_build_that_takes_too_long_ends_with_all_that_it_started(workshop):
    pids = workshop.dest.parent / 'pids'
    (workshop.outcome / 'sleep').write_text(str(pids))
    start = time.monotonic()
    error = workshop.refused(timeout=3.0)
    assert time.monotonic() - start < 30
    assert 'make did not end within 3 seconds. Raise timeout.' in str(error)
    started = [int(pid) for pid in pids.read_text().split()]
    until = time.monotonic() + 10
    while any(alive(pid) for pid in started) and time.monotonic() < until:
        time.sleep(0.05)
    assert [pid for pid in started if alive(pid)] == []
    assert not workshop.dest.exists()


OS_RELEASE = '''PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
ID=debian

# a comment
VERSION_ID='12'
HOME_URL="https://www.debian.org/?a=b"
BROKEN
'''


def test_os_release(monkeypatch):
    monkeypatch.setattr(build, 'read_text', lambda _path: OS_RELEASE)
    found = build.read_os_release()
    assert (found['ID'], found['VERSION_ID'], found['HOME_URL']) == ('debian', '12', 'https://www.debian.org/?a=b')
    assert found['PRETTY_NAME'] == 'Debian GNU/Linux 12 (bookworm)'


@pytest.mark.parametrize('text', ['', 'not json', '{}', '{"wanted": 1}', '{"modules": [{}]}', '{"modules": 5}',
                                  '{"modules": [{"path": "foo.ko"}]}', '{"modules": ["foo.ko"]}'])
@pytest.mark.parametrize('state', ['built', 'clean'])
def test_whatever_the_stamp_says(text, state, workshop):
    builders.write(workshop.dest, trust.STAMP, text)
    assert workshop.build(state=state)['changed'] is True


def test_clean_removes_nothing_outside_the_destination(workshop):
    workshop.build()
    outside = workshop.dest.parent / 'precious'
    outside.write_text('')
    stamp = json.loads((workshop.dest / trust.STAMP).read_text())
    stamp['modules'].append(dict(stamp['modules'][0], path=str(outside)))
    (workshop.dest / trust.STAMP).write_text(json.dumps(stamp))
    workshop.build(state='clean')
    assert outside.exists()
    assert workshop.build()['changed'] is True
    assert outside.exists()
