# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory: 200 times stuck, unloaded and loaded again in one guest, and what grows by it.

A line is fitted through what was measured after the first cycles, by least squares. Growth is what the slope amounts to
over the cycles; its noise is three times the slope's standard error over the same. What must not grow may grow by no
more than its bound for each cycle, noise included. The same cycles with a leak of known size must be seen to break a
bound: else this measure would pass whatever leaked.
"""

import json
import math
from typing import Any, Dict, List, NamedTuple, Sequence

from rig import LabError, Rig, progress

CYCLES = 200
# One part in so many is for warming up.
WARM_UP = 5
EVERY = 5


class Bound(NamedTuple):
    """How much of it may grow in one cycle, noise included."""

    key: str
    per_cycle: float
    # Whether the figure is steady enough to be kept below the bound with its noise; else it must only not break it.
    steady: bool = True


# A module of one page in each of its areas is 20 KB; the smallest slab object that the loader allocates has 16 bytes.
BOUNDS = (
    Bound('SUnreclaim', 0.5), Bound('slab_active_kb', 0.5), Bound('VmallocUsed', 0.5), Bound('module_areas_kb', 0.1),
    Bound('module_areas', 0.02), Bound('KernelStack', 0.2), Bound('used', 2.0, steady=False),
)


class Mode(NamedTuple):
    """What a cycle does, how often, and whether it must be seen to grow."""

    name: str
    what: str
    cycles: int
    leaks: bool


MODES = (
    Mode('pipe', 'control: the fixed build loaded and unloaded, one pipe left open', 80, leaks=True),
    Mode('oops', 'control: stuck, not unloaded', 80, leaks=True),
    Mode('unload', 'stuck, unloaded, the fixed build loaded and unloaded', CYCLES, leaks=False),
)


def slope(points: Sequence[Sequence[float]]) -> Dict[str, float]:
    """``slope`` of the least-squares line through (x, y), and its standard ``error``."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _y in points) / n, sum(y for _x, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _y in points)
    value = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - value * (x - mean_x)) ** 2 for x, y in points)
    return {'slope': value, 'error': math.sqrt(rest / max(1, n - 2) / spread)}


def grown(samples: List[Dict[str, Any]], bound: Bound) -> Dict[str, Any]:
    """Growth for each cycle, its noise, and whether the bound is ``kept``, ``broken`` or neither (``in doubt``)."""
    found = slope([(sample['cycle'], sample[bound.key]) for sample in samples])
    noise = 3 * found['error']
    verdict = 'kept' if found['slope'] + noise <= bound.per_cycle else \
        'broken' if found['slope'] - noise > bound.per_cycle else 'in doubt'
    return {'what': bound.key, 'per cycle': round(found['slope'], 4), 'noise': round(noise, 4),
            'bound': bound.per_cycle, 'verdict': verdict}


def cycles(rig: Rig, mode: Mode) -> List[Dict[str, Any]]:
    """The samples of one run in a clean guest."""
    rig.restore()
    said = rig.python(f'cycles.py {mode.name} {mode.cycles} {EVERY}', timeout=120 + 15 * mode.cycles)
    samples = [json.loads(line) for line in said.out.splitlines()]
    if said.status != 0 or not samples or samples[-1]['cycle'] != mode.cycles:
        raise LabError(f'{rig.kernel}, {mode.what}: ended with {said.status} after {len(samples)} samples:\n'
                       f'{said.out[-500:]}{said.err[-2000:]}')
    total = 1024 * 1024
    for sample in samples:
        # What user space has is not the kernel's: this process and the journal, which is told of each oops.
        sample['used'] = total - sample['MemFree'] - sample['AnonPages'] - sample['Cached'] - sample['Buffers'] \
            - sample['SReclaimable']
    return samples


def judged(rig: Rig, mode: Mode) -> Dict[str, Any]:
    """One row: all bounds kept, or for a control at least one broken."""
    samples = cycles(rig, mode)
    warm = [sample for sample in samples if sample['cycle'] >= mode.cycles // WARM_UP]
    found = [grown(warm, bound) for bound in BOUNDS]
    broken = [entry['what'] for entry in found if entry['verdict'] == 'broken']
    kept = all(entry['verdict'] == 'kept' or not (bound.steady or entry['verdict'] == 'broken')
               for bound, entry in zip(BOUNDS, found))
    row = {'kernel': rig.kernel, 'cycle': mode.what, 'cycles': mode.cycles, 'seconds': samples[-1]['seconds'],
           'refusals': samples[-1]['refusals'],
           'growth': found, 'must': 'a bound is broken' if mode.leaks else 'every bound is kept',
           'holds': bool(broken) if mode.leaks else kept, 'samples': samples}
    progress('{kernel}: {cycle}: {cycles} cycles in {seconds} s, {refusals} refused first; {must}: {holds}'.format(
        **row))
    for entry in found:
        progress('    {what:16} {per cycle:+9.3f} per cycle, noise {noise:.3f}, bound {bound}: {verdict}'.format(
            **entry))
    return row


def measure(kernel: str, name: str = '') -> List[Dict[str, Any]]:
    """All rows of one kernel."""
    with Rig(kernel, name and f'{name}-{kernel}') as rig:
        return [judged(rig, mode) for mode in MODES]
