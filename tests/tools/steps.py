# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the book of a test run: what ran, how long, how many checks passed and failed.

``steps.py start`` begins a new book.
``steps.py run NAME [--junit FILE] -- COMMAND...`` runs a step and writes it down.
``steps.py summary [STATUS]`` prints the book; the last line is 'N passed, N failed'.

A step counts as one check; with --junit as many as that file has test cases. STATUS is that of the whole run: one that
is not 0 although every step passed counts as a failure. The book is tests/output/steps.jsonl.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Tuple
from xml.etree import ElementTree

BOOK = Path(__file__).resolve().parents[1] / 'output/steps.jsonl'


def record(name: str, seconds: float, passed: int, failed: int) -> None:
    """Writes a step down, and prints it."""
    BOOK.parent.mkdir(exist_ok=True)
    entry = {'name': name, 'date': time.strftime('%Y-%m-%d'), 'seconds': round(seconds, 1), 'passed': passed,
             'failed': failed}
    with BOOK.open('a') as book:
        book.write(json.dumps(entry) + '\n')
    print('== %s: %d passed, %d failed in %.1f s' % (name, passed, failed, seconds), flush=True)


def counts(junit: Path) -> Tuple[int, int]:
    """Test cases that passed and that did not, from a JUnit file; a skipped one is neither."""
    suites = ElementTree.parse(junit).getroot().iter('testsuite')  # noqa: S314  (pytest wrote it just now)
    total = bad = skipped = 0
    for suite in suites:
        total += int(suite.get('tests', '0'))
        bad += int(suite.get('failures', '0')) + int(suite.get('errors', '0'))
        skipped += int(suite.get('skipped', '0'))
    return total - bad - skipped, bad


def run(name: str, command: List[str], junit: Optional[Path], cwd: Optional[Path] = None,
        environment: Optional[Dict[str, str]] = None) -> int:
    """Runs a step, writes it down and returns its exit status."""
    print('== %s: %s' % (name, shlex.join(command)), flush=True)
    if junit:
        junit.unlink(missing_ok=True)
    start = time.monotonic()
    status = subprocess.run(command, cwd=cwd, env=environment, check=False).returncode
    passed, failed = (1, 0) if status == 0 else (0, 1)
    if junit and junit.exists():
        passed, failed = counts(junit)
        if status and not failed:
            failed = 1
    record(name, time.monotonic() - start, passed, failed)
    return status


def summary(status: int) -> int:
    """Prints every step and, last, the sum; 1 if anything failed or nothing ran."""
    entries = [json.loads(line) for line in BOOK.read_text().splitlines()] if BOOK.exists() else []
    passed = sum(entry['passed'] for entry in entries)
    failed = sum(entry['failed'] for entry in entries)
    for entry in entries:
        print('%(seconds)8.1f s %(passed)6d passed %(failed)4d failed  %(name)s' % entry)
    if status and not failed:
        print('The run ended with status %d outside these steps.' % status)
        failed = 1
    print('%d passed, %d failed' % (passed, failed))
    return 1 if failed or not passed else 0


def main(arguments: List[str]) -> int:
    """Does what the first argument says."""
    if arguments == ['start']:
        BOOK.unlink(missing_ok=True)
        return 0
    if arguments[:1] == ['summary']:
        return summary(int((arguments[1:] or ['0'])[0]))
    if arguments[:1] == ['run'] and '--' in arguments:
        split = arguments.index('--')
        options, command = arguments[1:split], arguments[split + 1:]
        if len(options) == 1:
            return run(options[0], command, None)
        if len(options) == 3 and options[1] == '--junit':
            return run(options[0], command, Path(options[2]))
    sys.stderr.write(__doc__ or '')
    return 2


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
