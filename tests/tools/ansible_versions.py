# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs tests/controller under every minor version of ansible-core that the collection is for, two side by side.

Each gets the newest Python of this machine that it runs on, and a virtual environment, kept in .cache. A version with
no such Python is named as not run, as is one that the package index has and the table below lacks. The tests in a
browser are left out: what they look at is the same page. Arguments choose versions: ``ansible_versions.py 2.16 2.21``.
"""

import os
import re
import subprocess
import sys
import time
from concurrent import futures
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

import unit_all_pythons
from pythons import Version, every
from steps import counts, record

CHECKOUT = unit_all_pythons.CHECKOUT
CACHE = CHECKOUT / '.cache/ansible-versions'
OUTPUT = CHECKOUT / 'tests/output/junit'
BROWSER = CHECKOUT / 'tests/controller/test_audit_page.py'
SECONDS = 1800
# The latest release of each minor version, and the oldest and newest Python that its controller runs on.
RELEASES = {
    '2.16.19': ((3, 10), (3, 12)),
    '2.17.14': ((3, 10), (3, 12)),
    '2.18.19': ((3, 11), (3, 13)),
    '2.19.14': ((3, 11), (3, 13)),
    '2.20.10': ((3, 12), (3, 14)),
    '2.21.5': ((3, 12), (3, 14)),
}


class Row(NamedTuple):
    """What came of one version."""

    release: str
    python: str
    passed: int
    failed: int
    seconds: float
    note: str


def fitting(oldest: Version, newest: Version) -> Optional[Tuple[Version, Path]]:
    """The newest Python of this machine between these two; None if it has none."""
    found = [version for version in every() if oldest <= version <= newest]
    return (max(found), every()[max(found)]) if found else None


def run(release: str) -> Row:
    """Installs this ansible-core and runs the tests with it."""
    oldest, newest = RELEASES[release]
    python = fitting(oldest, newest)
    if python is None:
        return Row(release, '-', 0, 0, 0,
                   'not run: this machine has no Python from %d.%d to %d.%d' % (*oldest, *newest))
    version, executable = python
    name = '%d.%d' % version
    junit = OUTPUT / ('ansible-%s.xml' % release)
    junit.parent.mkdir(parents=True, exist_ok=True)
    junit.unlink(missing_ok=True)
    try:
        program = unit_all_pythons.venv_with_pytest(CACHE / f'{release}-py{name}', name, executable,
                                                    'ansible-core==' + release)
    except subprocess.CalledProcessError as error:
        return Row(release, name, 0, 1, 0, 'pip could not install it: ' + error.output.strip().splitlines()[-1])
    command = [program, '-m', 'pytest', '-q', '-o', 'cache_dir=%s' % (CACHE / ('pytest-' + release)),
               '--junit-xml', str(junit), '--ignore', str(BROWSER), 'tests/controller']
    environment = {**os.environ, 'PYTHONDONTWRITEBYTECODE': '1',
                   'PATH': os.pathsep.join([str(Path(program).parent), os.environ.get('PATH', os.defpath)])}
    start = time.monotonic()
    try:
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Row(release, name, 0, 1, SECONDS, 'did not end within %d s' % SECONDS)
    passed, cases = counts(junit) if junit.exists() else (0, [])
    failed = len(cases)
    if done.returncode:
        print(done.stdout, flush=True)
    note = 'pytest ended with %d' % done.returncode if done.returncode and not failed else ''
    return Row(release, name, passed, max(failed, int(bool(note))), time.monotonic() - start, note)


def untried() -> List[str]:
    """The minor versions that the package index has for this Python and the table lacks."""
    done = subprocess.run([sys.executable, '-m', 'pip', 'index', 'versions', 'ansible-core'], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, timeout=120, check=False)
    offered = {(int(major), int(minor)) for major, minor in re.findall(r'\b(\d+)\.(\d+)\.\d+\b', done.stdout)}
    known = {minor_of(release) for release in RELEASES}
    return ['%d.%d' % version for version in sorted(offered) if version > min(known) and version not in known]


def minor_of(release: str) -> Version:
    """2.16 of 2.16.19."""
    major, minor = release.split('.')[:2]
    return int(major), int(minor)


def main(wanted: List[str]) -> int:
    """Runs those that are asked for, or all, prints the table; 1 if a test failed or none ran."""
    chosen = [release for release in RELEASES
              if not wanted or release in wanted or '%d.%d' % minor_of(release) in wanted]
    rows = []
    with futures.ThreadPoolExecutor(unit_all_pythons.SIDE_BY_SIDE) as pool:
        for row in pool.map(run, chosen):
            if row.python != '-':
                record('ansible-core %s, Python %s' % (row.release, row.python), row.seconds, row.passed, row.failed)
            rows.append(row)
    rows += [Row(version, '-', 0, 0, 0, 'not run: not in the table of tests/tools/ansible_versions.py')
             for version in (untried() if not wanted else [])]
    print('%-14s %-8s %7s %7s %8s' % ('ansible-core', 'Python', 'passed', 'failed', 'seconds'))
    for row in rows:
        print(('%-14s %-8s %7d %7d %8.0f  %s' % row).rstrip())
    return 0 if any(row.passed for row in rows) and not any(row.failed for row in rows) else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
