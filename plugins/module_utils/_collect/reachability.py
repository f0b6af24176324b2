# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can anything in the kernel still get into a module? Its memory is searched for words that point there.

As a garbage collector does, and mm/kmemleak.c: every page that the kernel uses for itself, what is mapped page by
page, the stacks of all tasks. Left out are the module itself, free memory, calls that have returned, and what the
kernel keeps of every module (:mod:`bookkeeping`). None of the kernel's locks is held. What looks free is looked at
several times. Where nothing is found all is read again: what was not in its place before is somebody's, also where it
has moved on. Whoever frees the module searches once more.
"""

import bisect
import contextlib
import struct
import time
from typing import Dict, Iterator, List, Optional, Sequence, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import (
    bookkeeping,
    in_use,
    locate,
    meanings,
    page_frames,
    registers,
    sweep,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.bookkeeping import Loaded
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import BUFFER, KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.pointers import WORD, Pattern, Word
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.task_structs import Lookup
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Hit, Reachability

REACHABLE, UNREACHABLE, UNKNOWN = 'reachable', 'unreachable', 'unknown'
# Hits that are told of one module, those first of which it is known what they are, of so many.
MOST_TOLD, MOST_WEIGHED = 20, 200
PAGE_OFFSET = 4095
# Of the kernel itself, in bytes: more would be no code.
LARGEST_CODE = 256 << 20
# enum mod_mem_type in include/linux/module.h
MOD_TEXT, MOD_INIT_TEXT = 0, 4
# Times that all memory is read again where nothing was found: what moves is seen two times in three.
AGAIN = 2
# Looks at the processors' own data, and seconds before each.
WATCHES, WATCH_PAUSE = 10, 0.01


def find(names: List[str], loaded: List[Loaded], memory: KernelMemory, symbols: Symbols, lookup: Lookup,
         seconds: float) -> Dict[str, Reachability]:
    """``{name: {'answer', 'reason', 'hits', 'count', 'bytes', 'seconds'}}`` for each of ``names``, which are loaded.

    ``answer`` is reachable, unreachable or unknown, ``reason`` one sentence; ``hits``: dicts of place, address
    (``0x..``), target and what, ``count`` of all of them; ``bytes`` read, in ``seconds``. ``loaded`` are all modules.
    ``lookup`` gives the address of a datum of the kernel, also where the symbol table does not list it.
    """
    begun = time.monotonic()
    try:
        search = _Search(loaded, memory, symbols, lookup)
        return search.answers(names, begun, begun + seconds)
    except KmodError as error:
        return {name: _answer(UNKNOWN, str(error), begun) for name in names}


def holders(values: List[int], loaded: List[Loaded], memory: KernelMemory, symbols: Symbols, lookup: Lookup,
            seconds: float) -> Dict[int, List[int]]:
    """Where in memory that is in use each of some addresses stands. Raises KmodError where not all could be read."""
    until = time.monotonic() + seconds
    return _Search(loaded, memory, symbols, lookup).holders(values, until)


def _answer(answer: str, reason: str, begun: float, hits: Sequence[Hit] = (), count: int = 0,
            read: int = 0) -> Reachability:
    return {'answer': answer, 'reason': reason, 'hits': list(hits), 'count': count, 'bytes': read,
            'seconds': round(time.monotonic() - begun, 2)}


class _Search:

    def __init__(self, loaded: List[Loaded], memory: KernelMemory, symbols: Symbols, lookup: Lookup) -> None:
        self._loaded = {module.name: module for module in loaded}
        self._memory, self._symbols = memory, symbols
        self._physical = page_frames.PhysicalMemory(memory)
        self._places = locate.Places(memory, symbols, lookup, [(module.name, module.ranges) for module in loaded])
        self._in_use = in_use.InUse(memory, symbols, self._physical, self._places.offsets)
        self._meanings = meanings.Meanings(memory, symbols, {module.address for module in loaded})
        self._codes = sorted(code for module in loaded for code in self._code_of(module))
        start, end = symbols.address('_stext') or 0, symbols.address('_etext') or 0
        self._functions = (start, end) if start < end < start + LARGEST_CODE else (0, 0)
        if any(self._functions):
            self._codes = sorted([*self._codes, self._functions])
        self._own = {module.name: module.ranges + self._of_processors(module) for module in loaded}
        self._mapped: Set[int] = set()  # the frames of what is mapped page by page, and those that ever were
        self._ever_mapped: Set[int] = set()
        self._stayed: Set[Word] = set()
        self._unseen = ''  # who ran all the while
        self._bookkeeping: Optional[bookkeeping.Bookkeeping] = None  # of modules: any other word counts

    def _code_of(self, module: Loaded) -> Iterator[Tuple[int, int]]:
        """Where a module's code is: two parts of mem[], or what comes first in a module_layout."""
        types, kcore = self._memory.btf, self._memory.kcore
        try:
            first, kind, size = types.offset('module', 'mem'), 'module_memory', 'size'
            parts = [first + part * types.size(kind) for part in (MOD_TEXT, MOD_INIT_TEXT)]
        except KmodError:
            kind, size = 'module_layout', 'text_size'
            parts = [types.offset('module', member) for member in ('core_layout', 'init_layout')]
        for part in parts:
            start = kcore.u64(module.address + part + types.offset(kind, 'base'))
            yield start, start + kcore.u32(module.address + part + types.offset(kind, size))

    def _is_code(self, address: int) -> bool:
        at = bisect.bisect_right(self._codes, (address + 1,)) - 1
        return at >= 0 and self._codes[at][0] <= address < self._codes[at][1]

    def _of_processors(self, module: Loaded) -> List[Tuple[int, int]]:
        """The data that a module has for each processor."""
        types, kcore = self._memory.btf, self._memory.kcore
        size = kcore.u32(module.address + types.offset('module', 'percpu_size'))
        if not size:
            return []
        start = kcore.u64(module.address + types.offset('module', 'percpu'))
        places = [(start + offset) % (1 << 64) for offset in self._places.offsets()]
        return [(place, place + size) for place in places]

    def holders(self, values: List[int], until: float) -> Dict[int, List[int]]:
        """See :func:`holders`."""
        names = {str(value): value for value in values}
        self._own = {name: [(value, value + 1)] for name, value in names.items()}
        found: Dict[str, Set[int]] = {name: set() for name in names}
        for _look in range(1 + AGAIN):
            swept = self._first_sweep(list(names), until)
            if swept.unfinished or swept.unread:
                raise KmodError('see who else has it', swept.unfinished or 'not all of memory could be read')
            there, moved = self._hits(list(names), swept.words)
            gone = {name: self._elsewhere(words) for name, words in moved.items()}
            for name, words in there.items():
                found[name].update(word.place for word in words if not self._in_use.is_of_sheaf(word))
            if not any(gone.values()):  # what RCU has freed meanwhile is not there the next time
                break
        return {value: sorted(found[name].union(word.place for word in gone[name])) for name, value in names.items()}

    def _first_sweep(self, names: List[str], until: float) -> sweep.Swept:
        tasks = self._places.read_stacks()
        self._meanings.threads = {task.kthread for task in tasks if task.kthread}
        return self._sweep(self._pattern(names), until)

    def answers(self, names: List[str], begun: float, until: float) -> Dict[str, Reachability]:
        """See :func:`find`."""
        pattern, swept = self._pattern(names), self._first_sweep(names, until)
        self._bookkeeping = bookkeeping.Bookkeeping(self._memory, self._symbols, self._physical, self._in_use.slabs,
                                                    self._places, list(self._loaded.values()))
        words, moved = self._hits(names, swept.words)
        has_gone = self._in_use.look_later(words, moved, self._functions)
        again = AGAIN + (has_gone or any(map(self._elsewhere, moved.values())))
        self._watch_processors(pattern, words)
        known = set(swept.words).difference(*moved.values())
        took = time.monotonic() - begun
        for _again in range(again):
            left = [name for name in names if not words[name]]
            if not left or swept.unfinished:
                break
            if time.monotonic() + took > until:
                words.update((name, self._elsewhere(moved[name])) for name in left)
                break
            later = self._sweep_again(until, left, known, words)
            swept = swept._replace(unfinished=later.unfinished, unread=swept.unread + later.unread)
        if not swept.unfinished and not all(words.values()):
            self._watch_tasks(pattern, words)
        self._memory.kcore.forget()
        return {name: self._judged(name, words[name], swept, begun) for name in names}

    def _pattern(self, names: List[str]) -> Pattern:
        return Pattern(span for name in names for span in self._own[name])

    def _sweep_again(self, until: float, names: List[str], known: Set[Word],
                     words: Dict[str, List[Word]]) -> sweep.Swept:
        """What was not in its place before was put there meanwhile, so that somebody has it, wherever it is by now."""
        swept = self._sweep(self._pattern(names), until)
        appeared = [word for word in swept.words if word not in known and not self._places.is_stack(word.place)]
        if appeared:
            there, moved = self._hits(names, appeared)
            known.update(set(appeared).difference(*moved.values()))
            words.update((name, there[name] or self._elsewhere(moved[name])) for name in names)
        return swept

    def _judged(self, name: str, words: List[Word], swept: sweep.Swept, begun: float) -> Reachability:
        if words:
            told = sorted((self._hit(name, word) for word in words[:MOST_WEIGHED]), key=lambda hit: not hit['what'])
            what, place = told[0]['what'], told[0]['place']
            where = f'{what} in {place}' if what else place
            more = {1: '', 2: ', and one more word points there'}.get(
                len(words), ', and %d more words point there' % (len(words) - 1))
            why = f'{where} points to {told[0]["target"]} of {name}{more}'
            if not self._symbols.lists_data():
                why += ' (/proc/kallsyms lists functions alone: what the kernel keeps of every module is among them)'
            return _answer(REACHABLE, why, begun, told[:MOST_TOLD], len(words), swept.bytes)
        if swept.unfinished or swept.unread:
            why = swept.unfinished or '%d KB of kernel memory could not be read' % (swept.unread >> 10)
            return _answer(UNKNOWN, why, begun, read=swept.bytes)
        if self._unseen:
            return _answer(UNKNOWN, self._unseen + ' ran all the while, and what is in a register is in no memory',
                           begun, read=swept.bytes)
        if self._of_processors(self._loaded[name]):
            return _answer(UNKNOWN, f'{name} has data of its own for each processor, and the kernel may hold their '
                           'offset, which looks like any number', begun, read=swept.bytes)
        holders = bookkeeping.holders_of_kobject(self._loaded[name], self._memory)
        if holders:
            return _answer(UNKNOWN, 'somebody whom no word of kernel memory shows holds /sys/module/%s: the unload '
                           'would wait for ever (references to its kobject: %d)' % (name, holders), begun,
                           read=swept.bytes)
        return _answer(UNREACHABLE, f'no word of kernel memory points into {name}: {swept.bytes >> 20} MB were read',
                       begun, read=swept.bytes)

    def _sweep(self, pattern: Pattern, until: float) -> sweep.Swept:
        if not self._mapped:
            self._read_mapped()
        size = self._physical.page_size
        spans = self._places.spans()
        spans += [(self._physical.address(run.first), self._physical.address(run.first) + (run.end - run.first) * size)
                  for run in self._physical.kernels()]
        self._memory.kcore.blank = self._symbols.address('_stext') or 0
        # The stacks of those that read are there then.
        swept = sweep.sweep(self._memory.kcore, spans, pattern, until,
                            sweep.Pages(self._is_somebodys, self._is_doubtful), self._read_mapped)
        self._stayed.update(swept.stayed)
        return swept._replace(words=[home for word in swept.words for home in self._at_home(word)])

    def _at_home(self, word: Word) -> Iterator[Word]:
        """The word where the kernel's own data lie, of which the linear map has the frames; any other as it is."""
        frame = self._physical.frame(word.place)
        image = self._physical.image_address(frame) if frame is not None else None
        if image is None:
            yield word
        elif word.place % WORD == 0:
            yield Word(image + (word.place & PAGE_OFFSET), word.value)

    def _is_somebodys(self, page: int) -> bool:
        """Whether the kernel has a page at the very time that something was found in it.

        Free pages and those of processes are asked for and given back all the time, by this very search as well, and so
        is the page through which it reads.
        """
        frame = self._physical.frame(page)
        if frame is None:
            return True
        flags = self._physical.flags(frame)[0]
        if flags & page_frames.SLAB:
            return not self._memory.kcore.is_buffer(page)
        return not flags & (page_frames.NOT_THE_KERNELS | page_frames.ANON) and not self._physical.is_listed(frame)

    def _is_doubtful(self, page: int) -> bool:
        """Whether a page may be what some process reads through, or that process's stack."""
        frame = self._physical.frame(page)
        flags = self._physical.flags(frame)[0] if frame is not None else page_frames.RESERVED
        if flags & page_frames.SLAB:
            found = self._in_use.object(page)
            return found is not None and found.size == BUFFER
        if not flags & page_frames.RESERVED and frame not in self._mapped:
            self._read_mapped()  # a process that began since then may have ended when all is read
        return not flags & page_frames.RESERVED and frame not in self._mapped

    def _read_mapped(self) -> None:
        self._places.read_areas()
        self._mapped = {self._physical.frame_of_page(page) for table in self._places.tables()
                        for (page,) in struct.iter_unpack('<Q', table)}
        self._ever_mapped |= self._mapped

    # What was found

    def _hits(self, names: List[str], words: List[Word]) -> Tuple[Dict[str, List[Word]], Dict[str, List[Word]]]:
        """Of each module the words that count, code first, and those that are gone since they were seen."""
        self._in_use.read()
        self._read_mapped()
        mapped: Dict[Tuple[int, int], Set[int]] = {}
        linear: Dict[int, List[Word]] = {}
        kept: List[Word] = []
        for word in words:
            frame = self._physical.frame(word.place)
            if frame is not None:
                linear.setdefault(frame, []).append(word)
                continue
            kept.append(word)
            if not self._places.has_table(word.place):
                mapped.setdefault((word.place & PAGE_OFFSET, word.value), set()).add(word.place & ~PAGE_OFFSET)
        for frame, of_frame in linear.items():
            kept += self._of_frame(frame, of_frame, mapped)
        found: Dict[str, List[Word]] = {name: [] for name in names}
        free: Dict[str, List[Word]] = {name: [] for name in names}
        moved: Dict[str, List[Word]] = {name: [] for name in names}
        owned = [(self._owner(names, word), word) for word in sorted(kept)]
        counted = [(name, word) for name, word in owned if self._counts(name, word)]
        self._in_use.read()  # the kernel's lists are long: what was in use before they were walked may be free by now
        for name, word in counted:
            taken = self._in_use.is_taken(word.place)
            if not self._in_use.is_there(word) or not self._is_somebodys(word.place):
                moved[name].append(word)
            elif taken:
                found[name].append(word)
            else:
                free[name].append(word)
        self._in_use.look_again(free, found)
        return found, moved

    def _watch_processors(self, pattern: Pattern, found: Dict[str, List[Word]]) -> None:
        """What a processor hands from list to list, as a tasklet that asks for itself again, is at times on none: its
        own data, which are few, are read again and again.
        """
        for _look in range(WATCHES):
            left = [name for name, words in found.items() if not words]
            if not left:
                return
            time.sleep(WATCH_PAUSE)
            for start, end in self._places.of_processors():
                with contextlib.suppress(KmodError):
                    for word in pattern.words(self._memory.kcore.read(start, end - start), start):
                        name = self._owner(left, word)
                        if name and self._counts(name, word):
                            found[name].append(word)

    def _watch_tasks(self, pattern: Pattern, found: Dict[str, List[Word]]) -> None:
        """What only a register holds is on the stack of whose register that is, once it sleeps."""
        watched = registers.Registers(self._memory, self._places)
        for words in watched.words(pattern):
            left = [name for name, known in found.items() if not known]
            for word in words:
                name = self._owner(left, word)
                if name:
                    found[name].append(word)
            if all(found.values()):
                return
        self._unseen = watched.unseen()

    def _owner(self, names: List[str], word: Word) -> str:
        return next((name for name in names for start, end in self._own[name] if start <= word.value < end), '')

    def _of_frame(self, frame: int, words: List[Word], mapped: Dict[Tuple[int, int], Set[int]]) -> List[Word]:
        """The words of a frame of the linear map, unless they are seen elsewhere as well, or nobody has the frame.

        ``mapped``: by what they hold, the pages that are mapped elsewhere and of which no table tells the frame.
        """
        if self._physical.flags(frame)[0] & page_frames.SLAB:
            return words
        if frame in self._mapped:
            return []
        pages, here = mapped.get((words[0].place & PAGE_OFFSET, words[0].value), ()), self._physical.address(frame)
        return [] if any(page_frames.alike(self._memory, page, here) for page in pages) else words

    def _counts(self, name: str, word: Word) -> bool:
        place, value = word
        if any(start <= place < end for start, end in self._own[name]) or self._places.is_dead(place):
            return False
        # What a compiler laid out is aligned: between two words numbers look like addresses, as they do in code.
        if self._is_code(place) or (place % WORD and self._places.is_a_modules(place)):
            return False
        found = self._in_use.object(place)
        if not found:
            of_processor = self._places.of_processor(place)
            if any(stack in of_processor for stack in locate.OF_PROCESSORS):
                return False
        return not (self._bookkeeping and self._bookkeeping.has(place, value, found))

    def _elsewhere(self, words: List[Word]) -> List[Word]:
        """Those of the words that are gone from their places and somewhere else by now, or may be."""
        return [word for word in words if self._may_move(word)]

    def _may_move(self, word: Word) -> bool:
        """Whether what is gone from a place may be somewhere else by now.

        A call that was on a stack has returned. What a process reads through holds something else the next moment: a
        page, or an object of a page's size, in which the word has stayed is no such.
        """
        if self._places.is_stack(word.place):
            return False
        found = self._in_use.object(word.place)
        if found and found.size != BUFFER:
            return True
        frame = self._physical.frame(word.place)
        if frame is None or self._physical.flags(frame)[0] & page_frames.RESERVED:
            return True
        return word in self._stayed and frame not in self._ever_mapped

    def _hit(self, name: str, word: Word) -> Hit:
        found = self._in_use.object(word.place)
        target = self._target(name, word.value)
        what = self._meanings.of(word.place, found, '+' not in target and self._is_code(word.value))
        if found:
            place = f'a {found.cache} object'
        else:
            frame = self._physical.frame(word.place)
            place = self._places.name(word.place) or self._places.of_processor(word.place) or \
                (self._places.datum(word.place) if frame is None else 'a page of the kernel')
        return {'place': place, 'address': f'{word.place:#x}', 'target': target, 'what': what}

    def _target(self, name: str, value: int) -> str:
        first = next((start for start, end in self._own[name] if start <= value < end), value)
        return self._symbols.within(name, value, first)
