# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the Molecule scenarios in guests: ``run_molecule.py --jobs N [--scenario NAME]... KERNEL...``.

N guests at a time: they boot once, go through the scenarios that share guests, and are ended, whatever happened. Then
come, N side by side, the scenarios that bring a guest of their own (``shared_state: false``), whatever the kernels. A
scenario that fails does not keep the next one from running.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent import futures
from pathlib import Path
from typing import Dict, List, Tuple

from steps import record, run

CHECKOUT = Path(__file__).resolve().parents[2]
MOLECULE = CHECKOUT / 'extensions/molecule'
OWN_GUEST = re.compile(r'^shared_state: false$', re.MULTILINE)
SECONDS = 3600
# Too long for `make test`.
WHEN_NAMED = ('aarch64', 'fleet', 'synthesized')


def scenarios() -> List[str]:
    """Every scenario but `default`, which creates and destroys the guests of those that share them."""
    return sorted(path.parent.name for path in MOLECULE.glob('*/molecule.yml') if path.parent.name != 'default')


def brings_its_guest(scenario: str) -> bool:
    """Whether the scenario creates and destroys its guest itself."""
    return OWN_GUEST.search((MOLECULE / scenario / 'molecule.yml').read_text()) is not None


def test(scenario: str) -> List[str]:
    """The command that takes one scenario from its beginning to its end."""
    return ['molecule', 'test', '--no-report', '-s', scenario]


def state(kernels: List[str]) -> Dict[str, str]:
    """An environment with a state of its own: guests that an interrupted run left behind are not taken for these."""
    return {**os.environ, 'KMOD_KERNELS': ' '.join(kernels),
            'MOLECULE_EPHEMERAL_DIRECTORY': tempfile.mkdtemp(prefix='kmod-molecule-')}


def lifecycle(action: str, environment: Dict[str, str]) -> bool:
    """`molecule create` or `destroy` of the guests; true if it went well."""
    command = ['molecule', action, '-s', 'default']
    return subprocess.run(command, cwd=CHECKOUT, env=environment, timeout=SECONDS, check=False).returncode == 0


def on_kernels(kernels: List[str], names: List[str]) -> bool:
    """Runs these scenarios on guests of these kernels; true if all passed."""
    title = 'molecule %s on ' + ' and '.join(kernels)
    passed = True
    environment = state(kernels)
    start = time.monotonic()
    try:
        if not lifecycle('create', environment):
            record(title % 'create', time.monotonic() - start, 0, len(names))
            return False
        for name in names:
            passed &= run(title % name, test(name), None, CHECKOUT, environment) == 0
    finally:
        lifecycle('destroy', environment)
        shutil.rmtree(environment['MOLECULE_EPHEMERAL_DIRECTORY'], ignore_errors=True)
    return passed


def on_its_own(name: str) -> Tuple[str, bool, float, str]:
    """Runs one scenario that brings its guest: its name, whether it passed, its seconds, what it printed."""
    environment = state([])
    start = time.monotonic()
    try:
        done = subprocess.run(test(name), cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False)
    finally:
        shutil.rmtree(environment['MOLECULE_EPHEMERAL_DIRECTORY'], ignore_errors=True)
    return name, done.returncode == 0, time.monotonic() - start, done.stdout


def main() -> int:
    """1 if a scenario failed."""
    parser = argparse.ArgumentParser(description='Molecule scenarios on real kernels.')
    parser.add_argument('--jobs', type=int, default=2, help='guests side by side')
    parser.add_argument('--scenario', action='append', choices=scenarios(),
                        help='default: all but {}'.format(' and '.join(WHEN_NAMED)))
    parser.add_argument('kernels', nargs='+', metavar='KERNEL')
    arguments = parser.parse_args()
    jobs = max(1, arguments.jobs)
    wanted = arguments.scenario or [name for name in scenarios() if name not in WHEN_NAMED]
    own = [name for name in wanted if brings_its_guest(name)]
    sharing = [name for name in wanted if name not in own]
    batches = [arguments.kernels[first:first + jobs] for first in range(0, len(arguments.kernels), jobs)]
    results = [on_kernels(batch, sharing) for batch in batches if sharing]
    if own:
        print('== molecule %s: side by side, printed when each ends' % ', '.join(own), flush=True)
    with futures.ThreadPoolExecutor(jobs) as pool:
        for done in futures.as_completed([pool.submit(on_its_own, name) for name in own]):
            name, passed, seconds, printed = done.result()
            print(printed)
            record('molecule %s, its own guest' % name, seconds, int(passed), int(not passed))
            results.append(passed)
    return 0 if all(results) else 1


if __name__ == '__main__':
    sys.exit(main())
