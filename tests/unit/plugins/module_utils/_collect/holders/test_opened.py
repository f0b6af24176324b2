# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes have of a module: each kind as four kernels lay it out in memory, torn and hostile memory."""

import functools

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_sockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_memory import KERNELS, make_root, write_files
from used_kernel import (
    CHARACTER,
    EXT4,
    INSIDE,
    KERNELS_OWN,
    LISTEN,
    MODULE,
    OTHER,
    RANGES,
    UNIX,
    UsedKernel,
)

PID = 412


def found_in(made, directory, *files, **members):
    """What is found where a process has these open."""
    made.process(PID, 'cat', made.table(dict(enumerate(files, 3))), **members)
    made.close_lists()
    return made.find(make_root(directory, made.name, made.memory))


def kfunc_table(made, owner):
    """Of the second of two modules whose functions a program calls."""
    table = made.new('bpf_kfunc_btf_tab')
    size = made.types.size('bpf_kfunc_btf')
    made.memory.u32(made.at(table, 'bpf_kfunc_btf_tab', 'nr_descs'), 2)
    made.memory.u64(table + size + made.types.offset('bpf_kfunc_btf', 'module'), owner)
    return table


def struct_ops(made, owner):
    """A map of a module's struct_ops."""
    described = made.new('bpf_struct_ops_desc', st_ops=made.new('bpf_struct_ops', owner=owner))
    table = made.new('bpf_struct_ops_map', st_ops_desc=described)
    made.memory.u32(made.at(table, 'bpf_map', 'map_type'), 26)
    return made.unnamed('bpf-map', table)


def used_types(made, owner):
    """A program that uses types of a module."""
    auxiliary = made.new('bpf_prog_aux', used_btfs=made.new('btf_mod_pair', module=owner))
    made.memory.u32(made.at(auxiliary, 'bpf_prog_aux', 'used_btf_cnt'), 1)
    return made.unnamed('bpf-prog', made.new('bpf_prog', aux=auxiliary))


def debugfs_file(made, owner):
    """A file whose operations are debugfs's, with a module's behind them."""
    behind = made.new('debugfs_fsdata', real_fops=made.new('file_operations', owner=owner))
    return made.file(sb=made.debugfs, entry={'d_fsdata': behind})


# What is open: made for an owner; the evidence; whether it counts a reference.
KINDS = {
    'operations': (lambda made, owner: made.file(owner), 'file_operations.owner', True),
    'cdev': (lambda made, owner: made.device_file(owner), 'cdev.owner', True),
    'disk': (lambda made, owner: made.block_file(owner), 'block_device_operations.owner', True),
    'terminal driver': (lambda made, owner: made.terminal(owner, 0), 'tty_driver.owner', True),
    'line discipline': (lambda made, owner: made.terminal(0, owner), 'tty_ldisc_ops.owner', True),
    'dma-buf': (lambda made, owner: made.file(sb=made.dma_bufs, private_data=made.new('dma_buf', owner=owner)),
                'dma_buf.owner', True),
    'dma-buf without owner': (lambda made, owner: made.file(sb=made.dma_bufs, private_data=made.new(
        'dma_buf', ops=INSIDE if owner == MODULE else 0)), 'dma_buf.ops', False),
    'perf': (lambda made, owner: made.unnamed('[perf_event]', made.new('perf_event', pmu=made.new(
        'pmu', module=owner))), 'pmu.module', True),
    'debugfs': (debugfs_file, 'file_operations.owner', True),
    'socket': (lambda made, owner: made.socket(ops=owner)[0], 'proto_ops.owner', True),
    'protocol': (lambda made, owner: made.socket(prot=owner)[0], 'proto.owner', True),
}


@pytest.mark.parametrize('kernel', KERNELS)
@pytest.mark.parametrize('kind', KINDS)
def test_each_kind_of_open_file(tmp_path, kernel, kind):
    make, evidence, counts = KINDS[kind]
    made = UsedKernel(kernel)
    found = found_in(made, tmp_path, make(made, OTHER), make(made, MODULE), make(made, 0))
    assert [(entry['fd'], entry['evidence'], entry['counts'], entry['active'], entry['end_with'])
            for entry in found['processes']] == [(4, evidence, counts, not counts, 'kill 412')]
    assert found['unread'] == []


BPF = {
    'kfunc': (lambda made, owner: made.unnamed('bpf-prog', made.program(kfunc_btf_tab=kfunc_table(made, owner))),
              'bpf_kfunc_btf.module', KERNELS[1:]),
    'link': (lambda made, owner: made.unnamed('bpf_link', made.new('bpf_link', prog=made.program(
        kfunc_btf_tab=kfunc_table(made, owner)))), 'bpf_kfunc_btf.module', KERNELS[1:]),
    'attached': (lambda made, owner: made.unnamed('bpf-prog', made.program(mod=owner)), 'bpf_prog_aux.mod',
                 KERNELS[2:]),
    'types': (used_types, 'btf_mod_pair.module', KERNELS[1:]),
    'struct_ops': (struct_ops, 'bpf_struct_ops.owner', KERNELS[2:]),
}


@pytest.mark.parametrize(('kind', 'kernel'), [(kind, kernel) for kind in BPF for kernel in BPF[kind][2]])
def test_bpf_programs_and_what_they_hold(tmp_path, kind, kernel):
    make, evidence, _kernels = BPF[kind]
    made = UsedKernel(kernel)
    detached = made.unnamed('bpf_link', made.new('bpf_link'))
    found = found_in(made, tmp_path, make(made, OTHER), make(made, MODULE), detached)
    assert [(entry['fd'], entry['evidence']) for entry in found['processes']] == [(4, evidence)]
    assert found['unread'] == []


@pytest.mark.parametrize('kernel', KERNELS)
def test_operations_in_the_module_itself_count_no_reference(tmp_path, kernel):
    made = UsedKernel(kernel)
    own = made.mounted(EXT4, MODULE)
    inside = made.within()
    # Of a file on a file system of the module the mount is told: not each file.
    found = found_in(made, tmp_path, made.file(operations=inside, sb=own), made.file(operations=inside),
                     made.file(operations=inside, mode=CHARACTER), made.socket(operations=INSIDE + 0x100)[0])
    assert [(entry['fd'], entry['evidence'], entry['counts'], entry['active']) for entry in found['processes']] == [
        (4, 'file.f_op', False, True), (5, 'file.f_op', False, True), (6, 'socket.ops', False, True)]


@pytest.mark.parametrize('kernel', KERNELS)
def test_what_points_into_the_module_from_within_a_socket(tmp_path, kernel):
    made = UsedKernel(kernel)
    types = made.types
    at = {member: types.offset('inet_connection_sock', member) for member in ('icsk_ca_ops', 'icsk_ulp_ops')}
    behind, callback = types.size('sock') + 8, types.offset('sock', 'sk_data_ready')
    words = [[(at['icsk_ca_ops'], INSIDE)], [(at['icsk_ulp_ops'], RANGES[0][0])], [(behind, MODULE)],
             [(callback, INSIDE)], [(behind, RANGES[1][1])], [(behind + 4, INSIDE)], [(behind, OTHER)]]
    found = found_in(made, tmp_path, *[made.socket(words=word)[0] for word in words])
    assert [(entry['fd'], entry['evidence'], entry['counts']) for entry in found['processes']] == [
        (3, 'tcp_congestion_ops.owner', True), (4, 'tcp_ulp_ops.owner', True), (5, f'struct sock+{behind:#x}', True),
        (6, f'struct sock+{callback:#x}', False)]


@pytest.mark.parametrize('kernel', KERNELS)
def test_mappings(tmp_path, kernel):
    made = UsedKernel(kernel)
    inside, own = made.within(at=INSIDE), made.mounted(EXT4, MODULE)
    device, kernels = made.file(MODULE, mode=CHARACTER, name='foo'), made.new('vm_operations_struct')
    space = made.space_of(
        made.area(0x1000, made.file(), kernels), made.area(0x5000, device, kernels), made.area(0x7000, device, kernels),
        made.area(0x9000, 0, inside), made.area(0xB000, made.file(sb=own), inside), made.area(0xD000, 0, 0))
    made.process(412, 'viewer', 0, mm=space)
    made.process(413, 'same', 0, mm=space)
    made.process(414, 'gone', 0, mm=0)
    root = make_root(tmp_path, kernel, made.close_lists().memory)
    write_files(root, {'proc/412/map_files/5000-6000': '-> /dev/foo'})
    found = made.find(root)
    assert [(entry['what'], entry['fd'], entry['evidence'], entry['counts'], entry['active'], entry['end_with'])
            for entry in found['processes']] == [
        ('process viewer (pid 412) with /dev/foo mapped', None, 'file_operations.owner', True, False, 'kill 412'),
        ('process viewer (pid 412) with a file mapped', None, 'vm_area_struct.vm_ops', False, True, 'kill 412')]
    assert found['unread'] == []


@pytest.mark.parametrize('kernel', KERNELS)
def test_descriptors_in_flight(tmp_path, kernel):
    made = UsedKernel(kernel)
    direct, sock = made.socket(family=UNIX)
    made.send(sock, made.file(OTHER), made.device_file(MODULE))
    # A socket that is itself on its way, which has another on its way to it.
    inner, inner_sock = made.socket(family=UNIX)
    made.send(inner_sock, made.file(MODULE, name='inner'))
    outer, outer_sock = made.socket(family=UNIX)
    made.send(outer_sock, inner)
    # One that was sent to before it was accepted.
    listening, listening_sock = made.socket(family=UNIX, state=LISTEN)
    waiting = made.socket(family=UNIX)[1]
    made.send(waiting, made.file(MODULE, name='early'))
    made.waits(listening_sock, waiting)
    # One that sends itself to itself goes on for ever.
    loop, loop_sock = made.socket(family=UNIX)
    made.send(loop_sock, loop)
    # An AF_INET socket has no such messages, whatever lies there.
    other, other_sock = made.socket()
    made.send(other_sock, made.file(MODULE))
    for pid, file in enumerate((direct, outer, listening, loop, other), 1001):
        made.process(pid, 'receiver', made.table({3: file}))
    root = make_root(tmp_path, kernel, made.close_lists().memory)
    write_files(root, {'sys/dev/char/244:1/uevent': 'MAJOR=244\nMINOR=1\nDEVNAME=foo\n'})
    found = made.find(root)
    assert sorted((entry['pid'], entry['path'], entry['fd'], entry['evidence']) for entry in found['processes']) == [
        (1001, '/dev/foo', None, 'cdev.owner'), (1002, 'inner', None, 'file_operations.owner'),
        (1003, 'early', None, 'file_operations.owner')]
    assert 'process receiver (pid 1001), to which a descriptor of /dev/foo was sent and not yet received' in {
        entry['what'] for entry in found['processes']}
    assert found['unread'] == []


@pytest.mark.parametrize('kernel', KERNELS)
def test_files_that_an_io_uring_has_registered(tmp_path, kernel):
    made = UsedKernel(kernel)
    ring = made.ring_of(0, made.file(OTHER), made.file(MODULE, name='foo'), 0)
    found = found_in(made, tmp_path, ring, made.unnamed('[eventfd]', 0), made.ring_of())
    assert [(entry['what'], entry['fd']) for entry in found['processes']] == [
        ('process cat (pid 412) with foo registered in an io_uring', None)]
    assert found['unread'] == []


@pytest.mark.parametrize('kernel', KERNELS[1:])
def test_an_io_uring_that_is_registered_itself_needs_no_descriptor(tmp_path, kernel):
    made = UsedKernel(kernel)
    own = made.new('io_uring_task')
    ring = made.ring_of(made.file(MODULE, name='foo'))
    made.memory.u64(made.at(own, 'io_uring_task', 'registered_rings') + 8 * 15, ring)
    found = found_in(made, tmp_path, io_uring=own)
    assert [entry['path'] for entry in found['processes']] == ['foo']


@pytest.mark.parametrize('kernel', KERNELS)
def test_kernel_threads_by_their_function_or_its_argument(tmp_path, kernel):
    made = UsedKernel(kernel)
    made.kernel_thread(2, 'kthreadd', KERNELS_OWN)
    made.kernel_thread(60, 'foo_saver', INSIDE)
    made.kernel_thread(61, 'foo\x1bworker', KERNELS_OWN, INSIDE)
    made.kernel_thread(62, 'bar', OTHER, OTHER)
    # A user's task has something else where a kernel thread has its function.
    made.process(63, 'user', 0, set_child_tid=made.new('kthread', threadfn=INSIDE))
    root = make_root(tmp_path, kernel, made.close_lists().memory)
    found = made.find(root)
    assert found['others'] == [
        {'kind': 'kernel thread', 'pid': pid, 'command': command, 'what': 'kernel thread %s (pid %d)' % (command, pid),
         'evidence': evidence, 'end_with': '', 'counts': False, 'active': False}
        for pid, command, evidence in ((60, 'foo_saver', 'kthread.threadfn'), (61, 'foo\\x1bworker', 'kthread.data'))]
    assert found['processes'] == found['unread'] == []


@pytest.mark.parametrize('kernel', KERNELS)
@pytest.mark.parametrize(('owner', 'counts'), [(MODULE, True), (0, False)])
def test_a_program_runs_by_a_binary_format(tmp_path, kernel, owner, counts):
    made = UsedKernel(kernel)
    made.put(INSIDE, 'linux_binfmt', 'module', owner)
    made.process(412, 'foreign', 0, mm=made.new('mm_struct', binfmt=INSIDE))
    made.process(413, 'usual', 0, mm=made.new('mm_struct', binfmt=made.new('linux_binfmt', module=OTHER)))
    (found,) = made.find(make_root(tmp_path, kernel, made.close_lists().memory))['processes']
    assert (found['what'], found['evidence'], found['end_with'], found['counts'], found['active']) == (
        'process foreign (pid 412), whose program runs by its binary format', 'mm_struct.binfmt', 'kill 412', counts,
        not counts)


def test_very_many_of_one_kind_are_a_number(tmp_path):
    made = UsedKernel('linux-6.12')
    at = made.types.offset('inet_connection_sock', 'icsk_ca_ops')
    sockets = [made.socket(words=[(at, INSIDE)])[0] for _number in range(20)]
    found = found_in(made, tmp_path, made.file(MODULE), *sockets)['processes']
    assert len(found) == 10
    assert (found[-1]['what'], found[-1]['fd'], found[-1]['end_with']) == (
        'process cat (pid 412) with 12 more open', None, 'kill 412')


def test_this_very_task_and_its_service_are_not_to_be_ended(tmp_path):
    made = UsedKernel('linux-6.1')
    for pid in (1, 50, 60, 70, 80):
        made.process(pid, 'sshd', made.table({3: made.file(MODULE)}))
    root = make_root(tmp_path, 'linux-6.1', made.close_lists().memory)
    service = '0::/system.slice/%s.service\n'
    write_files(root, {
        'proc/self': '-> 60', 'proc/60/stat': '60 (py) t) S 50 1', 'proc/50/stat': '50 (sshd) S 1 1',
        'proc/60/cgroup': service % 'pull', 'proc/70/cgroup': service % 'pull', 'proc/80/cgroup': service % 'foo'})
    found = made.find(root)['processes']
    assert [(entry['pid'], entry['end_with'], 'this very task runs under' in entry['what']) for entry in found] == [
        (1, '', False), (50, '', True), (60, '', True), (70, 'kill 70', False),
        (80, 'systemctl stop foo.service', False)]


@given(st.binary(max_size=200), st.lists(st.integers(0, 24), max_size=8))
def test_words_in_a_block_are_found_as_one_by_one(data, places):
    owner = kernel_sockets.Owner(MODULE, tuple(RANGES))
    block = bytearray(data + bytes(-len(data) % 8))
    for number, place in enumerate(places):
        block[8 * place:8 * place + 8] = ((MODULE, INSIDE, OTHER, RANGES[0][0] - 1)[number % 4]).to_bytes(8, 'little')
    block = bytes(block[:len(block) // 8 * 8])
    slowly = [(at, int.from_bytes(block[at:at + 8], 'little')) for at in range(0, len(block), 8)]
    assert list(owner.words(block)) == [(at, word) for at, word in slowly if owner.holds(word)]


@functools.lru_cache(maxsize=None)
def undamaged(kernel):
    """A kernel with everything in it, as a core file, and where in it anything is."""
    made = UsedKernel(kernel)
    receiver, sock = made.socket(family=UNIX)
    made.send(sock, made.file(MODULE))
    files = [make(made, MODULE) for make, _evidence, _counts in KINDS.values()]
    files += [receiver, made.ring_of(made.file(MODULE), 0)]
    made.process(1, 'one', made.table(dict(enumerate(files))), mm=made.space_of(made.area(0x1000, made.file(MODULE))))
    made.kernel_thread(2, 'two', INSIDE)
    whole = made.close_lists().memory.core_file()
    return made, whole, [at for at, byte in enumerate(whole) if byte]


@pytest.mark.parametrize('kernel', ['linux-5.10', 'linux-7.3'])
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=60))
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None,
          max_examples=60)
def test_damaged_memory_gives_processes_or_a_reason(tmp_path_factory, kernel, damage):
    root = tmp_path_factory.getbasetemp() / f'opened-{kernel}'
    made, whole, places = undamaged(kernel)
    make_root(root, kernel)
    core = bytearray(whole)
    for at, value in damage:
        core[places[at % len(places)]] = value
    (root / 'proc').mkdir(exist_ok=True)
    (root / 'proc/kcore').write_bytes(bytes(core))
    found = made.find(root)
    assert isinstance(found['processes'], list) or found['processes']['unavailable']
    assert all(isinstance(text, str) for text in found['unread'])
