# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the audit's page: which finding is shown where, and what is said of it in words."""

import pytest
from ansible_collections.kernelops.kmod.plugins.filter.audit_page import audit_page


def finding(**given):
    """A finding of the report, as far as the page shows it."""
    return dict({'module': 'foo', 'kernel': '6.1', 'arch': 'x86_64', 'severity': 'ok', 'will_not_unload': False,
                 'reasons': [], 'compilers': [], 'unload': '', 'hosts': ['a']}, **given)


def page(*findings, **kernel):
    """The page of a fleet with one kernel."""
    return audit_page({'findings': list(findings), 'kernels': [dict({'release': '6.1', 'arch': 'x86_64'}, **kernel)]})


def test_findings_are_where_they_are_looked_for():
    made = page(finding(module='a', severity='error', will_not_unload=True, reasons=['x']),
                finding(module='b', severity='warning'), finding(module='c', severity='info', reasons=['x']),
                finding(module='d'), finding(module='e', arch='aarch64', severity='error'))
    assert {part: [found['module'] for found in made[part]] for part in ('stuck', 'look', 'findings')} == {
        'stuck': ['a'], 'look': ['b', 'e'], 'findings': ['a', 'b', 'c', 'd', 'e']}
    (kernel,) = made['kernels']
    assert ([found['module'] for found in kernel['told']], kernel['others']) == (['a', 'c'], 2)


# id: (what to do, the hosts; the command, else the advice)
ADVICE = {
    'a command': ('ansible HOST -b -m x', ['a', 'b'], 'ansible a,b -b -m x', ''),
    'a playbook': ('ansible-playbook x -l HOST -e y', ['a'], 'ansible-playbook x -l a -e y', ''),
    'many hosts': ('ansible HOST -m x', list('abcdefg'), 'ansible HOST -m x', ''),
    'a sentence': ('End what holds it', ['a'], '', 'End what holds it'),
    'nothing': ('', ['a'], '', ''),
}


@pytest.mark.parametrize(('unload', 'hosts', 'command', 'advice'), ADVICE.values(), ids=list(ADVICE))
def test_a_command_is_for_its_hosts(unload, hosts, command, advice):
    (found,) = page(finding(unload=unload, hosts=hosts))['findings']
    assert (found['command'], found['unload']) == (command, advice)


# id: (a compiler as a reader tells it, in words)
COMPILERS = {
    'name and version': ({'family': 'gcc', 'version': '12.2.0', 'banner': 'x'}, 'gcc 12.2.0'),
    'name alone': ({'family': 'gcc', 'version': ''}, 'gcc'),
    'banner': ({'family': '', 'banner': 'some cc'}, 'some cc'),
    'nothing': ({}, 'not known'),
    'unreadable': ({'unavailable': 'EPERM'}, 'not known: EPERM'),
    'a text': ('gcc', 'gcc'),
}


@pytest.mark.parametrize(('compiler', 'words'), COMPILERS.values(), ids=list(COMPILERS))
def test_compilers_are_put_into_words(compiler, words):
    made = page(finding(compilers=[compiler, compiler]), compiler=compiler)
    assert made['findings'][0]['built_by'] == '%s, %s' % (words, words)
    assert made['kernels'][0]['compiler'] == words


# id: (a layout as a reader tells it, in words)
LAYOUTS = {
    'whole': ({'size': 896, 'init': 312, 'exit': 848, 'source': 'btf'},
              'size 896, init at 312, exit at 848 (from btf)'),
    'without exit': ({'size': 896, 'init': 312, 'exit': None}, 'size 896, init at 312, exit at none'),
    'nothing': ({}, 'size ?, init at none, exit at none'),
    'unreadable': ({'unavailable': 'EPERM'}, 'not known: EPERM'),
}


@pytest.mark.parametrize(('layout', 'words'), LAYOUTS.values(), ids=list(LAYOUTS))
def test_layouts_are_put_into_words(layout, words):
    assert page(layout=layout)['kernels'][0]['layout'] == words


@pytest.mark.parametrize('compilers', [None, {'unavailable': 'EPERM'}, []], ids=str)
def test_a_module_without_a_file_has_no_compiler(compilers):
    assert page(finding(compilers=compilers))['findings'][0]['built_by'] == 'not known'
