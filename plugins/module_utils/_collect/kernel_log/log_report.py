# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One report of the kernel log while its lines come in: see :mod:`oops`."""

from typing import TYPE_CHECKING, List, Optional, Set

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log.log_lines import (
    CORE_KERNEL,
    Place,
    modules_linked_in,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Oops

if TYPE_CHECKING:
    from typing_extensions import Unpack

LOST = 'the kernel log has lost this line'
# Where the kernel's own addresses begin, on x86-64 and AArch64: a call of a null pointer ran no code that was freed.
KERNEL_HALF = 1 << 63
# Frames of waiting itself.
SCHEDULER = ('__switch_to', 'context_switch', '__schedule', 'schedule', 'io_schedule', 'preempt_schedule',
             '__mutex_lock', 'mutex_lock', '__ww_mutex_lock', '__down', 'down', 'rwsem_down', '__rwsem', 'rt_mutex',
             '__rt_mutex', 'percpu_rwsem_wait', '__percpu', 'wait_for_completion', '__wait_for_common',
             'wait_for_common', 'do_wait_for_common', '__wait_on_bit', 'bit_wait', 'out_of_line_wait_on_bit',
             '__wait_rcu_gp')


class Report:
    """One oops or warning while its lines come in. What is known is written once: a later line never overrides it."""

    def __init__(self, when: Optional[float], kind: str = '') -> None:
        self.when = when
        self.facts: Oops = {}
        self.headers: Set[str] = set()
        self.note = ''
        self.fatal = False
        self.cut_here = False
        self.ended = False
        self.pointer_seen = False
        self.tracing = False
        self.kind = kind
        self.on_cpu = False  # the line with its CPU, task and taint was there
        self.modules: List[str] = []
        self.listing = False
        self.listing_cut = False
        self.code_of: List[str] = []
        self.trace: List[str] = []
        self.places: List[Place] = []
        self.in_trace: List[Place] = []
        self.link: Optional[Place] = None

    def know(self, **facts: 'Unpack[Oops]') -> None:
        """An empty text tells nothing, but of module and taint."""
        for key in ('cause', 'task', 'work_of', 'last_unloaded'):
            if key in facts and facts[key] == '':
                del facts[key]
        self.facts = {**self.facts, **facts, **self.facts}

    def know_address(self, address: Optional[int]) -> None:
        if address is not None:
            self.know(address=address)

    def know_taint(self, letters: Optional[str]) -> None:
        if letters is not None:
            self.know(taint=letters)

    def know_place(self, place: Optional[Place]) -> None:
        if place:
            self.know(function=place.function, offset=place.offset, module=place.module)

    @property
    def identified(self) -> bool:
        """Past its headers: whatever announces a fault now announces another one."""
        return self.on_cpu or self.pointer_seen or bool(self.trace or self.kind)

    @property
    def credible(self) -> bool:
        """A register dump without a header is an oops whose beginning is lost only if it ends as one."""
        return bool(self.headers or self.kind) or (self.cut_here and self.identified) or (
            self.pointer_seen and self.ended)

    def result(self) -> Oops:
        if 'module' not in self.facts and self.in_trace:
            self.know_place(self.in_trace[0])
        if self.kind == 'hung':
            self._waits()
        if self.link and self.trace and not any(self.link.function + '+' in entry for entry in self.trace[:2]):
            self.trace.insert(1, self.link.printed)
        fatal = self.fatal or not (self.headers or self.cut_here)
        nameless = unavailable('the kernel could not name it' if self.pointer_seen else LOST)
        self._linked()
        result: Oops = {
            'kind': self.kind or ('oops' if fatal else 'warning'), 'trace': self.trace,
            'time': unavailable(LOST) if self.when is None else self.when, 'cause': unavailable(LOST),
            'task': unavailable(LOST), 'pid': unavailable(LOST), 'taint': unavailable(LOST),
            'function': nameless, 'offset': nameless, 'module': nameless, **self.facts}
        if self.code_of and self.pointer_seen:
            result['code_of'] = self.code_of
        if KERNEL_HALF <= result.get('pc', 0) == result.get('address') and result['kind'] == 'oops':
            result['freed_code'] = True
        return result

    def _linked(self) -> None:
        """Which modules came and went: only where the whole list is there, since one that is not on it may have."""
        if not self.modules:
            return
        listed = modules_linked_in(''.join(self.modules))
        self.know(last_unloaded=listed.last_unloaded)
        if not self.listing_cut:
            mine = {place.module for place in self.in_trace} | {self.facts.get('module')}
            self.know(loading=listed.loading, unloading=listed.unloading,
                      settled=sorted(name for name in listed.settled if name in mine))

    def _waits(self) -> None:
        """Of a task that hangs the trace is all that tells where."""
        self.know(module=CORE_KERNEL)
        sure = [place.function for place in self.places if not place.printed.startswith('?')]
        waits_in = next((function for function in sure if not function.startswith(SCHEDULER)), None)
        if sure:
            self.know(waits_in=waits_in or sure[0])
