# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The child with a deadline."""

import contextlib
import errno
import marshal
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process


def gone(pid):
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.ESRCH
    return False


@pytest.mark.parametrize('value', [0, None, 'text', [1, 'two'], {'state': 'live', 'address': 0xffffffffc0a99040},
                                   'long' * 100000, 'f\xf6\xf6\ud83d', {1: (2, b'\0\xff')}],
                         ids=lambda value: ascii(value)[:20])
def test_the_childs_result(value):
    assert child_process.with_deadline(lambda: value, 10, 'act') == value


def test_the_work_is_done_in_a_child():
    assert child_process.with_deadline(os.getpid, 10, 'act') != os.getpid()
    assert child_process.with_deadline(os.getppid, 10, 'act') == os.getpid()


def refuse():
    raise KmodError('reset foo', 'it changed', 'Run the task again', report={'reset': 'changed'})


def test_the_childs_refusal_arrives_whole():
    with pytest.raises(KmodError) as caught:
        child_process.with_deadline(refuse, 10, 'act')
    error = caught.value
    assert str(error) == 'Cannot reset foo: it changed. Run the task again.'
    assert (error.tried, error.why, error.next_step) == ('reset foo', 'it changed', 'Run the task again')
    assert error.facts == {'report': {'reset': 'changed'}}


def test_any_other_exception_of_the_child_is_named():
    with pytest.raises(KmodError, match='Cannot act: ZeroDivisionError: '):
        child_process.with_deadline(lambda: 1 // 0, 10, 'act')


def test_a_result_that_cannot_be_handed_over_is_an_error():
    with pytest.raises(KmodError, match='Cannot act: ValueError: unmarshallable'):
        child_process.with_deadline(lambda: {'done': object()}, 10, 'act')


@pytest.mark.parametrize('end', [lambda: os._exit(0), lambda: os.kill(os.getpid(), signal.SIGKILL)],
                         ids=['exits', 'is killed'])
def test_a_child_that_ends_without_a_word(end):
    with pytest.raises(KmodError, match='Cannot act: the process that acted ended without a word'):
        child_process.with_deadline(end, 10, 'act')


def test_a_child_that_hangs_is_left_in_time_and_killed(tmp_path):
    pid_file = tmp_path / 'pid'

    def hang():
        pid_file.write_text(str(os.getpid()))
        time.sleep(60)

    start = time.monotonic()
    with pytest.raises(child_process.Deadline) as caught:
        child_process.with_deadline(hang, 1.5, 'read the state of foo')
    assert 1.5 <= time.monotonic() - start < 20
    pid = int(pid_file.read_text())
    assert gone(pid)
    assert 'no answer within 1.5 seconds; process %d is not done yet (' % pid in str(caught.value)
    assert caught.value.facts['hangs_in']
    assert caught.value.facts['hangs_in'] in str(caught.value)


def test_a_child_that_outlives_is_left_to_finish_and_holds_no_output(tmp_path, capfd):
    begun, allowed, done = tmp_path / 'begun', tmp_path / 'allowed', tmp_path / 'done'

    def finish_late():
        os.write(1, b'who reads this waits for all who hold it')
        begun.write_text(str(os.getpid()))
        while not allowed.exists():
            time.sleep(0.01)
        done.write_text('done')

    with pytest.raises(child_process.Deadline):
        child_process.with_deadline(finish_late, 1, 'load foo', outlives=True)
    pid = int(begun.read_text())
    assert [os.readlink('/proc/%d/fd/%d' % (pid, descriptor)) for descriptor in (0, 1, 2)] == [os.devnull] * 3
    allowed.write_text('')
    os.waitpid(pid, 0)
    assert done.read_text() == 'done'
    assert capfd.readouterr().out == ''


@pytest.mark.parametrize('outlives', [False, True], ids=['to be killed', 'to outlive'])
def test_a_child_holds_no_output_of_its_parent(outlives):
    def held():
        return [os.readlink('/proc/self/fd/%d' % descriptor) for descriptor in (0, 1, 2)]

    assert child_process.with_deadline(held, 10, 'act', outlives=outlives) == [os.devnull] * 3


def test_what_a_child_that_hangs_has_started_ends_with_it(tmp_path):
    def hang():
        subprocess.Popen([sys.executable, '-c', 'import os, time; open(%r, "w").write(str(os.getpid())); time.sleep(60)'
                          % str(tmp_path / 'pid')])
        time.sleep(60)

    with pytest.raises(child_process.Deadline, match='Run the task again with a longer timeout'):
        child_process.with_deadline(hang, 2, 'act')
    until = time.monotonic() + 10
    pid = int((tmp_path / 'pid').read_text())
    while not ended(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert ended(pid)


def test_what_a_child_has_started_ends_with_it_also_where_it_answers():
    def start():
        return child_process.forked(lambda _end: time.sleep(60), leads=False)[0]

    pid = child_process.with_deadline(start, 10, 'act')
    until = time.monotonic() + 10
    while not ended(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert ended(pid)


def test_a_child_that_waits_for_a_child_hangs_where_that_does(tmp_path):
    def hang():
        child_process.Child(lambda: None, 'end')  # and so it is a zombie
        waited_for = child_process.Child(lambda: time.sleep(60), 'wait')
        (tmp_path / 'pid').write_text(str(waited_for.pid))
        waited_for.answer(60)

    with pytest.raises(child_process.Deadline) as caught:
        child_process.with_deadline(hang, 2, 'act')
    assert 'process {} is not done yet ('.format((tmp_path / 'pid').read_text()) in str(caught.value)


def test_a_child_knows_who_waits_for_it():
    def waiting():
        below = child_process.Child(lambda: child_process.waiting, 'tell').answer(60)
        return child_process.waiting, below, os.getpid()

    first, second, child = child_process.with_deadline(waiting, 10, 'act')
    assert first == [os.getpid()]
    assert second == [os.getpid(), child]
    assert child_process.waiting == []


def ended(pid):
    """Gone, or a zombie that waits for whoever inherited it."""
    return gone(pid) or Path('/proc/%d/stat' % pid).read_text().rsplit(')', 1)[1].split()[0] == 'Z'


def half_an_answer(then):
    def run(_function, _tried, write_end):
        os.write(write_end, marshal.dumps({'value': 1})[:-3])
        then()

    return run


def test_a_child_that_hangs_half_way_through_its_answer(monkeypatch):
    monkeypatch.setattr(child_process, '_run_child', half_an_answer(lambda: time.sleep(60)))
    with pytest.raises(child_process.Deadline):
        child_process.with_deadline(lambda: 0, 1, 'act')


def test_a_child_that_ends_half_way_through_its_answer(monkeypatch):
    monkeypatch.setattr(child_process, '_run_child', half_an_answer(lambda: os._exit(0)))
    with pytest.raises(KmodError, match='Cannot act: the process that acted ended in the middle of its answer'):
        child_process.with_deadline(lambda: 0, 10, 'act')


def open_descriptors():
    return sorted(path.name for path in Path('/proc/self/fd').iterdir())


@pytest.mark.parametrize('function', [lambda: 1, refuse, lambda: os._exit(0), lambda: time.sleep(60)],
                         ids=['result', 'refusal', 'without a word', 'hangs'])
def test_no_descriptor_and_no_child_stays(function):
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)  # those of tests before this end late on a busy machine
    before = open_descriptors()
    with contextlib.suppress(KmodError):
        child_process.with_deadline(function, 1, 'act')
    assert open_descriptors() == before
    with pytest.raises(OSError, match='No child processes'):
        os.waitpid(-1, os.WNOHANG)


# A task's stack (fs/proc/base.c), what it waits in, its system call; in the order in which they are asked.
HANGS = {
    'stack': ({'stack': '[<0>] __mutex_lock+0x2d1/0x4a0\n[<0>] f_exit+0x24/0xff0 [foo]\n', 'wchan': 'x'},
              '__mutex_lock+0x2d1/0x4a0, f_exit+0x24/0xff0 [foo]'),
    'wchan': ({'stack': '', 'wchan': 'rcu_barrier'}, 'rcu_barrier'),
    'wchan is 0': ({'wchan': '0', 'syscall': '176 0x1 0x2 0x7ffc 0x7f12'}, '0x7f12'),
    'on a processor': ({'stack': '', 'wchan': '0', 'syscall': 'running'}, 'no system call: it is busy'),
    'in no system call': ({'wchan': '0', 'syscall': '-1 0x7ffc 0x7f12'}, 'no system call: it is busy'),
    'nothing to see': ({}, 'a place that /proc does not show'),
}


@pytest.mark.parametrize(('files', 'words'), HANGS.values(), ids=list(HANGS))
def test_where_a_child_hangs(files, words, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(child_process, 'open', lambda path, **how: (tmp_path / Path(path).name).open(**how),
                        raising=False)
    assert words in child_process._child_hangs_in(1)


def test_only_a_task_in_an_uninterruptible_wait_is_said_to_hang(monkeypatch):
    monkeypatch.setattr(child_process, '_state', lambda _pid, _root='/': 'D')
    with pytest.raises(child_process.Deadline, match='hangs in .*Reboot required if a kernel lock died with its owner'):
        child_process.with_deadline(lambda: time.sleep(60), 0.5, 'act')


@pytest.mark.parametrize('seconds', [0, -1, 1e6, float('inf'), float('nan'), 1e300])
def test_a_timeout_is_a_number_of_seconds_that_can_be_waited_for(seconds):
    with pytest.raises(KmodError, match='timeout must be above 0 and below 1000000. Give a number of seconds'):
        child_process.with_deadline(lambda: 1, seconds, 'act')


@pytest.mark.parametrize('seconds', [0.5, 30, 999999])
def test_any_other_timeout_will_do(seconds):
    assert child_process.with_deadline(lambda: 1, seconds, 'act') == 1
