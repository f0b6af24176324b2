# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the front doors print of texts that somebody hostile chose."""

import json

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import running_kernel
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.modules import (
    kmod_facts,
    kmod_toolchain_facts,
)
from fake_kernel import FakeModule, Host
from loading_kernel import LoadingHost
from test_front_doors import called
from test_security_texts import CONTROL, ESCAPED, HOSTILE


def texts(value):
    """All texts in a result, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


@pytest.mark.parametrize('hostile', [
    {'tasks': [builders.task('insmod' + HOSTILE)]},
    {'oopses': [builders.oops('foo', cause='BUG' + HOSTILE, function='f' + HOSTILE)], 'registrations': {
        'found': [], 'unseen': ['x' + HOSTILE], 'blind': '', 'leftovers': []}},
], ids=['a task', 'an oops'])
def test_unload(hostile, monkeypatch, capfd):
    host = Host(monkeypatch)
    monkeypatch.setattr(running_kernel, 'read', lambda *_root: host.kernel.facts)
    host.boot(FakeModule('foo', state='coming', refcount=2, **hostile))
    dummy, result = called('kmod_force_unload', capfd, {'name': 'foo'}, check_mode=True)
    found = list(texts(result))
    assert any(ESCAPED in text for text in found)
    assert [text for text in found if CONTROL.search(text)] == []


def test_load(monkeypatch, capfd, tmp_path):
    host = LoadingHost(monkeypatch)
    kernel = host.start()
    kernel.words, kernel.answer = ['[    2.000000] foo: ' + HOSTILE], 8
    (tmp_path / 'foo.ko').write_bytes(builders.module_image(name='foo'))
    code, result = called('kmod_load', capfd, {'path': str(tmp_path / 'foo.ko')})
    assert code == 1
    assert ESCAPED in result['msg']
    assert [text for text in texts(result) if CONTROL.search(text)] == []


@pytest.mark.parametrize(('door', 'what', 'answer'), [
    (kmod_facts, 'answer', {'facts': {'modules': {}, 'x': HOSTILE}, 'warnings': [HOSTILE]}),
    (kmod_toolchain_facts, 'gather', {'facts': {'modules': {HOSTILE: {}}}, 'warnings': [HOSTILE]})])
def test_facts(door, what, answer, monkeypatch, capfd):
    name = door.__name__.rpartition('.')[2]
    utility = door.module_facts if door is kmod_facts else door.check_files
    monkeypatch.setattr(utility, what, lambda *_given, **_named: answer)
    dummy, result = called(name, capfd)
    assert ESCAPED in json.dumps(result, ensure_ascii=False).replace('\\\\', '\\')
    assert [text for text in texts(result) if CONTROL.search(text)] == []

    def fail(*_given, **_named):
        raise KmodError('look', HOSTILE, hangs_in=HOSTILE)

    monkeypatch.setattr(utility, what, fail)
    dummy, result = called(name, capfd)
    assert result['hangs_in'] == ESCAPED
    assert [text for text in texts(result) if CONTROL.search(text)] == []
