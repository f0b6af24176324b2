# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contributor's own machine: its cache directory, its commands, its Debian packages."""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Iterator, NoReturn, Optional, Sequence

PACKAGES = (
    "debian-archive-keyring",
    "e2fsprogs",
    "mmdebstrap",
    "openssh-client",
    "qemu-system-x86",
    "qemu-utils",
    "util-linux",
    "xz-utils",
)


class LabError(Exception):
    """One sentence or more for the person at the terminal: what was tried, why it failed, what to do next."""


def cache_dir() -> Path:
    """The directory of everything that the lab keeps: images, modules, running guests, the ssh key."""
    path = Path(os.environ.get("KMOD_LAB_CACHE") or "~/.cache/kernelops-kmod-lab").expanduser().absolute()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def say(text: str) -> None:
    """Tell what is being done. On stderr, so that stdout holds nothing but what was asked for."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Say what starts and, at its end, how many seconds it took."""
    say(f"{what} ...")
    start = time.monotonic()
    yield
    say(f"{what}: done in {time.monotonic() - start:.1f} s")


def digest(*parts: str) -> str:
    """Twelve hexadecimal digits that change when any part changes."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of this name; a second process says that it waits, and waits."""
    path = cache_dir() / "locks" / f"{name}.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another lab command works on {name}; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    log: Optional[Path] = None,
    env: Optional[dict[str, str]] = None,
    stdin: Optional[bytes] = None,
    what: str = "",
) -> str:
    """Run a command and return its stdout.

    :param timeout: seconds after which the command is ended.
    :param log: a file to which stdout and stderr go instead; what is returned is then empty.
    :param what: what errors call the command; if empty, its own words.
    :raises LabError: with the last lines that the command said.
    """
    what = what or f"`{textwrap.shorten(' '.join(argv), 200, placeholder=' ...')}`"
    environment = {**os.environ, "LC_ALL": "C", **(env or {})}
    try:
        if log is None:
            done = subprocess.run(argv, capture_output=True, timeout=timeout, env=environment, input=stdin, check=False)
            said = (done.stdout + done.stderr).decode(errors="replace")
            out = done.stdout.decode(errors="replace")
        else:
            with log.open("ab") as sink:
                done = subprocess.run(
                    argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                    timeout=timeout, env=environment, check=False,
                )
            said, out = log.read_text(errors="replace"), ""
    except FileNotFoundError as exc:
        raise LabError(f"`{argv[0]}` is not installed; run `python3 tests/lab prepare`.") from exc
    except subprocess.TimeoutExpired as exc:
        raise LabError(f"{what} did not end within {timeout:.0f} s and was stopped.") from exc
    if done.returncode != 0:
        fail(f"{what} ended with {done.returncode}", said, log)
    return out


def fail(what: str, said: str, log: Optional[Path] = None) -> NoReturn:
    """Raise a LabError that ends with the last lines of what a command said."""
    tail = "\n".join("    " + line for line in said.rstrip().splitlines()[-15:])
    whole = f"\nAll of it is in {log}." if log else ""
    raise LabError(f"{what}; it said last:\n{tail}{whole}")


def must_be_root() -> None:
    if os.geteuid() != 0:
        raise LabError("Installing packages and building images needs root (chroot, device nodes); run this as root.")


def missing_packages(wanted: Sequence[str] = PACKAGES) -> list[str]:
    """Which of these Debian packages are not installed here."""
    try:
        done = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n", *wanted],
            capture_output=True, text=True, timeout=60, check=False,
        )
    except FileNotFoundError as exc:
        raise LabError("The lab prepares Debian and its derivatives only: there is no `dpkg-query` here.") from exc
    installed = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in installed]


def prepare() -> None:
    """Install the Debian packages that the lab needs and this machine lacks."""
    if not install(PACKAGES):
        say("All Debian packages that the lab needs are installed.")


def install(packages: Sequence[str]) -> bool:
    """Install those of these Debian packages that this machine lacks; whether there were any."""
    with locked("packages"):
        missing = missing_packages(packages)
        if not missing:
            return False
        must_be_root()
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        with timed(f"Installing {' '.join(missing)} (about a minute)"):
            run(["apt-get", "-q", "update"], timeout=600, env=quiet)
            run(["apt-get", "-qy", "install", "--no-install-recommends", *missing], timeout=1800, env=quiet)
        return True


def ssh_key() -> Path:
    """The private key that opens every guest of this cache; made once."""
    key = cache_dir() / "ssh" / "id_ed25519"
    with locked("ssh-key"):
        if not key.exists():
            key.parent.mkdir(mode=0o700, exist_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kernelops-kmod-lab", "-f", str(key)], timeout=60)
    return key
