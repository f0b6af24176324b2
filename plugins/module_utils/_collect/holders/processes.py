# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the processes which /proc shows have open."""

import errno
import os
import re
from typing import Callable, Container, Dict, Iterator, List, NamedTuple, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import one_line
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import numbers, text, word

PROTOCOL_NAME = 'system.sockprotoname'


class Opened(NamedTuple):
    """A file that a process has open; path is its link in /proc/PID/fd, which leads to it."""

    pid: int
    fd: int
    path: str
    link: str


def command(pid: int, root: str) -> str:
    """The name of a process (its comm)."""
    return one_line(word(root, 'proc/%d/comm' % pid))


def name(pid: int, root: str) -> str:
    """``process cat (pid 412)``."""
    return 'process {} (pid {})'.format(command(pid, root), pid)


def opened(root: str, wanted: Callable[[str], bool]) -> Iterator[Opened]:
    """The open files whose link (``socket:[12]``, ``/dev/sda``) is wanted, of each process that can be looked at."""
    for pid in numbers(root, 'proc'):
        for descriptor in numbers(root, 'proc/%d/fd' % pid):
            link = os.path.join(root, 'proc/%d/fd/%d' % (pid, descriptor))
            try:
                path = text(os.readlink(link))
            except OSError:
                continue  # it was closed
            if wanted(path):
                yield Opened(pid, descriptor, path, link)


def on_device(root: str, number: str) -> List[int]:
    """The processes that are in a file system by its MAJOR:MINOR: a directory, a program or an open file of theirs."""
    found = []
    for pid in numbers(root, 'proc'):
        places = ['proc/%d/fd/%d' % (pid, descriptor) for descriptor in numbers(root, 'proc/%d/fd' % pid)]
        for thread in numbers(root, 'proc/%d/task' % pid) or [pid]:
            places += ['proc/%d/%s' % (thread, place) for place in ('cwd', 'root', 'exe')]
        if any(_device_of(os.path.join(root, place)) == number for place in places):
            found.append(pid)
    return found


def _device_of(path: str) -> str:
    try:
        device = os.stat(path).st_dev
    except OSError:
        return ''  # it is gone, or leads nowhere
    return '%d:%d' % (os.major(device), os.minor(device))


def sockets(root: str, inodes: Container[int]) -> Dict[int, Opened]:
    """Who has each of these sockets open: the first process, by the inode."""
    found: Dict[int, Opened] = {}
    for file in opened(root, lambda path: path.startswith('socket:[')):
        inode = int(re.sub(r'\D', '', file.path) or 0)
        if inode in inodes:
            found.setdefault(inode, file)
    return found


def sockets_of(root: str, protocols: Container[str]) -> List[Tuple[str, Opened]]:
    """The open sockets of these protocols (as /proc/net/protocols names them), whatever network namespace they are of.

    By the attribute system.sockprotoname of each (net/socket.c). Raises OSError where this kernel has none.
    """
    found = []
    for file in opened(root, lambda path: path.startswith('socket:[')):
        try:
            protocol = os.fsdecode(os.getxattr(file.link, PROTOCOL_NAME)).rstrip('\0')
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENXIO, errno.EBADF, errno.ESRCH):
                continue  # it was closed
            raise
        if protocol in protocols:
            found.append((protocol, file))
    return found
