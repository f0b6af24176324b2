# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loader's system calls. None is made here."""

import ctypes
import errno
import os

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls


@pytest.fixture
def calls(monkeypatch):
    """What would have been handed to the kernel, which answers EBUSY."""
    made = []

    def call(name, *arguments):
        made.append((name, tuple(argument.value for argument in arguments)))
        return errno.EBUSY

    monkeypatch.setattr(loader_syscalls, '_call', call)
    return made


@pytest.mark.parametrize(('force', 'flags'), [(False, os.O_NONBLOCK), (True, os.O_NONBLOCK | os.O_TRUNC)],
                         ids=['plain', 'force'])
def test_delete_module(calls, force, flags):
    assert loader_syscalls.delete_module('foo', force) == errno.EBUSY
    assert calls == [('delete_module', (b'foo', flags))]


def test_init_module(calls):
    assert loader_syscalls.init_module(b'\x7fELF\0image', 'name=foo look=1') == errno.EBUSY
    [(name, arguments)] = calls
    assert name == 'init_module'
    assert arguments[1:] == (10, b'name=foo look=1')


def test_an_image_keeps_its_zero_bytes(monkeypatch):
    seen = []
    monkeypatch.setattr(loader_syscalls, '_call', lambda _name, image, length, _parameters: seen.append(
        ctypes.string_at(image, length.value)) or 0)
    assert loader_syscalls.init_module(b'a\0b\0', '') == 0
    assert seen == [b'a\0b\0']


@pytest.mark.parametrize(('machine', 'numbers'), [('x86_64', (175, 176, 313)), ('aarch64', (105, 106, 273))])
def test_numbers(machine, numbers):
    found = loader_syscalls.numbers(machine)
    assert (found['init_module'], found['delete_module'], found['finit_module']) == numbers


def test_numbers_of_an_unknown_machine():
    with pytest.raises(KmodError, match='system call numbers of vax.*Supported architectures are aarch64, x86_64'):
        loader_syscalls.numbers('vax')


@pytest.mark.parametrize(('number', 'text'), [
    (errno.EBUSY, 'EBUSY (Device or resource busy)'), (errno.ECANCELED, 'ECANCELED (Operation canceled)'),
    (99999, '99999 (Unknown error 99999)')])
def test_errno_text(number, text):
    assert loader_syscalls.errno_text(number) == text
