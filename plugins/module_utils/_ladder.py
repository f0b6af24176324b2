# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remedies, least force first: which one step gets this module out, or why none may be taken."""

from typing import Any, Dict, List, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._parked import is_parked

METHODS = ('plain', 'kernel_force', 'reset', 'park')
# What leaves the code in the kernel is done only where it is asked for.
DEFAULT_METHODS = METHODS[:3]
HELPED = ('reset', 'park')
# MODULE_REF_BASE in kernel/module/main.c: the loader's own reference
REFCOUNT_BASE = 1
HALF_WAY = ('init_running', 'exit_running')
DIED = ('init_died', 'exit_died')
NEXT_STEPS = {
    'builtin': 'Only a kernel built without it can do without it',
    'unload_disabled': 'Only a reboot helps',
    'has_dependents': 'Unload those first, or set cascade=true',
    'init_running': 'Let it finish; when it never does, only a reboot helps',
    'exit_running': 'Let it finish; when it never does, only a reboot helps',
    'in_use': 'End what holds it, then unload it again',
}
REBOOT = 'Reboot required: an oops outside the module may have left locks held, so nothing may be loaded'
PARK = ('Add park to methods: it leaves the code in place, so that nothing dangles, and a fixed build can be loaded '
        'under the name if it does not register the same again')
SHOW_ADDRESSES = ('Set kernel.kptr_restrict to 1 or 0 for the time of the cure (sysctl kernel.kptr_restrict=1), then '
                  'unload it again')


def keeps_exit(verdict, run_exit):
    # type: (str, str) -> bool
    """Whether the module's exit is to run: ``auto`` runs it unless init did not finish or exit already ran half way."""
    if run_exit == 'auto':
        return verdict not in HALF_WAY + DIED
    return run_exit == 'always'


def _guards(verdict, facts, runs_exit):
    # type: (str, Dict[str, Any], bool) -> Dict[str, bool]
    live = facts['module']['state'] == 'live'
    has_exit = verdict not in ('no_exit', 'exit_lost')
    forced = live and facts['kernel']['force_unload'] is True
    return {
        'plain': verdict == 'unloadable' and runs_exit,
        # Without O_TRUNC's help the kernel would free a module whose exit is lost and never run it.
        'kernel_force': forced and (runs_exit if has_exit else verdict == 'no_exit' or not runs_exit),
        'reset': True,
        'park': not is_parked(facts['name']),
    }


def _reset_lacks(facts):
    # type: (Dict[str, Any]) -> Optional[str]
    """Why the helper could not be told where the module is; None where nothing is lacking."""
    address, anchors = facts['module']['struct_address'], facts.get('anchors', {})
    if is_unavailable(address):
        return 'the address of its struct module is not known: {}'.format(address['unavailable'])
    return anchors['unavailable'] if is_unavailable(anchors) else None


def blocking(diagnosis, method, runs_exit, accepted):
    # type: (Dict[str, Any], str, bool, Any) -> List[Dict[str, Any]]
    """The hazards that forbid ``method``: those neither accepted by name nor seen to by the step itself."""
    if method == 'plain':
        return []
    return [hazard for hazard in diagnosis['hazards']
            if hazard['code'] not in accepted and not _seen_to(hazard, diagnosis['verdict'], method, runs_exit)]


def _seen_to(hazard, verdict, method, runs_exit):
    # type: (Dict[str, Any], str, str, bool) -> bool
    """Whether the step is safe all the same: the exit undoes it, the code stays, or nothing is loaded."""
    code = hazard['code']
    if code == 'foreign_oops':
        return method not in HELPED
    if code == 'dangling_references':
        return runs_exit or method == 'park'
    if verdict in HALF_WAY:
        return False
    if method == 'park':
        return code in ('running_task', 'undecided', 'in_use')
    # The module's own exit stops its kernel threads.
    return code == 'running_task' and runs_exit and all(task.get('kernel_thread') for task in hazard['evidence'])


def frees_without_exit(verdict, chosen):
    # type: (str, Dict[str, Any]) -> bool
    """Whether the plan that was ``chosen`` frees the module's code without its exit, so that what it left dangles."""
    return chosen['method'] in ('kernel_force', 'reset') and not (chosen['runs_exit'] and verdict != 'no_exit')


def look_for(verdict, method, runs_exit, accepted):
    # type: (str, str, bool, Any) -> str
    """Whom the helper's last look is to find in the module's code: ``tasks``, ``user_tasks`` or ``nobody``.

    Without kernel threads where its exit will stop them, or the code stays; nobody where that was accepted by name.
    """
    if 'running_task' in accepted:
        return 'nobody'
    if method == 'park':
        return 'user_tasks' if verdict in HALF_WAY + DIED else 'nobody'
    return 'user_tasks' if runs_exit and verdict not in HALF_WAY + ('no_exit',) else 'tasks'


def reset_values(facts, verdict, runs_exit, entry):
    # type: (Dict[str, Any], str, bool, Dict[str, Any]) -> Dict[str, Any]
    """What the reset writes over ``entry`` (state, refcount, init, exit as read): LIVE, the base, pointers mended."""
    init, leave = entry['init'], entry['exit']
    if not runs_exit:
        # delete_module asks for an exit only where there is an init.
        init, leave = 0, 0
    elif verdict == 'exit_lost':
        leave = facts['cleanup_module']
    elif not leave:
        init = 0
    return {'state': 'live', 'refcount': REFCOUNT_BASE, 'init': init, 'exit': leave}


def plan(facts, diagnosis, methods, run_exit='auto', accepted=()):
    # type: (Dict[str, Any], Dict[str, Any], List[str], str, Any) -> Dict[str, Any]
    """``{'method', 'runs_exit', 'refusal', 'next'}``: the one step that will work, or why none is taken.

    ``method`` is ``none`` where nothing is to be done or nothing may be; ``runs_exit``: whether the module's own exit
    runs, as far as it has one; ``refusal`` is None or one sentence.
    """
    verdict = diagnosis['verdict']
    runs_exit = keeps_exit(verdict, run_exit)
    answer = {'method': 'none', 'runs_exit': runs_exit, 'refusal': None, 'next': None}  # type: Dict[str, Any]
    if verdict == 'absent':
        return answer
    if verdict in ('builtin', 'unload_disabled', 'has_dependents'):
        return dict(answer, refusal=diagnosis['reason'], next=NEXT_STEPS[verdict])
    guards = _guards(verdict, facts, runs_exit)
    blocked = []  # type: List[Dict[str, Any]]
    for method in METHODS:
        if method not in methods or not guards[method]:
            continue
        blocked = blocking(diagnosis, method, runs_exit and verdict != 'no_exit', accepted)
        if not blocked and not (method in HELPED and _reset_lacks(facts)):
            return dict(answer, method=method, runs_exit=runs_exit and method != 'park')
    parks = guards['park'] and 'park' not in methods and not _reset_lacks(facts) and \
        not blocking(diagnosis, 'park', False, accepted)
    return dict(answer, **_refusal(facts, diagnosis, guards, blocked, parks))


def _refusal(facts, diagnosis, guards, blocked, parks):
    # type: (Dict[str, Any], Dict[str, Any], Dict[str, bool], List[Dict[str, Any]], bool) -> Dict[str, Optional[str]]
    lacks = _reset_lacks(facts)
    if lacks and all(hazard['code'] == 'dangling_references' for hazard in blocked):
        blocked = []  # what is lacking is what it takes to see them, too
    if blocked:
        reasons = '; '.join(hazard['reason'] for hazard in blocked)
        codes = ', '.join(hazard['code'] for hazard in blocked)
        undecided = any(hazard['code'] == 'undecided' for hazard in blocked)
        advice = NEXT_STEPS.get(diagnosis['verdict'],
                                'Find and end what uses it' if undecided else 'Remove what the hazard names')
        if parks and any(hazard['code'] == 'dangling_references' for hazard in blocked):
            advice = PARK
        if any(hazard['code'] == 'foreign_oops' for hazard in blocked):
            advice = REBOOT
        return {'refusal': f'it is not safe: {reasons}',
                'next': f'{advice} (accept_hazards={codes} overrides this, at the risk of the host)'}
    would = [method for method in DEFAULT_METHODS if guards[method] and not (method == 'reset' and lacks)]
    if lacks and not would:
        hidden = facts['kernel']['kptr_restrict'] == 2
        return {'refusal': '{} Only a reset would get it out: {}'.format(diagnosis['reason'], lacks),
                'next': SHOW_ADDRESSES if hidden else 'Only a reboot helps where that cannot be mended'}
    return {'refusal': '{} None of the methods allowed will get it out'.format(diagnosis['reason']),
            'next': 'Allow one of methods={}'.format(','.join(would))}


def expected(facts):
    # type: (Dict[str, Any]) -> Optional[Dict[str, Any]]
    """The entry as struct module was read, for the helper to compare with; None where it could not be read."""
    live = facts['live']
    if is_unavailable(live):
        return None
    return {key: live[key] for key in ('state', 'refcount', 'init', 'exit')}
