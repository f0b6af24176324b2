# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the files of processes cannot be read, went away meanwhile, or came too late."""

from pathlib import Path

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import opened
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import task_structs
from kernel_memory import make_root
from used_kernel import (
    MODULE,
    UNIX,
    UsedKernel,
)


def test_what_cannot_be_read_is_said(tmp_path):
    made = UsedKernel('linux-6.12')
    broken, sock = made.socket(family=UNIX)
    made.memory.u64(made.at(sock, 'sock', 'sk_receive_queue'), 0xDEAD000)
    crowded, crowded_sock = made.socket(family=UNIX)
    made.u16(made.at(made.send(crowded_sock), 'scm_fp_list', 'count'), 254)
    stranger = made.file(mode=0o140777, private_data=made.new('socket'))
    mapped = made.space_of(made.area(0x1000, 0xDEAD000), made.area(0x2000, made.file(MODULE)))
    endless = made.new('mm_struct')
    made.memory.u64(made.at(endless, 'mm_struct', 'mm_mt') + made.types.offset('maple_tree', 'ma_root'), 0xDEAD00A)
    made.process(1, 'systemd', made.table({3: broken}))
    made.process(2, 'two', made.table({3: crowded}), mm=mapped)
    made.process(3, 'three', made.table({3: stranger}), mm=endless)
    made.process(4, 'four', 0, io_uring=0xDEAD000)
    thread = made.kernel_thread(5, 'five', 0)
    made.put(thread, 'task_struct', 'worker_private', 0xDEAD000)
    found = made.find(make_root(tmp_path, 'linux-6.12', made.close_lists().memory))
    assert [entry['pid'] for entry in found['processes']] == [2]
    for part in ('what a socket or io_uring of process systemd (pid 1) holds', 'a message has 254',
                 'an open file of process three (pid 3)', 'its file is another',
                 'mappings of process two (pid 2)', 'mappings of process three (pid 3)',
                 'io_urings of process four (pid 4)', 'kernel threads: process five (pid 5) cannot be read'):
        assert any(part in text for text in found['unread']), part


def leaving(made, root, monkeypatch, *members):
    """Lets every task but the first give these back once they have been listed."""
    whole = task_structs.Tasks.all

    def then_gone(self):
        tasks = whole(self)
        for task in tasks:
            for member in members:
                made.put(task.address, 'task_struct', member, 0)
        (Path(root) / 'proc/kcore').write_bytes(made.memory.core_file())
        return tasks

    monkeypatch.setattr(task_structs.Tasks, 'all', then_gone)


def test_what_went_away_while_it_was_read_is_not_unread(tmp_path, monkeypatch):
    made = UsedKernel('linux-6.12')
    broken, sock = made.socket(family=UNIX)
    made.memory.u64(made.at(sock, 'sock', 'sk_receive_queue'), 0xDEAD000)
    table = made.table({3: 0xDEAD000, 4: broken})
    made.process(412, 'ends', table, table, mm=0xDEAD000, io_uring=0xDEAD000)
    made.process(413, 'ended', 0xDEAD000)
    root = make_root(tmp_path, 'linux-6.12', made.close_lists().memory)
    assert [text.count('process ends (pid 412)') for text in made.find(root)['unread']] == [1, 0, 1, 1, 1, 1]
    leaving(made, root, monkeypatch, 'files', 'mm', 'io_uring')
    assert made.find(root)['unread'] == []


def test_what_another_thread_still_has_is_unread(tmp_path, monkeypatch):
    made = UsedKernel('linux-6.12')
    table = made.table({3: 0xDEAD000})
    first, _second = made.process(412, 'threads', table, table)
    root = make_root(tmp_path, 'linux-6.12', made.close_lists().memory)
    made.put(first, 'task_struct', 'files', 0)
    leaving(made, root, monkeypatch)
    assert ['an open file of process threads' in text for text in made.find(root)['unread']] == [True]


def test_after_its_seconds_the_rest_is_unread(tmp_path, monkeypatch):
    made = UsedKernel('linux-6.12')
    made.process(412, 'one', made.table({3: made.file(MODULE)}), mm=made.space_of(made.area(0x1000, made.file(MODULE))))
    made.close_lists()
    root = make_root(tmp_path, 'linux-6.12', made.memory)
    clock = iter([0.0, 1.0] + 100 * [99.0])
    monkeypatch.setattr(opened.time, 'monotonic', lambda: next(clock))
    found = made.find(root)
    assert [entry['fd'] for entry in found['processes']] == [3]
    assert any('look through what is mapped: after 15 seconds 0 of 1 processes were looked at' in text
               for text in found['unread'])


@pytest.mark.parametrize(('ranges', 'why'), [
    (None, 'where it lies is not known'), ({'unavailable': 'no types'}, 'no types'),
    ([], 'where it lies is not known')])
def test_without_its_memory_what_only_points_into_it_is_unread(tmp_path, ranges, why):
    made = UsedKernel('linux-6.1')
    made.process(412, 'cat', made.table({3: made.file(MODULE), 4: made.file(operations=made.within())}))
    found = made.close_lists().find(make_root(tmp_path, 'linux-6.1', made.memory), ranges=ranges)
    assert [entry['fd'] for entry in found['processes']] == [3]
    assert f'processes: operations that lie in its own memory: {why}' in found['unread']
