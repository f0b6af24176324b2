# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the kernel log tells of harm."""

import pytest
from ansible_collections.kernelops.kmod.plugins.filter.kernel_alarms import kernel_alarms


@pytest.mark.parametrize('line', [
    '[    5.1] BUG: kernel NULL pointer dereference, address: 0000000000000000',
    '[    5.1] WARNING: CPU: 0 PID: 1 at kernel/module.c:1',
    '[    5.1] Oops: 0000 [#1] SMP',
    '[    5.1] Kernel panic - not syncing: Fatal exception',
    '[    5.1] kernel BUG at lib/x.c:1!',
    '[    5.1] ------------[ cut here ]------------',
    '[    5.1] general protection fault, probably for non-canonical address',
    '[    5.1] Unable to handle kernel paging request at virtual address 0',
    '[    5.1] Internal error: Oops: 96000004 [#1] SMP',
    '[    5.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!',
    '[    5.1] INFO: task rmmod:1 blocked for more than 120 seconds.',
    '[    5.1] rcu: INFO: rcu_sched self-detected stall on CPU',
])
def test_an_alarm_is_told_once_and_only_when_it_is_new(line):
    assert kernel_alarms(['x', line, line], ['x']) == [line]
    assert kernel_alarms([line], [line]) == []


@pytest.mark.parametrize('line', [
    '[    5.1] kmod_reset: loading out-of-tree module taints kernel.',
    '[    5.1] foo: BUGS are fixed',
    '[    5.1] foo: no WARNING: here',
    '',
])
def test_what_is_no_alarm_is_not_told(line):
    assert kernel_alarms([line], []) == []
