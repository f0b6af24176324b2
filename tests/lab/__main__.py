# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real kernels to test on: `python3 tests/lab COMMAND`."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

import fault_modules
import guests
import host
import images


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python3 tests/lab", description="Real kernels in QEMU, to test on.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    kernels = ", ".join(images.RECIPES)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    command("prepare", "install the Debian packages that the lab needs")
    build = command("build", "build the disk images that the cache lacks")
    build.add_argument("kernels", nargs="*", metavar="KERNEL", help=f"default: all ({kernels})")
    build.add_argument("--again", action="store_true", help="with the mirror's present packages, even if cached")
    modules = command("modules", "build the fault modules that the cache lacks")
    modules.add_argument("kernels", nargs="*", metavar="KERNEL", help="default: each kernel that has a compiler in its image")
    directory = command("modules-dir", "print the directory of a kernel's fault modules, with fixed/ in it")
    directory.add_argument("kernel")
    path = command("path", "print the path of one file of a kernel's image on this machine")
    path.add_argument("kernel")
    path.add_argument("file", help="a path in the image, or its end; wildcards are allowed")

    up = command("up", "boot a guest, from its snapshot where that can be")
    up.add_argument("name", nargs="?", help="default: linux-KERNEL")
    up.add_argument("--kernel", help=f"one of {kernels}; default: the one in the name, else 6.1")
    up.add_argument("--append", default="", help="more of the kernel's command line; boots cold")
    up.add_argument("--cold", action="store_true", help="boot the kernel instead of restoring the snapshot")
    for name, text in (
        ("restore", "put a running guest back to how it was after its boot"),
        ("ssh", "run a command in a guest, or a shell"),
        ("push", "copy a file or directory into a guest"),
        ("jam", "put a guest's module into the state of a fault"),
        ("console", "print what the guest's kernel wrote to its serial console"),
    ):
        command(name, text).add_argument("name")
    commands.choices["ssh"].add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    commands.choices["push"].add_argument("source", type=Path)
    commands.choices["push"].add_argument("destination")
    commands.choices["jam"].add_argument("fault", choices=sorted(fault_modules.FAULTS))
    commands.choices["console"].add_argument("--follow", action="store_true", help="go on until the guest ends")
    down = command("down", "end guests")
    down.add_argument("names", nargs="*", metavar="NAME")
    down.add_argument("--all", action="store_true")
    command("list", "list the guests").add_argument("--json", action="store_true", dest="as_json")
    command("inventory", "print an Ansible inventory").add_argument("names", nargs="+", metavar="NAME")
    return top


def up(name: str | None, kernel: str | None, append: str, cold: bool) -> None:
    kernel = images.known(kernel or guests.kernel_of(name or ""))
    guest = guests.up(name or guests.name_for(kernel), kernel, append=append, cold=cold)
    print(f"{guest.name} runs {guest.facts['release']}; ssh port {guest.facts['port']}")


def restore(name: str) -> None:
    guest = guests.Guest(name)
    with host.timed(f"Restoring {name}"):
        guest.restore()


def ssh(name: str, words: list[str]) -> NoReturn:
    argv = guests.Guest(name).ssh_argv(*words)
    os.execvp(argv[0], argv)


def console(name: str, follow: bool) -> None:
    guest = guests.Guest(name)
    if not guest.console.exists():
        raise host.LabError(f"There is no console of a guest {name}; boot it: `python3 tests/lab up {name}`.")
    if follow:
        for text in guests.follow(guest):
            print(text, end="", flush=True)
    else:
        print(guest.console.read_text(encoding="utf-8", errors="replace"), end="")


def down(names: list[str], every: bool) -> None:
    if not names and not every:
        raise host.LabError("Name the guests to end, or say --all.")
    for guest in guests.guests() if every else map(guests.Guest, names):
        was_running = guest.is_running()
        guest.end()
        print(f"{guest.name}: {'ended' if was_running else 'did not run'}")


def list_guests(as_json: bool) -> None:
    rows = [{**guest.facts, "state": "running" if guest.is_running() else "ended"} for guest in guests.guests()]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print("{name:20} {kernel:9} {release:24} port {port:<6} pid {pid:<8} {state}".format(**row))


def main(argv: list[str]) -> None:
    arguments = parser().parse_args(argv)
    if arguments.command == "prepare":
        host.prepare()
    elif arguments.command == "build":
        for kernel in arguments.kernels or images.RECIPES:
            images.build(kernel, again=arguments.again)
    elif arguments.command == "modules":
        for kernel in arguments.kernels or fault_modules.kernels_with_compiler():
            fault_modules.build(kernel)
    elif arguments.command == "modules-dir":
        print(fault_modules.build(arguments.kernel))
    elif arguments.command == "path":
        print(images.find(arguments.kernel, arguments.file))
    elif arguments.command == "up":
        up(arguments.name, arguments.kernel, arguments.append, arguments.cold)
    elif arguments.command == "restore":
        restore(arguments.name)
    elif arguments.command == "ssh":
        ssh(arguments.name, arguments.words)
    elif arguments.command == "push":
        guests.Guest(arguments.name).copy_in(arguments.source, arguments.destination)
    elif arguments.command == "jam":
        print(fault_modules.jam(guests.Guest(arguments.name), arguments.fault))
    elif arguments.command == "console":
        console(arguments.name, arguments.follow)
    elif arguments.command == "down":
        down(arguments.names, arguments.all)
    elif arguments.command == "list":
        list_guests(arguments.as_json)
    elif arguments.command == "inventory":
        print(guests.inventory(arguments.names), end="")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except host.LabError as error:
        sys.exit(f"lab: {error}")
    except KeyboardInterrupt:
        sys.exit("lab: interrupted")
