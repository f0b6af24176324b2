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
import stat
import struct
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, one_line, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._kcore import KernelMemory

Found = List[Dict[str, Any]]
Lookup = Callable[[str], Optional[int]]


class Mount(NamedTuple):
    """A line of /proc/PID/mountinfo; number is MAJOR:MINOR of the superblock."""

    device: str
    path: str
    type: str
    number: str


def find(name, module_address, root='/', memory=None, *, symbols=None, aliases=tuple, counted=True):
    # type: (str, Any, str, Optional[KernelMemory], Optional[Lookup], Callable[[], Iterable[str]], bool) -> Dict[str, Any]
    """What uses module ``name``, whose struct module is at ``module_address`` (unavailable, None or 0: not known).

    ``symbols`` gives the address of a kernel symbol, or None; ``aliases`` the module's own (``fs-ext2``). Where it is
    not ``counted``, nothing holds a reference: open files and mounts, which always do, are not looked for.
    Each key is a list, or unavailable; every entry has its ``evidence``:
    processes (pid, command, path, fd), mounts (device, path, type), network (device), protocols (protocol, sockets),
    algorithms (algorithm, driver, references), and ``notes``: what was looked for in a lesser way, and why.
    """
    own = memory or KernelMemory(root)
    notes = []  # type: List[str]
    try:
        return {
            'processes': _or_lesser(lambda: _open_files(_needed(module_address), own, symbols),
                                    lambda: _open_devices(name, root), notes) if counted else [],
            'mounts': _or_lesser(lambda: _mounts_by_owner(_needed(module_address), own, symbols),
                                 lambda: _mounts_by_type(name, aliases(), root), notes) if counted else [],
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
    # type: (Any) -> int
    if isinstance(address, int) and address:
        return address
    why = ': {}'.format(address['unavailable']) if isinstance(address, dict) else ''
    raise KmodError('find what uses the module', f'the address of its struct module is not known{why}')


# Open files


def _open_files(owner, memory, symbols):
    # type: (int, KernelMemory, Optional[Lookup]) -> Found
    from ansible_collections.kernelops.kmod.plugins.module_utils import _owned

    return [_open_file(*opened, memory.root) for opened in _owned.open_files(owner, memory, symbols)]


def _open_file(pid, command, descriptor, evidence, root):
    # type: (int, str, int, str, str) -> Dict[str, Any]
    try:
        path = one_line(_text(os.readlink(os.path.join(root, 'proc/%d/fd/%d' % (pid, descriptor)))))  # type: Any
    except OSError as error:
        path = unavailable(error)
    return {'pid': pid, 'command': one_line(command), 'path': path, 'fd': descriptor, 'evidence': evidence}


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
    from ansible_collections.kernelops.kmod.plugins.module_utils import _owned

    found, mounts = [], _mounts(memory.root)  # type: Found, List[Mount]
    for number, kind in _owned.superblocks(owner, memory, symbols):
        places = [_mount(mount, _owned.OF_A_MOUNT) for mount in mounts if mount.number == number]
        found.extend(_once(places))
        if not places:
            found.append({'device': number, 'path': unavailable('it is mounted in no mount namespace'), 'type': kind,
                          'evidence': _owned.OF_A_MOUNT})
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
    found = []  # type: List[Mount]
    namespaces = set()  # type: Set[str]
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
        if driver is None and device != 'lo' and os.path.realpath(root) == '/':
            driver, evidence = _ethtool_driver(device), 'ethtool driver name'
        if driver is not None and _same_name(driver, name):
            found.append({'device': _text(device), 'evidence': _text(evidence)})
    return found


def _ethtool_driver(device):
    # type: (str) -> Optional[str]
    """The driver that ETHTOOL_GDRVINFO names (include/uapi/linux/ethtool.h); None where there is none."""
    import socket  # a tenth of a second on a slow host

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
