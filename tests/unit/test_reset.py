# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reset step: which helper file is trusted, what is asked of it, what its report means."""

import ctypes
import errno
import os
import struct
from pathlib import Path

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils import _reset, _syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from hypothesis import given, settings
from hypothesis import strategies as st

IMAGE = builders.module_image()
ENTRY = {'state': 'coming', 'refcount': 2, 'init': builders.INIT, 'exit': builders.EXIT}
MENDED = {'state': 'live', 'refcount': 1, 'init': 0, 'exit': 0}
LOADER = {'idem_hash': 0xffffffffb0000100, 'idem_lock': 0xffffffffb0000900, 'idem_buckets': 256}


class Owners:
    """The module os, but that who runs the tests stands for root, and what is ``foreign`` belongs to user 1000."""

    def __init__(self):
        self.foreign = []

    def __getattr__(self, name):
        return getattr(os, name)

    def _owned(self, found):
        others = [(path.stat().st_dev, path.stat().st_ino) for path in self.foreign]
        owner = 1000 if (found.st_dev, found.st_ino) in others else found.st_uid
        fields = list(found)[:10]
        fields[4] = 0 if owner == os.getuid() else owner
        return os.stat_result(fields)

    def stat(self, path):
        return self._owned(Path(path).stat())

    def fstat(self, descriptor):
        return self._owned(os.fstat(descriptor))


@pytest.fixture
def owners(monkeypatch):
    found = Owners()
    monkeypatch.setattr(_reset, 'os', found)
    return found


@pytest.fixture
def helper(tmp_path):
    """The path of a helper that root alone could have written."""
    directory = tmp_path / 'kmod_reset'
    directory.mkdir(mode=0o755)
    path = directory / 'kmod_reset.ko'
    path.write_bytes(IMAGE)
    path.chmod(0o644)
    return path


def no_file(path):
    path.unlink()


def no_directory(path):
    path.unlink()
    path.parent.rmdir()


def symlink(path):
    path.rename(path.with_suffix('.real'))
    path.symlink_to(path.with_suffix('.real'))


def directory(path):
    path.unlink()
    path.mkdir()


def fifo(path):
    path.unlink()
    os.mkfifo(str(path))


def huge(path):
    with path.open('ab') as stream:
        stream.truncate(_reset.LIMIT + 1)


# id: (what is done to the file, words of the refusal)
UNTRUSTED = {
    'missing': (no_file, 'No such file'),
    'its directory missing': (no_directory, 'No such file'),
    'a symbolic link': (symlink, 'symbolic links'),
    'a directory': (directory, 'no regular file'),
    'a fifo': (fifo, 'no regular file'),
    'huge': (huge, 'larger than any helper'),
    'group-writable': (lambda path: path.chmod(0o664), 'others than root can write it .*mode 664'),
    'world-writable': (lambda path: path.chmod(0o646), 'others than root can write it .*mode 646'),
    'in a group-writable directory': (lambda path: path.parent.chmod(0o775), 'can write the directory .*/kmod_reset'),
    'in a world-writable directory': (lambda path: path.parent.chmod(0o777), 'can write the directory .*/kmod_reset'),
    'below a world-writable directory': (lambda path: path.parent.parent.chmod(0o777), 'can write the directory'),
}


def test_a_helper_of_root_is_read(owners, helper):
    assert owners.foreign == []
    assert _reset.read_helper(str(helper)) == IMAGE


def test_a_sticky_directory_that_all_may_write_is_as_good_as_tmp(owners, helper):
    helper.parent.chmod(0o1777)
    assert owners.foreign == []
    assert _reset.read_helper(str(helper)) == IMAGE


@pytest.mark.usefixtures('owners')
@pytest.mark.parametrize(('spoil', 'why'), UNTRUSTED.values(), ids=list(UNTRUSTED))
def test_an_untrusted_helper_is_refused(spoil, why, helper):
    spoil(helper)
    with pytest.raises(KmodError, match=why) as caught:
        _reset.read_helper(str(helper))
    assert str(caught.value).startswith('Cannot use the helper %s: ' % helper)
    assert 'kernelops.kmod.force_unload' in caught.value.next_step


@pytest.mark.parametrize('level', [0, 1, 2], ids=['file', 'directory', 'directory above'])
def test_what_belongs_to_another_user_is_refused(level, owners, helper):
    owners.foreign = [([helper] + list(helper.parents))[level]]
    with pytest.raises(KmodError, match='others than root can write'):
        _reset.read_helper(str(helper))


def test_a_link_among_the_directories_is_judged_by_where_it_leads(owners, helper, tmp_path):
    (tmp_path / 'link').symlink_to(helper.parent)
    through = str(tmp_path / 'link' / helper.name)
    assert _reset.read_helper(through) == IMAGE
    owners.foreign = [helper.parent]
    with pytest.raises(KmodError, match='can write the directory .*/kmod_reset'):
        _reset.read_helper(through)


def test_no_descriptor_stays_open(owners, helper):
    before = sum(1 for dummy in Path('/proc/self/fd').iterdir())
    _reset.read_helper(str(helper))
    for spoil in (directory, no_file):
        owners.foreign = []
        with pytest.raises(KmodError):
            _reset.read_helper(str(spoiled(helper, spoil)))
    assert sum(1 for dummy in Path('/proc/self/fd').iterdir()) == before


def spoiled(helper, spoil):
    path = helper.with_name(spoil.__name__)
    path.write_bytes(IMAGE)
    spoil(path)
    return path


# id: (how the helper was built, the kernel, its layout, words of the refusal or None)
FIT = {
    'fits': ({}, {}, builders.LAYOUT, None),
    'layout unknown': ({'layout': {'exit': 864}}, {}, unavailable('no BTF'), None),
    'signed': ({'signed': True}, {'module_signatures': 'enforced'}, builders.LAYOUT, None),
    'unsigned where none is enforced': ({}, {'module_signatures': 'permissive'}, builders.LAYOUT, None),
    'another release': ({'release': '6.1.0-50-amd64'}, {}, builders.LAYOUT,
                        'built for 6.1.0-50-amd64 on x86_64, and this is 6.1.0-56-amd64 on x86_64'),
    'a release that only begins like it': ({'release': builders.RELEASE + '1'}, {}, builders.LAYOUT, 'built for'),
    'another machine': ({'machine': 183}, {}, builders.LAYOUT, 'on aarch64, and this is .* on x86_64'),
    'another size': ({'layout': {'size': 1280}}, {}, builders.LAYOUT, 'has size at 1280, the running kernel\'s at 896'),
    'init elsewhere': ({'layout': {'init': 304}}, {}, builders.LAYOUT, 'has init at 304, .* 312'),
    'exit elsewhere': ({'layout': {'exit': 864}}, {}, builders.LAYOUT, 'has exit at 864, .* 848'),
    'unsigned where enforced': ({}, {'module_signatures': 'enforced'}, builders.LAYOUT,
                                'signatures \\(lockdown=none\\)'),
    'unsigned under lockdown': ({}, {'module_signatures': 'enforced', 'lockdown': 'integrity'}, builders.LAYOUT,
                                'lockdown=integrity'),
    'unsigned, lockdown unknown': ({}, {'module_signatures': 'enforced', 'lockdown': unavailable('no securityfs')},
                                   builders.LAYOUT, 'lockdown=unknown'),
}


@pytest.mark.usefixtures('owners')
@pytest.mark.parametrize('row', FIT.values(), ids=list(FIT))
def test_the_helper_must_be_built_for_this_very_kernel(row, helper):
    built, kernel, layout, why = row
    image = builders.module_image(**built)
    helper.write_bytes(image)
    if why is None:
        assert _reset.vet_helper(str(helper), builders.kernel(**kernel), layout) == image
        return
    with pytest.raises(KmodError, match=why) as caught:
        _reset.vet_helper(str(helper), builders.kernel(**kernel), layout)
    assert str(caught.value).startswith('Cannot use the helper ')
    assert caught.value.next_step.startswith('Build it ')


@pytest.mark.usefixtures('owners')
def test_a_helper_that_is_no_module_is_refused(helper):
    helper.write_bytes(b'#!/bin/sh\n')
    with pytest.raises(KmodError, match='no ELF file'):
        _reset.vet_helper(str(helper), builders.kernel(), builders.LAYOUT)


def test_where_the_role_puts_it():
    assert _reset.helper_path('6.1.0-56-amd64') == '/var/lib/kmod_reset/6.1.0-56-amd64/kmod_reset.ko'


def packed(*, reset=1, found=(1, 2, builders.INIT, builders.EXIT), left=(0, 1, 0, 0), loader=0, buckets=0, pid=0,
           magic=0x5453524b):
    """A report in the fixed widths of struct reset_report in kmod_reset.c."""
    form = struct.Struct('=II' + 'IiQQ' * 2 + 'IIiI')
    return form.pack(magic, reset, *(tuple(found) + tuple(left) + (loader, buckets, pid, 0)))


def test_report():
    assert _reset.parse_report(packed(loader=2, buckets=3, pid=77)) == {
        'reset': 'done', 'found': ENTRY, 'left': MENDED, 'loader': 'cleared', 'buckets': 3, 'loading_pid': 77}


@pytest.mark.parametrize(('number', 'name'), list(enumerate(
    ['not_asked', 'done', 'looked', 'lock_busy', 'not_found', 'not_itself', 'changed'])))
def test_results_are_numbered_as_in_the_helper(number, name):
    assert _reset.parse_report(packed(reset=number))['reset'] == name


@pytest.mark.parametrize(('number', 'name'), list(enumerate(
    ['not_asked', 'clean', 'cleared', 'lock_busy', 'in_use'])))
def test_loader_results_are_numbered_as_in_the_helper(number, name):
    assert _reset.parse_report(packed(loader=number))['loader'] == name


@pytest.mark.parametrize('data', [packed(magic=0), packed(reset=7), packed(loader=5), b'\0' * 72],
                         ids=['magic', 'reset', 'loader', 'untouched'])
def test_what_is_no_report(data):
    with pytest.raises(KmodError, match='Is the helper file that of this collection'):
        _reset.parse_report(data)


@settings(deadline=None)
@given(st.binary(min_size=_reset.REPORT.size, max_size=_reset.REPORT.size), st.booleans())
def test_any_report_is_read_or_refused(data, marked):
    try:
        found = _reset.parse_report(packed()[:4] + data[4:] if marked else data)
    except KmodError:
        return
    assert found['reset'] in _reset.RESETS
    assert found['loader'] in _reset.LOADERS


class FakeInitModule:
    """init_module(2) as the helper makes it look: a report in the caller's buffer, and an errno."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.parameters = []

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
        monkeypatch.setattr(_syscalls, 'init_module', fake)
        return fake

    return answer


def target():
    return _reset.Target('foo', builders.ADDRESS, builders.ANCHORS, IMAGE)


PLACE = {'name': 'foo', 'address': str(builders.ADDRESS), 'modules': str(builders.ANCHORS['modules']),
         'module_lock': str(builders.ANCHORS['module_mutex'])}


def test_look_only_looks(loads):
    fake = loads((packed(reset=2), errno.ECANCELED))
    assert target().look() == ENTRY
    assert fake.parameters == [dict(PLACE, look='1')]


def test_store_compares_and_writes(loads):
    fake = loads((packed(), errno.ECANCELED))
    assert target().store(ENTRY, MENDED, LOADER)['left'] == MENDED
    asked = dict(PLACE, old_state='1', old_refcount='2', old_init=str(builders.INIT), old_exit=str(builders.EXIT),
                 new_state='0', new_refcount='1', new_init='0', new_exit='0')
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


@pytest.mark.parametrize(('error', 'why'), [
    (errno.EKEYREJECTED, 'EKEYREJECTED .*signature that it trusts'), (errno.EPERM, 'EPERM .*locked down'),
    (errno.ENOEXEC, 'ENOEXEC .*another kernel'), (errno.EEXIST, 'EEXIST .*Run the task again'),
    (errno.EBUSY, 'EBUSY .*Run the task again'), (errno.EFAULT, 'EFAULT .*kernel log'),
    (0, 'kernel log')], ids=lambda value: str(value)[:12])
def test_a_helper_that_did_not_run(error, why, loads):
    loads((packed(), error))
    with pytest.raises(KmodError, match='Cannot load the helper: ' + ('.*' if error == 0 else '') + why):
        target().look()


@pytest.mark.parametrize(('missing', 'parameters'), [
    (None, LOADER), ('idem_hash', {}), ('idem_lock', {})], ids=['both', 'no table', 'no lock'])
def test_the_loader_is_cleared_only_where_table_and_lock_are_known(missing, parameters):
    anchors = dict(builders.ANCHORS, idem_hash=LOADER['idem_hash'], idem_lock=LOADER['idem_lock'])
    if missing:
        anchors[missing] = None
    assert _reset.loader_parameters(anchors, 256) == parameters
