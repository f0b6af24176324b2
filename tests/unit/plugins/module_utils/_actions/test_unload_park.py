# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parking, and what is said of that which a module left registered."""

import builders
import pytest
from fake_kernel import FAULTS, LOADER, FakeModule, Host, loader_step, stack


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


# --- park -----------------------------------------------------------------------------------------------------------

FREE = ['plain', 'kernel_force', 'reset']


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_park_leaves_the_code_and_frees_the_name(check_mode, host):
    kernel = host.boot(FakeModule('init_oops', symbols=3, **FAULTS['init_oops']), FakeModule('bystander'))
    before = kernel.state()
    result = host.unload('init_oops', methods=['park'], check_mode=check_mode)
    assert (result['changed'], result['method'], result['parked_as']) == (True, 'park', 'init_oops_parked1')
    assert result['after'] == {'state': 'absent'}
    assert result['diff']['after'] == {'state': 'absent', 'parked_as': 'init_oops_parked1'}
    assert result['helper']['needed'] is True
    assert kernel.exits == []
    if check_mode:
        assert (kernel.calls, kernel.state()) == ([], before)
        assert result['steps'] == [{'module': 'init_oops', 'method': 'park', 'action': 'rename', 'changed': True,
                                    'result': 'would be renamed to init_oops_parked1'}]
        return
    assert kernel.state()['init_oops_parked1'] == dict(
        before['init_oops'], name='init_oops_parked1', symbols=0, hidden_symbols=3)
    assert kernel.state()['bystander'] == before['bystander']
    assert [step['result'] for step in result['steps']] == [
        'renamed to init_oops_parked1; 3 symbols that it offered are hidden']
    assert result['msg'] == ('init_oops is parked as init_oops_parked1: its code stays, and a fixed build can be '
                             'loaded under its name.')


def test_a_parked_module_goes_later_by_its_new_name(host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    host.unload('init_oops', methods=['park'])
    assert host.unload('init_oops')['changed'] is False
    kernel.modules['init_oops'] = FakeModule('init_oops')
    result = host.unload('init_oops_parked1')
    assert (result['verdict'], result['method'], result['changed']) == ('init_died', 'reset', True)
    assert sorted(kernel.modules) == ['init_oops']


def test_the_second_that_is_parked_gets_the_next_number(host):
    kernel = host.boot(FakeModule('foo'), FakeModule('foo_parked1'))
    assert host.unload('foo', methods=['park'])['parked_as'] == 'foo_parked2'
    assert sorted(kernel.modules) == ['foo_parked1', 'foo_parked2']


def test_a_dead_load_is_cleared_from_the_loader_when_its_module_is_parked(host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    kernel.anchors.update(LOADER)
    kernel.stale_buckets = 2
    assert loader_step(host.unload('init_oops', methods=['park'])) == [('stale entries cleared: 2', True)]
    assert kernel.calls == ['init_module init_oops', 'init_module loader']


def test_cascade_parks_no_dependent(host):
    kernel = host.boot(*stack(middle={'refcount': 5}))
    error = host.refused('base', cascade=True, methods=['plain', 'park'])
    assert 'Cannot unload middle: ' in str(error)
    assert kernel.calls == []


def test_what_others_use_is_never_parked(host):
    kernel = host.boot(*stack())
    error = host.refused('base', methods=['park'], accept_hazards=['in_use', 'undecided', 'running_task'])
    assert error.facts['verdict'] == 'has_dependents'
    assert kernel.calls == []


def test_a_parked_module_that_left_something_says_what_a_fixed_build_cannot_register(host):
    host.boot(FakeModule('init_oops', registrations=REGISTERED, **FAULTS['init_oops']))
    assert host.unload('init_oops', methods=['reset', 'park'])['msg'].endswith(
        'under its name, unless it registers again what this one left: misc device /dev/foo.')


# --- what it left registered ----------------------------------------------------------------------------------------

UNKNOWN = {'answer': 'unknown', 'reason': 'only 3 of 9 MB of kernel memory were read', 'hits': []}
ACCEPTED = ['reachability_unknown', 'undecided']


@pytest.mark.parametrize(('fault', 'options', 'warned'), [
    ('init_oops', {}, True), ('init_oops', {'run_exit': 'always'}, False), ('no_exit', {}, True),
    ('leaked_ref', {}, False), ('layout_pad', {}, False), ('init_oops', {'methods': ['park']}, False)])
@pytest.mark.parametrize('known', [True, False])
def test_where_code_is_freed_that_may_be_reached_that_is_warned_of(fault, options, warned, known, host):
    changes = {} if known else {'reachability': UNKNOWN}
    host.boot(FakeModule(fault, **dict(FAULTS[fault], **changes)))
    result = host.unload(fault, **dict(options, accept_hazards=ACCEPTED))
    assert result['reachability'] == (builders.UNREACHABLE if known else UNKNOWN)
    assert [UNKNOWN['reason'] in warning for warning in result['warnings']] == [True] * (warned and not known)


REGISTERED = {'found': [{'kind': 'misc device', 'what': '/dev/foo', 'evidence': 'fops is foo_fops'}], 'unseen': [],
              'blind': '', 'leftovers': []}


@pytest.mark.parametrize(('fault', 'options', 'method'), [
    ('init_oops', {}, 'park'), ('exit_oops', {}, 'park'), ('no_exit', {}, 'park'),
    ('no_exit', {'methods': ['reset']}, ''), ('init_oops', {'methods': FREE}, ''),
    ('healthy', {'run_exit': 'never'}, ''), ('leaked_ref', {'run_exit': 'never'}, ''),
    ('leaked_ref', {}, 'kernel_force'),
    ('layout_pad', {}, 'reset'), ('layout_pad', {'run_exit': 'never'}, ''), ('healthy', {}, 'plain'),
    ('init_oops', {'run_exit': 'always'}, 'reset'),
    ('init_oops', {'accept_hazards': ['dangling_references']}, 'reset'),
    ('init_oops', {'methods': FREE, 'accept_hazards': ['running_task', 'undecided', 'in_use', 'foreign_oops']}, '')])
@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_what_is_registered_keeps_the_code_where_no_exit_runs(fault, options, method, check_mode, host):
    kernel = host.boot(FakeModule(fault, registrations=REGISTERED, **FAULTS[fault]))
    before = kernel.state()
    if method:
        result = host.unload(fault, check_mode=check_mode, **options)
        assert (result['changed'], result['method']) == (True, method)
        return
    error = host.refused(fault, check_mode=check_mode, **options)
    assert 'misc device /dev/foo' in str(error)
    assert ('Add park to methods' in str(error)) == ('run_exit' not in options)
    assert 'accept_hazards=dangling_references overrides this' in str(error)
    assert (kernel.state(), kernel.calls) == (before, [])


# --- where nothing shows who could still reach it: what a host is today -----------------------------------------------

UNKNOWN = {'answer': 'unknown', 'reason': 'nobody looked', 'hits': []}


@pytest.mark.parametrize(('fault', 'options', 'method'), [
    ('healthy', {}, 'plain'), ('init_oops', {}, 'park'), ('exit_oops', {}, 'park'), ('no_exit', {}, 'park'),
    ('layout_pad', {}, 'reset'), ('leaked_ref', {}, ''), ('init_oops', {'methods': FREE}, ''),
    ('no_exit', {'methods': FREE}, ''), ('leaked_ref', {'methods': ['reset']}, ''),
    ('leaked_ref', {'accept_hazards': ['undecided']}, 'kernel_force'),
    ('init_oops', {'accept_hazards': ['reachability_unknown']}, 'reset'),
    ('no_exit', {'accept_hazards': ['reachability_unknown']}, 'kernel_force'),
    ('leaked_ref', {'accept_hazards': ['reachability_unknown', 'in_use', 'dangling_references']}, '')])
@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_what_was_not_seen_is_not_absent(fault, options, method, check_mode, host):
    kernel = host.boot(FakeModule(fault, reachability=UNKNOWN, **FAULTS[fault]))
    before = kernel.state()
    if method:
        assert host.unload(fault, check_mode=check_mode, **options)['method'] == method
        return
    error = host.refused(fault, check_mode=check_mode, **options)
    assert (error.facts['changed'], error.facts['method']) == (False, 'none')
    assert (kernel.state(), kernel.calls) == (before, [])


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
@pytest.mark.parametrize('helper', ['auto', 'compiled', 'synthesized'])
def test_parking_without_the_compiled_helper_names_the_playbook(helper, check_mode, host):
    kernel = host.boot(FakeModule('init_oops', reachability=UNKNOWN, **FAULTS['init_oops']))
    kernel.helper = None
    error = host.refused('init_oops', helper=helper, check_mode=check_mode)
    assert "ansible-playbook kernelops.kmod.force_unload -l HOST -e '{force_unload_names: [init_oops]}'" in str(error)
    assert (error.facts['method'], error.facts['helper']['usable'], error.facts['changed']) == ('park', False, False)
    assert kernel.calls == []


@pytest.mark.parametrize(('limits', 'why'), [
    ({'unsigned': 'this kernel takes only signed modules', 'from_memory': ''}, 'this kernel takes only signed modules'),
    ({'unsigned': '', 'from_memory': 'LoadPin is enforced'}, 'LoadPin is enforced')])
@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_what_the_kernel_will_not_load_is_not_promised(limits, why, check_mode, host):
    kernel = host.boot(FakeModule('layout_pad', **FAULTS['layout_pad']), loads_refused=limits)
    error = host.refused('layout_pad', helper='synthesized', check_mode=check_mode)
    assert why in str(error)
    assert (error.facts['helper']['usable'], kernel.calls) == (False, [])


@pytest.mark.parametrize('limit', ['', 'this kernel takes only signed modules'])
def test_whoever_builds_the_helper_learns_that_it_must_be_signed(limit, host):
    kernel = host.boot(FakeModule('init_oops', reachability=UNKNOWN, **FAULTS['init_oops']),
                       loads_refused={'unsigned': limit, 'from_memory': ''})
    kernel.helper = None
    result = host.unload('init_oops', check_mode=True, helper_will_be_built=True)
    assert (result['method'], result['helper']['usable']) == ('park', False)
    assert result['helper']['compiled']['must_be_signed'] is bool(limit)
