# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the playbook force_unload: whether a host has something to do, and what became of each host."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, TypedDict

from ansible_collections.kernelops.kmod.plugins.plugin_utils.answers import (
    at,
    facts,
    items,
    line,
    mapping,
    plain,
    underscored,
)

# The helper is out of tree and mostly unsigned, and a forced removal is marked: none of that is a harm.
MARKS = ('out_of_tree_module', 'unsigned_module', 'forced_rmmod')
OUTCOMES = ('cured', 'nothing to do', 'failed', 'worse', 'no answer', 'waiting')
LOADS = 'loads'


class Module(TypedDict):
    """A named module: before, what was done, and after."""

    name: str
    before: str
    verdict: str
    method: str
    after: str
    parked_as: str


class Health(TypedDict, total=False):
    """A host's health; nothing where it was not read."""

    taint: Any
    oopses: Any
    loader: Any
    harmless_module: str


class Host(TypedDict):
    """What became of one host."""

    host: str
    outcome: str
    worse: list[str]
    reason: str
    kernel: str
    seconds: float
    modules: list[Module]
    health: dict[str, Health]


class Report(TypedDict):
    """What became of the fleet."""

    names: list[str]
    outcomes: dict[str, int]
    hosts: list[Host]


def unload_needed(before: Any, names: Iterable[Any]) -> bool:
    """Whether the role has to look at a host; where the reading failed it has: it finds out why."""
    if at(before, 'unreachable'):
        return False
    wanted = {underscored(name) for name in names}
    return not facts(before) or any(
        at(module, 'state') != 'absent' for name, module in mapping(facts(before), 'modules').items() if name in wanted)


def _probed(tried: Any) -> str:
    """Whether the harmless module loads, and unloads again: 'loads', or why it does not."""
    if not tried:
        return 'not tried'
    if not at(tried, 'module'):
        return 'no harmless module was found'
    last = at(tried, 'unloaded' if at(tried, 'loaded', 'changed') else 'loaded')
    if at(tried, 'loaded', 'changed') and at(last, 'changed'):
        return LOADS
    return 'no answer' if at(last, 'msg') is None else str(at(last, 'msg'))


def _health(kernel: Mapping[str, Any], probed: str) -> Health:
    return {'taint': plain(kernel.get('taint')), 'oopses': plain(kernel.get('oopses')),
            'loader': plain(kernel.get('loader')), 'harmless_module': probed}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _worse(was: Health, now: Health) -> list[str]:
    """What is worse than it was, a sentence each."""
    known = [*map(line, items(was, 'taint', 'flags')), *MARKS]
    worse = ['the kernel is tainted: ' + flag
             for flag in dict.fromkeys(map(line, items(now, 'taint', 'flags'))) if flag not in known]
    before, after = was['oopses'], now['oopses']
    if _is_number(before) and _is_number(after) and after > before:
        worse.append('the kernel log has %s more oopses' % (after - before))
    if now['loader'] not in (was['loader'], 'ok'):
        loaders = (line(now['loader'], 'not known'), line(was['loader'], 'not known'))
        worse.append("the kernel's loader is %s, and was %s" % loaders)
    if was['harmless_module'] == LOADS and now['harmless_module'] not in (LOADS, 'not tried'):
        worse.append('a harmless module does not load any more: ' + line(now['harmless_module']))
    return worse


def _modules(names: list[str], was: Any, now: Any, done: Any, *, failed: bool) -> list[Module]:
    """Those that were there; all that were named where the work failed."""
    results = {underscored(at(result, 'name')): result for result in reversed(items(done, 'modules'))}
    rows: list[Module] = []
    for name in names:
        old, told = mapping(was, 'modules', name), mapping(results, name)
        if failed or old.get('state', 'absent') != 'absent':
            rows.append({
                'name': name, 'before': line(old.get('state'), 'not known'),
                'verdict': line(at(old, 'diagnosis', 'verdict'), 'not known'),
                'method': 'none' if told.get('failed') else line(told.get('method'), 'none'),
                'after': line(at(now, 'modules', name, 'state'), 'not known'),
                'parked_as': line(told.get('parked_as'))})
    return rows


def _seconds(began: Any, ended: Any) -> float:
    try:
        return max(round(float(ended) - float(began), 1), 0)
    except (TypeError, ValueError):
        return 0


def _host(host: str, about: Any, names: list[str]) -> Host:
    """What became of one host, from what its tasks registered."""
    first, last = mapping(about, 'force_unload_before'), mapping(about, 'force_unload_after')
    if last.get('skipped'):
        last = {}
    failure = line(at(about, 'force_unload_failure'))
    was, now = facts(first), facts(last)
    probe = mapping(about, 'force_unload_probe')
    before = _health(mapping(was, 'kernel'), _probed(probe.get('before'))) if was else Health()
    after = _health(mapping(now, 'kernel'), _probed(probe.get('after'))) if now else Health()
    worse: list[str] = []
    if last and not now:
        worse = ['it does not answer any more: ' + line(last.get('msg'), 'no reason given')]
    elif now and was:
        worse = _worse(before, after)
    silent = bool(first.get('unreachable'))
    outcome = ('waiting' if not first else 'no answer' if silent else 'worse' if worse else 'failed' if failure
               else 'cured' if last else 'nothing to do')
    return {
        'host': str(host), 'outcome': outcome, 'worse': worse,
        'reason': failure or (line(first.get('msg')) if silent else ''),
        'kernel': line(at(was, 'kernel', 'release'), 'not known'),
        'seconds': _seconds(at(about, 'force_unload_began'), at(about, 'force_unload_ended')),
        'modules': _modules(names, was, now, at(about, '__force_unload_done'), failed=bool(failure)),
        'health': {'before': before, 'after': after}}


def unload_report(hosts: Iterable[str], about: Any, names: Iterable[Any]) -> Report:
    """What became of each host, in the order of their turns."""
    wanted = [underscored(name) for name in names]
    rows = [_host(host, at(about, host), wanted) for host in hosts]
    counted = {outcome: sum(row['outcome'] == outcome for row in rows) for outcome in OUTCOMES}
    return {'names': wanted, 'outcomes': counted, 'hosts': rows}


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {'unload_needed': unload_needed, 'unload_report': unload_report}
