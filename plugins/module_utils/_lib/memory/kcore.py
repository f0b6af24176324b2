# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel memory, read through /proc/kcore (fs/proc/kcore.c): an ELF64 core file whose segments are kernel addresses.

Works under lockdown=integrity; lockdown=confidentiality refuses the open.
"""

import contextlib
import errno
import os
import struct
from typing import Callable, Dict, List, NamedTuple, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.btf import Btf, running

PT_LOAD = 1
# p_paddr of a segment that is mapped page by page
UNKNOWN = (1 << 64) - 1
PROGRAM_HEADER = struct.Struct('<IIQQQQQQ')
LARGEST_READ = 16 << 20
# What read_kcore() copies through the buffer of the open file at once: a page.
BUFFER = os.sysconf('SC_PAGE_SIZE')
MOST_CPUS = 1 << 13


class Segment(NamedTuple):
    """Kernel addresses from start to before end, where the file holds them, their physical address (-1: various)."""

    start: int
    end: int
    offset: int
    physical: int = -1


class Kcore:
    """An open /proc/kcore. Addresses are kernel virtual addresses; every failure is a KmodError."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._process = os.getpid()
        self._path = path
        self.blank = 0  # an address where nothing stands that anybody looks for
        self._last: Optional[Segment] = None
        self._segments = self._read_segments()

    @classmethod
    def open(cls, root: str = '/') -> 'Kcore':
        """Opens ROOT/proc/kcore; use it in a ``with`` statement."""
        path = os.path.join(root, 'proc/kcore')
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_CLOEXEC', 0))
        except OSError as error:
            raise _refusal(path, error, root) from error
        try:
            return cls(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self) -> 'Kcore':
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, address: int, length: int) -> bytes:
        """Exactly ``length`` bytes at ``address``, which must lie within one segment."""
        tried = 'read %d bytes of kernel memory at %#x' % (length, address)
        segment = self._last
        if segment is None or not segment.start <= address < segment.end:
            segment = self._last = self._segment_of(address, tried)
        if not 0 <= length <= min(segment.end - address, LARGEST_READ):
            raise KmodError(tried, f'it does not fit into one segment of {self._path}')
        try:
            if self._process != os.getpid():
                self._open_own()
            data = os.pread(self._descriptor, length, segment.offset + address - segment.start)
        except (OSError, OverflowError) as error:
            raise KmodError(tried, '{}: {}'.format(self._path, getattr(error, 'strerror', None) or error)) from error
        if len(data) != length:
            raise KmodError(tried, '%s gave %d bytes' % (self._path, len(data)))
        return data

    def _open_own(self) -> None:
        """For a child: what passes through an open /proc/kcore passes through one page, and two readers mix there."""
        self._descriptor = os.open(self._path, os.O_RDONLY | getattr(os, 'O_CLOEXEC', 0))
        self._process = os.getpid()

    def forget(self) -> None:
        """Leaves in the page that this file is read through what stands at ``blank``, and nothing read before."""
        with contextlib.suppress(KmodError):
            self.read(self.blank & -BUFFER, BUFFER)

    def is_buffer(self, address: int) -> bool:
        """Whether it lies in that very page, in which nothing is left by the question."""
        with contextlib.suppress(KmodError):
            blank, found = (self.read(place & -BUFFER, BUFFER) for place in (self.blank, address))
            self.forget()
            return found == blank
        return False

    def u64(self, address: int) -> int:
        """The unsigned 64-bit number at address: a pointer, mostly."""
        return int.from_bytes(self.read(address, 8), 'little')

    def u32(self, address: int) -> int:
        """The unsigned 32-bit number at address."""
        return int.from_bytes(self.read(address, 4), 'little')

    def string(self, address: int, limit: int) -> str:
        """The text up to NUL at address, in an array of ``limit`` bytes."""
        return self.read(address, limit).split(b'\0', 1)[0].decode('utf-8', 'backslashreplace')

    def text(self, address: int) -> str:
        """The text up to NUL at address, of 64 bytes at most; there may be nothing behind its page."""
        for length in (64, 4096 - address % 4096):
            with contextlib.suppress(KmodError):
                return self.string(address, length)
        return '?'

    @property
    def segments(self) -> List[Segment]:
        """What the file holds, in its order."""
        return list(self._segments)

    def _segment_of(self, address: int, tried: str) -> Segment:
        for segment in self._segments:
            if segment.start <= address < segment.end:
                return segment
        raise KmodError(tried, f'no segment of {self._path} holds this address')

    def _read_segments(self) -> List[Segment]:
        tried = f'use {self._path}'
        try:
            header = os.pread(self._descriptor, 64, 0)
            if len(header) < 64 or header[:6] != b'\x7fELF\x02\x01':
                raise KmodError(tried, 'it is not a little-endian ELF64 file')
            table, entry, count = struct.unpack_from('<Q', header, 32) + struct.unpack_from('<HH', header, 54)
            if entry != PROGRAM_HEADER.size:
                raise KmodError(tried, 'its program headers are %d bytes long, not %d' % (entry, PROGRAM_HEADER.size))
            data = os.pread(self._descriptor, entry * count, table)
        except (OSError, OverflowError) as error:
            raise KmodError(tried, getattr(error, 'strerror', None) or str(error)) from error
        if len(data) != entry * count:
            raise KmodError(tried, 'its program headers are cut off')
        segments = []
        for kind, _flags, offset, start, physical, _in_file, size, _align in PROGRAM_HEADER.iter_unpack(data):
            if kind == PT_LOAD and size and start + size <= 1 << 64:
                segments.append(Segment(start, start + size, offset, -1 if physical == UNKNOWN else physical))
        if not segments:
            raise KmodError(tried, 'it has no segment of kernel memory')
        return segments


class KernelMemory:
    """What readers of live kernel structures share: types and memory, each opened once and only when asked for.

    ``btf`` and ``kcore`` raise KmodError when there are none, the same error each time.
    """

    def __init__(self, root: str = '/') -> None:
        self.root = root
        self._kcore: Optional[Kcore] = None
        self._kcore_error: Optional[KmodError] = None
        self._layouts: Dict[str, Dict[str, int]] = {}

    def __enter__(self) -> 'KernelMemory':
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def btf(self) -> Btf:
        """The running kernel's types."""
        return running(self.root)

    @property
    def kcore(self) -> Kcore:
        """The running kernel's memory."""
        if self._kcore_error is not None:
            raise self._kcore_error
        if self._kcore is None:
            try:
                self._kcore = Kcore.open(self.root)
            except KmodError as error:
                self._kcore_error = error
                raise
        return self._kcore

    def possible_cpus(self) -> List[int]:
        """The processors that have data of their own in it, in /sys/devices/system/cpu/possible: ``0-3,8``."""
        path = os.path.join(self.root, 'sys/devices/system/cpu/possible')
        try:
            with open(path) as stream:
                ranges = [part.partition('-') for part in stream.read().strip().split(',')]
            cpus = [cpu for first, _dash, last in ranges
                    for cpu in range(int(first), min(int(last or first), MOST_CPUS) + 1)]
        except (OSError, ValueError) as error:
            raise KmodError('find the processors', f'{path}: {error}') from error
        return cpus[:MOST_CPUS]

    def cpu_offsets(self, table: int) -> List[int]:
        """What is added to an address of data of each processor, by the kernel's __per_cpu_offset at ``table``."""
        return [self.kcore.u64(table + 8 * cpu) for cpu in self.possible_cpus()]

    def once(self, what: str, find: Callable[[Btf], Dict[str, int]]) -> Dict[str, int]:
        """What ``find`` finds in the types, kept for the next to ask. Raises what it raises."""
        if what not in self._layouts:
            self._layouts[what] = find(self.btf)
        return self._layouts[what]

    def close(self) -> None:
        """Closes what was opened."""
        if self._kcore is not None:
            self._kcore.close()
            self._kcore = None


def _refusal(path: str, error: OSError, root: str) -> KmodError:
    why = error.strerror or str(error)
    if error.errno in (errno.EPERM, errno.EACCES):
        lockdown = _lockdown(root)
        if lockdown == 'confidentiality':
            why += ': lockdown=confidentiality'
        elif os.geteuid() != 0:
            why += ': not root'
        else:
            why += ': CAP_SYS_RAWIO is missing' + (f', lockdown={lockdown}' if lockdown else '')
    elif error.errno == errno.ENOENT:
        why += ': the kernel needs CONFIG_PROC_KCORE'
    return KmodError(f'read kernel memory from {path}', why)


def _lockdown(root: str) -> Optional[str]:
    try:
        with open(os.path.join(root, 'sys/kernel/security/lockdown'), 'rb') as stream:
            text = stream.read(4096).decode('ascii', 'replace')
    except OSError:
        return None
    return text.split('[', 1)[1].split(']', 1)[0] if '[' in text else None
