# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a module cannot go: facts in, one verdict out, in the order in which the kernel's delete_module checks."""

from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable

HAZARDS = {
    'running_task': 'a task runs in the code of the module, or may do so',
    'undecided': 'nothing shows whether the init or exit of the module still runs or died',
    'in_use': 'something found still uses the module',
    'foreign_oops': 'an oops outside the module may have left kernel locks held',
}
LOADERS = ('insmod', 'modprobe', 'kmod', 'rmmod', 'depmod', 'systemd-modules', 'systemd-udevd', '(udev-worker)')
# Frames below an oops in a module's own init or exit: nothing but that module was interrupted.
OWN_CALLS = ('do_one_initcall', 'do_init_module', 'delete_module')


def _hazard(code, reason, evidence):
    # type: (str, str, List[Any]) -> Dict[str, Any]
    return {'code': code, 'reason': reason, 'evidence': evidence}


def name_task(task):
    # type: (Dict[str, Any]) -> str
    """``insmod (pid 1876, in f_init)``."""
    where = ', in %s' % task['function'] if task.get('function') else ''
    return '%s (pid %s%s)' % (task.get('command', '?'), task.get('pid', '?'), where)


def _listed(texts):
    # type: (List[str]) -> str
    return ', '.join(texts[:5]) + (' and %d more' % (len(texts) - 5) if len(texts) > 5 else '')


def name_holders(holders):
    # type: (Dict[str, Any]) -> List[str]
    """One text for each holder found: process, mount or network device."""
    texts = []
    for process in _known(holders, 'processes'):
        texts.append('process %s (pid %s) with %s open' % (process['command'], process['pid'], process['path']))
    for mount in _known(holders, 'mounts'):
        texts.append('mount %s' % mount['path'])
    for device in _known(holders, 'network'):
        texts.append('network device %s' % device['device'])
    for protocol in _known(holders, 'protocols'):
        texts.append('%d sockets of protocol %s' % (protocol['sockets'], protocol['protocol']))
    for algorithm in _known(holders, 'algorithms'):
        texts.append('users of the algorithm %s' % algorithm['algorithm'])
    return texts


def unseen_holders(holders):
    # type: (Dict[str, Any]) -> List[str]
    """Why holders of a kind that can hold any module could not be looked for: processes, mounts."""
    return ['%s: %s' % (kind, holders[kind]['unavailable']) for kind in ('processes', 'mounts')
            if isinstance(holders.get(kind), dict)]


def _word(fact, otherwise):
    # type: (Any, str) -> str
    return otherwise if is_unavailable(fact) or not fact else str(fact)


def _known(holders, kind):
    # type: (Dict[str, Any], str) -> List[Dict[str, Any]]
    found = holders.get(kind)
    return [] if is_unavailable(found) else list(found)


def _oopses(facts):
    # type: (Dict[str, Any]) -> List[Dict[str, Any]]
    log = facts.get('oopses')
    return [] if is_unavailable(log) else [entry for entry in log if entry['kind'] == 'oops']


def own_oops(facts):
    # type: (Dict[str, Any]) -> Optional[Dict[str, Any]]
    """The last oops in the module's own code whose task is gone; None without one."""
    own = [entry for entry in _oopses(facts) if entry.get('module') == facts['name'] and entry.get('task_gone')]
    return own[-1] if own else None


def foreign_oopses(facts):
    # type: (Dict[str, Any]) -> List[Dict[str, Any]]
    """Oopses outside the module, but for those that stayed inside another module's own init or exit."""
    found = []
    for entry in _oopses(facts):
        if entry.get('module') == facts['name']:
            continue
        in_own_call = any(call in frame for frame in entry.get('trace', []) for call in OWN_CALLS)
        if not (_word(entry['module'], '') and in_own_call):
            found.append(entry)
    return found


def _running(facts):
    # type: (Dict[str, Any]) -> List[Dict[str, Any]]
    tasks = list(facts['tasks']['tasks'])
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
        return (call + '_running', 'The %s of %s still runs: %s.' % (call, name, named),
                [_hazard('running_task', 'the %s of %s still runs: %s' % (call, name, named), running)])
    oops = own_oops(facts)
    if oops:
        return (call + '_died', 'The %s of %s died: %s in %s.' % (
            call, name, _word(oops['cause'], 'an oops'), _word(oops['function'], 'its code')), [])
    return (call + '_running',
            'Whether the %s of %s still runs or died cannot be told: no task is seen in its code, and the kernel log '
            'shows no oops in it.' % (call, name),
            [_hazard('undecided', 'no task is seen in the %s of %s, and no oops either' % (call, name), [])])


def exit_missing(facts):
    # type: (Dict[str, Any]) -> bool
    """True where the kernel finds no exit pointer: struct module says so, or else the table's ``[permanent]``."""
    live = facts['live']
    if is_unavailable(live):
        return bool(facts['module'].get('permanent'))
    return bool(live['init'] and not live['exit'])


def _without_exit(facts):
    # type: (Dict[str, Any]) -> Tuple[str, str]
    name = facts['name']
    cleanup = facts['cleanup_module']
    if is_unavailable(cleanup):
        why = '' if cleanup is None else ' (its symbols: %s)' % cleanup['unavailable']
        return 'no_exit', '%s has no exit function, so the kernel calls it permanent%s.' % (name, why)
    return 'exit_lost', (
        '%s has an exit function, but the kernel finds no pointer to it: the module was built with another layout of '
        'struct module than the running kernel has.' % name)


def diagnose(facts):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """``{'verdict', 'reason', 'hazards': [{'code', 'reason', 'evidence'}]}`` from the facts of one module.

    ``reason`` is one plain sentence. Follows SYSCALL_DEFINE2(delete_module) in kernel/module/main.c.
    """
    verdict, reason, hazards = _verdict(facts)
    foreign = [] if verdict in ('absent', 'builtin', 'unloadable') else foreign_oopses(facts)
    if foreign:
        last = foreign[-1]
        where = '%s in %s' % (_word(last['cause'], 'an oops'), _word(last['function'], 'unknown code'))
        hazards = hazards + [_hazard('foreign_oops', 'the kernel log shows an oops outside %s: %s' % (
            facts['name'], where), foreign)]
    return {'verdict': verdict, 'reason': reason, 'hazards': hazards}


def _verdict(facts):
    # type: (Dict[str, Any]) -> Tuple[str, str, List[Dict[str, Any]]]
    name = facts['name']
    module = facts['module']
    state = module['state']
    if state == 'absent':
        return 'absent', '%s is not loaded.' % name, []
    if state == 'builtin':
        return 'builtin', '%s is built into the kernel.' % name, []
    if facts['kernel']['modules_disabled'] == 1:
        return 'unload_disabled', 'kernel.modules_disabled=1 forbids loading and unloading until the next boot.', []
    if is_unavailable(module['refcount']):
        return 'unload_disabled', 'This kernel cannot unload modules (CONFIG_MODULE_UNLOAD is not set).', []
    if module['used_by']:
        return 'has_dependents', '%s is used by the modules %s.' % (name, ', '.join(module['used_by'])), []
    if state == 'coming':
        return _half_way(facts, 'init')
    if state == 'going':
        return _half_way(facts, 'exit')

    holders = name_holders(facts['holders'])
    tasks = facts['tasks']['tasks']
    hazards = []
    if holders:
        hazards.append(_hazard('in_use', '%s is held by %s' % (name, _listed(holders)), holders))
    if tasks:
        named = _listed([name_task(task) for task in tasks])
        hazards.append(_hazard('running_task', 'tasks run in the code of %s: %s' % (name, named), tasks))

    if exit_missing(facts):
        verdict, reason = _without_exit(facts)
        return verdict, reason, hazards
    if module['refcount'] > 0 and holders:
        return 'in_use', '%s is held by %s.' % (name, _listed(holders)), hazards
    unseen = unseen_holders(facts['holders'])
    if module['refcount'] > 0 and unseen:
        hazards.append(_hazard('undecided', 'what may hold %s could not be looked for: %s' % (
            name, '; '.join(unseen)), unseen))
    if module['refcount'] > 0:
        return ('references_leaked', '%s has %d references, and nothing was found that holds them.' % (
            name, module['refcount']), hazards)
    return 'unloadable', '%s is live and unused.' % name, hazards
