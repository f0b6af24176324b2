# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gets one module out: survey, diagnose, plan, take the step, survey again, report what was seen."""

import errno
import os
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple, TypeVar

from ansible_collections.kernelops.kmod.plugins.module_utils._actions import loader_table, steps, undo
from ansible_collections.kernelops.kmod.plugins.module_utils._actions.helper_choice import (
    Helper,
    HelperChoice,
    Target,
    target_of,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._actions.steps import described
from ansible_collections.kernelops.kmod.plugins.module_utils._actions.unload_options import Options
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_survey, module_table
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.module_table import kernel_name
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._returns import (
    HelperReport,
    Look,
    Report,
    ShownEntry,
    Step,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import diagnose, ladder
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.parked import new_name
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.report import (
    shown,
    with_dependents,
    without_dependents,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._types import (
    Anchors,
    Fact,
    Hazard,
    Kernel,
    ModuleFacts,
    Plan,
    Reachability,
)

# What can still reach a module, by its name (:func:`module_survey.search`).
Search = Callable[[str], Reachability]
T = TypeVar('T')


class Done(NamedTuple):
    """The module as it was read again, or as it would be; the name that it bears where it was parked."""

    after: ShownEntry
    parked_as: str


class ReachedMeanwhile(Exception):
    """What nobody could reach when it was read may be reached by now. Nothing was written yet."""

    def __init__(self, reached: Reachability) -> None:
        super().__init__(reached['reason'])
        self.reached = reached


class Unload:
    """One run against one module of this host."""

    def __init__(self, options: Options, kernel: Optional[Kernel] = None, facts: Optional[ModuleFacts] = None,
                 reached: Optional[Dict[str, Reachability]] = None, search: Optional[Search] = None) -> None:
        """``kernel`` are the facts of running_kernel.read, ``facts`` those of module_survey, where they have been read
        already: by these it is refused or foreseen, and read anew before it is changed.

        ``reached``: what the searches of memory told; ``search`` tells it of a module before its code is freed.
        """
        self.options = options
        self.name = kernel_name(options.name)
        if os.geteuid() != 0:
            raise KmodError(f'unload {self.name}', 'only root may, and this is user %d' % os.geteuid(),
                            'Set become=true, or call ansible with -b')
        self.kernel = kernel
        self.facts, self.reached = facts, reached
        self.read_before = facts is not None
        self.search: Search = search or self._search_for
        self.steps: List[Step] = []
        self.look: Look = {}
        self.told: List[str] = []
        self.late = False

    def run(self) -> Report:
        """The module's return values. Raises KmodError, with these as its facts, where it stays in the kernel."""
        facts = self._survey()
        self.kernel = facts['kernel']
        options = self.options
        self.choice = HelperChoice(self.name, self.kernel, options.helper, options.helper_path, options.timeout)
        before = shown(facts)
        dependents = facts['module'].get('used_by', []) if self.options.cascade else []
        forced = self.options.run_exit == 'never' or not {'plain', 'kernel_force'}.intersection(self.options.methods)
        diagnosis = diagnose.diagnose(facts, forced)
        # With the dependents gone it is another case: that one is planned for.
        alone = without_dependents(facts) if dependents else facts
        ahead = diagnose.diagnose(alone, forced)
        plan = ladder.plan(alone, ahead, self.options.methods, self.options.run_exit, self.options.accept_hazards)
        result: Report = {
            'changed': False, 'verdict': diagnosis['verdict'], 'reason': diagnosis['reason'], 'method': plan['method'],
            'before': before, 'after': before, 'steps': self.steps, 'hazards': ahead['hazards'],
            'reachability': facts['reachability'], 'helper': self.choice.state, 'look': {},
            'diff': {'before': before, 'after': before}, 'warnings': []}
        if plan['refusal'] and before['state'] != 'builtin' and self._is_gone():
            absent: ShownEntry = {'state': 'absent'}
            return {**result, 'method': 'none', 'after': absent, 'diff': {'before': before, 'after': absent},
                    'hazards': [], 'msg': f'{self.name} was unloaded by someone else meanwhile.'}
        if plan['refusal']:
            if ahead['verdict'] == 'has_dependents':
                plan['next'] = with_dependents(facts, self._dependents(facts))
            raise KmodError(f'unload {self.name}', plan['refusal'], plan['next'], **result)
        if plan['method'] == 'none':
            return {**result, 'msg': diagnosis['reason']}
        if self.read_before and not self.options.check_mode:
            return self._again(self.reached)
        if ladder.frees_without_exit(ahead['verdict'], plan) and not diagnose.shown_unreachable(facts):
            result['warnings'] = [f'The exit of {self.name} does not run, and the kernel may still reach its code: '
                                  '{}.'.format(facts['reachability']['reason'])]
        try:
            done = self._carry_out(ahead['verdict'], plan, facts, dependents)
        except ReachedMeanwhile as meanwhile:
            return self._again({self.name: meanwhile.reached})
        except KmodError as error:
            return self._failed(error, result, before)
        if self.choice.state['kind'] == 'synthesized':
            limits = 'The helper was written on the spot: it takes no lock, and looks for no task in the code of {}.'
            result['warnings'] = [*result['warnings'], limits.format(self.name)]
        result['warnings'] = self.told + [text for text in result['warnings'] if text not in self.told]
        result.update({'after': done.after, 'look': self.look, 'changed': any(step['changed'] for step in self.steps),
                       'diff': {'before': before, 'after': done.after}})
        if done.parked_as:
            result.update({'parked_as': done.parked_as,
                           'diff': {'before': before, 'after': {**done.after, 'parked_as': done.parked_as}}})
        if done.after['state'] != 'absent':
            raise KmodError(f'unload {self.name}', 'the kernel accepted it, but shows it as {}'.format(
                done.after['state']), 'Look at the kernel log, and whether someone loads it again', **result)
        return {**result, 'msg': self._told(result)}

    def _again(self, reached: Optional[Dict[str, Reachability]]) -> Report:
        """Another run, by what there is then; what this one did is among its steps."""
        other = Unload(self.options, self.kernel, reached=reached, search=self.search)
        other.steps, other.told = self.steps, self.told
        return other.run()

    def _failed(self, error: KmodError, result: Report, before: ShownEntry) -> Report:
        """The return values where it is absent all the same. Raises KmodError with them as its facts otherwise."""
        after, died = self._look_again(before)
        is_gone = not is_unavailable(after) and after['state'] == 'absent'
        ours = any(step['changed'] for step in self.steps)
        result.update({'after': after, 'diff': {'before': before, 'after': after}})
        if is_gone and self.late:
            return {**result, 'changed': True, 'msg': f'{self.name} is unloaded, but it took longer than the timeout.'}
        if is_gone and not ours:
            return {**result, 'msg': f'{self.name} was unloaded by someone else meanwhile.'}
        # Of a step that is told it is known; where none is, whoever was to take it may have come as far.
        result['changed'] = ours if self.steps else after != before
        if 'hangs_in' in error.facts:
            result['hangs_in'] = error.facts['hangs_in']
        if 'look' in error.facts:
            result['look'] = error.facts['look']
        if error.facts.get('hazard'):
            raise self._seen(error, result) from error
        if died and not isinstance(error, child_process.Deadline):
            raise KmodError(error.tried, f'{error.why}. {died}', 'Run the task again', **result) from error
        error.facts = {**result}
        raise error

    @staticmethod
    def _seen(error: KmodError, result: Report) -> KmodError:
        """What the helper's check before the write saw is a hazard as any other, to be accepted by the same name."""
        found: Hazard = {'code': error.facts['hazard'], 'reason': error.why, 'evidence': [result['look']]}
        result.update({'method': 'none', 'hazards': result['hazards'] + [found]})
        following = '{}. {}'.format(error.next_step, ladder.override(result['hazards'][-1:]))
        return KmodError(error.tried, error.why, following, **result)

    def _told(self, result: Report) -> str:
        would = 'would be' if self.options.check_mode else 'is'
        if 'parked_as' in result:
            left = ['{kind} {what}'.format(**entry) for hazard in result['hazards'] for entry in hazard['evidence']
                    if hazard['code'] == 'dangling_references']
            unless = ', unless it registers again what this one left: {}'.format(', '.join(left)) if left else ''
            return '{} {} parked as {}: its code stays, and a fixed build can be loaded under its name{}.'.format(
                self.name, would, result['parked_as'], unless)
        if not result['changed']:
            return f'{self.name} was unloaded by someone else meanwhile.'
        return '{} {} unloaded by {}.'.format(self.name, would, result['method'])

    def _carry_out(self, verdict: str, plan: Plan, facts: ModuleFacts, dependents: List[str]) -> Done:
        """Raises KmodError where a step fails."""
        will_be_built = self.options.check_mode and self.options.helper_will_be_built
        helper = self.choice.choose(plan['method'], will_be_built) if plan['method'] in ladder.HELPED else None
        self._unload_dependents(dependents)
        parked_as = ''
        if plan['method'] == 'park':
            parked_as = new_name(self.name, self._in_child(module_table.names))
        if self.options.check_mode:
            self._foresee(verdict, plan, facts, parked_as)
            return Done({'state': 'absent'}, parked_as)
        if dependents:
            # The plan was a forecast: whoever holds the module by now is seen in a run of its own.
            other = self._run_other(self.options._replace(cascade=False))
            self.look = other['look']
            after = other['after']
            return Done({} if is_unavailable(after) else after, other.get('parked_as', ''))
        self._act(verdict, plan, facts, helper, parked_as)
        return Done(shown(self._survey()), parked_as)

    def _survey(self) -> ModuleFacts:
        facts, self.facts = self.facts, None
        return facts or child_process.with_deadline(
            lambda: module_survey.module(self.name, kernel=self.kernel, depth=self.options.depth(),
                                         timeout=self.options.timeout, reached=self.reached,
                                         leftovers='undo' in self.options.methods),
            self.options.timeout, f'read the state of {self.name}')

    def _dependents(self, facts: ModuleFacts) -> Dict[str, ModuleFacts]:
        """The facts of the modules that use this one: what is advised must be what will work."""
        return self._in_child(lambda: module_survey.dependents(facts['module']['used_by'], self.kernel))

    def _is_gone(self) -> bool:
        """Whether it went while it was read: what was missing then is no reason to refuse."""
        return self.name not in self._in_child(module_table.names)

    def _look_again(self, before: ShownEntry) -> Tuple[Fact[ShownEntry], str]:
        """The module as it is now, and why it is half way, if it was not before."""
        self.kernel = None  # an oops since then has tainted it
        try:
            facts = self._survey()
        except KmodError as error:
            return unavailable(error), ''
        after = shown(facts)
        is_half_way = after['state'] in ('coming', 'going') and after['state'] != before['state']
        return after, diagnose.diagnose(facts)['reason'] if is_half_way else ''

    def _step(self, method: str, action: str, result: str, changed: bool) -> None:
        self.steps.append({'module': self.name, 'method': method, 'action': action, 'result': result,
                           'changed': changed})

    def _unload_dependents(self, names: List[str]) -> None:
        """All are tried in check mode first, so that a refusal of one leaves every other in place."""
        # One that is parked would go on using it.
        options = self.options._replace(methods=[method for method in self.options.methods if method != 'park'])
        for name in names:
            trial = Unload(options._replace(name=name, check_mode=True), self.kernel)
            foreseen = trial.run()
            if self.options.check_mode:
                self.steps.extend(trial.steps)
                self.told.extend(foreseen['warnings'])
            elif trial.choice.state['usable'] is False:
                raise KmodError(f'unload {self.name}', f'{name} uses it and needs the helper',
                                trial.choice.state['reason'])
        if not self.options.check_mode:
            for name in names:
                self._run_other(options._replace(name=name))

    def _run_other(self, options: Options) -> Report:
        other = Unload(options, self.kernel)
        try:
            done = other.run()
        finally:
            self.steps.extend(other.steps)
        self.told.extend(done['warnings'])
        return done

    def _foresee(self, verdict: str, plan: Plan, facts: ModuleFacts, parked_as: str) -> None:
        method, expect = plan['method'], ladder.expected(facts)
        if method == 'park':
            self._step('park', 'rename', f'would be renamed to {parked_as}', True)
        elif method == 'undo':
            self.steps += undo.foreseen(self.name, facts['registrations']['leftovers'])
            self._step('undo', 'delete_module', 'would unload, or park where anything is left', True)
        else:
            if method == 'reset' and expect:
                write = ladder.reset_values(facts, verdict, plan['runs_exit'], expect)
                self._step('reset', 'reset', f'would write {described(expect, write)}', True)
            self._step(method, 'delete_module', 'would unload', True)
        if method in ladder.HELPED and loader_table.parameters(verdict, facts):
            self._step(method, 'clear_loader', 'would clear what the dead load left there', True)

    def _act(self, verdict: str, plan: Plan, facts: ModuleFacts, helper: Optional[Helper], parked_as: str) -> None:
        method, name = plan['method'], self.name
        if ladder.relies_on_search(verdict, plan) and diagnose.shown_unreachable(facts):
            self._search_again()
        if helper is None:
            if method == 'kernel_force':
                self._deleted(method, self._to_its_end(lambda: steps.force_delete(name, facts['module'])))
            else:
                self._deleted(method, self._to_its_end(lambda: loader_syscalls.delete_module(name)))
            return
        target, anchors = target_of(helper, name, facts), facts['anchors']
        loader = loader_table.parameters(verdict, facts)
        look_for = ladder.look_for(verdict, method, plan['runs_exit'], self.options.accept_hazards)
        if parked_as:
            self._park(target, facts, parked_as, look_for)
            report: HelperReport = {}
        else:
            report = self._reset_and_delete(target, verdict, plan, facts, loader, look_for)
        if loader and not is_unavailable(anchors):
            self._report_loader(method, report, loader, helper, anchors)

    def _search_again(self) -> None:
        """Raises ReachedMeanwhile where the module cannot be shown to be unreachable any more."""
        now = self.search(self.name)
        if now['answer'] != 'unreachable':
            raise ReachedMeanwhile(now)

    def _search_for(self, name: str) -> Reachability:
        return self._in_child(lambda: module_survey.search([name], self.options.timeout))[name]

    def _in_child(self, function: Callable[[], T]) -> T:
        return child_process.with_deadline(function, self.options.timeout, f'unload {self.name}')

    def _to_its_end(self, function: Callable[[], T]) -> T:
        """A step that is cut short leaves the module half done: one that takes longer than the timeout goes on."""
        try:
            return child_process.with_deadline(function, self.options.timeout, f'unload {self.name}', outlives=True)
        except child_process.Deadline:
            self.late = True
            raise

    def _deleted(self, method: str, error: int) -> None:
        if error == errno.ENOENT:
            self._step(method, 'delete_module', 'someone else had unloaded it', False)
            return
        self._step(method, 'delete_module', 'unloaded' if not error else loader_syscalls.errno_text(error), not error)
        if error:
            raise KmodError(f'unload {self.name}', f'the kernel answered {loader_syscalls.errno_text(error)}',
                            'Run the task again: it reads what holds the module now')

    def _park(self, target: Target, facts: ModuleFacts, parked_as: str, look_for: str) -> None:
        report = self._to_its_end(lambda: steps.park(target, ladder.expected(facts), parked_as, look_for))
        self.look = report['look']
        count = report['hidden_symbols']
        hidden = '; %d symbols that it offered are hidden' % count if count else ''
        self._step('park', 'rename', f'renamed to {parked_as}{hidden}', True)

    def _reset_and_delete(self, target: Target, verdict: str, plan: Plan, facts: ModuleFacts,
                          loader: Dict[str, int], look_for: str) -> HelperReport:
        done = self._to_its_end(lambda: steps.reset_and_delete(
            target, ladder.expected(facts),
            lambda entry: ladder.reset_values(facts, verdict, plan['runs_exit'], entry), loader, look_for))
        report = done['report']
        self.look = report['look']
        self._step('reset', 'reset', 'wrote {}'.format(described(report['found'], report['left'])), True)
        if done['restored'] is not None:
            self._step('reset', 'restore', done['restored'], True)
        self._deleted('reset', done['error'])
        return report

    def _report_loader(self, method: str, report: HelperReport, loader: Dict[str, int], helper: Helper,
                       anchors: Anchors) -> None:
        if report.get('loader') not in ('clean', 'cleared', 'lock_busy'):
            # Not asked yet; or in use, and whoever waited for the module that died has been woken by now.
            report = self._to_its_end(lambda: helper.clear_loader(loader, anchors))
        self.steps.append(loader_table.told(self.name, method, report))
        loader_table.demand(self.steps[-1], report)
