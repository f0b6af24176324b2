# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks: stacks captured on four kernels in a /proc made here, and real tasks of this host."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_tasks, task_scan
from hypothesis import given
from hypothesis import strategies as st
from kernel_memory import ARM_KERNELS, CAPTURES, KERNELS, write_files

STAT = '{pid} ({command}) {state} 1 1 1 0 -1 {flags} 0 0 0 0 {user} {kernel} 0 0 20 0 1 0 {start} 0 0 0'
TICKS = os.sysconf('SC_CLK_TCK')
SPIN_IN_THE_KERNEL = """
import os
source, sink = os.open('/dev/zero', os.O_RDONLY), bytearray(1 << 26)
while True:
    os.readv(source, [sink])
"""


def task(root, pid, tid=None, **facts):
    """Writes a task into the /proc below root."""
    state = 'R' if facts.get('syscall') == 'running' else 'S'
    values = dict({'command': 'sh', 'state': state, 'flags': 0, 'user': 5, 'kernel': 7, 'start': 3 * TICKS, 'stack': '',
                   'syscall': '0 0x0 0x0 0x0 0x0 0x0 0x0 0x7ffe 0x7f1b'}, pid=pid, **facts)
    files = {name: values[name] for name in ('stack', 'syscall') if values[name] is not None}
    files.update(stat=STAT.format(**values), comm=values['command'] + '\n')
    write_files(root, {'proc/%d/task/%d/%s' % (pid, tid or pid, name): text for name, text in files.items()})


def captured(root, kernel):
    """Writes the tasks of a captured host."""
    text = (CAPTURES / kernel / 'host/stacks_with_modules').read_text()
    for part in text.split('## pid=')[1:]:
        header, stack = part.split('\n', 1)
        task(root, int(header.split()[0]), command=header.split('comm=')[1].split(' state=')[0], stack=stack)


INSIDE = [('init_hang', 'insmod', 'f_init'), ('refs', 'refs_thread', 'refs_thread'),
          ('jbd2', 'jbd2/vda-8', 'kjournald2')]
INSIDE_ON_ARM = [('init_hang', 'insmod', 'init_hang_init'), ('exit_hang', 'rmmod', 'exit_hang_exit'),
                 ('kernel_thread', 'lab_sleeper', 'kernel_thread_sleep')]


@pytest.mark.parametrize(('kernel', 'module', 'command', 'function'), [
    *((kernel, *inside) for kernel in KERNELS for inside in INSIDE),
    *((kernel, *inside) for kernel in ARM_KERNELS for inside in INSIDE_ON_ARM),
])
def test_a_captured_task_in_module_code(tmp_path, kernel, module, command, function):
    captured(tmp_path, kernel)
    found = module_tasks.in_module_code(module, str(tmp_path))
    assert [(entry['command'], entry['function']) for entry in found['tasks']] == [(command, function)]
    assert found['unreadable'] == []


@pytest.mark.parametrize('module', ['init', 'hang', 'init_han', 'init_hang2', '.*', ''])
def test_a_name_is_matched_whole(tmp_path, module):
    captured(tmp_path, 'linux-6.1')
    assert module_tasks.in_module_code(module, str(tmp_path))['tasks'] == []


def test_the_innermost_function_of_the_module_counts(tmp_path):
    stack = ('[<0>] msleep+0x10/0x20\n[<0>] inner.part.0+0x1/0x2 [foo]\n[<0>] outer+0x1/0x2 [foo]\n'
             '[<0>] b+0x1/0x2 [bar]\n')
    task(tmp_path, 10, command='a b) c', stack=stack)
    task(tmp_path, 10, tid=11, stack='[<0>] built+0x1/0x2 [bar 0123456789abcdef]\n')
    seen = task_scan.scan(str(tmp_path))
    assert module_tasks.in_module_code('foo', seen=seen)['tasks'] == [
        {'pid': 10, 'tid': 10, 'kernel_thread': False, 'command': 'a b) c', 'function': 'inner.part.0'}]
    assert [entry['tid'] for entry in module_tasks.in_module_code('bar', seen=seen)['tasks']] == [10, 11]


@pytest.mark.parametrize(('after', 'expected'), [
    ({'kernel': 9}, True),
    ({'kernel': 9, 'user': 6}, False),
    ({}, False),
    ({'kernel': 9, 'syscall': '0 0x0'}, False),
    ({'kernel': 9, 'start': 99 * TICKS}, False),
    ({'kernel': 9, 'flags': 0x00200000}, True),
])
def test_spinning_in_the_kernel(tmp_path, monkeypatch, after, expected):
    task(tmp_path, 40, command='insmod', syscall='running')

    def second_sample(_seconds):
        task(tmp_path, 40, command='insmod', **dict({'syscall': 'running'}, **after))

    monkeypatch.setattr(time, 'sleep', second_sample)
    spinning = [{'pid': 40, 'tid': 40, 'kernel_thread': bool(after.get('flags')), 'command': 'insmod',
                 'started': 3.0, 'kernel_seconds': 9.0 / TICKS}]
    assert module_tasks.spinning(str(tmp_path)) == (spinning if expected else [])


def test_kernel_threads_and_sleepers_are_not_waited_for(tmp_path, monkeypatch):
    task(tmp_path, 41, syscall='running', flags=0x00200040)
    task(tmp_path, 42)
    monkeypatch.setattr(time, 'sleep', lambda _seconds: pytest.fail('waited without a candidate'))
    assert module_tasks.spinning(str(tmp_path)) == []


def test_a_task_that_ends_is_left_out(tmp_path, monkeypatch):
    task(tmp_path, 43, syscall='running', stack='[<0>] f+0x1/0x2 [foo]\n')
    task(tmp_path, 44, syscall='175 0x0')
    seen = task_scan.scan(str(tmp_path))
    for path in (tmp_path / 'proc').glob('*/task/*/*'):
        path.unlink()
    monkeypatch.setattr(time, 'sleep', lambda _seconds: None)
    assert module_tasks.in_module_code('foo', seen=seen) == {'tasks': [], 'unreadable': []}
    assert module_tasks.spinning(seen=seen) == []


def test_what_cannot_be_read_is_counted(tmp_path):
    task(tmp_path, 50, stack=None, syscall=None)
    task(tmp_path, 51, stack=None, syscall='running')
    task(tmp_path, 52, stack='[<0>] f+0x1/0x2 [foo]\n')
    (tmp_path / 'proc/50/task/50/stack').mkdir()
    found = module_tasks.in_module_code('foo', str(tmp_path))
    assert [entry['pid'] for entry in found['tasks']] == [52]
    assert found['unreadable'] == ['stack of 1 of 3 tasks: Is a directory',
                                   'stack of 1 of 3 tasks: the kernel has no /proc/PID/stack']


def test_no_proc_at_all(tmp_path):
    reason = '%s/proc: no task there' % tmp_path
    assert module_tasks.in_module_code('foo', str(tmp_path)) == {'tasks': [], 'unreadable': [reason]}
    assert module_tasks.spinning(str(tmp_path)) == {'unavailable': reason}


@given(st.binary(max_size=300), st.binary(max_size=60), st.binary(max_size=120), st.binary(max_size=30))
def test_any_text_gives_facts(tmp_path_factory, stack, call, stat, command):
    root = tmp_path_factory.getbasetemp() / 'any'
    directory = root / 'proc/60/task/60'
    directory.mkdir(parents=True, exist_ok=True)
    texts = {'stack': b'[<0>] f+0x1/0x2 [foo]\n' + stack, 'syscall': call, 'stat': stat, 'comm': command}
    for name, data in texts.items():
        (directory / name).write_bytes(data)
    seen = task_scan.scan(str(root))
    assert [entry['function'] for entry in module_tasks.in_module_code('foo', seen=seen)['tasks']] == ['f']
    assert module_tasks.spinning(interval=0, seen=seen) == []


@pytest.mark.parametrize(('program', 'expected'), [
    (SPIN_IN_THE_KERNEL, True),
    ('while True: pass', False),
    ('import time\ntime.sleep(60)', False),
], ids=['spins in the kernel', 'spins in user mode', 'sleeps'])
def test_a_real_task_of_this_host(program, expected):
    with subprocess.Popen([sys.executable, '-c', program]) as child:
        try:
            found, deadline = False, time.monotonic() + (30 if expected else 1)
            while found is False and time.monotonic() < deadline:
                spinning = module_tasks.spinning(interval=0.3)
                # A sandbox that hides other tasks makes it unavailable as long as none is seen on a CPU.
                found = isinstance(spinning, list) and child.pid in [
                    entry['pid'] for entry in spinning if entry['kernel_seconds'] > 0]
            assert found == expected
        finally:
            child.send_signal(signal.SIGKILL)
    assert os.getpid() not in [pid for pid, dummy in task_scan.scan().running], Path('/proc/self/comm').read_text()


def test_a_task_inside_a_system_call_is_found(tmp_path):
    task(tmp_path, 60, syscall='31 0x0')
    task(tmp_path, 61, syscall='running')
    task(tmp_path, 62, syscall=None)
    assert module_tasks.in_system_call(313, str(tmp_path)) is None
    task(tmp_path, 62, tid=63, syscall='313 0x3 0x0')
    assert module_tasks.in_system_call(313, str(tmp_path)) == 63
    assert module_tasks.in_system_call(313, str(tmp_path / 'nothing')) is None
