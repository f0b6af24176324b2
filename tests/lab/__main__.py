# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real kernels to test on: `python3 tests/lab COMMAND`."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent import futures
from functools import partial
from pathlib import Path

import fault_modules
import fault_table
import guests
import host
import images

# Downloads and dpkg keep one processor busy for half of the time.
SIDE_BY_SIDE = 2


def build(arguments: argparse.Namespace) -> None:
    with futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        built = partial(images.build, again=arguments.again)
        for image in pool.map(built, arguments.kernels or images.usual()):
            print(f"{image.kernel}: {image.release} in {image.directory}")


def build_modules(arguments: argparse.Namespace) -> None:
    kernels = arguments.kernels or fault_modules.kernels_with_compiler()
    with futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for kernel, directory in zip(kernels, pool.map(fault_modules.build, kernels)):
            print(f"{kernel}: {directory}")


def up(arguments: argparse.Namespace) -> None:
    kernel = images.known(arguments.kernel or guests.kernel_of(arguments.name or ""))
    name = arguments.name or guests.name_for(kernel)
    guest = guests.up(name, kernel, append=arguments.append, cold=arguments.cold)
    print(f"{guest.name} runs {guest.facts['release']}; ssh port {guest.facts['port']}")


def restore(arguments: argparse.Namespace) -> None:
    with host.timed(f"Restoring {arguments.name}"):
        guests.Guest(arguments.name).restore()


def ssh(arguments: argparse.Namespace) -> None:
    done = subprocess.run(guests.Guest(arguments.name).ssh_argv(*arguments.words), check=False)
    sys.exit(done.returncode)


def push(arguments: argparse.Namespace) -> None:
    guests.Guest(arguments.name).copy_in(arguments.source, arguments.destination)


def inject(arguments: argparse.Namespace) -> None:
    print(fault_modules.inject(guests.Guest(arguments.name), *arguments.faults))


def console(arguments: argparse.Namespace) -> None:
    guest = guests.Guest(arguments.name)
    if not guest.console.exists():
        raise host.LabError(f"No guest {guest.name} has a console here; boot it: `python3 tests/lab up {guest.name}`.")
    for text in guests.console_text(guest, follow=arguments.follow):
        print(text, end="", flush=True)


def down(arguments: argparse.Namespace) -> None:
    if not arguments.names and not arguments.all:
        raise host.LabError("Name the guests to end, or say --all.")
    for guest in guests.guests() if arguments.all else map(guests.Guest, arguments.names):
        was_running = guest.is_running()
        guest.end()
        print(f"{guest.name}: {'ended' if was_running else 'did not run'}")


def list_guests(arguments: argparse.Namespace) -> None:
    rows = [{**guest.facts, "state": "running" if guest.is_running() else "ended"} for guest in guests.guests()]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print("{name:20} {kernel:9} {release:24} port {port:<6} pid {pid:<8} {state}".format(**row))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python3 tests/lab", description="Real kernels in QEMU, to test on.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    kernels = ", ".join(images.RECIPES)

    def command(
        name: str, run: Callable[[argparse.Namespace], None], text: str, *positional: str
    ) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(run=run)
        for argument in positional:
            one.add_argument(argument)
        return one

    command("prepare", lambda _arguments: host.prepare(), "install the Debian packages that the lab needs")
    one = command("build", build, "build the disk images that the cache lacks")
    usual = ", ".join(images.usual())
    one.add_argument("kernels", nargs="*", metavar="KERNEL", help=f"some of {kernels}; default: {usual}")
    one.add_argument("--again", action="store_true", help="with the mirror's present packages, even if cached")
    one = command("modules", build_modules, "build the fault modules that the cache lacks")
    one.add_argument("kernels", nargs="*", metavar="KERNEL", help="default: all whose image has a compiler")
    command(
        "modules-dir", lambda arguments: print(fault_modules.build(arguments.kernel)),
        "print the directory of a kernel's fault modules, with fixed/ in it", "kernel",
    )
    command(
        "rootfs", lambda arguments: print(images.image(images.known(arguments.kernel)).rootfs),
        "print the directory that a kernel's image was made from", "kernel",
    )
    one = command("up", up, "boot a guest, from its snapshot where that can be")
    one.add_argument("name", nargs="?", help="default: linux-KERNEL")
    one.add_argument("--kernel", help=f"one of {kernels}; default: the one in the name, else 6.1")
    one.add_argument("--append", default="", help="more of the kernel's command line; boots cold")
    one.add_argument("--cold", action="store_true", help="boot the kernel instead of restoring the snapshot")
    command("restore", restore, "put a running guest back to how it was after its boot", "name")
    one = command("ssh", ssh, "run a command in a guest, or a shell", "name")
    one.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    one = command("push", push, "copy a file or directory into a guest", "name")
    one.add_argument("source", type=Path)
    one.add_argument("destination")
    one = command("inject", inject, "inject faults into a guest: put each module into its state", "name")
    one.add_argument("faults", nargs="+", metavar="FAULT", choices=sorted(fault_table.FAULTS))
    one = command("console", console, "print what a guest's kernel wrote to its serial console", "name")
    one.add_argument("--follow", action="store_true", help="go on until the guest ends")
    one = command("down", down, "end guests")
    one.add_argument("names", nargs="*", metavar="NAME")
    one.add_argument("--all", action="store_true")
    command("list", list_guests, "list the guests").add_argument("--json", action="store_true")
    one = command(
        "inventory", lambda arguments: print(guests.inventory(arguments.names), end=""),
        "print an Ansible inventory of running guests",
    )
    one.add_argument("names", nargs="+", metavar="NAME")
    return top


def main(argv: list[str]) -> None:
    arguments = parser().parse_args(argv)
    arguments.run(arguments)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except host.LabError as error:
        sys.exit(f"lab: {error}")
    except KeyboardInterrupt:
        sys.exit("lab: interrupted")
