# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is known of one module, from every reader that its state calls for. Dear readers are asked last."""

import os
import time
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._collect import (
    loader_data,
    memory_search,
    module_table,
    module_tasks,
    registrations,
    running_kernel,
    struct_module,
    task_scan,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import bound_devices, find_holders
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import attribution, log_source, oops
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers import find_leftovers
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import Known
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import (
    Anchors,
    Fact,
    Holder,
    Holders,
    Kernel,
    Leftover,
    ModuleEntry,
    ModuleFacts,
    Oops,
    Reachability,
    Registered,
    Registrations,
    T,
    Task,
    Tasks,
    TypedDict,
    Unavailable,
    by_kind,
)

ALL, NEEDED, BRIEF, FREED = 'all', 'needed', 'brief', 'freed'
# Modules that use another, below each other, whose facts are read.
MOST_DEPENDENTS = 64
# Modules that one uses whose holders are looked for.
MOST_BELOW = 8
# The part of the time by which the search for pointers into modules has ended: what it found is still to be named.
SEARCHING = 0.8


class _Told(TypedDict):
    """What the kernel log tells, and why it may lack some."""

    believed: List[Oops]
    lost: List[str]


class Survey:
    """Readers that share what they read: each source is read at most once, and only where a fact needs it."""

    def __init__(self, root: str = '/', kernel: Optional[Kernel] = None, timeout: float = 30.0,
                 reached: Optional[Dict[str, Reachability]] = None) -> None:
        """``timeout``: seconds that all of it may take. It is kept by whoever asks, and bounds the search of memory.

        ``reached``: what :meth:`search` told of modules, of which memory is not searched again.
        """
        self.root = root
        self.table = module_table.read(root)
        self.release = kernel['release'] if kernel else os.uname().release
        self.symbols, self.memory = Symbols(root), KernelMemory(root)
        self._seen: Optional[task_scan.Scan] = None
        self._registered: Optional[registrations.Registrations] = None
        self._memory_search = memory_search.MemorySearch(
            self.table, self.memory, self.symbols, self._address, reached, time.monotonic() + SEARCHING * timeout)
        self._known: Dict[str, Any] = {'kernel': kernel} if kernel else {}

    def __enter__(self) -> 'Survey':
        return self

    def __exit__(self, *_exception: object) -> None:
        self.memory.close()

    def module(self, name: str, depth: str = NEEDED) -> ModuleFacts:
        """The facts that :mod:`diagnose` judges. What was not asked for is empty; what cannot be had says why.

        ``depth``: ALL there is; what is NEEDED, where a live module that nothing holds back is looked at no closer;
        that without the search for holders of a live module, which takes tenths of a second (BRIEF); or ALL of a module
        that is to be FREED without its exit.

        Keys: name, kernel, module (its line in the table), live (struct module), cleanup_module (address), exit_offsets
        (where a lost exit is), tasks, loader_tasks, namespace (why not all tasks are seen), spinning, holders,
        holders_below (of the modules that it uses, where a task waits in its init or exit), oopses, oopses_lost,
        reachability, registrations (of a module whose exit cannot run, ran half way, or is not to run).
        """
        return self.modules([name], depth)[name]

    def modules(self, names: Iterable[str], depth: str = NEEDED) -> Dict[str, ModuleFacts]:
        """:meth:`module` of each. Memory is searched once for all of those that it matters of."""
        found = {name: self._module(name, depth) for name in names}
        wanted = [name for name, facts in found.items() if _asks_who_points_there(facts, depth)]
        for name, answer in self.search(wanted).items():
            found[name]['reachability'] = _with_registered(answer, found[name]['registrations']['found'])
        return {name: {**facts, 'kernel': self.kernel} for name, facts in found.items()}

    def _module(self, name: str, depth: str) -> ModuleFacts:
        entry = module_table.module(name, self.release, self.root, self.table)
        facts: ModuleFacts = {
            'name': name, 'module': entry, 'live': unavailable(f'{name} is not loaded'),
            'cleanup_module': None, 'exit_offsets': unavailable('its exit is not lost'),
            'tasks': _no_tasks(), 'loader_tasks': _no_tasks(), 'namespace': '', 'spinning': [], 'holders': {},
            'holders_below': {}, 'oopses': [], 'oopses_lost': [],
            'reachability': memory_search.not_searched('nothing depends on it'),
            'registrations': {'found': [], 'leftovers': [], 'unseen': [], 'blind': ''},
        }
        if entry['state'] in ('absent', 'builtin'):
            return facts
        facts['live'] = struct_module.read(entry['struct_address'], name, self.root, self.memory)
        if is_unavailable(entry['refcount']):
            return facts
        is_live = entry['state'] == 'live'
        facts = {**facts, 'tasks': self.tasks(name), 'loader_tasks': self.loader_tasks, 'namespace': self.namespace,
                 'oopses': self.oopses, 'oopses_lost': self.oopses_lost}
        if is_live and not entry['permanent'] and depth == BRIEF:
            # An idle one needs no search: a device of it that is up is told where it is asked for by name.
            return facts if module_table.is_idle(entry) else {
                **facts, 'holders': unavailable(f'not looked for: ask for {name} by name')}
        if not is_live or entry['permanent'] or depth == FREED:
            facts['registrations'] = self._registrations(entry)
        if not is_live:
            facts['spinning'] = self.spinning
        cleanup = self._cleanup_module(name) if is_live or entry['permanent'] else None
        facts['cleanup_module'] = cleanup
        if entry['permanent'] and isinstance(cleanup, int) and isinstance(entry['struct_address'], int):
            facts['exit_offsets'] = struct_module.exit_offsets(entry['struct_address'], cleanup, self.memory)
        facts['holders'] = self._holders(entry)
        if any(task['module'] in (name, None) for task in facts['loader_tasks']['tasks']):
            facts['holders_below'] = self._holders_below(name)
        return facts

    def with_anchors(self, names: Iterable[str], depth: str = NEEDED, *,
                     leftovers: bool = False) -> Dict[str, ModuleFacts]:
        """:meth:`modules` and, under ``anchors`` of each, what it takes to reset it, if need be.

        Its ``leftovers`` are read where that is asked for: memory is searched for who else has them.
        """
        found = self.modules(names, depth)
        left = self._leftovers(found) if leftovers else {}
        for name, facts in found.items():
            facts['anchors'] = self.anchors() if _may_be_reset(facts['module'], depth) else {}
            facts['registrations']['leftovers'] = left.get(name, [])
        return found

    def dependents(self, users: List[str]) -> Dict[str, ModuleFacts]:
        """The facts of the modules that use another, and of those that use them: each must go before it."""
        found: Dict[str, ModuleFacts] = {}
        left: List[str] = list(users)
        while left and len(found) < MOST_DEPENDENTS:
            above = self.modules(left[:MOST_DEPENDENTS - len(found)], ALL)
            found.update(above)
            left = [user for facts in above.values() for user in facts['module'].get('used_by', [])
                    if user not in found]
        return found

    def _holders(self, entry: ModuleEntry) -> Holders:
        name = entry['name']
        found = find_holders.find(
            name, entry['struct_address'], self.root, self.memory, symbols=self._address,
            ranges=struct_module.ranges(entry['struct_address'], self.memory),
            aliases=lambda: module_table.aliases(name, self.release, self.root))
        return {**found, 'devices': bound_devices.find(name, self.root)}

    def search(self, names: Iterable[str]) -> Dict[str, Reachability]:
        """See :meth:`memory_search.MemorySearch.of`."""
        return self._memory_search.of(names)

    @property
    def reached(self) -> Dict[str, Reachability]:
        """What the searches of memory told by now."""
        return self._memory_search.reached

    def _holders_below(self, name: str) -> Holders:
        """Who holds the modules that this one uses: what its init or exit waits for may be theirs."""
        below = sorted(entry['name'] for entry in self.table['modules'].values() if name in entry['used_by'])
        found: List[Holder] = []
        for other in below[:MOST_BELOW]:
            entry = module_table.module(other, self.release, self.root, self.table)
            found += _counted(self._holders(entry))
        return {'others': found}

    @property
    def kernel(self) -> Kernel:
        """What :func:`running_kernel.read` tells."""
        return self._once('kernel', lambda: running_kernel.read(self.root))

    def tasks(self, name: str) -> Tasks:
        """The tasks in the code of a module."""
        return self._once('tasks in ' + name, lambda: module_tasks.in_module_code(name, self.root, self._scan()))

    @property
    def loader_tasks(self) -> Tasks:
        """The tasks inside the loader's system calls."""
        return self._once('loader_tasks', lambda: module_tasks.in_loader(self.root, self._scan()))

    @property
    def namespace(self) -> str:
        """Why not every task of the host is seen from here; mostly an empty text."""
        return self._once('namespace', lambda: module_tasks.other_namespace(self.root))

    @property
    def spinning(self) -> Fact[List[Task]]:
        """The tasks that spin in the kernel."""
        return self._once('spinning', lambda: module_tasks.spinning(self.root, seen=self._scan()))

    @property
    def oopses(self) -> Fact[List[Oops]]:
        """What the kernel log shows to have died or hung, as far as the kernel's own evidence bears it out.

        ``task_gone``: whoever died is no longer there.
        """
        told = self._once('oopses', self._read_oopses)
        return told if is_unavailable(told) else told['believed']

    @property
    def oopses_lost(self) -> List[str]:
        """Why the log may lack an oops that there was: a sentence each."""
        told = self._once('oopses', self._read_oopses)
        return [] if is_unavailable(told) else list(told['lost'])

    def _once(self, what: str, read: Callable[[], T]) -> T:
        if what not in self._known:
            self._known[what] = read()
        known: T = self._known[what]
        return known

    def _scan(self) -> task_scan.Scan:
        """One pass over all tasks (:class:`task_scan.Scan`)."""
        if self._seen is None:
            self._seen = task_scan.scan(self.root)
        return self._seen

    def _read_oopses(self) -> Fact[_Told]:
        lines = log_source.read(self.root, from_alarm=True)
        if is_unavailable(lines):
            return lines
        entries: List[Oops] = [{**entry, 'task_gone': child_process.is_gone(entry['pid'], entry['time'], self.root)}
                               for entry in attribution.attributions(oops.oopses(lines))]
        taint = self.kernel.get('taint') or unavailable('not read')
        believed, lost = attribution.believed(entries, taint if is_unavailable(taint) else taint['flags'],
                                              self.kernel.get('oops_count'))
        return {'believed': believed, 'lost': lost}

    def running_loads(self) -> Tuple[bool, Fact[int]]:
        """What :func:`loader_data.running_loads` tells.

        The count needs the symbol table, so it is made only where the log shows an oops; otherwise it is unavailable.
        """
        if not loader_data.has_running_loads(self.memory):
            return False, unavailable('this kernel has no such table')
        if is_unavailable(self.oopses) or not self.oopses:
            return True, unavailable('not counted: the kernel log shows no oops')
        return True, loader_data.running_loads(self.symbols, self.memory)

    def _registrations(self, entry: ModuleEntry) -> Registrations:
        """What the kernel may call of a module, and the devices that it serves."""
        if self._registered is None:
            self._registered = registrations.Registrations(self.root, self.memory, self.symbols)
        name, unknown = entry['name'], []
        ranges = struct_module.ranges(entry['struct_address'], self.memory)
        if is_unavailable(ranges):
            unknown = ['what lies in the data of {}: {}'.format(name, ranges['unavailable'])]
            # Before 6.4 all of its code and data; since then its code alone.
            ranges = [(entry['address'], entry['address'] + entry['size'])] if entry['address'] else []
        registered = self._registered.of(name, ranges)
        devices = bound_devices.find(name, self.root)
        if is_unavailable(devices):
            unknown.append('devices: {}'.format(devices['unavailable']))
            devices = []
        found: List[Registered] = [
            {'kind': 'device', 'what': device['what'] if is_unavailable(device['path']) else device['path'],
             'evidence': device['evidence']} for device in devices]
        return {**registered, 'found': registered['found'] + found, 'unseen': unknown + registered['unseen']}

    def _leftovers(self, modules: Dict[str, ModuleFacts]) -> Dict[str, List[Leftover]]:
        """What of those that died the kernel's own functions take back."""
        died: Dict[str, Tuple[Known, List[Leftover]]] = {}
        for name, facts in modules.items():
            one = self._memory_search.loaded.get(name) if name in self.reached else None
            if one and facts['module']['state'] in ('coming', 'going'):
                hits = facts['reachability']['hits']
                died[name] = Known(name, one.address, one.ranges, hits), facts['registrations']['leftovers']
        return find_leftovers.find(died, self.memory, self.symbols, self._address, self._memory_search.holders,
                                   self._memory_search.module_at) if died else {}

    def _address(self, name: str) -> Optional[int]:
        try:
            return loader_data.address(name, self.symbols, self.memory)
        except KmodError:
            return None

    def _cleanup_module(self, name: str) -> Union[int, Unavailable, None]:
        try:
            return self.symbols.address('cleanup_module', name)
        except KmodError as error:
            return unavailable(error)

    def anchors(self) -> Fact[Anchors]:
        """What :func:`loader_data.anchors` tells."""
        try:
            return loader_data.anchors(self.symbols, self.memory)
        except KmodError as error:
            return unavailable(error)


def _no_tasks() -> Tasks:
    return {'tasks': [], 'unreadable': []}


def _with_registered(reached: Reachability, found: List[Registered]) -> Reachability:
    """What is registered can be reached, also where no word of it was met: a timer may never be in one place."""
    if reached['answer'] != 'unreachable' or not found:
        return reached
    return {**reached, 'answer': 'reachable', 'reason': '{kind} {what} is registered: {evidence}'.format(**found[0])}


def _asks_who_points_there(facts: ModuleFacts, depth: str) -> bool:
    entry = facts['module']
    if not _is_loaded(entry):
        return False
    if depth == BRIEF and entry['state'] == 'live' and not entry['permanent']:
        return False
    return depth == FREED or _may_be_freed(facts)


def _may_be_reset(entry: ModuleEntry, depth: str) -> bool:
    return _is_loaded(entry) and (depth in (ALL, FREED) or not module_table.is_idle(entry))


def _is_loaded(entry: ModuleEntry) -> bool:
    """Whether a module is there that this kernel can unload at all."""
    return entry['state'] not in ('absent', 'builtin') and not is_unavailable(entry['refcount'])


def _may_be_freed(facts: ModuleFacts) -> bool:
    """Whether it matters who points into a module: nobody is known to be in it, or to hold it, and it will not go."""
    entry, holders = facts['module'], facts['holders']
    if entry['state'] == 'live' and not entry['permanent']:
        return bool(entry['refcount']) and not entry['used_by'] and not _counted(holders)
    return not any(task['module'] == entry['name'] for task in facts['loader_tasks']['tasks'])


def _counted(holders: Fact[Holders]) -> List[Holder]:
    """Those that hold a reference."""
    kinds = [] if is_unavailable(holders) else by_kind(holders)
    return [holder for _kind, found in kinds if not is_unavailable(found) for holder in found if holder['counts']]


def module(name: str, root: str = '/', kernel: Optional[Kernel] = None, depth: str = NEEDED,
           timeout: float = 30.0, reached: Optional[Dict[str, Reachability]] = None, *,
           leftovers: bool = False) -> ModuleFacts:
    """:meth:`Survey.with_anchors` of this host."""
    with Survey(root, kernel, timeout, reached) as survey:
        return survey.with_anchors([name], depth, leftovers=leftovers)[name]


def search(names: List[str], timeout: float) -> Dict[str, Reachability]:
    """:meth:`Survey.search` as it is now."""
    with Survey(timeout=timeout) as survey:
        return survey.search(names)


def dependents(users: List[str], kernel: Optional[Kernel]) -> Dict[str, ModuleFacts]:
    """:meth:`Survey.dependents` of this host."""
    with Survey('/', kernel) as survey:
        return survey.dependents(users)
