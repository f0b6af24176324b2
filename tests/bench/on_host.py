# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection costs on a host, as ratios in one run. Run it by `make bench`.

Each row times two commands in turn, A B A B ..., against one guest, and prints the median of the pairs' ratios, so that
a machine whose speed drifts changes little. The commands are printed beside the figures.
"""

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import List, NamedTuple, Tuple

from commands import LAB, run, tasks_of_force_unload

GUEST = 'bench'
SECONDS = 300


class Row(NamedTuple):
    """What is measured, against what, and the ratio to reach."""

    what: str
    command: List[str]
    against: List[str]
    reach: float


def seconds(command: List[str]) -> float:
    """How long a command takes."""
    start = time.monotonic()
    run(command)
    return time.monotonic() - start


def measure(row: Row, pairs: int) -> None:
    """Prints one row: the median ratio, its range, the medians of both commands."""
    run(row.against)
    run(row.command)
    times = [(seconds(row.command), seconds(row.against)) for _pair in range(pairs)]
    told(row.what, times, row.reach, row.command, row.against)


def told(what: str, times: List[Tuple[float, float]], reach: float, command: List[str], against: List[str]) -> None:
    """Prints a row."""
    ratios = [mine / other for mine, other in times]
    ratio = statistics.median(ratios)
    verdict = 'reached' if ratio <= reach else 'NOT reached'
    span = f'({min(ratios):.2f} to {max(ratios):.2f})'
    print(f'{what:44} {ratio:5.2f}  {span}  to reach {reach:.2f}: {verdict}')
    for name, words, column in (('A', command, 0), ('B', against, 1)):
        median = statistics.median(pair[column] for pair in times)
        print(f'    {name} {median:6.2f} s  {shlex.join(words)}', flush=True)


def is_running() -> bool:
    """Whether the guest has not ended yet."""
    listed = json.loads(run([*LAB, 'list', '--json']))
    return any(guest['name'] == GUEST and guest['state'] == 'running' for guest in listed)


def from_stuck_to_gone(ansible: List[str], kernel: str, pairs: int) -> None:
    """The cure, with the compiled helper on the host, against shutting the guest down and booting it up to ssh."""
    helper = run([sys.executable, 'tests/torture', 'helper', kernel]).strip().splitlines()[-1]
    release = run([*LAB, 'ssh', GUEST, 'uname', '-r']).strip().splitlines()[-1]
    place = f'/var/lib/kmod_reset/{release}'
    cure = [*ansible, 'kernelops.kmod.kmod_force_unload', '-a', 'name=init_oops']
    times = []
    for _pair in range(pairs):
        run([*LAB, 'restore', GUEST])
        run([*LAB, 'inject', GUEST, 'init_oops'])
        run([*LAB, 'ssh', GUEST, f'install -d -m 700 {place}'])
        run([*LAB, 'push', GUEST, helper, f'{place}/kmod_reset.ko'])
        mine = seconds(cure)
        start = time.monotonic()
        # The lab's guests end where others boot again, and ssh with them.
        run([*LAB, 'ssh', GUEST, 'systemctl reboot; sleep 600'], expected=255)
        while is_running():
            if time.monotonic() > start + SECONDS:
                raise SystemExit(f'{GUEST} did not go down within {SECONDS} s of `systemctl reboot`')
            time.sleep(0.2)
        run([*LAB, 'up', GUEST, '--kernel', kernel, '--cold'])
        times.append((mine, time.monotonic() - start))
    told('from stuck to gone against a reboot', times, 1 / 20, cure, ['systemctl', 'reboot'])


def tasks_on_a_healthy_host(inventory: Path, scratch: Path) -> None:
    """How many tasks of the fleet's playbook go to a host that lacks the module."""
    count = len(tasks_of_force_unload(inventory, scratch, {})[GUEST])
    verdict = 'reached' if count <= 2 else 'NOT reached'
    print(f'{"tasks that go to a host with nothing stuck":44} {count:5}  to reach 2: {verdict}', flush=True)


def main() -> None:
    """Boots one guest, measures every row, ends the guest."""
    parser = argparse.ArgumentParser(description='Ratios of what the collection costs on a host.')
    parser.add_argument('--kernel', default='6.1')
    parser.add_argument('--pairs', type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='kmod-bench-') as scratch:
        inventory = Path(scratch, 'inventory.yml')
        print(run([*LAB, 'up', GUEST, '--kernel', options.kernel]), end='')
        try:
            inventory.write_text(run([*LAB, 'inventory', GUEST]), encoding='utf-8')
            run([*LAB, 'inject', GUEST, 'healthy'])
            ansible = ['ansible', GUEST, '-i', str(inventory), '-b', '-m']
            ping = [*ansible, 'ansible.builtin.ping']
            facts = [*ansible, 'kernelops.kmod.kmod_facts']
            print(f'kernel {options.kernel}, {options.pairs} pairs each; A against B')
            for row in (
                    Row('kmod_facts of one idle module against ping', [*facts, '-a', 'names=healthy'], ping, 1.15),
                    Row('kmod_facts of all modules against ping', facts, ping, 1.3),
                    Row('kmod_toolchain_facts against ping', [*ansible, 'kernelops.kmod.kmod_toolchain_facts'], ping,
                        1.5)):
                measure(row, options.pairs)
            run([*LAB, 'inject', GUEST, 'init_oops'])
            for row in (
                    Row('kmod_facts of one stuck module against ping', [*facts, '-a', 'names=init_oops'], ping, 1.15),
                    Row('kmod_facts of all modules, one of them stuck', facts, ping, 1.3)):
                measure(row, options.pairs)
            from_stuck_to_gone(ansible, options.kernel, 3)
            inventory.write_text(run([*LAB, 'inventory', GUEST]), encoding='utf-8')
            tasks_on_a_healthy_host(inventory, Path(scratch))
        finally:
            print(run([*LAB, 'down', GUEST]), end='')
    print('every module of this kernel, judged from its file, on this machine; below 1 is to be reached by the clock')
    rootfs = run([*LAB, 'rootfs', options.kernel]).strip()
    print(run([sys.executable, 'tests/bench/module_tree.py', rootfs]), end='')


if __name__ == '__main__':
    main()
