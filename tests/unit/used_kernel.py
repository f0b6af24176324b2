# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel in memory whose processes have files, sockets, mappings and io_urings, as each of the four has them."""

import struct

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import find_holders
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from kernel_memory import Structs

# A module and its memory, another, and what is neither's.
MODULE, OTHER, KERNELS_OWN = 0xFFFFFFFFC0500040, 0xFFFFFFFFC0600040, 0xFFFFFFFF81001000
RANGES = [(0xFFFFFFFFC0400000, 0xFFFFFFFFC0402000), (0xFFFFFFFFC0500000, 0xFFFFFFFFC0501000)]
INSIDE = 0xFFFFFFFFC0500800
REGULAR, CHARACTER, BLOCK, SOCKET, UNNAMED = 0o100644, 0o020600, 0o060600, 0o140777, 0o600
ANON_INODES, DEBUGFS, DMA_BUF, EXT4 = 0x09041934, 0x64626720, 0x444D4142, 0xEF53
UNIX, INET, LISTEN, ESTABLISHED = 1, 2, 10, 1
END = (1 << 64) - 1

SHAPE = {'what', 'evidence', 'end_with', 'counts', 'active'}


def shown(entries, *keys):
    """Those keys of each entry, all of which have what every holder has."""
    assert all(set(entry) >= SHAPE for entry in entries)
    return [tuple(entry[key] for key in keys) for entry in entries]


class UsedKernel(Structs):
    """What is used is added by the methods; close_lists() links what there is."""

    def __init__(self, kernel):
        super().__init__(kernel)
        self.name = kernel
        self.symbols, self.leaders, self.supers, self.nets = {}, [], [], []
        self.symbols['init_task'] = self.new('task_struct')
        self.symbols['super_blocks'] = self.space(16)
        self.symbols['net_namespace_list'] = self.space(16)
        # Operations may lie in the module, which has this much.
        for start, end in RANGES:
            self.memory.write(start, bytes(end - start))
        self.plain = self.mounted(EXT4, OTHER)
        self.anonymous, self.debugfs, self.dma_bufs = (self.mounted(magic, 0) for magic in (
            ANON_INODES, DEBUGFS, DMA_BUF))

    def has(self, name, member):
        """Whether this kernel has such a member."""
        try:
            self.types.offset(name, member)
        except KmodError:
            return False
        return True

    def u16(self, address, value):
        """Puts an unsigned short there."""
        self.memory.write(address, struct.pack('<H', value))

    def at(self, address, name, member):
        """The address of a member."""
        return address + self.types.offset(name, member)

    # Files

    def mounted(self, magic, owner):
        """A superblock, on no list."""
        return self.new('super_block', s_magic=magic, s_type=self.new('file_system_type', owner=owner))

    def inode(self, mode, sb=None, **members):
        """An inode of this mode."""
        address = self.new('inode', i_sb=sb or self.plain, **members)
        self.u16(self.at(address, 'inode', 'i_mode'), mode)
        return address

    def file(self, owner=0, mode=REGULAR, sb=None, operations=None, name='file', inode=None, entry=None, **members):
        """An open file whose operations a module owns."""
        if operations is None:
            operations = self.new('file_operations', owner=owner)
        named = self.new('dentry', **(entry or {}))
        self.memory.u64(self.at(named, 'dentry', 'd_name') + self.types.offset('qstr', 'name'), self.text(name))
        address = self.new('file', f_op=operations, f_inode=inode or self.inode(mode, sb), **members)
        self.memory.u64(self.at(address, 'file', 'f_path') + self.types.offset('path', 'dentry'), named)
        return address

    def within(self, operations='file_operations', owner=0, at=INSIDE):
        """Operations that lie in the module itself."""
        self.put(at, operations, 'owner', owner)
        return at

    def device_file(self, owner, number=(244, 1), **members):
        """An open character device of a core: its cdev is the module's."""
        inode = self.inode(CHARACTER, i_cdev=self.new('cdev', owner=owner))
        self.memory.u32(self.at(inode, 'inode', 'i_rdev'), number[0] << 20 | number[1])
        return self.file(inode=inode, **members)

    def block_file(self, owner):
        """An open disk."""
        disk = self.new('gendisk', fops=self.new('block_device_operations', owner=owner))
        inner = self.new('bdev_inode')
        self.memory.u64(self.at(inner, 'bdev_inode', 'bdev') + self.types.offset('block_device', 'bd_disk'), disk)
        mapping = self.new('address_space', host=self.at(inner, 'bdev_inode', 'vfs_inode'))
        return self.file(mode=BLOCK, f_mapping=mapping)

    def terminal(self, driver, discipline):
        """An open terminal."""
        line = self.new('tty_ldisc', ops=self.new('tty_ldisc_ops', owner=discipline))
        tty = self.new('tty_struct', driver=self.new('tty_driver', owner=driver), ldisc=line)
        private = self.new('tty_file_private', tty=tty)
        file = self.device_file(0, private_data=private)
        self.put(private, 'tty_file_private', 'file', file)
        return file

    def unnamed(self, kind, private):
        """A file of the kernel's own kinds: [perf_event], bpf-prog."""
        return self.file(sb=self.anonymous, mode=UNNAMED, name=kind, private_data=private)

    def program(self, **members):
        """A BPF program."""
        return self.new('bpf_prog', aux=self.new('bpf_prog_aux', **members))

    # Sockets

    def socket(self, ops=0, prot=0, family=INET, words=(), state=ESTABLISHED, operations=None):
        """An open socket, and its struct sock; ``words``: (offset, value) in that."""
        protocol = self.new('proto', owner=prot)
        size = self.types.size('inet_connection_sock')
        self.memory.u32(self.at(protocol, 'proto', 'obj_size'), size)
        sock = self.space(size)
        self.put(sock, 'sock_common', 'skc_prot', protocol)
        self.u16(self.at(sock, 'sock_common', 'skc_family'), family)
        self.memory.write(self.at(sock, 'sock_common', 'skc_state'), bytes([state]))
        queue = self.at(sock, 'sock', 'sk_receive_queue')
        self.ring(queue)
        for at, value in words:
            self.memory.u64(sock + at, value)
        if operations is None:
            operations = self.new('proto_ops', owner=ops)
        opened = self.new('socket', ops=operations, sk=sock)
        file = self.file(mode=SOCKET, private_data=opened)
        self.put(opened, 'socket', 'file', file)
        return file, sock

    def send(self, sock, *files):
        """Puts files into a message that waits at a socket, and links it."""
        sent = self.new('scm_fp_list')
        self.u16(self.at(sent, 'scm_fp_list', 'count'), len(files))
        for number, file in enumerate(files):
            self.memory.u64(self.at(sent, 'scm_fp_list', 'fp') + 8 * number, file)
        buffer = self.new('sk_buff')
        self.memory.u64(self.at(buffer, 'sk_buff', 'cb') + self.types.offset('unix_skb_parms', 'fp'), sent)
        self.ring(self.at(sock, 'sock', 'sk_receive_queue'), buffer)
        return sent

    def waits(self, listening, sock):
        """Lets one who is not accepted yet wait at a listening socket."""
        self.ring(self.at(listening, 'sock', 'sk_receive_queue'), self.new('sk_buff', sk=sock))

    def ring_of(self, *files):
        """An open io_uring with these registered, 0 for a free place."""
        context = self.new('io_ring_ctx')
        table = self.at(context, 'io_ring_ctx', 'file_table')
        places = self.space(8 * len(files))
        for number, file in enumerate(files):
            if file and self.has('io_rsrc_node', 'file_ptr'):
                node = self.new('io_rsrc_node', file_ptr=file | 3)
            else:
                node = file and file | 3
            self.memory.u64(places + 8 * number, node)
        if self.has('io_file_table', 'files'):
            self.memory.u64(table + self.types.offset('io_file_table', 'files'), places)
            self.memory.u32(self.at(context, 'io_ring_ctx', 'nr_user_files'), len(files))
        else:
            data = table + self.types.offset('io_file_table', 'data')
            self.memory.u64(data + self.types.offset('io_rsrc_data', 'nodes'), places)
            self.memory.u32(data + self.types.offset('io_rsrc_data', 'nr'), len(files))
        return self.unnamed('[io_uring]', context)

    # Processes

    def table(self, files, size=64):
        """A files_struct with files by descriptor."""
        slots = self.space(8 * size)
        for descriptor, address in files.items():
            self.memory.u64(slots + 8 * descriptor, address)
        fdtable = self.new('fdtable', fd=slots)
        self.memory.u32(self.at(fdtable, 'fdtable', 'max_fds'), size)
        return self.new('files_struct', fdt=fdtable)

    def process(self, pid, command, *tables, **members):
        """A process with a thread for each file table; 0 is a thread that has given its own back."""
        signal = self.new('signal_struct')
        threads = [self.new('task_struct', signal=signal, files=files, comm=command.encode()[:15] + b'\0', **members)
                   for files in tables]
        for thread in threads:
            self.memory.u32(self.at(thread, 'task_struct', 'tgid'), pid)
        self.ring(self.at(signal, 'signal_struct', 'thread_head'),
                  *[self.at(thread, 'task_struct', 'thread_node') for thread in threads])
        self.leaders.append(threads[0])
        return threads

    def kernel_thread(self, pid, command, function, data=0):
        """A thread of the kernel's own."""
        kthread = self.new('kthread', threadfn=function, data=data)
        member = 'worker_private' if self.has('task_struct', 'worker_private') else 'set_child_tid'
        (thread,) = self.process(pid, command, 0, **{member: kthread})
        self.memory.u32(self.at(thread, 'task_struct', 'flags'), 0x00200000)
        return thread

    def area(self, start, file=0, operations=0):
        """A mapping of a page."""
        return self.new('vm_area_struct', vm_start=start, vm_end=start + 4096, vm_file=file, vm_ops=operations)

    def space_of(self, *areas):
        """An mm_struct with these mappings."""
        if self.has('mm_struct', 'mmap'):
            for area, following in zip(areas, [*areas[1:], 0]):
                self.put(area, 'vm_area_struct', 'vm_next', following)
            return self.new('mm_struct', mmap=areas[0] if areas else 0)
        address = self.new('mm_struct')
        leaf = (self.space(512) + 255) & ~255
        for number, area in enumerate(areas):
            # A gap, then the mapping; each pivot is the last address.
            self.memory.u64(leaf + 8 + 16 * number, 0x10000 * (number + 1) - 1)
            self.memory.u64(leaf + 16 + 16 * number, 0x10000 * (number + 1) + 0xFFF)
            self.memory.u64(leaf + 128 + 16 * number + 8, area)
        tree = self.at(address, 'mm_struct', 'mm_mt')
        self.memory.u64(tree + self.types.offset('maple_tree', 'ma_root'), leaf | 1 << 3 | 6)
        return address

    # Mounts, networks

    def superblock(self, device, owner, name, operations=0, kind=None):
        """A mounted file system; ``kind``: where its type lies that is no object of its own."""
        text = self.text(name)
        if kind is None:
            kind = self.new('file_system_type', owner=owner, name=text)
        else:
            self.put(kind, 'file_system_type', 'owner', owner)
            self.put(kind, 'file_system_type', 'name', text)
        address = self.new('super_block', s_type=kind, s_op=operations)
        self.memory.u32(self.at(address, 'super_block', 's_dev'), device[0] << 20 | device[1])
        self.supers.append(self.at(address, 'super_block', 's_list'))

    def net(self, number):
        """A network namespace."""
        net = self.new('net')
        self.memory.u32(self.at(net, 'net', 'ns') + self.types.offset('ns_common', 'inum'), number)
        self.nets.append((net, []))
        return net

    def device(self, net, name, up=True, address=None, parents=(), **members):
        """A network device; ``parents``: the owners of the drivers of what it hangs on."""
        device = self.new('net_device', name=name.encode()[:15] + b'\0', **members)
        self.memory.u32(self.at(device, 'net_device', 'flags'), 0x1002 | up)
        if address:
            one = self.new('in_ifaddr', ifa_local=bytes(map(int, address.split('.'))))
            self.put(device, 'net_device', 'ip_ptr', self.new('in_device', ifa_list=one))
        child = self.at(device, 'net_device', 'dev')
        for owner in parents:
            driver = self.new('device_driver', owner=owner) if owner is not None else 0
            parent = self.new('device', driver=driver)
            self.put(child, 'device', 'parent', parent)
            child = parent
        next(devices for at, devices in self.nets if at == net).append(self.at(device, 'net_device', 'dev_list'))
        return device

    def close_lists(self):
        """Links the tasks, the superblocks and the networks."""
        self.ring(*[self.at(task, 'task_struct', 'tasks') for task in [self.symbols['init_task'], *self.leaders]])
        self.ring(self.symbols['super_blocks'], *self.supers)
        self.ring(self.symbols['net_namespace_list'], *[self.at(net, 'net', 'list') for net, _devices in self.nets])
        for net, devices in self.nets:
            self.ring(self.at(net, 'net', 'dev_base_head'), *devices)
        return self

    def find(self, root, name='foo', **options):
        """What the reader finds of the module in this kernel."""
        options.setdefault('ranges', RANGES)
        return find_holders.find(name, MODULE, str(root), symbols=self.symbols.get, **options)
