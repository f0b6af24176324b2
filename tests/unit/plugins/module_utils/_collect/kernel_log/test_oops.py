# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Oopses captured on four kernels, the AArch64 form, and what is lost, mixed up or meant to do harm."""

import re

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import oops
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from hypothesis import given
from hypothesis import strategies as st
from kernel_memory import CAPTURES, KERNELS

NULL = 'kernel NULL pointer dereference, address: 0000000000000000'
BAD = 'do_bad.isra.0'

# kind, cause, function, offset, module, task, pid, time, taint, address
CAPTURED = {
    'linux-5.10': [
        ('oops', NULL, 'f_init', 0x14, 'init_oops', 'insmod', 320, 203.307197, 'GOE', 0),
        ('oops', NULL, 'f_exit', 0x2, 'exit_oops', 'rmmod', 325, 206.408686, 'GDOE', 0),
        ('oops', 'general protection fault, maybe for address 0x0', BAD, 0x2b, 'oops_ioctl', 'sh', 1098, 319.151424,
         'GDOE', 0),
        ('oops', NULL[:-2] + '10', BAD, 0x65, 'oops_ioctl', 'sh', 1100, 320.411086, 'GDOE', 16),
        ('oops', 'kernel BUG at /root/mods/rcu/oops_ioctl.c:6', BAD, 0x76, 'oops_ioctl', 'sh', 1105, 321.639049, 'GDOE',
         None),
        ('warning', 'WARNING at /root/mods/rcu/oops_ioctl.c:6: spike warn', BAD, 0x5a, 'oops_ioctl', 'sh', 1108,
         322.831702, 'GDOE', None),
    ],
    'linux-6.1': [
        ('oops', NULL, 'f_init', 0x14, 'init_oops', 'insmod', 1848, 808.540403, 'GOE', 0),
        ('oops', NULL, 'f_exit', 0x2, 'exit_oops', 'rmmod', 1861, 812.131118, 'GDOE', 0),
        ('oops', 'general protection fault, maybe for address 0x0', BAD, 0x2b, 'oops_ioctl', 'sh', 2850, 1473.356243,
         'GDOE', 0),
        ('oops', NULL[:-2] + '10', BAD, 0x65, 'oops_ioctl', 'sh', 2852, 1475.151518, 'GDOE', 16),
        ('oops', 'kernel BUG at /root/mods/rcu/oops_ioctl.c:6', BAD, 0x76, 'oops_ioctl', 'sh', 2857, 1476.444312,
         'GDOE', None),
        ('warning', 'WARNING at /root/mods/rcu/oops_ioctl.c:6: spike warn', BAD, 0x5a, 'oops_ioctl', 'sh', 2860,
         1477.815611, 'GDOE', None),
    ],
    'linux-6.12': [
        ('oops', NULL, 'f_init', 0x18, 'init_oops', 'insmod', 481, 185.234789, 'GOE', 0),
        ('oops', NULL, 'f_exit', 0x6, 'exit_oops', 'rmmod', 486, 188.318237, 'GDOE', 0),
        ('oops', 'general protection fault, maybe for address 0x0', BAD, 0x2b, 'oops_ioctl', 'sh', 1453, 323.276976,
         'GDOE', 0),
        ('oops', NULL[:-2] + '10', BAD, 0x65, 'oops_ioctl', 'sh', 1455, 324.51899, 'GDOE', 16),
        ('oops', 'kernel BUG at /root/mods/rcu/oops_ioctl.c:6', BAD, 0x76, 'oops_ioctl', 'sh', 1460, 325.796453, 'GDOE',
         None),
        ('warning', 'WARNING at /root/mods/rcu/oops_ioctl.c:6: spike warn', BAD, 0x5a, 'oops_ioctl', 'sh', 1463,
         327.035697, 'GDOE', None),
    ],
    'linux-7.3': [
        ('oops', NULL, 'f_init', 0x18, 'init_oops', 'insmod', 1406, 1000.435924, 'GOE', 0),
        ('oops', NULL, 'f_exit', 0x6, 'exit_oops', 'rmmod', 1411, 1003.8358, 'GDOE', 0),
        ('oops', 'general protection fault, kernel NULL pointer dereference 0x0', BAD, 0x2b, 'oops_ioctl', 'sh', 2339,
         1285.496932, 'GDOE', 0),
        ('oops', NULL[:-2] + '10', BAD, 0x63, 'oops_ioctl', 'sh', 2341, 1286.817716, 'GDOE', 16),
        ('oops', 'kernel BUG at oops_ioctl.c:6', BAD, 0x74, 'oops_ioctl', 'sh', 2346, 1288.119738, 'GDOE', None),
        ('warning', 'WARNING at oops_ioctl.c:6: spike warn', BAD, 0x55, 'oops_ioctl', 'sh', 2349, 1289.411055, 'GDOE',
         None),
    ],
}
KEYS = ('kind', 'cause', 'function', 'offset', 'module', 'task', 'pid', 'time', 'taint', 'address')

# arch/arm64/kernel/{traps,process}.c, arch/arm64/mm/fault.c
ARM64 = """\
[   71.204418] Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008
[   71.205162] Mem abort info:
[   71.205433]   ESR = 0x0000000096000044
[   71.207121] user pgtable: 4k pages, 48-bit VAs, pgdp=0000000043f2a000
[   71.208002] Internal error: Oops: 0000000096000044 [#1] SMP
[   71.208665] Modules linked in: init_oops(OE+) ext4 crc16 mbcache jbd2
[   71.209711] CPU: 1 PID: 612 Comm: insmod Tainted: G           OE      6.1.0-50-arm64 #1  Debian 6.1.176-1
[   71.210380] Hardware name: QEMU QEMU Virtual Machine, BIOS 0.0.0 02/06/2015
[   71.211027] pstate: 60400005 (nZCv daif +PAN -UAO -TCO -DIT -SSBS BTYPE=--)
[   71.211562] pc : f_init+0x20/0x1000 [init_oops]
[   71.212040] lr : do_one_initcall+0x50/0x1f8
[   71.212501] sp : ffff80000a3d3a80
[   71.212805] x29: ffff80000a3d3a80 x28: ffff80000a3d3c30 x27: ffffb1a7e0f3c058
[   71.216041] Call trace:
[   71.216301]  f_init+0x20/0x1000 [init_oops]
[   71.216718]  do_one_initcall+0x50/0x1f8
[   71.217077]  do_init_module+0x50/0x1fc
[   71.220213]  el0t_64_sync+0x18c/0x190
[   71.220660] Code: d503233f a9bf7bfd 910003fd d2800100 (b900001f)
[   71.221254] ---[ end trace 0000000000000000 ]---
"""
ARM64_BUG = """\
[   80.100000] ------------[ cut here ]------------
[   80.100100] kernel BUG at /tmp/foo/foo.c:9!
[   80.100200] Internal error: Oops - BUG: 00000000f2000800 [#2] PREEMPT SMP
[   80.100300] Modules linked in: foo(O+)
[   80.100400] CPU: 0 UID: 0 PID: 700 Comm: my task Kdump: loaded Not tainted 6.12.107+deb13-arm64 #1 Debian 6.12.107-1
[   80.100500] pc : f_init+0x8/0xff0 [foo]
[   80.100600] lr : f_init+0x8/0xff0 [foo]
[   80.100700] Call trace:
[   80.100800]  f_init+0x8/0xff0 [foo] (P)
[   80.100900]  do_one_initcall+0x58/0x318
[   80.101000] ---[ end trace 0000000000000000 ]---
"""
ARM64_OLD = """\
[   90.100000] Unable to handle kernel paging request at virtual address dead000000000108
[   90.100100] Internal error: Oops: 96000044 [#1] SMP
[   90.100200] Modules linked in: foo(O+)
[   90.100300] Process insmod (pid: 700, stack limit = 0x0000000032aa7b2c)
[   90.100400] CPU: 0 PID: 700 Comm: insmod Tainted: G        W  O      4.19.0-6-arm64 #1 Debian 4.19.67-2
[   90.100500] pc : f_init+0x10/0x1000 [foo]
[   90.100600] Call trace:
[   90.100700]  f_init+0x10/0x1000 [foo]
"""
# The code of a module that is gone has no name; a call through a null pointer never had one.
NAMELESS = """\
[  100.000001] BUG: unable to handle page fault for address: ffffffffc0744014
[  100.000002] Oops: 0010 [#1] SMP NOPTI
[  100.000003] CPU: 1 PID: 320 Comm: kworker/1:2 Not tainted 5.10.0-32-amd64 #1 Debian 5.10.223-1
[  100.000004] RIP: 0010:0xffffffffc0744014
[  100.000005] Call Trace:
[  100.000006]  ? 0xffffffffc0744000
[  100.000007]  process_one_work+0x1b6/0x350
[  100.000008]  helper+0x10/0x20 [bar]
[  100.000009]  other+0x10/0x20 [baz]
[  100.000010]  </TASK>
[  100.000011] ---[ end trace 0000000000000000 ]---
"""
CORE = NAMELESS.replace('0xffffffffc0744014\n[  100.000005]', 'strlen+0x4/0x20\n[  100.000005]')
SOFT_LOCKUP = """\
[  200.000001] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [insmod:512]
[  200.000002] Modules linked in: spin(O+)
[  200.000003] CPU: 1 PID: 512 Comm: insmod Tainted: G           O       6.1.0-50-amd64 #1  Debian 6.1.176-1
[  200.000004] RIP: 0010:f_init+0x2/0x1000 [spin]
[  200.000005] Call Trace:
[  200.000006]  do_one_initcall+0x56/0x220
"""
NO_OOPS = """\
[  300.000001] INFO: task insmod:1876 blocked for more than 120 seconds.
[  300.000002]       Tainted: G           OE      6.1.0-50-amd64 #1 Debian 6.1.176-1
[  300.000003] Call Trace:
[  300.000004]  f_init+0x21/0x1000 [init_hang]
[  310.000001] NMI backtrace for cpu 0
[  310.000002] CPU: 0 PID: 5 Comm: sh Not tainted 6.1.0-50-amd64 #1 Debian 6.1.176-1
[  310.000003] RIP: 0010:native_halt+0xa/0x10
[  320.000001] CPU: 0 PID: 5 Comm: sh Not tainted 6.1.0-50-amd64 #1 Debian 6.1.176-1
[  320.000002] Call Trace:
[  320.000003]  dump_stack_lvl+0x44/0x5c
[  330.000001] e1000: eth0 NIC Link is Up 1000 Mbps
"""


def lines_of(kernel, name):
    """A captured text."""
    return (CAPTURES / kernel / name).read_text(errors='backslashreplace').splitlines()


def facts(report):
    """A report as the tables above have it."""
    return tuple(report.get(key) for key in KEYS)


@pytest.mark.parametrize('kernel', KERNELS)
def test_each_captured_oops(kernel):
    for number, expected in enumerate(CAPTURED[kernel], 1):
        (report,) = oops.oopses(lines_of(kernel, 'oops/%d.txt' % number))
        assert facts(report) == expected


@pytest.mark.parametrize('kernel', KERNELS)
def test_a_captured_log(kernel):
    assert [facts(report) for report in oops.oopses(lines_of(kernel, 'dmesg.txt'))] == CAPTURED[kernel]


@pytest.mark.parametrize('kernel', KERNELS)
def test_the_trace_ends_with_the_system_call(kernel):
    for report in oops.oopses(lines_of(kernel, 'dmesg.txt')):
        assert report['trace'][-1].startswith('entry_SYSCALL_64_after_hwframe+0x')
        assert not any(re.match(r'\? 0x|R[A-Z0-9]{2}:', entry) for entry in report['trace'])
        calls = {'insmod': '_finit_module+0x', 'rmmod': '_delete_module+0x', 'sh': 'w+0x'}
        assert any(calls[report['task']] in entry for entry in report['trace'])


@pytest.mark.parametrize('kernel', KERNELS)
@pytest.mark.parametrize('number', range(1, 7))
def test_a_lost_line_costs_only_its_facts(kernel, number):
    lines = lines_of(kernel, 'oops/%d.txt' % number)
    whole = dict(zip(KEYS, CAPTURED[kernel][number - 1]))
    for lost in range(len(lines)):
        reports = oops.oopses(lines[:lost] + lines[lost + 1:])
        assert len(reports) == 1, lines[lost]
        wrong = [key for key in KEYS if key not in ('time', 'kind', 'cause') and key in reports[0]
                 and not is_unavailable(reports[0][key]) and reports[0][key] != whole[key]]
        # Without the instruction pointer the trace is asked, which knows the module but not always the same function.
        assert wrong in ([], ['function', 'offset'], ['offset']) or 'RIP: 0010' not in lines[lost], (lines[lost], wrong)
        assert 'RIP: 0010' in lines[lost] or not wrong
        assert reports[0]['kind'] == whole['kind'] or 'WARNING' in lines[lost] or 'Oops' in lines[lost]


@pytest.mark.parametrize(('text', 'expected'), [
    (ARM64, ('oops', 'kernel NULL pointer dereference at virtual address 0000000000000008', 'f_init', 0x20, 'init_oops',
             'insmod', 612, 71.204418, 'GOE', 8)),
    (ARM64_BUG, ('oops', 'kernel BUG at /tmp/foo/foo.c:9', 'f_init', 8, 'foo', 'my task', 700, 80.1, '', None)),
    (ARM64_OLD, ('oops', 'kernel paging request at virtual address dead000000000108', 'f_init', 16, 'foo', 'insmod',
                 700, 90.1, 'GWO', 0xDEAD000000000108)),
    (NAMELESS, ('oops', 'unable to handle page fault for address: ffffffffc0744014', 'helper', 16, 'bar', 'kworker/1:2',
                320, 100.000001, '', 0xFFFFFFFFC0744014)),
    (CORE, ('oops', 'unable to handle page fault for address: ffffffffc0744014', 'strlen', 4, '', 'kworker/1:2', 320,
            100.000001, '', 0xFFFFFFFFC0744014)),
    (SOFT_LOCKUP, ('stall', 'soft lockup - CPU#1 stuck for 26s! [insmod:512]', 'f_init', 2, 'spin', 'insmod', 512,
                   200.000001, 'GO', None)),
])
def test_other_forms(text, expected):
    (report,) = oops.oopses(text.splitlines())
    assert facts(report) == expected


def test_the_arm64_trace():
    (report,) = oops.oopses(ARM64.splitlines())
    assert report['trace'] == ['f_init+0x20/0x1000 [init_oops]', 'do_one_initcall+0x50/0x1f8',
                               'do_init_module+0x50/0x1fc', 'el0t_64_sync+0x18c/0x190']


def test_what_is_no_oops():
    (hung,) = oops.oopses(NO_OOPS.splitlines())
    assert (hung['kind'], hung['task'], hung['waits_in']) == ('hung', 'insmod', 'f_init')
    report, hung = oops.oopses((ARM64_OLD + NO_OOPS).splitlines())
    assert (report['kind'], hung['kind']) == ('oops', 'hung')
    assert report['trace'] == ['f_init+0x10/0x1000 [foo]']


def test_an_oops_whose_end_is_lost_does_not_swallow_the_next():
    lines = lines_of('linux-6.12', 'oops/1.txt')
    for cut in range(9, len(lines)):
        reports = oops.oopses(lines[:cut] + lines_of('linux-6.12', 'oops/2.txt'))
        assert [facts(report) for report in reports] == CAPTURED['linux-6.12'][:2]


def test_an_oops_whose_beginning_is_lost_is_still_one():
    lines = lines_of('linux-6.12', 'oops/2.txt')
    for cut in range(1, 6):
        (report,) = oops.oopses(lines[cut:])
        assert (report['kind'], report['module'], report['task']) == ('oops', 'exit_oops', 'rmmod')
    (report,) = oops.oopses(lines[8:])
    assert (report['kind'], report['module']) == ('oops', 'exit_oops')
    assert report['cause'] == report['task'] == report['pid'] == {'unavailable': 'the kernel log has lost this line'}


def test_two_oopses_printed_at_once():
    first, second = lines_of('linux-5.10', 'oops/1.txt'), lines_of('linux-5.10', 'oops/4.txt')
    mixed = []
    for index in range(max(len(first), len(second))):
        for lines, caller in ((first, '[  T320]'), (second, '[    C1]')):
            mixed += [line.replace('] ', ']%s ' % caller, 1) for line in lines[index:index + 1]]
    assert sorted(facts(report)[4] for report in oops.oopses(mixed)) == ['init_oops', 'oops_ioctl']
    assert [facts(report) for report in oops.oopses(mixed)] == [
        CAPTURED['linux-5.10'][0], CAPTURED['linux-5.10'][3]]


def test_priorities_and_missing_times():
    (report,) = oops.oopses('<4>' + line for line in ARM64.splitlines())
    assert report['time'] == 71.204418
    (report,) = oops.oopses(line.split('] ', 1)[1] for line in ARM64.splitlines())
    assert report['module'] == 'init_oops'
    assert is_unavailable(report['time'])


WORDS = sorted(set(re.findall(r'[^\s:]*[\s:]', ARM64 + ARM64_BUG + NAMELESS + SOFT_LOCKUP + NO_OOPS)))
RECORDED = [line for kernel in KERNELS for line in lines_of(kernel, 'dmesg.txt')]


@given(st.lists(st.one_of(st.sampled_from(RECORDED), st.text(max_size=80),
                          st.lists(st.sampled_from(WORDS), max_size=8).map(''.join)), max_size=60))
def test_any_lines_give_reports(lines):
    for report in oops.oopses(lines):
        assert set(KEYS[:-1]) | {'trace'} <= set(report)
        assert report['kind'] in ('oops', 'warning')


@pytest.mark.parametrize('line', [
    'BUG: ' + 'a' * 1000000, '[' * 500000, ': 0' * 300000, 'CPU: 0 PID: 1 Comm: ' + 'x ' * 300000,
    'WARNING: x at ' + 'CPU#1: /' * 200000, 'RIP: 0010:' + '[<0>]' * 200000, '[  ' + '1' * 500000 + '.5] BUG: x',
])
def test_huge_lines_cost_little(line):
    assert len(oops.oopses([line] * 50)) <= 50


def test_a_huge_trace_is_cut():
    lines = ['BUG: unable to handle page fault', 'Call Trace:'] + [' f+0x1/0x2 [foo]'] * 100000
    assert len(oops.oopses(lines)[0]['trace']) == 128
