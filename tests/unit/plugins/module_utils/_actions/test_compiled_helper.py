# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reset step: what is asked of the helper, what its report means, what it refuses."""

import ctypes
import errno
import struct

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import compiled_helper
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls
from hypothesis import given
from hypothesis import strategies as st

IMAGE = builders.module_image()
ENTRY = {'state': 'coming', 'refcount': 2, 'init': builders.INIT, 'exit': builders.EXIT}
MENDED = {'state': 'live', 'refcount': 1, 'init': 0, 'exit': 0}
LOADER = {'idem_hash': 0xffffffffb0000100, 'idem_lock': 0xffffffffb0000900, 'idem_buckets': 256}


def packed(*, reset=1, found=(1, 2, builders.INIT, builders.EXIT), left=(0, 1, 0, 0), loader=0, buckets=0, pid=0,
           look=(1, 0, -1, 105, 0, 4300000, b''), hidden=0, error=0, magic=0x3353524b, undone=b''):
    """A report in the fixed widths of struct reset_report in kmod_reset.h."""
    form = struct.Struct('=II' + 'IiQQ' * 2 + 'IIi' + 'IiiI' + 'IiI' + 'QQ16s' + 'Q64s')
    result, task, cpu, tasks, at, nanoseconds, command = look
    return form.pack(magic, reset, *(tuple(found) + tuple(left) + (
        loader, buckets, pid, result, task, cpu, tasks, hidden, error, 0, at, nanoseconds, command, len(undone),
        undone)))


CLEAR = {'result': 'clear', 'pid': 0, 'cpu': -1, 'tasks': 105, 'at': 0, 'nanoseconds': 4300000, 'command': ''}


def test_report():
    assert compiled_helper.parse_report(packed(loader=2, buckets=3, pid=77, hidden=4, error=-17,
                                               undone=b'\1\5\6\0')) == {
        'reset': 'done', 'found': ENTRY, 'left': MENDED, 'loader': 'cleared', 'buckets': 3, 'loading_pid': 77,
        'look': CLEAR, 'hidden_symbols': 4, 'error': 17, 'undone': ['done', 'late', 'own_code', 'not_tried']}


def test_what_the_look_saw():
    seen = (3, 1876, 1, 0, builders.INIT + 0x10, 5322631, b'insmod\xff\0garbage')
    assert compiled_helper.parse_report(packed(look=seen))['look'] == {
        'result': 'cpu', 'pid': 1876, 'cpu': 1, 'tasks': 0, 'at': builders.INIT + 0x10, 'nanoseconds': 5322631,
        'command': 'insmod\\xff'}


def test_the_report_is_as_long_as_the_helpers():
    assert compiled_helper.REPORT.size == len(packed()) == 200


@pytest.mark.parametrize(('number', 'name'), list(enumerate(
    ['not_asked', 'done', 'looked', 'lock_busy', 'not_found', 'not_itself', 'changed', 'in_use', 'parked', 'name_taken',
     'has_dependents', 'not_renamed', 'undone'])))
def test_results_are_numbered_as_in_the_helper(number, name):
    assert compiled_helper.parse_report(packed(reset=number))['reset'] == name


@pytest.mark.parametrize(('number', 'name'), list(enumerate(
    ['not_asked', 'clean', 'cleared', 'lock_busy', 'in_use'])))
def test_loader_results_are_numbered_as_in_the_helper(number, name):
    assert compiled_helper.parse_report(packed(loader=number))['loader'] == name


@pytest.mark.parametrize(('number', 'name'), list(enumerate(
    ['not_asked', 'clear', 'task', 'cpu', 'silent', 'stalled', 'unfinished'])))
def test_results_of_the_look_are_numbered_as_in_the_helper(number, name):
    assert compiled_helper.parse_report(packed(look=(number, 0, -1, 0, 0, 0, b'')))['look']['result'] == name


OLD_MAGIC = 0x5453524b


@pytest.mark.parametrize('data', [packed(magic=0), packed(magic=OLD_MAGIC), packed(reset=13), packed(loader=5),
                                  packed(look=(7, 0, 0, 0, 0, 0, b'')), packed(undone=b'\10'), b'\0' * 200],
                         ids=['magic', 'magic of an older helper', 'reset', 'loader', 'look', 'undone', 'untouched'])
def test_what_is_no_report(data):
    with pytest.raises(KmodError, match='Is the helper file that of this collection'):
        compiled_helper.parse_report(data)


@given(st.binary(min_size=compiled_helper.REPORT.size, max_size=compiled_helper.REPORT.size), st.booleans())
def test_any_report_is_read_or_refused(data, marked):
    try:
        found = compiled_helper.parse_report(packed()[:4] + data[4:] if marked else data)
    except KmodError:
        return
    assert found['reset'] in compiled_helper.RESETS
    assert found['loader'] in compiled_helper.LOADERS
    assert found['look']['result'] in compiled_helper.LOOKS


class FakeInitModule:
    """init_module(2) as the helper makes it look: a report in the caller's buffer, and an errno."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.parameters = []
        self.deleted = []

    def __call__(self, image, text):
        assert image == IMAGE
        parameters = dict(word.split('=') for word in text.split(' '))
        buffer = int(parameters.pop('report'))
        self.parameters.append(parameters)
        report, error = self.answers.pop(0)
        ctypes.memmove(buffer, report, len(report))
        return error


@pytest.fixture
def loads(monkeypatch):
    def answer(*answers):
        fake = FakeInitModule(*answers)
        monkeypatch.setattr(loader_syscalls, 'init_module', fake)
        monkeypatch.setattr(loader_syscalls, 'delete_module', fake.deleted.append)
        monkeypatch.setattr(compiled_helper, 'PAUSE', 0)
        return fake

    return answer


def target():
    return compiled_helper.Target('foo', builders.ADDRESS, builders.ANCHORS, IMAGE)


PLACE = {'name': 'foo', 'address': str(builders.ADDRESS), 'modules': str(builders.ANCHORS['modules']),
         'module_lock': str(builders.ANCHORS['module_mutex'])}


def test_look_only_looks(loads):
    fake = loads((packed(reset=2), errno.ECANCELED))
    assert target().look() == ENTRY
    assert fake.parameters == [dict(PLACE, look='1')]


def test_store_compares_and_writes(loads):
    fake = loads((packed(), errno.ECANCELED))
    assert target().store(ENTRY, MENDED, LOADER)['left'] == MENDED
    asked = dict(PLACE, look_for='1', old_state='1', old_refcount='2', old_init=str(builders.INIT),
                 old_exit=str(builders.EXIT), new_state='0', new_refcount='1', new_init='0', new_exit='0')
    asked.update((name, str(value)) for name, value in LOADER.items())
    assert fake.parameters == [asked]


@pytest.mark.parametrize(('number', 'why'), [
    (3, 'module_mutex could not be taken.*reboot'), (4, 'no longer has it.*Run the task again'),
    (5, 'no sound struct module.*reboot'), (6, 'it changed between.*Run the task again'),
    (0, 'the helper answered not_asked')], ids=['lock busy', 'not found', 'not itself', 'changed', 'not asked'])
def test_what_the_helper_refuses(number, why, loads):
    loads((packed(reset=number), errno.ECANCELED), (packed(reset=number), errno.ECANCELED))
    with pytest.raises(KmodError, match='Cannot reset foo: .*' + why):
        target().store(ENTRY, MENDED, {})
    with pytest.raises(KmodError, match='Cannot reset foo: .*' + why):
        target().look()


@pytest.mark.parametrize(('whom', 'number'), [('nobody', '0'), ('tasks', '1'), ('user_tasks', '2')])
def test_whom_the_helper_is_to_look_for(whom, number, loads):
    fake = loads((packed(), errno.ECANCELED), (packed(reset=8), errno.ECANCELED))
    target().store(ENTRY, MENDED, {}, look_for=whom)
    target().park(ENTRY, 'foo_parked1', look_for=whom)
    assert [asked['look_for'] for asked in fake.parameters] == [number, number]


AT = builders.INIT + 0x10
# id: (what the look saw, words of the refusal, whether accepting running_task overrides it)
SEEN = {
    'a task': ((2, 1876, -1, 12, AT, 1, b'insmod'),
               r'insmod \(pid 1876\) will return to its code at 0xf{8}c058d010', True),
    'a CPU': ((3, 1876, 1, 0, AT, 1, b'insmod'), r'CPU 1 runs its code at 0xf{8}c058d010, in insmod', True),
    'a silent CPU': ((4, 0, 3, 0, 0, 1, b''), 'CPU 3 does not answer', True),
    'no grace period': ((5, 0, -1, 9, 0, 1, b''), 'no RCU grace period ends.*only a reboot', False),
    'too many tasks': ((6, 0, -1, 90123, 0, 1, b''), '.*only 90123 of them', True),
    'a command with braces': ((2, 7, -1, 1, AT, 1, b'{pid}{0}'), r'\{pid\}\{0\} \(pid 7\)', True),
}


@pytest.mark.parametrize(('seen', 'why', 'hazard'), SEEN.values(), ids=list(SEEN))
def test_what_the_look_refuses(seen, why, hazard, loads):
    loads((packed(reset=7, look=seen), errno.ECANCELED))
    with pytest.raises(KmodError, match='Cannot reset foo: as the kernel itself sees, ' + why) as caught:
        target().store(ENTRY, MENDED, {})
    assert 'nothing was written.' in str(caught.value)
    assert caught.value.facts.get('hazard') == ('running_task' if hazard else None)
    assert caught.value.facts['look']['pid'] == seen[1]


def test_a_helper_that_stays_says_so(loads):
    loads((packed(reset=7, look=(4, 0, 3, 0, 0, 1, b'')), 0))
    with pytest.raises(KmodError, match='nothing was written; kmod_reset stays loaded until'):
        target().store(ENTRY, MENDED, {})


@pytest.mark.parametrize(('seen', 'why'), [((3, 1876, 1, 0, AT, 1, b'insmod'), 'CPU 1 runs its code'),
                                           ((5, 0, -1, 9, 0, 1, b''), 'no RCU grace period ends')])
def test_a_look_after_which_no_other_can_follow_says_so(seen, why, loads):
    loads((packed(reset=2, look=seen), 0))
    with pytest.raises(KmodError, match='Cannot reset foo: .*%s.*nothing was written; kmod_reset stays' % why):
        target().look()


def test_park_compares_and_renames(loads):
    fake = loads((packed(reset=8, look=(0, 0, -1, 0, 0, 0, b''), hidden=2), errno.ECANCELED))
    assert target().park(ENTRY, 'foo_parked1')['hidden_symbols'] == 2
    assert fake.parameters == [dict(PLACE, look_for='0', old_state='1', old_refcount='2', new_name='foo_parked1',
                                    old_init=str(builders.INIT), old_exit=str(builders.EXIT))]


@pytest.mark.parametrize(('report', 'why'), [
    (packed(reset=6), 'it changed between'), (packed(reset=9), 'of the new name is loaded. Give another name'),
    (packed(reset=10), 'other modules use it'), (packed(reset=11, error=-17), 'did not rename it: EEXIST'),
    (packed(reset=7, look=(2, 77, -1, 1, AT, 1, b'cat')), r'cat \(pid 77\)')],
    ids=['changed', 'name taken', 'has dependents', 'not renamed', 'in use'])
def test_what_is_not_parked(report, why, loads):
    loads((report, errno.ECANCELED))
    with pytest.raises(KmodError, match='Cannot park foo as foo_parked1: .*' + why):
        target().park(ENTRY, 'foo_parked1')


@pytest.mark.parametrize('name', ['', 'a b', 'a=b', 'a/b', '../a', 'a-b', 'a\nb', 'a\n', 'x' * 56, 'ü'])
def test_a_new_name_must_be_a_modules(name, loads):
    fake = loads()
    with pytest.raises(KmodError, match='no name of a module'):
        target().park(ENTRY, name)
    assert fake.parameters == []


@pytest.mark.parametrize(('error', 'why'), [
    (errno.EKEYREJECTED, 'EKEYREJECTED .*signature that it trusts'), (errno.EPERM, 'EPERM .*locked down'),
    (errno.ENOEXEC, 'ENOEXEC .*another kernel'), (errno.EFAULT, 'EFAULT .*kernel log')],
    ids=lambda value: str(value)[:12])
def test_a_helper_that_did_not_run(error, why, loads):
    loads((packed(), error))
    with pytest.raises(KmodError, match='Cannot load the helper: ' + why):
        target().look()


@pytest.mark.parametrize('error', [errno.EEXIST, errno.EBUSY], ids=['EEXIST', 'EBUSY'])
def test_another_helper_is_waited_for(error, loads):
    fake = loads((b'', error), (b'', error), (packed(reset=2), errno.ECANCELED))
    assert target().look() == ENTRY
    assert fake.deleted == ['kmod_reset', 'kmod_reset']


@pytest.mark.parametrize(('stays', 'why'), [(False, 'another kmod_reset is loaded.*Run the task again'),
                                            (True, 'an earlier run is still loaded.*never comes back, only a reboot')])
def test_another_helper_is_not_waited_for_for_ever(stays, why, loads, monkeypatch):
    loads(*[(b'', errno.EEXIST)] * compiled_helper.TRIES)
    monkeypatch.setattr(compiled_helper, '_stays_loaded', lambda: stays)
    with pytest.raises(KmodError, match='Cannot load the helper: EEXIST .*' + why):
        target().look()


@pytest.mark.parametrize(('state', 'stays'), [('live\n', True), ('coming\n', False), (None, False)])
def test_whether_a_helper_stays_is_read_from_sysfs(state, stays, tmp_path):
    if state:
        builders.write(tmp_path, 'sys/module/kmod_reset/initstate', state)
    assert compiled_helper._stays_loaded(str(tmp_path)) is stays


@pytest.mark.parametrize(('missing', 'parameters'), [
    (None, LOADER), ('idem_hash', {}), ('idem_lock', {})], ids=['both', 'no table', 'no lock'])
def test_the_loader_is_cleared_only_where_table_and_lock_are_known(missing, parameters):
    anchors = dict(builders.ANCHORS, idem_hash=LOADER['idem_hash'], idem_lock=LOADER['idem_lock'])
    if missing:
        anchors[missing] = None
    assert compiled_helper.loader_parameters(anchors, 256) == parameters
