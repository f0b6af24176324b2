# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel's own lists hold of a module: its superblocks, and what it offers to the network by name.

A superblock is its by the owner of its type, or by where the type or its operations lie.

Part of :mod:`find_holders`; from kernel memory alone, by BTF, /proc/kcore and the symbol table.
"""

import struct
from typing import List, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import btf, kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_sockets import Owner
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.task_structs import Lookup, symbol

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


def superblocks(owner: Owner, memory: KernelMemory, symbols: Optional[Lookup]) -> List[Superblock]:
    """Every superblock of the module, mounted, or still there for a process that is in it. Raises KmodError."""
    head = symbol(symbols, 'super_blocks')
    offsets = btf.layout_of(memory.btf, SUPERBLOCKS)
    kcore = memory.kcore
    found = []
    size = max(offsets[key] for key in ('type', 'dev', 'operations')) + 8
    for _address, data in kernel_lists.ring(kcore, head, offsets['list'], size, 'the kernel\'s superblocks'):
        kind, operations = (kernel_lists.pointer(data, offsets[key]) for key in ('type', 'operations'))
        counts = kcore.u64(kind + offsets['owner']) == owner.address
        if counts or owner.holds(kind) or owner.holds(operations):
            device, = struct.unpack_from('<I', data, offsets['dev'])
            evidence = OF_A_MOUNT if counts else 'super_block.s_type' if owner.holds(kind) else 'super_block.s_op'
            found.append(Superblock('%d:%d' % (device >> 20, device & 0xFFFFF),
                                    kcore.string(kcore.u64(kind + offsets['name']), 64), evidence, counts))
    return found


class Offered(NamedTuple):
    """A list of the kernel of what modules offer by name; ``prefix``: of the alias by which its users are found."""

    prefix: str
    head: str
    struct: str
    link: str
    name: str
    bare: bool = False  # linked by pointers to the struct itself, and no list_head


# net/sched/sch_api.c, cls_api.c, act_api.c; net/ipv4/tcp_cong.c
OFFERED = (
    Offered('net-sch-', 'qdisc_base', 'Qdisc_ops', 'next', 'id', bare=True),
    Offered('net-cls-', 'tcf_proto_base', 'tcf_proto_ops', 'head', 'kind'),
    Offered('net-act-', 'act_base', 'tc_action_ops', 'head', 'kind'),
    Offered('tcp_', 'tcp_cong_list', 'tcp_congestion_ops', 'list', 'name'),
)
LONGEST_NAME = 16


def offers(owner: Owner, memory: KernelMemory, symbols: Optional[Lookup]) -> Tuple[List[str], List[str]]:
    """``net-sch-KIND``, ``tcp_NAME`` and the like of what the module has registered, whatever the module itself is
    called; and why some could not be looked for. A list whose address is not known is none of this kernel.
    """
    found: List[str] = []
    unread: List[str] = []
    for kind in OFFERED:
        try:
            head = symbols(kind.head) if symbols else None
            found += [kind.prefix + name for name in _offered(kind, head, owner, memory)] if head else []
        except KmodError as error:
            unread.append(str(error))
    return found, unread


def _offered(kind: Offered, head: int, owner: Owner, memory: KernelMemory) -> List[str]:
    kcore = memory.kcore
    at = btf.layout_of(memory.btf, {key: (kind.struct, getattr(kind, key, key)) for key in ('link', 'name', 'owner')})
    size = max(at['owner'] + 8, at['name'] + LONGEST_NAME)
    walk = kernel_lists.pointers_chain(kcore, kcore.u64(head), at['link'], size, kind.head) if kind.bare else \
        kernel_lists.ring(kcore, head, at['link'], size, kind.head)
    return [data[at['name']:at['name'] + LONGEST_NAME].partition(b'\0')[0].decode('ascii', 'replace')
            for address, data in walk
            if kernel_lists.pointer(data, at['owner']) == owner.address or owner.holds(address)]
