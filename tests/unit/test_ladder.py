# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which step is taken, which are refused, and what the reset writes: every method, guard and hazard."""

import itertools

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils import _diagnosis, _ladder
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable

ALL = list(_ladder.DEFAULT_METHODS)
UNFORCED = builders.kernel(force_unload=False)
UNKNOWN_FORCE = builders.kernel(force_unload=unavailable('no configuration'))
HOLDERS = {'mounts': [{'path': '/mnt/data'}]}
THREAD = {'tasks': [builders.task('foo_thread', 5, 'f_loop', kernel_thread=True)]}
USER_TASK = {'tasks': [builders.task('cat', 6, 'f_read')]}
HIDDEN_KERNEL = builders.kernel(kptr_restrict=2)
SYSCTL = 'sysctl kernel.kptr_restrict=1'
ELSEWHERE = builders.oops(module='', function='static_call_module_notify')

INIT_DIED = builders.facts('coming', 1, oopses=[builders.oops()])
EXIT_DIED = builders.facts('going', -1, oopses=[builders.oops(function='f_exit')])
LEAKED = builders.facts(refcount=3)
OWN = builders.facts(refcount=1, taint='')
DISK = builders.facts(refcount=1, taint='', holders={'devices': [
    {'device': 'virtio0', 'path': '/sys/devices/virtio0', 'evidence': 'driver virtio:virtio_blk'}]})
LEAKED_UNFORCED = builders.facts(refcount=3, kernel=UNFORCED)
NO_EXIT = builders.facts(permanent=True)
EXIT_LOST = builders.facts(permanent=True, cleanup_module=builders.CLEANUP)
RUNNING = builders.facts('coming', 1, tasks={'tasks': [builders.task()]})
UNDECIDED = builders.facts('going', -1)
HELD = builders.facts(refcount=1, holders=HOLDERS)


def hidden(given, **changes):
    """The facts where the kernel hides the address of struct module."""
    module = dict(given['module'], struct_address=unavailable('section addresses are hidden (kernel.kptr_restrict=2)'))
    return dict(given, module=module, kernel=HIDDEN_KERNEL, **changes)


# id: (facts, methods allowed, run_exit, method taken, whether exit runs)
STEPS = {
    'absent: nothing to do': (builders.facts('absent'), ALL, 'auto', 'none', True),
    'unloadable: the least force': (builders.facts(), ALL, 'auto', 'plain', True),
    'unloadable, exit always': (builders.facts(), ALL, 'always', 'plain', True),
    'unloadable, exit never: only a reset leaves it out': (builders.facts(), ALL, 'never', 'reset', False),
    'unloadable, plain not allowed': (builders.facts(), ['kernel_force', 'reset'], 'auto', 'kernel_force', True),
    'unloadable, reset alone': (builders.facts(), ['reset'], 'auto', 'reset', True),
    'unloadable with a task in it: the kernel checks': (builders.facts(tasks=USER_TASK), ALL, 'auto', 'plain', True),
    'leaked: the kernel forces': (LEAKED, ALL, 'auto', 'kernel_force', True),
    'leaked: order of the option does not matter': (LEAKED, ['reset', 'kernel_force'], 'auto', 'kernel_force', True),
    'leaked: force not allowed': (LEAKED, ['plain', 'reset'], 'auto', 'reset', True),
    'leaked: no CONFIG_MODULE_FORCE_UNLOAD': (LEAKED_UNFORCED, ALL, 'auto', 'reset', True),
    'leaked: configuration unknown': (builders.facts(refcount=3, kernel=UNKNOWN_FORCE), ALL, 'auto', 'reset', True),
    'leaked: exit never': (LEAKED, ALL, 'never', 'reset', False),
    'no exit: the kernel forces': (NO_EXIT, ALL, 'auto', 'kernel_force', True),
    'no exit, exit always: there is none to run': (NO_EXIT, ALL, 'always', 'kernel_force', True),
    'no exit, exit never': (NO_EXIT, ALL, 'never', 'kernel_force', False),
    'no exit: reset alone': (NO_EXIT, ['reset'], 'auto', 'reset', True),
    'exit lost: force would not run it': (EXIT_LOST, ALL, 'auto', 'reset', True),
    'exit lost: exit always': (EXIT_LOST, ALL, 'always', 'reset', True),
    'exit lost: exit never': (EXIT_LOST, ALL, 'never', 'kernel_force', False),
    'init died: force never helps': (INIT_DIED, ALL, 'auto', 'reset', False),
    'init died: exit always': (INIT_DIED, ALL, 'always', 'reset', True),
    'exit died': (EXIT_DIED, ALL, 'auto', 'reset', False),
    'exit died: exit always': (EXIT_DIED, ALL, 'always', 'reset', True),
    'leaked, a kernel thread of its own: exit stops it': (
        builders.facts(refcount=1, tasks=THREAD), ALL, 'auto', 'kernel_force', True),
    'leaked, an oops elsewhere: nothing is loaded': (
        builders.facts(refcount=1, oopses=[ELSEWHERE]), ALL, 'auto', 'kernel_force', True),
    'addresses hidden: what needs none': (hidden(LEAKED), ALL, 'auto', 'kernel_force', True),
    'addresses hidden, unloadable': (hidden(builders.facts()), ALL, 'auto', 'plain', True),
    'anchors not asked for': ({key: value for key, value in INIT_DIED.items() if key != 'anchors'}, ALL, 'auto',
                              'reset', False),
}

# id: (facts, methods allowed, run_exit, words of the refusal, words of what to do next)
REFUSALS = {
    'builtin': (builders.facts('builtin'), ALL, 'auto', 'built into the kernel', 'kernel built without it'),
    'modules_disabled': (builders.facts(kernel=builders.kernel(modules_disabled=1)), ALL, 'auto',
                         'modules_disabled=1', 'Only a reboot'),
    'dependents': (builders.facts(refcount=1, used_by=['bar']), ALL, 'auto', 'modules bar', 'cascade=true'),
    'leaked: plain alone': (LEAKED, ['plain'], 'auto', 'None of the methods allowed', 'methods=kernel_force,reset'),
    'init died: no reset': (INIT_DIED, ['plain', 'kernel_force'], 'auto', 'died', 'methods=reset'),
    'exit lost: no reset': (EXIT_LOST, ['plain', 'kernel_force'], 'auto', 'layout', 'methods=reset'),
    'unloadable: no method at all': (builders.facts(), [], 'auto', 'None of the methods',
                                     'methods=plain,kernel_force,reset'),
    'init runs': (RUNNING, ALL, 'auto', 'insmod (pid 1876, in f_init)', 'Let it finish'),
    'init runs in a kernel thread, exit always': (builders.facts('coming', 1, tasks=THREAD), ALL, 'always',
                                                  'foo_thread (pid 5, in f_loop)', 'Let it finish'),
    'exit undecided': (UNDECIDED, ALL, 'auto', 'no oops either', 'Let it finish'),
    'held': (HELD, ALL, 'auto', 'mount /mnt/data', 'End what holds it'),
    'no exit, held': (builders.facts(refcount=1, permanent=True, holders=HOLDERS), ALL, 'auto',
                      'mount /mnt/data', 'Remove what the hazard names'),
    'leaked, a user task in the code': (builders.facts(refcount=1, tasks=USER_TASK), ALL, 'auto',
                                        'cat (pid 6, in f_read)', 'Remove what the hazard names'),
    'leaked, a kernel thread, but exit never': (builders.facts(refcount=1, tasks=THREAD), ALL, 'never',
                                                'foo_thread', 'accept_hazards=running_task'),
    'no exit, a kernel thread that nothing stops': (builders.facts(permanent=True, tasks=THREAD), ALL, 'auto',
                                                    'foo_thread', 'accept_hazards=running_task'),
    'oops elsewhere': (builders.facts('coming', 1, oopses=[builders.oops(), ELSEWHERE]), ALL, 'auto',
                       'static_call_module_notify', 'Reboot required'),
    'oops elsewhere, force not allowed': (builders.facts(refcount=1, oopses=[ELSEWHERE]), ['plain', 'reset'], 'auto',
                                          'outside foo', 'Reboot required'),
    "the kernel's own, referenced": (OWN, ALL, 'auto', "are leaked: foo is the kernel's own and healthy",
                                     'Find and end what uses it'),
    'the driver of a root disk': (DISK, ALL, 'auto', 'device virtio0 (driver virtio:virtio_blk)', 'End what holds it'),
    'addresses hidden, init died': (hidden(INIT_DIED), ALL, 'auto', 'section addresses are hidden', SYSCTL),
    'addresses hidden, exit died': (hidden(EXIT_DIED), ALL, 'auto', 'the address of its struct module', SYSCTL),
    'addresses hidden, no reset either': (hidden(INIT_DIED), ['plain'], 'auto', 'Only a reset would', SYSCTL),
    'addresses hidden, exit lost': (hidden(EXIT_LOST), ALL, 'auto', 'Only a reset would get it out', SYSCTL),
    'addresses hidden, init runs': (hidden(RUNNING), ALL, 'auto', 'insmod (pid 1876, in f_init)', 'Let it finish'),
    'addresses hidden, leaked: force not allowed': (hidden(LEAKED), ['plain', 'reset'], 'auto', 'None of the methods',
                                                    'methods=kernel_force'),
    'anchors hidden': (dict(INIT_DIED, anchors=unavailable('the addresses in /proc/kallsyms are hidden'),
                            kernel=HIDDEN_KERNEL), ALL, 'auto', 'the addresses in /proc/kallsyms are hidden', SYSCTL),
    'no section addresses, nothing hidden': (
        dict(INIT_DIED, module=dict(INIT_DIED['module'], struct_address=unavailable('No such file or directory'))), ALL,
        'auto', 'No such file or directory', 'Only a reboot helps where that cannot be mended'),
    'two hazards, both named': (builders.facts(refcount=1, holders=HOLDERS, tasks=USER_TASK), ALL, 'auto',
                                'mount /mnt/data; tasks run', 'accept_hazards=in_use, running_task'),
}
TIMER = {'found': [{'kind': 'timer', 'what': 'f_tick', 'evidence': 'timer_list.function is f_tick'}], 'unseen': [],
         'blind': ''}

# id: (facts, the one hazard that stands in the way, method once it is accepted)
ACCEPTED = {
    'a running init': (RUNNING, 'running_task', 'reset'),
    'an undecided exit': (UNDECIDED, 'undecided', 'reset'),
    "references of the kernel's own": (OWN, 'undecided', 'kernel_force'),
    'the driver of a root disk': (DISK, 'in_use', 'kernel_force'),
    'a holder': (HELD, 'in_use', 'kernel_force'),
    'an oops elsewhere': (builders.facts('going', -1, oopses=[builders.oops(), ELSEWHERE]), 'foreign_oops', 'reset'),
    'holders unknown': (builders.facts(refcount=1, holders={'processes': unavailable('kcore')}), 'undecided',
                        'kernel_force'),
    'a timer still armed': (builders.facts('coming', 1, oopses=[builders.oops()], registrations=TIMER),
                            'dangling_references', 'reset'),
}

# id: (facts, run_exit, method): an exit that runs takes back what was registered
EXITS = {
    'exit lost and found': (builders.facts(permanent=True, cleanup_module=builders.CLEANUP, registrations=TIMER),
                            'auto', 'reset'),
    'exit lost, exit never': (builders.facts(permanent=True, cleanup_module=builders.CLEANUP, registrations=TIMER),
                              'never', 'none'),
    'init died, exit always': (builders.facts('coming', 1, oopses=[builders.oops()], registrations=TIMER), 'always',
                               'reset'),
    'no exit there is': (builders.facts(permanent=True, registrations=TIMER), 'always', 'none'),
}


# --- every hazard and every method: which method goes on in spite of which hazard ------------------------------------

def dangerous(verdict, code, *, kernel_threads=False):
    """A diagnosis with one hazard."""
    evidence = [builders.task(kernel_thread=kernel_threads)] if code == 'running_task' else []
    hazard = {'code': code, 'reason': code, 'evidence': evidence}
    return {'verdict': verdict, 'reason': 'It is so.', 'hazards': [hazard]}


# hazard: for (a live module whose exit runs, the same without its exit, one that died half way, one that may still run
# half way): the methods that it forbids. Plain is the kernel's own: it refuses what it must.
FREES = ('kernel_force', 'reset')
FORBIDS = {
    'running_task': (FREES, FREES, FREES, (*FREES, 'park')),
    'running_task in kernel threads alone': ((), FREES, FREES, (*FREES, 'park')),
    'undecided': (FREES, FREES, FREES, (*FREES, 'park')),
    'in_use': (FREES, FREES, FREES, (*FREES, 'park')),
    'foreign_oops': (('reset', 'park'),) * 4,
    'dangling_references': ((), FREES, FREES, FREES),
}
CASES = (('references_leaked', True), ('references_leaked', False), ('init_died', False), ('init_running', False))


@pytest.mark.parametrize('method', _ladder.METHODS)
@pytest.mark.parametrize('case', range(4), ids=['exit runs', 'exit does not run', 'died', 'half way'])
@pytest.mark.parametrize('hazard', FORBIDS)
def test_hazard_and_method(hazard, case, method):
    (verdict, runs_exit), code = CASES[case], hazard.split()[0]
    given = dangerous(verdict, code, kernel_threads='threads' in hazard)
    forbidden = method in FORBIDS[hazard][case]
    assert bool(_ladder.blocking(given, method, runs_exit, [])) == forbidden
    assert _ladder.blocking(given, method, runs_exit, [code]) == []
    others = [other for other in _diagnosis.HAZARDS if other != code]
    assert bool(_ladder.blocking(given, method, runs_exit, others)) == forbidden


def test_the_table_has_every_hazard():
    assert {hazard.split()[0] for hazard in FORBIDS} == set(_diagnosis.HAZARDS)


def test_a_hazard_not_known_here_forbids_all_but_what_the_kernel_guards():
    given = dangerous('references_leaked', 'new_one')
    assert [method for method in _ladder.METHODS if not _ladder.blocking(given, method, False, [])] == ['plain']


# (verdict, method, whether exit runs, accepted): whom the helper's last look is to find
LOOKS = {
    ('init_died', 'reset', False, ()): 'tasks',
    ('exit_died', 'reset', False, ('dangling_references', 'undecided', 'in_use', 'foreign_oops')): 'tasks',
    ('init_running', 'reset', False, ('undecided',)): 'tasks',
    ('init_running', 'reset', True, ('undecided',)): 'tasks',
    ('init_running', 'reset', False, ('running_task',)): 'nobody',
    ('references_leaked', 'reset', True, ()): 'user_tasks',
    ('references_leaked', 'reset', False, ()): 'tasks',
    ('exit_lost', 'reset', True, ()): 'user_tasks',
    ('no_exit', 'reset', True, ()): 'tasks',
    ('init_died', 'reset', True, ()): 'user_tasks',
    ('init_died', 'park', False, ()): 'user_tasks',
    ('init_running', 'park', False, ('undecided',)): 'user_tasks',
    ('references_leaked', 'park', False, ()): 'nobody',
    ('in_use', 'park', False, ('running_task',)): 'nobody',
}


@pytest.mark.parametrize('case', LOOKS, ids=lambda case: ' '.join(map(str, case[:3])) + ' ' + '+'.join(case[3]))
def test_whom_the_last_look_is_to_find(case):
    assert _ladder.look_for(*case) == LOOKS[case]


# --- park -----------------------------------------------------------------------------------------------------------

DANGLING = [{'code': 'dangling_references', 'reason': 'foo left misc device foo', 'evidence': [{'kind': 'device'}]}]
PARK = [*ALL, 'park']
# id: (facts, hazards beside those found, methods, accepted, method taken)
PARKED = {
    'only where it is named': (INIT_DIED, DANGLING, ALL, [], 'none'),
    'where the others are refused': (INIT_DIED, DANGLING, PARK, [], 'park'),
    'accepted: then it is freed': (INIT_DIED, DANGLING, PARK, ['dangling_references'], 'reset'),
    'where nothing stands in the way, less is kept': (INIT_DIED, [], PARK, [], 'reset'),
    'where it is the only one': (INIT_DIED, [], ['park'], [], 'park'),
    'a healthy one, where it is the only one': (builders.facts(), [], ['park'], [], 'park'),
    'a healthy one otherwise': (builders.facts(), [], PARK, [], 'plain'),
    'one that is held: its code stays': (HELD, [], PARK, [], 'park'),
    'one with tasks in it: its code stays': (builders.facts(refcount=1, tasks=USER_TASK), [], PARK, [], 'park'),
    'never one that runs': (RUNNING, [], PARK, [], 'none'),
    'one that runs, at the risk of the host': (RUNNING, [], ['park'], ['running_task'], 'park'),
    'never with an oops elsewhere': (builders.facts('coming', 1, oopses=[builders.oops(), ELSEWHERE]), [], PARK, [],
                                     'none'),
    'never one that others use': (builders.facts(refcount=1, used_by=['bar']), [], PARK, list(_diagnosis.HAZARDS),
                                  'none'),
    'never where it cannot be found': (hidden(INIT_DIED), [], PARK, [], 'none'),
    'never twice': (dict(INIT_DIED, name='foo_parked1'), DANGLING, PARK, [], 'none'),
    'never a built-in one': (builders.facts('builtin'), [], PARK, [], 'none'),
}


@pytest.mark.parametrize('row', PARKED.values(), ids=list(PARKED))
def test_park(row):
    given, hazards, methods, accepted, method = row
    diagnosis = _diagnosis.diagnose(given)
    diagnosis['hazards'] = diagnosis['hazards'] + hazards
    found = _ladder.plan(given, diagnosis, methods, 'auto', accepted)
    assert found['method'] == method
    assert (found['refusal'] is None) == (method != 'none')
    assert not (method == 'park' and found['runs_exit'])


def test_dangling_references_lead_to_park():
    diagnosis = dict(_diagnosis.diagnose(INIT_DIED), hazards=DANGLING)
    found = _ladder.plan(INIT_DIED, diagnosis, ALL)
    assert found['refusal'] == 'it is not safe: foo left misc device foo'
    assert found['next'].startswith('Add park to methods')
    assert 'accept_hazards=dangling_references overrides this, at the risk of the host' in found['next']
    parked = dict(INIT_DIED, name='foo_parked1')
    assert 'park' not in _ladder.plan(parked, diagnosis, ALL)['next']


@pytest.mark.parametrize(('verdict', 'method', 'runs_exit', 'frees'), [
    ('init_died', 'reset', False, True), ('no_exit', 'kernel_force', True, True), ('no_exit', 'reset', True, True),
    ('exit_lost', 'kernel_force', False, True), ('exit_lost', 'reset', True, False),
    ('unloadable', 'plain', True, False), ('references_leaked', 'kernel_force', True, False),
    ('init_died', 'park', False, False)])
def test_what_frees_code_without_its_exit(verdict, method, runs_exit, frees):
    assert _ladder.frees_without_exit(verdict, {'method': method, 'runs_exit': runs_exit}) is frees


AS_READ = {'state': 'coming', 'refcount': 4, 'init': builders.INIT, 'exit': builders.EXIT}
NULL_EXIT = dict(AS_READ, state='live', exit=0)

# id: (verdict, whether exit runs, entry as read, init and exit written)
RESET_VALUES = {
    'skip exit: no init, or delete_module would ask for an exit': ('init_died', False, AS_READ, 0, 0),
    'skip exit, exit died': ('exit_died', False, dict(AS_READ, state='going', refcount=0), 0, 0),
    'run exit: pointers as they are': ('references_leaked', True, AS_READ, builders.INIT, builders.EXIT),
    'run exit although init died': ('init_died', True, AS_READ, builders.INIT, builders.EXIT),
    'exit lost: the code of cleanup_module': ('exit_lost', True, NULL_EXIT, builders.INIT, builders.CLEANUP),
    'exit lost, exit never': ('exit_lost', False, NULL_EXIT, 0, 0),
    'no exit: init must go': ('no_exit', True, NULL_EXIT, 0, 0),
}


def plan(given, methods, run_exit='auto', accepted=()):
    return _ladder.plan(given, _diagnosis.diagnose(given), methods, run_exit, accepted)


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
def test_accepted_hazard_lets_through_that_hazard_only(row):
    given, code, method = row
    others = [other for other in _diagnosis.HAZARDS if other != code]
    assert plan(given, ALL, 'auto', others)['method'] == 'none'
    found = plan(given, ALL, 'auto', [code])
    assert (found['method'], found['refusal']) == (method, None)


@pytest.mark.parametrize(('given', 'run_exit', 'method'), EXITS.values(), ids=list(EXITS))
def test_what_dangles_forbids_what_frees_without_exit(given, run_exit, method):
    assert plan(given, ALL, run_exit)['method'] == method


def test_every_hazard_can_be_accepted():
    assert {row[1] for row in ACCEPTED.values()} | {'dangling_references'} == set(_diagnosis.HAZARDS)


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
    assert plan(given, ALL, 'always', list(_diagnosis.HAZARDS))['method'] == 'none'


@pytest.mark.parametrize('run_exit', ['auto', 'always', 'never'])
@pytest.mark.parametrize('methods', [subset for count in range(4) for subset in itertools.combinations(ALL, count)],
                         ids=lambda methods: '+'.join(methods) or 'none')
@pytest.mark.parametrize('row', ['LEAKED', 'NO_EXIT', 'EXIT_LOST', 'INIT_DIED', 'EXIT_DIED', 'RUNNING', 'HELD'])
def test_a_method_that_is_not_allowed_is_never_taken(row, methods, run_exit):
    found = plan(globals()[row], methods, run_exit)
    assert found['method'] in ('none',) + methods
    assert (found['method'] == 'none') == (found['refusal'] is not None)
    assert (found['refusal'] is None) == (found['next'] is None)


@pytest.mark.parametrize('row', RESET_VALUES.values(), ids=list(RESET_VALUES))
def test_reset_values(row):
    verdict, runs_exit, entry, init, leave = row
    given = builders.facts(cleanup_module=builders.CLEANUP)
    assert _ladder.reset_values(given, verdict, runs_exit, entry) == {
        'state': 'live', 'refcount': 1, 'init': init, 'exit': leave}


def test_expected_is_struct_module_as_read():
    assert _ladder.expected(builders.facts('coming', 1)) == {
        'state': 'coming', 'refcount': 2, 'init': builders.INIT, 'exit': builders.EXIT}
    assert _ladder.expected(builders.facts(live=unavailable('lockdown'))) is None
