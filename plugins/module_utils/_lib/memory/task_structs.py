# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's tasks, in its memory: processes, their threads, descriptors and mappings, and its own threads.

By struct task_struct (include/linux/sched.h) and what hangs on it. None of the kernel's locks is held: a list that got
lost is walked again, and what is gone while it is read is told from what cannot be read.
"""

import array
import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import btf, kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory

Lookup = Callable[[str], Optional[int]]

# More tasks, or files of one task, than any host has: a list that lost its end.
MOST = 1 << 20
COMM_LENGTH = 16
PF_KTHREAD = 0x00200000
# struct io_uring_task in include/linux/io_uring_types.h: IO_RINGFD_REG_MAX.
MOST_RINGS = 16

TASK = {'tasks': ('task_struct', 'tasks'), 'thread': ('task_struct', 'thread_node'),
        'signal': ('task_struct', 'signal'), 'files': ('task_struct', 'files'), 'mm': ('task_struct', 'mm'),
        'flags': ('task_struct', 'flags'), 'pid': ('task_struct', 'tgid'), 'comm': ('task_struct', 'comm')}
TABLE = {'fdt': ('files_struct', 'fdt'), 'max_fds': ('fdtable', 'max_fds'), 'fd': ('fdtable', 'fd')}
MAPPING = {'start': ('vm_area_struct', 'vm_start'), 'end': ('vm_area_struct', 'vm_end'),
           'ops': ('vm_area_struct', 'vm_ops'), 'file': ('vm_area_struct', 'vm_file')}


class Task(NamedTuple):
    """A task_struct: its address, the process it belongs to, and the addresses that lead on from it.

    ``kthread`` is the address of its struct kthread, 0 for a task that is no kernel thread.
    """

    address: int
    pid: int
    command: str
    files: int
    mm: int
    kthread: int
    rings: int
    signal: int
    next_leader: int
    next_thread: int


class Mapping(NamedTuple):
    """A vm_area_struct: where it begins and ends, its vm_operations_struct and its struct file (0: none)."""

    start: int
    end: int
    operations: int
    file: int


def symbol(symbols: Optional[Lookup], name: str) -> int:
    """The address of a kernel symbol; raises KmodError where it is not to be had."""
    address = symbols(name) if symbols else None
    if not address:
        raise KmodError(f'find the kernel\'s {name}', '/proc/kallsyms does not give its address')
    return address


class Tasks:
    """Reads tasks and what hangs on them. Raises KmodError where this kernel's types lack what is needed."""

    def __init__(self, memory: KernelMemory, symbols: Optional[Lookup]) -> None:
        self._memory = memory
        self._offsets = btf.layout_of(memory.btf, TASK)
        self._first = symbol(symbols, 'init_task')
        self._thread_head = memory.btf.offset('signal_struct', 'thread_head')
        # Since 5.17 a kernel thread has its struct kthread in a member of its own.
        self._kthread = _first_of(memory.btf, 'worker_private', 'set_child_tid')
        self._rings = _first_of(memory.btf, 'io_uring')
        places = [*self._offsets.values(), self._kthread, self._rings]
        self._start = min(place for place in places if place >= 0)
        self._size = max(places) + COMM_LENGTH - self._start

    def all(self) -> List[Task]:
        """Every thread of every process. Raises KmodError where the list does not lead back to its start."""
        return kernel_lists.again(lambda: list(self._walk()))

    def _walk(self) -> Iterator[Task]:
        first = self._first
        seen = {first}
        address = self._read(first).next_leader
        while address != first:
            if address in seen or len(seen) > MOST:
                raise KmodError('walk the kernel\'s task list', 'it does not lead back to its start')
            seen.add(address)
            leader = self._read(address)
            yield leader
            end, thread = leader.signal + self._thread_head - self._offsets['thread'], leader.next_thread
            while thread not in (end, leader.address):
                if thread in seen or len(seen) > MOST:
                    raise KmodError('walk the threads of process %d' % leader.pid,
                                    'they do not lead back to its start')
                seen.add(thread)
                other = self._read(thread)
                yield other
                thread = other.next_thread
            address = leader.next_leader

    def _read(self, address: int) -> Task:
        # One read for all members: they lie within two pages.
        offsets, start = self._offsets, self._start
        data = self._memory.kcore.read(address + start, self._size)

        def u64(offset: int) -> int:
            return struct.unpack_from('<Q', data, offset - start)[0] if offset >= 0 else 0

        command = data[offsets['comm'] - start:][:COMM_LENGTH].split(b'\0', 1)[0].decode('utf-8', 'backslashreplace')
        pid = struct.unpack_from('<I', data, offsets['pid'] - start)[0]
        of_the_kernel = struct.unpack_from('<I', data, offsets['flags'] - start)[0] & PF_KTHREAD
        return Task(address, pid, command, u64(offsets['files']), u64(offsets['mm']),
                    u64(self._kthread) if of_the_kernel else 0, u64(self._rings), u64(offsets['signal']),
                    u64(offsets['tasks']) - offsets['tasks'], u64(offsets['thread']) - offsets['thread'])

    def still_have(self, tasks: List[Task], member: str, value: int) -> bool:
        """Whether one of the tasks still points to what could not be read there (files, mm, rings): else it is gone."""
        at = self._rings if member == 'rings' else self._offsets[member]
        for task in tasks:
            try:
                if self._memory.kcore.u64(task.address + at) == value:
                    return True
            except KmodError:
                return True
        return False

    def descriptors(self, files: int) -> Iterator[Tuple[int, int, int]]:
        """File descriptor, address of struct file, and where that address lies, for each in a files_struct."""
        offsets = self._memory.once('descriptors', lambda types: btf.layout_of(types, TABLE))
        kcore = self._memory.kcore
        table = kcore.u64(files + offsets['fdt'])
        count = min(kcore.u32(table + offsets['max_fds']), MOST)
        slots = kcore.u64(table + offsets['fd'])
        for descriptor, address in enumerate(array.array('Q', kcore.read(slots, 8 * count))):
            if address:
                yield descriptor, address, slots + 8 * descriptor

    def mappings(self, mm: int) -> Iterator[Mapping]:
        """What is mapped in an mm_struct and has a file or operations: a maple tree from 6.1 on, a list before."""
        kcore, what = self._memory.kcore, 'the mappings of a process'
        at = self._memory.once('mappings', lambda types: btf.layout_of(types, MAPPING))
        # A large host has 200,000 of them: one read and one unpacking for each.
        size = max(at.values()) + 8
        words = struct.Struct('<%dQ' % (size // 8))
        start, end, operations, file = (at[key] // 8 for key in ('start', 'end', 'ops', 'file'))
        types = self._memory.btf
        if types.has('mm_struct', 'mm_mt'):
            tree = mm + types.offset('mm_struct', 'mm_mt')
            areas = (kcore.read(address, size) for address in kernel_lists.maple_tree(self._memory, tree, what))
        else:
            first, link = kcore.u64(mm + types.offset('mm_struct', 'mmap')), types.offset('vm_area_struct', 'vm_next')
            areas = (data for _address, data in kernel_lists.pointers_chain(kcore, first, link, size, what))
        for data in areas:
            area = words.unpack_from(data)
            if area[operations] or area[file]:
                yield Mapping(area[start], area[end], area[operations], area[file])

    def rings(self, rings: int) -> List[int]:
        """The files of the io_urings that a task has registered, whose descriptors it may have closed since."""
        try:
            first = self._memory.btf.offset('io_uring_task', 'registered_rings')
        except KmodError:
            return []  # before 5.18 nobody could
        found = array.array('Q', self._memory.kcore.read(rings + first, 8 * MOST_RINGS))
        return [address for address in found if address]


def kernel_threads(tasks: List[Task], memory: KernelMemory) -> Tuple[List[Tuple[Task, int, int]], List[Task]]:
    """Each kernel thread with its function and what that was given; and those of which this could not be read."""
    offsets = btf.layout_of(memory.btf, {'function': ('kthread', 'threadfn'), 'data': ('kthread', 'data')})
    found, lost = [], []
    for task in tasks:
        if not task.kthread:
            continue
        try:
            function, data = (memory.kcore.u64(task.kthread + offsets[key]) for key in ('function', 'data'))
        except KmodError:
            lost.append(task)
        else:
            found.append((task, function, data))
    return found, lost


def _first_of(types: btf.Btf, *members: str) -> int:
    """The offset in task_struct of the first of these members that it has; -1 where it has none."""
    try:
        return types.first_offset('task_struct', *members)
    except KmodError:
        return -1


def sharing(tasks: List[Task], member: str) -> Dict[int, List[Task]]:
    """The tasks of each files_struct, or mm: what threads share is looked at once."""
    found: Dict[int, List[Task]] = {}
    for task in tasks:
        address = getattr(task, member)
        if address:
            found.setdefault(address, []).append(task)
    return found
