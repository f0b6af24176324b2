# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the module loader's own data lie, and what its table of running loads holds (kernel/module/main.c)."""

import struct

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import static_data
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Anchors, Fact

# IDEM_HASH_BITS is 8; a bucket is one pointer.
IDEM_BUCKETS = 256
IDEM_BYTES = IDEM_BUCKETS * 8


def address(name: str, symbols: Symbols, memory: KernelMemory) -> int:
    """The address of a datum of the kernel, also of one that the symbol table lacks. Raises KmodError."""
    return symbols.address(name) or static_data.find(name, symbols, memory)[0]


def anchors(symbols: Symbols, memory: KernelMemory) -> Anchors:
    """Addresses that the helper needs; idem_hash, idem_bytes and idem_lock are None before 6.5. Raises KmodError."""
    table = symbols.address('idem_hash')
    if not table and has_running_loads(memory):
        table = address('idem_hash', symbols, memory)
    return {'modules': address('modules', symbols, memory), 'module_mutex': address('module_mutex', symbols, memory),
            'idem_hash': table, 'idem_lock': symbols.address('idem_lock'), 'idem_bytes': symbols.size('idem_hash')}


def has_running_loads(memory: KernelMemory) -> bool:
    """Whether this kernel keeps a table of running loads: from 6.5 on."""
    try:
        return bool(memory.btf.size('idempotent'))
    except KmodError:
        return False


def running_loads(symbols: Symbols, memory: KernelMemory) -> Fact[int]:
    """How many buckets of the table of running loads hold one now."""
    try:
        table, room = symbols.address('idem_hash'), symbols.size('idem_hash')
        if not table or not room:
            return unavailable('its address is not known')
        heads = memory.kcore.read(table, min(room, IDEM_BYTES))
    except KmodError as error:
        return unavailable(error)
    return sum(1 for (head,) in struct.iter_unpack('<Q', heads[:len(heads) // 8 * 8]) if head)
