# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What points into a module from memory that is free, or that changes while it is read."""

import struct

import pytest
import reached_kernel as made
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import reachability
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import in_use, page_frames, slab
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import Kcore
from kernel_memory import PAGE
from reached_kernel import FUNCTION, OBJECT, SLAB, linear, places, write

kernel = made.each_kernel


def test_a_free_object_does_not_count(kernel, tmp_path):
    kernel.memory.u64(linear(SLAB, 5 * OBJECT + 0x18), FUNCTION)
    kernel.memory.u64(linear(SLAB, 9 * OBJECT + 0x18), FUNCTION)
    kernel.free(3, 9, 5)
    assert kernel.find(tmp_path)['answer'] == 'unreachable'


def test_memory_of_a_process_does_not_count(kernel, tmp_path):
    kernel.memory.u64(linear(made.PROCESS, 0x40), FUNCTION)
    assert kernel.find(tmp_path)['answer'] == 'unreachable'


def test_a_page_that_a_processor_keeps_for_the_next_is_free(kernel, tmp_path):
    kernel.memory.u64(linear(made.KEPT, 0x40), FUNCTION)
    # A reference count of 0 proves nothing: all but the first page of what is no compound page has it.
    assert kernel.find(tmp_path / 'not on a list')['answer'] == 'reachable'
    kernel.keep(made.KEPT)
    assert kernel.find(tmp_path / 'on one')['answer'] == 'unreachable'
    kernel.page(made.KEPT, '_refcount', struct.pack('<I', 1))
    assert kernel.find(tmp_path / 'in use')['answer'] == 'reachable'


@pytest.mark.parametrize('linked', [(0, 0), (8, 0), (0, 8)], ids=['to itself', 'not back', 'not on'])
def test_what_is_on_no_list_that_leads_back_to_it_is_not_free(kernel, tmp_path, linked):
    kernel.memory.u64(linear(made.KEPT, 0x40), FUNCTION)
    kernel.keep(made.KEPT)
    link = made.PAGES + made.KEPT * kernel.types.size('page') + kernel.types.offset('page', 'lru')
    for at in linked:
        kernel.memory.u64(link + at, link)
    assert kernel.find(tmp_path)['answer'] == 'reachable'


@pytest.mark.parametrize(('how', 'found'), [('cached', []), ('being filled', []), ('', ['a page of the kernel'])])
def test_what_rcu_freed_by_a_page_of_its_own_stands_there_for_nobody(kernel, tmp_path, monkeypatch, how, found):
    start, page, types = 0x1240, linear(made.PLAIN), kernel.types
    monkeypatch.setattr(made, 'SYMBOLS', dict(made.SYMBOLS, krc=start))
    own = linear(made.SIGNAL + 1)
    kernel.memory.u64(made.SYMBOLS['__per_cpu_offset'], own - start)
    head = own + types.offset('kfree_rcu_cpu', 'bkvcache')
    if how == 'being filled':
        head = own + types.first_offset('kfree_rcu_cpu', 'bulk_head', 'bkvhead')
        kernel.memory.u64(page, head)
    if how:
        kernel.memory.u64(head, page)
    kernel.memory.u64(page + 0x40, FUNCTION)
    if how == 'being filled' and not types.has('kfree_rcu_cpu', 'bulk_head'):
        kernel.memory.u64(page, 1)  # records; the next page stands behind
    assert places(kernel.find(tmp_path)) == found


def test_pages_that_are_kept_two_at_a_time_are_free(kernel, tmp_path, monkeypatch):
    if kernel.types.has('zone', 'pageset'):
        pytest.skip('before 5.14 only single pages are kept')
    kernel.memory.u64(linear(made.KEPT + 1, 0x40), FUNCTION)
    kernel.page(made.KEPT + 1, '_refcount', bytes(4))
    kernel.keep(made.KEPT, page_frames.PCP_TYPES)
    assert kernel.find(tmp_path / 'unknown')['answer'] == 'reachable'
    monkeypatch.setattr(made, 'SYMBOLS', dict(made.SYMBOLS, contig_page_data=made.NODE))
    assert kernel.find(tmp_path / 'known')['answer'] == 'unreachable'


def test_what_is_free_only_now_and_then_counts(kernel, tmp_path, monkeypatch):
    kernel.memory.u64(linear(SLAB, 5 * OBJECT + 0x18), FUNCTION)
    kernel.free(3, 5)
    looks = []

    def object_at(slabs, address):
        found = at(slabs, address)
        if found and found.start == linear(SLAB, 5 * OBJECT) and slabs not in looks:
            looks.append(slabs)
        return found._replace(is_free=len(looks) < 3) if found else found

    at = slab.Slabs.object_at
    monkeypatch.setattr(slab.Slabs, 'object_at', object_at)
    assert kernel.find(tmp_path)['answer'] == 'reachable'
    assert len(looks) == 3


def test_what_a_processor_has_at_times_counts(kernel, tmp_path, monkeypatch):
    start = 0xFFFFFFFF82000000
    monkeypatch.setattr(made, 'SYMBOLS', dict(made.SYMBOLS, __per_cpu_start=start, tasklet_vec=start + 0x40,
                                              __per_cpu_end=start + PAGE))
    kernel.memory.u64(made.SYMBOLS['__per_cpu_offset'], (linear(made.PLAIN) - start) % (1 << 64))
    looks = []

    def hands_over(seconds):
        if seconds == reachability.WATCH_PAUSE:
            looks.append(seconds)
            write(tmp_path, linear(made.PLAIN, 0x48), FUNCTION if len(looks) == 3 else 0)

    monkeypatch.setattr(reachability, 'WATCH_PAUSE', 0.0123)  # others wait, too
    monkeypatch.setattr(reachability.time, 'sleep', hands_over)
    assert places(kernel.find(tmp_path)) == ['tasklet_vec+0x8 of CPU 0']
    assert len(looks) == 3


@pytest.mark.parametrize(('at', 'answer'), [(0x20, 'reachable'), (8, 'unreachable')], ids=['its time', 'the link'])
def test_what_is_free_whenever_it_is_looked_at_and_changes_counts(kernel, tmp_path, monkeypatch, at, answer):
    """As a work that asks for another and frees itself: what changes is when it is due, and not only the list."""
    kernel.memory.u64(linear(SLAB, 5 * OBJECT + 0x18), FUNCTION)
    kernel.free(3, 5)
    pauses = []

    def changes(seconds):
        if seconds == in_use.PAUSE:
            pauses.append(at)
            write(tmp_path, linear(SLAB, 5 * OBJECT + at), len(pauses))

    monkeypatch.setattr(reachability.time, 'sleep', changes)
    assert kernel.find(tmp_path)['answer'] == answer
    assert len(pauses) == (2 if answer == 'reachable' else in_use.LOOKS)


@pytest.mark.parametrize(('sure_at', 'answer'), [(3, 'unreachable'), (99, 'reachable')], ids=['at last', 'never'])
def test_a_slab_that_changes_while_it_is_looked_at_is_looked_at_again(kernel, tmp_path, monkeypatch, sure_at, answer):
    """A free object that is not seen on the lists is none that somebody has, unless it is never seen there."""
    kernel.memory.u64(linear(SLAB, 5 * OBJECT + 0x18), FUNCTION)
    looks, at = [], slab.Slabs.object_at

    def object_at(slabs, address):
        found = at(slabs, address)
        if found and found.start == linear(SLAB, 5 * OBJECT) and slabs not in looks:
            looks.append(slabs)
        is_sure = len(looks) >= sure_at
        return found._replace(is_free=is_sure, is_sure=is_sure) if found else found

    monkeypatch.setattr(slab.Slabs, 'object_at', object_at)
    assert kernel.find(tmp_path)['answer'] == answer
    assert len(looks) == 2 + in_use.LOOKS


@pytest.mark.parametrize('flags', [1 << 5, 1 << 10, 1 << 12], ids=['of a file', 'free', 'of a process'])
def test_what_was_no_page_of_the_kernel_when_it_was_read_tells_nothing(kernel, tmp_path, monkeypatch, flags):
    """It was one when the search began, and is one again afterwards: between, this very search had read into it."""
    kernel.memory.u64(linear(made.PLAIN, 0x40), FUNCTION)
    told = page_frames.PhysicalMemory.flags
    monkeypatch.setattr(page_frames.PhysicalMemory, 'flags', lambda memory, first, count=1: [flags] if (
        first, count) == (made.PLAIN, 1) else told(memory, first, count))
    assert kernel.find(tmp_path)['answer'] == 'unreachable'


def test_what_is_read_of_the_page_that_is_read_through_tells_nothing(kernel, tmp_path, monkeypatch):
    kernel.memory.u64(linear(SLAB, 5 * OBJECT + 0x18), FUNCTION)
    monkeypatch.setattr(Kcore, 'is_buffer', lambda _kcore, page: page == linear(SLAB))
    assert kernel.find(tmp_path)['answer'] == 'unreachable'


@pytest.mark.parametrize(('changes', 'answer'), [(2, 'unreachable'), (99, 'reachable')], ids=['at last', 'never'])
def test_a_list_counts_that_did_not_change_while_it_was_read(kernel, tmp_path, monkeypatch, changes, answer):
    """An object is on the list of the processor, then on that of its slab: each is read when it is on the other."""
    kernel.memory.u64(linear(SLAB, 5 * OBJECT + 0x18), FUNCTION)
    states, page = [], page_frames.PhysicalMemory.page

    def moves(physical, frame):
        found = bytearray(page(physical, frame))
        if frame == SLAB:
            states.append(frame)
            at = kernel.types.offset('page' if kernel.kernel == 'linux-5.10' else 'slab', 'freelist')
            listed = len(states) > changes
            found[at:at + 8] = struct.pack('<Q', linear(SLAB, 5 * OBJECT) if listed and changes < 99 else 0)
            counters = kernel.types.size('page') - 8
            found[counters:] = struct.pack('<Q', 0 if listed else len(states))
        return bytes(found)

    monkeypatch.setattr(page_frames.PhysicalMemory, 'page', moves)
    assert kernel.find(tmp_path)['answer'] == answer
