# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gets several modules out, one after the other, in one task."""

import contextlib
import time
from typing import Dict, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._actions import undo, unload, unload_options
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import memory_search, module_survey
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.module_table import kernel_name
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process
from ansible_collections.kernelops.kmod.plugins.module_utils._returns import Diff, Report, Reports
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import ladder
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.report import without_dependents
from ansible_collections.kernelops.kmod.plugins.module_utils._types import ModuleFacts, Reachability


class _Searches:
    """The search before code is freed, for all that were shown to be unreachable at once.

    What it shows of one was read over as many seconds as it took, and is as good for the next one for as long again,
    unless the exit of a module has run since: that may do anything, such as to arm what another left.
    """

    def __init__(self, reached: Dict[str, Reachability], timeout: float) -> None:
        self._wanted = {name for name, answer in reached.items() if answer['answer'] == 'unreachable'}
        self._timeout = timeout
        self._found: Dict[str, Tuple[float, Reachability]] = {}

    def again(self, name: str) -> Reachability:
        """The reachability of a module by now. Raises KmodError."""
        self._wanted.add(name)
        until, answer = self._found.get(name, (0.0, memory_search.not_searched('not yet')))
        if answer['answer'] != 'unreachable' or time.monotonic() > until:
            begun, wanted = time.monotonic(), sorted(self._wanted)
            found = child_process.with_deadline(lambda: module_survey.search(wanted, self._timeout), self._timeout,
                                                'search memory for what points into the modules')
            ended = time.monotonic()
            self._found = {each: (2 * ended - begun, found[each]) for each in found}
            answer = found[name]
        self._wanted.remove(name)  # it is freed now, or will not be
        return answer

    def forget(self) -> None:
        """Has the next one searched for anew."""
        self._found = {}


def run(names: List[str], options: unload_options.Options) -> Reports:
    """What :meth:`unload.Unload.run` returned of each, in this order, under ``modules``, each with ``name``,
    ``failed`` and ``msg``; ``changed`` and ``failed`` if any did; ``msg`` of those that failed, or else of all. One
    that is refused keeps no other from being tried.

    All are read at once, with one search of memory. By that check mode foresees each as those before it will leave it.
    By that one is refused as long as no other was changed; whatever is to be changed is read anew before, since the one
    before may have changed what holds it, and memory is searched again before the first is freed. Where one failed half
    way the rest are left as they are: the kernel may have died under it.
    """
    with contextlib.ExitStack() as held:
        ready = _ready(names, options, held, together=options.check_mode or len(names) > 1)
        return _each(names, _afterwards(options), *ready)


def _each(names: List[str], options: unload_options.Options, read: undo.Read, undone: undo.Undone) -> Reports:
    known, reached = read
    searches = _Searches(reached, options.timeout)
    told: List[Report] = []
    diffs: List[Diff] = []
    warnings: List[str] = []
    broken = ''
    for name in names:
        facts = _ahead(known[name], told) if name in known and options.check_mode else known.get(name)
        if name in undone.failed:
            result: Report = {'failed': True, 'msg': str(undone.failed[name])}
        elif broken:
            result = {'failed': True,
                      'msg': f'{name} was not tried, since the unload of {broken} failed half way.'}
        else:
            result = _run_one(options._replace(name=name), facts, reached, searches)
        if result.get('changed') and not options.check_mode:
            known = {}
        if any(step['action'] == 'delete_module' and step['changed'] for step in result.get('steps', [])):
            # What went may have been what led to another.
            reached = {other: answer for other, answer in reached.items() if answer['answer'] != 'reachable'}
        if _may_have_run_an_exit(result, options):
            searches.forget()
        if result['failed'] and result.get('changed'):
            broken = name
        result = undone.with_steps(name, result)
        warnings += result.pop('warnings', [])
        diff: Diff = {'before': {}, 'after': {}}
        diffs.append({**result.pop('diff', diff), 'before_header': name, 'after_header': name})
        told.append({'changed': False, **result, 'name': name})
    refused = [result for result in told if result['failed']]
    return {'changed': any(result['changed'] for result in told), 'failed': bool(refused),
            'msg': ' '.join(result['msg'] for result in refused or told) or 'No module is named.', 'modules': told,
            'diff': diffs, 'warnings': list(dict.fromkeys(warnings))}


def one(options: unload_options.Options) -> Report:
    """The same of one module, as :meth:`unload.Unload.run` returns it. Raises KmodError where it stays."""
    name = options.name
    with contextlib.ExitStack() as held:
        (known, reached), undone = _ready([name], options, held, together=False)
        if name in undone.failed:
            raise undone.failed[name]
        try:
            done = unload.Unload(_afterwards(options), facts=known.get(name), reached=reached).run()
        except KmodError as error:
            error.facts = {**undone.with_steps(name, error.facts)}
            raise
        return undone.with_steps(name, done)


def _ready(names: List[str], options: unload_options.Options, held: contextlib.ExitStack, *,
           together: bool) -> Tuple[undo.Read, undo.Undone]:
    """What is known of them, after what those that died left was taken back: nobody else is at those until ``held``
    ends. Where none died they are read ``together``, or not at all.
    """
    undone = undo.Undone(options, lambda: _read(names, options))
    died = _half_way(names, options) if 'undo' in options.methods and not options.check_mode else []
    if died:
        held.enter_context(undo.alone(died, options.timeout))
        return undone.take_back(), undone
    return _read(names, options) if together else undo.Read({}, {}), undone


def _half_way(names: List[str], options: unload_options.Options) -> List[str]:
    """None where that cannot be read: each of them says why."""
    try:
        return child_process.with_deadline(lambda: undo.half_way(map(kernel_name, names)), options.timeout,
                                           'read the state of the modules')
    except KmodError:
        return []


def _afterwards(options: unload_options.Options) -> unload_options.Options:
    """The options of the runs that follow: what could be taken back is taken back."""
    methods = [method for method in options.methods if method != 'undo' or options.check_mode]
    return options._replace(methods=methods)


def _may_have_run_an_exit(result: Report, options: unload_options.Options) -> bool:
    steps = [step for step in result.get('steps', []) if step['action'] == 'delete_module']
    verdict = result.get('verdict', '')
    return len(steps) > 1 or bool(steps and verdict != 'no_exit' and ladder.keeps_exit(verdict, options.run_exit))


def _run_one(options: unload_options.Options, facts: Optional[ModuleFacts], reached: Dict[str, Reachability],
             searches: _Searches) -> Report:
    try:
        return {**unload.Unload(options, facts=facts, reached=reached, search=searches.again).run(), 'failed': False}
    except KmodError as error:
        result: Report = error.facts
        return {**result, 'failed': True, 'msg': str(error)}


def _ahead(facts: ModuleFacts, told: List[Report]) -> ModuleFacts:
    """The facts of a module as they will be, once what was told of those before it is done."""
    steps = [step for result in told for step in result.get('steps', []) if step['changed']]
    gone = {step['module'] for step in steps if step['action'] == 'delete_module'}
    if facts['name'] in gone.union(step['module'] for step in steps if step['action'] == 'rename'):
        return {**facts, 'module': {'name': facts['name'], 'state': 'absent'}}
    return without_dependents(facts, gone)


def _read(names: List[str], options: unload_options.Options) -> undo.Read:
    """The facts of each, read together, and what can still reach those that may be freed; nothing where that fails:
    each is read by itself then, and says what failed.
    """
    depth = options.depth()

    def read() -> Tuple[Dict[str, ModuleFacts], Dict[str, Reachability]]:
        with module_survey.Survey(timeout=options.timeout) as survey:
            found = survey.with_anchors(asked.values(), depth, leftovers='undo' in options.methods)
            return found, survey.reached

    try:
        asked = {name: kernel_name(name) for name in names}
        facts, reached = child_process.with_deadline(read, (1 + module_survey.SEARCHING) * options.timeout,
                                                     'read the state of the modules')
    except KmodError:
        return undo.Read({}, {})
    return undo.Read({name: facts[asked[name]] for name in names}, reached)
