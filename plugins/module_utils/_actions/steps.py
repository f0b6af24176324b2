# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps, as the child with the deadline takes them: each looks once more, acts, and says what came of it.

What changed since it was read is left alone: by the helper's comparison under module_mutex, or by a second look here.
"""

import errno
from typing import Any, Callable, Dict, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_table
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.report import hexadecimal

AGAIN = 'Run the task again: it reads what there is now'


def force_delete(name: str, entry: Dict[str, Any]) -> int:
    """delete_module(2) with O_TRUNC, and its errno; ``entry`` is the module's line in the table as it was read.

    With O_TRUNC the kernel asks nothing: it takes whatever bears the name by then. Raises KmodError where that is not
    what was read.
    """
    now = module_table.read()['modules'].get(name)
    if now is None:
        return errno.ENOENT
    for key in ('state', 'refcount', 'address', 'used_by'):
        if now.get(key) != entry.get(key):
            raise KmodError(f'unload {name}', f'it changed between reading and acting: {key} was {entry.get(key)} and '
                            f'is {now.get(key)}', AGAIN)
    return loader_syscalls.delete_module(name, force=True)


def reset_and_delete(target: Any, expect: Optional[Dict[str, Any]], values: Callable[[Any], Dict[str, Any]],
                     loader: Dict[str, Any], look_for: str) -> Dict[str, Any]:
    """Reset of a compiled_helper.Target, then delete_module(2) at once; where that fails, puts back what was there.

    Returns ``report`` of the helper, ``error`` (errno of delete_module) and ``restored`` (text, or None).
    Raises KmodError where the helper wrote nothing.
    """
    before = expect or target.look()
    written = values(before)
    report = target.store(before, written, loader, look_for)
    error = loader_syscalls.delete_module(target.name)
    failed = error not in (0, errno.ENOENT)
    return {'report': report, 'error': error, 'restored': _restore(target, before, written) if failed else None}


def _restore(target: Any, before: Dict[str, Any], written: Dict[str, Any]) -> str:
    try:
        now = target.look()
        if any(now[key] != written[key] for key in ('state', 'init', 'exit')):
            # Such as another who unloads it just now: what is half done there must not be called loading again.
            return 'could not be put back: someone else changed it meanwhile ({})'.format(described(written, now))
        # References taken since then are somebody's: they stay counted.
        target.store(now, dict(before, refcount=before['refcount'] + now['refcount'] - written['refcount']), {},
                     'nobody')
    except KmodError as error:
        return f'could not be put back: {error}'
    return 'put back as it was'


def park(target: Any, expect: Optional[Dict[str, Any]], new_name: str, look_for: str) -> Dict[str, Any]:
    """Renames the module and leaves its code where it is; returns the helper's report. Raises KmodError otherwise."""
    report: Dict[str, Any] = target.park(expect or target.look(), new_name, look_for=look_for)
    if new_name not in module_table.read()['modules']:
        raise KmodError(f'park {target.name}', f'the helper renamed it, but /proc/modules shows no {new_name}',
                        'Look at the kernel log')
    return report


def described(expect: Dict[str, Any], write: Dict[str, Any]) -> str:
    """``state coming -> live, refcount 2 -> 1``: what differs between two entries."""
    changes = []
    for key in ('state', 'refcount', 'init', 'exit'):
        if expect[key] != write[key]:
            old, new = expect[key], write[key]
            if key in ('init', 'exit'):
                old, new = hexadecimal(old), hexadecimal(new)
            changes.append(f'{key} {old} -> {new}')
    return ', '.join(changes) or 'nothing new'
