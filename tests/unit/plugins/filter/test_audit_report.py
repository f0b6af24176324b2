# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet said, put together: cases that the fleet of tests/controller does not have."""

import json

import pytest
from ansible_collections.kernelops.kmod.plugins.filter.audit_report import audit_report, out_of_tree_in_use

BROKEN = [None, '', 'text', 7, [], [None], {}, {'x': None}]


def facts(modules, release='6.1', arch='x86_64', present=True):
    """What kmod_facts registers of modules by verdict."""
    rest = {'method': 'none', 'reason': 'Because.', 'next': 'x'}
    told = {name: {'taint': 'OE', 'diagnosis': dict(rest, verdict=verdict)} for name, verdict in modules.items()}
    kernel = {'release': release, 'arch': arch, 'headers': {'dir': '/build', 'present': present}}
    return {'ansible_facts': {'kmod': {'kernel': kernel, 'modules': told}}}


def files(modules, **toolchain):
    """What kmod_toolchain_facts registers of files by verdict and severity."""
    told = {name: {'verdict': verdict, 'severity': severity, 'reason': 'Differs.', 'file': '/x.ko', 'compilers': []}
            for name, (verdict, severity) in modules.items()}
    return {'results': [{'ansible_facts': {'kmod_toolchain': dict(toolchain, modules=told)}}]}


def report(hosts):
    """The report, which can be written as it is."""
    made = audit_report(list(hosts), hosts)
    assert json.loads(json.dumps(made)) == made
    return made


# id: (verdict of the diagnosis, verdict and severity of the file or None; severity, will not unload, rebuild, reasons)
OUTCOMES = {
    'as it should be': ('unloadable', ('match', 'ok'), 'ok', False, False, []),
    'no exit, by design': ('no_exit', ('match', 'ok'), 'warning', True, False, ['Because.']),
    'died': ('init_died', ('match', 'ok'), 'error', True, False, ['Because.']),
    'died, its file unknown': ('init_died', ('unknown', 'warning'), 'error', True, False, ['Because.']),
    'exit lost': ('exit_lost', None, 'error', True, True, ['Because.']),
    'exit lost, by its layout': ('exit_lost', ('layout_mismatch', 'error'), 'error', True, True,
                                 ['Because.', 'Differs.']),
    'another compiler': ('in_use', ('compiler_differs', 'warning'), 'warning', False, True, ['Differs.']),
    'a severity of tomorrow': ('in_use', ('odd', 'fatal'), 'warning', False, False, ['Differs.']),
    'a verdict of tomorrow': ('odd', ('match', 'ok'), 'error', True, False, ['Because.']),
}


@pytest.mark.parametrize(('verdict', 'file', 'severity', 'stuck', 'rebuild', 'reasons'), OUTCOMES.values(),
                         ids=list(OUTCOMES))
def test_each_outcome(verdict, file, severity, stuck, rebuild, reasons):
    (found,) = report({'a': {'audit_modules': facts({'foo': verdict}),
                             'audit_files': files({'foo': file} if file else {})}})['findings']
    assert (found['severity'], found['will_not_unload'], found['rebuild'], found['reasons']) == (
        severity, stuck, rebuild, reasons)


def test_hosts_of_a_kernel_share_a_row_and_others_have_their_own():
    stuck = {'audit_modules': facts({'foo': 'exit_lost'}), 'audit_files': files({}, recommended_compiler={'cc': 'gcc'})}
    hosts = {'a': stuck, 'b': dict(stuck, audit_modules=facts({'foo': 'exit_lost'}, present=False)),
             'c': {'audit_modules': facts({'foo': 'exit_lost'}, arch='aarch64')},
             'd': {'audit_modules': facts({'foo': 'unloadable'})}}
    made = report(hosts)
    assert [(found['arch'], found['hosts']) for found in made['findings']] == [
        ('x86_64', ['a', 'b']), ('aarch64', ['c']), ('x86_64', ['d'])]
    first = made['findings'][0]
    assert (first['rebuild_with'], first['without_headers']) == ({'gcc': ['a', 'b']}, ['b'])
    assert [(kernel['arch'], kernel['hosts'], kernel['modules'], kernel['will_not_unload'])
            for kernel in made['kernels']] == [('aarch64', ['c'], 1, 1), ('x86_64', ['a', 'b', 'd'], 2, 1)]
    assert (made['summary']['stuck_hosts'], made['summary']['will_not_unload']) == (3, 1)


def test_the_compiler_is_taken_from_the_host_that_knows_it():
    known = {'family': 'gcc'}
    hosts = {'a': {'audit_modules': facts({})},
             'b': {'audit_modules': facts({}),
                   'audit_files': files({}, kernel={'compiler': known, 'layout': {'size': 1}})}}
    (kernel,) = report(hosts)['kernels']
    assert (kernel['compiler'], kernel['layout'], kernel['hosts']) == (known, {'size': 1}, ['a', 'b'])


def test_names_that_differ_by_case_are_two_modules():
    made = report({'a': {'audit_modules': facts({'xt_tcpmss': 'init_died', 'xt_TCPMSS': 'init_died'})}})
    assert made['summary']['will_not_unload'] == 2


@pytest.mark.parametrize('broken', BROKEN, ids=str)
def test_no_answer_is_an_error(broken):
    assert report({'a': {'audit_modules': broken}})['summary']['without_answer'] == 1
    assert report({'a': broken})['silent_hosts'] == [
        {'host': 'a', 'answer': 'none', 'reason': 'the host was not reached'}]
    whole = {'audit_modules': facts({'foo': 'exit_lost'}), 'audit_files': files({'foo': ('match', 'ok')})}
    for name in ('audit_closer', 'audit_files'):
        assert report({'a': dict(whole, **{name: broken})})['summary']['will_not_unload'] == 1
    half = report({'a': dict(whole, audit_files={'results': [broken]})})
    assert half['silent_hosts'] == [{'host': 'a', 'answer': 'modules only',
                                     'reason': 'Its module files were not compared. no answer'}]
    report({'a': dict(whole, audit_files=files({}, kernel=broken, headers=broken, recommended_compiler=broken))})
    told = facts({})
    told['ansible_facts']['kmod'].update(kernel=broken, modules={'foo': broken, 'bar': {'diagnosis': broken}})
    assert report({'a': {'audit_modules': told}})['kernels'][0]['release'] == 'not known'


def test_what_has_no_verdict_is_not_taken_for_sound():
    (found,) = report({'a': {'audit_modules': {'ansible_facts': {'kmod': {'modules': {'foo': {'state': 'live'}}}}}}})[
        'findings']
    assert (found['diagnosis'], found['will_not_unload'], found['reasons']) == (
        'not known', True, ['no reason given'])


def test_only_modules_from_elsewhere_are_looked_at_more_closely():
    told = facts({'foo': 'in_use', 'bar': 'in_use_unknown', 'idle': 'unloadable', 'ext4': 'in_use'})
    told['ansible_facts']['kmod']['modules']['ext4']['taint'] = ''
    assert out_of_tree_in_use(told) == ['foo', 'bar']


@pytest.mark.parametrize('broken', BROKEN, ids=str)
def test_where_nothing_was_told_nothing_is_looked_at(broken):
    assert out_of_tree_in_use(broken) == []
    assert out_of_tree_in_use({'ansible_facts': {'kmod': {'modules': {'foo': broken}}}}) == []
