# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a module is parked, and when its override is told."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import hazards
from rule_facts import (
    ALL,
    ELSEWHERE,
    FREE,
    HELD,
    HOLDERS,
    INIT_DIED,
    PROBE_DIED,
    RUNNING,
    UNKNOWN,
    USER_TASK,
    hidden,
    plan,
    shown,
)

LEFT = {'registrations': {'found': [], 'unseen': [], 'blind': '', 'leftovers': [builders.leftover()]}}
DANGLING = {'registrations': {'found': [{'kind': 'device', 'what': 'foo', 'evidence': 'x'}], 'unseen': [],
                              'leftovers': []}}
# id: (facts, methods, accepted, method taken)
PARKED = {
    'the last step of the default': (INIT_DIED, ALL, [], 'park'),
    'what it left is seen': (dict(INIT_DIED, **DANGLING), ALL, [], 'park'),
    'accepted in part: it stays': (dict(INIT_DIED, **DANGLING), ALL, ['dangling_references'], 'park'),
    'accepted: then it is freed': (dict(INIT_DIED, **DANGLING), ALL, ['dangling_references', 'reachability_unknown'],
                                   'reset'),
    'what it left can be taken back first': (dict(INIT_DIED, **LEFT), ALL, [], 'undo'),
    'nothing leads there, but a fixed build would meet it': (dict(shown(INIT_DIED), **LEFT), ALL, [], 'undo'),
    'not to be taken back': (dict(INIT_DIED, **LEFT), ['reset', 'park'], [], 'park'),
    'never of one that lives': (dict(builders.facts(permanent=True), **LEFT), ALL, [], 'park'),
    'never with an oops elsewhere, what it left': (
        dict(builders.facts('coming', 1, oopses=[builders.oops(), ELSEWHERE]), **LEFT), ALL, [], 'none'),
    'where nothing leads there, less is kept': (shown(INIT_DIED), ALL, [], 'reset'),
    'where it is the only one': (shown(INIT_DIED), ['park'], [], 'park'),
    'not named': (INIT_DIED, FREE, [], 'none'),
    'a healthy one, where it is the only one': (builders.facts(), ['park'], [], 'park'),
    'a healthy one otherwise': (builders.facts(), ALL, [], 'plain'),
    'never a live one that is in use': (HELD, ALL, [], 'none'),
    'never a live one that may be': (UNKNOWN, ALL, [], 'none'),
    'one that is held, where it is the only one: its code stays': (HELD, ['park'], [], 'park'),
    'one with tasks in it, where it is the only one': (builders.facts(refcount=1, tasks=USER_TASK), ['park'], [],
                                                       'park'),
    'a permanent one that is in use, where it is the only one': (
        builders.facts(refcount=1, permanent=True, holders=HOLDERS), ['park'], [], 'park'),
    'never one that runs': (RUNNING, ALL, [], 'none'),
    'one that runs, at the risk of the host': (RUNNING, ['park'], ['running_task'], 'park'),
    'never with an oops elsewhere': (builders.facts('coming', 1, oopses=[builders.oops(), ELSEWHERE]), ALL, [], 'none'),
    'never with a lock that died': (PROBE_DIED, ALL, [], 'none'),
    'never one that others use': (builders.facts(refcount=1, used_by=['bar']), ALL, list(hazards.HAZARDS), 'none'),
    'never where it cannot be found': (hidden(INIT_DIED), ALL, [], 'none'),
    'never twice': (dict(INIT_DIED, name='foo_parked1'), ALL, [], 'none'),
    'never a built-in one': (builders.facts('builtin'), ALL, [], 'none'),
}


@pytest.mark.parametrize('row', PARKED.values(), ids=list(PARKED))
def test_park(row):
    given, methods, accepted, method = row
    found = plan(given, methods, 'auto', accepted)
    assert found['method'] == method
    assert (found['refusal'] is None) == (method != 'none')
    assert not (method == 'park' and found['runs_exit'])


def test_a_parked_one_is_left_alone():
    found = plan(dict(INIT_DIED, name='foo_parked1'), ALL)
    assert found['next'].startswith('Leave it: parked, its code does no harm')


def test_the_override_is_told_last_and_with_what_it_means():
    for given in (INIT_DIED, UNKNOWN, HELD, RUNNING, PROBE_DIED):
        found = plan(given, FREE)
        first, told, means = found['next'].partition(' overrides this at the risk of the host: ')
        assert told
        assert 'accept_hazards=' in first.rsplit('. ', 1)[-1]
        for code in first.rsplit('accept_hazards=', 1)[-1].split(','):
            assert hazards.HAZARDS[code] in means


CALL_DIED = builders.facts(oopses=[builders.oops(died_in=None, call=None, function='foo_write')])


def test_where_a_call_died_the_module_may_be_parked_by_name():
    refused = plan(CALL_DIED, ALL)
    assert refused['method'] == 'none'
    assert refused['next'].startswith('methods=park frees its name')
    assert plan(CALL_DIED, ['park'])['method'] == 'park'
    assert plan(CALL_DIED, ALL, 'auto', ['locks_held'])['method'] == 'plain'


def test_where_the_exit_is_to_run_it_takes_back_what_it_left():
    assert plan(dict(INIT_DIED, **LEFT), ALL, 'always', [])['method'] == 'reset'
