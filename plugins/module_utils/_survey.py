# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is known of one module, from every reader that its state calls for. Dear readers are asked last."""

import os
import struct
from typing import Any, Callable, Dict, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import _module_table, _syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable

# Utilities are compiled at each run, and that takes longer than what most of them do: each reader is imported where it
# is asked, some by another process.

# IDEM_HASH_BITS is 8 in kernel/module/main.c; a bucket is one pointer.
IDEM_BUCKETS = 256
IDEM_BYTES = IDEM_BUCKETS * 8
_TASKS = 'tasks in '
ALL, NEEDED, BRIEF, FREED = 'all', 'needed', 'brief', 'freed'


class Survey:
    """Readers that share what they read: each source is read at most once, and only where a fact needs it."""

    def __init__(self, root='/', kernel=None):
        # type: (str, Optional[Dict[str, Any]]) -> None
        self.root = root
        self.table = _module_table.read(root)
        self.release = kernel['release'] if kernel else os.uname().release
        self._symbols = None  # type: Any
        self._memory = None  # type: Any
        self._seen = None  # type: Any
        self._registered = None  # type: Any
        self._known = {'kernel': kernel} if kernel else {}  # type: Dict[str, Any]
        self._ahead = None  # type: Optional[_syscalls.Ahead]

    def __enter__(self):
        # type: () -> Survey
        return self

    def __exit__(self, *_exception):
        # type: (*Any) -> None
        if self._memory is not None:
            self._memory.close()

    def module(self, name, depth=NEEDED):
        # type: (str, str) -> Dict[str, Any]
        """The facts that :mod:`_diagnosis` judges. What was not asked for is empty; what cannot be had says why.

        ``depth``: ALL there is; what is NEEDED, where a live module that nothing holds back is looked at no closer;
        that without the search for holders of a live module, which takes tenths of a second (BRIEF); or ALL of a module
        that is to be FREED without its exit.

        Keys: name, kernel, module (its line in the table), live (struct module), cleanup_module (address), exit_offsets
        (where a lost exit is), tasks, spinning, holders, oopses, registrations (of a module whose exit cannot run,
        ran half way, or is not to run).
        """
        return dict(self._module(name, depth), kernel=self.kernel)

    def _module(self, name, depth):
        # type: (str, str) -> Dict[str, Any]
        entry = _module_table.module(name, self.release, self.root, self.table)
        facts = {
            'name': name, 'module': entry, 'live': unavailable(f'{name} is not loaded'),
            'cleanup_module': None, 'exit_offsets': unavailable('its exit is not lost'),
            'tasks': {'tasks': [], 'unreadable': []}, 'spinning': [], 'holders': {}, 'oopses': [],
            'registrations': {'found': [], 'unseen': [], 'blind': ''},
        }  # type: Dict[str, Any]
        if entry['state'] in ('absent', 'builtin'):
            return facts
        from ansible_collections.kernelops.kmod.plugins.module_utils import _struct_module

        facts['live'] = _struct_module.read(entry['struct_address'], name, self.root, self.memory)
        if is_unavailable(entry['refcount']):
            return facts
        is_live = entry['state'] == 'live'
        if is_idle(entry) and depth not in (ALL, FREED):
            return facts
        if is_live and not entry['permanent'] and depth == BRIEF:
            return dict(facts, holders=unavailable(f'not looked for: ask for {name} by name'))
        facts['tasks'] = self.tasks(name)
        facts['oopses'] = self.oopses
        if not is_live or entry['permanent'] or depth == FREED:
            facts['registrations'] = self._registrations(entry)
        if not is_live:
            facts['spinning'] = self.spinning
            return facts
        if entry['permanent']:
            facts['cleanup_module'] = self._cleanup_module(name)
            if isinstance(facts['cleanup_module'], int) and isinstance(entry['struct_address'], int):
                facts['exit_offsets'] = _struct_module.exit_offsets(entry['struct_address'], facts['cleanup_module'],
                                                                    self.memory)
        if entry['refcount'] > 0 or depth in (ALL, FREED):
            from ansible_collections.kernelops.kmod.plugins.module_utils import _devices, _holders

            ranges = _struct_module.ranges(entry['struct_address'], self.memory)
            counted = entry['refcount'] > 0 or entry['permanent'] or depth == FREED
            found = _holders.find(
                name, entry['struct_address'], self.root, self.memory, symbols=self._address, counted=counted,
                ranges=ranges,
                aliases=lambda: _module_table.aliases(name, self.release, self.root))
            facts['holders'] = dict(found, devices=_devices.find(name, self.root))
        return facts

    @property
    def kernel(self):
        # type: () -> Dict[str, Any]
        """What :func:`_kernel.read` tells."""
        return self._once('kernel', self._read_kernel)

    @property
    def memory(self):
        # type: () -> Any
        """The kernel's memory and types (:class:`_kcore.KernelMemory`)."""
        if self._memory is None:
            from ansible_collections.kernelops.kmod.plugins.module_utils._kcore import KernelMemory

            self._memory = KernelMemory(self.root)
        return self._memory

    @property
    def symbols(self):
        # type: () -> Any
        """The symbol table (:class:`_symbols.Symbols`), which reads its file when it is first asked for an address."""
        if self._symbols is None:
            from ansible_collections.kernelops.kmod.plugins.module_utils._symbols import Symbols

            self._symbols = Symbols(self.root)
        return self._symbols

    def tasks(self, name):
        # type: (str) -> Dict[str, List[Any]]
        """The tasks in the code of a module."""
        return self._once(_TASKS + name, lambda: self._tasks_in(name))

    @property
    def spinning(self):
        # type: () -> Any
        """The tasks that spin in the kernel."""
        return self._once('spinning', self._tasks_that_spin)

    @property
    def oopses(self):
        # type: () -> Any
        """The kernel log's oopses and warnings; ``task_gone``: whoever died is no longer there."""
        return self._once('oopses', self._read_oopses)

    def read_ahead(self, names, closely, log):
        # type: (List[str], bool, bool) -> None
        """Has other processes read, while this one reads the rest, what is no kernel memory: the kernel, and what facts
        of these modules need of its tasks, its log and its symbol table.

        ``closely``: the modules will be looked at as ALL there is. ``log``: the log is needed in any case.
        """
        entries = [entry for entry in map(self.table['modules'].get, names)
                   if entry and not is_unavailable(entry['refcount'])]
        stuck = [entry['name'] for entry in entries if entry['state'] != 'live' or entry['permanent']]
        if stuck:
            self.symbols.read_ahead()
        watched = [entry['name'] for entry in entries] if closely else stuck

        def look():
            # type: () -> Dict[str, Any]
            found = {_TASKS + name: self.tasks(name) for name in watched}  # type: Dict[str, Any]
            found['kernel'] = self.kernel
            if watched or log:
                found['oopses'] = self.oopses
            if stuck:
                found['spinning'] = self.spinning
            return found

        self._ahead = _syscalls.Ahead(look)

    def _once(self, what, read):
        # type: (str, Callable[[], Any]) -> Any
        """What is known; what the process that reads ahead knows; or else what is read now."""
        if what not in self._known and self._ahead:
            ahead, self._ahead = self._ahead, None
            self._known.update(ahead.answer())
        if what not in self._known:
            self._known[what] = read()
        return self._known[what]

    def _read_kernel(self):
        # type: () -> Dict[str, Any]
        from ansible_collections.kernelops.kmod.plugins.module_utils import _kernel

        return _kernel.read(self.root)

    def _tasks_in(self, name):
        # type: (str) -> Dict[str, List[Any]]
        from ansible_collections.kernelops.kmod.plugins.module_utils import _tasks

        return _tasks.in_module_code(name, self.root, self._scan())

    def _tasks_that_spin(self):
        # type: () -> Any
        from ansible_collections.kernelops.kmod.plugins.module_utils import _tasks

        return _tasks.spinning(self.root, seen=self._scan())

    def _scan(self):
        # type: () -> Any
        """One pass over all tasks (:class:`_tasks.Scan`)."""
        from ansible_collections.kernelops.kmod.plugins.module_utils import _tasks

        if self._seen is None:
            self._seen = _tasks.scan(self.root)
        return self._seen

    def _read_oopses(self):
        # type: () -> Any
        from ansible_collections.kernelops.kmod.plugins.module_utils import _kernel_log

        lines = _kernel_log.read(self.root, from_alarm=True)
        if is_unavailable(lines) or not lines:
            return lines
        from ansible_collections.kernelops.kmod.plugins.module_utils import _oops

        return [dict(entry, task_gone=not _syscalls.is_alive(entry['pid'], self.root)) for entry in _oops.oopses(lines)]

    def running_loads(self):
        # type: () -> Tuple[bool, Any]
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

    def _has_running_loads(self):
        # type: () -> bool
        try:
            return bool(self.memory.btf.size('idempotent'))
        except KmodError:
            return False

    def _registrations(self, entry):
        # type: (Dict[str, Any]) -> Dict[str, Any]
        """What the kernel may call of a module, and the devices that it serves."""
        from ansible_collections.kernelops.kmod.plugins.module_utils import (
            _devices,
            _registrations,
            _struct_module,
        )

        if self._registered is None:
            self._registered = _registrations.Registrations(self.root, self.memory, self.symbols)
        name, unknown = entry['name'], []  # type: str, List[str]
        ranges = _struct_module.ranges(entry['struct_address'], self.memory)
        if is_unavailable(ranges):
            unknown = ['what lies in the data of {}: {}'.format(name, ranges['unavailable'])]
            # Before 6.4 all of its code and data; since then its code alone.
            ranges = [(entry['address'], entry['address'] + entry['size'])] if entry['address'] else []
        registered = self._registered.of(name, ranges)
        devices = _devices.find(name, self.root)
        if is_unavailable(devices):
            unknown.append('devices: {}'.format(devices['unavailable']))
            devices = []
        found = [{'kind': 'device', 'what': device['path'], 'evidence': device['evidence']} for device in devices]
        return dict(registered, found=registered['found'] + found, unseen=unknown + registered['unseen'])

    def _address(self, name):
        # type: (str) -> Optional[int]
        try:
            return self.symbols.address(name) or self._unlisted(name)
        except KmodError:
            return None

    def _unlisted(self, name):
        # type: (str) -> int
        """The address of a datum of the kernel that the symbol table lacks. Raises KmodError where none is found."""
        from ansible_collections.kernelops.kmod.plugins.module_utils import _static_data

        return _static_data.find(name, self.symbols, self.memory)[0]

    def _cleanup_module(self, name):
        # type: (str) -> Any
        try:
            return self.symbols.address('cleanup_module', name)
        except KmodError as error:
            return unavailable(error)

    def anchors(self):
        # type: () -> Dict[str, Any]
        """Addresses that the helper needs; idem_hash, its idem_bytes and idem_lock are None before 6.5."""
        try:
            return self._anchors()
        except KmodError as error:
            return unavailable(error)

    def _anchors(self):
        # type: () -> Dict[str, Any]
        names = ('modules', 'module_mutex', 'idem_hash', 'idem_lock')
        anchors = {name: self.symbols.address(name) for name in names}  # type: Dict[str, Any]
        anchors['idem_bytes'] = self.symbols.size('idem_hash')
        for name in ('modules', 'module_mutex'):
            anchors[name] = anchors[name] or self._unlisted(name)
        if not anchors['idem_hash'] and self._has_running_loads():
            anchors['idem_hash'] = self._unlisted('idem_hash')
        return anchors


def module(name, root='/', kernel=None, depth=NEEDED):
    # type: (str, str, Optional[Dict[str, Any]], str) -> Dict[str, Any]
    """The facts of one module (:meth:`Survey.module`) and, under ``anchors``, what it takes to reset it, if need be."""
    with Survey(root, kernel) as survey:
        facts = survey.module(name, depth)
        entry = facts['module']
        loaded = entry['state'] not in ('absent', 'builtin') and not is_unavailable(entry['refcount'])
        return dict(facts, anchors=survey.anchors() if loaded and (depth in (ALL, FREED) or not is_idle(entry)) else {})


def is_idle(entry):
    # type: (Dict[str, Any]) -> bool
    """Whether nothing holds back a loaded module: it is live, unused and not permanent."""
    return entry['state'] == 'live' and entry['refcount'] == 0 and not entry['permanent']
