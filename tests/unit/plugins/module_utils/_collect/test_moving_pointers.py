# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pointers into a module that move while memory is searched, on the layouts of six kernels."""

import os
import time

import pytest
import reached_kernel as made
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import reachability
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import bookkeeping, in_use, sweep, vmalloc
from kernel_memory import PAGE
from reached_kernel import FUNCTION, OBJECT, OTHER, SLAB, STACK, linear, places, write

kernel = made.each_kernel


@pytest.mark.parametrize(('again', 'answer', 'searches'), [
    (None, 'unreachable', 2 + reachability.AGAIN), (5 * OBJECT + 0x18, 'reachable', 2),
    (7 * OBJECT + 0x18, 'reachable', 2),
], ids=['nowhere', 'there', 'elsewhere'])
def test_what_is_another_s_when_it_is_looked_at_is_searched_for_again(
        kernel, tmp_path, monkeypatch, again, answer, searches):
    """It was free all along, and somebody has been given it since; or it is one that moves, and is seen again."""
    swept, sweeps = sweep.sweep, []

    def swept_anew(*arguments):
        if again is not None:
            write(tmp_path, linear(SLAB, again), FUNCTION)
        sweeps.append(swept(*arguments))
        for place in (linear(SLAB, 5 * OBJECT + 0x18), linear(SLAB, again or 0), STACK + 3 * PAGE):
            write(tmp_path, place, 0)
        return sweeps[-1]

    kernel.memory.u64(linear(SLAB, 5 * OBJECT + 0x18), FUNCTION)
    kernel.memory.u64(STACK + 3 * PAGE, FUNCTION + 3)
    monkeypatch.setattr(sweep, 'sweep', swept_anew)
    found = kernel.find(tmp_path)
    assert (found['answer'], len(sweeps)) == (answer, searches)
    assert places(found) == ['a kmalloc-64 object'] * (again is not None)


@pytest.mark.parametrize(('cache', 'stays', 'answer', 'searches'), [
    ('kmalloc-4k', False, 'unreachable', 1 + reachability.AGAIN), ('kmalloc-4k', True, 'reachable', 2),
    ('', False, 'unreachable', 1 + reachability.AGAIN), ('', True, 'reachable', 2),
], ids=['a buffer', 'an object', 'a buffer that is a page', 'a page'])
def test_what_readers_read_through_is_nothing_that_moves(kernel, tmp_path, monkeypatch, cache, stays, answer, searches):
    """Each reader sees the buffers of the others, and in them for a moment what they read; what moves stays a while."""
    swept, sweeps, buffer = sweep.sweep, [], linear(made.PLAIN)

    def swept_anew(*arguments):
        write(tmp_path, buffer + 0x40, FUNCTION)
        sweeps.append(swept(*arguments))
        write(tmp_path, buffer + 0x40, 0)
        return sweeps[-1]

    if cache:
        kernel.flags[made.PLAIN - made.FIRST] = 1 << 7
        kernel.slab(made.PLAIN, linear(made.CACHES, 0xc00), cache, PAGE)
    monkeypatch.setattr(sweep, 'sweep', swept_anew)
    monkeypatch.setattr(sweep, '_is_still_there', lambda *_word: stays)
    assert kernel.find(tmp_path)['answer'] == answer
    assert len(sweeps) == searches


def test_where_there_is_no_time_to_search_again_what_has_moved_counts(kernel, tmp_path, monkeypatch):
    swept, place, sweeps = sweep.sweep, linear(SLAB, 5 * OBJECT + 0x18), []

    def swept_anew(*arguments):
        sweeps.append(swept(*arguments))
        write(tmp_path, place, 0)
        time.sleep(0.3)
        return sweeps[-1]

    kernel.memory.u64(place, FUNCTION)
    monkeypatch.setattr(sweep, 'sweep', swept_anew)
    assert places(kernel.find(tmp_path, seconds=0.5)) == ['a kmalloc-64 object']
    assert len(sweeps) == 1


@pytest.mark.parametrize(('place', 'there', 'name'), [
    (linear(made.PLAIN, 0x40), True, ['a page of the kernel']),
    (linear(made.PLAIN, 0x40), False, ['a page of the kernel']),
    (linear(SLAB, 5 * OBJECT), True, ['a kmalloc-64 object']),
    (linear(SLAB, 5 * OBJECT), False, ['a kmalloc-64 object']),
], ids=['in a page', 'in a page, gone again', 'in an object', 'in an object, gone again'])
def test_what_is_met_only_when_all_is_read_again_is_somebody_s(kernel, tmp_path, monkeypatch, place, there, name):
    """As an object that was allocated where it had been read already."""
    swept, sweeps = sweep.sweep, []

    def swept_anew(*arguments):
        write(tmp_path, place, FUNCTION if len(sweeps) == 2 else 0)
        sweeps.append(swept(*arguments))
        if not there:
            write(tmp_path, place, 0)
        return sweeps[-1]

    monkeypatch.setattr(sweep, 'sweep', swept_anew)
    assert places(kernel.find(tmp_path)) == name
    assert len(sweeps) == 3


@pytest.mark.parametrize(('callback', 'changes', 'answer', 'looks', 'searches'), [
    (True, 'zeroed', 'unreachable', 3, 2 + reachability.AGAIN),
    (True, 'freed', 'unreachable', 3, 2 + reachability.AGAIN), (True, 'moves', 'reachable', 3, 2),
    (True, '', 'reachable', in_use.LOOKS_LATER, 1), (False, 'zeroed', 'reachable', 0, 1),
], ids=['somebody else\'s by then', 'freed by then', 'somewhere else by then', 'still there', 'waits for nothing'])
def test_what_waits_to_be_freed_is_looked_at_later(kernel, tmp_path, monkeypatch, callback, changes, answer, looks,
                                                   searches):
    """What the kernel kept of a module that went, until the callback that frees it: another module lies there now."""
    monkeypatch.setattr(made, 'SYMBOLS', dict(made.SYMBOLS, _stext=made.IMAGE - PAGE))
    place, swept, sweeps, pauses = linear(SLAB, 5 * OBJECT + 0x18), sweep.sweep, [], []
    kernel.memory.u64(place, FUNCTION)
    if callback:
        kernel.memory.u64(linear(SLAB, 5 * OBJECT + 0x10), made.IMAGE - 0x100)

    def sleep(seconds):
        if seconds == in_use.LONG_PAUSE:
            pauses.append(seconds)
            if len(pauses) == 3 and changes == 'freed':
                kernel.free(3, 5)
                kernel.root(tmp_path)
            elif len(pauses) == 3 and changes:
                write(tmp_path, place, 0)
                write(tmp_path, linear(SLAB, 6 * OBJECT + 0x18), FUNCTION if changes == 'moves' else 0)

    monkeypatch.setattr(in_use, 'LONG_PAUSE', 0.0123)  # others wait, too
    monkeypatch.setattr(in_use.time, 'sleep', sleep)
    monkeypatch.setattr(sweep, 'sweep', lambda *given: sweeps.append(given) or swept(*given))
    assert kernel.find(tmp_path)['answer'] == answer
    assert (len(pauses), len(sweeps)) == (looks, searches)


def test_what_is_freed_while_the_kernels_lists_are_walked_does_not_count(kernel, tmp_path, monkeypatch):
    kernel.memory.u64(linear(SLAB, 5 * OBJECT + 0x18), FUNCTION)
    walked, has = [], bookkeeping.Bookkeeping.has

    def walks(*given):
        if not walked:
            kernel.free(3, 5)
            kernel.root(tmp_path)
        walked.append(given)
        return has(*given)

    monkeypatch.setattr(bookkeeping.Bookkeeping, 'has', walks)
    assert kernel.find(tmp_path)['answer'] == 'unreachable'
    assert walked


def test_what_comes_back_to_where_it_was_gone_from_counts(kernel, tmp_path, monkeypatch):
    swept, sweeps = sweep.sweep, []

    def swept_anew(*arguments):
        write(tmp_path, linear(made.PLAIN, 0x40), FUNCTION)
        sweeps.append(swept(*arguments))
        write(tmp_path, linear(made.PLAIN, 0x40), FUNCTION if len(sweeps) == 2 else 0)
        return sweeps[-1]

    monkeypatch.setattr(sweep, 'sweep', swept_anew)
    assert places(kernel.find(tmp_path)) == ['a page of the kernel']


def test_the_stack_of_a_process_that_began_meanwhile_is_known(kernel, tmp_path, monkeypatch):
    """One that reads memory has addresses of the module on its stack, which is kept for the next when it has ended."""
    areas, swept = vmalloc.areas, sweep.sweep
    begun = []
    new = vmalloc.Area(STACK + (1 << 20), STACK + (1 << 20) + 4 * PAGE, 0, made.AREA + 0xe00, 1, 0, 0)

    def swept_anew(*arguments):
        begun.append(new)
        return swept(*arguments)

    kernel.memory.write(new.start, bytes(new.end - new.start))
    kernel.memory.u64(linear(made.PLAIN, 0x40), FUNCTION)
    kernel.memory.u64(made.AREA + 0xe00, made.PAGES + made.PLAIN * kernel.types.size('page'))
    assert places(kernel.find(tmp_path / 'unknown')) == ['a page of the kernel']
    monkeypatch.setattr(sweep, 'sweep', swept_anew)
    monkeypatch.setattr(vmalloc, 'areas', lambda *arguments: [*areas(*arguments), *begun])
    assert kernel.find(tmp_path / 'known')['answer'] == 'unreachable'


@pytest.mark.parametrize(('came', 'found'), [(False, ['a page of the kernel']), (True, [])], ids=['a page', 'a stack'])
def test_the_stack_of_a_process_that_came_and_went_meanwhile_is_known(kernel, tmp_path, monkeypatch, came, found):
    """Those that read see it; it is gone when what they found is looked at."""
    areas, swept, parent = vmalloc.areas, sweep.sweep, os.getpid()
    new = vmalloc.Area(STACK + (1 << 20), STACK + (1 << 20) + 4 * PAGE, 0, made.AREA + 0xe00, 1, 0, 0)

    def swept_anew(*arguments):
        write(tmp_path, linear(made.PLAIN, 0x40), FUNCTION)
        answer = swept(*arguments)
        write(tmp_path, linear(made.PLAIN, 0x40), 0)
        return answer

    monkeypatch.setattr(sweep, 'sweep', swept_anew)
    monkeypatch.setattr(vmalloc, 'areas', lambda *given: [*areas(*given), *[new] * (came and os.getpid() != parent)])
    kernel.memory.u64(made.AREA + 0xe00, made.PAGES + made.PLAIN * kernel.types.size('page'))
    assert places(kernel.find(tmp_path)) == found


def test_of_several_modules_those_are_read_for_again_that_nothing_points_into(kernel, tmp_path, monkeypatch):
    patterns, swept = [], sweep.sweep
    monkeypatch.setattr(sweep, 'sweep', lambda *arguments: patterns.append(arguments[2]) or swept(*arguments))
    kernel.memory.u64(linear(SLAB, 5 * OBJECT + 0x18), OTHER + 8)
    found = kernel.find_all(tmp_path, ['stuck', 'other'])
    assert [found[name]['answer'] for name in ('stuck', 'other')] == ['unreachable', 'reachable']
    assert [pattern.holds(OTHER) for pattern in patterns] == [True, False, False]
