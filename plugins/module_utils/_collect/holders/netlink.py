# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel lists by netlink, in the network namespace of who asks (include/uapi/linux/netlink.h)."""

import errno
import os
import socket
import struct
import time
from typing import Callable, Dict, Iterator, List, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError

ROUTE, SOCK_DIAG, XFRM, NETFILTER = 0, 4, 6, 12
DUMP = 0x301  # NLM_F_REQUEST, NLM_F_ROOT, NLM_F_MATCH
INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
ERROR, DONE = 2, 3
HEADER = struct.Struct('=IHHII')
SECONDS = 5
# A router's tables of rules take some megabytes.
MOST_BYTES = 1 << 26
TRIES = 3

# family, message type, body -> the body of each message
Ask = Callable[[int, int, bytes], List[bytes]]


def dump(family: int, kind: int, body: bytes) -> List[bytes]:
    """The body of each message that a dump answers. Raises KmodError: there is no such family, it is refused, or torn.

    Asking a family that no code serves has the kernel load a module for it: the caller knows that it is served.
    """
    for _try in range(TRIES):
        bodies, is_whole = _dump(family, kind, body)
        if is_whole:
            return bodies
    raise KmodError(_tried(family), 'the list changes faster than it can be read', 'Try again')


def _tried(family: int) -> str:
    return 'list by netlink family %d' % family


def _dump(family: int, kind: int, body: bytes) -> Tuple[List[bytes], bool]:
    found: List[bytes] = []
    size, is_whole = 0, True
    deadline = time.monotonic() + SECONDS
    try:
        with socket.socket(getattr(socket, 'AF_NETLINK', 16), socket.SOCK_RAW, family) as channel:
            channel.settimeout(SECONDS)
            channel.send(HEADER.pack(HEADER.size + len(body), kind, DUMP, 1, 0) + body)
            while True:
                data = channel.recv(1 << 18)
                size += len(data)
                if size > MOST_BYTES or time.monotonic() > deadline:
                    raise KmodError(_tried(family), 'the list does not end')
                for answered, flags, part in messages(data):
                    is_whole = is_whole and not flags & INTERRUPTED
                    if answered == DONE:
                        return found, is_whole
                    if answered == ERROR:
                        number = -struct.unpack_from('=i', part)[0]
                        raise KmodError(_tried(family), os.strerror(number), errno=number)
                    found.append(part)
    except OSError as error:  # a time-out is one, and a family that is not there
        raise KmodError(_tried(family), error.strerror or str(error), errno=error.errno or 0) from error
    except struct.error as error:
        raise KmodError(_tried(family), 'the answer is torn') from error


def messages(data: bytes) -> Iterator[Tuple[int, int, bytes]]:
    """Type, flags and body of each message."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, _sequence, _port = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            return
        yield kind, flags, data[at + HEADER.size:at + length]
        at += (length + 3) & ~3


def attributes(data: bytes, start: int = 0) -> Iterator[Tuple[int, bytes]]:
    """Type and value of each attribute from ``start`` on; nested ones are the value of another."""
    at = start
    while at + 4 <= len(data):
        length, kind = struct.unpack_from('=HH', data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4:at + length]
        at += (length + 3) & ~3


def table(data: bytes, start: int = 0) -> Dict[int, bytes]:
    """The attributes by their type."""
    return dict(attributes(data, start))


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack('=HH', 4 + len(value), kind) + value + b'\0' * (-len(value) % 4)


def string(value: bytes) -> str:
    """A text attribute, or the text that a fixed field begins with."""
    return value.split(b'\0', 1)[0].decode('utf-8', 'backslashreplace')


def is_refused(error: KmodError) -> bool:
    """Whether the kernel was built without what was asked for."""
    return error.facts.get('errno') in (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)
