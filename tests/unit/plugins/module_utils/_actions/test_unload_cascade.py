# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that use a module: refused, or unloaded before it."""

import errno

import builders
import pytest
from fake_kernel import Host, stack


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


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
