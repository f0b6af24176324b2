# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages in which kvfree_rcu() keeps the addresses of what it frees: mm/slab_common.c, kernel/rcu/tree.c up to 6.14.

Such a page is used again and again: behind what waits to be freed stands what was freed before, and is somebody else's.
"""

import contextlib
from typing import Iterator, List

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols

# FREE_N_CHANNELS and KFREE_N_BATCHES
CHANNELS, BATCHES = 2, 2
WHAT = 'what waits for RCU to be freed'


def pages(memory: KernelMemory, symbols: Symbols, offsets: List[int]) -> Iterator[int]:
    """The address of each, of all processors: ``offsets`` is what is added to the address of data of each.

    Raises KmodError where the kernel has none, or does not say where. A list that changes all the time is left out.
    """
    types, first = memory.btf, symbols.data('krc')[0]
    cached = types.offset('kfree_rcu_cpu', 'bkvcache')
    batch, work = types.offset('kfree_rcu_cpu', 'krw_arr'), types.size('kfree_rcu_cpu_work')
    filled = [types.first_offset('kfree_rcu_cpu', 'bulk_head', 'bkvhead')]
    filled += [batch + number * work + types.first_offset('kfree_rcu_cpu_work', 'bulk_head_free', 'bkvhead_free')
               for number in range(BATCHES)]
    for offset in offsets:
        start = (first + offset) % (1 << 64)
        yield from _each(memory, start + cached, is_ring=False, link=0)
        for place in filled:
            for channel in range(CHANNELS):
                if types.has('kfree_rcu_cpu', 'bulk_head'):
                    link = types.offset('kvfree_rcu_bulk_data', 'list')
                    yield from _each(memory, start + place + 16 * channel, is_ring=True, link=link)
                else:  # up to 6.3
                    link = types.offset('kvfree_rcu_bulk_data', 'next')
                    yield from _each(memory, start + place + 8 * channel, is_ring=False, link=link)


def _each(memory: KernelMemory, head: int, *, is_ring: bool, link: int) -> List[int]:
    """The pages of one list."""
    def walk() -> List[int]:
        if is_ring:
            found = kernel_lists.ring(memory.kcore, head, link, 0, WHAT)
        else:
            found = kernel_lists.pointers_chain(memory.kcore, memory.kcore.u64(head), link, 0, WHAT)
        return [page for page, _data in found]

    with contextlib.suppress(KmodError):
        return kernel_lists.again(walk)
    return []
