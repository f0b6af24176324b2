# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's lists and trees, walked in its memory: list_head, hlist, bare next pointers, xarray, maple tree.

None of the kernel's locks is held, so a list may change under a walk, and a broken one may lead anywhere: every walk
ends, after MOST steps or at the first address that was there before, with a KmodError that says so.
"""

import contextlib
import struct
from typing import Callable, Dict, Iterator, Set, Tuple, TypeVar

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import Kcore, KernelMemory

T = TypeVar('T')

# Times that what got lost is walked.
WALKS = 3
# More than a busy host's timers; at some microseconds for each the walk ends within a second.
MOST = 1 << 16
# Levels of an xarray over 64-bit indices with 64 slots each, and more than a maple tree of that size has.
DEEPEST = 11
# include/linux/maple_tree.h: enum maple_type from bit 3 on, the node's address from bit 8 on.
MAPLE_LEAF, MAPLE_RANGE, MAPLE_ARANGE = 1, 2, 3
XA_SLOTS = 64
LARGEST_INDEX = (1 << 64) - 1


def again(walk: Callable[[], T], walks: int = WALKS) -> T:
    """What ``walk`` returns; one that got lost on a list that changed is begun again, ``walks`` are made at most.

    Raises the KmodError of the last.
    """
    for _walk in range(walks - 1):
        with contextlib.suppress(KmodError):
            return walk()
    return walk()


class Walk:
    """Counts the steps of one walk and remembers where it was. ``what`` is walked, for the error."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._seen: Set[int] = set()

    def step(self, address: int) -> int:
        """The address, unless the walk was there before or has gone on for too long."""
        if address in self._seen:
            raise self.lost('it goes in circles')
        return self.count(address)

    def count(self, address: int) -> int:
        """The same where an address may come twice."""
        if len(self._seen) >= MOST:
            raise self.lost('it has more than %d entries' % MOST)
        self._seen.add(address)
        return address

    def lost(self, why: str) -> KmodError:
        """The error of a walk that cannot go on."""
        return KmodError(f'walk {self._what}', why)


def pointer(data: bytes, offset: int) -> int:
    """The pointer at ``offset`` of the bytes of a struct."""
    found: int = struct.unpack_from('<Q', data, offset)[0]
    return found


def ring(kcore: Kcore, head: int, link: int, size: int, what: str) -> Iterator[Tuple[int, bytes]]:
    """Address and first ``size`` bytes of each struct on the list_head at ``head``; ``link`` is where its own is."""
    walk = Walk(what)
    walk.step(head)
    node = kcore.u64(head)
    while node != head:
        address = walk.step(node) - link
        data = kcore.read(address, max(size, link + 8))
        yield address, data
        node = pointer(data, link)


def chain(kcore: Kcore, first: int, link: int, size: int, what: str) -> Iterator[Tuple[int, bytes]]:
    """The same for an hlist, or for structs that a bare pointer links: from the ``first`` link on to NULL.

    ``link`` is where a struct holds the next; in an hlist that is where this one's own link points.
    """
    return _follow(kcore, first, link, size, Walk(what), link)


def pointers_chain(kcore: Kcore, first: int, link: int, size: int, what: str) -> Iterator[Tuple[int, bytes]]:
    """The same where each pointer is to the struct itself, not to the link in it."""
    return _follow(kcore, first, link, size, Walk(what), 0)


def _follow(kcore: Kcore, first: int, link: int, size: int, walk: Walk, back: int) -> Iterator[Tuple[int, bytes]]:
    node = first
    while node:
        address = walk.step(node) - back
        data = kcore.read(address, max(size, link + 8))
        yield address, data
        node = pointer(data, link)


def tree(memory: KernelMemory, root: int, what: str) -> Iterator[int]:
    """Each struct rb_node below ``root``, which is one or 0, the upper ones first (include/linux/rbtree_types.h)."""
    walk, left = Walk(what), [root]
    sides = [memory.btf.offset('rb_node', side) for side in ('rb_left', 'rb_right')]
    while left:
        node = left.pop()
        if node:
            yield walk.step(node)
            left += [memory.kcore.u64(node + side) for side in sides]


def xarray(memory: KernelMemory, root: int, what: str) -> Iterator[int]:
    """The pointers that the xarray (or radix_tree_root) at ``root`` holds."""
    types = memory.btf
    head, slots = types.offset('xarray', 'xa_head'), types.offset('xa_node', 'slots')
    return _xa_entries(memory.kcore, memory.kcore.u64(root + head), slots, Walk(what), DEEPEST)


def _xa_entries(kcore: Kcore, entry: int, slots: int, walk: Walk, deepest: int) -> Iterator[int]:
    # include/linux/xarray.h: the low bits 10 mark a node (or something reserved), an odd entry is a number.
    if entry & 3 == 2 and entry > 4096 and deepest:
        node = walk.step(entry - 2)
        for (child,) in struct.iter_unpack('<Q', kcore.read(node + slots, 8 * XA_SLOTS)):
            yield from _xa_entries(kcore, child, slots, walk, deepest - 1)
    elif entry and entry & 3 == 0:
        yield walk.step(entry)


def maple_tree(memory: KernelMemory, root: int, what: str) -> Iterator[int]:
    """The pointers that the maple tree at ``root`` holds."""
    types = memory.btf
    # In maple_range_64 a parent, n - 1 pivots and n slots; the slots lie in a union, which is slow to look into.
    leaf = types.size('maple_range_64')
    shapes = {
        MAPLE_LEAF: (types.offset('maple_range_64', 'pivot'), leaf - leaf // 16 * 8),
        MAPLE_ARANGE: (types.offset('maple_arange_64', 'pivot'), types.offset('maple_arange_64', 'slot')),
    }
    shapes[MAPLE_RANGE] = shapes[MAPLE_LEAF]
    entry = memory.kcore.u64(root + types.offset('maple_tree', 'ma_root'))
    if entry & 3 == 2 and entry > 4096:
        return _maple_node(memory.kcore, entry, shapes, Walk(what), DEEPEST, LARGEST_INDEX)
    return iter([entry] if entry and not entry & 3 else [])  # a tree of one entry has no node


def _maple_node(kcore: Kcore, node: int, shapes: Dict[int, Tuple[int, int]], walk: Walk, deepest: int,
                maximum: int) -> Iterator[int]:
    kind = node >> 3 & 15
    if kind not in shapes or not deepest:
        raise walk.lost('it has a node of the unknown kind %d' % kind if deepest else 'it is too deep')
    pivots, slots = shapes[kind]
    count = (slots - pivots) // 8 + 1
    words = struct.unpack('<%dQ' % (slots // 8 + count), kcore.read(walk.step(node & ~255), slots + 8 * count))
    for index in range(count):
        pivot = words[pivots // 8 + index] if index + 1 < count else maximum
        if index and not pivot:
            pivot = maximum  # the last slot in use need not say so
        child = words[slots // 8 + index]
        if kind != MAPLE_LEAF and child:
            yield from _maple_node(kcore, child, shapes, walk, deepest - 1, pivot)
        elif child and not child & 3:
            yield walk.step(child)
        if pivot >= maximum:
            return
