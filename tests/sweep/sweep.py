# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the points of a kernel in guests, and says of each what happened."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from samples import DIRECTORY, SAMPLES, Point, built_as, points

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'torture'))

import rig  # noqa: E402  (reached by its directory, as the lab is)
from rig import LabError, Rig, progress  # noqa: E402

__all__ = ('CHECKOUT', 'LabError', 'Row', 'counts', 'in_short', 'progress', 'run')

CHECKOUT = rig.CHECKOUT
IN_GUEST = (rig.IN_GUEST, HERE / 'in_guest')
# What a search of memory costs is shared by those of one guest.
IN_ONE_GUEST = 32
Row = Dict[str, Any]


class Guest(Rig):
    """A guest with the samples in it and not the faults."""

    def _besides(self) -> Iterator[Tuple[Path, str]]:
        yield rig.built(self.kernel, [built_as(sample) for sample in SAMPLES], DIRECTORY), 'samples'
        for directory in IN_GUEST:
            for source in sorted(directory.glob('*.py')):
                yield source, f'torture/{source.name}'


def run(kernel: str, samples: Sequence[str], name: str) -> Iterator[List[Row]]:
    """A row for each point of these samples, by the guest that they shared."""
    left = list(points(list(samples)))
    with Guest(kernel, name and f'{name}-{kernel}') as guest:
        while left:
            batch, left = left[:IN_ONE_GUEST], left[IN_ONE_GUEST:]
            guest.restore()
            yield of_batch(guest, batch)


def of_batch(guest: Rig, batch: List[Point]) -> List[Row]:
    """The rows of points that die in one kernel. Where that is lost, each alone."""
    asked = {'seconds': guest.seconds, 'copies': [
        {'name': point.name, 'of': built_as(point.sample), 'crash_at': point.crash_at,
         'serves': SAMPLES[point.sample].serves.format(name=point.name)} for point in batch]}
    said = guest.sh(f'printf %s {shlex.quote(json.dumps(asked))} >/run/copies && cd /root/torture && '
                    'python3 copies.py /run/copies', 600 + 30 * len(batch))
    try:
        seen = said.last
    except LabError:
        if guest.is_alive():
            raise
        if len(batch) == 1:
            return [row_of(guest.kernel, batch[0], {}, 'the host was lost')]
        alone: List[Row] = []
        for point in batch:
            guest.restore()
            alone += of_batch(guest, [point])
        return alone
    if seen['alive']:
        raise LabError(f'{guest.kernel}: these did not die: {seen["alive"]}')
    harm = '; '.join([*seen['alarms'], *(f'{other} was changed' for other in seen['others'])])
    return [row_of(guest.kernel, point, seen, harm) for point in batch]


def row_of(kernel: str, point: Point, seen: Dict[str, Any], harm: str) -> Row:
    """What happened at a point."""
    report = seen.get('reports', {}).get(point.name, {})
    used = seen.get('used', {}).get(point.name, {})
    parked = [name for name in seen.get('table', {}) if re.fullmatch(point.name + r'_parked\d+', name)]
    became = 'parked' if parked else 'stays' if point.name in seen.get('table', {}) else 'gone'
    left = [step['result'] for step in report.get('steps', []) if ': left' in step['result']]
    return {
        'kernel': kernel, 'sample': point.sample, 'where': point.where, 'became': became,
        'locked': point.crash_at == SAMPLES[point.sample].locked_at,
        'loads': used.get('loads', ''), 'serves': used.get('serves', ''), 'unloads': used.get('unloads', ''),
        'harm': '; '.join(filter(None, [harm, *used.get('alarms', [])])),
        'why': '; '.join(left) or (report.get('msg') or seen.get('message', '') if became != 'gone' else ''),
        'hits': [hit['place'] + ' ' + hit['what'] for hit in report.get('reachability', {}).get('hits', [])],
    }


def counts(rows: Sequence[Row]) -> Dict[str, int]:
    """The numbers that a sweep is judged by."""
    return {
        'points': len(rows), 'harmed': sum(bool(row['harm']) for row in rows),
        'locked': sum(row['locked'] for row in rows),
        'loads': sum(row['loads'] == 'ok' for row in rows),
        'serves': sum(row['serves'] == row['unloads'] == 'ok' for row in rows),
        'gone': sum(row['became'] == 'gone' for row in rows), 'parked': sum(row['became'] == 'parked' for row in rows),
        'refused': sum(row['became'] == 'stays' for row in rows),
    }


def in_short(rows: Sequence[Row]) -> str:
    """The same as a line."""
    return ', '.join(f'{word} {number}' for word, number in counts(rows).items())
