# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The points of the sweep, and what is written of them."""

import pytest
import samples
import sweep
import sweep_page

LONGEST_INTERFACE = 15  # IFNAMSIZ - 1 in include/uapi/linux/if.h

ROW = {'kernel': '6.12', 'sample': 'misc', 'where': 'init, step 1', 'became': 'gone', 'locked': False, 'loads': 'ok',
       'serves': 'ok', 'unloads': 'ok', 'harm': ''}


def row(**changed: object) -> sweep.Row:
    return {**ROW, **changed}


def test_each_source_is_a_sample_and_the_other_way_round() -> None:
    built = {path.stem for path in samples.DIRECTORY.glob('*.c')}
    assert built == {samples.built_as(sample) for sample in samples.SAMPLES}


def test_copies_have_names_of_their_own_of_the_samples_length() -> None:
    found = list(samples.points(list(samples.SAMPLES)))
    assert len({point.name for point in found}) == len(found)
    assert all(len(point.name) == len(samples.built_as(point.sample)) for point in found)
    assert all(len(point.name) <= LONGEST_INTERFACE for point in found if point.sample in ('netdev', 'network'))


def test_a_sample_dies_after_each_step_of_init_and_around_each_of_exit() -> None:
    assert [point.where for point in samples.points(['driver'])] == [
        'init, step 1', 'init, step 2', 'exit, step 0', 'exit, step 1', 'exit, step 2']


@pytest.mark.parametrize(('seen', 'word'), [
    (row(), 'serves'),
    (row(serves='status 1: '), 'loads'),
    (row(unloads='hangs'), 'loads'),
    (row(loads='File exists', serves='', unloads='', became='parked'), 'parked; File exists'),
    (row(became='parked'), 'parked; serves'),
    (row(loads='hangs', serves='', unloads='', became='stays'), 'stays; hangs'),
    (row(harm='BUG: x'), '**harmed**'),
])
def test_what_became_of_a_point_in_few_words(seen: sweep.Row, word: str) -> None:
    assert sweep_page.cell(seen) == word


def test_a_host_that_was_harmed_and_a_fixed_build_that_does_not_load_are_broken() -> None:
    assert sweep_page.broken([row(), row(became='parked'), row(loads='File exists', locked=True)]) == []
    bad = [row(harm='BUG: x'), row(loads='File exists')]
    assert sweep_page.broken(bad) == bad


def test_the_numbers_count_what_they_say() -> None:
    rows = [row(), row(became='parked', serves='status 1: '), row(harm='BUG: x'),
            row(became='stays', loads='hangs', serves='', locked=True)]
    assert sweep.counts(rows) == {'points': 4, 'harmed': 1, 'locked': 1, 'loads': 3, 'serves': 2, 'gone': 2,
                                  'parked': 1, 'refused': 1}
    assert 'hosts harmed 1, fixed build loads 75.0 % (3 of 4), and serves 50.0 % (2 of 4).' in sweep_page.in_a_sentence(
        {'6.12': rows})


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(SystemExit, match='numbers stand 0 times'):
        sweep_page.put('# a page', 'numbers', 'x')
