# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressed module files: each way to unpack them, damaged ones, and ones that grow without end."""

import gzip
import lzma
import shutil
import subprocess
import sys

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_file
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import module_image
from hypothesis import given
from hypothesis import strategies as st

try:
    import zstandard
except ImportError:
    zstandard = None
HELPER = builders.unpacked('kmod_reset-6.1')


# 'kernel module', as zstd(1) compresses it
ZSTD_FRAME = bytes.fromhex('28b52ffd200d6900006b65726e656c206d6f64756c65')


def zstd(data):
    """As the kernel's own build compresses modules."""
    return zstandard.ZstdCompressor().compress(data)


COMPRESS = {'.ko': bytes, '.ko.gz': gzip.compress, '.ko.xz': lzma.compress}
if zstandard:
    COMPRESS['.ko.zst'] = zstd
PACKED = sorted(set(COMPRESS) - {'.ko'})


@pytest.mark.parametrize('ending', COMPRESS)
def test_compressed_or_not(ending, tmp_path):
    path = tmp_path / ('a' + ending)
    path.write_bytes(COMPRESS[ending](HELPER))
    assert module_image.load(str(path)) == HELPER
    assert module_file.read(str(path), 'a') == module_file.describe(HELPER, 'a')


@given(st.sampled_from(PACKED), st.integers(0, 1 << 16), st.integers(1, 255), st.booleans())
def test_a_damaged_compressed_file_is_read_or_refused(tmp_path_factory, ending, at, flip, cut):
    data = bytearray(COMPRESS[ending](HELPER))
    at = 6 + at % (len(data) - 6)  # what is damaged before that is another format
    data[at] ^= flip
    path = tmp_path_factory.mktemp('damaged') / ('a' + ending)
    path.write_bytes(bytes(data[:at] if cut else data))
    try:
        image = module_image.load(str(path))
    except KmodError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right, each has its own rule
    else:
        # gzip's header holds a name and a time, which may change; zstd's frames have no checksum here
        assert image == HELPER or (ending == '.ko.zst' and not cut)


@pytest.mark.parametrize('ending', PACKED)
def test_a_file_that_is_cut_short(ending, tmp_path):
    path = tmp_path / ('a' + ending)
    path.write_bytes(COMPRESS[ending](HELPER)[:-9])
    with pytest.raises(KmodError, match='Cannot read the module file .*/a.*: .*cut short'):
        module_image.load(str(path))


@pytest.mark.parametrize('ending', PACKED)
def test_a_bomb_costs_no_more_than_a_large_module(ending, tmp_path, monkeypatch):
    monkeypatch.setattr(module_image, 'LIMIT', 16 << 20)
    path = tmp_path / ('a' + ending)
    path.write_bytes(COMPRESS[ending](b'\x7fELF' + b'\0' * (40 << 20)))
    with pytest.raises(KmodError, match='it has more than 16 MB, more than any module'):
        module_image.load(str(path))


def test_xz_that_asks_for_more_memory_than_any_module(tmp_path, monkeypatch):
    monkeypatch.setattr(module_image, 'LIMIT', 16 << 20)
    path = tmp_path / 'a.ko.xz'
    path.write_bytes(lzma.compress(HELPER, filters=[{'id': lzma.FILTER_LZMA2, 'dict_size': 64 << 20}]))
    with pytest.raises(KmodError, match='[Mm]emory'):
        module_image.load(str(path))


@pytest.fixture
def zst(tmp_path, monkeypatch):
    """A compressed module on a host whose Python cannot unpack it."""
    monkeypatch.setitem(sys.modules, 'compression', None)
    monkeypatch.setitem(sys.modules, 'zstandard', None)
    path = tmp_path / 'a.ko.zst'
    path.write_bytes(ZSTD_FRAME)
    return path


def command(directory, text):
    """A program called zstd."""
    path = directory / 'bin/zstd'
    path.parent.mkdir()
    path.write_text('#!/bin/sh\n' + text)
    path.chmod(0o755)
    return str(path.parent)


@pytest.mark.skipif(not shutil.which('zstd'), reason='no zstd here')
def test_zst_by_the_command(zst):
    assert module_image.load(str(zst)) == b'kernel module'


# id: (what the command does, the words of the reason)
COMMANDS = {
    'fails': ('exit 1', 'zstd cannot unpack it'),
    'hangs': ('exec sleep 60', 'zstd did not unpack it within 0 seconds'),
    'a bomb': ('exec cat /dev/zero', 'it has more than 4 MB'),
}


@pytest.mark.parametrize(('does', 'why'), COMMANDS.values(), ids=list(COMMANDS))
def test_zst_by_a_command_that(does, why, zst, tmp_path, monkeypatch):
    monkeypatch.setattr(module_image, 'LIMIT', 4 << 20)
    monkeypatch.setattr(module_image, 'DEADLINE', 0.3 if 'sleep' in does else 5)
    monkeypatch.setenv('PATH', command(tmp_path, does))
    with pytest.raises(KmodError, match=why):
        module_image.load(str(zst))


def test_zst_without_anything_that_unpacks_it(zst, monkeypatch):
    def missing(*_arguments, **_options):
        raise FileNotFoundError(2, 'No such file or directory', 'zstd')

    monkeypatch.setattr(subprocess, 'Popen', missing)
    with pytest.raises(KmodError, match='which this host cannot unpack. Install zstd, or python3-zstandard'):
        module_image.load(str(zst))


def test_xz_on_a_python_without_lzma(tmp_path, monkeypatch):
    path = tmp_path / 'a.ko.xz'
    path.write_bytes(lzma.compress(HELPER))
    monkeypatch.setitem(sys.modules, 'lzma', None)
    with pytest.raises(KmodError, match='this Python has no module lzma'):
        module_image.load(str(path))


def test_the_content_counts_and_not_the_name(tmp_path):
    path = tmp_path / 'a.ko.xz'
    path.write_bytes(HELPER)
    assert module_image.load(str(path)) == HELPER
