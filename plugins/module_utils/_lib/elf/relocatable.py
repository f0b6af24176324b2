# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough of ELF64 to read a kernel module on a host that has nothing but Python (elf(5), System V gABI).

Reads only the ranges that are asked for: pyelftools takes 2.4 ms for a module, and a kernel has four thousand of them.
"""

import os
import struct
from typing import Dict, Iterator, List, Optional, Tuple, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError

HEADER = struct.Struct('<16sHHIQQQIHHHHHH')
# Elf64_Shdr, of which sh_name, sh_type, sh_offset, sh_size and sh_link count here
SECTION = struct.Struct('<II16xQQI20x')
NAME, KIND, OFFSET, SIZE, LINK = range(5)
Header = Tuple[int, int, int, int, int]
SYMBOL = struct.Struct('<IBBHQQ')
RELA = struct.Struct('<QQq')
# EI_CLASS and EI_DATA
FORMATS = {b'\x01\x01': '32-bit little-endian', b'\x01\x02': '32-bit big-endian',
           b'\x02\x01': '64-bit little-endian', b'\x02\x02': '64-bit big-endian'}
OWN_FORMAT = FORMATS[b'\x02\x01']
# As `uname -m` has it where it is one word for all of a kind; by e_machine, and by format where that matters.
MACHINES: Dict[Union[int, Tuple[int, str]], str] = {
    3: 'i386', 40: 'arm', 62: 'x86_64', 183: 'aarch64', 258: 'loongarch64',
    (21, OWN_FORMAT): 'ppc64le', (21, '64-bit big-endian'): 'ppc64', (20, '32-bit big-endian'): 'ppc',
    (22, '64-bit big-endian'): 's390x', (183, '64-bit big-endian'): 'aarch64_be',
    (243, OWN_FORMAT): 'riscv64', (243, '32-bit little-endian'): 'riscv32'}
ET_REL = 1
SHT_NOBITS = 8
# More than any kernel module has, so that a hostile file costs no more than a large one.
LONGEST_NAME = 1024
MOST_RELOCATIONS = 4096
LARGEST_CONTENT = 4 << 20
LARGEST_NAMES = 1 << 20


def file_format(head: bytes) -> Optional[str]:
    """``64-bit little-endian`` or the like from the first bytes of a file; None where it is no ELF file."""
    return FORMATS.get(head[4:6]) if head[:4] == b'\x7fELF' else None


def machine_name(number: int, form: str) -> str:
    """As ``uname -m`` has it, or ``machine N``."""
    return MACHINES.get((number, form)) or MACHINES.get(number, 'machine %d' % number)


class Section:
    """``name``, ``kind`` (sh_type), ``offset`` and ``size`` in bytes within the file, ``link`` to another section."""

    def __init__(self, name: str, header: Header) -> None:
        self.name = name
        self.kind, self.offset, self.size, self.link = header[KIND:]


class OpenFile:
    """A file by its descriptor: its ``size``, and any range of it by pread(2)."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.size = size
        self._descriptor = descriptor

    def at(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes at ``offset``."""
        return os.pread(self._descriptor, length, offset)


class Bytes:
    """The same of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def at(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes at ``offset``."""
        return self._data[offset:offset + length]


Source = Union[Bytes, OpenFile]


class Relocatable:
    """The sections of a little-endian ELF64 relocatable file. Raises KmodError for anything else."""

    form = OWN_FORMAT
    order = '<'

    def __init__(self, source: Union[bytes, Source], origin: str) -> None:
        self._source: Source = Bytes(source) if isinstance(source, bytes) else source
        self._origin = origin
        head = self._source.at(0, HEADER.size)
        if head[:4] != b'\x7fELF':
            raise self._broken('it is no ELF file')
        if file_format(head) != OWN_FORMAT:
            raise self._broken('it is not 64-bit little-endian')
        if len(head) < HEADER.size:
            raise self._broken('it is cut short')
        header = HEADER.unpack(head)
        if header[1] != ET_REL:
            raise self._broken('it is no relocatable file, as a kernel module is')
        self.machine = machine_name(header[2], OWN_FORMAT)
        self._headers = self._read_sections(offset=header[6], entry_size=header[11], count=header[12],
                                            names_at=header[13])

    def _broken(self, why: str) -> KmodError:
        return KmodError(f'read the module file {self._origin}', why)

    def _range(self, offset: int, length: int, section: Optional[str] = None) -> bytes:
        if offset + length <= self._source.size:
            data = self._source.at(offset, length)
            if len(data) == length:
                return data
        raise self._broken(f'section {section} is cut short' if section else 'it is cut short')

    def _read_sections(self, offset: int, entry_size: int, count: int, names_at: int) -> List[Header]:
        if entry_size != SECTION.size or names_at >= count:
            raise self._broken('its section table is damaged')
        headers: List[Header] = list(SECTION.iter_unpack(self._range(offset, count * SECTION.size)))
        place = headers[names_at]
        if place[SIZE] > LARGEST_NAMES:
            raise self._broken('its section names take %d bytes, more than any module\'s' % place[SIZE])
        self._names = self._range(place[OFFSET], place[SIZE], 'of names')
        # The kernel asks for no more (elf_validity_cache_secstrings)
        if self._names[-1:] != b'\0' or max(headers)[NAME] >= len(self._names):
            raise self._broken('a name lies outside its string table')
        self._by_name = {header[NAME]: header for header in reversed(headers)}  # the first of a name
        return headers

    @property
    def sections(self) -> Dict[str, Section]:
        """All sections by name."""
        found: Dict[str, Section] = {}
        for header in self._headers:
            text = self._names[header[NAME]:header[NAME] + LONGEST_NAME].split(b'\0', 1)[0]
            name = text.decode('utf-8', 'replace')
            found.setdefault(name, Section(name, header))
        return found

    def _header(self, name: str) -> Optional[Header]:
        """The section of that name, the first where several share one string, as the kernel takes it (find_sec)."""
        word = name.encode() + b'\0'
        header = self._by_name.get(self._names.find(b'\0' + word) + 1)
        if header is not None and header[NAME]:
            return header
        # Of '.rela.text' and '.text', the second may be the end of the first.
        at = self._names.find(word)
        while at != -1:
            if at in self._by_name:
                return self._by_name[at]
            at = self._names.find(word, at + 1)
        return None

    def size_of(self, name: str) -> Optional[int]:
        """Size of a section in the kernel's memory; None where there is none."""
        header = self._header(name)
        return None if header is None else header[SIZE]

    def content(self, name: str, limit: int = LARGEST_CONTENT) -> bytes:
        """The bytes of a section; empty where there is none, or where it takes no room in the file."""
        header = self._header(name)
        if header is None or header[KIND] == SHT_NOBITS:
            return b''
        if header[SIZE] > limit and header[OFFSET] + header[SIZE] <= self._source.size:
            raise self._broken('section %s takes %d bytes, more than any module\'s' % (name, header[SIZE]))
        return self._range(header[OFFSET], header[SIZE], name)

    def relocations(self, name: str) -> Iterator[Tuple[int, str]]:
        """(offset in ``name``, name of the symbol stored there) for each entry of ``.rela`` + ``name``."""
        rela, headers = self._header('.rela' + name), self._headers
        if rela is None:
            return
        if rela[LINK] >= len(headers) or headers[rela[LINK]][LINK] >= len(headers):
            raise self._broken('its relocations name no symbol table')
        symbols = headers[rela[LINK]]
        strings = headers[symbols[LINK]]
        count = rela[SIZE] // RELA.size
        if count > MOST_RELOCATIONS and rela[OFFSET] + rela[SIZE] <= self._source.size:
            raise self._broken('section .rela%s has %d relocations, more than any module\'s' % (name, count))
        for offset, info, dummy in RELA.iter_unpack(self._range(rela[OFFSET], count * RELA.size)):
            symbol = SYMBOL.unpack(self._range(symbols[OFFSET] + (info >> 32) * SYMBOL.size, SYMBOL.size))
            yield offset, self._symbol_name(strings, symbol[0])

    def _symbol_name(self, strings: Header, at: int) -> str:
        start = strings[OFFSET] + at
        room = min(strings[SIZE] - at, LONGEST_NAME, self._source.size - start)
        text, end, dummy = (self._source.at(start, room) if room > 0 else b'').partition(b'\0')
        if not end:
            raise self._broken('a name lies outside its string table')
        return text.decode('utf-8', 'replace')
