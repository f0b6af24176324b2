# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel memory, read once from end to end in search of pointers: in order, by all processors, within a time."""

import itertools
import time
from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import pool
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import Kcore
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.pointers import WORD, Pattern, Word

Span = Tuple[int, int]  # addresses from start to before end
# What one piece holds, as JSON carries it: the words, those of them that stayed, the bytes that could not be read.
Held = Tuple[Sequence[Sequence[int]], Sequence[Sequence[int]], int]

# What one process reads before it answers, and at once.
PIECE, AT_ONCE = 16 << 20, 1 << 20
# 8 TB, which no search reads in its time: what asks for more is torn, and a list of its pieces would fill the memory.
MOST_PIECES = 1 << 19
# Words found: more would take more memory than this may, and no module has so many.
MOST_WORDS = 1 << 20
PAGE = 4096


class Pages(NamedTuple):
    """Tell of the address of a page whether what was just found in it counts, and whether that may be what a process
    reads through: the next moment that holds something else.
    """

    count: Callable[[int], bool]
    are_doubtful: Callable[[int], bool]


class Swept(NamedTuple):
    """The words found, those of them in doubtful pages that were there a moment later as well, the bytes read and those
    that could not be, and why the sweep did not come to its end.
    """

    words: List[Word]
    stayed: List[Word]
    bytes: int
    unread: int
    unfinished: str


def sweep(kcore: Kcore, spans: Iterable[Span], pattern: Pattern, until: float, pages: Pages,
          begun: Callable[[], None] = lambda: None) -> Swept:
    """The words of ``spans`` that ``pattern`` finds, read by ``until`` (time.monotonic()).

    ``begun`` is called once there are the processes that read.
    """
    pieces = list(itertools.islice(_pieces(spans), MOST_PIECES + 1))
    if len(pieces) > MOST_PIECES:
        return Swept([], [], 0, 0, 'the kernel says that it has more than %d TB of it mapped'
                     % (MOST_PIECES * PIECE >> 40))
    total = sum(end - start for piece in pieces for start, end in piece)

    def read(piece: List[Span]) -> Optional[Held]:
        answer = _read(kcore, piece, pattern, until, pages)
        kcore.forget()  # the next reader is not to find it again
        return answer

    kcore.forget()
    answers = pool.share(read, pieces, max(until - time.monotonic(), 0.1), least=1, begun=begun)
    words: List[Word] = []
    stayed: List[Word] = []
    done, unread = 0, 0
    for number, piece in enumerate(pieces):
        answer = answers.get(number)
        if answer is not None:
            words += [Word(place, value) for place, value in answer[0]]
            stayed += [Word(place, value) for place, value in answer[1]]
            unread += answer[2]
            done += sum(end - start for start, end in piece)
    unfinished = ''
    if done < total:
        unfinished = 'only %d of %d MB of kernel memory were read in the time given' % (done >> 20, total >> 20)
    elif len(words) >= MOST_WORDS:
        unfinished = 'more than %d words point there' % MOST_WORDS
    return Swept(words[:MOST_WORDS], stayed, done - unread, unread, unfinished)


def _pieces(spans: Iterable[Span]) -> Iterator[List[Span]]:
    """The spans in pieces of PIECE bytes at most, in their order."""
    piece: List[Span] = []
    room: int = PIECE
    for start, end in spans:
        at = start
        while at < end:
            stop = min(end, at + room)
            # A word may begin before what the last piece ended with.
            piece.append((max(start, at - WORD + 1), stop))
            room -= stop - at
            at = stop
            if room <= 0:
                yield piece
                piece, room = [], PIECE
    if piece:
        yield piece


def _read(kcore: Kcore, piece: List[Span], pattern: Pattern, until: float, pages: Pages) -> Optional[Held]:
    """What one piece holds; None where the time is over."""
    found: List[Word] = []
    stayed: List[Word] = []
    unread: int = 0
    for start, end in piece:
        tail, after = b'', start  # the end of what was read before: a word may begin there
        for at in range(start, end, AT_ONCE):
            if time.monotonic() > until or len(found) > MOST_WORDS:
                return None
            for address, data in _parts(kcore, at, min(end, at + AT_ONCE)):
                if data is None:
                    unread += min(PAGE, end - address)
                    continue
                before = tail if after == address else b''
                words = list(pattern.words(before + data, address - len(before)))
                held = {page for page in {word.place & -PAGE for word in words} if pages.count(page)}
                found += [word for word in words if word.place & -PAGE in held]
                doubtful = {page for page in held if pages.are_doubtful(page)}
                stayed += [word for word in words if word.place & -PAGE in doubtful and _is_still_there(kcore, word)]
                tail, after = data[-WORD + 1:], address + len(data)
    return found, stayed, unread


def _is_still_there(kcore: Kcore, word: Word) -> bool:
    try:
        return kcore.u64(word.place) == word.value
    except KmodError:
        return True
    finally:
        kcore.forget()


def _parts(kcore: Kcore, start: int, end: int) -> Iterator[Tuple[int, Optional[bytes]]]:
    """The bytes from start to end; by the page where one of them cannot be read, None for that one."""
    try:
        data = kcore.read(start, end - start)
        kcore.forget()
        yield start, data
    except KmodError:
        for at in range(start, end, PAGE):
            try:
                yield at, kcore.read(at, min(PAGE, end - at))
            except KmodError:
                yield at, None
