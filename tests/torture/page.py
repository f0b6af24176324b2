# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last runs found, as the sections of docs/TORTURE.md: `python3 tests/torture docs`."""

import json
from typing import Any, Dict, List

from conditions import CONDITIONS
from expectations import EXPECTED
from rig import CHECKOUT, OUTPUT, locked

PAGE = CHECKOUT / 'docs/TORTURE.md'
Rows = List[Dict[str, Any]]


def merged(rows: Rows) -> Rows:
    """All rows so far, the newest of each kernel, condition and fault; kept in rows.json."""
    kept = OUTPUT / 'rows.json'
    with locked('torture-rows'):
        old: Rows = json.loads(kept.read_text(encoding='utf-8')) if kept.exists() else []
        by_key = {(row['kernel'], row['condition'], row['fault']): row for row in old + rows}
        found = list(by_key.values())
        kept.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    return found


def read(pattern: str) -> Rows:
    """The rows of all files of a kind."""
    return [row for path in sorted(OUTPUT.glob(pattern)) for row in json.loads(path.read_text(encoding='utf-8'))]


def table(columns: List[str], lines: List[List[Any]]) -> str:
    """A table in Markdown; empty where there are no lines."""
    if not lines:
        return ''
    head = ['| ' + ' | '.join(columns) + ' |', '|' + ' --- |' * len(columns)]
    return '\n'.join(head + ['| ' + ' | '.join(str(cell) for cell in line) + ' |' for line in lines]) + '\n'


def stale_entry() -> str:
    """The figures of make torture-stale-entry."""
    columns = ['kernel', 'case', 'loads of', 'asked', 'real', 'through', 'seconds', 'end', 'next load', 'kernel log',
               'must', 'holds']
    return table(columns, [[row[column] for column in columns] for row in read('stale-entry-*.json')])


def memory() -> str:
    """The figures of make torture-memory."""
    lines = []
    for row in read('memory-*.json'):
        for number, entry in enumerate(row['growth']):
            first = [row['kernel'], row['cycle'], row['cycles'], row['seconds']] if not number else [''] * 4
            lines.append([*first, entry['what'], entry['per cycle'], entry['noise'], entry['bound'], entry['verdict']])
    columns = ['kernel', 'cycle', 'cycles', 'seconds', 'what', 'growth per cycle', 'noise', 'bound', 'verdict']
    return table(columns, lines)


def hazards() -> str:
    """What make torture-hazards found."""
    columns = ['kernel', 'hazard', 'fault', 'refused', 'another code', 'accepted', 'after that', 'holds']
    return table(columns, [[row[column] for column in columns] for row in read('hazards-*.json')])


def cell(row: Dict[str, Any]) -> str:
    """What became of the module, and whether the row holds."""
    end = row['module'].rsplit(' > ', 1)[-1]
    word = 'lost' if row['host'] != 'alive' else 'gone' if end == 'absent' else 'parked' if end == 'parked' else 'stays'
    return word if row['row'] == 'holds' else f'**{word}, does not hold**'


def suite(rows: Rows) -> Dict[str, str]:
    """A section for each kernel: one table, a fault to a line, a condition to a column."""
    parts = {}
    for kernel in dict.fromkeys(row['kernel'] for row in rows):
        mine = {(row['fault'], row['condition']): row for row in rows if row['kernel'] == kernel}
        names = [name for name in CONDITIONS if any(condition == name for _fault, condition in mine)]
        lines = [[f'`{fault}`', *[cell(mine[fault, name]) if (fault, name) in mine else '' for name in names]]
                 for fault in EXPECTED if any((fault, name) in mine for name in names)]
        dates = sorted({row['date'] for row in mine.values()})
        bad = ['- `{condition}` `{fault}`: '.format(**row) + text for row in mine.values() for text in row['broken']]
        held = sum(row['row'] == 'holds' for row in mine.values())
        lost = sum(row['host'] != 'alive' for row in mine.values())
        parts[kernel] = (f'### {kernel}\n\nRun {dates[0]} to {dates[-1]}: {len(mine)} rows, {held} hold, {lost} lost '
                         f'their host.\n\n{table(["fault", *names], lines)}' + '\n'.join(['', *bad]) * bool(bad))
    return parts


def standing(page: str, name: str) -> str:
    """What the page has behind a marker."""
    return page.partition(f'<!-- {name} -->\n')[2].partition('\n## ')[0]


def with_old(sections: Dict[str, str], page: str) -> str:
    """The sections of all kernels: those of now, and of one that was not run in this checkout what stands there."""
    old = {section.split('\n', 1)[0]: f'### {section.rstrip()}\n' for section in
           standing(page, 'table').split('### ')[1:]}
    return '\n'.join({**old, **sections}.values())


def by_kernel(text: str) -> Dict[str, List[str]]:
    """The lines of a table whose first column is the kernel, or empty for that of the line above."""
    found: Dict[str, List[str]] = {}
    kernel = ''
    for line in [line for line in text.splitlines() if line.startswith('| ')][2:]:
        kernel = line.split('|')[1].strip() or kernel
        found.setdefault(kernel, []).append(line)
    return found


def with_old_lines(text: str, page: str, name: str) -> str:
    """The table of now, with the lines of each kernel that was not run in this checkout as they stand in the page."""
    old = standing(page, name)
    head = text.splitlines()[:2]
    return '\n'.join([*head, *(line for lines in {**by_kernel(old), **by_kernel(text)}.values() for line in lines), ''])


def write() -> None:
    """Puts what was run into the page, each behind its marker."""
    page = PAGE.read_text(encoding='utf-8')
    tables = {name: with_old_lines(text, page, name) for name, text in
              (('hazards', hazards()), ('stale-entry', stale_entry()), ('memory', memory())) if text}
    for name, text in {**tables, 'table': with_old(suite(merged([])), page)}.items():
        before, marker, after = page.partition(f'<!-- {name} -->\n')
        following = after.find('\n## ')
        page = f'{before}{marker}\n{text}' + (after[following:] if following >= 0 else '')
    PAGE.write_text(page.rstrip() + '\n', encoding='utf-8')
