# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a module cannot go: facts in, one verdict out, in the order in which the kernel's delete_module checks."""

from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._parked import bore

HAZARDS = {
    'running_task': 'a task runs in the code of the module, or may do so',
    'undecided': 'nothing shows whether its init or exit still runs or died, or that its references are leaked',
    'in_use': 'something found still uses the module',
    'dangling_references': 'the kernel would call the module, by a device, timer, interrupt or the like that it '
                           'registered, and no exit takes that back',
    'foreign_oops': 'an oops outside the module may have left kernel locks held',
}
LOADERS = ('insmod', 'modprobe', 'kmod', 'rmmod', 'depmod', 'systemd-modules', 'systemd-udevd', '(udev-worker)')
LIVE = ('unloadable', 'in_use', 'references_leaked')
# Where no exit runs, or none that is whole.
WITHOUT_EXIT = ('init_running', 'init_died', 'exit_running', 'exit_died', 'no_exit', 'exit_lost')
# Frames below an oops in a module's own init or exit: nothing but that module was interrupted.
OWN_CALLS = ('do_one_initcall', 'do_init_module', 'delete_module')


def _hazard(code, reason, evidence):
    # type: (str, str, List[Any]) -> Dict[str, Any]
    return {'code': code, 'reason': reason, 'evidence': evidence}


def name_task(task):
    # type: (Dict[str, Any]) -> str
    """``insmod (pid 1876, in f_init)``."""
    where = ', in {}'.format(task['function']) if task.get('function') else ''
    return '{} (pid {}{})'.format(task.get('command', '?'), task.get('pid', '?'), where)


def _listed(texts):
    # type: (List[str]) -> str
    return ', '.join(texts[:5]) + (' and %d more' % (len(texts) - 5) if len(texts) > 5 else '')


def name_holders(holders):
    # type: (Dict[str, Any]) -> List[str]
    """One text for each holder found: process, mount, network device, device."""
    texts = []
    for process in _known(holders, 'processes'):
        path = _word(process['path'], 'a file')
        texts.append('process {} (pid {}) with {} open'.format(process['command'], process['pid'], path))
    for mount in _known(holders, 'mounts'):
        texts.append('mount ' + _word(mount['path'], 'in no namespace that can be seen'))
    for device in _known(holders, 'network'):
        texts.append('network device {}'.format(device['device']))
    for device in _known(holders, 'devices'):
        texts.append('device {device} ({evidence})'.format(**device))
    for protocol in _known(holders, 'protocols'):
        texts.append('%d sockets of protocol %s' % (protocol['sockets'], protocol['protocol']))
    for algorithm in _known(holders, 'algorithms'):
        texts.append('users of the algorithm {}'.format(algorithm['algorithm']))
    return texts


def unseen_holders(holders):
    # type: (Dict[str, Any]) -> List[str]
    """Why holders of a kind that can hold any module could not be looked for: processes, mounts, devices."""
    return ['{}: {}'.format(kind, holders[kind]['unavailable']) for kind in ('processes', 'mounts', 'devices')
            if isinstance(holders.get(kind), dict)]


def _word(fact, otherwise):
    # type: (Any, str) -> str
    return otherwise if is_unavailable(fact) or not fact else str(fact)


def dangling(facts):
    # type: (Dict[str, Any]) -> List[Dict[str, Any]]
    """What the kernel would call of the module when its code is gone: what it registered, its kernel threads."""
    threads = [{'kind': 'kernel thread', 'what': name_task(task), 'evidence': 'its stack'}
               for task in facts['tasks']['tasks'] if task.get('kernel_thread')]
    return threads + list(facts['registrations']['found'])


def _dangling_hazard(facts):
    # type: (Dict[str, Any]) -> List[Dict[str, Any]]
    found, registered = dangling(facts), facts['registrations']
    if found:
        named = _listed(['{kind} {what}'.format(**entry) for entry in found])
        reason = 'the kernel would still call {}: {}'.format(facts['name'], named)
        return [_hazard('dangling_references', reason, found)]
    if registered['blind']:
        # A host was lost by a timer that nobody could see: none seen is not none there.
        return [_hazard('dangling_references', 'whether the kernel would still call {} cannot be seen: {}'.format(
            facts['name'], registered['blind']), registered['unseen'])]
    return []


def _known(holders, kind):
    # type: (Dict[str, Any], str) -> List[Dict[str, Any]]
    found = holders.get(kind)
    return list(found) if isinstance(found, list) else []


def _oopses(facts):
    # type: (Dict[str, Any]) -> List[Dict[str, Any]]
    log = facts['oopses']
    return [] if is_unavailable(log) else [entry for entry in log if entry['kind'] == 'oops']


def own_oops(facts):
    # type: (Dict[str, Any]) -> Optional[Dict[str, Any]]
    """The last oops in the module's own code whose task is gone; None without one.

    The log names a parked module as it was called then.
    """
    own = [entry for entry in _oopses(facts) if bore(facts['name'], entry.get('module')) and entry.get('task_gone')]
    return own[-1] if own else None


def foreign_oopses(facts):
    # type: (Dict[str, Any]) -> List[Dict[str, Any]]
    """Oopses outside the module, but for those that stayed inside another module's own init or exit."""
    found = []
    for entry in _oopses(facts):
        if bore(facts['name'], entry.get('module')):
            continue
        in_own_call = any(call in frame for frame in entry.get('trace', []) for call in OWN_CALLS)
        if not (_word(entry['module'], '') and in_own_call):
            found.append(entry)
    return found


def _running(facts):
    # type: (Dict[str, Any]) -> List[Dict[str, Any]]
    tasks = list(facts['tasks']['tasks'])
    if own_oops(facts):
        # Init and exit run in a task of a process: a kernel thread of the module is one that it started.
        tasks = [task for task in tasks if not task.get('kernel_thread')]
    spinning = [] if is_unavailable(facts['spinning']) else list(facts['spinning'])
    if own_oops(facts):
        # The oops accounts for the state: a busy task of another kind proves nothing.
        spinning = [task for task in spinning if task.get('command') in LOADERS]
    return tasks + spinning


def _half_way(facts, call):
    # type: (Dict[str, Any], str) -> Tuple[str, str, List[Dict[str, Any]]]
    name = facts['name']
    running = _running(facts)
    if running:
        named = _listed([name_task(task) for task in running])
        return (call + '_running', f'The {call} of {name} still runs: {named}.',
                [_hazard('running_task', f'the {call} of {name} still runs: {named}', running)])
    oops = own_oops(facts)
    if oops:
        threads = facts['tasks']['tasks']
        named = _listed([name_task(task) for task in threads])
        return (call + '_died', 'The {} of {} died: {} in {}.'.format(
            call, name, _word(oops['cause'], 'an oops'), _word(oops['function'], 'its code')),
            [_hazard('running_task', f'tasks run in the code of {name}: {named}', threads)] if threads else [])
    # A log that could not be read shows nothing, not even that there was no oops.
    unread = facts['oopses']['unavailable'] if is_unavailable(facts['oopses']) else None
    log = f'the kernel log could not be read: {unread}' if unread else 'the kernel log shows no oops in it'
    either = f'the kernel log could not be read: {unread}' if unread else 'no oops either'
    return (call + '_running',
            f'Whether the {call} of {name} still runs or died cannot be told: no task is seen in its code, and {log}.',
            [_hazard('undecided', f'no task is seen in the {call} of {name}, and {either}', [])])


def exit_missing(facts):
    # type: (Dict[str, Any]) -> bool
    """True where the kernel finds no exit pointer: struct module says so, or else the table's ``[permanent]``."""
    live = facts['live']
    if is_unavailable(live):
        return bool(facts['module'].get('permanent'))
    return bool(live['init'] and not live['exit'])


def _without_exit(facts):
    # type: (Dict[str, Any]) -> Tuple[str, str, List[Dict[str, Any]]]
    name = facts['name']
    cleanup = facts['cleanup_module']
    if cleanup is None:
        return 'no_exit', f'{name} has no exit function, so the kernel calls it permanent.', []
    if is_unavailable(cleanup):
        why = 'whether {} has an exit that the kernel lost cannot be told: {}'.format(name, cleanup['unavailable'])
        reason = 'The kernel finds no exit function of {}, so it calls it permanent (its symbols: {}).'.format(
            name, cleanup['unavailable'])
        return 'no_exit', reason, [_hazard('undecided', why, [])]
    offsets = facts['exit_offsets']
    where = '' if is_unavailable(offsets) else \
        ' (it is at {module}, and the kernel looks at {kernel})'.format(**offsets)
    return 'exit_lost', (
        f'{name} has an exit function, but the kernel finds no pointer to it{where}: the module was built with another '
        'layout of struct module than the running kernel has.'), []


def diagnose(facts, forced=False):
    # type: (Dict[str, Any], bool) -> Dict[str, Any]
    """``{'verdict', 'reason', 'hazards': [{'code', 'reason', 'evidence'}]}`` from the facts of one module.

    The hazard ``dangling_references`` is that of a module whose exit ran half way, or cannot run. ``forced``: it is to
    go by the helper, or without its exit, also where neither is needed.

    ``reason`` is one plain sentence. Follows SYSCALL_DEFINE2(delete_module) in kernel/module/main.c.
    """
    verdict, reason, hazards = _verdict(facts)
    if verdict in WITHOUT_EXIT or (forced and verdict in LIVE):
        hazards = hazards + _dangling_hazard(facts)
    harmless = ('absent', 'builtin') if forced else ('absent', 'builtin', 'unloadable')
    foreign = [] if verdict in harmless else foreign_oopses(facts)
    if foreign:
        last = foreign[-1]
        where = '{} in {}'.format(_word(last['cause'], 'an oops'), _word(last['function'], 'unknown code'))
        hazards = hazards + [_hazard('foreign_oops', 'the kernel log shows an oops outside {}: {}'.format(
            facts['name'], where), foreign)]
    return {'verdict': verdict, 'reason': reason, 'hazards': hazards}


def _verdict(facts):
    # type: (Dict[str, Any]) -> Tuple[str, str, List[Dict[str, Any]]]
    name = facts['name']
    module = facts['module']
    state = module['state']
    if state == 'absent':
        return 'absent', f'{name} is not loaded.', []
    if state == 'builtin':
        return 'builtin', f'{name} is built into the kernel.', []
    if facts['kernel']['modules_disabled'] == 1:
        return 'unload_disabled', 'kernel.modules_disabled=1 forbids loading and unloading until the next boot.', []
    if is_unavailable(module['refcount']):
        return 'unload_disabled', 'This kernel cannot unload modules (CONFIG_MODULE_UNLOAD is not set).', []
    if module['used_by']:
        return 'has_dependents', '{} is used by the modules {}.'.format(name, ', '.join(module['used_by'])), []
    if state == 'coming':
        return _half_way(facts, 'init')
    if state == 'going':
        return _half_way(facts, 'exit')

    return _live(facts)


def _live(facts):
    # type: (Dict[str, Any]) -> Tuple[str, str, List[Dict[str, Any]]]
    name, references = facts['name'], facts['module']['refcount']
    if is_unavailable(facts['holders']):
        reason = facts['holders']['unavailable']
        why = f'who holds the references of {name} was {reason}'
        return 'in_use', f'{name} has {references} references; who holds them was {reason}.', [
            _hazard('undecided', why, [])]
    hazards = []
    holders = name_holders(facts['holders'])
    if holders and (references > 0 or exit_missing(facts)):
        hazards.append(_hazard('in_use', f'{name} is held by {_listed(holders)}', holders))
    tasks = facts['tasks']['tasks']
    if tasks:
        named = _listed([name_task(task) for task in tasks])
        hazards.append(_hazard('running_task', f'tasks run in the code of {name}: {named}', tasks))
    unseen = unseen_holders(facts['holders'])
    if references > 0 and unseen and not holders:
        why = '; '.join(unseen)
        hazards.append(_hazard('undecided', f'what may hold {name} could not be looked for: {why}', unseen))
    elif references > 0 and not holders and 'O' not in facts['module']['taint'] and not own_oops(facts):
        # Not every holder can be found: the kernel's own modules leak far less often than they are in use.
        why = f"nothing shows that these references are leaked: {name} is the kernel's own and healthy"
        hazards.append(_hazard('undecided', why, []))

    if exit_missing(facts):
        verdict, reason, more = _without_exit(facts)
        return verdict, reason, hazards + more
    if references == 0:
        # A network device counts no reference: rmmod takes it away.
        going = f'; {_listed(holders)} will go with it' if holders else ''
        return 'unloadable', f'{name} is live and unused{going}.', hazards
    if holders:
        return 'in_use', f'{name} is held by {_listed(holders)}.', hazards
    return ('references_leaked', f'{name} has {references} references, and nothing was found that holds them.',
            hazards)


def loader(oopses, has_idempotent_loads, stale_buckets):
    # type: (Any, bool, Any) -> str
    """``ok``, ``stale_entry_suspected`` or ``wedged``: what loads that died left in the module loader.

    ``wedged``: an oops in the loader itself, outside any module, with the loader's locks held. ``stale_buckets``: how
    many were counted in idem_hash (kernel/module/main.c), or unavailable; decides where it is known.
    """
    if is_unavailable(oopses):
        return 'ok'
    died = [entry for entry in oopses if entry['kind'] == 'oops']
    for entry in died:
        in_loader = any(call in frame for frame in entry['trace'] for call in ('load_module', 'do_init_module'))
        if in_loader and not _word(entry['module'], ''):
            return 'wedged'
    in_finit = any('finit_module' in frame for entry in died for frame in entry['trace'])
    if not has_idempotent_loads or not in_finit:
        return 'ok'
    return 'ok' if stale_buckets == 0 else 'stale_entry_suspected'
