# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Oopses and warnings in the kernel log: which function of which module, in which task, and when.

The texts are those of arch/x86/kernel/dumpstack.c, arch/arm64/kernel/{traps,process}.c, kernel/panic.c and
lib/dump_stack.c.
"""

from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._kernel_log import ALARMS

LONGEST_LINE = 1024
LONGEST_TRACE = 128
LONGEST_COMMAND = 64
# The module of code that is in no module.
CORE_KERNEL = ''
LOST = 'the kernel log has lost this line'


def oopses(lines):
    # type: (Iterable[str]) -> List[Dict[str, Any]]
    """Each oops and warning in a kernel log, in its order.

    Keys: ``kind`` (``oops``: a task died; ``warning``: it went on), ``cause``, ``function``, ``offset`` (bytes into
    it), ``module`` (empty for the kernel itself), ``task``, ``pid``, ``time`` (seconds since boot), ``taint``
    (letters), ``trace`` (as printed; ``?`` marks what the kernel is not sure of) and, where it names one, ``address``.
    AArch64's trace lacks the caller of a function that has no frame yet: the one in the link register is put there.
    The module is that of the instruction pointer; where that has no name any more, the first in the trace.
    A line that is lost or garbled costs its own fact, which is then unavailable.
    """
    reader = _Reader()
    for line in lines:
        reader.take(line)
    return reader.finish()


class Place(NamedTuple):
    """Where code is: function, byte offset into it, module (empty for the kernel itself), and that as printed."""

    function: str
    offset: int
    module: str
    printed: str


def split_place(text):
    # type: (str) -> Optional[Place]
    """``f_init+0x14/0x1000 [foo]``, after addresses in brackets and the ``?`` of a guess; None for another text."""
    words = text.split()
    while words and words[0].startswith('[<') and words[0].endswith('>]'):
        del words[0]
    guess = '? ' if words[:1] == ['?'] else ''
    words = words[1:] if guess else words
    function, _plus, numbers = words[0].partition('+0x') if words else ('', '', '')
    offset, slash, size = numbers.partition('/0x')
    if not (function and slash and offset.isalnum() and size.isalnum()) or any(mark in function for mark in '[]:'):
        return None
    try:
        distance = int(offset, 16)
    except ValueError:
        return None
    # With CONFIG_STACKTRACE_BUILD_ID a build id follows the name within the brackets.
    module = words[1][1:].rstrip(']') if len(words) > 1 and words[1].startswith('[') else ''
    printed = f'{guess}{words[0]} [{module}]' if module else guess + words[0]
    return Place(function, distance, module or CORE_KERNEL, printed)


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
        self.in_trace = []  # type: List[Place]
        self.link = None  # type: Optional[Place]

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
            first = self.in_trace[0]
            self.know(function=first.function, offset=first.offset, module=first.module)
        if self.link and self.trace and not any(self.link.function + '+' in entry for entry in self.trace[:2]):
            self.trace.insert(1, self.link.printed)
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
        if not self._open and not any(alarm in line for alarm in ALARMS):
            return  # a thousand lines of a healthy boot
        when, self._caller, text = split_stamp(line[:LONGEST_LINE])
        self._when = self._when if when is None else when
        for prefixes, handle in PREFIXES:
            if text.startswith(prefixes):
                handle(self, text)
                return
        if ' [#' in text:
            self.die(text)
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
        place = split_place(text)
        if not place:
            # A bare address, <TASK>, <IRQ>: the trace goes on; </TASK> and register lines end it by themselves.
            return
        if len(report.trace) < LONGEST_TRACE:
            report.trace.append(place.printed)
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
        _know_address(report, cause)

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
        _know_address(report, cause)

    def warning(self, text):
        # type: (str) -> None
        """``WARNING: CPU: 1 PID: 320 at foo.c:6 f+0x1/0x2``; from 6.19 ``WARNING: foo.c:6 at f+0x1, CPU#0: sh/32``."""
        rest = text.partition('WARNING: ')[2]
        if rest.startswith('CPU: '):
            number, _at, place = rest.partition(' PID: ')[2].partition(' at ')
        else:
            place, number = rest.partition(' at ')[0], rest.partition(', CPU#')[2].rpartition('/')[2]
        if not (number.isdecimal() and len(number) <= 10 and place.strip()):
            return
        report = self._current('warning')
        note = report.note
        report.know(cause='WARNING at {}'.format(place.split()[0]) + (': ' + note if note else ''), pid=int(number))

    def die(self, text):
        # type: (str) -> None
        """``Oops: 0002 [#1] PREEMPT SMP NOPTI``, and other causes in place of Oops."""
        before, _mark, counter = text.partition(' [#')
        cause, colon, code = before.rpartition(': ')
        if not (colon and cause and counter.partition(']')[0].isdecimal() and _is_hexadecimal(code)):
            return
        report = self._current('die')
        report.fatal = True
        _know_address(report, cause)
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
        if colon and len(segment) == 4 and _is_hexadecimal(segment):
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

    def other_report(self, _text):
        # type: (str) -> None
        self._open.pop(self._caller, None)


def _know_address(report, text):
    # type: (_Report, str) -> None
    for mark in ('address: ', 'address ', 'dereference '):
        found = text.partition(mark)[2].partition(' ')[0].rstrip(',')
        found = found[2:] if found.startswith('0x') else found
        if _is_hexadecimal(found):
            report.know(address=int(found, 16))
            return


def _is_hexadecimal(text):
    # type: (str) -> bool
    return 0 < len(text) <= 16 and not text.strip('0123456789abcdef')


def split_stamp(line):
    # type: (str) -> Tuple[Optional[float], str, str]
    """Seconds since boot, caller and text of a line as dmesg prints it: ``[  185.234789] text``.

    With CONFIG_PRINTK_CALLER ``[  185.234789][  T481] text``. A line of another form is all text.
    """
    rest = line.partition('>')[2] if line.startswith('<') and line[1:line.find('>')].isdecimal() else line
    stamp, _bracket, text = rest[1:].partition(']')
    seconds, dot, fraction = stamp.lstrip(' ').partition('.')
    if not (rest.startswith('[') and dot and seconds.isdecimal() and fraction.isdecimal() and len(stamp) <= 24):
        return None, '', line
    caller, closed, after = text[1:].partition(']')
    if text.startswith('[') and closed and caller.strip()[:1] in ('T', 'C') and caller.strip()[1:].isdecimal():
        text = after
    else:
        caller = ''
    return float(f'{seconds}.{fraction}'), caller.strip(), text[1:] if text.startswith(' ') else text


# Words, not patterns: those are compiled at each run of a module.
PREFIXES = (
    ('---[ end ', _Reader.end_trace),
    ('------------[ cut here ]', _Reader.cut_here),
    # Reports that are neither: what follows must not be taken for the rest of an oops whose end is lost.
    (('INFO: ', 'rcu: INFO: ', 'NMI backtrace ', 'sysrq: ', 'Sending NMI '), _Reader.other_report),
    (('BUG: ', 'watchdog: BUG: '), _Reader.bug),
    (('kernel BUG at ', 'Kernel BUG at '), _Reader.bug_at),
    ('Unable to handle kernel ', _Reader.unable),
    ('WARNING: ', _Reader.warning),
    ('CPU: ', _Reader.cpu),
    (('RIP: ', 'pc : ', 'PC is at '), _Reader.pointer),
    (('lr : ', 'LR is at '), _Reader.link_register),
    (('Call Trace:', 'Call trace:', 'call trace:'), _Reader.call_trace),
    ((' </TASK>', '</TASK>', 'Modules linked in:', 'Code: ', 'ORIG_RAX', 'RSP: ', 'RAX: ', 'RDX: ', 'RBP: ', 'R10: ',
      'R13: '), _Reader.trace_end),
)  # type: Tuple[Tuple[Any, Callable], ...]
