# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gets one module out: survey, diagnose, plan, take the step, survey again, report what was seen."""

import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils import (
    _diagnosis,
    _kernel,
    _ladder,
    _reset,
    _struct_module,
    _survey,
    _syscalls,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._module_table import (
    hexadecimal,
    kernel_name,
    shown_pointers,
)


class Options(NamedTuple):
    """The options of kmod_force_unload, and whether it runs in check mode."""

    name: str
    methods: List[str]
    run_exit: str
    cascade: bool
    accept_hazards: List[str]
    helper_path: Optional[str]
    timeout: float
    check_mode: bool


class Unload:
    """One run against one module of this host."""

    def __init__(self, options, kernel=None):
        # type: (Options, Optional[Dict[str, Any]]) -> None
        self.options = options
        self.name = kernel_name(options.name)
        if os.geteuid() != 0:
            raise KmodError(f'unload {self.name}', 'only root may, and this is user %d' % os.geteuid(),
                            'Set become=true, or call ansible with -b')
        self.kernel = kernel or _kernel.read()
        self.steps = []  # type: List[Dict[str, Any]]
        self.helper = {'path': options.helper_path or _reset.helper_path(self.kernel['release']),
                       'needed': False, 'usable': None, 'reason': 'not needed'}  # type: Dict[str, Any]

    def run(self):
        # type: () -> Dict[str, Any]
        """The module's return values. Raises KmodError, with these as its facts, where it stays in the kernel."""
        facts = self._survey()
        before = shown(facts)
        dependents = facts['module'].get('used_by', []) if self.options.cascade else []
        diagnosis = _diagnosis.diagnose(facts)
        # With the dependents gone it is another case: that one is planned for.
        ahead = _diagnosis.diagnose(without_dependents(facts)) if dependents else diagnosis
        plan = _ladder.plan(facts, ahead, self.options.methods, self.options.run_exit, self.options.accept_hazards)
        result = {'changed': False, 'verdict': diagnosis['verdict'], 'reason': diagnosis['reason'],
                  'method': plan['method'], 'before': before, 'after': before, 'steps': self.steps,
                  'hazards': ahead['hazards'], 'helper': self.helper, 'diff': {'before': before, 'after': before}}
        if plan['refusal']:
            raise KmodError(f'unload {self.name}', plan['refusal'], plan['next'], **result)
        if plan['method'] == 'none':
            return dict(result, msg=diagnosis['reason'])
        try:
            image = self._vetted_helper() if plan['method'] == 'reset' else None
            self._unload_dependents(dependents)
            if self.options.check_mode:
                self._foresee(ahead['verdict'], plan, facts)
                after = {'state': 'absent'}
            elif dependents:
                # The plan was a forecast: whoever holds the module by now is seen in a run of its own.
                after = self._run_other(self.options._replace(cascade=False))['after']
            else:
                self._act(ahead['verdict'], plan, facts, image)
                after = shown(self._survey())
        except KmodError as error:
            after = self._look_again()
            changed = after != before or any(step['changed'] for step in self.steps)
            error.facts = dict(result, after=after, changed=changed, diff={'before': before, 'after': after})
            raise
        result.update(changed=True, after=after, diff={'before': before, 'after': after})
        if after['state'] != 'absent':
            raise KmodError(f'unload {self.name}', 'the kernel accepted it, but shows it as {}'.format(after['state']),
                            'Look at the kernel log', **result)
        would = 'would be' if self.options.check_mode else 'is'
        return dict(result, msg='{} {} unloaded by {}.'.format(self.name, would, plan['method']))

    def _survey(self):
        # type: () -> Dict[str, Any]
        # Only a plain unload gets by without the anchors; then the kernel itself looks before it acts.
        plain = 'plain' in self.options.methods and self.options.run_exit != 'never'
        depth = _survey.NEEDED if plain else _survey.ALL
        return _syscalls.with_deadline(lambda: _survey.module(self.name, kernel=self.kernel, depth=depth),
                                       self.options.timeout, f'read the state of {self.name}')

    def _look_again(self):
        # type: () -> Dict[str, Any]
        try:
            return shown(self._survey())
        except KmodError as error:
            return unavailable(error)

    def _step(self, method, action, result, changed):
        # type: (str, str, str, bool) -> None
        self.steps.append({'module': self.name, 'method': method, 'action': action, 'result': result,
                           'changed': changed})

    def _unload_dependents(self, names):
        # type: (List[str]) -> None
        """All are tried in check mode first, so that a refusal of one leaves every other in place."""
        for name in names:
            trial = Unload(self.options._replace(name=name, check_mode=True), self.kernel)
            trial.run()
            if self.options.check_mode:
                self.steps.extend(trial.steps)
            elif trial.helper['usable'] is False:
                raise KmodError(f'unload {self.name}', f'{name} uses it and needs the helper', trial.helper['reason'])
        if not self.options.check_mode:
            for name in names:
                self._run_other(self.options._replace(name=name))

    def _run_other(self, options):
        # type: (Options) -> Dict[str, Any]
        other = Unload(options, self.kernel)
        try:
            return other.run()
        finally:
            self.steps.extend(other.steps)

    def _vetted_helper(self):
        # type: () -> Optional[bytes]
        """The helper's bytes; in check mode None where it is not there yet, since the role builds it later."""
        self.helper['needed'] = True
        try:
            image = _reset.vet_helper(self.helper['path'], self.kernel, _struct_module.layout())
        except KmodError as error:
            self.helper.update(usable=False, reason=str(error))
            if self.options.check_mode:
                return None
            raise
        self.helper.update(usable=True, reason='built for this kernel, owned by root')
        return image

    def _foresee(self, verdict, plan, facts):
        # type: (str, Dict[str, Any], Dict[str, Any]) -> None
        expect = _ladder.expected(facts)
        if plan['method'] == 'reset' and expect:
            write = _ladder.reset_values(facts, verdict, plan['runs_exit'], expect)
            self._step('reset', 'reset', f'would write {described(expect, write)}', True)
        self._step(plan['method'], 'delete_module', 'would unload', True)

    def _act(self, verdict, plan, facts, image):
        # type: (str, Dict[str, Any], Dict[str, Any], Optional[bytes]) -> None
        method = plan['method']
        if method == 'reset' and image is not None:
            self._reset_and_delete(verdict, plan, facts, image)
            return
        error = self._in_child(lambda: _syscalls.delete_module(self.name, force=method == 'kernel_force'))
        self._deleted(method, error)

    def _in_child(self, function):
        # type: (Callable[[], Any]) -> Any
        return _syscalls.with_deadline(function, self.options.timeout, f'unload {self.name}')

    def _deleted(self, method, error):
        # type: (str, int) -> None
        self._step(method, 'delete_module', 'unloaded' if not error else _syscalls.errno_text(error), not error)
        if error:
            raise KmodError(f'unload {self.name}', f'the kernel answered {_syscalls.errno_text(error)}',
                            'Run the task again: it reads what holds the module now')

    def _anchors(self, facts):
        # type: (Dict[str, Any]) -> Dict[str, int]
        anchors = facts['anchors']
        for symbol in ('modules', 'module_mutex'):
            if not anchors[symbol]:
                raise KmodError(f'reset {self.name}', f'this kernel shows no symbol {symbol}',
                                'The kernel needs CONFIG_KALLSYMS_ALL=y')
        return anchors

    def _reset_and_delete(self, verdict, plan, facts, image):
        # type: (str, Dict[str, Any], Dict[str, Any], bytes) -> None
        anchors = self._anchors(facts)
        # Only a load that died leaves an entry behind; a table of another size is not the one known here.
        clear = verdict == 'init_died' and (anchors['idem_bytes'] or 0) >= _survey.IDEM_BYTES
        loader = _reset.loader_parameters(anchors, _survey.IDEM_BUCKETS) if clear else {}
        target = _reset.Target(self.name, facts['module']['struct_address'], anchors, image)
        done = self._in_child(lambda: reset_and_delete(
            target, _ladder.expected(facts),
            lambda entry: _ladder.reset_values(facts, verdict, plan['runs_exit'], entry), loader))
        report = done['report']
        self._step('reset', 'reset', 'wrote {}'.format(described(report['found'], report['left'])), True)
        if done['restored'] is not None:
            self._step('reset', 'restore', done['restored'], True)
        self._deleted('reset', done['error'])
        if report['loader'] != 'not_asked':
            self._report_loader(report, loader, image)

    def _report_loader(self, report, loader, image):
        # type: (Dict[str, Any], Dict[str, int], bytes) -> None
        if report['loader'] == 'in_use':
            # Whoever waited for the module that died has been woken by now.
            report = self._in_child(lambda: _reset.load_helper(image, loader))
        words = {
            'clean': 'no stale entry',
            'cleared': 'stale entries cleared: %d' % report['buckets'],
            'in_use': 'left alone: task %d is inside finit_module' % report['loading_pid'],
            'lock_busy': 'left alone: its lock could not be taken',
        }
        self._step('reset', 'clear_loader', words[report['loader']], report['loader'] == 'cleared')
        if report['loader'] in ('in_use', 'lock_busy'):
            raise KmodError(
                f'clear what the dead load of {self.name} left in the loader',
                'the module is unloaded, but the loader was {}'.format(words[report['loader']]),
                'Load nothing by finit_module(2) (modprobe, insmod) on this host until it has been rebooted')


def reset_and_delete(target, expect, values, loader):
    # type: (_reset.Target, Optional[Dict[str, Any]], Callable[[Any], Dict[str, Any]], Dict[str, int]) -> Dict[str, Any]
    """Runs in the child: reset, then delete_module(2) at once; where that fails, puts back what was there.

    Returns ``report`` of the helper, ``error`` (errno of delete_module) and ``restored`` (text, or None).
    Raises KmodError where the helper wrote nothing.
    """
    before = expect or target.look()
    written = values(before)
    report = target.store(before, written, loader)
    error = _syscalls.delete_module(target.name)
    return {'report': report, 'error': error, 'restored': _restore(target, before, written) if error else None}


def _restore(target, before, written):
    # type: (_reset.Target, Dict[str, Any], Dict[str, Any]) -> str
    try:
        now = target.look()
        # References taken since then are somebody's: they stay counted.
        target.store(now, dict(before, refcount=before['refcount'] + now['refcount'] - written['refcount']), {})
    except KmodError as error:
        return f'could not be put back: {error}'
    return 'put back as it was'


def without_dependents(facts):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """The facts as they will be once the dependents, each of which holds one reference, are gone."""
    module = facts['module']
    remaining = max(0, module['refcount'] - len(module['used_by']))
    return dict(facts, module=dict(module, used_by=[], refcount=remaining))


def described(expect, write):
    # type: (Dict[str, Any], Dict[str, Any]) -> str
    """``state coming -> live, refcount 2 -> 1``: what differs between two entries."""
    changes = []
    for key in ('state', 'refcount', 'init', 'exit'):
        if expect[key] != write[key]:
            old, new = expect[key], write[key]
            if key in ('init', 'exit'):
                old, new = hexadecimal(old), hexadecimal(new)
            changes.append(f'{key} {old} -> {new}')
    return ', '.join(changes) or 'nothing new'


def shown(facts):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """The part of the facts that is returned as ``before`` and ``after``; addresses as hexadecimal text."""
    module = facts['module']
    if module['state'] in ('absent', 'builtin'):
        return {'state': module['state']}
    return {'state': module['state'], 'refcount': module['refcount'], 'used_by': module['used_by'],
            'permanent': module['permanent'], 'pointers': shown_pointers(facts['live'])}
