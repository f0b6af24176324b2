# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the unit tests of what runs on managed hosts under every other Python from 3.6 on that this machine has.

With ``--oldest`` or ``--newest`` under that one alone. No Ansible is installed there: test files that import it, or a
module, are left out, and named, as are those of filters. Each Python compiles all of plugins/ but what runs on the
controller alone.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent import futures
from pathlib import Path
from typing import List, NamedTuple

from pythons import every
from steps import record

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / '.cache/units'
REQUIREMENTS = CHECKOUT / 'requirements-unit.txt'
IMPORTS_ANSIBLE = re.compile(
    r'^\s*(from|import) (ansible|ansible_collections\.\S+\.plugins\.(modules|filter|plugin_utils)|test_front_doors)\b',
    re.MULTILINE)
# The pip that comes with Python 3.6 installs releases that need a newer Python; this is the last one for 3.6.
PIP = {'3.6': 'pip==21.3.1'}
ON_CONTROLLER = ('filter', 'plugin_utils')
SIDE_BY_SIDE = 2
SECONDS = 900


class Run(NamedTuple):
    """What came of one Python."""

    name: str
    passed: bool
    seconds: float
    printed: str


def output(*command: str) -> str:
    """What a command prints, on both streams; raises CalledProcessError with it."""
    environment = {**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'}
    return subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=SECONDS, check=True).stdout


def venv_with_pytest(venv: Path, name: str, executable: Path, *packages: str) -> str:
    """The Python of a venv with the unit tests' requirements and ``packages``; made anew when any of that changes.

    ``name`` is the minor version of the interpreter, ``executable``.
    """
    recipe = hashlib.sha256(REQUIREMENTS.read_bytes() + ' '.join([str(executable), *packages]).encode()).hexdigest()
    python = str(venv / 'bin/python')
    marker = venv / 'recipe'
    if not marker.exists() or marker.read_text() != recipe:
        shutil.rmtree(venv, ignore_errors=True)
        output(str(executable), '-m', 'venv', str(venv))
        install = [python, '-m', 'pip', 'install', '-qq', '--disable-pip-version-check']
        if name in PIP:
            output(*install, PIP[name])
        output(*install, *packages, '-r', str(REQUIREMENTS))
        marker.write_text(recipe)
    return python


def run_under(name: str, executable: Path, files: List[str]) -> Run:
    """Compiles what of plugins/ runs on hosts, and runs the test files."""
    program = 'import sys\nfor name in sys.argv[1:]:\n    compile(open(name, "rb").read(), name, "exec")'
    plugins = [str(path) for path in sorted((CHECKOUT / 'plugins').rglob('*.py'))
               if path.parent.name not in ON_CONTROLLER]
    start = time.monotonic()
    try:
        python = venv_with_pytest(CACHE / name, name, executable)
        output(python, '-c', program, *plugins)
        printed = output(python, '-m', 'pytest', '-q', '-o', 'cache_dir=%s' % (CACHE / name / 'cache'), *files)
        passed = True
    except subprocess.CalledProcessError as error:
        printed, passed = error.output, False
    except subprocess.TimeoutExpired as error:
        printed, passed = str(error), False
    return Run(name, passed, time.monotonic() - start, printed)


def main() -> int:
    """Runs all, two side by side, and prints each when it ends; 1 if one failed."""
    files = sorted((CHECKOUT / 'tests/unit').rglob('test_*.py'))
    on_hosts = [path for path in files if not IMPORTS_ANSIBLE.search(path.read_text())]
    for path in sorted(set(files) - set(on_hosts)):
        print('needs Ansible, runs in `make unit` alone: %s' % path.relative_to(CHECKOUT))
    names = [str(path) for path in on_hosts]
    pythons = every()
    others = sorted(version for version in pythons if version != sys.version_info[:2])
    if '--oldest' in sys.argv[1:]:
        others = others[:1]
    if '--newest' in sys.argv[1:]:
        others = others[-1:]
    failed = []
    with futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        runs = [pool.submit(run_under, '%d.%d' % version, pythons[version], names) for version in others]
        print('%d test files under %d Pythons; `make unit` runs Python %d.%d' %
              (len(names), len(runs), *sys.version_info[:2]), flush=True)
        for done in futures.as_completed(runs):
            run = done.result()
            print('== Python %s\n%s' % (run.name, run.printed if not run.passed else run.printed.splitlines()[-1]))
            record('unit tests, Python %s' % run.name, run.seconds, int(run.passed), int(not run.passed))
            if not run.passed:
                failed.append(run.name)
    if failed:
        print('failed under Python %s' % ', '.join(failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
