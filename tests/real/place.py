# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest of the lab that has the DKMS modules and the programs of the cases, and the collection's utilities."""

import json
import subprocess
import sys
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
READY = 'ready'
# The image's file is for every device of Ethernet, and would give a case's dummy the address of the guest.
OWN_INTERFACE_ALONE = ("sed -i 's/^Type=ether/Driver=virtio_net/' /etc/systemd/network/lab.network && "
                       "systemctl restart systemd-networkd && sleep 2 && ip -4 address show | grep -q 10.0.2.15")
CASE_DEADLINE_S = 900
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
        self.livepatch = rig.built(self.kernel, LIVEPATCH, MODULES)
        self.guest = rig.guests.up(self.guest.name, self.kernel)
        self.restore()
        self.guest.ssh(OWN_INTERFACE_ALONE, timeout=60)
        self.guest.close_connections()
        self.guest.monitor_command(f'savevm {READY}', timeout=120)
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
            self.guest.stop()
            self.guest.launch(self.guest.facts, ['-loadvm', READY])
            self.guest.wait_for_ssh(120)
        self.clean = True

    def run_case(self, case: Case) -> Tuple[Steps, str]:
        """The steps that the guest told of, and what was said besides."""
        self.clean = False
        command = f'cd {rig.GUEST_DIRECTORY} && PYTHONDONTWRITEBYTECODE=1 exec python3 one_case.py {self.seconds}'
        with subprocess.Popen(self.guest.ssh_argv(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors='replace') as process:
            try:
                out, err = process.communicate(json.dumps(case._asdict()), timeout=CASE_DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                err += f' (it did not end within {CASE_DEADLINE_S} s)'
        return [step for step in map(parsed, out.splitlines()) if step], err


def parsed(line: str) -> Optional[Dict[str, Any]]:
    """A step; None for the half of a line that a lost guest left."""
    try:
        found: Dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found
