# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel itself counts as a module's: open files and superblocks, by the owner of their operations.

Part of :mod:`_holders`; from kernel memory alone, by BTF, /proc/kcore and the symbol table.
"""

import array
import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import _btf, _kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._kcore import KernelMemory  # noqa: F401 - in type comments

Lookup = Callable[[str], Optional[int]]

# More tasks, files of one task, or superblocks than any host has: a list that lost its end.
MOST = 1 << 20
WALKS = 3
COMM_LENGTH = 16

OPEN_FILE = 'file_operations.owner'
OPEN_SOCKET = 'proto_ops.owner'
OF_A_MOUNT = 'file_system_type.owner'

TASK = {'tasks': ('task_struct', 'tasks'), 'thread': ('task_struct', 'thread_node'),
        'signal': ('task_struct', 'signal'), 'files': ('task_struct', 'files'),
        'pid': ('task_struct', 'tgid'), 'comm': ('task_struct', 'comm')}
FILES = {'thread_head': ('signal_struct', 'thread_head'), 'fdt': ('files_struct', 'fdt'),
         'max_fds': ('fdtable', 'max_fds'), 'fd': ('fdtable', 'fd'), 'f_op': ('file', 'f_op'),
         'owner': ('file_operations', 'owner')}
SOCKETS = {'private_data': ('file', 'private_data'), 'ops': ('socket', 'ops'), 'owner': ('proto_ops', 'owner')}
SUPERBLOCKS = {'list': ('super_block', 's_list'), 'type': ('super_block', 's_type'), 'dev': ('super_block', 's_dev'),
               'owner': ('file_system_type', 'owner'), 'name': ('file_system_type', 'name')}


class Task(NamedTuple):
    """A task_struct: its address, the process it belongs to, and the addresses that lead on from it."""

    address: int
    pid: int
    command: str
    files: int
    signal: int
    next_leader: int
    next_thread: int


class OpenFile(NamedTuple):
    """A process, one of its file descriptors, and why that file is the module's."""

    pid: int
    command: str
    descriptor: int
    evidence: str


def symbol(symbols, name):
    # type: (Optional[Lookup], str) -> int
    """The address of a kernel symbol; raises KmodError where it is not to be had."""
    address = symbols(name) if symbols else None
    if not address:
        raise KmodError(f'find the kernel\'s {name}', '/proc/kallsyms does not give its address')
    return address


def open_files(owner, memory, symbols):
    # type: (int, KernelMemory, Optional[Lookup]) -> List[OpenFile]
    """Every open file whose operations belong to the module: a character device of any kind, or a socket.

    ``owner`` is the address of its struct module. Raises KmodError where the walk cannot be made.
    """
    offsets = _btf.layout_of(memory.btf, FILES)
    owners = _Owners(memory, symbols, offsets)
    seen = set()  # type: Set[int]
    found = []
    for task in _tasks(memory, symbols, offsets['thread_head']):
        if not task.files or task.files in seen:
            continue
        seen.add(task.files)
        for descriptor, address in _descriptors(memory, task.files, offsets):
            evidence = owners.evidence(address, owner)
            if evidence:
                found.append(OpenFile(task.pid, task.command, descriptor, evidence))
    return found


class _Owners:
    """Which module an open file belongs to: the owner of its operations, for a socket that of its protocol."""

    def __init__(self, memory, symbols, offsets):
        # type: (KernelMemory, Optional[Lookup], Dict[str, int]) -> None
        self._kcore = memory.kcore
        self._offsets = offsets
        self._owners = {0: 0}  # type: Dict[int, int]
        try:
            self._sockets = _btf.layout_of(memory.btf, SOCKETS)
            self._socket_operations = symbol(symbols, 'socket_file_ops')
        except KmodError:
            self._socket_operations = -1

    def evidence(self, file_address, owner):
        # type: (int, int) -> Optional[str]
        """Why the struct file there is the owner's; None where it is not, or was freed while it was looked at."""
        try:
            operations = self._kcore.u64(file_address + self._offsets['f_op'])
            if operations == self._socket_operations:
                opened = self._kcore.u64(file_address + self._sockets['private_data'])
                protocol = self._kcore.u64(opened + self._sockets['ops'])
                return OPEN_SOCKET if self._owner(protocol, self._sockets['owner']) == owner else None
            return OPEN_FILE if self._owner(operations, self._offsets['owner']) == owner else None
        except KmodError:
            return None

    def _owner(self, operations, offset):
        # type: (int, int) -> int
        if operations not in self._owners:
            self._owners[operations] = self._kcore.u64(operations + offset)
        return self._owners[operations]


def _descriptors(memory, files, offsets):
    # type: (KernelMemory, int, Dict[str, int]) -> Iterator[Tuple[int, int]]
    """File descriptor and address of struct file; nothing for a table that went away while it was read."""
    kcore = memory.kcore
    try:
        table = kcore.u64(files + offsets['fdt'])
        count = min(kcore.u32(table + offsets['max_fds']), MOST)
        pointers = array.array('Q', kcore.read(kcore.u64(table + offsets['fd']), 8 * count))
    except KmodError:
        return
    for descriptor, address in enumerate(pointers):
        if address:
            yield descriptor, address


def _tasks(memory, symbols, thread_head, walks=WALKS):
    # type: (KernelMemory, Optional[Lookup], int, int) -> List[Task]
    """Every thread of every process. The list is read without the kernel's locks: a walk that got lost is repeated."""
    offsets = _btf.layout_of(memory.btf, TASK)
    try:
        return list(_walk_tasks(memory, symbol(symbols, 'init_task'), offsets, thread_head))
    except KmodError:
        if walks == 1:
            raise
        return _tasks(memory, symbols, thread_head, walks - 1)


def _walk_tasks(memory, first, offsets, thread_head):
    # type: (KernelMemory, int, Dict[str, int], int) -> Iterator[Task]
    seen = {first}
    address = _task(memory, first, offsets).next_leader
    while address != first:
        if address in seen or len(seen) > MOST:
            raise KmodError('walk the kernel\'s task list', 'it does not lead back to its start')
        seen.add(address)
        leader = _task(memory, address, offsets)
        yield leader
        end, thread = leader.signal + thread_head - offsets['thread'], leader.next_thread
        while thread not in (end, leader.address):
            if thread in seen or len(seen) > MOST:
                raise KmodError('walk the threads of process %d' % leader.pid, 'they do not lead back to its start')
            seen.add(thread)
            other = _task(memory, thread, offsets)
            yield other
            thread = other.next_thread
        address = leader.next_leader


def _task(memory, address, offsets):
    # type: (KernelMemory, int, Dict[str, int]) -> Task
    # One read for all members: they lie within two pages.
    start = min(offsets.values())
    data = memory.kcore.read(address + start, max(offsets.values()) + COMM_LENGTH - start)

    def u64(key):
        # type: (str) -> int
        return struct.unpack_from('<Q', data, offsets[key] - start)[0]

    command = data[offsets['comm'] - start:][:COMM_LENGTH].split(b'\0', 1)[0].decode('utf-8', 'backslashreplace')
    pid = struct.unpack_from('<I', data, offsets['pid'] - start)[0]
    return Task(address, pid, command, u64('files'), u64('signal'), u64('tasks') - offsets['tasks'],
                u64('thread') - offsets['thread'])


def superblocks(owner, memory, symbols):
    # type: (int, KernelMemory, Optional[Lookup]) -> List[Tuple[str, str]]
    """MAJOR:MINOR and type of every superblock whose file system type belongs to the module. Raises as above."""
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
