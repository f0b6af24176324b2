# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the unit tests of what runs on managed hosts under every Python from 3.6 on that this machine has.

No Ansible is installed there: test files that import it are left out, and named. Each Python compiles all of plugins/.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import List

from pythons import every
from steps import record

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / '.cache/units'
REQUIREMENTS = CHECKOUT / 'requirements-unit.txt'
IMPORTS_ANSIBLE = re.compile(r'^\s*(from|import) ansible\b', re.MULTILINE)
# The pip that comes with Python 3.6 installs releases that need a newer Python; this is the last one for 3.6.
PIP = {'3.6': 'pip==21.3.1'}
SECONDS = 600


def venv_with_pytest(name: str, executable: Path) -> Path:
    """The Python of a venv with the unit tests' requirements; made anew when they or the interpreter change."""
    recipe = hashlib.sha256(REQUIREMENTS.read_bytes() + str(executable).encode()).hexdigest()
    venv = CACHE / name
    marker = venv / 'recipe'
    if not marker.exists() or marker.read_text() != recipe:
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([str(executable), '-m', 'venv', str(venv)], check=True, timeout=SECONDS)
        install = [str(venv / 'bin/python'), '-m', 'pip', 'install', '-qq', '--disable-pip-version-check']
        if name in PIP:
            subprocess.run([*install, PIP[name]], check=True, timeout=SECONDS)
        subprocess.run([*install, '-r', str(REQUIREMENTS)], check=True, timeout=SECONDS)
        marker.write_text(recipe)
    return venv / 'bin/python'


def run_under(python: Path, files: List[Path], junit: Path) -> bool:
    """Compiles plugins/ and runs the test files; true if both went well."""
    environment = {**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'}
    program = 'import sys\nfor name in sys.argv[1:]:\n    compile(open(name, "rb").read(), name, "exec")'
    plugins = [str(path) for path in sorted((CHECKOUT / 'plugins').rglob('*.py'))]
    compiled = subprocess.run([str(python), '-c', program, *plugins], timeout=SECONDS, check=False)
    tested = subprocess.run([str(python), '-m', 'pytest', '-q', '--junit-xml', str(junit),
                             *map(str, files)], cwd=CHECKOUT, env=environment, timeout=SECONDS, check=False)
    return compiled.returncode == 0 and tested.returncode == 0


def main() -> int:
    """Runs all, prints a line for each; 1 if one failed."""
    files = sorted((CHECKOUT / 'tests/unit').rglob('test_*.py'))
    on_hosts = [path for path in files if not IMPORTS_ANSIBLE.search(path.read_text())]
    for path in sorted(set(files) - set(on_hosts)):
        print('needs Ansible, runs in `make unit` alone: %s' % path.relative_to(CHECKOUT))
    output = CHECKOUT / 'tests/output/junit'
    output.mkdir(parents=True, exist_ok=True)
    failed = []
    for version, executable in every().items():
        name = '%d.%d' % version
        print('Python %s (%s), %d test files' % (name, executable, len(on_hosts)), flush=True)
        start = time.monotonic()
        passed = run_under(venv_with_pytest(name, executable), on_hosts, output / ('python%s.xml' % name))
        record('unit tests, Python %s' % name, time.monotonic() - start, int(passed), int(not passed))
        if not passed:
            failed.append(name)
    if failed:
        print('failed under Python %s' % ', '.join(failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
