# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/ARCHITECTURE.md is the house as it stands: each file has its sentence, and imports only what its floor may."""

import ast
import re
from pathlib import Path
from typing import Dict, Set

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PLUGINS = CHECKOUT / 'plugins'
PACKAGE = 'ansible_collections.kernelops.kmod.plugins.module_utils'
PAGE = (CHECKOUT / 'docs/ARCHITECTURE.md').read_text(encoding='utf-8')
FLOORS = ('actions', 'judgement', 'survey', 'readers', 'ground')
MAY_IMPORT = {
    'front doors': {'actions'},
    'actions': {'actions', 'judgement', 'survey', 'readers', 'ground'},
    'judgement': {'judgement'},
    'survey': {'readers', 'ground'},
    'readers': {'ground'},
    'ground': {'ground'},
}
LINES = 500
LINES_OF_A_FRONT_DOOR = 200


def told() -> Dict[str, str]:
    """The floor of each file that the page names, by the headings below plugins/."""
    floors: Dict[str, str] = {}
    floor = ''
    for line in PAGE.partition('plugins/doc_fragments/')[0].splitlines():
        heading = re.match(r'(?:  )?(front doors|\w+|plugins/modules/)', line)
        if line.startswith('plugins/modules/'):
            floor = 'front doors'
        elif heading and heading.group(1) in FLOORS:
            floor = heading.group(1)
        named = re.match(r'  +(\w+\.py) ', line)
        if named:
            floors[named.group(1)] = floor
    return floors


FLOOR_OF = told()
# A reader and its parts are one.
PART_OF = {part: whole
           for whole, parts in re.findall(r'^    (_\w+\.py) .*\n((?:    _\w+\.py +its part .*\n)+)', PAGE, re.MULTILINE)
           for part in re.findall(r'^    (_\w+\.py) ', parts, re.MULTILINE)}


def imported(path: Path) -> Set[str]:
    """The utilities that a file imports, by the names of their files."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            names |= {alias.name + '.py' for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE + '.'):
            names.add(node.module.rpartition('.')[2] + '.py')
    return names


def files() -> Dict[str, Path]:
    return {path.name: path for part in ('modules', 'module_utils') for path in (PLUGINS / part).glob('*.py')}


def test_each_file_has_its_sentence() -> None:
    assert set(FLOOR_OF) == set(files())
    assert set(FLOOR_OF.values()) == set(MAY_IMPORT)


@pytest.mark.parametrize('name', sorted(files()))
def test_arrows_point_down(name: str) -> None:
    floor = FLOOR_OF[name]
    allowed = {other for other, its in FLOOR_OF.items() if its in MAY_IMPORT[floor]} | {'_errors.py'}
    allowed |= {'_zip_import.py'} if floor == 'front doors' else set()
    allowed |= {part for part, whole in PART_OF.items() if whole == name} | {PART_OF.get(name, '')}
    assert imported(files()[name]) <= allowed


@pytest.mark.parametrize('name', sorted(name for name in files() if name.startswith('_')))
def test_utilities_import_no_ansible(name: str) -> None:
    text = files()[name].read_text(encoding='utf-8')
    assert not re.search(r'^\s*(?:from|import) ansible(?!_collections)', text, re.MULTILINE)


@pytest.mark.parametrize('path', sorted(CHECKOUT.glob('plugins/**/*.py')) + sorted(CHECKOUT.glob('tests/**/*.py')),
                         ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_file_is_too_long(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding='utf-8'))
    lines = len(path.read_text(encoding='utf-8').splitlines())
    assert lines <= LINES
    if path.parent == PLUGINS / 'modules':
        documentation = sum((node.end_lineno or 0) - node.lineno + 1 for node in tree.body
                            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant))
        assert lines - documentation <= LINES_OF_A_FRONT_DOOR
