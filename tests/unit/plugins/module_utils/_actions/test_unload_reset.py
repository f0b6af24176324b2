# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reset needs: the helper, the addresses; each that is missing is told."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import compiled_helper
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from fake_kernel import FAULTS, FakeModule, Host


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


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
