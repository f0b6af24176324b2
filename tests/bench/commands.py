# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that the measurements run."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import List, Mapping, Optional

CHECKOUT = Path(__file__).resolve().parents[2]
LAB = [sys.executable, 'tests/lab']
SECONDS = 1800


def run(command: List[str], environment: Optional[Mapping[str, str]] = None, expected: int = 0) -> str:
    """Runs a command and returns what it printed; another exit status than expected ends all, with its output."""
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, timeout=SECONDS, check=False)
    if done.returncode != expected:
        raise SystemExit(f'{shlex.join(command)}\nended with {done.returncode}:\n{done.stdout}')
    return done.stdout
