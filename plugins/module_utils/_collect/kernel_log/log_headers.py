# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lines say that open a report of the kernel log, or tell whom it is about; None for one that is forged.

A process may be called ``Oops: 0000 [#1]``, and the kernel prints that name first when it tells of it. The texts are
those of arch/*/kernel/{dumpstack,traps,process}.c, kernel/{panic,hung_task,watchdog}.c, kernel/rcu/tree_stall.h,
kernel/locking/lockdep.c, mm/{slub,slab_common}.c, mm/kasan/report.c, lib/ubsan.c.
"""

import re
from typing import List, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log.log_lines import (
    Place,
    is_hexadecimal,
    split_place,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Oops

LONGEST_COMMAND = 64
# The kernel tells of a process: ``NAME[5800]: segfault at``, ``NAME (5800): drop_caches``, ``NAME/5800: potentially``.
OF_A_PROCESS = re.compile(
    r'.{0,40}(?:\[\d{1,10}\]|\(\d{1,10}\)|/\d{1,10}):? (?:segfault |trap |general protection |bad frame |unhandled |'
    r'drop_caches|used greatest stack|potentially unexpected|undefined instruction|vsyscall|exited on signal)|'
    r'.{0,40}(?: invoked oom-killer|: page allocation failure|: vmalloc (?:error|size))')
# Words after the counter of ``Oops: 0002 [#1] PREEMPT SMP NOPTI``.
FLAG = re.compile(r'[A-Z][A-Z0-9_]*(?:=\S+|\(\w+\))?\Z')
HUNG = re.compile(r'INFO: task (.{1,64}):(\d{1,10}) (blocked(?: in I/O wait)? for more than \d+ seconds)')
LOCKUP = re.compile(r'soft lockup - .*\[(.{1,64}):(\d{1,10})\]')
HARD_LOCKUP = re.compile(r'hard LOCKUP on cpu \d+')
# ``WARNING: possible circular locking dependency detected``; before 4.11 ``[ INFO: possible circular ... ]``.
LOCKDEP = re.compile(
    r'\[? ?(?:WARNING|INFO|BUG): ((?:possible |inconsistent lock state|suspicious RCU usage|bad unlock balance|'
    r'bad contention|held lock freed|lock held when|Nested lock|Invalid wait context|\S+-safe -> \S+-unsafe lock|'
    r'\S{1,64}/\d{1,10} still has locks held)[^\]]*)')
WANTS = re.compile(r'(.{1,64})/(\d{1,10}) (?:is trying to (?:acquire|release|contend) lock|is freeing memory|'
                   r'is leaving the kernel|\[[^\]]*\] (?:takes|is trying to acquire))')
LOCK = re.compile(r'[0-9a-f]{8,16} \(([^)]{1,64})\)\S*, at: (.*)')
TAINT = re.compile(r'(?:Not tainted|Tainted: ([A-Z ]+))')
SLUB = re.compile(r'BUG (\S{1,64}) \((?:Tainted|Not tainted)[^)]*\): (.*)')
SLAB_LEFT = re.compile(r'kmem_cache_destroy (\S{1,64}): (Slab cache still has objects.*)')
# ``BUG: scheduling while atomic: insmod/123/0x00000002``
ATOMIC = re.compile(r'scheduling while atomic: (.{1,64})/(\d{1,10})/')
ACCESS = re.compile(r'(?:Read|Write) of size \d+ (?:at addr [0-9a-f]+ )?by task (.{1,64})/(\d{1,10})\b')
SLEEPING = re.compile(r'in_atomic\(\): .*\bpid: (\d{1,10}), name: (.{1,64})\Z')
LEFT_COUNT = re.compile(r'note: .{1,64}\[(\d{1,10})\] exited with preempt_count (\d{1,10})\Z')
# What the kernel names a function in; the others have it in their trace.
NAMES_ITS_PLACE = ('KASAN', 'KFENCE', 'KCSAN', 'KMSAN')


class Fault(NamedTuple):
    """The line with the counter: ``Oops: 0002 [#1] PREEMPT SMP NOPTI``."""

    cause: str
    number: int


class Processor(NamedTuple):
    """``CPU: 1 UID: 0 PID: 612 Comm: insmod Kdump: loaded Tainted: G  OE  6.1.0-50-amd64 #1``."""

    pid: int
    task: str
    taint: str


class Warned(NamedTuple):
    """``WARNING: CPU: 1 PID: 320 at foo.c:6 f+0x1/0x2``; from 6.19 ``WARNING: foo.c:6 at f+0x1, CPU#0: sh/32``."""

    at: str
    pid: int
    task: str
    code: Optional[Place]


def fault(text: str) -> Optional[Fault]:
    """Of ``Oops: 0002 [#1] SMP`` and of other causes in place of Oops."""
    before, _mark, counter = text.partition(' [#')
    cause, colon, code = before.rpartition(': ')
    count, _bracket, flags = counter.partition(']')
    if not (colon and cause and count.isdecimal() and len(count) <= 10 and is_hexadecimal(code)
            and all(FLAG.match(flag) for flag in flags.split()) and flags[:1] in ('', ' ')):
        return None
    return Fault(cause, int(count))


def short_cause(cause: str) -> str:
    """``Internal error: Oops - BUG`` is a BUG."""
    for prefix in ('Internal error: ', 'Oops: ', 'Oops - '):
        cause = cause[len(prefix):] if cause.startswith(prefix) else cause
    return 'Oops' if cause.strip() == 'Oops' else cause.strip()


def processor(text: str) -> Optional[Processor]:
    """The line that names the task."""
    number, _comm, rest = text.partition(' PID: ')[2].partition(' Comm: ')
    for end in (' Not tainted', ' Tainted: '):
        if end in rest and number.isdecimal() and len(number) <= 10:
            task, _end, after = rest.partition(end)
            break
    else:
        return None
    # Letters, each at its place among spaces, and then the release.
    letters = [] if end == ' Not tainted' else after.split()
    count = next((index for index, word in enumerate(letters) if not (word.isalpha() and word.isupper())),
                 len(letters))
    return Processor(int(number), task.partition(' Kdump: ')[0][:LONGEST_COMMAND], ''.join(letters[:count]))


def warned(text: str) -> Optional[Warned]:
    """The line that opens a warning."""
    rest, task = text.partition('WARNING: ')[2], ''
    if rest.startswith('CPU: '):
        number, _at, place = rest.partition(' PID: ')[2].partition(' at ')
        code = split_place(place.partition(' ')[2])
    else:
        place, _comma, on = rest.partition(', CPU#')
        task, _slash, number = on.partition(': ')[2].rpartition('/')
        place, _at, at = place.partition(' at ')
        code = split_place(at)
    if not (number.isdecimal() and len(number) <= 10 and place.strip()):
        return None
    return Warned(place.split()[0], int(number), task[:LONGEST_COMMAND], code)


def place_named(cause: str) -> Optional[Place]:
    """``KASAN: use-after-free in f+0x5d0/0x750 [foo]``: the function that did it."""
    return split_place(cause.partition(' in ')[2]) if cause.startswith(NAMES_ITS_PLACE) else None


def stalled(text: str) -> Optional[Tuple[str, Oops]]:
    """Kind and facts of a report of a task that waits for long, or that keeps a CPU; None for another line."""
    hung, lockup, hard = HUNG.match(text), LOCKUP.search(text), HARD_LOCKUP.search(text)
    if hung:
        return 'hung', {'task': hung.group(1), 'pid': int(hung.group(2)), 'cause': hung.group(3)}
    if lockup:
        cause = text[lockup.start():].strip()
        return 'stall', {'task': lockup.group(1), 'pid': int(lockup.group(2)), 'cause': cause}
    if hard:
        return 'stall', {'cause': hard.group()}
    if 'INFO: rcu' in text and ' stall' in text:
        return 'stall', {'cause': text.partition('INFO: ')[2].strip()}
    if 'workqueue lockup' in text:
        return 'stall', {'cause': text.partition('BUG: ')[2].strip()}
    return None


def letters_of_taint(text: str) -> Optional[str]:
    """``5.4.96 #1 Tainted: G           OE``; None where it says nothing of it."""
    found = TAINT.search(text)
    if not found:
        return None
    letters: List[str] = [word for word in (found.group(1) or '').split() if word.isalpha() and word.isupper()]
    return ''.join(letters)
