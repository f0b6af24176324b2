# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module that died left registered, each with the function of the kernel that takes it back.

What stands on a list is told by :mod:`registrations`; here what is told by a pointer that was found
(:mod:`reachability`), what hooks of the kernel lead to, what the module has in its own memory or keeps a pointer to.
"""

from typing import Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers import hooks, kept, of_hits, queued
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import Known
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists, task_structs
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover

# In this order they are taken back: what calls the module, what is found by its name, what holds others.
ORDER = ('thread', 'timer', 'hrtimer', 'delayed_work', 'work', 'interrupt', 'kprobe', 'kretprobe', 'tracepoint',
         'ftrace', 'netfilter', 'packet', 'netdevice_notifier', 'atomic_notifier', 'blocking_notifier', 'netdev',
         'driver', 'device', 'misc', 'cdev', 'class', 'filesystem', 'sysctl', 'proc', 'debugfs', 'sysfs_file',
         'kobject')


def find(known: Known, listed: List[Leftover], memory: KernelMemory, symbols: Symbols,
         lookup: Callable[[str], Optional[int]], holders: kept.Holders) -> List[Leftover]:
    """What a module has left, in the order in which it is to be taken back; ``listed`` is what is known already.

    ``lookup`` gives the address of a datum of the kernel, ``holders`` where in memory addresses stand. A kind that this
    kernel keeps in another way costs that kind.
    """
    def threads() -> Dict[int, int]:
        return {task.kthread: task.pid for task in task_structs.Tasks(memory, lookup).all() if task.kthread}

    called, timed = hooks.Hooks(memory, symbols), queued.Queued(memory, symbols)
    readers: List[Callable[[Known], Iterator[Leftover]]] = [
        of_hits.OfHits(memory, symbols, threads).of, called.packets, called.netfilter, called.tracepoints,
        called.ftrace, timed.delayed_works, timed.works, timed.high_resolution_timers,
        kept.Kept(memory, symbols, holders).of]
    found = list(listed)
    for read in readers:
        try:
            found += kernel_lists.again(_walk(read, known))
        except KmodError:
            continue
    return _in_order(found)


def _walk(read: Callable[[Known], Iterator[Leftover]], known: Known) -> Callable[[], List[Leftover]]:
    return lambda: list(read(known))


def _in_order(leftovers: Iterable[Leftover]) -> List[Leftover]:
    """Each once, in the order in which they are to be taken back."""
    found: Dict[Tuple[str, int, int], Leftover] = {}
    for one in leftovers:
        found.setdefault((one['kind'], one['address'], one['other']), one)
    delayed = {one['address'] for one in found.values() if one['kind'] == 'delayed_work'}
    # A delayed work that waits is known by its timer as well.
    return sorted((one for one in found.values() if one['kind'] != 'work' or one['address'] not in delayed),
                  key=lambda one: ORDER.index(one['kind']))
