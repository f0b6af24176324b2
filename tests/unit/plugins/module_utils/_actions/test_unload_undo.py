# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module that died left is taken back before it is freed or parked."""

import fcntl
import os

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import compiled_helper, undo, unload_each
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import ladder
from fake_kernel import FAULTS, FakeModule, Host

MISC = builders.leftover()
PROC = builders.leftover('proc', '/proc file foo', 0xffff888000001000, proof=0xffff888000001040)
TIMER = builders.leftover('timer', 'timer f_tick', 0xffffffffc0001100)
DONE, NOT_THERE, IN_USE, UNKNOWN, LATE, OWN_CODE, DIED = range(1, 8)


@pytest.fixture
def host(monkeypatch, tmp_path):
    (tmp_path / 'sys/module/init_oops').mkdir(parents=True)
    alone = undo.alone
    monkeypatch.setattr(undo, 'alone', lambda names, seconds: alone(names, seconds, str(tmp_path)))
    made = Host(monkeypatch)
    options = made.options
    made.options = lambda name='', **given: options(name, **dict({'methods': list(ladder.METHODS)}, **given))
    made.unload = lambda name, **given: unload_each.one(made.options(name, **given))
    return made


@pytest.fixture
def died(host):
    """A kernel in which an init died, and what it left."""
    module = FakeModule('init_oops', **FAULTS['init_oops'])
    module.leave(TIMER, MISC, PROC)
    return host.boot(module)


def results(report):
    return [(step['action'], step['result']) for step in report['steps'] if step['method'] == 'undo']


def test_all_of_it_is_taken_back_and_the_module_is_freed(host, died):
    report = host.unload('init_oops')
    assert (report['changed'], report['method'], report['verdict']) == (True, 'reset', 'init_died')
    assert results(report) == [('timer_delete_sync', 'timer f_tick: taken back'),
                               ('misc_deregister', 'misc device /dev/foo: taken back'),
                               ('proc_remove', '/proc file foo: taken back')]
    assert [step['action'] for step in report['steps']][3:] == ['reset', 'delete_module']
    kinds = [list(compiled_helper.UNDO_KINDS)[kind] for kind, _address, _result in died.undone]
    assert kinds == ['timer', 'misc', 'proc']
    assert (report['before']['state'], report['diff']['before']['state']) == ('coming', 'coming')
    assert died.modules == {}
    assert died.looked_for[0] == 'user_tasks'


@pytest.mark.parametrize(('result', 'words'), [
    (NOT_THERE, 'it was no longer there'), (IN_USE, 'left: it is in use'), (UNKNOWN, 'left: this kernel has no way'),
    (OWN_CODE, 'left: the module\'s own code would be called'), (DIED, 'it died when it was told to stop')])
def test_what_cannot_be_taken_back_leaves_it_parked(host, died, result, words):
    died.modules['init_oops'].undo_results = {MISC['address']: result}
    report = host.unload('init_oops')
    assert (report['method'], report['parked_as']) == ('park', 'init_oops_parked1')
    assert words in results(report)[1][1]
    assert [number for _kind, _address, number in died.undone] == [DONE, result, DONE]
    assert 'misc device /dev/foo' in report['msg']


def test_after_one_that_does_not_return_nothing_more_is_tried(host, died):
    died.modules['init_oops'].undo_results = {TIMER['address']: LATE}
    report = host.unload('init_oops')
    assert results(report)[0][1] == 'timer f_tick: left: the kernel\'s function has not returned'
    assert 'not tried' in results(report)[1][1]
    assert report['method'] == 'park'


def test_what_is_seen_once_the_first_is_gone_is_taken_back_too(host, died):
    module = died.modules['init_oops']
    taken_back, directory = module.taken_back, builders.leftover('kobject', 'sysfs directory foo', 0x10)

    def then_seen(address):
        taken_back(address)
        if address == PROC['address']:
            module.leave(directory)

    module.taken_back = then_seen
    report = host.unload('init_oops')
    assert report['method'] == 'reset'
    assert results(report)[-1] == ('kobject_put', 'sysfs directory foo: taken back')
    assert died.calls.count('init_module init_oops') == 3  # twice taken back, once reset


def test_check_mode_foresees_each(host, died):
    before = died.state()
    report = host.unload('init_oops', check_mode=True)
    assert (report['changed'], report['method']) == (True, 'undo')
    assert results(report) == [('timer_delete_sync', 'timer f_tick: would be taken back'),
                               ('misc_deregister', 'misc device /dev/foo: would be taken back'),
                               ('proc_remove', '/proc file foo: would be taken back'),
                               ('delete_module', 'would unload, or park where anything is left')]
    assert (died.state(), died.undone, died.calls) == (before, [], [])


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_without_the_helper_it_is_told_how_to_have_it(check_mode, host, died):
    died.helper = None
    with pytest.raises(KmodError, match='Have it built: ansible-playbook kernelops.kmod.force_unload'):
        host.unload('init_oops', check_mode=check_mode)
    assert (died.undone, died.calls) == ([], [])


def test_a_task_in_its_code_keeps_all_as_it_is(host, died):
    died.seen = {'user_tasks': (2, 1876, -1, b'cat')}
    with pytest.raises(KmodError, match=r'as the kernel itself sees, cat \(pid 1876\) will return to its code'):
        host.unload('init_oops')
    assert died.undone == []


def test_what_changed_meanwhile_is_left_alone(host, died):
    def gets_a_reference(module):
        module.refcount += 1

    died.before_store = gets_a_reference
    with pytest.raises(KmodError, match='it changed between reading and acting'):
        host.unload('init_oops')
    assert died.undone == []
    assert 'init_oops' in died.modules


def test_nobody_else_is_at_it_until_it_is_gone(host, died, monkeypatch):
    def delete(name, force=False):
        with pytest.raises(KmodError, match='another task is at it'), undo.alone([name], 0):
            pytest.fail('not alone')
        return died.delete_module(name, force)

    monkeypatch.setattr(loader_syscalls, 'delete_module', delete)
    assert host.unload('init_oops')['method'] == 'reset'
    with undo.alone(['init_oops'], 0):
        assert died.modules == {}


def test_somebody_else_who_is_at_it_is_waited_for(tmp_path):
    directory = tmp_path / 'sys/module/foo'
    directory.mkdir(parents=True)
    other = os.open(str(directory), os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(KmodError, match='another task is at it'), undo.alone(['foo'], 0.3, str(tmp_path)):
        pytest.fail('not alone')
    os.close(other)
    with undo.alone(['foo'], 0.3, str(tmp_path)), \
            pytest.raises(KmodError, match='another task is at it'), undo.alone(['foo'], 0, str(tmp_path)):
        pytest.fail('not alone')


def test_a_module_that_is_gone_keeps_nobody_waiting(tmp_path):
    with undo.alone(['foo'], 1, str(tmp_path)):
        assert not (tmp_path / 'sys').exists()


def test_of_several_all_is_taken_back_before_they_are_read_again(host, died):
    other = FakeModule('exit_oops', **FAULTS['exit_oops'])
    other.address += 0x100000
    other.leave(builders.leftover(address=0xffffffffc0700000))
    died.modules['exit_oops'] = other
    report = unload_each.run(['init_oops', 'healthy', 'exit_oops'], host.options())
    assert [(entry['name'], entry['method'], entry['changed']) for entry in report['modules']] == [
        ('init_oops', 'reset', True), ('healthy', 'none', False), ('exit_oops', 'reset', True)]
    assert died.searches[:2] == [('init_oops', 'exit_oops')] * 2
    assert [len(results(entry)) for entry in report['modules']] == [3, 0, 1]


def test_one_that_died_is_not_read_with_others_where_nothing_is_to_be_taken_back(host, died):
    host.unload('init_oops', methods=['reset', 'park'])
    assert (died.read_together, died.undone) == ([], [])


def test_one_that_the_kernel_does_not_give_back_in_time_is_left_to_it(host, died, monkeypatch):
    real = child_process.with_deadline

    def late(function, seconds, tried, outlives=False):
        if tried == 'take back what init_oops left':
            raise child_process.Deadline(tried, 'no answer within %d s' % seconds)
        return real(function, seconds, tried, outlives)

    monkeypatch.setattr(child_process, 'with_deadline', late)
    with pytest.raises(KmodError, match='take back what init_oops left'):
        host.unload('init_oops')
    assert died.calls == []
    entry, = unload_each.run(['init_oops'], host.options())['modules']
    assert entry['failed']
    assert 'take back what init_oops left' in entry['msg']


def test_kinds_and_results_are_numbered_as_in_the_helper():
    header = (builders.CAPTURES.parents[2] / 'roles/force_unload/files/kmod_reset/kmod_reset.h').read_text()

    def names(enum):
        body = header.split('enum %s {' % enum)[1].split('}')[0]
        return [line.split(',')[0].strip() for line in body.splitlines() if line.strip().startswith('UNDO_')]

    assert names('undo_kind') == ['UNDO_' + kind.upper() for kind in compiled_helper.UNDO_KINDS] + ['UNDO_KINDS']
    assert names('undo_result') == ['UNDO_' + result.upper() for result in compiled_helper.UNDO_RESULTS]
    assert '#define MOST_UNDONE\t%d\n' % compiled_helper.MOST_UNDONE in header
