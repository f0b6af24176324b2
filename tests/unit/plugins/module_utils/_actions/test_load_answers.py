# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel makes of a load: its refusals, an init that crashes or takes its time, a host that hangs."""

import errno

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import load
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from fake_kernel import FakeModule
from loading_kernel import LoadingHost

OLD = {'srcversion': 'OLD'}


@pytest.fixture
def host(monkeypatch):
    return LoadingHost(monkeypatch)


def test_the_kernels_own_words(host, path):
    kernel = host.start()
    kernel.answer, kernel.words = errno.ENOENT, ['[  185.234789] foo: Unknown symbol bar (err -2)']
    error = host.load_refused(path)
    assert (error.facts['verdict'], error.facts['changed']) == ('kernel_refused', False)
    assert error.facts['kernel_log'] == kernel.words
    assert 'the kernel answered ENOENT because neither the kernel nor a loaded module has bar' in str(error)
    assert 'Its log says: foo: Unknown symbol bar (err -2).' in str(error)


def test_a_death_in_init(host, path):
    kernel = host.start()
    kernel.init, kernel.words = 'dies', ['[  2.5] BUG: kernel NULL pointer dereference']
    error = host.load_refused(path)
    assert (error.facts['verdict'], error.facts['changed']) == ('init_died', True)
    assert error.facts['after']['state'] == 'coming'
    assert error.facts['kernel_log'] == kernel.words
    assert 'The init of foo died: BUG: kernel NULL pointer dereference in f_init.' in str(error)
    assert 'kmod_force_unload with name=foo' in str(error)


def test_an_init_that_takes_its_time_is_left_to_finish(host, path):
    kernel = host.start()
    kernel.init = 'hangs'
    error = host.load_refused(path)
    assert (error.facts['verdict'], error.facts['changed']) == ('init_running', True)
    assert error.facts['after']['state'] == 'coming'
    assert 'has not returned within 30 seconds. The init of foo still runs: python3 (pid 77, in f_init)' in str(error)
    assert 'It is left to finish' in str(error)


def test_where_the_system_calls_are_not_known_nothing_is_tried(host, path, monkeypatch):
    host.start()
    monkeypatch.setattr(loader_syscalls, 'NUMBERS', {})
    assert 'the system call numbers of' in str(host.load_refused(path))


def test_only_what_changes_the_host_outlives_its_deadline(host, path, monkeypatch):
    seen = []

    def deadline(function, seconds, tried, outlives=False):
        seen.append((seconds, tried, outlives))
        return function()

    host.start(FakeModule('foo', **OLD))
    monkeypatch.setattr(child_process, 'with_deadline', deadline)
    host.load(path, replace=True, timeout=7)
    assert all(seconds == 7 for seconds, _tried, _outlives in seen)
    assert [tried for _seconds, tried, outlives in seen if outlives] == ['unload foo', 'load %s' % path]
    assert len(seen) > 4


def test_an_init_that_was_only_late(host, path):
    host.start().init = 'is late'
    result = host.load(path)
    assert (result['changed'], result['after']['state']) == (True, 'live')


def test_a_load_that_hangs_before_init(host, path, monkeypatch):
    host.start()

    def hang(_image, _text):
        raise child_process.Deadline('load foo.ko', 'no answer within 30 seconds', 'Only a reboot helps',
                                     hangs_in='lock')

    monkeypatch.setattr(loader_syscalls, 'init_module', hang)
    error = host.load_refused(path)
    assert (error.facts['verdict'], error.facts['changed']) == ('init_running', False)
    assert 'no answer within 30 seconds. Only a reboot helps.' in str(error)


def test_a_load_that_leaves_nothing(host, path, monkeypatch):
    host.start()
    monkeypatch.setattr(loader_syscalls, 'init_module', lambda _image, _text: 0)
    error = host.load_refused(path)
    assert 'the kernel accepted it, but shows it as absent' in str(error)


def test_a_host_that_cannot_be_read_afterwards(host, path, monkeypatch):
    kernel = host.start()
    kernel.answer = errno.ENOMEM
    looks = []

    def look(*given):
        looks.append(given)
        if len(looks) > 1:
            raise KmodError('read the state of foo', 'it hangs')
        return real(*given)

    real = load.look
    monkeypatch.setattr(load, 'look', look)
    error = host.load_refused(path)
    assert error.facts['verdict'] == 'kernel_refused'
    assert error.facts['after'] == {'unavailable': 'Cannot read the state of foo: it hangs.'}


def test_only_root_may(host, path, monkeypatch):
    host.start()
    monkeypatch.setattr(load.os, 'geteuid', lambda: 1000)
    assert str(host.load_refused(path)) == (
        'Cannot load %s: only root may, and this is user 1000. Set become=true, or call ansible with -b.' % path)


@pytest.mark.parametrize(('lines', 'found'), [
    ([], []), (['x'] * 40, ['x'] * 40), (['x'] * 42, ['x'] * 40 + ['and 2 more lines']),
    (unavailable('refused'), unavailable('refused'))])
def test_a_long_log_is_cut(lines, found):
    assert load.shortened(lines) == found
