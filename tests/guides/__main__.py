# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows the guides word for word: ``python tests/guides [GUIDE...]``, by `make guides`.

Each command of a guide is run in the checkout, in its order; what it prints must be what the guide shows. The guests
that a guide boots are ended, whatever happened.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import List, Optional, Tuple

from transcript import Command, GuideError, Mismatch, commands, guests, mismatch

CHECKOUT = Path(__file__).resolve().parents[2]
GUIDES = CHECKOUT / 'docs/docsite/rst'
LAB = ['python3', 'tests/lab']
SECONDS = 900
sys.path.insert(0, str(CHECKOUT / 'tests/tools'))
from steps import record  # noqa: E402  (its directory is put on the path above)


def names() -> List[str]:
    """Every guide, by its file's name without ``guide_`` and ``.rst``."""
    return sorted(path.stem[len('guide_'):] for path in GUIDES.glob('guide_*.rst'))


def running() -> List[str]:
    """The lab's guests that run."""
    listed = subprocess.run([*LAB, 'list', '--json'], cwd=CHECKOUT, stdout=subprocess.PIPE, timeout=60, check=True)
    return [guest['name'] for guest in json.loads(listed.stdout) if guest['state'] == 'running']


def run(command: Command) -> Tuple[int, str]:
    """Runs one command before the reader's eyes: its exit status and what it printed. GuideError after the deadline."""
    print('$ ' + command.text, flush=True)
    printed: List[str] = []
    late = threading.Event()
    with subprocess.Popen(['bash', '-c', command.text], cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors='replace', start_new_session=True) as process:
        timer = threading.Timer(SECONDS, expire, (late, process))
        timer.start()
        try:
            for line in process.stdout or ():
                print('    ' + line, end='', flush=True)
                printed.append(line)
            status = process.wait()
        except BaseException:
            kill(process)
            raise
        finally:
            timer.cancel()
    if late.is_set():
        raise GuideError('it did not end within %d s and was ended.' % SECONDS)
    return status, ''.join(printed)


def expire(late: threading.Event, process: 'subprocess.Popen[str]') -> None:
    """What comes at the deadline."""
    late.set()
    kill(process)


def kill(process: 'subprocess.Popen[str]') -> None:
    """Ends a command and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def told(found: Mismatch) -> str:
    """A mismatch in words."""
    came = 'nothing more came' if found.came is None else 'this came:\n    ' + found.came
    if found.shown is None:
        return 'the guide shows no more output, and %s' % came
    return 'line %d of the guide shows:\n    %s\nand %s' % (found.shown.number, found.shown.text, came)


def follow(name: str) -> None:
    """Runs all commands of a guide. Raises GuideError at the first that does not come to what is shown."""
    path = GUIDES / ('guide_%s.rst' % name)
    guide = commands(path.read_text(encoding='utf-8'))
    mine = guests(guide)
    taken = sorted(set(mine) & set(running()))
    if taken:
        raise GuideError('%s boots the guest %s, which runs already. End it if nobody needs it: '
                         '`python3 tests/lab down %s`.' % (path.name, ', '.join(taken), ' '.join(taken)))
    try:
        for command in guide:
            where = '%s:%d: `%s`' % (path.relative_to(CHECKOUT), command.number, command.text)
            try:
                status, printed = run(command)
            except GuideError as error:
                raise GuideError('%s: %s' % (where, error)) from None
            if status:
                raise GuideError('%s ended with status %d. Where it is to fail, let the guide say so to its reader: '
                                 'add `; echo $?` and show the status.' % (where, status))
            found = mismatch(command.shown, printed)
            if found:
                raise GuideError('%s: %s' % (where, told(found)))
    finally:
        if mine:
            subprocess.run([*LAB, 'down', *mine], cwd=CHECKOUT, stdout=subprocess.DEVNULL, timeout=120, check=False)


def interrupted(number: int, frame: Optional[FrameType]) -> None:
    """Lets a signal take the way out that ends the guests."""
    del frame
    raise SystemExit(128 + number)


def main() -> int:
    """1 if a guide did not come to what it shows."""
    parser = argparse.ArgumentParser(prog='python tests/guides', description='Follows the guides in guests of the lab.')
    parser.add_argument('guides', nargs='*', metavar='GUIDE', choices=[*names(), []],
                        help='default: all (%s)' % ', '.join(names()))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    failed = 0
    for name in parser.parse_args().guides or names():
        print('\n== guide %s' % name, flush=True)
        start = time.monotonic()
        error = ''
        try:
            follow(name)
        except GuideError as caught:
            error = str(caught)
            print('\nguides: %s' % error, file=sys.stderr, flush=True)
        record('guide %s' % name, time.monotonic() - start, int(not error), int(bool(error)))
        failed += bool(error)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
