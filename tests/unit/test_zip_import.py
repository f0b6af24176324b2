# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The utilities in a zip, as Ansible ships them: each is compiled once, and is all else that a module is."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils import _zip_import

PACKAGE = 'ansible_collections/kernelops/kmod/plugins/module_utils/'
UTILITIES = Path(_zip_import.__file__).parent
# Python warns of such a text each time that it compiles it.
WARNED_OF = 'TEXT = "\\d"\n\n\ndef fails():\n    return 1 // 0\n'
DOTTED = PACKAGE.replace('/', '.')
BEGIN = f'from {DOTTED}_zip_import import compile_once\ncompile_once()\n'
EACH = 'import importlib\nfor name in {!r}:\n    print(importlib.import_module({!r} + name).__file__)\n'


@pytest.fixture
def ask(tmp_path):
    """Runs a program that finds the utilities in a zip alone; what it printed, and what it said on stderr."""
    place = tmp_path / 'shipped.zip'
    with zipfile.ZipFile(str(place), 'w', zipfile.ZIP_DEFLATED) as shipped:
        parts = PACKAGE.rstrip('/').split('/')
        for depth in range(len(parts)):
            shipped.writestr('/'.join(parts[:depth + 1]) + '/__init__.py', '')
        for path in UTILITIES.glob('*.py'):
            shipped.write(str(path), PACKAGE + path.name)
        shipped.writestr(PACKAGE + '_warned.py', WARNED_OF)
    program = tmp_path / 'program.py'

    def run(text):
        program.write_text(f'import sys\nsys.path.insert(0, {str(place)!r})\n{BEGIN}{text}')
        # Python 3.6 has no capture_output.
        with subprocess.Popen([sys.executable, '-W', 'always', str(program)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as begun:
            printed, said = begun.communicate(timeout=60)
        return printed.decode(), said.decode()

    return run


def test_compiled_once(ask):
    dummy, said = ask(f'from {DOTTED}_warned import fails\n')
    assert said.count('invalid escape sequence') == 1


def test_a_failure_shows_file_and_line(ask):
    dummy, said = ask(f'from {DOTTED}_warned import fails\nfails()\n')
    assert '_warned.py", line 5, in fails' in said


def test_every_utility_is_found(ask):
    names = sorted(path.stem for path in UTILITIES.glob('_*.py') if path.stem != '_foreign_elf')
    printed, said = ask(EACH.format(names, DOTTED))
    assert said == ''
    assert [line.rpartition(PACKAGE)[2] for line in printed.splitlines()] == [name + '.py' for name in names]


def test_what_is_not_there_is_not_found(ask):
    dummy, said = ask(f'import {DOTTED}_nothing\n')
    assert said.splitlines()[-1].startswith('ModuleNotFoundError: No module named')


def test_out_of_a_zip_nothing_changes():
    before = dict(sys.path_importer_cache)
    _zip_import.compile_once()
    assert sys.path_importer_cache == before
