# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of other machines, by pyelftools, which is also the oracle of our own reader."""

import struct
import sys
import time

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import foreign_elf, module_file
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import module_image
from elf_files import elf_module
from hypothesis import given, settings
from hypothesis import strategies as st

CRC = 0xd5ba31e7
NATIVE = ['healthy-6.1', 'kmod_reset-6.1', 'layout_pad-6.1', 'no_exit-6.1']


@pytest.mark.parametrize('file_name', NATIVE)
def test_pyelftools_reads_the_same(file_name):
    pytest.importorskip('elftools')
    image = module_image.load(str(builders.MODULE_FILES / (file_name + '.ko.xz')))
    assert module_file.facts_of(foreign_elf.Foreign(image, 'a.ko'), 'a.ko', False) == \
        module_file.describe(image, 'a.ko')


# Of Debian's linux-image-6.1.0-50-s390x and -armmp, as readelf and modprobe --dump-modversions have them
REAL_FOREIGN = {
    'dummy-6.1-s390x': ('64-bit big-endian', 's390x', 0x8ffae2f3, '0f73763eb7928e548f8546373a11394a0824cb43',
                        {'size': 0x500, 'init': 0x138, 'exit': 0x428}, '6.1.0-50-s390x SMP mod_unload modversions '),
    'dummy-6.1-armmp': ('32-bit little-endian', 'arm', 0x8c1823f3, 'd87dcbe04c87d70b870e99e7930725bc89725d69',
                        {'size': 0x240, 'init': 0xcc, 'exit': 0x230},
                        '6.1.0-50-armmp SMP mod_unload modversions ARMv7 p2v8 '),
}


@pytest.mark.parametrize('file_name', REAL_FOREIGN)
def test_real_modules_of_other_machines(file_name):
    pytest.importorskip('elftools')
    path = str(builders.MODULE_FILES / (file_name + '.ko.xz'))
    found = module_file.read(path, 'a.ko')
    form, machine, crc, build_id, layout, vermagic = REAL_FOREIGN[file_name]
    assert (found['format'], found['machine'], found['crc'], found['build_id']) == (form, machine, crc, build_id)
    assert found['layout'] == dict(layout, source='a.ko')
    assert (found['name'], found['vermagic']) == ('dummy', vermagic)
    assert [compiler['version'] for compiler in found['compilers']] == ['12.2.0']


FORMATS = {'32-bit little-endian': (3, 'i386'), '32-bit big-endian': (8, 'machine 8'),
           '64-bit big-endian': (22, 's390x'), '64-bit little-endian': (62, 'x86_64')}


@pytest.mark.parametrize('form', FORMATS)
def test_every_format(form):
    pytest.importorskip('elftools')
    number, machine = FORMATS[form]
    order, word = '<' if 'little' in form else '>', form[:2]
    entry = struct.pack(order + ('Q56s' if word == '64' else 'I60s'), CRC, b'module_layout')
    sections = {'.comment': b'GCC: (GNU) 4.8.5\0', '__versions': entry,
                '.note.gnu.build-id': struct.pack(order + 'III4s4s', 4, 4, 3, b'GNU\0', b'\x01\x02\x03\x04')}
    found = module_file.describe(elf_module(sections, form=form, machine=number), 'a.ko')
    assert (found['format'], found['machine'], found['crc'], found['build_id']) == (form, machine, CRC, '01020304')
    assert [compiler['version'] for compiler in found['compilers']] == ['4.8.5']
    assert found['layout'] == {'size': 896, 'init': 312, 'exit': 848, 'source': 'a.ko'}
    assert found['release'] == builders.RELEASE


def test_other_machines_without_pyelftools(monkeypatch):
    monkeypatch.setitem(sys.modules, 'elftools.elf.elffile', None)
    found = module_file.describe(elf_module({}, form='64-bit big-endian', machine=22), 'a.ko')
    assert (found['format'], found['machine']) == ('64-bit big-endian', 's390x')
    for key in ('layout', 'compilers', 'crc'):
        assert found[key] == {'unavailable': (
            'it is a 64-bit big-endian file, and pyelftools, which reads those, is not installed. '
            'Install python3-pyelftools')}


def test_pyelftools_that_does_not_end(monkeypatch):
    pytest.importorskip('elftools')
    monkeypatch.setattr(foreign_elf, 'DEADLINE', 0.2)
    monkeypatch.setattr(foreign_elf, '_read', lambda *_arguments: time.sleep(60))
    with pytest.raises(KmodError, match='pyelftools has not read it within'):
        module_file.describe(elf_module({}, form='32-bit big-endian'), 'a.ko')


def test_a_foreign_file_larger_than_any(monkeypatch):
    monkeypatch.setattr(foreign_elf, 'LARGEST_FILE', 1 << 10)
    with pytest.raises(KmodError, match='it is a 32-bit big-endian file of .* more than any module has'):
        module_file.describe(elf_module({}, form='32-bit big-endian'), 'a.ko')


FOREIGN = builders.unpacked('dummy-6.1-armmp')


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(6, len(FOREIGN) - 1), st.integers(0, 255)), min_size=1, max_size=8),
       st.integers(6, len(FOREIGN)))
def test_a_damaged_foreign_file_is_read_or_refused(changes, cut):
    pytest.importorskip('elftools')
    for image in builders.damaged(FOREIGN, changes, cut):
        try:
            found = module_file.describe(image, 'a.ko')
        except KmodError as error:
            assert 'a.ko' in str(error)  # noqa: PT017 - either outcome is right, each has its own rule
        else:
            assert found['format'] == '32-bit little-endian'
