# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is inside the loader's system calls, for which module, and what it waits for."""

import ctypes
import os

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import loader_calls, module_tasks
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls
from test_module_tasks import task

WIDE = loader_syscalls.NUMBERS['x86_64']
NARROW = loader_syscalls.NARROW['x86_64']
# /proc/PID/stack of a task in exit that waits for its worker, in init on 6.12, in the exit of a module below
FLUSH = (b'[<0>] __flush_workqueue+0x1a0/0x590\n[<0>] __do_sys_delete_module.constprop.0+0x1d4/0x2e0\n'
         b'[<0>] do_syscall_64+0x5b/0xc0\n')
IN_INIT = (b'[<0>] f_init+0x24/0xff0 [init_hang]\n[<0>] do_one_initcall+0x58/0x310\n[<0>] do_init_module+0x60/0x230\n'
           b'[<0>] init_module_from_file+0x89/0xe0\n[<0>] idempotent_init_module+0x11e/0x310\n'
           b'[<0>] __x64_sys_finit_module+0x5e/0xb0\n')
ELSEWHERE = b'[<0>] hrtimer_nanosleep+0xa0/0x160\n[<0>] __x64_sys_clock_nanosleep+0xf0/0x150\n'
COMPAT = b'[<0>] msleep+0x29/0x40\n[<0>] f_exit+0x1/0x2 [foo]\n[<0>] __ia32_sys_delete_module+0x1a0/0x2b0\n'
REQUEST = b'[<0>] __request_module+0x1a0/0x590\n[<0>] call_usermodehelper_exec+0x1/0x2\n'
MUTEX = (b'[<0>] __mutex_lock.constprop.0+0x467/0x8f0\n[<0>] unregister_blkdev+0x38/0xb0\n'
         b'[<0>] foo_exit+0x44/0xd84 [foo]\n[<0>] __x64_sys_delete_module+0x135/0x210\n')
LOCK_ALONE = b'[<0>] __mutex_lock.constprop.0+0x467/0x8f0\n[<0>] __x64_sys_delete_module+0x135/0x210\n'

# id: (number of the call, stack, is it a 32-bit task, the call)
CALLS = {
    'by its number, nothing on the stack': (WIDE['delete_module'], b'', False, 'delete_module'),
    'by its number, a stack cut short': (WIDE['finit_module'], ELSEWHERE, False, 'finit_module'),
    'by its stack alone': (-1, FLUSH, False, 'delete_module'),
    'both': (WIDE['finit_module'], IN_INIT, False, 'finit_module'),
    'a load on the stack alone': (-1, IN_INIT, False, 'finit_module'),
    'a 32-bit task': (NARROW['delete_module'], b'', True, 'delete_module'),
    'a 32-bit task, by its stack': (NARROW['delete_module'], COMPAT, True, 'delete_module'),
    'rt_sigtimedwait of a 64-bit task': (NARROW['init_module'], ELSEWHERE, False, None),
    'another call': (230, ELSEWHERE, False, None),
    'waits for modprobe': (0, REQUEST, False, None),
}


@pytest.mark.parametrize('row', CALLS.values(), ids=list(CALLS))
def test_which_call_a_task_is_in(row, monkeypatch):
    number, stack, narrow, call = row
    monkeypatch.setattr(loader_syscalls, 'loader_calls', lambda: (
        {str(value): name for name, value in WIDE.items()}, {str(value): name for name, value in NARROW.items()}))
    assert loader_calls.call_of(str(number), stack, lambda: narrow) == call


@pytest.mark.parametrize(('stack', 'function'), [
    (FLUSH, '__flush_workqueue'), (IN_INIT, 'f_init'), (COMPAT, 'msleep'), (MUTEX, 'unregister_blkdev'),
    (LOCK_ALONE, '__mutex_lock.constprop.0'), (b'', None), (b'garbage\n[<0>]\n[<0>] x\n', None)])
def test_where_it_waits(stack, function):
    assert loader_calls.waits_in(stack) == function


@pytest.fixture
def asleep(tmp_path):
    """A task of a made /proc in a call, by number, arguments and stack."""
    def make(number, *arguments, pid=40, command='rmmod', stack='', exe=b'\x7fELF\x02', state='D'):
        words = ' '.join(hex(argument) for argument in arguments)
        task(tmp_path, pid, command=command, state=state, syscall=f'{number} {words} 0x0 0x7ffe 0x7f1b', stack=stack)
        builders.write(tmp_path, f'proc/{pid}/fd/x', '')
        (tmp_path / f'proc/{pid}/exe').write_bytes(exe)
        return module_tasks.in_loader(str(tmp_path))['tasks']

    return make


@pytest.fixture
def own():
    """The loader's calls of this machine; a machine whose numbers are not known has none to test."""
    return loader_syscalls.numbers()


def test_a_load_names_the_module_of_its_file(asleep, own, tmp_path):
    (tmp_path / 'proc/40/fd').mkdir(parents=True)
    (tmp_path / 'proc/40/fd/3').write_bytes(builders.module_image(name='foo-bar'))
    (found,) = asleep(own['finit_module'], 3, 0, 0, command='insmod', stack=IN_INIT.decode())
    assert (found['call'], found['module'], found['waits_in']) == ('finit_module', 'foo_bar', 'f_init')
    assert (found['pid'], found['command'], found['kernel_thread']) == (40, 'insmod', False)


def test_an_unload_names_the_module_in_its_memory(asleep, own, tmp_path):
    builders.write(tmp_path, 'proc/40/task/40/mem', 'x' * 16 + 'foo\0rest')
    (found,) = asleep(own['delete_module'], 16, 0x800, stack=FLUSH.decode())
    assert (found['module'], found['waits_in']) == ('foo', '__flush_workqueue')


def test_one_that_was_preempted_shows_a_stack_and_waits_for_nothing(asleep, own, tmp_path):
    (tmp_path / 'proc/40/fd').mkdir(parents=True)
    (tmp_path / 'proc/40/fd/3').write_bytes(builders.module_image(name='foo'))
    (found,) = asleep(own['finit_module'], 3, 0, 0, stack=IN_INIT.decode(), state='R')
    assert (found['call'], found['module'], found['waits_in']) == ('finit_module', 'foo', None)


def test_an_image_in_memory_names_itself(asleep, own, tmp_path):
    image = builders.module_image(name='foo')
    (tmp_path / 'proc/40/task/40').mkdir(parents=True)
    (tmp_path / 'proc/40/task/40/mem').write_bytes(b'x' * 64 + image)
    (found,) = asleep(own['init_module'], 64, len(image), 0)
    assert (found['module'], found['waits_in']) == ('foo', None)


@pytest.mark.parametrize('arguments', [(16, 0x800), (1 << 63, 1 << 62), (), (16,)], ids=len)
@pytest.mark.parametrize('call', ['delete_module', 'init_module', 'finit_module'])
def test_what_cannot_be_told_is_any_module(call, arguments, asleep, own):
    (found,) = asleep(own[call], *arguments)
    assert (found['call'], found['module']) == (call, None)


def test_a_real_task_of_this_host_tells_its_memory():
    text = ctypes.create_string_buffer(b'foo-bar')
    words = [hex(ctypes.addressof(text)), '0x800']
    assert loader_calls.module_of('delete_module', words, os.getpid(), os.getpid(), '/proc') == 'foo_bar'


@pytest.mark.parametrize(('link', 'words'), [
    ('pid:[4026531836]', ''), ('pid:[4026532201]', 'another PID namespace (pid:[4026532201])'),
    (None, 'cannot be told')])
def test_which_tasks_are_seen_from_here(link, words, tmp_path):
    (tmp_path / 'proc/self/ns').mkdir(parents=True)
    if link:
        (tmp_path / 'proc/self/ns/pid').symlink_to(link)
    assert words in module_tasks.other_namespace(str(tmp_path))
    assert bool(words) == bool(module_tasks.other_namespace(str(tmp_path)))
