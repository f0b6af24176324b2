# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network devices of a module, in every network namespace, and what each of them carries.

Part of :mod:`find_holders`. From kernel memory; where that cannot be read, from /sys and ethtool for the own namespace.
"""

import array
import fcntl
import os
import re
import socket
import struct
from typing import Dict, List, NamedTuple, Optional, Set, Tuple, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import process_names
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.entry import Found, holder
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, one_line
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists, net_namespaces
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_lists import pointer, pointers_chain
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_sockets import Owner
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.task_structs import Lookup, symbol
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import (
    lines,
    link_name,
    names,
    numbers,
    quoted,
    text,
    word,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Ranges

# IFNAMSIZ, IFF_UP in include/uapi/linux/if.h
NAME_LENGTH, IFF_UP = 16, 1
# Parents of a device: a card in a slot behind bridges has some.
DEEPEST = 16
MOST_LOWER = 256
CALLED = ('netdev_ops', 'ethtool_ops', 'rtnl_link_ops', 'header_ops')
# Made by their modules, which take them away themselves and alone.
NEVER_DELETED = ('tunl0', 'sit0', 'ip6tnl0', 'gre0', 'gretap0', 'erspan0', 'ip6gre0', 'ip_vti0', 'ip6_vti0')
DEFAULT_ROUTE, CONNECTION = 'the default route', 'this ssh connection'
# include/uapi/linux/route.h; /proc/net/route and ipv6_route are in hexadecimal.
UNSPECIFIED_4, UNSPECIFIED_6 = '00000000', '0' * 32
RTF_UP, RTF_REJECT = 1, 0x200


class Device(NamedTuple):
    """A network device: why it is the module's, or ''; the number of its namespace; its IPv4 addresses."""

    name: str
    namespace: int
    up: bool
    virtual: bool  # of a kind that `ip link del` takes away
    evidence: str
    addresses: Tuple[str, ...]


def find(owner: int, ranges: Optional[Fact[Ranges]], memory: KernelMemory,
         symbols: Optional[Lookup]) -> Tuple[Found, List[str]]:
    """The network devices of the module whose struct module is at ``owner`` and whose memory is ``ranges``; and what
    could not be read. Raises KmodError where no device can be.

    Each is a holder with device, namespace (None: the host's own; a pid in it, or a file that names it), up, and
    carries: '', 'the default route' or 'this ssh connection'.
    """
    if is_unavailable(ranges) or not ranges:
        why = ranges['unavailable'] if isinstance(ranges, dict) else 'where it lies is not known'
        raise KmodError('find network devices by the module\'s memory', why)
    walker = _Devices(Owner(owner, tuple(ranges)), memory, symbol(symbols, 'net_namespace_list'))
    seen = kernel_lists.again(walker.all)
    return _entries([device for device in seen if device.evidence], seen, memory.root)


def find_lesser(name: str, root: str) -> Tuple[Found, List[str]]:
    """The same by /sys and ethtool, of the own network namespace; an OSError where /sys cannot be read."""
    directory = os.path.join(root, 'sys/class/net')
    own = Places(root).own()
    found = []
    for device in sorted(os.listdir(directory)):
        driver = link_name(os.path.join(directory, device, 'device/driver/module'))
        evidence = f'/sys/class/net/{device}/device/driver/module'
        if driver is None and device != 'lo' and os.path.realpath(root) == '/':
            driver, evidence = ethtool_driver(device), 'ethtool driver name'
        if driver is not None and driver.replace('-', '_') == name:
            up = word(root, f'sys/class/net/{device}/flags')[-1:] in tuple('13579bdf')
            found.append(Device(text(device), own, up, False, text(evidence), ()))
    return _entries(found, [], root)


def _entries(found: List[Device], seen: List[Device], root: str) -> Tuple[Found, List[str]]:
    if not found:
        return [], []
    places = Places(root)
    carried, unread = _carried(seen, places.own(), root)
    entries = []
    for device in found:
        namespace, prefix = places.of(device.namespace)
        carries = carried.get(device.name, '') if device.namespace == places.own() else ''
        told = ['up' if device.up else 'down'] + ([f'carries {carries}'] if carries else [])
        if namespace is not None:
            told.append('in the network namespace %s' % (
                'of pid %d' % namespace if isinstance(namespace, int) else namespace))
        known = prefix is not None and not carries
        entries.append(holder(
            'network device {} ({})'.format(device.name, ', '.join(told)), device.evidence,
            f'{prefix}{_command(device)}' if known else '', counts=False, active=device.up or bool(carries),
            device=one_line(device.name), namespace=namespace, up=device.up, carries=carries))
    return entries, unread


def _command(device: Device) -> str:
    name = ('dev ' if device.name.startswith('-') else '') + quoted(device.name)
    return f'ip link del {name}' if device.virtual else f'ip link set {name} down'


class _Devices:
    """Reads all devices of all namespaces."""

    def __init__(self, module: Owner, memory: KernelMemory, head: int) -> None:
        self._module, self._memory, self._head = module, memory, head
        types = memory.btf
        self._device = {member: types.offset('device', member) for member in ('parent', 'driver')}
        self._owner = types.offset('device_driver', 'owner')
        self._drivers: Dict[int, bool] = {0: False}

    def all(self) -> List[Device]:
        """Raises KmodError where a list is torn."""
        found = []
        members = ['name', 'flags', 'dev', 'ip_ptr', *CALLED]
        for namespace in net_namespaces.namespaces(self._memory, self._head):
            for _address, data, at in net_namespaces.devices(self._memory, namespace.address, members,
                                                             self._device['driver'] + 8):
                name = data[at['name']:][:NAME_LENGTH].split(b'\0', 1)[0].decode('utf-8', 'backslashreplace')
                flags, = struct.unpack_from('<I', data, at['flags'])
                kind = pointer(data, at['rtnl_link_ops'])
                found.append(Device(
                    name, namespace.number, bool(flags & IFF_UP), name not in NEVER_DELETED and self._can_go(kind),
                    self._evidence(data, at), tuple(self._addresses(pointer(data, at['ip_ptr'])))))
        return found

    def _can_go(self, kind: int) -> bool:
        return self._module.holds(kind) and bool(
            self._memory.kcore.u64(kind + self._memory.btf.offset('rtnl_link_ops', 'dellink')))

    def _evidence(self, data: bytes, at: Dict[str, int]) -> str:
        for member in CALLED:
            if self._module.holds(pointer(data, at[member])):
                return f'net_device.{member}'
        # A device is removed with the one it hangs on, and so with the driver of that: of a card, of that one's bus.
        parent = pointer(data, at['dev'] + self._device['parent'])
        for depth in range(DEEPEST):
            if not parent:
                break
            driver = self._memory.kcore.u64(parent + self._device['driver'])
            if driver not in self._drivers:
                owner = self._memory.kcore.u64(driver + self._owner)
                self._drivers[driver] = owner == self._module.address or self._module.holds(driver)
            if self._drivers[driver]:
                return 'the driver of its device' if not depth else 'the driver of what its device hangs on'
            parent = self._memory.kcore.u64(parent + self._device['parent'])
        return ''

    def _addresses(self, device: int) -> List[str]:
        """From struct in_device (include/linux/inetdevice.h)."""
        if not device:
            return []
        types, kcore = self._memory.btf, self._memory.kcore
        local, following = types.offset('in_ifaddr', 'ifa_local'), types.offset('in_ifaddr', 'ifa_next')
        first = kcore.u64(device + types.offset('in_device', 'ifa_list'))
        return ['%d.%d.%d.%d' % tuple(data[local:local + 4]) for _address, data in pointers_chain(
            kcore, first, following, max(local, following) + 8, 'the addresses of a network device')]


class Places:
    """Where a network namespace is found, by its number."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._pids: Optional[Dict[int, int]] = None

    def own(self) -> int:
        """The number of the host's own namespace, that of its first process; -1 where it is not to be had."""
        return self._number(1)

    def of(self, number: int) -> Tuple[Union[int, str, None], Optional[str]]:
        """None, a pid or a file's path; and what goes in front of a command there, None where nobody gets there."""
        if number == self.own():
            return None, ''
        if self._pids is None:
            self._pids = {}
            for pid in numbers(self._root, 'proc'):
                self._pids.setdefault(self._number(pid), pid)
        if number in self._pids:
            return self._pids[number], 'nsenter -t %d -n ' % self._pids[number]
        for name in names(self._root, 'run/netns'):
            try:
                if os.stat(os.path.join(self._root, 'run/netns', name)).st_ino == number:
                    return text(f'/run/netns/{name}'), f'nsenter --net={quoted(text("/run/netns/" + name))} '
            except OSError:
                continue
        return 'net:[%d], which no process is in' % number, None

    def _number(self, pid: int) -> int:
        match = re.match(r'net:\[([0-9]{1,20})\]\Z', link_name(os.path.join(self._root, 'proc/%d/ns/net' % pid)) or '')
        return int(match.group(1)) if match else -1


def _carried(seen: List[Device], own: int, root: str) -> Tuple[Dict[str, str], List[str]]:
    """What each device of the host's own namespace carries, by its name; and why that cannot be told."""
    carried: Dict[str, str] = {}
    unread: List[str] = []
    for device in _default_devices(root):
        for name in _with_lower(device, root):
            carried[name] = DEFAULT_ROUTE
    for address in _our_addresses(root):
        devices = [device.name for device in seen if device.namespace == own and address in device.addresses]
        devices = devices or _devices_of_6(address, root)
        if not devices:
            unread.append(f'network: which device has {address}, the address of this ssh connection')
        for device in devices:
            for name in _with_lower(device, root):
                carried[name] = CONNECTION
    return carried, unread


def _default_devices(root: str) -> Set[str]:
    """The devices of default routes in the host's own namespace (net/ipv4/fib_trie.c, net/ipv6/route.c)."""
    found = set()
    for line in lines(root, 'proc/1/net/route')[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == UNSPECIFIED_4 and _flags(fields[3]):
            found.add(fields[0])
    for line in lines(root, 'proc/1/net/ipv6_route'):
        fields = line.split()
        if len(fields) > 9 and (fields[0], fields[1]) == (UNSPECIFIED_6, '00') and _flags(fields[8]):
            found.add(fields[9])
    return found


def _flags(digits: str) -> bool:
    """Whether a route with these flags is up, and one that packets take."""
    try:
        return int(digits, 16) & (RTF_UP | RTF_REJECT) == RTF_UP
    except ValueError:
        return False


def _our_addresses(root: str) -> Set[str]:
    """The addresses of this host in the ssh connection that it is asked through; sudo keeps it from us, not from those
    that we descend from. An address may name its device, behind a %.
    """
    found = set()
    for pid in process_names.ancestors(root):
        for line in lines(root, 'proc/%d/environ' % pid):
            for variable in line.split('\0'):
                name, _equals, value = variable.partition('=')
                fields = value.split(' ')
                if name == 'SSH_CONNECTION' and len(fields) == 4:
                    found.add(fields[2][7:] if fields[2].startswith('::ffff:') and '.' in fields[2] else fields[2])
    return found


def _devices_of_6(address: str, root: str) -> List[str]:
    """The devices with an IPv6 address, by /proc/net/if_inet6: 32 digits, number, length, scope, flags, name."""
    address, _percent, device = address.partition('%')
    if device:
        return [device]

    try:
        wanted = socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):
        return []
    rows = [line.split() for line in lines(root, 'proc/1/net/if_inet6')]
    return [row[5] for row in rows if len(row) > 5 and row[0] == ''.join('%02x' % byte for byte in wanted)]


def _with_lower(device: str, root: str) -> Set[str]:
    """A device and all that it stands on: the slaves of a bond, the ports of a bridge, what a VLAN is of."""
    found: Set[str] = set()
    waiting: List[str] = [device]
    while waiting and len(found) < MOST_LOWER:
        name = waiting.pop()
        if name not in found and '/' not in name:
            found.add(name)
            waiting += [entry[6:] for entry in names(root, f'sys/class/net/{name}') if entry.startswith('lower_')]
    return found


def ethtool_driver(device: str) -> Optional[str]:
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
