# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tasks hold in their registers: no memory has it while they run, and their stacks once they sleep.

``__switch_to_asm`` (arch/x86/entry) leaves them on the stack, ``cpu_switch_to`` (arch/arm64/kernel) in thread_struct.
A process that comes to user mode holds nothing of the kernel's any more.
"""

import os
import time
from typing import Iterator, List, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import locate, task_structs
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.pointers import Pattern, Word

# Looks at those that run, and seconds between them.
LOOKS, PAUSE = 25, 0.02


class Registers:
    """Waits for each task to be seen asleep once."""

    def __init__(self, memory: KernelMemory, places: locate.Places) -> None:
        """Raises KmodError where this kernel's types lack what is needed, or its tasks cannot be read."""
        self._memory, self._places = memory, places
        self._at = {member: memory.btf.offset('task_struct', member)
                    for member in ('utime', 'gtime', 'nvcsw', 'nivcsw', 'thread')}
        self._saved = 0, 0  # on AArch64: where the registers of one that sleeps are, and bytes of them
        if memory.btf.has('thread_struct', 'cpu_context'):
            self._saved = memory.btf.offset('thread_struct', 'cpu_context'), memory.btf.size('cpu_context')
        self._tasks = [task for task in places.read_stacks() if task.pid != os.getpid()]
        self._user_times = {task.address: self._user_time(task) for task in self._tasks}

    def words(self, pattern: Pattern) -> Iterator[List[Word]]:
        """At each look, the words of those that are seen asleep for the first time; ends once all were, or too late."""
        for look in range(LOOKS):
            if look:
                time.sleep(PAUSE)
            found: List[Word] = []
            left: List[task_structs.Task] = []
            for task in self._tasks:
                try:
                    parts = list(self._asleep(task))
                    if not parts and not (task.mm and self._user_time(task) > self._user_times[task.address]):
                        left.append(task)
                except KmodError:
                    continue  # it has ended
                found += [word for start, data in parts for word in pattern.words(data, start)]
            self._tasks = left
            yield found
            if not left:
                return

    def unseen(self) -> str:
        """Who has run all the while, in words; empty where nobody has."""
        if not self._tasks:
            return ''
        alive = {task.address for task in self._places.read_stacks()}
        return ', '.join([f'{task.command} (pid {task.pid})' for task in self._tasks if task.address in alive][:3])

    def _asleep(self, task: task_structs.Task) -> Iterator[Tuple[int, bytes]]:
        """What a task that sleeps uses of its stack, and its registers; nothing of one that has run meanwhile."""
        before = self._switches(task)
        stack = self._places.stack_of(task)
        if not stack or stack.task:
            return
        parts = [(stack.used, self._memory.kcore.read(stack.used, stack.end - stack.used))]
        first, size = self._saved
        if size:
            place = task.address + self._at['thread'] + first
            parts.append((place, self._memory.kcore.read(place, size)))
        again = self._places.stack_of(task)
        if again and again.used == stack.used and self._switches(task) == before:
            yield from parts

    def _switches(self, task: task_structs.Task) -> Tuple[int, int]:
        u64 = self._memory.kcore.u64
        return u64(task.address + self._at['nvcsw']), u64(task.address + self._at['nivcsw'])

    def _user_time(self, task: task_structs.Task) -> int:
        """Nanoseconds in user mode, without those that it ran a virtual machine."""
        u64 = self._memory.kcore.u64
        return u64(task.address + self._at['utime']) - u64(task.address + self._at['gtime'])
