# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data that the symbol table does not list, from the code of Debian 12's kernel 6.1 for AArch64 as it lay in memory."""

import os
import struct

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import loader_data, module_survey, registrations
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import aarch64, static_data
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from builders import kernel as facts_of_kernel
from hypothesis import given
from hypothesis import strategies as st
from kernel_memory import CAPTURES, Structs, make_root, write_files

KERNEL = 'linux-arm64-6.1'
# Name, address, size and bytes of functions; those that are only called have none.
CODE = [line.split() for line in (CAPTURES / KERNEL / 'code.txt').read_text().splitlines()]
# As disassembled by objdump.
DATA = {
    'module_mutex': 0xffffabc003b5c9f0, 'modules': 0xffffabc003b5ca10, 'init_task': 0xffffabc003ac8dc0,
    'super_blocks': 0xffffabc003b98d00, 'socket_file_ops': 0xffffabc002cd2bc0, 'misc_list': 0xffffabc003cc8070,
    'proto_list': 0xffffabc003d03cd0, 'tty_drivers': 0xffffabc003cbd9d8, 'crypto_alg_list': 0xffffabc003bb4600,
    'cdev_map': 0xffffabc003dc27b8, 'net_namespace_list': 0xffffabc003d03e38, 'file_systems': 0xffffabc003dc4830,
    'irq_desc_tree': 0xffffabc003b58d30, 'kprobe_table': 0xffffabc003da86b8, '__per_cpu_offset': 0xffffabc003ac3010,
    'timer_bases': 0xffffabc003606f80,
}
EMPTY_LISTS = ('misc_list', 'proto_list', 'tty_drivers', 'crypto_alg_list')
SIZES = {'kprobe_table': 512, 'timer_bases': 9472}
CHAINS = [('register_netdevice_notifier', 0xffffabc003e023a8, 'raw_notifier_head'),
          ('register_reboot_notifier', 0xffffabc003ae09c0, 'blocking_notifier_head')]
CPUS = (0x540000000000, 0x540000100000)


class Kernel:
    """The functions in memory, and the data where the functions say they are."""

    def __init__(self):
        self.structs = Structs(KERNEL)
        self.memory = self.structs.memory
        self.table = []
        for name, address, size, *code in CODE:
            self.table.append((int(address, 16), name))
            self.table.append((int(address, 16) + int(size), 'next'))
            if code:
                self.memory.write(int(address, 16), bytes.fromhex(code[0]))
        self.put, self.offset = self.structs.put, self.structs.types.offset
        self.module = self.structs.new('module')
        self.put(self.module, 'module', 'mkobj.mod', self.module)
        self.list(DATA['modules'], self.module + self.offset('module', 'list'))
        waiters = DATA['module_mutex'] + self.offset('mutex', 'wait_list')
        self.memory.u64(waiters, waiters)
        self.put(DATA['init_task'], 'task_struct', 'comm', b'swapper/0\0')
        kind = self.structs.new('file_system_type', name=self.structs.text('ext4'))
        self.memory.u64(DATA['file_systems'], kind)
        self.superblock = self.structs.new('super_block', s_type=kind)
        self.list(DATA['super_blocks'], self.superblock + self.offset('super_block', 's_list'))
        for name in EMPTY_LISTS:
            self.memory.u64(DATA[name], DATA[name])
        self.probe, self.map = self.structs.new('probe', dev=b'\3\0\x10\0'), self.structs.new('kobj_map')
        self.memory.u64(self.map + self.offset('kobj_map', 'probes') + 8, self.probe)
        self.memory.u64(DATA['cdev_map'], self.map)
        self.net, self.device = self.structs.new('net'), self.structs.new('net_device', name=b'lo\0')
        self.list(DATA['net_namespace_list'], self.net + self.offset('net', 'list'))
        self.list(self.net + self.offset('net', 'dev_base_head'), self.device + self.offset('net_device', 'dev_list'))
        probe = self.structs.new('kprobe')
        self.memory.write(DATA['kprobe_table'], bytes(SIZES['kprobe_table']))
        self.memory.u64(DATA['kprobe_table'] + 8 * 5, probe)
        self.memory.u64(probe + 8, DATA['kprobe_table'] + 8 * 5)
        self.wheels()

    def wheels(self):
        """Two wheels for each of two processors, a timer in one slot."""
        size, vectors = self.structs.types.size('timer_base'), self.offset('timer_base', 'vectors')
        for cpu, distance in enumerate(CPUS):
            self.memory.u64(DATA['__per_cpu_offset'] + 8 * cpu, distance)
            base = DATA['timer_bases'] + distance
            self.memory.write(base, bytes(2 * size))
            for wheel in range(2):
                self.memory.u32(base + wheel * size + self.offset('timer_base', 'cpu'), cpu)
            timer = self.structs.new('timer_list')
            self.memory.u64(base + vectors + 8 * 7, timer)
            self.memory.u64(timer + 8, base + vectors + 8 * 7)

    def list(self, head, node):
        """A list_head with one node."""
        self.memory.write(head, struct.pack('<QQ', node, node))
        self.memory.write(node, struct.pack('<QQ', head, head))

    def root(self, directory):
        """A root directory with all of it."""
        lines = ['%016x t %s\n' % line for line in sorted(self.table)]
        write_files(directory, {'proc/kallsyms': ''.join(lines), 'proc/filesystems': 'nodev\tproc\n\text4\n',
                                'proc/modules': 'leaked 16384 3 - Live 0xffffabbfb59e1000 (OE)\n',
                                'sys/devices/system/cpu/possible': '0-1\n'})
        return make_root(directory, KERNEL, self.memory)


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.setattr(os, 'uname', lambda: os.uname_result(('Linux', 'guest', '6.1.0-56-arm64', '#1', 'aarch64')))
    return Kernel()


def found(root, name):
    """Where it is."""
    with KernelMemory(root) as memory:
        address, size = static_data.find(name, Symbols(root), memory)
    assert size == SIZES.get(name, 0)
    return address


@pytest.mark.parametrize('name', DATA)
def test_each_datum(kernel, tmp_path, name):
    assert found(kernel.root(tmp_path), name) == DATA[name]


def broken_module_list(kernel):
    kernel.put(kernel.module, 'module', 'mkobj.mod', 1)


def no_module_list(kernel):
    kernel.memory.u64(DATA['modules'], DATA['modules'])


def a_mutex_that_leads_nowhere(kernel):
    kernel.put(DATA['module_mutex'], 'mutex', 'wait_list', 0x10)


def another_task(kernel):
    kernel.put(DATA['init_task'], 'task_struct', 'comm', b'systemd\0')


def a_file_system_of_no_name(kernel):
    kernel.put(kernel.superblock, 'super_block', 's_type', DATA['init_task'])


def a_map_without_memory(kernel):
    kernel.put(kernel.probe, 'probe', 'dev', b'\0\0\x20\0')


def a_namespace_without_lo(kernel):
    kernel.put(kernel.device, 'net_device', 'name', b'eth0\0')


def a_probe_of_another_table(kernel):
    kernel.memory.u64(DATA['kprobe_table'] + 8 * 9, kernel.module)


def a_list_that_is_none(kernel):
    kernel.memory.u64(DATA['misc_list'], kernel.module)


def a_wheel_of_another_processor(kernel):
    kernel.memory.u32(DATA['timer_bases'] + CPUS[1] + kernel.offset('timer_base', 'cpu'), 0)
    size = kernel.structs.types.size('timer_base')
    kernel.memory.u32(DATA['timer_bases'] + size + CPUS[1] + kernel.offset('timer_base', 'cpu'), 0)


def other_code(kernel):
    for _name, address, size, *code in CODE:
        if code:
            kernel.memory.write(int(address, 16), b'\x1f\x20\x03\xd5' * (int(size) // 4))


def no_such_function(kernel):
    kernel.table = [(address, 'other_' + name) for address, name in kernel.table]


@pytest.mark.parametrize(('spoil', 'names'), [
    (broken_module_list, ['modules', 'module_mutex']), (no_module_list, ['modules', 'module_mutex']),
    (a_mutex_that_leads_nowhere, ['module_mutex']), (another_task, ['init_task']),
    (a_file_system_of_no_name, ['super_blocks']), (a_map_without_memory, ['cdev_map']),
    (a_namespace_without_lo, ['net_namespace_list']), (a_probe_of_another_table, ['kprobe_table']),
    (a_list_that_is_none, ['misc_list']), (a_wheel_of_another_processor, ['__per_cpu_offset', 'timer_bases']),
    (other_code, list(DATA)),
    (no_such_function, list(DATA)),
])
def test_what_does_not_look_as_it_should_is_not_taken(kernel, tmp_path, spoil, names):
    spoil(kernel)
    root = kernel.root(tmp_path)
    for name, address in DATA.items():
        if name in names:
            with pytest.raises(KmodError):
                found(root, name)
        else:
            assert found(root, name) == address


def test_two_that_fit_are_none(kernel, tmp_path):
    name, address, size, code = CODE[0]
    # The same code a page further, its two calls of the same functions: what it takes lies a page further, too.
    words = list(struct.unpack('<%dI' % (int(size) // 4), bytes.fromhex(code)))
    for call in (9, 13):
        words[call] = words[call] & 0xfc000000 | (words[call] - 0x400) & 0x3ffffff
    there = int(address, 16) + 0x1000
    kernel.table += [(there, name), (there + int(size), 'next')]
    kernel.memory.write(there, struct.pack('<%dI' % len(words), *words))
    module = kernel.structs.new('module')
    kernel.put(module, 'module', 'mkobj.mod', module)
    kernel.list(DATA['modules'] + 0x1000, module + kernel.offset('module', 'list'))
    with pytest.raises(KmodError, match='2 addresses in it may be it'):
        found(kernel.root(tmp_path), 'modules')


@pytest.mark.parametrize('machine', ['x86_64', 'aarch64'])
def test_what_nothing_tells(kernel, tmp_path, machine, monkeypatch):
    monkeypatch.setattr(os, 'uname', lambda: os.uname_result(('Linux', 'guest', '', '', machine)))
    with pytest.raises(KmodError, match='find the kernel.s idem_hash: /proc/kallsyms does not give its address'):
        found(kernel.root(tmp_path), 'idem_hash')
    if machine == 'x86_64':
        with pytest.raises(KmodError, match='does not give its address. The kernel needs CONFIG_KALLSYMS_ALL=y'):
            found(str(tmp_path), 'modules')


def test_a_reset_has_its_anchors(kernel, tmp_path):
    with module_survey.Survey(kernel.root(tmp_path), facts_of_kernel()) as survey:
        anchors = survey.anchors()
    assert {name: anchors[name] for name in ('modules', 'module_mutex', 'idem_hash')} == {
        'modules': DATA['modules'], 'module_mutex': DATA['module_mutex'], 'idem_hash': None}


def test_a_kernel_that_keeps_a_table_of_running_loads_wants_that_too(kernel, tmp_path, monkeypatch):
    monkeypatch.setattr(loader_data, 'has_running_loads', lambda _self: True)
    with module_survey.Survey(kernel.root(tmp_path), facts_of_kernel()) as survey:
        anchors = survey.anchors()
    assert is_unavailable(anchors)
    assert 'CONFIG_KALLSYMS_ALL=y' in anchors['unavailable']


def test_notifier_chains_by_the_functions_that_register(kernel, tmp_path):
    root = kernel.root(tmp_path)
    with KernelMemory(root) as memory:
        assert sorted(static_data.notifier_chains(Symbols(root), memory)) == CHAINS


def test_no_notifier_chain_is_no_answer(kernel, tmp_path):
    kernel.table = [(address, name) for address, name in kernel.table if not name.startswith('register')]
    root = kernel.root(tmp_path)
    with KernelMemory(root) as memory, pytest.raises(KmodError, match='no function is known that registers with one'):
        static_data.notifier_chains(Symbols(root), memory)


def test_what_is_registered_is_seen_all_the_same(kernel, tmp_path):
    """Of a kind whose list is told by code, and of one whose list nothing tells."""
    device = kernel.structs.new('miscdevice', fops=kernel.module, name=kernel.structs.text('foo'))
    kernel.list(DATA['misc_list'], device + kernel.offset('miscdevice', 'list'))
    kernel.table = [(address, 'other_' + name if name == 'c_start' else name) for address, name in kernel.table]
    kernel.table += [(int(CODE[0][1], 16) - 16, '_stext'), (DATA['module_mutex'] - 16, '_etext')]
    root = kernel.root(tmp_path)
    write_files(root, {'proc/timer_list': '', 'proc/devices': ''})
    with KernelMemory(root) as memory:
        registered = registrations.Registrations(root, memory).of('foo', [(kernel.module, kernel.module + 8)])
    assert [(entry['kind'], entry['what']) for entry in registered['found']] == [('misc device', '/dev/foo')]
    assert registered['unseen'][0].startswith('algorithms: Cannot find the kernel\'s crypto_alg_list: ')
    assert not registered['blind']


def test_registers_that_a_call_or_a_load_may_change_are_forgotten():
    # adrp x0; bl; bl; adrp x19; ldr x19, [x19]; mov x0, x19; bl; ret
    code = struct.pack('<8I', 0x90000000, 0x94000000, 0x94000000, 0x90000013, 0xf9400273, 0xaa1303e0, 0x94000000,
                       0xd65f03c0)
    calls = [(0x1004, 0x1000), (0x1008, None), (0x1018, None)]
    assert aarch64.use(code, 0x1000) == aarch64.Use({0x1000}, calls)


@given(st.binary(max_size=400), st.integers(0, (1 << 64) - 1))
def test_any_bytes_give_addresses(code, start):
    use = aarch64.use(code, start)
    for address in [*use.constants, *(address for address, _first in use.calls)]:
        assert 0 <= address < 1 << 64
