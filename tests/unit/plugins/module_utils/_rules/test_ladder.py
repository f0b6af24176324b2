# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which step is taken and which are refused: each verdict, each method allowed, each hazard accepted."""

import itertools

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import hazards
from rule_facts import (
    ALL,
    ELSEWHERE,
    FREE,
    HELD,
    HIDDEN_KERNEL,
    HOLDERS,
    INIT_DIED,
    PROBE_DIED,
    RUNNING,
    SHOWN,
    THREAD,
    UNKNOWN,
    USER_TASK,
    hidden,
    plan,
    shown,
)

UNFORCED = builders.kernel(force_unload=False)
UNKNOWN_FORCE = builders.kernel(force_unload=unavailable('no configuration'))
SYSCTL = 'sysctl kernel.kptr_restrict=1'
LINK_UP = {'network': [builders.holder('network device foo0 (up)', 'ip link set foo0 down', counts=False, active=True)]}
EXIT_DIED = builders.facts('going', -1, oopses=[builders.exit_oops()])
OWN = builders.facts(refcount=1, taint='')
LEAKED = builders.facts(refcount=3, **SHOWN)
DISK = builders.facts(refcount=1, taint='', holders={'devices': [builders.holder('disk vda with / mounted', '')]})
LEAKED_UNFORCED = builders.facts(refcount=3, kernel=UNFORCED, **SHOWN)
NO_EXIT = builders.facts(permanent=True)
EXIT_LOST = builders.facts(permanent=True, cleanup_module=builders.CLEANUP)
UNDECIDED = builders.facts('going', -1)

# id: (facts, methods allowed, run_exit, method taken, whether exit runs)
STEPS = {
    'absent: nothing to do': (builders.facts('absent'), ALL, 'auto', 'none', True),
    'unloadable: the least force': (builders.facts(), ALL, 'auto', 'plain', True),
    'unloadable, exit always': (builders.facts(), ALL, 'always', 'plain', True),
    'unloadable, exit never: only a reset leaves it out': (shown(builders.facts()), ALL, 'never', 'reset', False),
    'unloadable, plain not allowed': (builders.facts(), ['kernel_force', 'reset'], 'auto', 'kernel_force', True),
    'unloadable, reset alone: its exit runs': (builders.facts(), ['reset'], 'auto', 'reset', True),
    'unloadable, a kernel thread: exit stops it': (builders.facts(tasks=THREAD), ALL, 'auto', 'plain', True),
    'leaked: the kernel forces': (LEAKED, ALL, 'auto', 'kernel_force', True),
    'leaked: order of the option does not matter': (LEAKED, ['reset', 'kernel_force'], 'auto', 'kernel_force', True),
    'leaked: force not allowed': (LEAKED, ['plain', 'reset'], 'auto', 'reset', True),
    'leaked: no CONFIG_MODULE_FORCE_UNLOAD': (LEAKED_UNFORCED, ALL, 'auto', 'reset', True),
    'leaked: configuration unknown': (builders.facts(refcount=3, kernel=UNKNOWN_FORCE, **SHOWN), ALL, 'auto', 'reset',
                                      True),
    'leaked: exit never': (LEAKED, ALL, 'never', 'reset', False),
    'no exit: its code stays': (NO_EXIT, ALL, 'auto', 'park', False),
    'no exit, nothing leads there: the kernel forces': (shown(NO_EXIT), ALL, 'auto', 'kernel_force', True),
    'no exit, exit always: there is none to run': (shown(NO_EXIT), ALL, 'always', 'kernel_force', True),
    'no exit, exit never': (shown(NO_EXIT), ALL, 'never', 'kernel_force', False),
    'no exit, nothing leads there: reset alone': (shown(NO_EXIT), ['reset'], 'auto', 'reset', True),
    'no exit, a kernel thread that nothing stops': (builders.facts(permanent=True, tasks=THREAD), ALL, 'auto', 'park',
                                                    False),
    'exit lost: force would not run it': (EXIT_LOST, ALL, 'auto', 'reset', True),
    'exit lost: exit always': (EXIT_LOST, ALL, 'always', 'reset', True),
    'exit lost: exit never': (shown(EXIT_LOST), ALL, 'never', 'kernel_force', False),
    'init died: its code stays': (INIT_DIED, ALL, 'auto', 'park', False),
    'init died, nothing leads there: force never helps': (shown(INIT_DIED), ALL, 'auto', 'reset', False),
    'init died: exit always': (INIT_DIED, ALL, 'always', 'reset', True),
    'init died, a further reference: its code stays': (
        builders.facts('coming', 2, oopses=[builders.oops()], live=builders.live(state='coming', refcount=3), **SHOWN),
        ALL, 'auto', 'park', False),
    'exit died: its code stays': (EXIT_DIED, ALL, 'auto', 'park', False),
    'exit died, nothing leads there': (shown(EXIT_DIED), ALL, 'auto', 'reset', False),
    'exit died: exit always': (EXIT_DIED, ALL, 'always', 'reset', True),
    'leaked, an oops elsewhere: nothing is loaded': (
        builders.facts(refcount=1, oopses=[ELSEWHERE], **SHOWN), ALL, 'auto', 'kernel_force', True),
    'addresses hidden: what needs none': (hidden(LEAKED), ALL, 'auto', 'kernel_force', True),
    'addresses hidden, unloadable': (hidden(builders.facts()), ALL, 'auto', 'plain', True),
    'anchors not asked for': ({key: value for key, value in INIT_DIED.items() if key != 'anchors'}, ALL, 'auto',
                              'park', False),
}

# id: (facts, methods allowed, run_exit, words of the refusal, words of what to do next)
REFUSALS = {
    'builtin': (builders.facts('builtin'), ALL, 'auto', 'built into the kernel', 'kernel built without it'),
    'modules_disabled': (builders.facts(kernel=builders.kernel(modules_disabled=1)), ALL, 'auto',
                         'modules_disabled=1', 'Only a reboot'),
    'dependents': (builders.facts(refcount=1, used_by=['bar']), ALL, 'auto', 'modules bar', 'cascade=true'),
    'leaked: plain alone': (LEAKED, ['plain'], 'auto', 'None of the methods allowed', 'methods=kernel_force,reset'),
    'init died: no reset': (INIT_DIED, ['plain', 'kernel_force'], 'auto', 'died', 'methods=park'),
    'init died: not to be parked': (INIT_DIED, FREE, 'auto', 'nothing shows that the kernel can no longer reach',
                                    'accept_hazards=reachability_unknown overrides'),
    'no exit: not to be parked': (NO_EXIT, FREE, 'auto', 'can no longer reach', 'reachability_unknown'),
    'exit lost: no reset': (EXIT_LOST, ['plain', 'kernel_force'], 'auto', 'layout', 'methods=reset'),
    'unloadable: no method at all': (builders.facts(), [], 'auto', 'None of the methods',
                                     'methods=plain,kernel_force,reset'),
    'unloadable, exit never': (builders.facts(), ALL, 'never', 'can no longer reach', 'reachability_unknown'),
    'unloadable, a user task in its code': (builders.facts(tasks=USER_TASK), ALL, 'auto', 'cat (pid 6, in f_read)',
                                            'crashes the host'),
    'unloadable, stacks denied': (builders.facts(tasks=builders.tasks(unreadable=['stack of 3 tasks: denied'])), ALL,
                                  'auto', 'stack of 3 tasks: denied', 'accept_hazards=undecided'),
    'unloadable, in a container': (builders.facts(namespace='this is another PID namespace'), ALL, 'auto',
                                   'another PID namespace', 'accept_hazards=undecided'),
    'unused, its network device is up': (builders.facts(holders=LINK_UP), ALL, 'auto', 'network device foo0 (up)',
                                         'ip link set foo0 down'),
    'init runs': (RUNNING, ALL, 'auto', 'insmod (pid 1876, waits in msleep)', 'Let it finish'),
    'init runs in a kernel thread, exit always': (builders.facts('coming', 1, tasks=THREAD), ALL, 'always',
                                                  'foo_thread (pid 5, in f_loop)', 'Let it finish'),
    'exit undecided': (UNDECIDED, ALL, 'auto', 'shows no oops that ended its exit', 'Let it finish'),
    'held': (HELD, ALL, 'auto', 'mount /mnt/data', 'End what holds it: umount /mnt/data. accept_hazards=in_use'),
    'references of nobody': (UNKNOWN, ALL, 'auto', 'could not be seen', 'Find and end what uses it'),
    'references of nobody, and how one looks': (
        builders.facts(refcount=1, holders={'hint': 'iptables-save | grep -w foo'}), ALL, 'auto', 'could not be seen',
        'then unload it again. iptables-save | grep -w foo. accept_hazards=undecided'),
    'no exit, held': (builders.facts(refcount=1, permanent=True, holders=HOLDERS), ALL, 'auto',
                      'mount /mnt/data', 'umount /mnt/data'),
    'no exit, references of nobody': (builders.facts(refcount=1, permanent=True), ALL, 'auto', 'could not be seen',
                                      'accept_hazards=undecided'),
    'references, a user task in the code': (builders.facts(refcount=1, tasks=USER_TASK, **SHOWN), ALL, 'auto',
                                            'cat (pid 6, in f_read)', 'Remove what the hazard names'),
    'references, its kernel thread holds them': (
        builders.facts(refcount=1, tasks=THREAD, **SHOWN), ALL, 'auto', 'kernel thread foo_thread',
        'accept_hazards=in_use'),
    'two holders that one command ends': (
        builders.facts(refcount=2, holders={'mounts': [builders.holder(), builders.holder('mount /mnt/copy')]}), ALL,
        'auto', 'mount /mnt/copy', 'End what holds it: umount /mnt/data. accept'),
    'init died, a user task in its code': (
        builders.facts('coming', 1, tasks=USER_TASK, oopses=[builders.oops()]), ALL, 'auto', 'cat (pid 6, in f_read)',
        'running_task'),
    'init died in a probe': (PROBE_DIED, ALL, 'auto', 'device_lock', 'echo b > /proc/sysrq-trigger'),
    'oops elsewhere': (builders.facts('coming', 1, oopses=[builders.oops(), ELSEWHERE]), ALL, 'auto',
                       'static_call_module_notify', 'Reboot required'),
    'oops elsewhere, force not allowed': (builders.facts(refcount=1, oopses=[ELSEWHERE], **SHOWN), ['plain', 'reset'],
                                          'auto', 'outside foo', 'Reboot required'),
    "the kernel's own, referenced": (OWN, ALL, 'auto', 'nothing shows that it is unused', 'Find and end what uses it'),
    'the driver of a root disk': (DISK, ALL, 'auto', 'disk vda with / mounted', 'No command ends that safely'),
    'addresses hidden, init died': (hidden(INIT_DIED), ALL, 'auto', 'section addresses are hidden', SYSCTL),
    'addresses hidden, exit died': (hidden(EXIT_DIED), ALL, 'auto', 'the address of its struct module', SYSCTL),
    'addresses hidden, no reset either': (hidden(INIT_DIED), ['plain'], 'auto', 'Only a reset would', SYSCTL),
    'addresses hidden, exit lost': (hidden(EXIT_LOST), ALL, 'auto', 'Only a reset would get it out', SYSCTL),
    'addresses hidden, init runs': (hidden(RUNNING), ALL, 'auto', 'insmod (pid 1876', 'Let it finish'),
    'addresses hidden, leaked: force not allowed': (hidden(LEAKED), ['plain', 'reset'], 'auto', 'None of the methods',
                                                    'methods=kernel_force'),
    'anchors hidden': (dict(INIT_DIED, anchors=unavailable('the addresses in /proc/kallsyms are hidden'),
                            kernel=HIDDEN_KERNEL), ALL, 'auto', 'the addresses in /proc/kallsyms are hidden', SYSCTL),
    'no section addresses, nothing hidden': (
        dict(INIT_DIED, module=dict(INIT_DIED['module'], struct_address=unavailable('No such file or directory'))), ALL,
        'auto', 'No such file or directory', 'Only a reboot helps where that cannot be mended'),
    'two hazards, both named': (builders.facts(refcount=1, holders=HOLDERS, tasks=USER_TASK), ALL, 'auto',
                                'mount /mnt/data; tasks run', 'accept_hazards=in_use,running_task'),
}
TIMER = {'found': [{'kind': 'timer', 'what': 'f_tick', 'evidence': 'timer_list.function is f_tick'}], 'unseen': [],
         'blind': '', 'leftovers': []}

# id: (facts, the hazards that stand in the way of freeing it, method once all of them are accepted)
ACCEPTED = {
    'a running init': (RUNNING, ['running_task', 'reachability_unknown'], 'reset'),
    'an undecided exit': (UNDECIDED, ['undecided', 'reachability_unknown'], 'reset'),
    'references of nobody': (UNKNOWN, ['undecided'], 'kernel_force'),
    "references of the kernel's own": (OWN, ['undecided'], 'kernel_force'),
    'the driver of a root disk': (DISK, ['in_use'], 'kernel_force'),
    'a holder': (HELD, ['in_use'], 'kernel_force'),
    'an oops elsewhere': (builders.facts('going', -1, oopses=[builders.exit_oops(), ELSEWHERE], **SHOWN),
                          ['foreign_oops'], 'reset'),
    'holders unknown': (builders.facts(refcount=1, holders={'processes': unavailable('kcore')}), ['undecided'],
                        'kernel_force'),
    'what may reach it': (INIT_DIED, ['reachability_unknown'], 'reset'),
    'what may reach a permanent one': (NO_EXIT, ['reachability_unknown'], 'kernel_force'),
    'a timer still armed': (builders.facts('coming', 1, oopses=[builders.oops()], registrations=TIMER, **SHOWN),
                            ['dangling_references'], 'reset'),
    'a lock that died': (PROBE_DIED, ['locks_held', 'reachability_unknown'], 'reset'),
    'a network device that is up': (builders.facts(holders=LINK_UP), ['in_use'], 'plain'),
}

# id: (facts, run_exit, method): an exit that runs takes back what was registered
EXITS = {
    'exit lost and found': (builders.facts(permanent=True, cleanup_module=builders.CLEANUP, registrations=TIMER),
                            'auto', 'reset'),
    'exit lost, exit never': (builders.facts(permanent=True, cleanup_module=builders.CLEANUP, registrations=TIMER),
                              'never', 'none'),
    'init died, exit always': (builders.facts('coming', 1, oopses=[builders.oops()], registrations=TIMER), 'always',
                               'reset'),
    'no exit there is': (builders.facts(permanent=True, registrations=TIMER), 'always', 'park'),
}


@pytest.mark.parametrize('row', STEPS.values(), ids=list(STEPS))
def test_step(row):
    given, methods, run_exit, method, runs_exit = row
    assert plan(given, methods, run_exit) == {
        'method': method, 'runs_exit': runs_exit, 'refusal': None, 'next': None}


@pytest.mark.parametrize('row', REFUSALS.values(), ids=list(REFUSALS))
def test_refusal(row):
    given, methods, run_exit, why, advice = row
    found = plan(given, methods, run_exit)
    assert found['method'] == 'none'
    assert why in found['refusal']
    assert advice in found['next']


@pytest.mark.parametrize('row', ACCEPTED.values(), ids=list(ACCEPTED))
def test_only_all_of_its_hazards_accepted_let_it_be_freed(row):
    given, codes, method = row
    for code in codes:
        others = [other for other in hazards.HAZARDS if other != code]
        assert plan(given, FREE, 'auto', others)['method'] == 'none'
    found = plan(given, FREE, 'auto', codes)
    assert (found['method'], found['refusal']) == (method, None)


@pytest.mark.parametrize(('given', 'run_exit', 'method'), EXITS.values(), ids=list(EXITS))
def test_what_dangles_forbids_what_frees_without_exit(given, run_exit, method):
    assert plan(given, ALL, run_exit)['method'] == method


def test_every_hazard_can_be_accepted():
    assert {code for row in ACCEPTED.values() for code in row[1]} == set(hazards.HAZARDS)


@pytest.mark.parametrize('accepted', ['in_use', 'running_task'])
def test_one_of_two_hazards_is_not_enough(accepted):
    given = builders.facts(refcount=1, holders=HOLDERS, tasks=USER_TASK)
    left = {'in_use': 'running_task', 'running_task': 'in_use'}[accepted]
    assert 'accept_hazards=%s overrides' % left in plan(given, ALL, 'auto', [accepted])['next']
    assert plan(given, ALL, 'auto', ['in_use', 'running_task'])['method'] == 'kernel_force'


@pytest.mark.parametrize('given', [
    builders.facts('builtin'), builders.facts(kernel=builders.kernel(modules_disabled=1)),
    builders.facts(refcount=1, used_by=['bar'])], ids=['builtin', 'disabled', 'used'])
def test_no_hazard_accepted_gets_past_what_the_kernel_forbids(given):
    assert plan(given, ALL, 'always', list(hazards.HAZARDS))['method'] == 'none'


@pytest.mark.parametrize('run_exit', ['auto', 'always', 'never'])
@pytest.mark.parametrize('methods', [subset for count in range(5) for subset in itertools.combinations(ALL, count)],
                         ids=lambda methods: '+'.join(methods) or 'none')
@pytest.mark.parametrize('row', ['LEAKED', 'UNKNOWN', 'NO_EXIT', 'EXIT_LOST', 'INIT_DIED', 'EXIT_DIED', 'RUNNING',
                                 'HELD'])
def test_a_method_that_is_not_allowed_is_never_taken(row, methods, run_exit):
    found = plan(globals()[row], methods, run_exit)
    assert found['method'] in ('none',) + methods
    assert (found['method'] == 'none') == (found['refusal'] is not None)
    assert (found['refusal'] is None) == (found['next'] is None)
