# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what leads into a module is of that module: what another made may have been changed to call this one."""

import contextlib
from typing import Callable, List, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import Known
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import page_frames, slab
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover

# Their address is that of a struct that whoever registered it had made.
STRUCTS = frozenset((
    'timer', 'hrtimer', 'delayed_work', 'work', 'kprobe', 'kretprobe', 'ftrace', 'netfilter', 'packet', 'misc', 'cdev',
    'netdevice_notifier', 'atomic_notifier', 'blocking_notifier', 'netdev', 'driver', 'bus', 'filesystem'))


class Owned:
    """Answers for each leftover."""

    def __init__(self, memory: KernelMemory, offsets: Callable[[], List[int]]) -> None:
        """``offsets`` gives what is added to an address of data of each processor, or raises KmodError."""
        self._memory, self._offsets = memory, offsets
        self._physical: Optional[page_frames.PhysicalMemory] = None

    def has(self, known: Known, one: Leftover) -> bool:
        """What lies in memory that was asked for is its own where it keeps a pointer to that, or is named as the owner:
        another's functions may have been exchanged for its own, and what frees itself may be something else by now.
        """
        if one['kind'] not in STRUCTS or known.has(one['address']):
            return True
        try:
            self._physical = physical = self._physical or page_frames.PhysicalMemory(self._memory)
            if physical.frame(one['address']) is None:
                return False
            return self._is_named(known, one) or (
                self._is_kept(known, one['address'], physical) and not self._is_anothers(known, one))
        except KmodError:
            return False

    def _member(self, one: Leftover, name: str, member: str) -> int:
        return self._memory.kcore.u64(one['address'] + self._memory.btf.offset(name, member))

    def _is_named(self, known: Known, one: Leftover) -> bool:
        return one['kind'] == 'cdev' and self._member(one, 'cdev', 'owner') == known.address

    def _is_anothers(self, known: Known, one: Leftover) -> bool:
        """A network device of a kind that users make by `ip link add`."""
        made_by = self._member(one, 'net_device', 'rtnl_link_ops') if one['kind'] == 'netdev' else 0
        return bool(made_by) and not known.has(made_by)

    def _is_kept(self, known: Known, address: int, physical: page_frames.PhysicalMemory) -> bool:
        """Whether the module has a pointer into the object that it lies in."""
        first = address
        with contextlib.suppress(KmodError):
            found = slab.Slabs(self._memory, physical, self._offsets).object_at(address)
            first = found.start if found else address
        return any(first <= word <= address for _place, word in known.words(self._memory.kcore))
