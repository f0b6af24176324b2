# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of memory that are an address in one of some ranges, at any alignment, found at the speed of memory."""

import bisect
import re
import struct
from typing import Iterable, Iterator, List, NamedTuple, Tuple

WORD = 8
# The upper bytes that tell blocks of addresses apart: of 64 KB, as long as there are few of them, or of 16 MB. As a
# regular expression such a literal is found by its first byte, which is rare: four times as fast as by bytes.find.
NEAR, FAR, FEW = 2, 3, 2


class Word(NamedTuple):
    """Where a word lies, and the address that it holds."""

    place: int
    value: int


class Pattern:
    """What is looked for: addresses from start to before end, of each of the ``ranges``, which do not overlap."""

    def __init__(self, ranges: Iterable[Tuple[int, int]]) -> None:
        self._ranges = sorted((start, end) for start, end in ranges if start < end)
        self._starts = [start for start, _end in self._ranges]
        near = self._uppers(NEAR)
        self._below = NEAR if len(near) <= FEW else FAR
        self._uppers_of_all = [re.compile(re.escape(upper)) for upper in self._uppers(self._below)]

    def _uppers(self, below: int) -> List[bytes]:
        """All but the lowest bytes, ``below`` of them, of the addresses in the ranges."""
        bits = 8 * below
        blocks = {block for start, end in self._ranges for block in range(start >> bits, ((end - 1) >> bits) + 1)}
        return [struct.pack('<Q', block << bits)[below:] for block in sorted(blocks)]

    def holds(self, value: int) -> bool:
        """Whether an address lies in one of the ranges."""
        at = bisect.bisect_right(self._starts, value) - 1
        return at >= 0 and value < self._ranges[at][1]

    def words(self, data: bytes, address: int) -> Iterator[Word]:
        """The words of ``data`` that hold such an address; ``address`` is where its first byte lies."""
        unpack = struct.Struct('<Q').unpack_from
        for upper in self._uppers_of_all:
            for match in upper.finditer(data):
                start = match.start() - self._below
                if start >= 0:
                    value = unpack(data, start)[0]
                    if self.holds(value):
                        yield Word(address + start, value)
