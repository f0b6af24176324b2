# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether somebody has what lies at a place of kernel memory, as far as that can be told while it changes."""

import contextlib
import struct
import time
from typing import Callable, Dict, List, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kvfree_rcu, page_frames, slab
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.pointers import WORD, Word
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols

# Looks at what seems to be free, and seconds before each.
LOOKS, PAUSE = 5, 0.02
# The same of what may wait to be freed, and the words of a module that it is done for at most.
LOOKS_LATER, LONG_PAUSE, FEW = 10, 0.1, 4


class InUse:
    """Answers as of the last :meth:`read`."""

    def __init__(self, memory: KernelMemory, symbols: Symbols, physical: page_frames.PhysicalMemory,
                 offsets: Callable[[], List[int]]) -> None:
        """``offsets`` gives what is added to an address of data of each processor, or raises KmodError."""
        self._memory, self._symbols, self._physical, self._offsets = memory, symbols, physical, offsets
        self.read()

    def read(self) -> None:
        """Forgets what was free. Where it cannot be told, nothing is."""
        self.slabs = slab.Slabs(self._memory, self._physical, self._offsets)
        self._kept: Optional[Set[int]] = None

    def object(self, place: int) -> Optional[slab.Object]:
        """The slab object at a place; none where the slab changes while it is looked at: then its word counts."""
        try:
            return self.slabs.object_at(place)
        except KmodError:
            return None

    def is_taken(self, place: int) -> Optional[bool]:
        """Whether somebody has the slab object, or the frame, that a place lies in; None where that cannot be told."""
        found = self.object(place)
        if found is None:
            frame = self._physical.frame(place)
            return frame is None or not (self._physical.is_listed(frame) or frame in self._frames_kept())
        return False if found.is_free else True if found.is_sure else None

    def is_there(self, word: Word) -> bool:
        """Whether a word is where it was seen, or may be."""
        try:
            return self._memory.kcore.u64(word.place) == word.value
        except KmodError:
            return True

    def is_of_sheaf(self, word: Word) -> bool:
        """Whether a word stands for an object that is free, or was, in what the allocator keeps (mm/slub.c)."""
        try:
            return self.slabs.is_of_sheaf(*word)
        except KmodError:
            return False

    def look_again(self, free: Dict[str, List[Word]], found: Dict[str, List[Word]]) -> None:
        """Adds to what was ``found`` of each module, if that is nothing, the words that only seem to be ``free``.

        What is freed and asked for all the time, as by a callback that asks for the next, is in use at times. What is
        never seen to be free, since its slab changes whenever it is looked at, counts as in use.
        """
        contents: Dict[int, bytes] = {}
        doubtful = {word for words in free.values() for word in words if self.is_taken(word.place) is None}
        for _look in range(LOOKS):
            left = {name: words for name, words in free.items() if words and not found[name]}
            if not left:
                return
            time.sleep(PAUSE)
            self.read()
            for name, words in left.items():
                found[name] += [word for word in words if self.is_there(word) and self._is_in_use(word, contents)]
                doubtful.difference_update(word for word in words if self.is_taken(word.place) is False)
        for name, words in free.items():
            if not found[name]:
                found[name] += [word for word in words if word in doubtful and self.is_there(word)]

    def _is_in_use(self, word: Word, contents: Dict[int, bytes]) -> bool:
        """Whether somebody has the slab object that a word stands in, or had it since: for sure, or since all but the
        link to the next free one has changed. ``contents`` is what each was before. A frame that was free stays so.
        """
        found = self.object(word.place)
        if found is None:
            return False
        try:
            content = bytearray(self._memory.kcore.read(found.start, found.size))
        except KmodError:
            return True
        link = max(found.link - found.start, 0)
        content[link:link + WORD] = bytes(len(content[link:link + WORD]))
        before, contents[found.start] = contents.get(found.start, content), bytes(content)
        return bool(self.is_taken(word.place)) or before != content

    def look_later(self, found: Dict[str, List[Word]], moved: Dict[str, List[Word]],
                   functions: Tuple[int, int]) -> bool:
        """Takes from what was ``found`` of a module, if all of it lies in objects that may wait to be freed, the words
        of those that are freed meanwhile, or somebody else's; they have ``moved`` then. Whether there are any.

        Such an object has a callback of the kernel's own, one of its ``functions`` from start to before end, that is
        called once nobody looks at it any more (call_rcu() in kernel/rcu/tree.c).
        """
        taken = False
        for _look in range(LOOKS_LATER):
            waiting = {name: words for name, words in found.items()
                       if 0 < len(words) <= FEW and all(self._has_one_of(functions, word.place) for word in words)}
            if not waiting:
                break
            time.sleep(LONG_PAUSE)
            self.read()
            for name, words in waiting.items():
                gone = [word for word in words if not self.is_there(word) or self.is_taken(word.place) is False]
                moved[name] += gone
                found[name] = [word for word in words if word not in gone]
                taken = taken or bool(gone)
        return taken

    def _has_one_of(self, functions: Tuple[int, int], place: int) -> bool:
        found = self.object(place)
        try:
            content = self._memory.kcore.read(found.start, found.size // WORD * WORD) if found else b''
        except KmodError:
            return False
        return any(functions[0] <= value < functions[1] for (value,) in struct.iter_unpack('<Q', content))

    def _frames_kept(self) -> Set[int]:
        """The free frames that processors keep for whoever asks next, several at a time."""
        if self._kept is None:
            self._kept = set()
            with contextlib.suppress(KmodError):
                nodes = [address for address in self._nodes() if address]
                self._kept.update(self._physical.kept(nodes, self._offsets()))
            with contextlib.suppress(KmodError):
                pages = kvfree_rcu.pages(self._memory, self._symbols, self._offsets())
                self._kept.update(filter(None, map(self._physical.frame, pages)))
        return self._kept

    def _nodes(self) -> List[int]:
        """The addresses of the pglist_data of all nodes of memory."""
        with contextlib.suppress(KmodError):
            one = self._symbols.address('contig_page_data')
            if one:
                return [one]
        table = self._symbols.data('node_data')[0]
        return [self._memory.kcore.u64(table + 8 * node) for node in range(slab.nodes(self._memory.root))]
