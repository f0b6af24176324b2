# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of debugfs, by their dentry or by their inode."""

from typing import Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import leftover
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover

# include/uapi/linux/magic.h
DEBUGFS_MAGIC = 0x64626720


def name(memory: KernelMemory, dentry: int) -> str:
    """The name of a struct dentry."""
    place = memory.btf.offset('dentry', 'd_name') + memory.btf.offset('qstr', 'name')
    return memory.kcore.text(memory.kcore.u64(dentry + place))


def of_dentry(memory: KernelMemory, dentry: int, place: int) -> Optional[Leftover]:
    """The file of debugfs that a dentry is, or None; ``place`` is where it leads into the module."""
    types, kcore = memory.btf, memory.kcore
    superblock = kcore.u64(dentry + types.offset('dentry', 'd_sb'))
    if kcore.u64(superblock + types.offset('super_block', 's_magic')) != DEBUGFS_MAGIC:
        return None
    return leftover('debugfs', f'debugfs file {name(memory, dentry)}', dentry, place)


def of_inode(memory: KernelMemory, inode: int, place: int) -> Optional[Leftover]:
    """The same of the dentry that an inode has."""
    types = memory.btf
    alias = memory.kcore.u64(inode + types.offset('inode', 'i_dentry'))
    return of_dentry(memory, alias - types.first_offset('dentry', 'd_u', 'd_alias'), place) if alias else None
