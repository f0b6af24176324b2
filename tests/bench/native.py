# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kmod_facts costs on a processor of full speed, against ping, as ratios in one run. Run by `make bench`.

The guests are emulated, so a time inside one says little. Here the payloads that Ansible sends run on this machine, in
a root directory that a guest's /proc, /sys, log and memory were saved to (saved_root.py), under that guest's Python.
The controller's part is the time of `ansible localhost -m ping`, by the connection `local`, with an interpreter that
keeps the payload and answers at once: what is left is all but the payload's own time. Both sides of a ratio have it.
The release that uname(2) tells is this machine's: the modules and the configuration are found by it.
A saved file is cheaper to read than one that the kernel makes up, such as /proc/kallsyms: that is not in the ratios.
With --against CHECKOUT the payloads of this checkout are timed against those of another one, in pairs, as well.
Nothing is measured where a payload failed or did not read the kernel's memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

from commands import CHECKOUT, run
from on_host import told
from saved_root import LOADED, SavedRoot, archive

PING = ['ansible.builtin.ping']
ONE = ['kernelops.kmod.kmod_facts', '-a', f'names={LOADED}']
ALL = ['kernelops.kmod.kmod_facts']
REACH = {'one idle module': (ONE, 1.10), 'all modules': (ALL, 1.15)}
# What a refactoring may cost.
NO_SLOWER = 1.02
INTERPRETER = ['/usr/bin/python3']


class Payload(NamedTuple):
    """What Ansible sends for a module, and the words that it was asked for by."""

    words: List[str]
    sent: bytes


class Sender:
    """Ansible with the collection of one checkout, and a host that keeps what is sent and answers at once."""

    def __init__(self, checkout: Path, scratch: Path) -> None:
        place = scratch / 'ansible_collections/kernelops'
        place.mkdir(parents=True)
        (place / 'kmod').symlink_to(checkout)
        self._kept = scratch / 'payload'
        stub = scratch / 'python3'
        stub.write_text(f"#!/bin/sh\ncat >'{self._kept}'\necho '{{\"changed\": false}}'\n", encoding='utf-8')
        stub.chmod(0o755)
        self._command = ['ansible', 'localhost', '-c', 'local', '-e', f'ansible_python_interpreter={stub}', '-m']
        self._environment = {**os.environ, 'ANSIBLE_COLLECTIONS_PATH': str(scratch),
                             'ANSIBLE_CONFIG': str(CHECKOUT / 'ansible.cfg')}

    def payload(self, words: List[str]) -> Payload:
        """What Ansible sends for these words of an ad hoc command."""
        run([*self._command, *words], self._environment)
        return Payload(words, self._kept.read_bytes())

    def seconds(self) -> float:
        """The controller's part of an ad hoc ping."""
        start = time.monotonic()
        run([*self._command, *PING], self._environment)
        return time.monotonic() - start


def facts_of(printed: bytes) -> Dict[str, Any]:
    """The facts that a payload printed, checked: the module is live, and each one was read from kernel memory."""
    try:
        found: Dict[str, Any] = json.loads(printed)
    except ValueError:
        raise SystemExit(f'Not measured: the payload printed no JSON: {printed[-500:]!r}') from None
    if found.get('failed') or 'kmod' not in found.get('ansible_facts', {}):
        raise SystemExit(f'Not measured: kmod_facts failed over the saved root: {found.get("msg", found)}')
    facts: Dict[str, Any] = found['ansible_facts']['kmod']
    state = facts['modules'].get(LOADED, {}).get('state')
    if state != 'live':
        raise SystemExit(f'Not measured: {LOADED} is {state} in the saved root, not live')
    for name, module in facts['modules'].items():
        pointers = module['pointers']
        if pointers.get('source') != 'kcore' or pointers.get('state') != module['state']:
            raise SystemExit(f'Not measured: the pointers of {name} are not those of kernel memory: {pointers}')
    return facts


def timed(root: SavedRoot, payload: Payload) -> float:
    """How long a payload runs in the saved root; what it printed is checked after that."""
    seconds, printed = root.run(INTERPRETER, payload.sent)
    if payload.words != PING:
        facts_of(printed)
    elif b'"pong"' not in printed:
        raise SystemExit(f'Not measured: ping answered {printed[-500:]!r}')
    return seconds


def against_ping(root: SavedRoot, sender: Sender, pairs: int) -> None:
    """A row for one module and one for all: each with the controller's part against a ping with it."""
    ping = sender.payload(PING)
    for what, (words, reach) in REACH.items():
        payload = sender.payload(words)
        timed(root, payload)
        timed(root, ping)
        rounds = [(sender.seconds(), timed(root, payload), timed(root, ping)) for _pair in range(pairs)]
        controller, mine, its = (statistics.median(column) for column in zip(*rounds))
        print(f'medians: controller {controller:.3f} s, payload of ping {its:.3f} s, of kmod_facts of {what} '
              f'{mine:.3f} s, {mine / its:.2f} times that of ping alone')
        # The controller's part is the same to both: its median, so that its own noise is not in the ratios.
        times = [(controller + facts, controller + bare) for _seconds, facts, bare in rounds]
        told(f'kmod_facts of {what} against ping, native', times, reach, ['controller', 'and', *words],
             ['controller', 'and', *PING])


def against_checkout(root: SavedRoot, mine: Sender, other: Sender, checkout: Path, pairs: int) -> None:
    """The same rows, of payloads alone: this checkout's against another's."""
    for what, (words, _reach) in REACH.items():
        both = mine.payload(words), other.payload(words)
        for payload in both:
            timed(root, payload)
        times: List[Tuple[float, float]] = []
        for number in range(pairs):
            # Who is first changes: what one leaves in the processor's caches is the other's gain.
            order = both if number % 2 else both[::-1]
            seconds = {id(payload): timed(root, payload) for payload in order}
            times.append((seconds[id(both[0])], seconds[id(both[1])]))
        for name, column in (('this checkout', 0), (str(checkout), 1)):
            print(f'median {statistics.median(pair[column] for pair in times):.3f} s, payload of {name}')
        told(f'payload for {what} against the other', times, NO_SLOWER, [*words, 'of', 'this', 'checkout'],
             [*words, 'of', str(checkout)])


def measure(options: argparse.Namespace, saved: Path, place: Path) -> None:
    """All rows; called in a mount namespace of its own."""
    root = SavedRoot(options.kernel, saved, place)
    sender = Sender(CHECKOUT, place / 'mine')
    _seconds, printed = root.run(INTERPRETER, sender.payload(ALL).sent)
    facts = facts_of(printed)
    if not any(isinstance(module['file'], str) for module in facts['modules'].values()):
        raise SystemExit('Not measured: no module has its file in the saved root')
    print(f'kernel {options.kernel} with {len(facts["modules"])} modules, saved; {options.pairs} '
          'pairs each; A against B', flush=True)
    against_ping(root, sender, options.pairs)
    if options.against:
        other = Sender(options.against.resolve(), place / 'other')
        against_checkout(root, sender, other, options.against, options.pairs)


def main() -> None:
    """Has the root saved, then measures: in a mount and a network namespace that end with this."""
    parser = argparse.ArgumentParser(description='What kmod_facts costs on a processor of full speed, against ping.')
    parser.add_argument('--kernel', default='6.1')
    parser.add_argument('--pairs', type=int, default=15)
    parser.add_argument('--against', type=Path, metavar='CHECKOUT', help='time the payloads of another one, too')
    parser.add_argument('--inside', type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        measure(options, *options.inside)
        return
    saved = archive(options.kernel)
    with tempfile.TemporaryDirectory(prefix='kmod-bench-') as place:
        again = [sys.executable, *sys.argv, '--inside', str(saved), place]
        status = subprocess.run(['unshare', '--mount', '--net', *again], check=False).returncode
    sys.exit(status)


if __name__ == '__main__':
    main()
