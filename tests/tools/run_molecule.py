# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the Molecule scenarios in guests: ``run_molecule.py --jobs N [--scenario NAME]... KERNEL...``.

N guests at a time: they boot once, go through all scenarios, and are ended, whatever happened. A scenario that fails
does not keep the next one from running.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List

from steps import record, run

CHECKOUT = Path(__file__).resolve().parents[2]
MOLECULE = CHECKOUT / 'extensions/molecule'
SECONDS = 3600


def scenarios() -> List[str]:
    """Every scenario but `default`, which creates and destroys the guests of the others."""
    return sorted(path.parent.name for path in MOLECULE.glob('*/molecule.yml') if path.parent.name != 'default')


def lifecycle(action: str, environment: Dict[str, str]) -> bool:
    """`molecule create` or `destroy` of the guests; true if it went well."""
    command = ['molecule', action, '-s', 'default']
    return subprocess.run(command, cwd=CHECKOUT, env=environment, timeout=SECONDS, check=False).returncode == 0


def on_kernels(kernels: List[str], names: List[str]) -> bool:
    """Runs these scenarios on guests of these kernels; true if all passed."""
    title = 'molecule %s on ' + ' and '.join(kernels)
    passed = True
    # A state of its own: guests that an interrupted run left behind are not taken for these.
    scratch = tempfile.mkdtemp(prefix='kmod-molecule-')
    environment = {**os.environ, 'KMOD_KERNELS': ' '.join(kernels), 'MOLECULE_EPHEMERAL_DIRECTORY': scratch}
    try:
        if not lifecycle('create', environment):
            record(title % 'create', 0, 0, len(names))
            return False
        for name in names:
            command = ['molecule', 'test', '--no-report', '-s', name]
            passed &= run(title % name, command, None, CHECKOUT, environment) == 0
    finally:
        lifecycle('destroy', environment)
        shutil.rmtree(scratch, ignore_errors=True)
    return passed


def main() -> int:
    """1 if a scenario failed."""
    parser = argparse.ArgumentParser(description='Molecule scenarios on real kernels.')
    parser.add_argument('--jobs', type=int, default=2, help='guests side by side')
    parser.add_argument('--scenario', action='append', choices=scenarios(), help='default: all')
    parser.add_argument('kernels', nargs='+', metavar='KERNEL')
    arguments = parser.parse_args()
    jobs = max(1, arguments.jobs)
    batches = [arguments.kernels[first:first + jobs] for first in range(0, len(arguments.kernels), jobs)]
    results = [on_kernels(batch, arguments.scenario or scenarios()) for batch in batches]
    return 0 if all(results) else 1


if __name__ == '__main__':
    sys.exit(main())
