# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the faults against an image's own headers, and brings a guest's module into the state of a fault."""

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
from guests import Guest
from host import LabError, cache_dir, digest, locked, must_be_root, run, say, timed

SOURCES = Path(__file__).resolve().parent / "faults"
GUEST_DIRECTORY = "/root/lab"
JAM_DEADLINE_S = 60
PAD = "\tchar lab_pad[16];\n"
EXIT_MEMBER = "\tvoid (*exit)(void);"


class Fault(NamedTuple):
    """How a guest gets into the state of a fault, and how that state looks."""

    line: str  # what follows name and size in /proc/modules: references, dependents, state
    load_returns: bool = True  # whether init ends, by its return or by its task's death
    needs: str = ""  # a module to load before
    then: str = ""  # a shell command for the loaded module
    load: str = "insmod"  # what loads it
    parameters: str = ""  # what it is loaded with, as the shell expands it
    at_last: str = ""  # a shell command for when the state was seen


# From 6.5 on finit_module(2), which insmod calls, leaves an entry behind when its task dies in init, and the next load
# may be the kernel's last. init_module(2), as busybox's insmod calls it, leaves none: only init_oops leaves one.
INIT_MODULE = (
    "python3 -c 'import ctypes, os, sys; image = open(sys.argv[1], \"rb\").read(); "
    "number = {\"x86_64\": 175, \"aarch64\": 105}[os.uname().machine]; "
    "sys.exit(ctypes.CDLL(None).syscall(number, image, ctypes.c_ulong(len(image)), b\"\") != 0)'"
)

# The instruction pointer of an oops, as x86-64 and AArch64 print it.
UNTIL_IT_DIED = f"timeout {JAM_DEADLINE_S} sh -c 'until dmesg | grep -E \"(RIP:|pc :) .*{{}}\"; do sleep 1; done'"

# What each of them leaves registered when it dies in init.
REGISTERED = (
    "init_misc", "init_chrdev", "init_netdev", "init_timer", "init_hrtimer", "init_kprobe", "init_notifier",
    "init_filesystem", "init_protocol", "init_driver", "init_thread", "init_proc", "init_proc_ops", "init_debugfs",
    "init_sysfs", "init_sysctl", "init_netfilter", "init_packet", "init_tracepoint", "init_ftrace", "init_heap_work",
    "init_work", "init_workqueue", "init_rcu", "init_tasklet", "init_binfmt", "init_kretprobe", "init_shrinker",
    "init_cpuhp", "init_input", "init_crypto", "init_genl", "init_ldisc", "init_key", "init_tcp", "init_pernet",
    "init_net_event", "init_socket", "init_sysrq", "init_clocksource", "init_probe", "init_disk", "init_link",
    "init_modnotifier", "init_panic", "init_qdisc", "init_inet", "init_pages", "init_dma", "init_unaligned",
    "init_requeue", "init_kobject", "init_percpu", "init_moves",
)

# Those that die in their exit instead, with all that still registered, where they are loaded with late=1.
LATE = tuple(name for name in REGISTERED if name != "init_probe")

# Processes that hold a device in a way of which no descriptor tells. SIGUSR1 has them use it, and then let it go.
HOLD = """setsid -f python3 -c '
import array, ctypes, os, signal, socket, sys

way, path = sys.argv[1:]
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
device = os.open(path, os.O_RDWR)
if way == "mapped":
    area = libc.mmap(None, ctypes.c_size_t(8192), 3, 1, device, ctypes.c_long(0))
elif way == "in_flight":
    ends = socket.socketpair()
    ends[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [device]))])
else:
    ring = libc.syscall(425, 4, ctypes.create_string_buffer(120))
    libc.syscall(427, ring, 2, (ctypes.c_int * 1)(device), 1)
os.close(device)
signal.sigwait([signal.SIGUSR1])
if way == "mapped":
    ctypes.memset(area + 4096, 1, 1)
elif way == "in_flight":
    os.read(array.array("i", ends[1].recvmsg(1, 64)[1][0][2])[0], 4)
' {} /dev/{} >/dev/null 2>&1 </dev/null"""

# Processes that have what a module serves, until they are killed.
HAVE = "setsid -f python3 -c '{}' lab-has {} >/dev/null 2>&1 </dev/null; sleep 1"
A_TERMINAL = """
import fcntl, os, signal, struct
ends = os.openpty()
fcntl.ioctl(ends[1], 0x5423, struct.pack("i", %d))
signal.pause()
"""
A_FORMAT = """
import signal
open("/sys/module/binfmt_unowned/parameters/run").read()
signal.pause()
"""
A_BUFFER = """
import fcntl, signal
device = open("/dev/dmabuf_unowned")
kept = fcntl.ioctl(device, 1)
device.close()
signal.pause()
"""
IN_A_DIRECTORY = """
import os, signal, subprocess
os.makedirs("/run/mount_unowned", exist_ok=True)
subprocess.run(["mount", "-t", "mount_unowned", "none", "/run/mount_unowned"], check=True)
os.chdir("/run/mount_unowned")
subprocess.run(["umount", "-l", "/run/mount_unowned"], check=True)
signal.pause()
"""
A_CONNECTION = """
import signal, socket
server, client = socket.socket(), socket.socket()
client.setsockopt(6, 13, b"used_cong")
server.bind(("127.0.0.1", 0))
server.listen()
client.connect(server.getsockname())
signal.pause()
"""
A_SOCKET = """
import signal, socket
kept = socket.socket(18, 3)
signal.pause()
"""
A_HASH = """
import signal, socket
kept = socket.socket(38, 5)
kept.bind(("hash", "used_hash"))
signal.pause()
"""
OPEN_DRIVER = (
    "mknod /dev/cdev_driver c $(sed -n 's/ cdev_driver$//p' /proc/devices) 0"
    " && setsid -f sleep 1000000 >/dev/null 2>&1 </dev/cdev_driver"
)
A_PAGE = """
import ctypes, mmap, signal
area = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
first = ctypes.addressof(ctypes.c_char.from_buffer(area))
open("/sys/module/ref_mapped/parameters/map", "w").write(str(first))
signal.pause()
"""
A_WATCH = """
import signal
open("/sys/module/ref_notifier/parameters/watch", "w").write("1")
signal.pause()
"""
A_CALL = """
import ctypes
ctypes.CDLL(None).swapoff(b"lab")
"""

FAULTS = {
    "init_oops": Fault("1 - Loading"),
    "init_bug": Fault("1 - Loading", load=INIT_MODULE),
    "dashed-name": Fault("1 - Loading", load=INIT_MODULE),
    "exit_oops": Fault("-1 - Unloading", then=f"timeout {JAM_DEADLINE_S} rmmod exit_oops"),
    "leaked_ref": Fault("3 - Live"),
    "no_exit": Fault("0 [permanent], Live"),
    "layout_pad": Fault("0 [permanent], Live"),
    "init_hang": Fault("1 - Loading", load_returns=False),
    "init_spin": Fault("1 - Loading", load_returns=False),
    "exit_hang": Fault("-1 - Unloading", then="setsid -f rmmod exit_hang >/dev/null 2>&1 </dev/null"),
    "used_base": Fault("1 used_by, Live", then=f"insmod {GUEST_DIRECTORY}/used_by.ko"),
    "used_by": Fault("0 - Live", needs="used_base"),
    "cdev_held": Fault("1 - Live", then="setsid -f sleep 1000000 >/dev/null 2>&1 </dev/cdev_held"),
    "kernel_thread": Fault("0 - Live"),
    "irqs_off": Fault("0 [permanent], Live"),
    "no_exit_misc": Fault("0 [permanent], Live"),
    # /proc/modules is read under module_mutex: once that is taken for ever, whoever reads it hangs.
    "mutex_dead": Fault(
        "0 - Live", parameters="mutex=0x$(sed -n 's/ . module_mutex$//p' /proc/kallsyms)",
        at_last=UNTIL_IT_DIED.format("mutex_dead_take"),
    ),
    "thread_holds": Fault("1 - Live"),
    "mapped": Fault("1 - Live", then=HOLD.format("mapped", "mapped")),
    "fd_in_flight": Fault("1 - Live", then=HOLD.format("in_flight", "fd_in_flight")),
    "uring_file": Fault("1 - Live", then=HOLD.format("uring", "uring_file")),
    "cdev_owner": Fault(
        "1 - Live", then="mknod /dev/cdev_owner c $(sed -n 's/ cdev_owner$//p' /proc/devices) 0;"
        " setsid -f sleep 1000000 >/dev/null 2>&1 </dev/cdev_owner",
    ),
    "no_owner": Fault("0 - Live", then="setsid -f cat /dev/no_owner >/dev/null 2>&1 </dev/null"),
    "netns_dev": Fault(
        "0 - Live", load="setsid -f unshare -n sh -c 'insmod \"$0\" && exec sleep 1000000 >/dev/null 2>&1 </dev/null'",
    ),
    "got_base": Fault("1 - Live", then=f"insmod {GUEST_DIRECTORY}/got_by.ko"),
    "got_by": Fault("0 - Live", needs="got_base"),
    "cdev_core": Fault("2 cdev_driver, Live", then=f"insmod {GUEST_DIRECTORY}/cdev_driver.ko && {OPEN_DRIVER}"),
    "cdev_driver": Fault("1 - Live", needs="cdev_core", then=OPEN_DRIVER),
    "hook_asleep": Fault("0 - Live", then=HAVE.format(A_CALL, "hook_asleep")),
    "sysfs_ref": Fault("1 - Live", then="echo 1 >/sys/module/sysfs_ref/parameters/take"),
    "ref_mapped": Fault("1 - Live", then=HAVE.format(A_PAGE, "ref_mapped")),
    "ref_notifier": Fault("1 - Live", then=HAVE.format(A_WATCH, "ref_notifier")),
    "used_ldisc": Fault("1 - Live", then=HAVE.format(A_TERMINAL % 28, "used_ldisc")),
    "ldisc_unowned": Fault("0 - Live", then=HAVE.format(A_TERMINAL % 29, "ldisc_unowned")),
    "mount_unowned": Fault("0 - Live", then=HAVE.format(IN_A_DIRECTORY, "mount_unowned")),
    "disk_unowned": Fault("0 - Live", then="modprobe loop && losetup -r /dev/loop6 /dev/disk_unowned"),
    "binfmt_unowned": Fault("0 - Live", then=HAVE.format(A_FORMAT, "binfmt_unowned")),
    "dmabuf_unowned": Fault("0 - Live", then=HAVE.format(A_BUFFER, "dmabuf_unowned")),
    "exit_other": Fault("0 - Live"),
    "lock_died": Fault(
        "0 - Live", at_last="sh -c 'echo 1 >/dev/lock_died'; " + UNTIL_IT_DIED.format("lock_died_write"),
    ),
    "used_congestion": Fault("1 - Live", then=HAVE.format(A_CONNECTION, "used_congestion")),
    "used_qdisc": Fault("1 - Live", then="tc qdisc add dev lo root used_qdisc"),
    "used_family": Fault("2 - Live", then=HAVE.format(A_SOCKET, "used_family")),
    # Newer kernels let sockets have the algorithms of a list alone.
    "used_hash": Fault(
        "2 - Live", then="modprobe algif_hash; (echo 0 >/proc/sys/crypto/af_alg_restrict) 2>/dev/null; " +
        HAVE.format(A_HASH, "used_hash"),
    ),
    "used_livepatch": Fault("1 - Live"),
    "used_mount": Fault(
        "1 - Live",
        then="mkdir -p /run/used_mount; setsid -f unshare -m sh -c 'mount -t used_mount none /run/used_mount"
        " && exec sleep 1000000' >/dev/null 2>&1 </dev/null",
    ),
    "used_configfs": Fault(
        "2 - Live", load="modprobe configfs && insmod", then="mountpoint -q /sys/kernel/config ||"
        " mount -t configfs configfs /sys/kernel/config; mkdir /sys/kernel/config/used_configfs/lab",
    ),
    "init_waits": Fault("1 - Loading", load_returns=False),
    "exit_tail": Fault("-1 - Unloading", then=f"timeout {JAM_DEADLINE_S} rmmod exit_tail"),
    "probe_async": Fault("1 - Live", load_returns=False),
    "worker_died": Fault("0 - Live", at_last=UNTIL_IT_DIED.format("worker_died_run")),
    "exit_waits": Fault(
        "-1 - Unloading",
        then=UNTIL_IT_DIED.format("exit_waits_run") + "; setsid -f rmmod exit_waits >/dev/null 2>&1 </dev/null",
    ),
    # With its own parameter, async_probe, the loader does not wait for asynchronous work either.
    "async_died": Fault(
        "-1 - Unloading", parameters="async_probe",
        then=UNTIL_IT_DIED.format("async_died_run") + "; setsid -f rmmod async_died >/dev/null 2>&1 </dev/null",
    ),
    "init_core": Fault("1 - Loading", load=INIT_MODULE),
    "init_leak": Fault("1 - Loading", load=INIT_MODULE),
    "exit_core": Fault("-1 - Unloading", then=f"timeout {JAM_DEADLINE_S} rmmod exit_core"),
    "needed": Fault("1 init_needed, Live", then=INIT_MODULE + f" {GUEST_DIRECTORY}/init_needed.ko"),
    "init_needed": Fault("1 - Loading", needs="needed", load=INIT_MODULE),
    "healthy": Fault("0 - Live"),
    "exit_panic": Fault("1 - Live"),
    "bystander": Fault("0 - Live", at_last=UNTIL_IT_DIED.format("bystander_die")),
    # The interrupt's descriptor holds a reference too.
    "init_irq": Fault("2 - Loading", load=INIT_MODULE),
    **dict.fromkeys(REGISTERED, Fault("1 - Loading", load=INIT_MODULE)),
}

# The modules that are built in a run of make of their own, with the padded struct module.
PADDED = ("layout_pad",)
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
        place.make([name for name in FAULTS if name not in same], partial / "fixed", "-DFIXED")
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


def jam(guest: Guest, *names: str) -> str:
    """Bring the guest's modules into the states of the faults; return what was done and their /proc/modules lines."""
    directory = build(guest.must_run()["kernel"])
    faults = ", ".join(names)
    say(f"Jamming {guest.name} with {faults} ...")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(directory, arcname=".")
    unpack = f"mkdir -p {GUEST_DIRECTORY} && tar -x -C {GUEST_DIRECTORY} --no-same-owner --touch"
    script = f"{unpack} || exit\n" + "".join(f"(\n{jam_script(name)}\n) || exit\n" for name in names)
    what = f"Jamming {guest.name} with {faults}"
    timeout = 4 * JAM_DEADLINE_S * len(names)
    return guest.ssh(script, timeout=timeout, stdin=archive.getvalue(), what=what).rstrip()


def line_pattern(name: str, fault: Optional[Fault] = None) -> str:
    """The basic regular expression of the /proc/modules line that shows the fault's state."""
    return f"^{name.replace('-', '_')} [0-9]* {(fault or FAULTS[name]).line} ".replace("[permanent]", r"\[permanent\]")


def dying_late(name: str) -> Fault:
    """One of LATE, which dies in its exit and not in its init."""
    return Fault("-1 - Unloading", parameters="late=1", then=f"timeout {JAM_DEADLINE_S} rmmod {name}")


def jam_script(name: str, late: bool = False) -> str:
    """The shell script that jams; it ends with 0 when /proc/modules shows the state, and prints each step."""
    fault, module = dying_late(name) if late else FAULTS[name], name.replace("-", "_")
    wanted = line_pattern(name, fault)
    steps = []
    if fault.needs:
        steps.append(f"grep -q '^{fault.needs} ' /proc/modules || insmod {GUEST_DIRECTORY}/{fault.needs}.ko")
    load = f"{fault.load} {GUEST_DIRECTORY}/{name}.ko {fault.parameters}".rstrip()
    if fault.load_returns:
        steps.append(f"timeout {JAM_DEADLINE_S} {load}")
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
        lines.append("test $status -ne 1 || exit 1  # refused; a task that died in the kernel was killed by a signal")
    lines += [
        f"for attempt in $(seq {JAM_DEADLINE_S * 2}); do",
        f"  grep '{wanted}' /proc/modules && {{ {fault.at_last or ':'}; exit; }}",
        "  sleep 0.5",
        "done",
        f"echo 'after {JAM_DEADLINE_S} s /proc/modules has no line of the state looked for; it has:' >&2",
        f"grep '^{module} ' /proc/modules >&2 || echo 'no {module}' >&2",
        "exit 1",
    ]
    return "\n".join(lines)
