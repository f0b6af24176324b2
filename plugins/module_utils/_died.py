# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oopses of the kernel log -> what ended an init or exit, which locks died with it, what is foreign. Pure."""

from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._parked import bore


def _oopses(oopses):
    # type: (List[Dict[str, Any]]) -> List[Dict[str, Any]]
    return [entry for entry in oopses if entry['kind'] == 'oops']


def own_death(oopses, name, call):
    # type: (List[Dict[str, Any]], str, str) -> Optional[Dict[str, Any]]
    """The last oops that ended the init or exit (``call``) of a module, whose task is gone; None without one.

    The log names a parked module as it was called then.
    """
    own = [entry for entry in _oopses(oopses)
           if entry['call'] == call and bore(name, entry['of']) and entry['task_gone']]
    return own[-1] if own else None


def last_of(oopses, name):
    # type: (List[Dict[str, Any]], str) -> Optional[Dict[str, Any]]
    """The last oops that has to do with a module; None without one."""
    own = [entry for entry in _oopses(oopses) if bore(name, entry['of']) or bore(name, entry['module'])]
    return own[-1] if own else None


def locks_held(oopses, name):
    # type: (List[Dict[str, Any]], str) -> List[Tuple[str, str]]
    """The locks that died with their owner and that matter to a module, each with what will hang."""
    return [(lock, f'{lock} died with its owner') for entry in _oopses(oopses) if bore(name, entry['of'])
            for lock in entry['locks'] if not lock.startswith('in ')]


def foreign_oopses(oopses, name):
    # type: (List[Dict[str, Any]], str) -> List[Dict[str, Any]]
    """Oopses outside the module, but for those that stayed inside another module's own init or exit."""
    return [entry for entry in _oopses(oopses)
            if not bore(name, entry['module']) and not (entry['call'] and entry['of'])]


def loader(oopses, has_idempotent_loads, stale_buckets):
    # type: (Any, bool, Any) -> str
    """``ok``, ``stale_entry_suspected`` or ``wedged``: what loads that died left in the module loader.

    ``wedged``: an oops in the loader itself, outside any module, with the loader's locks held. ``stale_buckets``: how
    many were counted in idem_hash (kernel/module/main.c), or unavailable; decides where it is known.
    """
    if is_unavailable(oopses):
        return 'ok'
    died = _oopses(oopses)
    for entry in died:
        in_loader = any(call in frame for frame in entry['trace'] for call in ('load_module', 'do_init_module'))
        if in_loader and not entry['of']:
            return 'wedged'
    in_finit = any('finit_module' in frame for entry in died for frame in entry['trace'])
    if not has_idempotent_loads or not in_finit:
        return 'ok'
    return 'ok' if stale_buckets == 0 else 'stale_entry_suspected'
