# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reset writes, and which helper is lacking."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import ladder

# (why no compiled one, why no synthesized one, method, option helper): words of what is lacking
LACKING = {
    ('', '', 'park', 'auto'): '', ('none', '', 'park', 'auto'): 'none', ('', '', 'park', 'synthesized'): 'cannot park',
    ('none', '', 'reset', 'auto'): '', ('none', '', 'reset', 'compiled'): 'none', ('', 'no', 'reset', 'auto'): '',
    ('', 'no', 'reset', 'synthesized'): 'no', ('none', 'signature', 'reset', 'auto'): 'signature',
    ('none', 'no', 'plain', 'auto'): '', ('none', 'no', 'kernel_force', 'auto'): '',
}


@pytest.mark.parametrize('case', LACKING, ids=' '.join)
def test_which_helper_is_lacking(case):
    compiled, synthesized, method, wanted = case
    found = ladder.helper_lacks({'compiled': compiled, 'synthesized': synthesized}, method, wanted)
    assert LACKING[case] in found
    assert bool(found) == bool(LACKING[case])


@pytest.mark.parametrize(('verdict', 'method', 'runs_exit', 'frees'), [
    ('init_died', 'reset', False, True), ('no_exit', 'kernel_force', True, True), ('no_exit', 'reset', True, True),
    ('exit_lost', 'kernel_force', False, True), ('exit_lost', 'reset', True, False),
    ('unloadable', 'plain', True, False), ('references_leaked', 'kernel_force', True, False),
    ('init_died', 'park', False, False)])
def test_what_frees_code_without_its_exit(verdict, method, runs_exit, frees):
    assert ladder.frees_without_exit(verdict, {'method': method, 'runs_exit': runs_exit}) is frees


AS_READ = {'state': 'coming', 'refcount': 4, 'init': builders.INIT, 'exit': builders.EXIT}
NULL_EXIT = dict(AS_READ, state='live', exit=0)

# id: (verdict, whether exit runs, entry as read, init and exit written)
RESET_VALUES = {
    'skip exit: no init, or delete_module would ask for an exit': ('init_died', False, AS_READ, 0, 0),
    'skip exit, exit died': ('exit_died', False, dict(AS_READ, state='going', refcount=0), 0, 0),
    'run exit: pointers as they are': ('references_leaked', True, AS_READ, builders.INIT, builders.EXIT),
    'run exit although init died': ('init_died', True, AS_READ, builders.INIT, builders.EXIT),
    'exit lost: the code of cleanup_module': ('exit_lost', True, NULL_EXIT, builders.INIT, builders.CLEANUP),
    'exit lost, exit never': ('exit_lost', False, NULL_EXIT, 0, 0),
    'no exit: init must go': ('no_exit', True, NULL_EXIT, 0, 0),
}


@pytest.mark.parametrize('row', RESET_VALUES.values(), ids=list(RESET_VALUES))
def test_reset_values(row):
    verdict, runs_exit, entry, init, leave = row
    given = builders.facts(cleanup_module=builders.CLEANUP)
    assert ladder.reset_values(given, verdict, runs_exit, entry) == {
        'state': 'live', 'refcount': 1, 'init': init, 'exit': leave}


def test_expected_is_struct_module_as_read():
    assert ladder.expected(builders.facts('coming', 1)) == {
        'state': 'coming', 'refcount': 2, 'init': builders.INIT, 'exit': builders.EXIT}
    assert ladder.expected(builders.facts(live=unavailable('lockdown'))) is None
