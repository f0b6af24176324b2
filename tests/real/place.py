# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest of the lab that has the DKMS modules and the programs of the cases, and the collection's utilities."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / 'torture'))

import rig  # noqa: E402  (reached by its directory, as the lab is)
from rig import LabError, progress  # noqa: E402
from use_cases import Case  # noqa: E402

__all__ = ('OUTPUT', 'LabError', 'Place', 'Steps', 'progress')

OUTPUT = TESTS / 'output/real'
IN_GUEST = Path(__file__).resolve().parent / 'in_guest'
MODULES = Path(__file__).resolve().parent / 'modules'
LIVEPATCH = 'lab_livepatch'
# The image's file is for every device of Ethernet, and would give a case's dummy the address of the guest.
OWN_INTERFACE_ALONE = ("sed -i 's/^Type=ether/Driver=virtio_net/' /etc/systemd/network/lab.network && "
                       "systemctl restart systemd-networkd && sleep 2 && ip -4 address show | grep -q 10.0.2.15")
CASE_DEADLINE_S = 900
# Each takes 20 s where the guest does not answer.
ATTEMPTS = 6
START = ('cat > /run/case && cd {where} && rm -f /run/steps && setsid -f python3 one_case.py'
         ' {seconds} < /run/case > /run/steps 2> /run/errors')
ERRORS = '--- stderr\n'
# What was told so far, at the end of the case or after half a minute.
TOLD = f"""for attempt in $(seq 60); do grep -qs '"step": "end"' /run/steps && break; sleep 0.5; done
cat /run/steps; echo '{ERRORS.strip()}'; tail -c 2000 /run/errors"""
Steps = List[Dict[str, Any]]


class Place(rig.Rig):
    """The guest; ``fresh`` gives it a kernel on which nothing was done yet."""

    def __init__(self, kernel: str, name: str = '') -> None:
        super().__init__(f'real-{kernel}', name or f'real-{kernel}')
        self.clean = False

    def __enter__(self) -> 'Place':  # noqa: PYI034  (Self came with Python 3.11)
        rig.OUTPUT.mkdir(parents=True, exist_ok=True)
        OUTPUT.mkdir(parents=True, exist_ok=True)
        self.helper = rig.helper(self.kernel)
        self.livepatch = rig.built(self.kernel, [LIVEPATCH], MODULES) / f'{LIVEPATCH}.ko'
        self.guest = rig.guests.up(self.guest.name, self.kernel)
        self._move_in()
        self.guest.ssh(OWN_INTERFACE_ALONE, timeout=60)
        self._keep(rig.READY)
        self.guest.wait_for_ssh(120)
        self.clean = True
        return self

    def _besides(self) -> Iterator[Tuple[Path, str]]:
        yield self.livepatch, f'lab/{LIVEPATCH}.ko'
        for directory in (rig.IN_GUEST, IN_GUEST):
            for source in sorted(directory.glob('*.py')):
                yield source, f'torture/{source.name}'

    def fresh(self) -> None:
        """As it was when everything had been moved in."""
        if not self.clean:
            self.restore()
        self.clean = True

    def run_case(self, case: Case) -> Tuple[Steps, str]:
        """The steps that the guest told of, and what was said besides."""
        self.clean = False
        # Not by ssh's own child: a guest on a busy machine may be silent for so long that the connection breaks.
        start = START.format(where=rig.GUEST_DIRECTORY, seconds=self.seconds)
        begun = self._run_with(start, json.dumps(case._asdict()))
        if begun.status != 0:
            return [], begun.err
        end: float = time.monotonic() + CASE_DEADLINE_S
        said: str = ''
        steps: Steps = []
        while time.monotonic() < end:
            told = self.sh(TOLD, timeout=150)
            if told.status == 0:
                out, _mark, said = told.out.partition(ERRORS)
                steps = [step for step in map(parsed, out.splitlines()) if step]
                if steps and steps[-1]['step'] == 'end':
                    return steps[:-1], said
            elif not self.is_alive():
                return steps, said
        return steps, said + f' (it did not end within {CASE_DEADLINE_S} s)'

    def is_alive(self) -> bool:
        """Whether the guest answers; on a busy machine that may take minutes."""
        return any(super(Place, self).is_alive() for _attempt in range(ATTEMPTS))

    def _run_with(self, command: str, given: str) -> rig.Said:
        """A command in the guest that is given this on its stdin."""
        start = time.monotonic()
        try:
            done = subprocess.run(self.guest.ssh_argv(command), input=given, capture_output=True, text=True,
                                  errors='replace', timeout=150, check=False)
        except subprocess.TimeoutExpired:
            return rig.Said(None, '', 'the case did not begin within 150 s', time.monotonic() - start)
        return rig.Said(done.returncode, done.stdout, done.stderr, time.monotonic() - start)


def parsed(line: str) -> Optional[Dict[str, Any]]:
    """A step; None for the half of a line that a lost guest left."""
    try:
        found: Dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found
