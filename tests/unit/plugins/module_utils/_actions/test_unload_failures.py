# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An unload that fails half way, or hangs: what was written is put back, and what happened is told."""

import errno
import time

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_survey
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from fake_kernel import FAULTS, FakeKernel, FakeModule, Host


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


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
