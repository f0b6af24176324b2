# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each host of a forced unload: from what its tasks registered to a row of the report."""

import json

import pytest
from ansible_collections.kernelops.kmod.plugins.filter.unload_report import unload_needed, unload_report

GONE = {'unreachable': True, 'msg': 'Failed to connect:\n no route'}
LOADS = {'module': '/x.ko', 'loaded': {'changed': True}, 'unloaded': {'changed': True}}
FAILED = {'failed': True, 'msg': 'Nothing\n loads'}
STUCK = {'module': '/x.ko', 'loaded': FAILED, 'unloaded': {'skipped': True, 'changed': False}}


def health(state='coming', flags=('died',), oopses=1, loader='ok'):
    """What kmod_facts registers."""
    kernel = {'release': '6.1', 'taint': {'flags': list(flags)}, 'oopses': oopses, 'loader': loader}
    module = {'state': state, 'diagnosis': {'verdict': 'init_died'}}
    return {'ansible_facts': {'kmod': {'kernel': kernel, 'modules': {'foo': module}}}}


def turn(before=None, after=None, failure='', probe=None, modules=None):
    """What a host's tasks registered; the defaults are those of a host that was cured."""
    return {'force_unload_before': health() if before is None else before,
            'force_unload_after': health('absent') if after is None else after,
            'force_unload_failure': failure, 'force_unload_probe': probe or {'before': LOADS, 'after': LOADS},
            '__force_unload_done': {'modules': modules or [{'name': 'foo', 'method': 'reset'}]},
            'force_unload_began': '100.25', 'force_unload_ended': 103.5}


def row(about, names=('foo',)):
    """The row of one host; the report can be written as it is."""
    report = unload_report(['a'], {'a': about}, names)
    assert json.loads(json.dumps(report)) == report
    assert report['outcomes'][report['hosts'][0]['outcome']] == 1
    return report['hosts'][0]


# id: (the host, its outcome, what is worse, the reason)
OUTCOMES = {
    'cured': (turn(), 'cured', [], ''),
    'none of it was there': (turn(health('absent'), {'skipped': True}), 'nothing to do', [], ''),
    'not reached': (turn(GONE, {}), 'no answer', [], 'Failed to connect: no route'),
    'not its turn yet': ({}, 'waiting', [], ''),
    'nothing known of the host': (None, 'waiting', [], ''),
    'a refusal': (turn(failure='Cannot\n unload'), 'failed', [], 'Cannot unload'),
    'silent after': (turn(after={'failed': True, 'msg': 'no answer\n at all'}), 'worse',
                     ['it does not answer any more: no answer at all'], ''),
    'silent after, without a word': (turn(after={'failed': True}), 'worse',
                                     ['it does not answer any more: no reason given'], ''),
    'worse, and refused': (turn(after=health(oopses=2), failure='No'), 'worse',
                           ['the kernel log has 1 more oopses'], 'No'),
    'a new oops': (turn(after=health('absent', oopses=3)), 'worse', ['the kernel log has 2 more oopses'], ''),
    'oopses that went out of the log': (turn(after=health('absent', oopses=0)), 'cured', [], ''),
    'oopses not known': (turn(after=health('absent', oopses={'unavailable': 'EPERM'})), 'cured', [], ''),
    'new taints': (turn(after=health('absent', ('died', 'soft_lockup', 'warn'))), 'worse',
                   ['the kernel is tainted: soft_lockup', 'the kernel is tainted: warn'], ''),
    'the marks of the work itself': (
        turn(after=health('absent', ('out_of_tree_module', 'unsigned_module', 'forced_rmmod'))), 'cured', [], ''),
    'a harmed loader': (turn(after=health('absent', loader='wedged')), 'worse',
                        ["the kernel's loader is wedged, and was ok"], ''),
    'a mended loader': (turn(health(loader='stale_entry_suspected')), 'cured', [], ''),
    'nothing loads any more': (turn(probe={'before': LOADS, 'after': STUCK}), 'worse',
                               ['a harmless module does not load any more: Nothing loads'], ''),
    'nothing loaded before': (turn(probe={'before': STUCK, 'after': STUCK}), 'cured', [], ''),
    'not tried again': (turn(probe={'before': LOADS}), 'cured', [], ''),
}


@pytest.mark.parametrize(('about', 'outcome', 'worse', 'reason'), OUTCOMES.values(), ids=list(OUTCOMES))
def test_each_outcome(about, outcome, worse, reason):
    found = row(about)
    assert (found['outcome'], found['worse'], found['reason']) == (outcome, worse, reason)


# id: (what was tried, whether it loads)
PROBES = {
    'not tried': (None, 'not tried'),
    'loads': (LOADS, 'loads'),
    'none found': ({'module': ''}, 'no harmless module was found'),
    'does not load': (STUCK, 'Nothing\n loads'),
    'does not unload': ({'module': '/x', 'loaded': {'changed': True}, 'unloaded': {'msg': 'busy'}}, 'busy'),
    'says nothing': ({'module': '/x', 'loaded': {}}, 'no answer'),
}


@pytest.mark.parametrize(('tried', 'said'), PROBES.values(), ids=list(PROBES))
def test_the_probe_is_put_into_words(tried, said):
    assert row(turn(probe={'before': tried}))['health']['before']['harmless_module'] == said


# id: (the host, its modules)
MODULES = {
    'unloaded': (turn(), [('foo', 'coming', 'init_died', 'reset', 'absent', '')]),
    'parked': (turn(modules=[{'name': 'foo', 'method': 'park', 'parked_as': 'foo_1'}]),
               [('foo', 'coming', 'init_died', 'park', 'absent', 'foo_1')]),
    'the first result counts': (turn(modules=[{'name': 'foo', 'method': 'plain'}, {'name': 'foo', 'method': 'reset'}]),
                                [('foo', 'coming', 'init_died', 'plain', 'absent', '')]),
    'failed': (turn(modules=[{'name': 'foo', 'method': 'reset', 'failed': True}]),
               [('foo', 'coming', 'init_died', 'none', 'absent', '')]),
    'was absent': (turn(health('absent')), []),
    'not known, and the work failed': (turn({'failed': True}, {}, 'No'),
                                       [('foo', 'not known', 'not known', 'reset', 'not known', '')]),
}


@pytest.mark.parametrize(('about', 'modules'), MODULES.values(), ids=list(MODULES))
def test_each_module_is_told(about, modules):
    assert [tuple(module.values()) for module in row(about)['modules']] == modules


def test_seconds_kernel_and_health():
    found = row(turn())
    assert (found['seconds'], found['kernel']) == (3.2, '6.1')
    assert found['health']['before'] == {'taint': {'flags': ['died']}, 'oopses': 1, 'loader': 'ok',
                                         'harmless_module': 'loads'}
    assert row(dict(turn(), force_unload_ended='x'))['seconds'] == 0


@pytest.mark.parametrize('broken', [None, '', 'text', 7, [], [None], {'ansible_facts': None},
                                    {'ansible_facts': {'kmod': 'x'}}, {'ansible_facts': {'kmod': {'kernel': []}}},
                                    {'ansible_facts': {'kmod': {'modules': {'foo': None}}}}], ids=str)
def test_no_answer_is_an_error(broken):
    for name in turn():
        row(dict(turn(), **{name: broken}))
    row(turn(probe={'before': broken, 'after': broken}, modules=[broken]))
    row(turn(broken, broken))
    for taint in (broken, {'flags': broken}, {'flags': [broken]}):
        odd = health()
        odd['ansible_facts']['kmod']['kernel'].update(taint=taint, oopses=broken, loader=broken)
        row(turn(odd, health()))
        row(turn(health(), odd))


def test_names_are_those_of_the_kernel_and_outcomes_are_counted():
    report = unload_report(['a', 'b', 'c'], {'a': turn(), 'b': turn(GONE, {})}, ['foo', 'a-b_c'])
    assert report['names'] == ['foo', 'a_b_c']
    assert report['outcomes'] == {'cured': 1, 'nothing to do': 0, 'failed': 0, 'worse': 0, 'no answer': 1, 'waiting': 1}
    assert [host['host'] for host in report['hosts']] == ['a', 'b', 'c']


@pytest.mark.parametrize(('before', 'needed'), [
    (health(), True), (health('absent'), False), (GONE, False), ({'failed': True, 'msg': 'x'}, True), ({}, True),
    (None, True), (health(None), True),
], ids=['stuck', 'absent', 'not reached', 'failed', 'empty', 'missing', 'no state'])
def test_a_host_is_looked_at_where_it_has_the_module_or_did_not_say(before, needed):
    assert unload_needed(before, ['foo']) is needed
    assert unload_needed(health(), ['another']) is False
