# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/proc/kcore: what a core file made here holds, and files that are none."""

import contextlib
import errno
import os
import struct
from pathlib import Path

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import Kcore, KernelMemory
from hypothesis import given
from hypothesis import strategies as st
from kernel_memory import PAGE, Memory, elf_header, make_root, program_header

BASE = 0xFFFFFFFFC0500000


@pytest.fixture
def root(tmp_path):
    memory = Memory()
    memory.write(BASE, struct.pack('<QIi', 0xFF42F410006DD128, 0xFFFFFFFE, -2) + b'init_oops\0rest')
    memory.write(BASE + PAGE - 4, b'end ' + b'next')
    memory.write(0xFFFF888000001000, b'direct map')
    return make_root(tmp_path, memory=memory)


def test_every_kind_of_read(root):
    with Kcore.open(root) as kcore:
        assert kcore.u64(BASE) == 0xFF42F410006DD128
        assert kcore.u32(BASE + 8) == 0xFFFFFFFE
        assert kcore.u32(BASE + 12) == 0xfffffffe
        assert kcore.string(BASE + 16, 56) == 'init_oops'
        assert kcore.read(BASE + PAGE - 4, 8) == b'end next'
        assert kcore.read(0xFFFF888000001000, 10) == b'direct map'
        assert kcore.read(BASE, 0) == b''


def test_a_child_reads_through_an_open_file_of_its_own(root):
    def opened():
        links = (os.readlink(link) for link in Path('/proc/self/fd').iterdir() if link.is_symlink())
        return sum(link == f'{root}/proc/kcore' for link in links)

    with Kcore.open(root) as kcore:
        read_end, write_end = os.pipe()
        child = os.fork()
        if not child:
            os.write(write_end, b'%d %d %d' % (kcore.u64(BASE) == 0xFF42F410006DD128, kcore.u64(BASE) != 0, opened()))
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read_end, 100) == b'1 1 2'
        assert kcore.u64(BASE) == 0xFF42F410006DD128
        assert opened() == 1
    os.close(read_end)
    os.close(write_end)


def test_what_is_forgotten_is_overwritten_by_a_whole_page(root, monkeypatch):
    reads = []
    with Kcore.open(root) as kcore:
        kcore.blank = BASE + 17
        monkeypatch.setattr(kcore, 'read', lambda *read: reads.append(read))
        kcore.forget()
    assert reads == [(BASE, PAGE)]
    with Kcore.open(root) as kcore:
        kcore.forget()  # where nothing is, nothing is read


def test_the_page_that_it_reads_through_shows_what_was_read_last(root, monkeypatch):
    with Kcore.open(root) as kcore:
        kcore.blank = BASE + 17
        assert not kcore.is_buffer(BASE + PAGE + 8)
        monkeypatch.setattr(kcore, 'read', lambda _address, length, read=kcore.read: read(BASE, length))
        assert kcore.is_buffer(BASE + PAGE + 8)
        kcore.blank = 0
        monkeypatch.undo()
        assert not kcore.is_buffer(BASE + PAGE + 8)  # where nothing is, nothing is known


@pytest.mark.parametrize(('address', 'length', 'why'), [
    (BASE - 1, 1, 'no segment'), (BASE + 2 * PAGE, 1, 'no segment'), (0, 8, 'no segment'), (1 << 70, 8, 'no segment'),
    (-8, 8, 'no segment'), (BASE + 2 * PAGE - 4, 8, 'does not fit into one segment'), (BASE, -1, 'does not fit'),
    (0xFFFF888000001000, 1 << 40, 'does not fit into one segment'),
])
def test_reads_beyond_a_segment(root, address, length, why):
    with Kcore.open(root) as kcore, pytest.raises(KmodError, match=why):
        kcore.read(address, length)


def test_a_segment_that_the_file_does_not_hold(tmp_path):
    (tmp_path / 'proc').mkdir()
    (tmp_path / 'proc/kcore').write_bytes(elf_header(1) + program_header(1, 1 << 62, BASE, 1 << 20))
    with Kcore.open(str(tmp_path)) as kcore, pytest.raises(KmodError, match='kcore'):
        kcore.u64(BASE)


@pytest.mark.parametrize(('data', 'why'), [
    (b'', 'not a little-endian'), (b'\x7fELF\x02\x01', 'not a little-endian'), (bytes(64), 'not a little-endian'),
    (elf_header(1, ident=b'\x7fELF\x01\x01'), 'not a little-endian'),
    (elf_header(1, ident=b'\x7fELF\x02\x02'), 'not a little-endian'),
    (elf_header(1, entry=32), '32 bytes long'), (elf_header(3), 'cut off'), (elf_header(0), 'no segment'),
    (elf_header(1, table=1 << 63), 'use '), (elf_header(1) + program_header(1, 0, (1 << 64) - 8, 9), 'no segment'),
    (elf_header(2) + program_header(4, 0, 0, 0) * 2, 'no segment'),
])
def test_what_is_no_core_file(tmp_path, data, why):
    (tmp_path / 'proc').mkdir()
    (tmp_path / 'proc/kcore').write_bytes(data)
    descriptors = len(list(Path('/proc/self/fd').iterdir()))
    with pytest.raises(KmodError, match=why):
        Kcore.open(str(tmp_path))
    assert len(list(Path('/proc/self/fd').iterdir())) == descriptors, 'the file stayed open'


@given(st.binary(max_size=300), st.booleans(), st.integers(-1, 1 << 64), st.integers(-1, 1 << 64))
def test_any_file_gives_bytes_or_a_kmod_error(tmp_path_factory, data, headed, address, length):
    path = tmp_path_factory.getbasetemp() / 'any/proc/kcore'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((elf_header(min(len(data) // 56, 4)) if headed else b'') + data)
    with contextlib.suppress(KmodError), Kcore.open(str(path.parents[1])) as kcore:
        assert len(kcore.read(address, length)) == length


@pytest.mark.parametrize(('lockdown', 'why'), [
    ('none integrity [confidentiality]\n', 'lockdown=confidentiality'),
    ('[none] integrity confidentiality\n', 'CAP_SYS_RAWIO is missing, lockdown=none'),
    (None, 'CAP_SYS_RAWIO is missing'), ('', 'CAP_SYS_RAWIO is missing'),
])
def test_a_refusal_says_why(tmp_path, monkeypatch, lockdown, why):
    if lockdown is not None:
        (tmp_path / 'sys/kernel/security').mkdir(parents=True)
        (tmp_path / 'sys/kernel/security/lockdown').write_text(lockdown)

    def refuse(path, *_rest):
        raise PermissionError(errno.EPERM, 'Operation not permitted', path)

    monkeypatch.setattr(os, 'open', refuse)
    monkeypatch.setattr(os, 'geteuid', lambda: 0)
    with pytest.raises(KmodError, match=r'Operation not permitted: ' + why):
        Kcore.open(str(tmp_path))
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    with pytest.raises(KmodError, match=r'not root|lockdown=confidentiality'):
        Kcore.open(str(tmp_path))


def test_no_kcore(tmp_path):
    with pytest.raises(KmodError, match='No such file or directory: the kernel needs CONFIG_PROC_KCORE'):
        Kcore.open(str(tmp_path))


def test_readers_share_one_open_file(root):
    with KernelMemory(root) as memory:
        assert memory.kcore is memory.kcore
        assert memory.kcore.u32(BASE + 12) == 0xfffffffe
        opened = memory.kcore
    with pytest.raises(KmodError):
        opened.u64(BASE)


def test_readers_share_one_failure(tmp_path):
    memory = KernelMemory(str(tmp_path))
    errors = []
    for dummy in range(2):
        with pytest.raises(KmodError) as raised:
            memory.kcore  # noqa: B018
        errors.append(raised.value)
    assert errors[0] is errors[1]
    memory.close()
