# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leftovers that the kernel is to call at a time: works that wait or run, high-resolution timers."""

import contextlib
from typing import Iterable, Iterator, List, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import Known, leftover
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover

# What the timer of a delayed work calls.
DELAYED = 'delayed_work_timer_fn'
# HRTIMER_MAX_CLOCK_BASES in include/linux/hrtimer_defs.h
MOST_BASES = 8


def of_work(known: Known, work: int, memory: KernelMemory, symbols: Symbols) -> Optional[Leftover]:
    """The work_struct at an address, of a delayed work or not; None where its function is not the module's."""
    types, kcore = memory.btf, memory.kcore
    place = work + types.offset('work_struct', 'func')
    function = kcore.u64(place)
    if not known.has(function):
        return None
    timer = work + types.offset('delayed_work', 'timer') + types.offset('timer_list', 'function')
    kind = 'delayed_work' if kcore.u64(timer) == (symbols.address(DELAYED) or 0) else 'work'
    return leftover(kind, 'work ' + symbols.within(known.name, function), work, place)


class Queued:
    """Reads the kernel's lists of them."""

    def __init__(self, memory: KernelMemory, symbols: Symbols) -> None:
        self._memory, self._symbols = memory, symbols

    def _offset(self, name: str, member: str) -> int:
        return self._memory.btf.offset(name, member)

    def delayed_works(self, known: Known) -> Iterator[Leftover]:
        """Those in the module's own memory, queued or not: each has a timer that calls delayed_work_timer_fn()."""
        called = self._symbols.address(DELAYED)
        at = self._offset('delayed_work', 'timer') + self._offset('timer_list', 'function')
        return self._of([place - at for place, word in known.words(self._memory.kcore) if called and word == called],
                        known)

    def _of(self, works: Iterable[int], known: Known) -> Iterator[Leftover]:
        """Those whose function is the module's. They come and go: one that cannot be read is left out."""
        for work in works:
            with contextlib.suppress(KmodError):
                found = of_work(known, work, self._memory, self._symbols)
                if found:
                    yield found

    def works(self, known: Known) -> Iterator[Leftover]:
        """Those that wait in a pool or in a workqueue, and those that run (kernel/workqueue.c)."""
        return self._of(self._queued(), known)

    def _queued(self) -> Iterator[int]:
        kcore, entry = self._memory.kcore, self._offset('work_struct', 'entry')
        pools = self._symbols.data('worker_pool_idr')[0] + self._offset('idr', 'idr_rt')
        node, current = self._offset('worker', 'node'), self._offset('worker', 'current_work')
        for pool in kernel_lists.xarray(self._memory, pools, 'worker_pool_idr'):
            for worker, _data in kernel_lists.ring(kcore, pool + self._offset('worker_pool', 'workers'), node, 0,
                                                   'the workers of a pool'):
                work = kcore.u64(worker + current)
                if work:
                    yield work
            yield from self._entries(pool + self._offset('worker_pool', 'worklist'), entry)
        for queue in self.workqueues():
            for of_pool in self.pools_of(queue):
                waiting = self._memory.btf.first_offset('pool_workqueue', 'inactive_works', 'delayed_works')
                yield from self._entries(of_pool + waiting, entry)

    def pools_of(self, queue: int) -> Iterator[int]:
        """Each struct pool_workqueue of a workqueue."""
        head, link = queue + self._offset('workqueue_struct', 'pwqs'), self._offset('pool_workqueue', 'pwqs_node')
        for of_pool, _data in kernel_lists.ring(self._memory.kcore, head, link, 0, 'the pools of a workqueue'):
            yield of_pool

    def _entries(self, head: int, entry: int) -> List[int]:
        """The works of a list, which changes all the time: one that got lost is walked again."""
        return kernel_lists.again(lambda: [work for work, _data in kernel_lists.ring(
            self._memory.kcore, head, entry, 0, 'works that wait')])

    def workqueues(self) -> Iterator[int]:
        """Each struct workqueue_struct."""
        head, link = self._symbols.data('workqueues')[0], self._offset('workqueue_struct', 'list')
        for queue, _data in kernel_lists.ring(self._memory.kcore, head, link, 0, 'workqueues'):
            yield queue

    def high_resolution_timers(self, known: Known) -> Iterator[Leftover]:
        """Those in the trees of all processors: hrtimer_bases in kernel/time/hrtimer.c."""
        function = self._offset('hrtimer', 'function')
        for root in self._trees():
            for node in kernel_lists.tree(self._memory, root, 'a tree of timers'):
                timer = node - self._offset('hrtimer', 'node')
                called = self._memory.kcore.u64(timer + function)
                if known.has(called):
                    what = 'high-resolution timer ' + self._symbols.within(known.name, called)
                    yield leftover('hrtimer', what, timer, timer + function)

    def _trees(self) -> Iterator[int]:
        first = self._symbols.data('hrtimer_bases')[0] + self._offset('hrtimer_cpu_base', 'clock_base')
        root, size = self._offset('hrtimer_clock_base', 'active'), self._memory.btf.size('hrtimer_clock_base')
        for offset in self._memory.cpu_offsets(self._symbols.data('__per_cpu_offset')[0]):
            for number in range(MOST_BASES):
                yield self._memory.kcore.u64((first + offset + number * size + root) % (1 << 64))
