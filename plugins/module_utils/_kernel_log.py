# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Oopses and warnings in the kernel log: which function of which module, in which task, and when.

The records come from /dev/kmsg (Documentation/ABI/testing/dev-kmsg), where that is refused from the journal. The texts
are those of arch/x86/kernel/dumpstack.c, arch/arm64/kernel/{traps,process}.c, kernel/panic.c and lib/dump_stack.c.
"""

# pylint: disable=ansible-bad-function  # it asks for Ansible's run_command; nothing here imports Ansible

import errno
import os
import re
import subprocess
import time
from typing import Any, Callable, Dict, Iterable, List, Match, Optional, Pattern, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable

LARGEST_RECORD = 16384
LONGEST_LINE = 1024
LONGEST_TRACE = 128
# The module of code that is in no module.
CORE_KERNEL = ''
LOST = 'the kernel log has lost this line'

ESCAPE = re.compile(br'\\x([0-9a-f]{2})')
JOURNAL_LINE = re.compile(r'\[ *([0-9]+\.[0-9]+)\] \S+ kernel: (.*)')
# [  185.234789] text, with CONFIG_PRINTK_CALLER [  185.234789][  T481] text
TIMED = re.compile(r'(?:<[0-9]+>)?\[ *([0-9]{1,12}\.[0-9]{1,9})\](?:\[ *([TC][0-9]+)\])? ?(.*)')
PLACE = r'([^\s+\[\]:]+)\+0x([0-9a-f]+)/0x[0-9a-f]+(?: \[([^\]\s]+)[^\]]*\])?'
# What every line has that LINES can open a report with.
ALARM = re.compile(r'cut here|BUG|Unable to handle|WARNING|\[#|PID: |RIP: |pc : |PC is at|[cC]all [tT]race')
TRACE_ENTRY = re.compile(rf'\s*(?:\[<[0-9a-f]+>\] )?(\? )?({PLACE})')


def read(root='/', path='/dev/kmsg', deadline=2.0):
    # type: (str, str, float) -> Any
    """The kernel log's lines, oldest first, as dmesg prints them: ``[  185.234789] text``; or unavailable.

    Stops after ``deadline`` seconds. Records overwritten while they are read are left out.
    """
    try:
        descriptor = os.open(os.path.join(root, path.lstrip('/')), os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        lines = _journal(deadline) if os.path.realpath(root) == '/' else []
        return lines or unavailable(error)
    try:
        return _read_records(descriptor, time.time() + deadline)
    finally:
        os.close(descriptor)


def oopses(lines):
    # type: (Iterable[str]) -> List[Dict[str, Any]]
    """Each oops and warning in a kernel log, in its order.

    Keys: ``kind`` (``oops``: a task died; ``warning``: it went on), ``cause``, ``function``, ``offset`` (bytes into
    it), ``module`` (empty for the kernel itself), ``task``, ``pid``, ``time`` (seconds since boot), ``taint``
    (letters), ``trace`` (as printed; ``?`` marks what the kernel is not sure of) and, where it names one, ``address``.
    The module is that of the instruction pointer; where that has no name any more, the first in the trace.
    A line that is lost or garbled costs its own fact, which is then unavailable.
    """
    reader = _Reader()
    for line in lines:
        reader.take(line)
    return reader.finish()


def _read_records(descriptor, end):
    # type: (int, float) -> List[str]
    lines = []  # type: List[str]
    while time.time() < end:
        try:
            record = os.read(descriptor, LARGEST_RECORD)
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EINTR):
                continue
            break  # EAGAIN: that was the last record
        if not record:
            break
        lines.extend(_lines_of(record))
    return lines


def _lines_of(record):
    # type: (bytes) -> List[str]
    """``6,339,5140900,-;text`` and continuation lines, which begin with a space, as dmesg prints it."""
    prefix, _semicolon, rest = record.partition(b';')
    fields = prefix.decode('ascii', 'backslashreplace').split(',')
    if len(fields) < 4 or not fields[2].isdigit() or len(fields[2]) > 18:
        return []
    # The kernel escapes each byte that is not plain ASCII: the text is UTF-8 only once they are bytes again.
    escaped = rest.partition(b'\n')[0]
    text = ESCAPE.sub(lambda match: bytes([int(match.group(1), 16)]), escaped).decode('utf-8', 'backslashreplace')
    caller = ''.join(f'[{field[7:]}]' for field in fields if field.startswith('caller='))
    stamp = '[%5d.%06d]%s ' % (divmod(int(fields[2]), 1000000) + (caller,))
    return [stamp + line for line in text.split('\n')]


def _journal(deadline):
    # type: (float) -> List[str]
    """This boot's kernel messages from the journal; nothing where there is none."""
    command = ['journalctl', '--dmesg', '--boot', '--no-pager', '--output=short-monotonic']
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=deadline, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    matches = (JOURNAL_LINE.match(line) for line in done.stdout.decode('utf-8', 'backslashreplace').splitlines())
    return ['[{}] {}'.format(*match.groups()) for match in matches if match]


class _Report:
    """One oops or warning while its lines come in. What is known is written once: a later line never overrides it."""

    def __init__(self, when):
        # type: (Optional[float]) -> None
        self.when = when
        self.facts = {}  # type: Dict[str, Any]
        self.headers = set()  # type: set
        self.note = ''
        self.fatal = False
        self.cut_here = False
        self.ended = False
        self.pointer_seen = False
        self.tracing = False
        self.trace = []  # type: List[str]
        self.in_trace = []  # type: List[Tuple[str, int, str]]

    def know(self, **facts):
        # type: (**Any) -> None
        for key, value in facts.items():
            self.facts.setdefault(key, value)

    @property
    def identified(self):
        # type: () -> bool
        """Past its headers: whatever announces a fault now announces another one."""
        return 'task' in self.facts or self.pointer_seen or bool(self.trace)

    @property
    def credible(self):
        # type: () -> bool
        """A register dump without a header is an oops whose beginning is lost only if it ends as one."""
        return bool(self.headers) or (self.cut_here and self.identified) or (self.pointer_seen and self.ended)

    def result(self):
        # type: () -> Dict[str, Any]
        if 'module' not in self.facts and self.in_trace:
            function, offset, module = self.in_trace[0]
            self.know(function=function, offset=offset, module=module)
        fatal = self.fatal or not (self.headers or self.cut_here)
        nameless = unavailable('the kernel could not name it' if self.pointer_seen else LOST)
        result = {'kind': 'oops' if fatal else 'warning', 'trace': self.trace,
                  'time': unavailable(LOST) if self.when is None else self.when}  # type: Dict[str, Any]
        for key in ('cause', 'task', 'pid', 'taint'):
            result[key] = self.facts.get(key, unavailable(LOST))
        for key in ('function', 'offset', 'module'):
            result[key] = self.facts.get(key, nameless)
        if 'address' in self.facts:
            result['address'] = self.facts['address']
        return result


class _Reader:
    """Sorts log lines into reports; one is open for each printing task (CONFIG_PRINTK_CALLER), else one in all."""

    def __init__(self):
        # type: () -> None
        self._open = {}  # type: Dict[str, _Report]
        self._all = []  # type: List[_Report]
        self._when = None  # type: Optional[float]
        self._caller = ''

    def take(self, line):
        # type: (str) -> None
        if not self._open and not ALARM.search(line):
            return  # a thousand lines of a healthy boot
        timed = TIMED.match(line[:LONGEST_LINE])
        text = line[:LONGEST_LINE]
        self._caller = ''
        if timed:
            self._when, self._caller, text = float(timed.group(1)), timed.group(2) or '', timed.group(3)
        for pattern, handle in LINES:
            match = pattern.match(text)
            if match:
                handle(self, match)
                return
        report = self._open.get(self._caller)
        if report is None:
            return
        if report.tracing:
            self._trace_entry(report, text)
        elif report.cut_here and not report.headers and not report.note:
            report.note = text.strip()

    def finish(self):
        # type: () -> List[Dict[str, Any]]
        return [report.result() for report in self._all if report.credible]

    def _new(self):
        # type: () -> _Report
        report = self._open[self._caller] = _Report(self._when)
        self._all.append(report)
        return report

    def _current(self, header):
        # type: (str) -> _Report
        """The report that a header line belongs to: a new one where the open one cannot have this header any more."""
        report = self._open.get(self._caller)
        if report is None or report.identified or header in report.headers:
            report = self._new()
        report.headers.add(header)
        return report

    def _trace_entry(self, report, text):
        # type: (_Report, str) -> None
        entry = TRACE_ENTRY.match(text)
        if not entry:
            # A bare address, <TASK>, <IRQ>: the trace goes on; </TASK> and register lines end it by themselves.
            return
        if len(report.trace) < LONGEST_TRACE:
            report.trace.append((entry.group(1) or '') + entry.group(2))
            if entry.group(5):
                report.in_trace.append((entry.group(3), int(entry.group(4), 16), entry.group(5)))

    # One handler for each kind of line.

    def cut_here(self, _match):
        # type: (Match) -> None
        self._new().cut_here = True

    def bug(self, match):
        # type: (Match) -> None
        report = self._current('bug')
        cause = match.group(1)
        report.know(cause=cause.strip())
        if re.match(r'kernel NULL pointer|unable to handle', cause):
            report.fatal = True
        _know_address(report, cause)

    def bug_at(self, match):
        # type: (Match) -> None
        report = self._current('bug at')
        report.fatal = True
        report.know(cause=f'kernel BUG at {match.group(1)}')

    def unable(self, match):
        # type: (Match) -> None
        report = self._current('bug')
        report.fatal = True
        report.know(cause=match.group(1).strip())
        _know_address(report, match.group(1))

    def warning(self, match):
        # type: (Match) -> None
        report = self._current('warning')
        note = report.note
        report.know(cause='WARNING at {}'.format(match.group('place')) + (': ' + note if note else ''))
        report.know(pid=int(match.group('pid')))

    def die(self, match):
        # type: (Match) -> None
        report = self._current('die')
        report.fatal = True
        report.know(cause=re.sub(r'^(?:Internal error: )?(?:Oops(?:: | - |\Z))?', '', match.group(1)).strip() or 'Oops')
        _know_address(report, match.group(1))

    def cpu(self, match):
        # type: (Match) -> None
        report = self._open.get(self._caller)
        if report is None or 'task' in report.facts:
            report = self._new()
        report.know(pid=int(match.group(1)), task=match.group(2), taint=(match.group(3) or '').replace(' ', ''))

    def pointer(self, match):
        # type: (Match) -> None
        segment = match.groupdict().get('segment')
        report = self._open.get(self._caller)
        if segment and int(segment, 16) & 3:
            if report:
                report.tracing = False
            return
        if report is None:
            report = self._new()
        if report.pointer_seen:
            return
        report.pointer_seen = True
        place = re.match(r'(?:\[<[0-9a-f]+>\]\s*)*' + PLACE, match.group('place'))
        if place:
            report.know(function=place.group(1), offset=int(place.group(2), 16), module=place.group(3) or CORE_KERNEL)

    def call_trace(self, _match):
        # type: (Match) -> None
        report = self._open.get(self._caller)
        if report:
            report.tracing = not report.trace

    def trace_end(self, _match):
        # type: (Match) -> None
        report = self._open.get(self._caller)
        if report:
            report.tracing = False

    def end_trace(self, _match):
        # type: (Match) -> None
        report = self._open.pop(self._caller, None)
        if report:
            report.ended = True

    def other_report(self, _match):
        # type: (Match) -> None
        self._open.pop(self._caller, None)


def _know_address(report, text):
    # type: (_Report, str) -> None
    found = re.search(r'(?:address:?|dereference) (?:0x)?([0-9a-f]{1,16})\b', text)
    if found:
        report.know(address=int(found.group(1), 16))


LINES = [(re.compile(pattern), handle) for pattern, handle in (
    (r'-+\[ cut here \]-+', _Reader.cut_here),
    (r'---\[ end ', _Reader.end_trace),
    # Reports that are neither: what follows must not be taken for the rest of an oops whose end is lost.
    (r'INFO: |rcu: INFO: |NMI backtrace |sysrq: |Sending NMI ', _Reader.other_report),
    (r'(?:watchdog: )?BUG: (.*)', _Reader.bug),
    (r'[kK]ernel BUG at (\S+)!', _Reader.bug_at),
    (r'Unable to handle (kernel .*)', _Reader.unable),
    (r'WARNING: CPU: \d+ PID: (?P<pid>\d{1,10}) at (?P<place>\S+)', _Reader.warning),
    # Since 6.19: WARNING: foo.c:6 at f_init+0x14/0x1000 [foo], CPU#0: insmod/2349
    (r'WARNING: (?P<place>\S+) at [^,]*, CPU#\d+: .*/(?P<pid>\d{1,10})', _Reader.warning),
    (r'(.{1,200}): [0-9a-f]{1,16} \[#\d+\]', _Reader.die),
    (r'CPU: \d+ (?:UID: \d+ )?PID: (\d{1,10}) Comm: (.{0,64}?) (?:Kdump: \S+ )?(?:Not tainted|Tainted: ([A-Z ]*[A-Z]))',
     _Reader.cpu),
    (r'RIP: (?P<segment>[0-9a-f]{4}):(?P<place>.*)', _Reader.pointer),
    (r'(?:pc : |PC is at )(?P<place>.*)', _Reader.pointer),
    (r'[cC]all [tT]race:', _Reader.call_trace),
    (r' ?</TASK>|Modules linked in:|Code: |ORIG_RAX|R[A-Z0-9]{2}: |RSP: ', _Reader.trace_end),
)]  # type: List[Tuple[Pattern, Callable]]
