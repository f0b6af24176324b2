# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which module is loaded to see whether the kernel still loads any."""

import pytest
from ansible_collections.kernelops.kmod.plugins.filter.harmless_module import harmless_module

LIB = '/lib/modules/6.1/kernel/lib/'
FOUND = {'files': [{'path': LIB + name} for name in ('ts_kmp.ko.xz', 'ts_bm.ko', 'ts-fsm.ko.zst')]}


# id: (the states of modules, the file that is taken)
CHOICES = {
    'none is loaded': ({'ts_bm': 'absent', 'ts_kmp': 'absent', 'ts_fsm': 'absent'}, 'ts-fsm.ko.zst'),
    'the first is loaded': ({'ts_bm': 'absent', 'ts_kmp': 'absent', 'ts_fsm': 'live'}, 'ts_bm.ko'),
    'one is packed': ({'ts_kmp': 'absent'}, 'ts_kmp.ko.xz'),
    'all are loaded': ({'ts_bm': 'live', 'ts_kmp': 'live', 'ts_fsm': 'builtin'}, ''),
    'nothing is known': ({}, ''),
}


@pytest.mark.parametrize(('states', 'chosen'), CHOICES.values(), ids=list(CHOICES))
def test_the_first_that_is_not_loaded(states, chosen):
    modules = {name: {'state': state} for name, state in states.items()}
    path = harmless_module(FOUND, {'ansible_facts': {'kmod': {'modules': modules}}})
    assert path == (LIB + chosen if chosen else '')


@pytest.mark.parametrize('broken', [None, {}, {'failed': True}, {'files': None}, {'files': [None, {}]},
                                    {'files': 'x', 'ansible_facts': 'x'}], ids=str)
def test_no_answer_is_an_error(broken):
    assert harmless_module(broken, broken) == ''
    assert harmless_module(FOUND, broken) == ''
