# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules, chains and sets use a netfilter module: nf_tables and ipset by netlink, in the namespace it is run in.

Part of :mod:`find_holders`; the legacy tables are read by :mod:`xtables`. ``ask`` is :func:`netlink.dump`.
"""

import os
import re
import struct
from typing import Dict, Iterable, Iterator, List, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import netlink, xtables
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.entry import Found, holder
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.netlink import (
    Ask,
    attribute,
    attributes,
    string,
    table,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.networks import Network, Reader, place
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import ending, has_code, lines, quoted
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Holder

# include/uapi/linux/netfilter/nf_tables.h: NFNL_SUBSYS_NFTABLES is 10, the message its lower byte
GETTABLE, GETCHAIN, GETRULE, GETOBJ, GETFLOWTABLE = 0xA01, 0xA04, 0xA07, 0xA13, 0xA17
NFGENMSG = 4
FAMILIES = {1: 'inet', 2: 'ip', 3: 'arp', 5: 'netdev', 7: 'bridge', 10: 'ip6'}
OBJECTS = {1: 'counter', 2: 'quota', 3: 'ct helper', 4: 'limit', 5: 'ct count', 6: 'tunnel', 7: 'ct timeout',
           8: 'secmark', 9: 'ct expectation', 10: 'synproxy'}
CT_HELPER = 3
# Expressions with expressions of their own: dynset.
WITHIN = {'dynset': (7, 10)}
# Modules without aliases that tell, as older kernels have them: the end of the name is the family.
OF_FAMILY = re.compile(r'(.+)_(inet|ipv4|ipv6|netdev|bridge|arp)\Z')
FAMILY_NAMES = {'inet': 1, 'ipv4': 2, 'arp': 3, 'netdev': 5, 'bridge': 7, 'ipv6': 10}
# The loggers are taken by who logs.
LOGGERS = {'nfnetlink_log': {'NFLOG'}}

# include/uapi/linux/netfilter/ipset/ip_set.h: NFNL_SUBSYS_IPSET is 6
IPSET_LIST, IPSET_PROTOCOL, IPSET_HEADERS = 0x607, 6, 4

SERVICES = {'TCP': '-t', 'UDP': '-u', 'SCTP': '--sctp-service', 'FWM': '-f'}

Wanted = Set[Tuple[int, str]]


def readers(names: Iterable[str]) -> List[Reader]:
    """One for each kind that a module of these names can be of."""
    names = list(names)
    own = names[0] if names else ''
    chosen: List[Reader] = []
    extensions = ending(names, 'xt_', 'ipt_', 'ip6t_')
    helpers = ending(names, 'nfct-helper-') or ending([own], 'nf_conntrack_')
    if own.startswith(('nf_log_', 'nf_logger', 'nfnetlink_log')):
        extensions |= LOGGERS.get(own, {'LOG'})
    legacy = {4: ending([own], 'iptable_'), 6: ending([own], 'ip6table_')}
    if extensions or helpers or legacy[4] or legacy[6]:
        chosen.append(('iptables rules', lambda net, _ask, root: xtables.find(extensions, helpers, legacy, net, root)))
    sought = Sought(own, names, extensions, helpers)
    if sought:
        chosen.append(('nf_tables', lambda net, ask, root: _nf_tables(sought, net, ask, root)))
    sets = ending(names, 'ip_set_')
    if sets:
        chosen.append(('ipsets', lambda net, ask, _root: _sets(sets, net, ask)))
    if own.startswith('ip_vs'):
        chosen.append(('virtual servers', lambda net, _ask, root: _virtual_servers(own, net, root)))
    return chosen


# nf_tables


class Sought:
    """What of nf_tables a module brings: expressions, chain types, objects, each with its family (0: of every one)."""

    def __init__(self, own: str, names: List[str], extensions: Set[str], helpers: Set[str]) -> None:
        self.extensions, self.helpers = extensions, helpers
        self.expressions = self._of(own, names, 'nft-expr-', 'nft_')
        self.chains = self._of(own, names, 'nft-chain-', 'nft_chain_')
        self.objects = {int(kind) for kind in ending(names, 'nft-obj-') if kind.isdigit()}
        self.flow_tables = own.startswith('nf_flow_table') and own != 'nf_flow_table'
        self.everything = own == 'nf_tables'
        if own.startswith(('nf_log_', 'nfnetlink_log')):
            self.expressions.add((0, 'log'))

    @staticmethod
    def _of(own: str, names: List[str], alias: str, prefix: str) -> Wanted:
        found: Wanted = set()
        for name in ending(names, alias):
            family, dash, kind = name.partition('-')
            found.add((int(family), kind) if dash and family.isdigit() else (0, name))
        if not found and own.startswith(prefix):
            short = own[len(prefix):]
            of_family = OF_FAMILY.match(short)
            found.add((FAMILY_NAMES[of_family.group(2)], of_family.group(1)) if of_family else (0, short))
        return found

    def __bool__(self) -> bool:
        return bool(self.extensions or self.helpers or self.expressions or self.chains or self.objects or
                    self.flow_tables or self.everything)

    def why(self, family: int, expressions: bytes) -> str:
        """Which of a rule's expressions is the module's; '' where none is."""
        for name, data in _expressions(expressions):
            if name in ('match', 'target') and string(table(data).get(1, b'')) in self.extensions:
                return '{} {}'.format(name, string(table(data)[1]))
            if (0, name) in self.expressions or (family, name) in self.expressions:
                return f'expression {name}'
            if name == 'target' and any(helper.encode() + b'\0' in data for helper in self.helpers):
                return 'a conntrack helper'
        return ''


def _expressions(data: bytes) -> Iterator[Tuple[str, bytes]]:
    """Name and data of each expression, and of those within it."""
    for _element, expression in attributes(data):
        yield from _expression(expression)


def _expression(expression: bytes) -> Iterator[Tuple[str, bytes]]:
    values = table(expression)
    name, data = string(values.get(1, b'')), values.get(2, b'')
    yield name, data
    one, many = WITHIN.get(name, (0, 0))
    for kind, inner in attributes(data) if one else ():
        if kind == one:
            yield from _expression(inner)
        elif kind == many:
            yield from _expressions(inner)


def _nf_tables(sought: Sought, net: Network, ask: Ask, root: str) -> Found:
    if not has_code(root, 'nf_tables'):
        return []
    found: Found = []
    if sought.everything:
        for family, values in _listed(GETTABLE, ask):
            label = _label(family, values, 1)
            found.append(_nft(f'table {label}', f'delete table {label}', net, 'NFT_MSG_GETTABLE'))
        return found
    if sought.expressions or sought.extensions or sought.helpers:
        found += _rules(sought, net, ask)
    if sought.objects or sought.helpers:
        for family, values in _listed(GETOBJ, ask):
            kind = struct.unpack('>I', values[3])[0] if len(values.get(3, b'')) == 4 else 0
            is_helper = kind == CT_HELPER and any(attribute(1, helper.encode() + b'\0') in values.get(4, b'')
                                                  for helper in sought.helpers)
            if kind in sought.objects or is_helper:
                label = '{} {}'.format(OBJECTS.get(kind, 'object'), _label(family, values, 1, 2))
                found.append(_nft(label, f'delete {label}', net, 'NFT_MSG_GETOBJ'))
    if sought.flow_tables:
        for family, values in _listed(GETFLOWTABLE, ask):
            label = 'flowtable ' + _label(family, values, 1, 2)
            found.append(_nft(label, f'delete {label}', net, 'NFT_MSG_GETFLOWTABLE'))
    for family, values in _listed(GETCHAIN, ask) if sought.chains else ():
        kind = string(values.get(7, b''))
        if (0, kind) in sought.chains or (family, kind) in sought.chains:
            label = 'chain ' + _label(family, values, 1, 3)
            found.append(_nft(f'{label} of type {kind}', f'flush {label}; delete {label}', net, 'NFT_MSG_GETCHAIN'))
    return found


def _rules(sought: Sought, net: Network, ask: Ask) -> Found:
    found = []
    for family, values in _listed(GETRULE, ask):
        why = sought.why(family, values.get(4, b''))
        if why:
            label = _label(family, values, 1, 2)
            handle = struct.unpack('>Q', values[3])[0] if len(values.get(3, b'')) == 8 else 0
            found.append(_nft('rule %d of chain %s (%s)' % (handle, label, why),
                              'delete rule %s handle %d' % (label, handle), net, 'NFT_MSG_GETRULE'))
    return found


def _listed(message: int, ask: Ask) -> Iterator[Tuple[int, Dict[int, bytes]]]:
    for body in ask(netlink.NETFILTER, message, b'\0' * NFGENMSG):
        yield body[0] if body else 0, table(body, NFGENMSG)


def _label(family: int, values: Dict[int, bytes], *keys: int) -> str:
    return ' '.join([FAMILIES.get(family, str(family))] + [string(values.get(key, b'')) for key in keys])


def _nft(what: str, command: str, net: Network, evidence: str) -> Holder:
    return holder(f'nf_tables {what}{place(net)}', f'netlink {evidence}', f'{net.enter}nft {quoted(command)}',
                  kind='nf_tables')


# ipset, IP virtual servers


def _sets(types: Set[str], net: Network, ask: Ask) -> Found:
    """Sets whose type is the module's: ``hash:ip`` of the alias ``ip_set_hash:ip``."""
    request = (b'\0' * NFGENMSG + attribute(1, struct.pack('=B', IPSET_PROTOCOL)) +
               attribute(6 | 0x4000, struct.pack('>I', IPSET_HEADERS)))
    found = []
    for body in ask(netlink.NETFILTER, IPSET_LIST, request):
        values = table(body, NFGENMSG)
        name, kind = string(values.get(2, b'')), string(values.get(3, b''))
        if kind in types or re.sub('[:,]', '_', kind) in types or kind.replace(':', '_').replace(',', '') in types:
            found.append(holder(f'set {name} of type {kind}{place(net)}', 'netlink IPSET_CMD_LIST',
                                f'{net.enter}ipset destroy {quoted(name)}', kind='ipset'))
    return found


def _virtual_servers(own: str, net: Network, root: str) -> Found:
    """The services in /proc/net/ip_vs (net/netfilter/ipvs/ip_vs_ctl.c): ``TCP  0A000001:0050 rr``."""
    found = []
    for line in lines(root, 'proc/self/net/ip_vs' if os.path.realpath(root) == '/' else 'proc/net/ip_vs'):
        fields = line.split()
        if len(fields) < 3 or fields[0] not in SERVICES or own not in ('ip_vs', 'ip_vs_' + fields[2]):
            continue
        option = SERVICES[fields[0]]
        service = str(int(fields[1], 16)) if fields[0] == 'FWM' else _service(fields[1])
        found.append(holder(f'virtual server {fields[0]} {service}{place(net)}', '/proc/net/ip_vs',
                            f'{net.enter}ipvsadm -D {option} {service}', kind='virtual server'))
    return found


def _service(text: str) -> str:
    """``10.0.0.1:80`` of ``0A000001:0050``; what is IPv6 stands there as it is."""
    address = re.match(r'([0-9A-F]{8}):([0-9A-F]{4})\Z', text)
    if not address:
        host, _colon, port = text.rpartition(':')
        return '%s:%d' % (host, int(port, 16)) if re.match('[0-9A-F]{4}\\Z', port) else text
    numbers = bytes.fromhex(address.group(1))
    return '%s:%d' % ('.'.join('%d' % number for number in numbers), int(address.group(2), 16))
