# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-rulebook watches a guest by our event source, and does what our rulebook says. Run it by `make eda`.

Without the switch a stuck module is shown and left; with it, it is unloaded, and only once. The guest and the rulebook
are ended however this ends; what the rulebook printed stays in tests/output/eda.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Dict, List, Optional, final

CHECKOUT = Path(__file__).resolve().parents[2]
TOOLS = CHECKOUT / '.venv-eda/bin'
OUTPUT = CHECKOUT / 'tests/output/eda'
KERNEL = '6.1'
GUEST = 'eda'
FAULT = 'init_oops'
LAB = ['python3', 'tests/lab']
SHOWN = r'"%s +%s +init_died +reset ' % (GUEST, FAULT)
UNLOAD = r'PLAY \[Get stuck kernel modules out\]'
START = time.monotonic()


def say(text: str) -> None:
    """A line with the time since the start."""
    print('[%4d s] %s' % (time.monotonic() - START, text), flush=True)


def lab(*words: str) -> str:
    """Runs a command of the lab and returns what it prints."""
    done = subprocess.run([*LAB, *words], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, timeout=3600, check=True)
    return done.stdout


def is_loaded() -> bool:
    """Whether the guest has the module."""
    return any(line.startswith(FAULT + ' ') for line in lab('ssh', GUEST, 'cat /proc/modules').splitlines())


def commands_with(text: str) -> List[str]:
    """The command lines on this machine that name a text."""
    found = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            line = path.read_bytes().replace(b'\0', b' ').decode(errors='replace')
        except OSError:  # it has ended
            continue
        if text in line:
            found.append(line)
    return found


@final
class Rulebook:
    """One run of ansible-rulebook, from its start to its end by an interrupt, as a context."""

    def __init__(self, directory: Path, name: str, variables: Dict[str, object]) -> None:
        self._inventory = directory / 'inventory.yml'
        self._printed = OUTPUT / (name + '.txt')
        vars_file = directory / (name + '.json')
        # A guest that is emulated on a busy machine is slow to read.
        vars_file.write_text(json.dumps({
            'kmod_inventory': str(self._inventory), 'kmod_interval': 15, 'kmod_timeout': 180, **variables}))
        self._argv = [str(TOOLS / 'ansible-rulebook'), '--rulebook', 'kernelops.kmod.stuck_modules', '--print-events',
                      '-i', str(self._inventory), '--vars', str(vars_file)]

    def __enter__(self) -> 'Rulebook':
        environment = {**os.environ, 'PATH': '%s:%s' % (TOOLS, os.environ['PATH']), 'ANSIBLE_NOCOLOR': 'true',
                       'ANSIBLE_CONFIG': str(CHECKOUT / 'ansible.cfg')}
        with self._printed.open('w') as printed:
            self._process = subprocess.Popen(self._argv, cwd=self._inventory.parent, env=environment, stdout=printed,
                                             stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(90)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def times(self, pattern: str) -> int:
        """How often a pattern was printed."""
        return len(re.findall(pattern, self._printed.read_text(errors='replace')))

    def wait_for(self, pattern: str, times: int = 1, seconds: float = 900) -> None:
        """Returns when a pattern was printed so many times."""
        deadline = time.monotonic() + seconds
        while self.times(pattern) < times:
            if self._process.poll() is not None or time.monotonic() > deadline:
                lines = self._printed.read_text(errors='replace').splitlines()
                raise SystemExit('%s\nThe rulebook did not print %r %d times in %d s.' % (
                    '\n'.join(lines[-40:]), pattern, times, seconds))
            time.sleep(2)


def shown_and_left(directory: Path) -> None:
    """The switch is off: the event comes, diagnose shows the table, nothing is changed."""
    with Rulebook(directory, 'off', {}) as rulebook:
        say('The rulebook runs. The fault is injected')
        lab('inject', GUEST, FAULT)
        rulebook.wait_for("'module': '%s'" % FAULT)
        say('The event has come')
        rulebook.wait_for(SHOWN)
        rulebook.wait_for('PLAY RECAP')
        time.sleep(60)
        assert rulebook.times("'module': '%s'" % FAULT) == 1, 'The event came more than once.'
        assert not rulebook.times(UNLOAD), 'The unload was tried with the switch off.'
    assert is_loaded(), 'The module was unloaded with the switch off.'
    say('diagnose has shown the table, once, and the module is still there')
    for _second in range(30):
        if not commands_with(str(directory)):
            return
        time.sleep(1)
    raise AssertionError('Left running: %s' % commands_with(str(directory)))


def unloaded_and_only_once(directory: Path) -> None:
    """The switch is on: the module is unloaded; when it crashes again within the day, it is shown and left."""
    with Rulebook(directory, 'on', {'kmod_cure': True}) as rulebook:
        rulebook.wait_for(SHOWN)
        say('The rulebook runs with the switch on, and has shown the table')
        rulebook.wait_for(UNLOAD + r'[\s\S]*PLAY RECAP[^\n]*\n%s .* failed=0 ' % GUEST, seconds=2400)
        assert not is_loaded(), 'The module is still there.'
        say('The module is gone. The fault is injected again')
        lab('inject', GUEST, FAULT)
        rulebook.wait_for(SHOWN, 2)
        time.sleep(60)
        assert rulebook.times("'module': '%s'" % FAULT) == 2, 'Each crash has one event.'
        assert rulebook.times(UNLOAD) == 1, 'The unload was tried twice within a day.'
    assert is_loaded(), 'The module was unloaded a second time.'
    say('The second crash was shown, and left for somebody to judge')


def interrupted(number: int, frame: Optional[FrameType]) -> None:
    """Lets a signal take the way out that ends the guest."""
    del frame
    raise SystemExit(128 + number)


def main() -> int:
    """Both, in one guest."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    lab('build', KERNEL)
    lab('modules', KERNEL)
    with tempfile.TemporaryDirectory(prefix='kmod-eda-') as name:
        directory = Path(name)
        try:
            lab('up', GUEST, '--kernel', KERNEL)
            (directory / 'inventory.yml').write_text(lab('inventory', GUEST))
            shown_and_left(directory)
            unloaded_and_only_once(directory)
        finally:
            lab('down', GUEST)
    return 0


if __name__ == '__main__':
    sys.exit(main())
