# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leftovers that are told by a pointer into the module that was found: what holds it is taken back."""

import struct
from typing import Callable, Dict, Iterator, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers import debugfs
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import Known, leftover
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.queued import of_work
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.task_structs import Task
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover

# enum kernfs_node_flag in include/linux/kernfs.h
KERNFS_FILE = 2


class OfHits:
    """Reads what each hit is part of."""

    def __init__(self, memory: KernelMemory, symbols: Symbols, threads: Callable[[], Dict[int, Task]]) -> None:
        """``threads``: the task of each struct kthread."""
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
        return debugfs.of_dentry(self._memory, dentry, place)

    def _debugfs_inode(self, _known: Known, info: int, place: int) -> Optional[Leftover]:
        return debugfs.of_inode(self._memory, info + self._memory.btf.offset('debugfs_inode_info', 'vfs_inode'), place)

    def _kernfs(self, known: Known, node: int, place: int) -> Optional[Leftover]:
        types, kcore = self._memory.btf, self._memory.kcore
        at = {member: types.offset('kernfs_node', member) for member in ('priv', 'name')}
        if place != node + at['priv'] or not self._is_file(node):
            return None
        above = kcore.u64(node + types.first_offset('kernfs_node', 'parent', '__parent'))
        kobject = kcore.u64(above + at['priv'])
        if known.has(kobject):
            return None
        if kcore.u64(kobject + types.offset('kobject', 'sd')) != above:
            return self._group(known, kobject, above, place)
        name, attribute = kcore.text(kcore.u64(node + at['name'])), kcore.u64(place)
        return leftover('sysfs_file', f'sysfs attribute {name}', kobject, place, other=attribute)

    def _group(self, known: Known, kobject: int, directory: int, place: int) -> Optional[Leftover]:
        """A directory of attributes right below that of a kobject, where all that it holds is the module's."""
        types, kcore = self._memory.btf, self._memory.kcore
        above = kcore.u64(directory + types.first_offset('kernfs_node', 'parent', '__parent'))
        children = directory + types.offset('kernfs_node', 'dir') + types.offset('kernfs_elem_dir', 'children')
        if kcore.u64(kobject + types.offset('kobject', 'sd')) != above:
            return None
        for child in kernel_lists.tree(self._memory, kcore.u64(children), 'the files of a directory'):
            node = child - types.offset('kernfs_node', 'rb')
            if not self._is_file(node) or not known.has(kcore.u64(node + types.offset('kernfs_node', 'priv'))):
                return None
        name = kcore.u64(directory + types.offset('kernfs_node', 'name'))
        return leftover('sysfs_group', f'sysfs attributes {kcore.text(name)}', kobject, place, other=name)

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

    def _driver(self, _known: Known, private: int, place: int) -> Optional[Leftover]:
        kcore, driver = self._memory.kcore, self._memory.kcore.u64(place)
        if kcore.u64(driver + self._memory.btf.offset('device_driver', 'p')) != private:
            return None  # a struct device_private looks alike
        name = kcore.text(kcore.u64(driver + self._memory.btf.offset('device_driver', 'name')))
        return leftover('driver', f'driver {name}', driver, place)

    def _thread(self, _known: Known, kthread: int, place: int) -> Optional[Leftover]:
        task = self._threads().get(kthread)
        if not task:
            return None
        return leftover('thread', f'kernel thread (pid {task.pid})', task.pid, place, other=kthread, more=task.address)
