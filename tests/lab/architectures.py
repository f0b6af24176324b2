# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The architectures that guests may have, and what this machine needs for one that is not its own."""

import os
from pathlib import Path
from typing import NamedTuple

from host import LabError, install, must_be_root, run

BINFMT = Path("/proc/sys/fs/binfmt_misc")


class Architecture(NamedTuple):
    """One of Debian's architectures, and how QEMU runs a machine of it."""

    debian: str
    machine: str  # as `uname -m` says it
    qemu: str
    board: str
    emulated_cpu: str
    console: str
    packages: tuple[str, ...] = ()  # of this machine, to run programs and guests of it

    def is_native(self) -> bool:
        return os.uname().machine == self.machine


AMD64 = Architecture("amd64", "x86_64", "qemu-system-x86_64", "q35", "max", "ttyS0")
ARM64 = Architecture(
    # With pointer authentication by a cheap algorithm: the architecture's own takes the emulator half its time.
    "arm64", "aarch64", "qemu-system-aarch64", "virt", "max,pauth-impdef=on", "ttyAMA0",
    packages=("arch-test", "qemu-system-arm", "qemu-user-static"),
)


def of(kernel: str) -> Architecture:
    """The architecture of a kernel by its name: `arm64-6.1` is of arm64, `6.1` of amd64."""
    return ARM64 if ARM64.debian in kernel.split("-") else AMD64


def let_run_here(architecture: Architecture) -> None:
    """Have this machine's kernel run programs of another architecture, until it reboots, by qemu-user-static."""
    if architecture.is_native():
        return
    must_be_root()
    install(architecture.packages)
    handler = BINFMT / f"qemu-{architecture.machine}"
    if not (BINFMT / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], timeout=60)
    if not handler.exists():
        rule = Path(f"/usr/lib/binfmt.d/qemu-{architecture.machine}.conf")
        try:
            (BINFMT / "register").write_bytes(rule.read_bytes().strip())
        except OSError as error:
            raise LabError(
                f"Registering programs of {architecture.machine} by {rule} failed: {error.strerror}. "
                "In a container, register them on its host."
            ) from error
