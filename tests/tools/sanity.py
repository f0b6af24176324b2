# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ``ansible-test sanity`` on what git tracks; arguments go to ansible-test (``--test pep8``, say).

ansible-test wants a directory that really lies at ansible_collections/kernelops/kmod, so the tracked files are copied
there. Its own virtual environments stay in the cache between runs, apart from the user's ~/.ansible.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict

from pythons import every

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'kernelops-kmod'
SECONDS = 1800


def copy_tracked(destination: Path) -> None:
    """Copies each tracked file as it is in the work tree; one that is deleted there is left out."""
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=CHECKOUT, stdout=subprocess.PIPE, check=True, timeout=60)
    for name in filter(None, listed.stdout.decode().split('\0')):
        source = CHECKOUT / name
        if source.exists():
            target = destination / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def seed_get_pip(home: Path) -> None:
    """Puts get_pip.py where ansible-test looks before it downloads one, under the name with the version it wants."""
    import ansible_test  # noqa: PLC0415  (only in the tool venv)

    source = Path(ansible_test.__path__[0]) / '_internal/python_requirements.py'
    versions = set(re.findall(r"pip='([\d.]+)'", source.read_text()))
    if not versions:
        raise SystemExit('sanity: %s names no version of pip; this script must follow it.' % source)
    cache = home / '.ansible/test/cache'
    cache.mkdir(parents=True, exist_ok=True)
    for version in versions:
        shutil.copy2(Path(__file__).with_name('get_pip.py'), cache / ('get_pip_%s.py' % version.replace('.', '_')))


def environment(home: Path, links: Path) -> Dict[str, str]:
    """This process's environment with a home of ansible-test's own and every Python of the machine on PATH."""
    for version, executable in every().items():
        (links / ('python%d.%d' % version)).symlink_to(executable)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(links), os.environ.get('PATH', os.defpath)])
    return {**os.environ, 'HOME': str(home), 'PATH': path}


def main() -> int:
    """Copies, runs, and returns ansible-test's exit status."""
    home = CACHE / 'ansible-test'
    seed_get_pip(home)
    with tempfile.TemporaryDirectory(prefix='kmod-sanity-') as temporary:
        links = Path(temporary) / 'bin'
        links.mkdir()
        collection = Path(temporary) / 'ansible_collections/kernelops/kmod'
        copy_tracked(collection)
        command = [str(Path(sys.executable).with_name('ansible-test')), 'sanity', '--local', '--color', 'no',
                   *sys.argv[1:]]
        return subprocess.run(command, cwd=collection, env=environment(home, links), timeout=SECONDS,
                              check=False).returncode


if __name__ == '__main__':
    sys.exit(main())
