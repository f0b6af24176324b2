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
import stat
import struct
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, one_line, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._root_files import (
    holder,
    lines,
    link_name,
    numbers,
    quoted,
    text,
    word,
)

Found = List[Dict[str, Any]]
Lookup = Callable[[str], Optional[int]]

# Services that hold what others started, or that nobody stops: there the process alone is ended.
NOT_STOPPED = ('user@', 'ssh.', 'sshd.', 'ssh@', 'sshd@', 'cron.', 'crond.', 'atd.', 'dbus', 'getty@', 'serial-getty@',
               'container-getty@', 'console-getty', 'systemd-', 'init.', 'rc-local', 'emergency.', 'rescue.')


def find(name, module_address, root='/', memory=None, *, symbols=None, aliases=tuple, counted=True):
    # type: (str, Any, str, Optional[KernelMemory], Optional[Lookup], Callable[[], Iterable[str]], bool) -> Dict[str, Any]
    """What uses module ``name``, whose struct module is at ``module_address`` (unavailable, None or 0: not known).

    ``symbols`` gives the address of a kernel symbol, or None; ``aliases`` the module's own (``fs-ext2``). Where it is
    not ``counted``, nothing holds a reference: open files and mounts, which always do, are not looked for.
    processes (pid, command, path, fd), mounts (device, path, type), network (device), protocols (protocol, sockets) and
    algorithms (algorithm, driver, references) are each a list, or unavailable; ``others`` (kind) is a list. Every entry
    is a :func:`_root_files.holder`. ``unread``: what such a module could be held by and could not be read;
    ``hint``: how one looks for those that cannot be listed; ``notes``: what was looked for in a lesser way, and why.
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
            'others': [], 'unread': [], 'hint': '',
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
        path = one_line(text(os.readlink(os.path.join(root, 'proc/%d/fd/%d' % (pid, descriptor)))))  # type: Any
    except OSError as error:
        path = unavailable(error)
    command = one_line(command)
    what = 'process %s (pid %d) with %s open' % (command, pid, path if isinstance(path, str) else 'a file')
    return holder(what, evidence, ends_process(pid, root), pid=pid, command=command, path=path, fd=descriptor)


def ends_process(pid, root):
    # type: (int, str) -> str
    """The command that ends a process: its service, where it is one's own, or the process; '' for pid 1."""
    if pid == 1:
        return ''
    for line in lines(root, 'proc/%d/cgroup' % pid):
        number, _colon, rest = line.partition(':')
        controllers, _colon, path = rest.partition(':')
        if controllers not in ('', 'name=systemd') or (not controllers and number != '0'):
            continue
        # The outermost is the one that this host's systemd manages: in a scope there may be a whole container.
        unit = next((part for part in path.split('/') if part.endswith(('.service', '.scope'))), '')
        if unit.endswith('.service') and not unit.startswith(NOT_STOPPED):
            return f'systemctl stop {quoted(unit)}'
    return 'kill %d' % pid


def _open_devices(name, root):
    # type: (str, str) -> Found
    """Open device files whose driver, or whose name in /proc/misc or /proc/devices, is the module's."""
    names = _device_names(root)
    known = {}  # type: Dict[Tuple[bool, int], str]
    found = []
    for pid in numbers(root, 'proc'):
        for descriptor in numbers(root, 'proc/%d/fd' % pid):
            status = _status(os.path.join(root, 'proc/%d/fd/%d' % (pid, descriptor)))
            if status is None or not (stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)):
                continue
            key = (stat.S_ISBLK(status.st_mode), status.st_rdev)
            if key not in known:
                known[key] = _device_evidence(name, root, key[0], key[1], names)
            if known[key]:
                command = lines(root, 'proc/%d/comm' % pid)[0:1]
                found.append(_open_file(pid, ''.join(command), descriptor, known[key], root))
    return found


def _device_evidence(name, root, block, number, names):
    # type: (str, str, bool, int, Dict[Tuple[bool, int, int], str]) -> str
    major, minor = os.major(number), os.minor(number)
    directory = 'sys/dev/%s/%d:%d' % ('block' if block else 'char', major, minor)
    for link in ('device/driver/module', 'driver/module'):
        if link_name(os.path.join(root, directory, link)) == name:
            return f'/{directory}/{link}'
    for key, table in (((block, major, minor), '/proc/misc'), ((block, major, -1), '/proc/devices')):
        if _same_name(names.get(key, ''), name):
            return f'{table}: {names[key]}'
    return ''


def _device_names(root):
    # type: (str) -> Dict[Tuple[bool, int, int], str]
    """Names by (is a block device, major, minor); minor is -1 for a whole major."""
    names, block = {}, False
    for line in lines(root, 'proc/devices'):
        fields = line.split()
        if line.startswith('Block'):
            block = True
        elif len(fields) == 2 and fields[0].isdigit():
            names[block, int(fields[0]), -1] = fields[1]
    for line in lines(root, 'proc/misc'):
        fields = line.split()
        if len(fields) == 2 and fields[0].isdigit():
            names[False, 10, int(fields[0])] = fields[1]
    return names


# Mounts


def _mounts_by_owner(owner, memory, symbols):
    # type: (int, KernelMemory, Optional[Lookup]) -> Found
    """Every superblock whose file system type belongs to the module, with the places where it is mounted."""
    from ansible_collections.kernelops.kmod.plugins.module_utils import _mounts, _owned

    return _mounts.of_numbers(_owned.superblocks(owner, memory, symbols), _owned.OF_A_MOUNT, memory.root)


def _mounts_by_type(name, aliases, root):
    # type: (str, Iterable[str], str) -> Found
    from ansible_collections.kernelops.kmod.plugins.module_utils import _mounts

    return _mounts.of_types({name} | {alias[3:] for alias in aliases if alias.startswith('fs-')}, root)


# Network devices, protocols, algorithms


def _network_devices(name, root):
    # type: (str, str) -> Found
    """Network devices of this network namespace whose driver is the module."""
    directory = os.path.join(root, 'sys/class/net')
    found = []
    for device in sorted(os.listdir(directory)):
        driver = link_name(os.path.join(directory, device, 'device/driver/module'))
        evidence = f'/sys/class/net/{device}/device/driver/module'
        if driver is None and device != 'lo' and os.path.realpath(root) == '/':
            driver, evidence = _ethtool_driver(device), 'ethtool driver name'
        if driver is not None and _same_name(driver, name):
            flags = word(root, f'sys/class/net/{device}/flags')
            found.append(holder('network device ' + text(device), text(evidence),
                                'ip link set {} down'.format(quoted(device)), counts=False,
                                active=flags[-1:] in tuple('13579bdf'), device=text(device)))
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
    for line in lines(root, 'proc/net/protocols', must_exist=True)[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[7] == name and fields[2].isdigit() and int(fields[2]):
            found.append(holder('%s sockets of protocol %s' % (fields[2], fields[0]), '/proc/net/protocols',
                                protocol=fields[0], sockets=int(fields[2])))
    return found


def _algorithms(name, root):
    # type: (str, str) -> Found
    """Algorithms of the module that something has allocated (/proc/crypto): more references than their own one."""
    found = []
    entry = {}  # type: Dict[str, str]
    for line in lines(root, 'proc/crypto', must_exist=True) + ['']:
        key, colon, value = line.partition(':')
        if colon:
            entry[key.strip()] = value.strip()
            continue
        references = entry.get('refcnt', '')
        if entry.get('module') == name and references.isdigit() and int(references) > 1:
            algorithm = entry.get('name', '')
            found.append(holder(f'users of the algorithm {algorithm}', '/proc/crypto', algorithm=algorithm,
                                driver=entry.get('driver', ''), references=int(references) - 1))
        entry = {}
    return found


def _same_name(driver, name):
    # type: (str, str) -> bool
    return driver.replace('-', '_') == name


def _status(path):
    # type: (str) -> Optional[os.stat_result]
    try:
        return os.stat(path)
    except OSError:
        return None
