# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network devices of a module in every namespace, and what they carry."""

import functools

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import network_devices
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_memory import KERNELS, make_root, write_files
from used_kernel import INSIDE, MODULE, OTHER, RANGES, UsedKernel

HOST, CONTAINER, NAMED, LOST = 4026531840, 4026532001, 4026532002, 4026532003
ROUTES = ('Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n'
          '{}\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\neth9\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n')
NOTHING = '0' * 32
ROUTES_6 = (f'{NOTHING} 00 {NOTHING} 00 fe80{"0" * 27}1 00000400 00000002 00000000 00000003 {{}}\n'
            f'{NOTHING} 00 {NOTHING} 00 {NOTHING} ffffffff 00000001 00000000 00200200 lo\nbroken\n')


def keys(found, *names):
    """Those keys of each entry."""
    return [tuple(entry[name] for name in names) for entry in found['network']]


def link_kind(made, dellink=OTHER, at=INSIDE):
    """What `ip link add` knows a kind of device by, in the module itself."""
    made.put(at, 'rtnl_link_ops', 'dellink', dellink)
    return at


def root_of(directory, made, files=()):
    """Its root, with what /proc says of namespaces and of this very process."""
    root = make_root(directory, made.name, made.close_lists().memory)
    write_files(root, dict({
        'proc/1/ns/net': f'-> net:[{HOST}]', 'proc/60/ns/net': f'-> net:[{HOST}]',
        'proc/4121/ns/net': f'-> net:[{CONTAINER}]', 'proc/4122/ns/net': f'-> net:[{CONTAINER}]'}, **dict(files)))
    return root


@pytest.mark.parametrize('kernel', KERNELS)
def test_devices_of_every_namespace(tmp_path, kernel):
    made = UsedKernel(kernel)
    host, container, lost = made.net(HOST), made.net(CONTAINER), made.net(LOST)
    root = root_of(tmp_path, made)
    (tmp_path / 'run/netns').mkdir(parents=True)
    (tmp_path / 'run/netns/blue one').write_text('')
    named = made.net((tmp_path / 'run/netns/blue one').stat().st_ino)
    kind = link_kind(made)
    made.device(host, 'lo', netdev_ops=OTHER)
    made.device(host, 'wg0', netdev_ops=OTHER, rtnl_link_ops=kind)
    made.device(host, 'eth0', up=False, netdev_ops=RANGES[0][0])
    made.device(host, 'sit0', ethtool_ops=INSIDE + 0x200, rtnl_link_ops=kind)
    made.device(host, 'eth1', netdev_ops=OTHER, parents=(None, OTHER, MODULE))
    made.device(host, 'eth2', netdev_ops=OTHER, parents=(MODULE,))
    made.device(host, 'eth3', netdev_ops=OTHER, parents=(OTHER, None))
    made.device(container, 'wg0', rtnl_link_ops=kind)
    made.device(container, 'a b;', header_ops=INSIDE + 0x300)
    made.device(named, 'wg1', up=False, rtnl_link_ops=kind)
    made.device(lost, 'wg2', rtnl_link_ops=kind)
    root = root_of(tmp_path / 'more', made)
    (tmp_path / 'run').rename(tmp_path / 'more/run')
    found = made.find(root)
    assert keys(found, 'what', 'namespace', 'up', 'carries', 'end_with', 'active') == [
        ('network device wg0 (up)', None, True, '', 'ip link del wg0', True),
        ('network device eth0 (down)', None, False, '', 'ip link set eth0 down', False),
        ('network device sit0 (up)', None, True, '', 'ip link set sit0 down', True),
        ('network device eth1 (up)', None, True, '', 'ip link set eth1 down', True),
        ('network device eth2 (up)', None, True, '', 'ip link set eth2 down', True),
        ('network device wg0 (up, in the network namespace of pid 4121)', 4121, True, '',
         'nsenter -t 4121 -n ip link del wg0', True),
        ('network device a b; (up, in the network namespace of pid 4121)', 4121, True, '',
         "nsenter -t 4121 -n ip link set 'a b;' down", True),
        ('network device wg2 (up, in the network namespace net:[4026532003], which no process is in)',
         'net:[4026532003], which no process is in', True, '', '', True),
        ('network device wg1 (down, in the network namespace /run/netns/blue one)', '/run/netns/blue one', False, '',
         "nsenter --net='/run/netns/blue one' ip link del wg1", False)]
    assert not any(entry['counts'] for entry in found['network'])
    assert [evidence for (evidence,) in keys(found, 'evidence')][:5] == [
        'net_device.rtnl_link_ops', 'net_device.netdev_ops', 'net_device.ethtool_ops',
        'the driver of what its device hangs on', 'the driver of its device']
    assert found['unread'] == found['notes'] == []


@pytest.mark.parametrize('kernel', KERNELS)
def test_default_routes_and_what_is_below_them(tmp_path, kernel):
    made = UsedKernel(kernel)
    net, container = made.net(HOST), made.net(CONTAINER)
    for name in ('eth0', 'eth1', 'eth2', 'eth3', 'eth9'):
        made.device(net, name, netdev_ops=INSIDE)
    # Its name is that of the host's; another's default route is another's.
    made.device(container, 'eth0', netdev_ops=INSIDE)
    found = made.find(root_of(tmp_path, made, {
        'proc/1/net/route': ROUTES.format('vlan7'), 'proc/1/net/ipv6_route': ROUTES_6.format('eth3'),
        'sys/class/net/vlan7/lower_bond0': '', 'sys/class/net/bond0/lower_eth0': '', 'sys/class/net/bond0/upper_x': '',
        'sys/class/net/bond0/lower_eth1': '', 'sys/class/net/eth0/lower_vlan7': ''}))
    assert keys(found, 'device', 'namespace', 'carries', 'end_with') == [
        ('eth0', None, 'the default route', ''), ('eth1', None, 'the default route', ''),
        ('eth2', None, '', 'ip link set eth2 down'), ('eth3', None, 'the default route', ''),
        ('eth9', None, '', 'ip link set eth9 down'), ('eth0', 4121, '', 'nsenter -t 4121 -n ip link set eth0 down')]
    assert found['network'][0]['what'] == 'network device eth0 (up, carries the default route)'
    assert found['unread'] == []


CONNECTION = {'proc/self': '-> 60', 'proc/60/stat': '60 (py (3)) S 50 1', 'proc/60/environ': 'A=1\0SUDO_UID=0\0',
              'proc/50/stat': '50 (sh) S 1 1', 'proc/1/environ': 'SSH_CONNECTION=1.2.3.4 5 10.9.9.9 22\0'}


@pytest.mark.parametrize('kernel', KERNELS)
@pytest.mark.parametrize(('address', 'device'), [
    ('10.0.2.15', 'eth0'), ('::ffff:10.0.2.15', 'eth0'), ('2001:db8::5', 'eth1'), ('fe80::1%eth2', 'eth2'),
])
def test_the_connection_that_it_is_asked_through(tmp_path, kernel, address, device):
    made = UsedKernel(kernel)
    net, container = made.net(HOST), made.net(CONTAINER)
    made.device(container, 'eth0', netdev_ops=INSIDE, address='10.0.2.15')
    for name, its in (('eth0', '10.0.2.15'), ('eth1', None), ('eth2', '10.9.9.9'), ('br0', '192.168.7.7')):
        made.device(net, name, up=name != 'eth2', netdev_ops=OTHER if name == 'br0' else INSIDE, address=its)
    found = made.find(root_of(tmp_path, made, dict(CONNECTION, **{
        'proc/50/environ': f'X=SSH_CONNECTION=\0SSH_CONNECTION=10.0.2.2 40000 {address} 22\0',
        'proc/1/net/route': ROUTES.format(device),
        'proc/1/net/if_inet6': '20010db8000000000000000000000005 02 40 20 80     eth1\n'})))
    assert [(entry['device'], entry['namespace'], entry['active'], entry['end_with'])
            for entry in found['network'] if entry['carries'] == 'this ssh connection'] == [(device, None, True, '')]
    assert 'carries this ssh connection' in ''.join(entry['what'] for entry in found['network'])
    assert found['unread'] == []


def test_the_connection_through_a_bridge_that_is_not_the_modules(tmp_path):
    made = UsedKernel('linux-6.12')
    net = made.net(HOST)
    made.device(net, 'br0', netdev_ops=OTHER, address='192.168.7.7')
    made.device(net, 'eth0', netdev_ops=INSIDE)
    found = made.find(root_of(tmp_path, made, dict(CONNECTION, **{
        'proc/50/environ': 'SSH_CONNECTION=10.0.2.2 1 192.168.7.7 22\0', 'sys/class/net/br0/lower_eth0': ''})))
    assert keys(found, 'device', 'carries') == [('eth0', 'this ssh connection')]


@pytest.mark.parametrize('address', ['10.1.1.1', '2001:db8::9', 'nonsense'])
def test_an_address_that_no_device_has_is_unread(tmp_path, address):
    made = UsedKernel('linux-6.12')
    made.device(made.net(HOST), 'eth0', netdev_ops=INSIDE)
    found = made.find(root_of(tmp_path, made, dict(
        CONNECTION, **{'proc/50/environ': f'SSH_CONNECTION=10.0.2.2 1 {address} 22\0'})))
    assert keys(found, 'carries') == [('',)]
    assert found['unread'] == [f'network: which device has {address}, the address of this ssh connection']


@pytest.mark.parametrize(('break_it', 'why'), [
    (lambda made: made.symbols.pop('net_namespace_list'), 'net_namespace_list: /proc/kallsyms does not give'),
    (lambda made: made.memory.u64(made.symbols['net_namespace_list'], 0xDEAD000), 'no segment'),
    (lambda made: made.ring(made.nets[0][1][0], made.nets[0][1][0]), 'dev_base_head: it goes in circles'),
])
def test_a_broken_list_leaves_the_own_namespace(tmp_path, break_it, why):
    made = UsedKernel('linux-6.1')
    made.device(made.net(HOST), 'eth0', netdev_ops=INSIDE)
    made.process(412, 'cat', made.table({3: made.file(MODULE)}))
    root = root_of(tmp_path, made, {
        'sys/class/net/eth0/device/driver/module': '-> ../../../../module/foo', 'sys/class/net/eth0/flags': '0x1003\n',
        'sys/class/net/eth1/device/driver/module': '-> ../../../../module/e1000', 'sys/class/net/lo/type': '772',
        'proc/1/net/route': ROUTES.format('eth0')})
    break_it(made)
    (tmp_path / 'proc/kcore').write_bytes(made.memory.core_file())
    found = made.find(root)
    assert keys(found, 'device', 'namespace', 'up', 'carries', 'end_with') == [
        ('eth0', None, True, 'the default route', '')]
    assert len(found['processes']) == 1
    assert why in found['notes'][0]
    assert found['unread'][0].startswith('network devices in other namespaces: ')


def test_without_its_memory_only_the_own_namespace_is_seen(tmp_path):
    made = UsedKernel('linux-6.1')
    made.device(made.net(CONTAINER), 'wg0', netdev_ops=INSIDE)
    root = root_of(tmp_path, made, {'sys/class/net/lo/type': '772'})
    found = made.find(root, ranges={'unavailable': 'no types'})
    assert found['network'] == []
    assert any('network devices in other namespaces' in text and 'no types' in text for text in found['unread'])
    assert 'sys/class/net' in made.find(root_of(tmp_path / 'b', made), ranges=None)['network']['unavailable']


@functools.lru_cache(maxsize=None)
def undamaged():
    """A kernel with devices, as a core file, and where in it anything is."""
    made = UsedKernel('linux-7.3')
    for number in (HOST, CONTAINER):
        net = made.net(number)
        made.device(net, 'eth0', netdev_ops=INSIDE, address='10.0.2.15', parents=(None, MODULE))
        made.device(net, 'wg0', rtnl_link_ops=link_kind(made))
    whole = made.close_lists().memory.core_file()
    return made, whole, [at for at, byte in enumerate(whole) if byte]


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=60))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
def test_damaged_memory_gives_devices_or_a_reason(tmp_path_factory, damage):
    root = tmp_path_factory.getbasetemp() / 'network'
    made, whole, places = undamaged()
    if not (root / 'proc').exists():
        root_of(root, made, dict(CONNECTION, **{
            'proc/50/environ': 'SSH_CONNECTION=10.0.2.2 1 10.0.2.15 22\0', 'sys/class/net/lo/type': '772'}))
    core = bytearray(whole)
    for at, value in damage:
        core[places[at % len(places)]] = value
    (root / 'proc/kcore').write_bytes(bytes(core))
    found = made.find(str(root))
    assert isinstance(found['network'], list)
    assert all(entry['what'].isprintable() for entry in found['network'])


def test_an_odd_name_is_one_argument():
    device = network_devices.Device('-rf', HOST, True, True, 'x', ())
    assert network_devices._command(device) == 'ip link del dev -rf'
