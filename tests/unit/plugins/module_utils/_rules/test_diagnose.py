# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts in, one verdict out: a row for each verdict and for each hazard."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import diagnose, hazards
from rule_facts import INSMOD, REGISTERED, THREAD, USER_TASK

CAT = builders.holder('process cat (pid 412) with /dev/foo open', 'kill 412', pid=412, command='cat', path='/dev/foo')
MOUNT = builders.holder()
HOLDERS = {'processes': [CAT], 'mounts': [MOUNT]}
DISK = {'devices': [builders.holder('disk vda with / mounted', '', device='virtio0')]}
OWN_DEVICE = {'devices': [builders.holder('device foo.0 (driver platform:foo)', '', counts=False)]}
LINK_UP = {'network': [builders.holder('network device foo0 (up)', 'ip link set foo0 down', counts=False, active=True)]}
LINK_DOWN = {'network': [builders.holder('network device foo0', 'ip link del foo0', counts=False)]}
UNREAD = {'processes': unavailable('no /proc/kcore'), 'unread': ['queueing disciplines: EPERM']}
UNKNOWN = unavailable('lockdown=confidentiality')
DENIED = builders.tasks(unreadable=['stack of 3 of 90 tasks: Permission denied'])
BUSY = builders.task('stress', 77, None)
LOADING = builders.task('modprobe', 78, None)
RMMOD = builders.tasks(builders.loader_task('delete_module', waits_in='__flush_workqueue', command='rmmod', pid=5611))
OF_ANOTHER = builders.tasks(builders.loader_task(module='bar', pid=99), builders.loader_task('delete_module', 'bar'))
OF_NOBODY_KNOWS = builders.tasks(builders.loader_task(module=None))
WORKER = builders.oops(died_in='worker', call=None, task='kworker/0:2', function='f_work', trace=['process_one_work'])
PROBE = builders.oops(died_in='probe', locks=['device_lock'])
ONE_MORE = {'live': builders.live(state='coming', refcount=3)}
UNREACHABLE = {'reachability': builders.UNREACHABLE}
UNREACHED = 'reachability_unknown'


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

    # R5: who is inside the loader's system calls is alive, whatever the stacks hold and the log says
    'init waits, in its system call': (
        builders.facts('coming', 1, loader_tasks=INSMOD), 'init_waiting',
        'The init of foo has not returned: insmod (pid 1876, waits in msleep)', ['running_task', UNREACHED]),
    'init waits, a frame of it on the stack': (
        builders.facts('coming', 1, loader_tasks=INSMOD, tasks=builders.tasks(builders.task())), 'init_waiting',
        'insmod (pid 1876, in f_init, waits in msleep)', ['running_task', UNREACHED]),
    'init waits although the log shows an oops in it': (
        builders.facts('coming', 1, loader_tasks=INSMOD, oopses=[builders.oops()]), 'init_waiting', 'has not returned',
        ['running_task', UNREACHED]),
    'init on a CPU': (
        builders.facts('coming', 1, loader_tasks=builders.tasks(builders.loader_task(waits_in=None))), 'init_running',
        'init of foo still runs: insmod (pid 1876)', ['running_task', UNREACHED]),
    'a load that may be of any module': (
        builders.facts('coming', 1, loader_tasks=OF_NOBODY_KNOWS, oopses=[builders.oops()]), 'init_waiting', 'insmod',
        ['running_task', UNREACHED]),
    'loads and unloads of others': (
        builders.facts('coming', 1, loader_tasks=OF_ANOTHER, oopses=[builders.oops()]), 'init_died', 'died',
        [UNREACHED]),
    'init runs, on the stack alone': (
        builders.facts('coming', 1, tasks=builders.tasks(builders.task())),
        'init_running', 'init of foo still runs: insmod (pid 1876, in f_init)', ['running_task', UNREACHED]),
    'init runs, spinning': (builders.facts('coming', 1, spinning=[LOADING]),
                            'init_running', 'modprobe (pid 78)', ['running_task', UNREACHED]),
    'init runs although it oopsed, spinning loader': (
        builders.facts('coming', 1, spinning=[LOADING], oopses=[builders.oops()]),
        'init_running', 'modprobe (pid 78)', ['running_task', UNREACHED]),
    'rmmod waits for a worker that died': (
        builders.facts('going', -1, loader_tasks=RMMOD, oopses=[WORKER]), 'exit_waiting',
        'The exit of foo has not returned: rmmod (pid 5611, waits in __flush_workqueue)', ['running_task', UNREACHED]),
    'rmmod waits for a device of a module below': (
        builders.facts('going', -1, loader_tasks=RMMOD, holders_below={'others': [CAT]}), 'exit_waiting',
        'may be held by process cat (pid 412) with /dev/foo open', ['running_task', UNREACHED]),
    'live, its load has not returned': (
        builders.facts(refcount=1, loader_tasks=INSMOD), 'init_waiting', 'insmod', ['running_task', UNREACHED]),
    'live, loads of others': (builders.facts(loader_tasks=OF_NOBODY_KNOWS), 'unloadable', 'unused', []),

    # R3: an init or exit died only where the kernel says so
    'init undecided': (builders.facts('coming', 1), 'init_running', 'cannot be told', ['undecided', UNREACHED]),
    'init undecided, kernel log unreadable': (
        builders.facts('coming', 1, oopses=UNKNOWN), 'init_running', 'log could not be read: ',
        ['undecided', UNREACHED]),
    'init undecided, the log has lost an oops': (
        builders.facts('coming', 1, oopses_lost=['the kernel counted 2 oopses and the log shows 1']), 'init_running',
        'the kernel counted 2 oopses', ['undecided', UNREACHED, 'foreign_oops']),
    'init undecided, the task of the oops lives': (
        builders.facts('coming', 1, oopses=[builders.oops(task_gone=False)]),
        'init_running', 'cannot be told', ['undecided', UNREACHED]),
    'init undecided, only a warning': (
        builders.facts('coming', 1, oopses=[builders.oops(kind='warning')]),
        'init_running', 'cannot be told', ['undecided', UNREACHED]),
    'init undecided, a worker died': (
        builders.facts('coming', 1, oopses=[WORKER]), 'init_running', 'no oops that ended its init',
        ['undecided', UNREACHED]),
    'init undecided, its exit died in an earlier life': (
        builders.facts('coming', 1, oopses=[builders.exit_oops()]), 'init_running', 'no oops that ended its init',
        ['undecided', UNREACHED]),
    'init died': (builders.facts('coming', 1, oopses=[builders.oops()]),
                  'init_died', 'init of foo died: BUG: kernel NULL pointer dereference in f_init', [UNREACHED]),
    'init died, and it is shown that nothing leads there': (
        builders.facts('coming', 1, oopses=[builders.oops()], **UNREACHABLE), 'init_died', 'died', []),
    'init died in a function of the kernel that it called': (
        builders.facts('coming', 1, oopses=[builders.oops(module='', of='foo', function='memset')]), 'init_died',
        'in memset', [UNREACHED]),
    'init died in a module that it uses': (
        builders.facts('coming', 1, oopses=[builders.oops('foo_core', of='foo')]), 'init_died', 'f_init', [UNREACHED]),
    'init died in the probe that it started': (
        builders.facts('coming', 1, oopses=[PROBE]), 'init_died', 'died', [UNREACHED, 'locks_held']),
    'init died, a busy task of another kind': (
        builders.facts('coming', 1, spinning=[BUSY], oopses=[builders.oops()]), 'init_died', 'f_init', [UNREACHED]),
    'init died, spinning unknown': (
        builders.facts('coming', 1, spinning=UNKNOWN, oopses=[builders.oops()]), 'init_died', 'f_init', [UNREACHED]),
    'init died, cause and function lost': (
        builders.facts('coming', 1, oopses=[builders.oops(cause=None, function=None)]),
        'init_died', 'died: an oops in its code', [UNREACHED]),
    'init died, the last oops counts': (
        builders.facts('coming', 1, oopses=[builders.oops(), builders.oops(function='f_probe')]),
        'init_died', 'in f_probe', [UNREACHED]),
    'init died, a user task in its code': (
        builders.facts('coming', 1, tasks=USER_TASK, oopses=[builders.oops()]), 'init_died', 'died',
        ['running_task', UNREACHED]),
    # R4: of the references none is left for anybody
    'init died, one reference too many': (
        builders.facts('coming', 2, oopses=[builders.oops()], **ONE_MORE), 'init_died', 'died',
        ['undecided', UNREACHED]),
    'init died, its device open': (
        builders.facts('coming', 2, oopses=[builders.oops()], holders=HOLDERS, **ONE_MORE), 'init_died', 'died',
        ['in_use', UNREACHED]),
    'exit died, a reference left': (
        builders.facts('going', -1, oopses=[builders.exit_oops()], live=builders.live(state='going', refcount=1)),
        'exit_died', 'died', ['undecided', UNREACHED]),

    'init died, a device and a timer registered': (
        builders.facts('coming', 1, oopses=[builders.oops()], registrations=REGISTERED),
        'init_died', 'init of foo died', ['dangling_references', UNREACHED]),
    'init died, its kernel thread goes on': (
        builders.facts('coming', 1, oopses=[builders.oops()], tasks=THREAD),
        'init_died', 'init of foo died', ['running_task', 'dangling_references', UNREACHED]),
    'init runs, its kernel thread too': (
        builders.facts('coming', 1, oopses=[builders.oops()], loader_tasks=INSMOD, tasks=THREAD),
        'init_waiting', 'insmod (pid 1876', ['running_task', 'dangling_references', UNREACHED]),
    'init undecided, a kernel thread': (builders.facts('coming', 1, tasks=THREAD), 'init_running', 'foo_thread',
                                        ['running_task', 'dangling_references', UNREACHED]),
    'init undecided, a device registered': (
        builders.facts('coming', 1, registrations=REGISTERED), 'init_running', 'cannot be told',
        ['undecided', 'dangling_references', UNREACHED]),
    'exit died, a device still registered': (
        builders.facts('going', -1, oopses=[builders.exit_oops()], registrations=REGISTERED),
        'exit_died', 'exit of foo died', ['dangling_references', UNREACHED]),
    'no exit, a device registered': (builders.facts(permanent=True, registrations=REGISTERED), 'no_exit', 'no exit',
                                     ['dangling_references', UNREACHED]),
    'exit lost, a device registered': (
        builders.facts(permanent=True, cleanup_module=builders.CLEANUP, registrations=REGISTERED), 'exit_lost',
        'another layout', ['dangling_references', UNREACHED]),
    'live and unused, a device registered': (builders.facts(registrations=REGISTERED), 'unloadable', 'unused', []),
    'used by others, a device registered': (
        builders.facts('coming', 1, ['bar'], registrations=REGISTERED), 'has_dependents', 'bar', []),

    'exit runs, on the stack': (
        builders.facts('going', -1, tasks=builders.tasks(builders.task('rmmod', 9, 'f_exit'))),
        'exit_running', 'exit of foo still runs: rmmod (pid 9, in f_exit)', ['running_task', UNREACHED]),
    'exit runs, spinning': (builders.facts('going', -1, spinning=[builders.task('rmmod', 9, None)]),
                            'exit_running', 'rmmod (pid 9)', ['running_task', UNREACHED]),
    'exit undecided': (builders.facts('going', -1), 'exit_running', 'cannot be told', ['undecided', UNREACHED]),
    'exit died': (builders.facts('going', -1, oopses=[builders.exit_oops()]),
                  'exit_died', 'exit of foo died', [UNREACHED]),

    'no exit, by struct module': (builders.facts(permanent=True), 'no_exit', 'has no exit function', [UNREACHED]),
    'no exit, by the table': (builders.facts(permanent=True, live=UNKNOWN), 'no_exit', 'permanent', [UNREACHED]),
    'no exit, its symbols unknown': (
        builders.facts(permanent=True, cleanup_module=UNKNOWN), 'no_exit', 'finds no exit function',
        ['undecided', UNREACHED]),
    'exit lost, by struct module': (
        builders.facts(permanent=True, cleanup_module=builders.CLEANUP), 'exit_lost', 'another layout', [UNREACHED]),
    'exit lost, and where it is': (
        builders.facts(permanent=True, cleanup_module=builders.CLEANUP, exit_offsets={'module': 864, 'kernel': 848}),
        'exit_lost', 'it is at 864, and the kernel looks at 848', [UNREACHED]),
    'exit lost, by the table': (
        builders.facts(permanent=True, live=UNKNOWN, cleanup_module=builders.CLEANUP), 'exit_lost', 'layout',
        [UNREACHED]),
    'neither init nor exit is no missing exit': (
        builders.facts(live=builders.live(init=0, exit=0)), 'unloadable', 'live and unused', []),
    'no exit, held': (builders.facts(refcount=1, permanent=True, holders=HOLDERS),
                      'no_exit', 'has no exit function', ['in_use', UNREACHED]),
    'no exit, references of nobody': (builders.facts(refcount=1, permanent=True), 'no_exit', 'has no exit function',
                                      ['undecided', UNREACHED]),

    # R2: references are leaked only where that is shown, whatever the module is
    'held': (builders.facts(refcount=3, holders=HOLDERS), 'in_use',
             'process cat (pid 412) with /dev/foo open, mount /mnt/data', ['in_use']),
    'references, nothing found': (builders.facts(refcount=3), 'in_use_unknown',
                                  'foo has 3 references, and who holds them could not be seen', ['undecided']),
    "references of the kernel's own module": (builders.facts(refcount=1, taint=''), 'in_use_unknown',
                                              'has 1 reference, and who holds it', ['undecided']),
    'references, an oops in an ioctl of it': (
        builders.facts(refcount=1, oopses=[builders.oops(died_in=None, call=None, function='f_ioctl')]),
        'in_use_unknown', 'could not be seen', ['undecided', 'locks_held']),
    'references that nothing points to': (builders.facts(refcount=3, **UNREACHABLE), 'references_leaked',
                                          'they are leaked', []),
    'references, nothing points there, but a holder': (
        builders.facts(refcount=3, holders=HOLDERS, **UNREACHABLE), 'in_use', 'process cat', ['in_use']),
    'references, holders unknown': (
        builders.facts(refcount=1, holders=UNREAD), 'in_use_unknown',
        'processes: no /proc/kcore; queueing disciplines: EPERM', ['undecided']),
    'references, holders not looked for': (
        builders.facts(refcount=1, holders=unavailable('not looked for')), 'in_use_unknown', 'not looked for',
        ['undecided']),
    'held, other kinds unknown': (
        builders.facts(refcount=2, holders=dict(UNREAD, mounts=[MOUNT])), 'in_use', 'mount /mnt/data', ['in_use']),
    'a bound device, referenced': (builders.facts(refcount=1, taint='', holders=DISK), 'in_use',
                                   'foo is held by disk vda with / mounted.', ['in_use']),
    'a device of its own explains no reference': (builders.facts(refcount=1, holders=OWN_DEVICE), 'in_use_unknown',
                                                  'could not be seen', ['undecided']),
    'a bound device, not referenced': (builders.facts(taint='', holders=OWN_DEVICE), 'unloadable',
                                       'device foo.0 (driver platform:foo) will go with it', []),
    'a bound device, no exit': (builders.facts(permanent=True, holders=DISK), 'no_exit', 'no exit',
                                ['in_use', UNREACHED]),
    'references, its kernel thread holds them': (
        builders.facts(refcount=1, tasks=THREAD), 'in_use', 'held by kernel thread foo_thread (pid 5, in f_loop)',
        ['in_use', 'running_task']),
    'references, its kernel thread sleeps elsewhere': (
        builders.facts(refcount=1, holders={'others': [builders.holder(
            'kernel thread foo_io (pid 7)', '', counts=False, kind='kernel thread', pid=7, command='foo_io')]}),
        'in_use', 'held by kernel thread foo_io (pid 7)', ['in_use']),
    'references and a user task in the code': (
        builders.facts(refcount=1, tasks=USER_TASK), 'in_use_unknown', 'could not be seen',
        ['running_task', 'undecided']),

    # R7, and what is in use without a reference
    'unused, a kernel thread of its own': (builders.facts(tasks=THREAD), 'unloadable', 'unused', ['running_task']),
    'unused, a user task in the code': (builders.facts(tasks=USER_TASK), 'unloadable', 'unused', ['running_task']),
    'unused, a network device that is up': (
        builders.facts(holders=LINK_UP), 'in_use', 'serves what is in use: network device foo0 (up)', ['in_use']),
    'unused, a network device that is down': (
        builders.facts(holders=LINK_DOWN), 'unloadable', 'network device foo0 will go with it', []),
    "unused, no exit, a network device that is up": (
        builders.facts(permanent=True, holders=LINK_UP), 'no_exit', 'no exit', ['in_use', UNREACHED]),

    # R6: what could not be read counts as found
    'unused, stacks denied': (builders.facts(tasks=DENIED), 'unloadable', 'unused', ['undecided']),
    'unused, in a container': (builders.facts(namespace='this is another PID namespace'), 'unloadable', 'unused',
                               ['undecided']),
    'init died, system calls denied': (
        builders.facts('coming', 1, oopses=[builders.oops()], loader_tasks=DENIED), 'init_died', 'died',
        [UNREACHED, 'undecided']),
    'references, stacks denied: said once': (builders.facts(refcount=1, tasks=DENIED), 'in_use_unknown', 'seen',
                                             ['undecided']),

    # R8: locks that died with their owner
    'unused, a probe of it died': (
        builders.facts(oopses=[dict(PROBE, call=None)]), 'unloadable', 'unused', ['locks_held']),
    'unused, the kernel would call another function as its exit': (
        builders.facts(cleanup_module=builders.EXIT + 64), 'unloadable', 'unused', ['undecided']),
    'unused, its exit is what the kernel would call': (
        builders.facts(cleanup_module=builders.EXIT), 'unloadable', 'unused', []),
    'unused, but rules are in a table of it': (
        builders.facts(holders={'others': [builders.holder('nf_tables table ip filter', 'nft delete table filter')]}),
        'in_use', 'but it serves what is in use: nf_tables table ip filter', ['in_use']),
    'unused, a socket is of this kind or another': (
        builders.facts(holders={'others': [builders.holder('a socket of AF_ALG', 'kill 7', kind='AF_ALG socket')]}),
        'unloadable', 'unused', []),
    'unused, a device is bound to it': (
        builders.facts(holders={'devices': [builders.holder('device 0000:00:03.0', 'echo > unbind')]}), 'unloadable',
        'live and unused; device 0000:00:03.0 will go with it', []),
    'unused, a disk of it is used': (
        builders.facts(holders={'devices': [builders.holder('disk foo: swap on /dev/foo', 'swapoff /dev/foo',
                                                            active=True)]}),
        'in_use', 'but it serves what is in use: disk foo', ['in_use']),
    'unused, a call of it died': (
        builders.facts(oopses=[builders.oops(died_in=None, call=None, function='foo_write')]), 'unloadable', 'unused',
        ['locks_held']),
    'its exit is lost, a worker of it died': (
        builders.facts(permanent=True, cleanup_module=builders.CLEANUP, oopses=[WORKER]),
        'exit_lost', 'another layout', [UNREACHED, 'locks_held']),
    'its init died, and before that a worker of it': (
        builders.facts('coming', 1, oopses=[WORKER, builders.oops()]), 'init_died', 'The init of foo died',
        [UNREACHED]),
    'unused, but a mount of it that names no owner': (
        builders.facts(holders={'mounts': [dict(MOUNT, counts=False, active=True)]}), 'in_use',
        'No reference of foo is counted, but it serves what is in use: mount /mnt/data', ['in_use']),
    'unused, but an open file that holds a reference': (
        builders.facts(holders=HOLDERS), 'in_use', 'but it serves what is in use: process cat', ['in_use']),
}


@pytest.mark.parametrize('row', VERDICTS.values(), ids=list(VERDICTS))
def test_verdict(row):
    given, verdict, words, hazards = row
    found = diagnose.diagnose(given)
    assert found['verdict'] == verdict
    assert words in found['reason']
    assert found['reason'].endswith('.')
    assert [hazard['code'] for hazard in found['hazards']] == hazards


def test_every_verdict_of_the_design_has_a_row():
    assert {row[1] for row in VERDICTS.values()} == {
        'unloadable', 'absent', 'builtin', 'has_dependents', 'init_running', 'init_died', 'exit_running', 'exit_died',
        'init_waiting', 'exit_waiting', 'no_exit', 'exit_lost', 'in_use', 'in_use_unknown', 'references_leaked',
        'unload_disabled'}


def test_every_hazard_is_described():
    seen = {code for row in VERDICTS.values() for code in row[3]} | {'foreign_oops'}
    assert seen == set(hazards.HAZARDS)


def test_own_death_is_the_last_of_a_task_that_is_gone():
    first, last = builders.oops(pid=1), builders.oops(pid=2)
    entries = [first, last, builders.oops(pid=3, task_gone=False), builders.oops('bar', pid=4)]
    assert diagnose.own_death(builders.facts('coming', 1, oopses=entries)) is last
    assert diagnose.own_death(builders.facts('coming', 1, oopses=entries[2:])) is None
    assert diagnose.own_death(builders.facts('going', -1, oopses=entries)) is None
    assert diagnose.own_death(builders.facts(oopses=entries)) is None


@pytest.mark.parametrize('row', VERDICTS.values(), ids=list(VERDICTS))
def test_no_sentence_calls_unseen_what_is_safe(row):
    found = diagnose.diagnose(row[0])
    if any(item['code'] == 'undecided' for item in found['hazards']):
        assert not any(word in found['reason'] for word in ('leaked', 'nothing holds', 'safe'))
