# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source where ansible fails, hangs, or is not there, and where the source itself is stopped."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stage import DIED, HOSTS, NO_EXIT, PLUGIN, SILENT, SOURCE, looks, scene, told


async def until(condition):
    """Waits for a condition, 20 s at most."""
    for dummy in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError('It did not come about within 20 s.')


def is_alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def test_a_cancelled_source_ends_at_once_and_leaves_no_process(stage):
    async def cancelled():
        source = asyncio.ensure_future(SOURCE['main'](asyncio.Queue(), {}))
        await until(lambda: (stage.place / 'pids').exists() and len((stage.place / 'pids').read_text().split()) == 2)
        pids = (stage.place / 'pids').read_text().split()
        assert all(map(is_alive, pids))
        start = time.monotonic()
        source.cancel()
        with pytest.raises(asyncio.CancelledError):
            await source
        assert time.monotonic() - start < 5
        await until(lambda: not any(map(is_alive, pids)))

    stage.play(scene(hang=True))
    asyncio.run(cancelled())


def test_a_source_that_is_killed_leaves_no_ansible(stage):
    stage.play(scene(hang=True))
    source = subprocess.Popen([sys.executable, str(PLUGIN)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def killed():
        pids = stage.place / 'pids'
        await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        ansible = pids.read_text().split()[0]
        assert is_alive(ansible)
        source.kill()
        await until(lambda: not is_alive(ansible))
        os.kill(int(pids.read_text().split()[1]), signal.SIGKILL)

    try:
        asyncio.run(killed())
    finally:
        source.kill()
        source.wait()


def test_a_look_that_takes_too_long_tells_what_it_heard_and_calls_nobody_silent(stage, caplog):
    (events,) = looks(stage, scene(hosts=[*HOSTS, 'web4'], hang=True), timeout=6)
    assert told(events) == [DIED, NO_EXIT, *SILENT]
    assert '3 of 4 hosts had answered' in caplog.text
    pids = (stage.place / 'pids').read_text().split()
    asyncio.run(until(lambda: not any(map(is_alive, pids))))


FAILURES = {
    'no host answers in time': (scene('', hang=True), 'None of 3 hosts: no answer within 5 s'),
    'ansible dies': (scene('', status=5, complaint='[ERROR]: no\n'),
                     'None of 3 hosts: ansible ended with status 5 and did not name it: [ERROR]: no'),
    'no hosts': (scene(hosts=[]), 'No hosts: ansible --list-hosts ended with status 0: '),
    'no inventory': (scene(hosts=[], list_status=1), 'No hosts: ansible --list-hosts ended with status 1: '),
}


@pytest.mark.parametrize(('failing', 'message'), FAILURES.values(), ids=list(FAILURES))
def test_a_look_that_learns_nothing_says_why(stage, failing, message):
    with pytest.raises(SOURCE['LookError'], match='^' + message.replace('[', r'\[') + '$'):
        looks(stage, failing, timeout=5)


def test_without_ansible_a_look_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'python3'))
    with pytest.raises(SOURCE['LookError'], match='There is no ansible command on PATH'):
        SOURCE['command'](SOURCE['options']({}))


def test_failed_looks_are_tried_again_later_and_later_and_the_first_good_one_ends_that(stage, monkeypatch, caplog):
    waits = []

    class EnoughError(Exception):
        pass

    async def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 7:
            raise EnoughError

    failing = scene('', status=5)
    stage.play(failing, failing, failing, failing, scene(), scene(), failing)
    queue = asyncio.Queue()
    monkeypatch.setattr(asyncio, 'sleep', sleep)
    with pytest.raises(EnoughError):
        asyncio.run(SOURCE['main'](queue, {'interval': 5, 'longest_interval': 20}))
    assert waits == [5, 10, 20, 20, 5, 5, 5]
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 5
    assert told([queue.get_nowait() for dummy in range(queue.qsize())]) == [DIED, NO_EXIT, *SILENT]
