# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the lab that need no guest."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import architectures
import fault_modules
import fault_table
import guests
import host
import images
import pytest

# As the kernel writes them: Debian's 6.1, a module of each fault.
PROC_MODULES = {
    "init_oops": "init_oops 28672 1 - Loading 0xffffffffc087d000 (OE+)",
    "init_bug": "init_bug 28672 1 - Loading 0xffffffffc087d000 (OE+)",
    "dashed-name": "dashed_name 28672 1 - Loading 0xffffffffc087d000 (OE+)",
    "exit_oops": "exit_oops 16384 -1 - Unloading 0xffffffffc087d000 (OE-)",
    "leaked_ref": "leaked_ref 16384 3 - Live 0xffffffffc087d000 (OE)",
    "no_exit": "no_exit 12288 0 [permanent], Live 0xffffffffc063e000 (OE)",
    "layout_pad": "layout_pad 16384 0 [permanent], Live 0xffffffffc087d000 (OE)",
    "init_hang": "init_hang 28672 1 - Loading 0xffffffffc087d000 (OE+)",
    "init_spin": "init_spin 28672 1 - Loading 0xffffffffc087d000 (OE+)",
    "exit_hang": "exit_hang 16384 -1 - Unloading 0xffffffffc087d000 (OE-)",
    "used_base": "used_base 16384 1 used_by, Live 0xffffffffc087d000 (OE)",
    "used_by": "used_by 16384 0 - Live 0xffffffffc0882000 (OE)",
    "cdev_held": "cdev_held 16384 1 - Live 0xffffffffc087d000 (OE)",
    "kernel_thread": "kernel_thread 16384 0 - Live 0xffffffffc087d000 (OE)",
    "init_irq": "init_irq 20480 2 - Loading 0xffffffffc0da1000 (OE+)",
    "irqs_off": "irqs_off 12288 0 [permanent], Live 0xffffffffc0d83000 (OE)",
    "no_exit_misc": "no_exit_misc 8192 0 [permanent], Live 0x0000000000000000 (OE)",
    "mutex_dead": "mutex_dead 16384 0 - Live 0xffffffffc087d000 (OE)",
    **{name: f"{name} 20480 1 - Loading 0xffffffffc0d79000 (OE+)" for name in fault_table.REGISTERED},
    "init_leak": "init_leak 20480 1 - Loading 0xffffffffc0d79000 (OE+)",
    "ref_mapped": "ref_mapped 12288 1 - Live 0xffffffffc087d000 (OE)",
    "ref_notifier": "ref_notifier 12288 1 - Live 0xffffffffc087d000 (OE)",
    "thread_holds": "thread_holds 12288 1 - Live 0xffffffffc087d000 (OE)",
    "mapped": "mapped 12288 1 - Live 0xffffffffc087d000 (OE)",
    "fd_in_flight": "fd_in_flight 12288 1 - Live 0xffffffffc087d000 (OE)",
    "uring_file": "uring_file 12288 1 - Live 0xffffffffc087d000 (OE)",
    "cdev_owner": "cdev_owner 12288 1 - Live 0xffffffffc087d000 (OE)",
    "no_owner": "no_owner 12288 0 - Live 0xffffffffc087d000 (OE)",
    "disk_unowned": "disk_unowned 12288 0 - Live 0xffffffffc087d000 (OE)",
    "binfmt_unowned": "binfmt_unowned 12288 0 - Live 0xffffffffc087d000 (OE)",
    "dmabuf_unowned": "dmabuf_unowned 12288 0 - Live 0xffffffffc087d000 (OE)",
    "exit_other": "exit_other 12288 0 - Live 0xffffffffc087d000 (OE)",
    "ldisc_unowned": "ldisc_unowned 12288 0 - Live 0xffffffffc087d000 (OE)",
    "mount_unowned": "mount_unowned 12288 0 - Live 0xffffffffc087d000 (OE)",
    "lock_died": "lock_died 12288 0 - Live 0xffffffffc087d000 (OE)",
    "netns_dev": "netns_dev 12288 0 - Live 0xffffffffc087d000 (OE)",
    "got_base": "got_base 12288 1 - Live 0xffffffffc087d000 (OE)",
    "got_by": "got_by 12288 0 - Live 0xffffffffc087d000 (OE)",
    "polls": "polls 12288 2 polled, Live 0xffffffffc087d000 (OE)",
    "polled": "polled 12288 1 - Live 0xffffffffc087d000 (OE)",
    "worker_died": "worker_died 12288 0 - Live 0xffffffffc087d000 (OE)",
    "exit_waits": "exit_waits 12288 -1 - Unloading 0xffffffffc087d000 (OE-)",
    "async_died": "async_died 12288 -1 - Unloading 0xffffffffc087d000 (OE-)",
    "init_core": "init_core 16384 1 - Loading 0xffffffffc087d000 (OE+)",
    "exit_core": "exit_core 12288 -1 - Unloading 0xffffffffc087d000 (OE-)",
    "needed": "needed 12288 1 init_needed, Live 0xffffffffc087d000 (OE)",
    "init_needed": "init_needed 16384 1 - Loading 0xffffffffc087d000 (OE+)",
    "shared": "shared 12288 1 init_shared, Live 0xffffffffc087d000 (OE)",
    "init_shared": "init_shared 16384 1 - Loading 0xffffffffc087d000 (OE+)",
    "lent": "lent 12288 1 init_borrows, Live 0xffffffffc087d000 (OE)",
    "init_borrows": "init_borrows 16384 1 - Loading 0xffffffffc087d000 (OE+)",
    "cdev_core": "cdev_core 12288 2 cdev_driver, Live 0xffffffffc087d000 (OE)",
    "cdev_driver": "cdev_driver 12288 1 - Live 0xffffffffc087d000 (OE)",
    "hook_asleep": "hook_asleep 12288 0 - Live 0xffffffffc087d000 (OE)",
    "sysfs_ref": "sysfs_ref 12288 1 - Live 0xffffffffc087d000 (OE)",
    "used_ldisc": "used_ldisc 12288 1 - Live 0xffffffffc087d000 (OE)",
    "used_congestion": "used_congestion 12288 1 - Live 0xffffffffc087d000 (OE)",
    "used_qdisc": "used_qdisc 12288 1 - Live 0xffffffffc087d000 (OE)",
    "used_family": "used_family 12288 2 - Live 0xffffffffc087d000 (OE)",
    "used_hash": "used_hash 12288 2 - Live 0xffffffffc087d000 (OE)",
    "used_livepatch": "used_livepatch 12288 1 - Live 0xffffffffc087d000 (OEK)",
    "used_mount": "used_mount 12288 1 - Live 0xffffffffc087d000 (OE)",
    "used_configfs": "used_configfs 12288 2 - Live 0xffffffffc087d000 (OE)",
    "init_waits": "init_waits 12288 1 - Loading 0xffffffffc087d000 (OE+)",
    "exit_tail": "exit_tail 12288 -1 - Unloading 0xffffffffc087d000 (OE-)",
    "probe_async": "probe_async 12288 1 - Live 0xffffffffc087d000 (OE)",
    "healthy": "healthy 16384 0 - Live 0xffffffffc087d000 (OE)",
    "bystander": "bystander 16384 0 - Live 0xffffffffc0936000 (OE)",
    "exit_panic": "exit_panic 16384 1 - Live 0xffffffffc0931000 (OE)",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KMOD_LAB_CACHE", str(tmp_path))
    return tmp_path


def running_guest(
    cache: Path, name: str = "linux-6.1", pid: Optional[int] = None, start_time: Optional[int] = None
) -> guests.Guest:
    directory = cache / "guests" / name
    directory.mkdir(parents=True)
    pid = pid or os.getpid()
    facts = {
        "name": name, "kernel": "6.1", "release": "6.1.0-56-amd64", "port": 40022, "append": "", "pid": pid,
        "start_time": guests.start_time(pid) if start_time is None else start_time,
    }
    (directory / "guest.json").write_text(json.dumps(facts))
    return guests.Guest(name)


def test_every_recipe_has_its_own_key() -> None:
    keys = {images.recipe_key(kernel, "ssh-ed25519 AAAA") for kernel in images.RECIPES}
    assert len(keys) == len(images.RECIPES)


@pytest.mark.parametrize("change", [
    lambda patch: patch.setitem(images.LATE_FILES, "/etc/fstab", "changed"),
    lambda patch: patch.setitem(images.EARLY_FILES, "/etc/new", "changed"),
    lambda patch: patch.setattr(images, "RUNTIME", (*images.RUNTIME, "procps")),
    lambda patch: patch.setattr(images, "MASKED_UNITS", ()),
    lambda patch: patch.setattr(images, "DISK_SIZE", "5G"),
    lambda patch: patch.setitem(images.RECIPES, "6.1", images.Recipe("trixie")),
])
def test_the_key_changes_with_the_recipe(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = images.recipe_key("6.1", "ssh-ed25519 AAAA")
    assert images.recipe_key("6.1", "ssh-ed25519 AAAA") == before
    change(monkeypatch)
    assert images.recipe_key("6.1", "ssh-ed25519 AAAA") != before


def test_the_key_changes_with_the_ssh_key() -> None:
    assert images.recipe_key("6.1", "ssh-ed25519 AAAA") != images.recipe_key("6.1", "ssh-ed25519 BBBB")


def test_only_the_backports_kernel_is_pinned() -> None:
    pin = "/etc/apt/preferences.d/lab"
    pinned = {name for name, recipe in images.RECIPES.items() if pin in images.early_files(recipe)}
    assert pinned == {"7.3", "bare-7.3"}
    assert "trixie-backports main" in images.apt_sources(images.RECIPES["7.3"])


def test_the_bare_image_gets_no_compiler() -> None:
    assert {"gcc", "make"} <= set(images.packages(images.RECIPES["6.1"], architectures.AMD64))
    assert not set(images.TOOLCHAIN) & set(images.packages(images.RECIPES["bare-6.1"], architectures.AMD64))
    assert not any("headers" in hook for hook in images.customize_hooks(images.RECIPES["bare-6.1"]))


def test_images_with_programs_are_built_when_named_alone() -> None:
    usual, packages = set(images.usual()), set(images.packages(images.RECIPES["real-6.12"], architectures.AMD64))
    assert set(images.RECIPES) - usual == {"real-6.1", "real-6.12"}
    assert {*images.IN_USE, *images.TOOLCHAIN} <= packages
    # Whose key they do not change: else everyone would build every image again.
    assert not set(images.IN_USE) & set(images.packages(images.RECIPES["6.12"], architectures.AMD64))


def test_the_pad_stands_before_exit() -> None:
    header = "struct module {\n\tint refs;\n\tvoid (*exit)(void);\n\tatomic_t refcnt;\n};\n"
    text = fault_modules.padded(header)
    assert re.search(r"int refs;\n\tchar lab_pad\[16\];\n\tvoid \(\*exit\)\(void\);\n\tatomic_t refcnt;", text)


def test_a_header_without_exit_is_an_error() -> None:
    with pytest.raises(host.LabError, match="lacks the member `exit`"):
        fault_modules.padded("struct module {\n};\n")


@pytest.mark.parametrize("fault", sorted(fault_table.FAULTS))
def test_a_fault_knows_its_own_state_and_not_the_healthy_one(fault: str) -> None:
    pattern = fault_table.line_pattern(fault)
    module = fault.replace("-", "_")
    healthy = f"{module} 16384 0 - Live 0xffffffffc087d000 (OE)\n"
    text = f"other_{PROC_MODULES[fault]}\n{PROC_MODULES[fault]}\n"
    assert grep(pattern, text) == PROC_MODULES[fault] + "\n"
    assert bool(grep(pattern, healthy)) == (fault_table.FAULTS[fault].line == "0 - Live")


@pytest.mark.parametrize("fault", fault_table.LATE)
def test_each_that_can_crash_late_asks_for_that_before_it_takes_anything_back(fault: str) -> None:
    source = (fault_modules.SOURCES / f"{fault}.c").read_text(encoding="ascii")
    assert f"LEAVES({fault}," in source or "_exit(void)\n{\n\tdies_late();\n" in source
    going = f"{fault} 16384 -1 - Unloading 0xffffffffc087d000 (OE-)\n"
    pattern = fault_table.line_pattern(fault, fault_table.crashing_late(fault))
    assert grep(pattern, going + PROC_MODULES[fault]) == going
    subprocess.run(["sh", "-n"], input=fault_modules.inject_script(fault, late=True), text=True, check=True)


def grep(pattern: str, text: str) -> str:
    return subprocess.run(["grep", "-e", pattern], input=text, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("fault", sorted(fault_table.FAULTS))
def test_the_script_that_injects_a_fault_is_a_shell_script(fault: str) -> None:
    subprocess.run(["sh", "-n"], input=fault_modules.inject_script(fault), text=True, check=True)


def test_each_fault_has_its_source() -> None:
    sources = {path.stem for path in fault_modules.SOURCES.glob("*.c")}
    assert sources == set(fault_table.FAULTS) == set(PROC_MODULES)


@pytest.mark.parametrize(("name", "kernel"), [
    ("linux-6.12", "6.12"), ("bare-6.1", "bare-6.1"), ("linux-bare-6.1", "bare-6.1"), ("web1", "6.1"), ("", "6.1"),
    ("linux-arm64-6.1", "arm64-6.1"),
])
def test_a_name_may_ask_for_a_kernel(name: str, kernel: str) -> None:
    assert guests.kernel_of(name) == kernel


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", ".x", "a/b"])
def test_a_name_is_no_path_and_no_option(name: str) -> None:
    with pytest.raises(host.LabError, match="cannot be the name"):
        guests.Guest(name)


@pytest.mark.parametrize("accel", ["kvm", "tcg"])
def test_a_guest_is_reached_from_this_machine_only(accel: str, cache: Path) -> None:
    image = images.Image("6.1", "0", cache, "6.1.0-56-amd64")
    argv = guests.qemu_argv(cache, guests.facts_of(image, accel, "lockdown=integrity", 40022))
    assert "user,id=net,hostfwd=tcp:127.0.0.1:40022-:22" in argv
    assert argv[argv.index("-append") + 1].endswith(" panic=-1 log_buf_len=1M lockdown=integrity")
    assert argv[argv.index("-accel") + 1].startswith(accel)


@pytest.mark.parametrize(("kernel", "machine"), [
    ("6.1", architectures.AMD64), ("bare-6.1", architectures.AMD64), ("arm64-6.1", architectures.ARM64),
])
def test_a_guest_is_a_machine_of_its_kernel_s_architecture(
    kernel: str, machine: architectures.Architecture, cache: Path
) -> None:
    argv = guests.qemu_argv(cache, guests.facts_of(images.Image(kernel, "0", cache, "6.1.0"), "tcg", "quiet", 40022))
    assert (argv[0], argv[argv.index("-machine") + 1]) == (machine.qemu, machine.board)
    assert argv[argv.index("-append") + 1] == (
        f"root=/dev/vda rw console={machine.console} panic=-1 log_buf_len=1M quiet")
    assert images.packages(images.RECIPES[kernel], machine)[-1] == f"linux-image-{machine.debian}"


def test_kvm_runs_no_other_architecture(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_arguments: True)
    monkeypatch.setattr(guests, "_kvm_boots", lambda _image: True)
    foreign = "6.1" if os.uname().machine == "aarch64" else "arm64-6.1"
    assert guests.accelerator(images.Image(foreign, "0", cache, "6.1.0")) == "tcg"


def test_another_process_with_the_pid_is_not_the_guest(cache: Path) -> None:
    assert running_guest(cache, "alive").is_running()
    assert not running_guest(cache, "reused", start_time=1).is_running()


def test_a_guest_whose_process_ended_does_not_run(cache: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    guest = running_guest(cache, pid=process.pid)
    assert guest.is_running()
    process.communicate(b"\n")
    assert not guest.is_running()
    with pytest.raises(host.LabError, match=r"does not run.*up linux-6\.1"):
        guest.must_run()


def test_the_inventory_has_what_ansible_needs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "ssh_key", lambda: cache / "key")
    running_guest(cache)
    text = guests.inventory(["linux-6.1"])
    assert text.startswith("all:\n  hosts:\n    linux-6.1:\n")
    variables = dict(line.strip().split(": ", 1) for line in text.splitlines()[3:])
    assert json.loads(variables["ansible_port"]) == 40022
    assert json.loads(variables["ansible_host"]) == "127.0.0.1"
    assert json.loads(variables["ansible_ssh_private_key_file"]) == str(cache / "key")
    assert f"ControlPath={cache}/guests/linux-6.1/ssh" in json.loads(variables["ansible_ssh_args"])


def test_a_failed_command_tells_its_last_words() -> None:
    with pytest.raises(host.LabError, match=r"(?s)ended with 3; it said last:\n    no such kernel"):
        host.run(["sh", "-c", "echo no such kernel >&2; exit 3"], timeout=10)


def test_a_command_that_takes_too_long_is_an_error() -> None:
    with pytest.raises(host.LabError, match="did not end within 0 s"):
        host.run(["sleep", "5"], timeout=0.2)


def test_a_command_that_is_not_there_says_how_to_get_it() -> None:
    with pytest.raises(host.LabError, match="lab prepare"):
        host.run(["no-such-command-of-the-lab"], timeout=10)
