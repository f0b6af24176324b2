# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module is unloaded or refused, against a kernel in memory that resists as four real kernels do."""

import errno

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import unload
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_survey
from fake_kernel import FAULTS, FakeKernel, FakeModule, Host


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


# As measured on 5.10, 6.1, 6.12 and 7.3: (plain unload, O_TRUNC)
RESISTS = {
    'healthy': (0, 0), 'init_oops': (errno.EBUSY, errno.EBUSY), 'exit_oops': (errno.EBUSY, errno.EBUSY),
    'leaked_ref': (errno.EAGAIN, 0), 'no_exit': (errno.EBUSY, 0), 'layout_pad': (errno.EBUSY, 0),
}
# (fault, options): (verdict, method, address of the exit that ran, what the reset wrote)
CURES = {
    ('healthy', ()): ('unloadable', 'plain', builders.EXIT, None),
    ('init_oops', ()): ('init_died', 'reset', None, 'state coming -> live, refcount 2 -> 1, init 0x'),
    ('exit_oops', ()): ('exit_died', 'reset', None, 'state going -> live, refcount 0 -> 1, init 0x'),
    ('leaked_ref', ()): ('references_leaked', 'kernel_force', builders.EXIT, None),
    ('no_exit', ()): ('no_exit', 'kernel_force', None, None),
    ('layout_pad', ()): ('exit_lost', 'reset', builders.CLEANUP, 'exit 0x0 -> 0xffffffffc0a96040'),
    ('leaked_ref', (('methods', ('reset',)),)): ('references_leaked', 'reset', builders.EXIT, 'refcount 4 -> 1'),
    ('no_exit', (('methods', ('reset',)),)): ('no_exit', 'reset', None, 'init 0xffffffffc058d000 -> 0x0'),
    ('healthy', (('methods', ('reset',)),)): ('unloadable', 'reset', builders.EXIT, 'nothing new'),
    ('healthy', (('methods', ('kernel_force',)),)): ('unloadable', 'kernel_force', builders.EXIT, None),
    ('healthy', (('run_exit', 'never'),)): ('unloadable', 'reset', None, 'init 0xffffffffc058d000 -> 0x0, exit'),
    ('leaked_ref', (('run_exit', 'never'),)): ('references_leaked', 'reset', None, 'refcount 4 -> 1, init'),
    ('layout_pad', (('run_exit', 'never'),)): ('exit_lost', 'kernel_force', None, None),
    ('init_oops', (('run_exit', 'always'),)): ('init_died', 'reset', builders.EXIT, 'live, refcount 2 -> 1'),
}


def spelt(case):
    return ' '.join([case[0]] + ['%s=%s' % (name, value if isinstance(value, str) else ','.join(value))
                                 for name, value in case[1]])


@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize('force', [False, True], ids=['plain', 'O_TRUNC'])
def test_the_fake_resists_as_four_real_kernels_do(fault, force):
    kernel = FakeKernel(FakeModule(fault, **FAULTS[fault]))
    assert kernel.delete_module(fault, force) == RESISTS[fault][force]
    assert (fault in kernel.modules) == bool(RESISTS[fault][force])


@pytest.mark.parametrize('case', CURES, ids=spelt)
def test_cure(case, host):
    fault, options = case
    verdict, method, ran, wrote = CURES[case]
    kernel = host.boot(FakeModule(fault, **FAULTS[fault]), FakeModule('bystander'))
    before = kernel.state()['bystander']
    result = host.unload(fault, **dict(options))
    assert (result['verdict'], result['method'], result['changed']) == (verdict, method, True)
    assert kernel.exits == ([(fault, ran)] if ran else [])
    assert kernel.state() == {'bystander': before}
    assert result['after'] == {'state': 'absent'}
    assert result['diff'] == {'before': result['before'], 'after': result['after']}
    assert result['msg'] == '%s is unloaded by %s.' % (fault, method)
    assert [step['action'] for step in result['steps']] == (['reset'] if wrote else []) + ['delete_module']
    assert all(step['changed'] and step['module'] == fault for step in result['steps'])
    if wrote:
        assert wrote in result['steps'][0]['result']
    assert result['helper']['needed'] is (method == 'reset')
    assert result['helper']['usable'] is (True if method == 'reset' else None)


@pytest.mark.parametrize('case', CURES, ids=spelt)
def test_check_mode_says_the_same_and_does_nothing(case, host):
    fault, options = case
    kernel = host.boot(FakeModule(fault, **FAULTS[fault]))
    before = kernel.state()
    foreseen = host.unload(fault, check_mode=True, **dict(options))
    assert kernel.calls == []
    assert kernel.state() == before
    done = host.unload(fault, **dict(options))
    for key in ('changed', 'verdict', 'reason', 'method', 'before', 'after', 'hazards', 'diff', 'helper'):
        assert foreseen[key] == done[key], key
    assert [(step['action'], step['method']) for step in foreseen['steps']] == \
        [(step['action'], step['method']) for step in done['steps']]
    assert [step['result'].replace('would write', 'wrote').replace('would unload', 'unloaded')
            for step in foreseen['steps']] == [step['result'] for step in done['steps']]
    assert foreseen['msg'] == done['msg'].replace(' is ', ' would be ')


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_the_second_run_changes_nothing(check_mode, host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    host.unload('init_oops')
    kernel.calls.clear()
    result = host.unload('init_oops', check_mode=check_mode)
    assert (result['changed'], result['verdict'], result['method']) == (False, 'absent', 'none')
    assert result['before'] == result['after'] == {'state': 'absent'}
    assert result['msg'] == 'init_oops is not loaded.'
    assert kernel.calls == []


def test_a_name_with_a_dash_is_the_kernels(host):
    kernel = host.boot(FakeModule('dashed_name'))
    assert host.unload('dashed-name')['changed'] is True
    assert kernel.calls == ['delete_module dashed_name']


def test_before_shows_struct_module_with_its_addresses_as_text(host):
    host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    assert host.unload('init_oops', check_mode=True)['before'] == {
        'state': 'coming', 'refcount': 1, 'used_by': [], 'permanent': False,
        'pointers': {'module': '0xffffffffc0a99040', 'state': 'coming', 'refcount': 2, 'init': '0xffffffffc058d000',
                     'exit': '0xffffffffc0a96010', 'source': 'kcore'}}


# id: (module, options, words of the refusal)
REFUSED = {
    'init runs': ({'state': 'coming', 'refcount': 2, 'tasks': [builders.task()]}, {}, 'insmod (pid 1876, in f_init)'),
    'undecided': ({'state': 'going', 'refcount': 0}, {}, 'no oops that ended its exit'),
    'held': ({'refcount': 2, 'holders': {'mounts': [builders.holder()]}}, {}, 'mount /mnt/data'),
    'not by these methods': (FAULTS['layout_pad'], {'methods': ['plain', 'kernel_force']}, 'None of the methods'),
    'exit never, a task in the code of a module that looks idle': (
        {'tasks': [builders.task('foo_thread', 5, 'f_loop', kernel_thread=True)]}, {'run_exit': 'never'},
        'foo_thread (pid 5, in f_loop)'),
    'oops elsewhere': ({'state': 'coming', 'refcount': 2, 'oopses': [builders.oops('foo'), builders.oops('')]}, {},
                       'outside foo'),
    'the driver of a disk in use': (
        {'refcount': 2, 'holders': {'devices': [builders.holder('disk vda with / mounted', '')]}}, {},
        'foo is held by disk vda with / mounted'),
}


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
@pytest.mark.parametrize(('module', 'options', 'why'), REFUSED.values(), ids=list(REFUSED))
def test_refusal_changes_nothing(module, options, why, check_mode, host):
    kernel = host.boot(FakeModule('foo', **module))
    before = kernel.state()
    error = host.refused('foo', check_mode=check_mode, **options)
    assert why in str(error)
    assert str(error).startswith('Cannot unload foo: ')
    assert (error.facts['changed'], error.facts['method'], error.facts['steps']) == (False, 'none', [])
    assert error.facts['before'] == error.facts['after']
    assert kernel.calls == []
    assert kernel.state() == before


def test_a_hazard_accepted_by_name_is_reported_all_the_same(host):
    kernel = host.boot(FakeModule('foo', **REFUSED['held'][0]))
    result = host.unload('foo', accept_hazards=['in_use'])
    assert [hazard['code'] for hazard in result['hazards']] == ['in_use']
    assert kernel.modules == {}


def test_another_user_than_root_is_refused_before_anything_is_read(host, monkeypatch):
    kernel = host.boot(FakeModule('foo'))
    monkeypatch.setattr(unload.os, 'geteuid', lambda: 1000)
    monkeypatch.setattr(module_survey, 'module', None)
    assert str(host.refused('foo')) == ('Cannot unload foo: only root may, and this is user 1000. '
                                        'Set become=true, or call ansible with -b.')
    assert kernel.calls == []
