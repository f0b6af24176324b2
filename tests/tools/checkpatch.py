# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks every C file that git tracks with the kernel's own scripts/checkpatch.pl.

The script comes from Debian's package of the kernel source, the only one that has it: 140 MB are fetched once, three
files of it are kept in the cache.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'kernelops-kmod/checkpatch'
# The faults and samples crash on purpose, each has one source for all kernels, and they call things as the kernel does.
ALLOWED_IN_FAULTS = [
    '--ignore', 'AVOID_BUG,LINUX_VERSION_CODE,CONSTANT_COMPARISON,CAMELCASE,MACRO_WITH_FLOW_CONTROL']
WANTED = ('checkpatch.pl', 'spelling.txt', 'const_structs.checkpatch')
SECONDS = 900


def output(*command: str, cwd: Path = CHECKOUT) -> str:
    """What a command prints; a failing one ends this program with its own words on stderr."""
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, check=True, timeout=SECONDS, text=True).stdout


def fetch() -> None:
    """Takes the three files out of the newest linux-source package that this machine's mirror has."""
    package = re.search(r'linux-source-\S+', output('apt-cache', 'depends', 'linux-source'))
    if package is None:
        raise SystemExit('checkpatch: apt knows no linux-source package; run `apt-get update` as root.')
    print('Fetching %s for scripts/checkpatch.pl, once (about 15 s) ...' % package.group(), flush=True)
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as name:
        work = Path(name)
        output('apt-get', 'download', '-qq', '-o', 'APT::Sandbox::User=root', package.group(), cwd=work)
        output('dpkg-deb', '--extract', str(next(work.glob('*.deb'))), 'tree', cwd=work)
        archive = next((work / 'tree/usr/src').glob('*.tar.xz'))
        output('tar', '-xf', str(archive), '--strip-components=2', '--wildcards',
               *('*/scripts/' + name for name in WANTED), cwd=work)
        CACHE.mkdir(exist_ok=True)
        for wanted in WANTED:
            (work / wanted).replace(CACHE / wanted)


def main() -> int:
    """Returns checkpatch's exit status."""
    if not all((CACHE / name).exists() for name in WANTED):
        fetch()
    files = output('git', 'ls-files', '*.c', '*.h').split()
    print('checkpatch: %d files' % len(files), flush=True)
    if not files:
        return 0
    faults = [name for name in files if name.startswith(('tests/lab/faults/', 'tests/sweep/samples/'))]
    others = [name for name in files if name not in faults]
    statuses = [check(group, options) for group, options in ((others, []), (faults, ALLOWED_IN_FAULTS)) if group]
    return max(statuses)


def check(files: List[str], options: List[str]) -> int:
    """Runs checkpatch with these options; its exit status."""
    command = ['perl', str(CACHE / 'checkpatch.pl'), '--no-tree', '--strict', '--terse', '--show-types', *options,
               '--file', *(str(CHECKOUT / name) for name in files)]
    # It leaves a file of its own where it is run.
    return subprocess.run(command, cwd=CACHE, timeout=SECONDS, check=False).returncode


if __name__ == '__main__':
    sys.exit(main())
