# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of two AArch64 hosts with stuck modules: oopses, module tables, symbols, and what they come to."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_table, running_kernel
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import attribution, oops
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import compiler_text
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import crashes
from kernel_memory import CAPTURES

KERNELS = ('arm64-6.1', 'arm64-6.12')
NULL = 'kernel NULL pointer dereference at virtual address 0000000000000000'
# Kind, cause, function and byte offset in it, module, task, pid, taint, address; and the caller.
IDLE = ('warning', 'WARNING at kernel/context_tracking.c:128')
OOPSES = {
    'arm64-6.1': [
        (('oops', 'kernel BUG at /build/tmp6l4o9_5y/init_bug.c:10', 'init_bug_init', 8, 'init_bug', 'python3', 346,
          'GOE', None), 'do_one_initcall+0x64/0x26c'),
        (IDLE + ('ct_kernel_exit.constprop.0', 0xa0, '', 'swapper/0', 0, 'GDOE', None), 'ct_idle_enter+0x14/0x20'),
        (('oops', NULL, 'init_oops_init', 0x1c, 'init_oops', 'insmod', 356, 'GDWOE', 0), 'do_one_initcall+0x64/0x26c'),
        (('oops', NULL, 'exit_oops_exit', 0x10, 'exit_oops', 'rmmod', 379, 'GDWOE', 0),
         '__arm64_sys_delete_module+0x1b0/0x35c'),
        (('oops', NULL, 'bystander_die', 0x1c, 'bystander', 'lab_bystander', 401, 'GDWOE', 0), 'kthread+0xe0/0xe4'),
    ],
    'arm64-6.12': [
        (('oops', 'kernel BUG at /build/tmpt_m9k2p6/init_bug.c:10', 'init_bug_init', 8, 'init_bug', 'python3', 458,
          'GOE', None), 'do_one_initcall+0x60/0x298'),
        (IDLE + ('ct_kernel_exit.isra.0', 0xa0, '', 'swapper/1', 0, 'GDOE', None), 'ct_idle_enter+0x14/0x20'),
        (('oops', NULL, 'init_oops_init', 0x14, 'init_oops', 'insmod', 468, 'GDWOE', 0), 'do_one_initcall+0x60/0x298'),
        (('oops', NULL, 'exit_oops_exit', 8, 'exit_oops', 'rmmod', 492, 'GDWOE', 0),
         '__arm64_sys_delete_module+0x1a4/0x360'),
        (('oops', NULL, 'bystander_die', 0x14, 'bystander', 'lab_bystander', 515, 'GDWOE', 0), 'kthread+0xe8/0xf8'),
    ],
}
KEYS = ('kind', 'cause', 'function', 'offset', 'module', 'task', 'pid', 'taint', 'address')
CASES = [(kernel, number) for kernel in KERNELS for number in range(1, 6)]
TABLE = {
    'init_oops': ('coming', 1, False, 'OE'), 'init_bug': ('coming', 1, False, 'OE'),
    'init_hang': ('coming', 1, False, 'OE'), 'exit_oops': ('going', -1, False, 'OE'),
    'exit_hang': ('going', -1, False, 'OE'), 'leaked_ref': ('live', 3, False, 'OE'),
    'no_exit': ('live', 0, True, 'OE'), 'layout_pad': ('live', 0, True, 'OE'),
    'cdev_held': ('live', 1, False, 'OE'), 'kernel_thread': ('live', 0, False, 'OE'),
}


def lines_of(kernel, name):
    """A captured text."""
    return (CAPTURES / ('linux-' + kernel) / name).read_text().splitlines()


def facts(report):
    """A report as the table above has it."""
    return tuple(report.get(key) for key in KEYS)


@pytest.mark.parametrize(('kernel', 'number'), CASES)
def test_each_oops(kernel, number):
    (report,) = oops.oopses(lines_of(kernel, 'oops/%d.txt' % number))
    expected, caller = OOPSES[kernel][number - 1]
    assert facts(report) == expected
    # A function that has no frame yet hides its caller from the kernel's own trace; the link register has it.
    assert report['trace'][1] == caller
    assert report['trace'].count(caller) == 1


@pytest.mark.parametrize('kernel', KERNELS)
def test_the_whole_log(kernel):
    found = oops.oopses(lines_of(kernel, 'dmesg.txt'))
    assert [facts(report) for report in found] == [expected for expected, _caller in OOPSES[kernel]]


@pytest.mark.parametrize(('kernel', 'number'), CASES)
def test_a_lost_line_costs_only_its_facts(kernel, number):
    lines = lines_of(kernel, 'oops/%d.txt' % number)
    whole = dict(zip(KEYS, OOPSES[kernel][number - 1][0]))
    for lost in range(len(lines)):
        (report,) = oops.oopses(lines[:lost] + lines[lost + 1:])
        if 'pc : ' not in lines[lost]:
            assert (report['function'], report['module']) == (whole['function'], whole['module']), lines[lost]
        if ' Comm: ' not in lines[lost]:
            assert (report['task'], report['pid']) == (whole['task'], whole['pid']), lines[lost]


@pytest.mark.parametrize('kernel', KERNELS)
def test_what_died_inside_its_own_exit_endangers_no_other(kernel):
    """Without the link register delete_module is not in the trace of 6.12, and no module could be cured after that."""
    found = [dict(report, task_gone=True) for report in oops.oopses(lines_of(kernel, 'dmesg.txt'))]
    foreign = crashes.foreign_oopses([dict(entry, **attribution.attribution(entry)) for entry in found], 'leaked_ref')
    assert [report['module'] for report in foreign] == ['bystander']


@pytest.mark.parametrize('kernel', KERNELS)
@pytest.mark.parametrize('name', TABLE)
def test_the_module_table(kernel, name, tmp_path):
    entry = module_table.read(builders.captured_root(kernel, tmp_path))['modules'][name]
    assert (entry['state'], entry['refcount'], entry['permanent'], entry['taint']) == TABLE[name]


@pytest.mark.parametrize('kernel', KERNELS)
def test_the_kernel(kernel, tmp_path):
    release = builders.captured_release(kernel)
    found = running_kernel.read(builders.captured_root(kernel, tmp_path), release, 'aarch64')
    assert (found['release'], found['arch']) == (release, 'aarch64')
    assert 'died' in found['taint']['flags']
    assert (found['lockdown'], found['module_signatures'], found['force_unload']) == ('none', 'permissive', True)
    configured = compiler_text.parse_cc_line(found['config']['CONFIG_CC_VERSION_TEXT'])
    assert compiler_text.same(configured, compiler_text.parse_version_banner(found['version_banner']))


def test_a_kernel_that_lists_functions_alone_says_so(tmp_path):
    symbols = Symbols(builders.captured_root('arm64-6.1', tmp_path))
    assert symbols.address('find_module')
    for ask in (lambda: symbols.data('misc_list'), lambda: list(symbols.data_ending(['_chain']))):
        with pytest.raises(KmodError, match='lists functions alone: CONFIG_KALLSYMS_ALL is not set'):
            ask()
    assert Symbols(builders.captured_root('arm64-6.12', tmp_path)).data('misc_list')[0] == 0xffffa3bba0d0f388


@pytest.mark.parametrize('kernel', KERNELS)
def test_marks_of_the_assembler_are_no_symbols_of_a_module(kernel, tmp_path):
    names = [name for _address, name in Symbols(builders.captured_root(kernel, tmp_path)).of_module('init_oops')]
    assert 'init_oops_init' in names
    assert not [name for name in names if name.startswith('$')]
