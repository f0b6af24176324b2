# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module files: real ones of kernel 6.1, ones made to order, compressed and damaged ones."""

import gzip
import lzma
import shutil
from pathlib import Path

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils import _module_file
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from hypothesis import given, settings
from hypothesis import strategies as st

# As the kernel's own BTF and pyelftools have it: name, size, init, exit. In layout_pad 16 bytes lie before exit.
REAL = {
    'kmod_reset-6.1': ('kmod_reset', 896, 312, 848),
    'healthy-6.1': ('healthy', 896, 312, 848),
    'no_exit-6.1': ('no_exit', 896, 312, None),
    'layout_pad-6.1': ('layout_pad', 896, 312, 864),
}
HELPER = lzma.decompress((builders.MODULE_FILES / 'kmod_reset-6.1.ko.xz').read_bytes())


@pytest.mark.parametrize('file_name', REAL)
def test_real_module(file_name):
    path = str(builders.MODULE_FILES / (file_name + '.ko.xz'))
    found = _module_file.describe(_module_file.load(path), path)
    name, size, init, leave = REAL[file_name]
    assert found['name'] == name
    assert found['layout'] == {'size': size, 'init': init, 'exit': leave, 'source': path}
    assert found['release'].startswith('6.1.0-')
    assert found['vermagic'] == found['release'] + ' SMP preempt mod_unload modversions '
    assert (found['machine'], found['signed']) == ('x86_64', False)


def test_a_signature_shows():
    assert _module_file.describe(HELPER + b'PKCS#7' + _module_file.SIGNATURE, 'a.ko')['signed'] is True
    assert _module_file.describe(HELPER + _module_file.SIGNATURE + b'\n', 'a.ko')['signed'] is False


OFFSETS = st.one_of(st.none(), st.integers(0, 1 << 20))


@settings(deadline=None)
@given(st.integers(0, 4096), OFFSETS, OFFSETS, st.sampled_from([62, 183]), st.booleans())
def test_layout_that_was_written_is_read(size, init, leave, machine, signed):
    image = builders.module_image(layout={'size': size, 'init': init, 'exit': leave}, machine=machine, signed=signed)
    found = _module_file.describe(image, 'a.ko')
    assert found['layout'] == {'size': size, 'init': init, 'exit': leave, 'source': 'a.ko'}
    assert found['signed'] is signed
    assert found['machine'] == {62: 'x86_64', 183: 'aarch64'}[machine]


def test_without_vermagic_there_is_no_release():
    found = _module_file.describe(builders.module_image(release=''), 'a.ko')
    assert (found['vermagic'], found['release']) == ('', '')


def test_an_object_that_is_no_module_is_refused():
    image = builders.module_image().replace(b'.gnu.linkonce.this_module\0', b'.gnu.linkonce.that_module\0')
    with pytest.raises(KmodError, match='it has no section .gnu.linkonce.this_module'):
        _module_file.describe(image, 'a.o')


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(HELPER) - 1), st.integers(0, 255)), min_size=1, max_size=40),
       st.integers(0, len(HELPER)))
def test_a_damaged_real_module_is_read_or_refused(changes, cut):
    image = bytearray(HELPER)
    for at, value in changes:
        image[at] = value
    for damaged in (bytes(image), bytes(image[:cut])):
        try:
            found = _module_file.describe(damaged, 'a.ko')
        except KmodError as error:
            assert 'a.ko' in str(error)  # noqa: PT017 - either outcome is right, each has its own rule
        else:
            assert set(found['layout']) == {'size', 'init', 'exit', 'source'}


COMPRESS = {'.ko': bytes, '.ko.gz': gzip.compress, '.ko.xz': lzma.compress}


@pytest.mark.parametrize('ending', COMPRESS)
def test_compressed_or_not(ending, tmp_path):
    path = tmp_path / ('a' + ending)
    path.write_bytes(COMPRESS[ending](HELPER))
    assert _module_file.load(str(path)) == HELPER


@settings(deadline=None)
@given(st.sampled_from(['.ko.gz', '.ko.xz']), st.integers(0, 1 << 16), st.integers(1, 255), st.booleans())
def test_a_damaged_compressed_file_is_read_or_refused(tmp_path_factory, ending, at, flip, cut):
    data = bytearray(COMPRESS[ending](HELPER))
    data[at % len(data)] ^= flip
    path = tmp_path_factory.mktemp('damaged') / ('a' + ending)
    path.write_bytes(bytes(data[:at % len(data)] if cut else data))
    try:
        image = _module_file.load(str(path))
    except KmodError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right, each has its own rule
    else:
        assert image in (HELPER, b'')  # gzip's header holds a name and a time, which may change


@pytest.mark.parametrize('make', [None, Path.mkdir], ids=['missing', 'directory'])
@pytest.mark.parametrize('ending', COMPRESS)
def test_no_file(make, ending, tmp_path):
    if make:
        make(tmp_path / ('a' + ending))
    with pytest.raises(KmodError, match='Cannot read the module file .*/a' + ending):
        _module_file.load(str(tmp_path / ('a' + ending)))


def test_a_file_that_is_not_what_its_name_says(tmp_path):
    path = tmp_path / 'a.ko.xz'
    path.write_bytes(HELPER)
    with pytest.raises(KmodError, match='format not supported|corrupt'):
        _module_file.load(str(path))
    shutil.copyfile(str(path), str(tmp_path / 'a.ko.gz'))
    with pytest.raises(KmodError, match='ot a gzip'):
        _module_file.load(str(tmp_path / 'a.ko.gz'))
