# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps, as the child with the deadline takes them: each checks before it writes, acts, and says what came of it.

What changed since it was read is left alone: by the helper's comparison under module_mutex, or by a second look here.
"""

import errno
from typing import Callable, Dict, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._actions.helper_choice import Target
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_table
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._returns import HelperReport
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.report import hexadecimal
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Entry, ModuleEntry, TypedDict

AGAIN = 'Run the task again: it reads what there is now'


class Deleted(TypedDict):
    """What came of a reset: the helper's report, the errno of delete_module(2), what was put back, in words."""

    report: HelperReport
    error: int
    restored: Optional[str]


def force_delete(name: str, entry: ModuleEntry) -> int:
    """delete_module(2) with O_TRUNC, and its errno; ``entry`` is the module's line in the table as it was read.

    With O_TRUNC the kernel asks nothing: it takes whatever bears the name by then. Raises KmodError where that is not
    what was read.
    """
    now = module_table.read()['modules'].get(name)
    if now is None:
        return errno.ENOENT
    for key, was, is_now in (('state', entry['state'], now['state']), ('refcount', entry['refcount'], now['refcount']),
                             ('address', entry['address'], now['address']),
                             ('used_by', entry['used_by'], now['used_by'])):
        if is_now != was:
            raise KmodError(f'unload {name}', f'it changed between reading and acting: {key} was {was} and is {is_now}',
                            AGAIN)
    return loader_syscalls.delete_module(name, force=True)


def reset_and_delete(target: Target, expect: Optional[Entry], values: Callable[[Entry], Entry],
                     loader: Dict[str, int], look_for: str) -> Deleted:
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


def _restore(target: Target, before: Entry, written: Entry) -> str:
    try:
        now = target.look()
        if {**now, 'refcount': 0} != {**written, 'refcount': 0}:
            # Such as another who unloads it just now: what is half done there must not be called loading again.
            return 'could not be put back: someone else changed it meanwhile ({})'.format(described(written, now))
        # References taken since then are somebody's: they stay counted.
        count = before['refcount'] + now['refcount'] - written['refcount']
        target.store(now, {**before, 'refcount': count}, {}, 'nobody')
    except KmodError as error:
        return f'could not be put back: {error}'
    return 'put back as it was'


def park(target: Target, expect: Optional[Entry], new_name: str, look_for: str) -> HelperReport:
    """Renames the module and leaves its code where it is; returns the helper's report. Raises KmodError otherwise."""
    report = target.park(expect or target.look(), new_name, look_for=look_for)
    if new_name not in module_table.read()['modules']:
        raise KmodError(f'park {target.name}', f'the helper renamed it, but /proc/modules shows no {new_name}',
                        'Look at the kernel log')
    return report


def described(expect: Entry, write: Entry) -> str:
    """``state coming -> live, refcount 2 -> 1``: what differs between two entries."""
    told = [('state', expect['state'], write['state']), ('refcount', str(expect['refcount']), str(write['refcount'])),
            ('init', hexadecimal(expect['init']), hexadecimal(write['init'])),
            ('exit', hexadecimal(expect['exit']), hexadecimal(write['exit']))]
    return ', '.join(f'{key} {old} -> {new}' for key, old, new in told if old != new) or 'nothing new'
