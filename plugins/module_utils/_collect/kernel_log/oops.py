# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Oopses, warnings, hangs and stalls in the kernel log: which function of which module, in which task, and when."""

import re
from typing import TYPE_CHECKING, Callable, Dict, Iterable, List, Optional, Tuple, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import log_headers as headers
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log.log_lines import (
    ALARMS,
    LINKED_IN,
    SAVED,
    address_in,
    is_hexadecimal,
    module_of_address,
    split_place,
    split_stamp,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log.log_report import Report
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Oops

if TYPE_CHECKING:
    from typing_extensions import Unpack

# LOG_LINE_MAX in kernel/printk/printk.c; a line has level, stamp, caller or host before it.
LONGEST_RECORD = 1024
LONGEST_LINE = LONGEST_RECORD + 256
LONGEST_TRACE = 128
LONGEST_LISTING = 64
# A list of modules that fills a record goes on in others, of nothing else; what another CPU prints may lie between.
MORE_MODULES = re.compile(r' [\w-]+(?:\([A-Z]*[+-]?\))?(?: |\Z)')


def oopses(lines: Iterable[str]) -> List[Oops]:
    """Each oops and warning in a kernel log, in its order.

    Keys: ``kind`` (``oops``: a task died; ``warning``: it went on; ``hung``: it waits for long; ``stall``: it keeps a
    CPU; ``lockdep``: it may deadlock), ``cause``, ``function``, ``offset`` (bytes into
    it), ``module`` (empty for the kernel itself), ``task``, ``pid``, ``time`` (seconds since boot), ``taint``
    (letters), ``trace`` (as printed; ``?`` marks what the kernel is not sure of) and, where the text has them,
    ``address``, ``number`` (of the oopses since the boot), ``pc`` (of code without a name), ``code_of`` (modules of
    code without a name, from the fault outwards), ``workqueue`` and ``work_of`` (the module of its work function);
    ``loading``, ``unloading``, ``settled`` (modules that were being loaded, or unloaded; those of the trace that were
    neither) and ``last_unloaded``, of the line ``Modules linked in``; ``freed_code`` (it died in what it executed, and
    that has no name), ``preempt_count`` (it died with spin locks held, or the like), ``waits_in`` (hung), ``wants`` and
    ``locks`` (lockdep), ``cache`` (SLUB).
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

    def __init__(self) -> None:
        self._open: Dict[str, Report] = {}
        self._all: List[Report] = []
        self._when: Optional[float] = None
        self._caller = ''
        self._line = ''

    def take(self, line: str) -> None:
        if not self._open and not any(alarm in line for alarm in ALARMS):
            return  # a thousand lines of a healthy boot
        when, self._caller, text = split_stamp(line[:LONGEST_LINE])
        self._line = line
        self._when = self._when if when is None else when
        bare = text.lstrip(' ')  # a line that was moved in by whoever copied it
        report = self._open.get(self._caller)
        if report and report.listing and self._goes_on(report, text):
            return
        for prefixes, handle in PREFIXES:
            if bare.startswith(prefixes):
                if report:
                    report.listing = False
                if not headers.OF_A_PROCESS.match(bare):
                    handle(self, bare)
                return
        if ' [#' in text:
            self.die(text)
            return
        if report is None:
            return
        if report.tracing:
            self._trace_entry(report, text)
        elif report.kind == 'lockdep':
            self._lockdep_line(report, bare)
        elif report.cut_here and not report.headers and not report.note:
            report.note = text.strip()

    def finish(self) -> List[Oops]:
        return [report.result() for report in self._all if report.credible]

    def _new(self, reported: str = '', **facts: 'Unpack[Oops]') -> Report:
        report = self._open[self._caller] = Report(self._when, reported)
        report.know(**facts)
        self._all.append(report)
        return report

    def _current(self, header: str) -> Report:
        """The report that a header line belongs to: a new one where the open one cannot have this header any more."""
        report = self._open.get(self._caller)
        if report is None or report.identified or header in report.headers:
            report = self._new()
        report.headers.add(header)
        return report

    def _goes_on(self, report: Report, text: str) -> bool:
        if not MORE_MODULES.match(text) and not text.lstrip(' ').startswith('[last unloaded: '):
            return False
        report.listing_cut = len(report.modules) >= LONGEST_LISTING or self._may_be_cut(text)
        if len(report.modules) < LONGEST_LISTING:
            report.modules.append(text)
        return True

    def _may_be_cut(self, text: str) -> bool:
        """Whether names may be lost behind a line of the list of modules. The kernel cuts none."""
        return len(text) > LONGEST_RECORD // 16 * 15 and '[last unloaded: ' not in text and (
            len(self._line) > LONGEST_LINE or SAVED.match(self._line) is not None)

    @staticmethod
    def _trace_entry(report: Report, text: str) -> None:
        place = split_place(text)
        if not place:
            # A bare address, <TASK>, <IRQ>: the trace goes on; </TASK> and register lines end it by themselves.
            module = module_of_address(text)
            if module and len(report.code_of) < LONGEST_TRACE:
                report.code_of.append(module)
            return
        if len(report.trace) < LONGEST_TRACE:
            report.trace.append(place.printed)
            report.places.append(place)
            if place.module:
                report.in_trace.append(place)

    # One handler for each kind of line.

    def cut_here(self, _text: str) -> None:
        self._new().cut_here = True

    def bug(self, text: str) -> None:
        stall = headers.stalled(text)
        if stall:
            self._new(stall[0], **stall[1])
            return
        if 'BUG: ' not in text:
            return
        report = self._current('bug')
        cause = text.partition('BUG: ')[2]
        report.know(cause=cause.strip())
        if cause.startswith(('kernel NULL pointer', 'unable to handle')):
            report.fatal = True
            # The stack of ``stack guard page was hit at``, and other addresses, are hashed.
            report.know_address(address_in(cause, ('address: ', ' at ')))
        atomic = headers.ATOMIC.match(cause)
        if atomic:
            report.know(task=atomic.group(1), pid=int(atomic.group(2)))
        report.know_place(headers.place_named(cause))

    def bug_at(self, text: str) -> None:
        place, mark, _rest = text.partition(' BUG at ')[2].partition('!')
        if place and mark and ' ' not in place:
            report = self._current('bug at')
            report.fatal = True
            report.know(cause=f'kernel BUG at {place}')

    def unable(self, text: str) -> None:
        report = self._current('bug')
        report.fatal = True
        cause = text.partition('Unable to handle ')[2]
        report.know(cause=cause.strip())
        report.know_address(address_in(cause, ('address ',)))

    def warning(self, text: str) -> None:
        found = headers.warned(text)
        if not found:
            return
        report = self._current('warning')
        report.know_place(found.code)
        note = ': ' + report.note if report.note else ''
        report.know(cause=f'WARNING at {found.at}{note}', pid=found.pid, task=found.task)

    def undefined(self, text: str) -> None:
        self._current('ubsan').know(cause=text.strip())

    def die(self, text: str) -> None:
        found = headers.fault(text)
        if not found:
            return
        report = self._current('die')
        report.fatal = True
        report.know(number=found.number, cause=headers.short_cause(found.cause))
        report.know_address(address_in(found.cause))

    def cpu(self, text: str) -> None:
        found = headers.processor(text)
        if not found:
            return
        report = self._open.get(self._caller)
        if report is None or report.on_cpu or report.facts.get('pid', found.pid) != found.pid:
            report = self._new()
        report.on_cpu = True
        report.know(pid=found.pid, task=found.task, taint=found.taint)

    def whose(self, text: str) -> None:
        """``Read of size 8 at addr ffff88814c659de8 by task insmod/27128``; ``in_atomic(): 1, ..., name: insmod``."""
        report = self._open.get(self._caller)
        access, sleeping = headers.ACCESS.match(text), headers.SLEEPING.match(text)
        if report and access:
            report.know(task=access.group(1), pid=int(access.group(2)))
        elif report and sleeping:
            report.know(task=sleeping.group(2), pid=int(sleeping.group(1)))

    def pointer(self, text: str) -> None:
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
        report.know_place(found)
        words = text.split()
        if not found and words and words[0].startswith('0x') and is_hexadecimal(words[0][2:]):
            report.know(pc=int(words[0][2:], 16))
            module = module_of_address(text)
            if module:
                report.know(module=module)

    def link_register(self, text: str) -> None:
        """``lr : do_one_initcall+0x50/0x1f8``, or ``LR is at``."""
        report = self._open.get(self._caller)
        if report and not report.link:
            report.link = split_place(text.partition(': ')[2] or text.partition(' at ')[2])

    def call_trace(self, _text: str) -> None:
        report = self._open.get(self._caller)
        if report:
            report.tracing = not report.trace

    def trace_end(self, _text: str) -> None:
        report = self._open.get(self._caller)
        if report:
            report.tracing = False

    def end_trace(self, text: str) -> None:
        if text.rstrip().endswith(']---'):
            report = self._open.pop(self._caller, None)
            if report:
                report.ended = True

    def double_line(self, _text: str) -> None:
        """A line of ``=`` stands before and after what KASAN and its like report."""
        report = self._open.get(self._caller)
        if report and not report.fatal and report.headers & {'bug', 'slub', 'ubsan'} and report.identified:
            del self._open[self._caller]

    def other_report(self, text: str) -> None:
        """A report of no fault, or one of a hang or a stall: it opens one of its own."""
        report, stall = self._open.get(self._caller), headers.stalled(text)
        if stall:
            self._new(stall[0], **stall[1])
        elif report and ((report.kind == 'stall' and not report.on_cpu) or 'cache' in report.facts):
            return  # the CPU that stalls tells of itself; SLUB tells more
        else:
            self._open.pop(self._caller, None)

    def lockdep(self, text: str) -> None:
        found = headers.LOCKDEP.match(text)
        if found:
            self._new('lockdep', cause=found.group(1).strip(), locks=[])
        elif text.startswith('WARNING: '):
            self.warning(text)
        elif text.startswith('BUG: '):
            self.bug(text)
        else:
            self.other_report(text)

    @staticmethod
    def _lockdep_line(report: Report, text: str) -> None:
        task, lock, taint = headers.WANTS.match(text), headers.LOCK.match(text), headers.letters_of_taint(text)
        if task:
            report.know(task=task.group(1), pid=int(task.group(2)))
        elif lock and 'wants' not in report.facts:
            report.know(wants=lock.group(1))
            report.know_place(split_place(lock.group(2)))
        elif lock:
            report.facts['locks'].append(lock.group(1))
        else:
            report.know_taint(taint)

    def slub(self, text: str) -> None:
        """``BUG foo_cache (Tainted: G  OE): Objects remaining in foo_cache on __kmem_cache_shutdown()``."""
        found = headers.SLUB.match(text)
        if found:
            report = self._current('slub')
            report.know(cause=found.group(2).strip(), cache=found.group(1))
            report.know_taint(headers.letters_of_taint(text))

    def slab_left(self, text: str) -> None:
        found, report = headers.SLAB_LEFT.match(text), self._open.get(self._caller)
        if found and report and report.cut_here and not report.headers:
            report.note = text.strip()
            report.know(cache=found.group(1))
        elif found:
            self._current('slub').know(cause=found.group(2).strip(), cache=found.group(1))

    def taint(self, text: str) -> None:
        """Of a hung task this line stands alone."""
        report = self._open.get(self._caller)
        if report and report.kind == 'hung' and not text.startswith('Tainted: ['):
            report.know_taint(headers.letters_of_taint(text))

    def workqueue(self, text: str) -> None:
        """``Workqueue: events f_work [foo]``."""
        report = self._open.get(self._caller)
        words = text.split()
        if report and len(words) > 1:
            report.know(workqueue=words[1])
            if len(words) > 3 and words[3].startswith('['):
                report.know(work_of=words[3].strip('[]').partition('@')[0])

    def linked_in(self, text: str) -> None:
        report = self._open.get(self._caller)
        if report:
            report.tracing = False
            if not report.modules:
                report.modules, report.listing = [text[len(LINKED_IN):]], True
                report.listing_cut = self._may_be_cut(text)

    def left_count(self, text: str) -> None:
        found = headers.LEFT_COUNT.match(text)
        if found:
            of_it = [report for report in self._all if report.facts.get('pid') == int(found.group(1))]
            if of_it:
                of_it[-1].know(preempt_count=int(found.group(2)))


PREFIXES: Tuple[Tuple[Union[str, Tuple[str, ...]], Callable[[_Reader, str], None]], ...] = (
    ('---[ end ', _Reader.end_trace),
    ('------------[ cut here ]', _Reader.cut_here),
    ('=======', _Reader.double_line),
    (('WARNING: ', 'INFO: ', 'BUG: ', '[ INFO: ', '[ BUG: ', '[ WARNING: '), _Reader.lockdep),
    # Reports that are neither: what follows must not be taken for the rest of an oops whose end is lost.
    (('rcu: INFO: ', 'NMI backtrace ', 'sysrq: ', 'Sending NMI '), _Reader.other_report),
    (('watchdog: ', 'NMI watchdog: '), _Reader.bug),
    ('BUG ', _Reader.slub),
    ('kmem_cache_destroy ', _Reader.slab_left),
    ('UBSAN: ', _Reader.undefined),
    ('Workqueue: ', _Reader.workqueue),
    (LINKED_IN, _Reader.linked_in),
    (('kernel BUG at ', 'Kernel BUG at '), _Reader.bug_at),
    ('Unable to handle kernel ', _Reader.unable),
    ('CPU: ', _Reader.cpu),
    (('Read of size ', 'Write of size ', 'in_atomic(): '), _Reader.whose),
    (('RIP: ', 'pc : ', 'PC is at '), _Reader.pointer),
    (('lr : ', 'LR is at '), _Reader.link_register),
    (('Call Trace:', 'Call trace:', 'call trace:'), _Reader.call_trace),
    (('Tainted: ', 'Not tainted'), _Reader.taint),
    ('note: ', _Reader.left_count),
    (('</TASK>', 'Code: ', 'ORIG_RAX', 'RSP: ', 'RAX: ', 'RDX: ', 'RBP: ', 'R10: ',
      'R13: '), _Reader.trace_end),
)
