# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ELF64 relocatable files: what was written is read, what is damaged is refused."""

import struct

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import relocatable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf.relocatable import Relocatable
from hypothesis import given
from hypothesis import strategies as st

IMAGE = builders.module_image()
THIS_MODULE = '.gnu.linkonce.this_module'
# Byte offsets in the file header (elf(5)), and the form of the field there
FIELDS = {'type': (16, '<H'), 'shoff': (40, '<Q'), 'shentsize': (58, '<H'), 'shnum': (60, '<H'), 'shstrndx': (62, '<H')}
SECTION_TABLE = struct.unpack_from('<Q', IMAGE, 40)[0]
# In the section header of .rela.gnu.linkonce.this_module, the fourth: sh_offset, sh_size, sh_link
RELA = SECTION_TABLE + 3 * 64


def patched(offset, form, value):
    image = bytearray(IMAGE)
    struct.pack_into(form, image, offset, value)
    return bytes(image)


def read_all(image):
    """Everything that the reader has of a file."""
    found = Relocatable(image, 'a.ko')
    for name in list(found.sections) + ['nothing']:
        found.content(name)
        list(found.relocations(name))
    return list(found.relocations(THIS_MODULE))


def test_sections_and_relocations():
    found = Relocatable(IMAGE, 'a.ko')
    assert found.machine == 'x86_64'
    assert found.sections[THIS_MODULE].size == 896
    assert b'\0name=kmod_reset\0' in found.content('.modinfo')
    assert list(found.relocations(THIS_MODULE)) == [(312, 'init_module'), (848, 'cleanup_module')]


def test_what_is_not_there_is_empty():
    found = Relocatable(IMAGE, 'a.ko')
    assert found.content('nothing') == b''
    assert list(found.relocations('nothing')) == []


def test_a_section_without_room_in_the_file_has_no_content():
    nobits = patched(SECTION_TABLE + 2 * 64 + 4, '<I', 8)
    found = Relocatable(nobits, 'a.ko')
    assert found.content(THIS_MODULE) == b''
    assert found.sections[THIS_MODULE].size == 896


@pytest.mark.parametrize(('machine', 'name'), [
    (62, 'x86_64'), (183, 'aarch64'), (243, 'riscv64'), (21, 'ppc64le'), (4000, 'machine 4000')])
def test_machine(machine, name):
    assert Relocatable(builders.module_image(machine=machine), 'a.ko').machine == name


@pytest.mark.parametrize(('number', 'form', 'name'), [
    (3, '32-bit little-endian', 'i386'), (40, '32-bit little-endian', 'arm'), (22, '64-bit big-endian', 's390x'),
    (21, '64-bit big-endian', 'ppc64'), (183, '64-bit big-endian', 'aarch64_be'), (8, '32-bit big-endian', 'machine 8'),
])
def test_machine_of_another_format(number, form, name):
    assert relocatable.machine_name(number, form) == name


def test_of_two_sections_of_one_name_the_first_counts():
    image = IMAGE.replace(b'.gnu.linkonce.this_module\0.rela', b'.modinfo\0                 .rela')
    assert image != IMAGE
    assert b'\0name=kmod_reset\0' in Relocatable(image.replace(b' ', b'\0'), 'a.ko').content('.modinfo')


class Counted(relocatable.OpenFile):
    """Counts the bytes that are read."""

    read = 0

    def at(self, offset, length):
        found = super().at(offset, length)
        self.read += len(found)
        return found


def test_only_what_is_asked_for_is_read(tmp_path):
    path = tmp_path / 'a.ko'
    # A section of a megabyte before all else: no reader of the layout has to see it.
    path.write_bytes(IMAGE[:64] + b'x' * (1 << 20) + IMAGE[64:])
    image = bytearray(path.read_bytes())
    struct.pack_into('<Q', image, 40, SECTION_TABLE + (1 << 20))
    for section in range(1, 7):
        at = SECTION_TABLE + (1 << 20) + section * 64 + 24
        struct.pack_into('<Q', image, at, struct.unpack_from('<Q', image, at)[0] + (1 << 20))
    path.write_bytes(bytes(image))
    with path.open('rb') as stream:
        source = Counted(stream.fileno(), len(image))
        found = Relocatable(source, 'a.ko')
        assert list(found.relocations(THIS_MODULE)) == [(312, 'init_module'), (848, 'cleanup_module')]
    assert 0 < source.read < 4096


@pytest.mark.parametrize(('head', 'form'), [
    (b'\x7fELF\x01\x02', '32-bit big-endian'), (b'\x7fELF\x02\x01', '64-bit little-endian'),
    (b'\x7fELF\x03\x01', None), (b'\x7fEL', None), (b'', None)])
def test_format(head, form):
    assert relocatable.file_format(head) == form


# id: (file, words of the refusal)
DAMAGED = {
    'empty': (b'', 'no ELF file'),
    'text': (b'#!/bin/sh\n', 'no ELF file'),
    'magic alone': (b'\x7fELF', 'not 64-bit little-endian'),
    '32-bit': (b'\x7fELF\x01\x01\x01' + IMAGE[7:], 'not 64-bit little-endian'),
    'big-endian': (b'\x7fELF\x02\x02\x01' + IMAGE[7:], 'not 64-bit little-endian'),
    'header cut': (IMAGE[:63], 'cut short'),
    'executable': (patched(16, '<H', 2), 'no relocatable file'),
    'section table cut': (IMAGE[:-1], 'cut short'),
    'section table beyond the end': (patched(40, '<Q', 1 << 63), 'cut short'),
    'section headers of another size': (patched(58, '<H', 40), 'section table is damaged'),
    'no sections': (patched(60, '<H', 0), 'section table is damaged'),
    'names in no section': (patched(62, '<H', 99), 'section table is damaged'),
    'a name outside its table': (patched(RELA, '<I', 1 << 31), 'outside its string table'),
    'names that do not end': (patched(SECTION_TABLE + 6 * 64 + 32, '<Q', 3), 'outside its string table'),
    'content cut': (patched(SECTION_TABLE + 64 + 32, '<Q', 1 << 40), 'section .modinfo is cut short'),
    'relocations beyond the end': (patched(RELA + 24, '<Q', 1 << 62), 'cut short'),
    'more relocations than there is file': (patched(RELA + 32, '<Q', (1 << 64) - 1), 'cut short|outside'),
    'relocations without symbols': (patched(RELA + 40, '<I', 4000), 'name no symbol table'),
    'symbols without names': (patched(SECTION_TABLE + 4 * 64 + 40, '<I', 4000), 'name no symbol table'),
    'more relocations than any module': (
        patched(RELA + 32, '<Q', 24 * 5000) + b'\0' * 24 * 5000, 'has 5000 relocations, more than any'),
    'a section larger than any': (patched(SECTION_TABLE + 64 + 32, '<Q', 5 << 20) + b'\0' * (5 << 20),
                                  'section .modinfo takes 5242880 bytes, more than any'),
    'section names larger than any': (patched(SECTION_TABLE + 6 * 64 + 32, '<Q', 5 << 20), 'more than any module'),
    'a section name without end': (patched(SECTION_TABLE + 6 * 64 + 24, '<Q', len(IMAGE)) + b'x' * 5000,
                                   'outside its string table'),
    'a symbol beyond the end': (
        patched(struct.unpack_from('<Q', IMAGE, RELA + 24)[0] + 12, '<I', (1 << 32) - 1), 'cut short'),
}


@pytest.mark.parametrize(('image', 'why'), DAMAGED.values(), ids=list(DAMAGED))
def test_damage_is_named(image, why):
    with pytest.raises(KmodError, match=why) as caught:
        read_all(image)
    assert str(caught.value).startswith('Cannot read the module file a.ko: ')


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data):
    with pytest.raises(KmodError):
        read_all(b'\x7fELF\x02\x01\x01' + data)


@given(st.lists(st.tuples(st.integers(0, len(IMAGE) - 1), st.integers(0, 255)), min_size=1, max_size=6),
       st.integers(0, len(IMAGE)))
def test_a_changed_file_is_read_or_refused(changes, cut):
    whole, part = builders.damaged(IMAGE, changes, cut)
    try:
        found = read_all(part if cut < 64 else whole)
    except KmodError:
        return
    assert all(0 <= offset < 1 << 64 and isinstance(name, str) for offset, name in found)


@given(st.sampled_from(sorted(FIELDS)), st.integers(0, (1 << 64) - 1))
def test_any_header_field(field, value):
    offset, form = FIELDS[field]
    try:
        found = read_all(patched(offset, form, value % (1 << 8 * struct.calcsize(form))))
    except KmodError:
        return
    assert found in ([], [(312, 'init_module'), (848, 'cleanup_module')])


@given(st.integers(0, 6), st.sampled_from([(0, '<I'), (4, '<I'), (24, '<Q'), (32, '<Q'), (40, '<I')]),
       st.integers(0, (1 << 64) - 1))
def test_any_section_header_field(section, field, value):
    offset, form = field
    at = SECTION_TABLE + section * 64 + offset
    try:
        found = read_all(patched(at, form, value % (1 << 8 * struct.calcsize(form))))
    except KmodError:
        return
    assert isinstance(found, list)
