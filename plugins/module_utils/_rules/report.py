# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read of the kernel and its modules, as ``ansible_facts.kmod``: each module with diagnosis and remedy."""

from typing import Dict, List, Optional, Set

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._file_types import ModuleDetails
from ansible_collections.kernelops.kmod.plugins.module_utils._returns import (
    Explained,
    KmodFacts,
    Remedy,
    ShownEntry,
    ShownHolders,
    ShownModule,
    ShownPointers,
    Surveyed,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import crashes, diagnose, hazards, ladder
from ansible_collections.kernelops.kmod.plugins.module_utils._types import (
    Fact,
    Kernel,
    ModuleEntry,
    ModuleFacts,
    Oops,
    StructModule,
)

UNLOAD = 'ansible HOST -b -m kernelops.kmod.kmod_force_unload -a name=%s'
CASCADE = 'ansible HOST -b -m kernelops.kmod.kmod_force_unload -a "name=%s cascade=true"'


def hexadecimal(address: int) -> str:
    """An address as it is returned to users: text, since YAML and JSON readers differ on large numbers."""
    return f'0x{address:x}'


def shown_pointers(live: Fact[StructModule]) -> Fact[ShownPointers]:
    """What was read of struct module, its addresses as hexadecimal text."""
    if is_unavailable(live):
        return live
    return {'module': hexadecimal(live['module']), 'state': live['state'], 'refcount': live['refcount'],
            'init': hexadecimal(live['init']), 'exit': hexadecimal(live['exit']), 'source': live['source']}


def explained(found: Surveyed, subset: List[str]) -> Explained:
    """``{'facts': ansible_facts.kmod, 'warnings': [text]}`` of what module_facts.read found, in those subsets."""
    modules = {name: _module(facts, details, subset, found) for name, (facts, details) in found['modules'].items()}
    facts: KmodFacts = {'modules': modules}
    if 'kernel' in subset:
        facts['kernel'] = _kernel(found)
    return {'facts': facts, 'warnings': found['warnings']}


def _kernel(found: Surveyed) -> Kernel:
    oopses = found['oopses']
    kernel: Kernel = {**found['kernel']}
    kernel.pop('config', None)
    kernel['oopses'] = oopses if is_unavailable(oopses) else sum(1 for entry in oopses if entry['kind'] == 'oops')
    kernel['loader'] = crashes.loader(oopses, *found['loads'])
    return kernel


def _module(facts: ModuleFacts, details: ModuleDetails, subset: List[str], found: Surveyed) -> ShownModule:
    entry = facts['module']
    result: ShownModule = {'state': entry['state']}
    if entry['state'] not in ('absent', 'builtin'):
        if 'state' in subset:
            result = {**result, **details, 'refcount': entry['refcount'], 'size': entry['size'],
                      'used_by': entry['used_by'], 'permanent': entry['permanent'], 'taint': entry['taint'],
                      'address': _address(entry)}
        if 'pointers' in subset:
            result['pointers'] = shown_pointers(facts['live'])
        if 'holders' in subset:
            result['holders'] = _holders(facts)
            result['unexplained_references'] = _unexplained_references(facts)
        if 'oops' in subset:
            result['oops'] = _oops(facts)
        if 'reachability' in subset:
            result['reachability'] = facts['reachability']
    result['diagnosis'] = _diagnosed(facts, found)
    return result


def _address(entry: ModuleEntry) -> Fact[str]:
    if entry['address']:
        return hexadecimal(entry['address'])
    if is_unavailable(entry['struct_address']):
        return unavailable('/proc/modules shows 0: addresses are hidden, or all of its code is gone with its init')
    return unavailable('/proc/modules shows 0: all of its code is gone with its init')


def _holders(facts: ModuleFacts) -> ShownHolders:
    holders, tasks = facts['holders'], facts['tasks']['tasks']
    shown: ShownHolders = {**holders, 'modules': facts['module']['used_by'], 'tasks': tasks}
    threads = {task['pid'] for task in tasks if task.get('kernel_thread')}
    others = shown.get('others')
    if not is_unavailable(others):
        shown['others'] = [entry for entry in others
                           if not (entry.get('kind') == 'kernel thread' and entry['pid'] in threads)]
    return shown


def _unexplained_references(facts: ModuleFacts) -> Fact[int]:
    """References less the holders found: each dependent, and whatever holds it, counts one, as they mostly do."""
    module, holders = facts['module'], facts['holders']
    count = module['refcount']
    if is_unavailable(count):
        return count
    if is_unavailable(holders):
        return holders
    own = 1 if module['state'] == 'coming' else 0  # a load holds one until init has returned
    return max(0, count - len(module['used_by']) - len(hazards.counted(holders)) - own)


def _oops(facts: ModuleFacts) -> Fact[Oops]:
    """The last oops that has to do with the module: the one that ended its init or exit, or another in its code."""
    if is_unavailable(facts['oopses']):
        return facts['oopses']
    oops = diagnose.own_death(facts) or crashes.last_of(facts['oopses'], facts['name'])
    if oops is None:
        return {}
    return {'cause': oops['cause'], 'function': oops['function'], 'offset': oops['offset'], 'task': oops['task'],
            'pid': oops['pid'], 'time': oops['time'], 'taint': oops['taint'], 'died_in': oops['died_in'],
            'of': oops['of'], 'locks': oops['locks']}


def _diagnosed(facts: ModuleFacts, found: Surveyed) -> Remedy:
    diagnosis = diagnose.diagnose(facts)
    plan = ladder.plan(facts, diagnosis, list(ladder.BY_DEFAULT))
    following = plan['next'] or 'nothing'
    if plan['method'] != 'none':
        following = UNLOAD % facts['name']
        if ladder.helper_lacks(found['helpers'], plan['method']):
            following = ladder.with_helper(facts['name'], facts['kernel'])
    elif diagnosis['verdict'] == 'has_dependents':
        following = with_dependents(facts, found['dependents'])
    return {**diagnosis, 'method': plan['method'], 'next': following}


def with_dependents(facts: ModuleFacts, dependents: Dict[str, ModuleFacts]) -> str:
    """What to do about a module that others use: the first of those that would not go, or all of them in one go."""
    left = list(facts['module']['used_by'])
    seen: Set[str] = set()
    while left:
        name = left.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if name not in dependents:
            return f'Ask why {name}, which uses it, cannot go'
        users = dependents[name]['module'].get('used_by', [])
        left += users
        # It is judged as it will be once those that use it are gone.
        alone = without_dependents(dependents[name])
        diagnosis, methods = diagnose.diagnose(alone), list(ladder.BY_DEFAULT)
        plan = ladder.plan(alone, diagnosis, [method for method in methods if method != 'park'])
        if plan['refusal'] and ladder.plan(alone, diagnosis, methods)['method'] == 'park':
            return (f'{name}, which uses it, can only be parked: its code stays, and holds {facts["name"]} until the '
                    'next reboot')
        if plan['refusal']:
            return 'First {}, which uses it: {}. {}'.format(name, plan['refusal'].rstrip('.'), plan['next'])
    return CASCADE % facts['name']


def without_dependents(facts: ModuleFacts, gone: Optional[Set[str]] = None) -> ModuleFacts:
    """The facts as they will be once the dependents, each of which holds one reference, are gone; all, or these."""
    module = facts['module']
    users = module.get('used_by', [])
    left = [user for user in users if gone is not None and user not in gone]
    if len(left) == len(users) or is_unavailable(module['refcount']):
        return facts
    count = max(0, module['refcount'] - len(users) + len(left))
    return {**facts, 'module': {**module, 'used_by': left, 'refcount': count}}


def shown(facts: ModuleFacts) -> ShownEntry:
    """The part of the facts that is returned as ``before`` and ``after``; addresses as hexadecimal text."""
    module = facts['module']
    if module['state'] in ('absent', 'builtin'):
        return {'state': module['state']}
    return {'state': module['state'], 'refcount': module['refcount'], 'used_by': module['used_by'],
            'permanent': module['permanent'], 'pointers': shown_pointers(facts['live'])}
