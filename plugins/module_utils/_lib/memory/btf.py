# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes of structs and offsets of their members, from the kernel's BTF (Documentation/bpf/btf.rst).

A struct is found by its name's offset in the string table, then by that number in the type table: 1 to 6 ms.
Only a member of an anonymous or nested struct needs type ids, and so one walk over the type table.
"""

import array
import itertools
import os
import re
import struct
import sys
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError

MAGIC = 0xEB9F
# Types entered for one member; typedefs of typedefs. Bounds the work that broken data can ask for.
NESTING_LIMIT = 64
# Types of one name: different sources may define a struct of the same name.
MOST_CANDIDATES = 32

KIND_STRUCT, KIND_UNION = 4, 5
# Behind a name in a type's record: the kind sits in the top byte of btf_type.info.
OF_A_STRUCT = b'(?=...[\x04\x05\x84\x85])'
# Kinds that only stand for another type: typedef, volatile, const, restrict, type tag.
KIND_ALIASES = frozenset((8, 9, 10, 11, 18))
# include/uapi/linux/btf.h: 32-bit words after the three of struct btf_type, fixed and for each of vlen.
KIND_WORDS = {
    1: (1, 0), 2: (0, 0), 3: (3, 0), 4: (0, 3), 5: (0, 3), 6: (0, 2), 7: (0, 0), 8: (0, 0), 9: (0, 0), 10: (0, 0),
    11: (0, 0), 12: (0, 0), 13: (0, 2), 14: (1, 0), 15: (0, 3), 16: (0, 0), 17: (1, 0), 18: (0, 0), 19: (0, 3),
}


class Record(NamedTuple):
    """A struct or union: its size in bytes; of each member where the string table has its name (0: none), the id of its
    type and its offset in bits.
    """

    size: int
    names: Tuple[int, ...]
    type_ids: Tuple[int, ...]
    bits: Tuple[int, ...]


class Btf:
    """The types of one BTF file. Offsets and sizes are in bytes; every failure is a KmodError."""

    def __init__(self, data: bytes, origin: str = 'BTF data') -> None:
        self._data = data
        self._origin = origin
        self._records: Dict[str, List[Record]] = {}
        self._offsets: Dict[Tuple[str, str], int] = {}
        self._positions: Optional[array.array[int]] = None
        self._name_offsets: Dict[str, int] = {}
        if len(data) < 24:
            raise self._broken('it is %d bytes long' % len(data))
        magic, version, _flags, header, type_off, type_len, str_off, str_len = struct.unpack_from('<HBBIIIII', data)
        if magic != MAGIC or version != 1:
            raise self._broken('its magic number is %#x, version %d' % (magic, version))
        self._types, self._types_end = header + type_off, header + type_off + type_len
        self._strings, self._strings_end = header + str_off, header + str_off + str_len
        if header < 24 or max(self._types_end, self._strings_end) > len(data) or self._types % 4 or type_len % 4:
            raise self._broken('its tables lie outside its %d bytes' % len(data))

    @classmethod
    def load(cls, path: str) -> 'Btf':
        """The types of the file at path, such as /sys/kernel/btf/vmlinux."""
        try:
            with open(path, 'rb', buffering=0) as stream:
                data = stream.read()
        except OSError as error:
            raise KmodError(f'read the kernel\'s types from {path}', error.strerror or str(error),
                            'The kernel needs CONFIG_DEBUG_INFO_BTF') from error
        return cls(data, path)

    def size(self, name: str) -> int:
        """sizeof(struct name) in bytes."""
        return self._agreed(f'the size of struct {name}', {record.size for record in self._structs(name)})

    def offset(self, name: str, path: str) -> int:
        """offsetof(struct name, path) in bytes; ``path`` may go through nested structs, as in ``mkobj.mod``."""
        if (name, path) in self._offsets:
            return self._offsets[name, path]
        what = f'the offset of {path} in struct {name}'
        parts = [self._name_offset(part) for part in path.split('.')]
        found: Set[int] = set()
        for record in self._structs(name):
            found.update(self._descend(record, parts, 0, set()))
        bits = self._agreed(what, found)
        if bits % 8:
            raise KmodError(f'find {what}', 'it is a bit field that starts at bit %d' % bits)
        self._offsets[name, path] = bits // 8
        return bits // 8

    def first_offset(self, name: str, *members: str) -> int:
        """The same of the first of these members that the struct has: kernels call it differently."""
        found = next((member for member in members if self.has(name, member)), None)
        if found is None:
            raise KmodError(f'find a member of struct {name}', 'it has none of {}'.format(', '.join(members)))
        return self.offset(name, found)

    def has(self, name: str, member: str) -> bool:
        """Whether a struct of this name has such a member, at one offset."""
        try:
            self.offset(name, member)
        except KmodError:
            return False
        return True

    def member_at(self, name: str, offset: int) -> str:
        """The member at a byte offset of a struct: ``timer.function`` of a work item's timer; empty where none begins.

        Of several types of one name, or of a union's members, the first that has one there tells.
        """
        for record in self._structs(name):
            found = self._member_at(record, 8 * offset, NESTING_LIMIT)
            if found:
                return found
        return ''

    def _member_at(self, record: Record, bits: int, deepest: int) -> str:
        for name, type_id, start in zip(record.names, record.type_ids, record.bits):
            if start > bits or not deepest:
                continue
            word = self._string(name)
            for inner in self._struct_of(type_id):
                below = self._member_at(inner, bits - start, deepest - 1) if bits - start < 8 * inner.size else ''
                if below:
                    return f'{word}.{below}' if word else below
            if start == bits and word:
                return word
        return ''

    def _string(self, offset: int) -> str:
        start = self._strings + offset
        return self._data[start:self._data.find(b'\0', start, self._strings_end)].decode('utf-8', 'backslashreplace')

    def _broken(self, why: str) -> KmodError:
        return KmodError(f'use {self._origin}', f'it is not BTF that this version reads: {why}')

    def _agreed(self, what: str, answers: Set[int]) -> int:
        if len(answers) == 1:
            return answers.pop()
        why = 'the kernel has no such member' if not answers else 'several types of this name differ in it'
        raise KmodError(f'find {what} in {self._origin}', why)

    def _structs(self, name: str) -> List[Record]:
        if name not in self._records:
            positions = list(itertools.islice(self._positions_of(name), MOST_CANDIDATES + 1))
            if len(positions) > MOST_CANDIDATES:
                raise self._broken('more than %d types may be struct %s' % (MOST_CANDIDATES, name))
            self._records[name] = [record for position in positions for record in self._read_struct(position)]
        if not self._records[name]:
            raise KmodError(f'find struct {name} in {self._origin}', 'it has no type of this name')
        return self._records[name]

    def _name_offset(self, name: str) -> int:
        """Where the string table has a name, as types and members hold it; -1 where it is not there."""
        if name not in self._name_offsets:
            # The kernel's strings are unique, so the first hit is the only one.
            at = self._data.find(b'\0' + name.encode() + b'\0', self._strings, self._strings_end) if name else -1
            self._name_offsets[name] = at + 1 - self._strings if at >= 0 else -1
        return self._name_offsets[name]

    def _positions_of(self, name: str) -> Iterator[int]:
        """Where struct btf_type records with this name may start. A member may look like one: see _read_struct."""
        name_offset = self._name_offset(name)
        if name_offset > 0:
            # Three times as fast as bytes.find on the name alone.
            record = re.compile(re.escape(struct.pack('<I', name_offset)) + OF_A_STRUCT, re.DOTALL)
            for match in record.finditer(self._data, self._types, self._types_end):
                if (match.start() - self._types) % 4 == 0:
                    yield match.start()

    def _read_struct(self, position: int) -> List[Record]:
        """The struct or union at position, or nothing where the bytes cannot be one."""
        if position + 12 > self._types_end:
            return []
        _name, info, size = struct.unpack_from('<III', self._data, position)
        kind, vlen = (info >> 24) & 0x1F, info & 0xFFFF
        end = position + 12 + 12 * vlen
        if kind not in (KIND_STRUCT, KIND_UNION) or not vlen or end > self._types_end:
            return []
        words = struct.unpack_from('<%dI' % (3 * vlen), self._data, position + 12)
        names, type_ids, bits = words[0::3], words[1::3], words[2::3]
        if info >> 31:
            bits = tuple(each & 0xFFFFFF for each in bits)  # kind_flag: the upper byte is the bit field's width
        if max(names) >= self._strings_end - self._strings or max(bits) > size * 8 or \
                max(type_ids) > (self._types_end - self._types) // 12:
            return []
        return [Record(size, names, type_ids, bits)]

    def _descend(self, record: Record, parts: List[int], base: int, seen: Set[Tuple[int, int]]) -> Iterator[int]:
        """Bit offsets of the member that parts name, in record and in its anonymous structs and unions.

        A type is entered once for each part: C has no two members of one name, and data that goes in circles ends.
        """
        direct = [place for place, name in enumerate(record.names) if name == parts[0]]
        if direct and len(parts) == 1:
            for place in direct:
                yield base + record.bits[place]
            return
        inside = direct or [place for place, name in enumerate(record.names) if not name]
        rest = parts[1:] if direct else parts
        for place in inside:
            type_id = record.type_ids[place]
            if (type_id, len(rest)) not in seen and len(seen) < NESTING_LIMIT:
                seen.add((type_id, len(rest)))
                for inner in self._struct_of(type_id):
                    yield from self._descend(inner, rest, base + record.bits[place], seen)

    def _struct_of(self, type_id: int) -> List[Record]:
        """The struct that a type id stands for, through typedefs and qualifiers; nothing for another type."""
        positions = self._walk()
        for _step in range(NESTING_LIMIT):
            if not 0 < type_id <= len(positions):
                return []
            position = self._types + 4 * positions[type_id - 1]
            info, target = struct.unpack_from('<II', self._data, position + 4)
            if (info >> 24) & 0x1F not in KIND_ALIASES:
                return self._read_struct(position)
            type_id = target
        return []

    def _walk(self) -> 'array.array[int]':
        """Word position of each type in the type table; type id 1 comes first."""
        if self._positions is None:
            words = array.array('I')
            words.frombytes(self._data[self._types:self._types_end])
            if sys.byteorder == 'big':
                words.byteswap()
            positions, at, end = array.array('I'), 0, len(words)
            while at < end:
                info = words[at + 1] if at + 2 < end else 0
                fixed, each = KIND_WORDS.get((info >> 24) & 0x1F, (None, 0))
                if fixed is None:
                    raise self._broken('type %d is of an unknown kind' % (len(positions) + 1))
                positions.append(at)
                at += 3 + fixed + each * (info & 0xFFFF)
            if at != end:
                raise self._broken('its last type is cut off')
            self._positions = positions
        return self._positions


_running: Dict[str, Union[Btf, KmodError]] = {}


def running(root: str = '/') -> Btf:
    """The running kernel's types (/sys/kernel/btf/vmlinux), read once in a process."""
    path = os.path.join(root, 'sys/kernel/btf/vmlinux')
    if path not in _running:
        try:
            _running[path] = Btf.load(path)
        except KmodError as error:
            _running[path] = error
    found = _running[path]
    if isinstance(found, KmodError):
        raise found
    return found


def layout_of(btf: Btf, wanted: Dict[str, Tuple[str, str]]) -> Dict[str, int]:
    """Byte offsets by key: ``{'f_op': ('file', 'f_op')}``. Raises KmodError at the first that is missing."""
    return {key: btf.offset(name, path) for key, (name, path) in wanted.items()}
