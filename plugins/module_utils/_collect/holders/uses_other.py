# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a module of another kind: configfs, consoles, sound, watchdogs, I2C, crypto, livepatches, virtual machines.

Part of :mod:`find_holders`. Nothing is opened here that has an effect: no watchdog, no device.
"""

import fnmatch
import os
import re
from typing import Callable, Dict, List, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import mounts, processes
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.entry import Found, holder
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.process_names import ends_process
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import (
    ending,
    lines,
    link_name,
    names,
    quoted,
    word,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Holder

CONFIGFS = 'sys/kernel/config'
# What is made by mkdir below /sys/kernel/config, by the module that it holds.
ITEMS = {
    'nvmet': ('nvmet/subsystems/*', 'nvmet/ports/*', 'nvmet/hosts/*'),
    'nvme_loop': ('nvmet/ports/*',), 'nvmet_tcp': ('nvmet/ports/*',), 'nvmet_rdma': ('nvmet/ports/*',),
    'nvmet_fc': ('nvmet/ports/*',), 'null_blk': ('nullb/*',), 'netconsole': ('netconsole/*',),
    'target_core_mod': ('target/*', 'target/core/*'), 'target_core_file': ('target/core/fileio_*',),
    'target_core_iblock': ('target/core/iblock_*',), 'target_core_pscsi': ('target/core/pscsi_*',),
    'target_core_user': ('target/core/user_*',), 'iscsi_target_mod': ('target/iscsi',),
    'tcm_loop': ('target/loopback',), 'vhost_scsi': ('target/vhost',), 'tcm_qla2xxx': ('target/qla2xxx',),
    'tcm_fc': ('target/fc',), 'ib_srpt': ('target/srpt',), 'sbp_target': ('target/sbp',),
    'xen_scsiback': ('target/xen-pvscsi',), 'libcomposite': ('usb_gadget/*',), 'ocfs2_nodemanager': ('cluster/*',),
    'dlm': ('dlm/cluster',), 'gpio_sim': ('gpio-sim/*',), 'gpio_aggregator': ('gpio-aggregator/*',),
    'vkms': ('vkms/*',), 'stm_core': ('stp-policy/*',), 'iio_trig_hrtimer': ('iio/triggers/hrtimer/*',),
}
# Made by the kernel itself, not by mkdir.
ALWAYS_THERE = ('alua', 'discovery_auth')
# A port of nvmet holds the module of its transport.
TRANSPORTS = {'nvme_loop': 'loop', 'nvmet_tcp': 'tcp', 'nvmet_rdma': 'rdma', 'nvmet_fc': 'fc'}
FUNCTIONS = {'ss_lb': ('SourceSink', 'Loopback'), 'fs': ('ffs',), 'rndis': ('rndis',)}
# Open files that are no device's, by the modules that they hold.
ANONYMOUS = {
    'anon_inode:kvm-vm': ('kvm', 'kvm_intel', 'kvm_amd', 'kvm_hv', 'kvm_pr'),
    'anon_inode:[vfio-device]': ('vfio', 'vfio_pci', 'vfio_pci_core', 'vfio_mdev', 'vfio_platform'),
}
NFS_TYPES = {'nfsv4': 'nfs4', 'nfsv3': 'nfs', 'nfsv2': 'nfs'}


def algorithms(name: str, root: str) -> Found:
    """Algorithms of the module that something has allocated (/proc/crypto): more references than their own one."""
    found = []
    entry: Dict[str, str] = {}
    for line in lines(root, 'proc/crypto', must_exist=True) + ['']:
        key, colon, value = line.partition(':')
        if colon:
            entry[key.strip()] = value.strip()
            continue
        references = entry.get('refcnt', '')
        if entry.get('module') == name and references.isdigit() and int(references) > 1:
            algorithm = entry.get('name', '')
            found.append(holder(f'users of the algorithm {algorithm}', '/proc/crypto', algorithm=algorithm,
                                driver=entry.get('driver', ''), references=int(references) - 1))
        entry = {}
    return found


def find(name: str, aliases: List[str], root: str) -> Tuple[Found, List[str]]:
    """What uses the module, and what could not be read."""
    found: Found = []
    unread: List[str] = []
    readers: Tuple[Tuple[str, Callable[[str, str], Found]], ...] = (
        ('livepatch', _livepatch), ('configfs items', lambda name, root: _items(name, aliases, root)),
        ('consoles', _consoles), ('sound cards', _sound), ('watchdogs', _watchdogs), ('I2C adapters', _i2c),
        ('open files', _anonymous), ('AF_ALG sockets', _af_alg), ('NFS mounts', _nfs))
    for kind, reader in readers:
        try:
            found += reader(name, root)
        except (OSError, ValueError) as error:
            unread.append(f'{kind}: {error}')
    return found, unread


def _livepatch(name: str, root: str) -> Found:
    """An enabled livepatch (Documentation/ABI/testing/sysfs-kernel-livepatch): it holds itself, and stays in use."""
    place = f'sys/kernel/livepatch/{name}'
    enabled, transition = word(root, place + '/enabled'), word(root, place + '/transition')
    if enabled != '1' and transition != '1':
        return []
    state = 'in transition' if transition == '1' else 'enabled'
    return [holder(f'livepatch {name}, {state}', f'/{place}/enabled', f'echo 0 > /{place}/enabled', active=True,
                   kind='livepatch')]


# configfs


def _items(name: str, aliases: List[str], root: str) -> Found:
    if not os.path.isdir(os.path.join(root, CONFIGFS)):
        return []
    functions = ending([name], 'usb_f_') | ending(aliases, 'usbfunc:')
    patterns = ITEMS.get(name, (f'{name}/*',))
    found = []
    for pattern in patterns:
        directory, _slash, last = pattern.rpartition('/')
        for entry in names(root, f'{CONFIGFS}/{directory}'):
            path = f'{CONFIGFS}/{directory}/{entry}'
            if not fnmatch.fnmatch(entry, last) or entry in ALWAYS_THERE or not os.path.isdir(os.path.join(root, path)):
                continue
            if pattern == 'target/*' and entry in ('core', 'version'):
                continue
            if name in TRANSPORTS and word(root, path + '/addr_trtype') != TRANSPORTS[name]:
                continue
            found.append(_item(path, root))
    for gadget in names(root, CONFIGFS + '/usb_gadget') if functions else ():
        for function in names(root, f'{CONFIGFS}/usb_gadget/{gadget}/functions'):
            kinds = functions.union(*(FUNCTIONS.get(kind, ()) for kind in functions))
            if function.partition('.')[0] in kinds:
                found.append(_item(f'{CONFIGFS}/usb_gadget/{gadget}', root, ' with the function ' + function))
    return found


def _item(path: str, root: str, more: str = '') -> Holder:
    """The directory with what ends it: what is switched on is switched off, then links go, then the deepest first.

    Directories that the kernel makes there itself refuse to be removed, and are removed with the one above.
    """
    place = quoted('/' + path)
    off = ''
    if word(root, path + '/UDC'):
        off = f"echo '' > {quoted('/' + path + '/UDC')}; "
    elif word(root, path + '/power') == '1':
        off = f"echo 0 > {quoted('/' + path + '/power')}; "
    elif word(root, path + '/enabled') == '1':
        off = f"echo 0 > {quoted('/' + path + '/enabled')}; "
    links, order = f'find {place} -type l -delete', ''
    if path.startswith(CONFIGFS + '/nvmet/subsystems/'):
        # The ports' links to it are the ports' own.
        links = f'find /sys/kernel/config/nvmet/ports -type l -name {quoted(os.path.basename(path))} -delete; ' + links
    elif path.startswith(CONFIGFS + '/target/') and not path.startswith(CONFIGFS + '/target/core/'):
        # Rights to a unit link to the unit: they go before it.
        order = f"find {place} -type l -path '*/acls/*' -delete; "
    end_with = f'{off}{order}{links}; find {place} -depth -type d -exec rmdir {{}} \\; 2>/dev/null; test ! -e {place}'
    return holder(f'configfs item /{path}{more}', '/' + CONFIGFS, end_with, kind='configfs item')


# Consoles, sound, watchdogs, I2C


def _consoles(name: str, root: str) -> Found:
    """Virtual consoles on a frame buffer of the module's (drivers/video/fbdev/core/fbcon.c)."""
    own = [entry for entry in names(root, 'sys/class/graphics') if entry.startswith('fb') and entry != 'fbcon' and
           link_name(os.path.join(root, 'sys/class/graphics', entry, 'device/driver/module')) == name]
    if not own:
        return []
    found = []
    for console in names(root, 'sys/class/vtconsole'):
        place = f'sys/class/vtconsole/{console}'
        if 'frame buffer' in word(root, place + '/name') and word(root, place + '/bind') == '1':
            found.append(holder(f'console {console} on {", ".join(own)}', f'/{place}/bind', f'echo 0 > /{place}/bind',
                                kind='console'))
    return found


def _sound(name: str, root: str) -> Found:
    """The streams that run on the module's cards: a card itself holds nothing (/proc/asound)."""
    found = []
    for line in lines(root, 'proc/asound/modules'):
        card = re.match(r'\s*(\d+)\s+(\S+)\Z', line)
        if not card or card.group(2) != name:
            continue
        directory = 'proc/asound/card' + card.group(1)
        for stream in names(root, directory):
            for sub in names(root, f'{directory}/{stream}') if stream.startswith('pcm') else ():
                status = lines(root, f'{directory}/{stream}/{sub}/status')
                owner = re.search(r'owner_pid\s*:\s*(\d+)', '\n'.join(status))
                if owner:
                    pid = int(owner.group(1))
                    found.append(holder(f'{processes.name(pid, root)} with {stream} of sound card {card.group(1)}',
                                        f'/{directory}/{stream}/{sub}/status', ends_process(pid, root),
                                        kind='sound card', pid=pid))
    for pid, path in _openers(root, [f'/dev/snd/controlC{number}' for number in _cards(name, root)]):
        found.append(holder(f'{processes.name(pid, root)} with {path} open', '/proc/asound/modules',
                            ends_process(pid, root), kind='sound card', pid=pid))
    return found


def _cards(name: str, root: str) -> List[str]:
    split = [line.split() for line in lines(root, 'proc/asound/modules')]
    return [fields[0] for fields in split if len(fields) == 2 and fields[1] == name]


def _openers(root: str, paths: List[str]) -> List[Tuple[int, str]]:
    if not paths:
        return []
    return sorted({(file.pid, file.path) for file in processes.opened(root, lambda path: path in paths)})


def _watchdogs(name: str, root: str) -> Found:
    """Watchdogs of the module that run: one that was opened holds it until it is stopped (watchdog_dev.c)."""
    found = []
    for watchdog in names(root, 'sys/class/watchdog'):
        place = f'sys/class/watchdog/{watchdog}'
        driver = link_name(os.path.join(root, place, 'device/driver/module'))
        own = driver == name or (driver is None and name == 'softdog' and
                                 word(root, place + '/identity') == 'Software Watchdog')
        if not own or word(root, place + '/state') != 'active':
            continue
        openers = _openers(root, ['/dev/' + watchdog] + (['/dev/watchdog'] if watchdog == 'watchdog0' else []))
        who = ', opened by ' + ', '.join(processes.name(pid, root) for pid, _path in openers) if openers else ''
        ends = list(dict.fromkeys(ends_process(pid, root) for pid, _path in openers))
        stop = ' && sleep 1 && '.join(ends + [f'printf V > /dev/{watchdog}'])
        nowayout = word(root, place + '/nowayout') == '1'
        found.append(holder(f'watchdog {watchdog}, which runs{who}{" and cannot be stopped" if nowayout else ""}',
                            f'/{place}/state', '' if nowayout or '' in ends else stop, kind='watchdog'))
    return found


def _i2c(name: str, root: str) -> Found:
    """Processes with an adapter of the module's open: the file is i2c_dev's, and holds the adapter's module as well."""
    paths = []
    for adapter in names(root, 'sys/class/i2c-dev'):
        place = f'sys/class/i2c-dev/{adapter}'
        parents = [link_name(os.path.join(root, place, up, 'driver/module')) for up in ('device/device', 'device/..')]
        if name in parents or (name == 'i2c_stub' and word(root, place + '/name') == 'SMBus stub driver'):
            paths.append('/dev/' + adapter)
    return [holder(f'{processes.name(pid, root)} with {path} open', '/sys/class/i2c-dev', ends_process(pid, root),
                   kind='I2C adapter', pid=pid) for pid, path in _openers(root, paths)]


# Processes and mounts


def _anonymous(name: str, root: str) -> Found:
    paths = [path for path, modules in ANONYMOUS.items() if name in modules]
    return [holder(f'{processes.name(pid, root)} with {path} open', '/proc/PID/fd', ends_process(pid, root),
                   kind='open file', pid=pid) for pid, path in _openers(root, paths)]


def _af_alg(name: str, root: str) -> Found:
    """Sockets of AF_ALG: of which kind each is, the kernel does not tell."""
    if not name.startswith('algif_'):
        return []
    pids = sorted({file.pid for _protocol, file in processes.sockets_of(root, {'ALG'})})
    return [holder(f'{processes.name(pid, root)} with a socket of AF_ALG, of this kind or another',
                   processes.PROTOCOL_NAME, ends_process(pid, root), kind='AF_ALG socket', pid=pid)
            for pid in pids]


def _nfs(name: str, root: str) -> Found:
    if name not in NFS_TYPES:
        return []
    return [{**entry, 'kind': 'NFS mount'} for entry in mounts.of_types([NFS_TYPES[name]], root)]


# How one looks by hand for holders that cannot be listed, or not all of them: by the name's beginning.
HINTS = (
    (('xt_', 'ipt_', 'ip6t_', 'nf_log', 'nfnetlink_log', 'nf_conntrack_'),
     "iptables-save; ip6tables-save; nft list ruleset; ebtables-save; arptables-save: rules with '{short}'"),
    (('ebt_', 'ebtable_'), "ebtables-save: rules with '{short}'"),
    (('arpt_', 'arptable_'), "arptables-save: rules with '{short}'"),
    (('nft_', 'nf_tables', 'nf_flow_table'), 'nft list ruleset, in each network namespace (lsns -t net)'),
    (('ip_set',), 'ipset list -t; the rules that use a set: iptables-save, nft list ruleset'),
    (('ip_vs',), 'ipvsadm -L -n'),
    (('nf_conntrack', 'nf_nat'), 'nft list ruleset; iptables-save; conntrack -L'),
    (('sch_', 'cls_', 'act_', 'em_'),
     'tc qdisc; tc filter show dev DEVICE; tc actions list action KIND, in each network namespace (lsns -t net)'),
    (('tcp_',), "ss -tinH | grep -w '{short}', and sysctl net.ipv4.tcp_congestion_control, in each network namespace"),
    (('esp', 'ah4', 'ah6', 'ipcomp', 'xfrm'), 'ip xfrm state; ip xfrm policy, in each network namespace'),
    (('algif_', 'af_alg'), 'ss -a -f alg, or lsof: processes with sockets of AF_ALG'),
    (('n_', 'ppp_async', 'ppp_synctty', 'slip', 'slcan', 'can327', 'hci_uart', 'mkiss', '6pack', 'serport'),
     'fuser -v /dev/tty*: whoever has set the line discipline (ldattach, slattach, pppd) has its terminal open'),
    (('dm_',), 'dmsetup table; dmsetup ls --tree'),
    (('raid', 'md_', 'linear', 'multipath'), 'cat /proc/mdstat'),
    (('snd',), 'fuser -v /dev/snd/*'),
    (('drm', 'i915', 'xe', 'amdgpu', 'radeon', 'nouveau', 'nvidia', 'bochs', 'cirrus', 'qxl', 'vmwgfx', 'ast',
      'mgag200', 'virtio_gpu', 'simpledrm', 'efifb', 'vesafb'),
     'fuser -v /dev/dri/* /dev/fb*; cat /sys/class/vtconsole/*/bind'),
    (('videodev', 'v4l2', 'uvcvideo', 'vivid'), 'fuser -v /dev/video* /dev/media*'),
    (('can',), 'ls /proc/net/can; ss -a | grep -i can'),
    (('nvmet', 'nvme'), 'nvmetcli ls; nvme list; find /sys/kernel/config/nvmet'),
    (('target_', 'iscsi_target', 'tcm_', 'vhost_scsi', 'ib_srpt'), 'targetcli ls'),
    (('usb_f_', 'libcomposite', 'g_', 'u_', 'udc'), 'ls -R /sys/kernel/config/usb_gadget'),
    (('nfs', 'lockd', 'sunrpc', 'auth_rpcgss', 'rpcsec'),
     'findmnt -t nfs,nfs4; cat /proc/fs/nfsd/versions; rpcinfo -p'),
    (('kvm', 'vfio', 'vhost'), 'fuser -v /dev/kvm /dev/vfio/* /dev/vhost-*; virsh list'),
    (('i2c_',), 'fuser -v /dev/i2c-*; ls /sys/bus/i2c/devices'),
    (('bonding', 'team', 'bridge', 'vxlan', 'wireguard', 'macvlan', 'ipvlan', 'veth', 'vrf', 'geneve', 'tun', 'nlmon'),
     'ip -d link, in each network namespace (lsns -t net)'),
    (('aes', 'sha', 'ghash', 'crc', 'gcm', 'ccm', 'xts', 'cbc', 'ctr', 'chacha', 'poly', 'crypt', 'ecb', 'cmac', 'hmac',
      'authenc', 'seqiv', 'echainiv', 'lz', 'zstd', 'deflate', 'md5', 'des', 'serpent', 'twofish', 'camellia', 'blake'),
     'cryptsetup status; ip xfrm state; ss -a -f alg: whoever has allocated the algorithm'),
    (('dvb', 'rc_', 'ir_', 'hid', 'uhid', 'uinput', 'joydev', 'evdev'), 'fuser -v /dev/input/* /dev/uhid /dev/uinput'),
)


def hint(name: str, aliases: List[str]) -> str:
    """How one looks by hand for the holders of a module of this family; '' for a family that is not known here."""
    for prefixes, text in HINTS:
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        if prefix is not None:
            return text.replace('{short}', name[len(prefix):] or name)
    if any(alias.startswith('tty-ldisc-') for alias in aliases):
        return hint('n_', [])
    return hint('aes', []) if any(alias.startswith('crypto-') for alias in aliases) else ''
