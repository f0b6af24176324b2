# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks inside init_module(2), finit_module(2) or delete_module(2): alive there, whatever else their stacks hold.

Part of :mod:`module_tasks`, which finds them. From /proc/PID/task/TID/{stack,syscall}, memory and files of the task.
"""

import functools
import os
from typing import Callable, List, Optional, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.task_scan import Scan
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import module_image, relocatable
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Task

LONGEST_NAME = 64
LARGEST_INFO = 1 << 20
# A module file that is larger is not read for its name.
LARGEST_IMAGE = 64 << 20
# A call as it stands on a stack, by whatever entry: __x64_sys_, __do_sys_, SyS_, __ia32_compat_sys_.
ON_STACK = ((b'delete_module', 'delete_module'), (b'finit_module', 'finit_module'), (b'init_module', 'init_module'),
            (b'load_module', 'init_module'))
# What a task stands in while it waits for something that the next frame names.
WAITING = ('__switch_to', '__schedule', 'schedule', 'io_schedule', '__mutex_lock', 'mutex_lock', '__down', 'down',
           'rwsem_down', '__rwsem', 'wait_for_completion', '__wait_for_common', 'do_wait_for_common', 'wait_for_common')


def call_of(number: str, stack: bytes, is_narrow: Callable[[], bool]) -> Optional[str]:
    """Which of the loader's system calls a task is in, or None.

    By its stack, which names the call; else by ``number`` as /proc/PID/syscall has it, since a stack can be cut short.
    The numbers of a 32-bit task are others: ``is_narrow()`` tells whether it is one.
    """
    on_stack = next((name for mark, name in ON_STACK if mark in stack), None)
    wide, narrow = loader_syscalls.loader_calls()
    if number in wide:
        return wide[number]
    if number in narrow and (on_stack or is_narrow()):
        return narrow[number]
    return on_stack


def _is_narrow(proc: str, pid: int) -> bool:
    """Whether a process runs a 32-bit program (EI_CLASS in elf(5)); one that cannot be told counts as one."""
    try:
        with open('%s/%d/exe' % (proc, pid), 'rb') as stream:
            return stream.read(5)[4:] != b'\2'
    except OSError:
        return True


def module_of(call: str, words: List[str], pid: int, tid: int, proc: str) -> Optional[str]:
    """The module that the call is for, as the kernel spells it; None where that cannot be told.

    ``words`` are the arguments as /proc/PID/syscall has them: the address of a name, a file descriptor, or address and
    length of an image.
    """
    try:
        first, second = int(words[0], 16), int(words[1], 16)
        if call == 'delete_module':
            name = _memory(proc, pid, tid, first, LONGEST_NAME).split(b'\0', 1)[0].decode('ascii')
        elif call == 'finit_module':
            with module_image.Opened('%s/%d/fd/%d' % (proc, pid, first)) as opened:
                name = _name_in(opened.elf())
        elif second <= LARGEST_IMAGE:
            name = _name_in(relocatable.Bytes(_memory(proc, pid, tid, first, second)))
        else:
            return None
    except (OSError, ValueError, IndexError, OverflowError, KmodError):
        return None
    return name.replace('-', '_') or None


def _name_in(source: Union[relocatable.OpenFile, relocatable.Bytes]) -> str:
    """What a module's image calls itself in .modinfo; empty where it does not. Raises KmodError for no such image."""
    info = b'\0' + relocatable.Relocatable(source, 'what is loaded').content('.modinfo', LARGEST_INFO)
    return info.partition(b'\0name=')[2].split(b'\0', 1)[0].decode('ascii')


def _memory(proc: str, pid: int, tid: int, address: int, length: int) -> bytes:
    """What a task's memory has there, as far as it is mapped."""
    descriptor = os.open('%s/%d/task/%d/mem' % (proc, pid, tid), os.O_RDONLY)
    try:
        # A name may end shortly before the end of what is mapped.
        for size in (length, min(length, 4096 - address % 4096)):
            try:
                found = os.pread(descriptor, size, address)
            except OSError:
                continue
            if found:
                return found
        raise OSError('it is not mapped')
    finally:
        os.close(descriptor)


def waits_in(stack: bytes) -> Optional[str]:
    """The function in which a task that sleeps is waiting; None of a task whose stack is not shown, since it runs."""
    first: Optional[str] = None
    for line in stack.splitlines():
        words = line.split()
        function, plus, _offset = words[1].partition(b'+0x') if len(words) > 1 else (b'', b'', b'')
        name = function.decode('utf-8', 'backslashreplace')
        if not plus:
            continue
        if first is None:
            first = name
        if not name.startswith(WAITING):
            # Nothing but the system call below: then the primitive itself says more.
            return first if any(mark in function for mark, _call in ON_STACK) else name
    return first


def tasks(scan: Scan) -> List[Task]:
    """Those of a pass over all tasks: pid, tid, command, kernel_thread, ``call``, ``module``, ``waits_in``."""
    found: List[Task] = []
    for pid, tid, number, words, stack in scan.in_calls:
        call = call_of(number, stack, functools.partial(_is_narrow, scan.proc, pid))
        task = scan.describe(pid, tid) if call else None
        if call and task and not task['kernel_thread']:
            found.append({**task, 'call': call, 'module': module_of(call, words, pid, tid, scan.proc),
                          'waits_in': None if scan.is_runnable(pid, tid) else waits_in(stack)})
    return found
