# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of faults: how a guest gets into the state of each, and how that state looks."""

from typing import NamedTuple, Optional

GUEST_DIRECTORY = "/root/lab"
INJECT_DEADLINE_S = 60


class Fault(NamedTuple):
    """How a guest gets into the state of a fault, and how that state looks."""

    line: str  # what follows name and size in /proc/modules: references, dependents, state
    load_returns: bool = True  # whether init ends, by its return or by its task's crash
    needs: str = ""  # a module to load before
    then: str = ""  # a shell command for the loaded module
    load: str = "insmod"  # what loads it
    parameters: str = ""  # what it is loaded with, as the shell expands it
    at_last: str = ""  # a shell command for when the state was seen


# From 6.5 on finit_module(2), which insmod calls, leaves an entry behind where its task oopses in init: the next load
# may be the kernel's last. init_module(2), as busybox's insmod calls it, leaves none: only init_oops leaves one.
INIT_MODULE = (
    "python3 -c 'import ctypes, os, sys; image = open(sys.argv[1], \"rb\").read(); "
    "number = {\"x86_64\": 175, \"aarch64\": 105}[os.uname().machine]; "
    "sys.exit(ctypes.CDLL(None).syscall(number, image, ctypes.c_ulong(len(image)), b\"\") != 0)'"
)

# The instruction pointer of an oops, as x86-64 and AArch64 print it.
UNTIL_IT_OOPSED = f"timeout {INJECT_DEADLINE_S} sh -c 'until dmesg | grep -E \"(RIP:|pc :) .*{{}}\"; do sleep 1; done'"

# What each of them leaves registered when it crashes in init.
REGISTERED = (
    "init_misc", "init_chrdev", "init_netdev", "init_timer", "init_hrtimer", "init_kprobe", "init_notifier",
    "init_filesystem", "init_protocol", "init_driver", "init_thread", "init_proc", "init_proc_ops", "init_debugfs",
    "init_sysfs", "init_sysctl", "init_netfilter", "init_packet", "init_tracepoint", "init_ftrace", "init_heap_work",
    "init_work", "init_workqueue", "init_rcu", "init_tasklet", "init_binfmt", "init_kretprobe", "init_shrinker",
    "init_cpuhp", "init_input", "init_crypto", "init_genl", "init_ldisc", "init_key", "init_tcp", "init_pernet",
    "init_net_event", "init_socket", "init_sysrq", "init_clocksource", "init_probe", "init_disk", "init_link",
    "init_modnotifier", "init_panic", "init_qdisc", "init_inet", "init_pages", "init_dma", "init_unaligned",
    "init_requeue", "init_kobject", "init_percpu", "init_moves", "init_class", "init_directories", "init_uninit",
    "init_removes",
)

# Those that crash in their exit instead, with all that still registered, where they are loaded with late=1.
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
POLL = "setsid -f cat /dev/polls >/dev/null 2>&1 </dev/null; sleep 1"
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
    "exit_oops": Fault("-1 - Unloading", then=f"timeout {INJECT_DEADLINE_S} rmmod exit_oops"),
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
        at_last=UNTIL_IT_OOPSED.format("mutex_dead_take"),
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
    "polls": Fault("2 polled, Live", then=f"insmod {GUEST_DIRECTORY}/polled.ko; {POLL}"),
    "polled": Fault("1 - Live", needs="polls", then=POLL),
    "cdev_core": Fault("2 cdev_driver, Live", then=f"insmod {GUEST_DIRECTORY}/cdev_driver.ko && {OPEN_DRIVER}"),
    "cdev_driver": Fault("1 - Live", needs="cdev_core", then=OPEN_DRIVER),
    "hook_asleep": Fault(
        "0 - Live", then=HAVE.format(A_CALL, "hook_asleep"),
        at_last="cat /proc/[0-9]*/stack 2>/dev/null | grep -q hook_asleep_swapoff",
    ),
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
        "0 - Live", at_last="sh -c 'echo 1 >/dev/lock_died'; " + UNTIL_IT_OOPSED.format("lock_died_write"),
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
    "exit_tail": Fault("-1 - Unloading", then=f"timeout {INJECT_DEADLINE_S} rmmod exit_tail"),
    "probe_async": Fault("1 - Live", load_returns=False),
    "worker_died": Fault("0 - Live", at_last=UNTIL_IT_OOPSED.format("worker_died_run")),
    "exit_waits": Fault(
        "-1 - Unloading",
        then=UNTIL_IT_OOPSED.format("exit_waits_run") + "; setsid -f rmmod exit_waits >/dev/null 2>&1 </dev/null",
    ),
    # With its own parameter, async_probe, the loader does not wait for asynchronous work either.
    "async_died": Fault(
        "-1 - Unloading", parameters="async_probe",
        then=UNTIL_IT_OOPSED.format("async_died_run") + "; setsid -f rmmod async_died >/dev/null 2>&1 </dev/null",
    ),
    "init_core": Fault("1 - Loading", load=INIT_MODULE),
    "init_leak": Fault("1 - Loading", load=INIT_MODULE),
    "exit_core": Fault("-1 - Unloading", then=f"timeout {INJECT_DEADLINE_S} rmmod exit_core"),
    "needed": Fault("1 init_needed, Live", then=INIT_MODULE + f" {GUEST_DIRECTORY}/init_needed.ko"),
    "init_needed": Fault("1 - Loading", needs="needed", load=INIT_MODULE),
    "shared": Fault("1 init_shared, Live", then=INIT_MODULE + f" {GUEST_DIRECTORY}/init_shared.ko"),
    "init_shared": Fault("1 - Loading", needs="shared", load=INIT_MODULE),
    "lent": Fault("1 init_borrows, Live", then=INIT_MODULE + f" {GUEST_DIRECTORY}/init_borrows.ko"),
    "init_borrows": Fault("1 - Loading", needs="lent", load=INIT_MODULE),
    "healthy": Fault("0 - Live"),
    "exit_panic": Fault("1 - Live"),
    "bystander": Fault("0 - Live", at_last=UNTIL_IT_OOPSED.format("bystander_die")),
    # The interrupt's descriptor holds a reference too.
    "init_irq": Fault("2 - Loading", load=INIT_MODULE),
    **dict.fromkeys(REGISTERED, Fault("1 - Loading", load=INIT_MODULE)),
}

# The modules that are built in a run of make of their own, with the padded struct module.
PADDED = ("layout_pad",)


def line_pattern(name: str, fault: Optional[Fault] = None) -> str:
    """The basic regular expression of the /proc/modules line that shows the fault's state."""
    return f"^{name.replace('-', '_')} [0-9]* {(fault or FAULTS[name]).line} ".replace("[permanent]", r"\[permanent\]")


def crashing_late(name: str) -> Fault:
    """One of LATE, which crashes in its exit and not in its init. udev reads a new disk, which is in use as long."""
    unload = f"timeout 10 udevadm settle; timeout {INJECT_DEADLINE_S} rmmod {name}"
    return Fault("-1 - Unloading", parameters="late=1", then=unload)
