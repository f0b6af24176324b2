# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough of ELF64 to read a kernel module on a host that has nothing but Python (elf(5), System V gABI)."""

import struct
from typing import Dict, Iterator, List, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError

HEADER = struct.Struct('<16sHHIQQQIHHHHHH')
SECTION = struct.Struct('<IIQQQQIIQQ')
SYMBOL = struct.Struct('<IBBHQQ')
RELA = struct.Struct('<QQq')
MACHINES = {62: 'x86_64', 183: 'aarch64'}
ET_REL = 1
SHT_NOBITS = 8


class Section:
    """``name``, ``kind`` (sh_type), ``offset`` and ``size`` in bytes within the file, ``link`` to another section."""

    def __init__(self, name, kind, offset, size, link):
        # type: (str, int, int, int, int) -> None
        self.name = name
        self.kind = kind
        self.offset = offset
        self.size = size
        self.link = link


class Relocatable:
    """The sections of a little-endian ELF64 relocatable file. Raises KmodError for anything else."""

    def __init__(self, data, origin):
        # type: (bytes, str) -> None
        self._data = data
        self._origin = origin
        if data[:4] != b'\x7fELF':
            raise self._broken('it is no ELF file')
        if data[4:6] != b'\x02\x01':
            raise self._broken('it is not 64-bit little-endian')
        header = self._unpack(HEADER, 0)
        if header[1] != ET_REL:
            raise self._broken('it is no relocatable file, as a kernel module is')
        self.machine = MACHINES.get(header[2], 'machine %d' % header[2])
        self._table = []  # type: List[Section]
        self.sections = self._read_sections(offset=header[6], entry_size=header[11], count=header[12],
                                            names_at=header[13])

    def _broken(self, why):
        # type: (str) -> KmodError
        return KmodError(f'read the module file {self._origin}', why)

    def _unpack(self, form, offset):
        # type: (struct.Struct, int) -> Tuple
        if offset < 0 or offset + form.size > len(self._data):
            raise self._broken('it is cut short')
        return form.unpack_from(self._data, offset)

    def _read_sections(self, offset, entry_size, count, names_at):
        # type: (int, int, int, int) -> Dict[str, Section]
        if entry_size != SECTION.size or names_at >= count:
            raise self._broken('its section table is damaged')
        headers = [self._unpack(SECTION, offset + index * entry_size) for index in range(count)]
        names = headers[names_at]
        for entry in headers:
            name = self._string(names[4], names[5], entry[0])
            self._table.append(Section(name, entry[1], entry[4], entry[5], entry[6]))
        return {section.name: section for section in self._table}

    def _string(self, table, size, offset):
        # type: (int, int, int) -> str
        start = table + offset
        end = self._data.find(b'\0', start, table + size)
        if offset >= size or end == -1:
            raise self._broken('a name lies outside its string table')
        return self._data[start:end].decode('utf-8', 'replace')

    def content(self, name):
        # type: (str) -> bytes
        """The bytes of a section; empty where there is none, or where it takes no room in the file."""
        section = self.sections.get(name)
        if section is None or section.kind == SHT_NOBITS:
            return b''
        if section.offset + section.size > len(self._data):
            raise self._broken(f'section {name} is cut short')
        return self._data[section.offset:section.offset + section.size]

    def relocations(self, name):
        # type: (str) -> Iterator[Tuple[int, str]]
        """(offset in ``name``, name of the symbol stored there) for each entry of ``.rela`` + ``name``."""
        rela = self.sections.get('.rela' + name)
        if rela is None:
            return
        if rela.link >= len(self._table) or self._table[rela.link].link >= len(self._table):
            raise self._broken('its relocations name no symbol table')
        symbols = self._table[rela.link]
        strings = self._table[symbols.link]
        for index in range(rela.size // RELA.size):
            offset, info, dummy = self._unpack(RELA, rela.offset + index * RELA.size)
            symbol = self._unpack(SYMBOL, symbols.offset + (info >> 32) * SYMBOL.size)
            yield offset, self._string(strings.offset, strings.size, symbol[0])
