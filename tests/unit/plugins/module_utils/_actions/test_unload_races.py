# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes between reading and acting, and whom the last look is to find."""

import errno

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_table
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import crashes
from fake_kernel import FAULTS, LOADER, FakeModule, Host


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


# --- what changes between reading and acting ------------------------------------------------------------------------

def reset_by_another(_kernel, module):
    module.state, module.refcount, module.init, module.exit = 'live', 1, 0, 0


def finish_init(_kernel, module):
    module.state, module.refcount = 'live', 1


def unload(kernel, module):
    del kernel.modules[module.name]


def replace(kernel, module):
    kernel.modules[module.name] = FakeModule(module.name, address=builders.ADDRESS + 0x8000)


# id: (what happens, words of the answer; None: it is gone and that is what was wanted)
MEANWHILE = {
    'its init finishes': (finish_init, 'it changed between reading and acting'),
    'someone else unloads it': (unload, None),
    'another build replaces it': (replace, 'no longer has it at the address that was read'),
    'another controller resets it': (reset_by_another, 'it changed between reading and acting'),
}


@pytest.mark.parametrize('methods', [['reset'], ['park']], ids=['reset', 'park'])
@pytest.mark.parametrize(('happens', 'why'), MEANWHILE.values(), ids=list(MEANWHILE))
def test_what_changes_meanwhile_is_left_alone_and_the_next_run_is_right(happens, why, methods, host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    states = []

    def change(module):
        happens(kernel, module)
        states.append(kernel.state())

    kernel.before_store = change
    if why is None:
        result = host.unload('init_oops', methods=methods)
        assert (result['changed'], result['after']) == (False, {'state': 'absent'})
        assert result['msg'] == 'init_oops was unloaded by someone else meanwhile.'
    else:
        error = host.refused('init_oops', methods=methods)
        assert why in str(error)
        assert 'Run the task again' in str(error)
        assert error.facts['steps'] == []
    assert kernel.state() == states[0]
    assert kernel.exits == []
    kernel.before_store = None
    host.unload('init_oops')
    assert kernel.modules == {}


@pytest.mark.parametrize(('method', 'fault'), [('plain', 'healthy'), ('kernel_force', 'leaked_ref')])
def test_gone_before_delete_module_is_what_was_wanted(method, fault, host):
    kernel = host.boot(FakeModule(fault, **FAULTS[fault]))
    delete = kernel.delete_module

    def late(name, force=False):
        kernel.modules.clear()
        return delete(name, force)

    host.monkeypatch.setattr(loader_syscalls, 'delete_module', late)
    result = host.unload(fault)
    assert (result['method'], result['changed'], result['after']) == (method, False, {'state': 'absent'})
    assert [(step['action'], step['changed']) for step in result['steps']] == [('delete_module', False)]
    assert result['msg'] == f'{fault} was unloaded by someone else meanwhile.'


def test_gone_between_reset_and_delete_module_is_what_was_wanted(host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))

    def gone(_name):
        kernel.modules.clear()
        return errno.ENOENT

    host.monkeypatch.setattr(loader_syscalls, 'delete_module', gone)
    result = host.unload('init_oops')
    assert [(step['action'], step['changed']) for step in result['steps']] == [
        ('reset', True), ('delete_module', False)]
    assert (result['changed'], result['after']) == (True, {'state': 'absent'})


def test_what_another_unloads_after_our_reset_is_not_called_loading_again(host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))

    def half_way(name):
        kernel.modules[name].state, kernel.modules[name].refcount = 'going', 0
        return errno.EBUSY

    host.monkeypatch.setattr(loader_syscalls, 'delete_module', half_way)
    error = host.refused('init_oops')
    assert error.facts['steps'][1]['result'] == (
        'could not be put back: someone else changed it meanwhile (state live -> going, refcount 1 -> 0)')
    assert kernel.modules['init_oops'].state == 'going'


@pytest.mark.parametrize(('key', 'value'), [('refcount', 7), ('state', 'going'), ('address', builders.ADDRESS + 64)])
def test_force_takes_only_what_was_read(key, value, host):
    kernel = host.boot(FakeModule('leaked_ref', **FAULTS['leaked_ref']))
    read = kernel.table

    def table():
        found = read()
        found['modules']['leaked_ref'][key] = value
        return found

    host.monkeypatch.setattr(module_table, 'read', table)
    error = host.refused('leaked_ref')
    assert f'it changed between reading and acting: {key} was' in str(error)
    assert kernel.calls == []
    assert 'leaked_ref' in kernel.modules


# --- nothing is loaded into a kernel that an oops elsewhere may have left locked ------------------------------------

@pytest.mark.parametrize(('fault', 'options', 'refused'), [
    ('init_oops', {}, True), ('init_oops', {'methods': ['park']}, True), ('healthy', {'methods': ['reset']}, True),
    ('healthy', {'methods': ['park']}, True), ('healthy', {'run_exit': 'never'}, True), ('healthy', {}, False),
    ('leaked_ref', {}, False), ('leaked_ref', {'methods': ['reset']}, True), ('layout_pad', {}, True),
    ('init_oops', {'accept_hazards': ['foreign_oops']}, False)])
@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_with_a_wedged_loader_nothing_is_loaded(fault, options, refused, check_mode, host):
    wedged = builders.oops('', function='static_call_module_notify', trace=['load_module+0x1/0x2'])
    changes = dict(FAULTS[fault])
    kernel = host.boot(FakeModule(fault, **dict(changes, oopses=changes.get('oopses', []) + [wedged])))
    assert crashes.loader([wedged], False, 0) == 'wedged'
    if not refused:
        assert host.unload(fault, check_mode=check_mode, **options)['changed'] is True
        return
    error = host.refused(fault, check_mode=check_mode, **options)
    assert 'Reboot required: an oops outside the module may have left locks held' in str(error)
    assert not any(call.startswith('init_module') for call in kernel.calls)


# --- whom the helper looks for --------------------------------------------------------------------------------------

@pytest.mark.parametrize(('fault', 'options', 'looks'), [
    ('init_oops', {}, ['tasks']), ('layout_pad', {}, ['user_tasks']),
    ('leaked_ref', {'methods': ['reset']}, ['user_tasks']), ('healthy', {'methods': ['park']}, ['nobody']),
    ('init_oops', {'accept_hazards': ['running_task']}, ['nobody']),
    ('init_oops', {'methods': ['park']}, ['user_tasks'])])
def test_whom_the_helper_looks_for(fault, options, looks, host):
    kernel = host.boot(FakeModule(fault, **FAULTS[fault]))
    host.unload(fault, **options)
    assert kernel.looked_for == looks


@pytest.mark.parametrize(('fault', 'options', 'sees', 'refuses'), [
    ('init_oops', {}, 'tasks', True), ('layout_pad', {}, 'tasks', False), ('layout_pad', {}, 'user_tasks', True),
    ('init_oops', {'accept_hazards': ['running_task']}, 'tasks', False),
    ('init_oops', {'accept_hazards': ['undecided', 'in_use', 'foreign_oops', 'dangling_references']}, 'tasks', True),
    ('init_oops', {'methods': ['park']}, 'user_tasks', True), ('healthy', {'methods': ['park']}, 'user_tasks', False)])
def test_whom_the_kernel_sees_is_named_and_nothing_is_written(fault, options, sees, refuses, host):
    kernel = host.boot(FakeModule(fault, **FAULTS[fault]))
    before = kernel.state()
    kernel.seen = {sees: (2, 77, -1, b'insmod')}
    if not refuses:
        assert host.unload(fault, **options)['changed'] is True
        return
    error = host.refused(fault, **options)
    assert 'as the kernel itself sees, insmod (pid 77) will return to its code' in str(error)
    assert 'nothing was written' in str(error)
    assert 'accept_hazards=running_task overrides this at the risk of the host' in str(error)
    assert kernel.state() == before
    assert (error.facts['changed'], error.facts['method'], error.facts['steps']) == (False, 'none', [])
    assert [hazard['code'] for hazard in error.facts['hazards']] == ['running_task']
    assert error.facts['look']['command'] == 'insmod'


def test_what_the_look_cost_is_reported(host):
    host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    look = host.unload('init_oops')['look']
    assert (look['result'], look['tasks'], look['nanoseconds']) == ('clear', 100, 5000000)


def test_to_put_back_is_never_refused_by_a_look(host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    kernel.delete_errors = [errno.EBUSY]
    host.refused('init_oops')
    assert kernel.looked_for == ['tasks', 'nobody']


@pytest.mark.parametrize('methods', [['reset'], ['park']], ids=['reset', 'park'])
def test_check_mode_foresees_that_the_loader_is_cleared(methods, host):
    kernel = host.boot(FakeModule('init_oops', **FAULTS['init_oops']))
    kernel.anchors.update(LOADER)
    kernel.stale_buckets = 1
    foreseen = host.unload('init_oops', methods=methods, check_mode=True)
    done = host.unload('init_oops', methods=methods)
    assert [(step['action'], step['method'], step['changed']) for step in foreseen['steps']] == \
        [(step['action'], step['method'], step['changed']) for step in done['steps']]


# --- what leads there is looked for once more before anything is freed ----------------------------------------------

HIT = {'place': 'a kmalloc-64 object', 'address': '0xffff888000001000', 'target': 'f_call', 'what': 'work_struct.func'}
REACHED = {'answer': 'reachable', 'reason': 'a kmalloc-64 object points to f_call', 'hits': [HIT]}
NOT_DONE = {'answer': 'unknown', 'reason': 'only 1 of 9 MB of kernel memory were read in the time given', 'hits': []}


@pytest.mark.parametrize('fault', ['init_oops', 'exit_oops', 'no_exit'])
@pytest.mark.parametrize('meanwhile', [REACHED, NOT_DONE], ids=['reached', 'not done'])
def test_what_is_reached_meanwhile_is_not_freed(fault, meanwhile, host):
    """It is planned for as it is now: whoever reaches it finds its code."""
    kernel = host.boot(FakeModule(fault, reached_meanwhile=meanwhile, **FAULTS[fault]))
    result = host.unload(fault)
    assert (result['method'], result['changed'], result['reachability']) == ('park', True, meanwhile)
    assert kernel.searches == [[fault]]
    assert list(kernel.modules) == [result['parked_as']]


@pytest.mark.parametrize('fault', ['init_oops', 'leaked_ref'])
def test_what_is_reached_meanwhile_stays_where_it_cannot_be_parked(fault, host):
    kernel = host.boot(FakeModule(fault, reached_meanwhile=REACHED, **FAULTS[fault]))
    before = kernel.state()
    error = host.refused(fault, methods=['plain', 'kernel_force', 'reset'])
    assert 'f_call' in str(error) or 'work_struct.func' in str(error)
    assert (kernel.calls, kernel.state(), error.facts['changed']) == ([], before, False)


# id: (fault, options, whether memory is searched again)
AGAIN = {
    'its exit runs': ('layout_pad', {}, False),
    'nothing is freed': ('init_oops', {'methods': ['park']}, False),
    'nothing depends on it': ('healthy', {}, False),
    'check mode': ('init_oops', {'check_mode': True}, False),
    'init died': ('init_oops', {}, True),
    'leaked': ('leaked_ref', {}, True),
}


@pytest.mark.parametrize(('fault', 'options', 'again'), AGAIN.values(), ids=list(AGAIN))
def test_memory_is_searched_again_before_code_is_freed_that_nothing_reaches(fault, options, again, host):
    kernel = host.boot(FakeModule(fault, **FAULTS[fault]))
    host.unload(fault, **options)
    assert kernel.searches == [[fault]] * again


def test_whoever_accepts_the_hazard_is_not_asked_again(host):
    kernel = host.boot(FakeModule('init_oops', reachability=NOT_DONE, **FAULTS['init_oops']))
    host.unload('init_oops', accept_hazards=['reachability_unknown'])
    assert kernel.searches == []
