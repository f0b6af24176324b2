# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several modules in one task: what becomes of each, and what is read for that."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import unload_each
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_survey
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from fake_kernel import FAULTS, FakeModule, Host


class Clock:
    """Stands in for the module time."""

    now = 100.0

    def monotonic(self):
        return self.now


NAMES = ['layout_pad', 'base', 'init_oops', 'never-loaded']


@pytest.fixture
def host(monkeypatch):
    found = Host(monkeypatch)
    user = FakeModule('user')
    user.uses = ['base']
    found.boot(FakeModule('layout_pad', **FAULTS['layout_pad']), FakeModule('base', refcount=2), user,
               FakeModule('init_oops', **FAULTS['init_oops']))
    return found


@pytest.fixture
def read(host):
    """The names for which the host was read together; where it cannot be, by 'fails'."""
    return host.kernel.read_together


def test_each_is_tried_and_the_refused_ones_are_told(host, read):
    result = unload_each.run(NAMES, host.options())
    assert [(entry['name'], entry['failed'], entry['changed'], entry['verdict'], entry['method'])
            for entry in result['modules']] == [
        ('layout_pad', False, True, 'exit_lost', 'reset'), ('base', True, False, 'has_dependents', 'none'),
        ('init_oops', False, True, 'init_died', 'reset'), ('never-loaded', False, False, 'absent', 'none')]
    assert (result['changed'], result['failed']) == (True, True)
    assert 'base' in result['msg']
    assert 'layout_pad' not in result['msg']
    assert sorted(host.kernel.modules) == ['base', 'user']
    assert read == [name.replace('-', '_') for name in NAMES]
    assert [diff['before_header'] for diff in result['diff']] == NAMES
    assert result['diff'][0]['after'] == {'state': 'absent'}


@pytest.mark.parametrize('together', [True, False], ids=['read together', 'cannot be'])
def test_check_mode_reads_them_together_and_says_the_same(host, read, together):
    if not together:
        read.append('fails')
    alone = {}
    for name in NAMES:
        try:
            alone[name] = host.unload(name, check_mode=True)
        except KmodError as error:
            alone[name] = dict(error.facts, msg=str(error))
    before = host.kernel.state()
    result = unload_each.run(NAMES, host.options(check_mode=True))
    assert host.kernel.state() == before
    assert host.kernel.calls == []
    assert read == ([name.replace('-', '_') for name in NAMES] if together else ['fails'])
    for entry in result['modules']:
        for key in ('verdict', 'method', 'before', 'after', 'hazards', 'msg', 'changed'):
            assert entry[key] == alone[entry['name']][key], (entry['name'], key)


@pytest.mark.usefixtures('read')
def test_a_name_that_is_none_costs_no_other(host):
    result = unload_each.run(['layout_pad', '../x'], host.options(check_mode=True))
    assert [(entry['failed'], entry['changed']) for entry in result['modules']] == [(False, True), (True, False)]
    assert "'../x'" in result['msg']


@pytest.mark.usefixtures('read')
def test_no_name_is_nothing_to_do(host):
    result = unload_each.run([], host.options())
    assert (result['changed'], result['failed'], result['modules']) == (False, False, [])
    assert result['msg'] == 'No module is named.'


@pytest.mark.usefixtures('read')
def test_check_mode_foresees_each_as_those_before_it_will_leave_it(host):
    names = ['user', 'base', 'init_oops', 'init-oops', 'base']
    foreseen = unload_each.run(names, host.options(check_mode=True))
    done = unload_each.run(names, host.options())
    for result in (foreseen, done):
        assert not result['failed']
        assert [(entry['verdict'], entry['changed']) for entry in result['modules']] == [
            ('unloadable', True), ('unloadable', True), ('init_died', True), ('absent', False), ('absent', False)]
    assert sorted(host.kernel.modules) == ['layout_pad']


HIT = {'place': 'a kmalloc-64 object', 'address': '0xffff888000001000', 'target': 'tick', 'what': 'timer_list.function'}
REACHABLE = {'answer': 'reachable', 'reason': 'timer_list.function points to tick of init_oops', 'hits': [HIT]}


@pytest.mark.usefixtures('read')
def test_memory_is_searched_once_for_all_and_again_before_each_is_freed(host):
    result = unload_each.run(NAMES, host.options())
    assert not [entry for entry in result['modules'] if entry['failed'] and entry['name'] != 'base']
    assert host.kernel.searches == [('init_oops',), ['init_oops']]


# id: (seconds that each search takes, seconds of the clock between them, what is searched for before each is freed)
SECOND_SEARCHES = {
    'it is as good for as long as it took': (2.0, 0.9, [['exit_oops', 'init_oops', 'other']]),
    'it is too old for the last': (2.0, 1.1, [['exit_oops', 'init_oops', 'other'], ['other']]),
    'it is too old for each': (2.0, 2.1, [['exit_oops', 'init_oops', 'other'], ['exit_oops', 'other'],
                                          ['other']]),
}


@pytest.mark.usefixtures('read')
@pytest.mark.parametrize(('took', 'between', 'searches'), SECOND_SEARCHES.values(), ids=list(SECOND_SEARCHES))
def test_the_search_before_the_first_is_freed_is_for_those_after_it_as_well(host, monkeypatch, took, between, searches):
    names = ['init_oops', 'exit_oops', 'other']
    host.boot(*(FakeModule(name, **FAULTS[name]) for name in names[:2]),
              FakeModule('other', state='going', refcount=0, oopses=[builders.exit_oops('other')]))
    clock, search = Clock(), host.kernel.search

    def takes_long(*asked):
        clock.now += took
        return search(*asked)

    class Unload(unload_each.unload.Unload):
        def run(self):
            clock.now += between
            return super().run()

    monkeypatch.setattr(unload_each, 'time', clock)
    monkeypatch.setattr(module_survey, 'search', takes_long)
    monkeypatch.setattr(unload_each.unload, 'Unload', Unload)
    result = unload_each.run(names, host.options())
    assert [entry['after']['state'] for entry in result['modules']] == ['absent'] * 3
    assert host.kernel.searches == [tuple(names), *searches]


@pytest.mark.usefixtures('read')
@pytest.mark.parametrize(('between', 'anew'), [
    ('healthy', True), ('leaked_ref', True), ('layout_pad', True), ('no_exit', False), ('exit_oops', False)])
def test_after_an_exit_has_run_the_next_is_searched_for_anew(host, monkeypatch, between, anew):
    """It may do anything, such as to arm a work that another module left."""
    host.boot(FakeModule('init_oops', **FAULTS['init_oops']), FakeModule(between, **FAULTS[between]),
              FakeModule('other', state='going', refcount=0, oopses=[builders.exit_oops('other')]))
    monkeypatch.setattr(unload_each, 'time', Clock())  # no second goes by, so that no search is too old
    result = unload_each.run(['init_oops', between, 'other'], host.options())
    assert [entry['changed'] for entry in result['modules']] == [True] * 3
    assert (host.kernel.searches[-1] == ['other']) == anew


@pytest.mark.usefixtures('read')
def test_one_that_was_reached_when_another_was_freed_is_searched_for_anew(host, monkeypatch):
    """What the search before the first said of it may have gone with the first."""
    host.boot(FakeModule('init_oops', **FAULTS['init_oops']), FakeModule('exit_oops', **FAULTS['exit_oops']))
    search = host.kernel.search

    def at_first(names, timeout):
        found = search(names, timeout)
        return dict(found, exit_oops=REACHABLE) if 'init_oops' in names else found

    monkeypatch.setattr(module_survey, 'search', at_first)
    result = unload_each.run(['init_oops', 'exit_oops'], host.options())
    assert [entry['method'] for entry in result['modules']] == ['reset', 'reset']
    assert host.kernel.searches[1:] == [['exit_oops', 'init_oops'], ['exit_oops']]


@pytest.mark.usefixtures('read')
@pytest.mark.parametrize(('before', 'method'), [('user', 'reset'), ('base', 'park')])
def test_what_led_to_a_module_may_have_gone_with_another(host, monkeypatch, before, method):
    """It was reachable at first, and is not once a module went; a refusal leaves all as it was."""
    died, survey = host.kernel.modules['init_oops'], host.kernel.survey
    died.reachability = REACHABLE

    def later(name, **options):
        """What is read of one by itself is read once others were tried."""
        died.reachability = builders.UNREACHABLE
        return survey(name, **options)

    monkeypatch.setattr(module_survey, 'module', later)
    result = unload_each.run([before, 'init_oops'], host.options())
    assert result['modules'][1]['method'] == method


@pytest.mark.usefixtures('read')
@pytest.mark.parametrize(('names', 'anew'), [
    (['base', 'never-loaded', 'layout_pad', 'base'], ['layout_pad', 'base']),
    (['base', 'never-loaded'], []),
    (['layout_pad', 'base', 'never-loaded'], ['layout_pad', 'base', 'never_loaded'])])
def test_one_is_refused_by_what_was_read_of_all_until_another_is_changed(host, monkeypatch, names, anew):
    read, survey = [], host.kernel.survey
    monkeypatch.setattr(module_survey, 'module', lambda name, **how: read.append(name) or survey(name, **how))
    result = unload_each.run(names, host.options())
    refused = [entry['name'] for entry in result['modules'] if entry['failed']]
    assert refused == ['base'] * names.count('base')
    assert list(dict.fromkeys(read)) == anew


@pytest.mark.usefixtures('read')
def test_none_is_changed_by_what_was_read_before(host, monkeypatch):
    """Whoever came to hold it meanwhile is seen."""
    survey = host.kernel.survey

    def later(name, **how):
        host.kernel.modules['layout_pad'].refcount = 2
        host.kernel.modules['layout_pad'].holders = {'processes': [builders.holder('cat (pid 7)', 'kill 7')]}
        return survey(name, **how)

    monkeypatch.setattr(module_survey, 'module', later)
    result = unload_each.run(['layout_pad', 'base'], host.options())
    assert [(entry['failed'], entry['verdict']) for entry in result['modules']] == [
        (True, 'exit_lost'), (True, 'has_dependents')]
    assert 'layout_pad' in host.kernel.modules


def test_where_they_cannot_be_read_together_each_is_read_by_itself(host, read):
    read.append('fails')
    assert unload_each.run(['init_oops', 'layout_pad'], host.options())['changed']
    assert sorted(host.kernel.modules) == ['base', 'user']


@pytest.mark.usefixtures('read')
def test_after_one_that_failed_half_way_the_rest_are_left_alone(host, monkeypatch):
    run = unload_each.unload.Unload.run

    def dies(self):
        if self.name == 'init_oops':
            raise KmodError('unload init_oops', 'the process that acted ended without a word', changed=True)
        return run(self)

    monkeypatch.setattr(unload_each.unload.Unload, 'run', dies)
    result = unload_each.run(['base', 'init_oops', 'layout_pad'], host.options())
    assert [entry['failed'] for entry in result['modules']] == [True, True, True]
    assert 'layout_pad' in host.kernel.modules
    assert 'layout_pad was not tried, since the unload of init_oops failed half way' in result['modules'][2]['msg']
