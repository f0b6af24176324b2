# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/ARCHITECTURE.md names each folder and only files that are there; no file is too long. Who may import whom is
checked by import-linter.
"""

import ast
import re
import subprocess
from pathlib import Path
from typing import List

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
UTILITIES = 'plugins/module_utils/'
PAGE = (CHECKOUT / 'docs/ARCHITECTURE.md').read_text(encoding='utf-8')
LINES = 400
LINES_OF_A_MODULE = 200


def folders() -> List[str]:
    """Those of the collection that hold Python, as the page has them, and those of the tests."""
    tracked = subprocess.check_output(['git', 'ls-files', 'plugins/**.py', 'tests/*/*.py'], cwd=CHECKOUT, text=True)
    found = {str(Path(name).parent).replace(UTILITIES, '') + '/' for name in tracked.split()}
    return sorted({'/'.join(folder.split('/')[:2]) + '/' if folder.startswith('tests/') else folder
                   for folder in found} - {'plugins/module_utils/'})


@pytest.mark.parametrize('folder', folders())
def test_each_folder_has_its_line(folder: str) -> None:
    assert re.search(rf'^ *(?:\S+/  )*{re.escape(folder)} ', PAGE, re.MULTILINE)


@pytest.mark.parametrize('name', sorted(set(re.findall(r'`(_\w+/[\w/]+\.py)`', PAGE))))
def test_each_file_that_it_names_is_there(name: str) -> None:
    assert (CHECKOUT / UTILITIES / name).is_file()


def test_it_is_one_page() -> None:
    assert len(PAGE.splitlines()) <= 90


@pytest.mark.parametrize('path', sorted(CHECKOUT.glob('plugins/**/*.py')) + sorted(CHECKOUT.glob('tests/**/*.py')),
                         ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_file_is_too_long(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding='utf-8'))
    lines = len(path.read_text(encoding='utf-8').splitlines())
    documentation = sum((node.end_lineno or 0) - node.lineno + 1 for node in tree.body
                        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant))
    is_module = path.parent == CHECKOUT / 'plugins/modules'
    assert lines - (documentation if is_module else 0) <= (LINES_OF_A_MODULE if is_module else LINES)


@pytest.mark.parametrize('path', sorted(CHECKOUT.glob('roles/**/*.[ch]')), ids=lambda path: path.name)
def test_no_part_of_the_helper_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding='utf-8').splitlines()) <= LINES
