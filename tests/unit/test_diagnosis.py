# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts in, one verdict out: a row for each verdict and for each hazard."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils import _diagnosis
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable

HOLDERS = {
    'processes': [{'pid': 412, 'command': 'cat', 'path': '/dev/foo', 'fd': 3}],
    'mounts': [{'path': '/mnt/data'}],
    'network': [{'device': 'foo0'}],
}
DISK = {'devices': [{'device': 'virtio0', 'path': '/sys/devices/virtio0', 'evidence': 'driver virtio:virtio_blk'}]}
UNKNOWN = unavailable('lockdown=confidentiality')
THREAD = {'tasks': [builders.task('foo_thread', 5, 'f_loop', kernel_thread=True)]}
REGISTERED = {'found': [{'kind': 'misc device', 'what': '/dev/foo', 'evidence': 'struct miscdevice is f_device'},
                        {'kind': 'timer', 'what': 'f_tick', 'evidence': 'timer_list.function is f_tick'}],
              'unseen': ['work items'], 'blind': ''}
UNSEEN = {'found': [], 'unseen': ['all']}
BUSY = builders.task('stress', 77, None)
LOADING = builders.task('modprobe', 78, None)

# id: (facts, verdict, words of the reason, hazard codes)
VERDICTS = {
    'not loaded': (builders.facts('absent'), 'absent', 'foo is not loaded', []),
    'built in': (builders.facts('builtin'), 'builtin', 'built into the kernel', []),
    'live and unused': (builders.facts(), 'unloadable', 'live and unused', []),
    'modules_disabled': (builders.facts(kernel=builders.kernel(modules_disabled=1)),
                         'unload_disabled', 'kernel.modules_disabled=1', []),
    'modules_disabled comes before dependents': (
        builders.facts(used_by=['bar'], kernel=builders.kernel(modules_disabled=1)),
        'unload_disabled', 'next boot', []),
    'modules_disabled unknown is not disabled': (
        builders.facts(kernel=builders.kernel(modules_disabled=UNKNOWN)), 'unloadable', 'live and unused', []),
    'no CONFIG_MODULE_UNLOAD': (builders.facts(refcount=unavailable('this kernel cannot')),
                                'unload_disabled', 'CONFIG_MODULE_UNLOAD', []),
    'dependents': (builders.facts(refcount=2, used_by=['bar', 'baz']),
                   'has_dependents', 'used by the modules bar, baz', []),
    'dependents come before the state': (builders.facts('coming', 1, ['bar']), 'has_dependents', 'bar', []),

    'init runs, on the stack': (
        builders.facts('coming', 1, tasks={'tasks': [builders.task()]}),
        'init_running', 'init of foo still runs: insmod (pid 1876, in f_init)', ['running_task']),
    'init runs, spinning': (builders.facts('coming', 1, spinning=[LOADING]),
                            'init_running', 'modprobe (pid 78)', ['running_task']),
    'init runs although it oopsed, spinning loader': (
        builders.facts('coming', 1, spinning=[LOADING], oopses=[builders.oops()]),
        'init_running', 'modprobe (pid 78)', ['running_task']),
    'init undecided': (builders.facts('coming', 1), 'init_running', 'cannot be told', ['undecided']),
    'init undecided, kernel log unreadable': (
        builders.facts('coming', 1, oopses=UNKNOWN), 'init_running', 'log could not be read: ', ['undecided']),
    'init undecided, the task of the oops lives': (
        builders.facts('coming', 1, oopses=[builders.oops(task_gone=False)]),
        'init_running', 'cannot be told', ['undecided']),
    'init undecided, only a warning': (
        builders.facts('coming', 1, oopses=[builders.oops(kind='warning')]),
        'init_running', 'cannot be told', ['undecided']),
    'init died': (builders.facts('coming', 1, oopses=[builders.oops()]),
                  'init_died', 'init of foo died: BUG: kernel NULL pointer dereference in f_init', []),
    'init died, a busy task of another kind': (
        builders.facts('coming', 1, spinning=[BUSY], oopses=[builders.oops()]), 'init_died', 'f_init', []),
    'init died, spinning unknown': (
        builders.facts('coming', 1, spinning=UNKNOWN, oopses=[builders.oops()]), 'init_died', 'f_init', []),
    'init died, cause and function lost': (
        builders.facts('coming', 1, oopses=[builders.oops(cause=None, function=None)]),
        'init_died', 'died: an oops in its code', []),
    'init died, the last oops counts': (
        builders.facts('coming', 1, oopses=[builders.oops(), builders.oops(function='f_probe')]),
        'init_died', 'in f_probe', []),

    'init died, a device and a timer registered': (
        builders.facts('coming', 1, oopses=[builders.oops()], registrations=REGISTERED),
        'init_died', 'init of foo died', ['dangling_references']),
    'init died, some of what is registered cannot be seen': (
        builders.facts('coming', 1, oopses=[builders.oops()], registrations=dict(UNSEEN, blind='')),
        'init_died', 'init of foo died', []),
    'init died, nothing of what is registered can be seen': (
        builders.facts('coming', 1, oopses=[builders.oops()], registrations=dict(UNSEEN, blind='no /proc/kcore')),
        'init_died', 'init of foo died', ['dangling_references']),
    'init died, its kernel thread goes on': (
        builders.facts('coming', 1, oopses=[builders.oops()], tasks=THREAD),
        'init_died', 'init of foo died', ['running_task', 'dangling_references']),
    'init runs, its kernel thread too': (
        builders.facts('coming', 1, oopses=[builders.oops()], tasks={'tasks': [builders.task(), *THREAD['tasks']]}),
        'init_running', 'insmod (pid 1876, in f_init)', ['running_task', 'dangling_references']),
    'init undecided, a kernel thread': (builders.facts('coming', 1, tasks=THREAD), 'init_running', 'foo_thread',
                                        ['running_task', 'dangling_references']),
    'init undecided, a device registered': (builders.facts('coming', 1, registrations=REGISTERED), 'init_running',
                                            'cannot be told', ['undecided', 'dangling_references']),
    'exit died, a device still registered': (
        builders.facts('going', -1, oopses=[builders.oops(function='f_exit')], registrations=REGISTERED),
        'exit_died', 'exit of foo died', ['dangling_references']),
    'no exit, a device registered': (builders.facts(permanent=True, registrations=REGISTERED), 'no_exit', 'no exit',
                                     ['dangling_references']),
    'exit lost, a device registered': (
        builders.facts(permanent=True, cleanup_module=builders.CLEANUP, registrations=REGISTERED), 'exit_lost',
        'another layout', ['dangling_references']),
    'live and unused, a device registered': (builders.facts(registrations=REGISTERED), 'unloadable', 'unused', []),
    'used by others, a device registered': (
        builders.facts('coming', 1, ['bar'], registrations=REGISTERED), 'has_dependents', 'bar', []),

    'exit runs, on the stack': (
        builders.facts('going', -1, tasks={'tasks': [builders.task('rmmod', 9, 'f_exit')]}),
        'exit_running', 'exit of foo still runs: rmmod (pid 9, in f_exit)', ['running_task']),
    'exit runs, spinning': (builders.facts('going', -1, spinning=[builders.task('rmmod', 9, None)]),
                            'exit_running', 'rmmod (pid 9)', ['running_task']),
    'exit undecided': (builders.facts('going', -1), 'exit_running', 'cannot be told', ['undecided']),
    'exit died': (builders.facts('going', -1, oopses=[builders.oops(function='f_exit')]),
                  'exit_died', 'exit of foo died', []),

    'no exit, by struct module': (builders.facts(permanent=True), 'no_exit', 'has no exit function', []),
    'no exit, by the table': (builders.facts(permanent=True, live=UNKNOWN), 'no_exit', 'permanent', []),
    'no exit, its symbols unknown': (
        builders.facts(permanent=True, cleanup_module=UNKNOWN), 'no_exit', 'finds no exit function', ['undecided']),
    'exit lost, by struct module': (
        builders.facts(permanent=True, cleanup_module=builders.CLEANUP), 'exit_lost', 'another layout', []),
    'exit lost, and where it is': (
        builders.facts(permanent=True, cleanup_module=builders.CLEANUP, exit_offsets={'module': 864, 'kernel': 848}),
        'exit_lost', 'it is at 864, and the kernel looks at 848', []),
    'exit lost, by the table': (
        builders.facts(permanent=True, live=UNKNOWN, cleanup_module=builders.CLEANUP), 'exit_lost', 'layout', []),
    'neither init nor exit is no missing exit': (
        builders.facts(live=builders.live(init=0, exit=0)), 'unloadable', 'live and unused', []),
    'no exit, held': (builders.facts(refcount=1, permanent=True, holders=HOLDERS),
                      'no_exit', 'has no exit function', ['in_use']),

    'held': (builders.facts(refcount=3, holders=HOLDERS), 'in_use',
             'process cat (pid 412) with /dev/foo open, mount /mnt/data, network device foo0', ['in_use']),
    'references leaked': (builders.facts(refcount=3), 'references_leaked', 'has 3 references', []),
    'references leaked, holders unknown': (
        builders.facts(refcount=1, holders={'processes': UNKNOWN, 'mounts': UNKNOWN, 'network': UNKNOWN}),
        'references_leaked', 'has 1 references', ['undecided']),
    'references leaked, only network devices unknown': (
        builders.facts(refcount=1, holders={'processes': [], 'mounts': [], 'network': UNKNOWN}),
        'references_leaked', 'has 1 references', []),
    'references, holders not looked for': (
        builders.facts(refcount=1, holders=unavailable('not looked for')), 'in_use', 'not looked for', ['undecided']),
    'held, mounts unknown': (
        builders.facts(refcount=2, holders=dict(HOLDERS, mounts=UNKNOWN)), 'in_use', 'process cat', ['in_use']),
    'a bound device, referenced': (builders.facts(refcount=1, taint='', holders=DISK), 'in_use',
                                   'foo is held by device virtio0 (driver virtio:virtio_blk).', ['in_use']),
    'a bound device, out of tree': (builders.facts(refcount=2, holders=DISK), 'in_use', 'device virtio0', ['in_use']),
    'a bound device, not referenced': (builders.facts(taint='', holders=DISK), 'unloadable',
                                       'device virtio0 (driver virtio:virtio_blk) will go with it', []),
    'a bound device, no exit': (builders.facts(permanent=True, holders=DISK), 'no_exit', 'no exit', ['in_use']),
    'references, devices unknown': (builders.facts(refcount=1, holders={'devices': UNKNOWN}), 'references_leaked',
                                    'has 1 references', ['undecided']),
    "references of the kernel's own module": (builders.facts(refcount=2, taint=''), 'references_leaked',
                                              'has 2 references', ['undecided']),
    "references of the kernel's own module, holders unknown": (
        builders.facts(refcount=1, taint='', holders={'mounts': UNKNOWN}), 'references_leaked', 'has 1', ['undecided']),
    "references of the kernel's own module, from staging": (builders.facts(refcount=1, taint='C'), 'references_leaked',
                                                            'has 1 references', ['undecided']),
    "references of the kernel's own module, an oops in it": (
        builders.facts(refcount=1, taint='', oopses=[builders.oops(function='f_open', trace=['vfs_open+0x1/0x2'])]),
        'references_leaked', 'has 1 references', []),
    "references of the kernel's own module, an oops in another": (
        builders.facts(refcount=1, taint='', oopses=[builders.oops('bar')]), 'references_leaked', 'has 1 references',
        ['undecided']),
    "references of the kernel's own module, no exit": (builders.facts(refcount=1, taint='', permanent=True), 'no_exit',
                                                       'has no exit function', ['undecided']),
    "references of the kernel's own module, held": (builders.facts(refcount=9, taint='', holders=HOLDERS), 'in_use',
                                                    'process cat', ['in_use']),
    "the kernel's own module, unused": (builders.facts(taint=''), 'unloadable', 'live and unused', []),
    'references leaked, a task in the code': (
        builders.facts(refcount=1, tasks={'tasks': [builders.task('foo_thread', 5, 'f_loop')]}),
        'references_leaked', 'references', ['running_task']),
    'live and unused, a task in the code': (
        builders.facts(tasks={'tasks': [builders.task('foo_thread', 5, 'f_loop')]}),
        'unloadable', 'unused', ['running_task']),
}

# id: (the oops, is it a hazard to a module that is not its own)
FOREIGN = {
    'in the kernel itself': (builders.oops(module='', function='static_call_module_notify'), True),
    'in another module, outside its init and exit': (builders.oops(module='bar', trace=['vfs_ioctl+0x2e/0x50']), True),
    'in the init of another module': (builders.oops(module='bar'), False),
    'in the exit of another module': (
        builders.oops(module='bar', trace=['__do_sys_delete_module.constprop.0+0x17e/0x2a0']), False),
    'in the kernel, called by an init': (builders.oops(module=''), True),
    'no trace left': (builders.oops(module='bar', trace=[]), True),
    'a warning': (builders.oops(module='', kind='warning'), False),
    'in the module itself': (builders.oops(trace=[]), False),
}


@pytest.mark.parametrize('row', VERDICTS.values(), ids=list(VERDICTS))
def test_verdict(row):
    given, verdict, words, hazards = row
    found = _diagnosis.diagnose(given)
    assert found['verdict'] == verdict
    assert words in found['reason']
    assert found['reason'].endswith('.')
    assert [hazard['code'] for hazard in found['hazards']] == hazards


def test_every_verdict_of_the_design_has_a_row():
    assert {row[1] for row in VERDICTS.values()} == {
        'unloadable', 'absent', 'builtin', 'has_dependents', 'init_running', 'init_died', 'exit_running', 'exit_died',
        'no_exit', 'exit_lost', 'in_use', 'references_leaked', 'unload_disabled'}


def test_every_hazard_is_described():
    seen = {code for row in VERDICTS.values() for code in row[3]} | {'foreign_oops'}
    assert seen == set(_diagnosis.HAZARDS)


def test_what_dangles_is_named_with_its_evidence():
    given = builders.facts('coming', 1, oopses=[builders.oops()], registrations=REGISTERED, tasks=THREAD)
    (hazard,) = [item for item in _diagnosis.diagnose(given)['hazards'] if item['code'] == 'dangling_references']
    assert hazard['reason'] == ('the kernel would still call foo: kernel thread foo_thread (pid 5, in f_loop), '
                                'misc device /dev/foo, timer f_tick')
    assert hazard['evidence'] == [
        {'kind': 'kernel thread', 'what': 'foo_thread (pid 5, in f_loop)', 'evidence': 'its stack'},
        *REGISTERED['found']]


@pytest.mark.parametrize(('entry', 'hazard'), FOREIGN.values(), ids=list(FOREIGN))
def test_oops_elsewhere(entry, hazard):
    found = _diagnosis.diagnose(builders.facts(refcount=1, oopses=[entry]))
    assert found['verdict'] == 'references_leaked'
    assert [item['code'] for item in found['hazards']] == (['foreign_oops'] if hazard else [])
    if hazard:
        assert found['hazards'][0]['evidence'] == [entry]
        assert entry['function'] in found['hazards'][0]['reason']


@pytest.mark.parametrize('state', ['absent', 'builtin', 'live'])
def test_oops_elsewhere_does_not_matter_where_nothing_is_forced(state):
    found = _diagnosis.diagnose(builders.facts(state, oopses=[builders.oops(module='')]))
    assert found['hazards'] == []


def test_oops_elsewhere_joins_the_hazards_of_a_running_init():
    given = builders.facts('coming', 1, tasks={'tasks': [builders.task()]}, oopses=[builders.oops(module='')])
    assert [item['code'] for item in _diagnosis.diagnose(given)['hazards']] == ['running_task', 'foreign_oops']


def test_unreadable_kernel_log_is_no_oops_elsewhere():
    assert _diagnosis.diagnose(builders.facts(refcount=1, oopses=UNKNOWN))['hazards'] == []


def test_own_oops_is_the_last_of_a_task_that_is_gone():
    first, last = builders.oops(pid=1), builders.oops(pid=2)
    entries = [first, last, builders.oops(pid=3, task_gone=False), builders.oops('bar', pid=4)]
    assert _diagnosis.own_oops(builders.facts(oopses=entries)) is last
    assert _diagnosis.own_oops(builders.facts(oopses=entries[2:])) is None


def test_long_lists_are_cut():
    mounts = [{'path': '/mnt/%d' % number} for number in range(8)]
    found = _diagnosis.diagnose(builders.facts(refcount=8, holders={'mounts': mounts}))
    assert found['reason'].endswith('mount /mnt/4 and 3 more.')
    assert len(found['hazards'][0]['evidence']) == 8


LOADER_OOPS = builders.oops(module='', function='idempotent', trace=['load_module+0x5/0x10'])
DIED_IN_FINIT = builders.oops(trace=['do_init_module+0x4a/0x1f0', '__do_sys_finit_module+0xac/0x120'])

# id: (oopses, has the kernel a table of running loads, stale buckets, state of the loader)
LOADERS = {
    'no oops': ([], True, 0, 'ok'),
    'kernel log unreadable': (UNKNOWN, True, UNKNOWN, 'ok'),
    'an oops in the loader itself': ([LOADER_OOPS], False, UNKNOWN, 'wedged'),
    'a warning in the loader itself': ([dict(LOADER_OOPS, kind='warning')], True, UNKNOWN, 'ok'),
    'a load died, table unknown': ([DIED_IN_FINIT], True, UNKNOWN, 'stale_entry_suspected'),
    'a load died, an entry counted': ([DIED_IN_FINIT], True, 1, 'stale_entry_suspected'),
    'a load died, table empty': ([DIED_IN_FINIT], True, 0, 'ok'),
    'a load died, no such table': ([DIED_IN_FINIT], False, UNKNOWN, 'ok'),
    'a load by init_module died': ([builders.oops(trace=['do_init_module+0x4a/0x1f0'])], True, UNKNOWN, 'ok'),
}


@pytest.mark.parametrize(('entries', 'has_table', 'stale', 'state'), LOADERS.values(), ids=list(LOADERS))
def test_loader(entries, has_table, stale, state):
    assert _diagnosis.loader(entries, has_table, stale) == state


def test_task_without_function_is_named_without_one():
    assert _diagnosis.name_task({'pid': 3, 'command': 'rmmod'}) == 'rmmod (pid 3)'
    assert _diagnosis.name_task({}) == '? (pid ?)'
