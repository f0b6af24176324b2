# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges every module of an installed kernel, as a process of its own: what module_tree.py times.

Imports little beside the collection, as the module does on a host.
"""

import importlib
import os
import sys
import types
from typing import Any, Dict, List, Optional

NAME = 'ansible_collections.kernelops.kmod'
UTILITIES = NAME + '.plugins.module_utils.'


def make_importable() -> None:
    """The checkout as the collection, wherever it lies."""
    checkout = os.path.abspath(__file__).rsplit('/tests/', 1)[0]  # noqa: PTH100  # pathlib costs 15 ms
    for name, path in (('ansible_collections', []), ('ansible_collections.kernelops', []), (NAME, [checkout])):
        package = types.ModuleType(name)
        package.__path__ = path
        sys.modules.setdefault(name, package)


def judged(root: str, btf: Optional[str] = None) -> List[Dict[str, Any]]:
    """The entry of each module file in ROOT/lib/modules, for the kernel whose modules they are."""
    make_importable()
    facts = importlib.import_module(UTILITIES + '_actions.check_files')
    (release,) = os.listdir(root + '/lib/modules')  # noqa: PTH208
    reference = facts.reference_file(release, root)
    if 'unavailable' in reference:
        raise SystemExit(str(reference['unavailable']))
    layout = reference['layout']
    if btf:
        known = importlib.import_module(UTILITIES + '_lib.memory.btf').Btf.load(btf)
        layout = {'size': known.size('module'), 'init': known.offset('module', 'init'),
                  'exit': known.offset('module', 'exit'), 'source': btf}
    kernel = {'release': release, 'arch': reference['machine'], 'vermagic': reference['vermagic'],
              'crc': reference['crc'], 'layout': layout, 'compiler': reference['compilers'][0],
              'module_signatures': 'permissive'}
    paths = list(facts.module_files('/lib/modules/' + release, root))
    entries: List[Dict[str, Any]] = facts.examine_all(paths, kernel, root, in_short=True)
    return entries


if __name__ == '__main__':
    judged(sys.argv[1])
