# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a disk, and the one command line that ends that use: mounts, swap, disks on top of it, loops, openers."""

import os
import stat
from typing import Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import mounts, processes
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.mounts import Mount, Placed
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.process_names import ends_process
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import lines, names, quoted, text, word

# Disks on top of disks: more than the kernel stacks.
DEEPEST = 16


class Use(NamedTuple):
    """One user of a disk, in a phrase, and the commands that end it, in their order; None where nothing does."""

    what: str
    commands: Optional[List[str]]


class Disks:
    """The disks of a host by their kernel names. Mounts, swap and the like are read once, when they are asked for."""

    def __init__(self, root: str = '/') -> None:
        self.root = root
        self._mounts: Optional[List[Placed]] = None
        self._swaps: Optional[List[str]] = None
        self._loops: Optional[List[Tuple[str, str]]] = None
        self._openers: Optional[Dict[str, List[int]]] = None

    def uses(self, disk: str, depth: int = 0) -> List[Use]:
        """Who uses the disk or a partition of it. Processes that have it open are looked for where nothing else is."""
        found: List[Use] = []
        for part in [disk] + self._partitions(disk):
            found.extend(self._mounted(part))
            found.extend(Use(f'swap on {swap}', [f'swapoff {quoted(swap)}']) for swap in self.swaps
                         if os.path.basename(os.path.realpath(os.path.join(self.root, swap[1:]))) == part)
            holders = [_sys(holder) for holder in names(self.root, f'sys/class/block/{part}/holders')]
            holders += [loop for loop, file in self.loops if file == f'/dev/{part}']
            found.extend(Use(self.label(holder), self.chain(holder, depth + 1)) for holder in holders)
        if not found:
            for part in [disk] + self._partitions(disk):
                number = word(self.root, f'sys/class/block/{part}/dev')
                for pid in self.openers.get(number, []) if number else ():
                    command = ends_process(pid, self.root)
                    found.append(Use(processes.name(pid, self.root), [command] if command else None))
        return found

    def chain(self, disk: str, depth: int = 0) -> Optional[List[str]]:
        """The commands that end all use of a disk, and then the disk itself; None where something has no such command.

        A disk that nothing takes away, such as one of hardware, stays.
        """
        if depth > DEEPEST:
            return None
        commands: List[str] = []
        for use in self.uses(disk, depth):
            if use.commands is None:
                return None
            commands += use.commands
        own = self.release(disk)
        return list(dict.fromkeys(commands + ([own] if own else [])))

    def end_with(self, disk: str) -> str:
        """:meth:`chain` as one command line."""
        return ' && '.join(self.chain(disk) or [])

    def release(self, disk: str) -> str:
        """The command that takes away a disk that nothing uses; '' where none does."""
        place = f'sys/block/{disk}'
        device = quoted(f'/dev/{disk}')
        if os.path.isdir(os.path.join(self.root, place, 'dm')):
            return 'dmsetup remove {}'.format(quoted(word(self.root, place + '/dm/name')))
        for entry, command in (('md', f'mdadm --stop {device}'), ('loop', f'losetup -d {device}'),
                               ('bcache', f'echo 1 > /{place}/bcache/stop'), ('pid', f'nbd-client -d {device}')):
            if os.path.exists(os.path.join(self.root, place, entry)) and not (entry == 'pid' and disk[:3] != 'nbd'):
                return command
        return ''

    def label(self, disk: str) -> str:
        """``dm-0 (vg-root)``, ``loop0 (/srv/image)``."""
        more = word(self.root, f'sys/block/{disk}/dm/name') or word(self.root, f'sys/block/{disk}/loop/backing_file')
        return text(disk) + (f' ({more})' if more else '')

    def told(self, disk: str) -> str:
        """``mount /srv, swap on /dev/vda2``; '' where nothing uses it."""
        return ', '.join(dict.fromkeys(use.what for use in self.uses(disk)))

    @property
    def mounts(self) -> List[Placed]:
        """Every mount of every namespace."""
        if self._mounts is None:
            self._mounts = mounts.all_mounts(self.root)
        return self._mounts

    @property
    def swaps(self) -> List[str]:
        """The files and devices of /proc/swaps."""
        if self._swaps is None:
            self._swaps = [mounts.unescape(line.split()[0]) for line in lines(self.root, 'proc/swaps')[1:]
                           if line.startswith('/')]
        return self._swaps

    @property
    def loops(self) -> List[Tuple[str, str]]:
        """Each loop device that has a file, and the file."""
        if self._loops is None:
            backed = [(disk, word(self.root, f'sys/block/{disk}/loop/backing_file'))
                      for disk in names(self.root, 'sys/block') if disk.startswith('loop')]
            self._loops = [(disk, file) for disk, file in backed if file]
        return self._loops

    @property
    def openers(self) -> Dict[str, List[int]]:
        """The processes that have block devices open, by MAJOR:MINOR."""
        if self._openers is None:
            self._openers = {}
            for file in processes.opened(self.root, lambda path: path.startswith('/dev/')):
                try:
                    status = os.stat(file.link)
                except OSError:
                    continue  # it was closed
                if stat.S_ISBLK(status.st_mode):
                    number = '%d:%d' % (os.major(status.st_rdev), os.minor(status.st_rdev))
                    pids = self._openers.setdefault(number, [])
                    pids.extend([file.pid] if file.pid not in pids else [])
        return self._openers

    def _partitions(self, disk: str) -> List[str]:
        place = f'sys/block/{disk}'
        return [entry for entry in names(self.root, place)
                if os.path.exists(os.path.join(self.root, place, entry, 'partition'))]

    def _mounted(self, part: str) -> List[Use]:
        number = word(self.root, f'sys/class/block/{part}/dev')
        mapped = word(self.root, f'sys/block/{part}/dm/name')
        # btrfs and the like have a number of their own.
        sources = {f'/dev/{part}'} | ({f'/dev/mapper/{mapped}'} if mapped else set())
        found = []
        for mount in mounts.once([placed for placed in self.mounts
                                  if placed.mount.number == number or placed.mount.device in sources]):
            command = mounts.unmount(mount, self.mounts)
            inside = self._files_on(mount) if command else []
            commands = None if not command or any(use is None for use in inside) else \
                [each for use in inside for each in use or []] + [command]
            found.append(Use(mounts.name(mount), commands))
        return found

    def _files_on(self, mount: Mount) -> List[Optional[List[str]]]:
        """What ends the loops and the swap whose files lie on the mount."""
        below = mount.path.rstrip('/') + '/'
        found: List[Optional[List[str]]] = [self.chain(loop, 1) for loop, file in self.loops
                                            if file.startswith(below)]
        return found + [[f'swapoff {quoted(swap)}'] for swap in self.swaps if swap.startswith(below)]


def _sys(name: str) -> str:
    return name.replace('/', '!')
