# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work shared among processes: all answers come, and what hangs or dies costs no more than itself."""

import os
import signal
import time

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import pool
from hypothesis import given, settings
from hypothesis import strategies as st


def square(number):
    return {'number': number, 'square': number * number}


def children():
    """How many child processes there are, ended ones too."""
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None


@pytest.fixture(autouse=True, scope='module')
def no_child_of_earlier_tests():
    """Those of other files leave children that end by themselves, later on a busy machine."""
    until = time.monotonic() + 30
    while children() is not None and time.monotonic() < until:
        time.sleep(0.05)


@settings(max_examples=25)
@given(st.lists(st.integers(), max_size=200), st.integers(1, 12))
def test_every_item_has_its_answer(items, workers):
    found = pool.share(square, items, 60, workers)
    assert found == {place: square(item) for place, item in enumerate(items)}
    assert children() is None


def test_answers_longer_than_a_pipe():
    found = pool.share(lambda item: str(item) * 300000, list(range(40)), 60, 3)
    assert all(found[item] == str(item) * 300000 for item in range(40))


def test_several_processes_work():
    found = pool.share(lambda _item: os.getpid(), list(range(64)), 60, 2)
    assert len(set(found.values())) == 2
    assert os.getpid() not in found.values()


def hangs_at(*places):
    def function(item):
        if item in places:
            time.sleep(60)
        return item
    return function


def test_what_hangs_costs_no_more_than_itself():
    start = time.monotonic()
    found = pool.share(hangs_at(7), list(range(64)), 2, 2)
    assert found == {item: item for item in range(64) if item != 7}
    assert time.monotonic() - start < 10
    assert children() is None


def test_after_some_that_hang_the_rest_is_not_asked():
    found = pool.share(hangs_at(*range(64)), list(range(64)), 0.1, 2)
    assert found == {}
    assert children() is None


@pytest.mark.parametrize('end', [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: 1 // 0],
                         ids=['killed', 'exception'])
def test_a_worker_that_dies_costs_no_more_than_its_item(end, capfd):
    def function(item):
        return end() if item == 7 else item

    assert pool.share(function, list(range(64)), 30, 2) == {item: item for item in range(64) if item != 7}
    assert 'Traceback' not in capfd.readouterr().err


def test_where_no_process_is_to_be_had(monkeypatch):
    def fork():
        raise BlockingIOError(11, 'Resource temporarily unavailable')

    monkeypatch.setattr(os, 'fork', fork)
    assert pool.share(square, [1, 2], 30) == {0: square(1), 1: square(2)}
