# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where data of the kernel lies that /proc/kallsyms does not list, told from the code that uses it.

A kernel without CONFIG_KALLSYMS_ALL lists functions alone: such is Debian 12's for AArch64, whose instructions are read
here. No x86-64 kernel is known that lacks it. What code names is believed only where memory there looks as it must.
"""

import os
import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import aarch64
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_lists import pointer
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols

MACHINE = 'aarch64'
# Of a function, in bytes: more than most of those that are read here have.
LONGEST = 4096
# Timers move while they are looked at.
ATTEMPTS = 3
# 1 << KPROBE_HASH_BITS in kernel/kprobes.c, of pointers
KPROBE_TABLE = 64 * 8
# MEM_MAJOR in include/uapi/linux/major.h, and where MAJOR is in a dev_t
MEM_MAJOR, MINOR_BITS = 1, 20
OF_WHEELS = ('__per_cpu_offset', 'timer_bases')
# What takes the head of a notifier chain, and the head's struct. Modules register with panic's chain themselves.
CHAINED = {
    'raw_notifier_chain_register': 'raw_notifier_head', 'atomic_notifier_chain_register': 'atomic_notifier_head',
    'blocking_notifier_chain_register': 'blocking_notifier_head', 'srcu_notifier_chain_register': 'srcu_notifier_head',
    'atomic_notifier_call_chain': 'atomic_notifier_head',
}
OF_NOTIFIERS = ('notifier', 'handler', 'client')


class Source(NamedTuple):
    """The ``function`` whose code names a datum, the callee that it hands it to (empty: it just names it).

    ``looks_right`` is asked of each address that fits; ``beside``: the same function must name this datum, too.
    ``size`` is in bytes, where it is known.
    """

    function: str
    callee: str
    looks_right: Callable[['Reader', int], bool]
    beside: str = ''
    size: int = 0


class Reader:
    """The code and the data of the running kernel."""

    def __init__(self, symbols: Symbols, memory: KernelMemory) -> None:
        self.symbols, self.kcore, self.root = symbols, memory.kcore, memory.root
        self.offset, self.size = memory.btf.offset, memory.btf.size
        self._memory = memory

    def uses(self, function: str) -> Iterator[aarch64.Use]:
        """What each function of that name shows: a static one's name may be another's too."""
        for start, size in self.symbols.functions(function):
            yield aarch64.use(self.kcore.read(start, min(size, LONGEST)), start)

    def found(self, source: Source) -> Set[int]:
        """The addresses that the source's code names, or hands to its callee, and that look right."""
        beside = SOURCES.get(source.beside)
        return {address for use in self.uses(source.function) if not beside or self._fitting(use, beside)
                for address in self._fitting(use, source)}

    def _fitting(self, use: aarch64.Use, source: Source) -> List[int]:
        callees = self.symbols.addresses(source.callee) if source.callee else []
        named = [first for callee, first in use.calls if callee in callees and first] if source.callee \
            else use.constants
        return [address for address in named if self._looks_right(source, address)]

    def _looks_right(self, source: Source, address: int) -> bool:
        try:
            return source.looks_right(self, address)
        except (KmodError, OSError):
            return False

    def first_of(self, head: int) -> int:
        """The first node of the list_head at ``head``. Raises KmodError where there is no list, or an empty one."""
        first = self.kcore.u64(head)
        if first == head or self.kcore.u64(first + 8) != head:
            raise KmodError(f'walk the list at {head:#x}', 'there is none')
        return first

    def is_list(self, head: int) -> bool:
        """Whether a list_head is there; an empty one is."""
        return self.kcore.u64(head) == head or bool(self.first_of(head))

    def is_module_list(self, head: int) -> bool:
        """Whether the first on it is a struct module."""
        module = self.first_of(head) - self.offset('module', 'list')
        return self.kcore.u64(module + self.offset('module', 'mkobj') + self.offset('module_kobject', 'mod')) == module

    def is_mutex(self, address: int) -> bool:
        """Whether its list of those that wait is one."""
        return self.is_list(address + self.offset('mutex', 'wait_list'))

    def is_first_task(self, address: int) -> bool:
        """Whether it is the task that the kernel was born with."""
        command = self.kcore.string(address + self.offset('task_struct', 'comm'), 16)
        return command.split('/')[0] == 'swapper' and not self.kcore.u32(address + self.offset('task_struct', 'pid'))

    def is_superblock_list(self, head: int) -> bool:
        """Whether the first on it is of a type that the kernel knows."""
        superblock = self.first_of(head) - self.offset('super_block', 's_list')
        return self._is_file_system(self.kcore.u64(superblock + self.offset('super_block', 's_type')))

    def leads_to_file_system(self, address: int) -> bool:
        """Whether the pointer there is to a file_system_type."""
        return self._is_file_system(self.kcore.u64(address))

    def _is_file_system(self, address: int) -> bool:
        name = self.kcore.string(self.kcore.u64(address + self.offset('file_system_type', 'name')), 64)
        with open(os.path.join(self.root, 'proc/filesystems'), errors='replace') as stream:
            return name in [line.split()[-1] for line in stream if line.strip()]

    def leads_to_device_map(self, address: int) -> bool:
        """Whether the pointer there is to a kobj_map that has the major of /dev/null."""
        probe = self.kcore.u64(self.kcore.u64(address) + self.offset('kobj_map', 'probes') + 8 * MEM_MAJOR)
        return self.kcore.u32(probe + self.offset('probe', 'dev')) >> MINOR_BITS == MEM_MAJOR

    def is_namespace_list(self, head: int) -> bool:
        """Whether the first on it is a struct net: each has a device lo."""
        net = self.first_of(head) - self.offset('net', 'list')
        device = self.first_of(net + self.offset('net', 'dev_base_head')) - self.offset('net_device', 'dev_list')
        return self.kcore.string(device + self.offset('net_device', 'name'), 16) == 'lo'

    def is_hash_table(self, address: int) -> bool:
        """Whether each of its heads is NULL or leads to a node that leads back."""
        heads = struct.unpack('<%dQ' % (KPROBE_TABLE // 8), self.kcore.read(address, KPROBE_TABLE))
        return all(self.kcore.u64(head + 8) == address + 8 * at for at, head in enumerate(heads) if head)

    def is_anything(self, _address: int) -> bool:
        """For what nothing but the code tells."""
        return True

    def wheels(self) -> Dict[str, Tuple[Set[int], int]]:
        """Addresses and size of OF_WHEELS: timers_prepare_cpu in kernel/time/timer.c names both, and each wheel."""
        offsets: Set[int] = set()
        bases: Set[int] = set()
        for use in self.uses('timers_prepare_cpu'):
            for array in use.constants:
                found = {base for base in use.constants - {array} if self._are_wheels(array, base)}
                offsets.update({array} if found else ())
                bases |= found
        first = {min(bases)} if bases else bases
        return dict(zip(OF_WHEELS, ((offsets, 0), (first, len(bases) * self.size('timer_base')))))

    def _are_wheels(self, offsets: int, base: int) -> bool:
        try:
            return all(any(self._is_wheel((base + self.kcore.u64(offsets + 8 * cpu)) & aarch64.FULL, cpu)
                           for _attempt in range(ATTEMPTS)) for cpu in self._memory.possible_cpus())
        except KmodError:
            return False

    def _is_wheel(self, address: int, cpu: int) -> bool:
        """Whether it says whose it is, and each of its slots is empty or leads to a timer that leads back."""
        data, first = self.kcore.read(address, self.size('timer_base')), self.offset('timer_base', 'vectors')
        slots = [(at, pointer(data, at)) for at in range(first, len(data) - 7, 8)]
        return struct.unpack_from('<I', data, self.offset('timer_base', 'cpu'))[0] == cpu and all(
            self.kcore.u64(timer + 8) == address + at for at, timer in slots if timer)


SOURCES: Dict[str, Source] = {
    # kernel/module/procfs.c locks the one and walks the other.
    'module_mutex': Source('m_start', 'mutex_lock', Reader.is_mutex, beside='modules'),
    'modules': Source('m_start', 'seq_list_start', Reader.is_module_list),
    'init_task': Source('show_state_filter', '', Reader.is_first_task),  # kernel/sched/core.c
    'super_blocks': Source('iterate_supers', '', Reader.is_superblock_list),  # fs/super.c
    'socket_file_ops': Source('sock_from_file', '', Reader.is_anything),  # net/socket.c names nothing else
    'misc_list': Source('misc_seq_start', 'seq_list_start', Reader.is_list),  # drivers/char/misc.c
    'proto_list': Source('proto_seq_start', 'seq_list_start_head', Reader.is_list),  # net/core/sock.c
    'tty_drivers': Source('t_start', 'seq_list_start', Reader.is_list),  # drivers/tty/tty_io.c
    'crypto_alg_list': Source('c_start', 'seq_list_start', Reader.is_list),  # crypto/proc.c
    'cdev_map': Source('cdev_add', '', Reader.leads_to_device_map),  # fs/char_dev.c
    'net_namespace_list': Source('register_netdevice_notifier', '', Reader.is_namespace_list),  # net/core/dev.c
    'file_systems': Source('filesystems_proc_show', '', Reader.leads_to_file_system),  # fs/filesystems.c
    'irq_desc_tree': Source('irq_to_desc', 'radix_tree_lookup', Reader.is_anything),  # kernel/irq/irqdesc.c
    'sparse_irqs': Source('irq_to_desc', 'mtree_load', Reader.is_anything),
    'kprobe_table': Source('get_kprobe', '', Reader.is_hash_table, size=KPROBE_TABLE),  # kernel/kprobes.c
}


def tells(name: str) -> bool:
    """Whether this machine's code is read here, and any of it names ``name``."""
    return os.uname().machine == MACHINE and name in (*SOURCES, *OF_WHEELS)


def find(name: str, symbols: Symbols, memory: KernelMemory) -> Tuple[int, int]:
    """Address of the kernel's datum ``name``, and its size in bytes where that is known, else 0.

    Raises KmodError where no code tells it, or where what it tells does not look right.
    """
    tried = f'find the kernel\'s {name}'
    if not tells(name):
        raise KmodError(tried, '/proc/kallsyms does not give its address', 'The kernel needs CONFIG_KALLSYMS_ALL=y')
    reader = Reader(symbols, memory)
    found, size = reader.wheels()[name] if name in OF_WHEELS else (reader.found(SOURCES[name]), SOURCES[name].size)
    if len(found) != 1:
        raise KmodError(tried, '/proc/kallsyms does not give its address, nor does the code that uses it: %d addresses '
                               'in it may be it' % len(found))
    return found.pop(), size


def notifier_chains(symbols: Symbols, memory: KernelMemory) -> List[Tuple[str, int, str]]:
    """Each notifier chain: a function that registers with it or calls it, address and struct of its head.

    Raises KmodError where none is found.
    """
    if os.uname().machine != MACHINE:
        raise KmodError('find the notifier chains', '/proc/kallsyms does not give their addresses')
    reader = Reader(symbols, memory)
    kinds = {address: kind for function, kind in CHAINED.items() for address in symbols.addresses(function)}
    names = [name for name in symbols.names_with('register') if name not in CHAINED and 'unregister' not in name
             and any(word in name for word in OF_NOTIFIERS)]
    found: Dict[int, Tuple[str, int, str]] = {}
    for function in [*names, 'panic']:
        for use in reader.uses(function):
            found.update((first, (function, first, kinds[callee])) for callee, first in use.calls
                         if callee in kinds and first)
    if not found:
        raise KmodError('find the notifier chains', 'no function is known that registers with one')
    return list(found.values())
