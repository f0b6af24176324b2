# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks with a module's code on their stack, tasks inside the loader's system calls, tasks that spin in the kernel.

From /proc/PID/task/TID/{stack,syscall,stat,comm} (fs/proc/base.c, proc(5)). One pass over /proc serves both: take it
with :func:`scan` and hand it to each question. A task that ends while it is read is normal and left out.
"""

import errno
import os
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect import loader_calls
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import one_line, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls

PF_KTHREAD = 0x00200000
LARGEST_FILE = 1 << 14
FIRST_NAMESPACE = 'pid:[4026531836]'

Stat = Tuple[int, int, int, int]


class Scan:
    """One pass over /proc: the tasks that are on a CPU, and the stacks that run through any module."""

    def __init__(self, root: str = '/') -> None:
        self.proc = os.path.join(root, 'proc')
        self.running: List[Tuple[int, int]] = []
        # Those that may be inside the loader's system calls: pid, tid, number of the call, its arguments, stack.
        self.in_calls: List[Tuple[int, int, str, List[str], bytes]] = []
        self.stacks: List[Tuple[int, int, bytes]] = []
        self.tasks = 0
        self._refused: Dict[Tuple[str, str], int] = {}
        self._numbers = {number.encode() for known in loader_syscalls.loader_calls() for number in known}
        ourselves = {os.getpid(), *child_process.waiting} if os.path.realpath(root) == '/' else set()
        for pid, tid in _ids(self.proc):
            self.tasks += 1
            if pid not in ourselves:
                self._look_at(pid, tid)

    def unreadable(self, what: str) -> List[str]:
        """Why some tasks' ``stack`` or ``syscall`` could not be read: a sentence for each reason."""
        if not self.tasks:
            return [f'{self.proc}: no task there']
        return ['%s of %d of %d tasks: %s' % (name, count, self.tasks, reason)
                for (name, reason), count in sorted(self._refused.items()) if name == what]

    def read(self, pid: int, tid: int, name: str) -> bytes:
        """One file of a task; OSError where it cannot be read."""
        descriptor = os.open('%s/%d/task/%d/%s' % (self.proc, pid, tid, name), os.O_RDONLY)
        try:
            return os.read(descriptor, LARGEST_FILE)
        finally:
            os.close(descriptor)

    def describe(self, pid: int, tid: int) -> Optional[Dict[str, Any]]:
        """pid, tid, command of a task and whether it is a kernel_thread; None when it has ended."""
        stat = self.stat(pid, tid)
        try:
            command = self.read(pid, tid, 'comm')
        except OSError:
            return None
        return {'pid': pid, 'tid': tid, 'kernel_thread': bool(stat and stat[0] & PF_KTHREAD),
                'command': one_line(command.rstrip(b'\n').decode('utf-8', 'backslashreplace'))}

    def stat(self, pid: int, tid: int) -> Optional[Stat]:
        """flags, utime, stime and starttime (in clock ticks) of a task; None when it has ended."""
        try:
            # The command in parentheses may hold anything, a ')' too.
            fields = self.read(pid, tid, 'stat').rpartition(b')')[2].split()
            return int(fields[6]), int(fields[11]), int(fields[12]), int(fields[19])
        except (OSError, ValueError, IndexError):
            return None

    def is_runnable(self, pid: int, tid: int) -> bool:
        """Whether a task runs, or waits for a CPU alone: one that was preempted shows a stack as if it slept."""
        try:
            return self.read(pid, tid, 'stat').rpartition(b')')[2].split()[:1] == [b'R']
        except OSError:
            return False

    def _look_at(self, pid: int, tid: int) -> None:
        call = self._try(pid, tid, 'syscall')
        stack = self._try(pid, tid, 'stack')
        if call.strip() == b'running':
            self.running.append((pid, tid))
        number = call.split(b' ', 1)[0]
        if number in self._numbers or b'_module+0x' in stack or b'_module.' in stack:
            words = call.decode('ascii', 'replace').split()
            self.in_calls.append((pid, tid, ''.join(words[:1]), words[1:], stack))
        if b' [' in stack:
            self.stacks.append((pid, tid, stack))

    def _try(self, pid: int, tid: int, name: str) -> bytes:
        try:
            return self.read(pid, tid, name)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == errno.ENOENT and os.path.exists('%s/%d/task/%d/stat' % (self.proc, pid, tid)):
                reason = f'the kernel has no /proc/PID/{name}'
            elif error.errno in (errno.ENOENT, errno.ESRCH, errno.EAGAIN):
                return b''
            self._refused[name, reason] = self._refused.get((name, reason), 0) + 1
            return b''


def scan(root: str = '/') -> Scan:
    """One pass over ROOT/proc."""
    return Scan(root)


def in_loader(root: str = '/', seen: Optional[Scan] = None) -> Dict[str, List[Any]]:
    """Tasks inside the loader's system calls: ``{'tasks': [task], 'unreadable': [reason]}``.

    A task has pid, tid, kernel_thread, command, ``call`` (``delete_module``), ``module`` (None where it cannot be told
    which) and ``waits_in`` (the function, or None for a task that is on a CPU).
    """
    seen = seen or scan(root)
    found = []
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


def in_module_code(name: str, root: str = '/', seen: Optional[Scan] = None) -> Dict[str, List[Any]]:
    """Tasks asleep in the module's code: ``{'tasks': [task], 'unreadable': [reason]}``.

    A task has pid, tid, kernel_thread, command and function: the innermost of the module on the task's stack. A task
    that is on a CPU has no readable stack: see :func:`spinning`.
    """
    seen = seen or scan(root)
    tasks = []
    for pid, tid, stack in seen.stacks:
        function = _first_function(stack, name.encode())
        task = seen.describe(pid, tid) if function is not None else None
        if task:
            tasks.append(dict(task, function=function))
    return {'tasks': tasks, 'unreadable': seen.unreadable('stack')}


def spinning(root: str = '/', interval: float = 0.1, seen: Optional[Scan] = None) -> Any:
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
    found = []
    for (pid, tid), (_flags, user, kernel, start) in sorted(before.items()):
        stat = seen.stat(pid, tid)
        if not stat or stat[3] != start or stat[1] != user or stat[2] <= kernel or not _is_running(seen, pid, tid):
            continue
        task = seen.describe(pid, tid)
        if task:
            found.append(dict(task, started=_seconds(start), kernel_seconds=_seconds(stat[2])))
    return found


def in_system_call(number: int, root: str = '/') -> Optional[int]:
    """The id of a task that is inside the system call ``number`` and asleep there, or None. See proc(5), syscall."""
    proc = os.path.join(root, 'proc')
    wanted = b'%d ' % number
    for pid, tid in _ids(proc):
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


def _ids(proc: str) -> Iterator[Tuple[int, int]]:
    """Process and task ids of all tasks."""
    for pid in _numbers_in(proc):
        for tid in _numbers_in('%s/%d/task' % (proc, pid)):
            yield pid, tid


def _numbers_in(directory: str) -> List[int]:
    try:
        return sorted(int(entry) for entry in os.listdir(directory) if entry.isdecimal() and len(entry) <= 10)
    except OSError:
        return []


def _seconds(ticks: int) -> float:
    return ticks / float(os.sysconf('SC_CLK_TCK'))
