# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes that use a module: what they have open or mapped, and what waits for them; its kernel threads.

Part of :mod:`find_holders`; from kernel memory alone, by BTF, /proc/kcore and the symbol table. /proc names what was
found.
"""

import os
import time
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.entry import Found, holder
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.process_names import (
    ancestors,
    ends_process,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, one_line, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists, open_files, task_structs
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_sockets import Evidence, Owner
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.task_structs import Lookup, Task
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import lines, text
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Holder, Ranges

# All descriptors and mappings of 2,000 processes take a second on a real processor.
SECONDS = 15.0
# Between two looks at the clock.
MAPPINGS_AT_A_TIME = 1024
# Of one kind that a process has; the rest is told as a number. A host's congestion control is that of every socket.
MOST_OF_ONE = 8
CANNOT_MATCH = 'operations that lie in its own memory'
HOW = {'open': '{process} with {path} open', 'mapped': '{process} with {path} mapped',
       'in flight': '{process}, to which a descriptor of {path} was sent and not yet received',
       'registered': '{process} with {path} registered in an io_uring',
       'run': '{process}, whose program runs by its binary format'}


class Held(NamedTuple):
    """Something of the module that a process has."""

    task: Task
    how: str
    evidence: Evidence
    file: int
    descriptor: int  # -1: none leads to it
    start: int
    end: int


class Look:
    """Looks through all tasks for what is the module's. ``unread`` says what could not be looked at, and why."""

    def __init__(self, owner: Owner, memory: KernelMemory, symbols: Optional[Lookup], seconds: float = SECONDS) -> None:
        self._memory, self._owner = memory, owner
        self._until, self._seconds = time.monotonic() + seconds, seconds
        self._tasks = task_structs.Tasks(memory, symbols)
        self.tasks = self._tasks.all()
        self.files = open_files.Files(memory, owner)
        self.unread: Dict[str, List[str]] = {}
        # Files that keep others open, who has them, and where the descriptor is (0: none leads there).
        self._carriers: List[Tuple[List[Task], int, int]] = []

    def all(self) -> List[Held]:
        """What processes have, each descriptor and each mapped file once."""
        found: List[Held] = []
        for look in (self._opened, self._mapped, self._run, self._carried):
            try:
                found.extend(look())
            except KmodError as error:
                self._lost('some of them', str(error))
        return found

    def _lost(self, what: str, why: str) -> None:
        whose = self.unread.setdefault(why, [])
        if what not in whose:
            whose.append(what)

    def _check_the_time(self, done: int, of: int, what: str) -> None:
        if time.monotonic() > self._until:
            raise KmodError(f'look through {what}', 'after %g seconds %d of %d processes were looked at' % (
                self._seconds, done, of))

    def _opened(self) -> Iterator[Held]:
        tables = task_structs.sharing(self.tasks, 'files')
        for done, (files, tasks) in enumerate(tables.items()):
            self._check_the_time(done, len(tables), 'the open files')
            try:
                for descriptor, address, slot in self._tasks.descriptors(files):
                    evidence = self._evidence(address, slot, tasks)
                    if evidence:
                        yield Held(tasks[0], 'open', evidence, address, descriptor, 0, 0)
                    if address in self.files.carriers:
                        self._carriers.append((tasks, address, slot))
            except KmodError as error:
                if self._tasks.still_have(tasks, 'files', files):
                    self._lost(f'open files of {_process(tasks[0])}', str(error))

    def _evidence(self, address: int, slot: int, tasks: List[Task]) -> Optional[Evidence]:
        """Why a file is the module's. One that was closed while it was looked at is no longer where it was."""
        try:
            return self.files.evidence(address)
        except KmodError as error:
            if self._is_still(address, slot, tasks):
                self._lost(f'an open file of {_process(tasks[0])}', str(error))
            return None

    def _is_still(self, address: int, slot: int, tasks: List[Task]) -> bool:
        """Whether a descriptor still leads there: the table of a process that has ended keeps what it held."""
        return self._tasks.still_have(tasks, 'files', tasks[0].files) and self._memory.kcore.u64(slot) == address

    def _mapped(self) -> Iterator[Held]:
        spaces = task_structs.sharing(self.tasks, 'mm')
        for done, (space, tasks) in enumerate(spaces.items()):
            held: List[Held] = []
            lost: Optional[KmodError] = None
            for _walk in range(kernel_lists.WALKS):
                self._check_the_time(done, len(spaces), 'what is mapped')
                try:
                    held, lost = self._mapped_by(tasks, space, done, len(spaces))
                except KmodError as error:
                    lost = error
                if not lost:
                    break
            if lost and self._tasks.still_have(tasks, 'mm', space):
                self._lost(f'mappings of {_process(tasks[0])}', str(lost))
            yield from held

    def _mapped_by(self, tasks: List[Task], space: int, done: int, of: int) -> Tuple[List[Held], Optional[KmodError]]:
        """What is mapped, and why one of the files could not be looked at."""
        held: Dict[Tuple[int, int], Held] = {}
        lost: Optional[KmodError] = None
        for number, mapping in enumerate(self._tasks.mappings(space)):
            if number % MAPPINGS_AT_A_TIME == MAPPINGS_AT_A_TIME - 1:
                self._check_the_time(done, of, 'what is mapped')
            try:
                evidence = self._evidence_of(mapping)
            except KmodError as error:
                lost = error
                continue
            if mapping.file in self.files.carriers:
                self._carriers.append((tasks, mapping.file, 0))
            if evidence:
                held.setdefault((mapping.file, 0 if mapping.file else mapping.operations), Held(
                    tasks[0], 'mapped', evidence, mapping.file, -1, mapping.start, mapping.end))
        return list(held.values()), lost

    def _evidence_of(self, mapping: task_structs.Mapping) -> Optional[Evidence]:
        evidence = self.files.evidence(mapping.file) if mapping.file else None
        if evidence or not self._owner.holds(mapping.operations):
            return evidence
        own = mapping.file and self.files.is_of_own_file_system(self.files.opened(mapping.file))
        return None if own else Evidence('vm_area_struct.vm_ops', False)

    def _run(self) -> Iterator[Held]:
        """Programs of a binary format (include/linux/binfmts.h): the kernel asks it when they end."""
        types, kcore = self._memory.btf, self._memory.kcore
        at, owner = types.offset('mm_struct', 'binfmt'), types.offset('linux_binfmt', 'module')
        for space, tasks in task_structs.sharing(self.tasks, 'mm').items():
            try:
                handler = kcore.u64(space + at)
                counts = bool(handler) and kcore.u64(handler + owner) == self._owner.address
            except KmodError as error:
                if self._tasks.still_have(tasks, 'mm', space):
                    self._lost(f'the binary format of {_process(tasks[0])}', str(error))
                continue
            if counts or self._owner.holds(handler):
                yield Held(tasks[0], 'run', Evidence('mm_struct.binfmt', counts), 0, -1, 0, 0)

    def _carried(self) -> Iterator[Held]:
        """What sockets and io_urings keep open, also those that are kept open so themselves."""
        self._registered_rings()
        seen: Set[Tuple[int, int]] = set()
        while self._carriers:
            tasks, carrier, slot = self._carriers.pop()
            if (tasks[0].pid, carrier) in seen:
                continue
            seen.add((tasks[0].pid, carrier))
            self._check_the_time(len(seen), len(seen) + len(self._carriers), 'sockets and io_urings')
            for how, file in self._carried_by(tasks, carrier, slot):
                try:
                    evidence = self.files.evidence(file)
                except KmodError as error:
                    self._lost(f'a file that {_process(tasks[0])} is to get', str(error))
                    continue
                if evidence:
                    yield Held(tasks[0], how, evidence, file, -1, 0, 0)
                if file in self.files.carriers:
                    self._carriers.append((tasks, file, 0))

    def _carried_by(self, tasks: List[Task], carrier: int, slot: int) -> List[Tuple[str, int]]:
        """A queue that changed while it was walked is walked again."""
        try:
            return kernel_lists.again(lambda: self.files.carried(carrier))
        except KmodError as error:
            if not slot or self._is_still(carrier, slot, tasks):
                self._lost(f'what a socket or io_uring of {_process(tasks[0])} holds', str(error))
            return []

    def _registered_rings(self) -> None:
        """The io_urings that tasks have registered: their descriptors may be closed."""
        for task in self.tasks:
            try:
                for address in self._tasks.rings(task.rings) if task.rings else []:
                    self.files.evidence(address)
                    self._carriers.append(([task], address, 0))
            except KmodError as error:
                if self._tasks.still_have([task], 'rings', task.rings):
                    self._lost(f'io_urings of {_process(task)}', str(error))


def find(owner: int, ranges: Optional[Fact[Ranges]], memory: KernelMemory, symbols: Optional[Lookup],
         seconds: float = SECONDS) -> Tuple[Found, Found, List[str]]:
    """The processes that use the module, its kernel threads, and what could not be looked at.

    ``owner`` is the address of its struct module, ``ranges`` its memory or unavailable: then what merely lies there is
    not found, which is said. Raises KmodError where the tasks cannot be read.
    """
    known = ranges if isinstance(ranges, list) else []
    look = Look(Owner(owner, tuple(known)), memory, symbols, seconds)
    namer = Namer(memory.root, look.files)
    found = _told(look.all(), namer)
    threads, lost = _threads(look.tasks, Owner(owner, tuple(known)), memory)
    unread = ['processes: {}: {}'.format(_few(whose), why) for why, whose in look.unread.items()]
    if not known:
        why = ranges['unavailable'] if isinstance(ranges, dict) else 'where it lies is not known'
        unread.append(f'processes: {CANNOT_MATCH}: {why}')
    return found, threads, unread + lost


def _told(held: List[Held], namer: 'Namer') -> Found:
    """An entry for each, but for those of a process that has very many of the same kind."""
    found: Found = []
    many: Dict[Tuple[int, str, Evidence], List[Held]] = {}
    for one in held:
        alike = many.setdefault((one.task.pid, one.how, one.evidence), [])
        alike.append(one)
        if len(alike) <= MOST_OF_ONE:
            found.append(namer.entry(one))
    return found + [namer.entry(alike[-1], len(alike) - MOST_OF_ONE) for alike in many.values()
                    if len(alike) > MOST_OF_ONE]


def _few(texts: List[str]) -> str:
    return ', '.join(texts[:3]) + (' and %d more' % (len(texts) - 3) if len(texts) > 3 else '')


def _threads(tasks: List[Task], owner: Owner, memory: KernelMemory) -> Tuple[Found, List[str]]:
    """The kernel threads whose function, or what that works on, lies in the module, wherever they sleep."""
    try:
        threads, lost = task_structs.kernel_threads(tasks, memory)
    except KmodError as error:
        return [], [f'kernel threads: {error}']
    found = []
    for task, function, data in threads:
        member = 'threadfn' if owner.holds(function) else 'data' if owner.holds(data) else ''
        if member:
            command = one_line(task.command)
            found.append(holder('kernel thread %s (pid %d)' % (command, task.pid), f'kthread.{member}', counts=False,
                                kind='kernel thread', pid=task.pid, command=command))
    return found, ['kernel threads: %s cannot be read' % _few([_process(task) for task in lost])] if lost else []


def _process(task: Task) -> str:
    return 'process %s (pid %d)' % (one_line(task.command), task.pid)


class Namer:
    """Says what was found, by /proc: paths, and the command that ends a process."""

    def __init__(self, root: str, files: open_files.Files) -> None:
        self._root, self._files = root, files
        self._ours = ancestors(root)
        self._ends: Dict[int, str] = {}

    def entry(self, held: Held, more: int = 0) -> Holder:
        """The dictionary for it, or for the last of so many ``more`` of its kind."""
        task, path = held.task, '%d more' % more if more else self._path(held)
        known = path if isinstance(path, str) else 'a file'
        what = HOW[held.how].format(process=_process(task), path=known)
        if task.pid in self._ours:
            what += ', which this very task runs under'
        return holder(what, held.evidence.text, self._end(task.pid), held.evidence.counts, not held.evidence.counts,
                      pid=task.pid, command=one_line(task.command), path=path,
                      fd=held.descriptor if held.descriptor >= 0 and not more else None)

    def _end(self, pid: int) -> str:
        if pid not in self._ends:
            self._ends[pid] = ends_process(pid, self._root)
        return self._ends[pid]

    def _path(self, held: Held) -> Fact[str]:
        names = {'open': 'fd/%d' % held.descriptor, 'mapped': 'map_files/%x-%x' % (held.start, held.end)}
        failed = unavailable('no name leads to it')
        if held.how in names:
            try:
                return one_line(text(os.readlink(os.path.join(self._root, 'proc/%d' % held.task.pid,
                                                              names[held.how]))))
            except OSError as error:
                failed = unavailable(error)
        if held.how == 'open' or not held.file:
            return failed
        try:
            opened = self._files.opened(held.file)
            return self._device(opened) or one_line(self._files.name(opened))
        except KmodError:
            return failed

    def _device(self, opened: open_files.Opened) -> str:
        """``/dev/foo``, as the kernel names a device by its number."""
        if not opened.device:
            return ''
        kind = 'block' if opened.mode & open_files.S_IFMT == open_files.S_IFBLK else 'char'
        number = '%d:%d' % (opened.device >> open_files.MINOR_BITS,
                            opened.device & ((1 << open_files.MINOR_BITS) - 1))
        for line in lines(self._root, f'sys/dev/{kind}/{number}/uevent'):
            if line.startswith('DEVNAME='):
                return one_line('/dev/' + line[8:])
        return ''
