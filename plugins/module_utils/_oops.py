# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Oopses, warnings, hangs and stalls in the kernel log: which function of which module, in which task, and when.

The texts are those of arch/x86/kernel/dumpstack.c, arch/arm64/kernel/{traps,process}.c, kernel/panic.c and
lib/dump_stack.c, kernel/hung_task.c, kernel/rcu/tree_stall.h, kernel/locking/lockdep.c, mm/slub.c.
"""

import re
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._log_lines import (
    ALARMS,
    LINKED_IN,
    is_hexadecimal,
    modules_linked_in,
    split_place,
    split_stamp,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._log_report import Report

LONGEST_LINE = 1024
LONGEST_TRACE = 128
LONGEST_COMMAND = 64
# Words after the counter of ``Oops: 0002 [#1] PREEMPT SMP NOPTI``: anybody may call a process ``Oops: 0000 [#1]``.
FLAG = re.compile(r'[A-Z][A-Z0-9_]*(?:=\S+|\(\w+\))?\Z')
HUNG = re.compile(r'INFO: task (.{1,64}):(\d{1,10}) (blocked for more than \d+ seconds)')
LOCKDEP = ('WARNING: possible ', 'WARNING: inconsistent lock state', 'WARNING: suspicious RCU usage',
           'WARNING: bad unlock balance', 'INFO: possible ')
WANTS = re.compile(r'(.{1,64})/(\d{1,10}) is trying to acquire lock:')
LOCK = re.compile(r'[0-9a-f]{8,16} \(([^)]{1,64})\)\S*, at: (.*)')
TAINT = re.compile(r'(?:Not tainted|Tainted: ([A-Z ]+))')
SLUB = re.compile(r'BUG (\S{1,64}) \((?:Tainted|Not tainted)[^)]*\): (.*)')


def oopses(lines):
    # type: (Iterable[str]) -> List[Dict[str, Any]]
    """Each oops and warning in a kernel log, in its order.

    Keys: ``kind`` (``oops``: a task died; ``warning``: it went on; ``hung``: it waits for long; ``stall``: it keeps a
    CPU; ``lockdep``: it may deadlock), ``cause``, ``function``, ``offset`` (bytes into
    it), ``module`` (empty for the kernel itself), ``task``, ``pid``, ``time`` (seconds since boot), ``taint``
    (letters), ``trace`` (as printed; ``?`` marks what the kernel is not sure of) and, where the text has them,
    ``address``, ``pc`` (of code without a name), ``workqueue``, ``loading`` and ``last_unloaded`` (modules, of the line
    ``Modules linked in``), ``freed_code`` (it died in what it executed, and that has no name), ``waits_in`` (hung),
    ``wants`` and ``locks`` (lockdep), ``cache`` (SLUB).
    AArch64's trace lacks the caller of a function that has no frame yet: the one in the link register is put there.
    The module is that of the instruction pointer; where that has no name any more, the first in the trace.
    A line that is lost or garbled costs its own fact, which is then unavailable.
    """
    reader = _Reader()
    for line in lines:
        reader.take(line)
    return reader.finish()


class _Reader:
    """Sorts log lines into reports; one is open for each printing task (CONFIG_PRINTK_CALLER), else one in all."""

    def __init__(self):
        # type: () -> None
        self._open = {}  # type: Dict[str, Report]
        self._all = []  # type: List[Report]
        self._when = None  # type: Optional[float]
        self._caller = ''

    def take(self, line):
        # type: (str) -> None
        if not self._open and not any(alarm in line for alarm in ALARMS):
            return  # a thousand lines of a healthy boot
        when, self._caller, text = split_stamp(line[:LONGEST_LINE])
        self._when = self._when if when is None else when
        bare = text.lstrip(' ')  # a line that was moved in by whoever copied it
        for prefixes, handle in PREFIXES:
            if bare.startswith(prefixes):
                handle(self, bare)
                return
        if ' [#' in text:
            self.die(text)
            return
        report = self._open.get(self._caller)
        if report is None:
            return
        if report.kind == 'lockdep':
            self._lockdep_line(report, bare)
        elif report.tracing:
            self._trace_entry(report, text)
        elif report.cut_here and not report.headers and not report.note:
            report.note = text.strip()

    def finish(self):
        # type: () -> List[Dict[str, Any]]
        return [report.result() for report in self._all if report.credible]

    def _new(self):
        # type: () -> Report
        report = self._open[self._caller] = Report(self._when)
        self._all.append(report)
        return report

    def _current(self, header):
        # type: (str) -> Report
        """The report that a header line belongs to: a new one where the open one cannot have this header any more."""
        report = self._open.get(self._caller)
        if report is None or report.identified or header in report.headers:
            report = self._new()
        report.headers.add(header)
        return report

    def _trace_entry(self, report, text):
        # type: (Report, str) -> None
        place = split_place(text)
        if not place:
            # A bare address, <TASK>, <IRQ>: the trace goes on; </TASK> and register lines end it by themselves.
            return
        if len(report.trace) < LONGEST_TRACE:
            report.trace.append(place.printed)
            report.places.append(place)
            if place.module:
                report.in_trace.append(place)

    # One handler for each kind of line.

    def cut_here(self, _text):
        # type: (str) -> None
        self._new().cut_here = True

    def bug(self, text):
        # type: (str) -> None
        report = self._current('bug')
        cause = text.partition('BUG: ')[2]
        report.know(cause=cause.strip())
        if cause.startswith(('kernel NULL pointer', 'unable to handle')):
            report.fatal = True
            # The stack of ``stack guard page was hit at``, and other addresses, are hashed.
            report.know_address(cause, 'address: ', ' at ')
        named = cause.startswith(('KASAN', 'KFENCE', 'KCSAN', 'KMSAN'))
        place = split_place(cause.partition(' in ')[2]) if named else None
        if place:
            report.know(function=place.function, offset=place.offset, module=place.module)

    def bug_at(self, text):
        # type: (str) -> None
        place = text.partition(' BUG at ')[2].split('!')[0]
        if place and ' ' not in place:
            report = self._current('bug at')
            report.fatal = True
            report.know(cause=f'kernel BUG at {place}')

    def unable(self, text):
        # type: (str) -> None
        report = self._current('bug')
        report.fatal = True
        cause = text.partition('Unable to handle ')[2]
        report.know(cause=cause.strip())
        report.know_address(cause, 'address ')

    def warning(self, text):
        # type: (str) -> None
        """``WARNING: CPU: 1 PID: 320 at foo.c:6 f+0x1/0x2``; from 6.19 ``WARNING: foo.c:6 at f+0x1, CPU#0: sh/32``."""
        if text.startswith(LOCKDEP):
            self._lockdep(text)
            return
        rest, command = text.partition('WARNING: ')[2], ''
        if rest.startswith('CPU: '):
            number, _at, place = rest.partition(' PID: ')[2].partition(' at ')
            code = split_place(place.partition(' ')[2])
        else:
            place, number = rest.partition(' at ')[0], rest.partition(', CPU#')[2].rpartition('/')[2]
            code = split_place(rest.partition(' at ')[2].partition(', CPU#')[0])
            command = rest.partition(', CPU#')[2].partition(': ')[2].rpartition('/')[0]
        if not (number.isdecimal() and len(number) <= 10 and place.strip()):
            return
        report = self._current('warning')
        if code:
            report.know(function=code.function, offset=code.offset, module=code.module)
        if command:
            report.command = command[:LONGEST_COMMAND]
        note = report.note
        report.know(cause='WARNING at {}'.format(place.split()[0]) + (': ' + note if note else ''), pid=int(number))

    def die(self, text):
        # type: (str) -> None
        """``Oops: 0002 [#1] PREEMPT SMP NOPTI``, and other causes in place of Oops."""
        before, _mark, counter = text.partition(' [#')
        cause, colon, code = before.rpartition(': ')
        count, _bracket, flags = counter.partition(']')
        if not (colon and cause and count.isdecimal() and is_hexadecimal(code)
                and all(FLAG.match(flag) for flag in flags.split()) and flags[:1] in ('', ' ')):
            return
        report = self._current('die')
        report.fatal = True
        report.know_address(cause, 'address: ', 'address ', 'dereference ')
        for prefix in ('Internal error: ', 'Oops: ', 'Oops - '):
            cause = cause[len(prefix):] if cause.startswith(prefix) else cause
        report.know(cause='Oops' if cause.strip() == 'Oops' else cause.strip())

    def cpu(self, text):
        # type: (str) -> None
        """``CPU: 1 UID: 0 PID: 612 Comm: insmod Kdump: loaded Tainted: G  OE  6.1.0-50-amd64 #1``."""
        number, _comm, rest = text.partition(' PID: ')[2].partition(' Comm: ')
        for end in (' Not tainted', ' Tainted: '):
            if end in rest and number.isdecimal() and len(number) <= 10:
                task, _end, after = rest.partition(end)
                break
        else:
            return
        # Letters, each at its place among spaces, and then the release.
        letters = [] if end == ' Not tainted' else after.split()
        count = next((index for index, word in enumerate(letters) if not (word.isalpha() and word.isupper())),
                     len(letters))
        report = self._open.get(self._caller)
        if report is None or 'task' in report.facts:
            report = self._new()
        command = task.partition(' Kdump: ')[0][:LONGEST_COMMAND]
        report.know(pid=int(number), task=command, taint=''.join(letters[:count]))

    def pointer(self, text):
        # type: (str) -> None
        """``RIP: 0010:f_init+0x14/0x1000 [foo]``; on AArch64 ``pc : f_init+0x14/0x1000 [foo]``, before ``PC is at``."""
        report = self._open.get(self._caller)
        for start in ('RIP: ', 'pc : ', 'PC is at '):
            text = text[len(start):] if text.startswith(start) else text
        segment, colon, place = text.partition(':')
        if colon and len(segment) == 4 and is_hexadecimal(segment):
            text = place
            if int(segment, 16) & 3:  # the registers of the user's side
                if report:
                    report.tracing = False
                return
        if report is None:
            report = self._new()
        if report.pointer_seen:
            return
        report.pointer_seen = True
        found = split_place(text)
        if found:
            report.know(function=found.function, offset=found.offset, module=found.module)
        else:
            self._nameless(report, text)

    @staticmethod
    def _nameless(report, text):
        # type: (Report, str) -> None
        """``0xffffffc008df036c [foo@0000000061dcf4be+0x2a6000]``: code without a name, of a module perhaps."""
        words = text.split()
        if words and words[0].startswith('0x') and is_hexadecimal(words[0][2:]):
            report.know(pc=int(words[0][2:], 16))
            if len(words) > 1 and words[1].startswith('[') and '@' in words[1]:
                report.know(module=words[1][1:].partition('@')[0])

    def link_register(self, text):
        # type: (str) -> None
        """``lr : do_one_initcall+0x50/0x1f8``, or ``LR is at``."""
        report = self._open.get(self._caller)
        if report and not report.link:
            report.link = split_place(text.partition(': ')[2] or text.partition(' at ')[2])

    def call_trace(self, _text):
        # type: (str) -> None
        report = self._open.get(self._caller)
        if report:
            report.tracing = not report.trace

    def trace_end(self, _text):
        # type: (str) -> None
        report = self._open.get(self._caller)
        if report:
            report.tracing = False

    def end_trace(self, _text):
        # type: (str) -> None
        report = self._open.pop(self._caller, None)
        if report:
            report.ended = True

    def other_report(self, text):
        # type: (str) -> None
        """A report of no fault, or one of a hang or a stall: it opens one of its own."""
        self._open.pop(self._caller, None)
        hung = HUNG.match(text)
        if text.startswith(LOCKDEP):
            self._lockdep(text)
        elif hung:
            report = self._new()
            report.kind = 'hung'
            report.know(task=hung.group(1), pid=int(hung.group(2)), cause=hung.group(3))
        elif 'INFO: rcu' in text and ' stall' in text:
            report = self._new()
            report.kind = 'stall'
            report.know(cause=text.partition('INFO: ')[2].strip())

    def _lockdep(self, text):
        # type: (str) -> None
        self._open.pop(self._caller, None)
        report = self._new()
        report.kind = 'lockdep'
        report.know(cause=text.partition(': ')[2].strip(), locks=[])

    @staticmethod
    def _lockdep_line(report, text):
        # type: (Report, str) -> None
        task, lock, taint = WANTS.match(text), LOCK.match(text), TAINT.search(text)
        if task:
            report.know(task=task.group(1), pid=int(task.group(2)))
        elif lock and 'wants' not in report.facts:
            place = split_place(lock.group(2))
            report.know(wants=lock.group(1))
            if place:
                report.know(function=place.function, offset=place.offset, module=place.module)
        elif lock:
            report.facts['locks'].append(lock.group(1))
        elif taint and 'taint' not in report.facts:
            letters = [word for word in (taint.group(1) or '').split() if word.isalpha() and word.isupper()]
            report.know(taint=''.join(letters))

    def slub(self, text):
        # type: (str) -> None
        """``BUG foo_cache (Tainted: G  OE): Objects remaining in foo_cache on __kmem_cache_shutdown()``."""
        found = SLUB.match(text)
        if found:
            report = self._current('slub')
            report.know(cause=found.group(2).strip(), cache=found.group(1))

    def workqueue(self, text):
        # type: (str) -> None
        report = self._open.get(self._caller)
        words = text.split()
        if report and len(words) > 1:
            report.know(workqueue=words[1])

    def linked_in(self, text):
        # type: (str) -> None
        report = self._open.get(self._caller)
        if report:
            loading, unloaded = modules_linked_in(text[len(LINKED_IN):])
            report.know(loading=loading, last_unloaded=unloaded)
            report.tracing = False


PREFIXES = (
    ('---[ end ', _Reader.end_trace),
    ('------------[ cut here ]', _Reader.cut_here),
    # Reports that are neither: what follows must not be taken for the rest of an oops whose end is lost.
    (('INFO: ', 'rcu: INFO: ', 'NMI backtrace ', 'sysrq: ', 'Sending NMI '), _Reader.other_report),
    (('BUG: ', 'watchdog: BUG: '), _Reader.bug),
    ('BUG ', _Reader.slub),
    ('Workqueue: ', _Reader.workqueue),
    (LINKED_IN, _Reader.linked_in),
    (('kernel BUG at ', 'Kernel BUG at '), _Reader.bug_at),
    ('Unable to handle kernel ', _Reader.unable),
    ('WARNING: ', _Reader.warning),
    ('CPU: ', _Reader.cpu),
    (('RIP: ', 'pc : ', 'PC is at '), _Reader.pointer),
    (('lr : ', 'LR is at '), _Reader.link_register),
    (('Call Trace:', 'Call trace:', 'call trace:'), _Reader.call_trace),
    (('</TASK>', 'Code: ', 'ORIG_RAX', 'RSP: ', 'RAX: ', 'RDX: ', 'RBP: ', 'R10: ',
      'R13: '), _Reader.trace_end),
)  # type: Tuple[Tuple[Any, Callable], ...]
