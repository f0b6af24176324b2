# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules hold what they say: each broken row is told, each sound one passes. Without a guest."""

from pathlib import Path
from typing import Any, Dict, Optional

import pytest
from expectations import EXPECTED, IN_ONE_GUEST, NOT_RUN, batches, parks, stays, unloads
from memory import Bound, grown, slope
from rig import LabError, fault_table
from rules import PLAIN, Rule, Turn, judge
from table import is_taken_now

STUCK = {'absent': None, 'coming': '1 - Loading', 'going': '-1 - Unloading', 'live': '0 - Live'}
REFUSAL = {'failed': True, 'changed': False, 'verdict': 'init_running', 'msg': 'still runs: insmod (pid 12, in f)',
           'before': {'state': 'coming'}, 'after': {'state': 'coming'}}
DONE = {'changed': True, 'verdict': 'init_died', 'method': 'reset', 'before': {'state': 'coming'},
        'after': {'state': 'absent'}}
NOTHING = {'changed': False, 'verdict': 'absent', 'before': {'state': 'absent'}, 'after': {'state': 'absent'}}
PARKED = {'changed': True, 'verdict': 'init_died', 'method': 'park', 'before': {'state': 'coming'},
          'after': {'state': 'absent'}}
UNLOADS, PARKS, STAYS = unloads('init_died'), parks('init_died'), stays('init_running', r'insmod \(pid \d+')


def look(state: str, **more: Any) -> Dict[str, Any]:
    """The host with the module foo in this state, and one other module."""
    line: Optional[str] = STUCK[state]
    table = {'other': '0 - Live', **({'foo': line} if line else {})}
    seen = {'initstate': state, 'refcnt': '1', 'sysfs': bool(line), 'device': False, 'address': '0x1'}
    return {'boot': 'b', 'table': table, 'modules': {'foo': seen}, 'taint': '0', 'left': [], 'log': [], 'processes': [],
            **more}


def turn(before: str, after: str, *reports: Dict[str, Any], **more: Any) -> Turn:
    """A turn of foo."""
    return Turn('foo', look(before), look(after, **more), list(reports))


def kept(*names: str) -> Dict[str, Any]:
    """The table with these besides."""
    return {'table': {'other': '0 - Live', **dict.fromkeys(names, '1 - Loading')}}


@pytest.mark.parametrize(('expected', 'rule', 'seen', 'words'), [
    (UNLOADS, PLAIN, turn('coming', 'absent', DONE), ''),
    (UNLOADS, PLAIN, turn('coming', 'coming', DONE), 'its name is not free'),
    (UNLOADS, PLAIN, turn('coming', 'absent', dict(DONE, changed=False)), 'reported changed=False'),
    (UNLOADS, PLAIN, turn('coming', 'absent', dict(DONE, after={'state': 'live'})), 'reported after: Live'),
    (UNLOADS, PLAIN, turn('coming', 'absent', dict(DONE, verdict='exit_died')), 'the verdict is exit_died'),
    (UNLOADS, PLAIN, turn('coming', 'absent', DONE, log=['BUG: x']), 'new alarms'),
    (UNLOADS, PLAIN, turn('coming', 'absent', DONE, boot='c'), 'booted again'),
    (UNLOADS, PLAIN, turn('coming', 'absent', DONE, left=['/tmp/x 1']), 'left behind'),
    (UNLOADS, PLAIN, turn('coming', 'absent', DONE, processes=['1 D x']), 'processes left'),
    (UNLOADS, PLAIN, turn('coming', 'absent', DONE, table={}), 'other was'),
    (UNLOADS, PLAIN, turn('coming', 'absent', {'failed': True, 'no_report': 'unreachable'}), 'no report'),
    (UNLOADS, PLAIN, Turn('foo', look('coming'), None, []), 'the host was lost'),
    (UNLOADS, PLAIN, turn('coming', 'absent', DONE)._replace(probe='hangs'), 'hangs'),
    (UNLOADS, PLAIN, turn('coming', 'absent', DONE)._replace(used='ok'), ''),
    (UNLOADS, PLAIN, turn('coming', 'absent', DONE)._replace(used='BUG: x'), 'when what it left was used: BUG: x'),
    (UNLOADS, PLAIN, turn('coming', 'absent', DONE, **kept('foo_parked1')), 'is parked as'),
    (PARKS, PLAIN, turn('coming', 'absent', PARKED, **kept('foo_parked1')), ''),
    (PARKS, PLAIN, turn('coming', 'absent', PARKED, **kept()), 'should be parked once'),
    (PARKS, PLAIN, turn('coming', 'absent', PARKED, **kept('foo_parked1', 'foo_parked2')), 'should be parked once'),
    (PARKS, PLAIN, turn('coming', 'absent', PARKED, **kept('foo_parked1', 'bar_parked1')), 'were not there: bar'),
    (PARKS, PLAIN, turn('coming', 'coming', PARKED), 'not free'),
    (PARKS, Rule('', together=True), turn('coming', 'absent', PARKED, NOTHING, **kept('foo_parked1')), ''),
    (STAYS, PLAIN, turn('coming', 'coming', REFUSAL), ''),
    (STAYS, PLAIN, turn('coming', 'coming', REFUSAL)._replace(used='ended with 1'), 'was used: ended'),
    (STAYS, PLAIN, turn('coming', 'absent', REFUSAL), 'foo was 1 - Loading'),
    (STAYS, PLAIN, turn('coming', 'coming', dict(REFUSAL, msg='no')), 'does not name'),
    (STAYS, PLAIN, turn('coming', 'coming', dict(REFUSAL, failed=False)), 'not refused'),
    (UNLOADS, Rule('', check=True), turn('coming', 'coming', DONE), ''),
    (UNLOADS, Rule('', check=True), turn('coming', 'absent', DONE), 'foo was'),
    (UNLOADS, Rule('', check=True), turn('coming', 'coming', dict(DONE, changed=False)), 'foresees no change'),
    (UNLOADS, Rule('', may_refuse=True, needs_words='denied'),
     turn('coming', 'coming', dict(REFUSAL, msg='denied')), ''),
    (UNLOADS, Rule('', may_refuse=True, needs_words='denied'), turn('coming', 'coming', REFUSAL), 'what it lacks'),
    (UNLOADS, Rule('', together=True), turn('coming', 'absent', DONE, NOTHING), ''),
    (UNLOADS, Rule('', together=True), turn('coming', 'absent', DONE, DONE), '2 of two'),
    (UNLOADS, Rule('', together=True), turn('coming', 'absent', DONE, dict(NOTHING, failed=True, msg='no')), 'not for'),
    (UNLOADS, Rule('', killed=True), turn('coming', 'coming'), ''),
    (UNLOADS, Rule('', killed=True), turn('coming', 'live'), ''),
    (UNLOADS, Rule('', killed=True), turn('coming', 'going'), 'half done'),
    (STAYS, Rule('', killed=True), turn('coming', 'live'), 'foo was'),
])
def test_a_row_is_judged(expected: Any, rule: Rule, seen: Turn, words: str) -> None:
    """No words: the row holds."""
    broken = '; '.join(judge(seen, expected, rule))
    assert words in broken if words else not broken, broken


HIT = {'place': 'a kmalloc-96 object', 'address': '0x1', 'target': 'f', 'what': 'work_struct.func'}
REACHED = {'answer': 'reachable', 'reason': 'it points there', 'hits': [HIT]}
LEFT = [{'code': 'dangling_references', 'reason': 'the kernel would still call foo: timer f', 'evidence': []}]


@pytest.mark.parametrize(('hazards', 'reachability', 'words'), [
    (LEFT, REACHED, ''), ([], REACHED, "check mode: what it left is not told as 'timer f'"),
    (LEFT, dict(REACHED, answer='unreachable'), 'check mode: it should be reachable, and is unreachable'),
    (LEFT, dict(REACHED, hits=[]), 'check mode: nothing that points there is told as'),
])
def test_check_mode_must_tell_what_a_fault_left(hazards: Any, reachability: Any, words: str) -> None:
    """By the hazards, and by what points into the module."""
    expected = PARKS._replace(dangles='timer f', reached='work_struct.func in a kmalloc')
    foreseen = turn('coming', 'coming', dict(PARKED, hazards=hazards, reachability=reachability))
    broken = '; '.join(judge(turn('coming', 'absent', PARKED, **kept('foo_parked1'))._replace(foreseen=foreseen),
                             expected, PLAIN))
    assert words in broken if words else not broken, broken


def test_the_next_run_must_unload_it() -> None:
    """After a killed run."""
    again = turn('coming', 'coming')._replace(lifted=look('coming'), final=look('coming'), next_report=REFUSAL)
    assert 'the next plain run failed' in '; '.join(judge(again, UNLOADS, Rule('', killed=True)))


def test_every_fault_has_its_line() -> None:
    """And one that has none is told what to add."""
    assert sorted(fault_table.FAULTS) == sorted([*EXPECTED, *NOT_RUN])
    assert sorted(name for batch in batches(list(EXPECTED)) for name in batch) == sorted(EXPECTED)
    assert all(len(batch) <= IN_ONE_GUEST + 1 for batch in batches(list(EXPECTED)))
    assert batches(['used_by', 'used_base']) == [['used_base', 'used_by']]
    with pytest.raises(LabError, match="'new_fault': unloads"):
        batches(['healthy', 'new_fault'])


def test_two_runs_share_what_is_due(tmp_path: Path) -> None:
    marks = [tmp_path / name for name in ('6.12-plain-init_oops', '6.12-plain-no_exit')]
    assert [is_taken_now(mark) for mark in marks * 2] == [True, True, False, False]


def test_growth_is_told_from_noise() -> None:
    """A line is fitted; what is neither kept nor broken is in doubt."""
    assert slope([(0, 1), (1, 3), (2, 5)]) == {'slope': 2.0, 'error': 0.0}
    noisy = [{'cycle': number, 'x': (number % 2) * 40} for number in range(10)]
    for samples, verdict in (([{'cycle': number, 'x': 5} for number in range(9)], 'kept'),
                             ([{'cycle': number, 'x': 4 * number} for number in range(9)], 'broken'),
                             (noisy, 'in doubt')):
        assert grown(samples, Bound('x', 0.5))['verdict'] == verdict
