# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Physical memory: which page frames there are, what each is used for, and the kernel's struct page of each.

Frames and their addresses in the linear map from the segments of /proc/kcore, uses from /proc/kpageflags
(Documentation/admin-guide/mm/pagemap.rst). Addresses are kernel virtual addresses, a frame is a number.
"""

import array
import contextlib
import os
import re
import struct
from collections import Counter
from typing import Iterator, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import btf, kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory

# include/uapi/linux/kernel-page-flags.h
SLAB, ANON, COMPOUND_TAIL, RESERVED = 1 << 7, 1 << 12, 1 << 16, 1 << 32
# Pages of processes and files, free ones, page tables, none at all: LRU, BUDDY, SWAPCACHE, HUGE, HWPOISON, NOPAGE,
# THP, OFFLINE, ZERO_PAGE, PGTABLE. The kernel keeps no addresses of code there. Neither ANON tells that, read from a
# word that has another meaning in a slab, nor MMAP: a page of the kernel may be mapped into a process as well.
NOT_THE_KERNELS = sum(1 << bit for bit in (5, 10, 13, 17, 19, 20, 22, 23, 24, 26))
FLAGS_AT_ONCE = 1 << 16
# Slab pages that are asked whether struct page lies where it is looked for.
WITNESSES = 8
# MIGRATE_PCPTYPES, and the orders that each of them has a list for; the last lists are of huge pages.
PCP_TYPES, PCP_ORDERS, HUGE_ORDER = 3, 4, 9
WALKS = 5
PAGE = 4096
# Two readings of one page: of a hundred words that are not 0 so many are the same, and there are so many at least.
ALIKE, FEWEST_ALIKE = 90, 16


class Run(NamedTuple):
    """Page frames from first to before end."""

    first: int
    end: int


class Image(NamedTuple):
    """The kernel's own code and data: addresses, and the physical address of the first."""

    start: int
    end: int
    physical: int


def _others(data: bytes) -> bytes:
    """Of a part of /proc/kpageflags a byte for each page, 0 where the kernel uses it for itself."""
    # Of a large host's millions of pages none is looked at by itself: strings of bytes are.
    others = 0
    for number in range(NOT_THE_KERNELS.bit_length() // 8 + 1):
        others |= _where(data[number::8], NOT_THE_KERNELS >> 8 * number & 0xff)
    others &= ~_where(data[::8], SLAB)
    return others.to_bytes(len(data) // 8, 'little')


def _where(column: bytes, bits: int) -> int:
    """A number that has a byte 0xff for each byte that has one of the bits, and 0 for another."""
    return int.from_bytes(column.translate(bytes(0xff if byte & bits else 0 for byte in range(256))), 'little')


class PhysicalMemory:
    """Page frames of the running kernel. Every failure is a KmodError."""

    def __init__(self, memory: KernelMemory, page_size: Optional[int] = None) -> None:
        self._memory = memory
        self._path = os.path.join(memory.root, 'proc/kpageflags')
        self.page_size = page_size or os.sysconf('SC_PAGE_SIZE')
        segments = [segment for segment in memory.kcore.segments if segment.physical >= 0]
        if not segments:
            raise KmodError('find physical memory', '/proc/kcore does not tell where its segments lie')
        weights: Counter[int] = Counter()
        for segment in segments:
            weights[segment.start - segment.physical] += segment.end - segment.start
        self._linear = weights.most_common(1)[0][0]
        self.ram = sorted(Run(segment.physical // self.page_size,
                              (segment.physical + segment.end - segment.start) // self.page_size)
                          for segment in segments if segment.start - segment.physical == self._linear)
        self.image = next((Image(segment.start, segment.end, segment.physical) for segment in segments
                           if segment.start - segment.physical != self._linear), None)
        self._pages: Optional[int] = None
        self._page_bytes = memory.btf.size('page')

    def address(self, frame: int) -> int:
        """Where the linear map has a frame."""
        return self._linear + frame * self.page_size

    def frame(self, address: int) -> Optional[int]:
        """The frame of an address of the linear map; None for another."""
        number = (address - self._linear) // self.page_size
        return number if any(run.first <= number < run.end for run in self.ram) else None

    def kernels(self) -> Iterator[Run]:
        """The frames that the kernel uses for itself, in the order of their numbers; its own image is among them."""
        for run in self.ram:
            known = Run(run.first, run.first)
            for first in range(run.first, run.end, FLAGS_AT_ONCE):
                for same in re.finditer(b'\0+', _others(self._flags(first, min(FLAGS_AT_ONCE, run.end - first)))):
                    found = Run(first + same.start(), first + same.end())
                    if found.first == known.end:
                        found = Run(known.first, found.end)
                    elif known.first < known.end:
                        yield known
                    known = found
            if known.first < known.end:
                yield known

    def image_address(self, frame: int) -> Optional[int]:
        """Where the kernel's own code and data have a frame; None for one that is not theirs, or was given back."""
        if self.image is None:
            return None
        address = self.image.start + frame * self.page_size - self.image.physical
        within = self.image.start <= address < self.image.end
        return address if within and self.flags(frame)[0] & RESERVED else None

    def flags(self, first: int, count: int = 1) -> 'array.array[int]':
        """The flags of ``count`` frames, as /proc/kpageflags has them."""
        return array.array('Q', self._flags(first, count))

    def _flags(self, first: int, count: int) -> bytes:
        try:
            with open(self._path, 'rb', buffering=0) as stream:
                data = os.pread(stream.fileno(), 8 * count, 8 * first)
        except OSError as error:
            raise KmodError('find what the pages are used for', f'{self._path}: {error.strerror}',
                            'The kernel needs CONFIG_PROC_PAGE_MONITOR') from error
        if len(data) != 8 * count:
            raise KmodError('find what the pages are used for', '%s gave %d bytes for %d pages' % (
                self._path, len(data), count))
        return data

    def page(self, frame: int) -> bytes:
        """The struct page of a frame."""
        return self._memory.kcore.read(self.page_address(frame), self._page_bytes)

    def page_address(self, frame: int) -> int:
        """Where the struct page of a frame lies."""
        if self._pages is None:
            self._pages = self._find_pages()
        return self._pages + frame * self._page_bytes

    def frame_of_page(self, address: int) -> int:
        """The frame of a struct page."""
        return (address - self.page_address(0)) // self._page_bytes

    def head(self, frame: int) -> int:
        """The first frame of the compound page that a frame belongs to; the frame itself where it is of none."""
        types = self._memory.btf
        for member in ('compound_head', 'compound_info'):
            try:
                at = types.offset('page', member)
            except KmodError:
                continue
            word = struct.unpack_from('<Q', self.page(frame), at)[0]
            if not word & 1:
                return frame
            if word >> 40 == 0xffffff:  # a mask over the address of struct page, where its size is a power of two
                return self.frame_of_page(self.page_address(frame) & word)
            return self.frame_of_page(word - 1)
        raise KmodError('find the head of a compound page', 'struct page has no member that tells')

    def is_listed(self, frame: int) -> bool:
        """Whether nobody has a single page, and it stands on a list: as processors keep what was freed for whoever asks
        next (mm/page_alloc.c), which no flag shows. They keep thousands; such lists change too fast to be walked. One
        that cannot be read is somebody's.
        """
        types, kcore = self._memory.btf, self._memory.kcore
        at = types.offset('page', 'lru')
        for _attempt in range(WALKS):
            with contextlib.suppress(KmodError):
                page, own = self.page(frame), self.page_address(frame) + at
                following, before = struct.unpack_from('<QQ', page, at)
                if struct.unpack_from('<I', page, types.offset('page', '_refcount'))[0] or following == own:
                    return False
                if kcore.u64(following + 8) == own == kcore.u64(before):
                    return True
        return False

    def kept(self, nodes: List[int], cpus: List[int]) -> Set[int]:
        """The same of free frames that are kept several at a time, of which the first alone is on a list.

        ``nodes`` are the addresses of all pglist_data, ``cpus`` what is added to the data of each CPU. A reference
        count of 0 does not tell them: what is allocated as more than one page has it in all but the first.
        """
        types = self._memory.btf
        first, size = types.offset('pglist_data', 'node_zones'), types.size('zone')
        count = (types.offset('pglist_data', 'node_zonelists') - first) // size
        found: Set[int] = set()
        for node in nodes:
            for zone in range(node + first, node + first + count * size, size):
                for lists, orders in self._lists_of(zone, cpus):
                    for number, order in enumerate(orders):
                        if order:
                            found.update(self._on_list(lists + 16 * number, order))
        return found

    def _lists_of(self, zone: int, cpus: List[int]) -> Iterator[Tuple[int, List[int]]]:
        """The heads of the lists of each processor, and of how many pages, as a power of 2, each entry is."""
        types = self._memory.btf
        own, lists = types.size('per_cpu_pages'), types.offset('per_cpu_pages', 'lists')
        count = (own - lists) // 16
        orders = [number // PCP_TYPES if number < PCP_TYPES * PCP_ORDERS else HUGE_ORDER for number in range(count)]
        try:
            start = self._memory.kcore.u64(zone + types.offset('zone', 'per_cpu_pageset'))
        except KmodError:  # before 5.14: single pages alone
            return
        for offset in cpus if start else ():
            yield (start + offset + lists) % (1 << 64), orders

    def _on_list(self, head: int, order: int) -> List[int]:
        """The frames on one list; none where it changes all the time: they count as in use."""
        link = self._memory.btf.offset('page', 'lru')
        try:
            pages = kernel_lists.again(lambda: list(kernel_lists.ring(
                self._memory.kcore, head, link, link + 16, 'the free pages of a CPU')), WALKS)
        except KmodError:
            return []
        return [frame for page, _data in pages for frame in range(
            self.frame_of_page(page), self.frame_of_page(page) + (1 << order))]

    def _find_pages(self) -> int:
        """Where struct page of frame 0 would lie: for each segment of memory there is one of its struct pages."""
        witnesses = self._witnesses()
        for segment in self._memory.kcore.segments:
            if segment.physical >= 0:
                continue
            for run in self.ram:
                first = run.first * self._page_bytes // self.page_size * self.page_size
                if all(self._is_slab(segment.start - first + frame * self._page_bytes) for frame in witnesses):
                    return segment.start - first
        raise KmodError('find the kernel\'s struct pages', 'no segment of /proc/kcore holds them')

    def _witnesses(self) -> List[int]:
        found: List[int] = []
        for run in self.ram:
            at = run.first
            while at < run.end and len(found) < WITNESSES:
                flags = self.flags(at, min(FLAGS_AT_ONCE, run.end - at))
                found += [at + index for index, word in enumerate(flags)
                          if word & SLAB and not word & COMPOUND_TAIL][:WITNESSES]
                at += len(flags)
        if not found:
            raise KmodError('find the kernel\'s struct pages', f'{self._path} shows no slab')
        return found[:WITNESSES]

    def _is_slab(self, page: int) -> bool:
        """Whether the struct page at an address is that of a slab: it names a cache, and that has a name."""
        kcore, types = self._memory.kcore, self._memory.btf
        try:
            cache = kcore.u64(page + cache_offset(types))
            name = kcore.read(kcore.u64(cache + types.offset('kmem_cache', 'name')), 2)
        except KmodError:
            return False
        return all(0x20 < byte < 0x7f for byte in name)


def cache_offset(types: btf.Btf) -> int:
    """Where the struct page of a slab has its kmem_cache; struct slab lies over struct page from 5.17 on."""
    return types.offset('slab' if types.has('slab', 'slab_cache') else 'page', 'slab_cache')


def alike(memory: KernelMemory, page: int, other: int) -> bool:
    """Whether two addresses show the same page, which may change meanwhile. Of one that is all but empty nobody can
    tell: it is taken for another.
    """
    try:
        one, two = (memoryview(memory.kcore.read(address, PAGE)).cast('Q')
                    for address in (page, other))
    except KmodError:
        return False
    words = [(a, b) for a, b in zip(one, two) if a or b]
    same = sum(a == b for a, b in words)
    return same >= FEWEST_ALIKE and 100 * same >= ALIKE * len(words)
