# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The superblocks of a module: by the owner of their type, or by where the type or its operations lie.

Part of :mod:`_holders`; from kernel memory alone, by BTF, /proc/kcore and the symbol table.
"""

import struct
from typing import Callable, List, NamedTuple, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils import _btf, _kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._kcore import KernelMemory  # noqa: F401 - in type comments
from ansible_collections.kernelops.kmod.plugins.module_utils._kernel_sockets import Owner  # noqa: F401 - in type comments
from ansible_collections.kernelops.kmod.plugins.module_utils._kernel_tasks import symbol

Lookup = Callable[[str], Optional[int]]

OF_A_MOUNT = 'file_system_type.owner'
SUPERBLOCKS = {'list': ('super_block', 's_list'), 'type': ('super_block', 's_type'), 'dev': ('super_block', 's_dev'),
               'operations': ('super_block', 's_op'),
               'owner': ('file_system_type', 'owner'), 'name': ('file_system_type', 'name')}


class Superblock(NamedTuple):
    """A superblock of a module; ``counts``: as long as it is there, its type holds a reference of the module."""

    number: str  # MAJOR:MINOR
    type: str
    evidence: str
    counts: bool


def superblocks(owner, memory, symbols):
    # type: (Owner, KernelMemory, Optional[Lookup]) -> List[Superblock]
    """Every superblock of the module, mounted, or still there for a process that is in it. Raises KmodError."""
    head = symbol(symbols, 'super_blocks')
    offsets = _btf.layout_of(memory.btf, SUPERBLOCKS)
    kcore = memory.kcore
    found = []
    size = max(offsets[key] for key in ('type', 'dev', 'operations')) + 8
    for _address, data in _kernel_lists.ring(kcore, head, offsets['list'], size, 'the kernel\'s superblocks'):
        kind, operations = (_kernel_lists.pointer(data, offsets[key]) for key in ('type', 'operations'))
        counts = kcore.u64(kind + offsets['owner']) == owner.address
        if counts or owner.holds(kind) or owner.holds(operations):
            device, = struct.unpack_from('<I', data, offsets['dev'])
            evidence = OF_A_MOUNT if counts else 'super_block.s_type' if owner.holds(kind) else 'super_block.s_op'
            found.append(Superblock('%d:%d' % (device >> 20, device & 0xFFFFF),
                                    kcore.string(kcore.u64(kind + offsets['name']), 64), evidence, counts))
    return found
