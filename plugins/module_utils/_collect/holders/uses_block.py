# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a module of the block layer: device-mapper targets, I/O schedulers, levels of md.

Part of :mod:`find_holders`.
"""

import fcntl
import os
import re
import struct
from typing import Callable, Iterator, List, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.disks import Disks
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.entry import Found, holder
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import ending, has_code, names, word

# include/uapi/linux/dm-ioctl.h
LIST_DEVICES, TABLE_STATUS = 2, 12
STATUS_TABLE, NOFLUSH, INACTIVE, BUFFER_FULL = 1 << 4, 1 << 11, 1 << 12, 1 << 8
DM_IOCTL = struct.Struct('=3I I I I i I I I Q 128s 129s 7x')
TARGET = struct.Struct('=QQiI16s')
# Modules that no target is named after, but a word of its table.
WORDS = ('round-robin', 'queue-length', 'service-time', 'historical-service-time', 'io-affinity', 'smq', 'mq',
         'cleaner', 'userspace')
# command, flags, name of the device -> the answer's data
AskMapper = Callable[[int, int, str], bytes]
SECONDS = 5.0


def find(module_names: List[str], root: str, ask: Optional[AskMapper] = None) -> Tuple[Found, List[str]]:
    """What uses a module of these names, its own first, and what could not be read."""
    found: Found = []
    unread: List[str] = []
    disks: Disks = Disks(root)
    targets = {name.replace('_', '-') for name in ending(module_names, 'dm_', 'dm-')} - {'mod', 'log'}
    if targets and has_code(root, 'dm_mod'):
        try:
            using = child_process.with_deadline(lambda: _mapped(targets, ask or ask_mapper), SECONDS,
                                                'list the device-mapper tables')
            found += [holder('device-mapper device {}, target {}{}'.format(name, target, _and(disks.told(disk))),
                             'DM_TABLE_STATUS', disks.end_with(disk), kind='device-mapper device', device=disk)
                      for disk, name, target in using]
        except (KmodError, OSError) as error:
            unread.append(f'device-mapper devices: {error}')
    found += _scheduled(module_names, root) + _arrays(module_names, disks)
    return found, unread


def _and(told: str) -> str:
    return f'; {told}' if told else ''


def _mapped(targets: Set[str], ask: AskMapper) -> List[Tuple[str, str, str]]:
    """Disk, name and target of each mapped device whose table, active or loaded, has one of the targets.

    Without the tables' parameters, among which there are keys, unless a word of them is what is sought.
    """
    found = []
    by_word = targets.intersection(WORDS)
    for disk, name in _devices(ask(LIST_DEVICES, 0, '')):
        for inactive in (0, INACTIVE):
            data = ask(TABLE_STATUS, NOFLUSH | inactive | (STATUS_TABLE if by_word else 0), name)
            matching = [kind for kind, parameters in _targets(data)
                        if kind in targets or by_word.intersection(parameters.split())]
            if matching:
                found.append((disk, name, matching[0]))
                break
    return found


def _devices(data: bytes) -> Iterator[Tuple[str, str]]:
    """The dm_name_list: device number, offset of the next one, name."""
    at = 0
    while at + 12 <= len(data):
        device, following = struct.unpack_from('=QI', data, at)
        if device:
            minor = device & 0xFF | device >> 12 & 0xFFF00
            yield 'dm-%d' % minor, data[at + 12:].split(b'\0', 1)[0].decode('utf-8', 'backslashreplace')
        if not following:
            return
        at += following


def _targets(data: bytes) -> Iterator[Tuple[str, str]]:
    """The dm_target_spec: the target's name, and what stands behind it; next counts from the first."""
    at = 0
    while at + TARGET.size <= len(data):
        _start, _length, _status, following, kind = TARGET.unpack_from(data, at)
        text = data[at + TARGET.size:].split(b'\0', 1)[0]
        yield kind.split(b'\0', 1)[0].decode('utf-8', 'backslashreplace'), text.decode('utf-8', 'backslashreplace')
        if following <= at:
            return
        at = following


def ask_mapper(command: int, flags: int, name: str) -> bytes:
    """An ioctl of /dev/mapper/control: the answer's data. Raises OSError."""
    size = 1 << 14
    while True:
        head = DM_IOCTL.pack(4, 0, 0, size, DM_IOCTL.size, 0, 0, flags, 0, 0, 0, os.fsencode(name)[:127], b'')
        buffer = bytearray(head + b'\0' * (size - len(head)))
        with open('/dev/mapper/control', 'rb', buffering=0) as control:
            fcntl.ioctl(control.fileno(), 3 << 30 | DM_IOCTL.size << 16 | 0xFD << 8 | command, buffer)
        answer = DM_IOCTL.unpack_from(buffer)
        if not answer[7] & BUFFER_FULL or size >= 1 << 24:
            count = answer[5] if command == TABLE_STATUS else 1
            return bytes(buffer[answer[4]:answer[3]]) if count else b''
        size *= 4


def _scheduled(module_names: List[str], root: str) -> Found:
    """Disks whose I/O scheduler is the module's: ``[bfq] none`` (block/elevator.c)."""
    own = {re.sub('[-_]iosched$', '', name).replace('_', '-') for name in module_names}
    found = []
    for disk in names(root, 'sys/block'):
        path = f'sys/block/{disk}/queue/scheduler'
        chosen = re.search(r'\[(\S+)\]', word(root, path))
        if chosen and chosen.group(1) in own and chosen.group(1) != 'none':
            other = 'noop' if ' noop' in ' ' + word(root, path) else 'none'
            found.append(holder(f'I/O scheduler {chosen.group(1)} of {disk}', '/' + path, f'echo {other} > /{path}',
                                kind='I/O scheduler', device=disk))
    return found


def _arrays(module_names: List[str], disks: Disks) -> Found:
    """Arrays whose level the module brings."""
    levels = ending(module_names, 'md-') | set(module_names[:1])
    found = []
    for disk in names(disks.root, 'sys/block'):
        level = word(disks.root, f'sys/block/{disk}/md/level')
        if level and level in levels:
            found.append(holder('array {} of level {}{}'.format(disk, level, _and(disks.told(disk))),
                                f'/sys/block/{disk}/md/level', disks.end_with(disk), kind='md array', device=disk))
    return found
