# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a module, and what is not: captures of four kernels below a root directory."""


import time

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import (
    module_survey,
    module_table,
    module_tasks,
    reachability,
    registrations,
    struct_module,
    task_scan,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import bound_devices, find_holders
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import log_source, oops
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers import find_leftovers
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import diagnose

TABLE = '''\
idle 16384 0 - Live 0xffffffffc0a96000 (OE)
leaked 16384 3 - Live 0xffffffffc0a96000 (OE)
stuck 16384 0 [permanent], Live 0xffffffffc0a96000 (OE)
dying 16384 1 - Loading 0xffffffffc0a96000 (OE+)
odd 16384 - - Live 0xffffffffc0a96000
'''
SYMBOLS = '''\
ffffffffb0000000 T modules
ffffffffb0000040 b module_mutex
ffffffffb0000100 b idem_hash
ffffffffb0000900 b idem_lock
ffffffffb0000904 b next
ffffffffc0a96010 t cleanup_module\t[stuck]
ffffffffc0a96020 t last\t[stuck]
'''
ANCHORS = {'modules': 0xffffffffb0000000, 'module_mutex': 0xffffffffb0000040, 'idem_hash': 0xffffffffb0000100,
           'idem_lock': 0xffffffffb0000900, 'idem_bytes': 2048}
DEVICES = [builders.holder('disk loop0', '', device='loop0', path='/sys/block/loop0',
                           evidence='block major 7 (loop), 2 sectors')]
FILES = {'processes': [], 'mounts': [builders.holder()], 'network': []}
HOLDERS = dict(FILES, devices=DEVICES)
REGISTERED = {'found': [{'kind': 'timer', 'what': 'f_tick', 'evidence': 'timer_list.function is f_tick'}],
              'unseen': ['work items'], 'blind': '', 'leftovers': []}
ALL_REGISTERED = [*REGISTERED['found'], {'kind': 'device', 'what': '/sys/block/loop0',
                                         'evidence': 'block major 7 (loop), 2 sectors'}]


class Readers:
    """Counts what is asked of the dear readers, which answer from here."""

    def __init__(self, monkeypatch):
        self.asked = []
        self.lines = []
        answers = {
            (task_scan, 'scan'): 'seen', (module_tasks, 'spinning'): [], (module_tasks, 'other_namespace'): '',
            (module_tasks, 'in_loader'): {'tasks': [], 'unreadable': []},
            (module_tasks, 'in_module_code'): {'tasks': [], 'unreadable': []},
            (find_holders, 'find'): FILES, (bound_devices, 'find'): DEVICES, (struct_module, 'read'): builders.live(),
            (registrations.Registrations, 'of'): REGISTERED,
        }
        for (module, name), answer in answers.items():
            monkeypatch.setattr(module, name, self.reader(name, answer))
        monkeypatch.setattr(log_source, 'read', lambda _root, **_how: self.asked.append('log') or self.lines)

    def reader(self, name, answer):
        def read(*_arguments, **_options):
            self.asked.append(name)
            return answer

        return read


@pytest.fixture
def readers(monkeypatch):
    return Readers(monkeypatch)


@pytest.fixture
def root(tmp_path):
    builders.write(tmp_path, 'proc/modules', TABLE)
    builders.write(tmp_path, 'proc/kallsyms', SYMBOLS)
    return str(tmp_path)


TASKS_AND_LOG = ['in_module_code', 'in_loader', 'other_namespace', 'scan', 'log']
# id: (module, options, readers asked beside the table, facts)
ASKED = {
    'absent': ('nowhere', {}, [], {'anchors': {}}),
    'idle: who uses it without a reference': ('idle', {}, ['read', 'find', 'find'] + TASKS_AND_LOG,
                                              {'anchors': {}, 'holders': HOLDERS, 'cleanup_module': None}),
    'idle, asked for all the same': ('idle', {'depth': module_survey.ALL}, ['read', 'find', 'find'] + TASKS_AND_LOG,
                                     {'anchors': ANCHORS, 'holders': HOLDERS}),
    'idle, in brief': ('idle', {'depth': module_survey.BRIEF}, ['read'] + TASKS_AND_LOG, {'holders': {}}),
    'references: who holds it': ('leaked', {}, ['read', 'find', 'find'] + TASKS_AND_LOG,
                                 {'anchors': ANCHORS, 'holders': HOLDERS}),
    'permanent: its symbols': ('stuck', {}, ['read', 'of', 'find', 'find', 'find'] + TASKS_AND_LOG,
                               {'cleanup_module': 0xffffffffc0a96010, 'holders': HOLDERS}),
    'coming: who spins, who holds it': ('dying', {}, ['read', 'of', 'find', 'find', 'find', 'spinning'] + TASKS_AND_LOG,
                                        {'anchors': ANCHORS, 'cleanup_module': None, 'holders': HOLDERS}),
    'a kernel that cannot unload': ('odd', {}, ['read'], {'anchors': {}}),
}


@pytest.mark.parametrize('row', ASKED.values(), ids=list(ASKED))
def test_only_what_its_state_calls_for_is_read(row, readers, root):
    name, options, asked, facts = row
    found = module_survey.module(name, root, builders.kernel(), **options) \
        if options.get('depth') != module_survey.BRIEF else \
        dict(module_survey.Survey(root, builders.kernel()).module(name, module_survey.BRIEF), anchors={})
    assert sorted(readers.asked) == sorted(asked)
    assert {key: found[key] for key in facts} == facts
    assert set(found) == {'name', 'kernel', 'module', 'live', 'cleanup_module', 'exit_offsets', 'tasks', 'spinning',
                          'holders', 'oopses', 'registrations', 'anchors', 'loader_tasks', 'namespace', 'oopses_lost',
                          'holders_below', 'reachability'}
    assert found['reachability']['answer'] == 'unknown'
    assert diagnose.diagnose(found)['verdict']


# id: (module, options, whether memory is searched for pointers into it)
SEARCHED = {
    'absent': ('nowhere', {}, False),
    'idle': ('idle', {}, False),
    'idle, in full': ('idle', {'depth': module_survey.ALL}, False),
    'idle, to be freed without its exit': ('idle', {'depth': module_survey.FREED}, True),
    'references': ('leaked', {}, False),
    'permanent': ('stuck', {}, True),
    'half way': ('dying', {}, True),
    'half way, in brief': ('dying', {'depth': module_survey.BRIEF}, True),
}


@pytest.fixture
def searches(monkeypatch):
    """The names that memory was searched for, each search apart; nothing is found."""
    found = []

    def find(names, loaded, _memory, _symbols, _lookup, seconds):
        assert [module.name for module in loaded] == ['idle', 'leaked', 'stuck', 'dying', 'odd']
        assert 20 < seconds <= 24
        found.append(names)
        return dict.fromkeys(names, builders.UNREACHABLE)

    monkeypatch.setattr(reachability, 'find', find)
    monkeypatch.setattr(module_table, 'struct_address', lambda name, _root: ord(name[0]))
    monkeypatch.setattr(struct_module, 'ranges', lambda address, _memory: [(address, address + 1)])
    return found


@pytest.mark.usefixtures('searches')
def test_what_was_read_before_leaves_less_time_to_search(root, monkeypatch):
    left = []
    monkeypatch.setattr(reachability, 'find', lambda *arguments: left.append(arguments[-1]) or {})
    with module_survey.Survey(root, builders.kernel(), timeout=1.0) as survey:
        time.sleep(0.1)
        survey.search(['leaked'])
    assert 0 < left[0] <= 0.7


@pytest.mark.parametrize('row', SEARCHED.values(), ids=list(SEARCHED))
@pytest.mark.usefixtures('readers')
def test_memory_is_searched_where_something_depends_on_it(row, root, searches):
    name, options, is_searched = row
    found = module_survey.module(name, root, builders.kernel(), **options) \
        if options.get('depth') != module_survey.BRIEF else \
        module_survey.Survey(root, builders.kernel()).module(name, module_survey.BRIEF)
    answer = 'reachable' if found['registrations']['found'] else 'unreachable'
    assert found['reachability']['answer'] == (answer if is_searched else 'unknown')
    assert searches == ([[name]] if is_searched else [])
    if not is_searched:
        assert 'nothing depends on it' in found['reachability']['reason']


def test_memory_is_searched_for_references_that_nobody_is_seen_to_hold(readers, root, searches, monkeypatch):
    monkeypatch.setattr(find_holders, 'find', readers.reader('find', {'processes': [], 'mounts': []}))
    monkeypatch.setattr(bound_devices, 'find', readers.reader('find', []))
    assert module_survey.module('leaked', root, builders.kernel())['reachability']['answer'] == 'unreachable'
    assert searches == [['leaked']]


@pytest.mark.usefixtures('readers')
def test_one_search_is_for_all_that_were_asked_for(readers, root, searches, monkeypatch):
    monkeypatch.setattr(find_holders, 'find', readers.reader('find', {'processes': [], 'mounts': []}))
    monkeypatch.setattr(bound_devices, 'find', readers.reader('find', []))
    with module_survey.Survey(root, builders.kernel()) as survey:
        found = survey.modules(['stuck', 'idle', 'leaked', 'nowhere', 'dying'])
        assert searches == [['dying', 'leaked', 'stuck']]
        assert sorted(survey.reached) == ['dying', 'leaked', 'stuck']
        assert {name: facts['reachability']['answer'] for name, facts in found.items()} == {
            'stuck': 'reachable', 'idle': 'unknown', 'leaked': 'unreachable', 'nowhere': 'unknown',
            'dying': 'reachable'}  # those that have a device
        survey.search(['stuck', 'idle'])
    assert searches[1:] == [['idle']]


@pytest.mark.usefixtures('readers')
def test_one_whose_load_runs_is_not_searched_for(readers, root, searches, monkeypatch):
    monkeypatch.setattr(module_tasks, 'in_loader', readers.reader('in_loader', builders.tasks(
        builders.loader_task(module='dying'))))
    assert 'nothing depends on it' in module_survey.module('dying', root, builders.kernel())['reachability']['reason']
    assert searches == []


@pytest.mark.usefixtures('readers')
def test_one_whose_memory_is_not_known_says_why(root, searches, monkeypatch):
    monkeypatch.setattr(struct_module, 'ranges', lambda _address, _memory: unavailable('lockdown=confidentiality'))
    monkeypatch.setattr(reachability, 'find', lambda *_arguments: searches.append('asked') or {})
    found = module_survey.module('stuck', root, builders.kernel())['reachability']
    assert (found['answer'], 'lockdown=confidentiality' in found['reason']) == ('unknown', True)


@pytest.mark.usefixtures('readers')
def test_one_that_went_before_the_search_is_not_searched_for(root, searches):
    with module_survey.Survey(root, builders.kernel()) as survey:
        found = survey.search(['gone', 'stuck'])
    assert (found['gone']['answer'], 'it is not loaded' in found['gone']['reason']) == ('unknown', True)
    assert found['stuck']['answer'] == 'unreachable'
    assert searches == [['stuck']]


def test_a_kernel_that_cannot_unload_is_told(readers, root):
    found = diagnose.diagnose(module_survey.module('odd', root, builders.kernel()))
    assert found['verdict'] == 'unload_disabled'
    assert readers.asked == ['read']


def test_readers_are_asked_once_for_many_modules(readers, root):
    with module_survey.Survey(root, builders.kernel()) as survey:
        for name in ('leaked', 'stuck', 'dying', 'leaked'):
            survey.module(name)
    assert readers.asked.count('scan') == 1
    assert readers.asked.count('log') == 1


def test_in_brief_the_holders_say_why(readers, root):
    with module_survey.Survey(root, builders.kernel()) as survey:
        found = survey.module('leaked', module_survey.BRIEF)
    assert found['holders'] == unavailable('not looked for: ask for leaked by name')
    assert 'find' not in readers.asked


@pytest.mark.parametrize(('symbols', 'reason'), [
    (None, 'No such file'), ('0000000000000000 T modules\n', 'are hidden'),
    ('ffffffffb0000000 T modules\nffffffffb0000001 T modules\n', 'lists 2 of them')],
    ids=['missing', 'hidden', 'two of a name'])
@pytest.mark.usefixtures('readers')
def test_symbols_that_cannot_be_had_say_why(symbols, reason, root, tmp_path):
    (tmp_path / 'proc/kallsyms').unlink()
    if symbols:
        builders.write(tmp_path, 'proc/kallsyms', symbols)
    assert reason in module_survey.module('leaked', root, builders.kernel())['anchors']['unavailable']


@pytest.mark.usefixtures('readers')
def test_hidden_symbols_of_a_permanent_module_say_why(root, tmp_path):
    builders.write(tmp_path, 'proc/kallsyms', '0000000000000000 t cleanup_module\t[stuck]\n')
    found = module_survey.module('stuck', root, builders.kernel())
    assert 'hidden' in found['cleanup_module']['unavailable']


@pytest.mark.usefixtures('readers', 'searches')
def test_what_can_be_taken_back_is_read_for_those_alone_who_may(root, monkeypatch):
    asked = []
    monkeypatch.setattr(find_leftovers, 'find', lambda modules, *_more: asked.extend(modules) or {
        name: ['found'] for name in modules})
    with module_survey.Survey(root, builders.kernel()) as survey:
        told = survey.modules(['dying', 'leaked'], module_survey.ALL)
        survey.with_anchors(['dying', 'leaked'], module_survey.ALL)
        assert asked == []
        found = survey.with_anchors(['dying', 'leaked'], module_survey.ALL, leftovers=True)
    assert asked == ['dying']
    assert found['dying']['registrations']['leftovers'] == ['found']
    assert told['dying']['registrations']['leftovers'] == found['leaked']['registrations']['leftovers'] == []


def test_what_is_registered_is_asked_of_one_reader_for_all(readers, root):
    with module_survey.Survey(root, builders.kernel()) as survey:
        found = [survey.module(name)['registrations'] for name in ('stuck', 'dying', 'idle', 'leaked')]
    assert readers.asked.count('of') == 2
    assert found[0]['found'] == found[1]['found'] == ALL_REGISTERED
    assert found[2] == found[3] == {'found': [], 'unseen': [], 'blind': '', 'leftovers': []}


def test_what_cannot_be_seen_of_its_registrations_is_said(readers, root, monkeypatch):
    monkeypatch.setattr(bound_devices, 'find', readers.reader('find', unavailable('sysfs is not mounted')))
    unseen = module_survey.module('stuck', root, builders.kernel())['registrations']['unseen']
    assert 'what lies in the data of stuck: ' in unseen[0]
    assert 'this_module' in unseen[0]
    assert unseen[1:] == ['devices: sysfs is not mounted', 'work items']


# id: (what the table shows, ranges that the kernel's memory gives, ranges that are searched)
RANGES = {
    'struct module': ('0xffffffffc0a96000', [(1, 2), (3, 4)], [(1, 2), (3, 4)]),
    'struct module, although the table hides its code': ('0x0000000000000000', [(1, 2)], [(1, 2)]),
    'the table': ('0xffffffffc0a96000', unavailable('lockdown'), [(0xffffffffc0a96000, 0xffffffffc0a9a000)]),
    'nothing': ('0x0000000000000000', unavailable('lockdown'), []),
}


@pytest.mark.parametrize(('shown', 'read', 'searched'), RANGES.values(), ids=list(RANGES))
@pytest.mark.usefixtures('readers')
def test_where_the_memory_of_the_module_lies(shown, read, searched, root, tmp_path, monkeypatch):
    builders.write(tmp_path, 'proc/modules', f'stuck 16384 0 [permanent], Live {shown} (OE)\n')
    asked = []
    monkeypatch.setattr(struct_module, 'ranges', lambda *_where: read)
    monkeypatch.setattr(registrations.Registrations, 'of',
                        lambda _self, name, ranges: asked.append((name, ranges)) or REGISTERED)
    module_survey.module('stuck', root, builders.kernel())
    assert asked == [('stuck', searched)]


@pytest.mark.parametrize(('answer', 'found', 'told'), [
    ('unreachable', REGISTERED['found'], 'reachable'), ('unreachable', [], 'unreachable'),
    ('unknown', REGISTERED['found'], 'unknown')])
def test_what_is_registered_can_be_reached(answer, found, told):
    """Though no word of it was met: a timer may never be in one place."""
    reached = module_survey._with_registered(dict(builders.UNREACHABLE, answer=answer), found)
    assert reached['answer'] == told
    assert (reached['reason'] == 'timer f_tick is registered: timer_list.function is f_tick') == (told == 'reachable')


def test_no_module_table_is_an_error(tmp_path):
    with pytest.raises(KmodError, match='Cannot read the module table'):
        module_survey.module('foo', str(tmp_path), builders.kernel())


def test_a_kernel_log_that_cannot_be_read_says_why(readers, root):
    readers.lines = unavailable('Operation not permitted')
    assert module_survey.module('dying', root, builders.kernel())['oopses'] == unavailable('Operation not permitted')


# id: (text of /proc/PID/stat or None, is the task gone)
TASKS = {
    'ended': (None, True),
    'sleeps': ('%d (insmod) S 1 2', False),
    'runs, its name in parentheses': ('%d (in) Z (mod) R 1 2', False),
    'a zombie': ('%d (insmod) Z 1 2', True),
    'dead': ('%d (insmod) X 1 2', True),
    'unreadable': ('', True),
    'another that started later': ('%d (sh) S 1 1 1 0 -1 4194560 0 0 0 0 0 1 0 0 20 0 1 0 990000 0 0', True),
    'the same': ('%d (insmod) S 1 1 1 0 -1 4194560 0 0 0 0 0 1 0 0 20 0 1 0 500 0 0', False),
}


@pytest.mark.parametrize('kernel', builders.KERNELS)
@pytest.mark.parametrize(('text', 'gone'), TASKS.values(), ids=list(TASKS))
def test_whether_who_died_is_gone(kernel, text, gone, readers, root, tmp_path):
    readers.lines = (builders.CAPTURES / ('linux-' + kernel) / 'dmesg.txt').read_text().splitlines()
    pids = {entry['pid'] for entry in oops.oopses(readers.lines)}
    assert pids
    for pid in pids:
        if text is not None:
            builders.write(tmp_path, 'proc/%d/stat' % pid, text % pid if text else text)
    found = module_survey.module('dying', root, builders.kernel())['oopses']
    assert {entry['task_gone'] for entry in found} == {gone}


@pytest.mark.parametrize('kernel', builders.KERNELS)
@pytest.mark.parametrize(('name', 'verdict'), [
    ('init_oops', 'init_died'), ('exit_oops', 'exit_died'), ('init_hang', 'init_running'), ('no_exit', 'no_exit'),
    ('leaked_ref', 'in_use_unknown')])
def test_faults_of_four_kernels_from_their_texts_to_the_verdict(kernel, name, verdict, readers, tmp_path, monkeypatch):
    root = builders.captured_root(kernel, tmp_path)
    readers.lines = (builders.CAPTURES / ('linux-' + kernel) / 'dmesg.txt').read_text().splitlines()
    monkeypatch.setattr(struct_module, 'read', lambda *_arguments: unavailable('no kcore'))
    monkeypatch.setattr(find_holders, 'find', lambda *_arguments, **_options: {})
    monkeypatch.setattr(bound_devices, 'find', lambda *_arguments: [])
    found = diagnose.diagnose(module_survey.module(name, root, builders.kernel()))
    assert found['verdict'] == verdict
