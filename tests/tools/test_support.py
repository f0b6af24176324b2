# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's table of what was tested: made from results, complete, and what the results say."""

import json
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import run_molecule
import support

TESTED = json.loads(support.TESTED.read_text(encoding='utf-8'))
ENTRY = {'release': '6.1.0-56-amd64', 'distribution': 'Debian GNU/Linux 12 (bookworm)', 'python': '3.11'}
BOOK = '''\
{"name": "ruff", "date": "2026-01-01", "seconds": 1.0, "passed": 1, "failed": 0}
{"name": "molecule create on 5.10 and 6.1", "date": "2026-01-01", "seconds": 1.0, "passed": 0, "failed": 5}
{"name": "molecule cure on 5.10 and 6.1", "date": "2026-01-02", "seconds": 500.0, "passed": 1, "failed": 0}
{"name": "molecule explain on 7.3", "date": "2026-01-02", "seconds": 500.0, "passed": 0, "failed": 1}
{"name": "molecule bare, its own guest", "date": "2026-01-03", "seconds": 500.0, "passed": 1, "failed": 0}
'''
FROM_BOOK = [('cure', '5.10', True, '2026-01-02'), ('cure', '6.1', True, '2026-01-02'),
             ('explain', '7.3', False, '2026-01-02'), ('bare', '6.1', True, '2026-01-03')]


def test_the_readme_has_the_table_of_the_results() -> None:
    readme = support.README.read_text(encoding='utf-8')
    assert support.with_table(readme, TESTED) == readme, 'run `make support`'


def test_no_failure_is_published() -> None:
    assert [(kernel, name) for kernel, entry in TESTED.items() for name, result in entry['scenarios'].items()
            if not result['passed']] == []


def test_every_scenario_has_a_result_on_each_kernel_that_it_is_for() -> None:
    shared = {kernel for kernel in TESTED if 'cure' in TESTED[kernel]['scenarios']}
    for scenario in run_molecule.scenarios():
        own = run_molecule.brings_its_guest(scenario)
        for kernel in support.kernels_of(scenario, '') if own else sorted(shared):
            assert scenario in TESTED[kernel]['scenarios'], f'{scenario} on {kernel}: run it, then `make support`'


def test_every_kernel_that_make_test_runs_on_is_in_the_table() -> None:
    (kernels,) = [line.partition('?=')[2].split() for line in (support.CHECKOUT / 'Makefile').read_text().splitlines()
                  if line.startswith('KERNELS ?=')]
    assert set(kernels) <= set(TESTED)


def test_a_book_is_read() -> None:
    assert [tuple(result) for result in support.of_book(BOOK)] == FROM_BOOK


@pytest.mark.parametrize('line', ['> %(seconds)8.1f s %(passed)6d passed %(failed)4d failed  %(name)s',
                                  '== %(name)s: %(passed)d passed, %(failed)d failed in %(seconds).1f s'])
def test_what_a_run_printed_is_read_as_its_book(line: str) -> None:
    entries = [json.loads(entry) for entry in BOOK.splitlines()]
    printed = '\n'.join(line % entry for entry in entries)
    assert [result[:3] for result in support.of_summary(printed, '2026-01-04')] == [row[:3] for row in FROM_BOOK]


@pytest.mark.parametrize(('named', 'kernels'), [
    ('5.10 and 6.1', ['5.10', '6.1']), ('6.12', ['6.12']), ('bare-6.1', ['6.1']), ('6.1 6.1_b 7.3', ['6.1', '7.3'])])
def test_the_kernels_of_a_step(named: str, kernels: List[str]) -> None:
    assert support.kernels_of('cure', named) == kernels


def test_a_later_result_takes_the_place_of_an_earlier_one() -> None:
    kept: Dict[str, Any] = {'6.1': {**ENTRY, 'scenarios': {'cure': {'passed': True, 'date': '2026-01-01'}}}}
    new = support.merged(kept, iter([support.Result('cure', '6.1', False, '2026-01-02')]))
    assert new['6.1']['scenarios'] == {'cure': {'passed': False, 'date': '2026-01-02'}}
    assert kept['6.1']['scenarios']['cure']['passed']
    assert 'FAILED: `cure`' in support.table(new)
