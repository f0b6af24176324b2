# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that somebody hostile chose (a process's name, a path, a kernel message, a module's file) steer no terminal."""

import json
import re

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import load
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import task_scan
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import find_holders
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, one_line, printable
from hypothesis import given
from hypothesis import strategies as st

# Clears the screen; the same in one character; turns the direction; no character; a line of its own.
HOSTILE = 'x\x1b[2J\x9b1m\u202e\ud800'
ESCAPED = 'x\\x1b[2J\\x9b1m\\u202e\\ud800'
CONTROL = re.compile('[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u202a-\\u202e\\ud800-\\udfff]')


def test_what_is_escaped():
    assert printable(HOSTILE) == one_line(HOSTILE) == ESCAPED
    assert printable({HOSTILE: [HOSTILE, 1, None, (HOSTILE,)]}) == {ESCAPED: [ESCAPED, 1, None, [ESCAPED]]}


@pytest.mark.parametrize('text', ['', 'foo', 'Gr\xfc\xdfe \u4f60\u597d', 'two\nlines\tand a tab', '\\x1b as text'])
def test_what_is_not(text):
    assert printable(text) == text


def test_a_name_stays_on_its_line():
    assert one_line('cat\nCannot unload foo: it is safe.\t') == 'cat\\x0aCannot unload foo: it is safe.\\x09'


@given(st.text(st.characters(min_codepoint=0, max_codepoint=0x10ffff)))
def test_no_text_gets_through(text):
    assert not CONTROL.search(printable(text))
    assert len(one_line(text).splitlines()) <= 1
    json.dumps(printable(text)).encode('utf-8')
    printable(text).encode('utf-8')


# --- where they come from -------------------------------------------------------------------------------------------

def test_the_name_of_a_process(tmp_path):
    builders.write(tmp_path, 'proc/7/task/7/comm', 'evil\x1b[31m\nok\n')
    builders.write(tmp_path, 'proc/7/task/7/stat', '7 (evil) S' + ' 0' * 40)
    assert task_scan.scan(str(tmp_path)).describe(7, 7)['command'] == 'evil\\x1b[31m\\x0aok'


def test_the_path_of_an_open_file(tmp_path):
    directory = tmp_path / 'proc/7/fd'
    directory.mkdir(parents=True)
    (directory / '3').symlink_to('/tmp/a\nb\x1b]0;x\x07')
    found = find_holders._open_file(7, 'evil\x1b', 3, 'f_op', str(tmp_path))
    assert (found['path'], found['command']) == ('/tmp/a\\x0ab\\x1b]0;x\\x07', 'evil\\x1b')


def test_a_file_that_calls_itself_so(tmp_path):
    (tmp_path / 'foo.ko').write_bytes(builders.module_image(name='a\x1b[2Jb'))
    with pytest.raises(KmodError, match=r"it calls itself 'a\\x1b\[2Jb', which is no module's name"):
        load.read_file(str(tmp_path / 'foo.ko'))


def test_every_front_door_escapes():
    for path in (builders.CAPTURES.parents[2] / 'plugins/modules').glob('*.py'):
        source = path.read_text()
        for call in ('fail_json(', 'exit_json(', 'module.warn('):
            assert all('printable(' in line for line in source.splitlines() if call in line), path
