# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules of the legacy iptables and ip6tables use an extension, by getsockopt in the namespace it is run in.

include/uapi/linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h, netfilter/x_tables.h.
"""

import ctypes
import os
import socket
import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.entry import Found, holder
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.networks import Network, NotAll, place
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import lines, quoted

GET_INFO, GET_ENTRIES = 64, 65
# struct ipt_getinfo: name, valid_hooks, hook_entry[5], underflow[5], num_entries, size
INFO = struct.Struct('=32sI5I5III')
HOOKS = ('PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING')
EXTENSION = struct.Struct('=H29sB')
MOST_BYTES = 1 << 26
TRIES = 3


class Version(NamedTuple):
    """How one of the two is asked; how long its struct ipt_entry is, and where in it target_offset stands."""

    command: str
    family: int
    level: int
    entry: int
    offsets: int
    names: str


VERSIONS = {4: Version('iptables', 2, 0, 112, 88, 'ip_tables_names'),
            6: Version('ip6tables', 10, 41, 168, 140, 'ip6_tables_names')}
# chain, number in it, and the matches and target: name and data of each
Entry = Tuple[str, int, List[Tuple[str, bytes]]]
# version, table -> valid hooks, the offset of each hook's first entry, and the entries
Get = Callable[[Version, str], Tuple[int, Tuple[int, ...], bytes]]


def find(extensions: Set[str], helpers: Set[str], tables: Dict[int, Set[str]], net: Network, root: str,
         get: Optional[Get] = None) -> Found:
    """Rules with a match or target of ``extensions``, or a conntrack helper of ``helpers``; and, of ``tables``, those
    that have any rule: 4 and 6 each name the tables of the module itself.

    Rules are listed from the last to the first: each deletion leaves the numbers of those before it.
    """
    found: Found = []
    unread: List[str] = []
    for number, version in sorted(VERSIONS.items()):
        # A table that is not listed there has no code loaded yet: to ask for it would load it.
        for name in lines(root, ('proc/self/net/' if os.path.realpath(root) == '/' else 'proc/net/') + version.names):
            if not name:
                continue
            try:
                hooks, starts, entries = (get or ask)(version, name)
                parsed = list(parse(entries, version, hooks, starts))
            except (KmodError, OSError) as error:
                unread.append(f'{version.command} -t {name}: {error}')
                continue
            command = '{}{} -t {}'.format(net.enter, _tool(version, root), quoted(name))
            # The kernel counts a reference once there are more entries than an empty table has.
            if name in tables.get(number, ()) and len(parsed) > bin(hooks).count('1') + 1:
                found.append(holder(f'rules or chains in the table {name} of {version.command}{place(net)}',
                                    'IPT_SO_GET_ENTRIES', f'{command} -F && {command} -X', kind='iptables rules'))
            for chain, position, why in reversed(list(_rules(parsed, extensions, helpers))):
                found.append(holder('rule %d of chain %s in the table %s of %s (%s)%s' % (
                    position, chain, name, version.command, why, place(net)), 'IPT_SO_GET_ENTRIES',
                    '%s -D %s %d' % (command, quoted(chain), position), kind='iptables rule'))
    if unread:
        raise NotAll(found, '; '.join(unread))
    return found


def _tool(version: Version, root: str) -> str:
    """Where both are installed the plain name may be that of nf_tables, which does not see these rules."""
    legacy = version.command + '-legacy'
    return legacy if os.path.exists(os.path.join(root, 'usr/sbin', legacy)) else version.command


def parse(entries: bytes, version: Version, hooks: int, starts: Tuple[int, ...]) -> Iterator[Entry]:
    """Each entry; number 0 is no rule."""
    first = {starts[hook]: name for hook, name in enumerate(HOOKS) if hooks >> hook & 1}
    at, chain, position = 0, '', 0
    while at + version.entry <= len(entries):
        target_offset, size = struct.unpack_from('=HH', entries, at + version.offsets)
        if size < version.entry or not version.entry <= target_offset <= size - EXTENSION.size:
            raise KmodError('read the tables of ' + version.command, 'an entry has no end')
        if at in first:
            chain, position = first[at], 0
        target = _extension(entries, at + target_offset)
        if target[0] == 'ERROR':
            # It heads a chain of the user's, or ends the table.
            chain, position = target[1].split(b'\0', 1)[0].decode('utf-8', 'backslashreplace'), 0
            yield chain, 0, []
        else:
            position += 1
            yield chain, position, list(_matches(entries, at + version.entry, at + target_offset)) + [target]
        at += size


def _matches(entries: bytes, at: int, end: int) -> Iterator[Tuple[str, bytes]]:
    while at + EXTENSION.size <= end:
        size = struct.unpack_from('=H', entries, at)[0]
        yield _extension(entries, at)
        if size < EXTENSION.size:
            return
        at += size


def _extension(entries: bytes, at: int) -> Tuple[str, bytes]:
    if at + EXTENSION.size > len(entries):
        return '', b''
    size, name, _revision = EXTENSION.unpack_from(entries, at)
    return name.split(b'\0', 1)[0].decode('utf-8', 'backslashreplace'), entries[at + EXTENSION.size:at + size]


def _rules(parsed: List[Entry], extensions: Set[str], helpers: Set[str]) -> Iterator[Tuple[str, int, str]]:
    for chain, position, used in parsed:
        for name, data in used:
            if name in extensions:
                yield chain, position, name
                break
            if name == 'CT' and any(helper.encode() + b'\0' in data for helper in helpers):
                yield chain, position, 'a conntrack helper'
                break


def ask(version: Version, table: str) -> Tuple[int, Tuple[int, ...], bytes]:
    """A table of the kernel, in the network namespace of this process. Raises KmodError or OSError."""
    with socket.socket(version.family, socket.SOCK_RAW, 255) as channel:
        for _try in range(TRIES):
            answer = INFO.unpack(_getsockopt(channel.fileno(), version.level, GET_INFO, INFO.size,
                                             INFO.pack(table.encode()[:31], *[0] * 13)))
            size = answer[13]
            if size > MOST_BYTES:
                raise KmodError('read the table ' + table, 'it has %d bytes' % size)
            head = struct.pack('=32sI4x', table.encode()[:31], size)
            try:
                found = _getsockopt(channel.fileno(), version.level, GET_ENTRIES, len(head) + size, head)
            except BlockingIOError:  # EAGAIN: it has grown or shrunk meanwhile
                continue
            return answer[1], answer[2:7], found[len(head):]
    raise KmodError('read the table ' + table, 'it changes faster than it can be read', 'Try again')


def _getsockopt(descriptor: int, level: int, option: int, size: int, head: bytes) -> bytes:
    """getsockopt(2) that says in the buffer what it asks for, as Python's own cannot. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(head, size)
    length = ctypes.c_uint(size)
    if libc.getsockopt(descriptor, level, option, buffer, ctypes.byref(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw
