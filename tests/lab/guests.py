# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boots, snapshots, reaches and ends guests.

Each guest is a directory of the cache: ``guest.json`` (kernel, port, pid ...), ``disk.qcow2`` (its overlay, with the
snapshot of the clean guest), ``console.log``, ``qemu.log``, ``qmp.sock``. The process that runs it is its own session.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

import architectures
import images
from host import LabError, cache_dir, digest, fail, locked, run, say, ssh_key, timed

MEMORY_MB = 1024
CPUS = 2
SNAPSHOT = "clean"
BOOT_DEADLINE_S = 420
# A log of the default size has room for some 20 oopses.
KERNEL_ARGUMENTS = "root=/dev/vda rw console={console} panic=-1 log_buf_len=1M"
# Read once before the snapshot is taken, so that each restored guest has the files in memory that Ansible asks for.
WARM_UP = "python3 -c 'import ast, ctypes, json, lzma, shlex, subprocess, tempfile, zipfile' && rmmod --version"


class Guest:
    """One guest by its name, whether it runs or not."""

    def __init__(self, name: str) -> None:
        if not name or not all(char.isalnum() or char in "._-" for char in name) or name[0] in ".-":
            raise LabError(f"{name!r} cannot be the name of a guest; use letters, digits, dots and dashes.")
        self.name = name
        self.directory = cache_dir() / "guests" / name
        self.console = self.directory / "console.log"
        self.disk = self.directory / "disk.qcow2"
        self.monitor = self.directory / "qmp.sock"
        self.control = self.directory / "ssh"

    @property
    def facts(self) -> dict[str, Any]:
        """What ``guest.json`` says: name, kernel, release, port, pid, append. Empty if there is no such guest."""
        try:
            facts: dict[str, Any] = json.loads((self.directory / "guest.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return facts

    def is_running(self) -> bool:
        """Whether the guest's process lives; another process that got its pid does not count."""
        facts = self.facts
        return bool(facts) and start_time(facts["pid"]) == facts["start_time"]

    def must_run(self) -> dict[str, Any]:
        """The facts of a running guest; a LabError for any other."""
        if not self.is_running():
            last = "" if not self.console.exists() else f" Its console is in {self.console}."
            raise LabError(f"The guest {self.name} does not run.{last} Boot it: `python3 tests/lab up {self.name}`.")
        return self.facts

    def ssh_options(self) -> list[str]:
        """Options that ssh and scp share, and that Ansible gets too: one kept connection for all of them."""
        return [
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
            "-o", "IdentitiesOnly=yes", "-o", "ControlMaster=auto", "-o", "ControlPersist=300s",
            "-o", f"ControlPath={self.control}", "-o", "ConnectTimeout=20",
            "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8",
        ]

    def ssh_argv(self, *command: str) -> list[str]:
        port = str(self.must_run()["port"])
        return ["ssh", *self.ssh_options(), "-i", str(ssh_key()), "-p", port, "root@127.0.0.1", *command]

    def ssh(self, command: str, *, timeout: float, stdin: bytes = b"", what: str = "") -> str:
        """Run a shell command in the guest and return its stdout; a LabError (about ``what``) if it fails."""
        what = what or f"`{command}` in the guest {self.name}"
        return run(self.ssh_argv(command), timeout=timeout, stdin=stdin, what=what)

    def copy_in(self, source: Path, destination: str) -> None:
        port = str(self.must_run()["port"])
        run(
            ["scp", "-q", "-r", *self.ssh_options(), "-i", str(ssh_key()), "-P", port, str(source),
             f"root@127.0.0.1:{destination}"],
            timeout=600,
        )

    def close_connections(self) -> None:
        """End the kept ssh connection: it does not survive a restore, and would make the next command wait."""
        if self.control.exists():
            argv = ["ssh", "-o", f"ControlPath={self.control}", "-O", "exit", "root@127.0.0.1"]
            subprocess.run(argv, capture_output=True, timeout=30, check=False)
            self.control.unlink(missing_ok=True)

    def monitor_command(self, command: str, timeout: float) -> None:
        """Give QEMU's monitor one command; a LabError if it answers with anything (these commands are silent)."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(self.monitor))
            with connection.makefile("rw", encoding="utf-8") as stream:
                stream.readline()
                for request in (
                    {"execute": "qmp_capabilities"},
                    {"execute": "human-monitor-command", "arguments": {"command-line": command}},
                ):
                    stream.write(json.dumps(request) + "\n")
                    stream.flush()
                    answer = json.loads(stream.readline())
                    while "event" in answer:
                        answer = json.loads(stream.readline())
        if answer.get("return") != "":
            raise LabError(f"QEMU could not `{command}` in the guest {self.name}: {answer}")

    def wait_for_ssh(self, deadline_s: float) -> None:
        """Return when the guest answers to ssh and its clock is set."""
        end = time.monotonic() + deadline_s
        said = ""
        while time.monotonic() < end:
            if not self.is_running():
                fail(f"The guest {self.name} ended while it booted (console: {self.console})", self._last_words())
            argv = self.ssh_argv(f"date -s @{time.time() + 0.5:.0f} >/dev/null")
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = subprocess.run(argv, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
                if done.returncode == 0:
                    return
                said = done.stderr.decode(errors="replace").strip()
            self.close_connections()
            time.sleep(1)
        fail(f"The guest {self.name} did not answer to ssh within {deadline_s:.0f} s ({said or 'no answer'})",
             self._last_words())

    def _last_words(self) -> str:
        logs = (self.directory / "qemu.log", self.console)
        return "\n".join(path.read_text(errors="replace").strip() for path in logs if path.exists())

    def settle(self) -> None:
        """Return when the guest has started all that it starts at boot."""
        self.ssh(f"systemctl is-system-running --wait; udevadm settle; {WARM_UP}; sync", timeout=300)

    def restore(self) -> None:
        """Put the guest back to its clean snapshot, even if it ended in a panic.

        In a new process: in a running one `loadvm` sets every clock back but the time stamp counter, and a kernel that
        sees that one jump ahead reports stalled CPUs.
        """
        facts = self.facts
        if not facts or not self.disk.exists():
            raise LabError(f"There is no guest {self.name} to restore. Boot it: `python3 tests/lab up {self.name}`.")
        self.stop()
        self.launch(facts, ["-loadvm", SNAPSHOT])
        self.wait_for_ssh(120)

    def launch(self, facts: dict[str, Any], extra: Sequence[str]) -> None:
        """Start QEMU in a session of its own and write down what it is."""
        argv = [*qemu_argv(self.directory, facts), *extra]
        with (self.directory / "qemu.log").open("ab") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        facts = {**facts, "name": self.name, "pid": process.pid, "start_time": start_time(process.pid)}
        partial = self.directory / "guest.json.partial"
        partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        partial.rename(self.directory / "guest.json")

    def stop(self) -> bool:
        """End the guest's process; whether QEMU ended in good order, so that its disk is whole."""
        self.close_connections()
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            if self.is_running():
                os.kill(self.facts["pid"], signal_number)
            for _attempt in range(300):
                if not self.is_running():
                    return signal_number == signal.SIGTERM
                time.sleep(0.1)
        raise LabError(f"The guest {self.name} (pid {self.facts['pid']}) does not end, not even by SIGKILL.")

    def end(self) -> None:
        """End the guest's process and remove all it had but its logs."""
        self.stop()
        for path in (self.disk, self.monitor, self.directory / "guest.json"):
            path.unlink(missing_ok=True)


def start_time(pid: int) -> Optional[int]:
    """When a process started, in clock ticks since the boot (proc_pid_stat(5), field 22); None if it does not live."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def guests() -> list[Guest]:
    """Every guest that was booted and not ended by `down`."""
    return [Guest(path.parent.name) for path in sorted((cache_dir() / "guests").glob("*/guest.json"))]


def name_for(kernel: str) -> str:
    return f"linux-{kernel}"


def kernel_of(name: str) -> str:
    """The kernel that a guest's name asks for: `linux-6.12` asks for 6.12, any other name for 6.1."""
    kernel = name.removeprefix("linux-")
    return kernel if kernel in images.RECIPES else "6.1"


def qemu_argv(directory: Path, facts: dict[str, Any]) -> list[str]:
    """The command that runs a guest from ``directory``/disk.qcow2, with the facts that :func:`facts_of` makes."""
    machine = architectures.of(facts["kernel"])
    kvm = facts["accel"] == "kvm"
    cpu = ["-accel", "kvm", "-cpu", "host"] if kvm else ["-accel", "tcg,thread=multi", "-cpu", machine.emulated_cpu]
    arguments = f"{KERNEL_ARGUMENTS.format(console=machine.console)} {facts['append']}".strip()
    network = f"user,id=net,hostfwd=tcp:127.0.0.1:{facts['port']}-:22"
    return [
        machine.qemu, "-name", directory.name, "-machine", machine.board, *cpu, "-smp", str(CPUS), "-m", str(MEMORY_MB),
        "-display", "none", "-vga", "none", "-no-reboot", "-no-user-config", "-nodefaults",
        "-kernel", f"{facts['image']}/vmlinuz", "-initrd", f"{facts['image']}/initrd.img",
        "-append", arguments,
        "-drive", f"file={directory}/disk.qcow2,format=qcow2,if=none,id=root,cache=unsafe",
        "-device", "virtio-blk-pci,drive=root", "-device", "virtio-rng-pci",
        "-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=",
        "-chardev", f"file,id=console,path={directory}/console.log,append=on", "-serial", "chardev:console",
        "-qmp", f"unix:{directory}/qmp.sock,server=on,wait=off",
    ]


def facts_of(image: images.Image, accel: str, append: str, port: int) -> dict[str, Any]:
    return {
        "kernel": image.kernel, "release": image.release, "image": str(image.directory), "accel": accel,
        "append": append, "port": port,
    }


def accelerator(image: images.Image) -> str:
    """`kvm` or `tcg`: KMOD_LAB_ACCEL, or what a trial boot on this machine shows (kept until the machine reboots)."""
    asked = os.environ.get("KMOD_LAB_ACCEL", "auto")
    if asked in ("kvm", "tcg"):
        return asked
    if asked != "auto":
        raise LabError(f"KMOD_LAB_ACCEL is {asked!r}; it may be kvm, tcg or auto.")
    if not architectures.of(image.kernel).is_native() or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    memory = cache_dir() / "accelerator"
    with locked("accelerator"):
        words = memory.read_text(encoding="ascii").split() if memory.exists() else []
        if len(words) == 2 and words[0] == boot:
            return words[1]
        with timed("Trying whether a guest boots with KVM (at most 10 s)"):
            accel = "kvm" if _kvm_boots(image) else "tcg"
        say("KVM works here." if accel == "kvm" else "KVM does not work here: guests are emulated.")
        memory.write_text(f"{boot} {accel}\n", encoding="ascii")
    return accel


def _kvm_boots(image: images.Image) -> bool:
    """Whether a kernel reaches its first user process under KVM. That /dev/kvm opens proves nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        argv = qemu_argv(Path(scratch), facts_of(image, "kvm", "", _free_port()))
        drive = argv.index("-drive")
        del argv[drive:drive + 4]
        trial = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        console = Path(scratch, "console.log")
        try:
            for _attempt in range(100):
                if trial.poll() is not None:
                    return False
                if console.exists() and b"Run /init as init process" in console.read_bytes():
                    return True
                time.sleep(0.1)
            return False
        finally:
            trial.kill()
            trial.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def up(name: str, kernel: str, *, append: str = "", cold: bool = False) -> Guest:
    """Boot a guest, from the image's snapshot if nothing asks for a cold boot; return it reachable by ssh."""
    guest = Guest(name)
    if len(os.fsencode(guest.monitor)) > 80:  # a socket's path has 107 bytes, and ssh appends 17 for a while
        raise LabError(f"{guest.monitor} is too long a path for a socket; set KMOD_LAB_CACHE to a shorter directory.")
    image = images.image(kernel)
    with locked(f"guest-{name}"):
        if guest.is_running():
            facts = guest.facts
            if (facts["kernel"], facts["append"]) != (kernel, append):
                raise LabError(f"The guest {name} runs another kernel or command line; end it first: `down {name}`.")
            say(f"The guest {name} runs already.")
            return guest
        accel = accelerator(image)
        snapshot = None if cold or append else _snapshot(image, accel)
        how = "from its snapshot" if snapshot else "cold (about a minute)"
        with timed(f"Booting {name} ({kernel}, {accel}) {how}"):
            _start(guest, image, accel, snapshot, append)
    return guest


def _start(guest: Guest, image: images.Image, accel: str, snapshot: Optional[Path], append: str) -> None:
    guest.end()
    guest.directory.mkdir(parents=True, exist_ok=True)
    for log in guest.directory.glob("*.log"):
        log.unlink()
    if snapshot:
        run(["cp", "--reflink=auto", "--sparse=always", str(snapshot), str(guest.disk)], timeout=300)
    else:
        backing = ["-F", "raw", "-b", str(image.disk)]
        run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(guest.disk)], timeout=60)
    guest.launch(facts_of(image, accel, append, _free_port()), ["-loadvm", SNAPSHOT] if snapshot else [])
    try:
        guest.wait_for_ssh(BOOT_DEADLINE_S)
        if not snapshot:
            guest.settle()
            guest.close_connections()
            guest.monitor_command(f"savevm {SNAPSHOT}", timeout=120)
            guest.wait_for_ssh(120)
    except BaseException:
        guest.end()
        raise


def _snapshot(image: images.Image, accel: str) -> Path:
    """The overlay that holds the clean guest of this image; made by a cold boot if the cache lacks it."""
    version = run([architectures.of(image.kernel).qemu, "--version"], timeout=60)
    argv = " ".join(qemu_argv(Path("guest"), facts_of(image, accel, "", 0)))
    path = image.directory / f"snapshot-{digest(version, _host_cpu(), argv, WARM_UP)}.qcow2"
    with locked(f"snapshot-{image.kernel}"):
        if path.exists():
            return path
        guest = Guest(f"snapshot-{image.kernel}")
        with timed(f"Booting {image.kernel} once to keep a snapshot of it (one to two minutes)"):
            try:
                _start(guest, image, accel, None, "")
                if not guest.stop():
                    raise LabError(f"QEMU had to be killed: the snapshot of {image.kernel} may be broken. Try again.")
                for old in image.directory.glob("snapshot-*"):
                    old.unlink()
                guest.disk.rename(path)
            finally:
                guest.end()
        shutil.rmtree(guest.directory)
    return path


def _host_cpu() -> str:
    """What of this machine's processor a snapshot depends on: its features, and the rate of its time stamp counter."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def inventory(names: Sequence[str]) -> str:
    """An Ansible inventory in YAML of these guests."""
    lines = ["all:", "  hosts:"]
    for name in names:
        guest = Guest(name)
        variables = {
            "ansible_host": "127.0.0.1", "ansible_port": guest.must_run()["port"], "ansible_user": "root",
            "ansible_ssh_private_key_file": str(ssh_key()), "ansible_ssh_args": " ".join(guest.ssh_options()),
            "ansible_python_interpreter": "/usr/bin/python3", "lab_kernel": guest.facts["kernel"],
            "lab_release": guest.facts["release"],
        }
        lines.append(f"    {name}:")
        lines += [f"      {key}: {json.dumps(value)}" for key, value in variables.items()]
    return "\n".join(lines) + "\n"


def console_text(guest: Guest, *, follow: bool) -> Iterator[str]:
    """What is on the console; with ``follow`` also what comes, until the guest ends."""
    with guest.console.open(encoding="utf-8", errors="replace") as console:
        while True:
            more_may_come = follow and guest.is_running()
            text = console.read()
            yield text
            if not more_may_come:
                return
            if not text:
                time.sleep(0.3)
