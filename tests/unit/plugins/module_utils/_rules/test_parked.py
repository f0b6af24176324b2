# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of a parked module: made, and told from others."""

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_table
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import parked
from hypothesis import given
from hypothesis import strategies as st

LONG = 'a' * parked.LONGEST


@pytest.mark.parametrize(('name', 'taken', 'found'), [
    ('foo', [], 'foo_parked1'), ('foo', ['foo', 'bar_parked1'], 'foo_parked1'), ('foo', ['foo_parked1'], 'foo_parked2'),
    ('foo', ['foo_parked1', 'foo_parked3'], 'foo_parked2'), (LONG, [], 'a' * 47 + '_parked1'),
    (LONG, ['a' * 47 + '_parked%d' % number for number in range(1, 10)], 'a' * 46 + '_parked10')])
def test_new_name(name, taken, found):
    assert parked.new_name(name, taken) == found


@given(st.from_regex(module_table.NAME, fullmatch=True).filter(lambda name: len(name) <= parked.LONGEST),
       st.integers(0, 12))
def test_any_module_can_be_parked_and_told(name, others):
    name, taken = module_table.kernel_name(name), []
    for dummy in range(others + 1):
        taken.append(parked.new_name(name, taken))
    assert len(set(taken)) == others + 1
    for found in taken:
        assert module_table.kernel_name(found) == found
        assert parked.is_parked(found)
        assert parked.bore(found, name)


def test_both_limits_are_the_same():
    assert parked.LONGEST == module_table.NAME_LIMIT


@pytest.mark.parametrize(('name', 'former', 'may'), [
    ('foo', 'foo', True), ('foo', 'bar', False), ('foo_parked1', 'foo', True), ('foo_parked12', 'foo', True),
    ('foo_parked1', 'foo_parked1', True), ('foo_parked1', 'fo', False), ('foo_parked1', 'fool', False),
    ('foo_parked1', '', False), ('foo_parked1', None, False), ('foo_parked1', {'unavailable': 'lost'}, False),
    ('foo_parked', 'foo', False), ('a' * 47 + '_parked1', LONG, True), ('a' * 47 + '_parked1', 'a' * 47, True),
    ('a' * 47 + '_parked1', 'b' * 50, False)])
def test_what_it_was_called_before(name, former, may):
    assert parked.bore(name, former) is may
