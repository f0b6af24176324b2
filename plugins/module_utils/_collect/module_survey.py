# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is known of one module, from every reader that its state calls for. Dear readers are asked last."""

import os
import struct
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect import (
    module_table,
    module_tasks,
    reachability,
    registrations,
    running_kernel,
    struct_module,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import bound_devices, find_holders
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import attribution, log_source, oops
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import bookkeeping, static_data
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols

# IDEM_HASH_BITS is 8 in kernel/module/main.c; a bucket is one pointer.
IDEM_BUCKETS = 256
IDEM_BYTES = IDEM_BUCKETS * 8
ALL, NEEDED, BRIEF, FREED = 'all', 'needed', 'brief', 'freed'
# Modules that use another, below each other, whose facts are read.
MOST_DEPENDENTS = 64
# Modules that one uses whose holders are looked for.
MOST_BELOW = 8
NO_TASKS: Dict[str, List[Any]] = {'tasks': [], 'unreadable': []}
# The part of the time that the search for pointers into modules may take.
SEARCHING = 0.8


class Survey:
    """Readers that share what they read: each source is read at most once, and only where a fact needs it."""

    def __init__(self, root: str = '/', kernel: Optional[Dict[str, Any]] = None, timeout: float = 30.0,
                 reached: Optional[Dict[str, Dict[str, Any]]] = None) -> None:
        """``timeout``: seconds that all of it may take. It is kept by whoever asks, and bounds the search of memory.

        ``reached``: what :meth:`search` told of modules, of which memory is not searched again.
        """
        self.root, self._patience = root, SEARCHING * timeout
        self.table = module_table.read(root)
        self.release = kernel['release'] if kernel else os.uname().release
        self._symbols: Any = None
        self._memory: Any = None
        self._seen: Any = None
        self._registered: Any = None
        self._reached = dict(reached or {})
        self._known: Dict[str, Any] = {'kernel': kernel} if kernel else {}

    def __enter__(self) -> 'Survey':
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._memory is not None:
            self._memory.close()

    def module(self, name: str, depth: str = NEEDED) -> Dict[str, Any]:
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

    def modules(self, names: Iterable[str], depth: str = NEEDED) -> Dict[str, Dict[str, Any]]:
        """:meth:`module` of each. Memory is searched once for all of those that it matters of."""
        found = {name: self._module(name, depth) for name in names}
        wanted = [name for name, facts in found.items() if _asks_who_points_there(facts, depth)]
        for name, answer in self.search(wanted).items():
            found[name]['reachability'] = _with_registered(answer, found[name]['registrations']['found'])
        return {name: dict(facts, kernel=self.kernel) for name, facts in found.items()}

    def _module(self, name: str, depth: str) -> Dict[str, Any]:
        entry = module_table.module(name, self.release, self.root, self.table)
        facts: Dict[str, Any] = {
            'name': name, 'module': entry, 'live': unavailable(f'{name} is not loaded'),
            'cleanup_module': None, 'exit_offsets': unavailable('its exit is not lost'),
            'tasks': dict(NO_TASKS), 'loader_tasks': dict(NO_TASKS), 'namespace': '', 'spinning': [], 'holders': {},
            'holders_below': {}, 'oopses': [], 'oopses_lost': [], 'reachability': not_searched('nothing depends on it'),
            'registrations': {'found': [], 'unseen': [], 'blind': ''},
        }
        if entry['state'] in ('absent', 'builtin'):
            return facts

        facts['live'] = struct_module.read(entry['struct_address'], name, self.root, self.memory)
        if is_unavailable(entry['refcount']):
            return facts
        is_live = entry['state'] == 'live'
        facts.update(tasks=self.tasks(name), loader_tasks=self.loader_tasks, namespace=self.namespace,
                     oopses=self.oopses, oopses_lost=self.oopses_lost)
        if is_live and not entry['permanent'] and depth == BRIEF:
            # An idle one needs no search: a device of it that is up is told where it is asked for by name.
            return facts if module_table.is_idle(entry) else dict(
                facts, holders=unavailable(f'not looked for: ask for {name} by name'))
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

    def with_anchors(self, names: Iterable[str], depth: str = NEEDED) -> Dict[str, Dict[str, Any]]:
        """:meth:`modules` and, under ``anchors`` of each, what it takes to reset it, if need be."""
        return {name: dict(facts, anchors=self.anchors() if _may_be_reset(facts['module'], depth) else {})
                for name, facts in self.modules(names, depth).items()}

    def dependents(self, users: List[str]) -> Dict[str, Any]:
        """The facts of the modules that use another, and of those that use them: each must go before it."""
        found: Dict[str, Any] = {}
        left: List[str] = list(users)
        while left and len(found) < MOST_DEPENDENTS:
            above = self.modules(left[:MOST_DEPENDENTS - len(found)], ALL)
            found.update(above)
            left = [user for facts in above.values() for user in facts['module'].get('used_by', [])
                    if user not in found]
        return found

    def _holders(self, entry: Dict[str, Any]) -> Any:
        name = entry['name']
        found = find_holders.find(
            name, entry['struct_address'], self.root, self.memory, symbols=self._address,
            ranges=struct_module.ranges(entry['struct_address'], self.memory),
            aliases=lambda: module_table.aliases(name, self.release, self.root))
        return dict(found, devices=bound_devices.find(name, self.root))

    def search(self, names: Iterable[str]) -> Dict[str, Dict[str, Any]]:
        """What :func:`reachability.find` tells of each, by one search for those that it was not asked of before."""
        unknown = sorted({each for each in names if each not in self._reached})
        if unknown:
            self._reached.update(self._found_of(unknown))
        return {each: self._reached[each] for each in names}

    def _found_of(self, names: List[str]) -> Dict[str, Dict[str, Any]]:
        loaded: List[Any] = []
        found = {each: not_searched('it is not loaded') for each in names if each not in self.table['modules']}
        for each in self.table['modules']:
            address = module_table.struct_address(each, self.root)
            ranges = struct_module.ranges(address, self.memory)
            if not is_unavailable(address) and not is_unavailable(ranges):
                loaded.append(bookkeeping.Loaded(each, address, ranges))
            elif each in names:
                found[each] = not_searched((address if is_unavailable(address) else ranges)['unavailable'])
        wanted = [each for each in names if each not in found]
        if wanted:
            found.update(reachability.find(wanted, loaded, self.memory, self.symbols, self._address, self._patience))
        return found

    @property
    def reached(self) -> Dict[str, Dict[str, Any]]:
        """What the searches of memory told by now."""
        return self._reached

    def _holders_below(self, name: str) -> Dict[str, Any]:
        """Who holds the modules that this one uses: what its init or exit waits for may be theirs."""
        below = sorted(entry['name'] for entry in self.table['modules'].values() if name in entry['used_by'])
        found: List[Any] = []
        for other in below[:MOST_BELOW]:
            entry = module_table.module(other, self.release, self.root, self.table)
            found += [user for users in self._holders(entry).values() if isinstance(users, list)
                      for user in users if isinstance(user, dict) and user['counts']]
        return {'others': found}

    @property
    def kernel(self) -> Dict[str, Any]:
        """What :func:`running_kernel.read` tells."""
        return self._once('kernel', lambda: running_kernel.read(self.root))

    @property
    def memory(self) -> Any:
        """The kernel's memory and types (:class:`kcore.KernelMemory`)."""
        if self._memory is None:
            self._memory = KernelMemory(self.root)
        return self._memory

    @property
    def symbols(self) -> Any:
        """The symbol table (:class:`symbols.Symbols`), which reads its file when it is first asked for an address."""
        if self._symbols is None:
            self._symbols = Symbols(self.root)
        return self._symbols

    def tasks(self, name: str) -> Dict[str, List[Any]]:
        """The tasks in the code of a module."""
        return self._once('tasks in ' + name, lambda: module_tasks.in_module_code(name, self.root, self._scan()))

    @property
    def loader_tasks(self) -> Dict[str, List[Any]]:
        """The tasks inside the loader's system calls."""
        return self._once('loader_tasks', lambda: module_tasks.in_loader(self.root, self._scan()))

    @property
    def namespace(self) -> str:
        """Why not every task of the host is seen from here; mostly an empty text."""
        return self._once('namespace', lambda: module_tasks.other_namespace(self.root))

    @property
    def spinning(self) -> Any:
        """The tasks that spin in the kernel."""
        return self._once('spinning', lambda: module_tasks.spinning(self.root, seen=self._scan()))

    @property
    def oopses(self) -> Any:
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

    def _once(self, what: str, read: Callable[[], Any]) -> Any:
        if what not in self._known:
            self._known[what] = read()
        return self._known[what]

    def _scan(self) -> Any:
        """One pass over all tasks (:class:`module_tasks.Scan`)."""
        if self._seen is None:
            self._seen = module_tasks.scan(self.root)
        return self._seen

    def _read_oopses(self) -> Any:
        lines = log_source.read(self.root, from_alarm=True)
        if is_unavailable(lines):
            return lines
        entries = [dict(entry, task_gone=child_process.is_gone(entry['pid'], entry['time'], self.root))
                   for entry in attribution.attributions(oops.oopses(lines))]
        taint = self.kernel.get('taint') or unavailable('not read')
        believed, lost = attribution.believed(entries, taint if is_unavailable(taint) else taint['flags'],
                                               self.kernel.get('oops_count'))
        return {'believed': believed, 'lost': lost}

    def running_loads(self) -> Tuple[bool, Any]:
        """Whether this kernel keeps a table of running loads (from 6.5 on), and how many of its buckets hold one now.

        The count needs the symbol table, so it is made only where the log shows an oops; otherwise it is unavailable.
        """
        if not self._has_running_loads():
            return False, unavailable('this kernel has no such table')
        if is_unavailable(self.oopses) or not self.oopses:
            return True, unavailable('not counted: the kernel log shows no oops')
        try:
            table, room = self.symbols.address('idem_hash'), self.symbols.size('idem_hash')
            if not table or not room:
                return True, unavailable('its address is not known')
            heads = self.memory.kcore.read(table, min(room, IDEM_BYTES))
        except KmodError as error:
            return True, unavailable(error)
        return True, sum(1 for (head,) in struct.iter_unpack('<Q', heads[:len(heads) // 8 * 8]) if head)

    def _has_running_loads(self) -> bool:
        try:
            return bool(self.memory.btf.size('idempotent'))
        except KmodError:
            return False

    def _registrations(self, entry: Dict[str, Any]) -> Dict[str, Any]:
        """What the kernel may call of a module, and the devices that it serves."""
        if self._registered is None:
            self._registered = registrations.Registrations(self.root, self.memory, self.symbols)
        name: str = entry['name']
        unknown: List[str] = []
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
        found = [{'kind': 'device', 'what': device['path'], 'evidence': device['evidence']} for device in devices]
        return dict(registered, found=registered['found'] + found, unseen=unknown + registered['unseen'])

    def _address(self, name: str) -> Optional[int]:
        try:
            return self.symbols.address(name) or self._unlisted(name)
        except KmodError:
            return None

    def _unlisted(self, name: str) -> int:
        """The address of a datum of the kernel that the symbol table lacks. Raises KmodError where none is found."""
        return static_data.find(name, self.symbols, self.memory)[0]

    def _cleanup_module(self, name: str) -> Any:
        try:
            return self.symbols.address('cleanup_module', name)
        except KmodError as error:
            return unavailable(error)

    def anchors(self) -> Dict[str, Any]:
        """Addresses that the helper needs; idem_hash, its idem_bytes and idem_lock are None before 6.5."""
        try:
            return self._anchors()
        except KmodError as error:
            return unavailable(error)

    def _anchors(self) -> Dict[str, Any]:
        names = ('modules', 'module_mutex', 'idem_hash', 'idem_lock')
        anchors: Dict[str, Any] = {name: self.symbols.address(name) for name in names}
        anchors['idem_bytes'] = self.symbols.size('idem_hash')
        for name in ('modules', 'module_mutex'):
            anchors[name] = anchors[name] or self._unlisted(name)
        if not anchors['idem_hash'] and self._has_running_loads():
            anchors['idem_hash'] = self._unlisted('idem_hash')
        return anchors


def not_searched(why: str) -> Dict[str, Any]:
    """The reachability of a module into which no pointers were searched for."""
    return {'answer': 'unknown', 'reason': f'memory was not searched for pointers into it: {why}', 'hits': [],
            'count': 0, 'bytes': 0, 'seconds': 0.0}


def _with_registered(reached: Dict[str, Any], found: List[Dict[str, Any]]) -> Dict[str, Any]:
    """What is registered can be reached, also where no word of it was met: a timer may never be in one place."""
    if reached['answer'] != 'unreachable' or not found:
        return reached
    return dict(reached, answer='reachable', reason='{kind} {what} is registered: {evidence}'.format(**found[0]))


def _asks_who_points_there(facts: Dict[str, Any], depth: str) -> bool:
    entry = facts['module']
    if not _is_loaded(entry):
        return False
    if depth == BRIEF and entry['state'] == 'live' and not entry['permanent']:
        return False
    return depth == FREED or _may_be_freed(facts)


def _may_be_reset(entry: Dict[str, Any], depth: str) -> bool:
    return _is_loaded(entry) and (depth in (ALL, FREED) or not module_table.is_idle(entry))


def _is_loaded(entry: Dict[str, Any]) -> bool:
    """Whether a module is there that this kernel can unload at all."""
    return entry['state'] not in ('absent', 'builtin') and not is_unavailable(entry['refcount'])


def _may_be_freed(facts: Dict[str, Any]) -> bool:
    """Whether it matters who points into a module: nobody is known to be in it, or to hold it, and it will not go."""
    entry, holders = facts['module'], facts['holders']
    if entry['state'] == 'live' and not entry['permanent']:
        return entry['refcount'] > 0 and not entry['used_by'] and not any(
            user['counts'] for users in holders.values() if isinstance(users, list) for user in users
            if isinstance(user, dict))
    return not any(task['module'] == entry['name'] for task in facts['loader_tasks']['tasks'])


def module(name: str, root: str = '/', kernel: Optional[Dict[str, Any]] = None, depth: str = NEEDED,
           timeout: float = 30.0, reached: Optional[Dict[str, Dict[str, Any]]] = None) -> Dict[str, Any]:
    """:meth:`Survey.with_anchors` of this host."""
    with Survey(root, kernel, timeout, reached) as survey:
        return survey.with_anchors([name], depth)[name]


def search(names: List[str], timeout: float) -> Dict[str, Dict[str, Any]]:
    """:meth:`Survey.search` as it is now."""
    with Survey(timeout=timeout) as survey:
        return survey.search(names)


def dependents(users: List[str], kernel: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """:meth:`Survey.dependents` of this host."""
    with Survey('/', kernel) as survey:
        return survey.dependents(users)
