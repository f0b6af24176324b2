# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module file as it lies on the disk: opened safely, and unpacked where it is compressed."""

# pylint: disable=ansible-bad-function  # it asks for Ansible's run_command; nothing here imports Ansible

import os
import select
import stat
import subprocess
import time
import zlib
from typing import Any, BinaryIO, Callable, Optional, Type

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import relocatable

# Unpacked; more than any module has, so that a hostile file costs no more than a large one.
LIMIT = 256 << 20
# Bytes; to read such a file whole costs less than to read a dozen ranges of it.
SMALL = 1 << 16
DEADLINE = 30
INSTALL_ZSTD = 'Install zstd, or python3-zstandard'


def load(path: str) -> bytes:
    """The ELF image in a .ko, .ko.gz, .ko.xz or .ko.zst file. Raises KmodError where it cannot be read."""
    with Opened(path) as opened:
        return opened.image()


def unreadable(path: str, error: Exception) -> KmodError:
    """The error of a file that an OSError or ValueError kept from being read."""
    return KmodError(f'read the module file {path}', getattr(error, 'strerror', None) or str(error))


def _source(descriptor: int) -> relocatable.Source:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError('it is no regular file')
    if status.st_size <= SMALL:
        return relocatable.Bytes(os.read(descriptor, SMALL + 1))
    return relocatable.OpenFile(descriptor, status.st_size)


def _limited(size: int) -> None:
    if size > LIMIT:
        raise ValueError('it has more than %d MB, more than any module' % (LIMIT >> 20))


class Opened:
    """A module file that is open: ``source`` of its bytes, and ``unpack``, None where it is not compressed.

    Every failure is a KmodError.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            # A pipe of that name would hold up whoever opens it.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error
        try:
            self.source = _source(self._descriptor)
            self.unpack = _unpacker(self.source.at(0, 6))
        except OSError as error:
            os.close(self._descriptor)
            raise unreadable(path, error) from error

    def __enter__(self) -> 'Opened':
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._descriptor)

    def elf(self) -> relocatable.Source:
        """What Relocatable reads from: of a file that is not compressed, only the ranges that are asked for."""
        return self.source if self.unpack is None else relocatable.Bytes(self.image())

    def image(self) -> bytes:
        """All of it, unpacked."""
        try:
            _limited(self.source.size)
            with open(self._descriptor, 'rb', closefd=False) as stream:
                stream.seek(0)
                data = stream.read(LIMIT + 1) if self.unpack is None else self.unpack(stream)
            _limited(len(data))
        except (OSError, ValueError, EOFError, MemoryError) as error:
            raise unreadable(self._path, error) from error
        return data


def _unpacker(magic: bytes) -> Optional[Callable[[BinaryIO], bytes]]:
    """By the first bytes and not by the name, as kmod does. Each raises OSError, ValueError or EOFError."""
    if magic[:2] == b'\x1f\x8b':
        return _gunzip
    if magic == b'\xfd7zXZ\0':
        return _unxz
    return _unzstd if magic[:4] == b'\x28\xb5\x2f\xfd' else None


def _gunzip(stream: BinaryIO) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(stream.read(), LIMIT + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return _whole(data, unpacker.eof)


def _unxz(stream: BinaryIO) -> bytes:
    try:
        import lzma  # noqa: PLC0415  (not every host has it)
    except ImportError as error:
        raise ValueError('it is compressed with xz, and this Python has no module lzma') from error
    # A header may ask for a dictionary of 4 GB.
    unpacker = lzma.LZMADecompressor(memlimit=LIMIT)
    try:
        data = unpacker.decompress(stream.read(), LIMIT + 1)
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error
    return _whole(data, unpacker.eof)


def _whole(data: bytes, ended: bool) -> bytes:
    if not ended and len(data) <= LIMIT:
        raise EOFError('it is cut short')
    return data


def _unzstd(stream: BinaryIO) -> bytes:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  (Python 3.14)
    except ImportError:
        zstd = None
    if zstd is not None:
        unpacker = zstd.ZstdDecompressor()
        try:
            data = unpacker.decompress(stream.read(), LIMIT + 1)
        except zstd.ZstdError as error:
            raise ValueError(str(error)) from error
        return _whole(data, unpacker.eof)
    try:
        import zstandard  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  (not every host has it)
    except ImportError:
        return _unzstd_command(stream)
    return _unzstandard(stream, zstandard.ZstdDecompressor(max_window_size=LIMIT).decompressobj(), zstandard.ZstdError)


def _unzstandard(stream: BinaryIO, unpacker: Any, damage: Type[Exception]) -> bytes:
    chunks, length = [], 0
    try:
        # It takes no limit. A thousand bytes may become 32 MB.
        for piece in iter(lambda: stream.read(1024), b''):
            chunks.append(unpacker.decompress(piece))
            length += len(chunks[-1])
            if length > LIMIT or getattr(unpacker, 'eof', False):
                break
    except damage as error:
        raise ValueError(str(error)) from error
    return _whole(b''.join(chunks), getattr(unpacker, 'eof', True))


def _unzstd_command(stream: BinaryIO) -> bytes:
    environment = {'LC_ALL': 'C', 'PATH': os.environ.get('PATH', '') + ':/usr/local/bin:/usr/bin:/bin'}
    try:
        process = subprocess.Popen(['zstd', '-dcq'], stdin=stream, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, env=environment)
    except FileNotFoundError as error:
        raise ValueError('it is compressed with zstd, which this host cannot unpack. ' + INSTALL_ZSTD) from error
    chunks, length, until = [], 0, time.monotonic() + DEADLINE
    try:
        output = process.stdout.fileno() if process.stdout else -1
        while length <= LIMIT:
            if not select.select([output], [], [], max(0, until - time.monotonic()))[0]:
                raise ValueError('zstd did not unpack it within %d seconds' % DEADLINE)
            chunk = os.read(output, 1 << 20)
            if not chunk:
                break
            chunks.append(chunk)
            length += len(chunk)
        else:
            return b''.join(chunks)
        if process.wait(timeout=DEADLINE):
            raise ValueError('zstd cannot unpack it')
    finally:
        process.kill()
        process.communicate()
    return b''.join(chunks)
