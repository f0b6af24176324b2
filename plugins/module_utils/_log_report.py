# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One report of the kernel log while its lines come in: see :mod:`_oops`."""

from typing import Any, Dict, List, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._log_lines import (  # noqa: F401 - Place in type comments
    CORE_KERNEL,
    Place,
    address_in,
)

LOST = 'the kernel log has lost this line'
# What else a report may say, returned where it does.
FURTHER = ('address', 'pc', 'workqueue', 'loading', 'last_unloaded', 'waits_in', 'wants', 'locks', 'cache')
# Frames of waiting itself.
SCHEDULER = ('__switch_to', '__schedule', 'schedule', 'io_schedule', '__mutex_lock', 'mutex_lock', '__down', 'down',
             'rwsem_down', '__rwsem', '__wait_for_common', 'wait_for_common')


class Report:
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
        self.kind = ''
        self.command = ''
        self.trace = []  # type: List[str]
        self.places = []  # type: List[Place]
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
        return bool(self.headers or self.kind) or (self.cut_here and self.identified) or (
            self.pointer_seen and self.ended)

    def result(self):
        # type: () -> Dict[str, Any]
        if 'module' not in self.facts and self.in_trace:
            first = self.in_trace[0]
            self.know(function=first.function, offset=first.offset, module=first.module)
        if self.command:
            self.know(task=self.command)
        if self.kind == 'hung':
            self._waits()
        if self.link and self.trace and not any(self.link.function + '+' in entry for entry in self.trace[:2]):
            self.trace.insert(1, self.link.printed)
        fatal = self.fatal or not (self.headers or self.cut_here)
        nameless = unavailable('the kernel could not name it' if self.pointer_seen else LOST)
        result = {'kind': self.kind or ('oops' if fatal else 'warning'), 'trace': self.trace,
                  'time': unavailable(LOST) if self.when is None else self.when}  # type: Dict[str, Any]
        for key in ('cause', 'task', 'pid', 'taint'):
            result[key] = self.facts.get(key, unavailable(LOST))
        for key in ('function', 'offset', 'module'):
            result[key] = self.facts.get(key, nameless)
        result.update((key, self.facts[key]) for key in FURTHER if self.facts.get(key) not in (None, ''))
        if 'pc' in result and result['pc'] == result.get('address') and result['kind'] == 'oops':
            result['freed_code'] = True
        return result

    def _waits(self):
        # type: () -> None
        """Of a task that hangs the trace is all that tells where."""
        self.know(module=CORE_KERNEL)
        sure = [place.function for place in self.places if not place.printed.startswith('?')]
        waits_in = next((function for function in sure if not function.startswith(SCHEDULER)), None)
        self.know(waits_in=waits_in or (sure[0] if sure else None))

    def know_address(self, text, *marks):
        # type: (str, *str) -> None
        """The address that a cause names behind one of the marks, if it names one."""
        address = address_in(text, marks)
        if address is not None:
            self.know(address=address)
