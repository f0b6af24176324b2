# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One leftover, and what its readers know of the module that left it."""

import struct
from typing import Iterator, List, NamedTuple, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import Kcore
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Hit, Leftover, Ranges

# Bytes of each part of a module's memory that are looked through.
MOST_DATA = 4 << 20
WORD = 8


class Known(NamedTuple):
    """A module: its name, where its struct module is, its memory, the pointers into it."""

    name: str
    address: int
    ranges: Ranges
    hits: List[Hit]

    def has(self, address: int) -> bool:
        """Whether an address lies in its memory."""
        return any(start <= address < end for start, end in self.ranges)

    def has_text(self, text: str, kcore: Kcore) -> bool:
        """Whether a string stands in its memory."""
        return any(text.encode() + b'\0' in kcore.read(start, min(end - start, MOST_DATA))
                   for start, end in self.ranges)

    def words(self, kcore: Kcore) -> Iterator[Tuple[int, int]]:
        """Each word of its memory, behind where it is."""
        for start, end in self.ranges:
            data = kcore.read(start, min(end - start, MOST_DATA) // WORD * WORD)
            for number, (word,) in enumerate(struct.iter_unpack('<Q', data)):
                yield start + WORD * number, word


class Found(NamedTuple):
    """A leftover that the module keeps a pointer to, its name, and who else may have its address: the kernel itself.

    ``places`` are those of the kernel's pointers. ``inside`` are addresses of parts of it that others may have instead.
    ``node`` is its directory in sysfs, a struct kernfs_node that points to it, as the directories right below do.
    """

    leftover: Leftover
    name: str
    places: Set[int]
    inside: Tuple[int, ...] = ()
    node: int = 0

    def addresses(self) -> List[int]:
        """Those that nobody else may have."""
        return [self.leftover['address'], *self.inside]


def leftover(kind: str, what: str, address: int, proof: int, *, other: int = 0, more: int = 0) -> Leftover:
    """``proof``: where a word is that leads into the module, or a word of the module that holds ``address``."""
    return {'kind': kind, 'what': what, 'address': address, 'other': other, 'more': more, 'proof': proof}
