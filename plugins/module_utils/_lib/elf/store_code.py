# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel module that compares words of kernel memory and then stores others: machine code, table and answers.

The code is the same for every task; the table says what to compare and to store. Its sources are
tests/unit/store_code/*.S, and a test assembles them and compares. No call and no indirect jump, and the landing pad of
the architecture where the kernel jumps to, so that CET's indirect branch tracking lets it in.
"""

import errno
import struct
from typing import Dict, List, NamedTuple, Optional, Tuple

FULL = 0xffffffffffffffff
DONE = errno.ECANCELED
# Beyond every errno of the kernel's own (include/linux/errno.h): what the code itself answers.
ABSENT, DIFFERS, TAKEN, MOST = 1000, 1100, 1200, 100
HEAD = struct.Struct('<QQQQ')
COMPARISON = struct.Struct('<QQQ')
STORE = struct.Struct('<QQQQ')


class Compare(NamedTuple):
    """``what`` lies at ``address``: the eight bytes there, under ``mask``, must be ``expected``."""

    what: str
    address: int
    expected: int
    mask: int = FULL


class Store(NamedTuple):
    """``size`` bytes (4 or 8) at ``address`` become ``value`` if they are ``expected``, in one locked instruction."""

    what: str
    address: int
    expected: int
    value: int
    size: int = 8


class Code(NamedTuple):
    """Of one architecture: e_machine, the bytes, where in them the table's address goes, and the relocation for it.

    ``modinfo`` and the sections ``trampolines`` are what its loader asks for besides.
    """

    machine: int
    text: bytes
    table_at: int
    absolute: int
    modinfo: Tuple[str, ...] = ()
    trampolines: Tuple[str, ...] = ()


CODE: Dict[str, Code] = {
    'x86_64': Code(62, bytes.fromhex(
        'f30f1efa48be0000000000000000488b16488b7e08488b02b9000001004839f874124839d07407488b00ffc975efb818'
        'fcffffc38b4e10448b46184883c62031d239ca7420488b3e488b0748234608483b461075084883c618ffc2ebe4b8b4fb'
        'ffff29d0c331d24439c2745c488b3e488b46104c8b4e18837e08047409f04c0fb10f7511eb07f0440fb10f75084883c6'
        '20ffc2ebd289d185c974254883ee20ffc9488b3e488b46184c8b4e10837e08047407f04c0fb10febdef0440fb10febd7'
        'b850fbffff29d0c3b883ffffffc3'), 6, 1,  # R_X86_64_64
        modinfo=('retpoline=Y',)),  # it has no indirect branch
    'aarch64': Code(183, bytes.fromhex(
        '5f2403d5210a0058220c40a9400040f92400a0521f0003eb000100541f0002eb80000054000040f98404007141ffff54'
        'e07c8012c0035fd6241441a92180009106008052df00046ba0010054272040a9290840f9e70040f9e700088aff0009eb'
        '8100005421600091c6040011f6ffff17608980120000064bc0035fd606008052df00056be0050054272040a9292841a9'
        '1f110071e0000054ebfc5fc87f0109eba1010054eafc0cc88cffff3506000014ebfc5f887f01096be1000054eafc0c88'
        '8cffff35bf3b03d521800091c6040011ecffff175f3f03d5ed03062acd020034218000d1ad050051272040a9292841a9'
        '1f110071e0000054ebfc5fc87f010aeb61010054e9fc0cc88cffff3506000014ebfc5f887f010a6ba1000054e9fc0c88'
        '8cffff35bf3b03d5edffff175f3f03d5ebffff17e09580120000064bc0035fd6800f8012c0035fd60000000000000000'),
        328, 257,  # R_AARCH64_ABS64
        # arch/arm64/kernel/{module,module-plts}.c refuse a module without a place for the calls that it makes; the last
        # is asked for by 6.12.
        trampolines=('.plt', '.init.plt', '.text.ftrace_trampoline', '.init.text.ftrace_trampoline')),
}


def table(head: int, entry: int, compares: List[Compare], stores: List[Store]) -> bytes:
    """What the code works on: the list ``head`` and the list ``entry`` to find in it first, then all steps in order."""
    text = HEAD.pack(head, entry, len(compares), len(stores))
    for compare in compares:
        text += COMPARISON.pack(compare.address, compare.mask, compare.expected & compare.mask)
    for store in stores:
        limit = (1 << 8 * store.size) - 1
        text += STORE.pack(store.address, store.size, store.expected & limit, store.value & limit)
    return text


def text_of(address: int, text: bytes, room: int, what: str) -> List[Compare]:
    """Comparisons that find ``text`` and a NUL at ``address``, in a field of ``room`` bytes."""
    wanted = (text + b'\0')[:room]
    compares = []
    for at in range(0, len(wanted), 8):
        part = wanted[at:at + 8]
        mask = (1 << 8 * len(part)) - 1
        compares.append(Compare(what, address + at, int.from_bytes(part, 'little'), mask))
    return compares


def answer(error: int, compares: List[Compare], stores: List[Store]) -> Tuple[str, Optional[str]]:
    """What the errno of init_module(2) says: ``done``, ``absent``, ``differs`` or ``taken`` and of what, ``error``."""
    if error == DONE:
        return 'done', None
    if error == ABSENT:
        return 'absent', None
    if DIFFERS <= error < DIFFERS + len(compares):
        return 'differs', compares[error - DIFFERS].what
    if TAKEN <= error < TAKEN + len(stores):
        return 'taken', stores[error - TAKEN].what
    return 'error', None
