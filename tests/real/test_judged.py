# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judgement of `make real`, and its table of cases."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

judged = importlib.import_module('judged')
use_cases = importlib.import_module('use_cases')

CASE = use_cases.Case('foo', 'modprobe foo', r'foo0')
LOOK: Dict[str, Any] = {'boot': 'b', 'taint': '0', 'table': {'foo': '1 - Live'}, 'log': []}
REPORT = {'failed': True, 'changed': False, 'msg': 'in use', 'verdict': 'in_use', 'reason': 'foo0'}


def steps(**changed: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Those of a case that comes out right, with these steps changed."""
    told: Dict[str, Dict[str, Any]] = {
        'setup': {'status': 0, 'said': ''}, 'before': {'look': LOOK, 'loaded': True},
        'works': {'status': 0, 'said': ''},
        'refused': {'report': REPORT, 'look': LOOK, 'loaded': True},
        'still works': {'status': 0, 'said': '', 'log': []},
        'facts': {'failed': None, 'refcount': 1, 'unread': [], 'hint': '', 'dependents': [],
                  'holders': [{'what': 'device foo0', 'end_with': 'ip link del foo0'}],
                  'diagnosis': {'verdict': 'in_use', 'reason': 'foo0', 'next': 'End what holds it'}},
        'command': {'command': 'ip link del foo0', 'status': 0, 'said': ''},
        'again': {'report': {'method': 'plain'}, 'look': LOOK, 'loaded': False},
    }
    for name, step in changed.items():
        told[name] = {**told[name], **step}
    return [dict(step, step=name) for name, step in told.items()]


def row(told: List[Dict[str, Any]], alive: bool = True) -> Dict[str, Any]:
    found: Dict[str, Any] = judged.row_of('foo in use', CASE, told, '', alive)
    return found


def test_a_case_that_comes_out_right() -> None:
    found = row(steps())
    assert found['wrong'] == []
    assert (found['refused'], found['named'], found['freed']) == (True, 'device foo0', True)
    assert judged.holds([found])


@pytest.mark.parametrize(('changed', 'wrong'), [
    ({'refused': {'report': {'changed': True, 'msg': 'unloaded by kernel_force'}}}, 'it was not refused'),
    ({'refused': {'report': {**REPORT, 'changed': True}}}, 'it was refused, but'),
    ({'refused': {'look': {**LOOK, 'boot': 'c'}}}, 'boot or taint'),
    ({'refused': {'look': {**LOOK, 'taint': '2'}}}, 'boot or taint'),
    ({'refused': {'look': {**LOOK, 'table': {'foo': '0 - Live'}}}}, '/proc/modules changed'),
    ({'refused': {'look': {**LOOK, 'table': {}}}}, '/proc/modules changed'),
    ({'refused': {'look': {**LOOK, 'table': {**LOOK['table'], 'kmod_reset': '0 - Live'}}}}, '/proc/modules changed'),
    ({'still works': {'log': ['BUG: unable to handle page fault']}}, 'new in the kernel log: BUG'),
    ({'still works': {'status': 1}}, 'the use no longer works'),
])
def test_what_is_no_unharmed_refusal(changed: Dict[str, Any], wrong: str) -> None:
    found = row(steps(**changed))
    assert not found['refused']
    assert wrong in ' '.join(found['wrong'])
    assert not judged.holds([found])


def test_a_host_that_is_lost_is_no_refusal() -> None:
    found = row(steps()[:4], alive=False)
    assert not found['refused']
    assert 'the host was lost after the step `refused`' in found['wrong']
    assert judged.totals([found])['lost'] == 1
    assert not judged.holds([found])


def test_a_setup_that_fails_is_the_case_s_own_fault() -> None:
    found = row([{'step': 'setup', 'status': 1, 'said': 'modprobe: not found'}])
    assert not found['set up']
    assert not judged.holds([found])
    assert 'the case itself fails: `setup` ended with 1: modprobe: not found' in found['wrong']


@pytest.mark.parametrize(('changed', 'wrong'), [
    ({'facts': {'holders': []}}, 'nobody named matches'),
    ({'facts': {'holders': [{'what': 'device bar0'}]}}, 'nobody named matches'),
    ({'again': {'loaded': True}}, 'it is still refused'),
    ({'again': {'report': {'method': 'kernel_force'}}}, 'not plain'),
    ({'again': {'look': {**LOOK, 'log': ['BUG: unable to handle page fault']}}}, 'new in the kernel log'),
])
def test_what_is_not_freed(changed: Dict[str, Any], wrong: str) -> None:
    found = row(steps(**changed))
    assert not found['freed']
    assert found['refused']
    assert wrong in ' '.join(found['wrong'])


def test_no_command_is_not_freed_unless_none_is_asked_for() -> None:
    told = [step for step in steps() if step['step'] not in ('command', 'again')]
    assert 'no command is told' in row(told)['wrong']
    assert judged.row_of('foo', CASE._replace(command=False), told, '', True)['wrong'] == []


def test_three_quarters_must_be_freed() -> None:
    good, bad = row(steps()), row(steps(again={'loaded': True}))
    assert judged.holds([good, good, good, bad])
    assert not judged.holds([good, good, bad])


def test_the_table() -> None:
    assert len(use_cases.cases_for('6.12')) >= 30
    for name, case in use_cases.CASES.items():
        assert ';' not in name
        assert not re.search(case.named, ''), f'{name} would be satisfied by anyone'
        assert set(case.kernels) <= set(use_cases.ALL)
    assert list(use_cases.cases_for('6.12', 'wireguard; v4l2loopback open')) == ['v4l2loopback open', 'wireguard']
