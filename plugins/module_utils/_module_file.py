# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module file: what it is called, which kernel and compiler it is of, the ``struct module`` it was built with.

Two readers of ELF: _elf.py reads what the kernels of this family load, at the cost of a few preads a file; pyelftools
(_foreign_elf.py) describes what that declines, and is its oracle in the tests.
"""

# pylint: disable=ansible-bad-function  # it asks for Ansible's run_command; nothing here imports Ansible

import os
import stat
import struct
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils import _elf
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError

THIS_MODULE = '.gnu.linkonce.this_module'
BUILD_ID_NOTE = '.note.gnu.build-id'
SIGNATURE = b'~Module signature appended~\n'
# Unpacked; more than any module has, so that a hostile file costs no more than a large one.
LIMIT = 256 << 20
LARGEST_TEXT = 1 << 20
# Bytes; to read such a file whole costs less than to read a dozen ranges of it.
SMALL = 1 << 16
MOST_COMPILERS = 32
DEADLINE = 30
INSTALL_ZSTD = 'Install zstd, or python3-zstandard'
# struct modversion_info (include/linux/module.h): the CRC, then the name, 64 bytes together
VERSION_ENTRY = 64
_parsed = {}  # type: Dict[bytes, Dict[str, Any]]


def load(path):
    # type: (str) -> bytes
    """The ELF image in a .ko, .ko.gz, .ko.xz or .ko.zst file. Raises KmodError where it cannot be read."""
    with _Opened(path) as opened:
        return opened.image()


def read(path, origin=None):
    # type: (str, Optional[str]) -> Dict[str, Any]
    """:func:`describe` of a file; of one that is not compressed, only what it takes is read."""
    origin = origin or path
    with _Opened(path) as opened:
        try:
            return _describe(opened.source if opened.unpack is None else _elf.Bytes(opened.image()), origin)
        except OSError as error:
            raise _unreadable(path, error) from error


def describe(image, origin):
    # type: (bytes, str) -> Dict[str, Any]
    """What a module image says of itself. Raises KmodError for what is no module.

    ``name``, ``vermagic``, ``release`` (its first word), ``machine`` (as ``uname -m``), ``format`` (class and byte
    order), ``signed``, ``depends`` (names), ``build_id`` (None without one), ``crc`` (of module_layout, None for a file
    without versions), ``compilers`` (what its objects name: _compiler_text.parse_comment) and ``layout``.

    ``layout`` has ``size`` of struct module and the byte offsets ``init`` and ``exit`` in it, None for a function that
    the module does not have: the compiler left them as relocations against init_module and cleanup_module
    (scripts/mod/modpost.c, add_header).
    """
    return _describe(_elf.Bytes(image), origin)


def note(image, section, origin):
    # type: (bytes, str, str) -> bytes
    """The bytes of a note section, empty without one. Raises KmodError for what is no ELF file."""
    return _elf.Relocatable(image, origin).content(section)


def _unreadable(path, error):
    # type: (str, Any) -> KmodError
    return KmodError(f'read the module file {path}', getattr(error, 'strerror', None) or str(error))


def _source(descriptor):
    # type: (int) -> Any
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError('it is no regular file')
    if status.st_size <= SMALL:
        return _elf.Bytes(os.read(descriptor, SMALL + 1))
    return _elf.OpenFile(descriptor, status.st_size)


def _limited(size):
    # type: (int) -> None
    if size > LIMIT:
        raise ValueError('it has more than %d MB, more than any module' % (LIMIT >> 20))


class _Opened:
    """A module file that is open: ``source`` of its bytes, and ``unpack``, None where it is not compressed."""

    def __init__(self, path):
        # type: (str) -> None
        self._path = path
        try:
            # A pipe of that name would hold up whoever opens it.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        try:
            self.source = _source(self._descriptor)  # type: Any
            self.unpack = _unpacker(self.source.at(0, 6))
        except OSError as error:
            os.close(self._descriptor)
            raise _unreadable(path, error) from error

    def __enter__(self):
        # type: () -> _Opened
        return self

    def __exit__(self, *_exception):
        # type: (*Any) -> None
        os.close(self._descriptor)

    def image(self):
        # type: () -> bytes
        """All of it, unpacked."""
        try:
            _limited(self.source.size)
            with open(self._descriptor, 'rb', closefd=False) as stream:
                stream.seek(0)
                data = stream.read(LIMIT + 1) if self.unpack is None else self.unpack(stream)
            _limited(len(data))
        except (OSError, ValueError, EOFError, MemoryError) as error:
            raise _unreadable(self._path, error) from error
        return data


def _unpacker(magic):
    # type: (bytes) -> Optional[Callable[[Any], bytes]]
    """By the first bytes and not by the name, as kmod does. Each raises OSError, ValueError or EOFError."""
    if magic[:2] == b'\x1f\x8b':
        return _gunzip
    if magic == b'\xfd7zXZ\0':
        return _unxz
    return _unzstd if magic[:4] == b'\x28\xb5\x2f\xfd' else None


def _gunzip(stream):
    # type: (Any) -> bytes
    import zlib

    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(stream.read(), LIMIT + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return _whole(data, unpacker.eof)


def _unxz(stream):
    # type: (Any) -> bytes
    try:
        import lzma
    except ImportError as error:
        raise ValueError('it is compressed with xz, and this Python has no module lzma') from error
    # A header may ask for a dictionary of 4 GB.
    unpacker = lzma.LZMADecompressor(memlimit=LIMIT)
    try:
        data = unpacker.decompress(stream.read(), LIMIT + 1)
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error
    return _whole(data, unpacker.eof)


def _whole(data, ended):
    # type: (bytes, bool) -> bytes
    if not ended and len(data) <= LIMIT:
        raise EOFError('it is cut short')
    return data


def _unzstd(stream):
    # type: (Any) -> bytes
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
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
        import zstandard  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return _unzstd_command(stream)
    return _unzstandard(stream, zstandard.ZstdDecompressor(max_window_size=LIMIT).decompressobj(), zstandard.ZstdError)


def _unzstandard(stream, unpacker, damage):
    # type: (Any, Any, Any) -> bytes
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


def _unzstd_command(stream):
    # type: (Any) -> bytes
    import select
    import subprocess
    import time

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


def _describe(source, origin):
    # type: (Any, str) -> Dict[str, Any]
    head = source.at(0, 64)
    form = _elf.file_format(head)
    signed = source.at(max(0, source.size - len(SIGNATURE)), len(SIGNATURE)) == SIGNATURE
    if form in (None, _elf.OWN_FORMAT):
        return facts_of(_elf.Relocatable(source, origin), origin, signed)
    from ansible_collections.kernelops.kmod.plugins.module_utils import _foreign_elf

    return _foreign_elf.describe(source, origin, form, signed, facts_of)


def facts_of(module, origin, signed):
    # type: (Any, str, bool) -> Dict[str, Any]
    """The facts of :func:`describe`, by either reader of ELF."""
    size = module.size_of(THIS_MODULE)
    if size is None:
        raise KmodError(f'read the module file {origin}', f'it has no section {THIS_MODULE}')
    info = b'\0' + module.content('.modinfo', LARGEST_TEXT)
    vermagic = _value(info, b'\0vermagic=')
    offsets = {symbol: offset for offset, symbol in module.relocations(THIS_MODULE)}
    return {
        'name': _value(info, b'\0name='),
        'vermagic': vermagic,
        'release': vermagic.split(' ')[0],
        'machine': module.machine,
        'format': module.form,
        'signed': signed,
        'depends': [name for name in _value(info, b'\0depends=').split(',') if name],
        'build_id': _elf.build_id(module.content(BUILD_ID_NOTE, LARGEST_TEXT), module.order),
        'crc': _crc(module),
        'compilers': _compilers(module),
        'layout': {
            'size': size,
            'init': offsets.get('init_module'),
            'exit': offsets.get('cleanup_module'),
            'source': origin,
        },
    }


def _value(info, key):
    # type: (bytes, bytes) -> str
    """The first value of a key in .modinfo, as the kernel takes it."""
    at = info.find(key)
    if at == -1:
        return ''
    start = at + len(key)
    end = info.find(b'\0', start)
    return info[start:end if end != -1 else len(info)].decode('utf-8', 'replace')


def _crc(module):
    # type: (Any) -> Optional[int]
    """The CRC of module_layout (check_modstruct_version in kernel/module/version.c); None where there is none."""
    versions = module.content('__versions')
    word = 8 if module.form.startswith('64') else 4
    at = versions.find(b'module_layout\0')
    while at != -1:
        if at % VERSION_ENTRY == word:
            return struct.unpack_from(module.order + ('Q' if word == 8 else 'I'), versions, at - word)[0]
        at = versions.find(b'module_layout\0', at + 1)
    # CONFIG_EXTENDED_MODVERSIONS, from 6.14 on: the names in one section, 32-bit CRCs in another
    names = b'\0' + module.content('__version_ext_names')
    at = names.find(b'\0module_layout\0')
    crcs = module.content('__version_ext_crcs') if at != -1 else b''
    place = 4 * names.count(b'\0', 0, at) if at != -1 else 0
    return struct.unpack_from(module.order + 'I', crcs, place)[0] if place + 4 <= len(crcs) else None


def _compilers(module):
    # type: (Any) -> List[Dict[str, Any]]
    """What .comment names, each once; every object of a module repeats it."""
    texts = sorted(set(module.content('.comment', LARGEST_TEXT).split(b'\0')) - {b''})
    return [_compiler(text) for text in texts[:MOST_COMPILERS]]


def _compiler(text):
    # type: (bytes) -> Dict[str, Any]
    if text not in _parsed:
        # Compiled at each run of a module, like all else: only where a file names a compiler.
        from ansible_collections.kernelops.kmod.plugins.module_utils import _compiler_text

        if len(_parsed) > MOST_COMPILERS:
            _parsed.clear()
        _parsed[text] = _compiler_text.parse_comment(text.decode('utf-8', 'replace'))
    return _parsed[text]
