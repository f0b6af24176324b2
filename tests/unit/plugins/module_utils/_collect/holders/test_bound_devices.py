# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that a module serves, as sysfs of a virtual machine with a root disk, loop devices and a RAID shows them."""

import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import bound_devices
from hypothesis import given
from hypothesis import strategies as st
from kernel_memory import write_files

DEVICES = '''\
Character devices:
  1 mem
  7 vcs
 10 misc
250 watchdog
252 device-mapper

Block devices:
  1 ramdisk
  7 loop
  8 sd
  9 md
 43 nbd
 65 sd
251 zram
252 device-mapper
253 dashed-name
254 virtblk
259 blkext
'''
VIRTIO0 = 'sys/devices/pci0000:00/0000:00:01.0/virtio0'
TARGET = 'sys/devices/pci0000:00/0000:00:02.0/host0/target0:0:0/0:0:0:0'
VIRTUAL = 'sys/devices/virtual/block/'
# disk: (directory, MAJOR:MINOR, sectors)
DISKS = {
    'vda': (VIRTIO0 + '/block/vda', '254:0', '4194304'), 'sda': (TARGET + '/block/sda', '8:0', '2048'),
    'sdz': (VIRTUAL + 'sdz', '65:0', '8'),
    'loop0': (VIRTUAL + 'loop0', '7:0', '2048'), 'loop1': (VIRTUAL + 'loop1', '7:1', '0'),
    'loop10': (VIRTUAL + 'loop10', '7:10', '16'), 'nbd0': (VIRTUAL + 'nbd0', '43:0', '0'),
    'zram0': (VIRTUAL + 'zram0', '251:0', '512'), 'ram0': (VIRTUAL + 'ram0', '1:0', '32768'),
    'dm-0': (VIRTUAL + 'dm-0', '252:0', '100'), 'md0': (VIRTUAL + 'md0', '9:0', '64'),
    'dashed': (VIRTUAL + 'dashed', '253:0', '1'), 'nvme0n1': (VIRTUAL + 'nvme0n1', '259:0', '99'),
}
# module: {driver: (bus and driver directory, devices bound)}
DRIVERS = {
    'virtio_blk': {'virtio:virtio_blk': ('virtio/drivers/virtio_blk', [VIRTIO0])},
    'sd_mod': {'scsi:sd': ('scsi/drivers/sd', [TARGET])},
    'iTCO_wdt': {'platform:iTCO_wdt': ('platform/drivers/iTCO_wdt', ['sys/devices/platform/iTCO_wdt.1.auto'])},
    'two': {'pci:two_a': ('pci/drivers/two_a', []),
            'usb:two_b': ('usb/drivers/two_b', ['sys/devices/usb1/1-2:1.0', 'sys/devices/usb1/1-1:1.0'])},
    'unbound': {'pci:unbound': ('pci/drivers/unbound', [])},
}
PLAIN = ('loop', 'nbd', 'zram', 'brd', 'dm_mod', 'md_mod', 'dashed_name', 'vcs', 'watchdog', 'virtblk', 'sd')


def found(device, path, evidence):
    bus, _colon, driver = evidence.partition('driver ')[2].partition(':')
    return {'device': device, 'path': '/' + path, 'evidence': evidence, 'active': False,
            'what': ('device ' if driver else 'disk ') + device, 'counts': bus not in ('platform', ''),
            'end_with': 'echo %s > /sys/bus/%s/drivers/%s/unbind' % (device, bus, driver) if driver else ''}


# module: what is found of it
FOUND = {
    'virtio_blk': [found('virtio0', VIRTIO0, 'driver virtio:virtio_blk')],
    'iTCO_wdt': [found('iTCO_wdt.1.auto', 'sys/devices/platform/iTCO_wdt.1.auto', 'driver platform:iTCO_wdt')],
    'two': [found('1-1:1.0', 'sys/devices/usb1/1-1:1.0', 'driver usb:two_b'),
            found('1-2:1.0', 'sys/devices/usb1/1-2:1.0', 'driver usb:two_b')],
    'unbound': [],
    'sd_mod': [found('0:0:0:0', TARGET, 'driver scsi:sd'),
               found('sdz', VIRTUAL + 'sdz', 'block major 65 (sd), 8 sectors')],
    'loop': [found('loop0', VIRTUAL + 'loop0', 'block major 7 (loop), 2048 sectors'),
             found('loop10', VIRTUAL + 'loop10', 'block major 7 (loop), 16 sectors')],
    'nbd': [],
    'zram': [found('zram0', VIRTUAL + 'zram0', 'block major 251 (zram), 512 sectors')],
    'brd': [found('ram0', VIRTUAL + 'ram0', 'block major 1 (ramdisk), 32768 sectors')],
    'dm_mod': [found('dm-0', VIRTUAL + 'dm-0', 'block major 252 (device-mapper), 100 sectors')],
    'md_mod': [found('md0', VIRTUAL + 'md0', 'block major 9 (md), 64 sectors')],
    'dashed_name': [found('dashed', VIRTUAL + 'dashed', 'block major 253 (dashed-name), 1 sectors')],
    # a character major, a class, and majors whose module has another name
    'vcs': [], 'watchdog': [], 'virtblk': [], 'sd': [],
}


def link(root, place, target):
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(str(root / target), str(path.parent)))


@pytest.fixture
def root(tmp_path):
    files = {'proc/devices': DEVICES}
    for directory, number, sectors in DISKS.values():
        files.update({directory + '/dev': number + '\n', directory + '/size': sectors + '\n'})
    write_files(tmp_path, files)
    for disk, (directory, _number, _sectors) in DISKS.items():
        link(tmp_path, 'sys/block/' + disk, directory)
        if 'virtual' not in directory:
            link(tmp_path, directory + '/device', Path(directory).parents[1])
    for name in PLAIN:
        write_files(tmp_path, {'sys/module/%s/refcnt' % name: '1\n'})
    for name, drivers in DRIVERS.items():
        write_files(tmp_path, {'sys/module/%s/refcnt' % name: '1\n'})
        for driver, (place, devices) in drivers.items():
            write_files(tmp_path, {'sys/bus/%s/%s' % (place, entry): ''
                                   for entry in ('bind', 'unbind', 'uevent', 'new_id')})
            link(tmp_path, 'sys/module/%s/drivers/%s' % (name, driver), 'sys/bus/' + place)
            link(tmp_path, 'sys/bus/%s/module' % place, 'sys/module/' + name)
            for device in devices:
                (tmp_path / device).mkdir(parents=True, exist_ok=True)
                link(tmp_path, 'sys/bus/%s/%s' % (place, Path(device).name), device)
    return tmp_path


@pytest.mark.parametrize('name', FOUND)
def test_what_a_module_serves_is_found(name, root):
    assert bound_devices.find(name, str(root)) == FOUND[name]


def test_every_module_of_the_fake_has_a_row():
    assert set(FOUND) == set(PLAIN) | set(DRIVERS)


@pytest.mark.parametrize(('gone', 'name', 'reason'), [
    ('sys/module', 'loop', '/sys/module/loop: No such file'), ('sys/block', 'loop', '/sys/block: No such file'),
    ('proc/devices', 'loop', '/proc/devices: No such file'), ('sys/module', 'virtio_blk', '/sys/module/virtio_blk')])
def test_what_sysfs_does_not_show_says_why(gone, name, reason, root):
    path = root / gone
    (shutil.rmtree if path.is_dir() else os.unlink)(str(path))
    assert reason in bound_devices.find(name, str(root))['unavailable']


def test_what_was_found_before_a_source_failed_counts(root):
    (root / 'proc/devices').unlink()
    assert bound_devices.find('virtio_blk', str(root)) == FOUND['virtio_blk']


def test_a_disk_that_went_away_is_left_out(root):
    (root / VIRTUAL / 'loop0/size').unlink()
    assert bound_devices.find('loop', str(root)) == FOUND['loop'][1:]


@given(st.binary())
def test_no_text_of_proc_devices_is_a_traceback(tmp_path_factory, text):
    root = tmp_path_factory.mktemp('host')
    write_files(root, {'sys/module/loop/refcnt': '1', VIRTUAL + 'loop0/dev': '7:0', VIRTUAL + 'loop0/size': '1'})
    link(root, 'sys/block/loop0', VIRTUAL + 'loop0')
    (root / 'proc').mkdir()
    (root / 'proc/devices').write_bytes(b'Block devices:\n' + text + b'\n  7 loop\n')
    assert [entry['device'] for entry in bound_devices.find('loop', str(root))] == ['loop0']
