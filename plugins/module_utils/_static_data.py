# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where data of the kernel lies that /proc/kallsyms does not list, told from the code that uses it.

A kernel without CONFIG_KALLSYMS_ALL lists functions alone: such is Debian 12's for AArch64, whose instructions are read
here. No x86-64 kernel is known that lacks it.
"""

import os
import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import _btf
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._kcore import KernelMemory  # noqa: F401 - in type comments
from ansible_collections.kernelops.kmod.plugins.module_utils._symbols import Symbols  # noqa: F401 - in type comments

MACHINE = 'aarch64'
# Of a function, in bytes: more than any of those that are read here has.
LONGEST = 1024
FULL = (1 << 64) - 1
# The procedure call standard (AAPCS64) lets a call change these.
SCRATCH = range(19)


class Use(NamedTuple):
    """What a function's code shows: the ``constants`` it makes, and each ``call`` with its first argument, if known."""

    constants: Set[int]
    calls: List[Tuple[int, Optional[int]]]


def find(name, symbols, memory):
    # type: (str, Symbols, KernelMemory) -> int
    """The address of the kernel's datum ``name``. Raises KmodError where no code tells, or tells of several."""
    tried = f'find the kernel\'s {name}'
    if os.uname().machine != MACHINE or name not in FINDERS:
        raise KmodError(tried, '/proc/kallsyms does not give its address')
    try:
        found = set(FINDERS[name](symbols, memory))
    except OSError as error:
        raise KmodError(tried, f'{error.filename}: {error.strerror}') from error
    if len(found) != 1:
        raise KmodError(tried, '/proc/kallsyms does not give its address, nor does the code of the function that uses '
                               'it: %d addresses in it may be it' % len(found))
    return found.pop()


def use(code, start):
    # type: (bytes, int) -> Use
    """What AArch64 ``code`` at the address ``start`` makes of constants: adr, adrp, add, moves, loads with write-back.

    Its instructions are taken in order, not as they are branched to; what any other writes is unknown from there on.
    """
    known = {}  # type: Dict[int, int]
    constants, calls = set(), []  # type: Set[int], List[Tuple[int, Optional[int]]]
    for at, (word,) in enumerate(struct.iter_unpack('<I', code[:len(code) // 4 * 4])):
        if word & 0x7c000000 == 0x14000000:  # b, bl
            calls.append((start + 4 * at + 4 * _signed(word, 26) & FULL, known.get(0)))
            lost, written = list(SCRATCH) if word >> 31 else [], {}  # type: List[int], Dict[int, int]
        else:
            lost, written = _written(word, start + 4 * at, known)
        for register in lost:
            known.pop(register, None)
        known.update(written)
        constants.update(written.values())
    return Use(constants, calls)


def _written(word, address, known):
    # type: (int, int, Dict[int, int]) -> Tuple[List[int], Dict[int, int]]
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


def _signed(word, bits):
    # type: (int, int) -> int
    value = word & ((1 << bits) - 1)
    return value - (1 << bits) if value >> (bits - 1) else value


def _uses(function, symbols, memory):
    # type: (str, Symbols, KernelMemory) -> Iterator[Use]
    """What each function of that name shows: a static one's name may be another's too."""
    for start, size in symbols.functions(function):
        yield use(memory.kcore.read(start, min(size, LONGEST)), start)


def _module_table(symbols, memory):
    # type: (Symbols, KernelMemory) -> Iterator[Tuple[int, int]]
    """``module_mutex`` and ``modules``: m_start in kernel/module/procfs.c locks the one and walks the other."""
    lock, walk = symbols.addresses('mutex_lock'), symbols.addresses('seq_list_start')
    offsets = _btf.layout_of(memory.btf, {'list': ('module', 'list'), 'kobject': ('module', 'mkobj'),
                                          'module': ('module_kobject', 'mod')})
    for shown in _uses('m_start', symbols, memory):
        for mutex in [first for callee, first in shown.calls if callee in lock and first]:
            for head in [first for callee, first in shown.calls if callee in walk and first]:
                module = _first_of_list(head, memory) - offsets['list']
                if memory.kcore.u64(module + offsets['kobject'] + offsets['module']) == module:
                    yield mutex, head


def _first_task(symbols, memory):
    # type: (Symbols, KernelMemory) -> Iterator[int]
    """``init_task``: show_state_filter in kernel/sched/core.c walks all tasks from it on."""
    offsets = _btf.layout_of(memory.btf, {'pid': ('task_struct', 'pid'), 'comm': ('task_struct', 'comm')})
    for shown in _uses('show_state_filter', symbols, memory):
        for address in shown.constants:
            try:
                command = memory.kcore.string(address + offsets['comm'], 16)
                if command.split('/')[0] == 'swapper' and not memory.kcore.u32(address + offsets['pid']):
                    yield address
            except KmodError:
                continue


def _superblocks(symbols, memory):
    # type: (Symbols, KernelMemory) -> Iterator[int]
    """``super_blocks``: iterate_supers in fs/super.c walks them."""
    offsets = _btf.layout_of(memory.btf, {'list': ('super_block', 's_list'), 'type': ('super_block', 's_type'),
                                          'name': ('file_system_type', 'name')})
    with open(os.path.join(memory.root, 'proc/filesystems')) as stream:
        types = {line.split()[-1] for line in stream if line.strip()}
    for shown in _uses('iterate_supers', symbols, memory):
        for head in shown.constants:
            try:
                kind = memory.kcore.u64(_first_of_list(head, memory) - offsets['list'] + offsets['type'])
                if memory.kcore.string(memory.kcore.u64(kind + offsets['name']), 64) in types:
                    yield head
            except KmodError:
                continue


def _first_of_list(head, memory):
    # type: (int, KernelMemory) -> int
    """The first node of the list_head at ``head``. Raises KmodError where there is no list, or an empty one."""
    first = memory.kcore.u64(head)
    if first == head or memory.kcore.u64(first + 8) != head:
        raise KmodError(f'walk the list at {head:#x}', 'there is none')
    return first


FINDERS = {
    'module_mutex': lambda symbols, memory: (mutex for mutex, _head in _module_table(symbols, memory)),
    'modules': lambda symbols, memory: (head for _mutex, head in _module_table(symbols, memory)),
    'init_task': _first_task,
    'super_blocks': _superblocks,
    # sock_from_file in net/socket.c compares with it, and does nothing else.
    'socket_file_ops': lambda symbols, memory: {
        max(shown.constants) for shown in _uses('sock_from_file', symbols, memory) if shown.constants},
}
