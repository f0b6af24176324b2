# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic control, netfilter, congestion control, IPsec: what is found in what a kernel 6.12 answered."""

import contextlib
import json
import os
import socket

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import (
    netlink,
    networks,
    processes,
    uses_net,
    uses_netfilter,
    xtables,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_memory import CAPTURES, write_files

RECORDED = json.loads((CAPTURES / 'linux-6.12/uses.json').read_text())
OWN = networks.Network('', '', 'proc/net')
OTHER = networks.Network('proc/41/ns/net', 'nsenter -t 41 -n ', 'proc/41/net')
LOADED = {'sys/module/%s/refcnt' % name: '1\n' for name in ('tcp_diag', 'xfrm_user', 'nf_tables')}


def ask(family, kind, body):
    """What the recorded kernel answered; what nobody asked it is not there."""
    return [bytes.fromhex(answer) for answer in RECORDED['netlink']['%d %d %s' % (family, kind, body.hex())]]


def get(version, table):
    """A recorded table of iptables."""
    hooks, starts, entries = RECORDED['xtables'][version.command + ' ' + table]
    return hooks, tuple(starts), bytes.fromhex(entries)


@pytest.fixture
def root(tmp_path):
    write_files(tmp_path, dict(LOADED, **{
        'proc/net/ip_tables_names': 'raw\nnat\nfilter\n', 'proc/net/ip6_tables_names': 'raw\nfilter\n',
        'proc/sys/net/core/default_qdisc': 'fq_codel\n', 'proc/sys/net/ipv4/tcp_congestion_control': 'cubic\n'}))
    return str(tmp_path)


@pytest.fixture(autouse=True)
def recorded_tables(monkeypatch):
    monkeypatch.setattr(xtables, 'ask', get)


def found(names, root, net=OWN):
    """What every reader for these names finds, each with what it says and what ends it."""
    entries = []
    for kind, read in uses_net.readers(names) + uses_netfilter.readers(names):
        answer, reason = uses_net.complete(read, net, ask, root)
        assert reason == '', (kind, reason)
        entries += answer
    assert all(entry['counts'] and not entry['active'] and entry['kind'] and entry['evidence'] for entry in entries)
    return [(entry['what'], entry['end_with']) for entry in entries]


# the module's name and aliases: what is found
FOUND = {
    'sch_htb net-sch-htb': [('queueing discipline htb on da0', 'tc qdisc del dev da0 root')],
    'sch_sfq': [('queueing discipline sfq on da0', 'tc qdisc del dev da0 parent 1:1')],
    'sch_ingress': [('queueing discipline clsact on db0', 'tc qdisc del dev db0 clsact'),
                    ('queueing discipline clsact on da0', 'tc qdisc del dev da0 clsact')],
    'sch_fq': [('queueing discipline fq on tq0', 'tc qdisc replace dev tq0 root pfifo_fast')],
    'sch_prio': [],
    'cls_u32': [('classifier u32 on da0, parent 1:', 'tc filter del dev da0 parent 1: pref 5')],
    'act_mirred net-act-mirred': [
        ('classifier matchall with the action mirred on da0, ingress', 'tc filter del dev da0 ingress pref 7 chain 3'),
        ('classifier matchall with the action mirred on block 9', 'tc filter del block 9 pref 4'),
        ('action mirred (1)', 'tc actions flush action mirred')],
    'esp4': [('IPsec state esp src 10.1.0.1 dst 10.1.0.2 spi 0x00000201',
              'ip xfrm state delete src 10.1.0.1 dst 10.1.0.2 proto esp spi 0x201')],
    'esp6 xfrm-type-10-50': [('IPsec state esp src fd00::1 dst fd00::2 spi 0x00000202',
                              'ip xfrm state delete src fd00::1 dst fd00::2 proto esp spi 0x202')],
    'ah4': [],
    'xt_connlimit ipt_connlimit ip6t_connlimit': [
        ('rule 2 of chain user1 in the table filter of iptables (connlimit)', 'iptables -t filter -D user1 2'),
        ('rule 1 of chain INPUT in the table filter of iptables (connlimit)', 'iptables -t filter -D INPUT 1'),
        ('rule 1 of chain OUTPUT in the table filter of ip6tables (connlimit)', 'ip6tables -t filter -D OUTPUT 1'),
        ('nf_tables rule 2 of chain ip filter FORWARD (match connlimit)',
         "nft 'delete rule ip filter FORWARD handle 2'")],
    # its name alone: of a module that depmod does not know
    'xt_CT': [('rule 1 of chain PREROUTING in the table raw of iptables (CT)', 'iptables -t raw -D PREROUTING 1')],
    'xt_condition ipt_condition': [],
    'nf_conntrack_ftp nfct-helper-ftp': [
        ('rule 1 of chain PREROUTING in the table raw of iptables (a conntrack helper)',
         'iptables -t raw -D PREROUTING 1'),
        ('nf_tables ct helper ip t5 ftph', "nft 'delete ct helper ip t5 ftph'")],
    'nf_conntrack_sip': [],
    'iptable_raw': [('rules or chains in the table raw of iptables', 'iptables -t raw -F && iptables -t raw -X')],
    # an empty table holds nothing
    'ip6table_raw': [], 'iptable_nat': [],
    # the second is within a dynset
    'nft_limit nft-obj-4 nft-expr-limit': [
        ('nf_tables rule 4 of chain inet t1 c1 (expression limit)', "nft 'delete rule inet t1 c1 handle 4'"),
        ('nf_tables rule 7 of chain inet t1 c1 (expression limit)', "nft 'delete rule inet t1 c1 handle 7'")],
    'nft_ct nft-obj-3 nft-expr-ct': [
        ('nf_tables rule 5 of chain inet t1 c1 (expression ct)', "nft 'delete rule inet t1 c1 handle 5'"),
        ('nf_tables ct helper ip t5 ftph', "nft 'delete ct helper ip t5 ftph'")],
    'nft_reject_inet nft-expr-1-reject': [
        ('nf_tables rule 9 of chain inet t1 c1 (expression reject)', "nft 'delete rule inet t1 c1 handle 9'")],
    'nft_reject_inet': [
        ('nf_tables rule 9 of chain inet t1 c1 (expression reject)', "nft 'delete rule inet t1 c1 handle 9'")],
    'nft_reject_ipv4 nft-expr-2-reject': [],
    'nft_chain_nat nft-chain-1-nat nft-chain-2-nat': [
        ('nf_tables chain ip t3 post of type nat', "nft 'flush chain ip t3 post; delete chain ip t3 post'")],
    'nft_compat nft-expr-match nft-expr-target': [
        ('nf_tables rule 2 of chain ip filter FORWARD (expression match)',
         "nft 'delete rule ip filter FORWARD handle 2'")],
    'nf_flow_table_inet': [('nf_tables flowtable inet t1 ft', "nft 'delete flowtable inet t1 ft'")],
    'nf_tables': [('nf_tables table ' + label, f"nft 'delete table {label}'")
                  for label in ('ip filter', 'inet t1', 'ip t3', 'ip t5')],
    'nf_log_syslog nf_log_ipv4': [],
    'ip_set_hash_ip ip_set_hash:ip': [('set s1 of type hash:ip', 'ipset destroy s1')],
    'ip_set_hash_ipport': [('set s2 of type hash:ip,port', 'ipset destroy s2')],
    'virtio_net ext4 net-pf-16': [],
}


@pytest.mark.parametrize('names', FOUND)
def test_recorded_uses_are_found_with_what_ends_them(names, root):
    assert found(names.split(), root) == FOUND[names]


def test_in_another_namespace_the_command_enters_it(root):
    assert found(['sch_htb'], root, OTHER) == [
        ('queueing discipline htb on da0 (in the network namespace of pid 41)',
         'nsenter -t 41 -n tc qdisc del dev da0 root')]
    assert found(['xt_CT'], root, OTHER)[0][1] == 'nsenter -t 41 -n iptables -t raw -D PREROUTING 1'


def test_where_both_iptables_are_installed_the_legacy_one_is_named(root, tmp_path):
    write_files(tmp_path, {'usr/sbin/iptables-legacy': ''})
    assert found(['xt_CT'], root)[0][1] == 'iptables-legacy -t raw -D PREROUTING 1'


def test_defaults_are_holders(root, tmp_path):
    write_files(tmp_path, {'proc/sys/net/core/default_qdisc': 'fq\n'})
    assert found(['sch_fq'], root)[0] == ('queueing discipline fq as the default',
                                          'sysctl -w net.core.default_qdisc=pfifo_fast')
    assert len(found(['sch_fq'], root, OTHER)) == 1
    (tmp_path / 'proc/sys/net/ipv4/tcp_congestion_control').write_text('bbr\n')
    entries, reason = uses_net.complete(uses_net.readers(['tcp_bbr'])[0][1], OWN, ask, root)
    assert entries[0]['end_with'] == 'sysctl -w net.ipv4.tcp_congestion_control=cubic'
    assert (len(entries), reason) == (2, '')


def test_sockets_get_their_process(root, tmp_path):
    entries, _reason = uses_net.complete(uses_net.readers(['tcp_bbr'])[0][1], OWN, ask, root)
    (entry,) = entries
    write_files(tmp_path, {'proc/77/comm': 'nginx\n', 'proc/77/fd/5': '-> socket:[%d]' % entry['inode'],
                           'proc/77/fd/6': '-> socket:[1]'})
    (named,) = uses_net.name_sockets(entries, root)
    assert (named['what'], named['end_with']) == ('process nginx (pid 77) with a socket that uses bbr', 'kill 77')
    (tmp_path / 'proc/77/fd/5').unlink()
    (named,) = uses_net.name_sockets(entries, root)
    assert (named['what'], named['end_with']) == (
        'a socket that is closing, or that no process has and that uses bbr', '')


@pytest.mark.parametrize(('gone', 'names', 'why'), [
    ('tcp_diag', ['tcp_bbr'], 'tcp_diag is not loaded'), ('xfrm_user', ['esp4'], 'xfrm_user is not loaded')])
def test_what_would_load_a_module_is_not_asked(gone, names, why, root, tmp_path):
    (tmp_path / 'sys/module' / gone / 'refcnt').unlink()
    (tmp_path / 'sys/module' / gone).rmdir()
    entries, reason = uses_net.complete(uses_net.readers(names)[0][1], OWN, ask, root)
    assert entries == []
    assert why in reason
    write_files(tmp_path, {'proc/sys/kernel/osrelease': '6.1\n',
                           'lib/modules/6.1/modules.builtin': 'kernel/net/x.ko\nkernel/net/%s.ko\n' % gone})
    assert uses_net.complete(uses_net.readers(names)[0][1], OWN, ask, root)[1] == ''


def test_without_nf_tables_nothing_is_asked_of_it(root, tmp_path):
    (tmp_path / 'sys/module/nf_tables/refcnt').unlink()
    (tmp_path / 'sys/module/nf_tables').rmdir()
    assert found(['nft_limit'], root) == []


def refuse(number):
    def refused(*_asked):
        raise KmodError('list', os.strerror(number), errno=number)

    return refused


def test_a_kernel_built_without_it_has_none_and_another_reason_is_told(root):
    (dummy, read), = uses_net.readers(['sch_htb'])
    assert uses_net.complete(read, OWN, refuse(95), root) == ([], '')
    assert 'not permitted' in uses_net.complete(read, OWN, refuse(1), root)[1]


def test_a_table_that_cannot_be_read_costs_that_table(root, monkeypatch):
    def get_all_but_raw(version, table):
        if table == 'raw':
            raise OSError(1, 'Operation not permitted')
        return get(version, table)

    monkeypatch.setattr(xtables, 'ask', get_all_but_raw)
    read = uses_netfilter.readers(['xt_connlimit'])[0][1]
    entries, reason = uses_net.complete(read, OWN, ask, root)
    assert len(entries) == 3
    assert 'iptables -t raw' in reason


def test_virtual_servers(root, tmp_path):
    write_files(tmp_path, {'proc/net/ip_vs': (
        'IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n'
        '  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\nTCP  0A000001:0050 rr  \n'
        '  -> 0A000002:0050      Masq    1      0          0\nFWM  00000010 wlc\nUDP  [fd00::1]:0035 rr\n')})
    assert found(['ip_vs_rr'], root) == [
        ('virtual server TCP 10.0.0.1:80', 'ipvsadm -D -t 10.0.0.1:80'),
        ('virtual server UDP [fd00::1]:53', 'ipvsadm -D -u [fd00::1]:53')]
    assert [end for _what, end in found(['ip_vs'], root)][1] == 'ipvsadm -D -f 16'


def test_namespaces_are_this_one_then_those_of_processes_then_named_ones(tmp_path):
    write_files(tmp_path, {'proc/self/ns/net': '-> net:[1]', 'proc/1/ns/net': '-> net:[1]',
                           'proc/30/ns/net': '-> net:[2]', 'proc/31/ns/net': '-> net:[2]', 'run/netns/blue': ''})
    places = networks.networks(str(tmp_path))
    assert [(place.file, place.enter) for place in places] == [
        ('', ''), ('proc/30/ns/net', 'nsenter -t 30 -n '), ('run/netns/blue', 'nsenter --net=/run/netns/blue ')]
    assert [networks.place(place) for place in places] == [
        '', ' (in the network namespace of pid 30)', ' (in the network namespace of blue)']


def test_one_namespace_that_cannot_be_read_costs_that_one(tmp_path):
    write_files(tmp_path, {'proc/1/ns/net': '-> net:[1]', 'proc/30/ns/net': '-> net:[2]'})

    def read(network):
        if network.enter:
            raise KmodError('look', 'no')
        return 'seen'

    assert networks.in_each(read, 'look', str(tmp_path)) == [
        'seen', {'unavailable': 'Cannot look: no. (in the network namespace of pid 30)'}]


def test_this_host_lists_its_devices():
    answers = networks.in_each(
        lambda _network: [netlink.string(netlink.table(body, 16)[3])
                          for body in netlink.dump(netlink.ROUTE, 18, b'\0' * 16)], 'list devices')
    assert 'lo' in answers[0]
    with pytest.raises(KmodError, match='list by netlink family 0'):
        netlink.dump(netlink.ROUTE, 0x7FF, b'')


def test_protocols_name_their_processes(tmp_path):
    with socket.socket(socket.AF_UNIX) as opened:
        header = 'protocol  size sockets  memory press maxhdr  slab module     cl co di ac\n'
        inode = os.fstat(opened.fileno()).st_ino
        write_files(tmp_path, {'proc/net/protocols': header + 'UNIX-STREAM 1024 3 -1 NI 0 yes foo n n\n'
                                                              'TCP 1 1 -1 NI 0 yes kernel y\n',
                               'proc/5/comm': 'cat\n', 'proc/5/fd/%d' % opened.fileno(): '-> socket:[%d]' % inode})
        # A link of a made root leads nowhere: no process has it, and the count alone is told.
        entries = uses_net.protocols('foo', str(tmp_path))
        assert [(entry['what'], entry['sockets']) for entry in entries] == [('3 sockets of protocol UNIX-STREAM', 3)]
        assert uses_net.protocols('bar', str(tmp_path)) == []


def test_this_hosts_sockets_have_their_protocol():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        own = [(protocol, file.fd) for protocol, file in processes.sockets_of('/', {'UDP'})
               if file.pid == os.getpid()]
        assert ('UDP', opened.fileno()) in own


@given(st.lists(st.binary(max_size=200), max_size=4))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_no_answer_of_netlink_is_a_traceback(tmp_path_factory, bodies):
    root = tmp_path_factory.getbasetemp() / 'answers'
    write_files(root, {} if root.exists() else LOADED)
    for names in FOUND:
        for _kind, read in uses_net.readers(names.split()) + uses_netfilter.readers(names.split()):
            entries, reason = uses_net.complete(read, OWN, lambda *_asked: bodies, str(root))
            assert isinstance(entries, list)
            assert isinstance(reason, str)


@given(st.binary(max_size=600))
def test_no_table_is_a_traceback(data):
    for version in xtables.VERSIONS.values():
        with contextlib.suppress(KmodError):
            list(xtables.parse(data, version, 0x1F, (0, 1, 2, 3, 4)))


@given(st.binary(max_size=300))
def test_any_bytes_are_messages_and_attributes(data):
    assert sum(1 for _each in netlink.messages(data)) <= len(data)
    assert sum(1 for _each in netlink.attributes(data)) <= len(data)
