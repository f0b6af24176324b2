# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leftovers that are told by a pointer into the module that was found: what holds it is taken back."""

import struct
from typing import Callable, Dict, Iterator, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import (
    Known,
    dentry_name,
    leftover,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.queued import of_work
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover

# include/uapi/linux/magic.h
DEBUGFS_MAGIC = 0x64626720
# enum kernfs_node_flag in include/linux/kernfs.h
KERNFS_FILE = 2


class OfHits:
    """Reads what each hit is part of."""

    def __init__(self, memory: KernelMemory, symbols: Symbols, threads: Callable[[], Dict[int, int]]) -> None:
        """``threads``: the process of each struct kthread."""
        self._memory, self._symbols, self._threads = memory, symbols, threads

    def of(self, known: Known) -> Iterator[Leftover]:
        readers: Dict[str, Callable[[Known, int, int], Optional[Leftover]]] = {
            'proc_dir_entry': self._proc, 'dentry': self._dentry, 'debugfs_inode_info': self._debugfs_inode,
            'kernfs_node': self._kernfs, 'work_struct': self._work, 'timer_list': self._timer,
            'ctl_table_header': self._sysctl, 'driver_private': self._driver, 'kthread': self._thread,
        }
        for hit in known.hits:
            name, _dot, member = hit['what'].partition('.')
            place = int(hit['address'], 16)
            if name in readers and member:
                try:
                    found = readers[name](known, place - self._memory.btf.offset(name, member), place)
                except KmodError:
                    continue
                if found:
                    yield found

    def _proc(self, _known: Known, entry: int, place: int) -> Optional[Leftover]:
        kcore = self._memory.kcore
        name = kcore.text(kcore.u64(entry + self._memory.btf.offset('proc_dir_entry', 'name')))
        return leftover('proc', f'/proc file {name}', entry, place)

    def _dentry(self, _known: Known, dentry: int, place: int) -> Optional[Leftover]:
        types, kcore = self._memory.btf, self._memory.kcore
        superblock = kcore.u64(dentry + types.offset('dentry', 'd_sb'))
        if kcore.u64(superblock + types.offset('super_block', 's_magic')) != DEBUGFS_MAGIC:
            return None
        return leftover('debugfs', f'debugfs file {dentry_name(self._memory, dentry)}', dentry, place)

    def _debugfs_inode(self, known: Known, info: int, place: int) -> Optional[Leftover]:
        types = self._memory.btf
        first = info + types.offset('debugfs_inode_info', 'vfs_inode') + types.offset('inode', 'i_dentry')
        alias = self._memory.kcore.u64(first)
        return self._dentry(known, alias - types.first_offset('dentry', 'd_u', 'd_alias'), place) if alias else None

    def _kernfs(self, known: Known, node: int, place: int) -> Optional[Leftover]:
        types, kcore = self._memory.btf, self._memory.kcore
        at = {member: types.offset('kernfs_node', member) for member in ('priv', 'name')}
        if place != node + at['priv'] or not self._is_file(node):
            return None
        above = kcore.u64(node + types.first_offset('kernfs_node', 'parent', '__parent'))
        kobject = kcore.u64(above + at['priv'])
        if kcore.u64(kobject + types.offset('kobject', 'sd')) != above or known.has(kobject):
            return None
        name, attribute = kcore.text(kcore.u64(node + at['name'])), kcore.u64(place)
        return leftover('sysfs_file', f'sysfs attribute {name}', kobject, place, other=attribute)

    def _is_file(self, node: int) -> bool:
        flags = node + self._memory.btf.offset('kernfs_node', 'flags')
        return bool(struct.unpack('<H', self._memory.kcore.read(flags, 2))[0] & KERNFS_FILE)

    def _work(self, known: Known, work: int, _place: int) -> Optional[Leftover]:
        return of_work(known, work, self._memory, self._symbols)

    def _timer(self, known: Known, timer: int, place: int) -> Optional[Leftover]:
        what = 'timer ' + self._symbols.within(known.name, self._memory.kcore.u64(place))
        return leftover('timer', what, timer, place)

    def _sysctl(self, _known: Known, header: int, place: int) -> Optional[Leftover]:
        kcore, table = self._memory.kcore, self._memory.kcore.u64(place)
        name = kcore.text(kcore.u64(table + self._memory.btf.offset('ctl_table', 'procname')))
        return leftover('sysctl', f'sysctl {name}', header, place)

    def _driver(self, _known: Known, _private: int, place: int) -> Optional[Leftover]:
        kcore, driver = self._memory.kcore, self._memory.kcore.u64(place)
        name = kcore.text(kcore.u64(driver + self._memory.btf.offset('device_driver', 'name')))
        return leftover('driver', f'driver {name}', driver, place)

    def _thread(self, _known: Known, kthread: int, place: int) -> Optional[Leftover]:
        pid = self._threads().get(kthread)
        if not pid:
            return None
        return leftover('thread', f'kernel thread (pid {pid})', pid, place, other=kthread)
