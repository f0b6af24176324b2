# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the book of a test run: what ran, how long, how many checks passed and failed.

``steps.py run NAME [--junit FILE] -- COMMAND...`` runs a step and writes it down.
``steps.py summary [STATUS]`` prints the book, then what failed; the last line is 'N passed, N failed'.

A step counts as one check; with --junit as many as that file has test cases. STATUS is that of the whole run: one that
is not 0 although every step passed counts as a failure. The book is tests/output/steps.jsonl.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple
from xml.etree import ElementTree

BOOK = Path(__file__).resolve().parents[1] / 'output/steps.jsonl'


def record(name: str, seconds: float, passed: int, failed: int, cases: Sequence[str] = ()) -> None:
    """Writes a step down, and prints it. ``cases``: what failed of it."""
    BOOK.parent.mkdir(exist_ok=True)
    entry = {'name': name, 'date': time.strftime('%Y-%m-%d'), 'seconds': round(seconds, 1), 'passed': passed,
             'failed': failed, 'cases': list(cases)}
    with BOOK.open('a') as book:
        book.write(json.dumps(entry) + '\n')
    print('== %s: %d passed, %d failed in %.1f s' % (name, passed, failed, seconds), flush=True)


def counts(junit: Path) -> Tuple[int, List[str]]:
    """How many test cases passed, and those that did not, from a JUnit file; a skipped one is neither."""
    passed, failed = 0, []
    for case in ElementTree.parse(junit).getroot().iter('testcase'):  # noqa: S314  (the step wrote it just now)
        words = [found.get('message', '') for kind in ('failure', 'error') for found in case.findall(kind)]
        if words:
            failed.append('{} {}: {}'.format(case.get('classname'), case.get('name'), ' '.join(words[0].split())[:300]))
        elif case.find('skipped') is None:
            passed += 1
    return passed, failed


def run(name: str, command: List[str], junit: Optional[Path], cwd: Optional[Path] = None,
        environment: Optional[Dict[str, str]] = None) -> int:
    """Runs a step, writes it down and returns its exit status."""
    print('== %s: %s' % (name, shlex.join(command)), flush=True)
    if junit:
        junit.unlink(missing_ok=True)
    start = time.monotonic()
    status = subprocess.run(command, cwd=cwd, env=environment, check=False).returncode
    passed, cases = (1, []) if status == 0 else (0, [f'{name}: ended with {status}'])
    if junit and junit.exists():
        passed, cases = counts(junit)
        if status and not cases:
            cases = [f'{name}: ended with {status}, though no test case failed']
    record(name, time.monotonic() - start, passed, len(cases), cases)
    return status


def summary(status: int) -> int:
    """Prints every step and, last, the sum; 1 if anything failed or nothing ran."""
    entries = [json.loads(line) for line in BOOK.read_text().splitlines()] if BOOK.exists() else []
    passed = sum(entry['passed'] for entry in entries)
    failed = sum(entry['failed'] for entry in entries)
    for entry in entries:
        print('%(seconds)8.1f s %(passed)6d passed %(failed)4d failed  %(name)s' % entry)
    for entry in entries:
        for case in entry.get('cases', []):
            print('FAILED: ' + case)
    if status and not failed:
        print('The run ended with status %d outside these steps.' % status)
        failed = 1
    print('%d passed, %d failed' % (passed, failed))
    return 1 if failed or not passed else 0


def main(arguments: List[str]) -> int:
    """Does what the first argument says."""
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
