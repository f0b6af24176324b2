# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every network namespace of the host, and a question asked in each of them, by setns(2) in a child with a deadline."""

import ctypes
import os
import re
from typing import Callable, Dict, List, NamedTuple, Tuple, TypeVar

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.entry import Found
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.netlink import Ask
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import link_name, names, numbers, quoted
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact

CLONE_NEWNET = 0x40000000
SECONDS = 10.0
# A host of containers has some hundred.
MOST = 2000
NAMED = 'run/netns'
T = TypeVar('T')


class Network(NamedTuple):
    """A network namespace: its file below the root directory; the words before a command that is to run in it.

    ``files`` is where its /proc/net is, below the root directory; that of a namespace without a process is nowhere.
    """

    file: str
    enter: str
    files: str


# What is looked for, and how that is found.
Reader = Tuple[str, Callable[[Network, Ask, str], Found]]


class NotAll(KmodError):
    """Something was found, though not all could be looked at: ``found`` is what."""

    def __init__(self, found: Found, why: str) -> None:
        super().__init__('list all', why)
        self.found = found


def networks(root: str = '/') -> List[Network]:
    """This process's own network namespace first, then each other by its first process, then those with a name alone.

    One that is held by an open file or a bind mount elsewhere alone is not found.
    """
    own = link_name(os.path.join(root, 'proc/self/ns/net')) or link_name(os.path.join(root, 'proc/1/ns/net'))
    found: Dict[str, Network] = {own or '': Network('', '', 'proc/net')}
    for pid in numbers(root, 'proc'):
        namespace = link_name(os.path.join(root, 'proc/%d/ns/net' % pid))
        if namespace is not None and namespace not in found:
            found[namespace] = Network('proc/%d/ns/net' % pid, 'nsenter -t %d -n ' % pid, 'proc/%d/net' % pid)
    for name in names(root, NAMED):
        try:
            inode = os.stat(os.path.join(root, NAMED, name)).st_ino
        except OSError:
            continue
        namespace = 'net:[%d]' % inode
        if namespace not in found:
            found[namespace] = Network(f'{NAMED}/{name}', 'nsenter --net={} '.format(quoted(f'/{NAMED}/{name}')), '')
    return list(found.values())


def in_each(read: Callable[[Network], T], tried: str, root: str = '/', seconds: float = SECONDS) -> List[Fact[T]]:
    """What ``read`` returns in each network namespace, in the order of :func:`networks`; unavailable where it failed.

    ``read`` runs in a child (marshal carries its answer) where root is the host's own, else here and in no other
    namespace. In another namespace ``/proc/self/net`` and ``/proc/sys/net`` are that one's. ``tried`` completes
    "Cannot ...". Raises KmodError where there is no answer in time.
    """
    all_of_them = networks(root)
    if len(all_of_them) > MOST:
        raise KmodError(tried, 'there are %d network namespaces' % len(all_of_them))
    if os.path.realpath(root) != '/':
        return [_attempt(read, network) for network in all_of_them]
    return child_process.with_deadline(lambda: _in_each(read, all_of_them), seconds, tried)


def _in_each(read: Callable[[Network], T], all_of_them: List[Network]) -> List[Fact[T]]:
    return [_attempt(read, network, enters=bool(network.file)) for network in all_of_them]


def _attempt(read: Callable[[Network], T], network: Network, enters: bool = False) -> Fact[T]:
    try:
        if enters:
            _enter('/' + network.file)
        return read(network)
    except (KmodError, OSError) as error:
        return unavailable('{}{}'.format(unavailable(error)['unavailable'], place(network)))


def place(network: Network) -> str:
    """Of which network namespace something is, for the end of a phrase; '' of this process's own."""
    pid = re.match(r'nsenter -t (\d+)', network.enter)
    where = 'pid {}'.format(pid.group(1)) if pid else os.path.basename(network.file)
    return f' (in the network namespace of {where})' if network.enter else ''


def _enter(path: str) -> None:
    """setns(2). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(ctypes.c_int(descriptor), ctypes.c_int(CLONE_NEWNET)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)
