# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a module cannot go: facts in, one verdict out, in the order in which the kernel's delete_module checks.

What was not found is not absent: references that nothing explains are not leaked, and code is not out of reach, until
that is shown.
"""

from typing import List, Optional, Sequence, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import crashes
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.hazards import (
    active,
    counted,
    entries,
    hazard,
    known,
    listed,
    name_task,
    named,
    uncounted,
    unread,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._types import (
    Diagnosis,
    Hazard,
    Holder,
    Holders,
    ModuleFacts,
    Oops,
    Registered,
    Task,
)

Hazards = List[Hazard]
Judged = Tuple[str, str, Hazards]

# Tasks of these names may be in the loader's system calls while they spin and /proc does not show which.
LOADERS = ('insmod', 'modprobe', 'kmod', 'rmmod', 'depmod', 'systemd-modules', 'systemd-udevd', '(udev-worker)')
LIVE = ('unloadable', 'in_use', 'in_use_unknown', 'references_leaked')
HALF_WAY = ('init_running', 'init_waiting', 'exit_running', 'exit_waiting')
DIED = ('init_died', 'exit_died')
# Where no exit runs, or none that is whole.
WITHOUT_EXIT = HALF_WAY + DIED + ('no_exit', 'exit_lost')
NOT_LOADED = ('absent', 'builtin')
# The loader's own references: what struct module counts of a module whose init, or exit, is half way. Each more is
# somebody's (kernel/module/main.c: MODULE_REF_BASE, and the one of load_module).
COUNTED_HALF_WAY = {'init': 2, 'exit': 0}
CALLS = {'init': ('init_module', 'finit_module'), 'exit': ('delete_module',)}


def diagnose(facts: ModuleFacts, forced: bool = False) -> Diagnosis:
    """``{'verdict', 'reason', 'hazards': [{'code', 'reason', 'evidence'}]}`` from the facts of one module.

    ``forced``: it is to go by the helper, or without its exit, also where neither is needed: then what it has
    registered counts for a healthy module as well.

    ``reason`` is one plain sentence. Follows SYSCALL_DEFINE2(delete_module) in kernel/module/main.c.
    """
    verdict, reason, hazards = _verdict(facts)
    if verdict not in NOT_LOADED and facts['module']['state'] not in NOT_LOADED:
        if verdict in WITHOUT_EXIT or (forced and verdict in LIVE):
            hazards = hazards + _reachable(facts)
        hazards = hazards + _blind(facts, hazards) + _locks(facts, verdict) + _foreign(facts, verdict, forced)
    return {'verdict': verdict, 'reason': reason, 'hazards': hazards}


def _verdict(facts: ModuleFacts) -> Judged:
    name = facts['name']
    module = facts['module']
    state = module['state']
    if state == 'absent':
        return 'absent', f'{name} is not loaded.', []
    if state == 'builtin':
        return 'builtin', f'{name} is built into the kernel.', []
    if facts['kernel']['modules_disabled'] == 1:
        return 'unload_disabled', 'kernel.modules_disabled=1 forbids loading and unloading until the next boot.', []
    if is_unavailable(module['refcount']):
        return 'unload_disabled', 'This kernel cannot unload modules (CONFIG_MODULE_UNLOAD is not set).', []
    if module['used_by']:
        return 'has_dependents', '{} is used by the modules {}.'.format(name, ', '.join(module['used_by'])), []
    if state == 'coming':
        return _half_way(facts, 'init')
    if state == 'going':
        return _half_way(facts, 'exit')
    return _live(facts)


# Init or exit half way


def _half_way(facts: ModuleFacts, call: str) -> Judged:
    name = facts['name']
    inside, others = _tasks_half_way(facts, call)
    death = own_death(facts)
    if inside or (others and not death):
        return _still_there(facts, call, inside or others)
    if not death:
        return _undecided(facts, call)
    hazards: Hazards = []
    in_code = others + _kernel_threads(facts)
    if in_code:
        hazards.append(_runs_in(name, in_code))
    hazards += _further_holders(facts, call)
    reason = 'The {} of {} died: {} in {}.'.format(
        call, name, known(death['cause'], 'an oops'), known(death['function'], 'its code'))
    return call + '_died', reason, hazards


def own_death(facts: ModuleFacts) -> Optional[Oops]:
    """The oops that ended the module's init or exit half way; None without one. One in a worker ends neither."""
    oopses, call = facts['oopses'], {'coming': 'init', 'going': 'exit'}.get(facts['module']['state'])
    if is_unavailable(oopses) or not call:
        return None
    return crashes.own_death(oopses, facts['name'], call)


def _tasks_half_way(facts: ModuleFacts, call: str) -> Tuple[List[Task], List[Task]]:
    """Tasks that are alive in the init or exit; and others, of processes, that are in the module's code."""
    in_code = {task['tid']: task for task in facts['tasks']['tasks']}
    inside: List[Task] = []
    for task in facts['loader_tasks']['tasks']:
        # Which module a load is for cannot always be told: it may be this one.
        if task['call'] in CALLS[call] and task['module'] in (facts['name'], None):
            inside.append({**in_code.pop(task['tid'], task), **task})
    spinning = [] if is_unavailable(facts['spinning']) else list(facts['spinning'])
    if own_death(facts):
        # The oops accounts for the state: a busy task of another kind proves nothing.
        spinning = [task for task in spinning if task.get('command') in LOADERS]
    seen = {task['tid'] for task in inside}
    inside += [task for task in spinning if task['tid'] not in seen]
    others = [task for task in in_code.values() if not own_death(facts) or not task.get('kernel_thread')]
    return inside, [task for task in others if task['tid'] not in {busy['tid'] for busy in spinning}]


def _still_there(facts: ModuleFacts, call: str, tasks: List[Task]) -> Judged:
    name, who = facts['name'], listed([name_task(task) for task in tasks])
    waits = all(task.get('waits_in') for task in tasks)
    verdict, reason = call + ('_waiting' if waits else '_running'), f'the {call} of {name} still runs: {who}'
    if waits:
        reason = f'the {call} of {name} has not returned: {who}'
    below = named(counted(facts.get('holders_below', {})))
    if below:
        reason += '; what it waits for may be held by {}'.format(listed(below))
    return verdict, reason[0].upper() + reason[1:] + '.', [hazard('running_task', reason, tasks)]


def _undecided(facts: ModuleFacts, call: str) -> Judged:
    name = facts['name']
    if is_unavailable(facts['oopses']):
        log = 'the kernel log could not be read: {}'.format(facts['oopses']['unavailable'])
    else:
        log = f'the kernel log shows no oops that ended its {call}'
    log = '; '.join([log, *facts.get('oopses_lost', [])])
    return (call + '_running',
            f'Whether the {call} of {name} still runs or died cannot be told: no task is seen in it, and {log}.',
            [hazard('undecided', f'no task is seen in the {call} of {name}, and {log}', [])])


def _further_holders(facts: ModuleFacts, call: str) -> Hazards:
    name, holders = facts['name'], counted(facts['holders'])
    hazards = []
    if holders:
        hazards.append(hazard('in_use', '{} is held by {}'.format(name, listed(named(holders))), holders))
    count = None if is_unavailable(facts['live']) else facts['live']['refcount']
    if count is not None and count != COUNTED_HALF_WAY[call] and not holders:
        hazards.append(hazard('undecided', '{} counts {} references, and a dead {} alone leaves {}: something else '
                              'holds it'.format(name, count, call, COUNTED_HALF_WAY[call]), []))
    return hazards


# Live modules


def _live(facts: ModuleFacts) -> Judged:
    name, references = facts['name'], _references(facts)
    loading = [task for task in facts['loader_tasks']['tasks']
               if task['call'] in CALLS['init'] and task['module'] == name]
    if loading:
        return _still_there(facts, 'init', loading)
    holders, lost = _holders(facts), active(facts['holders'])
    hazards: Hazards = []
    if references == 0:
        lost = lost + uncounted(facts['holders'])
    if holders and (references > 0 or exit_missing(facts)):
        hazards.append(hazard('in_use', f'{name} is held by {listed(named(holders))}', holders))
    elif lost:
        hazards.append(hazard('in_use', f'{name} serves what is in use: {listed(named(lost))}', lost))
    if facts['tasks']['tasks']:
        hazards.append(_runs_in(name, facts['tasks']['tasks']))
    hazards += _another_exit(facts)
    if references > 0 and not holders and not shown_unreachable(facts):
        hazards.append(hazard('undecided', _not_seen(facts), unread(facts['holders']) + pointers(facts)))

    if exit_missing(facts):
        verdict, reason, more = _without_exit(facts)
        return verdict, reason, hazards + more
    if references == 0:
        return _unreferenced(facts, lost, hazards)
    if holders:
        return 'in_use', f'{name} is held by {listed(named(holders))}.', hazards
    if shown_unreachable(facts):
        reason = '{} has {}, and nothing in the kernel points to it: {} leaked.'.format(
            name, _told_references(references), 'it is' if references == 1 else 'they are')
        return 'references_leaked', reason, hazards
    return 'in_use_unknown', f'{_not_seen(facts)}.', hazards


def _holders(facts: ModuleFacts) -> List[Task]:
    """Who takes a reference. A kernel thread in its code does where there are any: that its exit stops it is for 0."""
    threads: List[Task] = [
        {**thread, 'what': 'kernel thread ' + name_task(thread), 'evidence': thread.get('evidence', 'its stack'),
         'end_with': ''} for thread in _kernel_threads(facts)]
    return [*counted(facts['holders']), *(threads if _references(facts) > 0 else [])]


def _references(facts: ModuleFacts) -> int:
    count = facts['module']['refcount']
    return 0 if is_unavailable(count) else count


def _told_references(count: int) -> str:
    return '1 reference' if count == 1 else f'{count} references'


def _unreferenced(facts: ModuleFacts, lost: List[Holder], hazards: Hazards) -> Judged:
    name = facts['name']
    if lost:
        served = listed(named(lost))
        return 'in_use', f'No reference of {name} is counted, but it serves what is in use: {served}.', hazards
    holders: Holders = {} if is_unavailable(facts['holders']) else facts['holders']
    with_it = named([entry for found in (holders.get('network'), holders.get('devices'))
                     if not is_unavailable(found) for entry in found])
    going = f'; {listed(with_it)} will go with it' if with_it else ''
    return 'unloadable', f'{name} is live and unused{going}.', hazards


def _not_seen(facts: ModuleFacts) -> str:
    name, references, why = facts['name'], _references(facts), unread(facts['holders'])
    count = _told_references(references)
    them = 'it' if references == 1 else 'them'
    if is_unavailable(facts['holders']):
        return '{} has {}; who holds {} was {}'.format(name, count, them, facts['holders']['unavailable'])
    told = f'{name} has {count}, and who holds {them} could not be seen'
    if why:
        told += ' ({})'.format('; '.join(why))
    if facts['reachability']['answer'] == 'reachable':
        return '{}; the kernel can reach it: {}'.format(told, facts['reachability']['reason'])
    return '{}: nothing shows that it is unused ({})'.format(told, facts['reachability']['reason'])


def exit_missing(facts: ModuleFacts) -> bool:
    """True where the kernel finds no exit pointer: struct module says so, or else the table's ``[permanent]``."""
    live = facts['live']
    if is_unavailable(live):
        return bool(facts['module'].get('permanent'))
    return bool(live['init'] and not live['exit'])


def _another_exit(facts: ModuleFacts) -> Hazards:
    """In another layout of struct module than the kernel's, something else may lie where that looks for the exit."""
    live, cleanup = facts['live'], facts['cleanup_module']
    if is_unavailable(live) or not live['exit'] or not isinstance(cleanup, int) or live['exit'] == cleanup:
        return []
    return [hazard('undecided', 'the kernel would call {:#x} as the exit of {}, and its exit is at {:#x}'.format(
        live['exit'], facts['name'], cleanup), [])]


def _without_exit(facts: ModuleFacts) -> Judged:
    name = facts['name']
    cleanup = facts['cleanup_module']
    if cleanup is None:
        return 'no_exit', f'{name} has no exit function, so the kernel calls it permanent.', []
    if is_unavailable(cleanup):
        why = 'whether {} has an exit that the kernel lost cannot be told: {}'.format(name, cleanup['unavailable'])
        reason = 'The kernel finds no exit function of {}, so it calls it permanent (its symbols: {}).'.format(
            name, cleanup['unavailable'])
        return 'no_exit', reason, [hazard('undecided', why, [])]
    offsets = facts['exit_offsets']
    where = '' if is_unavailable(offsets) else \
        ' (it is at {module}, and the kernel looks at {kernel})'.format(**offsets)
    return 'exit_lost', (
        f'{name} has an exit function, but the kernel finds no pointer to it{where}: the module was built with another '
        'layout of struct module than the running kernel has.'), []


# What the kernel can still reach, and what nobody could see


def shown_unreachable(facts: ModuleFacts) -> bool:
    """Whether it was shown that nothing in the kernel's memory leads into the module any more."""
    return bool(facts['reachability']['answer'] == 'unreachable')


def _kernel_threads(facts: ModuleFacts) -> List[Task]:
    """Those asleep in its code, and those that will return there from where they sleep."""
    inside = [task for task in facts['tasks']['tasks'] if task.get('kernel_thread')]
    pids = {task['pid'] for task in inside}
    return [*inside, *(entry for entry in entries(facts['holders'])
                       if entry.get('kind') == 'kernel thread' and entry['pid'] not in pids)]


def _runs_in(name: str, tasks: Sequence[Task]) -> Hazard:
    return hazard('running_task', 'tasks run in the code of {}: {}'.format(
        name, listed([name_task(task) for task in tasks])), tasks)


def pointers(facts: ModuleFacts) -> List[Registered]:
    """The words of kernel memory that point into the module, as what a module registered is told."""
    return [{'kind': 'pointer', 'what': '{} in {}'.format(hit['what'], hit['place']) if hit['what'] else
             'in {}'.format(hit['place']), 'evidence': 'at {address} to {target}'.format(**hit)}
            for hit in facts['reachability']['hits']]


def dangling(facts: ModuleFacts) -> List[Registered]:
    """What the kernel would call of the module when its code is gone: what it registered, its kernel threads.

    Where none of that has a name, the words of memory that lead there.
    """
    threads: List[Registered] = [
        {'kind': 'kernel thread', 'what': name_task(task), 'evidence': task.get('evidence', 'its stack')}
        for task in _kernel_threads(facts)]
    return threads + facts['registrations']['found'] or pointers(facts)


def _reachable(facts: ModuleFacts) -> Hazards:
    """What was found is named; what was not found is not absent, unless that was shown."""
    name, found = facts['name'], dangling(facts)
    hazards: Hazards = []
    if found:
        what = listed(['{kind} {what}'.format(**entry) for entry in found])
        hazards.append(hazard('dangling_references', f'the kernel would still call {name}: {what}', found))
    if facts['reachability']['answer'] == 'unknown' or (not found and not shown_unreachable(facts)):
        hazards.append(hazard('reachability_unknown', 'nothing shows that the kernel can no longer reach the code of '
                              '{}: {}'.format(name, facts['reachability']['reason']), []))
    return hazards


def _blind(facts: ModuleFacts, hazards: Hazards) -> Hazards:
    """What could not be read counts as found. Told once: where something is undecided already, that says it all."""
    why: List[str] = []
    if facts['namespace']:
        why.append(facts['namespace'])
    why += facts['tasks']['unreadable'] + facts['loader_tasks']['unreadable']
    if not why or any(entry['code'] == 'undecided' for entry in hazards):
        return []
    return [hazard('undecided', 'whether a task runs in the code of {} could not be seen: {}'.format(
        facts['name'], '; '.join(sorted(set(why)))), why)]


def _locks(facts: ModuleFacts, verdict: str) -> Hazards:
    """Locks that died with their owner and that this unload, or a fixed build, would wait for."""
    if is_unavailable(facts['oopses']):
        return []
    held = crashes.locks_held(facts['oopses'], facts['name'])
    if not held and (verdict in LIVE or verdict == 'exit_lost'):
        held = crashes.locks_of_its_own(facts['oopses'], facts['name'])
    if not held:
        return []
    return [hazard('locks_held', '; '.join(text for _lock, text in held), [lock for lock, _text in held])]


def _foreign(facts: ModuleFacts, verdict: str, forced: bool) -> Hazards:
    if is_unavailable(facts['oopses']) or (verdict == 'unloadable' and not forced):
        return []
    foreign, name, lost = crashes.foreign_oopses(facts['oopses'], facts['name']), facts['name'], facts['oopses_lost']
    if lost and not foreign:
        return [hazard('foreign_oops', 'an oops outside {} may be missing in the kernel log: {}'.format(
            name, '; '.join(lost)), list(lost))]
    if not foreign:
        return []
    last = foreign[-1]
    where = '{} in {}'.format(known(last['cause'], 'an oops'), known(last['function'], 'unknown code'))
    return [hazard('foreign_oops', f'the kernel log shows an oops outside {name}: {where}', foreign)]
