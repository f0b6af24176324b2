# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a loaded module keeps of its init, which was freed: pointers to where another module may lie now."""

import struct
from typing import Container, Iterator, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import slab
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_lists import pointer
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols

MOST = 4096
# include/linux/poison.h, on x86-64 and AArch64
LIST_POISON2 = 0xDEAD000000000122
# The operations of a parameter whose argument is a struct, and what in that points to the value.
STRUCTS = {'param_ops_string': ('kparam_string', ('string',)), 'param_array_ops': ('kparam_array', ('elem', 'num'))}


def pointers(module: int, memory: KernelMemory, symbols: Symbols) -> Iterator[Tuple[int, int]]:
    """(address, bytes) of those of the struct module at ``module`` that the load alone follows. Raises KmodError."""
    yield from _evals(module, memory)
    yield from _parameters(module, memory, symbols)


def _evals(module: int, memory: KernelMemory) -> Iterator[Tuple[int, int]]:
    """The names of enums for trace events, which trace_module_add_evals() copies (kernel/trace/trace.c)."""
    types, kcore = memory.btf, memory.kcore
    if types.has('module', 'trace_evals'):
        count = kcore.u32(module + types.offset('module', 'num_trace_evals'))
        yield kcore.u64(module + types.offset('module', 'trace_evals')), 8 * min(count, MOST)


def _parameters(module: int, memory: KernelMemory, symbols: Symbols) -> Iterator[Tuple[int, int]]:
    """The values of parameters that sysfs lacks: parse_args() sets them before init runs (kernel/params.c)."""
    types, kcore = memory.btf, memory.kcore
    first = kcore.u64(module + types.offset('module', 'kp'))
    count = min(kcore.u32(module + types.offset('module', 'num_kp')), MOST)
    size, argument = types.size('kernel_param'), types.offset('kernel_param', 'arg')
    structs = {symbols.address(name): name for name in STRUCTS}
    for place in range(first, first + count * size, size):
        data = kcore.read(place, size)
        if struct.unpack_from('<H', data, types.offset('kernel_param', 'perm'))[0]:
            continue
        yield place + argument, 8
        operations = structs.get(pointer(data, types.offset('kernel_param', 'ops')))
        if operations:
            name, members = STRUCTS[operations]
            for member in members:
                yield pointer(data, argument) + types.offset(name, member), 8


def is_let_go(memory: KernelMemory, symbols: Symbols, place: int, found: slab.Object, loaded: Container[int]) -> bool:
    """Whether a word is what the kernel kept of the init of a module that has gone: where that was.

    Another module may lie there. The record is off its list (list_del_rcu), and RCU calls nothing of it but what frees
    it: see ftrace_release_mod() and ftrace_free_mod_map() in kernel/trace/ftrace.c. RCU forgets that function as it
    calls it (rcu_do_batch() in kernel/rcu/tree.c): from then on the record is free, or about to be.
    ``loaded``: the addresses of each struct module that is loaded.
    """
    types, frees = memory.btf, symbols.address('ftrace_free_mod_map')
    at = {member: types.offset('ftrace_mod_map', member) for member in ('rcu', 'list', 'mod', 'start_addr', 'end_addr')}
    if not frees or place - found.start not in (at['start_addr'], at['end_addr']):
        return False
    record = memory.kcore.read(found.start, types.size('ftrace_mod_map'))
    called = pointer(record, at['rcu'] + types.offset('callback_head', 'func'))
    before = pointer(record, at['list'] + types.offset('list_head', 'prev'))
    return called == frees or (not called and before == LIST_POISON2 and pointer(record, at['mod']) not in loaded)
