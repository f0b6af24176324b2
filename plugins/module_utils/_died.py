# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oopses of the kernel log -> what ended an init or exit, which locks died with it, what is foreign. Pure.

Each has what _oops and _attribution tell of it, and ``task_gone``: whether its task is no longer there.
"""

from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._parked import bore

Oopses = List[Dict[str, Any]]

# Whoever unloads any module takes these.
OF_EVERYBODY = ('async', 'rtnl', 'pernet_ops_rwsem', 'cpu_hotplug_lock', 'ftrace_lock')
HANGS = {
    'device_lock': 'removing that device, suspending, and an ordinary reboot hang',
    'async': 'the next unload of any module hangs in async_synchronize_full',
    'rtnl': 'whatever touches a network device hangs',
    'pernet_ops_rwsem': 'whatever makes or ends a network namespace hangs',
    'cpu_hotplug_lock': 'whatever brings a CPU up or down hangs, suspending as well',
}


def _deaths(oopses):
    # type: (Oopses) -> Oopses
    return [entry for entry in oopses if entry['kind'] == 'oops']


def definite(entry):
    # type: (Dict[str, Any]) -> List[str]
    """The locks that the task surely held, and not those that the function it died in may have taken."""
    return [lock for lock in entry['locks'] if not lock.startswith('in ')]


def own_death(oopses, name, call):
    # type: (Oopses, str, str) -> Optional[Dict[str, Any]]
    """The last oops that ended the init or exit (``call``) of a module, whose task is gone; None without one.

    The log names a parked module as it was called then.
    """
    own = [entry for entry in _deaths(oopses)
           if entry['call'] == call and bore(name, entry['of']) and entry['task_gone']]
    return own[-1] if own else None


def last_of(oopses, name):
    # type: (Oopses, str) -> Optional[Dict[str, Any]]
    """The last oops that has to do with a module; None without one."""
    own = [entry for entry in _deaths(oopses) if bore(name, entry['of']) or bore(name, entry['module'])]
    return own[-1] if own else None


def locks_held(oopses, name):
    # type: (Oopses, str) -> List[Tuple[str, str]]
    """The locks that died with their owner and that matter to a module, each with what will hang for it."""
    found = []  # type: List[Tuple[str, str]]
    for entry in _deaths(oopses):
        own = bore(name, entry['of'])
        for lock in definite(entry):
            if own or lock in OF_EVERYBODY:
                whose = name if own else entry['of'] or 'the kernel'
                hangs = HANGS.get(lock, 'whoever takes it waits for ever')
                text = f'a task died in the code of {whose} while it held the {spelt(lock)}: {hangs}'
                if (lock, text) not in found:
                    found.append((lock, text))
    return found


def spelt(lock):
    # type: (str) -> str
    """A lock by its name in a sentence."""
    return {'device_lock': 'lock of its device (device_lock)', 'async': 'place of an asynchronous call (async)',
            'rtnl': 'lock of the network (rtnl)', 'notifier chain': 'lock of a notifier chain'}.get(lock, lock)


def foreign_oopses(oopses, name):
    # type: (Oopses, str) -> Oopses
    """Oopses outside the module, but for those that stayed inside another module's own init or exit, with no lock."""
    return [entry for entry in _deaths(oopses)
            if not bore(name, entry['module']) and not bore(name, entry['of'])
            and not (entry['call'] and entry['of'] and not definite(entry))]


def loader(oopses, has_idempotent_loads, stale_buckets):
    # type: (Any, bool, Any) -> str
    """``ok``, ``stale_entry_suspected`` or ``wedged``: what loads that died left in the module loader.

    ``wedged``: an oops in the loader itself, outside any module, with the loader's locks held. ``stale_buckets``: how
    many were counted in idem_hash (kernel/module/main.c), or unavailable; decides where it is known.
    """
    if is_unavailable(oopses):
        return 'ok'
    for entry in _deaths(oopses):
        in_loader = any(call in frame for frame in entry['trace'] for call in ('load_module', 'do_init_module'))
        if in_loader and not entry['of']:
            return 'wedged'
    left = any(entry['call'] == 'init' and 'finit_module' in frame
               for entry in _deaths(oopses) for frame in entry['trace'])
    # KASAN sees who reads such an entry.
    seen = any(str(entry['function']).startswith('idempotent') and 'KASAN' in str(entry['cause']) for entry in oopses)
    if not has_idempotent_loads or not (left or seen):
        return 'ok'
    return 'ok' if stale_buckets == 0 else 'stale_entry_suspected'
