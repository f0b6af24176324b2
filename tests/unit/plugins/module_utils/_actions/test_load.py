# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole load, against a kernel in memory; module files real and made to order."""

import errno
import json
import lzma

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import load
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_file, running_kernel
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import log_source
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from fake_kernel import FakeModule, LoadingHost
from hypothesis import given, settings
from hypothesis import strategies as st

HEALTHY = lzma.decompress((builders.MODULE_FILES / 'healthy-6.1.ko.xz').read_bytes())
INFO = ('parmtype=count:int', 'parm=count:How many', 'parm=own:Of its own kind', 'parmtype=label:charp')


def image(*info, name='foo', **changes):
    """A file of that name with these lines in .modinfo."""
    return builders.module_image(name='\0'.join([name, *(info or ('srcversion=NEW', *INFO))]), **changes)


UNKNOWN = {'answer': 'unknown', 'reason': 'nobody looked', 'hits': []}
OLD = {'srcversion': 'OLD'}
NEW = {'srcversion': 'NEW'}


@pytest.fixture
def host(monkeypatch):
    return LoadingHost(monkeypatch)


@pytest.fixture
def path(tmp_path):
    (tmp_path / 'foo.ko').write_bytes(image())
    return tmp_path / 'foo.ko'


# --- what is read of a file ---------------------------------------------------------------------------------------

@pytest.mark.parametrize(('name', 'has_exit'), [('healthy', True), ('no_exit', False)])
def test_a_real_file(name, has_exit):
    found = load.read_file(str(builders.MODULE_FILES / (name + '-6.1.ko.xz')))[1]
    assert found['name'] == name
    assert len(found['build_id']) == 40
    assert int(found['build_id'], 16)
    assert (found['depends'], found['parameters']) == ([], {})
    assert (found['layout']['exit'] is not None) is has_exit
    assert is_unavailable(found['srcversion']) or len(found['srcversion']) == 23


def test_the_helpers_parameters_are_those_of_its_source():
    source = (builders.CAPTURES.parents[2] / 'roles/force_unload/files/kmod_reset/main.c').read_text()
    found = load.read_file(str(builders.MODULE_FILES / 'kmod_reset-6.1.ko.xz'))[1]['parameters']
    assert found['name'] in ('charp', 'string')
    assert len(found) > 10
    assert all('(%s,' % name in source for name in found)


def test_parameters_without_words_are_known_by_their_symbols():
    names = image('parmtype=count:int', 'parm=label:Words') + b'\0__param_str_secret\0__param_str_count\0'
    assert load.identity(names, 'a.ko', 'a')['parameters'] == {'secret': None, 'count': 'int', 'label': None}


def test_an_old_file_is_called_as_its_path_says():
    assert load.identity(image(name=''), '/lib/dashed-name.ko.xz', '')['name'] == 'dashed_name'


def test_the_first_line_of_a_kind_counts():
    found = load.identity(image('srcversion=A', 'srcversion=B'), 'a.ko', 'a')
    assert found['srcversion'] == 'A'


@pytest.mark.parametrize(('content', 'why'), [
    (None, 'there is no such file. Give the path'), (b'', 'it is no ELF file'), (b'\x7fELF', 'it is '),
    (HEALTHY[:3000], 'cut short'), (image(name='a/b'), "calls itself 'a/b', which is no module's name"),
    (image(name='a' * 60), "which is no module's name")], ids=['missing', 'empty', 'magic', 'cut', 'path', 'long'])
def test_a_file_that_is_no_module(content, why, host, tmp_path):
    kernel = host.start()
    if content is not None:
        (tmp_path / 'foo.ko').write_bytes(content)
    assert why in str(host.load_refused(tmp_path / 'foo.ko'))
    assert kernel.calls == []


def test_a_directory_is_no_module(host, tmp_path):
    host.start()
    assert 'it is no regular file' in str(host.load_refused(tmp_path))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, len(HEALTHY) - 1), st.integers(0, 255)), max_size=40), st.integers(0, 99))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, changes, cut):
    damaged = bytearray(HEALTHY)
    for at, value in changes:
        damaged[at] = value
    path = tmp_path_factory.mktemp('damaged') / 'healthy.ko'
    path.write_bytes(bytes(damaged[:len(damaged) * (cut + 1) // 100]))
    try:
        found = load.read_file(str(path))[1]
    except KmodError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right, each has its own rule
    else:
        assert isinstance(found['parameters'], dict)


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
        path.write_bytes(image(*info))
    state = kernel.state()
    error = host.load_refused(path, check_mode=check_mode, **options)
    assert (error.facts['verdict'], error.facts['changed']) == (verdict, False)
    assert error.facts['before'] == error.facts['after']
    assert error.next_step
    assert kernel.calls == []
    assert kernel.state() == state


def test_what_is_missing_is_named(host, path):
    host.start(FakeModule('bar'))
    path.write_bytes(image('depends=bar,no-such'))
    assert str(host.load_refused(path)).endswith(
        'foo needs no_such, not loaded. Load it first: modprobe -a no_such.')


def test_a_dependency_that_is_built_in_is_there(host, path):
    kernel = host.start(FakeModule('bar'))
    kernel.builtin = ['quiet']
    path.write_bytes(image('depends=bar,quiet'))
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


# --- what the kernel makes of it ----------------------------------------------------------------------------------

def test_the_kernels_own_words(host, path):
    kernel = host.start()
    kernel.answer, kernel.words = errno.ENOENT, ['[  185.234789] foo: Unknown symbol bar (err -2)']
    error = host.load_refused(path)
    assert (error.facts['verdict'], error.facts['changed']) == ('kernel_refused', False)
    assert error.facts['kernel_log'] == kernel.words
    assert 'the kernel answered ENOENT because neither the kernel nor a loaded module has bar' in str(error)
    assert 'Its log says: foo: Unknown symbol bar (err -2).' in str(error)


def test_a_death_in_init(host, path):
    kernel = host.start()
    kernel.init, kernel.words = 'dies', ['[  2.5] BUG: kernel NULL pointer dereference']
    error = host.load_refused(path)
    assert (error.facts['verdict'], error.facts['changed']) == ('init_died', True)
    assert error.facts['after']['state'] == 'coming'
    assert error.facts['kernel_log'] == kernel.words
    assert 'The init of foo died: BUG: kernel NULL pointer dereference in f_init.' in str(error)
    assert 'kmod_force_unload with name=foo' in str(error)


def test_an_init_that_takes_its_time_is_left_to_finish(host, path):
    kernel = host.start()
    kernel.init = 'hangs'
    error = host.load_refused(path)
    assert (error.facts['verdict'], error.facts['changed']) == ('init_running', True)
    assert error.facts['after']['state'] == 'coming'
    assert 'has not returned within 30 seconds. The init of foo still runs: python3 (pid 77, in f_init)' in str(error)
    assert 'It is left to finish' in str(error)


def test_where_the_system_calls_are_not_known_nothing_is_tried(host, path, monkeypatch):
    host.start()
    monkeypatch.setattr(loader_syscalls, 'NUMBERS', {})
    assert 'the system call numbers of' in str(host.load_refused(path))


def test_only_what_changes_the_host_outlives_its_deadline(host, path, monkeypatch):
    seen = []

    def deadline(function, seconds, tried, outlives=False):
        seen.append((seconds, tried, outlives))
        return function()

    host.start(FakeModule('foo', **OLD))
    monkeypatch.setattr(child_process, 'with_deadline', deadline)
    host.load(path, replace=True, timeout=7)
    assert all(seconds == 7 for seconds, _tried, _outlives in seen)
    assert [tried for _seconds, tried, outlives in seen if outlives] == ['unload foo', 'load %s' % path]
    assert len(seen) > 4


def test_an_init_that_was_only_late(host, path):
    host.start().init = 'is late'
    result = host.load(path)
    assert (result['changed'], result['after']['state']) == (True, 'live')


def test_a_load_that_hangs_before_init(host, path, monkeypatch):
    host.start()

    def hang(_image, _text):
        raise child_process.Deadline('load foo.ko', 'no answer within 30 seconds', 'Only a reboot helps',
                                     hangs_in='lock')

    monkeypatch.setattr(loader_syscalls, 'init_module', hang)
    error = host.load_refused(path)
    assert (error.facts['verdict'], error.facts['changed']) == ('init_running', False)
    assert 'no answer within 30 seconds. Only a reboot helps.' in str(error)


def test_a_load_that_leaves_nothing(host, path, monkeypatch):
    host.start()
    monkeypatch.setattr(loader_syscalls, 'init_module', lambda _image, _text: 0)
    error = host.load_refused(path)
    assert 'the kernel accepted it, but shows it as absent' in str(error)


def test_a_host_that_cannot_be_read_afterwards(host, path, monkeypatch):
    kernel = host.start()
    kernel.answer = errno.ENOMEM
    looks = []

    def look(*given):
        looks.append(given)
        if len(looks) > 1:
            raise KmodError('read the state of foo', 'it hangs')
        return real(*given)

    real = load.look
    monkeypatch.setattr(load, 'look', look)
    error = host.load_refused(path)
    assert error.facts['verdict'] == 'kernel_refused'
    assert error.facts['after'] == {'unavailable': 'Cannot read the state of foo: it hangs.'}


def test_only_root_may(host, path, monkeypatch):
    host.start()
    monkeypatch.setattr(load.os, 'geteuid', lambda: 1000)
    assert str(host.load_refused(path)) == (
        'Cannot load %s: only root may, and this is user 1000. Set become=true, or call ansible with -b.' % path)


@pytest.mark.parametrize(('lines', 'found'), [
    ([], []), (['x'] * 40, ['x'] * 40), (['x'] * 42, ['x'] * 40 + ['and 2 more lines']),
    (unavailable('refused'), unavailable('refused'))])
def test_a_long_log_is_cut(lines, found):
    assert load.shortened(lines) == found


# --- what is read of the host -------------------------------------------------------------------------------------

MODULES = """foo 16384 0 - Live 0xffffffffc0a96000 (OE)
stuck 16384 1 - Loading 0xffffffffc0b96000 (OE+)
kept 16384 0 [permanent], Live 0xffffffffc0c96000 (OE)
bar 16384 1 foo, Live 0xffffffffc0d96000
"""


@pytest.fixture
def root(tmp_path):
    builders.write(tmp_path, 'proc/modules', MODULES)
    builders.write(tmp_path, 'sys/module/foo/parameters/count', '3\n')
    builders.write(tmp_path, 'sys/module/foo/srcversion', 'NEW\n')
    builders.write(tmp_path, 'lib/modules/%s/modules.builtin' % builders.RELEASE, 'kernel/lib/quiet-lib.ko\n')
    return str(tmp_path)


def test_what_is_loaded_is_read(root):
    found = load.look('foo', ['bar', 'quiet-lib', 'stuck', 'no-such'], builders.kernel(), root)
    assert json.loads(json.dumps(found)) == found
    assert found['depends'] == {'bar': 'live', 'quiet_lib': 'builtin', 'stuck': 'coming', 'no_such': 'absent'}
    assert (found['state'], found['refcount'], found['used_by'], found['permanent']) == ('live', 0, [], False)
    assert (found['srcversion'], found['parameters']) == ('NEW', {'count': '3'})
    assert is_unavailable(found['build_id'])
    assert 'diagnosis' not in found


@pytest.mark.parametrize(('name', 'state', 'verdict'), [
    ('stuck', 'coming', 'init_running'), ('kept', 'live', 'no_exit')])
def test_what_looks_stuck_is_diagnosed(name, state, verdict, root):
    found = load.look(name, [], builders.kernel(), root)
    assert (found['state'], found['diagnosis']['verdict']) == (state, verdict)
    assert found['diagnosis']['reason']


@pytest.mark.parametrize(('name', 'state'), [('no_such', 'absent'), ('quiet_lib', 'builtin')])
def test_what_is_not_loaded_has_a_state_and_no_more(name, state, root):
    assert load.look(name, [], builders.kernel(), root) == {'state': state, 'depends': {}}


KMSG = """6,1,1000000,-;Linux version 6.1
1,2,2000000,-;BUG: kernel NULL pointer dereference, address: 0000000000000000
4,3,2000001,-;Oops: 0002 [#1] PREEMPT SMP
4,4,2000002,-;CPU: 0 PID: 99 Comm: insmod Not tainted 6.1
4,5,2000003,-;RIP: 0010:static_call_module_notify+0x10/0x20
4,6,2000004,-;Call Trace:
4,7,2000005,-; load_module+0x10/0x20
4,8,2000006,-;---[ end trace 0000000000000000 ]---
"""


@pytest.mark.parametrize(('lines', 'loader'), [(1, 'ok'), (8, 'wedged')])
def test_what_the_kernel_is(lines, loader, tmp_path, monkeypatch):
    root = builders.captured_root('6.1', tmp_path)
    text = ['[%5d.%06d] %s' % (*divmod(int(line.split(',')[2]), 1000000), line.split(';')[1])
            for line in KMSG.splitlines()[:lines]]
    monkeypatch.setattr(log_source, 'read', lambda *_root, **_how: text)
    kernel = running_kernel.read(root, builders.captured_release('6.1'), 'x86_64')
    found = load.host(kernel, root)
    assert json.loads(json.dumps(found)) == found
    assert (found['loader'], found['arch'], found['release']) == (loader, 'x86_64', kernel['release'])
    assert (found['compiler']['family'], found['compiler']['version']) == ('gcc', '12.2.0')
    assert set(found) == {'loader', 'arch', 'release', 'compiler', 'layout', 'vermagic', 'crc', 'modules_disabled',
                          'module_signatures', 'lockdown'}
