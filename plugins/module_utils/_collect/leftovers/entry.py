# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One leftover, and what its readers know of the module that left it."""

import struct
from typing import Iterator, List, NamedTuple, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import Kcore, KernelMemory
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

    def words(self, kcore: Kcore) -> Iterator[Tuple[int, int]]:
        """Each word of its memory, behind where it is."""
        for start, end in self.ranges:
            data = kcore.read(start, min(end - start, MOST_DATA) // WORD * WORD)
            for number, (word,) in enumerate(struct.iter_unpack('<Q', data)):
                yield start + WORD * number, word


def leftover(kind: str, what: str, address: int, proof: int, *, other: int = 0, more: int = 0) -> Leftover:
    """``proof``: where a word is that leads into the module, or a word of the module that holds ``address``."""
    return {'kind': kind, 'what': what, 'address': address, 'other': other, 'more': more, 'proof': proof}


def dentry_name(memory: KernelMemory, dentry: int) -> str:
    """The name of a struct dentry."""
    name = memory.btf.offset('dentry', 'd_name') + memory.btf.offset('qstr', 'name')
    return memory.kcore.text(memory.kcore.u64(dentry + name))
