# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module has registered with the kernel, which calls it there: devices, timers, interrupts, notifiers and more.

From kernel memory (:mod:`callbacks`) where a registered struct, or a pointer in it, lies in the module's memory; from
/proc/timer_list and /sys/module, which print the module's name. What cannot be seen is said, each kind by itself.
"""

import bisect
import os
import re
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Union

from ansible_collections.kernelops.kmod.plugins.module_utils import _types
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import callbacks
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover, Ranges, Registered

# Where an entry points, its number among those of its kind, which of its pointers that is, and that pointer's name.
Pointer = Tuple[int, int, int, str, callbacks.Entry]

HIGH_RESOLUTION_TIMER = re.compile(r'^ #\d+: [^,]*, (\S+?)(?: \[(\S+?)[\] ][^,]*)?, S:', re.MULTILINE)


class Registrations:
    """Reads each kind once for any number of modules."""

    def __init__(self, root: str = '/', memory: Optional[KernelMemory] = None,
                 symbols: Optional[Symbols] = None) -> None:
        self._root = root
        self._symbols = symbols or Symbols(root)
        self._callbacks = callbacks.Callbacks(root, memory or KernelMemory(root), self._symbols)
        self._pointers: Dict[str, Union[List[Pointer], str]] = {}
        self._timer_functions: Optional[List[Tuple[str, str]]] = None

    def of(self, name: str, ranges: Ranges) -> _types.Registrations:
        """What module ``name``, whose memory is ``ranges``, has registered, and what cannot be seen.

        ``found``: entries of kind (``misc device``), what (``/dev/foo``) and evidence (a member and where it points);
        ``unseen``: sentences on what could not be read; ``blind``: why nothing
        at all of the kernel's lists could be read, or an empty text.
        """
        found: List[Registered] = []
        leftovers: List[Leftover] = []
        lost: Dict[str, List[str]] = {}
        for kind, read in self._callbacks.kinds.items():
            pointers = self._read(kind, read)
            if isinstance(pointers, str):
                lost.setdefault(pointers, []).append(kind)
            elif not ranges:
                lost.setdefault('where the memory of the module lies is not known', []).append(kind)
            else:
                matches = self._matches(kind, pointers, name, ranges)
                found += _told(match for match, _entry in matches)
                leftovers += [_leftover(match, entry.undo) for match, entry in matches if entry.undo]
        blind = '; '.join(lost) if sum(map(len, lost.values())) == len(self._callbacks.kinds) else ''
        for kind, look in (('high-resolution timer', self._high_resolution_timers), ('driver', self._drivers)):
            try:
                found += look(name)
            except OSError as error:
                lost.setdefault(f'{error.filename}: {error.strerror}', []).append(kind)
        unseen = ['{}: {}'.format(', '.join(f'{kind}s' for kind in kinds), why) for why, kinds in lost.items()]
        return {'found': found, 'leftovers': leftovers, 'unseen': unseen, 'blind': blind}

    def _read(self, kind: str, read: Callable[[], Iterator[callbacks.Entry]]) -> Union[List[Pointer], str]:
        """The pointers of a kind's entries in the order of where they point, or why there are none."""
        if kind not in self._pointers:
            try:
                self._pointers[kind] = kernel_lists.again(lambda: sorted(
                    ((address, number, order, member, entry) for number, entry in enumerate(read())
                     for order, (member, address) in enumerate(entry.pointers)), key=lambda pointer: pointer[:3]))
            except KmodError as error:
                self._pointers[kind] = str(error)
        return self._pointers[kind]

    def _matches(self, kind: str, pointers: List[Pointer], name: str,
                 ranges: Ranges) -> List[Tuple[Registered, callbacks.Entry]]:
        first: Dict[int, Tuple[int, str, int, callbacks.Entry]] = {}
        for start, end in ranges:
            for at in range(bisect.bisect_left(pointers, (start,)), len(pointers)):
                address, number, order, member, entry = pointers[at]
                if address >= end:
                    break
                if number not in first or order < first[number][0]:
                    first[number] = (order, member, address, entry)
        found: List[Tuple[Registered, callbacks.Entry]] = []
        for number in sorted(first):
            _order, member, address, entry = first[number]
            where = self._symbols.within(name, address)
            what = entry.what()
            if kind in ('timer', 'notifier'):
                # Neither has a name of its own: that of its function serves.
                what = f'{where} {what}'.strip()
            found.append(({'kind': kind, 'what': what, 'evidence': f'{member} is {where}'}, entry))
        return found

    def _high_resolution_timers(self, name: str) -> List[Registered]:
        """Lines of /proc/timer_list: `` #2: <0000000000000000>, f_tick [foo], S:01``; without the module up to 5.10."""
        if self._timer_functions is None:
            with open(os.path.join(self._root, 'proc/timer_list'), errors='replace') as stream:
                self._timer_functions = sorted(set(HIGH_RESOLUTION_TIMER.findall(stream.read())))
        own = [function for function, module in self._timer_functions
               if module == name or (not module and self._is_only_of(function, name))]
        return [{'kind': 'high-resolution timer', 'what': function, 'evidence': '/proc/timer_list'} for function in own]

    def _is_only_of(self, function: str, name: str) -> bool:
        try:
            return self._symbols.is_only_of(function, name)
        except KmodError:
            return False

    def _drivers(self, name: str) -> List[Registered]:
        """The links in /sys/module/NAME/drivers, such as ``platform:foo``."""
        directory = os.path.join(self._root, 'sys/module', name, 'drivers')
        if not os.path.isdir(directory):
            return []
        return [{'kind': 'driver', 'what': driver, 'evidence': f'/sys/module/{name}/drivers'}
                for driver in sorted(os.listdir(directory))]


def _told(found: Iterable[Registered]) -> List[Registered]:
    """Each once: a device of several numbers, a timer that was met twice."""
    told: List[Registered] = []
    for one in found:
        if one not in told:
            told.append(one)
    return told


def _leftover(found: Registered, undo: callbacks.Undo) -> Leftover:
    return {'kind': undo.kind, 'what': '{kind} {what}'.format(**found), 'address': undo.address, 'other': undo.other,
            'more': 0, 'proof': undo.proof}
