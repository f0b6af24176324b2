# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hazards of a module: what is told of each, and its evidence."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import diagnose, hazards
from rule_facts import INSMOD, REGISTERED, THREAD

UNREACHABLE = {'reachability': builders.UNREACHABLE}
UNREACHED = 'reachability_unknown'

# id: (the oops, is it a hazard to a module that is not its own)
FOREIGN = {
    'in the kernel itself': (builders.oops(module='', of=None, call=None, died_in=None), True),
    'in another module, outside its init and exit': (
        builders.oops('bar', of=None, call=None, died_in=None, trace=['vfs_ioctl+0x2e/0x50']), True),
    'in the init of another module': (builders.oops('bar'), False),
    'in a probe of another module': (builders.oops('bar', died_in='probe', locks=['device_lock']), False),
    'in the init of another module, with a lock of all': (builders.oops('bar', locks=['misc_mtx']), True),
    'in the exit of another module': (builders.exit_oops('bar'), False),
    'a warning': (builders.oops(module='', of=None, call=None, kind='warning'), False),
}


def test_what_dangles_is_named_with_its_evidence():
    given = builders.facts('coming', 1, oopses=[builders.oops()], registrations=REGISTERED, tasks=THREAD)
    (hazard,) = [item for item in diagnose.diagnose(given)['hazards'] if item['code'] == 'dangling_references']
    assert hazard['reason'] == ('the kernel would still call foo: kernel thread foo_thread (pid 5, in f_loop), '
                                'misc device /dev/foo, timer f_tick')
    assert hazard['evidence'] == [
        {'kind': 'kernel thread', 'what': 'foo_thread (pid 5, in f_loop)', 'evidence': 'its stack'},
        *REGISTERED['found']]


@pytest.mark.parametrize(('entry', 'hazard'), FOREIGN.values(), ids=list(FOREIGN))
def test_oops_elsewhere(entry, hazard):
    found = diagnose.diagnose(builders.facts(refcount=1, oopses=[entry], **UNREACHABLE))
    assert found['verdict'] == 'references_leaked'
    assert [item['code'] for item in found['hazards']] == (['foreign_oops'] if hazard else [])
    if hazard:
        assert found['hazards'][0]['evidence'] == [entry]
        assert entry['function'] in found['hazards'][0]['reason']


def test_an_oops_that_the_log_has_lost_may_be_one_elsewhere():
    found = diagnose.diagnose(builders.facts(refcount=1, oopses_lost=['the kernel has counted 1'], **UNREACHABLE))
    assert found['hazards'] == [{
        'code': 'foreign_oops', 'evidence': ['the kernel has counted 1'],
        'reason': 'an oops outside foo may be missing in the kernel log: the kernel has counted 1'}]


def test_where_a_call_of_the_module_died_the_function_is_named():
    died = builders.oops(died_in=None, call=None, task='tee', function='foo_write')
    (hazard,) = diagnose.diagnose(builders.facts(oopses=[died, died]))['hazards']
    assert hazard['reason'] == (
        'tee died in foo_write of foo: what it had locked there stays locked, and an exit of foo that takes that lock, '
        'or waits for the call to end, waits for ever')


@pytest.mark.parametrize('state', ['absent', 'builtin', 'live'])
def test_oops_elsewhere_does_not_matter_where_nothing_is_forced(state):
    elsewhere = builders.oops(module='', of=None, call=None)
    assert diagnose.diagnose(builders.facts(state, oopses=[elsewhere]))['hazards'] == []


def test_oops_elsewhere_joins_the_hazards_of_a_running_init():
    given = builders.facts('coming', 1, loader_tasks=INSMOD, oopses=[builders.oops(module='', of=None, call=None)])
    assert [item['code'] for item in diagnose.diagnose(given)['hazards']] == [
        'running_task', UNREACHED, 'foreign_oops']


def test_long_lists_are_cut():
    mounts = [builders.holder('mount /mnt/%d' % number) for number in range(8)]
    found = diagnose.diagnose(builders.facts(refcount=8, holders={'mounts': mounts}))
    assert found['reason'].endswith('mount /mnt/4 and 3 more.')
    assert len(found['hazards'][0]['evidence']) == 8


REACHABLE = {'reachability': {
    'answer': 'reachable', 'reason': 'work_struct.func in a kmalloc-96 object points to f_work of foo', 'count': 2,
    'hits': [
        {'place': 'a kmalloc-96 object', 'address': '0xffff888000000018', 'target': 'f_work',
         'what': 'work_struct.func'},
        {'place': 'some_list', 'address': '0xffffffff82000000', 'target': 'f_block+0x8', 'what': ''}]}}
POINTERS = [{'kind': 'pointer', 'what': 'work_struct.func in a kmalloc-96 object',
             'evidence': 'at 0xffff888000000018 to f_work'},
            {'kind': 'pointer', 'what': 'in some_list', 'evidence': 'at 0xffffffff82000000 to f_block+0x8'}]


@pytest.mark.parametrize('facts', [
    builders.facts('coming', 1, oopses=[builders.oops()], **REACHABLE),
    builders.facts('going', -1, oopses=[builders.exit_oops()], **REACHABLE),
    builders.facts(permanent=True, live=builders.live(exit=0), **REACHABLE)], ids=['init', 'exit', 'no exit'])
def test_what_can_still_be_reached_dangles(facts):
    found = {item['code']: item for item in diagnose.diagnose(facts)['hazards']}
    assert list(found) == ['dangling_references']
    assert found['dangling_references']['evidence'] == POINTERS
    assert found['dangling_references']['reason'] == (
        'the kernel would still call foo: pointer work_struct.func in a kmalloc-96 object, pointer in some_list')


def test_what_has_a_name_is_told_by_that():
    found = diagnose.diagnose(builders.facts('coming', 1, oopses=[builders.oops()], registrations=REGISTERED,
                                             **REACHABLE))
    assert found['hazards'][0]['evidence'] == REGISTERED['found']


def test_what_a_list_shows_dangles_also_where_the_search_found_nothing():
    found = diagnose.diagnose(builders.facts('coming', 1, oopses=[builders.oops()], registrations=REGISTERED,
                                             **UNREACHABLE))
    assert [item['code'] for item in found['hazards']] == ['dangling_references']


def test_references_that_something_points_with_are_explained_by_it():
    found = diagnose.diagnose(builders.facts(refcount=1, **REACHABLE))
    assert found['verdict'] == 'in_use_unknown'
    assert 'the kernel can reach it: work_struct.func in a kmalloc-96 object points to f_work' in found['reason']
    assert found['hazards'][0]['evidence'] == POINTERS


def test_task_without_function_is_named_without_one():
    assert hazards.name_task({'pid': 3, 'command': 'rmmod'}) == 'rmmod (pid 3)'
    assert hazards.name_task({}) == '? (pid ?)'
