# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a loaded module is: its file by modules.dep, its build id, parameters and versions by sysfs."""

import struct

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_details
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import elf_note
from hypothesis import given
from hypothesis import strategies as st

RELEASE = '6.1.0-56-amd64'
# modules.dep(5): the libraries are named in others' lines, before and after their own.
DEPENDENCIES = """\
kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko
kernel/lib/crc16.ko:
kernel/fs/jbd2/jbd2.ko:
kernel/fs/mbcache.ko:
kernel/drivers/net/usb/cdc-ether.ko.xz: kernel/drivers/net/usb/usbnet.ko.xz
kernel/drivers/net/usb/usbnet.ko.xz:
kernel/fs/ext4x/ext4_other.ko:
updates/dkms/foo_bar-baz.ko.zst: kernel/lib/crc16.ko
flat.ko: kernel/lib/crc16.ko
"""
FILES = {
    'ext4': 'kernel/fs/ext4/ext4.ko', 'crc16': 'kernel/lib/crc16.ko', 'jbd2': 'kernel/fs/jbd2/jbd2.ko',
    'mbcache': 'kernel/fs/mbcache.ko', 'cdc_ether': 'kernel/drivers/net/usb/cdc-ether.ko.xz',
    'usbnet': 'kernel/drivers/net/usb/usbnet.ko.xz', 'ext4_other': 'kernel/fs/ext4x/ext4_other.ko',
    'foo_bar_baz': 'updates/dkms/foo_bar-baz.ko.zst', 'flat': 'flat.ko',
}
EXPECTED = {name: f'/lib/modules/{RELEASE}/{path}' for name, path in FILES.items()}


def dependencies(tmp_path, text):
    """A root whose modules.dep reads ``text``."""
    directory = tmp_path / 'lib/modules' / RELEASE
    directory.mkdir(parents=True)
    (directory / 'modules.dep').write_text(text)
    return str(tmp_path)


def test_every_file_by_its_modules_name(tmp_path):
    assert module_details.files(RELEASE, dependencies(tmp_path, DEPENDENCIES), sorted(FILES)) == EXPECTED


@pytest.mark.parametrize('name', sorted(FILES))
def test_one_file_asked_for(tmp_path, name):
    found = module_details.files(RELEASE, dependencies(tmp_path, DEPENDENCIES), [name, 'ext', 'lib', 'dkms'])
    assert found == {name: EXPECTED[name]}


def test_no_modules_dep_names_no_file(tmp_path):
    assert module_details.files(RELEASE, str(tmp_path), ['ext4']) == {}


@given(text=st.text(alphabet='/ext4.ko: \n-_', max_size=200))
def test_no_text_of_modules_dep_confuses_it(tmp_path_factory, text):
    root = dependencies(tmp_path_factory.mktemp('root'), text)
    path = module_details.files(RELEASE, root, ['ext4']).get('ext4')
    assert path is None or '/ext4.ko' in path.replace('-', '_')


def note(kind=3, name=b'GNU\0', identity=b'\x6b\x1f\x0f'):
    """An ELF note (elf(5))."""
    return struct.pack('<III', len(name), len(identity), kind) + name + identity


@pytest.mark.parametrize(('data', 'expected'), [
    (note(), '6b1f0f'),
    (note(identity=bytes(range(20))), '000102030405060708090a0b0c0d0e0f10111213'),
    (note(kind=1), None), (note(identity=b''), None), (note()[:-1], None), (note()[:11], None),
    (struct.pack('<III', 0xffffffff, 0xffffffff, 3), None),
])
def test_build_id(data, expected):
    assert elf_note.build_id(data) == expected


def test_what_sysfs_shows(tmp_path):
    module = tmp_path / 'sys/module/foo'
    (module / 'parameters').mkdir(parents=True)
    (module / 'notes').mkdir()
    (module / 'parameters/debug').write_text('Y\n')
    (module / 'parameters/name').write_bytes(b'\xff caf\xc3\xa9\n')
    (module / 'version').write_text('1.2\n')
    (module / 'notes/.note.gnu.build-id').write_bytes(note())
    found = module_details.read('foo', {}, str(tmp_path))
    assert found['parameters']['debug'] == 'Y'
    assert 'caf' in found['parameters']['name']
    assert (found['version'], found['build_id']) == ('1.2', '6b1f0f')
    assert found['srcversion'] == {'unavailable': 'the module declares none'}
    assert found['file'] == {'unavailable': 'modules.dep does not name it: it was loaded from elsewhere'}
    assert module_details.same_as_file(found, str(tmp_path)) == found['file']


def test_a_file_that_is_gone_says_so(tmp_path):
    details = {'file': '/lib/modules/x/foo.ko', 'build_id': '6b1f0f'}
    assert 'No such file' in module_details.same_as_file(details, str(tmp_path))['unavailable']
