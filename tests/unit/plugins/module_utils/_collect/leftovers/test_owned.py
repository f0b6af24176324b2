# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What leads into a module is taken back where it is of that module: others may have been made to call it."""

import left_kernel
import pytest
from left_kernel import DATA, THIS

kernel = left_kernel.left_kernel
ELSEWHERE = left_kernel.OTHER


def listed(kind, address):
    return [{'kind': kind, 'what': kind, 'address': address, 'other': 0, 'more': 0, 'proof': 0}]


@pytest.mark.parametrize('kind', ['misc', 'timer', 'driver', 'kprobe', 'netdev', 'filesystem'])
def test_what_lies_in_another_modules_memory_is_left(kernel, kind):
    assert kernel.find(listed=listed(kind, ELSEWHERE)) == []
    assert kernel.find(listed=listed(kind, DATA + 0x200)) == [(kind, kind, DATA + 0x200)]


def test_a_file_is_taken_back_wherever_its_directory_is(kernel):
    assert kernel.find(listed=listed('sysfs_file', ELSEWHERE)) == [('sysfs_file', 'sysfs_file', ELSEWHERE)]


@pytest.mark.parametrize('kind', ['misc', 'netdev', 'cdev'])
def test_what_was_asked_for_is_of_whoever_keeps_a_pointer_to_it(kernel, kind):
    """Its pointers to functions may have been exchanged for those of another module."""
    made = kernel.structs.new({'misc': 'miscdevice', 'netdev': 'net_device', 'cdev': 'cdev'}[kind])
    assert kernel.find(listed=listed(kind, made)) == []
    kernel.kept(made)
    assert kernel.find(listed=listed(kind, made)) == [(kind, kind, made)]


def test_a_network_device_that_a_user_made_is_left(kernel):
    made = kernel.structs.new('net_device', rtnl_link_ops=ELSEWHERE)
    kernel.kept(made)
    assert kernel.find(listed=listed('netdev', made)) == []
    kernel.put(made, 'net_device', 'rtnl_link_ops', DATA + 0x200)
    assert kernel.find(listed=listed('netdev', made)) == [('netdev', 'netdev', made)]


def test_a_character_device_names_its_owner(kernel):
    """register_chrdev() makes one that nobody keeps a pointer to."""
    made = kernel.structs.new('cdev', owner=THIS)
    assert kernel.find(listed=listed('cdev', made)) == [('cdev', 'cdev', made)]


@pytest.mark.parametrize('kind', ['timer', 'hrtimer', 'work', 'delayed_work'])
def test_what_may_free_itself_is_left(kernel, kind):
    """Nobody keeps a pointer to it: by then it may be a work where it was a timer."""
    made = kernel.structs.space(128)
    assert kernel.find(listed=listed(kind, made)) == []
    kernel.kept(made)
    assert kernel.find(listed=listed(kind, made)) == [(kind, kind, made)]


def test_a_thread_that_another_module_keeps_is_that_modules(kernel):
    """It was started with a function of this one."""
    assert kernel.find(listed=listed('thread', 77)) == [('thread', 'thread', 77)]
    kernel.held_at = [ELSEWHERE]
    assert kernel.find(listed=listed('thread', 77)) == []
