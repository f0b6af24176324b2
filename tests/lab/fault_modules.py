# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the faults against an image's own headers, and injects them into a guest."""

import contextlib
import inspect
import io
import re
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Iterator, NamedTuple, Optional, Sequence

import architectures
import images
from fault_table import FAULTS, GUEST_DIRECTORY, INJECT_DEADLINE_S, PADDED, crashing_late, line_pattern
from guests import Guest
from host import LabError, cache_dir, digest, locked, must_be_root, run, say, timed

SOURCES = Path(__file__).resolve().parent / "faults"
PAD = "\tchar lab_pad[16];\n"
EXIT_MEMBER = "\tvoid (*exit)(void);"
SYSTEM_PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class OtherCompiler(NamedTuple):
    """A compiler that did not build the kernel, of the same distribution, and the options that it does not know."""

    command: str
    unset: tuple[str, ...] = ()


# What the kernel's own compiler was found to support when the kernel was configured, and an older one does not.
GCC_11 = OtherCompiler("gcc-11", ("CONFIG_INIT_STACK_ALL_ZERO",))
GCC_13 = OtherCompiler("gcc-13", ("CONFIG_INIT_STACK_ALL_ZERO", "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT"))
OTHER_COMPILERS = {
    "5.10": OtherCompiler("gcc-9"), "6.1": GCC_11, "6.12": GCC_13, "7.3": GCC_13, "arm64-6.1": GCC_11,
    "arm64-6.12": GCC_13,
}
BUILD_DEADLINE_S = 600
# The mounts end with their namespace. objtool reads /proc.
IN_A_LAYER = """\
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/tree"
mount -t proc proc "$2/tree/proc"
if [ -n "$3" ] && ! chroot "$2/tree" dpkg -s "$3" > /dev/null 2>&1; then
  export DEBIAN_FRONTEND=noninteractive
  cp /etc/resolv.conf "$2/tree/etc/resolv.conf"
  chroot "$2/tree" apt-get -qq update
  chroot "$2/tree" apt-get -qqy install --no-install-recommends "$3"
fi
tree=$2/tree
shift 3
chroot "$tree" "$@"
"""


def kernels_with_compiler() -> list[str]:
    return [kernel for kernel in images.usual() if images.RECIPES[kernel].toolchain]


def build(kernel: str) -> Path:
    """The directory of a kernel's fault modules: ``*.ko``; healthy and of the same names ``fixed/*.ko``.

    ``other_compiler/healthy.ko`` comes from a compiler that did not build the kernel.
    """
    image = images.image(images.known(kernel))
    if kernel not in OTHER_COMPILERS:
        return _build_of_same_release(image)
    sources = [path.name + "\n" + path.read_text(encoding="ascii") for path in sorted(SOURCES.iterdir())]
    code = [inspect.getsource(part) for part in (_build_into, mentions_fixed, Workplace, padded)]
    other = str(OTHER_COMPILERS[kernel])
    key = digest(image.key, image.release, *FAULTS, *PADDED, PAD, other, IN_A_LAYER, *code, *sources)
    directory = cache_dir() / "modules" / f"{kernel}-{key}"
    with locked(f"modules-{kernel}"):
        if not directory.exists():
            must_be_root()
            with timed(f"Building the fault modules of {kernel} (about a minute)"):
                _build_into(image, directory)
    return directory


def _build_of_same_release(image: images.Image) -> Path:
    """The modules of the image that has the same kernel and a compiler."""
    return build(_of_same_release(image, image.kernel.rpartition("-")[2]).kernel)


def _of_same_release(image: images.Image, kernel: str) -> images.Image:
    """Another image, which must be of the same version of the kernel."""
    other = images.image(kernel)
    if version(other.release) != version(image.release):
        raise LabError(
            f"The images of {kernel} and {image.kernel} hold different kernels, since the mirror changed between their"
            f" builds; build both: `python3 tests/lab build --again {kernel} {image.kernel}`."
        )
    return other


def version(release: str) -> str:
    """`6.1.0-56` of `6.1.0-56-arm64`."""
    return release.rpartition("-")[0]


def _build_into(image: images.Image, directory: Path) -> None:
    partial = directory.with_name(f".{directory.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    with workplace(image) as place:
        place.make([name for name in FAULTS if name not in PADDED], partial)
        same = [name for name in FAULTS if name not in PADDED and not mentions_fixed(SOURCES / f"{name}.c")]
        other = [name for name in FAULTS if name not in same]
        needed = {FAULTS[name].needs for name in other} - {"", *other}
        place.make([*other, *sorted(needed)], partial / "fixed", "-DFIXED")
        for name in same:
            shutil.copyfile(partial / f"{name}.ko", partial / "fixed" / f"{name}.ko")
        header = padded(_module_header(image).read_text(encoding="utf-8"))
        place.make(list(PADDED), partial, f"-include {place.put('padded.h', header)}")
    with workplace(image, OTHER_COMPILERS[image.kernel]) as place:
        place.make(["healthy"], partial / "other_compiler")
    for old in directory.parent.glob(f"{image.kernel}-*"):
        shutil.rmtree(old)
    partial.rename(directory)


def mentions_fixed(source: Path) -> bool:
    """Whether -DFIXED changes what is built, by the source and by the headers beside it that it includes."""
    text = source.read_text(encoding="ascii")
    included = re.findall(r'#include "([a-z_]+\.h)"', text)
    return "FIXED" in text or any(mentions_fixed(source.with_name(name)) for name in included)


class Workplace:
    """Where kbuild runs on an image's headers: a layer above the image's tree, which is thrown away afterwards.

    Modules for another architecture are built in the tree of the same kernel of this one, with a cross compiler; what
    that lacks, the headers, shines through from below.
    """

    def __init__(self, image: images.Image, layer: Path, compiler: Optional[OtherCompiler]) -> None:
        self.image = image
        self.layer = layer
        for part in ("upper/build", "work", "tree"):
            (layer / part).mkdir(parents=True)
        machine = architectures.of(image.kernel)
        trees = [image]
        self.variables = [f"{option}=" for option in compiler.unset] if compiler else []
        self.package = compiler.command if compiler else ""
        if not machine.is_native():
            trees.insert(0, _of_same_release(image, image.kernel.removeprefix(f"{machine.debian}-")))
            prefix = f"{machine.machine}-linux-gnu-"
            self.package = f"{self.package or 'gcc'}-{prefix[:-1]}"
            self.variables += [f"ARCH={machine.debian}", f"CROSS_COMPILE={prefix}"]
        if compiler:
            self.variables.append(f"CC={compiler.command}" if machine.is_native() else f"CC={prefix}{compiler.command}")
        self.trees = ":".join(str(tree.rootfs) for tree in trees)

    def put(self, name: str, text: str) -> str:
        """Write a file, and return its path for what is built."""
        (self.layer / "upper/build" / name).write_text(text, encoding="utf-8")
        return f"/build/{name}"

    def make(self, names: Sequence[str], destination: Path, flags: str = "", sources: Path = SOURCES) -> None:
        """Build these modules of the sources into a directory, with these options of the compiler."""
        build_dir = Path(tempfile.mkdtemp(dir=self.layer / "upper/build"))
        shutil.copytree(sources, build_dir, dirs_exist_ok=True)
        run(
            [
                "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", IN_A_LAYER, "sh",
                self.trees, str(self.layer), self.package,
                "make", "-j2", "-C", f"/lib/modules/{self.image.release}/build", f"M=/build/{build_dir.name}",
                f"MODULES={' '.join(names)}", "CONFIG_DEBUG_INFO=", "CONFIG_DEBUG_INFO_BTF_MODULES=",
                *self.variables, f"KCFLAGS={flags}", "modules",
            ],
            timeout=BUILD_DEADLINE_S, env=SYSTEM_PATH, what=f"Building {', '.join(names)} for {self.image.kernel}",
        )
        destination.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(build_dir / f"{name}.ko", destination / f"{name}.ko")


@contextlib.contextmanager
def workplace(image: images.Image, compiler: Optional[OtherCompiler] = None) -> Iterator[Workplace]:
    """A place to build modules for an image, by its own compiler or another; all of it is removed at the end."""
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="layer-") as layer:
        yield Workplace(image, Path(layer), compiler)


def _module_header(image: images.Image) -> Path:
    found = list((image.rootfs / "usr" / "src").glob("linux-headers-*-common/include/linux/module.h"))
    if len(found) != 1:
        raise LabError(f"The image of {image.kernel} should hold one include/linux/module.h; it holds {found}.")
    return found[0]


def padded(header: str) -> str:
    """include/linux/module.h with 16 bytes more in front of ``exit`` in struct module."""
    if header.count(EXIT_MEMBER) != 1:
        raise LabError("include/linux/module.h lacks the member `exit` that the padding of the layout fault precedes.")
    return header.replace(EXIT_MEMBER, PAD + EXIT_MEMBER)


def inject(guest: Guest, *names: str) -> str:
    """Bring the guest's modules into the states of the faults; return what was done and their /proc/modules lines."""
    directory = build(guest.must_run()["kernel"])
    faults = ", ".join(names)
    say(f"Injecting {faults} into {guest.name} ...")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(directory, arcname=".")
    unpack = f"mkdir -p {GUEST_DIRECTORY} && tar -x -C {GUEST_DIRECTORY} --no-same-owner --touch"
    script = f"{unpack} || exit\n" + "".join(f"(\n{inject_script(name)}\n) || exit\n" for name in names)
    what = f"Injecting {faults} into {guest.name}"
    timeout = 4 * INJECT_DEADLINE_S * len(names)
    return guest.ssh(script, timeout=timeout, stdin=archive.getvalue(), what=what).rstrip()


def inject_script(name: str, late: bool = False) -> str:
    """The shell script that injects a fault: prints each step, and ends with 0 when /proc/modules shows the state."""
    fault, module = crashing_late(name) if late else FAULTS[name], name.replace("-", "_")
    wanted = line_pattern(name, fault)
    steps = []
    if fault.needs:
        steps.append(f"grep -q '^{fault.needs} ' /proc/modules || insmod {GUEST_DIRECTORY}/{fault.needs}.ko")
    load = f"{fault.load} {GUEST_DIRECTORY}/{name}.ko {fault.parameters}".rstrip()
    if fault.load_returns:
        steps.append(f"timeout {INJECT_DEADLINE_S} {load}")
    else:
        # CPU 0 keeps the interrupts, and so the network, whatever init does to CPU 1.
        steps.append("for irq in /proc/irq/*/smp_affinity; do echo 1 >$irq; done 2>/dev/null; true")
        steps.append(f"taskset -c 1 setsid -f {load} >/dev/null 2>&1 </dev/null")
    if fault.then:
        steps.append(fault.then)
    lines = [
        f"if grep '{wanted}' /proc/modules; then echo 'already in this state'; exit 0; fi",
        f"if grep '^{module} ' /proc/modules; then echo '{module} is loaded, and not in this state' >&2; exit 1; fi",
    ]
    for step in steps:
        quoted = step.replace("'", "'\\''")
        lines.append(f"echo '$ {quoted}'; {{ {step}; }} 2>&1; status=$?; echo \"exit status $status\"")
        lines.append("test $status -ne 1 || exit 1  # refused; a task that oopsed was killed by a signal")
    lines += [
        f"for attempt in $(seq {INJECT_DEADLINE_S * 2}); do",
        f"  grep '{wanted}' /proc/modules && {{ {fault.at_last or ':'}; exit; }}",
        "  sleep 0.5",
        "done",
        f"echo 'after {INJECT_DEADLINE_S} s /proc/modules has no line of the state looked for; it has:' >&2",
        f"grep '^{module} ' /proc/modules >&2 || echo 'no {module}' >&2",
        "exit 1",
    ]
    return "\n".join(lines)
