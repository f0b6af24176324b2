# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is known of one module, from every reader that its state calls for. Dear readers are asked last."""

import os
from typing import Any, Dict, List

from ansible_collections.kernelops.kmod.plugins.module_utils import (
    _holders,
    _kernel,
    _kernel_log,
    _module_table,
    _struct_module,
    _tasks,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._symbols import Symbols


def module(name, root='/', kernel=None):
    # type: (str, str, Any) -> Dict[str, Any]
    """The facts that :mod:`_diagnosis` judges. What was not asked for is empty; what cannot be had says why.

    Keys: name, kernel, module (its line in the table), live (struct module), cleanup_module (address), tasks,
    spinning, holders, oopses, anchors (addresses that the helper needs).
    """
    kernel = kernel or _kernel.read(root)
    symbols = Symbols(root)
    entry = _module_table.module(name, kernel['release'], root)
    facts = {
        'name': name, 'kernel': kernel, 'module': entry, 'live': unavailable('%s is not loaded' % name),
        'cleanup_module': None, 'tasks': {'tasks': [], 'unreadable': []}, 'spinning': [], 'holders': {}, 'oopses': [],
        'anchors': {},
    }  # type: Dict[str, Any]
    if entry['state'] in ('absent', 'builtin'):
        return facts
    memory = KernelMemory(root)
    try:
        facts['live'] = _struct_module.read(entry['struct_address'], name, root, memory)
        if entry['state'] == 'live' and not entry['permanent'] and entry['refcount'] == 0:
            return facts
        seen = _tasks.scan(root)
        facts['tasks'] = _tasks.in_module_code(name, root, seen)
        facts['oopses'] = oopses(root)
        facts['anchors'] = _anchors(symbols)
        if entry['state'] != 'live':
            facts['spinning'] = _tasks.spinning(root, seen=seen)
            return facts
        if entry['permanent']:
            facts['cleanup_module'] = _cleanup_module(name, symbols)
        if entry['refcount'] > 0:
            facts['holders'] = _holders.find(name, entry['struct_address'], root, memory, symbols=symbols.address)
        return facts
    finally:
        memory.close()


def _cleanup_module(name, symbols):
    # type: (str, Symbols) -> Any
    try:
        return symbols.address('cleanup_module', name)
    except KmodError as error:
        return unavailable(error)


def _anchors(symbols):
    # type: (Symbols) -> Dict[str, Any]
    try:
        anchors = dict((name, symbols.address(name)) for name in ('modules', 'module_mutex', 'idem_hash', 'idem_lock'))
        anchors['idem_bytes'] = symbols.size('idem_hash')
    except KmodError as error:
        return unavailable(error)
    return anchors


def oopses(root='/'):
    # type: (str) -> Any
    """The kernel log's oopses and warnings; ``task_gone`` says that the task which died is no longer there."""
    lines = _kernel_log.read(root)
    if is_unavailable(lines):
        return lines
    found = _kernel_log.oopses(lines)  # type: List[Dict[str, Any]]
    for entry in found:
        entry['task_gone'] = not _alive(entry.get('pid'), root)
    return found


def _alive(pid, root):
    # type: (Any, str) -> bool
    if not isinstance(pid, int):
        return False
    try:
        with open(os.path.join(root, 'proc', str(pid), 'stat'), errors='replace') as stream:
            return stream.read().rsplit(')', 1)[-1].split()[0] not in ('Z', 'X')
    except (OSError, IndexError):
        return False
