# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible_facts.kmod``: the running kernel, and each module with its diagnosis and the remedy that will work."""

from typing import Any, Dict, List

from ansible_collections.kernelops.kmod.plugins.module_utils import (
    _diagnosis,
    _ladder,
    _module_details,
    _syscalls,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._module_table import (
    hexadecimal,
    kernel_name,
    shown_pointers,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._survey import ALL, BRIEF, Survey

SUBSETS = ('kernel', 'state', 'pointers', 'holders', 'oops')
CURE = 'ansible HOST -b -m kernelops.kmod.kmod_force_unload -a name=%s'
PARK = 'ansible HOST -b -m kernelops.kmod.kmod_force_unload -a "name=%s methods=park"'
CASCADE = 'ansible HOST -b -m kernelops.kmod.kmod_force_unload -a "name=%s cascade=true"'


def chosen(subset):
    # type: (List[str]) -> List[str]
    """The subsets that ``gather_subset`` asks for: all, some, or all but those with ``!``. Raises KmodError."""
    wanted = [word for word in subset if not word.startswith('!')]
    unwanted = [word[1:] for word in subset if word.startswith('!')]
    for word in wanted + unwanted:
        if word not in SUBSETS + ('all',):
            raise KmodError(f'gather the subset {word}', 'there is none of that name',
                            'Choose from all, {}'.format(', '.join(SUBSETS)))
    if not wanted or 'all' in wanted:
        wanted = list(SUBSETS)
    return [word for word in wanted if word not in unwanted]


def answer(names, subset, timeout, root='/'):
    # type: (List[str], List[str], float, str) -> Dict[str, Any]
    """:func:`gather` of what is chosen. Raises _syscalls.Deadline, which says what hangs, after ``timeout`` seconds."""
    def found():
        # type: () -> Dict[str, Any]
        return gather(names, chosen(subset), root)

    return _syscalls.with_deadline(found, timeout, 'read the kernel and its modules')


def gather(names, subset, root='/'):
    # type: (List[str], List[str], str) -> Dict[str, Any]
    """``{'facts': ansible_facts.kmod, 'warnings': [text]}`` for the modules named, or for all that are loaded."""
    with Survey(root) as survey:
        asked = [kernel_name(name, 'look at') for name in names]
        looked_at = asked or sorted(survey.table['modules'])
        known_files = _module_details.files(survey.kernel['release'], root, looked_at) if 'state' in subset else {}
        modules = {}
        for name in looked_at:
            modules[name] = _module(survey, name, subset, known_files, dear=bool(asked))
        facts = {'modules': modules}  # type: Dict[str, Any]
        if 'kernel' in subset:
            facts['kernel'] = {key: value for key, value in survey.kernel.items() if key != 'config'}
            facts['kernel']['oopses'] = survey.oopses if is_unavailable(survey.oopses) else \
                sum(1 for entry in survey.oopses if entry['kind'] == 'oops')
            facts['kernel']['loader'] = _diagnosis.loader(survey.oopses, *survey.running_loads())
        return {'facts': facts, 'warnings': survey.table['warnings']}


def _module(survey, name, subset, known_files, dear):
    # type: (Survey, str, List[str], Dict[str, str], bool) -> Dict[str, Any]
    facts = survey.module(name, ALL if dear else BRIEF)
    entry = facts['module']
    diagnosis = _diagnosis.diagnose(facts)
    result = {'state': entry['state']}  # type: Dict[str, Any]
    if entry['state'] not in ('absent', 'builtin'):
        if 'state' in subset:
            result.update((key, entry[key]) for key in ('refcount', 'size', 'used_by', 'permanent', 'taint'))
            result['address'] = _address(entry)
            result.update(_module_details.read(name, known_files, survey.root))
            result['same_as_file'] = _module_details.same_as_file(result, survey.root) if dear else \
                unavailable(f'not compared: ask for {name} by name')
        if 'pointers' in subset:
            result['pointers'] = shown_pointers(facts['live'])
        if 'holders' in subset:
            result['holders'] = _holders(facts)
            result['unexplained_references'] = unexplained_references(facts)
        if 'oops' in subset:
            result['oops'] = _oops(facts)
    result['diagnosis'] = _diagnosed(facts, diagnosis)
    return result


def _address(entry):
    # type: (Dict[str, Any]) -> Any
    if entry['address']:
        return hexadecimal(entry['address'])
    if is_unavailable(entry['struct_address']):
        return unavailable('/proc/modules shows 0: addresses are hidden, or all of its code is gone with its init')
    return unavailable('/proc/modules shows 0: all of its code is gone with its init')


def _holders(facts):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    holders = facts['holders']
    return dict(holders, modules=facts['module']['used_by'], tasks=facts['tasks']['tasks'])


def unexplained_references(facts):
    # type: (Dict[str, Any]) -> Any
    """References less the holders found: each dependent, open file, mount and device counts one, as they mostly do."""
    module, holders = facts['module'], facts['holders']
    for fact in (module['refcount'], holders):
        if is_unavailable(fact):
            return fact
    found = sum(len(holders[kind]) for kind in ('processes', 'mounts', 'devices')
                if isinstance(holders.get(kind), list))
    own = 1 if module['state'] == 'coming' else 0  # a load holds one until init has returned
    return max(0, module['refcount'] - len(module['used_by']) - found - own)


def _oops(facts):
    # type: (Dict[str, Any]) -> Any
    if is_unavailable(facts['oopses']):
        return facts['oopses']
    oops = _diagnosis.own_oops(facts)
    if oops is None:
        return {}
    return {key: oops[key] for key in ('cause', 'function', 'offset', 'task', 'pid', 'time', 'taint')}


def _diagnosed(facts, diagnosis):
    # type: (Dict[str, Any], Dict[str, Any]) -> Dict[str, Any]
    plan = _ladder.plan(facts, diagnosis, list(_ladder.DEFAULT_METHODS))
    following = plan['next'] or 'nothing'
    if plan['method'] != 'none':
        following = CURE % facts['name']
    elif any(hazard['code'] == 'dangling_references' for hazard in diagnosis['hazards']) and \
            _ladder.plan(facts, diagnosis, list(_ladder.METHODS))['method'] == 'park':
        following = PARK % facts['name']
    elif diagnosis['verdict'] == 'has_dependents':
        following = CASCADE % facts['name']
    return dict(diagnosis, method=plan['method'], next=following, unseen=facts['registrations']['unseen'])
