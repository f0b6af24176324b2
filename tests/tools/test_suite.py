# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of make test and make matrix: each once, in an order that can be, within the time that is given."""

import re
from pathlib import Path
from typing import List, Optional

import pytest

import suite

MAKEFILE = (suite.CHECKOUT / 'Makefile').read_text(encoding='utf-8')


def step(name: str, *needs: str, passes: bool = True, seconds: float = 1) -> suite.Step:
    """A step that does nothing."""
    return suite.Step(name, ('true' if passes else 'false',), seconds, needs)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> 'Run':
    """Runs steps with a memory and logs of their own."""
    monkeypatch.setenv('KMOD_LAB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(suite, 'LOGS', tmp_path / 'logs')
    return Run(capsys)


class Run:
    """What a suite did."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.left_out: List[str] = []

    def __call__(self, *steps: suite.Step, within_s: Optional[float] = None) -> bool:
        """Whether all passed."""
        it = suite.Suite(list(steps), 1, within_s)
        held = it.run()
        self.left_out = it.left_out
        return held

    def began(self) -> List[str]:
        """The steps in the order in which they began."""
        return re.findall(r'== +\d+:\d\d (\w+): begins', self.capsys.readouterr().out)


def test_what_is_needed_comes_first(run: Run) -> None:
    assert run(step('b', 'a'), step('a'), step('c'))
    assert run.began() == ['a', 'b', 'c']


def test_what_needs_a_step_that_failed_is_left_out_and_fails(run: Run) -> None:
    assert not run(step('a', passes=False), step('b', 'a'), step('c'))
    assert run.began() == ['a', 'c']
    assert run.left_out == ['b: what it needs failed']


def test_a_light_step_goes_beside_the_heavy_ones(run: Run) -> None:
    held = suite.Suite([], 2, None)
    heavy, light = step('heavy'), step('light')._replace(heavy=False)
    assert held.has_room(heavy, [heavy, light])
    assert not held.has_room(heavy, [heavy, heavy])
    assert held.has_room(light, [heavy, heavy])
    assert not held.has_room(light, [heavy, light])
    assert run(light, heavy)


def test_what_would_not_end_in_time_is_left_out_and_fails_nothing(run: Run) -> None:
    assert run(step('long', seconds=100), step('short'), within_s=50)
    assert run.began() == ['short']
    assert run.left_out == ['long: no time left']


def test_what_needs_a_step_that_was_left_out_is_told(run: Run) -> None:
    assert run(step('long', seconds=100), step('b', 'long'), step('short'), within_s=50)
    assert run.left_out == ['long: no time left', 'b: what it needs was left out']


def test_what_failed_last_comes_first(run: Run) -> None:
    assert not run(step('a'), step('b', passes=False))
    assert run.began() == ['a', 'b']
    assert run(step('a'), step('b'))
    assert run.began() == ['b', 'a']


def test_what_took_long_when_it_ran_is_thought_to_take_as_long(run: Run) -> None:
    slow = suite.Step('slow', ('sleep', '1.5'), 0, ())
    assert run(slow)
    assert run(slow, within_s=1)
    assert run.left_out == ['slow: no time left']


def test_a_step_that_takes_far_too_long_is_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, 'GRACE_S', -100)
    monkeypatch.setattr(suite, 'LEAST_S', 0.2)
    assert not run(suite.Step('slow', ('sleep', '60'), 0, ()), within_s=50)


def test_each_step_is_a_target_and_can_come() -> None:
    wanted = [*suite.test('shared'), *suite.matrix('shared')]
    for kept in (suite.test('shared'), suite.matrix('shared')):
        names = [each.name for each in kept]
        assert len(set(names)) == len(names)
        assert {name for each in kept for name in each.needs} <= set(names)
    assert {each.command[2] for each in wanted} <= set(re.findall(r'^([a-z-]+):', MAKEFILE, re.MULTILINE))


def test_each_kernel_has_its_main_job() -> None:
    names = [each.name for each in [*suite.test('shared'), *suite.matrix('shared')]]
    (kernels,) = re.findall(r'^KERNELS \?= (.*)', MAKEFILE, re.MULTILINE)
    assert sorted(kernels.split()) == sorted([suite.FIRST, *suite.OTHERS])
    for kernel in kernels.split():
        for each in suite.main_job(kernel, 'shared'):
            assert names.count(each.name) == 1
