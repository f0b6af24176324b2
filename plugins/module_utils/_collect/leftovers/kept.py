# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leftovers that no longer lead into the module, and that it keeps a pointer to: directories that are empty by now, a
class of devices. The fixed build could not make them again.

Nothing tells who made them. What anybody else has a pointer to is left, since it may be theirs.
"""

import contextlib
import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import (
    WORD,
    Known,
    dentry_name,
    leftover,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover

# include/uapi/linux/magic.h
PROC_SUPER_MAGIC = 0x9fa0
# include/uapi/linux/stat.h
S_IFMT, S_IFDIR = 0o170000, 0o040000
# Directories above each other.
DEEPEST = 16


# Where in memory that is in use each of some addresses stands; raises KmodError where not all could be read.
Holders = Callable[[List[int]], Dict[int, List[int]]]


class Found(NamedTuple):
    """A leftover, and the places where the kernel itself holds its address."""

    leftover: Leftover
    places: Set[int]


class Kept:
    """Reads what a module keeps a pointer to."""

    def __init__(self, memory: KernelMemory, symbols: Symbols, holders: Holders) -> None:
        self._memory, self._symbols, self._holders = memory, symbols, holders

    def _offset(self, name: str, member: str) -> int:
        return self._memory.btf.offset(name, member)

    def of(self, known: Known) -> Iterator[Leftover]:
        """Each is of a kind that only who made it has a use for, holds nothing any more, and is nobody else's."""
        words = self._words(known)
        found = self._classes(words)
        for address, place in words.items():
            for read in (self._proc, self._debugfs, self._kobject):
                with contextlib.suppress(KmodError):
                    found += read(address, place)
        held = self._holders(sorted({one.leftover['address'] for one in found})) if found else {}
        for one in found:
            if all(place in one.places or known.has(place) or self._is_inode_of_proc(place)
                   for place in held[one.leftover['address']]):
                yield one.leftover

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
            return [Found(leftover('proc', f'/proc directory {name}', entry, place), set())]
        return []

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
            what = f'debugfs directory {dentry_name(self._memory, dentry)}'
            return [Found(leftover('debugfs', what, dentry, place), set())]
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
            return [Found(leftover('kobject', f'sysfs directory {name}', kobject, place),
                          {node + self._offset('kernfs_node', 'priv')})]
        return []

    def _classes(self, words: Dict[int, int]) -> List[Found]:
        """A class that class_create() made, with the devices that device_create() made in it."""
        found: List[Found] = []
        with contextlib.suppress(KmodError):
            for private, address in self._all_classes():
                if address in words and self._is_made(address, 'class', 'class_release', 'class_create_release'):
                    found += self._class(private, address, words[address])
        return found

    def _all_classes(self) -> Iterator[Tuple[int, int]]:
        """The struct subsys_private and the struct class of each class (drivers/base/class.c)."""
        kset = self._memory.kcore.u64(self._symbols.data('class_kset')[0])
        link = self._offset('subsys_private', 'subsys') + self._offset('kset', 'kobj')
        link += self._offset('kobject', 'entry')
        of = self._offset('subsys_private', 'class')
        for private, _data in kernel_lists.ring(self._memory.kcore, kset + self._offset('kset', 'list'), link, 0,
                                                'class_kset'):
            yield private, self._memory.kcore.u64(private + of)

    def _is_made(self, address: int, name: str, member: str, by: str) -> bool:
        # Drivers of the kernel's own have functions of these names, too, which do the same.
        return self._memory.kcore.u64(address + self._offset(name, member)) in self._symbols.addresses(by)

    def _class(self, private: int, address: int, place: int) -> List[Found]:
        kcore = self._memory.kcore
        name = kcore.text(kcore.u64(address + self._offset('class', 'name')))
        places = {private + self._offset('subsys_private', 'class')}
        found: List[Leftover] = []
        for device in self._devices(private):
            number = kcore.u32(device + self._offset('device', 'devt'))
            if not number or not self._is_made(device, 'device', 'release', 'device_create_release'):
                return []  # somebody else's device is of this class
            kobject = device + self._offset('device', 'kobj')
            what = 'device %s of class %s' % (kcore.text(kcore.u64(kobject + self._offset('kobject', 'name'))), name)
            found.append(leftover('device', what, address, place, other=number))
            # The directory of the class below the device's parent is a class_dir (drivers/base/core.c).
            directory = kcore.u64(kobject + self._offset('kobject', 'parent')) - self._offset('class_dir', 'kobj')
            places.update((device + self._offset('device', 'class'), directory + self._offset('class_dir', 'class')))
        return [Found(one, places) for one in (*found, leftover('class', f'class {name}', address, place))]

    def _devices(self, private: int) -> Iterator[int]:
        head = private + self._offset('subsys_private', 'klist_devices') + self._offset('klist', 'k_list')
        link = self._offset('device_private', 'knode_class') + self._offset('klist_node', 'n_node')
        for _entry, data in kernel_lists.ring(self._memory.kcore, head, link, self._memory.btf.size('device_private'),
                                              'the devices of a class'):
            yield kernel_lists.pointer(data, self._offset('device_private', 'device'))
