# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remedies, least force first: which one step gets this module out, or why none may be taken."""

from typing import Collection, Dict, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.crashes import OF_ITS_OWN
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.diagnose import DIED, HALF_WAY
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.hazards import HAZARDS
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.parked import is_parked
from ansible_collections.kernelops.kmod.plugins.module_utils._types import (
    Diagnosis,
    Entry,
    Hazard,
    Kernel,
    ModuleFacts,
    Plan,
)

METHODS = ('plain', 'kernel_force', 'undo', 'reset', 'park')
BY_DEFAULT = ('plain', 'kernel_force', 'reset', 'park')
HELPED = ('undo', 'reset', 'park')
# They call functions of the kernel, which a helper that Python writes cannot.
CALL_THE_KERNEL = ('undo', 'park')
# MODULE_REF_BASE in kernel/module/main.c: the loader's own reference
REFCOUNT_BASE = 1
# By default the code of these stays: nobody uses them, and what they left may still be called.
PARKED_BY_DEFAULT = DIED + ('no_exit',)
LET_IT_FINISH = 'Let it finish, or end what it waits for; when it never does, only a reboot helps'
# It builds the compiled helper for the host's own kernel, and takes the same steps.
PLAYBOOK = "ansible-playbook kernelops.kmod.force_unload -l HOST -e '{force_unload_names: [%s]}'"
SIGNED = 'set force_unload_sign_key and force_unload_sign_cert: this kernel takes only signed modules'
NEXT_STEPS = {
    'builtin': 'Only a kernel built without it can do without it',
    'unload_disabled': 'Only a reboot helps',
    'has_dependents': 'Unload those first, or set cascade=true',
    'in_use': 'End what holds it, then unload it again',
    'in_use_unknown': 'Find and end what uses it, then unload it again',
}
NEXT_STEPS.update(dict.fromkeys(HALF_WAY, LET_IT_FINISH))
PARK = ('Add park to methods: it leaves the code in place, so that nothing dangles, and a fixed build can be loaded '
        'under the name if it does not register the same again')
REBOOT = 'Reboot required: an oops outside the module may have left locks held, so nothing may be loaded'
REBOOT_HARD = ('Reboot required, and an ordinary one may hang: sync, then echo b > /proc/sysrq-trigger (sysrq must be '
               'enabled: kernel.sysrq=1)')
PARK_BY_NAME = ('methods=park frees its name for a fixed build, if that does not register the same again, and runs no '
                'exit')
SHOW_ADDRESSES = ('Set kernel.kptr_restrict to 1 or 0 for the time of the cure (sysctl kernel.kptr_restrict=1), then '
                  'unload it again')


def keeps_exit(verdict: str, run_exit: str) -> bool:
    """Whether the module's exit is to run: ``auto`` runs it unless init did not finish or exit already ran half way."""
    if run_exit == 'auto':
        return verdict not in HALF_WAY + DIED
    return run_exit == 'always'


def _guards(diagnosis: Diagnosis, facts: ModuleFacts, methods: List[str], runs_exit: bool) -> Dict[str, bool]:
    verdict = diagnosis['verdict']
    live = facts['module']['state'] == 'live'
    has_exit = verdict not in ('no_exit', 'exit_lost')
    forced = live and facts['kernel']['force_unload'] is True
    in_use = any(hazard['code'] in ('in_use', 'undecided') for hazard in diagnosis['hazards'])
    by_default = verdict in DIED or (verdict in PARKED_BY_DEFAULT and not in_use)
    return {
        'plain': runs_exit and facts['module']['refcount'] == 0 and live and has_exit,
        # Without O_TRUNC's help the kernel would free a module whose exit is lost and never run it.
        'kernel_force': forced and (runs_exit if has_exit else verdict == 'no_exit' or not runs_exit),
        'undo': verdict in DIED and not runs_exit and bool(facts['registrations']['leftovers']),
        'reset': True,
        # A live module that is in use keeps its name, unless parking it is all that was asked for.
        'park': not is_parked(facts['name']) and (by_default or list(methods) == ['park']),
    }


def _reset_lacks(facts: ModuleFacts) -> Optional[str]:
    """Why the helper could not be told where the module is; None where nothing is lacking."""
    address, anchors = facts['module']['struct_address'], facts.get('anchors')
    if is_unavailable(address):
        return 'the address of its struct module is not known: {}'.format(address['unavailable'])
    return anchors['unavailable'] if anchors and is_unavailable(anchors) else None


def blocking(diagnosis: Diagnosis, method: str, runs_exit: bool, accepted: Collection[str]) -> List[Hazard]:
    """The hazards that forbid ``method``: those neither accepted by name nor seen to by the step itself."""
    return [hazard for hazard in diagnosis['hazards']
            if hazard['code'] not in accepted and not _seen_to(hazard, diagnosis['verdict'], method, runs_exit)]


def _seen_to(hazard: Hazard, verdict: str, method: str, runs_exit: bool) -> bool:
    """Whether the step is safe all the same: the exit undoes it, the code stays, or nothing is loaded."""
    code = hazard['code']
    if code == 'foreign_oops':
        return method not in HELPED
    if code in ('dangling_references', 'reachability_unknown'):
        return runs_exit or method in CALL_THE_KERNEL
    if verdict in HALF_WAY:
        return False
    if code == 'locks_held':
        return method == 'park' and _is_own_lock(hazard)
    threads_alone = code == 'running_task' and all(task.get('kernel_thread') for task in hazard['evidence'])
    if method in CALL_THE_KERNEL:
        # A process in the code of one that died may be the very init or exit, and alive.
        return code in ('undecided', 'in_use') or threads_alone or (code == 'running_task' and verdict not in DIED)
    # The module's own exit stops its kernel threads: one that holds a reference is in_use as well.
    return threads_alone and runs_exit


def _is_own_lock(hazard: Hazard) -> bool:
    """Whether all that died with its owner is what the module itself may have locked: its exit alone waits for that."""
    return bool(hazard['evidence']) and all(lock.startswith(OF_ITS_OWN) for lock in hazard['evidence'])


def frees_without_exit(verdict: str, chosen: Plan) -> bool:
    """Whether the plan that was ``chosen`` frees the module's code without its exit, so that what it left dangles."""
    return chosen['method'] in ('kernel_force', 'reset') and not (chosen['runs_exit'] and verdict != 'no_exit')


def relies_on_search(verdict: str, chosen: Plan) -> bool:
    """Whether it is safe only since nothing in memory was found to lead into the module."""
    return frees_without_exit(verdict, chosen) or (verdict == 'references_leaked' and chosen['method'] != 'park')


def look_for(verdict: str, method: str, runs_exit: bool, accepted: Collection[str]) -> str:
    """Whom the helper looks for in the module's code before it writes: ``tasks``, ``user_tasks`` or ``nobody``.

    Without kernel threads where its exit will stop them, or the code stays; nobody where that was accepted by name.
    """
    if 'running_task' in accepted:
        return 'nobody'
    if method in CALL_THE_KERNEL:
        return 'user_tasks' if verdict in HALF_WAY + DIED else 'nobody'
    return 'user_tasks' if runs_exit and verdict not in HALF_WAY + ('no_exit',) else 'tasks'


def with_helper(name: str, kernel: Kernel) -> str:
    """The command that builds the compiled helper and uses it, or why none would help."""
    if kernel['loads_refused']['from_memory']:
        return 'Only a reboot helps: {}'.format(kernel['loads_refused']['from_memory'])
    if kernel['loads_refused']['unsigned']:
        return f'{PLAYBOOK % name} ({SIGNED})'
    return PLAYBOOK % name


def helper_lacks(helpers: Dict[str, str], method: str, wanted: str = 'auto') -> str:
    """Why the step cannot be taken for want of a helper; empty where one will do, or none is needed.

    ``helpers``: for each kind (compiled, synthesized) why it cannot be used, or an empty text. ``wanted``: the option
    helper. A rename takes functions of the kernel, which a synthesized helper cannot call, and so does the undo.
    """
    if method not in HELPED:
        return ''
    if method in CALL_THE_KERNEL and wanted == 'synthesized':
        return f'a synthesized helper cannot {method}: it calls nothing in the kernel'
    if method in CALL_THE_KERNEL or wanted == 'compiled':
        return helpers['compiled']
    if wanted == 'auto' and not helpers['compiled']:
        return ''
    return helpers['synthesized']


def reset_values(facts: ModuleFacts, verdict: str, runs_exit: bool, entry: Entry) -> Entry:
    """What the reset writes over ``entry`` (state, refcount, init, exit as read): LIVE, the base, pointers repaired."""
    init, leave = entry['init'], entry['exit']
    if not runs_exit:
        # delete_module asks for an exit only where there is an init.
        init, leave = 0, 0
    elif verdict == 'exit_lost' and isinstance(facts['cleanup_module'], int):
        leave = facts['cleanup_module']
    elif not leave:
        init = 0
    return {'state': 'live', 'refcount': REFCOUNT_BASE, 'init': init, 'exit': leave}


def plan(facts: ModuleFacts, diagnosis: Diagnosis, methods: List[str], run_exit: str = 'auto',
         accepted: Collection[str] = ()) -> Plan:
    """``{'method', 'runs_exit', 'refusal', 'next'}``: the one step that will work, or why none is taken.

    ``method`` is ``none`` where nothing is to be done or nothing may be; ``runs_exit``: whether the module's own exit
    runs, as far as it has one; ``refusal`` is None or one sentence. Whether the helper that the step needs is there is
    not asked: see :func:`_helper_state.lacking`.
    """
    verdict = diagnosis['verdict']
    runs_exit = keeps_exit(verdict, run_exit)
    answer: Plan = {'method': 'none', 'runs_exit': runs_exit, 'refusal': None, 'next': None}
    if verdict == 'absent':
        return answer
    if verdict in ('builtin', 'unload_disabled', 'has_dependents'):
        return {**answer, 'refusal': diagnosis['reason'], 'next': NEXT_STEPS[verdict]}
    guards = _guards(diagnosis, facts, methods, runs_exit)
    lacks = _reset_lacks(facts)
    why = {method: blocking(diagnosis, method, runs_exit and verdict != 'no_exit', accepted)
           for method in METHODS if guards[method]}
    free = [method for method, hazards in why.items() if not hazards and not (method in HELPED and lacks)]
    for method in free:
        if method in methods:
            return {**answer, 'method': method, 'runs_exit': runs_exit and method != 'park'}
    # What the step of the least harm would take tells most; the reset always asks for more.
    named = [hazards for method, hazards in why.items() if method in methods] or list(why.values())
    refusal, following = _refusal(facts, diagnosis, min(named, key=len), lacks, free)
    return {**answer, 'refusal': refusal, 'next': following}


def _refusal(facts: ModuleFacts, diagnosis: Diagnosis, blocked: List[Hazard], lacks: Optional[str],
             free: List[str]) -> Tuple[str, str]:
    """``blocked``: the hazards in the way; ``lacks``: what a helper would lack; ``free``: what may be done, unasked."""
    if lacks and all(hazard['code'] in ('dangling_references', 'reachability_unknown') for hazard in blocked):
        blocked = []  # what is lacking is what it takes to see them, too
    if blocked:
        advice = PARK if free and set(free) <= set(CALL_THE_KERNEL) else _advice(facts, diagnosis, blocked)
        return 'it is not safe: {}'.format('; '.join(hazard['reason'] for hazard in blocked)), \
            f'{advice}. {override(blocked)}'
    if lacks and not free:
        hidden = facts['kernel']['kptr_restrict'] == 2
        return '{} Only a reset would get it out: {}'.format(diagnosis['reason'], lacks), \
            SHOW_ADDRESSES if hidden else 'Only a reboot helps where that cannot be mended'
    return '{} None of the methods allowed will get it out'.format(diagnosis['reason']), \
        'Allow one of methods={}'.format(','.join(free))


def _advice(facts: ModuleFacts, diagnosis: Diagnosis, blocked: List[Hazard]) -> str:
    """What to do about it, without danger."""
    codes = [hazard['code'] for hazard in blocked]
    if 'foreign_oops' in codes:
        return REBOOT
    if 'locks_held' in codes:
        own = all(_is_own_lock(hazard) for hazard in blocked if hazard['code'] == 'locks_held')
        return PARK_BY_NAME if own else REBOOT_HARD
    ends = [entry['end_with'] for hazard in blocked if hazard['code'] == 'in_use' for entry in hazard['evidence']
            if entry.get('end_with')]
    if ends:
        return 'End what holds it: {}'.format('; '.join(list(dict.fromkeys(ends))[:5]))
    if 'in_use' in codes:
        return 'No command ends that safely: it stays as long as what uses it is needed'
    advice = NEXT_STEPS.get(diagnosis['verdict'], 'Remove what the hazard names')
    if is_parked(facts['name']):
        advice = 'Leave it: parked, its code does no harm, and it goes with the next reboot'
    hint = '' if is_unavailable(facts['holders']) else facts['holders'].get('hint', '')
    return f'{advice}. {hint}' if hint and 'undecided' in codes else advice


def override(blocked: List[Hazard]) -> str:
    """The dangerous way, told last and with what it means."""
    codes: List[str] = []
    for hazard in blocked:
        if hazard['code'] not in codes:
            codes.append(hazard['code'])
    means = '; '.join(HAZARDS.get(code, 'the host may crash') for code in codes)
    return 'accept_hazards={} overrides this at the risk of the host: {}'.format(','.join(codes), means)


def expected(facts: ModuleFacts) -> Optional[Entry]:
    """The entry as struct module was read, for the helper to compare with; None where it could not be read."""
    live = facts['live']
    if is_unavailable(live):
        return None
    return {'state': live['state'], 'refcount': live['refcount'], 'init': live['init'], 'exit': live['exit']}
