# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the steps of ``make test`` or of ``make matrix``, as many heavy ones side by side as are asked for.

``suite.py test`` runs what a change has to pass, and begins a new book of steps; ``suite.py matrix`` runs the rest, the
main job of each other kernel before anything else of any. With ``--within MINUTES`` no step begins that would not end
in time by what it took when it last ran; what was left out is told. What last failed comes first among the steps that
can begin.
What a step prints is in tests/output/logs, and here if it fails. The last line is the sum of all steps.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent import futures
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import steps

CHECKOUT = Path(__file__).resolve().parents[2]
LOGS = CHECKOUT / 'tests/output/logs'
# The newest kernel of a stable release; then the others, the oldest first.
FIRST, OTHERS = '6.12', ('5.10', '6.1', '7.3')
# So many runs share the faults of a kernel, each takes what no other has: both lanes are busy to the end.
RUNS = 2
# By one failing step's log, which may be long, the end is what tells.
SHOWN_LINES = 150
# A step that takes longer than was thought is ended so long after the time that was given.
GRACE_S = 600
LEAST_S = 60.0


class Step(NamedTuple):
    """One command, the steps that must have passed before it, and how long it takes on two cores without KVM."""

    name: str
    command: Tuple[str, ...]
    seconds: float
    needs: Tuple[str, ...] = ()
    heavy: bool = True  # whether it takes a whole core: a guest, a compiler


def make(target: str, seconds: float, *variables: str, needs: Tuple[str, ...] = ('tools',),
         heavy: bool = True) -> Step:
    """A target of the Makefile as a step."""
    command = ('make', '--no-print-directory', target, *variables)
    return Step(' '.join((target, *variables)), command, seconds, needs, heavy)


def light(target: str, seconds: float) -> Step:
    """One that mostly waits, as for processes that are to hang, or takes little: it goes beside others."""
    return make(target, seconds, heavy=False)


def lab(kernel: str) -> Step:
    """The image of a kernel and the fault modules for it."""
    return make('lab', 240, f'KERNELS={kernel}', needs=())


def tools() -> Step:
    """What all steps but the lab need."""
    return Step('tools', ('make', '--no-print-directory', 'venv'), 60)


def main_job(kernel: str, shared: str) -> List[Step]:
    """Each fault, to be unloaded or refused: told, in check mode, run, run again; and by the role.

    ``shared`` is an empty directory, by which the runs tell each other what they have taken.
    """
    needs = ('tools', lab(kernel).name)
    faults = [make('faults', 450, f'KERNELS={kernel}', f'RUN={number}', needs=needs) for number in range(1, RUNS + 1)]
    return [make('molecule', 660, f'KERNELS={kernel}', 'SCENARIO=cure refuse adhoc', 'JOBS=1', needs=needs),
            *(step._replace(command=(*step.command, f'SHARED={shared}')) for step in faults)]


def test(shared: str) -> List[Step]:
    """What a change has to pass."""
    return [
        tools(), lab(FIRST), light('lint', 40), light('unit', 290), light('units-oldest', 130), light('sanity', 150),
        light('docs', 60), *main_job(FIRST, shared),
    ]


def matrix(shared: str) -> List[Step]:
    """The rest: the most telling first."""
    found = [tools(), *map(lab, (FIRST, *OTHERS))]
    for kernel in OTHERS:
        found += main_job(kernel, shared)
    for scenario in ('layout', 'explain'):
        found += [make('molecule', 330, f'KERNELS={kernel}', f'SCENARIO={scenario}', 'JOBS=1',
                       needs=('tools', lab(kernel).name)) for kernel in (FIRST, *OTHERS)]
    own = make('lab', 240, 'KERNELS=bare-6.1', needs=())
    found += [own, make('molecule', 660, 'SCENARIO=bare', needs=('tools', own.name)),
              make('molecule', 660, 'SCENARIO=input', needs=('tools', lab('6.1').name)), light('units-newest', 150)]
    return found + [make('trees', 40, f'KERNELS={kernel}', needs=('tools', lab(kernel).name))
                    for kernel in (FIRST, *OTHERS)]


class Memory:
    """How long each step took when it last passed, and which failed last: kept beside the lab's images."""

    def __init__(self) -> None:
        cache = Path(os.environ.get('KMOD_LAB_CACHE') or '~/.cache/kernelops-kmod-lab').expanduser()
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.file = cache / 'steps.json'
        self.known: Dict[str, Dict[str, Any]] = {}
        if self.file.exists():
            self.known = json.loads(self.file.read_text(encoding='utf-8'))

    def seconds(self, step: Step) -> float:
        """What the step is thought to take."""
        return float(self.known.get(step.name, {}).get('seconds', step.seconds))

    def failed(self, step: Step) -> bool:
        """Whether it failed when it last ran."""
        return not self.known.get(step.name, {}).get('passed', True)

    def note(self, step: Step, passed: bool, seconds: float) -> None:
        """Keeps the outcome of a step."""
        entry = self.known.setdefault(step.name, {})
        entry['passed'] = passed
        if passed:
            entry['seconds'] = round(seconds, 1)
        self.file.write_text(json.dumps(self.known, indent=1) + '\n', encoding='utf-8')


class Suite:
    """The steps that wait, run, and have ended."""

    def __init__(self, wanted: List[Step], lanes: int, within_s: Optional[float]) -> None:
        self.memory = Memory()
        self.waiting = sorted(wanted, key=lambda step: not self.memory.failed(step))
        self.total = len(wanted)
        self.lanes = lanes
        self.within_s = within_s
        self.began = time.monotonic()
        self.passed: Dict[str, bool] = {}
        self.left_out: List[str] = []

    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def has_room(self, step: Step, running: List[Step]) -> bool:
        """A lane for each heavy step, and one light step beside them, which fills what the guests leave."""
        heavy = sum(other.heavy for other in running)
        return heavy < self.lanes if step.heavy else len(running) == heavy

    def next(self, running: List[Step]) -> Optional[Step]:
        """The first that can begin; None where none has room, or all that wait for another wait for one that runs."""
        for step in list(self.waiting):
            if any(self.passed.get(name) is False for name in step.needs):
                self.left_out.append(f'{step.name}: what it needs failed')
                self.passed[step.name] = False
                self.waiting.remove(step)
            elif self.within_s is not None and self.elapsed() + self.memory.seconds(step) > self.within_s:
                self.left_out.append(f'{step.name}: no time left')
                self.waiting.remove(step)
            elif all(self.passed.get(name) for name in step.needs) and self.has_room(step, running):
                self.waiting.remove(step)
                return step
        return None

    def run(self) -> bool:
        """Runs all; whether each passed."""
        with futures.ThreadPoolExecutor(self.lanes + 1) as pool:
            running: Dict[futures.Future[Tuple[bool, float]], Step] = {}
            while True:
                while True:
                    step = self.next(list(running.values()))
                    if step is None:
                        break
                    thought = self.minutes(self.memory.seconds(step))
                    print(f'== {self.clock()} {step.name}: begins, {thought}', flush=True)
                    running[pool.submit(self.one, step)] = step
                if not running:
                    break
                done, _rest = futures.wait(running, return_when=futures.FIRST_COMPLETED)
                for future in done:
                    self.ended(running.pop(future), *future.result(), list(running.values()))
        self.left_out += [f'{step.name}: what it needs was left out' for step in self.waiting]
        return all(self.passed.values())

    def one(self, step: Step) -> Tuple[bool, float]:
        """Runs a step; whether it passed, and its seconds."""
        start = time.monotonic()
        limit = None if self.within_s is None else max(LEAST_S, self.within_s + GRACE_S - self.elapsed())
        with self.log(step).open('wb') as log, subprocess.Popen(
                step.command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True) as process:
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                log.write(b'It was ended: the time that was given is over.\n')
                # A guest's own rig ends it when it is interrupted.
                os.killpg(process.pid, signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(30)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                status = -1
        return status == 0, time.monotonic() - start

    @staticmethod
    def log(step: Step) -> Path:
        """Where what it prints is kept."""
        LOGS.mkdir(parents=True, exist_ok=True)
        return LOGS / (re.sub(r'[^\w.-]+', '_', step.name) + '.log')

    def ended(self, step: Step, passed: bool, seconds: float, running: List[Step]) -> None:
        """Tells how a step ended, how far the whole is, and what is left."""
        self.passed[step.name] = passed
        self.memory.note(step, passed, seconds)
        if not passed:
            lines = self.log(step).read_text(encoding='utf-8', errors='replace').splitlines()
            print('\n'.join(f'   | {line}' for line in lines[-SHOWN_LINES:]))
        left = sum(map(self.memory.seconds, self.waiting + running)) / self.lanes
        print(f'== {self.clock()} {step.name}: {"passed" if passed else "FAILED"} in {seconds:.0f} s; '
              f'{len(self.passed)} of {self.total} done, {self.minutes(left)} left', flush=True)

    def clock(self) -> str:
        """Minutes and seconds since the beginning."""
        return '%3d:%02d' % divmod(int(self.elapsed()), 60)

    @staticmethod
    def minutes(seconds: float) -> str:
        """For people."""
        return f'about {seconds / 60:.0f} min' if seconds >= 90 else f'about {seconds:.0f} s'


def main() -> int:
    """1 if a step failed."""
    parser = argparse.ArgumentParser(description='Runs the steps of make test or make matrix.')
    parser.add_argument('which', choices=('test', 'matrix'))
    parser.add_argument('--lanes', type=int, default=2, help='heavy steps side by side, and a light one')
    parser.add_argument('--within', type=float, metavar='MINUTES', help='begin nothing that would not end by then')
    asked = parser.parse_args()
    if asked.which == 'test':
        steps.BOOK.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix='kmod-faults-') as shared:
        wanted = test(shared) if asked.which == 'test' else matrix(shared)
        suite = Suite(wanted, max(1, asked.lanes), asked.within and 60 * asked.within)
        held = suite.run()
    for text in suite.left_out:
        print(f'left out: {text}')
    print(f'{len(suite.passed)} of {suite.total} steps in {suite.elapsed() / 60:.1f} minutes, '
          f'{len(suite.left_out)} left out. Each check of theirs:')
    return steps.summary(0 if held else 1)


if __name__ == '__main__':
    sys.exit(main())
