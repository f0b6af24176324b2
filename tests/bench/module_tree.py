# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to judge every module of an installed kernel, against two commands that lack the layout.

python3 tests/bench/module_tree.py ROOT prints the verdicts on the modules in ROOT/lib/modules, then the median ratio of
A, this reading as a process of its own, to B, `xargs readelf -p .comment` and `xargs modinfo` over the same files, in
pairs A B A B ... on the same processors. With PYTHONDONTWRITEBYTECODE set, A compiles the collection, as Ansible does
at each run. readelf cannot read compressed modules: for those, B is modinfo alone.
"""

import argparse
import collections
import json
import os
import runpy
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

READ = str(Path(__file__).resolve().parent / 'read_tree.py')
SECONDS = 900


def report(entries: List[Dict[str, Any]]) -> bool:
    """How many of each verdict; those that have no exit; each that does not suit, in full. Whether all suit."""
    counts = collections.Counter((entry['verdict'], entry['severity']) for entry in entries)
    print('%d modules: %s' % (len(entries), ', '.join(
        f'{count} {verdict} ({severity})' for (verdict, severity), count in sorted(counts.items()))))
    permanent = sorted(entry['name'] for entry in entries if entry['permanent'])
    print('%d with init and no exit, permanent by design: %s' % (len(permanent), ', '.join(permanent)))
    others = [entry for entry in entries if entry['severity'] != 'ok']
    for entry in others:
        print(json.dumps(entry))
    return not others


class Time(NamedTuple):
    """Seconds by the clock, and of all processors."""

    clock: float
    processors: float


def seconds(commands: List[List[str]], files: bytes) -> Time:
    """How long the commands take, one after the other; each has the files' names as its input."""
    start, before = time.monotonic(), os.times()
    for command in commands:
        subprocess.run(command, input=files, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SECONDS,
                       check=False, env=dict(os.environ, LC_ALL='C', PATH=os.environ['PATH'] + ':/usr/sbin:/sbin'))
    after = os.times()
    return Time(time.monotonic() - start, after.children_user - before.children_user + after.children_system
                - before.children_system)


def main() -> int:
    """The verdicts, then the pairs; 1 where a module of the kernel's own tree does not suit it."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('root', help='a directory with lib/modules/RELEASE')
    parser.add_argument('--btf', help="the kernel's BTF; otherwise the layout is that of a module of the tree")
    parser.add_argument('--pairs', type=int, default=7, help='0: the verdicts only')
    arguments = parser.parse_args()
    entries = runpy.run_path(READ)['judged'](arguments.root, arguments.btf)
    all_suit = report(entries)
    if arguments.pairs:
        compare(arguments, entries)
    return 0 if all_suit else 1


def compare(arguments: argparse.Namespace, entries: List[Dict[str, Any]]) -> None:
    """Times A and B, and prints their ratios."""
    files = [arguments.root + entry['file'] for entry in entries]
    packed = not any(name.endswith('.ko') for name in files)
    against = [] if packed else [['xargs', '-0', 'readelf', '-p', '.comment']]
    against.append(['xargs', '-0', 'modinfo'])
    # -S: what else is installed on this machine is loaded at each start of Python, and is no part of the reading
    mine = [sys.executable, '-S', READ, arguments.root]
    names = '\0'.join(files).encode()
    times = [(seconds([mine], b''), seconds(against, names)) for _pair in range(arguments.pairs)]
    print('A: {}'.format(' '.join(mine)))
    print('B: {}'.format('; '.join(' '.join(command) for command in against)))
    if packed:
        print('   (these modules are compressed, which readelf cannot read)')
    for index, what in enumerate(('by the clock', 'of processor time')):
        ratios = [one[index] / other[index] for one, other in times]
        print('A/B %.2f (%.2f to %.2f) %s; A %.2f s, B %.2f s; %d pairs' % (
            statistics.median(ratios), min(ratios), max(ratios), what,
            statistics.median([one[index] for one, _other in times]),
            statistics.median([other[index] for _one, other in times]), len(times)))


if __name__ == '__main__':
    sys.exit(main())
