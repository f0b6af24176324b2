# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches of memory for what leads into modules, each module's once, within one time."""

import time
from typing import Dict, Iterable, List, Optional, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_table, reachability, struct_module
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.bookkeeping import Loaded
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.task_structs import Lookup
from ansible_collections.kernelops.kmod.plugins.module_utils._types import ModuleTable, Reachability, Unavailable


class MemorySearch:
    """Of the modules in ``table``; ``reached`` is what others told before, ``until`` when all has to end."""

    def __init__(self, table: ModuleTable, memory: KernelMemory, symbols: Symbols, lookup: Lookup,
                 reached: Optional[Dict[str, Reachability]], until: float) -> None:
        self._table, self._memory, self._symbols, self._lookup, self._until = table, memory, symbols, lookup, until
        self.reached = dict(reached or {})
        self._read: Optional[Dict[str, Loaded]] = None
        self._why: Dict[str, Union[str, Unavailable]] = {}  # it is not known where a module is

    def of(self, names: Iterable[str]) -> Dict[str, Reachability]:
        """What :func:`reachability.find` tells of each, by one search for those that it was not asked of before."""
        unknown = sorted({each for each in names if each not in self.reached})
        wanted = [each for each in unknown if each in self.loaded]
        self.reached.update((each, not_searched(self._why.get(each, 'it is not loaded'))) for each in unknown)
        if wanted:
            self.reached.update(reachability.find(wanted, list(self.loaded.values()), self._memory, self._symbols,
                                                  self._lookup, self._until - time.monotonic()))
        return {each: self.reached[each] for each in names}

    @property
    def loaded(self) -> Dict[str, Loaded]:
        """The modules of which it is known where they are."""
        if self._read is None:
            self._read = {}
            for name in self._table['modules']:
                address = module_table.struct_address(name, self._memory.root)
                ranges = struct_module.ranges(address, self._memory)
                if is_unavailable(ranges) or is_unavailable(address):
                    self._why[name] = ranges if is_unavailable(ranges) else 'where it is is not known'
                else:
                    self._read[name] = Loaded(name, address, ranges)
        return self._read

    def module_at(self, address: int) -> str:
        """The module in whose memory an address lies; empty where it lies in none."""
        return next((name for name, one in self.loaded.items()
                     if any(start <= address < end for start, end in one.ranges)), '')

    def holders(self, addresses: List[int]) -> Dict[int, List[int]]:
        """See :func:`reachability.holders`."""
        return reachability.holders(addresses, list(self.loaded.values()), self._memory, self._symbols, self._lookup,
                                    self._until - time.monotonic())


def not_searched(why: Union[str, Unavailable]) -> Reachability:
    """The reachability of a module into which no pointers were searched for."""
    reason = why['unavailable'] if is_unavailable(why) else why
    return {'answer': 'unknown', 'reason': f'memory was not searched for pointers into it: {reason}', 'hits': [],
            'count': 0, 'bytes': 0, 'seconds': 0.0}
