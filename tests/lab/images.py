# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One disk image for each kernel, built from its recipe and cached.

An image is a directory of the cache: ``rootfs/`` (the tree, for building modules against its headers), ``disk.raw``
(the same as an ext4 file system), ``vmlinuz``, ``initrd.img`` and ``release``. Its name ends with the digest of its
recipe, so a changed recipe is another image.
"""

import json
import shutil
import uuid
from pathlib import Path
from typing import NamedTuple

import architectures
from architectures import Architecture
from host import LabError, cache_dir, digest, locked, must_be_root, run, ssh_key, timed

MIRROR = "http://deb.debian.org"
DISK_SIZE = "4G"

RUNTIME = ("systemd-sysv", "udev", "kmod", "iproute2", "openssh-server", "python3")
TOOLCHAIN = ("gcc", "make", "libc6-dev", "python3-pyelftools")
# What puts real modules to use (tests/real): modules that DKMS builds while the image is made, and programs.
IN_USE = (
    "dkms", "dm-writeboost-dkms", "v4l2loopback-dkms", "xtables-addons-dkms",
    "alsa-utils", "btrfs-progs", "cryptsetup-bin", "dmsetup", "e2fsprogs", "ipset", "iptables", "iputils-ping", "mdadm",
    "nbd-client", "nbd-server", "nfs-common", "nfs-kernel-server", "nftables", "procps", "wireguard-tools",
    "xfsprogs", "xtables-addons-common",
)

# Timers and services that would run in the middle of a test, or hold up the boot.
MASKED_UNITS = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
    "fstrim.timer", "logrotate.timer", "man-db.timer", "systemd-tmpfiles-clean.timer", "systemd-timesyncd.service",
    "systemd-networkd-wait-online.service", "systemd-logind.service", "systemd-pstore.service", "getty@tty1.service",
    "serial-getty@ttyS0.service", "rc-local.service", "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
)

# Services of these packages that the tests start themselves.
NOT_AT_BOOT = (
    "alsa-restore.service", "mdmonitor-oneshot.timer", "mdcheck_start.timer", "mdcheck_continue.timer",
    "nbd-server.service", "nbd.service", "nfs-client.target", "nfs-server.service", "nftables.service",
    "rpcbind.service", "rpcbind.socket",
)

# Files that must be there before the packages are: the initrd is made while the kernel's package is set up.
EARLY_FILES = {
    "/etc/initramfs-tools/conf.d/lab": "MODULES=list\nCOMPRESS=gzip\nRESUME=none\n",
    "/usr/share/initramfs-tools/modules.d/lab": "virtio_pci\nvirtio_blk\next4\n",
    "/etc/apt/apt.conf.d/lab": 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n',
}

QUICK_DPKG = "force-unsafe-io\n" + "".join(
    f"path-exclude=/usr/share/{what}/*\n" for what in ("doc", "info", "lintian", "locale", "man")
)

LATE_FILES = {
    "/etc/hostname": "guest\n",
    "/etc/hosts": "127.0.0.1 localhost guest\n",
    "/etc/fstab": "/dev/vda / ext4 defaults,noatime 0 0\n",
    "/etc/resolv.conf": "nameserver 10.0.2.3\n",
    "/etc/systemd/network/lab.network": (
        "[Match]\nType=ether\n\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
        "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    ),
    "/etc/ssh/sshd_config": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        "UsePAM no\nUseDNS no\nPrintMotd no\nPrintLastLog no\nAcceptEnv LANG LC_*\nMaxStartups 50:30:100\n"
        "MaxSessions 50\nSubsystem sftp /usr/lib/openssh/sftp-server\n"
    ),
    "/etc/sysctl.d/lab.conf": "kernel.panic_on_oops = 0\nkernel.panic_on_warn = 0\n",
}


class Recipe(NamedTuple):
    """How the image of one kernel is made."""

    suite: str
    toolchain: bool = True
    kernel_from: str = ""  # a further suite from which the linux-* packages come
    programs: tuple[str, ...] = ()  # what is installed besides


RECIPES = {
    "5.10": Recipe("bullseye"),
    "6.1": Recipe("bookworm"),
    "6.12": Recipe("trixie"),
    "7.3": Recipe("trixie", kernel_from="trixie-backports"),
    "bare-5.10": Recipe("bullseye", toolchain=False),
    "bare-6.1": Recipe("bookworm", toolchain=False),
    "bare-6.12": Recipe("trixie", toolchain=False),
    "bare-7.3": Recipe("trixie", kernel_from="trixie-backports", toolchain=False),
    "arm64-6.1": Recipe("bookworm"),
    "arm64-6.12": Recipe("trixie"),
    "real-6.1": Recipe("bookworm", programs=IN_USE),
    "real-6.12": Recipe("trixie", programs=IN_USE),
}


def usual() -> list[str]:
    """The kernels whose images are built unless others are named: those without further programs."""
    return [kernel for kernel, recipe in RECIPES.items() if not recipe.programs]


class Image(NamedTuple):
    """A built image. ``directory`` holds it, ``release`` is what `uname -r` says in it."""

    kernel: str
    key: str
    directory: Path
    release: str

    @property
    def rootfs(self) -> Path:
        return self.directory / "rootfs"

    @property
    def disk(self) -> Path:
        return self.directory / "disk.raw"


def known(kernel: str) -> str:
    """The kernel's name, or a LabError that lists those there are."""
    if kernel not in RECIPES:
        raise LabError(f"There is no image for {kernel!r}; those there are: {', '.join(RECIPES)}.")
    return kernel


def apt_sources(recipe: Recipe) -> str:
    """The text of the guest's /etc/apt/sources.list."""
    suites = [
        f"{MIRROR}/debian {recipe.suite}", f"{MIRROR}/debian {recipe.suite}-updates",
        f"{MIRROR}/debian-security {recipe.suite}-security",
    ]
    if recipe.kernel_from:
        suites.append(f"{MIRROR}/debian {recipe.kernel_from}")
    return "".join(f"deb {suite} main\n" for suite in suites)


def early_files(recipe: Recipe) -> dict[str, str]:
    files = dict(EARLY_FILES)
    if recipe.kernel_from:
        pin = f"Package: linux-*\nPin: release n={recipe.kernel_from}\nPin-Priority: 990\n"
        files["/etc/apt/preferences.d/lab"] = pin
    if not recipe.toolchain:  # tests install packages there, 15,000 files under emulation
        files["/etc/dpkg/dpkg.cfg.d/lab"] = QUICK_DPKG
    return files


def customize_hooks(recipe: Recipe) -> list[str]:
    """Shell lines that mmdebstrap runs at the end, with the tree's path in $1."""
    hooks = [f'ln -sf /dev/null "$1/etc/systemd/system/{unit}"' for unit in MASKED_UNITS]
    hooks.append('chroot "$1" systemctl enable systemd-networkd.service')
    if recipe.toolchain:
        hooks.append('chroot "$1" apt-get install -qy "linux-headers-$(ls "$1/lib/modules")"')
    if recipe.programs:
        hooks += [f'chroot "$1" systemctl disable {unit} || true' for unit in NOT_AT_BOOT]
    return hooks


def recipe_key(kernel: str, public_key: str) -> str:
    """The digest of all that the image is made from, but for the mirror's present packages."""
    recipe = RECIPES[kernel]
    machine = architectures.of(kernel)
    parts = [
        # Its programs are among the packages, and who has none keeps the image from before there were any.
        recipe[:3], apt_sources(recipe), early_files(recipe), LATE_FILES, customize_hooks(recipe),
        packages(recipe, machine),
    ]
    return digest(json.dumps([*parts, DISK_SIZE, public_key], sort_keys=True))


def packages(recipe: Recipe, machine: Architecture) -> list[str]:
    return [*RUNTIME, *(TOOLCHAIN if recipe.toolchain else ()), *recipe.programs, f"linux-image-{machine.debian}"]


def image(kernel: str) -> Image:
    """The image of this kernel, built now if the cache does not hold it."""
    return build(kernel, again=False)


def build(kernel: str, *, again: bool) -> Image:
    """The image of a kernel, built if the cache does not hold it, or in any case if ``again``."""
    machine = architectures.of(known(kernel))
    public_key = Path(f"{ssh_key()}.pub").read_text(encoding="ascii")
    key = recipe_key(kernel, public_key)
    directory = cache_dir() / "images" / f"{kernel}-{key}"
    with locked(f"image-{kernel}"):
        if again or not directory.exists():
            must_be_root()
            architectures.let_run_here(machine)
            takes = "about two minutes, most of it downloads" if machine.is_native() else "about ten minutes"
            with timed(f"Building the image of {kernel} ({takes})"):
                _build_into(kernel, directory, public_key)
    return Image(kernel, key, directory, (directory / "release").read_text(encoding="ascii").strip())


def _build_into(kernel: str, directory: Path, public_key: str) -> None:
    partial = directory.with_name(f".{directory.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    partial.parent.chmod(0o755)
    _bootstrap(RECIPES[kernel], architectures.of(kernel), partial)
    rootfs = partial / "rootfs"
    _write_files(rootfs, LATE_FILES)
    _write_files(rootfs, {"/etc/machine-id": uuid.uuid4().hex + "\n", "/root/.ssh/authorized_keys": public_key})
    (rootfs / "root" / ".ssh").chmod(0o700)

    releases = sorted(path.name for path in (rootfs / "lib" / "modules").iterdir())
    if len(releases) != 1:
        raise LabError(f"The image of {kernel} holds {releases} where one kernel should be; see images.py.")
    (partial / "release").write_text(releases[0] + "\n", encoding="ascii")
    for name, source in (("vmlinuz", "vmlinuz"), ("initrd.img", "initrd.img")):
        shutil.copyfile(rootfs / "boot" / f"{source}-{releases[0]}", partial / name)
    run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(rootfs), str(partial / "disk.raw"), DISK_SIZE],
        timeout=600,
    )
    for old in directory.parent.glob(f"{kernel}-*"):
        shutil.rmtree(old)
    partial.rename(directory)


def _bootstrap(recipe: Recipe, machine: Architecture, directory: Path) -> None:
    """Unpack and configure the packages of the recipe into ``directory/rootfs``."""
    early = directory / "early"
    _write_files(early, early_files(recipe))
    hooks = [f"--customize-hook={hook}" for hook in customize_hooks(recipe)]
    sources = directory / "sources.list"
    sources.write_text(apt_sources(recipe), encoding="ascii")
    run(
        [
            # What mmdebstrap mounts below the tree is seen by nobody else, and is gone when it ends, however it ends.
            "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
            "mmdebstrap", "--mode=root", "--variant=minbase", f"--architectures={machine.debian}",
            f"--include={','.join(packages(recipe, machine))}",
            f"--setup-hook=sync-in {early} /", *hooks, recipe.suite, str(directory / "rootfs"), str(sources),
        ],
        timeout=3000, log=directory / "mmdebstrap.log",
    )
    shutil.rmtree(early)


def _write_files(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="ascii")
