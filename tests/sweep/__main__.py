# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sweep: drivers that die after each step of their init and exit, and what undo makes of it.

`python3 tests/sweep run --kernels "6.12 7.3"` runs it; `python3 tests/sweep docs` puts what the last runs found into
docs/SWEEP.md and its numbers into README.md. Exit status 1 where a host was harmed, or a fixed build does not load
where no lock is held.
"""

import argparse
import sys
from typing import List

import sweep
import sweep_page
from samples import SAMPLES
from sweep import LabError, Row, progress


def run(kernels: List[str], names: List[str], guest: str) -> bool:
    """Runs the sweep on each kernel, and keeps what was found; whether it held."""
    held = True
    for kernel in kernels:
        rows: List[Row] = []
        for batch in sweep.run(kernel, names, guest):
            rows += batch
            sweep_page.keep(kernel, batch)
            for row in batch:
                if row['harm'] or row['serves'] != 'ok' or row['unloads'] != 'ok':
                    progress('{kernel} {sample}, {where}: {became}; loads: {loads}; serves: {serves}; unloads: '
                             '{unloads}; {why} {hits} {harm}'.format(**row))
            progress(f'{kernel}: {sweep.in_short(rows)}')
        held = held and not sweep_page.broken(rows)
        print(f'{kernel}: {sweep.in_short(rows)}')
    return held


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog='tests/sweep', description=__doc__)
    commands = top.add_subparsers(dest='command', required=True)
    one = commands.add_parser('run')
    one.add_argument('--kernels', default='5.10 6.1 6.12 7.3')
    one.add_argument('--samples', default='', help='default: ' + ' '.join(SAMPLES))
    one.add_argument('--guest', default='sweep', help="the first part of the guests' names")
    commands.add_parser('docs')
    return top


if __name__ == '__main__':
    asked = parser().parse_args()
    try:
        if asked.command == 'docs':
            sweep_page.write()
            sys.exit(0)
        sys.exit(0 if run(asked.kernels.split(), asked.samples.split() or list(SAMPLES), asked.guest) else 1)
    except LabError as error:
        sys.exit(f'sweep: {error}')
    except KeyboardInterrupt:
        sys.exit('sweep: interrupted')
