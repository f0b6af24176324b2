# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holders: tasks, files, superblocks in memory as four kernels lay them out."""

import functools
import os

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import find_holders, owned
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_sockets, open_files
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_sockets import Owner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_memory import KERNELS, make_root, write_files
from used_kernel import INSIDE, MODULE, OTHER, UsedKernel, shown


def populated(kernel):
    """A kernel with a process for each way to hold a module, and some that hold none."""
    made = UsedKernel(kernel)
    plain, built_in = made.file(OTHER), made.file(0)
    made.process(1, 'systemd', made.table({0: built_in, 5: plain}))
    made.process(2, 'kthreadd', 0)
    made.process(300, 'cat', made.table({0: built_in, 3: made.file(MODULE)}))
    shared = made.table({7: made.file(MODULE), 63: made.file(MODULE)})
    made.process(400, 'two threads', shared, shared)
    made.process(500, 'leader is gone', 0, made.table({9: made.file(MODULE)}))
    made.process(600, 'protocol', made.table({4: made.socket(MODULE)[0], 5: made.socket(OTHER)[0],
                                              6: made.socket(0)[0]}))
    made.process(700, 'unreadable', 0xDEAD000, made.table({1: 0x1000, 2: made.file(MODULE)}))
    made.superblock((0, 51), MODULE, 'foofs')
    made.superblock((8, 1), OTHER, 'ext4')
    made.superblock((0, 52), MODULE, 'foofs')
    made.close_lists()
    return made


def root_of(directory, kernel, made):
    """Its root, with what /proc says of the same processes."""
    root = make_root(directory, kernel, made.memory)
    mounts = ('22 1 8:1 / / rw shared:1 - ext4 /dev/vda rw\n'
              '30 22 0:51 / /mnt/with\\040space rw,relatime shared:5 master:1 - foofs foo\\134dev rw\n')
    write_files(root, {'proc/300/fd/3': '-> /dev/foo', 'proc/400/fd/7': '-> /dev/foo0',
                       'proc/400/fd/63': '-> /dev/foo63',
                       'proc/500/fd/9': '-> /dev/foo', 'proc/600/fd/4': '-> socket:[4711]',
                       'proc/1/ns/mnt': '-> mnt:[1]', 'proc/1/mountinfo': mounts,
                       'proc/300/ns/mnt': '-> mnt:[1]', 'proc/300/mountinfo': mounts,
                       'proc/400/ns/mnt': '-> mnt:[2]',
                       'proc/400/mountinfo': '9 8 0:51 / /inside rw - foofs foo\\134dev rw\nbroken\n' + mounts})
    return root


@pytest.mark.parametrize('kernel', KERNELS)
def test_open_files_by_their_owner(tmp_path, kernel):
    made = populated(kernel)
    found = made.find(root_of(tmp_path, kernel, made))
    assert [(entry['pid'], entry['command'], entry['fd'], entry['path'], entry['evidence'])
            for entry in found['processes'][:5]] == [
        (300, 'cat', 3, '/dev/foo', 'file_operations.owner'),
        (400, 'two threads', 7, '/dev/foo0', 'file_operations.owner'),
        (400, 'two threads', 63, '/dev/foo63', 'file_operations.owner'),
        (500, 'leader is gone', 9, '/dev/foo', 'file_operations.owner'),
        (600, 'protocol', 4, 'socket:[4711]', 'proto_ops.owner'),
    ]
    (last,) = found['processes'][5:]
    assert (last['pid'], last['fd']) == (700, 2)
    assert 'No such file' in last['path']['unavailable']
    assert found['notes'] == []
    # What cannot be read may be the module's.
    assert [text.partition(': Cannot')[0] for text in found['unread']] == [
        'processes: open files of process unreadable (pid 700)',
        'processes: an open file of process unreadable (pid 700)']


@pytest.mark.parametrize('kernel', KERNELS)
def test_mounts_by_the_owner_of_their_type(tmp_path, kernel):
    made = populated(kernel)
    found = made.find(root_of(tmp_path, kernel, made))['mounts']
    assert shown(found, 'what', 'device', 'path', 'type', 'end_with', 'evidence') == [
        ('mount /mnt/with space', 'foo\\dev', '/mnt/with space', 'foofs', "umount '/mnt/with space'",
         'file_system_type.owner'),
        ('mount /inside (in the mount namespace of pid 400)', 'foo\\dev', '/inside', 'foofs',
         'nsenter -t 400 -m umount /inside', 'file_system_type.owner'),
        ('file system 0:52 of type foofs, mounted in no namespace that can be seen', '0:52',
         {'unavailable': 'it is mounted in no mount namespace'}, 'foofs', '', 'file_system_type.owner')]


@pytest.mark.parametrize('kernel', KERNELS)
def test_what_a_module_offers_by_name_is_found_by_its_owner(tmp_path, kernel):
    made = populated(kernel)
    disciplines = [made.new('Qdisc_ops', id=name, owner=owner) for name, owner in (
        (b'pfifo\0', 0), (b'tuned\0', MODULE), (b'htb\0', OTHER))]
    for this, following in zip(disciplines, [*disciplines[1:], 0]):
        made.put(this, 'Qdisc_ops', 'next', following)
    congestion = [made.new('tcp_congestion_ops', name=name, owner=owner) for name, owner in (
        (b'cubic\0', OTHER), (b'smooth\0', MODULE))]
    heads = {name: made.new('list_head') for name in ('qdisc_base', 'tcp_cong_list')}
    made.memory.u64(heads['qdisc_base'], disciplines[0])
    made.ring(heads['tcp_cong_list'], *[made.at(one, 'tcp_congestion_ops', 'list') for one in congestion])
    with KernelMemory(str(root_of(tmp_path, kernel, made))) as memory:
        assert owned.offers(Owner(MODULE), memory, heads.get) == (['net-sch-tuned', 'tcp_smooth'], [])
        made.memory.u64(made.at(disciplines[2], 'Qdisc_ops', 'next'), disciplines[0])
    with KernelMemory(str(root_of(tmp_path / 'torn', kernel, made))) as memory:
        assert owned.offers(Owner(MODULE), memory, heads.get) == (
            ['tcp_smooth'], ['Cannot walk qdisc_base: it goes in circles.'])


def test_who_is_in_a_file_system_that_is_mounted_nowhere_is_named(tmp_path):
    here, made = tmp_path.stat(), UsedKernel('linux-6.12')
    made.process(1, 'systemd', made.table({}))
    made.superblock((os.major(here.st_dev), os.minor(here.st_dev)), MODULE, 'foofs')
    root = make_root(tmp_path, 'linux-6.12', made.close_lists().memory)
    for pid, place in ((300, 'cwd'), (400, 'fd/7')):
        write_files(root, {'proc/%d/comm' % pid: 'sh\n', 'proc/%d/%s' % (pid, place): f'-> {tmp_path}'})
    write_files(root, {'proc/500/comm': 'cat\n', 'proc/500/cwd': '-> /proc'})
    (found,) = made.find(root)['mounts']
    assert found['what'].endswith(
        ' of type foofs, mounted in no namespace that can be seen, used by process sh (pid 300), process sh (pid 400)')
    assert found['end_with'] == 'kill 300 && kill 400'


def test_a_thread_may_have_mounts_of_its_own(tmp_path):
    made = UsedKernel('linux-6.12')
    made.process(1, 'systemd', made.table({}))
    made.superblock((0, 51), MODULE, 'foofs')
    root = make_root(tmp_path, 'linux-6.12', made.close_lists().memory)
    write_files(root, {'proc/1/ns/mnt': '-> mnt:[1]', 'proc/400/ns/mnt': '-> mnt:[1]', 'proc/400/task/400/comm': '',
                       'proc/400/task/401/comm': ''})
    # /proc/401 is there although no listing shows it: what this directory lists has no such number.
    write_files(root, {'proc/401/ns/mnt': '-> mnt:[2]',
                       'proc/401/mountinfo': '9 8 0:51 / /inside rw - foofs none rw\n'})
    (found,) = made.find(root)['mounts']
    assert found['end_with'] == 'nsenter -t 401 -m umount /inside'


def test_nothing_found_is_an_empty_list(tmp_path):
    made = UsedKernel('linux-6.12')
    made.process(1, 'systemd', made.table({0: made.file(OTHER)}))
    made.superblock((8, 1), OTHER, 'ext4')
    made.close_lists()
    found = made.find(root_of(tmp_path, 'linux-6.12', made))
    assert (found['processes'], found['mounts'], found['others'], found['unread']) == ([], [], [], [])


@pytest.mark.parametrize(('kind', 'operations', 'evidence'), [
    (INSIDE, OTHER, 'super_block.s_type'),
    (None, INSIDE, 'super_block.s_op'),
])
def test_a_file_system_that_names_no_owner_serves_what_is_mounted(tmp_path, kind, operations, evidence):
    made = populated('linux-6.1')
    made.superblock((0, 53), 0, 'foofs', operations=operations, kind=kind)
    made.close_lists()
    found = made.find(root_of(tmp_path, 'linux-6.1', made))['mounts'][-1]
    assert (found['device'], found['evidence'], found['counts'], found['active']) == ('0:53', evidence, False, True)


@pytest.mark.parametrize(('break_it', 'why'), [
    (lambda made: made.symbols.pop('init_task'), 'init_task: /proc/kallsyms does not give its address'),
    (lambda made: made.put(made.symbols['init_task'], 'task_struct', 'tasks', 0x1000), 'no segment'),
    (lambda made: made.put(made.leaders[2], 'task_struct', 'tasks', made.leaders[0] + made.types.offset(
        'task_struct', 'tasks')), 'task list: it does not lead back'),
    (lambda made: made.put(made.leaders[3], 'task_struct', 'thread_node', made.leaders[1] + made.types.offset(
        'task_struct', 'thread_node')), 'threads of process 400: they do not lead back'),
])
def test_a_broken_task_list_costs_the_processes_only(tmp_path, break_it, why):
    made = populated('linux-7.3')
    break_it(made)
    found = made.find(root_of(tmp_path, 'linux-7.3', made))
    assert why in found['processes']['unavailable']
    assert len(found['mounts']) == 3


@pytest.mark.parametrize(('break_it', 'why'), [
    (lambda made: made.symbols.pop('super_blocks'), 'super_blocks: /proc/kallsyms does not give'),
    (lambda made: made.memory.u64(made.supers[2], made.supers[0]), 'superblocks: it goes in circles'),
    (lambda made: made.memory.u64(made.supers[0], 0), 'no segment'),
])
def test_a_broken_superblock_list_costs_the_mounts_only(tmp_path, break_it, why):
    made = populated('linux-5.10')
    break_it(made)
    root = root_of(tmp_path, 'linux-5.10', made)
    assert why in made.find(root)['mounts']['unavailable']
    assert len(made.find(root)['processes']) == 6
    lesser = made.find(root, aliases=lambda: ['fs-foofs', 'char-major-10-1'])
    assert [entry['path'] for entry in lesser['mounts']] == ['/mnt/with space', '/inside']
    assert why in lesser['notes'][0]


def test_a_kernel_that_moved_one_field_costs_one_fact(tmp_path, monkeypatch):
    made = populated('linux-6.1')
    monkeypatch.setitem(open_files.FILE, 'f_op', ('file', 'f_operations'))
    found = made.find(root_of(tmp_path, 'linux-6.1', made))
    assert 'f_operations in struct file' in found['processes']['unavailable']
    assert len(found['mounts']) == 3


def test_without_socket_types_files_are_still_found_and_sockets_unread(tmp_path, monkeypatch):
    made = populated('linux-6.1')
    monkeypatch.setitem(kernel_sockets.SOCKET, 'ops', ('socket', 'operations'))
    found = made.find(root_of(tmp_path, 'linux-6.1', made))
    assert [entry['pid'] for entry in found['processes']] == [300, 400, 400, 500, 700]
    assert any('an open file of process protocol (pid 600)' in text and 'operations in struct socket' in text
               for text in found['unread'])


def refuse(_name):
    """A symbol table that is hidden."""
    raise KmodError('read kernel symbols', 'the addresses in /proc/kallsyms are hidden')


@pytest.mark.parametrize(('address', 'symbols', 'why'), [
    (0, {}.get, 'address of its struct module is not known'), (None, {}.get, 'is not known'),
    ({'unavailable': 'x'}, {}.get, 'is not known'), (MODULE, refuse, 'are hidden'),
    (MODULE, None, 'does not give its address'),
])
def test_without_addresses_the_reason_is_given(tmp_path, address, symbols, why):
    root = root_of(tmp_path, 'linux-6.1', populated('linux-6.1'))
    found = find_holders.find('foo', address, root, symbols=symbols)
    assert why in found['processes']['unavailable']
    assert why in found['mounts']['unavailable']


@functools.lru_cache(maxsize=None)
def undamaged():
    """A kernel, its memory as a core file, and where in it anything is."""
    made = populated('linux-6.1')
    whole = made.memory.core_file()
    return made, whole, [at for at, byte in enumerate(whole) if byte]


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=60))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_damaged_memory_gives_holders_or_a_reason(tmp_path_factory, damage):
    root = tmp_path_factory.getbasetemp() / 'damaged'
    made, whole, places = undamaged()
    if not (root / 'proc/1').exists():
        root_of(root, 'linux-6.1', made)
    core = bytearray(whole)
    for at, value in damage:
        core[places[at % len(places)]] = value
    (root / 'proc/kcore').write_bytes(bytes(core))
    found = made.find(root)
    for kind in ('processes', 'mounts'):
        assert isinstance(found[kind], list) or is_unavailable(found[kind])
