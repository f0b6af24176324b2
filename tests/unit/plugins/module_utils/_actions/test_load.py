# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module is loaded, refused or replaced, against a kernel in memory; module files real and made to order."""

import errno

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_file
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from fake_kernel import FakeModule
from loading_kernel import LoadingHost

HEALTHY = builders.unpacked('healthy-6.1')


UNKNOWN = {'answer': 'unknown', 'reason': 'nobody looked', 'hits': []}
OLD = {'srcversion': 'OLD'}
NEW = {'srcversion': 'NEW'}


@pytest.fixture
def host(monkeypatch):
    return LoadingHost(monkeypatch)


# --- loading ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_load(check_mode, host, path):
    kernel = host.start()
    result = host.load(path, check_mode=check_mode, params={'count': 3, 'label': 'two words'})
    assert (result['changed'], result['verdict'], result['name']) == (True, 'loadable', 'foo')
    assert (result['before'], result['kernel_log'], result['warnings']) == ({'state': 'absent'}, [], [])
    assert (result['after']['state'], result['after']['srcversion']) == ('live', 'NEW')
    assert result['after']['parameters'] == result['parameters'] == {'count': '3', 'label': 'two words'}
    assert result['diff'] == {'before': result['before'], 'after': result['after']}
    assert result['msg'] == 'foo %s loaded.' % ('would be' if check_mode else 'is')
    assert kernel.calls == ([] if check_mode else ['init_module foo count=3 label="two words"'])


def test_check_mode_foresees_what_is_done(host, path):
    host.start()
    foreseen = host.load(path, check_mode=True, params={'count': 3})
    done = host.load(path, params={'count': 3})
    for key in ('changed', 'name', 'verdict', 'reason', 'before', 'after', 'parameters', 'diff', 'warnings'):
        assert foreseen[key] == done[key], key


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_the_second_run_changes_nothing(check_mode, host, path):
    kernel = host.start()
    host.load(path, params={'count': 3})
    kernel.calls.clear()
    result = host.load(path, check_mode=check_mode, params={'count': '0x3'}, replace=True)
    assert (result['changed'], result['verdict']) == (False, 'same_build')
    assert result['before'] == result['after']
    assert result['msg'] == 'foo is loaded (srcversion NEW).'
    assert kernel.calls == []


def test_real_files_are_told_apart_by_their_build_id(host, tmp_path):
    described = module_file.describe(HEALTHY, 'healthy.ko')
    kernel = host.start(release=described['release'], vermagic=described['vermagic'], crc=described['crc'],
                        compiler=described['compilers'][0])
    path = tmp_path / 'healthy.ko'
    path.write_bytes(HEALTHY)
    assert host.load(path)['changed'] is True
    assert host.load(path)['verdict'] == 'same_build'
    build_id = bytes.fromhex(kernel.modules['healthy'].build_id)
    path.write_bytes(HEALTHY.replace(build_id, build_id[::-1]))
    error = host.load_refused(path)
    assert (error.facts['verdict'], error.facts['changed']) == ('other_build', False)
    assert 'build id %s and not %s' % (build_id.hex(), build_id[::-1].hex()) in str(error)
    assert kernel.calls == ['init_module healthy ']


def test_a_layout_that_gets_stuck_never_reaches_the_kernel(host):
    padded = builders.MODULE_FILES / 'layout_pad-6.1.ko.xz'
    described = module_file.read(str(padded))
    kernel = host.start(release=described['release'], vermagic=described['vermagic'], crc=described['crc'])
    error = host.load_refused(padded)
    assert (error.facts['verdict'], error.facts['changed']) == ('layout_mismatch', False)
    assert 'exit at 864 instead of 848' in str(error)
    assert 'kmod_build' in str(error)
    assert kernel.calls == []


# id: (modules, what the kernel is, what the file has, options): verdict
REFUSED = {
    'unknown parameter': ([], {}, None, {'params': {'bogus': 1}}, 'bad_parameter'),
    'other build': ([FakeModule('foo', **OLD)], {}, None, {}, 'other_build'),
    'coming': ([FakeModule('foo', state='coming', refcount=2, oopses=[builders.oops('foo')], **NEW)], {}, None,
               {'replace': True}, 'stuck'),
    'going': ([FakeModule('foo', state='going', refcount=0, **NEW)], {}, None, {'replace': True}, 'stuck'),
    'permanent': ([FakeModule('foo', exit=0, cleanup=1, **NEW)], {}, None, {'replace': True}, 'stuck'),
    'another release': ([], {'vermagic': '6.12 SMP ', 'release': '6.12'}, None, {}, 'vermagic_differs'),
    'another machine': ([], {'arch': 'aarch64'}, None, {}, 'vermagic_differs'),
    'unsigned': ([], {'module_signatures': 'enforced'}, None, {}, 'unsigned'),
    'modules_disabled': ([], {'modules_disabled': 1}, None, {}, 'load_disabled'),
    'depends': ([FakeModule('bar')], {}, ('depends=bar,no-such',), {}, 'depends_missing'),
    'modules_disabled, to replace': ([FakeModule('foo', **OLD)], {'modules_disabled': 1}, None, {'replace': True},
                                     'load_disabled'),
    'depends, stuck': ([FakeModule('bar', state='coming')], {}, ('depends=bar',), {}, 'depends_missing'),
}


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
@pytest.mark.parametrize('case', REFUSED)
def test_refused_before_the_kernel_sees_it(case, check_mode, host, path):
    modules, facts, info, options, verdict = REFUSED[case]
    kernel = host.start(*modules, **facts)
    if info:
        path.write_bytes(builders.module_with(*info))
    state = kernel.state()
    error = host.load_refused(path, check_mode=check_mode, **options)
    assert (error.facts['verdict'], error.facts['changed']) == (verdict, False)
    assert error.facts['before'] == error.facts['after']
    assert error.next_step
    assert kernel.calls == []
    assert kernel.state() == state


def test_what_is_missing_is_named(host, path):
    host.start(FakeModule('bar'))
    path.write_bytes(builders.module_with('depends=bar,no-such'))
    assert str(host.load_refused(path)).endswith(
        'foo needs no_such, not loaded. Load it first: modprobe -a no_such.')


def test_a_dependency_that_is_built_in_is_there(host, path):
    kernel = host.start(FakeModule('bar'))
    kernel.builtin = ['quiet']
    path.write_bytes(builders.module_with('depends=bar,quiet'))
    assert host.load(path)['changed'] is True


def test_a_module_that_is_built_in(host, path):
    kernel = host.start()
    kernel.builtin = ['foo']
    error = host.load_refused(path)
    assert (error.facts['verdict'], error.facts['before']) == ('builtin', {'state': 'builtin'})


def test_a_wedged_loader_is_left_alone(host, path):
    kernel = host.start()
    kernel.oopses = [builders.oops('')]
    assert host.load_refused(path).facts['verdict'] == 'loader_wedged'
    assert kernel.calls == []


@pytest.mark.parametrize('changes', [{}, {'shows': {'own': None}}], ids=['shown', 'hidden'])
def test_other_parameters_are_a_warning_or_a_new_load(changes, host, path):
    kernel = host.start(FakeModule('foo', parameters={'count': '1'}, **NEW))
    result = host.load(path, params={'count': 2, 'own': 3})
    assert (result['changed'], result['verdict'], kernel.calls) == (False, 'parameters_differ', [])
    assert len(result['warnings']) == 2
    kernel.shows = changes.get('shows', {})
    result = host.load(path, params={'count': 2, 'own': 3}, replace=True)
    assert (result['changed'], result['after']['parameters']['count']) == (True, '2')
    assert kernel.calls == ['delete_module foo', 'init_module foo count=2 own=3']
    assert is_unavailable(result['after']['parameters']['own']) is bool(changes)


def test_a_parameter_that_did_not_arrive_is_a_warning(host, path):
    kernel = host.start()
    kernel.shows = {'count': '4'}
    assert host.load(path, params={'count': 3, 'label': 'x'})['warnings'] == [
        'foo was loaded with count=3 and shows it as 4.']


# --- another build in its place -----------------------------------------------------------------------------------

@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_replace(check_mode, host, path):
    kernel = host.start(FakeModule('foo', **OLD))
    result = host.load(path, replace=True, check_mode=check_mode)
    assert (result['changed'], result['verdict']) == (True, 'other_build')
    assert (result['before']['srcversion'], result['after']['srcversion']) == ('OLD', 'NEW')
    assert result['unload'] == {'verdict': 'unloadable', 'reason': 'foo is live and unused.', 'method': 'plain',
                                'hazards': [], 'after': 'absent'}
    assert kernel.calls == ([] if check_mode else ['delete_module foo', 'init_module foo '])


# id: (modules): words of the reason
STAYS = {
    'held': ([FakeModule('foo', refcount=2, holders={'mounts': [builders.holder('mount /mnt')]}, **OLD)], 'mount /mnt'),
    'leaked': ([FakeModule('foo', refcount=3, **OLD)], 'they are leaked'),
    'in use by somebody unseen': ([FakeModule('foo', refcount=3, reachability=UNKNOWN, **OLD)], 'could not be seen'),
    'a task of a process in its code': ([FakeModule('foo', tasks=[builders.task()], **OLD)], 'insmod (pid 1876'),
    'used': ([FakeModule('foo', refcount=2, **OLD), FakeModule('bar', uses=['foo'])], 'used by the modules bar'),
}


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
@pytest.mark.parametrize('case', STAYS)
def test_what_does_not_go_by_plain_means_stays(case, check_mode, host, path):
    modules, words = STAYS[case]
    kernel = host.start(*modules)
    state = kernel.state()
    error = host.load_refused(path, replace=True, check_mode=check_mode)
    assert (error.facts['verdict'], error.facts['changed']) == ('replace_refused', False)
    assert words in error.facts['reason']
    assert error.facts['unload']['method'] == 'none'
    assert 'kmod_force_unload with name=foo' in error.next_step
    assert kernel.state() == state
    assert kernel.calls == []


def test_a_kernel_that_will_not_let_it_go(host, path):
    kernel = host.start(FakeModule('foo', **OLD))
    kernel.delete_errors = [errno.EAGAIN]
    error = host.load_refused(path, replace=True)
    assert (error.facts['verdict'], error.facts['changed']) == ('replace_refused', False)
    assert 'the kernel answered EAGAIN' in str(error)
    assert str(error).endswith('Run the task again: it reads what holds the module now.')
    assert kernel.calls == ['delete_module foo']


@pytest.mark.parametrize('files', [{}, {'foo': '/lib/modules/6.1/extra/foo.ko'}], ids=['no file', 'a file'])
def test_where_the_new_build_fails_the_old_one_is_gone_and_that_is_said(files, host, path):
    kernel = host.start(FakeModule('foo', **OLD))
    kernel.answer, kernel.files = errno.ENOENT, files
    error = host.load_refused(path, replace=True)
    assert (error.facts['verdict'], error.facts['changed']) == ('kernel_refused', True)
    assert error.facts['after'] == {'state': 'absent'}
    assert 'The build that was loaded before is unloaded by now.' in str(error)
    assert ('/lib/modules/6.1/extra/foo.ko is loaded again by modprobe foo.' in str(error)) is bool(files)
