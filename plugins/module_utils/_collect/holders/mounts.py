# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mounts of every mount namespace, and how each is taken away (proc(5), mountinfo).

Part of :mod:`find_holders`.
"""

import os
import re
from typing import Dict, Iterable, List, NamedTuple, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import processes
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.entry import Found, holder
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.owned import Superblock
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.process_names import ends_process
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import one_line, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import lines, link_name, numbers, quoted
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Holder

MOST_NAMED = 5
BY_TYPE = '/proc/PID/mountinfo'


class Mount(NamedTuple):
    """A line of /proc/PID/mountinfo; number is MAJOR:MINOR of the superblock, pid 0 this process's own namespace."""

    device: str
    path: str
    type: str
    number: str
    pid: int
    place: str
    groups: Dict[str, str]


class Placed(NamedTuple):
    """A mount, and the peer groups (shared, master) of the mount that it lies on."""

    mount: Mount
    parent: Dict[str, str]


def all_mounts(root: str) -> List[Placed]:
    """The mounts of every mount namespace, this process's own first, each other one by the first thread in it."""
    own = link_name(os.path.join(root, 'proc/self/ns/mnt')) or link_name(os.path.join(root, 'proc/1/ns/mnt'))
    first: Dict[str, int] = {}
    for pid in numbers(root, 'proc'):
        # A thread may have one of its own (unshare(2)); /proc/TID is there although no listing shows it.
        for thread in numbers(root, 'proc/%d/task' % pid) or [pid]:
            namespace = link_name(os.path.join(root, 'proc/%d/ns/mnt' % thread))
            if namespace is not None:
                first.setdefault(namespace, thread)
    found: List[Placed] = []
    for namespace in sorted(first, key=lambda name: (name != own, first[name])):
        pid = first[namespace]
        parsed = [parse(line, 0 if namespace == own else pid) for line in lines(root, 'proc/%d/mountinfo' % pid)]
        mounts = [mount for mount in parsed if mount]
        groups = {mount.place.split()[0]: mount.groups for mount in mounts}
        found.extend(Placed(mount, groups.get(mount.place.split()[1], {})) for mount in mounts)
    return found


def parse(line: str, pid: int = 0) -> Optional[Mount]:
    """One line of mountinfo: ``22 27 0:21 / /proc rw shared:5 - proc proc rw``; None where it is not one."""
    before, _dash, after = line.partition(' - ')
    fields, kind = before.split(' '), after.split(' ')
    if len(fields) < 6 or len(kind) < 2 or not fields[0] or not fields[1]:
        return None
    groups = {tag: group for tag, colon, group in (field.partition(':') for field in fields[6:]) if colon}
    return Mount(unescape(kind[1]), unescape(fields[4]), kind[0], fields[2], pid, ' '.join(fields[:2]), groups)


def unescape(text: str) -> str:
    """A name of /proc/PID/mountinfo or /proc/swaps, where a space is written as its number in octal, as it is."""
    return re.sub(r'\\([0-3][0-7]{2})', lambda match: chr(int(match.group(1), 8)), text)


def of_superblocks(superblocks: List[Superblock], root: str) -> Found:
    """The places where the superblocks (of :mod:`owned`) are mounted; one that is nowhere stands there without."""
    # Most modules have none: then the namespaces of all threads need not be read.
    found: Found = []
    mounts: List[Placed] = all_mounts(root) if superblocks else []
    for one in superblocks:
        places = once([placed for placed in mounts if placed.mount.number == one.number])
        here = [describe(mount, one.evidence, mounts) for mount in places]
        if not places:
            here = [_nowhere(one, root)]
        found.extend({**entry, 'counts': one.counts, 'active': not one.counts} for entry in here)
    return found


def _nowhere(one: Superblock, root: str) -> Holder:
    """A superblock that is mounted nowhere: who is in it keeps it, or a mount that lies on it."""
    pids = processes.on_device(root, one.number)
    who = ', used by {}'.format(', '.join(processes.name(pid, root) for pid in pids[:MOST_NAMED])) if pids else ''
    ends = [ends_process(pid, root) for pid in pids]
    return holder(f'file system {one.number} of type {one.type}, mounted in no namespace that can be seen{who}',
                  one.evidence, ' && '.join(dict.fromkeys(ends)) if all(ends) else '', device=one.number, type=one.type,
                  path=unavailable('it is mounted in no mount namespace'))


def of_types(types: Iterable[str], root: str) -> Found:
    """The mounts of file systems of these types."""
    mounts = all_mounts(root)
    wanted = [placed for placed in mounts if placed.mount.type.partition('.')[0].replace('-', '_') in types
              or placed.mount.type in types]
    return [describe(mount, BY_TYPE, mounts) for mount in once(wanted)]


def once(mounts: List[Placed]) -> List[Mount]:
    """Without the copies in other namespaces that go with it: an unmount reaches the peers and slaves of its parent."""
    kept: List[Placed] = []
    for placed in mounts:
        if not any(placed.mount[:4] == other.mount[:4] and 'shared' in other.parent and
                   other.parent['shared'] in (placed.parent.get('shared'), placed.parent.get('master'))
                   for other in kept):
            kept.append(placed)
    return [placed.mount for placed in kept]


def unmount(mount: Mount, mounts: List[Placed]) -> str:
    """The command that takes a mount away, with what is mounted below it; '' for a root directory."""
    if mount.path == '/':
        return ''
    below = mount.path.rstrip('/') + '/'
    deep = any(other.pid == mount.pid and other.path.startswith(below) for other, _parent in mounts)
    enter = 'nsenter -t %d -m ' % mount.pid if mount.pid else ''
    return '{}umount {}{}'.format(enter, '-R ' if deep else '', quoted(mount.path))


def name(mount: Mount) -> str:
    """``mount /mnt/data (in the mount namespace of pid 41)``."""
    where = ' (in the mount namespace of pid %d)' % mount.pid if mount.pid else ''
    return f'mount {mount.path}{where}'


def describe(mount: Mount, evidence: str, mounts: List[Placed]) -> Holder:
    """The mount as a holder; ``mounts`` are all that there are."""
    return holder(name(mount), evidence, unmount(mount, mounts), device=one_line(mount.device),
                  path=one_line(mount.path), type=mount.type)
