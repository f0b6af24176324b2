# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holders by /proc and /sys, where memory cannot be read."""

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import (
    find_holders,
    network_devices,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_memory import ALL_KERNELS, CAPTURES, KERNELS, write_files
from used_kernel import MODULE, shown

KINDS = ('processes', 'mounts', 'network', 'protocols', 'algorithms')


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


def test_this_host():
    found = find_holders.find('no_such_module', None)
    assert found['network'] == []
    assert set(found) == set(KINDS) | {'notes', 'others', 'unread', 'hint'}
    assert (found['others'], found['hint']) == ([], '')
    assert [text.partition(':')[0] for text in found['unread']] == ['network devices in other namespaces']
    assert network_devices.ethtool_driver('lo') is None
    assert network_devices.ethtool_driver('no_such_device_at_all') is None
