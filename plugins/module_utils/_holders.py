# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What still uses a module: processes with an open file, mounts, network devices, protocols, algorithms.

Files and mounts are found in kernel memory where BTF, /proc/kcore and the symbols are to be had: whatever the kernel
itself counts as the module's (file_operations.owner, proto_ops.owner, file_system_type.owner). Else /proc and /sys are
asked, which name less. Each reader fails by itself.
"""

import array
import fcntl
import os
import re
import socket
import stat
import struct
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import _btf
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, one_line, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._kcore import KernelMemory

Lookup = Callable[[str], Optional[int]]
Found = List[Dict[str, Any]]

# More tasks, files of one task, or superblocks than any host has: a list that lost its end.
MOST = 1 << 20
WALKS = 3
COMM_LENGTH = 16

OPEN_FILE = 'file_operations.owner'
OPEN_SOCKET = 'proto_ops.owner'

TASK = {'tasks': ('task_struct', 'tasks'), 'thread': ('task_struct', 'thread_node'),
        'signal': ('task_struct', 'signal'), 'files': ('task_struct', 'files'),
        'pid': ('task_struct', 'tgid'), 'comm': ('task_struct', 'comm')}
FILES = {'thread_head': ('signal_struct', 'thread_head'), 'fdt': ('files_struct', 'fdt'),
         'max_fds': ('fdtable', 'max_fds'), 'fd': ('fdtable', 'fd'), 'f_op': ('file', 'f_op'),
         'owner': ('file_operations', 'owner')}
SOCKETS = {'private_data': ('file', 'private_data'), 'ops': ('socket', 'ops'), 'owner': ('proto_ops', 'owner')}
MOUNTS = {'list': ('super_block', 's_list'), 'type': ('super_block', 's_type'), 'dev': ('super_block', 's_dev'),
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


class Mount(NamedTuple):
    """A line of /proc/PID/mountinfo; number is MAJOR:MINOR of the superblock."""

    device: str
    path: str
    type: str
    number: str


def find(name, module_address, root='/', memory=None, *, symbols=None, aliases=()):
    # type: (str, Any, str, Optional[KernelMemory], Optional[Lookup], Iterable[str]) -> Dict[str, Any]
    """What uses module ``name``, whose struct module is at ``module_address`` (unavailable, None or 0: not known).

    ``symbols`` gives the address of a kernel symbol, or None; ``aliases`` are the module's own (``fs-ext2``).
    Each key is a list, or unavailable; every entry has its ``evidence``:
    processes (pid, command, path, fd), mounts (device, path, type), network (device), protocols (protocol, sockets),
    algorithms (algorithm, driver, references), and ``notes``: what was looked for in a lesser way, and why.
    """
    own = memory or KernelMemory(root)
    notes = []  # type: List[str]
    address = module_address if isinstance(module_address, int) else 0
    try:
        return {
            'processes': _or_lesser(lambda: _open_files(_needed(address), own, symbols),
                                    lambda: _open_devices(name, root), notes),
            'mounts': _or_lesser(lambda: _mounts_by_owner(_needed(address), own, symbols),
                                 lambda: _mounts_by_type(name, aliases, root), notes),
            'network': _attempt(lambda: _network_devices(name, root)),
            'protocols': _attempt(lambda: _protocols(name, root)),
            'algorithms': _attempt(lambda: _algorithms(name, root)),
            'notes': notes,
        }
    finally:
        if memory is None:
            own.close()


def _attempt(reader):
    # type: (Callable[[], Found]) -> Any
    try:
        return reader()
    except (KmodError, OSError) as error:
        return unavailable(error)


def _or_lesser(exact, lesser, notes):
    # type: (Callable[[], Found], Callable[[], Found], List[str]) -> Any
    """The exact answer; where there is none, what the lesser one finds: its finding nothing proves nothing."""
    try:
        return exact()
    except KmodError as error:
        found = _attempt(lesser)
        if isinstance(found, list) and found:
            notes.append(str(error))
            return found
        return unavailable(error)


def _needed(address):
    # type: (int) -> int
    if not address:
        raise KmodError('find what uses the module', 'the address of its struct module is not known')
    return address


def _symbol(symbols, name):
    # type: (Optional[Lookup], str) -> int
    address = symbols(name) if symbols else None
    if not address:
        raise KmodError(f'find the kernel\'s {name}', '/proc/kallsyms does not give its address')
    return address


# Open files, from kernel memory


def _open_files(owner, memory, symbols):
    # type: (int, KernelMemory, Optional[Lookup]) -> Found
    """Every open file whose operations belong to the module: a character device of any kind, or a socket."""
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
                found.append(_open_file(task.pid, task.command, descriptor, evidence, memory.root))
    return found


def _open_file(pid, command, descriptor, evidence, root):
    # type: (int, str, int, str, str) -> Dict[str, Any]
    try:
        path = one_line(_text(os.readlink(os.path.join(root, 'proc/%d/fd/%d' % (pid, descriptor)))))  # type: Any
    except OSError as error:
        path = unavailable(error)
    return {'pid': pid, 'command': one_line(command), 'path': path, 'fd': descriptor, 'evidence': evidence}


class _Owners:
    """Which module an open file belongs to: the owner of its operations, for a socket that of its protocol."""

    def __init__(self, memory, symbols, offsets):
        # type: (KernelMemory, Optional[Lookup], Dict[str, int]) -> None
        self._kcore = memory.kcore
        self._offsets = offsets
        self._owners = {0: 0}  # type: Dict[int, int]
        try:
            self._sockets = _btf.layout_of(memory.btf, SOCKETS)
            self._socket_operations = _symbol(symbols, 'socket_file_ops')
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
        return list(_walk_tasks(memory, _symbol(symbols, 'init_task'), offsets, thread_head))
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


# Open devices, without kernel memory


def _open_devices(name, root):
    # type: (str, str) -> Found
    """Open device files whose driver, or whose name in /proc/misc or /proc/devices, is the module's."""
    names = _device_names(root)
    known = {}  # type: Dict[Tuple[bool, int], str]
    found = []
    for pid in _numbers(root, 'proc'):
        for descriptor in _numbers(root, 'proc/%d/fd' % pid):
            status = _status(os.path.join(root, 'proc/%d/fd/%d' % (pid, descriptor)))
            if status is None or not (stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)):
                continue
            key = (stat.S_ISBLK(status.st_mode), status.st_rdev)
            if key not in known:
                known[key] = _device_evidence(name, root, key[0], key[1], names)
            if known[key]:
                command = _lines(root, 'proc/%d/comm' % pid)[0:1]
                found.append(_open_file(pid, ''.join(command), descriptor, known[key], root))
    return found


def _device_evidence(name, root, block, number, names):
    # type: (str, str, bool, int, Dict[Tuple[bool, int, int], str]) -> str
    major, minor = os.major(number), os.minor(number)
    directory = 'sys/dev/%s/%d:%d' % ('block' if block else 'char', major, minor)
    for link in ('device/driver/module', 'driver/module'):
        if _link_name(os.path.join(root, directory, link)) == name:
            return f'/{directory}/{link}'
    for key, table in (((block, major, minor), '/proc/misc'), ((block, major, -1), '/proc/devices')):
        if _same_name(names.get(key, ''), name):
            return f'{table}: {names[key]}'
    return ''


def _device_names(root):
    # type: (str) -> Dict[Tuple[bool, int, int], str]
    """Names by (is a block device, major, minor); minor is -1 for a whole major."""
    names, block = {}, False
    for line in _lines(root, 'proc/devices'):
        fields = line.split()
        if line.startswith('Block'):
            block = True
        elif len(fields) == 2 and fields[0].isdigit():
            names[block, int(fields[0]), -1] = fields[1]
    for line in _lines(root, 'proc/misc'):
        fields = line.split()
        if len(fields) == 2 and fields[0].isdigit():
            names[False, 10, int(fields[0])] = fields[1]
    return names


# Mounts


def _mounts_by_owner(owner, memory, symbols):
    # type: (int, KernelMemory, Optional[Lookup]) -> Found
    """Every superblock whose file system type belongs to the module, with the places where it is mounted."""
    head = _symbol(symbols, 'super_blocks')
    offsets = _btf.layout_of(memory.btf, MOUNTS)
    kcore = memory.kcore
    mounts = _mounts(memory.root)
    found, seen = [], {head}  # type: Found, Set[int]
    node = kcore.u64(head)
    while node != head:
        if node in seen or len(seen) > MOST:
            raise KmodError('walk the kernel\'s superblocks', 'the list does not lead back to its start')
        seen.add(node)
        address = node - offsets['list']
        kind = kcore.u64(address + offsets['type'])
        if kcore.u64(kind + offsets['owner']) == owner:
            device = kcore.u32(address + offsets['dev'])
            number = '%d:%d' % (device >> 20, device & 0xFFFFF)
            places = [_mount(mount, 'file_system_type.owner') for mount in mounts if mount.number == number]
            found.extend(_once(places))
            if not places:
                found.append({'device': number, 'path': unavailable('it is mounted in no mount namespace'),
                              'type': kcore.string(kcore.u64(kind + offsets['name']), 64),
                              'evidence': 'file_system_type.owner'})
        node = kcore.u64(node)
    return found


def _mounts_by_type(name, aliases, root):
    # type: (str, Iterable[str], str) -> Found
    types = {name} | {alias[3:] for alias in aliases if alias.startswith('fs-')}
    return _once([_mount(mount, '/proc/PID/mountinfo') for mount in _mounts(root)
                  if mount.type.partition('.')[0].replace('-', '_') in types or mount.type in types])


def _once(mounts):
    # type: (Found) -> Found
    """Without the copies that further mount namespaces, such as those of services, have of a mount."""
    return [mount for index, mount in enumerate(mounts) if mount not in mounts[:index]]


def _mount(mount, evidence):
    # type: (Mount, str) -> Dict[str, Any]
    return {'device': one_line(mount.device), 'path': one_line(mount.path), 'type': mount.type, 'evidence': evidence}


def _mounts(root):
    # type: (str) -> List[Mount]
    """The mounts of every mount namespace, each namespace by the first process in it."""
    found, namespaces = [], set()  # type: List[Mount], Set[str]
    for pid in _numbers(root, 'proc'):
        namespace = _link_name(os.path.join(root, 'proc/%d/ns/mnt' % pid))
        if namespace is not None and namespace not in namespaces:
            namespaces.add(namespace)
            lines = _lines(root, 'proc/%d/mountinfo' % pid)
            found.extend(mount for mount in (_parse_mount(line) for line in lines) if mount)
    return found


def _parse_mount(line):
    # type: (str) -> Optional[Mount]
    """One line of mountinfo (proc(5)): ``22 27 0:21 / /proc rw - proc proc rw``; None where it is not one."""
    before, _dash, after = line.partition(' - ')
    fields, kind = before.split(' '), after.split(' ')
    if len(fields) < 6 or len(kind) < 2:
        return None
    return Mount(_unescape(kind[1]), _unescape(fields[4]), kind[0], fields[2])


def _unescape(text):
    # type: (str) -> str
    return re.sub(r'\\([0-3][0-7]{2})', lambda match: chr(int(match.group(1), 8)), text)


# Network devices, protocols, algorithms


def _network_devices(name, root):
    # type: (str, str) -> Found
    """Network devices of this network namespace whose driver is the module."""
    directory = os.path.join(root, 'sys/class/net')
    found = []
    for device in sorted(os.listdir(directory)):
        driver = _link_name(os.path.join(directory, device, 'device/driver/module'))
        evidence = f'/sys/class/net/{device}/device/driver/module'
        if driver is None and os.path.realpath(root) == '/':
            driver, evidence = _ethtool_driver(device), 'ethtool driver name'
        if driver is not None and _same_name(driver, name):
            found.append({'device': _text(device), 'evidence': _text(evidence)})
    return found


def _ethtool_driver(device):
    # type: (str) -> Optional[str]
    """The driver that ETHTOOL_GDRVINFO names (include/uapi/linux/ethtool.h); None where there is none."""
    siocethtool, gdrvinfo = 0x8946, 3
    information = array.array('B', struct.pack('=I192x', gdrvinfo))
    request = struct.pack('=16sQ16x', os.fsencode(device)[:15], information.buffer_info()[0])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            fcntl.ioctl(channel.fileno(), siocethtool, request)
    except OSError:
        return None
    return information.tobytes()[4:36].split(b'\0', 1)[0].decode('utf-8', 'backslashreplace') or None


def _protocols(name, root):
    # type: (str, str) -> Found
    """Protocols of the module that have sockets (/proc/net/protocols)."""
    found = []
    for line in _lines(root, 'proc/net/protocols', must_exist=True)[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[7] == name and fields[2].isdigit() and int(fields[2]):
            found.append({'protocol': fields[0], 'sockets': int(fields[2]), 'evidence': '/proc/net/protocols'})
    return found


def _algorithms(name, root):
    # type: (str, str) -> Found
    """Algorithms of the module that something has allocated (/proc/crypto): more references than their own one."""
    found = []
    entry = {}  # type: Dict[str, str]
    for line in _lines(root, 'proc/crypto', must_exist=True) + ['']:
        key, colon, value = line.partition(':')
        if colon:
            entry[key.strip()] = value.strip()
            continue
        references = entry.get('refcnt', '')
        if entry.get('module') == name and references.isdigit() and int(references) > 1:
            found.append({'algorithm': entry.get('name', ''), 'driver': entry.get('driver', ''),
                          'references': int(references) - 1, 'evidence': '/proc/crypto'})
        entry = {}
    return found


# Files below /proc and /sys


def _same_name(driver, name):
    # type: (str, str) -> bool
    return driver.replace('-', '_') == name


def _text(name):
    # type: (str) -> str
    """A file's name as text that JSON can carry, whatever bytes it has."""
    return os.fsencode(name).decode('utf-8', 'backslashreplace')


def _status(path):
    # type: (str) -> Optional[os.stat_result]
    try:
        return os.stat(path)
    except OSError:
        return None


def _link_name(path):
    # type: (str) -> Optional[str]
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def _lines(root, path, must_exist=False):
    # type: (str, str, bool) -> List[str]
    try:
        with open(os.path.join(root, path), 'rb') as stream:
            return stream.read().decode('utf-8', 'backslashreplace').split('\n')
    except OSError:
        if must_exist:
            raise
        return []


def _numbers(root, directory):
    # type: (str, str) -> List[int]
    """The entries that are numbers: processes in proc, file descriptors in proc/PID/fd."""
    try:
        entries = os.listdir(os.path.join(root, directory))
        return sorted(int(entry) for entry in entries if re.match(r'[0-9]{1,10}\Z', entry))
    except OSError:
        return []
