# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a crashed load left in the loader's table is cleared after the unload."""

import pytest
from fake_kernel import FAULTS, LOADER, FakeModule, Host, loader_step


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


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
