# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a word of kernel memory most likely is: a member of a struct, by its cache or by what stands beside it."""

from typing import NamedTuple, Optional, Set

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import slab
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols

# Caches that hold one kind of struct.
OF_CACHES = {
    'filp': 'file', 'kernfs_node_cache': 'kernfs_node', 'proc_dir_entry': 'proc_dir_entry',
    'vm_area_struct': 'vm_area_struct', 'task_struct': 'task_struct', 'dentry': 'dentry', 'inode_cache': 'inode',
    'sock_inode_cache': 'socket_alloc', 'net_namespace': 'net', 'skbuff_head_cache': 'sk_buff', 'key_jar': 'key',
    'bdev_cache': 'bdev_inode', 'shmem_inode_cache': 'shmem_inode_info', 'proc_inode_cache': 'proc_inode',
    'debugfs_inode_cache': 'debugfs_inode_info', 'ext4_inode_cache': 'ext4_inode_info', 'mnt_cache': 'mount',
    'request_queue': 'request_queue', 'blkdev_queue': 'request_queue', 'radix_tree_node': 'xa_node',
    'maple_node': 'maple_node', 'signal_cache': 'signal_struct', 'fsnotify_mark': 'fsnotify_mark',
    'kmem_cache': 'kmem_cache', 'eventpoll_epi': 'epitem', 'pid': 'pid', 'trace_event_file': 'trace_event_file',
}
# What stands beside a member in the same struct: a node of a list, a text, the address of a symbol, of a struct module.
RING, HLIST, TEXT, SYMBOL, MODULE = 'ring', 'hlist', 'text', 'symbol', 'module'


class Shape(NamedTuple):
    """A struct's member, whether it points to a function, and what else must stand where in that struct."""

    name: str
    member: str
    is_code: bool
    kind: str
    beside: str
    symbol: str = ''


# Only those that nothing else looks like, the plainest last.
SHAPES = (
    Shape('work_struct', 'func', True, RING, 'entry'),
    Shape('timer_list', 'function', True, HLIST, 'entry'),
    Shape('shrinker', 'count_objects', True, RING, 'list'),
    Shape('shrinker', 'scan_objects', True, RING, 'list'),
    Shape('cdev', 'ops', False, MODULE, 'owner'),
    Shape('ctl_table_header', 'ctl_table', False, SYMBOL, 'root', 'sysctl_table_root'),
    Shape('gendisk', 'fops', False, TEXT, 'disk_name'),
    Shape('net_device', 'netdev_ops', False, TEXT, 'name'),
    Shape('driver_private', 'driver', False, RING, 'knode_bus.n_node'),
)


class Meanings:
    """Names words of kernel memory. What has no name is ''."""

    def __init__(self, memory: KernelMemory, symbols: Symbols, modules: Set[int]) -> None:
        """``modules``: the addresses of all struct modules."""
        self._memory, self._symbols, self._modules = memory, symbols, modules
        self.threads: Set[int] = set()  # the struct kthreads of all kernel threads

    def of(self, place: int, found: Optional[slab.Object], is_code: bool) -> str:
        """``work_struct.func`` of the word at ``place``, in the slab object ``found`` if any.

        ``is_code``: whether it points to where a function of the module begins.
        """
        if found is None:
            return ''
        name = 'kthread' if found.start in self.threads else OF_CACHES.get(found.cache, '')
        if name:
            try:
                member = self._memory.btf.member_at(name, place - found.start)
            except KmodError:
                member = ''
            return f'{name}.{member}' if member else f'struct {name}'
        for shape in SHAPES:
            try:
                if (is_code or not shape.is_code) and self._fits(shape, place, found):
                    return f'{shape.name}.{shape.member}'
            except KmodError:
                continue
        return ''

    def _fits(self, shape: Shape, place: int, found: slab.Object) -> bool:
        types, kcore = self._memory.btf, self._memory.kcore
        start = place - types.offset(shape.name, shape.member)
        if not found.start <= start <= found.start + found.size - types.size(shape.name):
            return False
        beside = start + types.offset(shape.name, shape.beside)
        if shape.kind == RING:
            following = kcore.u64(beside)
            return following >> 63 == 1 and kcore.u64(following + 8) == beside
        if shape.kind == HLIST:
            back = kcore.u64(beside + 8)
            return back >> 63 == 1 and kcore.u64(back) == beside
        if shape.kind == MODULE:
            return kcore.u64(beside) in self._modules
        if shape.kind == SYMBOL:
            return kcore.u64(beside) == self._symbols.data(shape.symbol)[0]
        word = kcore.read(beside, 8).split(b'\0', 1)[0]
        return bool(word) and all(0x20 < byte < 0x7f for byte in word)
