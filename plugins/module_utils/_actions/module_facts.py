# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any number of modules surveyed by a process of its own, and explained: ``ansible_facts.kmod``."""

from typing import Dict, List, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._actions import generated_helper
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_details
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.module_survey import ALL, BRIEF, Survey
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.module_table import kernel_name
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._file_types import ModuleDetails
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process
from ansible_collections.kernelops.kmod.plugins.module_utils._returns import Explained, Surveyed
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import report
from ansible_collections.kernelops.kmod.plugins.module_utils._types import ModuleFacts

SUBSETS = ('kernel', 'state', 'pointers', 'holders', 'oops', 'reachability')


def chosen(subset: List[str]) -> List[str]:
    """The subsets that ``gather_subset`` asks for: all, some, or all but those with ``!``. Raises KmodError."""
    wanted = [word for word in subset if not word.startswith('!')]
    unwanted = [word[1:] for word in subset if word.startswith('!')]
    for word in wanted + unwanted:
        if word not in SUBSETS + ('all',):
            raise KmodError(f'gather the subset {word}' if word else 'gather a subset without a name',
                            'there is none of that name',
                            'Choose from all, {}'.format(', '.join(SUBSETS)))
    if not wanted or 'all' in wanted:
        wanted = list(SUBSETS)
    return [word for word in wanted if word not in unwanted]


def answer(names: List[str], subset: List[str], timeout: float, root: str = '/') -> Explained:
    """``{'facts': ansible_facts.kmod, 'warnings': [text]}`` for the modules named, or for all that are loaded.

    Raises child_process.Deadline, which says what hangs, ``timeout`` seconds after the reading began.
    """
    wanted = chosen(subset)
    child_process.checked_timeout(timeout)
    # What nothing depends on is not searched for, unless that is what was asked for.
    searched = bool(names) and 'reachability' in subset
    found = child_process.with_deadline(lambda: read(names, wanted, root, searched, timeout), timeout,
                                        'read the kernel and its modules')
    return report.explained(found, wanted)


def read(names: List[str], subset: List[str], root: str, searched: bool = False,
         timeout: float = 30.0) -> Surveyed:
    """What :func:`report.explained` takes: each module's facts and details by name, and what is of the kernel.

    ``searched``: pointers into each are searched for, whatever depends on it.
    """
    with Survey(root, timeout=timeout) as survey:
        asked = [kernel_name(name, 'look at') for name in names]
        looked_at = asked or sorted(survey.table['modules'])
        known_files = module_details.files(survey.release, root, looked_at) if 'state' in subset else {}
        if searched:
            survey.search(asked)
        modules: Dict[str, Tuple[ModuleFacts, ModuleDetails]] = {}
        dependents: Dict[str, ModuleFacts] = {}
        for name, facts in survey.modules(looked_at, ALL if asked else BRIEF).items():
            details: ModuleDetails = {}
            loaded = facts['module']['state'] not in ('absent', 'builtin')
            if searched and loaded:
                facts['reachability'] = survey.reached[name]
            if 'state' in subset and loaded:
                details = module_details.read(name, known_files, root)
                details['same_as_file'] = module_details.same_as_file(details, root) if asked else \
                    unavailable(f'not compared: ask for {name} by name')
            modules[name] = facts, details
            if asked:
                dependents.update(survey.dependents(facts['module'].get('used_by', [])))
        found: Surveyed = {'modules': modules, 'dependents': dependents, 'warnings': survey.table['warnings'],
                           'helpers': _helpers(survey, modules, root)}
        if 'kernel' in subset:
            found.update({'kernel': survey.kernel, 'oopses': survey.oopses, 'loads': survey.running_loads()})
        return found


def _helpers(survey: Survey, modules: Dict[str, Tuple[ModuleFacts, ModuleDetails]], root: str) -> Dict[str, str]:
    """Why either kind of helper cannot be used here; asked only where one may be needed."""
    stuck = [facts for facts, _details in modules.values() if facts['module']['state'] in ('coming', 'going') or
             facts['module'].get('permanent')]
    if not stuck:
        return {'compiled': '', 'synthesized': ''}
    return generated_helper.lacking(survey.kernel, survey.memory, root)
