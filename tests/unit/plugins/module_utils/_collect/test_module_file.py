# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module files: real ones of kernel 6.1, ones made to order, damaged and hostile ones."""

import os
import struct
import time
from pathlib import Path

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_file
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import module_image
from elf_files import elf_module
from hypothesis import given
from hypothesis import strategies as st

# As the kernel's own BTF and pyelftools have it: name, size, init, exit. In layout_pad 16 bytes lie before exit.
REAL = {
    'kmod_reset-6.1': ('kmod_reset', 896, 312, 848),
    'healthy-6.1': ('healthy', 896, 312, 848),
    'no_exit-6.1': ('no_exit', 896, 312, None),
    'layout_pad-6.1': ('layout_pad', 896, 312, 864),
}
REAL_IMAGES = {name: builders.unpacked(name) for name in REAL}
HELPER = builders.unpacked('kmod_reset-6.1')


@pytest.mark.parametrize('file_name', REAL)
def test_real_module(file_name):
    path = str(builders.MODULE_FILES / (file_name + '.ko.xz'))
    found = module_file.describe(module_image.load(path), path)
    name, size, init, leave = REAL[file_name]
    assert found['name'] == name
    assert found['layout'] == {'size': size, 'init': init, 'exit': leave, 'source': path}
    assert found['release'].startswith('6.1.0-')
    assert found['vermagic'] == found['release'] + ' SMP preempt mod_unload modversions '
    assert (found['machine'], found['signed']) == ('x86_64', False)


def test_a_signature_shows():
    assert module_file.describe(HELPER + b'PKCS#7' + module_file.SIGNATURE, 'a.ko')['signed'] is True
    assert module_file.describe(HELPER + module_file.SIGNATURE + b'\n', 'a.ko')['signed'] is False


OFFSETS = st.one_of(st.none(), st.integers(0, 1 << 20))


@given(st.integers(0, 4096), OFFSETS, OFFSETS, st.sampled_from([62, 183]), st.booleans())
def test_layout_that_was_written_is_read(size, init, leave, machine, signed):
    image = builders.module_image(layout={'size': size, 'init': init, 'exit': leave}, machine=machine, signed=signed)
    found = module_file.describe(image, 'a.ko')
    assert found['layout'] == {'size': size, 'init': init, 'exit': leave, 'source': 'a.ko'}
    assert found['signed'] is signed
    assert found['machine'] == {62: 'x86_64', 183: 'aarch64'}[machine]


def test_without_vermagic_there_is_no_release():
    found = module_file.describe(builders.module_image(release=''), 'a.ko')
    assert (found['vermagic'], found['release']) == ('', '')


def test_an_object_that_is_no_module_is_refused():
    image = builders.module_image().replace(b'.gnu.linkonce.this_module\0', b'.gnu.linkonce.that_module\0')
    with pytest.raises(KmodError, match='it has no section .gnu.linkonce.this_module'):
        module_file.describe(image, 'a.o')


@given(st.lists(st.tuples(st.integers(0, len(HELPER) - 1), st.integers(0, 255)), min_size=1, max_size=40),
       st.integers(0, len(HELPER)))
def test_a_damaged_real_module_is_read_or_refused(changes, cut):
    for image in builders.damaged(HELPER, changes, cut):
        try:
            found = module_file.describe(image, 'a.ko')
        except KmodError as error:
            assert 'a.ko' in str(error)  # noqa: PT017 - either outcome is right, each has its own rule
        else:
            assert set(found['layout']) == {'size', 'init', 'exit', 'source'}


MAKE = {
    'missing': (str, 'No such file'),
    'directory': (Path.mkdir, 'no regular file|Is a directory'),
    'pipe': (os.mkfifo, 'no regular file'),
    'empty': (Path.touch, 'it is no ELF file'),
    'text': (lambda path: path.write_text('#!/bin/sh\n'), 'it is no ELF file'),
    'magic of xz alone': (lambda path: path.write_bytes(b'\xfd7zXZ\0'), 'cut short'),
    'link to itself': (lambda path: path.symlink_to(path), 'symbolic links'),
}


@pytest.mark.parametrize(('make', 'why'), MAKE.values(), ids=list(MAKE))
def test_no_module(make, why, tmp_path):
    make(tmp_path / 'a.ko')
    with pytest.raises(KmodError, match='Cannot read the module file .*/a.ko: .*(%s)' % why):
        module_file.read(str(tmp_path / 'a.ko'))


# id: (where the section table is, how many sections, the words of the reason)
HUGE = {
    'nothing but a hole': (None, 0, 'it is no ELF file'),
    'the largest table, at the end': ((8 << 30) - 65535 * 64, 65535, 'a name lies outside'),
    'a table beyond the end': ((8 << 30) - 64, 2, 'cut short'),
}


@pytest.mark.parametrize(('table', 'count', 'why'), HUGE.values(), ids=list(HUGE))
def test_a_huge_file_costs_no_more_than_a_small_one(table, count, why, tmp_path):
    path = tmp_path / 'a.ko'
    with path.open('wb') as stream:
        stream.truncate(8 << 30)
        if table is not None:
            stream.write(struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\x02\x01\x01', 1, 62, 1, 0, 0, table, 0, 64, 0, 0,
                                     64, count, 1))
    start = time.monotonic()
    with pytest.raises(KmodError, match=why):
        module_file.read(str(path))
    with pytest.raises(KmodError, match='it has more than 256 MB'):
        module_image.load(str(path))
    assert time.monotonic() - start < 5


def test_a_name_that_no_file_can_have():
    with pytest.raises(KmodError, match='null'):
        module_file.read('a\0b.ko')


# --- what the sections say ----------------------------------------------------------------------------------------

def test_what_a_real_module_says_of_itself():
    found = module_file.describe(HELPER, 'a.ko')
    gcc = {'family': 'gcc', 'version': '12.2.0', 'major': '12', 'vendor': 'Debian 12.2.0-14+deb12u1',
           'banner': 'GCC: (Debian 12.2.0-14+deb12u1) 12.2.0'}
    assert found['compilers'] == [gcc]
    assert (found['format'], found['depends']) == ('64-bit little-endian', [])
    assert found['crc'] == 0x9060323f  # as modprobe --dump-modversions has it
    assert found['build_id'] == 'af02e3e7854e34b12cac9fcc5c21f181db6ef8d2'  # as readelf -n has it


CRC = 0xd5ba31e7
LAYOUT_ENTRY = struct.pack('<Q56s', CRC, b'module_layout')
OTHER_ENTRY = struct.pack('<Q56s', 1, b'module_layout2')
# id: (sections, CRC of module_layout)
VERSIONS = {
    'none': ({}, None),
    'first': ({'__versions': LAYOUT_ENTRY + OTHER_ENTRY}, CRC),
    'last': ({'__versions': OTHER_ENTRY + LAYOUT_ENTRY}, CRC),
    'not among them': ({'__versions': OTHER_ENTRY}, None),
    'not where a name starts': ({'__versions': struct.pack('<Q56s', 1, b'x_module_layout')}, None),
    'cut': ({'__versions': LAYOUT_ENTRY[:12]}, None),
    'extended': ({'__version_ext_crcs': struct.pack('<3I', 1, CRC, 2),
                  '__version_ext_names': b'a\0module_layout\0b\0'}, CRC),
    'extended, first': ({'__version_ext_crcs': struct.pack('<I', CRC), '__version_ext_names': b'module_layout\0'}, CRC),
    'extended, another': ({'__version_ext_crcs': struct.pack('<I', 1), '__version_ext_names': b'module_layout2\0'},
                          None),
    'extended, too few': ({'__version_ext_crcs': struct.pack('<I', 1),
                           '__version_ext_names': b'a\0module_layout\0'}, None),
}


@pytest.mark.parametrize(('sections', 'crc'), VERSIONS.values(), ids=list(VERSIONS))
def test_crc(sections, crc):
    assert module_file.describe(elf_module(sections), 'a.ko')['crc'] == crc


# id: (.comment, (family, version) of each)
COMMENTS = {
    'none': (b'', []),
    'repeated': (b'\0GCC: (GNU) 4.8.5\0' * 3, [('gcc', '4.8.5')]),
    'two': (b'GCC: (GNU) 4.8.5\0GCC: (GNU) 8.3.1\0', [('gcc', '4.8.5'), ('gcc', '8.3.1')]),
    'rustc beside gcc': (b'GCC: (Debian 14.2.0-19) 14.2.0\0rustc version 1.85.0 (4d91de4e4 2025-02-17)\0',
                         [('gcc', '14.2.0'), ('rustc', '1.85.0')]),
    'not text': (b'\xff\xfe\0', [(None, None)]),
    'more than any': (b''.join(b'GCC: (GNU) 1.%d\0' % number for number in range(100)), 32),
}


@pytest.mark.parametrize(('comment', 'compilers'), COMMENTS.values(), ids=list(COMMENTS))
def test_compilers(comment, compilers):
    found = module_file.describe(elf_module({'.comment': comment}), 'a.ko')['compilers']
    if isinstance(compilers, int):
        assert len(found) == compilers
    else:
        assert [(compiler['family'], compiler['version']) for compiler in found] == compilers


NOTE = struct.pack('<III4s4s', 4, 4, 3, b'GNU\0', b'\x01\x02\x03\x04')
SAID = {
    'depends': ({'.modinfo': b'name=a\0depends=b,c\0depends=d\0'}, 'depends', ['b', 'c']),
    'no depends': ({'.modinfo': b'name=a\0depends=\0'}, 'depends', []),
    'first value': ({'.modinfo': b'name=a\0name=b\0'}, 'name', 'a'),
    'a key within a value': ({'.modinfo': b'parm=x:name=b\0'}, 'name', ''),
    'no end': ({'.modinfo': b'name=a'}, 'name', 'a'),
    'build id': ({'.note.gnu.build-id': NOTE}, 'build_id', '01020304'),
    'no build id': ({}, 'build_id', None),
    'a note cut short': ({'.note.gnu.build-id': NOTE[:-1]}, 'build_id', None),
}


@pytest.mark.parametrize(('sections', 'key', 'value'), SAID.values(), ids=list(SAID))
def test_sections(sections, key, value):
    assert module_file.describe(elf_module(sections), 'a.ko')[key] == value


@pytest.mark.parametrize('section', ['.modinfo', '.comment', '.note.gnu.build-id', '__versions'])
def test_a_section_larger_than_any_is_refused(section):
    with pytest.raises(KmodError, match='section %s takes 4194305 bytes' % section):
        module_file.describe(elf_module({section: b'x' * ((4 << 20) + 1)}), 'a.ko')


# Every kind of field of a section table, with the values that hurt most
HOSTILE = [0, 1, 0x7fffffff, 0xffffffff, 1 << 63, (1 << 64) - 1]


@given(st.sampled_from(sorted(REAL)), st.integers(0, 42),
       st.sampled_from([(0, 'I'), (4, 'I'), (24, 'Q'), (32, 'Q'), (40, 'I')]), st.sampled_from(HOSTILE))
def test_hostile_section_headers_of_real_modules(file_name, section, field, value):
    image = bytearray(REAL_IMAGES[file_name])
    table, count = struct.unpack_from('<Q', image, 40)[0], struct.unpack_from('<H', image, 60)[0]
    offset, form = field
    value &= 0xffffffff if form == 'I' else -1
    struct.pack_into('<' + form, image, table + section % count * 64 + offset, value)
    start = time.monotonic()
    try:
        found = module_file.describe(bytes(image), 'a.ko')
    except KmodError as error:
        assert 'a.ko' in str(error)  # noqa: PT017 - either outcome is right, each has its own rule
    else:
        assert found['machine'] == 'x86_64'
    assert time.monotonic() - start < 2
