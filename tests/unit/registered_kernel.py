# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel in memory with which two modules registered one thing of each kind, as each of the four kernels keeps it."""

from kernel_memory import Structs, make_root, write_files

# Code and data of the module; a function of the kernel's own; a module that is loaded beside it.
CODE, DATA, KERNEL, OTHER = 0xFFFFFFFFC0500000, 0xFFFFFFFFC0502000, 0xFFFFFFFF81001000, 0xFFFFFFFFC0600000
RANGES = [(CODE, CODE + 0x1000), (DATA, DATA + 0x1000)]
CPUS = (0x100000, 0x200000)
FUNCTION, OPERATIONS, THIS = CODE + 0x10, DATA + 0x40, DATA + 0x80
NAMES = {FUNCTION: 'f_call', OPERATIONS: 'f_operations', THIS: '__this_module'}
HEADS = {'raw_chain': 'raw_notifier_head', 'atomic_notifier_list': 'atomic_notifier_head',
         'some_chain_head': 'blocking_notifier_head', 'srcu_notify_list': 'srcu_notifier_head'}
XA_SLOTS = 64
POSSIBLE = '0-1\n'


class RegisteredKernel(Structs):
    """Everything that is read has its symbol; what is registered is added by the methods."""

    def __init__(self, kernel):
        super().__init__(kernel)
        self.name, self.symbols, self.data = kernel, {}, 0xFFFFFFFF82000000
        self.irqs, self.rings, self.probes, self.first_file_system = {}, {}, {}, 0
        for head in ('misc_list', 'proto_list', 'tty_drivers', 'crypto_alg_list', 'net_namespace_list'):
            self.rings[head] = [self.symbol(head, 16)]
        self.net = self.new('net')
        self.rings['net_namespace_list'].append(self.net + self.types.offset('net', 'list'))
        self.rings['devices'] = [self.net + self.types.offset('net', 'dev_base_head')]
        self.map = self.new('kobj_map')
        self.memory.u64(self.symbol('cdev_map', 8), self.map)
        wheels = 3 * self.types.size('timer_base')
        for name, size in (('file_systems', 8), ('kprobe_table', 512), ('timer_bases', wheels),
                           ('sparse_irqs' if self.has_maple_tree else 'irq_desc_tree', 64)):
            self.symbol(name, size)
        offsets = self.symbol('__per_cpu_offset', 64)
        for cpu, offset in enumerate(CPUS):
            self.memory.write(self.symbols['timer_bases'] + offset, bytes(wheels))
            self.memory.u64(offsets + 8 * cpu, offset)
        for name, kind in HEADS.items():
            self.symbol(name, self.types.size(kind))
        self.memory.u64(self.symbol('block_notifier', 24), KERNEL)
        self.symbol('init_task', 64)
        self.symbol('end_of_data', 64)

    @property
    def has_maple_tree(self):
        """From 6.5 on interrupts are in a maple tree."""
        return self.name in ('linux-6.12', 'linux-7.3', 'linux-arm64-6.12')

    def symbol(self, name, size):
        """A datum of the kernel, its memory all zeroes."""
        self.symbols[name] = self.data
        self.memory.write(self.data, bytes(size))
        self.data += size
        return self.symbols[name]

    def on_ring(self, head, struct, link, **members):
        """A struct on a list_head."""
        address = self.new(struct, **members)
        self.rings[head].append(address + self.types.offset(struct, link))
        return address

    def character_device(self, number, **members):
        """What cdev_add puts into cdev_map."""
        device = self.new('cdev', **members)
        slot = self.map + 8 * (number >> 20)
        probe = self.probes[slot] = self.new('probe', data=device, next=self.probes.get(slot, 0))
        self.memory.u32(probe + self.types.offset('probe', 'dev'), number)
        self.memory.u64(slot, probe)

    def file_system(self, **members):
        """What register_filesystem adds: 7.3 keeps an hlist."""
        address = self.new('file_system_type', **members)
        link = 'list' if self.name == 'linux-7.3' else 'next'
        at = self.types.offset('file_system_type', link)
        self.memory.u64(address + at, self.first_file_system)
        self.first_file_system = address + at if link == 'list' else address
        self.memory.u64(self.symbols['file_systems'], self.first_file_system)

    def timer(self, cpu, wheel, slot, function):
        """A timer, alone in its slot of a wheel."""
        address = self.new('timer_list', function=function)
        base = self.symbols['timer_bases'] + CPUS[cpu] + wheel * self.types.size('timer_base')
        self.memory.u64(base + self.types.offset('timer_base', 'vectors') + 8 * slot, address)
        return address

    def kprobe(self, slot, **members):
        """A probe of a place of its own, its list of others empty."""
        address = self.new('kprobe', **members)
        self.ring(address + self.types.offset('kprobe', 'list'))
        self.memory.u64(self.symbols['kprobe_table'] + 8 * slot, address)
        return address

    def notifier(self, chain, function):
        """The only block of a chain."""
        block = self.new('notifier_block', notifier_call=function)
        self.memory.u64(self.symbols[chain] + self.types.offset(HEADS[chain], 'head'), block)
        return block

    def interrupt(self, number, *actions):
        """An interrupt with an action for each (handler, thread function, name), and the device where that is told."""
        descriptor, following = self.new('irq_desc'), 0
        for handler, thread, name, *device in reversed(actions):
            following = self.new('irqaction', handler=handler, thread_fn=thread, name=self.text(name), next=following,
                                 dev_id=device[0] if device else 0)
        self.put(descriptor, 'irq_desc', 'action', following)
        self.memory.u32(descriptor + self.types.offset('irq_desc', 'irq_data') + self.types.offset('irq_data', 'irq'),
                        number)
        self.irqs[number] = descriptor

    def close(self):
        """Links the rings and the interrupts' tree, of two levels."""
        for nodes in self.rings.values():
            self.ring(*nodes)
        if self.has_maple_tree:
            self.memory.u64(self.symbols['sparse_irqs'] + self.types.offset('maple_tree', 'ma_root'),
                            self.maple_tree())
        else:
            self.memory.u64(self.symbols['irq_desc_tree'] + self.types.offset('xarray', 'xa_head'), self.radix_tree())
        return self

    def aligned(self, size):
        """Space at a multiple of 256, as a maple node needs."""
        return (self.space(size + 256) + 255) & ~255

    def maple_tree(self):
        """An arange node over one leaf for each two interrupts, with the loader's marks in the low bits."""
        numbers, leaves = sorted(self.irqs), []
        for start in range(0, len(numbers), 2):
            leaf = self.aligned(256)
            self.memory.write(leaf, bytes(256))
            for index, number in enumerate(numbers[start:start + 2]):
                self.memory.u64(leaf + 8 + 8 * index, number)
                self.memory.u64(leaf + 128 + 8 * index, self.irqs[number])
            # What lies behind the last pivot is old.
            self.memory.u64(leaf + 128 + 8 * 5, 0x1000)
            leaves.append((leaf | 1 << 3 | 4, numbers[start:start + 2][-1]))
        root = self.aligned(256)
        self.memory.write(root, bytes(256))
        slots = self.types.offset('maple_arange_64', 'slot')
        for index, (leaf, last) in enumerate(leaves):
            self.memory.u64(root + 8 + 8 * index, (1 << 64) - 1 if leaf == leaves[-1][0] else last)
            self.memory.u64(root + slots + 8 * index, leaf)
        return root | 3 << 3 | 2

    def radix_tree(self):
        """A node over one node for each 64 interrupts."""
        at, root = self.types.offset('xa_node', 'slots'), self.new('xa_node')
        below = {}
        for number, descriptor in self.irqs.items():
            high = number // XA_SLOTS
            if high not in below:
                below[high] = self.new('xa_node')
                self.memory.u64(root + at + 8 * high, below[high] + 2)
            self.memory.u64(below[high] + at + 8 * (number % XA_SLOTS), descriptor)
        return root + 2

    def root(self, directory):
        """Its root directory."""
        root = make_root(directory, self.name, self.memory)
        lines = ['ffffffff81000000 T _stext', '%x t f_of_the_kernel' % KERNEL, 'ffffffff81fff000 T _etext']
        lines += ['%x d %s' % pair for pair in sorted((address, name) for name, address in self.symbols.items())]
        lines += ['%x d %s\t[foo]' % pair for pair in NAMES.items()]
        lines += ['ffffffff81001000 u printk\t[foo]', '%x t f_other\t[bar]' % OTHER]
        write_files(root, {
            'proc/kallsyms': '\n'.join(lines) + '\n', 'sys/devices/system/cpu/possible': POSSIBLE,
            'proc/devices': 'Character devices:\n  1 mem\n244 foo\n\nBlock devices:\n244 loop\n',
            'proc/timer_list': ' #0: <0000000000000000>, tick_sched_timer, S:01\n'
                               ' #1: <0000000000000000>, f_tick [foo], S:01\n'
                               ' #2: <0000000000000000>, f_tick [foo], S:01\n'
                               ' #3: <0000000000000000>, g_tick [foo_bar], S:01\n',
        })
        return root


def populated(kernel):
    """A kernel in which module foo, module bar and the kernel itself have registered one of each kind."""
    made = RegisteredKernel(kernel)
    for owner, call, name in ((KERNEL, KERNEL, 'own'), (THIS, FUNCTION, 'foo'), (OTHER, OTHER, 'bar')):
        made.on_ring('misc_list', 'miscdevice', 'list', fops=owner, name=made.text(name))
        made.on_ring('proto_list', 'proto', 'node', owner=owner, name=name.encode())
        made.on_ring('tty_drivers', 'tty_driver', 'tty_drivers', owner=owner, driver_name=made.text(name))
        made.on_ring('crypto_alg_list', 'crypto_alg', 'cra_list', cra_module=owner, cra_driver_name=name.encode())
        made.on_ring('devices', 'net_device', 'dev_list', netdev_ops=owner, name=name.encode() + b'0')
        made.file_system(owner=owner, name=made.text(name))
        number = {'own': 1, 'foo': 244, 'bar': 253}[name]
        made.character_device(number << 20 | 3, owner=owner, ops=owner)
        made.timer({'bar': 0}.get(name, 1), {'own': 0}.get(name, 2), 5, call)
        made.kprobe({'own': 1, 'foo': 20, 'bar': 63}[name], pre_handler=call, symbol_name=made.text('vfs_' + name))
        made.interrupt({'own': 1, 'foo': 70, 'bar': 9}[name], (KERNEL, 0, 'shared'), (call, 0, name))
    for chain, call in zip(HEADS, (KERNEL, FUNCTION, OTHER, KERNEL)):
        made.notifier(chain, call)
    return made.close()
