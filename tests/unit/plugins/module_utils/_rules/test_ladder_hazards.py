# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which method goes on in spite of which hazard, and what the helper checks for before the write."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import hazards, ladder


def dangerous(verdict, code, *, kernel_threads=False):
    """A diagnosis with one hazard."""
    evidence = [builders.task(kernel_thread=kernel_threads)] if code == 'running_task' else []
    hazard = {'code': code, 'reason': code, 'evidence': evidence}
    return {'verdict': verdict, 'reason': 'It is so.', 'hazards': [hazard]}


# hazard: for (a live module whose exit runs, the same without its exit, one that died half way, one that may still run
# half way): the methods that it forbids
FREES = ('plain', 'kernel_force', 'reset')
EACH = (*FREES, 'undo', 'park')
FORBIDS = {
    'running_task': (FREES, FREES, EACH, EACH),
    'running_task in kernel threads alone': ((), FREES, FREES, EACH),
    'undecided': (FREES, FREES, FREES, EACH),
    'in_use': (FREES, FREES, FREES, EACH),
    'foreign_oops': (('undo', 'reset', 'park'),) * 4,
    'locks_held': (EACH,) * 4,
    'dangling_references': ((), FREES, FREES, FREES),
    'reachability_unknown': ((), FREES, FREES, FREES),
}
CASES = (('references_leaked', True), ('references_leaked', False), ('init_died', False), ('init_running', False))


@pytest.mark.parametrize('method', ladder.METHODS)
@pytest.mark.parametrize('case', range(4), ids=['exit runs', 'exit does not run', 'died', 'half way'])
@pytest.mark.parametrize('hazard', FORBIDS)
def test_hazard_and_method(hazard, case, method):
    (verdict, runs_exit), code = CASES[case], hazard.split()[0]
    given = dangerous(verdict, code, kernel_threads='threads' in hazard)
    forbidden = method in FORBIDS[hazard][case]
    assert bool(ladder.blocking(given, method, runs_exit, [])) == forbidden
    assert ladder.blocking(given, method, runs_exit, [code]) == []
    others = [other for other in hazards.HAZARDS if other != code]
    assert bool(ladder.blocking(given, method, runs_exit, others)) == forbidden


def test_the_table_has_every_hazard():
    assert {hazard.split()[0] for hazard in FORBIDS} == set(hazards.HAZARDS)


def test_a_hazard_not_known_here_forbids_all():
    given = dangerous('references_leaked', 'new_one')
    assert all(ladder.blocking(given, method, False, []) for method in ladder.METHODS)
    assert 'accept_hazards=new_one overrides' in ladder.override(given['hazards'])


# (verdict, method, whether exit runs, accepted): whom the helper's last look is to find
LOOKS = {
    ('init_died', 'reset', False, ()): 'tasks',
    ('exit_died', 'reset', False, ('dangling_references', 'undecided', 'in_use', 'foreign_oops')): 'tasks',
    ('init_running', 'reset', False, ('undecided',)): 'tasks',
    ('exit_waiting', 'reset', False, ('undecided',)): 'tasks',
    ('init_running', 'reset', True, ('undecided',)): 'tasks',
    ('init_running', 'reset', False, ('running_task',)): 'nobody',
    ('references_leaked', 'reset', True, ()): 'user_tasks',
    ('references_leaked', 'reset', False, ()): 'tasks',
    ('exit_lost', 'reset', True, ()): 'user_tasks',
    ('no_exit', 'reset', True, ()): 'tasks',
    ('init_died', 'reset', True, ()): 'user_tasks',
    ('init_died', 'park', False, ()): 'user_tasks',
    ('init_running', 'park', False, ('undecided',)): 'user_tasks',
    ('init_waiting', 'park', False, ('undecided',)): 'user_tasks',
    ('no_exit', 'park', False, ()): 'nobody',
    ('references_leaked', 'park', False, ()): 'nobody',
    ('in_use', 'park', False, ('running_task',)): 'nobody',
}


@pytest.mark.parametrize('case', LOOKS, ids=lambda case: ' '.join(map(str, case[:3])) + ' ' + '+'.join(case[3]))
def test_whom_the_last_look_is_to_find(case):
    assert ladder.look_for(*case) == LOOKS[case]
