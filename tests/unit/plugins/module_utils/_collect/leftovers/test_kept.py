# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no longer leads into a module, and that it keeps a pointer to, is its own where nobody else has one."""

import struct

import left_kernel
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from kernel_memory import PAGE
from left_kernel import DATA, FUNCTIONS, NAMES, THIS

kernel = left_kernel.left_kernel


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
    private = kernel.subsystem('class_kset', **{'class': made})
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


def test_a_datum_of_the_module_in_debugfs(kernel):
    """debugfs_create_u32(): the functions are the kernel's."""
    superblock = kernel.structs.new('super_block', s_magic=0x64626720)
    file, inode = kernel.structs.new('dentry', d_sb=superblock), kernel.structs.new('inode')
    kernel.u64(file + kernel.types.offset('dentry', 'd_name') + kernel.types.offset('qstr', 'name'),
               kernel.structs.text('value'))
    kernel.put(inode, 'inode', 'i_dentry', file + kernel.types.first_offset('dentry', 'd_u', 'd_alias'))
    hit = kernel.hit(inode, 'inode', 'i_private', DATA + 8)
    assert kernel.find(hit) == [('debugfs', 'debugfs file value', file)]
    kernel.held_at = [kernel.structs.space(64)]
    assert kernel.find(hit) == []


def made_platform_device(kernel):
    made = kernel.structs.space(4096)
    inner = made + kernel.types.offset('platform_device', 'dev')
    kobject = inner + kernel.types.offset('device', 'kobj')
    kernel.put(inner, 'device', 'release', FUNCTIONS['platform_device_release'])
    kernel.put(inner, 'device', 'p', kernel.structs.new('device_private', device=inner))
    kernel.put(kobject, 'kobject', 'name', kernel.structs.text('lab.0'))
    kernel.put(made, 'platform_device', 'name', kernel.structs.text('lab'))
    kernel.put(kobject, 'kobject', 'sd', kernel.structs.new('kernfs_node'))
    return made


def test_a_platform_device(kernel):
    made = made_platform_device(kernel)
    kernel.kept(made)
    assert kernel.find() == [('platform_device', 'platform device lab.0', made)]
    inner = made + kernel.types.offset('platform_device', 'dev')
    kernel.put(inner, 'device', 'p', kernel.structs.new('device_private'))  # it was never added
    assert kernel.find() == []


def test_directories_right_below_that_of_a_device_are_its_own(kernel):
    """`power` is one: a kernfs_node that says whose it is."""
    made = made_platform_device(kernel)
    kernel.kept(made)
    kobject = made + kernel.types.offset('platform_device', 'dev') + kernel.types.offset('device', 'kobj')
    node, below = kernel.structs.new('kernfs_node'), kernel.structs.new('kernfs_node')
    kernel.put(kobject, 'kobject', 'sd', node)
    kernel.held_at = [below + kernel.types.offset('kernfs_node', 'priv')]
    assert kernel.find() == []
    kernel.u64(below + kernel.types.first_offset('kernfs_node', 'parent', '__parent'), node)
    assert [kind for kind, _what, _address in kernel.find()] == ['platform_device']


def made_workqueue(kernel, active=0):
    made = kernel.structs.new('workqueue_struct')
    kernel.structs.memory.write(made + kernel.types.offset('workqueue_struct', 'name'), b'lab\0')
    kernel.link(kernel.at['workqueues'], made, 'workqueue_struct', 'list')
    of_pool = kernel.structs.new('pool_workqueue', wq=made, nr_active=struct.pack('<I', active))
    link = of_pool + kernel.types.offset('pool_workqueue', 'pwqs_node')
    kernel.ring(made + kernel.types.offset('workqueue_struct', 'pwqs'), link)
    kernel.ring(of_pool + kernel.types.first_offset('pool_workqueue', 'inactive_works', 'delayed_works'))
    task = kernel.structs.new('task_struct', stack=kernel.structs.space(16384))
    kernel.put(made, 'workqueue_struct', 'rescuer', kernel.structs.new('worker', task=task))
    return made


def test_a_workqueue_in_which_nothing_is(kernel):
    made = made_workqueue(kernel)
    kernel.kept(made)
    assert kernel.find() == [('workqueue', 'workqueue lab', made)]


def test_a_workqueue_that_works_is_left(kernel):
    kernel.kept(made_workqueue(kernel, 1))
    assert kernel.find() == []


KEPT = {'platform_device': made_platform_device, 'workqueue': made_workqueue, 'proc': made_directory,
        'kobject': made_kobject, 'class': made_class}


@pytest.mark.parametrize('kind', KEPT)
def test_what_somebody_else_has_a_pointer_to_is_left(kernel, kind):
    kernel.put(kernel.at['proc_root'], 'proc_dir_entry', 'parent', kernel.at['proc_root'])
    kernel.kept(KEPT[kind](kernel))
    assert kernel.find()[-1][0] == kind
    kernel.held_at = [kernel.structs.space(64)]
    assert kernel.find() == []


@pytest.mark.parametrize('kind', KEPT)
def test_what_has_a_name_that_the_module_does_not_know_is_left(kernel, kind):
    """It lies where something of the module lay before that was taken back."""
    kernel.put(kernel.at['proc_root'], 'proc_dir_entry', 'parent', kernel.at['proc_root'])
    kernel.kept(KEPT[kind](kernel))
    kernel.structs.memory.write(NAMES, bytes(16))
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
