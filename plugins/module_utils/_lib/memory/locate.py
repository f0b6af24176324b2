# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies at an address of the kernel's memory: whose stack, data of which processor, which datum, which module's."""

import bisect
import contextlib
import os
import time
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists, task_structs, vmalloc
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols

# Where the kernel asks for the stack of a task: one that no task has is kept for the next (cached_stacks).
ASKS_FOR_STACKS = ('dup_task_struct', 'alloc_thread_stack', 'copy_process', 'kernel_clone', '_do_fork')
# Where it asks for the memory of a module: what is no loaded module's is its init, which has run and waits to be freed
# (do_free_init), or one that is not loaded yet; whom that uses is told by the module table.
ASKS_FOR_MODULES = ('load_module', 'layout_and_allocate', 'move_module', 'module_memory_alloc')
# Stacks of a processor, on which nothing waits: what stands there is of calls that have returned.
OF_PROCESSORS = ('irq_stack_backing_store', 'exception_stacks', 'cpu_entry_area', 'softirq_stack_ptr')
# THREAD_SIZE at least; one that is mapped page by page has an area of its own, which tells.
STACK = 16384
WALKS = 5
# Looks at a task that runs, and seconds between them.
LOOKS, PAUSE = 10, 0.01


class Stack(NamedTuple):
    """A task's kernel stack: addresses, the lowest that is in use, and who it is.

    ``task`` is the address of one that runs: what it uses is known when it sleeps; 0 for another.
    """

    start: int
    end: int
    used: int
    who: str
    task: int


class Places:
    """Names addresses."""

    def __init__(self, memory: KernelMemory, symbols: Symbols, lookup: task_structs.Lookup,
                 modules: List[Tuple[str, List[Tuple[int, int]]]]) -> None:
        """``lookup`` gives the address of a datum, also where the symbol table has functions alone; ``modules``: the
        name and the memory of each that is loaded.
        """
        self._memory, self._symbols, self._lookup = memory, symbols, lookup
        self._modules = sorted((start, end, name) for name, ranges in modules for start, end in ranges)
        self._offsets: Optional[List[int]] = None
        self._static: Optional[Tuple[int, int]] = None
        self._bounds: Optional[Tuple[Optional[int], ...]] = None
        self._areas: List[vmalloc.Area] = []
        self.read_areas()
        self._stacks: List[Stack] = []
        self.workers: List[int] = []  # the struct kthreads of workqueues' threads
        self._of_task: Dict[str, int] = {}

    def read_areas(self) -> None:
        """Finds what is mapped page by page at this time: a process that began since has a stack, and keeps it for the
        next when it has ended. Where that cannot be read what was known before stays.
        """
        with contextlib.suppress(KmodError):
            self._areas = kernel_lists.again(lambda: sorted(vmalloc.areas(self._memory, self._symbols)), WALKS)

    def read_stacks(self) -> List[task_structs.Task]:
        """Finds the stacks of all tasks, which it returns. Raises KmodError where these cannot be read."""
        types = self._memory.btf
        self._of_task = {member: types.offset('task_struct', member) for member in ('stack', 'on_cpu', 'thread')}
        try:
            self._of_task['top'] = self._of_task['thread'] + types.offset('thread_struct', 'sp')
        except KmodError:
            context = types.offset('thread_struct', 'cpu_context') + types.offset('cpu_context', 'sp')
            self._of_task['top'] = self._of_task['thread'] + context
        tasks = task_structs.Tasks(self._memory, self._lookup).all()
        self._stacks = sorted(stack for stack in map(self.stack_of, tasks) if stack)
        self.workers = [task.kthread for task in tasks if task.kthread and task.command.startswith('kworker')]
        return tasks

    def stack_of(self, task: task_structs.Task) -> Optional[Stack]:
        """A task's stack as it is now; None where it has none any more."""
        kcore, who = self._memory.kcore, f'{task.command} (pid {task.pid})'
        try:
            start = kcore.u64(task.address + self._of_task['stack'])
            area = self._area(start)
            end = area.end if area else start + STACK
            used = self._used(task.address, start, end)
        except KmodError:
            return None
        if not start:
            return None
        if task.pid == os.getpid():
            return Stack(start, end, end, who, 0)  # what stands on ours is of this very reading
        return Stack(start, end, used or start, who, 0 if used else task.address)

    def _used(self, task: int, start: int, end: int) -> int:
        """The lowest address in use of the stack of a task that sleeps; 0 of one that runs."""
        # An int, and by 7.3 a byte.
        if self._memory.kcore.read(task + self._of_task['on_cpu'], 1) != b'\0':
            return 0
        used = self._memory.kcore.u64(task + self._of_task['top'])
        return used if start <= used < end else 0

    def spans(self) -> List[Tuple[int, int]]:
        """All that is mapped page by page, as far as it is known: areas, or else modules and stacks."""
        if self._areas:
            return [(area.start, area.end) for area in self._areas]
        known = [(start, end) for start, end, _name in self._modules]
        return known + [(stack.start, stack.end) for stack in self._stacks if not self._module(stack.start)]

    @property
    def areas(self) -> List[vmalloc.Area]:
        """What is mapped page by page, as far as the kernel's lists tell."""
        return list(self._areas)

    def tables(self) -> Iterator[bytes]:
        """The pointers to the struct pages that each area maps."""
        for area in self._areas:
            if area.mapped:
                try:
                    yield self._memory.kcore.read(area.pages, 8 * area.mapped)
                except KmodError:
                    continue

    def has_table(self, address: int) -> bool:
        """Whether :meth:`tables` tells the page that an address is mapped to."""
        area = self._area(address)
        return area is not None and bool(area.mapped)

    def is_dead(self, address: int) -> bool:
        """Whether what stands at an address is of a call that has returned, or of an init that has run."""
        stack = self._stack(address)
        if stack:
            return address < (stack.used if not stack.task else self._waited_for(stack))
        area = self._area(address)
        caller = self._symbol(area.caller)[0] if area else ''
        return caller.startswith(ASKS_FOR_STACKS) or (caller in ASKS_FOR_MODULES and not self._module(address))

    def _waited_for(self, stack: Stack) -> int:
        """What a task that ran uses of its stack when it sleeps again; all of it where it goes on."""
        used = 0
        for _look in range(LOOKS):
            time.sleep(PAUSE)
            try:
                used = self._used(stack.task, stack.start, stack.end)
            except KmodError:
                break
            if used:
                break
        self._stacks[self._stacks.index(stack)] = stack._replace(used=used or stack.used, task=0)
        return used or stack.used

    def is_stack(self, address: int) -> bool:
        """Whether it lies on the stack of a task."""
        return self._stack(address) is not None

    def is_a_modules(self, address: int) -> bool:
        """Whether it lies in the memory of a module."""
        return bool(self._module(address))

    def name(self, address: int) -> str:
        """``stack of insmod (pid 9)``, ``memory of bar``, ``memory that bpf_prog_alloc asked for``; '' for an address
        of no area, and of the kernel's own image, which AArch64 has areas for.
        """
        stack = self._stack(address)
        if stack:
            return f'stack of {stack.who}'
        module = self._module(address)
        if module:
            return f'memory of {module}'
        area = self._area(address)
        start, code_end, end = self._image()
        if area and not (start and end and start <= address < end):
            # Behind the kernel's own code is that of modules, and of an init that may be gone.
            caller = self._symbol(area.caller)[0] if not code_end or area.caller < code_end else ''
            asked = caller or self._module(area.caller)
            return f'memory that {asked} asked for' if asked else 'memory mapped page by page'
        return ''

    def _image(self) -> Tuple[Optional[int], ...]:
        """Where the kernel's own image begins, where its code ends, and where it ends itself."""
        if self._bounds is None:
            self._bounds = tuple(self._symbols.address(name) for name in ('_text', '_etext', '_end'))
        return self._bounds

    def datum(self, address: int) -> str:
        """``ftrace_ops_list``, ``modules+0x8``: the kernel's own datum at an address of its image."""
        name, start = self._symbol(address) if self._symbols.lists_data() else ('', 0)
        return name + (f'+{address - start:#x}' if address != start else '') if name else "the kernel's data"

    def of_processor(self, address: int) -> str:
        """``hrtimer_bases+0x40 of CPU 1``: the same of an address that is a processor's own; '' for another."""
        start, end = self._of_each_processor()
        for cpu, offset in enumerate(self.offsets() if end else []):
            common = (address - offset) % (1 << 64)
            if start <= common < end:
                return f'{self.datum(common)} of CPU {cpu}'
        return ''

    def of_processors(self) -> List[Tuple[int, int]]:
        """Where the data lie that the kernel itself has for each processor; nowhere where that is not known."""
        start, end = self._of_each_processor()
        offsets = self.offsets() if end else []
        return [((start + offset) % (1 << 64), (end + offset) % (1 << 64)) for offset in offsets]

    def _of_each_processor(self) -> Tuple[int, int]:
        if self._static is None:
            try:
                self._static = self._symbols.data('__per_cpu_start')[0], self._symbols.data('__per_cpu_end')[0]
            except KmodError:
                self._static = 0, 0
        return self._static

    def offsets(self) -> List[int]:
        """What is added to an address of data of each processor, for each that there may be."""
        if self._offsets is None:
            self._offsets = self._memory.cpu_offsets(task_structs.symbol(self._lookup, '__per_cpu_offset'))
        return self._offsets

    def _symbol(self, address: int) -> Tuple[str, int]:
        try:
            return self._symbols.nearest(address) if address else ('', 0)
        except KmodError:
            return '', 0

    def _stack(self, address: int) -> Optional[Stack]:
        at = bisect.bisect_right(self._stacks, (address + 1,)) - 1
        return self._stacks[at] if at >= 0 and address < self._stacks[at].end else None

    def _area(self, address: int) -> Optional[vmalloc.Area]:
        at = bisect.bisect_right(self._areas, (address + 1,)) - 1
        return self._areas[at] if at >= 0 and address < self._areas[at].end else None

    def _module(self, address: int) -> str:
        at = bisect.bisect_right(self._modules, (address + 1,)) - 1
        return self._modules[at][2] if at >= 0 and address < self._modules[at][1] else ''
