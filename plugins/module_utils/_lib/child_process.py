# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A child process with a deadline for whatever may hang in the kernel; what is told of a process by its number."""

import gc
import marshal
import os
import select
import signal
import time
from typing import Callable, Generic, List, Optional, Tuple, TypeVar

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact

T = TypeVar('T')
# include/uapi/linux/time.h; Python has a name for it from 3.7 on.
CLOCK_BOOTTIME = 7
LONGEST_TIMEOUT = 1000000


class Deadline(KmodError):
    """The child did not answer in time; ``hangs_in`` in ``facts`` is its kernel stack, or where it waits."""


def _innermost(pid: int) -> int:
    """The process that is waited for: a child's child, if it has one that lives."""
    try:
        with open('/proc/%d/task/%d/children' % (pid, pid)) as stream:
            children = [int(word) for word in stream.read().split()]
    except OSError:
        return pid  # it has ended, or the kernel lacks CONFIG_PROC_CHILDREN
    return next((_innermost(child) for child in children if is_alive(child)), pid)


def is_alive(pid: Optional[Fact[int]], root: str = '/') -> bool:
    """Whether there is a process of that number, if it is one, and it has not ended: see proc(5), stat."""
    return isinstance(pid, int) and _state(pid, root) not in ('', 'Z', 'X')


def is_gone(pid: Optional[Fact[int]], died: Fact[float], root: str = '/') -> bool:
    """Whether who died ``died`` seconds after the boot, as the log has it, is no longer there.

    The number may have gone to another: one that started after it. On a host that was suspended the log's clock and
    that of /proc/PID/stat differ, so there it counts as the same.
    """
    if not isinstance(pid, int) or not is_alive(pid, root):
        return True
    started = _started(pid, root)
    slept = time.clock_gettime(CLOCK_BOOTTIME) - time.monotonic() if os.path.realpath(root) == '/' else 0
    # The log's clock is not corrected as that of the start is (local_clock, kernel/sched/clock.c).
    return isinstance(died, float) and started is not None and slept < 1 and started > died * 1.001 + 1


def _started(pid: int, root: str) -> Optional[float]:
    """Seconds after the boot at which a process started: field 22 of proc(5), stat."""
    try:
        return int(_stat(pid, root)[19]) / float(os.sysconf('SC_CLK_TCK'))
    except (ValueError, IndexError):
        return None


def _state(pid: int, root: str = '/') -> str:
    """The letter of a process's state; empty where there is no such process."""
    return ''.join(_stat(pid, root)[:1])


def _stat(pid: int, root: str) -> List[str]:
    """The fields of /proc/PID/stat from the third on, behind the command; none where there is no such process."""
    try:
        with open(os.path.join(root, 'proc', str(pid), 'stat'), errors='replace') as stream:
            return stream.read().rsplit(')', 1)[-1].split()
    except OSError:
        return []


def _child_hangs_in(pid: int) -> str:
    for entry in ('stack', 'wchan', 'syscall'):
        try:
            with open('/proc/%d/%s' % (pid, entry), errors='replace') as stream:
                text = ', '.join(line.split('] ', 1)[-1] for line in stream.read().splitlines()[:4] if line.strip())
        except OSError:
            continue
        if entry == 'syscall' and (text == 'running' or text.startswith('-1 ')):
            return 'no system call: it is busy, or was not given a processor'
        if text and text != '0':
            return text
    return 'a place that /proc does not show'


def _run_child(function: Callable[[], T], tried: str, write_end: int) -> None:
    try:
        answer = marshal.dumps({'value': function()})
    except KmodError as error:
        answer = marshal.dumps({'tried': error.tried, 'why': error.why, 'next_step': error.next_step,
                                'facts': error.facts})
    except Exception as error:  # pylint: disable=broad-except  # whatever it is, the parent must hear of it
        answer = marshal.dumps({'tried': tried, 'why': f'{type(error).__name__}: {error}'})
    with os.fdopen(write_end, 'wb') as stream:
        stream.write(answer)


def _let_go_of_output() -> None:
    """For a child: whoever reads the output, as Ansible does, waits for all who hold it. One that hangs must not."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)


# Those that wait for what this process does: its parent, and the parent's if that is a child too.
waiting: List[int] = []


def forked(act: Callable[[int], None], leads: bool) -> Tuple[int, int]:
    """A process that acts, writes to the descriptor that it is given, and ends: its number, and where one reads that.

    ``leads``: it leads a group of its own, and ends with all that it starts; one that does not ends with the one that
    leads. Raises OSError where no process is to be had.
    """
    read_end, write_end = os.pipe()
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        os.close(read_end)
        os.close(write_end)
        raise
    if pid == 0:
        os.close(read_end)
        try:
            gc.disable()  # it lives for moments, and its parent's objects are many
            waiting.append(parent)
            if leads:
                os.setsid()
            _let_go_of_output()
            act(write_end)
        finally:
            if leads:
                _end(os.getpid())
            os._exit(0)  # pylint: disable=protected-access  # the parent's clean-up is not the child's
    os.close(write_end)
    return pid, read_end


class Child(Generic[T]):
    """A function in a process of its own, which has begun when this returns.

    ``tried`` completes the sentence "Cannot ...". Raises KmodError where no process is to be had.
    """

    def __init__(self, function: Callable[[], T], tried: str) -> None:
        self._tried = tried
        try:
            self.pid, self._read_end = forked(lambda write_end: _run_child(function, tried, write_end), leads=True)
        except OSError as error:
            raise KmodError(tried, f'there is no process to do it in: {error.strerror}',
                            'Free memory, or end processes') from error

    def answer(self, seconds: float, outlives: bool = False) -> T:
        """What the function returned, if that comes within ``seconds`` from now: see :func:`with_deadline`."""
        try:
            data = _read_until(self._read_end, time.monotonic() + seconds)
            if data is None:
                hanging = _innermost(self.pid)
                hangs_in = _child_hangs_in(hanging)
                late = _late(self._tried, seconds, hanging, hangs_in)
                if not outlives:
                    _end(self.pid)
                raise late
        finally:
            os.close(self._read_end)
            reap(self.pid)
        try:
            answer = marshal.loads(data)  # noqa: S302 - from our own child
        except (ValueError, EOFError, TypeError):
            ended = 'in the middle of its answer' if data else 'without a word'
            raise KmodError(self._tried, f'the process that acted ended {ended}', 'Look at the kernel log') from None
        if 'tried' in answer:
            raise KmodError(answer['tried'], answer['why'], answer.get('next_step'), **answer.get('facts', {}))
        value: T = answer['value']
        return value


def checked_timeout(seconds: float) -> float:
    """The option timeout, if it is a number of seconds above 0 and below a million. Raises KmodError otherwise."""
    if not 0 < seconds < LONGEST_TIMEOUT:
        raise KmodError(f'set a deadline of {seconds:g} seconds',
                        f'timeout must be above 0 and below {LONGEST_TIMEOUT}',
                        'Give a number of seconds, such as timeout=30')
    return seconds


def _late(tried: str, seconds: float, pid: int, hangs_in: str) -> Deadline:
    """Only a process that waits uninterruptibly in the kernel is said to hang: any other is merely slow."""
    if _state(pid) == 'D':
        return Deadline(tried, 'no answer within %g seconds; process %d hangs in %s' % (seconds, pid, hangs_in),
                        'Reboot required if a kernel lock died with its owner: it never comes free then',
                        hangs_in=hangs_in)
    return Deadline(tried, 'no answer within %g seconds; process %d is not done yet (%s)' % (seconds, pid, hangs_in),
                    'Run the task again with a longer timeout', hangs_in=hangs_in)


def with_deadline(function: Callable[[], T], seconds: float, tried: str, outlives: bool = False) -> T:
    """Runs ``function`` in a child and returns its result, of which marshal can carry all: no object of a class.

    A task that waits in the kernel for a lock whose owner died cannot be killed: the child is left behind then, and
    :class:`Deadline` is raised with what it waits in. ``tried`` completes the sentence "Cannot ...".
    ``outlives``: what takes longer is not killed but left to finish, since what it does must not be cut short.
    Raises what ``function`` raised where that is a :class:`KmodError`.
    """
    checked_timeout(seconds)
    return Child(function, tried).answer(seconds, outlives)


def _end(pid: int) -> None:
    """Ends a process that leads a group, with that group."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except OSError:
            continue  # it has not come to make its group, or has ended


def _read_until(descriptor: int, deadline: float) -> Optional[bytes]:
    chunks: List[bytes] = []
    while True:
        ready, dummy, dummy = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(descriptor, 65536)
        if not chunk:
            return b''.join(chunks)
        chunks.append(chunk)


def reap(pid: int, patience: float = 1.0) -> None:
    """Waits for a child that has been ended; one that hangs in the kernel is left after ``patience`` seconds."""
    pause, until = 0.0002, time.monotonic() + patience
    while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < until:
        time.sleep(pause)
        pause = min(2 * pause, 0.01)
