# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole unload, against a kernel in memory that resists as four real kernels do."""

import errno
import time

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import compiled_helper, unload
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_survey
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from fake_kernel import FAULTS, LOADER, FakeKernel, FakeModule, Host


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


# --- the modules that use it -------------------------------------------------------------------------------------

def stack(**changes):
    """Top uses middle and base, middle uses base: base has to go last."""
    modules = {'base': {'refcount': 3}, 'middle': {'refcount': 2, 'uses': ['base']},
               'top': {'uses': ['middle', 'base']}}
    for name, change in changes.items():
        modules[name].update(change)
    return [FakeModule(name, **values) for name, values in modules.items()]


def test_dependents_are_refused_without_cascade(host):
    kernel = host.boot(*stack())
    error = host.refused('base')
    assert 'base is used by the modules middle, top' in str(error)
    assert 'cascade=true' in str(error)
    assert kernel.calls == []


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 1, 0)], ids=['as loaded', 'the other way round'])
def test_cascade_unloads_the_top_first(order, host):
    modules = stack()
    kernel = host.boot(*[modules[index] for index in order])
    result = host.unload('base', cascade=True)
    assert [name for name, dummy in kernel.exits] == ['top', 'middle', 'base']
    assert kernel.modules == {}
    assert [step['module'] for step in result['steps']] == ['top', 'middle', 'base']
    assert (result['verdict'], result['method'], result['changed']) == ('has_dependents', 'plain', True)


def test_cascade_in_check_mode_changes_nothing(host):
    kernel = host.boot(*stack())
    result = host.unload('base', cascade=True, check_mode=True)
    assert kernel.calls == []
    assert result['changed'] is True
    assert {step['module'] for step in result['steps']} == {'top', 'middle', 'base'}
    assert result['steps'][-1]['module'] == 'base'


def test_cascade_frees_a_base_that_is_stuck_itself(host):
    kernel = host.boot(*stack(base={'refcount': 5}))
    assert host.unload('base', cascade=True, methods=['plain', 'reset'])['method'] == 'reset'
    assert kernel.modules == {}


HELD = {'refcount': 3, 'holders': {'mounts': [builders.holder()]}}


@pytest.mark.parametrize('held', ['middle', 'base'])
@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_cascade_unloads_nothing_where_one_would_be_refused(held, check_mode, host):
    kernel = host.boot(*stack(**{held: dict(HELD, refcount=HELD['refcount'] + 1)}))
    before = kernel.state()
    error = host.refused('base', cascade=True, check_mode=check_mode)
    assert 'Cannot unload %s: ' % held in str(error)
    assert '/mnt/data' in str(error)
    assert kernel.calls == []
    assert kernel.state() == before
    assert error.facts['changed'] is False


@pytest.mark.parametrize('stuck', ['base', 'middle'])
def test_cascade_unloads_nothing_where_the_helper_is_missing(stuck, host):
    kernel = host.boot(*stack(**{stuck: {'refcount': 5}}))
    kernel.helper = None
    host.refused('base', cascade=True, methods=['plain', 'reset'])
    assert kernel.calls == []


def test_a_dependent_that_the_kernel_keeps_stops_the_cascade(host):
    kernel = host.boot(*stack())
    kernel.delete_errors = [errno.EAGAIN]
    error = host.refused('base', cascade=True)
    assert str(error).startswith('Cannot unload top: the kernel answered EAGAIN')
    assert sorted(kernel.modules) == ['base', 'middle', 'top']
    assert (error.facts['changed'], error.facts['before']) == (False, error.facts['after'])


# --- what fails half way -----------------------------------------------------------------------------------------

def test_what_was_reset_is_put_back_where_the_kernel_still_refuses(host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    before = kernel.state()
    kernel.delete_errors = [errno.EBUSY]
    error = host.refused('init_oops')
    assert 'the kernel answered EBUSY' in str(error)
    assert kernel.state() == before
    assert [(step['action'], step['result']) for step in error.facts['steps']][1:] == [
        ('restore', 'put back as it was'), ('delete_module', 'EBUSY (Device or resource busy)')]
    assert error.facts['before'] == error.facts['after']


def test_references_taken_meanwhile_stay_counted(host):
    kernel = host.boot(FakeModule('leaked_ref', **FAULTS['leaked_ref']))

    def delete(name, force=False):
        kernel.modules[name].refcount += 2
        return FakeKernel.delete_module(kernel, name, force)

    host.monkeypatch.setattr(loader_syscalls, 'delete_module', delete)
    error = host.refused('leaked_ref', methods=['reset'])
    assert 'EAGAIN' in str(error)
    assert kernel.modules['leaked_ref'].entry() == {
        'state': 'live', 'refcount': 6, 'init': builders.INIT, 'exit': builders.EXIT}


def test_what_cannot_be_put_back_is_said(host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    kernel.delete_errors = [errno.EBUSY]
    moved = []

    def move(module):
        moved.append(module)
        if len(moved) == 2:
            module.refcount += 1

    kernel.before_store = move
    error = host.refused('init_oops')
    restore = error.facts['steps'][1]
    assert restore['action'] == 'restore'
    assert restore['result'].startswith('could not be put back: ')
    assert error.facts['changed'] is True
    assert error.facts['after']['state'] == 'live'


def test_a_module_that_moves_before_the_reset_is_left_alone(host):
    kernel = host.boot(FakeModule('leaked_ref', **FAULTS['leaked_ref']))
    kernel.before_store = lambda module: setattr(module, 'refcount', 3)
    error = host.refused('leaked_ref', methods=['reset'])
    assert 'it changed between reading and acting' in str(error)
    assert kernel.calls == ['init_module leaked_ref']
    assert kernel.modules['leaked_ref'].refcount == 3
    assert error.facts['steps'] == []


def test_a_module_that_stays_although_the_kernel_said_yes(host):
    kernel = host.boot(FakeModule('foo'))
    kernel.deletes_nothing = True
    error = host.refused('foo')
    assert 'the kernel accepted it, but shows it as live' in str(error)
    assert error.facts['after']['state'] == 'live'


# --- what the reset needs ----------------------------------------------------------------------------------------

def test_without_kcore_the_helper_reads_first(host):
    kernel = host.boot(FakeModule('init_oops', hidden='lockdown=integrity', **FAULTS['init_oops']))
    result = host.unload('init_oops')
    assert kernel.calls == ['init_module init_oops look', 'init_module init_oops', 'delete_module init_oops']
    assert result['before']['pointers'] == {'unavailable': 'lockdown=integrity'}
    assert 'state coming -> live' in result['steps'][0]['result']


def test_a_missing_helper_is_an_error_in_a_run(host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    kernel.helper = None
    error = host.refused('init_oops')
    path = '/var/lib/kmod_reset/%s/kmod_reset.ko' % builders.RELEASE
    assert str(error).startswith('Cannot use the helper %s: No such file' % path)
    key = compiled_helper.fitting(kernel.facts, builders.LAYOUT)
    assert error.facts['helper'] == {'kind': 'none', 'path': path, 'needed': True, 'usable': False,
                                     'reason': str(error),
                                     'compiled': {'path': path, 'key': key, 'must_be_signed': False}}
    assert (error.facts['verdict'], error.facts['changed'], kernel.calls) == ('init_died', False, [])


def test_a_missing_helper_is_the_same_error_in_check_mode(host):
    """Only what can happen is promised; the plan is told all the same, and the role builds the helper for it."""
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    kernel.helper = None
    error = host.refused('init_oops', check_mode=True, helper_path='/srv/kmod_reset.ko')
    assert (error.facts['changed'], error.facts['method'], error.facts['helper']['usable']) == (False, 'reset', False)
    assert str(error).startswith('Cannot use the helper /srv/kmod_reset.ko: ')
    assert 'Have it built: ansible-playbook kernelops.kmod.force_unload -l HOST' in str(error)


@pytest.mark.parametrize('fault', ['healthy', 'leaked_ref', 'no_exit'])
def test_what_needs_no_helper_asks_for_none(fault, host):
    kernel = host.boot(FakeModule(fault, **FAULTS[fault]))
    kernel.helper = None
    assert host.unload(fault)['helper']['needed'] is False


def test_what_the_reset_cannot_do_without(host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    kernel.anchors = unavailable('Cannot find the kernel\'s module_mutex. The kernel needs CONFIG_KALLSYMS_ALL=y.')
    error = host.refused('init_oops')
    assert 'Only a reset would get it out: Cannot find the kernel\'s module_mutex' in str(error)
    assert 'The kernel needs CONFIG_KALLSYMS_ALL=y' in str(error)
    assert kernel.calls == []
    assert error.facts['changed'] is False


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
@pytest.mark.parametrize(('changes', 'anchors', 'why'), [
    ({'address': unavailable('section addresses are hidden (kernel.kptr_restrict=2)')}, {},
     'the address of its struct module is not known: section addresses are hidden (kernel.kptr_restrict=2)'),
    ({}, {'unavailable': 'the addresses in /proc/kallsyms are hidden'}, 'the addresses in /proc/kallsyms are hidden'),
], ids=['address hidden', 'no symbols'])
def test_a_reset_that_addresses_are_hidden_from_is_not_planned(changes, anchors, why, check_mode, host):
    kernel = host.boot(FakeModule('init_oops', **dict(FAULTS['init_oops'], **changes)), kptr_restrict=2)
    kernel.anchors.update(anchors)
    error = host.refused('init_oops', check_mode=check_mode)
    assert str(error) == (
        'Cannot unload init_oops: The init of init_oops died: BUG: kernel NULL pointer dereference in f_init. Only a '
        f'reset would get it out: {why}. Set kernel.kptr_restrict to 1 or 0 for the time of the cure '
        '(sysctl kernel.kptr_restrict=1), then unload it again.')
    assert kernel.calls == []
    assert (error.facts['changed'], error.facts['method']) == (False, 'none')


# --- what a dead load left in the loader --------------------------------------------------------------------------

def loader_step(facts):
    return [(step['result'], step['changed']) for step in facts['steps'] if step['action'] == 'clear_loader']


@pytest.mark.parametrize(('stale', 'step'), [
    (0, ('no stale entry', False)), (3, ('stale entries cleared: 3', True))], ids=['clean', 'stale'])
def test_the_loader_is_cleared_after_a_dead_load(stale, step, host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    kernel.anchors.update(LOADER)
    kernel.stale_buckets = stale
    assert loader_step(host.unload('init_oops')) == [step]
    assert kernel.stale_buckets == 0


def test_a_load_that_waited_for_the_dead_one_is_given_a_second_chance(host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    kernel.anchors.update(LOADER)
    kernel.stale_buckets, kernel.loading_pids = 1, [77]
    assert loader_step(host.unload('init_oops')) == [('stale entries cleared: 1', True)]
    assert kernel.calls == ['init_module init_oops', 'delete_module init_oops', 'init_module loader']


def test_a_loader_in_use_is_left_alone_and_the_host_is_said_to_need_care(host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    kernel.anchors.update(LOADER)
    kernel.stale_buckets, kernel.loading_pids = 1, [77, 77]
    error = host.refused('init_oops')
    assert 'the module is unloaded, but the loader was left alone: task 77 is inside finit_module' in str(error)
    assert 'Load nothing by finit_module(2)' in str(error)
    assert kernel.stale_buckets == 1
    assert (error.facts['changed'], error.facts['after']) == (True, {'state': 'absent'})


@pytest.mark.parametrize(('fault', 'anchors'), [
    ('exit_oops', {}), ('layout_pad', {}), ('init_oops', {'idem_hash': None}), ('init_oops', {'idem_lock': None}),
    ('init_oops', {'idem_bytes': None}), ('init_oops', {'idem_bytes': 2047}),
], ids=['exit died', 'exit lost', 'no table', 'no lock', 'size unknown', 'table too small'])
def test_the_loader_is_left_alone_otherwise(fault, anchors, host):
    kernel = host.boot(FakeModule(fault, **FAULTS[fault]))
    kernel.stale_buckets = 1
    kernel.anchors.update(dict(LOADER, **anchors))
    assert loader_step(host.unload(fault)) == []
    assert kernel.stale_buckets == 1


# --- what hangs ---------------------------------------------------------------------------------------------------

WITH_DEADLINE = child_process.with_deadline


def test_a_survey_that_hangs_is_an_answer_in_time(host):
    kernel = host.boot(FakeModule('foo'))
    host.monkeypatch.setattr(child_process, 'with_deadline', WITH_DEADLINE)
    host.monkeypatch.setattr(module_survey, 'module', lambda *_name, **_how: time.sleep(60))
    start = time.monotonic()
    error = host.refused('foo', timeout=1)
    assert time.monotonic() - start < 20
    assert str(error).startswith('Cannot read the state of foo: no answer within 1 seconds; process ')
    assert kernel.calls == []


def test_an_unload_that_hangs_is_an_answer_in_time(host):
    host.boot(FakeModule('foo'))
    host.monkeypatch.setattr(child_process, 'with_deadline', WITH_DEADLINE)
    host.monkeypatch.setattr(loader_syscalls, 'delete_module', lambda _name, **_force: time.sleep(5))
    error = host.refused('foo', timeout=1)
    assert str(error).startswith('Cannot unload foo: no answer within 1 seconds; process ')
    assert (error.facts['verdict'], error.facts['after']['state']) == ('unloadable', 'live')
    assert error.facts['changed'] is False


def test_the_first_failure_is_told_even_where_nothing_can_be_read_after_it(host):
    kernel = host.boot(FakeModule('foo'))
    kernel.delete_errors = [errno.EBUSY]
    surveys = []

    def survey(name, **how):
        surveys.append(name)
        if len(surveys) > 1:
            raise KmodError('read the state of foo', 'no answer within 30 seconds')
        return kernel.survey(name, **how)

    host.monkeypatch.setattr(module_survey, 'module', survey)
    error = host.refused('foo')
    assert str(error).startswith('Cannot unload foo: the kernel answered EBUSY')
    assert 'no answer within 30 seconds' in str(error.facts['after'])
    assert error.facts['verdict'] == 'unloadable'


def test_an_exit_that_dies_is_told(host):
    kernel = host.boot(FakeModule('foo'))

    def dies(name):
        kernel.modules[name].state, kernel.modules[name].refcount = 'going', 0
        kernel.modules[name].oopses = [builders.exit_oops(name)]
        raise KmodError(f'unload {name}', 'the process that acted ended without a word', 'Look at the kernel log')

    asked, survey = [], kernel.survey
    host.monkeypatch.setattr(module_survey, 'module',
                             lambda name, **how: asked.append(how['kernel']) or survey(name, **how))
    host.monkeypatch.setattr(loader_syscalls, 'delete_module', dies)
    error = host.refused('foo')
    assert asked[-1] is None  # what was read of the kernel before knows of no oops
    assert str(error) == ('Cannot unload foo: the process that acted ended without a word. The exit of foo died: '
                          'BUG: kernel NULL pointer dereference in f_exit. Run the task again.')
    assert (error.facts['changed'], error.facts['after']['state']) == (True, 'going')
