# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the Pythons of this machine.

``python3 pythons.py tools`` prints the one for the tool venv: the newest on PATH, from 3.11 to 3.14.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterable, Iterator, Optional, Tuple

Version = Tuple[int, int]

OLDEST_ON_HOSTS = (3, 6)
OLDEST_FOR_TOOLS = (3, 11)
NEWEST_FOR_TOOLS = (3, 14)
NAME = re.compile(r'python3\.\d+')


def probe(executable: Path) -> Optional[Tuple[Version, Path]]:
    """The minor version and the real path of a Python; None if it does not start, cannot make a venv, or is in one.

    It is run, since a pyenv shim exists for versions that the shim then refuses to start.
    """
    program = ('import sys, ensurepip, venv\n'
               'if sys.prefix == sys.base_prefix: print(*sys.version_info[:2], sys.executable)')
    try:
        done = subprocess.run([str(executable), '-c', program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=30, check=True, text=True)
    except (OSError, subprocess.SubprocessError):
        return None
    if not done.stdout:
        return None
    major, minor, path = done.stdout.rstrip('\n').split(' ', 2)
    return (int(major), int(minor)), Path(path)


def on_path() -> Iterator[Path]:
    """Every python3.N on PATH, and python3 itself last."""
    directories = [Path(entry) for entry in os.environ.get('PATH', os.defpath).split(os.pathsep) if entry]
    for directory in directories:
        if directory.is_dir():
            yield from sorted(path for path in directory.iterdir() if NAME.fullmatch(path.name))
    for directory in directories:
        yield directory / 'python3'


def elsewhere() -> Iterator[Path]:
    """Every python3.N that pyenv or uv has installed below the home directory."""
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv'))
    for root in (pyenv / 'versions', Path.home() / '.local/share/uv/python'):
        yield from sorted(path for path in root.glob('*/bin/python3.*') if NAME.fullmatch(path.name))


def for_tools() -> Optional[Path]:
    """The Python for the tool venv, or None if there is none that is new enough."""
    fit = {version: path for version, path in distinct(on_path(), OLDEST_FOR_TOOLS).items()
           if version <= NEWEST_FOR_TOOLS}
    return fit[max(fit)] if fit else None


def every() -> Dict[Version, Path]:
    """One executable for each minor version that runs on managed hosts, oldest first."""
    return distinct([*on_path(), *elsewhere()], OLDEST_ON_HOSTS)


def distinct(candidates: Iterable[Path], oldest: Version) -> Dict[Version, Path]:
    """The first working Python of each minor version from ``oldest`` on, oldest first."""
    found: Dict[Version, Path] = {}
    for candidate in candidates:
        python = probe(candidate)
        if python is not None and python[0] >= oldest:
            found.setdefault(*python)
    return dict(sorted(found.items()))


def main() -> int:
    """Prints what was asked for; 1 and a sentence if there is none."""
    if sys.argv[1:] == ['tools']:
        tools = for_tools()
        if tools is None:
            sys.stderr.write('PATH has no Python from %d.%d to %d.%d with venv. On Debian 12 or later: make prepare\n'
                             % (*OLDEST_FOR_TOOLS, *NEWEST_FOR_TOOLS))
            return 1
        print(tools)
        return 0
    sys.stderr.write(__doc__ or '')
    return 2


if __name__ == '__main__':
    sys.exit(main())
