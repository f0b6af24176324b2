# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module left is found by the kernel's lists and by pointers, on structs of six kernels."""

import struct

import left_kernel as made
from left_kernel import DATA, FUNCTION, FUNCTIONS

kernel = made.left_kernel


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
    plain, delayed = DATA + 0x200, DATA + 0x300
    kernel.u64(delayed + kernel.types.offset('delayed_work', 'timer') + kernel.types.offset('timer_list', 'function'),
               FUNCTIONS['delayed_work_timer_fn'])
    found = kernel.find(kernel.hit(plain, 'work_struct', 'func'), kernel.hit(delayed, 'work_struct', 'func'))
    assert found == [('delayed_work', 'work f_call', delayed), ('work', 'work f_call', plain)]


def made_group(kernel, *attributes):
    """A directory of attributes below that of a kobject: it, and the kobject."""
    above = kernel.types.first_offset('kernfs_node', 'parent', '__parent')
    directory = kernel.structs.new('kernfs_node')
    kobject = kernel.structs.new('kobject', sd=directory)
    kernel.put(directory, 'kernfs_node', 'priv', kobject)
    group = kernel.structs.new('kernfs_node', priv=kobject, name=kernel.structs.text('group'))
    kernel.u64(group + above, directory)
    nodes = [kernel.structs.new('kernfs_node', priv=attribute, flags=struct.pack('<H', 2)) for attribute in attributes]
    place = group + kernel.types.offset('kernfs_node', 'dir') + kernel.types.offset('kernfs_elem_dir', 'children')
    for node in nodes:
        kernel.u64(node + above, group)
        kernel.u64(place, node + kernel.types.offset('kernfs_node', 'rb'))
        place = node + kernel.types.offset('kernfs_node', 'rb') + kernel.types.offset('rb_node', 'rb_left')
    return nodes[0], kobject


def test_attributes_in_a_directory_of_their_own(kernel):
    node, kobject = made_group(kernel, DATA + 8, DATA + 16)
    assert kernel.find(kernel.hit(node, 'kernfs_node', 'priv', DATA + 8)) == [
        ('sysfs_group', 'sysfs attributes group', kobject)]


def test_a_directory_that_has_attributes_of_others_is_left(kernel):
    node, _kobject = made_group(kernel, DATA + 8, FUNCTIONS['class_create_release'])
    assert kernel.find(kernel.hit(node, 'kernfs_node', 'priv', DATA + 8)) == []


def test_a_bus_of_the_modules_own(kernel):
    kernel.put(DATA + 0x300, 'bus_type', 'name', kernel.structs.text('lab'))
    private = kernel.subsystem('bus_kset', bus=DATA + 0x300)
    assert kernel.find() == [('bus', 'bus lab', DATA + 0x300)]
    kernel.put(private, 'subsys_private', 'bus', kernel.structs.new('bus_type'))
    assert kernel.find() == []


def test_a_timer_a_sysctl_and_a_driver(kernel):
    timer, driver = DATA + 0x200, DATA + 0x280
    table = kernel.structs.new('ctl_table', procname=kernel.structs.text('value'))
    header = kernel.structs.new('ctl_table_header')
    kernel.put(driver, 'device_driver', 'name', kernel.structs.text('lab'))
    private = kernel.structs.new('driver_private')
    kernel.put(driver, 'device_driver', 'p', private)
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
    hook = DATA + 0x200
    kernel.put(hook, 'nf_hook_ops', 'hook', FUNCTION)
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


def test_they_come_in_the_order_in_which_they_are_taken_back(kernel):
    listed = [{'kind': kind, 'what': kind, 'address': DATA + number, 'other': 0, 'more': 0, 'proof': 0}
              for number, kind in enumerate(['misc', 'timer', 'misc', 'thread', 'kobject', 'delayed_work', 'work'])]
    listed[6]['address'] = listed[5]['address']  # the same work
    again = [*listed, {**listed[0]}]
    assert [kind for kind, _what, _address in kernel.find(listed=again)] == [
        'thread', 'timer', 'delayed_work', 'misc', 'misc', 'kobject']
