# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which module an open socket belongs to, and the descriptors that wait in unix sockets, in kernel memory.

struct socket (include/linux/net.h), struct sock (include/net/sock.h), net/unix/af_unix.c.
"""

import array
import re
import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import btf, kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory

AF_UNIX = 1
TCP_LISTEN = 10  # include/net/tcp_states.h, of unix sockets too
# SCM_MAX_FD in include/net/scm.h
MOST_SENT = 253
LARGEST_SOCK = 1 << 14

SOCKET = {'file': ('socket', 'file'), 'ops': ('socket', 'ops'), 'sk': ('socket', 'sk')}
SOCK = {'prot': ('sock_common', 'skc_prot'), 'family': ('sock_common', 'skc_family'),
        'state': ('sock_common', 'skc_state'), 'obj_size': ('proto', 'obj_size')}
QUEUE = {'queue': ('sock', 'sk_receive_queue'), 'cb': ('sk_buff', 'cb'), 'fp': ('unix_skb_parms', 'fp'),
         'count': ('scm_fp_list', 'count'), 'files': ('scm_fp_list', 'fp')}
# Members of what a TCP socket is, each with the operations that it leads to.
CALLED = {'icsk_ca_ops': 'tcp_congestion_ops.owner', 'icsk_ulp_ops': 'tcp_ulp_ops.owner'}


class Evidence(NamedTuple):
    """What shows that something is the module's, and whether that counts a reference of it."""

    text: str
    counts: bool


class Owner:
    """A module as its users point to it: the address of its struct module, and the memory that is its own."""

    def __init__(self, address: int, ranges: Tuple[Tuple[int, int], ...] = ()) -> None:
        self.address, self.ranges = address, tuple(ranges)
        # Addresses of one part share all but their last three bytes or so: what to look for in a block of memory.
        tops = {struct.pack('<Q', value)[3:] for start, end in (*self.ranges, (address, address + 1))
                for value in range(start & ~0xFFFFFF, end, 1 << 24)}
        self._tops = re.compile(b'|'.join(re.escape(top) for top in sorted(tops)), re.DOTALL)

    def holds(self, pointer: int) -> bool:
        """Whether a pointer leads into the module."""
        return pointer == self.address or any(start <= pointer < end for start, end in self.ranges)

    def words(self, data: bytes) -> Iterator[Tuple[int, int]]:
        """Where in the bytes of a struct a pointer into the module is, and that pointer."""
        for match in self._tops.finditer(data):
            at = match.start() - 3
            if at >= 0 and at % 8 == 0:
                value, = struct.unpack_from('<Q', data, at)
                if self.holds(value):
                    yield at, value


class Sockets:
    """Looks at sockets. Raises KmodError where they cannot be read."""

    def __init__(self, memory: KernelMemory, owner: Owner, unix: Set[int]) -> None:
        self._memory, self._owner = memory, owner
        # Gets the files that are unix sockets: others can wait there.
        self._unix = unix
        self._kcore = memory.kcore
        self._socket = memory.once('socket', lambda types: btf.layout_of(types, SOCKET))
        self._sock = memory.once('sock', lambda types: btf.layout_of(types, SOCK))
        self._owners: Dict[Tuple[str, int], int] = {}
        self._sizes: Dict[int, int] = {}

    def evidence(self, file: int, socket: int) -> Optional[Evidence]:
        """Why the socket there, which is that of a struct file, is the module's; or None."""
        sk, operations = self._of_file(file, socket)
        protocol = self._protocol(file, sk) if sk else 0
        if self._names('proto_ops', operations):
            return Evidence('proto_ops.owner', True)
        if not sk:
            return Evidence('socket.ops', False) if self._owner.holds(operations) else None
        if self._names('proto', protocol):
            return Evidence('proto.owner', True)
        found = self._inside(sk, protocol)
        return found or (Evidence('socket.ops', False) if self._owner.holds(operations) else None)

    def _protocol(self, file: int, sk: int) -> int:
        first, last = sorted((self._sock['family'], self._sock['prot']))
        data = self._kcore.read(sk + first, last + 8 - first)
        if struct.unpack_from('<H', data, self._sock['family'] - first)[0] == AF_UNIX:
            self._unix.add(file)
        return kernel_lists.pointer(data, self._sock['prot'] - first)

    def _of_file(self, file: int, socket: int) -> Tuple[int, int]:
        """The struct sock of a socket and its operations. That it names its file shows that it is one."""
        back, operations, sk = (self._kcore.u64(socket + self._socket[key]) for key in ('file', 'ops', 'sk'))
        if back != file:
            raise KmodError('read a socket', 'its file is another')
        return sk, operations

    def _names(self, kind: str, operations: int) -> bool:
        """Whether a struct of operations names the module as its owner."""
        if operations and (kind, operations) not in self._owners:
            self._owners[kind, operations] = self._kcore.u64(operations + self._memory.btf.offset(kind, 'owner'))
        return self._owners.get((kind, operations)) == self._owner.address

    def _inside(self, sk: int, protocol: int) -> Optional[Evidence]:
        """A pointer into the module anywhere in the socket: its congestion control, its upper protocol, the type of an
        AF_ALG socket. What stands behind struct sock is the family's own, and taken with a reference.
        """
        types = self._memory.btf
        if protocol not in self._sizes:
            self._sizes[protocol] = self._kcore.u32(protocol + self._sock['obj_size']) if protocol else 0
        general = types.size('sock')
        size = self._sizes[protocol]
        if not general <= size <= LARGEST_SOCK:
            size = general
        data = self._kcore.read(sk, size)
        words = list(self._owner.words(data))
        if not words:
            return None
        members = {types.offset('inet_connection_sock', member): text for member, text in CALLED.items()}
        private = [at for at, _value in words if at >= general]
        if private:
            return Evidence(members.get(private[0], f'struct sock+{private[0]:#x}'), True)
        return Evidence(f'struct sock+{words[0][0]:#x}', False)

    def in_flight(self, file: int, socket: int) -> List[int]:
        """The files that were sent to a socket of AF_UNIX and not received (man 7 unix, SCM_RIGHTS)."""
        sk, _operations = self._of_file(file, socket)
        return self._sent_to(sk, set()) if sk else []

    def _sent_to(self, sk: int, seen: Set[int]) -> List[int]:
        at = self._memory.once('queue', lambda types: btf.layout_of(types, QUEUE))
        if sk in seen or len(seen) > kernel_lists.MOST:
            return []
        seen.add(sk)
        listens = self._kcore.read(sk + self._sock['state'], 1)[0] == TCP_LISTEN
        found = []
        # The links are the first members, of the head as of each buffer.
        for buffer, data in kernel_lists.ring(self._kcore, sk + at['queue'], 0, at['cb'] + at['fp'] + 8,
                                              'the queue of a unix socket'):
            sent = kernel_lists.pointer(data, at['cb'] + at['fp'])
            if listens:
                # Who asked to be connected and was not accepted yet has a socket of its own, and sent to that.
                waiting = self._kcore.u64(buffer + self._memory.btf.offset('sk_buff', 'sk'))
                found += self._sent_to(waiting, seen) if waiting else []
            elif sent:
                count, = struct.unpack('<h', self._kcore.read(sent + at['count'], 2))
                if not 0 <= count <= MOST_SENT:
                    raise KmodError('read descriptors in flight', 'a message has %d' % count)
                found += array.array('Q', self._kcore.read(sent + at['files'], 8 * count))
        return [address for address in found if address]
