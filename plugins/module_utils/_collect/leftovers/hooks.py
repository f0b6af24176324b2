# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leftovers that the kernel calls: handlers of packets, hooks of netfilter, probes of tracepoints, ftrace."""

import struct
from typing import Iterator, List

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import Known, leftover
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists, net_namespaces
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_lists import pointer
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover

# struct nf_hook_entries in include/linux/netfilter.h: the hooks, then as many pointers to their nf_hook_ops.
MOST_HOOKS = 1024
FAMILIES = ('hooks_ipv4', 'hooks_ipv6', 'hooks_arp', 'hooks_bridge')
HOOKS_OF_FAMILY = 5
# PTYPE_HASH_SIZE in include/linux/netdevice.h, of list heads.
PACKET_LISTS, LIST_HEAD = 16, 16
MOST_TRACEPOINTS = 1 << 16
MOST_PROBES = 64


class Hooks:
    """Reads what hooks of the kernel lead into a module."""

    def __init__(self, memory: KernelMemory, symbols: Symbols) -> None:
        self._memory, self._symbols = memory, symbols

    def packets(self, known: Known) -> Iterator[Leftover]:
        """Handlers of packets: ptype_all and ptype_base in net/core/dev.c, and those of a namespace."""
        types, kcore = self._memory.btf, self._memory.kcore
        link, function = types.offset('packet_type', 'list'), types.offset('packet_type', 'func')
        for head in self._packet_lists():
            for handler, data in kernel_lists.ring(kcore, head, link, function + 8, 'the handlers of packets'):
                called = pointer(data, function)
                if known.has(handler) or known.has(called):
                    what = 'packet handler ' + self._symbols.within(known.name, called)
                    yield leftover('packet', what, handler, handler + function)

    def _packet_lists(self) -> Iterator[int]:
        types = self._memory.btf
        for name, count in (('ptype_all', 1), ('ptype_base', PACKET_LISTS)):
            start = self._symbols.address(name)
            if not start and types.has('net_hotdata', name):
                start = self._symbols.data('net_hotdata')[0] + types.offset('net_hotdata', name)
            yield from [start + LIST_HEAD * number for number in range(count)] if start else []
        for space in self._namespaces():
            yield from [space + types.offset('net', name) for name in ('ptype_all', 'ptype_specific')
                        if types.has('net', name)]

    def _namespaces(self) -> List[int]:
        head = self._symbols.data('net_namespace_list')[0]
        return [space.address for space in net_namespaces.namespaces(self._memory, head)]

    def netfilter(self, known: Known) -> Iterator[Leftover]:
        """The hooks of each namespace: nf_hook_entries_head() in net/netfilter/core.c."""
        types, kcore = self._memory.btf, self._memory.kcore
        size, first = types.size('nf_hook_entry'), types.offset('nf_hook_entries', 'hooks')
        hook = types.offset('nf_hook_ops', 'hook')
        for space in self._namespaces():
            for entries in self._hook_entries(space):
                count = min(struct.unpack('<H', kcore.read(entries, 2))[0], MOST_HOOKS)
                for number in range(count):
                    operations = kcore.u64(entries + first + count * size + 8 * number)
                    function = kcore.u64(operations + hook)
                    if known.has(function):
                        what = 'netfilter hook ' + self._symbols.within(known.name, function)
                        yield leftover('netfilter', what, operations, operations + hook, other=space)

    def _hook_entries(self, space: int) -> Iterator[int]:
        types = self._memory.btf
        for family in FAMILIES:
            if types.has('netns_nf', family):
                start = space + types.offset('net', 'nf') + types.offset('netns_nf', family)
                data = self._memory.kcore.read(start, 8 * HOOKS_OF_FAMILY)
                yield from filter(None, struct.unpack('<%dQ' % HOOKS_OF_FAMILY, data))

    def tracepoints(self, known: Known) -> Iterator[Leftover]:
        """The probes of the kernel's own tracepoints, which stand one behind the other (kernel/tracepoint.c)."""
        types, kcore = self._memory.btf, self._memory.kcore
        function, data_at, size = types.offset('tracepoint_func', 'func'), types.offset('tracepoint_func', 'data'), \
            types.size('tracepoint_func')
        probes, name = types.offset('tracepoint', 'funcs'), types.offset('tracepoint', 'name')
        for tracepoint in self._tracepoint_structs():
            entry = kcore.u64(tracepoint + probes)
            for _number in range(MOST_PROBES if entry else 0):
                data = kcore.read(entry, size)
                called = pointer(data, function)
                if not called:
                    break
                if known.has(called):
                    what = 'tracepoint probe on ' + kcore.text(kcore.u64(tracepoint + name))
                    yield leftover('tracepoint', what, called, entry + function, other=tracepoint,
                                   more=pointer(data, data_at))
                entry += size

    def _tracepoint_structs(self) -> Iterator[int]:
        start = self._symbols.data('__start___tracepoints_ptrs')[0]
        end = self._symbols.data('__stop___tracepoints_ptrs')[0]
        table = self._memory.kcore.read(start, min(end - start, 4 * MOST_TRACEPOINTS))
        # CONFIG_HAVE_ARCH_PREL32_RELOCATIONS: each is as far away as it says.
        for number, (distance,) in enumerate(struct.iter_unpack('<i', table[:len(table) // 4 * 4])):
            yield start + 4 * number + distance

    def ftrace(self, known: Known) -> Iterator[Leftover]:
        types, kcore = self._memory.btf, self._memory.kcore
        following, function = types.offset('ftrace_ops', 'next'), types.offset('ftrace_ops', 'func')
        first = kcore.u64(self._symbols.data('ftrace_ops_list')[0])
        for operations, data in kernel_lists.pointers_chain(kcore, first, following, max(following, function) + 8,
                                                            'ftrace_ops_list'):
            called = pointer(data, function)
            if known.has(operations):
                what = 'ftrace function ' + self._symbols.within(known.name, called)
                yield leftover('ftrace', what, operations, operations + function)
