# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel itself keeps of every module, and lets go of when that is unloaded (kernel/module/, its notifiers).

It is found by the kernel's own lists (:mod:`kept_lists`), and by what single words look like, each told with the
function that clears it, or makes nothing of it.
"""

import bisect
import contextlib
import os
import struct
from typing import Callable, Dict, List, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import freed_init, locate, page_frames, slab
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kept_lists import Lists, Loaded, Mark
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols

__all__ = ('Bookkeeping', 'Loaded')

# Files of debugfs/printk/index, pi_remove_file(), and of tracefs, event_remove(), at MODULE_STATE_GOING.
INODES = ('inode_cache', 'debugfs_inode_cache', 'tracefs_inode_cache')
KERNFS_DEPTH = 8
# Sections that name code by its address: the room before functions, and calls that paravirt patches up to 6.6.
TABLES = ('__patchable_function_entries', '.parainstructions')
# What kmalloc gives for struct mod_initfree, at most.
LARGEST_INITFREE = 64
# BIAS in fs/proc/inode.c, a negative number
RUN_DOWN = 1 << 31
# JUMP_TYPE_LINKED in include/linux/jump_label.h
LINKED = 2
LARGEST = 8 << 20  # bytes of a part of a module that is read as a whole


class Bookkeeping:
    """Tells which words of the kernel that point into a module are such."""

    def __init__(self, memory: KernelMemory, symbols: Symbols, physical: page_frames.PhysicalMemory, slabs: slab.Slabs,
                 places: locate.Places, loaded: List[Loaded]) -> None:
        self._memory, self._symbols, self._physical, self._loaded = memory, symbols, physical, loaded
        self._offset, self._u64 = memory.btf.offset, memory.kcore.u64
        self._lists = Lists(memory, symbols, physical, slabs, places, loaded)
        self._by_address = {module.address: module for module in loaded}
        self._directories: Optional[Dict[int, str]] = None
        self._chains: Dict[str, Set[int]] = {}
        self._tables: Dict[str, List[Tuple[int, int]]] = {}
        self._starts: List[int] = []
        self._ends: List[int] = []
        self._marks: List[Mark] = []

    def has(self, place: int, value: int, found: Optional[slab.Object]) -> bool:
        """Whether the word at ``place``, which points to ``value``, is such; ``found``: the slab object that has it."""
        if self._is_marked(place) or self._looks_so(place, value, found):
            return True
        if not self._lists.walks:
            return False
        while self._lists.walks:
            self._marks += self._lists.walked(self._lists.walks.pop(0))
            self._merge()
            if self._is_marked(place):
                return True
        return self._looks_so(place, value, found)  # the trace events are known by now

    def _is_marked(self, place: int) -> bool:
        at = bisect.bisect_right(self._starts, place) - 1
        return at >= 0 and place < self._ends[at]

    def _merge(self) -> None:
        self._starts, self._ends = [], []
        for start, size in sorted(self._marks):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], start + size)
            else:
                self._starts.append(start)
                self._ends.append(start + size)

    def _looks_so(self, place: int, value: int, found: Optional[slab.Object]) -> bool:
        if found is None:
            return self._is_table(place)
        looks = (self._is_file, self._is_inode, self._is_removed, self._is_key, self._is_init, self._is_area,
                 self._is_let_go)
        return any(self._looks(look, place, value, found) for look in looks)

    @staticmethod
    def _looks(look: Callable[[int, int, slab.Object], bool], place: int, value: int, found: slab.Object) -> bool:
        try:
            return look(place, value, found)
        except KmodError:
            return False

    def _is_file(self, place: int, _value: int, found: slab.Object) -> bool:
        """A file below /sys/module/NAME, whose directory goes with the module, whoever made it."""
        if found.cache != 'kernfs_node_cache' or place - found.start != self._offset('kernfs_node', 'priv'):
            return False
        if self._directories is None:
            kobject = self._offset('module', 'mkobj') + self._offset('module_kobject', 'kobj')
            at = kobject + self._offset('kobject', 'sd')
            self._directories = {self._u64(module.address + at): module.name for module in self._loaded}
        parent = self._memory.btf.first_offset('kernfs_node', '__parent', 'parent')
        node = found.start
        for _step in range(KERNFS_DEPTH):
            if node in self._directories:
                return True
            node = self._u64(node + parent)
            if not node:
                return False
        return False

    def _is_inode(self, place: int, value: int, found: slab.Object) -> bool:
        """A file of debugfs or tracefs that says something of the module itself, or of one of its trace events."""
        if found.cache not in INODES or (value not in self._by_address and value not in self._lists.calls):
            return False
        return place - found.start == self._offset('inode', 'i_private')

    def _is_removed(self, _place: int, _value: int, found: slab.Object) -> bool:
        """A file of /proc that was removed, and that a dentry still has: use_pde() in fs/proc/internal.h refuses it."""
        if found.cache != 'proc_dir_entry':
            return False
        users = self._memory.kcore.u32(found.start + self._offset('proc_dir_entry', 'in_use'))
        return bool(users & RUN_DOWN)

    def _is_key(self, place: int, _value: int, found: slab.Object) -> bool:
        """Sites of a static key or call in the module: jump_label_del_module(), static_call_del_module()."""
        for name, sites, first, count in (('static_key_mod', 'entries', 'jump_entries', 'num_jump_entries'),
                                          ('static_call_mod', 'sites', 'static_call_sites', 'num_static_call_sites')):
            try:
                at, of = self._offset(name, sites), self._offset(name, 'mod')
                size = self._memory.btf.size(name)
            except KmodError:
                continue
            module = self._by_address.get(self._u64(found.start + of))
            if module and size <= found.size and place - found.start in (at, of):
                start, site = self._u64(module.address + self._offset('module', first)), self._u64(found.start + at)
                room = 16 * self._memory.kcore.u32(module.address + self._offset('module', count))
                if start & ~3 <= site & ~3 < start + room or (not site and found.start in self._linked(module)):
                    return True
        return False

    def _linked(self, module: Loaded) -> Set[int]:
        """What is kept of the module's own keys for those that use them: they have no site in it themselves."""
        if module.name not in self._chains:
            found = self._chains[module.name] = set()
            next_at = self._offset('static_key_mod', 'next')
            for start, end in module.ranges:
                part = self._memory.kcore.read(start, end - start) if end - start < LARGEST else b''
                for (word,) in struct.iter_unpack('<Q', part[:len(part) // 8 * 8]):
                    address = word & ~3
                    while word & LINKED and self._physical.frame(address) is not None and address not in found:
                        found.add(address)
                        address = self._u64(address + next_at)
        return self._chains[module.name]

    def _is_table(self, place: int) -> bool:
        """A module's tables of places in its code, which name those of its freed init as well."""
        for module in self._loaded:
            if any(start <= place < end for start, end in module.ranges):
                if module.name not in self._tables:
                    self._tables[module.name] = self._tables_of(module.name)
                return any(start <= place < end for start, end in self._tables[module.name])
        return False

    def _tables_of(self, name: str) -> List[Tuple[int, int]]:
        """Where each such section begins and, at the latest, ends; nowhere where that is not to be had."""
        directory, starts = os.path.join(self._memory.root, 'sys/module', name, 'sections'), {}
        try:
            for each in os.listdir(directory):
                with open(os.path.join(directory, each)) as stream:
                    starts[each] = int(stream.read(), 16)
        except (OSError, ValueError):
            return []
        found = [starts[section] for section in TABLES if section in starts]
        return [(start, min([other for other in starts.values() if other > start] or [start])) for start in found]

    def _is_init(self, _place: int, value: int, found: slab.Object) -> bool:
        """What do_init_module() would give back when init had returned, of one that died in it: nobody reads it."""
        module = next((module for module in self._loaded for start, _end in module.ranges if start == value), None)
        if module is None or not found.cache.startswith('kmalloc') or found.size > LARGEST_INITFREE:
            return False
        starts, members = {0} | {start for start, _end in module.ranges}, []
        for member in ('module_init', 'init_text', 'init_data', 'init_rodata'):
            with contextlib.suppress(KmodError):
                members.append(self._u64(found.start + self._offset('mod_initfree', member)))
        return value in members and starts.issuperset(members)

    def _is_area(self, _place: int, value: int, found: slab.Object) -> bool:
        """An area of code in one of execmem's two trees: where it begins, or its last byte (mm/execmem.c)."""
        if found.cache != 'maple_node':
            return False
        after, page = value + 1, self._physical.page_size
        return after % page == 0 or any(value == start and not start <= module.address < end
                                        for module in self._loaded for start, end in module.ranges)

    def _is_let_go(self, place: int, _value: int, found: slab.Object) -> bool:
        return freed_init.is_let_go(self._memory, self._symbols, place, found, self._by_address)


def holders_of_kobject(module: Loaded, memory: KernelMemory) -> int:
    """References to a module's kobject besides the loader's and those of the directories that the loader made.

    mod_kobject_put() in kernel/module/sysfs.c waits for the last, in the middle of an unload.
    """
    types, kcore = memory.btf, memory.kcore
    kobject = module.address + types.offset('module', 'mkobj')
    places = [module.address + types.offset('module', 'holders_dir'),
              kobject + types.offset('module_kobject', 'drivers_dir')]
    if types.has('module_notes_attrs', 'dir'):  # a kobject of its own up to 6.14
        notes = kcore.u64(module.address + types.offset('module', 'notes_attrs'))
        places += [notes + types.offset('module_notes_attrs', 'dir')] if notes else []
    count = kcore.u32(kobject + types.offset('module_kobject', 'kobj') + types.offset('kobject', 'kref'))
    return max(count - 1 - sum(bool(kcore.u64(place)) for place in places), 0)
