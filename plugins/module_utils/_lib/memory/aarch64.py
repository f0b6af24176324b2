# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AArch64 machine code makes of constants: the addresses of data that it names, and what it hands to calls."""

import struct
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

FULL = (1 << 64) - 1
# The procedure call standard (AAPCS64) lets a call change these.
SCRATCH = range(19)


class Use(NamedTuple):
    """The ``constants`` that are whole addresses, and each call: whose address, and its first argument, if known."""

    constants: Set[int]
    calls: List[Tuple[int, Optional[int]]]


def use(code: bytes, start: int) -> Use:
    """What ``code`` at the address ``start`` names: by adr, by adrp and add, by a load or store at such an address.

    Its instructions are taken in order, not as they are branched to; what any other writes is unknown from there on.
    """
    known: Dict[int, int] = {}
    constants: Set[int] = set()
    calls: List[Tuple[int, Optional[int]]] = []
    for at, (word,) in enumerate(struct.iter_unpack('<I', code[:len(code) // 4 * 4])):
        if word & 0x7c000000 == 0x14000000:  # b, bl
            calls.append((start + 4 * at + 4 * _signed(word, 26) & FULL, known.get(0)))
            lost: List[int] = list(SCRATCH) if word >> 31 else []
            written: Dict[int, int] = {}
        else:
            constants.update(_addressed(word, known))
            lost, written = _written(word, start + 4 * at, known)
            if word & 0x9f000000 != 0x90000000:  # adrp alone makes but the page
                constants.update(written.values())
        for register in lost:
            known.pop(register, None)
        known.update(written)
    return Use(constants, calls)


def _addressed(word: int, known: Dict[int, int]) -> List[int]:
    """The address of a load or store of one register at a distance from a known one."""
    of = word >> 5 & 31
    if word & 0x3b000000 != 0x39000000 or of not in known:
        return []
    return [known[of] + ((word >> 10 & 0xfff) << (word >> 30)) & FULL]


def _written(word: int, address: int, known: Dict[int, int]) -> Tuple[List[int], Dict[int, int]]:
    """The registers whose value an instruction may change, and those of which the new one is known."""
    to, of, other = word & 31, word >> 5 & 31, word >> 10 & 31
    if word & 0x1f000000 == 0x10000000:  # adr, adrp
        distance = _signed(word >> 5 << 2 | word >> 29 & 3, 21)
        return [], {to: (address & ~0xfff) + (distance << 12) & FULL if word >> 31 else address + distance & FULL}
    if word & 0xff800000 == 0x91000000 and of in known:  # add, of a number
        return [], {to: known[of] + ((word >> 10 & 0xfff) << (12 if word & 1 << 22 else 0)) & FULL}
    if word & 0xffe0ffe0 == 0xaa0003e0 and word >> 16 & 31 in known:  # mov
        return [], {to: known[word >> 16 & 31]}
    if word & 0xffa00c00 == 0xf8000c00 and of in known:  # ldr, str with write-back before
        return [to], {of: known[of] + _signed(word >> 12, 9) & FULL}
    if word & 0xfffffc1f == 0xd63f0000:  # blr
        return list(SCRATCH), {}
    if word & 0x0a000000 == 0x08000000 and word & 0x3b000000 != 0x39000000:
        return [to, of, other], {}  # a load or store that may be of two registers, or have write-back
    return [to], {}


def _signed(word: int, bits: int) -> int:
    value = word & ((1 << bits) - 1)
    return value - (1 << bits) if value >> (bits - 1) else value
