# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two stuck modules, live: one is unloaded, one parked, with no reboot. One guest. Run it by `make demo`.

Every command is printed before it runs and checked after. The guest is ended however the demo ends.
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Dict, List, Optional

CHECKOUT = Path(__file__).resolve().parents[1]
KERNEL = '6.1'
GUEST = 'demo'
LAB = ['python3', 'tests/lab']
SECONDS = 900
BOLD, DIM, GREEN, PLAIN = ('\033[1m', '\033[2m', '\033[32m', '\033[0m') if sys.stdout.isatty() else ('', '', '', '')


class Demo:
    """Tells the story: a heading, the command, its output, and whether it ended as it should."""

    def __init__(self, environment: Dict[str, str]) -> None:
        self.environment = environment
        self.chapter = 0
        self.start = time.monotonic()

    def tell(self, text: str) -> None:
        """A heading with the time since the start."""
        self.chapter += 1
        print('\n%s%d. %s%s %s[%d s]%s' % (BOLD, self.chapter, text, PLAIN, DIM, time.monotonic() - self.start, PLAIN),
              flush=True)

    def show(self, command: List[str], fails: bool = False) -> str:
        """Runs a command before the reader's eyes and returns what it printed.

        :param fails: whether it is to fail, as rmmod of a stuck module does.
        """
        print('%s$ %s%s' % (GREEN, shlex.join(command), PLAIN), flush=True)
        printed = []
        with subprocess.Popen(command, cwd=CHECKOUT, env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True) as process:
            try:
                for line in process.stdout or ():
                    print('    ' + line, end='', flush=True)
                    printed.append(line)
                status = process.wait(SECONDS)
            except BaseException:
                process.terminate()
                raise
        if fails != (status != 0):
            raise SystemExit('The demo ends here: that command ended with %d, which it should not.' % status)
        if not printed:
            print('    (nothing)')
        return ''.join(printed)

    def ssh(self, command: str, fails: bool = False) -> str:
        """Runs a command in the guest."""
        return self.show([*LAB, 'ssh', GUEST, command], fails)


def story(demo: Demo, inventory: Path) -> None:
    """The demo from the first boot on."""
    demo.tell('Boot a guest with Debian\'s kernel %s' % KERNEL)
    demo.show([*LAB, 'up', GUEST, '--kernel', KERNEL])
    listed = subprocess.run([*LAB, 'inventory', GUEST], cwd=CHECKOUT, stdout=subprocess.PIPE, timeout=60, check=True)
    inventory.write_bytes(listed.stdout)

    demo.tell('Load a module whose init function crashes')
    demo.show([*LAB, 'inject', GUEST, 'init_oops'])
    demo.ssh('dmesg | grep -m 1 -A 1 BUG; grep init_oops /proc/modules')

    demo.tell('It is stuck: rmmod refuses, with force too, and no fixed build can be loaded under its name')
    demo.ssh('rmmod init_oops', fails=True)
    demo.ssh('rmmod --force init_oops', fails=True)

    demo.tell('Ask why: nothing is changed')
    demo.show(['ansible-playbook', 'kernelops.kmod.diagnose', '-e', '{"diagnose_names": ["init_oops"]}'])

    demo.tell('One line, ad hoc, with nothing built: nothing in the kernel\'s memory points into it, so it is unloaded')
    demo.show(['ansible', GUEST, '-b', '-m', 'kmod_force_unload', '-a', 'name=init_oops'])
    demo.ssh('grep init_oops /proc/modules', fails=True)

    demo.tell('The fixed build of the same name loads and unloads')
    fixed = Path(subprocess.run([*LAB, 'modules-dir', KERNEL], cwd=CHECKOUT, stdout=subprocess.PIPE, timeout=60,
                                check=True, text=True).stdout.strip()) / 'fixed/init_oops.ko'
    demo.show([*LAB, 'push', GUEST, str(fixed), '/root/init_oops.ko'])
    demo.ssh('insmod /root/init_oops.ko && grep "^init_oops " /proc/modules && rmmod init_oops')

    demo.tell('Another module, which registered a device before it crashed')
    demo.show([*LAB, 'inject', GUEST, 'init_misc'])
    demo.ssh('rmmod init_misc', fails=True)

    demo.tell('Ask what to do: its code has to stay, since the kernel would still call it for that device')
    demo.show(['ansible-playbook', 'kernelops.kmod.diagnose', '-e', '{"diagnose_names": ["init_misc"]}'])

    demo.tell('The playbook parks it: a helper, built for this kernel, renames it. Its code stays until a reboot')
    demo.show(['ansible-playbook', 'kernelops.kmod.force_unload', '-e', '{"force_unload_names": ["init_misc"]}'])
    demo.ssh('grep init_misc /proc/modules')

    demo.tell('Whoever opens its device gets an error, and the host goes on')
    demo.ssh('cat /dev/init_misc', fails=True)
    demo.ssh('uptime')


def interrupted(number: int, frame: Optional[FrameType]) -> None:
    """Lets a signal take the way out that ends the guest."""
    del frame
    raise SystemExit(128 + number)


def main() -> int:
    """Tells the story and ends the guest whatever happens."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    print('One image is built first where the cache has none (3 minutes, once); the demo itself takes 5 to 8 minutes.')
    subprocess.run([*LAB, 'build', KERNEL], cwd=CHECKOUT, check=True, timeout=3600)
    subprocess.run([*LAB, 'modules', KERNEL], cwd=CHECKOUT, check=True, timeout=3600)
    with tempfile.TemporaryDirectory(prefix='kmod-demo-') as directory:
        inventory = Path(directory) / 'inventory.yml'
        # A cache of its own: the demo shows how the helper is built.
        demo = Demo({**os.environ, 'ANSIBLE_INVENTORY': str(inventory), 'ANSIBLE_DISPLAY_SKIPPED_HOSTS': 'false',
                     'ANSIBLE_CONFIG': str(CHECKOUT / 'ansible.cfg'), 'XDG_CACHE_HOME': directory})
        try:
            story(demo, inventory)
            demo.tell('End the guest')
        finally:
            subprocess.run([*LAB, 'down', GUEST], cwd=CHECKOUT, timeout=120, check=False)
    print('\n%sTwo stuck modules, one unloaded and one parked, in %d s, and the host never went down.%s' %
          (BOLD, time.monotonic() - demo.start, PLAIN))
    return 0


if __name__ == '__main__':
    sys.exit(main())
