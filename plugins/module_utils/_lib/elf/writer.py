# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a relocatable ELF64 file: sections, symbols and relocations as the kernel's loader wants them (elf(5))."""

import struct
from typing import Dict, List, NamedTuple, Tuple

HEADER = struct.Struct('<16sHHIQQQIHHHHHH')
SECTION = struct.Struct('<IIQQQQIIQQ')
SYMBOL = struct.Struct('<IBBHQQ')
RELA = struct.Struct('<QQq')
IDENT = b'\x7fELF\x02\x01\x01'
ET_REL = 1
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA = 1, 2, 3, 4
WRITE, ALLOC, EXECUTE = 1, 2, 4
INFO_LINK = 0x40
GLOBAL = 0x10
# Name, type, flags, content, link, info, alignment and entry size
Table = Tuple[str, int, int, bytes, int, int, int, int]
# STT_OBJECT and STT_FUNC
OBJECT, FUNCTION = 1, 2


class Section(NamedTuple):
    """``content`` under ``name``; ``flags`` of WRITE, ALLOC, EXECUTE; ``align`` in bytes."""

    name: str
    content: bytes
    flags: int
    align: int = 8


class Symbol(NamedTuple):
    """A global symbol at the beginning of a section, over the whole of it; ``kind``: OBJECT or FUNCTION."""

    name: str
    section: str
    kind: int


class Relocation(NamedTuple):
    """Of ``section``: at ``offset`` (bytes) the loader puts the address of ``symbol``; ``kind``: R_<machine>_* ."""

    section: str
    offset: int
    symbol: str
    kind: int


class _Strings:
    def __init__(self) -> None:
        self.content = b'\0'
        self._offsets: Dict[str, int] = {}

    def offset(self, text: str) -> int:
        if text not in self._offsets:
            self._offsets[text] = len(self.content)
            self.content += text.encode('ascii') + b'\0'
        return self._offsets[text]


def relocatable(machine: int, sections: List[Section], symbols: List[Symbol], relocations: List[Relocation]) -> bytes:
    """The bytes of a relocatable file for ``machine`` (e_machine), little-endian."""
    numbers = {section.name: index for index, section in enumerate(sections, 1)}
    names = _Strings()
    places = {symbol.name: index for index, symbol in enumerate(symbols, 1)}
    symtab = SYMBOL.pack(0, 0, 0, 0, 0, 0)
    lengths = {section.name: len(section.content) for section in sections}
    for symbol in symbols:
        symtab += SYMBOL.pack(names.offset(symbol.name), GLOBAL | symbol.kind, 0, numbers[symbol.section], 0,
                              lengths[symbol.section])
    relocated = sorted({relocation.section for relocation in relocations})
    number_of_symtab = len(sections) + len(relocated) + 1
    tables = [(section.name, SHT_PROGBITS, section.flags, section.content, 0, 0, section.align, 0)
              for section in sections]
    for name in relocated:
        content = b''.join(RELA.pack(each.offset, places[each.symbol] << 32 | each.kind, 0)
                           for each in relocations if each.section == name)
        tables.append(('.rela' + name, SHT_RELA, INFO_LINK, content, number_of_symtab, numbers[name], 8, RELA.size))
    # sh_info of a symbol table is its first global symbol: all but the empty one are.
    tables.append(('.symtab', SHT_SYMTAB, 0, symtab, number_of_symtab + 1, 1, 8, SYMBOL.size))
    tables.append(('.strtab', SHT_STRTAB, 0, names.content, 0, 0, 1, 0))
    return _file(machine, tables)


def _file(machine: int, tables: List[Table]) -> bytes:
    names = _Strings()
    headers = SECTION.pack(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    body = b''
    placed = [(names.offset(table[0]),) + table[1:] for table in tables]
    placed.append((names.offset('.shstrtab'), SHT_STRTAB, 0, names.content, 0, 0, 1, 0))
    for name, kind, flags, content, link, info, align, size in placed:
        body += b'\0' * (-(HEADER.size + len(body)) % align)
        headers += SECTION.pack(name, kind, flags, 0, HEADER.size + len(body), len(content), link, info, align, size)
        body += content
    body += b'\0' * (-(HEADER.size + len(body)) % 8)
    header = HEADER.pack(IDENT, ET_REL, machine, 1, 0, 0, HEADER.size + len(body), 0, HEADER.size, 0, 0, SECTION.size,
                         len(placed) + 1, len(placed))
    return header + body + headers
