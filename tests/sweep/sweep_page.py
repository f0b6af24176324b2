# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sweeps found, as tables of docs/SWEEP.md and a sentence of README.md."""

import json
import re
from typing import Dict, List, Sequence

from sweep import CHECKOUT, Row, counts

KEPT = CHECKOUT / 'tests/output/sweep'
PAGE, README = CHECKOUT / 'docs/SWEEP.md', CHECKOUT / 'README.md'
COLUMNS = {'points': 'points', 'harmed': 'host harmed', 'loads': 'fixed build loads', 'serves': 'it serves',
           'gone': 'gone', 'parked': 'parked', 'refused': 'refused', 'locked': 'a lock is held'}
MARK = '<!-- {} -->\n{}<!-- end of {} -->'


def keep(kernel: str, rows: List[Row]) -> None:
    """Keeps the rows of a kernel, the newest of each point."""
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f'{kernel}.json'
    old: List[Row] = json.loads(path.read_text(encoding='utf-8')) if path.exists() else []
    by_point = {(row['sample'], row['where']): row for row in old + rows}
    path.write_text(json.dumps(list(by_point.values()), indent=1) + '\n', encoding='utf-8')


def kept() -> Dict[str, List[Row]]:
    """The rows of each kernel that was swept."""
    found = {path.stem: json.loads(path.read_text(encoding='utf-8')) for path in KEPT.glob('*.json')}
    return dict(sorted(found.items(), key=lambda pair: [int(part) for part in pair[0].split('.')]))


def broken(rows: Sequence[Row]) -> List[Row]:
    """The rows that no sweep may have: a host that was harmed, a fixed build that does not load although it can."""
    return [row for row in rows if row['harm'] or (row['loads'] != 'ok' and not row['locked'])]


def cell(row: Row) -> str:
    """What became of a point, in few words."""
    if row['harm']:
        return '**harmed**'
    works = 'serves' if row['serves'] == row['unloads'] == 'ok' else 'loads' if row['loads'] == 'ok' else row['loads']
    return works if row['became'] == 'gone' else f'{row["became"]}; {works}'


def table(columns: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    head = ['| ' + ' | '.join(columns) + ' |', '|' + ' --- |' * len(columns)]
    return '\n'.join(head + ['| ' + ' | '.join(str(each) for each in line) + ' |' for line in lines]) + '\n'


def numbers(found: Dict[str, List[Row]]) -> str:
    """The numbers of each kernel."""
    return table(['kernel', *COLUMNS.values()], [
        [kernel, *[counts(rows)[name] for name in COLUMNS]] for kernel, rows in found.items()])


def each(found: Dict[str, List[Row]]) -> str:
    """What became of each point on each kernel."""
    cells = {(row['sample'], row['where'], kernel): cell(row) for kernel, rows in found.items() for row in rows}
    places = dict.fromkeys((row['sample'], row['where']) for rows in found.values() for row in rows)
    return table(['sample', 'dies in', *found], [
        [f'`{sample}`', where, *[cells.get((sample, where, kernel), '') for kernel in found]]
        for sample, where in places])


def in_a_sentence(found: Dict[str, List[Row]]) -> str:
    """The four numbers of all kernels."""
    all_of_them = counts([row for rows in found.values() for row in rows])
    return (f'{all_of_them["points"]} drivers that died after one step or another of their init or exit, on '
            f'{", ".join(found)}: hosts harmed {all_of_them["harmed"]}, fixed build loads '
            f'{share(all_of_them["loads"], all_of_them["points"])}, and serves '
            f'{share(all_of_them["serves"], all_of_them["points"])}.\n')


def share(some: int, of: int) -> str:
    """``97.5 % (117 of 120)``."""
    return f'{100 * some / max(of, 1):.1f} % ({some} of {of})'


def put(page: str, name: str, text: str) -> str:
    """A page with a text between its markers."""
    pattern = re.compile(MARK.format(name, '.*?', name), re.DOTALL)
    found, count = pattern.subn(lambda _match: MARK.format(name, text, name), page)
    if count != 1:
        raise SystemExit(f'the markers of {name} stand {count} times in the page')
    return found


def write() -> None:
    """Puts what was found into both pages."""
    found = kept()
    page = put(put(PAGE.read_text(encoding='utf-8'), 'numbers', numbers(found)), 'points', each(found))
    PAGE.write_text(page, encoding='utf-8')
    README.write_text(put(README.read_text(encoding='utf-8'), 'sweep', in_a_sentence(found)), encoding='utf-8')
