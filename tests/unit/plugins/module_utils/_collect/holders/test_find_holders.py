# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holders: tasks, files, superblocks in memory as four kernels lay them out; /proc and /sys where that fails."""

import functools
import os
import subprocess

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import (
    find_holders,
    network_devices,
    owned,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import root_files
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_sockets, open_files
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_sockets import Owner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_memory import ALL_KERNELS, CAPTURES, KERNELS, make_root, write_files
from used_kernel import INSIDE, MODULE, OTHER, UsedKernel

KINDS = ('processes', 'mounts', 'network', 'protocols', 'algorithms')
SHAPE = {'what', 'evidence', 'end_with', 'counts', 'active'}


def shown(entries, *keys):
    """Those keys of each entry, all of which have what every holder has."""
    assert all(set(entry) >= SHAPE for entry in entries)
    return [tuple(entry[key] for key in keys) for entry in entries]


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


def test_without_kcore_open_devices_are_found_by_their_driver_and_name(tmp_path):
    write_files(tmp_path, {
        'proc/10/comm': 'sh\n',
        'proc/10/fd/3': '-> /dev/null', 'proc/10/fd/4': '-> /dev/zero', 'proc/10/fd/5': '-> /etc',
        'proc/10/fd/6': '-> /no/such/file', 'proc/10/fd/x': '', 'proc/11/fd/0': '-> /dev/zero',
        'sys/dev/char/1:3/device/driver/module': '-> ../../../module/driver_foo',
        'proc/devices': 'Character devices:\n  1 mem-foo\n 10 misc\n\nBlock devices:\n  1 block_foo\n',
    })
    found = find_holders.find('driver_foo', MODULE, str(tmp_path))
    assert found['processes'] == [{'pid': 10, 'command': 'sh', 'path': '/dev/null', 'fd': 3,
                                   'evidence': '/sys/dev/char/1:3/device/driver/module',
                                   'what': 'process sh (pid 10) with /dev/null open', 'end_with': 'kill 10',
                                   'counts': True, 'active': False}]
    assert 'CONFIG_DEBUG_INFO_BTF' in found['notes'][0]
    found = find_holders.find('mem_foo', MODULE, str(tmp_path))
    assert [(entry['pid'], entry['path'], entry['evidence']) for entry in found['processes']] == [
        (10, '/dev/null', '/proc/devices: mem-foo'), (10, '/dev/zero', '/proc/devices: mem-foo'),
        (11, '/dev/zero', '/proc/devices: mem-foo')]
    # To find nothing this way proves nothing.
    assert is_unavailable(find_holders.find('block_foo', MODULE, str(tmp_path))['processes'])


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_captured_device_names(tmp_path, kernel):
    host = CAPTURES / kernel / 'host'
    write_files(tmp_path, {'proc/devices': (host / 'proc_devices').read_text(),
                           'proc/misc': (host / 'proc_misc').read_text()})
    names = find_holders._device_names(str(tmp_path))
    assert names[False, 1, -1] == 'mem'
    assert 'virtblk' in [name for (block, dummy, dummy), name in names.items() if block]
    held = 'cdev_busy' if kernel in KERNELS else 'cdev_held'
    assert held in [name for (block, major, dummy), name in names.items() if major == 10 and not block]


@pytest.mark.parametrize(('module', 'aliases', 'paths'), [
    ('ext4', (), ['/']), ('ext4', ['fs-ext2', 'ext2'], ['/', '/boot']), ('ext2', (), ['/boot']),
    ('vfat', ['fs-vfat'], []),
    ('fuse', (), ['/home/me/remote']), ('nfsd', ['fs-nfsd'], []), ('9p', ['fs-9p'], ['/shared one']),
    ('binder_fs', (), ['/b']), ('nothing', ['fs-'], []),
])
def test_mounts_by_type(tmp_path, module, aliases, paths):
    write_files(tmp_path, {'proc/1/ns/mnt': '-> mnt:[1]', 'proc/1/mountinfo': (
        '1 0 8:1 / / rw - ext4 /dev/vda rw\n2 1 8:2 / /boot rw - ext2 /dev/vdb rw\n'
        '3 1 0:40 / /home/me/remote rw - fuse.sshfs me@host: rw\n4 1 0:41 / /shared\\040one rw,a - 9p tag rw\n'
        '5 1 0:42 / /b rw - binder-fs none rw\n6 1 0:43 / /x rw\n')})
    found = find_holders.find(module, None, str(tmp_path), aliases=lambda: aliases)['mounts']
    assert ([entry['path'] for entry in found] if isinstance(found, list) else []) == paths


def test_network_devices_by_their_driver(tmp_path):
    write_files(tmp_path, {'sys/class/net/eth0/device/driver/module': '-> ../../../../module/virtio_net',
                           'sys/class/net/eth1/device/driver/module': '-> ../../../../module/e1000',
                           'sys/class/net/lo/type': '772'})
    assert shown(find_holders.find('virtio_net', None, str(tmp_path))['network'], 'device', 'evidence') == [
        ('eth0', '/sys/class/net/eth0/device/driver/module')]
    assert find_holders.find('tun', None, str(tmp_path))['network'] == []
    assert 'sys/class/net' in find_holders.find('tun', None, str(tmp_path / 'none'))['network']['unavailable']


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_captured_protocols_and_algorithms(tmp_path, kernel):
    host = CAPTURES / kernel / 'host'
    write_files(tmp_path, {'proc/net/protocols': (host / 'proc_net_protocols').read_text(),
                           'proc/crypto': (host / 'proc_crypto_head').read_text()})
    kernel_itself = find_holders.find('kernel', None, str(tmp_path))
    assert ('PACKET', 1, '/proc/net/protocols') in shown(kernel_itself['protocols'], 'protocol', 'sockets', 'evidence')
    assert all(entry['sockets'] > 0 for entry in kernel_itself['protocols'])
    assert find_holders.find('vsock', None, str(tmp_path))['protocols'] == []


def test_algorithms_that_something_has_allocated(tmp_path):
    write_files(tmp_path, {'proc/crypto': (
        'name         : crc32c\ndriver       : crc32c-intel\nmodule       : crc32c_intel\nrefcnt       : 3\n\n'
        'name         : idle\nmodule       : crc32c_intel\nrefcnt       : 1\n\nnonsense\nmodule : crc32c_intel')})
    found = find_holders.find('crc32c_intel', None, str(tmp_path))
    assert shown(found['algorithms'], 'what', 'algorithm', 'driver', 'references') == [
        ('users of the algorithm crc32c', 'crc32c', 'crc32c-intel', 2)]
    assert 'proc/net/protocols: No such file' in found['protocols']['unavailable']


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_text_gives_lists(tmp_path_factory, devices, mounts, protocols, crypto):
    root = tmp_path_factory.getbasetemp() / 'any'
    for name, text in (('proc/devices', devices), ('proc/misc', devices), ('proc/1/mountinfo', mounts),
                       ('proc/net/protocols', protocols), ('proc/crypto', crypto)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode('utf-8', 'surrogatepass'))
    if not (root / 'proc/1/ns').exists():
        write_files(root, {'proc/1/ns/mnt': '-> mnt:[1]', 'proc/1/fd/0': '-> /dev/null', 'sys/class/net/lo': ''})
    found = find_holders.find('foo', None, str(root), aliases=lambda: ['fs-', 'fs-x'])
    assert all(isinstance(found[kind], list) for kind in ('network', 'protocols', 'algorithms'))


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


def test_this_host():
    found = find_holders.find('no_such_module', None)
    assert found['network'] == []
    assert set(found) == set(KINDS) | {'notes', 'others', 'unread', 'hint'}
    assert (found['others'], found['hint']) == ([], '')
    assert [text.partition(':')[0] for text in found['unread']] == ['network devices in other namespaces']
    assert network_devices.ethtool_driver('lo') is None
    assert network_devices.ethtool_driver('no_such_device_at_all') is None


@pytest.mark.parametrize(('pid', 'cgroup', 'command'), [
    (1, '0::/init.scope\n', ''), (7, '', 'kill 7'),
    (7, '0::/system.slice/foo.service\n', 'systemctl stop foo.service'),
    (7, '12:cpu:/a.service\n1:name=systemd:/system.slice/system-foo.slice/foo@1.service/inner\n0::/\n',
     'systemctl stop foo@1.service'),
    (7, '0::/system.slice/a\\x2db.service\n', "systemctl stop 'a\\x2db.service'"),
    (7, '0::/user.slice/user-0.slice/session-3.scope\n', 'kill 7'),
    (7, '0::/user.slice/user-0.slice/user@0.service/app.slice/foo.service\n', 'kill 7'),
    (7, '0::/machine.slice/c1.scope/system.slice/foo.service\n', 'kill 7'),
    (7, '0::/system.slice/ssh.service\n', 'kill 7'),
])
def test_a_process_ends_with_its_service_where_it_has_one(tmp_path, pid, cgroup, command):
    write_files(tmp_path, {'proc/%d/cgroup' % pid: cgroup})
    assert find_holders.ends_process(pid, str(tmp_path)) == command


def test_mounts_end_deepest_first_and_where_they_are(tmp_path):
    write_files(tmp_path, {
        'proc/self/ns/mnt': '-> mnt:[1]', 'proc/1/ns/mnt': '-> mnt:[1]', 'proc/9/ns/mnt': '-> mnt:[2]',
        'proc/1/mountinfo': ('1 0 8:1 / / rw shared:1 - foo /dev/a rw\n2 1 8:2 / /m rw shared:2 - foo /dev/b rw\n'
                             '3 2 8:3 / /m/b rw shared:3 - ext4 /dev/c rw\n4 1 8:4 / /mm rw - foo /dev/d rw\n'),
        # A slave of the host's /m goes with it; a private copy of /mm does not.
        'proc/9/mountinfo': ('7 0 8:1 / / rw master:1 - ext4 /dev/a rw\n8 7 8:2 / /m rw - foo /dev/b rw\n'
                             '9 3 8:4 / /mm rw shared:1 - foo /dev/d rw\n')})
    found = find_holders.find('foo', None, str(tmp_path))['mounts']
    assert shown(found, 'path', 'end_with') == [
        ('/', ''), ('/m', 'umount -R /m'), ('/mm', 'umount /mm'), ('/mm', 'nsenter -t 9 -m umount /mm')]


@pytest.mark.parametrize('argument', ['plain', '', 'a b', "it's", '$(reboot)', 'a\nb\\\x1b', 'ä\udcff', "a\n'b"])
def test_a_shell_reads_a_quoted_argument_as_it_was(argument):
    quoted = root_files.quoted(argument)
    assert quoted.isprintable()
    told = subprocess.run(['bash', '-c', "printf '%s.' " + quoted], stdout=subprocess.PIPE, check=True).stdout
    assert told == os.fsencode(argument) + b'.'
