# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the collection's documentation and builds its site: ``docs.py BIN``, BIN being where antsibull-docs is.

antsibull-docs wants a directory that really lies at ansible_collections/kernelops/kmod, so the tracked files are copied
there. The site goes to tests/output/docs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List

from sanity import copy_tracked

CHECKOUT = Path(__file__).resolve().parents[2]
SITE = CHECKOUT / 'tests/output/docs'
NAME = 'kernelops.kmod'
SECONDS = 600
PLAYBOOKS = """\

.. _playbooks_in_kernelops.kmod:

Playbooks
---------
"""
PLAYBOOK = """
``{name}``
{line}

.. code-block:: text

{head}
"""


def heads(playbooks: Path) -> str:
    """A section of the playbooks, which antsibull-docs does not know: the comment that each begins with."""
    text = PLAYBOOKS
    for path in sorted(playbooks.glob('*.yml')):
        name = '%s.%s' % (NAME, path.stem)
        comment: List[str] = []
        for line in path.read_text(encoding='utf-8').splitlines()[1:]:
            if not line.startswith('#'):
                break
            comment.append(line[2:])
        # The copyright is a paragraph of its own.
        head = comment[comment.index('') + 1:]
        text += PLAYBOOK.format(name=name, line='~' * (len(name) + 4),
                                head='\n'.join(('   ' + line).rstrip() for line in head))
    return text


def run(command: List[str], directory: Path, environment: Dict[str, str]) -> None:
    """Runs one tool; SystemExit where it finds fault, which it has told by then."""
    status = subprocess.run(command, cwd=directory, env=environment, timeout=SECONDS, check=False).returncode
    if status:
        raise SystemExit('docs: %s ended with status %d.' % (Path(command[0]).name, status))


def main() -> int:
    """Checks, builds, and puts the site in its place."""
    tools = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory(prefix='kmod-docs-') as temporary:
        collection = Path(temporary) / 'ansible_collections/kernelops/kmod'
        copy_tracked(collection)
        # antsibull-docs asks ansible-doc, which lies beside this Python.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', os.defpath)])
        environment = {**os.environ, 'PATH': path, 'ANSIBLE_COLLECTIONS_PATH': temporary}
        antsibull = str(tools / 'antsibull-docs')
        run([antsibull, 'lint-collection-docs', '--plugin-docs', '--check-extra-docs-refs', '.'], collection,
            environment)
        pages = Path(temporary) / 'pages'
        pages.mkdir(mode=0o700)
        run([antsibull, 'collection', '--use-current', '--squash-hierarchy', '--dest-dir', str(pages), NAME], pages,
            environment)
        (pages / 'environment_variables.rst').unlink()  # there are none
        with (pages / 'index.rst').open('a', encoding='utf-8') as index:
            index.write(heads(collection / 'playbooks'))
        shutil.copytree(collection / 'docs/docsite/rst/images', pages / 'docsite/images')
        html = Path(temporary) / 'html'
        run([str(tools / 'sphinx-build'), '-q', '-W', '--keep-going', '-b', 'html',
             '-c', str(collection / 'docs/docsite'), str(pages), str(html)], pages, environment)
        shutil.rmtree(SITE, ignore_errors=True)
        SITE.parent.mkdir(exist_ok=True)
        shutil.copytree(html, SITE)
    print('The site: %s' % (SITE / 'index.html'))
    return 0


if __name__ == '__main__':
    sys.exit(main())
