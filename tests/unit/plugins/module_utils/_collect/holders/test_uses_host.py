# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks and who is on them, device-mapper, arrays, configfs, consoles, sound, watchdogs: in /proc and /sys."""

import json

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import (
    bound_devices,
    disks,
    find_holders,
    uses_block,
    uses_other,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from hypothesis import given
from hypothesis import strategies as st
from kernel_memory import CAPTURES, write_files

MAPPER = json.loads((CAPTURES / 'linux-6.12/uses.json').read_text())['mapper']
CONFIG = 'sys/kernel/config'


def disk(name, number, **files):
    """A disk in sysfs; ``files`` are more of its files, by their path with ``__`` for a slash."""
    made = {f'sys/block/{name}/dev': number, f'sys/block/{name}/size': '2048',
            f'sys/class/block/{name}/dev': number}
    made.update((f'sys/block/{name}/' + path.replace('__', '/'), text) for path, text in files.items())
    return made


def write(root, *made):
    for files in made:
        write_files(root, files)
    return str(root)


MOUNTS = ('1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 254:0 / /data rw - ext4 /dev/mapper/vg-data rw\n'
          '3 2 7:1 / /data/image\\040one rw - ext4 /dev/loop1 rw\n4 1 0:44 / /b rw - btrfs /dev/sdb rw\n'
          '5 1 8:49 / /e rw - ext4 /dev/sdd1 rw\n')


@pytest.fixture
def root(tmp_path):
    return write(
        tmp_path, disk('sda', '8:0', sda1__partition='1'), disk('sdb', '8:16'), disk('sdc', '8:32'),
        disk('sdd', '8:48', sdd1__partition='1'),
        disk('dm-0', '254:0', dm__name='vg-data'), disk('dm-1', '254:1', dm__name='idle one'),
        disk('loop1', '7:1', loop__backing_file='/data/file one'), disk('md9', '9:9', md__level='raid1'),
        disk('nbd0', '43:0', pid='4711'), disk('bcache0', '252:0', bcache__stop=''),
        {'sys/class/block/sda1/dev': '8:1', 'sys/class/block/sdd1/dev': '8:49',
         'sys/class/block/sdc/holders/dm-0': '', 'sys/class/block/sdc/holders/md9': '',
         'proc/1/ns/mnt': '-> mnt:[1]', 'proc/1/mountinfo': MOUNTS,
         'proc/swaps': 'Filename Type Size Used Priority\n/dev/md9 partition 1 0 -2\n/e/swap\\040one file 1 0 -3\n'})


END_OF_DATA = ("umount '/data/image one' && losetup -d /dev/loop1 && umount -R /data && "
               'dmsetup remove vg-data')


@pytest.mark.parametrize(('name', 'told', 'end_with'), [
    # What a host stands on is not ended.
    ('sda', 'mount /', ''),
    ('sdb', 'mount /b', 'umount /b'),
    ('sdd', 'mount /e', "swapoff '/e/swap one' && umount /e"),
    ('dm-0', 'mount /data', END_OF_DATA),
    ('dm-1', '', "dmsetup remove 'idle one'"),
    ('sdc', 'dm-0 (vg-data), md9', END_OF_DATA + ' && swapoff /dev/md9 && mdadm --stop /dev/md9'),
    ('nbd0', '', 'nbd-client -d /dev/nbd0'), ('bcache0', '', 'echo 1 > /sys/block/bcache0/bcache/stop'),
])
def test_who_is_on_a_disk_and_what_ends_that(root, name, told, end_with):
    found = disks.Disks(root)
    assert found.told(name) == told
    assert found.end_with(name) == end_with


def test_disks_that_hold_each_other_have_no_end(tmp_path):
    root = write(tmp_path, disk('dm-0', '254:0', dm__name='a'), disk('dm-1', '254:1', dm__name='b'),
                 {'sys/class/block/dm-0/holders/dm-1': '', 'sys/class/block/dm-1/holders/dm-0': ''})
    assert disks.Disks(root).end_with('dm-0') == ''


def test_where_nothing_else_is_found_the_openers_are(root, monkeypatch):
    monkeypatch.setattr(disks.Disks, 'openers', {'252:0': [1, 12], '8:16': [13]})
    found = disks.Disks(root)
    assert [use.commands for use in found.uses('bcache0')] == [None, ['kill 12']]
    assert found.told('sdb') == 'mount /b'
    assert found.end_with('bcache0') == ''


def test_a_loop_holds_its_module_and_a_disk_that_nobody_uses_does_not(root, tmp_path):
    write(tmp_path, {'proc/devices': 'Block devices:\n  7 loop\n  8 sd\n 43 nbd\n', 'sys/module/loop/refcnt': '1',
                     'sys/module/sd_mod/refcnt': '1', 'sys/module/nbd/refcnt': '1'}, disk('sde', '8:64'))
    assert [(entry['what'], entry['counts']) for entry in bound_devices.find('loop', root)] == [
        ('disk loop1 (/data/file one): mount /data/image one', True)]
    assert [entry['counts'] for entry in bound_devices.find('nbd', root)] == [True]
    found = bound_devices.find('sd_mod', root)
    assert [(entry['what'], entry['counts'], entry['end_with']) for entry in found][-2:] == [
        ('disk sdd: mount /e', True, "swapoff '/e/swap one' && umount /e"), ('disk sde', False, '')]


# Device-mapper, schedulers, arrays


def mapper(command, flags, name):
    return bytes.fromhex(MAPPER['%d %d %s' % (command, flags, name)])


@pytest.mark.parametrize(('target', 'found'), [
    ('crypt', [('dm-1', 'cr2', 'crypt')]), ('round-robin', [('dm-2', 'mp2', 'multipath')]),
    # in a table that was loaded, and is not active yet
    ('error', [('dm-0', 'zz1', 'error')]), ('zero', [('dm-0', 'zz1', 'zero')]), ('writeboost', [])])
def test_recorded_tables_of_the_device_mapper(target, found):
    assert uses_block._mapped({target}, mapper) == found


def test_tables_with_their_keys_are_not_asked_for():
    asked = []
    uses_block._mapped({'crypt'}, lambda command, flags, name: asked.append(flags) or mapper(command, flags, name))
    assert not any(flags & uses_block.STATUS_TABLE for flags in asked)


def test_a_mapped_device_comes_with_what_ends_it(root, tmp_path):
    write(tmp_path, {'sys/module/dm_mod/refcnt': '1'})
    (entry,), unread = uses_block.find(['dm_crypt'], root, mapper)
    assert (entry['what'], entry['end_with'], unread) == (
        'device-mapper device cr2, target crypt', "dmsetup remove 'idle one'", [])

    def refuse(*_asked):
        raise PermissionError(1, 'Operation not permitted')

    assert 'Operation not permitted' in uses_block.find(['dm_crypt'], root, refuse)[1][0]


@pytest.mark.parametrize(('names', 'found'), [
    (['raid1', 'md-raid1'], [
        ('array md9 of level raid1; swap on /dev/md9', 'swapoff /dev/md9 && mdadm --stop /dev/md9')]),
    (['raid10'], []),
    (['bfq', 'bfq-iosched'], [('I/O scheduler bfq of sda', 'echo none > /sys/block/sda/queue/scheduler')]),
    (['kyber_iosched'], [('I/O scheduler kyber of sdb', 'echo noop > /sys/block/sdb/queue/scheduler')]),
    (['mq_deadline'], []), (['none'], []),
])
def test_schedulers_and_arrays(root, tmp_path, names, found):
    write(tmp_path, {'sys/block/sda/queue/scheduler': 'none mq-deadline [bfq]\n',
                     'sys/block/sdc/queue/scheduler': '[none] x\n',
                     'sys/block/sdb/queue/scheduler': 'noop [kyber]\n'})
    entries, unread = uses_block.find(names, root)
    assert [(entry['what'], entry['end_with']) for entry in entries] == found
    assert unread == []


@given(st.binary(max_size=400))
def test_no_answer_of_the_device_mapper_is_a_traceback(data):
    try:
        uses_block._mapped({'crypt'}, lambda *_asked: data)
    except KmodError:
        pytest.fail('it answers')


# Others

PLAIN = {
    'proc/asound/modules': ' 0 snd_aloop\n 1 snd_other\n', 'proc/asound/card0/pcm0p/sub0/status': 'closed\n',
    'proc/asound/card0/pcm1c/sub0/status': 'state: RUNNING\nowner_pid   : 70\n', 'proc/70/comm': 'arecord\n',
    'proc/70/fd/4': '-> /dev/snd/controlC0', 'proc/71/fd/0': '-> /dev/i2c-5', 'proc/71/comm': 'i2cget\n',
    'proc/72/fd/9': '-> anon_inode:kvm-vm', 'proc/72/comm': 'qemu\n',
    'proc/72/cgroup': '0::/system.slice/vm.service\n', 'proc/73/fd/3': '-> /dev/watchdog', 'proc/73/comm': 'dog\n',
    'sys/class/i2c-dev/i2c-5/name': 'SMBus stub driver\n', 'sys/class/i2c-dev/i2c-6/name': 'other\n',
    'sys/class/watchdog/watchdog0/device/driver/module': '-> ../../../module/iTCO_wdt',
    'sys/class/watchdog/watchdog0/state': 'active\n', 'sys/class/watchdog/watchdog0/nowayout': '0\n',
    'sys/class/watchdog/watchdog1/identity': 'Software Watchdog\n', 'sys/class/watchdog/watchdog1/state': 'active\n',
    'sys/class/watchdog/watchdog1/nowayout': '1\n', 'sys/class/watchdog/watchdog2/state': 'inactive\n',
    'sys/class/watchdog/watchdog2/identity': 'Software Watchdog\n',
    'sys/class/graphics/fb0/device/driver/module': '-> ../../../module/bochs',
    'sys/class/vtconsole/vtcon0/name': '(S) dummy device\n', 'sys/class/vtconsole/vtcon0/bind': '0\n',
    'sys/class/vtconsole/vtcon1/name': '(M) frame buffer device\n', 'sys/class/vtconsole/vtcon1/bind': '1\n',
    'sys/kernel/livepatch/fix_one/enabled': '1\n', 'sys/kernel/livepatch/fix_one/transition': '0\n',
    'sys/kernel/livepatch/fix_two/enabled': '0\n', 'sys/kernel/livepatch/fix_two/transition': '1\n',
    'sys/kernel/livepatch/fix_three/enabled': '0\n', 'sys/kernel/livepatch/fix_three/transition': '0\n',
    CONFIG + '/nullb/n1/power': '1\n', CONFIG + '/nullb/features': '', CONFIG + '/nvmet/subsystems/s 1/serial': '',
    CONFIG + '/nvmet/ports/1/addr_trtype': 'tcp\n', CONFIG + '/usb_gadget/g1/UDC': 'dummy_udc.0\n',
    CONFIG + '/usb_gadget/g1/functions/acm.0/port': '', CONFIG + '/target/core/alua/x': '',
    CONFIG + '/target/core/fileio_0/hba_info': '', CONFIG + '/target/iscsi/iqn.1/tpgt_1/enable': '',
    CONFIG + '/own/made/x': '',
    'proc/1/ns/mnt': '-> mnt:[1]', 'proc/1/mountinfo': '1 0 0:50 / /n rw - nfs4 host:/x rw\n',
}
REMOVE = 'find {0} -type l -delete; find {0} -depth -type d -exec rmdir {{}} \\; 2>/dev/null; test ! -e {0}'.format
# module: what is found, and what ends it
OTHERS = {
    'snd_aloop': [('process arecord (pid 70) with pcm1c of sound card 0', 'kill 70'),
                  ('process arecord (pid 70) with /dev/snd/controlC0 open', 'kill 70')],
    'snd_other': [],
    'i2c_stub': [('process i2cget (pid 71) with /dev/i2c-5 open', 'kill 71')],
    'kvm_intel': [('process qemu (pid 72) with anon_inode:kvm-vm open', 'systemctl stop vm.service')],
    'iTCO_wdt': [('watchdog watchdog0, which runs, opened by process dog (pid 73)',
                  'kill 73 && sleep 1 && printf V > /dev/watchdog0')],
    'softdog': [('watchdog watchdog1, which runs and cannot be stopped', '')],
    'bochs': [('console vtcon1 on fb0', 'echo 0 > /sys/class/vtconsole/vtcon1/bind')], 'i915': [],
    'fix_one': [('livepatch fix_one, enabled', 'echo 0 > /sys/kernel/livepatch/fix_one/enabled')],
    'fix_two': [('livepatch fix_two, in transition', 'echo 0 > /sys/kernel/livepatch/fix_two/enabled')],
    'fix_three': [],
    'null_blk': [('configfs item /sys/kernel/config/nullb/n1',
                  'echo 0 > /sys/kernel/config/nullb/n1/power; ' + REMOVE('/sys/kernel/config/nullb/n1'))],
    'nvmet_tcp': [('configfs item /sys/kernel/config/nvmet/ports/1', REMOVE('/sys/kernel/config/nvmet/ports/1'))],
    'nvme_loop': [],
    'usb_f_acm': [('configfs item /sys/kernel/config/usb_gadget/g1 with the function acm.0',
                   "echo '' > /sys/kernel/config/usb_gadget/g1/UDC; " + REMOVE('/sys/kernel/config/usb_gadget/g1'))],
    'usb_f_ecm': [],
    'target_core_file': [('configfs item /sys/kernel/config/target/core/fileio_0',
                          REMOVE('/sys/kernel/config/target/core/fileio_0'))],
    'iscsi_target_mod': [('configfs item /sys/kernel/config/target/iscsi',
                          "find /sys/kernel/config/target/iscsi -type l -path '*/acls/*' -delete; " +
                          REMOVE('/sys/kernel/config/target/iscsi'))],
    # a subsystem of the module's own name
    'own': [('configfs item /sys/kernel/config/own/made', REMOVE('/sys/kernel/config/own/made'))],
    'nfsv4': [('mount /n', 'umount /n')], 'nfsv3': [], 'healthy': [],
}


@pytest.mark.parametrize('name', OTHERS)
def test_others_are_found_with_what_ends_them(tmp_path, name):
    entries, unread = uses_other.find(name, [], write(tmp_path, PLAIN))
    assert [(entry['what'], entry['end_with']) for entry in entries] == OTHERS[name]
    assert unread == []
    assert all(entry['kind'] and entry['counts'] for entry in entries)
    assert [entry['active'] for entry in entries] == [name.startswith('fix_')] * len(entries)


def test_the_order_in_which_targets_are_taken_down(tmp_path):
    entries, _unread = uses_other.find('target_core_mod', [], write(tmp_path, PLAIN))
    assert [entry['what'].rpartition('/')[2] for entry in entries] == ['iscsi', 'fileio_0']
    (subsystem, port), _unread = uses_other.find('nvmet', [], str(tmp_path))
    # A port's link to a subsystem goes before that; the name is one that a shell would split.
    assert subsystem['end_with'].startswith(
        "find /sys/kernel/config/nvmet/ports -type l -name 's 1' -delete; find '/sys")
    assert port['what'].endswith('/ports/1')


@pytest.mark.parametrize(('name', 'aliases', 'word'), [
    ('xt_condition', [], "'condition'"), ('nft_ct', [], 'nft list ruleset'), ('sch_htb', [], 'tc qdisc'),
    ('n_hdlc', [], 'fuser -v /dev/tty'), ('own_line', ['tty-ldisc-13'], 'fuser -v /dev/tty'), ('tcp_bbr', [], "'bbr'"),
    ('own_cipher', ['crypto-aes'], 'cryptsetup'), ('i915', [], 'vtconsole'),
    ('ebt_log', [], "ebtables-save: rules with 'log'"),
])
def test_each_family_has_a_word_on_how_one_looks(name, aliases, word):
    assert word in uses_other.hint(name, aliases)


def test_hints_are_one_line_and_a_family_that_is_not_known_has_none():
    assert uses_other.hint('healthy', []) == ''
    assert all('\n' not in text for _prefixes, text in uses_other.HINTS)


def test_all_of_them_come_together(tmp_path):
    root = write(tmp_path, PLAIN)
    found = find_holders.find('null_blk', None, root)
    assert [entry['kind'] for entry in found['others']] == ['configfs item']
    assert (found['unread'], found['hint']) == ([], '')
