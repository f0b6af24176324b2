# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not cut short at the deadline, what is said of a step that came late, and what is told of dependents."""

import errno

import fake_kernel
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from fake_kernel import FAULTS, FakeModule, Host

CASES = {'plain': ('healthy', {'refcount': 1}), 'kernel_force': ('no_exit', FAULTS['no_exit']),
         'reset': ('init_oops', FAULTS['init_oops']), 'park': ('init_oops', FAULTS['init_oops'])}


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


@pytest.mark.parametrize('method', sorted(CASES))
def test_only_what_acts_outlives_its_deadline(method, host, monkeypatch):
    name, fault = CASES[method]
    kernel = host.boot(FakeModule(name, **fault))
    acted = []

    def deadline(function, seconds, tried, outlives=False):
        before = list(kernel.calls)
        answer = fake_kernel.direct(function, seconds, tried)
        acted.append((kernel.calls != before, outlives))
        return answer

    monkeypatch.setattr(child_process, 'with_deadline', deadline)
    assert host.unload(name, methods=[method])['method'] == method
    assert (True, True) in acted
    assert all(changes == outlives for changes, outlives in acted)


@pytest.mark.parametrize('ends', ['absent', 'going'])
def test_another_who_unloads_it_at_the_same_time_is_not_us(ends, host, monkeypatch):
    kernel = host.boot(FakeModule('healthy', refcount=1))

    def busy(name, force=False):  # noqa: ARG001 - as the real one
        kernel.modules[name].state = 'going'
        if ends == 'absent':
            del kernel.modules[name]
        return errno.EBUSY

    monkeypatch.setattr(loader_syscalls, 'delete_module', busy)
    if ends == 'absent':
        result = host.unload('healthy')
        assert (result['changed'], result['after']) == (False, {'state': 'absent'})
        assert result['msg'] == 'healthy was unloaded by someone else meanwhile.'
    else:
        error = host.refused('healthy')
        assert (error.facts['changed'], error.facts['after']['state']) == (False, 'going')


def late(function, seconds, tried, outlives=False):
    """As where the answer comes just after the deadline."""
    answer = fake_kernel.direct(function, seconds, tried)
    if outlives:
        raise child_process.Deadline(tried, 'no answer within 30 seconds', hangs_in='synchronize_rcu')
    return answer


def test_a_module_that_goes_after_the_deadline_is_ours(host, monkeypatch):
    host.boot(FakeModule('healthy', refcount=1))
    monkeypatch.setattr(child_process, 'with_deadline', late)
    result = host.unload('healthy')
    assert (result['changed'], result['after']) == (True, {'state': 'absent'})
    assert result['msg'] == 'healthy is unloaded, but it took longer than the timeout.'


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_the_warnings_of_dependents_are_told(check_mode, host):
    unknown = {'answer': 'unknown', 'reason': 'no memory was read', 'hits': []}
    host.boot(FakeModule('base', refcount=2), FakeModule('top', uses=['base'], reachability=unknown))
    result = host.unload('base', cascade=True, check_mode=check_mode, run_exit='never',
                         accept_hazards=['reachability_unknown'])
    assert [text for text in result['warnings'] if text.startswith('The exit of top does not run')]
