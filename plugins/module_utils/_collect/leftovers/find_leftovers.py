# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module that died left registered, each with the function of the kernel that takes it back.

What stands on a list is told by :mod:`registrations`; here what is told by a pointer that was found
(:mod:`reachability`), what hooks of the kernel lead to, what the module has in its own memory or keeps a pointer to.
"""

import contextlib
from typing import Callable, Dict, Iterable, List, Optional, Tuple, TypeVar

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers import hooks, kept, of_hits, queued
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.driver_core import DriverCore
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import Known
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.owned import Owned
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists, task_structs
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover

T = TypeVar('T')

# In this order they are taken back: what calls the module, what is found by its name, what holds others.
ORDER = ('thread', 'timer', 'hrtimer', 'delayed_work', 'work', 'workqueue', 'interrupt', 'kprobe', 'kretprobe',
         'tracepoint', 'ftrace', 'netfilter', 'packet', 'netdevice_notifier', 'atomic_notifier', 'blocking_notifier',
         'netdev', 'platform_device', 'driver', 'bus', 'device', 'misc', 'cdev', 'class', 'filesystem', 'sysctl',
         'proc', 'debugfs', 'sysfs_file', 'sysfs_group', 'kobject')


# Where in memory that is in use each of some addresses stands; raises KmodError where not all could be read.
Holders = Callable[[List[int]], Dict[int, List[int]]]


def find(modules: Dict[str, Tuple[Known, List[Leftover]]], memory: KernelMemory, symbols: Symbols,
         lookup: Callable[[str], Optional[int]], holders: Holders,
         module_at: Callable[[int], str]) -> Dict[str, List[Leftover]]:
    """What each module has left, in the order in which it is to be taken back; of each also what is known already.

    ``lookup`` gives the address of a datum of the kernel, ``holders`` who has some addresses: it is asked once for all,
    ``module_at`` in whose memory an address lies. A kind that this kernel keeps in another way costs that kind.
    """
    def threads() -> Dict[int, task_structs.Task]:
        return {task.kthread: task for task in task_structs.Tasks(memory, lookup).all() if task.kthread}

    called, timed, core = hooks.Hooks(memory, symbols), queued.Queued(memory, symbols), DriverCore(memory, symbols)
    keeps = kept.Kept(memory, symbols, core, timed)
    readers: List[Callable[[Known], Iterable[Leftover]]] = [
        of_hits.OfHits(memory, symbols, threads).of, called.packets, called.netfilter, called.tracepoints,
        called.ftrace, timed.delayed_works, timed.works, timed.high_resolution_timers, core.buses]
    owned = Owned(memory, lambda: memory.cpu_offsets(symbols.data('__per_cpu_offset')[0]))
    found = {name: [one for one in (*listed, *_read(readers, known)) if owned.has(known, one)]
             for name, (known, listed) in modules.items()}
    may_be = {name: _read([keeps.of], known) for name, (known, _listed) in modules.items()}
    asked = {address for ones in may_be.values() for one in ones for address in one.addresses()}
    asked.update(one['more'] for ones in found.values() for one in ones if one['kind'] == 'thread')
    held: Optional[Dict[int, List[int]]] = None
    with contextlib.suppress(KmodError):
        held = holders(sorted(asked)) if asked else {}
    for name, (known, _listed) in modules.items():
        # Whoever else keeps a pointer to a thread has started it, and will stop it.
        found[name] = [one for one in found[name] if one['kind'] != 'thread' or (held is not None and all(
            module_at(place) in ('', name) for place in held[one['more']]))]
        if held is not None:
            found[name] += keeps.its_own(known, may_be[name], held)
    return {name: _in_order(ones) for name, ones in found.items()}


def _read(readers: Iterable[Callable[[Known], Iterable[T]]], known: Known) -> List[T]:
    found: List[T] = []
    for read in readers:
        with contextlib.suppress(KmodError):
            found += kernel_lists.again(_walk(read, known))
    return found


def _walk(read: Callable[[Known], Iterable[T]], known: Known) -> Callable[[], List[T]]:
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
