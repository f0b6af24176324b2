# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One question asked of many things, on all processors: by fork and pipes, which need no /dev/shm and no start-up."""

import json
import mmap
import os
import select
import signal
import struct
import time
from typing import Callable, Dict, Generic, List, Optional, TypeVar

from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process

T = TypeVar('T')
Answer = TypeVar('Answer')

LENGTH = struct.Struct('<I')
MOST_WORKERS = 8
# A worker for so few quick answers costs more than it brings.
LEAST_SHARE = 16
# After so many that hang, what is left is not asked any more.
MOST_HUNG = 3
# Seconds between two letters to the parent: each wakes it, and it is one process more for the same processors.
LETTER = 0.05


class _Worker(Generic[Answer]):
    """A child process that answers for ``places`` one by one."""

    def __init__(self, places: List[int], answer: Callable[[int], Answer]) -> None:
        self.places = places
        self.answered = 0
        # Where it is, in memory that both see: what it has not sent yet tells nothing of that.
        self._now = mmap.mmap(-1, LENGTH.size)
        self.received = b''
        self.last = time.monotonic()
        self.pid, self.descriptor = child_process.forked(
            lambda write_end: _work(places, answer, write_end, self._now), leads=False)

    def left(self) -> List[int]:
        """What it has not answered, but for that which it hung or died at."""
        stopped_at = LENGTH.unpack_from(self._now)[0]
        return [place for index, place in enumerate(self.places) if index >= self.answered and index != stopped_at]

    def receive(self) -> Optional[List[Answer]]:
        """The answers that have come; None where no more will."""
        data = os.read(self.descriptor, 1 << 18)
        if not data:
            return None
        self.last = time.monotonic()
        data = self.received + data
        found: List[Answer] = []
        at = 0
        while at + LENGTH.size <= len(data):
            end = at + LENGTH.size + LENGTH.unpack_from(data, at)[0]
            if end > len(data):
                break
            found += json.loads(data[at + LENGTH.size:end].decode('ascii'))
            at = end
        self.received = data[at:]
        return found

    def end(self) -> None:
        """Ends it. One that waits in the kernel for ever cannot be killed, and is left behind."""
        os.close(self.descriptor)
        os.kill(self.pid, signal.SIGKILL)
        child_process.reap(self.pid)


def _work(places: List[int], answer: Callable[[int], Answer], write_end: int, now: mmap.mmap) -> None:
    with os.fdopen(write_end, 'wb', 0) as stream:
        found, since = [], time.monotonic()
        for index, place in enumerate(places):
            LENGTH.pack_into(now, 0, index)
            found.append(answer(place))
            if time.monotonic() - since > LETTER or index == len(places) - 1:
                data = json.dumps(found).encode('ascii')
                data = LENGTH.pack(len(data)) + data
                while data:
                    data = data[stream.write(data) or 0:]
                found, since = [], time.monotonic()


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def share(function: Callable[[T], Answer], items: List[T], patience: float, workers: Optional[int] = None,
          least: int = LEAST_SHARE, begun: Callable[[], None] = lambda: None) -> Dict[int, Answer]:
    """``function`` of each item, by its place in ``items``; one that gives no answer within ``patience`` is left out.

    ``patience`` is in seconds. No process is begun for fewer than ``least``. Answers are what JSON can carry. A worker
    that hangs or dies costs the item that it was at, and another goes on behind that; after MOST_HUNG of them what is
    left is not asked. ``begun`` is called once all of them are there.
    """
    def answer(place: int) -> Answer:
        return function(items[place])

    answers: Dict[int, Answer] = {}
    running: List[_Worker[Answer]] = []
    count = max(1, min(workers or processors(), MOST_WORKERS, len(items) // least))
    hung = 0
    try:
        for number in range(min(count, len(items))):
            places = list(range(number, len(items), count))
            try:
                running.append(_Worker(places, answer))
            except OSError:
                # No process is to be had: then without a deadline.
                answers.update((place, answer(place)) for place in places)
        begun()
        while running:
            for worker in _over(running, answers, patience):
                running.remove(worker)
                worker.end()
                hung += 1 if worker.answered < len(worker.places) else 0
                if worker.answered < len(worker.places) and worker.left() and hung < MOST_HUNG:
                    running.append(_Worker(worker.left(), answer))
    finally:
        for worker in running:
            worker.end()
    return answers


def _over(running: List[_Worker[Answer]], answers: Dict[int, Answer], patience: float) -> List[_Worker[Answer]]:
    """Waits for answers, stores them; returns the workers that have ended, died, or been silent for too long."""
    silent = min(worker.last for worker in running) + patience - time.monotonic()
    ready = select.select([worker.descriptor for worker in running], [], [], max(0, silent))[0]
    over = []
    for worker in running:
        if worker.descriptor in ready:
            received = worker.receive()
            for found in received or []:
                answers[worker.places[worker.answered]] = found
                worker.answered += 1
            if received is None:
                over.append(worker)
        elif time.monotonic() - worker.last >= patience:
            over.append(worker)
    return over
