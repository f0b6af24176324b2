# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What still uses a module: processes with an open file, mounts, network devices, protocols, algorithms.

Files and mounts are found in kernel memory where BTF, /proc/kcore and the symbols are to be had: whatever the kernel
itself counts as the module's (file_operations.owner, proto_ops.owner, file_system_type.owner). Else /proc and /sys are
asked, which name less. Each reader fails by itself.
"""

import os
import stat
from typing import Callable, Dict, Iterable, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import (
    mounts,
    netlink,
    network_devices,
    networks,
    opened,
    owned,
    uses_block,
    uses_net,
    uses_netfilter,
    uses_other,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.entry import Found, holder
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.process_names import ends_process
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import (
    KmodError,
    is_unavailable,
    one_line,
    unavailable,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_sockets import Owner
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.task_structs import Lookup
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import lines, link_name, numbers, text
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Holder, Holders, Ranges


def find(name: str, module_address: Optional[Fact[int]], root: str = '/', memory: Optional[KernelMemory] = None, *,
         symbols: Optional[Lookup] = None, aliases: Callable[[], Iterable[str]] = tuple,
         ranges: Optional[Fact[Ranges]] = None) -> Holders:
    """What uses module ``name``, whose struct module is at ``module_address`` (unavailable, None or 0: not known).

    ``ranges``: start and end of each part of its memory, or unavailable: without them, what merely points into it is
    not found. ``symbols`` gives the address of a kernel symbol, or None; ``aliases`` the module's own (``fs-ext2``).
    processes (pid, command, path, fd: None where there is no descriptor), mounts (device, path, type), network (device,
    namespace, up, carries), protocols (protocol, sockets) and
    algorithms (algorithm, driver, references) are each a list, or unavailable; ``others`` (kind) is a list. Every entry
    is a :func:`entry.holder`. ``unread``: what such a module could be held by and could not be read;
    ``hint``: how one looks for those that cannot be listed; ``notes``: what was looked for in a lesser way, and why.
    """
    own = memory or KernelMemory(root)
    notes: List[str] = []
    try:
        own_aliases = list(aliases())
        offered, not_offered = _offers(module_address, ranges, own, symbols)
        names = [name] + own_aliases + offered
        processes, threads, unread = _processes(name, module_address, ranges, own, symbols, notes)
        network, not_seen = _network_devices(name, module_address, ranges, own, symbols, notes)
        parts = [(threads, unread + not_seen + not_offered), _in_networks(names, root), uses_block.find(names, root),
                 uses_other.find(name, own_aliases, root)]
        known = {entry['pid'] for entry in processes} if isinstance(processes, list) else set()
        return {
            'processes': processes,
            'mounts': _or_lesser(lambda: _mounts_in_memory(_needed(module_address), ranges, own, symbols),
                                 lambda: _mounts_by_type(name, own_aliases, root), notes),
            'network': network,
            'protocols': _attempt(lambda: uses_net.protocols(name, root)),
            'algorithms': _attempt(lambda: uses_other.algorithms(name, root)),
            # What kernel memory names exactly is not told again the lesser way.
            'others': [entry for others, _unread in parts for entry in others if entry.get('pid') not in known],
            'unread': [reason for _others, reasons in parts for reason in reasons],
            'hint': uses_other.hint(name, own_aliases), 'notes': notes,
        }
    finally:
        if memory is None:
            own.close()


def _attempt(reader: Callable[[], Found]) -> Fact[Found]:
    try:
        return reader()
    except (KmodError, OSError) as error:
        return unavailable(error)


def _or_lesser(exact: Callable[[], Found], lesser: Callable[[], Found], notes: List[str]) -> Fact[Found]:
    """The exact answer; where there is none, what the lesser one finds: its finding nothing proves nothing."""
    try:
        return exact()
    except KmodError as error:
        found = _attempt(lesser)
        if isinstance(found, list) and found:
            notes.append(str(error))
            return found
        return unavailable(error)


def _needed(address: Optional[Fact[int]]) -> int:
    if isinstance(address, int) and address:
        return address
    why = ': {}'.format(address['unavailable']) if isinstance(address, dict) else ''
    raise KmodError('find what uses the module', f'the address of its struct module is not known{why}')


# Processes and network devices


def _processes(name: str, module_address: Optional[Fact[int]], ranges: Optional[Fact[Ranges]], memory: KernelMemory,
               symbols: Optional[Lookup], notes: List[str]) -> Tuple[Fact[Found], Found, List[str]]:
    """The processes, the kernel threads, and what could not be read."""
    try:
        return opened.find(_needed(module_address), ranges, memory, symbols)
    except KmodError as error:
        found = _attempt(lambda: _open_devices(name, memory.root))
        if isinstance(found, list) and found:
            notes.append(str(error))
            return found, [], [f'processes: {error}']
        return unavailable(error), [], []


def _network_devices(name: str, module_address: Optional[Fact[int]], ranges: Optional[Fact[Ranges]],
                     memory: KernelMemory, symbols: Optional[Lookup],
                     notes: List[str]) -> Tuple[Fact[Found], List[str]]:
    """The network devices, and what could not be read."""
    try:
        return network_devices.find(_needed(module_address), ranges, memory, symbols)
    except KmodError as error:
        try:
            found, unread = network_devices.find_lesser(name, memory.root)
        except OSError as failure:
            return unavailable(failure), []
        notes.append(str(error))
        return found, [*unread, f'network devices in other namespaces: {error}']


def _open_file(pid: int, command: str, descriptor: int, evidence: str, root: str) -> Holder:
    try:
        path: Fact[str] = one_line(text(os.readlink(os.path.join(root, 'proc/%d/fd/%d' % (pid, descriptor)))))
    except OSError as error:
        path = unavailable(error)
    command = one_line(command)
    what = 'process %s (pid %d) with %s open' % (command, pid, path if isinstance(path, str) else 'a file')
    return holder(what, evidence, ends_process(pid, root), pid=pid, command=command, path=path, fd=descriptor)


def _open_devices(name: str, root: str) -> Found:
    """Open device files whose driver, or whose name in /proc/misc or /proc/devices, is the module's."""
    names = _device_names(root)
    known: Dict[Tuple[bool, int], str] = {}
    found = []
    for pid in numbers(root, 'proc'):
        for descriptor in numbers(root, 'proc/%d/fd' % pid):
            try:
                status = os.stat(os.path.join(root, 'proc/%d/fd/%d' % (pid, descriptor)))
            except OSError:
                continue
            if not (stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)):
                continue
            key = (stat.S_ISBLK(status.st_mode), status.st_rdev)
            if key not in known:
                known[key] = _device_evidence(name, root, key[0], key[1], names)
            if known[key]:
                command = lines(root, 'proc/%d/comm' % pid)[0:1]
                found.append(_open_file(pid, ''.join(command), descriptor, known[key], root))
    return found


def _device_evidence(name: str, root: str, block: bool, number: int, names: Dict[Tuple[bool, int, int], str]) -> str:
    major, minor = os.major(number), os.minor(number)
    directory = 'sys/dev/%s/%d:%d' % ('block' if block else 'char', major, minor)
    for link in ('device/driver/module', 'driver/module'):
        if link_name(os.path.join(root, directory, link)) == name:
            return f'/{directory}/{link}'
    for key, table in (((block, major, minor), '/proc/misc'), ((block, major, -1), '/proc/devices')):
        if names.get(key, '').replace('-', '_') == name:
            return f'{table}: {names[key]}'
    return ''


def _device_names(root: str) -> Dict[Tuple[bool, int, int], str]:
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


def _owner(address: int, ranges: Optional[Fact[Ranges]]) -> Owner:
    return Owner(address, () if is_unavailable(ranges) else tuple(ranges))


def _offers(address: Optional[Fact[int]], ranges: Optional[Fact[Ranges]], memory: KernelMemory,
            symbols: Optional[Lookup]) -> Tuple[List[str], List[str]]:
    """What the module offers to the network, as aliases of it, and what could not be read of that."""
    if not isinstance(address, int) or not address:
        return [], []  # why not is told of its processes
    return owned.offers(_owner(address, ranges), memory, symbols)


# Mounts


def _mounts_in_memory(address: int, ranges: Optional[Fact[Ranges]], memory: KernelMemory,
                      symbols: Optional[Lookup]) -> Found:
    """Every superblock of the module, with the places where it is mounted."""
    return mounts.of_superblocks(owned.superblocks(_owner(address, ranges), memory, symbols), memory.root)


def _mounts_by_type(name: str, aliases: Iterable[str], root: str) -> Found:
    return mounts.of_types({name} | {alias[3:] for alias in aliases if alias.startswith('fs-')}, root)


# Others


def _in_networks(names: List[str], root: str) -> Tuple[Found, List[str]]:
    """What of traffic control, netfilter and the like uses a module of these names, and what could not be read."""
    readers = uses_net.readers(names) + uses_netfilter.readers(names)
    if not readers:
        return [], []

    def look(network: networks.Network) -> List[Tuple[str, Found, str]]:
        return [(kind,) + uses_net.complete(read, network, netlink.dump, root) for kind, read in readers]

    try:
        answers = networks.in_each(look, 'look into the network namespaces', root)
    except KmodError as error:
        return [], [f'{kind}: {error}' for kind, _read in readers]
    found: Found = []
    unread: List[str] = []
    for answer in answers:
        if is_unavailable(answer):
            unread.append('a network namespace: {}'.format(answer['unavailable']))
            continue
        for kind, entries, reason in answer:
            found.extend(entries)
            unread.extend([f'{kind}: {reason}'] if reason else [])
    return uses_net.name_sockets(found, root), list(dict.fromkeys(unread))
