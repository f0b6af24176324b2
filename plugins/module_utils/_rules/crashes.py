# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oopses of the kernel log -> what ended an init or exit, which locks died with it, what is foreign. Pure.

Each has what oops and attribution tell of it, and ``task_gone``: whether its task is no longer there.
"""

from typing import List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.hazards import known
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.parked import bore
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Oops

Oopses = List[Oops]

# Whoever unloads any module takes these.
OF_EVERYBODY = ('async', 'rtnl', 'pernet_ops_rwsem', 'cpu_hotplug_lock', 'ftrace_lock', 'module notifier chain',
                'module_mutex', 'klp_mutex', 'text_mutex', 'jump_label_mutex', 'static_call_mutex', 'kprobe_mutex')
# What nobody takes but who has to do with that device, or with that file.
OF_ONE_THING = {'device_lock', 'entry in /proc', 'entry in sysfs', 'entry in debugfs'}
OF_ITS_OWN = 'in code of '
LOADING = ('load_module', 'do_init_module', 'do_one_initcall')
HANGS = {
    'device_lock': 'removing that device, suspending, and an ordinary reboot hang',
    'async': 'the next unload of any module hangs in async_synchronize_full',
    'rtnl': 'whatever touches a network device hangs',
    'pernet_ops_rwsem': 'whatever makes or ends a network namespace hangs',
    'cpu_hotplug_lock': 'whatever brings a CPU up or down hangs, suspending as well',
    'module notifier chain': 'as soon as a module registers for it, every load and unload hangs',
    'module_mutex': 'every load and unload of a module hangs',
    's_umount': 'sync, unmounting that file system and an ordinary reboot hang',
    'console_lock': 'whatever registers a console or prints to one may wait for ever',
    'misc_mtx': 'whatever opens, adds or removes a misc device hangs',
    'param_lock': 'whatever reads or writes a parameter of that module hangs',
    'entry in /proc': 'an exit that removes that file hangs',
    'entry in sysfs': 'an exit that removes that file, or its device, hangs',
    'entry in debugfs': 'an exit that removes that file hangs',
    'spin lock': 'whatever takes it keeps a CPU for ever',
}


def _deaths(oopses: Oopses) -> Oopses:
    return [entry for entry in oopses if entry['kind'] == 'oops']


def definite(entry: Oops) -> List[str]:
    """The locks that the task surely held, and not those that the function it died in may have taken."""
    return [lock for lock in entry['locks'] if not lock.startswith('in ')]


def own_death(oopses: Oopses, name: str, call: str) -> Optional[Oops]:
    """The last oops that ended the init or exit (``call``) of a module, whose task is gone; None without one.

    The log names a parked module as it was called then.
    """
    own = [entry for entry in _deaths(oopses)
           if entry['call'] == call and bore(name, entry['of']) and entry['task_gone']]
    return own[-1] if own else None


def last_of(oopses: Oopses, name: str) -> Optional[Oops]:
    """The last oops that has to do with a module; None without one."""
    own = [entry for entry in _deaths(oopses) if bore(name, entry['of']) or bore(name, entry['module'])]
    return own[-1] if own else None


def locks_held(oopses: Oopses, name: str) -> List[Tuple[str, str]]:
    """The locks that died with their owner and that matter to a module, each with what will hang for it."""
    found: List[Tuple[str, str]] = []
    for entry in _deaths(oopses):
        own = bore(name, entry['of'] or entry['module'])
        for lock in definite(entry):
            if own or lock in OF_EVERYBODY:
                whose = name if own else entry['of'] or known(entry['module'], 'the kernel')
                hangs = HANGS.get(lock, 'whoever takes it waits for ever')
                text = f'a task died in the code of {whose} while it held the {spelt(lock)}: {hangs}'
                if (lock, text) not in found:
                    found.append((lock, text))
    return found


def locks_of_its_own(oopses: Oopses, name: str) -> List[Tuple[str, str]]:
    """For each function of a module in which a task died, outside its init and exit: what its exit may wait for.

    No trace shows the locks of its own that the module took, nor that somebody waits for the call to end.
    """
    functions = {known(entry['function'], 'its code'): known(entry['task'], 'a task') for entry in _deaths(oopses)
                 if bore(name, entry['module']) and not entry['call']}
    text = ('{} died in {} of {name}: what it had locked there stays locked, and an exit of {name} that takes that '
            'lock, or waits for the call to end, waits for ever')
    return [(OF_ITS_OWN + function, text.format(task, function, name=name)) for function, task in functions.items()]


def spelt(lock: str) -> str:
    """A lock by its name in a sentence."""
    return {'device_lock': 'lock of its device (device_lock)', 'async': 'place of an asynchronous call (async)',
            'rtnl': 'lock of the network (rtnl)', 'notifier chain': 'lock of a notifier chain',
            'module notifier chain': 'lock of the notifier chain of modules'}.get(lock, lock)


def foreign_oopses(oopses: Oopses, name: str) -> Oopses:
    """Oopses outside the module, but for those that stayed inside another module's own init or exit, with no lock that
    others take.
    """
    return [entry for entry in _deaths(oopses)
            if not bore(name, entry['module']) and not bore(name, entry['of'])
            and not (entry['call'] and entry['of'] and OF_ONE_THING.issuperset(definite(entry)))]


def loader(oopses: Fact[Oopses], has_idempotent_loads: bool, stale_buckets: Fact[int]) -> str:
    """``ok``, ``stale_entry_suspected`` or ``wedged``: what loads that died left in the module loader.

    ``wedged``: an oops in the loader itself, before the init of any module, with the loader's locks held; or in its
    table of running loads, with the lock of that held. ``stale_buckets``: how many were counted in idem_hash
    (kernel/module/main.c), or unavailable; decides where it is known.
    """
    if is_unavailable(oopses):
        return 'ok'
    for entry in _deaths(oopses):
        calls = {call for call in LOADING for frame in entry['trace'] if call in frame}
        if calls and 'do_one_initcall' not in calls and not entry['of']:
            return 'wedged'
        if str(entry['function']).startswith('idempotent'):
            return 'wedged'
    # A kernel without symbol names does not tell by which call the module was loaded.
    left = any(entry['call'] == 'init' and (not entry['trace'] or 'finit_module' in ''.join(entry['trace']))
               for entry in _deaths(oopses))
    # KASAN sees who reads such an entry.
    seen = any(str(entry['function']).startswith('idempotent') and 'KASAN' in str(entry['cause']) for entry in oopses)
    if not has_idempotent_loads or not (left or seen):
        return 'ok'
    return 'ok' if stale_buckets == 0 else 'stale_entry_suspected'
