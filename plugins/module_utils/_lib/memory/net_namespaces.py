# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's network namespaces and the devices in each, in its memory: struct net, struct net_device."""

from typing import Dict, Iterator, List, NamedTuple, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory


class Namespace(NamedTuple):
    """A struct net, and the number that /proc/PID/ns/net shows for it."""

    address: int
    number: int


def namespaces(memory: KernelMemory, head: int) -> Iterator[Namespace]:
    """Every network namespace; ``head`` is the address of net_namespace_list. Raises KmodError where a list is torn."""
    types = memory.btf
    number = types.offset('net', 'ns') + types.offset('ns_common', 'inum')
    for address, _data in kernel_lists.ring(memory.kcore, head, types.offset('net', 'list'), 0, 'net_namespace_list'):
        yield Namespace(address, memory.kcore.u32(address + number))


def devices(memory: KernelMemory, namespace: int, members: List[str],
            beyond: int) -> Iterator[Tuple[int, bytes, Dict[str, int]]]:
    """Address, bytes and offsets of ``members`` of every net_device in the struct net at ``namespace``.

    The bytes reach ``beyond`` the beginning of the last of the members.
    """
    types = memory.btf
    offsets = {member: types.offset('net_device', member) for member in [*members, 'dev_list']}
    head = namespace + types.offset('net', 'dev_base_head')
    for address, data in kernel_lists.ring(memory.kcore, head, offsets['dev_list'], max(offsets.values()) + beyond,
                                           'dev_base_head'):
        yield address, data, offsets
