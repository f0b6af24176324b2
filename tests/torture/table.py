# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table: runs the batches, prints one row for each kernel, condition and fault, and writes it down."""

import itertools
import json
import re
import textwrap
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence
from xml.etree import ElementTree

import page
from conditions import CONDITIONS, Batch, expectation
from expectations import batches
from rig import OUTPUT, HostLostError, Rig, progress
from rules import Turn, is_gone, judge, parked_as, reported, state

COLUMNS = ('kernel', 'condition', 'fault', 'host', 'module', 'reported', 'must hold', 'row')
Row = Dict[str, Any]
# An address that an earlier owner left in an object, where a module lies now, is no pointer to it. What comes of that:
FALSE_ALARM = re.compile("(kmod_facts: |check mode: )?(it should be gone, and is parked|"
                         "it should be (unreachable|unknown), and is reachable|the method is park: |"
                         "what it left is not told as 'nothing': )")


def row_of(rig: Rig, condition: str, turn: Turn) -> Row:
    """A turn, judged."""
    rule, expected = CONDITIONS[condition].rule, expectation(CONDITIONS[condition], turn.fault, rig.kernel)
    broken = judge(turn, expected, rule)
    looks = [look for look in (turn.before, turn.after, turn.final) if look]
    states = ['parked' if is_gone(look, turn.fault) and parked_as(look, turn.fault) else state(look, turn.fault)
              for look in looks]
    reports = [*turn.reports, *([turn.next_report] if turn.next_report else [])]
    words = [reported(report) for report in reports]
    if turn.note:
        words.insert(0, turn.note.splitlines()[0][:60])
    return {
        'kernel': rig.kernel, 'condition': condition, 'fault': turn.fault,
        'host': 'lost' if turn.after is None else 'alive',
        'module': ' > '.join(text for number, text in enumerate(states) if not number or text != states[number - 1]),
        'reported': '; '.join(words), 'must hold': rule.must if expected.frees_name or rule.check else rule.must_stay,
        'row': 'holds' if not broken else 'DOES NOT HOLD', 'broken': broken, 'date': time.strftime('%Y-%m-%d %H:%M'),
        'said': [str(report.get('msg', report.get('no_report', '')))[:600] for report in reports],
    }


def run_batch(rig: Rig, condition: str, faults: List[str]) -> List[Turn]:
    """The turns of the faults, in one guest, up to the one in which it was lost."""
    batch = Batch(rig, CONDITIONS[condition], faults)
    start = time.monotonic()
    batch.prepare()
    progress('{} {}: {} faults in place, {:.1f} s'.format(rig.kernel, condition, len(faults), time.monotonic() - start))
    turns: List[Turn] = []
    for turn in batch.turns():
        turns.append(turn)
        words = [reported(report) for report in turn.reports] + [turn.note] * bool(turn.note)
        progress(f'{rig.kernel} {condition} {turn.fault}: ' + '; '.join(words))
        if turn.after is None:
            progress(f'{rig.kernel} {condition}: THE HOST WAS LOST in the turn of {turn.fault}')
            return turns
    turns = batch.use(batch.lift(turns))
    if turns and turns[-1].after is None:
        progress(f'{rig.kernel} {condition}: THE HOST WAS LOST when what {turns[-1].fault} left was used')
        return turns
    return batch.probe(turns)


def rows_of(rig: Rig, condition: str, faults: List[str]) -> List[Row]:
    """The rows of a batch; where it lost its host, that fault and the rest run one by one, to name the culprit."""
    start = time.monotonic()
    try:
        turns = run_batch(rig, condition, faults)
    except HostLostError as lost:
        turns = [Turn(faults[0], {'table': {}, 'modules': {}}, None, [], note=f'before any turn: {lost}')]
    rows = [row_of(rig, condition, turn) for turn in turns if turn.after is not None]
    if len(faults) > 1:
        rows = [once_more(rig, condition, row) for row in rows]
    missing = [fault for fault in faults if fault not in [row['fault'] for row in rows]]
    for fault in missing:
        lost_together = [turn for turn in turns if turn.fault == fault and turn.after is None]
        if len(faults) == 1:
            rows.append(row_of(rig, condition, lost_together[0]))
            continue
        alone = rows_of(rig, condition, [fault])
        for row in alone if lost_together else []:
            if row['host'] != 'lost':
                row.update(row='DOES NOT HOLD', broken=['the host was lost in company of the others, not alone'])
        rows += alone
    if len(faults) > 1 or not missing:
        progress('{} {}: {} rows, {} do not hold, {:.0f} s'.format(
            rig.kernel, condition, len(rows), sum(row['row'] != 'holds' for row in rows), time.monotonic() - start))
        for row in rows:
            for text in row['broken']:
                progress(f'    {row["fault"]}: {text}')
    return rows


def once_more(rig: Rig, condition: str, row: Row) -> Row:
    """The row as it is, or, where nothing but a false alarm broke it, that of the fault alone, at another address."""
    if not row['broken'] or not all(map(FALSE_ALARM.match, row['broken'])):
        return row
    progress(f'{rig.kernel} {condition} {row["fault"]}, once more and alone: {row["broken"][-1]}')
    (again,) = rows_of(rig, condition, [row['fault']])
    again['reported'] = 'after a false alarm: ' + again['reported']
    return again


def run(kernels: Sequence[str], faults: Sequence[str], conditions: Sequence[str], name: str,
        shared: Optional[Path] = None) -> List[Row]:
    """All rows, or those of the batches that no other run with the directory ``shared`` has taken.

    What is done is written down after each batch.
    """
    rows: List[Row] = []
    base = OUTPUT / ('-'.join(['rows', *kernels, name]) if shared else '-'.join(['rows', *kernels]))
    for kernel in kernels:
        due = ((condition, batch) for condition in conditions for batch in due_under(condition, faults)
               if shared is None or is_taken_now(shared / '-'.join([kernel, condition, *batch[:1]])))
        first = next(due, None)
        if first is None:
            continue
        with Rig(kernel, name and f'{name}-{kernel}') as rig:
            rig.returns = sum(not CONDITIONS[name].only for name in conditions) > 1
            for condition, batch in itertools.chain([first], due):
                found = rows_of(rig, condition, batch)
                page.merged(found)
                rows += found
                write(rows, base)
    return rows


def due_under(condition: str, faults: Sequence[str]) -> List[List[str]]:
    """The batches of those of the faults that a condition is for."""
    only = CONDITIONS[condition].only
    return batches([name for name in faults if not only or name in only])


def is_taken_now(mark: Path) -> bool:
    """Whether nobody had taken it before."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def write(rows: List[Row], base: Path) -> None:
    """The rows as JSON and as Markdown."""
    base.parent.mkdir(parents=True, exist_ok=True)
    base.with_suffix(base.suffix + '.json').write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
    base.with_suffix(base.suffix + '.md').write_text(markdown(rows), encoding='utf-8')


def write_junit(rows: List[Row], path: Path) -> None:
    """The rows as JUnit's XML, a case each."""
    suite = ElementTree.Element('testsuite', tests=str(len(rows)), errors='0', skipped='0',
                                failures=str(sum(row['row'] != 'holds' for row in rows)))
    for row in rows:
        case = ElementTree.SubElement(suite, 'testcase', classname='{kernel} {condition}'.format(**row),
                                      name=row['fault'])
        for text in row['broken']:
            ElementTree.SubElement(case, 'failure', message=text)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suite).write(path)


def markdown(rows: List[Row]) -> str:
    """A table for people, and below it what does not hold."""
    lines = ['| ' + ' | '.join(COLUMNS) + ' |', '|' + ' --- |' * len(COLUMNS)]
    for row in rows:
        lines.append('| ' + ' | '.join(str(row[column]).replace('|', '/') for column in COLUMNS) + ' |')
    lines += ['', summary(rows)] + ['- ' + text for text in not_holding(rows)]
    return '\n'.join(lines) + '\n'


def aligned(rows: List[Row]) -> str:
    """The same for a terminal."""
    widths = {'reported': 46, 'must hold': 44}
    cells = [[textwrap.shorten(str(row[column]), widths.get(column, 60), placeholder=' ...') for column in COLUMNS]
             for row in rows]
    cells.insert(0, list(COLUMNS))
    room = [max(len(line[number]) for line in cells) for number in range(len(COLUMNS))]
    text = '\n'.join('  '.join(cell.ljust(room[number]) for number, cell in enumerate(line)).rstrip() for line in cells)
    return '\n'.join([text, *['  ' + line for line in not_holding(rows)], summary(rows)])


def not_holding(rows: List[Row]) -> List[str]:
    """One line for each thing that does not hold."""
    return ['{kernel} {condition} {fault}: '.format(**row) + text for row in rows for text in row['broken']]


def summary(rows: List[Row]) -> str:
    """Hosts lost, rows that hold."""
    lost = sum(row['host'] != 'alive' for row in rows)
    bad = sum(row['row'] != 'holds' for row in rows)
    return f'{len(rows)} rows: {len(rows) - bad} hold, {bad} do not; {lost} lost their host.'
