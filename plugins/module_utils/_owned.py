# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel itself counts as a module's: superblocks, by the owner of their type.

Part of :mod:`_holders`; from kernel memory alone, by BTF, /proc/kcore and the symbol table.
"""

import struct
from typing import Callable, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import _btf, _kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._kcore import KernelMemory  # noqa: F401 - in type comments
from ansible_collections.kernelops.kmod.plugins.module_utils._kernel_tasks import symbol

Lookup = Callable[[str], Optional[int]]

OF_A_MOUNT = 'file_system_type.owner'
SUPERBLOCKS = {'list': ('super_block', 's_list'), 'type': ('super_block', 's_type'), 'dev': ('super_block', 's_dev'),
               'owner': ('file_system_type', 'owner'), 'name': ('file_system_type', 'name')}


def superblocks(owner, memory, symbols):
    # type: (int, KernelMemory, Optional[Lookup]) -> List[Tuple[str, str]]
    """MAJOR:MINOR and type of every superblock whose file system type belongs to the module. Raises KmodError."""
    head = symbol(symbols, 'super_blocks')
    offsets = _btf.layout_of(memory.btf, SUPERBLOCKS)
    kcore = memory.kcore
    found = []
    size = max(offsets['type'] + 8, offsets['dev'] + 4)
    for _address, data in _kernel_lists.ring(kcore, head, offsets['list'], size, 'the kernel\'s superblocks'):
        kind = _kernel_lists.pointer(data, offsets['type'])
        if kcore.u64(kind + offsets['owner']) == owner:
            device, = struct.unpack_from('<I', data, offsets['dev'])
            number = '%d:%d' % (device >> 20, device & 0xFFFFF)
            found.append((number, kcore.string(kcore.u64(kind + offsets['name']), 64)))
    return found
