# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass over the tasks in /proc: which are on a CPU, and which stacks run through modules (fs/proc/base.c, proc(5)).

A task that ends while it is read is normal and left out.
"""

import errno
import os
from typing import Dict, Iterator, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import one_line
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Task

PF_KTHREAD = 0x00200000
LARGEST_FILE = 1 << 14

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
        for pid, tid in ids(self.proc):
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

    def describe(self, pid: int, tid: int) -> Optional[Task]:
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


def ids(proc: str) -> Iterator[Tuple[int, int]]:
    """Process and task ids of all tasks."""
    for pid in _numbers_in(proc):
        for tid in _numbers_in('%s/%d/task' % (proc, pid)):
            yield pid, tid


def _numbers_in(directory: str) -> List[int]:
    try:
        return sorted(int(entry) for entry in os.listdir(directory) if entry.isdecimal() and len(entry) <= 10)
    except OSError:
        return []
