# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of the kernel log: records, the journal, what came since, and what is lost or meant to do harm."""

import os
import subprocess

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import log_source, oops
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable, unavailable
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def log(tmp_path):
    (tmp_path / 'dev').mkdir()
    os.mkfifo(str(tmp_path / 'dev/kmsg'))
    return tmp_path


def written(root, records):
    """What is read of a pipe that gives these records one by one, as /dev/kmsg does."""
    ends = [os.open(str(root / 'dev/kmsg'), os.O_RDWR)]
    try:
        for record in records:
            os.write(ends[0], record)
        return log_source.read(str(root), deadline=0.2)
    finally:
        os.close(ends[0])


def test_a_record_becomes_a_line(log):
    record = b'4,1043,185234789,-,caller=T481;RIP: 0010:f_init+0x18/0xff0 [init_oops]\n SUBSYSTEM=x\n DEVICE=+x:y\n'
    (line,) = written(log, [record])
    assert line == '[  185.234789][T481] RIP: 0010:f_init+0x18/0xff0 [init_oops]'


@pytest.mark.parametrize(('record', 'lines'), [
    (b'6,1,1500000,-;plain', ['[    1.500000] plain']),
    (b'6,1,1500000,-;two\\x0alines \\xc3\\xa4;', ['[    1.500000] two', '[    1.500000] lines \xe4;']),
    (b'6,1,1500000,-;a\\x1b[2Jb\\x07\\x5cx\\x09.', ['[    1.500000] a\\x1b[2Jb\\x07\\x\t.']),
    (b'6,1,1500000,c;\xff\xfe', ['[    1.500000] \\xff\\xfe']),
    (b'6,1,x,-;no time', []), (b'6,1', []), (b'6,1,%s,-;x' % (b'9' * 40), []), (b'\n', []), (b';', []),
])
def test_each_form_of_a_record(log, record, lines):
    assert written(log, [record]) == lines


@given(st.binary(min_size=1, max_size=300))
def test_any_record_gives_lines(record):
    for line in log_source.lines_of(record):
        assert oops.split_stamp(line)[0] is not None


def test_a_log_that_never_ends_is_left_at_the_deadline(tmp_path):
    (tmp_path / 'dev').mkdir()
    (tmp_path / 'dev/kmsg').symlink_to('/dev/zero')
    assert log_source.read(str(tmp_path), deadline=0.1) == []


def test_overwritten_records_are_passed_over(log, monkeypatch):
    answers = [OSError(32, 'Broken pipe'), b'6,1,2000000,-;after', OSError(11, 'Resource temporarily unavailable')]

    def read(_descriptor, _length):
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(log_source.os, 'read', read)
    assert written(log, []) == ['[    2.000000] after']


def test_no_log(tmp_path):
    assert log_source.read(str(tmp_path))['unavailable'].endswith('/dev/kmsg: No such file or directory')


def test_the_journal_where_kmsg_is_refused(monkeypatch):
    text = (b'-- Journal begins --\n[  185.234789] web1 kernel: BUG: x\n[  185.3] web1 systemd[1]: y\n'
            b'[ 1.5] web1 kernel: \xff\n')
    monkeypatch.setattr(subprocess, 'run', lambda command, **_rest: subprocess.CompletedProcess(command, 0, text))
    assert log_source.read(path='/dev/no_kmsg') == ['[185.234789] BUG: x', '[1.5] \\xff']

    def fail(command, **_rest):
        raise subprocess.TimeoutExpired(command, 2)

    monkeypatch.setattr(subprocess, 'run', fail)
    assert is_unavailable(log_source.read(path='/dev/no_kmsg'))


# --- what came since a moment ---------------------------------------------------------------------------------------

def test_what_came_since(tmp_path):
    (tmp_path / 'kmsg').write_bytes(b'6,1,1000000,-;before\n')
    log = log_source.Since(str(tmp_path / 'kmsg'))
    with (tmp_path / 'kmsg').open('ab') as stream:
        stream.write(b'6,2,2000000,-;after\n')
    assert log.lines() == ['[    2.000000] after']


def test_what_came_since_and_was_overwritten_is_not_made_up(tmp_path, monkeypatch):
    (tmp_path / 'kmsg').write_bytes(b'')
    log = log_source.Since(str(tmp_path / 'kmsg'))

    def overwritten(_descriptor, _length):
        raise BrokenPipeError(32, 'Broken pipe')

    monkeypatch.setattr(log_source.os, 'read', overwritten)
    assert log.lines() == unavailable('the kernel log has overwritten what came since')


GONE = unavailable('refused')


@pytest.mark.parametrize(('before', 'after', 'found'), [
    ([], ['a'], ['a']), (['a'], ['a'], []), (['a', 'b'], ['a', 'b', 'c', 'd'], ['c', 'd']),
    (['a', 'b'], ['b', 'c'], ['c']), (['a'], ['a', 'x', 'a', 'b'], ['b']), (GONE, ['a'], GONE),
    (['a'], GONE, GONE), ([], [], []),
    (['a'], ['b'], unavailable('the kernel log has overwritten what came since'))])
def test_what_came_since_where_the_log_is_the_journal(before, after, found, monkeypatch):
    answers = [before, after]
    monkeypatch.setattr(log_source, 'read', lambda **_how: answers.pop(0))
    assert log_source.Since('/dev/no_kmsg').lines() == found


def test_what_a_program_wrote_to_the_log_is_none_of_the_kernels():
    """A record's priority is facility * 8 + level; the kernel's facility is 0, which /dev/kmsg takes from nobody."""
    assert log_source.lines_of(b'6,339,5140900,-;text\n') == ['[    5.140900] text']
    for priority in (8, 12, 14, 30, 191):
        assert log_source.lines_of(b'%d,339,5140900,-;BUG: kernel NULL pointer dereference\n' % priority) == []
