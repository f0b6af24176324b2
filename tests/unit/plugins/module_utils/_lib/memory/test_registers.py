# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a register holds is met once its task sleeps; a task that never does makes the answer unknown."""

import pytest
import reached_kernel as made
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import locate, registers
from kernel_memory import PAGE
from reached_kernel import FUNCTION, STACK, linear, places, write

kernel = made.each_kernel


@pytest.fixture
def runner(kernel, monkeypatch):
    """Has the only task run; the address of a member of its task_struct."""
    monkeypatch.setattr(registers, 'PAUSE', 0)

    def member(name):
        return linear(made.OF_TASK) + kernel.types.offset('task_struct', name)

    kernel.memory.u64(member('on_cpu'), 1)
    return member


@pytest.fixture
def after_looks(monkeypatch):
    """Has something change before the third look at the task."""
    def changes(change):
        looks, asleep = [], registers.Registers._asleep

        def look(self, task):
            looks.append(task)
            if len(looks) == 3:
                change()
            return asleep(self, task)

        monkeypatch.setattr(registers.Registers, '_asleep', look)

    return changes


@pytest.mark.usefixtures('runner')
def test_who_runs_all_the_while_is_named(kernel, tmp_path):
    answer = kernel.find(tmp_path)
    assert answer['answer'] == 'unknown'
    assert answer['reason'] == 'sleeper (pid 77) ran all the while, and what is in a register is in no memory'


def test_what_it_held_is_on_its_stack_once_it_sleeps(kernel, tmp_path, after_looks, runner):
    def sleeps():
        write(tmp_path, STACK + 3 * PAGE, FUNCTION + 3)
        write(tmp_path, runner('on_cpu'), 0)

    after_looks(sleeps)
    answer = kernel.find(tmp_path)
    assert (answer['answer'], places(answer)) == ('reachable', ['stack of sleeper (pid 77)'])


def test_of_one_that_slept_and_held_nothing_nothing_is_left(kernel, tmp_path, after_looks, runner):
    after_looks(lambda: write(tmp_path, runner('on_cpu'), 0))
    assert kernel.find(tmp_path)['answer'] == 'unreachable'


@pytest.mark.parametrize(('members', 'answer'), [(['utime'], 'unreachable'), (['utime', 'gtime'], 'unknown')],
                         ids=['a process', 'a virtual machine'])
def test_who_came_to_user_mode_holds_nothing(kernel, tmp_path, after_looks, runner, members, answer):
    kernel.memory.u64(runner('mm'), STACK)
    after_looks(lambda: [write(tmp_path, runner(member), 4000000) for member in members])
    assert kernel.find(tmp_path)['answer'] == answer


def test_where_there_was_no_time_to_search_nobody_is_waited_for(kernel, tmp_path, monkeypatch):
    monkeypatch.setattr(registers, 'Registers', lambda *_arguments: pytest.fail('waited'))
    assert 'were read in the time given' in kernel.find(tmp_path, seconds=-1)['reason']


def test_the_tasks_are_not_listed_again_where_each_was_seen(kernel, tmp_path, monkeypatch):
    listed = []
    read = locate.Places.read_stacks
    monkeypatch.setattr(locate.Places, 'read_stacks', lambda places: listed.append(places) or read(places))
    assert kernel.find(tmp_path)['answer'] == 'unreachable'
    assert len(listed) == 2
