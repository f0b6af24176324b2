# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints, as a tar archive, what a guest shows of its kernel: /proc, /sys, the kernel log, and kernel memory.

Run in the guest, as root, from standard input. Files are saved by what they hold, since most claim to be empty.
kmsg/N is the Nth record of the log, kcore/OFFSET what /proc/kcore holds there; what is missing of it is zeros.
"""

import io
import os
import re
import stat
import struct
import sys
import tarfile
from typing import Iterator, List, Tuple

PAGE = 4096
PIECE = 1 << 20
ZEROS = bytes(PIECE)
# What is all zeros is left out by pieces of this size.
GRAIN = 1 << 14
AT_ONCE = 1 << 16
MOST_BYTES = 1 << 26
# Segments that are mapped page by page; of the large ones, of vmalloc and modules, /proc/vmallocinfo lists the parts.
# What is read of the rest of them is, up to 6.2, what was read before.
UNKNOWN = (1 << 64) - 1
LARGE = 1 << 28
RESTRICT = '/proc/sys/kernel/kptr_restrict'
# What blocks, changes something by being read, is as large as memory, or is as long as it is of no use.
LEFT_OUT = re.compile(
    r'/proc/(kcore|kmsg|kpagecount|kpagecgroup|sysrq-trigger|acpi|bus|irq|pressure|thread-self)$|'
    r'/proc/([0-9]+|[0-9]+/task/[0-9]+)/(mem|pagemap|clear_refs|smaps|smaps_rollup|numa_maps|map_files|attr|timers)$|'
    r'/proc/[0-9]+/task/[0-9]+/(net|maps|environ|mounts|mountstats)$|'
    r'/sys/(firmware|fs|power)$|/sys/kernel/(debug|tracing|slab|mm)$|'
    r'/sys/devices/.*/(config|rom|vpd|resource[0-9]*(_wc)?|power|statistics)$')
ALL_NETWORKS = re.compile(r'/proc/([0-9]+)/net$')


def contents(path: str) -> bytes:
    """All that a file holds; an OSError where it cannot be read now."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        data = bytearray()
        while len(data) < MOST_BYTES:
            piece = os.read(descriptor, AT_ONCE)
            if not piece:
                break
            data += piece
        return bytes(data)
    finally:
        os.close(descriptor)


def add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o444) -> None:
    """One file."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def add_tree(archive: tarfile.TarFile, path: str) -> None:
    """A directory and all below it; what cannot be read is left out, as is what has ended meanwhile."""
    if LEFT_OUT.search(path):
        return
    try:
        mode = os.lstat(path).st_mode
        entry = tarfile.TarInfo(path.lstrip('/'))
        network = ALL_NETWORKS.match(path)
        shared = network and network.group(1) != '1' and \
            os.readlink(path[:-3] + 'ns/net') == os.readlink('/proc/1/ns/net')
        if stat.S_ISLNK(mode) or shared:
            entry.type = tarfile.SYMTYPE
            entry.linkname = '/proc/1/net' if shared else os.readlink(path)
            archive.addfile(entry)
        elif stat.S_ISDIR(mode):
            names = sorted(os.listdir(path))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
            for name in names:
                add_tree(archive, f'{path}/{name}')
        elif stat.S_ISREG(mode) and mode & 0o444:
            add(archive, path.lstrip('/'), contents(path))
    except OSError:
        return


def log_records() -> Iterator[bytes]:
    """The records of the kernel log, each as one read gives it."""
    descriptor = os.open('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            yield os.read(descriptor, 16384)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)


def mapped() -> List[Tuple[int, int]]:
    """The parts of the address space that vmalloc gave out and that are memory."""
    ranges = []
    with open(RESTRICT, 'w', encoding='ascii') as stream:
        stream.write('1')  # at 0 they are hashed, for root too; the guest ends soon
    with open('/proc/vmallocinfo', encoding='ascii', errors='replace') as stream:
        for line in stream:
            first, _dash, end = line.split(None, 1)[0].partition('-')
            if ' ioremap' not in line:
                ranges.append((int(first, 16), int(end, 16)))
    return ranges


def pieces(descriptor: int, start: int, end: int) -> Iterator[Tuple[int, bytes]]:
    """A part of a file, piece by piece; of one that cannot be read all that can, page by page."""
    size = PIECE
    while start < end:
        try:
            data = os.pread(descriptor, min(size, end - start), start)
        except OSError:
            data = b''
        if data:
            yield start, data
        elif size > PAGE:
            size = PAGE
            continue
        start += len(data) or PAGE
        size = size if start % PIECE else PIECE


def filled(descriptor: int, offset: int, length: int) -> Iterator[Tuple[int, bytes]]:
    """What is not zero of a part of /proc/kcore: where in the file, and what."""
    for start, data in pieces(descriptor, offset, offset + length):
        if data == ZEROS:
            continue
        run = None
        for at in range(0, len(data) + GRAIN, GRAIN):
            if data[at:at + GRAIN].strip(b'\0'):
                run = at if run is None else run
            elif run is not None:
                yield start + run, data[run:at]
                run = None


def memory(descriptor: int) -> Iterator[Tuple[int, bytes]]:
    """All of /proc/kcore that is not zero, its headers first."""
    header = os.pread(descriptor, 64, 0)
    (table,), (size, count) = struct.unpack_from('<Q', header, 32), struct.unpack_from('<HH', header, 54)
    headers = os.pread(descriptor, table + size * count, 0)
    yield 0, headers
    for number in range(count):
        kind, _flags, offset, start, physical, length = struct.unpack_from('<IIQQQQ', headers, table + size * number)
        parts = mapped() if physical == UNKNOWN and length > LARGE else [(start, start + length)]
        for first, end in parts if kind == 1 else []:
            if start <= first < end <= start + length:
                yield from filled(descriptor, offset + first - start, end - first)


def main() -> None:
    """All of it, memory last. /proc/self leads to this process, a descendant of sshd's, as what Ansible runs is."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.GNU_FORMAT) as archive:
        for path in ('/proc', '/sys'):
            add_tree(archive, path)
        for number, record in enumerate(log_records()):
            add(archive, f'kmsg/{number:06}', record)
        descriptor = os.open('/proc/kcore', os.O_RDONLY)
        for offset, data in memory(descriptor):
            add(archive, f'kcore/{offset:x}', data)


if __name__ == '__main__':
    main()
