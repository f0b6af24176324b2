# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table: which module, how it is put to use, who must be named, and how it shows that the use goes on.

``setup`` and ``check`` are bash under ``set -e``, with the functions of PRELUDE in in_guest/one_case.py: ``holding``
leaves a process behind (in_guest/holding.py), ``disk NAME [MB]`` prints a loop device, ``until_true`` waits.
"""

from typing import Dict, NamedTuple, Tuple

ALL = ('6.1', '6.12')
HOLDING = 'holding use'
PROCESS = r'python3.*\(pid \d+\)'


class Case(NamedTuple):
    """One use of one module."""

    module: str
    setup: str
    named: str  # what a holder's `what` must match, as a regular expression
    check: str = HOLDING
    command: bool = True  # whether a command must be told that ends the use
    kernels: Tuple[str, ...] = ALL


def held(module: str, how: str, named: str = PROCESS, before: str = '') -> Case:
    """A module that a process holds: what has it loaded, then how it is held."""
    return Case(module, f'modprobe {module}\n{before}\nholding start {how}', named)


def mounted(module: str, device: str, named: str, mkfs: str = 'mkfs.ext4 -q') -> Case:
    """A module below or behind a file system; ``device`` is shell that sets $device."""
    setup = f'{device}\n{mkfs} "$device"\nmkdir -p /mnt/used\nmount "$device" /mnt/used\necho words > /mnt/used/file'
    return Case(module, setup, named, 'echo more >> /mnt/used/file; sync -f /mnt/used/file\n'
                'echo 3 > /proc/sys/vm/drop_caches; grep -q words /mnt/used/file')


def elsewhere(module: str, add: str, device: str) -> Case:
    """A network device, up, in a network namespace that has a name."""
    return Case(module, f'ip netns add vpn\n{add}\nip -n vpn link set {device} up', device,
                f'ip -n vpn link show {device} | grep -q "[<,]UP[,>]"')


def firewall(module: str, rule: str, named: str = '') -> Case:
    """A module behind one rule of the firewall that pings of the loopback interface meet."""
    return Case(module, rule, named or module.partition('_')[2], 'ping -c 1 -W 5 127.0.0.1')


def played(module: str) -> Case:
    """A sound card that aplay plays silence on."""
    return Case(module, f'modprobe {module}\n{SOUND}until_true "{PLAYS}"', r'aplay.*\(pid \d+\)', PLAYS)


CHAIN = 'nft add table ip lab\nnft "add chain ip lab in { type filter hook input priority 0; }"\n'
# The dummy device, with a neighbour that needs no answer.
DUMMY = ('ip link add dummy7 type dummy\nip address add 10.7.7.1/24 dev dummy7\nip link set dummy7 up\n'
         'ip neighbour add 10.7.7.2 lladdr 02:00:00:00:00:02 dev dummy7\n')
SEND = 'ping -c 1 -W 1 10.7.7.2 > /dev/null || true\n'
GADGET = '''modprobe -a dummy_hcd libcomposite
mount -t configfs none /sys/kernel/config 2> /dev/null || true
cd /sys/kernel/config/usb_gadget
mkdir lab
cd lab
echo 0x1d6b > idVendor
echo 0x0104 > idProduct
mkdir configs/c.1 functions/acm.usb0
ln -s functions/acm.usb0 configs/c.1
echo dummy_udc.0 > UDC
cd /
'''
NFS = '''mkdir -p /srv/lab /mnt/nfs
echo words > /srv/lab/file
grep -q /srv/lab /etc/exports || echo '/srv/lab *(rw,no_root_squash,fsid=0,insecure,no_subtree_check)' >> /etc/exports
systemctl start nfs-server
exportfs -ra
mount -t nfs4 -o soft,timeo=100 127.0.0.1:/ /mnt/nfs
'''
SOUND = 'until_true "test -e /dev/snd/pcmC0D0p"\nbehind aplay -D hw:0,0 -f S16_LE -r 48000 -c 2 /dev/zero\n'
PLAYS = 'grep -q RUNNING /proc/asound/card0/pcm0p/sub0/status'
OWN_MOUNTS = '''behind unshare -m --propagation private sh -c '
  mount "$1" /mnt && echo words > /mnt/file && exec sleep 100000' sh "$device"
until_true "pgrep -x sleep"
'''
IN_OWN_MOUNTS = 'nsenter -t "$(pgrep -x sleep)" -m sh -c "echo more >> /mnt/file && sync && grep -q words /mnt/file"'

CASES: Dict[str, Case] = {
    # From packages, built by DKMS.
    'xt_condition nft': firewall(
        'xt_condition', 'iptables-nft -A INPUT -i lo -p icmp -m condition --condition lab -j DROP'),
    'xt_condition legacy': firewall(
        'xt_condition', 'iptables-legacy -A INPUT -i lo -p icmp -m condition --condition lab -j DROP'),
    'xt_TARPIT': firewall('xt_TARPIT', 'iptables-nft -A INPUT -i lo -p tcp --dport 4711 -j TARPIT'),
    'v4l2loopback open': held('v4l2loopback', 'video /dev/video0', before='until_true "test -e /dev/video0"'),
    'v4l2loopback streaming': held(
        'v4l2loopback', 'video_mapped /dev/video0', before='until_true "test -e /dev/video0"'),
    'v4l2loopback mapped alone': held(
        'v4l2loopback', 'mapped_alone /dev/video0', before='until_true "test -e /dev/video0"'),
    'v4l2loopback in flight': held(
        'v4l2loopback', 'in_flight /dev/video0', before='until_true "test -e /dev/video0"'),
    'dm-writeboost': mounted(
        'dm_writeboost', '''back=$(disk back 64); cache=$(disk cache 64)
modprobe dm_writeboost
dmsetup create boosted --table "0 $(blockdev --getsz "$back") writeboost $back $cache"
device=/dev/mapper/boosted''', 'boosted|/mnt/used'),
    # Network devices: no reference is counted, and what is removed with them is in use.
    'virtio_net': Case('virtio_net', 'true', 'default route|ssh', 'ping -c 1 -W 5 10.0.2.2', command=False),
    'wireguard': elsewhere('wireguard', 'ip link add wg7 type wireguard\nip link set wg7 netns vpn\n'
                           'wg genkey > /root/key\n'
                           'ip netns exec vpn wg set wg7 private-key /root/key listen-port 4711\n'
                           'ip -n vpn address add 10.7.8.1/24 dev wg7', 'wg7'),
    'bonding': elsewhere('bonding', 'modprobe bonding max_bonds=0\nip -n vpn link add bond7 type bond\n'
                         'ip -n vpn link add dummy8 type dummy\nip -n vpn link set dummy8 master bond7',
                         'bond7'),
    'vxlan': elsewhere('vxlan', 'ip -n vpn link add vxlan7 type vxlan id 7 dstport 4789', 'vxlan7'),
    'veth': elsewhere('veth', 'ip link add veth7 type veth peer name veth8\nip link set veth7 netns vpn', 'veth7'),
    'macvlan': elsewhere('macvlan', 'ip -n vpn link add dummy8 type dummy\n'
                         'ip -n vpn link add macvlan7 link dummy8 type macvlan', 'macvlan7'),
    'bridge': elsewhere('bridge', 'ip -n vpn link add bridge7 type bridge', 'bridge7'),
    '8021q': elsewhere('8021q', 'ip -n vpn link add dummy8 type dummy\nip -n vpn link set dummy8 up\n'
                       'ip -n vpn link add vlan7 link dummy8 type vlan id 7', 'vlan7'),
    'mac80211_hwsim': Case('mac80211_hwsim', 'modprobe mac80211_hwsim radios=1\nuntil_true "ip link show wlan0"\n'
                           'ip link set wlan0 up', 'wlan0', 'ip link show wlan0 | grep -q "[<,]UP[,>]"'),
    'vcan': Case('vcan', 'ip link add vcan7 type vcan\nip link set vcan7 up\nmodprobe can_raw\n'
                 'holding start can vcan7', 'vcan7'),
    'tun': held('tun', 'tun tun7', 'tun7|' + PROCESS),
    'netconsole': Case('netconsole', '''modprobe netconsole
mount -t configfs none /sys/kernel/config 2> /dev/null || true
mkdir /sys/kernel/config/netconsole/lab
cd /sys/kernel/config/netconsole/lab
ls /sys/class/net | grep -m 1 en > dev_name
echo 10.0.2.15 > local_ip
echo 10.0.2.2 > remote_ip
echo 1 > enabled''', 'netconsole/lab', 'echo words > /dev/kmsg; grep -q 1 /sys/kernel/config/netconsole/lab/enabled'),
    # Block devices.
    'dm_crypt': mounted('dm_crypt', '''back=$(disk back)
echo words | cryptsetup open --type plain --cipher aes-cbc-plain --key-size 128 "$back" secret --key-file -
device=/dev/mapper/secret''', 'secret|/mnt/used'),
    'dm_snapshot': mounted('dm_snapshot', '''back=$(disk back); cow=$(disk cow)
dmsetup create copied --table "0 $(blockdev --getsz "$back") snapshot $back $cow N 8"
device=/dev/mapper/copied''', 'copied|/mnt/used'),
    'raid1': Case('raid1', '''one=$(disk one); two=$(disk two)
mdadm --create /dev/md7 --run --level=1 --raid-devices=2 --metadata=1.0 "$one" "$two"
until_true "test -b /dev/md7"''', 'md7',
                  'dd if=/dev/zero of=/dev/md7 bs=4k count=4 oflag=direct; grep -q active /proc/mdstat'),
    'nbd': Case('nbd', '''truncate -s 32M /root/export.img
printf '[generic]\\n[lab]\\nexportname=/root/export.img\\n' > /root/nbd.conf
nbd-server -C /root/nbd.conf
modprobe nbd
sleep 1
nbd-client 127.0.0.1 -N lab /dev/nbd0''', 'nbd0', 'dd if=/dev/nbd0 of=/dev/null bs=4k count=4 iflag=direct'),
    'zram': Case('zram', 'modprobe zram\necho 32M > /sys/block/zram0/disksize\nmkswap /dev/zram0\nswapon /dev/zram0',
                 'zram0', 'grep -q zram0 /proc/swaps'),
    'loop': mounted('loop', 'device=$(disk back)', 'loop0|/mnt/used'),
    'brd': mounted('brd', 'modprobe brd rd_size=32768 rd_nr=1\ndevice=/dev/ram0', 'ram0|/mnt/used'),
    'null_blk': mounted('null_blk', 'modprobe null_blk nr_devices=1 gb=1 memory_backed=1\ndevice=/dev/nullb0',
                        'nullb0|/mnt/used'),
    'scsi_debug': mounted('scsi_debug', 'modprobe scsi_debug dev_size_mb=32\nuntil_true "test -b /dev/sda"\n'
                          'device=/dev/sda', 'sda|/mnt/used'),
    'bfq': Case('bfq', 'modprobe bfq\necho bfq > /sys/block/vda/queue/scheduler', 'bfq.*vda|vda.*bfq',
                'grep -q "\\[bfq\\]" /sys/block/vda/queue/scheduler\n'
                'dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct'),
    'nvme_loop': Case('nvme_loop', '''modprobe nvme_loop
mount -t configfs none /sys/kernel/config 2> /dev/null || true
cd /sys/kernel/config/nvmet
mkdir subsystems/lab subsystems/lab/namespaces/1 ports/1
echo 1 > subsystems/lab/attr_allow_any_host
disk space > subsystems/lab/namespaces/1/device_path
echo 1 > subsystems/lab/namespaces/1/enable
echo loop > ports/1/addr_trtype
ln -s /sys/kernel/config/nvmet/subsystems/lab ports/1/subsystems/lab
echo transport=loop,nqn=lab > /dev/nvme-fabrics
until_true "test -b /dev/nvme0n1"''', 'nvme0|nvmet/ports/1',
                      'dd if=/dev/nvme0n1 of=/dev/null bs=4k count=1 iflag=direct'),
    'nvmet': Case('nvmet', 'modprobe nvmet\nmount -t configfs none /sys/kernel/config 2> /dev/null || true\n'
                  'mkdir /sys/kernel/config/nvmet/subsystems/lab', 'nvmet/subsystems/lab',
                  'cat /sys/kernel/config/nvmet/subsystems/lab/attr_allow_any_host'),
    'tcm_loop': Case('tcm_loop', 'modprobe tcm_loop\nmount -t configfs none /sys/kernel/config 2> /dev/null || true\n'
                     'mkdir -p /sys/kernel/config/target/loopback/naa.6001405a1b2c3d4e/tpgt_1', 'target/loopback',
                     'cat /sys/kernel/config/target/loopback/naa.6001405a1b2c3d4e/tpgt_1/nexus > /dev/null || true\n'
                     'test -d /sys/kernel/config/target/loopback/naa.6001405a1b2c3d4e/tpgt_1'),
    # File systems.
    'btrfs own mounts': Case('btrfs', 'device=$(disk back 128)\nmkfs.btrfs -q "$device"\n' + OWN_MOUNTS,
                             '/mnt', IN_OWN_MOUNTS),
    'xfs own mounts': Case('xfs', 'device=$(disk back 320)\nmkfs.xfs -q "$device"\n' + OWN_MOUNTS, '/mnt',
                           IN_OWN_MOUNTS),
    'overlay': Case('overlay', 'mkdir -p /root/o/{low,up,work} /mnt/over\necho words > /root/o/low/file\n'
                    'cd /root/o\nmount -t overlay overlay -o lowerdir=low,upperdir=up,workdir=work /mnt/over',
                    '/mnt/over', 'echo more >> /mnt/over/file; grep -q words /mnt/over/file'),
    'nfsv4': Case('nfsv4', NFS, '/mnt/nfs',
                  'echo more >> /mnt/nfs/new; sync -f /mnt/nfs/new; grep -q words /mnt/nfs/file'),
    'nfsd': Case('nfsd', NFS, 'nfsd|nfs-server', 'echo more >> /mnt/nfs/new; sync -f /mnt/nfs/new'),
    # The stack: scheduling, filters, sockets.
    'sch_htb': Case('sch_htb', DUMMY + 'tc qdisc add dev dummy7 root handle 1: htb default 1\n'
                    'tc class add dev dummy7 parent 1: classid 1:1 htb rate 1mbit', 'htb.*dummy7|dummy7.*htb',
                    SEND + 'tc -s qdisc show dev dummy7 | grep -q "Sent [1-9]"'),
    'sch_netem': Case('sch_netem', DUMMY + 'tc qdisc add dev dummy7 root netem delay 1ms',
                      'netem.*dummy7|dummy7.*netem', SEND + 'tc -s qdisc show dev dummy7 | grep -q "Sent [1-9]"'),
    'cls_u32': Case('cls_u32', DUMMY + 'tc qdisc add dev dummy7 clsact\n'
                    'tc filter add dev dummy7 egress protocol ip u32 match ip dst 10.7.7.9/32 action drop',
                    'u32.*dummy7|dummy7.*u32', SEND + 'tc filter show dev dummy7 egress | grep -q u32'),
    'act_mirred': Case('act_mirred', DUMMY + 'tc qdisc add dev dummy7 clsact\n'
                       'tc filter add dev dummy7 egress matchall action mirred egress mirror dev lo',
                       'mirred', SEND + 'tc filter show dev dummy7 egress | grep -q mirred'),
    'tcp_bbr socket': held('tcp_bbr', 'congestion bbr'),
    'tcp_bbr default': Case('tcp_bbr', 'modprobe tcp_bbr\nsysctl -w net.ipv4.tcp_congestion_control=bbr',
                            'default|tcp_congestion_control',
                            'holding start congestion bbr\npkill -f "[h]olding.py hold"'),
    'tls': held('tls', 'tls tls'),
    'algif_hash': held('algif_hash', 'algorithm hash sha256'),
    'algif_skcipher': held('algif_skcipher', 'algorithm skcipher "cbc(aes)"'),
    'can_raw': held('can_raw', 'can vcan7', before='ip link add vcan7 type vcan\nip link set vcan7 up'),
    'sctp': held('sctp', 'sctp sctp'),
    'vsock_loopback': held('vsock_loopback', 'vsock vsock'),
    'esp4': Case('esp4', 'ip xfrm state add src 10.7.7.1 dst 10.7.7.2 proto esp spi 0x77 mode tunnel '
                 'enc "cbc(aes)" 0x00112233445566778899aabbccddeeff '
                 'auth "hmac(sha256)" 0x00112233445566778899aabbccddeeff',
                 'xfrm|esp', 'ip xfrm state | grep -q 0x00000077'),
    'nft_limit': firewall('nft_limit', CHAIN + 'nft add rule ip lab in ip protocol icmp limit rate 99/second accept'),
    'nft_ct': firewall('nft_ct', CHAIN + 'nft add rule ip lab in ct state established,related,new accept', r'\bct\b'),
    'nf_tables': firewall('nf_tables', CHAIN + 'nft add rule ip lab in counter accept', r'\blab\b'),
    'xt_connlimit': firewall(
        'xt_connlimit', 'iptables-nft -A INPUT -i lo -p icmp -m connlimit --connlimit-above 1000 -j DROP'),
    'xt_recent legacy': firewall(
        'xt_recent', 'iptables-legacy -A INPUT -i lo -p icmp -m recent --name lab --set -j ACCEPT'),
    'iptable_filter': firewall('iptable_filter', 'iptables-legacy -A INPUT -i lo -p icmp -j ACCEPT', 'filter'),
    'ip_set_hash_ip': Case('ip_set_hash_ip', 'ipset create lab hash:ip\nipset add lab 10.7.7.7', r'\blab\b',
                           'ipset test lab 10.7.7.7'),
    # Sound, input, buses, watchdogs, gadgets, terminals.
    'snd_aloop': played('snd_aloop'),
    'snd_dummy': played('snd_dummy'),
    'snd_seq': held('snd_seq', 'opened /dev/snd/seq', before='until_true "test -e /dev/snd/seq"'),
    'uhid': held('uhid', 'uhid uhid', before='until_true "test -e /dev/uhid"'),
    'uhid in flight': held('uhid', 'in_flight /dev/uhid', before='until_true "test -e /dev/uhid"'),
    'uinput': held('uinput', 'uinput uinput', before='until_true "test -e /dev/uinput"'),
    'cuse': held('cuse', 'opened /dev/cuse', before='until_true "test -e /dev/cuse"'),
    'vhost_net': held('vhost_net', 'opened /dev/vhost-net', before='until_true "test -e /dev/vhost-net"'),
    'msr': held('msr', 'opened /dev/cpu/0/msr', before='until_true "test -e /dev/cpu/0/msr"'),
    'vgem': held('vgem', 'opened /dev/dri/card0', before='until_true "test -e /dev/dri/card0"'),
    'hci_vhci': held('hci_vhci', 'opened /dev/vhci', before='until_true "test -e /dev/vhci"'),
    'softdog': Case('softdog', 'modprobe softdog soft_margin=3600 soft_noboot=1\n'
                    'until_true "grep -q Software /sys/class/watchdog/*/identity"\n'
                    'number=$(grep -l Software /sys/class/watchdog/*/identity | sed "s/[^0-9]//g")\n'
                    'until_true "test -e /dev/watchdog$number"\nholding start watchdog "/dev/watchdog$number"',
                    PROCESS),
    'i2c_stub': Case('i2c_stub', 'modprobe i2c_dev\nmodprobe i2c_stub chip_addr=0x50\n'
                     'number=$(grep -l stub /sys/bus/i2c/devices/*/name | sed "s:.*i2c-\\([0-9]*\\)/name:\\1:")\n'
                     'until_true "test -e /dev/i2c-$number"\nholding start i2c "/dev/i2c-$number"', PROCESS),
    'usb_f_acm': Case('usb_f_acm', GADGET, 'usb_gadget/lab',
                      'test -e /dev/ttyGS0; grep -q dummy_udc.0 /sys/kernel/config/usb_gadget/lab/UDC'),
    'livepatch': Case('lab_livepatch', 'insmod /root/lab/lab_livepatch.ko\n'
                      'until_true "grep -q 0 /sys/kernel/livepatch/lab_livepatch/transition"', 'live ?patch',
                      'grep -q "live patched" /proc/cmdline'),
    'slip': Case('slip', 'modprobe slip\nholding start line_discipline 1', PROCESS + '|sl0'),
}


def cases_for(kernel: str, names: str = '') -> Dict[str, Case]:
    """The cases that a kernel is asked; of them only those whose name or module is one of ``names``, by semicolons."""
    wanted = [name.strip() for name in names.split(';') if name.strip()]
    return {name: case for name, case in CASES.items() if kernel in case.kernels
            and (not wanted or any(word in (name, case.module) for word in wanted))}
