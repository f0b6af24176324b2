# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real guest's /proc, /sys, kernel log and kernel memory as files, for a machine of full speed to read.

What a guest shows is saved once for each kernel, as an archive in the lab's cache. It is laid out in the memory of this
machine, over the directory that the guest's image was made from, in a mount namespace: nothing of it stays behind.
"""

import fcntl
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import IO, List, Sequence, Tuple

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / 'tests/lab'))

import fault_modules  # noqa: E402  (the lab is no package: it is reached by its directory)
import guests  # noqa: E402
import images  # noqa: E402
from host import cache_dir, digest, locked, timed  # noqa: E402

SAVE = Path(__file__).resolve().parent / 'in_guest/save.py'
SECONDS = 1200
PAGE = 4096
# fcntl(2); Python has a name for it from 3.10 on. The size is that of /proc/sys/fs/pipe-max-size.
F_SETPIPE_SZ = 1031
PIPE = 1 << 20
LOADED = 'healthy'
# What lies over the image's own directories.
OVER = ('proc', 'sys', 'dev', 'tmp', 'run')
DEVICES = ('null', 'zero', 'full', 'random', 'urandom')


def archive(kernel: str) -> Path:
    """What a guest of this kernel shows, with the module `healthy` loaded; saved if the cache lacks it."""
    image = images.image(images.known(kernel))
    key = digest(image.key, image.release, SAVE.read_text(encoding='ascii'))
    kept = cache_dir() / 'roots' / f'{kernel}-{key}.tar'
    with locked(f'root-{kernel}'):
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=kept.parent, suffix='.partial', delete=False) as partial:
                try:
                    save(kernel, partial)
                    Path(partial.name).rename(kept)
                finally:
                    Path(partial.name).unlink(missing_ok=True)
    return kept


def save(kernel: str, to: IO[bytes]) -> None:
    """Boots a guest, has it print its archive, ends it."""
    guest = guests.up(f'saved-{kernel}', kernel)
    try:
        fault_modules.inject(guest, LOADED)
        with timed(f'Saving what {guest.name} shows'), SAVE.open('rb') as program:
            done = subprocess.run(guest.ssh_argv('python3 -'), stdin=program, stdout=to, stderr=subprocess.PIPE,
                                  timeout=SECONDS, check=False)
        if done.returncode:
            raise SystemExit(f'{guest.name} could not be saved: {done.stderr.decode(errors="replace")[-1500:]}')
    finally:
        guest.end()


def mount(*words: str) -> None:
    """One mount; the caller is in a mount namespace of its own."""
    done = subprocess.run(['mount', *words], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f'mount {" ".join(words)}: {done.stderr.strip()}; it takes root, and `unshare --mount`')


class SavedRoot:
    """A guest's root directory in this machine's memory, to chroot into; gone with the mount namespace that it is in.

    ``place`` is a directory, over which all of it is mounted: the rest of it is free for what else must vanish.
    """

    def __init__(self, kernel: str, saved: Path, place: Path) -> None:
        self.path = place / 'root'
        self._unpacked = place / 'unpacked'
        self._records: List[bytes] = []
        mount('-t', 'tmpfs', '-o', 'size=4g', 'tmpfs', str(place))
        for directory in (self.path, self._unpacked, *(self._unpacked / name for name in OVER)):
            directory.mkdir()
        self._unpack(saved)
        self._log = self._make_devices()
        image = images.image(images.known(kernel))
        mount('--bind', str(image.rootfs), str(self.path))
        mount('-o', 'remount,bind,ro', str(self.path))
        self._name_by_this_release(image)
        for name in OVER:
            mount('--bind', str(self._unpacked / name), str(self.path / name))

    def _name_by_this_release(self, image: images.Image) -> None:
        """Modules and configuration by the release that uname(2) tells, which is this machine's in the root as well."""
        release = os.uname().release
        modules, boot = self._unpacked / 'modules', self._unpacked / 'boot'
        for directory in (modules / release, boot):
            directory.mkdir(parents=True)
        (boot / f'config-{release}').write_bytes((image.rootfs / f'boot/config-{image.release}').read_bytes())
        mount('--bind', str(image.rootfs / 'usr/lib/modules' / image.release), str(modules / release))
        mount('--rbind', str(modules), str(self.path / 'usr/lib/modules'))
        mount('--bind', str(boot), str(self.path / 'boot'))

    def _unpack(self, saved: Path) -> None:
        """The files where they were. Memory at the offsets that /proc/kcore had: no other file system takes those."""
        with tarfile.open(saved) as stored, (self._unpacked / 'proc/kcore').open('wb') as kcore:
            for entry in stored:
                first, _slash, rest = entry.name.partition('/')
                stream = stored.extractfile(entry) if entry.isfile() else None
                data = stream.read() if stream else b''
                if first == 'kcore':
                    os.pwrite(kcore.fileno(), data, int(rest, 16))
                elif first == 'kmsg':
                    self._records.append(data)
                elif entry.issym():
                    (self._unpacked / entry.name).symlink_to(entry.linkname)
                elif entry.isdir():
                    (self._unpacked / entry.name).mkdir(exist_ok=True)
                else:
                    (self._unpacked / entry.name).write_bytes(data)

    def _make_devices(self) -> int:
        """What Python opens, and the kernel log: a pipe that gives one record for each read, as /dev/kmsg does.

        It holds the last 256 records, which is what a pipe may hold where nothing else was set. Returns its end.
        """
        for name in DEVICES:
            status = Path('/dev', name).stat()
            os.mknod(self._unpacked / 'dev' / name, status.st_mode, status.st_rdev)
        path = self._unpacked / 'dev/kmsg'
        os.mkfifo(path)
        log = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(log, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)
        fcntl.fcntl(log, F_SETPIPE_SZ, PIPE)
        self._records = self._records[-PIPE // PAGE:]
        return log

    def _fill_log(self) -> None:
        """The log as it was, whatever of it was read."""
        try:
            while os.read(self._log, 16384):
                pass
        except BlockingIOError:
            pass
        for record in self._records:
            os.write(self._log, record)

    def run(self, command: Sequence[str], given: bytes) -> Tuple[float, bytes]:
        """Runs a command in it: the seconds that it took, and what it printed. One that fails ends all."""
        def enter() -> None:
            os.chroot(self.path)
            os.chdir('/')

        self._fill_log()
        start = time.monotonic()
        done = subprocess.run(command, input=given, capture_output=True, timeout=SECONDS, preexec_fn=enter, check=False,
                              env={'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': '/tmp', 'LC_ALL': 'C.UTF-8'})
        seconds = time.monotonic() - start
        if done.returncode:
            said = (done.stdout + done.stderr).decode(errors='replace')
            raise SystemExit(f'In the saved root, {" ".join(command)} ended with {done.returncode}: {said[-1500:]}')
        return seconds, done.stdout
