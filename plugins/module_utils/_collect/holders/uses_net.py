# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a module of the network: traffic control, congestion control, IPsec; in every network namespace.

Part of :mod:`find_holders`. Each reader takes ``ask`` (:func:`netlink.dump`) and finds in the namespace it is run in.
"""

import socket
import struct
from typing import Callable, Dict, Iterable, List, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import netlink, processes
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.entry import Found, holder
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.netlink import (
    Ask,
    attribute,
    string,
    table,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.networks import (
    Network,
    NotAll,
    Reader,
    networks,
    place,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.process_names import ends_process
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import (
    ending,
    has_code,
    lines,
    quoted,
    word,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Holder

# include/uapi/linux/rtnetlink.h, pkt_sched.h, pkt_cls.h
GETLINK, GETQDISC, GETTCLASS, GETTFILTER, GETACTION = 18, 38, 42, 46, 50
TCMSG = struct.Struct('=B3xiIII')
IFNAME, KIND, OPTIONS, CHAIN, INGRESS_BLOCK, EGRESS_BLOCK = 3, 1, 2, 11, 13, 14
AT_ROOT, AT_INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
SIDES = {0xFFFFFFF2: 'ingress', 0xFFFFFFF3: 'egress'}
OF_A_BLOCK = 0xFFFFFFFF
# Filters hang below classes as well: more than this are not asked one by one.
MOST_CLASSES = 500

INET_DIAG, DIAG_CONG, DIAG_MESSAGE = 20, 4, 72
GETSA, SA = 0x12, 224
PROTOCOLS = {50: 'esp', 51: 'ah', 108: 'comp'}
XFRM_TYPES = {'esp4': '2-50', 'esp6': '10-50', 'ah4': '2-51', 'ah6': '10-51', 'ipcomp': '2-108', 'ipcomp6': '10-108'}
ALGORITHMS = (1, 2, 3, 18, 20)  # XFRMA_ALG_AUTH, _CRYPT, _COMP, _AEAD, _AUTH_TRUNC


def readers(names: Iterable[str]) -> List[Reader]:
    """One for each kind that a module of these names can be of."""
    names = list(names)
    chosen: List[Reader] = []
    disciplines = ending(names, 'sch_', 'net-sch-')
    if 'ingress' in disciplines:
        disciplines.add('clsact')
    classifiers, actions = ending(names, 'cls_', 'net-cls-'), ending(names, 'act_', 'net-act-')
    if disciplines:
        chosen.append(('queueing disciplines', lambda net, ask, root: _disciplines(disciplines, net, ask, root)))
    if classifiers or actions:
        chosen.append(('classifiers and actions', lambda net, ask, _root: _filters(classifiers, actions, net, ask)))
    congestion = ending(names, 'tcp_') - {'diag'}
    if congestion:
        chosen.append(('congestion control', lambda net, ask, root: _congestion(congestion, net, ask, root)))
    types = ending(names, 'xfrm-type-') | {XFRM_TYPES[name] for name in names if name in XFRM_TYPES}
    if types:
        chosen.append(('IPsec states', lambda net, ask, root: _states(types, net, ask, root)))
    return chosen


def complete(read: Callable[[Network, Ask, str], Found], net: Network, ask: Ask, root: str) -> Tuple[Found, str]:
    """What was found, and why not all could be looked for: '' where it was. A kernel built without it has none."""
    try:
        return read(net, ask, root), ''
    except NotAll as error:
        return error.found, error.why
    except KmodError as error:
        return [], '' if netlink.is_refused(error) else str(error)
    except (OSError, ValueError, struct.error) as error:
        return [], str(error)


# Sockets


def protocols(name: str, root: str) -> Found:
    """The sockets of the module's protocols: each process that has some, and how many no process was found for."""
    own = {fields[0] for fields in _rows('proc/net', root, must_exist=True) if fields[7] == name}
    if not own:
        return []
    counts = dict.fromkeys(own, 0)
    for network in networks(root):
        for fields in _rows(network.files, root) if network.files else ():
            if fields[0] in own and fields[2].isdigit():
                counts[fields[0]] += int(fields[2])
    seen: Dict[Tuple[str, int], int] = {}
    try:
        for protocol, file in processes.sockets_of(root, own):
            seen[protocol, file.pid] = seen.get((protocol, file.pid), 0) + 1
    except OSError:
        pass  # then the counts alone are told
    found = []
    for (protocol, pid), sockets in sorted(seen.items()):
        counts[protocol] -= sockets
        found.append(holder('%s with %d sockets of protocol %s' % (processes.name(pid, root), sockets, protocol),
                            processes.PROTOCOL_NAME, ends_process(pid, root), protocol=protocol, sockets=sockets,
                            pid=pid, command=processes.command(pid, root)))
    for protocol, sockets in sorted(counts.items()):
        if sockets > 0:
            found.append(holder('%d sockets of protocol %s' % (sockets, protocol), '/proc/net/protocols',
                                protocol=protocol, sockets=sockets))
    return found


def _rows(directory: str, root: str, must_exist: bool = False) -> List[List[str]]:
    split = [line.split() for line in lines(root, directory + '/protocols', must_exist)[1:]]
    return [fields for fields in split if len(fields) > 7]


def name_sockets(found: Found, root: str) -> Found:
    """Gives the sockets among them, which have an inode alone, their processes."""
    inodes = {entry['inode'] for entry in found if 'inode' in entry}
    owners = processes.sockets(root, inodes) if inodes else {}
    named: Dict[Tuple[str, str, int, Optional[str]], Holder] = {}
    for entry in found:
        pid = owners[entry['inode']].pid if entry.get('inode') in owners else 0
        key = (entry['what'], entry['end_with'], pid, entry.get('control'))
        whole = entry
        if 'inode' in entry:
            who = processes.name(pid, root) if pid else 'a socket that is closing, or that no process has'
            with_it = 'with a socket that uses ' if pid else 'and that uses '
            whole = {**entry, 'what': f'{who} {with_it}{entry["control"]}', 'pid': pid,
                     'end_with': ends_process(pid, root) if pid else ''}
        named.setdefault(key, whole)
    return list(named.values())


# Traffic control


class _Links:
    """The names of the network devices of a namespace, and their queueing disciplines."""

    def __init__(self, ask: Ask) -> None:
        self.names: Dict[int, str] = {}
        for body in ask(netlink.ROUTE, GETLINK, struct.pack('=16x')):
            self.names[struct.unpack_from('=i', body, 4)[0]] = string(table(body, 16).get(IFNAME, b''))
        self.disciplines = [(TCMSG.unpack_from(body)[1:4], table(body, TCMSG.size))
                            for body in ask(netlink.ROUTE, GETQDISC, TCMSG.pack(0, 0, 0, 0, 0))]

    def name(self, index: int) -> str:
        return self.names.get(index, 'device %d' % index)


def _handle(number: int) -> str:
    minor = number & 0xFFFF
    return '%x:%s' % (number >> 16, '%x' % minor if minor else '')


def _disciplines(kinds: Set[str], net: Network, ask: Ask, root: str) -> Found:
    links: _Links = _Links(ask)
    found: Found = []
    for (index, handle, parent), values in links.disciplines:
        kind, device = string(values.get(KIND, b'')), links.name(index)
        if kind not in kinds:
            continue
        if kind in ('ingress', 'clsact') or parent == AT_INGRESS:
            command = f'del dev {quoted(device)} {kind}'
        elif handle and parent == AT_ROOT:
            command = f'del dev {quoted(device)} root'
        elif parent == AT_ROOT or not parent >> 16:
            # The kernel's own choice for this device, or for one of its queues: it has no handle to delete it by.
            command = f'replace dev {quoted(device)} root pfifo_fast'
        else:
            command = f'del dev {quoted(device)} parent {_handle(parent)}'
        found.append(holder(f'queueing discipline {kind} on {device}{place(net)}', 'netlink RTM_GETQDISC',
                            f'{net.enter}tc qdisc {command}', kind='queueing discipline', device=device))
    # The sysctl is first: devices that come up take it.
    by_default = word(root, 'proc/sys/net/core/default_qdisc')
    if not net.enter and by_default in kinds:
        found.append(holder(f'queueing discipline {by_default} as the default', '/proc/sys/net/core/default_qdisc',
                            'sysctl -w net.core.default_qdisc=pfifo_fast', kind='queueing discipline'))
    # What lies below another is deleted first: the kernel lists it later.
    return _once(reversed(found))


def _tc(what: str, kind: str, subject: str, command: str, net: Network, evidence: str) -> Holder:
    return holder(what + place(net), f'netlink {evidence}', f'{net.enter}tc {subject} {command}', kind=kind)


def _once(entries: Iterable[Holder]) -> Found:
    """Each command once: every queue of a device can have a discipline that the same command ends."""
    kept: Dict[str, Holder] = {}
    for entry in entries:
        kept.setdefault(entry['end_with'], entry)
    return list(kept.values())


def _places(links: _Links, ask: Ask) -> List[Tuple[int, int]]:
    """Device and parent of each place that filters can hang at; OF_A_BLOCK and the block's number of a shared one."""
    places: Set[Tuple[int, int]] = set()
    for (index, handle, _parent), values in links.disciplines:
        for block in (INGRESS_BLOCK, EGRESS_BLOCK):
            if len(values.get(block, b'')) == 4:
                places.add((OF_A_BLOCK, struct.unpack('=I', values[block])[0]))
        kind = string(values.get(KIND, b''))
        if kind == 'clsact':
            places.update((index, side) for side in SIDES)
        elif handle:
            places.add((index, handle))
    for index in sorted({index for index, parent in places if index != OF_A_BLOCK and parent not in SIDES}):
        classes = ask(netlink.ROUTE, GETTCLASS, TCMSG.pack(0, index, 0, 0, 0))
        if len(classes) > MOST_CLASSES:
            raise KmodError('list classifiers', '%s has %d classes' % (links.name(index), len(classes)))
        places.update((index, TCMSG.unpack_from(body)[2]) for body in classes)
    return sorted(places)


def _filters(classifiers: Set[str], actions: Set[str], net: Network, ask: Ask) -> Found:
    links: _Links = _Links(ask)
    found: Found = []
    acting: Dict[bytes, int] = {}
    patterns = {action: attribute(1, action.encode() + b'\0') for action in actions}
    for index, parent in _places(links, ask):
        unsigned = struct.unpack('=i', struct.pack('=I', index))[0]
        for body in ask(netlink.ROUTE, GETTFILTER, TCMSG.pack(0, unsigned, 0, parent, 0)):
            values, (_family, of_device, _handle_, of_parent, info) = table(body, TCMSG.size), TCMSG.unpack_from(body)
            kind, options = string(values.get(KIND, b'')), values.get(OPTIONS, b'')
            used = [action for action, pattern in patterns.items() if pattern in options]
            acting[body[:TCMSG.size]] = sum(options.count(patterns[action]) for action in used)
            if kind not in classifiers and not used:
                continue
            # At a device's place, the filters of a block that it shares come with the block's number.
            at, where = _filter_place(links, OF_A_BLOCK, of_parent) if of_device == -1 else \
                _filter_place(links, index, parent)
            command = 'del {} pref {}'.format(at, info >> 16)
            chain = struct.unpack('=I', values[CHAIN])[0] if len(values.get(CHAIN, b'')) == 4 else 0
            does = ' with the action ' + used[0] if used else ''
            found.append(_tc(f'classifier {kind}{does} on {where}', 'classifier', 'filter',
                             command + (' chain %d' % chain if chain else ''), net, 'RTM_GETTFILTER'))
    found = _once(found)
    for action in sorted(actions):
        count = _count_actions(action, ask)
        alone = count - sum(acting.values())
        if alone > 0:
            found.append(_tc('action %s (%d)' % (action, alone), 'action', 'actions', f'flush action {action}', net,
                             'RTM_GETACTION'))
    return found


def _filter_place(links: _Links, index: int, parent: int) -> Tuple[str, str]:
    if index == OF_A_BLOCK:
        return 'block %d' % parent, 'block %d' % parent
    device = links.name(index)
    side = SIDES.get(parent, f'parent {_handle(parent)}')
    return f'dev {quoted(device)} {side}', f'{device}, {side}'


def _count_actions(kind: str, ask: Ask) -> int:
    wanted = attribute(1, attribute(1, attribute(1, kind.encode() + b'\0')))
    return sum(1 for body in ask(netlink.ROUTE, GETACTION, b'\0' * 4 + wanted)
               for _order, action in netlink.attributes(table(body, 4).get(1, b''))
               if string(table(action).get(1, b'')) == kind)


# Congestion control


def _congestion(kinds: Set[str], net: Network, ask: Ask, root: str) -> Found:
    found: Found = []
    default: str = word(root, 'proc/sys/net/ipv4/tcp_congestion_control')
    if default in kinds:
        other = 'reno' if 'cubic' in kinds else 'cubic'
        found.append(holder(f'congestion control {default} as the default{place(net)}',
                            '/proc/sys/net/ipv4/tcp_congestion_control',
                            f'{net.enter}sysctl -w net.ipv4.tcp_congestion_control={other}', kind='congestion control'))
    if not has_code(root, 'tcp_diag'):
        raise NotAll(found, 'the sockets that use it: tcp_diag is not loaded, which lists them')
    for family in (socket.AF_INET, socket.AF_INET6):
        request = struct.pack('=BBBxI48x', family, socket.IPPROTO_TCP, 1 << (DIAG_CONG - 1), 0xFFFFFFFF)
        for body in ask(netlink.SOCK_DIAG, INET_DIAG, request):
            kind = string(table(body, DIAG_MESSAGE).get(DIAG_CONG, b''))
            if kind in kinds:
                found.append(holder('', 'netlink INET_DIAG_CONG', kind='congestion control', control=kind,
                                    inode=struct.unpack_from('=I', body, DIAG_MESSAGE - 4)[0]))
    return found


# IPsec


def _states(types: Set[str], net: Network, ask: Ask, root: str) -> Found:
    """``types``: FAMILY-PROTOCOL, as in the module's alias ``xfrm-type-2-50``."""
    return [entry for entry in states(net, ask, root) if entry['type'] in types]


def states(net: Network, ask: Ask, root: str) -> Found:
    """Every IPsec state (struct xfrm_usersa_info in include/uapi/linux/xfrm.h), with its type and algorithms."""
    if not has_code(root, 'xfrm_user'):
        raise KmodError('list IPsec states', 'xfrm_user is not loaded, which lists them')
    found = []
    for body in ask(netlink.XFRM, GETSA, b''):
        if len(body) < SA:
            continue
        spi, protocol = struct.unpack_from('>IB', body, 72)
        family, = struct.unpack_from('=H', body, 212)
        size = 4 if family == socket.AF_INET else 16
        ends = [socket.inet_ntop(family, body[at:at + size]) for at in (80, 56)]
        values = table(body, SA)
        what = '%s src %s dst %s spi 0x%08x' % (PROTOCOLS.get(protocol, protocol), ends[0], ends[1], spi)
        command = 'src %s dst %s proto %s spi 0x%x' % (ends[0], ends[1], PROTOCOLS.get(protocol, protocol), spi)
        found.append(holder(f'IPsec state {what}{place(net)}', 'netlink XFRM_MSG_GETSA',
                            f'{net.enter}ip xfrm state delete {command}', kind='IPsec state',
                            type='%d-%d' % (family, protocol),
                            algorithms=[string(values[key]) for key in ALGORITHMS if key in values]))
    return found
