# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leftovers that no longer lead into the module, and that it keeps a pointer to: directories that are empty by now, a
class of devices. The fixed build could not make them again.

Nothing tells who made them. What has a name that the module does not know, or what anybody else has a pointer to, is
left, since it may be theirs.
"""

import contextlib
import struct
from typing import Dict, List

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers import debugfs
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.driver_core import DriverCore
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import (
    WORD,
    Found,
    Known,
    leftover,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.queued import Queued
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover

# include/uapi/linux/magic.h
PROC_SUPER_MAGIC = 0x9fa0
# include/uapi/linux/stat.h
S_IFMT, S_IFDIR = 0o170000, 0o040000
# Directories above each other.
DEEPEST = 16
# Of x86-64 and AArch64 with pages of 4 or 16 KB.
THREAD_SIZE = 16384


class Kept:
    """Reads what a module keeps a pointer to."""

    def __init__(self, memory: KernelMemory, symbols: Symbols, core: DriverCore, queued: Queued) -> None:
        self._memory, self._symbols, self._core, self._queued = memory, symbols, core, queued

    def _offset(self, name: str, member: str) -> int:
        return self._memory.btf.offset(name, member)

    def of(self, known: Known) -> List[Found]:
        """What only who made it has a use for, what holds nothing any more, and has a name of the module's.

        Where a module keeps the address of what is gone, something else may lie by now.
        """
        words = self._words(known)
        found = self._core.classes(words) + self._workqueues(words) + self._values(known)
        for address, place in words.items():
            for read in (self._proc, self._debugfs, self._kobject, self._core.platform_device):
                with contextlib.suppress(KmodError):
                    found += read(address, place)
        return [one for one in found if known.has_text(one.name, self._memory.kcore)]

    def its_own(self, known: Known, found: List[Found], held: Dict[int, List[int]]) -> List[Leftover]:
        """Those that nobody else has the address of; ``held``: where each stands in memory."""
        return [one.leftover for one in found if all(
            known.has(place) or place in one.places or self._is_the_kernels(place, one)
            for address in one.addresses() for place in held[address])]

    def _is_the_kernels(self, place: int, found: Found) -> bool:
        """Whether it is a pointer by which the kernel itself leads to what a user looks up."""
        return self._is_inode_of_proc(place) or self._is_directory_of(place, found.node)

    def _is_directory_of(self, place: int, node: int) -> bool:
        """Whether it is what a directory of sysfs says whose it is: the node, or one right below."""
        directory = place - self._offset('kernfs_node', 'priv')
        with contextlib.suppress(KmodError):
            above = self._memory.btf.first_offset('kernfs_node', 'parent', '__parent')
            return bool(node) and node in (directory, self._memory.kcore.u64(directory + above))
        return False

    def _is_inode_of_proc(self, place: int) -> bool:
        """Whether it is what a struct proc_inode, which is made of whatever is looked up, holds of its entry."""
        kcore, inode = self._memory.kcore, place - self._offset('proc_inode', 'pde') + self._offset(
            'proc_inode', 'vfs_inode')
        try:
            superblock = kcore.u64(inode + self._offset('inode', 'i_sb'))
            return kcore.u64(superblock + self._offset('super_block', 's_magic')) == PROC_SUPER_MAGIC
        except KmodError:
            return False

    def _words(self, known: Known) -> Dict[int, int]:
        """What its memory holds that may be a pointer to something else, and where. What the loader keeps in its struct
        module is not its own.
        """
        found: Dict[int, int] = {}
        of_loader = range(known.address, known.address + self._memory.btf.size('module'))
        for place, word in known.words(self._memory.kcore):
            if word >> 56 == 0xff and word % WORD == 0 and not known.has(word) and place not in of_loader:
                found.setdefault(word, place)
        return found

    def _proc(self, entry: int, place: int) -> List[Found]:
        """A directory below /proc's root that holds nothing."""
        kcore, at = self._memory.kcore, {member: self._offset('proc_dir_entry', member) for member in (
            'parent', 'mode', 'subdir', 'name', 'namelen')}
        root, above = self._symbols.data('proc_root')[0], entry
        for _level in range(DEEPEST):
            above = kcore.u64(above + at['parent'])
            if above == root:
                break
        else:
            return []
        mode = struct.unpack('<H', kcore.read(entry + at['mode'], 2))[0]
        name = kcore.text(kcore.u64(entry + at['name']))
        if mode & S_IFMT == S_IFDIR and not kcore.u64(entry + at['subdir']) and \
                len(name) == kcore.read(entry + at['namelen'], 1)[0]:
            return [Found(leftover('proc', f'/proc directory {name}', entry, place), name, set())]
        return []

    def _values(self, known: Known) -> List[Found]:
        """Files of debugfs that show a datum of the module, by functions of the kernel's own: debugfs_create_u32()."""
        found = []
        for hit in known.hits:
            if hit['what'] == 'inode.i_private':
                with contextlib.suppress(KmodError):
                    place = int(hit['address'], 16)
                    one = debugfs.of_inode(self._memory, place - self._offset('inode', 'i_private'), place)
                    found += [Found(one, debugfs.name(self._memory, one['address']), set())] if one else []
        return found

    def _debugfs(self, dentry: int, place: int) -> List[Found]:
        """A directory in debugfs that holds nothing."""
        kcore = self._memory.kcore
        mount = kcore.u64(self._symbols.data('debugfs_mount')[0])
        if not mount or kcore.u64(dentry + self._offset('dentry', 'd_sb')) != \
                kcore.u64(mount + self._offset('vfsmount', 'mnt_sb')):
            return []
        inode = kcore.u64(dentry + self._offset('dentry', 'd_inode'))
        mode = struct.unpack('<H', kcore.read(inode + self._offset('inode', 'i_mode'), 2))[0]
        below = dentry + self._memory.btf.first_offset('dentry', 'd_subdirs', 'd_children')
        is_hlist = self._memory.btf.has('dentry', 'd_children')
        if mode & S_IFMT == S_IFDIR and kcore.u64(below) == (0 if is_hlist else below):
            name = debugfs.name(self._memory, dentry)
            return [Found(leftover('debugfs', f'debugfs directory {name}', dentry, place), name, set())]
        return []

    def _kobject(self, kobject: int, place: int) -> List[Found]:
        """A directory that kobject_create_and_add() made, which holds nothing, and which nobody else has."""
        kcore = self._memory.kcore
        if kcore.u64(kobject + self._offset('kobject', 'ktype')) != self._symbols.data('dynamic_kobj_ktype')[0]:
            return []
        node = kcore.u64(kobject + self._offset('kobject', 'sd'))
        children = self._offset('kernfs_node', 'dir') + self._offset('kernfs_elem_dir', 'children')
        if node and not kcore.u64(node + children) and kcore.u32(kobject + self._offset('kobject', 'kref')) == 1:
            name = kcore.text(kcore.u64(kobject + self._offset('kobject', 'name')))
            return [Found(leftover('kobject', f'sysfs directory {name}', kobject, place), name, set(), node=node)]
        return []

    def _workqueues(self, words: Dict[int, int]) -> List[Found]:
        """Workqueues in which nothing waits and nothing runs."""
        found: List[Found] = []
        with contextlib.suppress(KmodError):
            for queue in self._queued.workqueues():
                if queue in words:
                    found += self._workqueue(queue, words[queue])
        return found

    def _workqueue(self, queue: int, place: int) -> List[Found]:
        kcore, size = self._memory.kcore, self._memory.btf.size('workqueue_struct')
        places = set(range(queue, queue + size, WORD))
        for of_pool in self._queued.pools_of(queue):
            if kcore.u32(of_pool + self._offset('pool_workqueue', 'nr_active')):
                return []
            link = of_pool + self._offset('pool_workqueue', 'pwqs_node')
            places.update((of_pool + self._offset('pool_workqueue', 'wq'), link, link + WORD))
        device, rescuer = (kcore.u64(queue + self._offset('workqueue_struct', member)) for member in (
            'wq_dev', 'rescuer'))
        places.update((device + self._offset('wq_device', 'wq'), rescuer + self._offset('worker', 'rescue_wq')))
        if rescuer:  # rescuer_thread() has it on its stack
            task = kcore.u64(rescuer + self._offset('worker', 'task'))
            stack = kcore.u64(task + self._offset('task_struct', 'stack'))
            places.update(range(stack, stack + THREAD_SIZE, WORD))
        name = kcore.text(queue + self._offset('workqueue_struct', 'name'))
        return [Found(leftover('workqueue', f'workqueue {name}', queue, place), name, places)]
