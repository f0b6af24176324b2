# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of the kernel's slab allocator (mm/slub.c): which one an address lies in, of which cache, free or not."""

import contextlib
import os
import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Set

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists, page_frames
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_lists import pointer

# MAX_ORDER_NR_PAGES objects of 8 bytes each would be more: a list of free objects that has lost its end.
MOST_OBJECTS = 1 << 16
# nr_node_ids at most: 1 << CONFIG_NODES_SHIFT
MOST_NODES = 1024
SLAB_RED_ZONE = 0x400
# Readings of lists, until one is the same as the one before.
WALKS = 5


class Cache(NamedTuple):
    """A kmem_cache: its name, the bytes from object to object, where in a free one the next stands, what hides that.

    ``before`` are bytes of a red zone before an object's own.
    """

    address: int
    name: str
    size: int
    link: int
    secret: Optional[int]
    before: int


class Object(NamedTuple):
    """A slab object: its cache's name, its first address, its bytes, whether nobody has it, and whether that is sure:
    the lists of its slab's free objects were read to their ends. ``link`` is where the next stands while it is free.
    """

    cache: str
    start: int
    size: int
    is_free: bool
    is_sure: bool
    link: int


class Slabs:
    """Looks objects up, as they are at one time: what is free is read once. Every failure is a KmodError."""

    def __init__(self, memory: KernelMemory, physical: page_frames.PhysicalMemory,
                 offsets: Callable[[], List[int]]) -> None:
        """``offsets`` gives what is added to an address of data of each processor, or raises KmodError."""
        self._memory, self._physical, self._offsets = memory, physical, offsets
        types = memory.btf
        self._kind = 'slab' if types.has('slab', 'freelist') else 'page'
        self._caches: Dict[int, Cache] = {}
        self._free: Dict[int, Set[int]] = {}
        self._kept: Dict[int, Set[int]] = {}
        self._torn: Set[int] = set()  # slabs and caches whose lists changed while they were read

    def object_at(self, address: int) -> Optional[Object]:
        """The object that an address of the linear map lies in; None where that is no slab's."""
        head = self._head(address)
        if head is None:
            return None
        page = self._physical.page(head)
        cache = self._cache(self._cache_of(page))
        first = self._physical.address(head)
        start = first + (address - first) // cache.size * cache.size
        is_free = start in self._kept_of(cache) or start in self._free_of(head, page, cache)
        is_sure = not self._torn.intersection((head, cache.address))
        return Object(cache.name, start + cache.before, cache.size - cache.before, is_free, is_sure, start + cache.link)

    def is_of_sheaf(self, place: int, address: int) -> bool:
        """Whether a place is in a sheaf of free objects of the cache that an address is of: it is free now, or was."""
        types, found, head = self._memory.btf, self.object_at(place), self._head(address)
        if found is None or head is None or not types.has('slab_sheaf', 'cache'):
            return False
        cache = self._memory.kcore.u64(found.start + types.offset('slab_sheaf', 'cache'))
        return cache == self._cache_of(self._physical.page(head)) and \
            place >= found.start + types.offset('slab_sheaf', 'objects')

    def _head(self, address: int) -> Optional[int]:
        """The first frame of the slab that an address of the linear map lies in; None where that is no slab's."""
        frame = self._physical.frame(address)
        if frame is None or not self._physical.flags(frame)[0] & page_frames.SLAB:
            return None
        return self._physical.head(frame)

    def _cache_of(self, page: bytes) -> int:
        found: int = struct.unpack_from('<Q', page, page_frames.cache_offset(self._memory.btf))[0]
        return found

    def _cache(self, address: int) -> Cache:
        if address not in self._caches:
            kcore, types = self._memory.kcore, self._memory.btf

            def u32(member: str) -> int:
                return kcore.u32(address + types.offset('kmem_cache', member))

            name = kcore.u64(address + types.offset('kmem_cache', 'name'))
            secret = kcore.u64(address + types.offset('kmem_cache', 'random')) \
                if types.has('kmem_cache', 'random') else None
            size = u32('size')
            if not size:
                raise KmodError(f'read the slab cache at {address:#x}', 'its objects have no size')
            before = u32('red_left_pad') if u32('flags') & SLAB_RED_ZONE else 0
            self._caches[address] = Cache(address, kcore.text(name), size, u32('offset'), secret, before)
        return self._caches[address]

    def _free_of(self, head: int, page: bytes, cache: Cache) -> Set[int]:
        """The free objects of one slab: on its own list, and on that of the processor that allocates from it.

        Lists change while they are read. What is on one at any time is free; that all were seen is sure only where
        neither slab nor processors, which count what they do (kmem_cache_cpu.tid), have changed meanwhile.
        """
        if head not in self._free:
            self._free[head] = set()
            self._torn.add(head)
            for _attempt in range(WALKS):
                states = self._states(cache)
                is_whole = self._walk(head, page, cache, states)
                now = self._physical.page(head)
                if is_whole and now == page and states == self._states(cache):
                    self._torn.discard(head)
                    break
                page = now
        return self._free[head]

    def _walk(self, head: int, page: bytes, cache: Cache, states: List[bytes]) -> bool:
        """Adds what is free of one slab; whether all of its lists have led to their ends."""
        types = self._memory.btf
        firsts = [pointer(page, types.offset(self._kind, 'freelist'))]
        if states:
            own, first = types.offset('kmem_cache_cpu', self._kind), types.offset('kmem_cache_cpu', 'freelist')
            firsts += [pointer(state, first) for state in states
                       if pointer(state, own) == self._physical.page_address(head)]
        whole = 0
        for first in firsts:
            with contextlib.suppress(KmodError):
                self._free[head].update(self._chain(first, cache))
                whole += 1
        return whole == len(firsts)

    def _states(self, cache: Cache) -> List[bytes]:
        """What each processor has of a cache; nothing where there are sheaves for that."""
        size = self._memory.btf.size('kmem_cache_cpu') if self._memory.btf.has('kmem_cache', 'cpu_slab') else 0
        return [self._memory.kcore.read(place, size) for place in self._of_cpus(cache, 'cpu_slab')]

    def _chain(self, first: int, cache: Cache) -> Iterator[int]:
        at, steps = first, 0
        while at and steps < MOST_OBJECTS:
            if self._physical.frame(at) is None:
                raise KmodError('walk the free objects of ' + cache.name, 'they lead out of memory')
            yield at
            place, steps = at + cache.link, steps + 1
            at = self._memory.kcore.u64(place)
            if cache.secret is not None:
                # freelist_ptr_decode(): the address that it stands at is hidden in it, the last byte first.
                at ^= cache.secret ^ struct.unpack('>Q', struct.pack('<Q', place))[0]

    def _of_cpus(self, cache: Cache, member: str) -> List[int]:
        """The addresses of what a cache keeps for each processor; none where it keeps nothing of that name."""
        types, kcore = self._memory.btf, self._memory.kcore
        if not types.has('kmem_cache', member):
            return []
        first = kcore.u64(cache.address + types.offset('kmem_cache', member))
        if not first:
            return []
        return [(first + offset) % (1 << 64) for offset in self._offsets()]

    def _kept_of(self, cache: Cache) -> Set[int]:
        """The free objects that lie in sheaves: those of each processor, and the full ones of each node."""
        if cache.address not in self._kept:
            kept = self._kept[cache.address] = set()
            self._torn.add(cache.address)
            before: Optional[Set[int]] = None
            for _attempt in range(WALKS):
                found: Set[int] = set()
                with contextlib.suppress(KmodError):
                    for address in self._sheaved(cache):
                        found.add(address)
                        kept.add(address)
                    if found == before:
                        self._torn.discard(cache.address)
                        break
                    before = found
        return self._kept[cache.address]

    def _sheaved(self, cache: Cache) -> Iterator[int]:
        types, kcore = self._memory.btf, self._memory.kcore
        for place in self._of_cpus(cache, 'cpu_sheaves'):
            # What waits in rcu_free for a grace period may still be looked at by who found it before.
            for member in ('main', 'spare'):
                yield from self._sheaf(kcore.u64(place + types.offset('slub_percpu_sheaves', member)))
        for barn in self._barns(cache):
            link = types.offset('slab_sheaf', 'barn_list')
            head = barn + types.offset('node_barn', 'sheaves_full')
            for sheaf, _data in kernel_lists.ring(kcore, head, link, link + 16, 'the full sheaves of ' + cache.name):
                yield from self._sheaf(sheaf)

    def _barns(self, cache: Cache) -> Iterator[int]:
        types, kcore = self._memory.btf, self._memory.kcore
        for node in range(nodes(self._memory.root)):
            barn = 0
            if types.has('kmem_cache_per_node_ptrs', 'barn'):
                place = types.offset('kmem_cache', 'per_node') + node * types.size('kmem_cache_per_node_ptrs')
                barn = kcore.u64(cache.address + place + types.offset('kmem_cache_per_node_ptrs', 'barn'))
            elif types.has('kmem_cache_node', 'barn'):
                place = types.offset('kmem_cache', 'node') + 8 * node
                barn = kcore.u64(kcore.u64(cache.address + place) + types.offset('kmem_cache_node', 'barn'))
            if barn:
                yield barn

    def _sheaf(self, sheaf: int) -> Iterator[int]:
        types, kcore = self._memory.btf, self._memory.kcore
        if sheaf:
            count = min(kcore.u32(sheaf + types.offset('slab_sheaf', 'size')), MOST_OBJECTS)
            data = kcore.read(sheaf + types.offset('slab_sheaf', 'objects'), 8 * count)
            yield from (address for (address,) in struct.iter_unpack('<Q', data))


def nodes(root: str) -> int:
    """How many nodes of memory there may be. struct kmem_cache ends with the last."""
    try:
        with open(os.path.join(root, 'sys/devices/system/node/possible')) as stream:
            return min(int(stream.read().strip().replace('-', ',').split(',')[-1]) + 1, MOST_NODES)
    except (OSError, ValueError):
        return 1
