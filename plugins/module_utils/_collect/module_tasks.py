# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks with a module's code on their stack, tasks inside the loader's system calls, tasks that spin in the kernel.

From /proc/PID/task/TID/{stack,syscall,stat,comm} (fs/proc/base.c, proc(5)). One pass over /proc serves both: take it
with :func:`scan` and hand it to each question. A task that ends while it is read is normal and left out.
"""

import os
import time
from typing import List, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._collect import loader_calls
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.task_scan import PF_KTHREAD, Scan, ids, scan
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Task, Tasks

FIRST_NAMESPACE = 'pid:[4026531836]'


def in_loader(root: str = '/', seen: Optional[Scan] = None) -> Tasks:
    """Tasks inside the loader's system calls: ``{'tasks': [task], 'unreadable': [reason]}``.

    A task has pid, tid, kernel_thread, command, ``call`` (``delete_module``), ``module`` (None where it cannot be told
    which) and ``waits_in`` (the function, or None for a task that is on a CPU).
    """
    seen = seen or scan(root)
    found: List[Task] = []
    if seen.in_calls:
        found = loader_calls.tasks(seen)
    return {'tasks': found, 'unreadable': seen.unreadable('syscall')}


def other_namespace(root: str = '/') -> str:
    """Why not every task of the host is seen from here; empty in the host's own PID namespace.

    PROC_PID_INIT_INO in include/linux/proc_ns.h is the number of the first one.
    """
    try:
        name = os.readlink(os.path.join(root, 'proc/self/ns/pid'))
    except OSError as error:
        return f'whether this is the host\'s own PID namespace cannot be told: {error.strerror}'
    return '' if name == FIRST_NAMESPACE else f'this is another PID namespace ({name}), such as a container\'s'


def in_module_code(name: str, root: str = '/', seen: Optional[Scan] = None) -> Tasks:
    """Tasks asleep in the module's code: ``{'tasks': [task], 'unreadable': [reason]}``.

    A task has pid, tid, kernel_thread, command and function: the innermost of the module on the task's stack. A task
    that is on a CPU has no readable stack: see :func:`spinning`.
    """
    seen = seen or scan(root)
    tasks: List[Task] = []
    for pid, tid, stack in seen.stacks:
        function = _first_function(stack, name.encode())
        task = seen.describe(pid, tid) if function is not None else None
        if task:
            tasks.append({**task, 'function': function})
    return {'tasks': tasks, 'unreadable': seen.unreadable('stack')}


def spinning(root: str = '/', interval: float = 0.1, seen: Optional[Scan] = None) -> Fact[List[Task]]:
    """User tasks that spin in the kernel: a list, or unavailable.

    A task has pid, tid, kernel_thread, command, started (seconds since boot) and kernel_seconds.

    Such a task is on a CPU in two samples ``interval`` seconds apart, and between them its time in the kernel grows and
    its time in user mode does not. Waits only when a task is on a CPU at all. ``kernel_seconds`` is its total.
    """
    seen = seen or scan(root)
    refused = seen.unreadable('syscall')
    if refused and not seen.running:
        return unavailable('; '.join(refused))
    before = {}
    for pid, tid in seen.running:
        stat = seen.stat(pid, tid)
        if stat and not stat[0] & PF_KTHREAD:
            before[pid, tid] = stat
    if before:
        time.sleep(interval)
    found: List[Task] = []
    for (pid, tid), (_flags, user, kernel, start) in sorted(before.items()):
        stat = seen.stat(pid, tid)
        if not stat or stat[3] != start or stat[1] != user or stat[2] <= kernel or not _is_running(seen, pid, tid):
            continue
        task = seen.describe(pid, tid)
        if task:
            found.append({**task, 'started': _seconds(start), 'kernel_seconds': _seconds(stat[2])})
    return found


def in_system_call(number: int, root: str = '/') -> Optional[int]:
    """The id of a task that is inside the system call ``number`` and asleep there, or None. See proc(5), syscall."""
    proc = os.path.join(root, 'proc')
    wanted = b'%d ' % number
    for pid, tid in ids(proc):
        try:
            with open('%s/%d/task/%d/syscall' % (proc, pid, tid), 'rb') as stream:
                if stream.read(16).startswith(wanted):
                    return tid
        except OSError:
            continue
    return None


def _is_running(seen: Scan, pid: int, tid: int) -> bool:
    try:
        return seen.read(pid, tid, 'syscall').strip() == b'running'
    except OSError:
        return False


def _first_function(stack: bytes, name: bytes) -> Optional[str]:
    # [<0>] f_init+0x24/0xff0 [foo]; with CONFIG_STACKTRACE_BUILD_ID a build id follows the name
    for line in stack.splitlines():
        words = line.split()
        if len(words) > 2 and words[2].startswith(b'[') and words[2].strip(b'[]') == name:
            function, plus, _offset = words[1].partition(b'+0x')
            if function and plus:
                return function.decode('utf-8', 'backslashreplace')
    return None


def _seconds(ticks: int) -> float:
    return ticks / float(os.sysconf('SC_CLK_TCK'))
