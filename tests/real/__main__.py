# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real modules in real use: `python3 tests/real`. Run it by `make real`.

Each module is put to use, kmod_force_unload is run in default options and must refuse and change nothing, then what
kmod_facts tells to run is run, and a plain unload must succeed.
"""

import argparse
import json
import sys
import textwrap
import time
from typing import Dict, List, Tuple

from judged import Row, holds, row_of, summary
from place import OUTPUT, LabError, Place, Steps, progress
from use_cases import Case, cases_for

COLUMNS = ('case', 'host', 'refused', 'verdict', 'refcount', 'named', 'commands', 'freed')
WIDTHS = {'named': 52, 'commands': 60}


def short(row: Row, column: str) -> str:
    """A cell of the table."""
    value = row[column]
    text = '; '.join(value) if isinstance(value, list) else {True: 'yes', False: 'NO'}.get(value, str(value)) \
        if isinstance(value, bool) else str(value)
    return textwrap.shorten(text, WIDTHS.get(column, 60), placeholder=' ...')


def aligned(rows: List[Row]) -> str:
    """The table for a terminal."""
    cells = [list(COLUMNS), *([short(row, column) for column in COLUMNS] for row in rows)]
    room = [max(len(line[number]) for line in cells) for number in range(len(COLUMNS))]
    return '\n'.join('  '.join(cell.ljust(room[number]) for number, cell in enumerate(line)).rstrip() for line in cells)


def run(kernel: str, cases: Dict[str, Case], name: str) -> List[Row]:
    """The rows of one kernel; what is done is written down after each case."""
    rows: List[Row] = []
    some = '' if cases == cases_for(kernel) else '-some'
    target = OUTPUT / f'rows-{kernel}{some}.json'
    with Place(kernel, name) as place:
        for number, (title, case) in enumerate(cases.items(), 1):
            start = time.monotonic()
            steps, said, alive = one(place, case)
            row = dict(row_of(title, case, steps, said, alive), kernel=kernel, steps=steps,
                       date=time.strftime('%Y-%m-%d %H:%M'))
            rows.append(row)
            target.write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
            progress('{} {}/{} {}: {}; named: {}; {}; {:.0f} s'.format(
                kernel, number, len(cases), title, row['verdict'], short(row, 'named') or 'NOBODY',
                'freed' if row['freed'] else 'not asked for' if not case.command else 'NOT FREED',
                time.monotonic() - start))
            for text in row['wrong']:
                progress('    ' + textwrap.shorten(text, 700, placeholder=' ...'))
    return rows


def one(place: Place, case: Case) -> Tuple[Steps, str, bool]:
    """The steps of one case, what was said besides, and whether the host lives.

    A guest that was lost before the module was asked for was not lost by the collection: there it is tried once more.
    """
    for last in (False, True):
        place.fresh()
        steps, said = place.run_case(case)
        alive = place.is_alive()
        if alive or last or any(step['step'] == 'works' for step in steps):
            break
        progress('    the guest answers no more, before anything was asked of the collection: once more')
    return steps, said, alive


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog='python3 tests/real', description='Real modules in real use.')
    top.add_argument('--kernels', default='6.12')
    top.add_argument('--cases', default='', help='names of cases or of modules, with semicolons between; default: all')
    top.add_argument('--guest', default='', help='the guest\'s name')
    return top


def main() -> int:
    """The exit status."""
    options = parser().parse_args()
    held = True
    for kernel in options.kernels.split():
        cases = cases_for(kernel, options.cases)
        if not cases:
            raise LabError(f'There is no case {options.cases!r} for {kernel}; they are in tests/real/use_cases.py.')
        rows = run(kernel, cases, options.guest)
        print(aligned(rows))
        print(f'{kernel}: {summary(rows)}')
        held = held and holds(rows)
    return 0 if held else 1


if __name__ == '__main__':
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f'real: {error}')
    except KeyboardInterrupt:
        sys.exit('real: interrupted')
