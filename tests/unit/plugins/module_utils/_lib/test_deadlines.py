# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every reader of the host gives an answer in time, and names what hangs: here a pipe that nobody writes to."""

import os
import time

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import (
    build,
    build_sources,
    check_files,
    load,
    module_facts,
    unload,
    unload_options,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import (
    host_compilers,
    module_table,
    running_kernel,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process

SECONDS = 1.5


@pytest.fixture
def root(tmp_path):
    """A host whose /proc/modules is never read, as where module_mutex died with its owner."""
    directory = builders.captured_root('6.1', tmp_path)
    (tmp_path / 'proc/modules').unlink()
    os.mkfifo(str(tmp_path / 'proc/modules'))
    return directory


@pytest.fixture
def hangs():
    """Whatever is replaced by it reads from a pipe that nobody writes to."""
    ends = os.pipe()
    yield lambda *_given, **_named: os.read(ends[0], 1)
    for end in ends:
        os.close(end)


def in_time(function):
    """The error of what hangs, which came in time and names it."""
    start = time.monotonic()
    late = 'no answer within 1.5 seconds; process [0-9]+ is not done yet '
    with pytest.raises(child_process.Deadline, match=late) as caught:
        function()
    assert SECONDS <= time.monotonic() - start < 20
    assert caught.value.facts['hangs_in'] in str(caught.value)
    assert 'Reboot' not in str(caught.value)
    return caught.value


def test_facts(root):
    assert in_time(lambda: module_facts.answer([], ['all'], SECONDS, root)).tried == 'read the kernel and its modules'


def test_toolchain_facts(root):
    in_time(lambda: check_files.gather([], [], 'loaded', root, SECONDS))


def test_toolchain_facts_of_files_do_without_the_module_table(root, tmp_path, monkeypatch):
    monkeypatch.setattr(host_compilers, 'found', lambda *_where: [])
    (tmp_path / 'foo.ko').write_bytes(builders.module_image(name='foo'))
    found = check_files.gather([], ['/foo.ko'], 'loaded', root, 2 * SECONDS)
    assert list(found['facts']['modules']) == ['foo']
    assert 'Cannot read the module table: no answer within 1.5 seconds' in found['warnings'][0]


def options_of_load(path):
    return load.Options(path=str(path), params={}, replace=False, timeout=SECONDS, check_mode=False)


@pytest.mark.parametrize(('module', 'reader'), [(load, 'read_file'), (running_kernel, 'read')], ids=['file', 'kernel'])
def test_load(module, reader, tmp_path, monkeypatch, hangs):
    (tmp_path / 'foo.ko').write_bytes(builders.module_image(name='foo'))
    monkeypatch.setattr(load.os, 'geteuid', lambda: 0)
    monkeypatch.setattr(module, reader, hangs)
    in_time(lambda: load.Load(options_of_load(tmp_path / 'foo.ko')))


def test_load_takes_no_pipe_for_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(load.os, 'geteuid', lambda: 0)
    os.mkfifo(str(tmp_path / 'foo.ko'))
    with pytest.raises(KmodError, match='it is no regular file'):
        load.Load(options_of_load(tmp_path / 'foo.ko'))


def test_unload_where_the_kernel_is_not_read(monkeypatch, hangs):
    monkeypatch.setattr(unload.os, 'geteuid', lambda: 0)
    monkeypatch.setattr(module_table, 'read', lambda *_root: {'modules': {}, 'warnings': []})
    monkeypatch.setattr(running_kernel, 'read', hangs)
    in_time(lambda: unload.Unload(unload_options.Options(
        name='foo', methods=['plain'], run_exit='auto', cascade=False, accept_hazards=[], helper='auto',
        helper_path=None, timeout=SECONDS, check_mode=False)).run())


@pytest.mark.parametrize(('where', 'reader'), [
    (build_sources, 'digest'), (build, 'headers_release'), (build, 'read_os_release')])
def test_build(where, reader, tmp_path, monkeypatch, hangs):
    builders.write(tmp_path, 'Kbuild', 'obj-m := foo.o\n')
    monkeypatch.setattr(where, reader, hangs)
    in_time(lambda: build.Build(build.Options(
        src=str(tmp_path), kernel_release=None, kdir=None, cc=None, make_args=[], jobs=None, sign_key=None,
        sign_cert=None, dest=None, timeout=SECONDS, state='built', check_mode=False)).run())
