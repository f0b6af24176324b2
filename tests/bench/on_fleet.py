# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a fleet builds the helper: three guests on two kernels, each stuck, cured by one play. Run by `make bench`.

Each row is one run of the playbook force_unload over all of them: with an empty cache, with the cache that it left, and
told to build none. Counted are the runs of the role's task that compiles.
"""

import argparse
import json
import tempfile
import time
from concurrent import futures
from pathlib import Path

from commands import LAB, run, tasks_of_force_unload

GUESTS = {'bench-5.10': '5.10', 'bench-6.1': '6.1', 'bench-6.1_b': '6.1'}
COMPILES = 'kernelops.kmod.force_unload : Compile the helper'


def stuck(name: str, kernel: str) -> None:
    """Boots a guest, a new one, and injects a fault."""
    run([*LAB, 'down', name])
    run([*LAB, 'up', name, '--kernel', kernel])
    run([*LAB, 'inject', name, 'init_oops'])


def builds(helper: str, scratch: Path) -> int:
    """Injects a fault into each guest, runs the playbook over all, counts the hosts that built. All must be cured."""
    with futures.ThreadPoolExecutor(2) as pool:
        for injected in [pool.submit(stuck, name, kernel) for name, kernel in GUESTS.items()]:
            injected.result()
    inventory = scratch / 'inventory.yml'
    inventory.write_text(run([*LAB, 'inventory', *GUESTS]), encoding='utf-8')
    tasks = tasks_of_force_unload(inventory, scratch, {
        'force_unload_helper': helper, 'force_unload_serial': '100%', 'force_unload_timeout': 120})
    outcomes = json.loads((scratch / 'report.json').read_text(encoding='utf-8'))['outcomes']
    if outcomes['cured'] != len(GUESTS):
        raise SystemExit(f'Of {len(GUESTS)} hosts not all were cured: {outcomes}')
    return sum(names.count(COMPILES) for names in tasks.values())


def main() -> None:
    """Prints one row for each way to have the helper; ends the guests."""
    argparse.ArgumentParser(description='How often a fleet builds the helper.').parse_args()
    kernels = len(set(GUESTS.values()))
    print(f'{len(GUESTS)} hosts on {kernels} kernels, all stuck, one play')
    with tempfile.TemporaryDirectory(prefix='kmod-bench-') as name:
        scratch = Path(name)
        rows = (('compiled', 'builds of the helper, nothing in the cache', kernels),
                ('compiled', 'builds of the helper, a second play', 0),
                ('auto', 'builds of the helper, from the cache alone', 0))
        try:
            for helper, what, reach in rows:
                start = time.monotonic()
                count = builds(helper, scratch)
                verdict = 'reached' if count == reach else 'NOT reached'
                print(f'{what:44} {count:5}  to reach {reach}: {verdict}; {time.monotonic() - start:.0f} s, with the '
                      'injecting', flush=True)
        finally:
            run([*LAB, 'down', *GUESTS])


if __name__ == '__main__':
    main()
