# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which module an open file belongs to, in kernel memory: struct file (include/linux/fs.h) and what stands behind it.

A file is a module's where the kernel took a reference of it when the file was opened: by the owner of its operations,
of its character or block device, of what it is a handle of. It is also where its operations merely lie in the module's
memory: then no reference is counted, and calling them after the module was unloaded is an oops.
"""

import struct
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import btf, kernel_sockets
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_sockets import Evidence

# include/uapi/linux/stat.h
S_IFMT, S_IFCHR, S_IFBLK, S_IFSOCK = 0o170000, 0o020000, 0o060000, 0o140000
# include/uapi/linux/magic.h
ANON_INODE_FS, DEBUGFS, DMA_BUF = 0x09041934, 0x64626720, 0x444D4142
MINOR_BITS = 20
# include/uapi/linux/io_uring.h has no limit but RLIMIT_NOFILE: more than any ring has.
MOST_REGISTERED = 1 << 20
# The low bits of a registered file's address tell what it can do (io_uring/filetable.h).
FILE_FLAGS = 7
# kernel/bpf/verifier.c: MAX_KFUNC_BTFS, MAX_USED_BTFS
MOST_BTFS = 256
# enum bpf_map_type in include/uapi/linux/bpf.h
STRUCT_OPS = 26

FILE = {'f_op': ('file', 'f_op'), 'inode': ('file', 'f_inode'), 'private': ('file', 'private_data'),
        'mapping': ('file', 'f_mapping')}
INODE = {'mode': ('inode', 'i_mode'), 'number': ('inode', 'i_rdev'), 'sb': ('inode', 'i_sb'),
         'cdev': ('inode', 'i_cdev')}
# What the kernel calls its files without a name, and how one leads to a module.
PERF, PROGRAM, LINK, MAP, RING = '[perf_event]', 'bpf-prog', 'bpf_link', 'bpf-map', '[io_uring]'


class Opened(NamedTuple):
    """What is looked at of a struct file."""

    address: int
    operations: int
    inode: int
    private: int
    mapping: int
    mode: int
    device: int  # number of a character or block device, as the kernel holds it
    superblock: int
    cdev: int


class Files:
    """Looks at files, each once. A file that was freed meanwhile, or is none, is a KmodError."""

    def __init__(self, memory: KernelMemory, owner: kernel_sockets.Owner) -> None:
        self.memory, self.owner = memory, owner
        self._kcore = memory.kcore
        self._offsets = memory.once('file', lambda types: btf.layout_of(types, FILE))
        self._inode = memory.once('inode', lambda types: btf.layout_of(types, INODE))
        self._owners: Dict[Tuple[int, int], int] = {}
        self._inodes: Dict[int, Tuple[int, int, int, int]] = {}
        self._magic: Dict[int, int] = {}
        self._known: Dict[int, Optional[Evidence]] = {}
        self._names: Dict[int, str] = {}
        self._sockets: Optional[kernel_sockets.Sockets] = None
        # Those that may keep other files open: see carried().
        self.carriers: Set[int] = set()

    def evidence(self, address: int) -> Optional[Evidence]:
        """Why the struct file there is the module's, or None."""
        if address not in self._known:
            self._known[address] = self._evidence(self.opened(address))
        return self._known[address]

    def opened(self, address: int) -> Opened:
        """The file there."""
        at = self._offsets
        first = min(at.values())
        data = self._kcore.read(address + first, max(at.values()) + 8 - first)
        operations, inode, private, mapping = (struct.unpack_from('<Q', data, at[key] - first)[0]
                                               for key in ('f_op', 'inode', 'private', 'mapping'))
        return Opened(address, operations, inode, private, mapping, *self._inode_of(inode))

    def _inode_of(self, inode: int) -> Tuple[int, int, int, int]:
        """Mode, device number, superblock and character device."""
        if inode not in self._inodes:
            at = self._inode
            first = min(at.values())
            data = self._kcore.read(inode + first, max(at.values()) + 8 - first)
            mode, = struct.unpack_from('<H', data, at['mode'] - first)
            number, = struct.unpack_from('<I', data, at['number'] - first)
            superblock, cdev = (struct.unpack_from('<Q', data, at[key] - first)[0] for key in ('sb', 'cdev'))
            kind = mode & S_IFMT
            self._inodes[inode] = (mode, number if kind in (S_IFCHR, S_IFBLK) else 0, superblock,
                                   cdev if kind == S_IFCHR else 0)
        return self._inodes[inode]

    def _evidence(self, opened: Opened) -> Optional[Evidence]:
        if self.owner_of(opened.operations, 'file_operations') == self.owner.address:
            return Evidence('file_operations.owner', True)
        try:
            found: Optional[Evidence] = self._behind(opened)
            lost: Optional[KmodError] = None
        except KmodError as error:
            found, lost = None, error
        if not found and self.owner.holds(opened.operations) and not self.is_of_own_file_system(opened):
            found = Evidence('file.f_op', False)
        if lost and not found:
            raise lost
        return found

    def _behind(self, opened: Opened) -> Optional[Evidence]:
        kind = opened.mode & S_IFMT
        if kind == S_IFSOCK:
            return self.sockets().evidence(opened.address, opened.private)
        if kind == S_IFCHR:
            return self._character_device(opened)
        if kind == S_IFBLK:
            return self._block_device(opened)
        magic = self._magic_of(opened.superblock)
        if magic == ANON_INODE_FS:
            return self._unnamed(opened)
        if magic == DMA_BUF:
            return self._named_owner(opened.private, 'dma_buf') or self._of_operations(opened.private, 'dma_buf')
        return self._debugfs(opened) if magic == DEBUGFS else None

    def sockets(self) -> kernel_sockets.Sockets:
        """What looks at sockets."""
        if self._sockets is None:
            self._sockets = kernel_sockets.Sockets(self.memory, self.owner, self.carriers)
        return self._sockets

    def owner_of(self, operations: int, kind: str, member: str = 'owner') -> int:
        """The owner that a struct of operations names; 0 where there is no such struct."""
        at = self.memory.btf.offset(kind, member)
        if operations and (operations, at) not in self._owners:
            self._owners[operations, at] = self._kcore.u64(operations + at)
        return self._owners.get((operations, at), 0)

    def _named_owner(self, operations: int, kind: str, member: str = 'owner') -> Optional[Evidence]:
        """By the owner that a struct of operations names; one that lies in the module without naming it counts none."""
        if self.owner_of(operations, kind, member) == self.owner.address:
            return Evidence(f'{kind}.{member}', True)
        return Evidence(kind, False) if operations and self.owner.holds(operations) else None

    def _of_operations(self, address: int, kind: str) -> Optional[Evidence]:
        """An object whose operations lie in the module, which does not name it as their owner."""
        operations = self._kcore.u64(address + self.memory.btf.offset(kind, 'ops'))
        return Evidence(f'{kind}.ops', False) if self.owner.holds(operations) else None

    def is_of_own_file_system(self, opened: Opened) -> bool:
        """Whether it lies on a file system of the module: what holds that one is the mount, not each file on it."""
        kind = self._kcore.u64(opened.superblock + self.memory.btf.offset('super_block', 's_type'))
        return self.owner.holds(kind) or self.owner_of(kind, 'file_system_type') == self.owner.address

    def _magic_of(self, superblock: int) -> int:
        if superblock not in self._magic:
            self._magic[superblock] = self._kcore.u64(superblock + self.memory.btf.offset('super_block', 's_magic'))
        return self._magic[superblock]

    def _character_device(self, opened: Opened) -> Optional[Evidence]:
        """The operations may be those of a core such as videodev; the reference is that of the cdev's owner."""
        if opened.cdev:
            found = self._named_owner(opened.cdev, 'cdev')
            operations = self.owner_of(opened.cdev, 'cdev', 'ops')
            if found or self.owner.holds(opened.cdev) or self.owner.holds(operations):
                return found or Evidence('inode.i_cdev', False)
        return self._line_discipline(opened)

    def _line_discipline(self, opened: Opened) -> Optional[Evidence]:
        """A terminal (drivers/tty/tty_io.c) has a driver and a line discipline, which may be another module's."""
        types = self.memory.btf
        if not opened.private:
            return None
        private = types.offset('tty_file_private', 'file'), types.offset('tty_file_private', 'tty')
        try:
            if self._kcore.u64(opened.private + private[0]) != opened.address:
                return None
        except KmodError:
            return None  # another device's private data, or none
        terminal = self._kcore.u64(opened.private + private[1])
        found = self._named_owner(self._kcore.u64(terminal + types.offset('tty_struct', 'driver')), 'tty_driver')
        line = self._kcore.u64(terminal + types.offset('tty_struct', 'ldisc'))
        if found or not line:
            return found
        return self._named_owner(self._kcore.u64(line + types.offset('tty_ldisc', 'ops')), 'tty_ldisc_ops')

    def _block_device(self, opened: Opened) -> Optional[Evidence]:
        types, kcore = self.memory.btf, self._kcore
        inode = kcore.u64(opened.mapping + types.offset('address_space', 'host'))
        device = inode - types.offset('bdev_inode', 'vfs_inode') + types.offset('bdev_inode', 'bdev')
        disk = kcore.u64(device + types.offset('block_device', 'bd_disk'))
        return self._named_owner(kcore.u64(disk + types.offset('gendisk', 'fops')), 'block_device_operations')

    def _debugfs(self, opened: Opened) -> Optional[Evidence]:
        """fs/debugfs/file.c: the operations are debugfs's own; those behind them were taken with a reference."""
        behind = self._kcore.u64(self._entry(opened) + self.memory.btf.offset('dentry', 'd_fsdata'))
        if not behind or behind & 1:
            return None  # never opened, or not by way of the proxy
        real = self._kcore.u64(behind + self.memory.btf.offset('debugfs_fsdata', 'real_fops'))
        return self._named_owner(real, 'file_operations') if real else None

    def _entry(self, opened: Opened) -> int:
        types = self.memory.btf
        path = types.offset('file', 'f_path') + types.offset('path', 'dentry')
        return self._kcore.u64(opened.address + path)

    def name(self, opened: Opened) -> str:
        """The last part of its path."""
        types = self.memory.btf
        name = types.offset('dentry', 'd_name') + types.offset('qstr', 'name')
        return self._kcore.text(self._kcore.u64(self._entry(opened) + name))

    def _kind(self, opened: Opened) -> str:
        """What the kernel calls a file without a name: its name is the kernel's own, nobody else can give it."""
        if opened.operations not in self._names:
            self._names[opened.operations] = self.name(opened)
        return self._names[opened.operations]

    def _unnamed(self, opened: Opened) -> Optional[Evidence]:
        kind, types = self._kind(opened), self.memory.btf
        if kind == RING:
            self.carriers.add(opened.address)
        if kind == PERF:
            event = self._kcore.u64(opened.private + types.offset('perf_event', 'pmu'))
            return self._named_owner(event, 'pmu', 'module')
        if kind == PROGRAM:
            return self._program(opened.private)
        if kind == LINK:
            return self._program(self._kcore.u64(opened.private + types.offset('bpf_link', 'prog')))
        if kind == MAP:
            return self._struct_ops(opened.private)
        return None

    def _program(self, program: int) -> Optional[Evidence]:
        """A BPF program (kernel/bpf/verifier.c) holds the modules whose functions it calls or is attached to."""
        types = self.memory.btf
        if not program:
            return None
        auxiliary = self._kcore.u64(program + types.offset('bpf_prog', 'aux'))
        if types.has('bpf_prog_aux', 'mod') and \
                self._named_owner(auxiliary, 'bpf_prog_aux', 'mod'):
            return Evidence('bpf_prog_aux.mod', True)
        if types.has('bpf_prog_aux', 'kfunc_btf_tab'):
            table = self._kcore.u64(auxiliary + types.offset('bpf_prog_aux', 'kfunc_btf_tab'))
            count = self._kcore.u32(table + types.offset('bpf_kfunc_btf_tab', 'nr_descs')) if table else 0
            if self._in_table(table, count, 'bpf_kfunc_btf'):
                return Evidence('bpf_kfunc_btf.module', True)
        if types.has('bpf_prog_aux', 'used_btfs'):
            table = self._kcore.u64(auxiliary + types.offset('bpf_prog_aux', 'used_btfs'))
            count = self._kcore.u32(auxiliary + types.offset('bpf_prog_aux', 'used_btf_cnt'))
            if self._in_table(table, count, 'btf_mod_pair'):
                return Evidence('btf_mod_pair.module', True)
        return None

    def _in_table(self, table: int, count: int, kind: str) -> bool:
        """Whether one of these structs, each with the module that it holds, holds this one."""
        size, at = self.memory.btf.size(kind), self.memory.btf.offset(kind, 'module')
        data = self._kcore.read(table, size * min(count, MOST_BTFS)) if table and count else b''
        return any(struct.unpack_from('<Q', data, place + at)[0] == self.owner.address
                   for place in range(0, len(data), size))

    def _struct_ops(self, table: int) -> Optional[Evidence]:
        """A map of the kind struct_ops (kernel/bpf/bpf_struct_ops.c) may fill in operations that a module declares."""
        types = self.memory.btf
        described = 'bpf_struct_ops_map', 'st_ops_desc'
        kind = types.offset('bpf_map', 'map_type') if types.has('bpf_map', 'map_type') else -1
        if kind < 0 or self._kcore.u32(table + kind) != STRUCT_OPS or not types.has(*described):
            return None
        operations = self._kcore.u64(self._kcore.u64(table + types.offset(*described)) +
                                     types.offset('bpf_struct_ops_desc', 'st_ops'))
        return self._named_owner(operations, 'bpf_struct_ops')

    def carried(self, address: int) -> List[Tuple[str, int]]:
        """The files that this one keeps open: those sent to a unix socket and not yet received, those that an io_uring
        has registered; each with how. To ask of ``carriers``. Raises KmodError where they cannot be read.
        """
        opened = self.opened(address)
        if opened.mode & S_IFMT == S_IFSOCK:
            return [('in flight', file) for file in self.sockets().in_flight(address, opened.private)]
        return [('registered', file) for file in self._registered(opened.private)]

    def _registered(self, ring: int) -> List[int]:
        """In struct io_ring_ctx: up to 6.12 an array of tagged pointers, since 6.13 one of pointers to nodes."""
        types, kcore = self.memory.btf, self._kcore
        table = ring + types.offset('io_ring_ctx', 'file_table')
        try:
            count = kcore.u32(ring + types.offset('io_ring_ctx', 'nr_user_files'))
            start = kcore.u64(table + types.offset('io_file_table', 'files'))
            read: Callable[[Iterable[int]], List[int]] = self._tagged
        except KmodError:
            nodes = table + types.offset('io_file_table', 'data')
            count = kcore.u32(nodes + types.offset('io_rsrc_data', 'nr'))
            start = kcore.u64(nodes + types.offset('io_rsrc_data', 'nodes'))
            read = self._of_nodes
        if not start or not count:
            return []
        if count > MOST_REGISTERED:
            raise KmodError('read the registered files of an io_uring', 'it has %d' % count)
        return read(value for (value,) in struct.iter_unpack('<Q', kcore.read(start, 8 * count)) if value)

    @staticmethod
    def _tagged(words: Iterable[int]) -> List[int]:
        return [word & ~FILE_FLAGS for word in words]

    def _of_nodes(self, nodes: Iterable[int]) -> List[int]:
        at = self.memory.btf.offset('io_rsrc_node', 'file_ptr')
        return [self._kcore.u64(node + at) & ~FILE_FLAGS for node in nodes]
