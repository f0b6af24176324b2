# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that the measurements run."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

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


def tasks_of_force_unload(inventory: Path, scratch: Path, given: Mapping[str, Any]) -> Dict[str, List[str]]:
    """Runs the playbook with these variables; the names of the tasks that went to each host.

    The report is scratch/report.json. The role's cache is one of scratch's own.
    """
    environment = {**os.environ, 'XDG_CACHE_HOME': str(scratch / 'cache'),
                   'MOLECULE_EPHEMERAL_DIRECTORY': str(scratch), 'ANSIBLE_CALLBACKS_ENABLED': 'host_tasks',
                   'ANSIBLE_CALLBACK_PLUGINS': str(CHECKOUT / 'extensions/molecule/callback')}
    variables = {'force_unload_names': ['init_oops'], 'force_unload_dest': str(scratch / 'report'), **given}
    run(['ansible-playbook', '-i', str(inventory), 'kernelops.kmod.force_unload', '-e', json.dumps(variables)],
        environment)
    tasks: Dict[str, List[str]]
    (tasks,) = json.loads((scratch / 'host_tasks.json').read_text(encoding='utf-8')).values()
    return tasks
