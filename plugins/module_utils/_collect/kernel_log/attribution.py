# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What died, by the whole trace of a report: an init, an exit, a probe, a worker; of which module; holding which locks.

The frames of a trace stand from the fault outwards. Between it and the loader's own functions (do_init_module,
delete_module in kernel/module/main.c) lies what that call was doing.
"""

import re
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log.trace_locks import (
    DRIVER_CORE,
    LEAF,
    LOCKS_OF,
    MODULE_NOTIFIERS,
    NOTIFIER_CHAIN,
    PROBES,
    ROOTS,
    SPIN_LOCK,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Oops

# Functions that call a module's init, or its exit, in whatever spelling: SyS_, __x64_sys_, .constprop.0.
INIT_CALLS = ('do_one_initcall', 'do_init_module', 'load_module', 'init_module_from_file', 'idempotent_init_module',
              'sys_init_module', 'sys_finit_module', 'SyS_init_module', 'SyS_finit_module', 'SYSC_init_module',
              'SYSC_finit_module')
EXIT_CALL = 'delete_module'
# A boot calls the inits of what is built in by do_one_initcall, too.
BOOT = ('kernel_init', 'kernel_init_freeable', 'do_initcalls', 'do_initcall_level', 'start_kernel')
WORKERS = ('process_one_work', 'worker_thread', 'kthread', 'kthread_worker_fn', 'async_run_entry_fn',
           'smpboot_thread_fn', 'irq_thread')
# Who calls init_module(2) and delete_module(2). A kernel without symbol names does not say what a task was doing.
LOADERS = ('insmod', 'modprobe', 'rmmod', 'kmod', 'kmodloader', 'busybox', 'systemd-modules', 'systemd-udevd',
           '(udev-worker)', 'udevd', 'mdev')
NAMELESS_LOCK = 'in code without names'
SYSTEM_CALL = re.compile(r'(?:sys|SyS|SYSC)_')


class Frame(NamedTuple):
    """A line of a trace: function, module (empty for the kernel itself), whether the kernel is sure of it."""

    function: str
    module: str
    sure: bool


def frame_of(printed: str) -> Frame:
    """``? f_init+0x14/0x1000 [foo]``, as :mod:`oops` keeps it; the function without what the compiler added."""
    words = printed.split()
    sure = words[:1] != ['?']
    words = words if sure else words[1:]
    function = words[0].partition('+0x')[0].partition('.')[0] if words else ''
    module = words[1].strip('[]') if len(words) > 1 and words[1].startswith('[') else ''
    return Frame(function, module, sure)


def attributions(entries: List[Oops]) -> List[Oops]:
    """The reports of a log in their order, each with what :func:`attribution` tells of it."""
    found: List[Oops] = []
    dead: Dict[str, Set[str]] = {'init': set(), 'exit': set()}
    for entry in entries:
        told = attribution(entry, dead)
        if told['call'] and told['of']:
            dead[told['call']].add(told['of'])
        found.append({**entry, **told})
    return found


def attribution(entry: Oops, dead: Optional[Dict[str, Set[str]]] = None) -> Oops:
    """``died_in`` (init, exit, probe, worker or None), ``of`` (its module, or None), ``call`` and ``locks``.

    ``call`` is ``init`` or ``exit`` where the task that died was inside the loader's system call for that module: then
    its init or exit ended half way. ``locks`` that it died with, by the functions of the kernel that hold them;
    ``in F`` is one that F itself may have taken. Each is None or empty for what killed no task.

    The module of an init or exit is the one nearest to the loader's call. Where the line ``Modules linked in`` shows
    that this one is neither loaded nor unloaded at the time (an init or exit may be tail-called, and leaves no frame),
    it is the only one that is, without those whose init or exit is known to be ``dead``. What the kernel only guesses
    counts where it is sure of nothing.
    """
    nothing: Oops = {'died_in': None, 'of': None, 'call': None, 'locks': entry.get('locks', [])}
    if entry['kind'] != 'oops':
        return nothing
    frames = [frame_of(printed) for printed in entry['trace']]
    if not frames:
        return _without_names(entry) or nothing
    frames = _believable(frames)
    at, call = _loader_call(frames)
    if call:
        return _in_call(entry, frames[:at], call, frames[at].function, (dead or {}).get(call, set()))
    if any(frame.function in PROBES and not frame.module for frame in frames):
        of = _probed(entry, frames)
        return {'died_in': 'probe', 'of': of or None, 'call': None, 'locks': _locks(entry, frames, of)}
    if any(frame.function in WORKERS and not frame.module for frame in frames):
        return _in_worker(entry, frames)
    return {**nothing, 'locks': _definite_locks(entry, frames)}


def _believable(frames: List[Frame]) -> List[Frame]:
    """Those of which the kernel is sure, if they lead to where a call comes from; else all. The stack of a task keeps
    what it called earlier, and a guess may be that.
    """
    sure = [frame for frame in frames if frame.sure]
    return sure if any(not frame.module and ROOTS.match(frame.function) for frame in sure) else frames


def _loader_call(frames: List[Frame]) -> Tuple[int, Optional[str]]:
    """(index, ``init`` or ``exit``) of the innermost frame of the loader; (0, None) without one."""
    for at, frame in enumerate(frames):
        if frame.module:
            continue
        if frame.function.endswith(EXIT_CALL):
            return at, 'exit'
        if frame.function.endswith(INIT_CALLS):
            return (0, None) if any(outer.function in BOOT for outer in frames[at:]) else (at, 'init')
        if SYSTEM_CALL.search(frame.function) and ROOTS.match(frame.function):
            break  # another system call: what the kernel guesses beyond it is the rest of an earlier one
    return 0, None


def _in_call(entry: Oops, inner: List[Frame], call: str, caller: str, dead: Set[str]) -> Oops:
    of = _loaded(entry, inner, call, caller, dead)
    probe = any(frame.function in PROBES for frame in inner)
    locks = _locks(entry, inner, of, every=True) if of else _definite_locks(entry, inner)
    if inner and not inner[-1].module and NOTIFIER_CHAIN in LOCKS_OF.get(inner[-1].function, []):
        locks[locks.index(NOTIFIER_CHAIN)] = MODULE_NOTIFIERS
    if not of:
        return {'died_in': None, 'of': None, 'call': None, 'locks': locks}
    return {'died_in': 'probe' if probe and call == 'init' else call, 'of': of, 'call': call, 'locks': locks}


def _loaded(entry: Oops, inner: List[Frame], call: str, caller: str, dead: Set[str]) -> str:
    """The module whose load or unload it was; empty where that cannot be told."""
    named = [frame for frame in inner if frame.module]
    sure = [frame for frame in named if frame.sure] or named
    nearest = sure[-1].module if sure else _word(entry['module'])
    marked = entry.get('loading') if call == 'init' else entry.get('unloading')
    if nearest and (marked is None or nearest in marked or nearest not in entry.get('settled', [])):
        return nearest
    # Before its init and after its exit the loader is at work for it, not the module.
    own = caller == 'do_one_initcall' if call == 'init' else not any(
        frame.function == 'free_module' for frame in inner)
    alive = marked if marked is None or len(marked) == 1 else [name for name in marked if name not in dead]
    return alive[0] if alive and len(alive) == 1 and (nearest or own) else ''


def _probed(entry: Oops, frames: List[Frame]) -> str:
    """The module of the driver: its probe is what the driver core called, or what a bus in a module then called."""
    at = next((at for at, frame in enumerate(frames) if frame.function in PROBES and not frame.module), len(frames))
    inner = frames[:at]
    named = [(index, frame) for index, frame in enumerate(inner) if frame.module]
    if not named:
        return _word(entry['module'])
    index, outermost = named[-1]
    if index == len(inner) - 1:
        deeper = [frame for _index, frame in named[:-1] if frame.module != outermost.module]
        if deeper and re.search(r'probe|connect|bind', deeper[-1].function):
            return deeper[-1].module
        own = _word(entry['module'])
        if not deeper and own not in ('', outermost.module) and re.search('probe', str(entry['function'])):
            return own
    return outermost.module


def _in_worker(entry: Oops, frames: List[Frame]) -> Oops:
    named = [frame for frame in frames if frame.module]
    of = _word(entry['module']) or (named[0].module if named else '') or entry.get('work_of', '') or \
        (entry.get('last_unloaded', '') if entry.get('freed_code') else '')
    return {'died_in': 'worker', 'of': of or None, 'call': None, 'locks': _locks(entry, frames, of) if of else []}


def _without_names(entry: Oops) -> Optional[Oops]:
    """Of a kernel without symbol names: a loader died in the code of a module that was loaded or unloaded then."""
    task = _word(entry.get('task'))
    if not is_unavailable(entry['function']) or 'workqueue' in entry or not (
            task in LOADERS or task.startswith('python')):
        return None
    for module in reversed(entry.get('code_of') or [_word(entry['module'])]):
        for call, listed in (('init', entry.get('loading')), ('exit', entry.get('unloading'))):
            if module in (listed or []):
                return {'died_in': call, 'of': module, 'call': call, 'locks': [NAMELESS_LOCK]}
    return None


def _definite_locks(entry: Oops, frames: List[Frame]) -> List[str]:
    """Those of the kernel's functions on the way; not of the one that it died in, which may not have come to it."""
    found: List[str] = []
    for at, frame in enumerate(frames):
        if at == 0 and frame.function == _plain(entry['function']):
            continue
        found += [lock for lock in LOCKS_OF.get(frame.function, []) if lock not in found]
    return found


def _locks(entry: Oops, inner: List[Frame], of: str, every: bool = False) -> List[str]:
    """The locks that were held, and the functions that may hold one: where it died, and (``every``) all that had called
    the module back without a lock that is known.
    """
    found = _definite_locks(entry, inner)
    if entry.get('preempt_count'):
        found.append(SPIN_LOCK)  # make_task_dead in kernel/exit.c tells of it
    inside = [_fault_in(entry, inner, of)]
    if every:
        inside += _called_back_by(inner)
    return found + ['in ' + function for number, function in enumerate(inside)
                    if function and function not in inside[:number]]


def _called_back_by(inner: List[Frame]) -> List[Optional[str]]:
    """Of each run of the kernel's functions that called a module: the innermost, where none has a known lock."""
    found: List[Optional[str]] = []
    run: List[Frame] = []
    called: bool = False
    for frame in [*inner, Frame('', 'end', True)]:
        if not frame.module:
            run.append(frame)
            continue
        if called and run and not any(other.function in LOCKS_OF for other in run):
            found += [other.function for other in run[:1] if not LEAF.match(other.function)
                      and not DRIVER_CORE.match(other.function)]
        called, run = True, []
    return found


def _fault_in(entry: Oops, inner: List[Frame], of: str) -> Optional[str]:
    """The function outside the module that may hold a lock of its own; None where the module's own code died."""
    fault = [] if 'pc' in entry or is_unavailable(entry['function']) else \
        [Frame(_plain(entry['function']), _word(entry['module']), True)]
    for frame in fault + inner:
        if frame.module == of or (not frame.module and ROOTS.match(frame.function)):
            return None
        if not LEAF.match(frame.function):
            return frame.function
    return None


def _plain(function: Fact[str]) -> str:
    return _word(function).partition('.')[0]


def _word(fact: Optional[Fact[str]]) -> str:
    return '' if is_unavailable(fact) else str(fact)


def believed(oopses: List[Oops], taint_flags: Optional[Fact[List[str]]],
             oops_count: Optional[Fact[int]]) -> Tuple[List[Oops], List[str]]:
    """The reports that the kernel's own evidence bears out, and why the log may lack some: a sentence each.

    Without the taint ``died`` (die() in arch/x86/kernel/dumpstack.c sets it) no task of this boot has died in an oops,
    whatever a log says. ``oops_count`` is /sys/kernel/oops_count, from 6.2 on, or unavailable: then the
    number that an oops bears (``[#3]``) tells.
    """
    deaths = [entry for entry in oopses if entry['kind'] == 'oops']
    if not is_unavailable(taint_flags) and 'died' not in taint_flags:
        return [entry for entry in oopses if entry['kind'] != 'oops'], []
    numbers = [entry['number'] for entry in deaths if 'number' in entry]
    if is_unavailable(oops_count) and numbers and max(numbers) > len(deaths):
        return oopses, ['the last oops in the kernel log is number %d, and it shows %d: it has lost some' % (
            max(numbers), len(deaths))]
    if not is_unavailable(oops_count) and oops_count > len(deaths):
        return oopses, ['the kernel has counted %d oopses, and its log shows %d: it has lost some' % (
            oops_count, len(deaths))]
    if is_unavailable(oops_count) and not deaths and not is_unavailable(taint_flags):
        return oopses, ['the kernel says that a task has died in an oops (taint D), and its log shows none']
    return oopses, []
