# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: SLF001  (what reads slowly and leaves nothing in the kernel is replaced for the time of the cycles)
"""In the guest: injects a fault and unloads the module, over and over in one process, and measures the kernel's memory.

``cycles.py MODE CYCLES EVERY``; MODE is what one cycle does:

- ``unload``: crashes in init, is unloaded by the collection's own code, the fixed build is loaded and unloaded;
- ``fixed``: the fixed build is loaded and unloaded, and nothing else: what of the noise is the loader's;
- ``oops``: crashes in init under a name of its own and stays: what an oops costs where nobody unloads it;
- ``pipe``: as ``fixed``, and opens a pipe that stays open: a leak of about one page and some slab objects.

Each sample is a JSON line: the cycle, and kilobytes or counts by name. Every byte is of the kernel's own accounts.
"""

import ctypes
import json
import os
import re
import sys
import time
from typing import Any, Dict, List

import collection
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import (
    memory_search,
    module_survey,
    running_kernel,
    task_scan,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import log_source
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Registrations

LAB = '/root/lab'
MEMINFO = ('MemFree', 'Slab', 'SUnreclaim', 'SReclaimable', 'VmallocUsed', 'KernelStack', 'Percpu', 'PageTables',
           'Shmem', 'AnonPages', 'Cached', 'Buffers')
# Who asks for a module's memory, by the function named in /proc/vmallocinfo: load_module to 6.3, later by execmem.
MODULE_AREAS = re.compile(r'load_module|module_alloc|move_module|execmem|module_memory')
NAME = b'init_oops'
# lseek(2) on /dev/kmsg: the first record after the last SYSLOG_ACTION_CLEAR.
SEEK_DATA = 3
PATIENCE = 10


def sample() -> Dict[str, int]:
    """The kernel's memory once it has given back what it keeps for later: kilobytes; numbers of areas and objects."""
    os.sync()
    for _attempt in range(2):
        with open('/proc/sys/vm/drop_caches', 'w') as stream:
            stream.write('3')
        time.sleep(0.3)
    found = {}
    with open('/proc/meminfo') as stream:
        for line in stream:
            key, value = line.split(':')
            if key in MEMINFO:
                found[key] = int(value.split()[0])
    areas, size = 0, 0
    with open('/proc/vmallocinfo') as stream:
        for line in stream:
            if MODULE_AREAS.search(line):
                areas += 1
                size += int(line.split()[1])
    found['module_areas'] = areas
    found['module_areas_kb'] = size // 1024
    with open('/proc/slabinfo') as stream:
        rows = [line.split() for line in stream.readlines()[2:]]
    found['slab_active_kb'] = sum(int(row[1]) * int(row[3]) for row in rows) // 1024
    with open('/proc/modules') as stream:
        found['modules'] = len(stream.readlines())
    return found


def read(path: str) -> bytes:
    """A module file."""
    with open(path, 'rb') as stream:
        return stream.read()


def crashes(image: bytes) -> None:
    """Loads a module in a child, which must be killed by it."""
    pid = os.fork()
    if pid == 0:
        loader_syscalls.init_module(image, '')
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if not os.WIFSIGNALED(status):
        raise SystemExit('the load that was to crash ended with %d' % status)


def fixed(image: bytes, name: str) -> None:
    """Loads and unloads the fixed build."""
    for call, error in (('init_module', loader_syscalls.init_module(image, '')),
                        ('delete_module', loader_syscalls.delete_module(name))):
        if error:
            raise SystemExit('%s of the fixed build: %s' % (call, loader_syscalls.errno_text(error)))


def unload(name: str, kernel: Any) -> int:
    """What kmod_force_unload calls; how often it had to be asked again.

    The helper's check before the write takes an address of the module on any stack for a task in it. Where each load
    lies where the last one lay, an earlier cycle may have left it there: the run is refused, and the next is right.
    """
    for again in range(PATIENCE):
        try:
            # Memory is not searched here.
            result = collection.unload(name, kernel, accept_hazards=['reachability_unknown'])
        except KmodError as error:
            if again == PATIENCE - 1 or 'as the kernel itself sees' not in error.why:
                raise
            print('cycle refused: %s' % error.why, file=sys.stderr, flush=True)
            time.sleep(0.5)
            continue
        if result['after'] != {'state': 'absent'}:
            raise SystemExit(json.dumps(result))
        return again
    return PATIENCE


def quiet() -> None:
    """What is slow and leaves nothing in the kernel is left out, or done once.

    Nothing of the log goes to the serial line, and only this cycle's part of it is read. Symbols of the kernel itself
    are read once, as are the tasks; what the module registered, which is nothing, is not looked for; no step has a
    child of its own. This process's own pages stay in memory. What acts on the kernel is all there: the load that
    crashes, the helper with its own check of every task, delete_module(2), the fixed build.
    """
    text: Any = symbols.Symbols._text
    texts: Dict[Any, Any] = {}
    records: Any = log_source._records

    def once(_symbols: Any, *arguments: Any) -> Any:
        if arguments not in texts:
            texts[arguments] = text(_symbols, *arguments)
        return texts[arguments]

    def from_last_clear(descriptor: int, *arguments: Any, **named: Any) -> Any:
        if not named.get('whole'):
            os.lseek(descriptor, 0, SEEK_DATA)
        return records(descriptor, *arguments, **named)

    def unsearched(_survey: Any, names: Any) -> Dict[str, Any]:
        return dict.fromkeys(names, nothing)

    seen = task_scan.scan()
    task_scan.scan = lambda *_arguments, **_named: seen
    child_process.with_deadline = lambda function, *_arguments, **_named: function()
    symbols.Symbols._text = once  # type: ignore[assignment]
    log_source._records = from_last_clear
    none: Registrations = {'found': [], 'unseen': [], 'blind': '', 'leftovers': []}
    module_survey.Survey._registrations = lambda *_arguments: none  # type: ignore[method-assign]
    nothing = memory_search.not_searched('200 times would take an hour')
    module_survey.Survey.search = unsearched  # type: ignore[assignment,method-assign]
    with open('/proc/sys/kernel/printk', 'w') as stream:
        stream.write('1')
    ctypes.CDLL(None).mlockall(1)


def main(mode: str, cycles: int, every: int) -> None:
    """Runs the cycles; a sample before the first and after each ``every``."""
    broken, repaired = read(LAB + '/init_oops.ko'), read(LAB + '/fixed/init_oops.ko')
    kernel = running_kernel.read()
    kept: List[Any] = []
    quiet()
    print(json.dumps(dict(sample(), cycle=0, seconds=0.0)), flush=True)
    start, refusals = time.monotonic(), 0
    for cycle in range(1, cycles + 1):
        if mode == 'unload':
            # SYSLOG_ACTION_CLEAR of syslog(2)
            ctypes.CDLL(None).klogctl(5, None, 0)
            crashes(broken)
            refusals += unload('init_oops', kernel)
        if mode == 'oops':
            crashes(broken.replace(NAME, b'oops_%04d' % cycle))
        else:
            fixed(repaired, 'init_oops')
        if mode == 'pipe':
            ends = os.pipe()
            os.write(ends[1], b'x')
            kept.append(ends)
        if cycle % every == 0:
            seconds = round(time.monotonic() - start, 1)
            line = json.dumps(dict(sample(), cycle=cycle, seconds=seconds, refusals=refusals))
            with open('samples.jsonl', 'a') as stream:
                stream.write(line + '\n')
            print(line, flush=True)


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
