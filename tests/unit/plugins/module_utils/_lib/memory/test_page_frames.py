# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which page frames the kernel uses for itself, by what /proc/kpageflags tells of each."""

import struct
from types import SimpleNamespace

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import page_frames
from hypothesis import example, given
from hypothesis import strategies as st

LRU, SLAB, BUDDY, ANON, PGTABLE, RESERVED = 1 << 5, 1 << 7, 1 << 10, 1 << 12, 1 << 26, 1 << 32
PAGE, FIRST = 4096, 16
FLAGS = st.one_of(st.sampled_from([0, LRU, SLAB, BUDDY, ANON, PGTABLE, RESERVED]), st.integers(0, (1 << 64) - 1))


def memory(root, flags):
    """Physical memory from frame FIRST on, of which ``flags`` tell."""
    (root / 'proc').mkdir(exist_ok=True)
    (root / 'proc/kpageflags').write_bytes(struct.pack('<%dQ' % (FIRST + len(flags)), *[0] * FIRST, *flags))
    segment = SimpleNamespace(start=(1 << 47) + FIRST * PAGE, end=(1 << 47) + (FIRST + len(flags)) * PAGE,
                              physical=FIRST * PAGE)
    kernel = SimpleNamespace(root=str(root), kcore=SimpleNamespace(segments=[segment]),
                             btf=SimpleNamespace(size=lambda _name: 64))
    return page_frames.PhysicalMemory(kernel, PAGE)


@given(flags=st.lists(FLAGS, min_size=1, max_size=40), at_once=st.integers(1, 12))
@example(flags=[0] * 9, at_once=3)
@example(flags=[LRU, 0, 0, SLAB | ANON, LRU], at_once=2)
def test_a_run_is_of_slabs_and_of_pages_of_no_other_known_use(tmp_path_factory, flags, at_once):
    """However much is read at once, runs are as long as they can be: a word may lie across what was read apart."""
    root = tmp_path_factory.mktemp('root')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_frames, 'FLAGS_AT_ONCE', at_once)
        runs = list(memory(root, flags).kernels())
    told = {frame for run in runs for frame in range(run.first, run.end)}
    assert told == {FIRST + number for number, word in enumerate(flags)
                    if word & SLAB or not word & page_frames.NOT_THE_KERNELS}
    assert all(run.end < following.first for run, following in zip(runs, runs[1:]))
