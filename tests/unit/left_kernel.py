# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel with the lists that leftovers are found by, all empty, and the memory of a module that died."""


import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers import entry, find_leftovers
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from kernel_memory import ALL_KERNELS, PAGE, Structs, make_root, write_files

OTHER = 0xFFFFFFFFC0B00000  # the memory of another module
CODE, DATA = 0xFFFFFFFFC0A3B000, 0xFFFFFFFFC0A3D000
FUNCTION, THIS, NAMES = CODE + 0x10, DATA + 0x800, DATA + 0x400  # strings of the module
HEADS = ('ptype_all', 'ptype_base', 'net_hotdata', 'net_namespace_list', 'ftrace_ops_list', 'workqueues',
         'worker_pool_idr', 'hrtimer_bases', '__per_cpu_offset', '__start___tracepoints_ptrs',
         '__stop___tracepoints_ptrs', 'proc_root', 'debugfs_mount', 'dynamic_kobj_ktype', 'class_kset', 'bus_kset',
         'init_task')
FUNCTIONS = {'delayed_work_timer_fn': 0xFFFFFFFF81001000, 'class_create_release': 0xFFFFFFFF81001100,
             'device_create_release': 0xFFFFFFFF81001200, 'platform_device_release': 0xFFFFFFFF81001400}


class Kernel:
    """A module's memory, and the kernel's empty lists."""

    def __init__(self, kernel, root):
        self.structs, self.root, self.held_at = Structs(kernel), root, []
        self.types, self.put, self.u64 = self.structs.types, self.structs.put, self.structs.memory.u64
        for address in (CODE, DATA):
            self.structs.memory.write(address, bytes(PAGE))
        self.structs.memory.write(NAMES, b'foo\0lab\0value\0')
        self.at = {name: self.structs.space(PAGE) for name in HEADS}
        for name in ('ptype_all', 'net_namespace_list', 'workqueues'):
            self.ring(self.at[name])
        for number in range(16):
            self.ring(self.at['ptype_base'] + 16 * number)
        self.ksets = {name: self.structs.new('kset') for name in ('class_kset', 'bus_kset')}
        for name, kset in self.ksets.items():
            self.u64(self.at[name], kset)
            self.ring(kset + self.types.offset('kset', 'list'))

    def holders(self, addresses):
        """As reachability.holders: the module's own word, where the kernel has each, and who else has it."""
        return {address: [DATA + 0x100, *self.held_at] for address in addresses}

    def ring(self, *nodes):
        self.structs.ring(*nodes)
        for node, before in zip(nodes, nodes[-1:] + nodes[:-1]):
            self.u64(node + 8, before)

    def link(self, head, address, struct_name, member):
        self.ring(head, address + self.types.offset(struct_name, member))

    def subsystem(self, kset, **members):
        """A struct subsys_private of a kset."""
        private = self.structs.new('subsys_private', **members)
        of = (('subsys_private', 'subsys'), ('kset', 'kobj'), ('kobject', 'entry'))
        self.ring(self.ksets[kset] + self.types.offset('kset', 'list'),
                  private + sum(self.types.offset(*member) for member in of))
        return private

    def kept(self, address):
        """The module's own memory holds it."""
        self.u64(DATA + 0x100, address)

    def hit(self, address, struct_name, member, value=FUNCTION):
        """A word that was found to lead into the module."""
        place = address + self.types.offset(struct_name, member)
        self.u64(place, value)
        return {'place': 'x', 'address': hex(place), 'target': 'f', 'what': f'{struct_name}.{member}'}

    def find(self, *hits, listed=()):
        """Kind, words and address of each."""
        lines = ['%016x D %s' % (address, name) for name, address in self.at.items()]
        lines += ['%016x T %s' % (address, name) for name, address in FUNCTIONS.items()]
        lines += ['%016x t device_create_release' % 0xFFFFFFFF81001300]  # another of that name
        lines += ['%016x t f_call\t[stuck]' % FUNCTION, '%016x d f_data\t[stuck]' % DATA]
        write_files(self.root, {'proc/kallsyms': '\n'.join(lines) + '\n',
                                'sys/devices/system/cpu/possible': '0\n'})
        root = make_root(self.root, self.structs_kernel, self.structs.memory)
        known = entry.Known('stuck', THIS, [(CODE, CODE + PAGE), (DATA, DATA + PAGE)], list(hits))
        with KernelMemory(root) as memory:
            found = find_leftovers.find({'stuck': (known, list(listed))}, memory, Symbols(root), self.at.get,
                                        self.holders, lambda place: 'other' if place >= OTHER else '')
        return [(one['kind'], one['what'], one['address']) for one in found['stuck']]


@pytest.fixture(params=ALL_KERNELS)
def left_kernel(request, tmp_path):
    """Of each layout one."""
    made = Kernel(request.param, tmp_path)
    made.structs_kernel = request.param
    return made
