# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module left is found by the kernel's lists and by pointers, on structs of six kernels."""

import struct

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers import entry, find_leftovers
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from kernel_memory import ALL_KERNELS, PAGE, Structs, make_root, write_files

CODE, DATA = 0xFFFFFFFFC0A3B000, 0xFFFFFFFFC0A3D000
FUNCTION, THIS = CODE + 0x10, DATA + 0x800
HEADS = ('ptype_all', 'ptype_base', 'net_hotdata', 'net_namespace_list', 'ftrace_ops_list', 'workqueues',
         'worker_pool_idr', 'hrtimer_bases', '__per_cpu_offset', '__start___tracepoints_ptrs',
         '__stop___tracepoints_ptrs', 'proc_root', 'debugfs_mount', 'dynamic_kobj_ktype', 'class_kset', 'init_task')
FUNCTIONS = {'delayed_work_timer_fn': 0xFFFFFFFF81001000, 'class_create_release': 0xFFFFFFFF81001100,
             'device_create_release': 0xFFFFFFFF81001200}


class Kernel:
    """A module's memory, and the kernel's empty lists."""

    def __init__(self, kernel, root):
        self.structs, self.root, self.held_at = Structs(kernel), root, []
        self.types, self.put, self.u64 = self.structs.types, self.structs.put, self.structs.memory.u64
        for address in (CODE, DATA):
            self.structs.memory.write(address, bytes(PAGE))
        self.at = {name: self.structs.space(PAGE) for name in HEADS}
        for name in ('ptype_all', 'net_namespace_list', 'workqueues'):
            self.ring(self.at[name])
        for number in range(16):
            self.ring(self.at['ptype_base'] + 16 * number)
        self.kset = self.structs.new('kset')
        self.u64(self.at['class_kset'], self.kset)
        self.ring(self.kset + self.types.offset('kset', 'list'))

    def holders(self, addresses):
        """As reachability.holders: the module's own word, where the kernel has each, and who else has it."""
        return {address: [DATA + 0x100, *self.held_at] for address in addresses}

    def ring(self, *nodes):
        self.structs.ring(*nodes)
        for node, before in zip(nodes, nodes[-1:] + nodes[:-1]):
            self.u64(node + 8, before)

    def link(self, head, address, struct_name, member):
        self.ring(head, address + self.types.offset(struct_name, member))

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
            found = find_leftovers.find(known, list(listed), memory, Symbols(root), self.at.get, self.holders)
        return [(one['kind'], one['what'], one['address']) for one in found]


@pytest.fixture(params=ALL_KERNELS)
def kernel(request, tmp_path):
    made = Kernel(request.param, tmp_path)
    made.structs_kernel = request.param
    return made


def test_a_module_that_left_nothing(kernel):
    assert kernel.find() == []


def test_a_file_in_proc(kernel):
    file = kernel.structs.new('proc_dir_entry', name=kernel.structs.text('foo'))
    assert kernel.find(kernel.hit(file, 'proc_dir_entry', 'proc_ops')) == [('proc', '/proc file foo', file)]


def test_a_file_in_debugfs(kernel):
    superblock = kernel.structs.new('super_block', s_magic=0x64626720)
    file = kernel.structs.new('dentry', d_sb=superblock)
    name = kernel.types.offset('dentry', 'd_name') + kernel.types.offset('qstr', 'name')
    kernel.u64(file + name, kernel.structs.text('foo'))
    expected = [('debugfs', 'debugfs file foo', file)]
    assert kernel.find(kernel.hit(file, 'dentry', 'd_fsdata')) == expected
    kernel.put(superblock, 'super_block', 's_magic', 1)
    assert kernel.find(kernel.hit(file, 'dentry', 'd_fsdata')) == []


def test_an_attribute_in_sysfs(kernel):
    above = kernel.types.first_offset('kernfs_node', 'parent', '__parent')
    directory = kernel.structs.new('kernfs_node')
    kobject = kernel.structs.new('kobject', sd=directory)
    kernel.put(directory, 'kernfs_node', 'priv', kobject)
    node = kernel.structs.new('kernfs_node', name=kernel.structs.text('value'), flags=struct.pack('<H', 2))
    kernel.u64(node + above, directory)
    assert kernel.find(kernel.hit(node, 'kernfs_node', 'priv', DATA + 8)) == [
        ('sysfs_file', 'sysfs attribute value', kobject)]
    kernel.put(node, 'kernfs_node', 'flags', struct.pack('<H', 1))
    assert kernel.find(kernel.hit(node, 'kernfs_node', 'priv', DATA + 8)) == []


def test_works_by_a_pointer(kernel):
    plain, delayed = kernel.structs.space(256), kernel.structs.space(256)
    kernel.u64(delayed + kernel.types.offset('delayed_work', 'timer') + kernel.types.offset('timer_list', 'function'),
               FUNCTIONS['delayed_work_timer_fn'])
    found = kernel.find(kernel.hit(plain, 'work_struct', 'func'), kernel.hit(delayed, 'work_struct', 'func'))
    assert found == [('delayed_work', 'work f_call', delayed), ('work', 'work f_call', plain)]


def test_a_timer_a_sysctl_and_a_driver(kernel):
    timer = kernel.structs.space(256)
    table = kernel.structs.new('ctl_table', procname=kernel.structs.text('value'))
    header = kernel.structs.new('ctl_table_header')
    driver = kernel.structs.new('device_driver', name=kernel.structs.text('lab'))
    private = kernel.structs.new('driver_private')
    assert kernel.find(kernel.hit(private, 'driver_private', 'driver', driver),
                       kernel.hit(header, 'ctl_table_header', 'ctl_table', table),
                       kernel.hit(timer, 'timer_list', 'function')) == [
        ('timer', 'timer f_call', timer), ('driver', 'driver lab', driver), ('sysctl', 'sysctl value', header)]


def test_a_hit_of_no_known_struct_is_left(kernel):
    place = {'place': 'x', 'address': '0x10', 'target': 'f', 'what': 'work_struct.func'}
    assert kernel.find(place, {**place, 'what': ''}, {**place, 'what': 'struct file'}) == []


def test_packet_handlers(kernel):
    other = kernel.structs.new('packet_type', func=FUNCTIONS['class_create_release'])
    kernel.put(DATA + 0x200, 'packet_type', 'func', FUNCTION)
    kernel.ring(kernel.at['ptype_base'] + 16 * 8, other + kernel.types.offset('packet_type', 'list'),
                DATA + 0x200 + kernel.types.offset('packet_type', 'list'))
    assert kernel.find() == [('packet', 'packet handler f_call', DATA + 0x200)]


def test_a_netfilter_hook_of_a_namespace(kernel):
    space = kernel.structs.new('net')
    kernel.link(kernel.at['net_namespace_list'], space, 'net', 'list')
    for member in ('ptype_all', 'ptype_specific'):
        if kernel.types.has('net', member):
            kernel.ring(space + kernel.types.offset('net', member))
    hook = kernel.structs.new('nf_hook_ops', hook=FUNCTION)
    other = kernel.structs.new('nf_hook_ops', hook=FUNCTIONS['class_create_release'])
    entries, size = kernel.structs.space(256), kernel.types.size('nf_hook_entry')
    kernel.structs.memory.write(entries, struct.pack('<H', 2))
    first = entries + kernel.types.offset('nf_hook_entries', 'hooks') + 2 * size
    kernel.u64(first, other)
    kernel.u64(first + 8, hook)
    kernel.u64(space + kernel.types.offset('net', 'nf') + kernel.types.offset('netns_nf', 'hooks_ipv4') + 8, entries)
    assert kernel.find() == [('netfilter', 'netfilter hook f_call', hook)]


def test_a_probe_of_a_tracepoint(kernel):
    size = kernel.types.size('tracepoint_func')
    probes = kernel.structs.space(256)
    kernel.u64(probes + kernel.types.offset('tracepoint_func', 'func'), FUNCTIONS['class_create_release'])
    kernel.u64(probes + size + kernel.types.offset('tracepoint_func', 'func'), FUNCTION)
    tracepoint = kernel.structs.new('tracepoint', funcs=probes, name=kernel.structs.text('sched_switch'))
    start = kernel.at['__start___tracepoints_ptrs']
    kernel.structs.memory.write(start, struct.pack('<i', tracepoint - start))
    kernel.at['__stop___tracepoints_ptrs'] = start + 4
    assert kernel.find() == [('tracepoint', 'tracepoint probe on sched_switch', FUNCTION)]


def test_an_ftrace_function(kernel):
    kernel.put(DATA + 0x200, 'ftrace_ops', 'func', FUNCTION)
    kernel.u64(kernel.at['ftrace_ops_list'], DATA + 0x200)
    assert kernel.find() == [('ftrace', 'ftrace function f_call', DATA + 0x200)]


def test_a_delayed_work_of_its_own_is_found_queued_or_not(kernel):
    work = DATA + 0x200
    kernel.put(work, 'work_struct', 'func', FUNCTION)
    timer = work + kernel.types.offset('delayed_work', 'timer')
    kernel.put(timer, 'timer_list', 'function', FUNCTIONS['delayed_work_timer_fn'])
    assert kernel.find() == [('delayed_work', 'work f_call', work)]
    kernel.put(work, 'work_struct', 'func', FUNCTIONS['class_create_release'])
    assert kernel.find() == []


def test_works_that_wait_or_run(kernel):
    queue, of_pool = kernel.structs.new('workqueue_struct'), kernel.structs.new('pool_workqueue')
    kernel.link(kernel.at['workqueues'], queue, 'workqueue_struct', 'list')
    kernel.ring(queue + kernel.types.offset('workqueue_struct', 'pwqs'),
                of_pool + kernel.types.offset('pool_workqueue', 'pwqs_node'))
    waits, runs, held_back = DATA + 0x200, DATA + 0x300, DATA + 0x400
    for work in (waits, runs, held_back):
        kernel.put(work, 'work_struct', 'func', FUNCTION)
    inactive = kernel.types.first_offset('pool_workqueue', 'inactive_works', 'delayed_works')
    kernel.link(of_pool + inactive, held_back, 'work_struct', 'entry')
    pool = kernel.structs.new('worker_pool')
    worker = kernel.structs.new('worker', current_work=runs)
    kernel.link(pool + kernel.types.offset('worker_pool', 'workers'), worker, 'worker', 'node')
    kernel.link(pool + kernel.types.offset('worker_pool', 'worklist'), waits, 'work_struct', 'entry')
    kernel.u64(kernel.at['worker_pool_idr'] + kernel.types.offset('idr', 'idr_rt') +
               kernel.types.offset('xarray', 'xa_head'), pool)
    assert sorted(kernel.find()) == [('work', 'work f_call', work) for work in (waits, runs, held_back)]


def test_high_resolution_timers_of_a_processor(kernel):
    base = kernel.at['hrtimer_bases'] + kernel.types.offset('hrtimer_cpu_base', 'clock_base')
    top, left, right = (kernel.structs.new('hrtimer', function=FUNCTIONS['class_create_release']),
                        DATA + 0x200, DATA + 0x300)
    kernel.put(left, 'hrtimer', 'function', FUNCTION)
    kernel.put(right, 'hrtimer', 'function', FUNCTION)
    kernel.put(top, 'rb_node', 'rb_left', left)
    kernel.put(left, 'rb_node', 'rb_right', right)
    kernel.put(base + kernel.types.size('hrtimer_clock_base'), 'hrtimer_clock_base', 'active', top)
    assert sorted(kernel.find()) == [('hrtimer', 'high-resolution timer f_call', timer) for timer in (left, right)]


def made_directory(kernel, name='foo', **members):
    return kernel.structs.new('proc_dir_entry', parent=kernel.at['proc_root'], name=kernel.structs.text(name),
                              mode=struct.pack('<H', 0o040555), namelen=bytes([len(name)]), **members)


def test_an_empty_directory_in_proc_that_the_module_keeps(kernel):
    directory = made_directory(kernel)
    kernel.put(kernel.at['proc_root'], 'proc_dir_entry', 'parent', kernel.at['proc_root'])
    kernel.kept(directory)
    assert kernel.find() == [('proc', '/proc directory foo', directory)]
    kernel.put(directory, 'proc_dir_entry', 'subdir', DATA)
    assert kernel.find() == []


def test_what_looks_like_no_directory_of_proc_is_left(kernel):
    kernel.kept(kernel.structs.space(PAGE))
    assert kernel.find() == []


def test_what_the_loader_keeps_of_it_is_not_its_own(kernel):
    directory = made_directory(kernel)
    kernel.put(kernel.at['proc_root'], 'proc_dir_entry', 'parent', kernel.at['proc_root'])
    kernel.u64(THIS + 0x40, directory)
    assert kernel.find() == []


def made_kobject(kernel, references=1):
    node = kernel.structs.new('kernfs_node')
    return kernel.structs.new('kobject', ktype=kernel.at['dynamic_kobj_ktype'], sd=node,
                              name=kernel.structs.text('foo'), kref=struct.pack('<I', references))


def test_an_empty_directory_in_sysfs(kernel):
    kobject = made_kobject(kernel)
    kernel.kept(kobject)
    assert kernel.find() == [('kobject', 'sysfs directory foo', kobject)]


def test_a_directory_in_sysfs_that_somebody_has_is_left(kernel):
    kernel.kept(made_kobject(kernel, 2))
    assert kernel.find() == []


def test_an_empty_directory_in_debugfs(kernel):
    superblock, inode = kernel.structs.space(64), kernel.structs.new('inode', i_mode=struct.pack('<H', 0o040755))
    kernel.u64(kernel.at['debugfs_mount'], kernel.structs.new('vfsmount', mnt_sb=superblock))
    directory = kernel.structs.new('dentry', d_sb=superblock, d_inode=inode)
    kernel.u64(directory + kernel.types.offset('dentry', 'd_name') + kernel.types.offset('qstr', 'name'),
               kernel.structs.text('foo'))
    below = directory + kernel.types.first_offset('dentry', 'd_subdirs', 'd_children')
    if not kernel.types.has('dentry', 'd_children'):
        kernel.ring(below)
    kernel.kept(directory)
    assert kernel.find() == [('debugfs', 'debugfs directory foo', directory)]
    kernel.u64(below, DATA)
    assert kernel.find() == []


def made_class(kernel, release='class_create_release', device_release='device_create_release'):
    made = kernel.structs.new('class', name=kernel.structs.text('lab'), class_release=FUNCTIONS.get(release, 0))
    private = kernel.structs.new('subsys_private', **{'class': made})
    kobject = kernel.types.offset('subsys_private', 'subsys') + kernel.types.offset('kset', 'kobj')
    kernel.ring(kernel.kset + kernel.types.offset('kset', 'list'),
                private + kobject + kernel.types.offset('kobject', 'entry'))
    device = kernel.structs.new('device', devt=struct.pack('<I', 0xf000001), release=FUNCTIONS.get(device_release, 0))
    kernel.u64(device + kernel.types.offset('device', 'kobj') + kernel.types.offset('kobject', 'name'),
               kernel.structs.text('lab0'))
    own = kernel.structs.new('device_private', device=device)
    node = own + kernel.types.offset('device_private', 'knode_class') + kernel.types.offset('klist_node', 'n_node')
    kernel.ring(private + kernel.types.offset('subsys_private', 'klist_devices') +
                kernel.types.offset('klist', 'k_list'), node)
    return made


def test_a_class_with_its_devices(kernel):
    made = made_class(kernel)
    kernel.kept(made)
    assert kernel.find() == [('device', 'device lab0 of class lab', made), ('class', 'class lab', made)]


@pytest.mark.parametrize('releases', [('', 'device_create_release'), ('class_create_release', '')],
                         ids=['a class of another kind', 'a device of another kind'])
def test_a_class_that_others_may_have_made_is_left(kernel, releases):
    kernel.kept(made_class(kernel, *releases))
    assert kernel.find() == []


KEPT = {'proc': made_directory, 'kobject': made_kobject, 'class': made_class}


@pytest.mark.parametrize('kind', KEPT)
def test_what_somebody_else_has_a_pointer_to_is_left(kernel, kind):
    kernel.put(kernel.at['proc_root'], 'proc_dir_entry', 'parent', kernel.at['proc_root'])
    kernel.kept(KEPT[kind](kernel))
    assert kernel.find()[-1][0] == kind
    kernel.held_at = [kernel.structs.space(64)]
    assert kernel.find() == []


def test_where_the_kernel_has_its_own_pointers_it_is_nobody_elses(kernel):
    node = kernel.structs.new('kernfs_node')
    kobject = made_kobject(kernel)
    kernel.put(kobject, 'kobject', 'sd', node)
    kernel.kept(kobject)
    kernel.held_at = [node + kernel.types.offset('kernfs_node', 'priv')]
    assert [kind for kind, _what, _address in kernel.find()] == ['kobject']


def test_an_inode_of_proc_is_nobody_elses(kernel):
    kernel.put(kernel.at['proc_root'], 'proc_dir_entry', 'parent', kernel.at['proc_root'])
    kernel.kept(made_directory(kernel))
    inode = kernel.structs.new('proc_inode')
    kernel.held_at = [inode + kernel.types.offset('proc_inode', 'pde')]
    superblock = kernel.structs.new('super_block', s_magic=0x9fa0)
    kernel.put(inode + kernel.types.offset('proc_inode', 'vfs_inode'), 'inode', 'i_sb', superblock)
    assert [kind for kind, _what, _address in kernel.find()] == ['proc']
    kernel.put(superblock, 'super_block', 's_magic', 0x9fa1)
    assert kernel.find() == []


def test_where_memory_cannot_be_searched_nothing_of_that_is_taken_back(kernel):
    def fails(_addresses):
        raise KmodError('see who else has it', 'only 1 of 2 MB')

    kernel.kept(made_kobject(kernel))
    kernel.holders = fails
    assert kernel.find() == []


def test_they_come_in_the_order_in_which_they_are_taken_back(kernel):
    listed = [{'kind': kind, 'what': kind, 'address': number, 'other': 0, 'more': 0, 'proof': 0}
              for number, kind in enumerate(['misc', 'timer', 'misc', 'thread', 'kobject', 'delayed_work', 'work'])]
    listed[6]['address'] = listed[5]['address']  # the same work
    again = [*listed, {**listed[0]}]
    assert [kind for kind, _what, _address in kernel.find(listed=again)] == [
        'thread', 'timer', 'delayed_work', 'misc', 'misc', 'kobject']
