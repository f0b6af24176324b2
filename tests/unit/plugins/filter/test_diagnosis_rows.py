# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of diagnose's table: cases that the table of tests/controller does not have."""

import pytest
from ansible_collections.kernelops.kmod.plugins.filter.diagnosis_rows import diagnosis_rows


def answer(**modules):
    """What kmod_facts registers of modules by verdict."""
    told = {name: {'diagnosis': {'verdict': verdict, 'method': 'reset', 'reason': 'Be\ncause.', 'next': following}}
            for name, (verdict, following) in modules.items()}
    return {'diagnose_answer': {'ansible_facts': {'kmod': {'modules': told}}}}


def rows(hosts, names=()):
    """The rows without the titles, their columns split."""
    made = diagnosis_rows(list(hosts), hosts, names)
    assert made[0]['columns'].split() == ['HOST', 'MODULE', 'VERDICT', 'METHOD']
    assert len({len(row['columns']) for row in made}) == 1
    return [(row['columns'].split(), row['why'], row['next'], row['command']) for row in made[1:]]


def test_modules_are_sorted_and_those_at_rest_are_shown_when_named():
    hosts = {'a': answer(zoo=('init_died', ''), Bar=('no_exit', ''), idle=('in_use', ''))}
    assert [row[0][1] for row in rows(hosts)] == ['Bar', 'zoo']
    assert [row[0][1] for row in rows(hosts, ['any'])] == ['Bar', 'idle', 'zoo']


@pytest.mark.parametrize(('following', 'advice', 'command'), [
    ('ansible HOST -m x -a "y"', '', "ansible web1 -m x -a 'y'"),
    ('ansible-playbook x -l HOST -e y', '', 'ansible-playbook x -l web1 -e y'),
    ('End it: ansible\n HOST', 'End it: ansible HOST', ''),
])
def test_a_command_names_the_host(following, advice, command):
    assert rows({'web1': answer(foo=('no_exit', following))}) == [
        (['web1', 'foo', 'no_exit', 'reset'], 'Be cause.', advice, command)]


@pytest.mark.parametrize('broken', [None, '', 'text', 7, [], [None], {}, {'msg': None}, {'ansible_facts': {'kmod': 7}}],
                         ids=str)
def test_no_answer_is_an_error(broken):
    silent = [(['a', '-', 'no', 'answer', '-'], 'the host was not reached', '', '')]
    assert rows({'a': {'diagnose_answer': broken}}) == silent
    assert rows({'a': broken}) == silent
    for module in (broken, {'diagnosis': broken, 'holders': broken},
                   {'holders': {'tasks': [broken], 'mounts': [broken], 'network': {'unavailable': broken}}}):
        told = {'ansible_facts': {'kmod': {'modules': {'foo': module}}}}
        assert rows({'a': {'diagnose_answer': told}})[0][0] == ['a', 'foo', 'not', 'known', 'not', 'known']
