# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold for each fault: one line each. A fault of the lab that has none is an error that says what to add."""

from typing import Dict, List, NamedTuple

from rig import LabError, fault_table

# Lines of the kernel log of which a CPU that is spun on is the cause, not the collection.
STALLS = r'rcu: INFO|soft lockup|stall|hung_task|blocked for more|Call Trace'


# What dangles where nothing does.
NOTHING = 'nothing'

# Guests that a fault needs: one of its own; with those whose init or exit waits; with those that crashed outside the
# module, so that nothing of the host may be freed. Asynchronous work that crashed keeps each later load from ending.
OWN, OF_WAITING, OF_CRASHED = 'own', 'of those that wait', 'of those that crashed elsewhere'


class Expectation(NamedTuple):
    """What a plain run must come to, as rules and not as recorded from a run."""

    frees_name: bool  # whether it must be unloaded or parked; if not, it must be as it was
    verdict: str  # what the run must call it
    names: str = ''  # for one that stays: whom the refusal must name, as a regular expression
    parked: bool = False  # whether its code must still be there, under another name
    beside: bool = True  # for one that is parked: whether a fixed build registers nothing that is still registered
    use: str = ''  # shell in the guest that has the kernel use what the fault left or holds; it must end with 0
    guest: str = ''  # which guest it needs, since it harms all others in the same; empty: it harms none
    own_alarms: str = ''  # what the kernel says of the fault itself while it lasts
    asked: str = ''  # hazards accepted and methods, as in_guest/turns.py has them after the name, where no Ansible asks
    dangles: str = ''  # what must be named as registered by it, and nothing else; NOTHING; empty: not compared
    reached: str = ''  # what must be named of what points into it; NOTHING: it is unknown; empty: not compared
    unexplained: int = -1  # the references that kmod_facts must find unexplained; -1: not compared
    undone: bool = False  # whether all of what it left is taken back where undo is among the methods
    hangs: bool = False  # whether whoever asks this kernel may hang for ever, so that processes are left behind


def unloads(verdict: str, use: str = '', *, beside: bool = True, guest: str = '') -> Expectation:
    """A module that must be unloaded after a plain run."""
    return Expectation(frees_name=True, verdict=verdict, use=use, beside=beside, guest=guest)


def parks(verdict: str, use: str = '', *, beside: bool = True, guest: str = '',
          own_alarms: str = '') -> Expectation:
    """A module whose name must be free after a plain run, and whose code must be there for what can still reach it."""
    return Expectation(frees_name=True, verdict=verdict, parked=True, use=use, beside=beside, guest=guest,
                       own_alarms=own_alarms)


def stays(verdict: str, names: str, use: str = '', *, guest: str = '', own_alarms: str = '', asked: str = '',
          hangs: bool = False) -> Expectation:
    """A module that must be left alone, with whom it is left alone for."""
    return Expectation(frees_name=False, verdict=verdict, names=names, use=use, guest=guest, own_alarms=own_alarms,
                       asked=asked, hangs=hangs)


WAIT = 'sleep 3'
# All that it made is there, and it can be unloaded once nobody has its pointers.
LENT = 'test -e /dev/lent && { test $(uname -m) != x86_64 || grep -w lent /proc/interrupts; }'
SHARED = """ls -d /dev/shared /sys/class/shared/shared /proc/shared /sys/kernel/shared /sys/kernel/debug/shared &&
{ grep init_shared_parked /proc/modules || { rmmod shared && insmod /root/lab/shared.ko; }; }"""
RMDIR = 'mkdir /tmp/lab-directory && rmdir /tmp/lab-directory'
PACKET = """python3 -c 'import socket; socket.socket(2, 2).sendto(b"lab", ("127.0.0.1", 9))'"""
NAMESPACE = 'unshare -n true'
FOREIGN = ("printf 'LAB!lab!' >/run/lab-program; chmod 755 /run/lab-program; "
           "python3 -c 'import os; os.execv(\"/run/lab-program\", [\"lab\"])' 2>/dev/null; rm /run/lab-program")
# add_key(2) compares the name with each type's.
KEY = """python3 -c 'import ctypes, os; ctypes.CDLL(None).syscall(
    {"x86_64": 248, "aarch64": 217}[os.uname().machine], b"lab_no_such_key", b"x", b"y", 1, -3)'"""
GENL = """python3 -c '
import socket, struct
asked = socket.socket(16, 3, 16)
asked.send(struct.pack("=IHHIIBBH", 20, 16, 0x301, 1, 0, 3, 1, 0))
kind = data = None
while kind != 3:
    data = data or asked.recv(65536)
    size, kind = struct.unpack("=IH", data[:6])
    data = data[size + 3 & ~3:]
'"""
# The driver is asked whether it fits each of these, and does not.
BIND = ('cd /sys/bus/platform/devices; for device in *; do case $device in lab_probe) ;; '
        '*) echo $device >../drivers/%s/bind ;; esac; done 2>/dev/null; true')
# The first process is told of the end of whatever has lost its parent.
ORPHAN = 'setsid -f sleep 0.1; sleep 1'
CPU = 'echo 0 >/sys/devices/system/cpu/cpu1/online; echo 1 >/sys/devices/system/cpu/cpu1/online'
# The process of HOLD, of the lab's fault_table.py, uses what it holds and lets it go.
TOUCH = "pkill -USR1 -f '[ ]/dev/%s' && sleep 1 && ! pgrep -f '[ ]/dev/%s'"
CLOSE = ('cat /dev/{0} 2>/dev/null; for process in /proc/[0-9]*; do test "$(readlink $process/fd/0)" != /dev/{0} || '
         'kill ${{process#/proc/}}; done && sleep 1')
# The process of HAVE, of the lab's fault_table.py, ends, and with it what it has.
END = "pkill -f '[l]ab-has %s' && sleep 1"
IN_MOUNTS = """for process in /proc/[0-9]*; do grep -q used_mount $process/mounts && break; done
nsenter -t ${process#/proc/} -m ls /run/used_mount && kill ${process#/proc/} && sleep 1"""
IN_NAMESPACE = """for process in /proc/[0-9]*; do
  grep -q sleep $process/comm && test $(readlink $process/ns/net) != $(readlink /proc/1/ns/net) && break
done
nsenter -t ${process#/proc/} -n python3 -c 'import socket
sender = socket.socket(17, 3, 0)
sender.bind(("labns0", 2048))
sender.send(bytes(60))'"""


def init(use: str = '', *, beside: bool = True, guest: str = '', own_alarms: str = '') -> Expectation:
    """A module whose init crashed after it registered something."""
    return parks('init_died', use, beside=beside, guest=guest, own_alarms=own_alarms)


EXPECTED: Dict[str, Expectation] = {
    # It leaves its mark on later loads by finit_module(2), which insmod calls.
    'init_oops': unloads('init_died', guest=OWN),
    'init_bug': unloads('init_died'),
    'dashed-name': unloads('init_died'),
    'exit_oops': unloads('exit_died'),
    'leaked_ref': unloads('references_leaked'),
    'no_exit': unloads('no_exit'),
    'layout_pad': unloads('exit_lost'),
    'init_hang': stays('init_waiting', r'(insmod|python3) \(pid \d+', guest=OF_WAITING),
    'init_spin': stays('init_running', r'insmod \(pid \d+', guest=OWN, own_alarms=STALLS),
    'exit_hang': stays('exit_waiting', r'rmmod \(pid \d+'),
    'used_base': stays('has_dependents', r'\bused_by\b'),
    'used_by': unloads('unloadable'),
    'kernel_thread': unloads('unloadable'),
    'healthy': unloads('unloadable'),
    'bystander': stays('unloadable', 'bystander_die', guest=OF_CRASHED),
    'init_misc': init('! cat /dev/init_misc', beside=False),
    'init_chrdev': init(),
    'init_netdev': init('cat /proc/net/dev /sys/class/net/lab0/statistics/rx_bytes'),
    'init_timer': init(WAIT),
    'init_hrtimer': init(WAIT),
    'init_kprobe': init(RMDIR),
    'init_notifier': init(),
    'init_filesystem': init('cat /proc/filesystems', beside=False),
    'init_protocol': init('cat /proc/net/protocols', beside=False),
    'init_driver': init(BIND % 'lab_driver', beside=False),
    'init_irq': init('cat /proc/interrupts', beside=False),
    'init_thread': init(WAIT),
    'no_exit_misc': parks('no_exit', '! cat /dev/no_exit_misc', beside=False),
    # What parks looks at no CPU: it is to be freed.
    'irqs_off': stays('no_exit', r'CPU 1|lab_irqs_off', guest=OWN, own_alarms=STALLS,
                      asked='=dangling_references,reachability_unknown:plain,kernel_force,reset'),
    'mutex_dead': stays('', r'module_mutex|hangs in|no answer within', guest=OWN, own_alarms=STALLS, hangs=True),
    'init_proc': init('cat /proc/init_proc', beside=False),
    'init_proc_ops': init('cat /proc/init_proc_ops', beside=False),
    'init_debugfs': init('cat /sys/kernel/debug/init_debugfs', beside=False),
    'init_sysfs': init('cat /sys/kernel/init_sysfs/value', beside=False),
    'init_sysctl': init('cat /proc/sys/init_sysctl/value', beside=False),
    'init_netfilter': init(PACKET),
    'init_packet': init(PACKET),
    'init_tracepoint': init('/bin/true; /bin/true; /bin/true'),
    'init_ftrace': init(RMDIR),
    'init_heap_work': init(WAIT),
    'init_work': init(WAIT),
    'init_workqueue': init(WAIT),
    # They take a part of a CPU, and all of one.
    'init_rcu': init(WAIT, guest=OWN),
    'init_tasklet': init(WAIT, guest=OWN, own_alarms=STALLS),
    'init_binfmt': init(FOREIGN),
    'init_kretprobe': init(RMDIR),
    'init_shrinker': init('echo 2 >/proc/sys/vm/drop_caches'),
    'init_cpuhp': init(CPU),
    'init_input': init('cat /proc/bus/input/handlers'),
    'init_crypto': init('cat /proc/crypto', beside=False),
    'init_genl': init(GENL, beside=False),
    'init_ldisc': init('cat /proc/tty/ldiscs', beside=False),
    'init_key': init(KEY, beside=False),
    'init_tcp': init('cat /proc/sys/net/ipv4/tcp_available_congestion_control', beside=False),
    'init_pernet': init(NAMESPACE),
    'init_net_event': init(NAMESPACE),
    'init_socket': init("python3 -c 'import socket; socket.socket(19, 2)' 2>/dev/null; true", beside=False),
    'init_sysrq': init('echo y >/proc/sysrq-trigger', beside=False),
    'init_clocksource': init('cat /sys/devices/system/clocksource/clocksource0/available_clocksource'),
    # A fixed build would wait for the lock of its device.
    'init_probe': stays('init_died', r'device_lock', BIND % 'lab_probe'),
    'init_core': unloads('init_died'),
    # What it calls of the other crashes however it is built.
    'init_needed': unloads('init_died', beside=False),
    'needed': stays('has_dependents', r'\binit_needed\b'),
    # What the kernel would call of theirs dies, the one under the lock of all network devices.
    'init_uninit': init('ip link show labu0', beside=False),
    'init_removes': init('ls /sys/bus/platform/drivers/lab_removes/lab_removes', beside=False),
    'init_shared': init('! cat /dev/init_shared', beside=False),
    'init_borrows': init(beside=False),
    'lent': stays('has_dependents', r'\binit_borrows\b', LENT),
    'shared': stays('has_dependents', r'\binit_shared\b', SHARED),
    'exit_core': unloads('exit_died'),
    'worker_died': stays('unloadable', 'worker_died_run', guest=OF_CRASHED),
    'lock_died': stays('unloadable', r'sh died in lock_died_write', guest=OF_CRASHED),
    'exit_waits': stays('exit_waiting', r'rmmod \(pid \d+', guest=OF_WAITING, own_alarms=STALLS),
    'async_died': stays('exit_waiting', r'rmmod \(pid \d+', guest=OWN, own_alarms=STALLS),
    'thread_holds': stays('in_use', 'lab_holder', 'echo 1 >/sys/module/thread_holds/parameters/end; sleep 2'),
    'mapped': stays('in_use', r'python3 \(pid \d+', TOUCH % ('mapped', 'mapped')),
    'fd_in_flight': stays('in_use', r'python3 \(pid \d+', TOUCH % ('fd_in_flight', 'fd_in_flight')),
    'uring_file': stays('in_use', r'python3 \(pid \d+', TOUCH % ('uring_file', 'uring_file')),
    'cdev_held': stays('in_use', r'sleep \(pid \d+\).*/dev/cdev_held', CLOSE.format('cdev_held')),
    'cdev_owner': stays('in_use', r'sleep \(pid \d+\).*/dev/cdev_owner', CLOSE.format('cdev_owner')),
    'no_owner': stays('in_use', r'cat \(pid \d+',
                      "echo x >/dev/no_owner; sleep 1; ! pgrep -f '[ ]/dev/no_owner'"),
    'netns_dev': stays('in_use', 'labns0', IN_NAMESPACE),
    'got_base': stays('in_use_unknown', 'could not be seen', 'cat /sys/module/got_by/parameters/call'),
    # Whom a register alone tells of is met as it sleeps, or is named as who might have it.
    'polled': stays('in_use_unknown', r'cat \(pid \d+', 'calls() { cat /sys/module/polled/parameters/calls; }; '
                    'before=$(calls); sleep 3; test $(calls) -gt $before', guest=OWN),
    'init_disk': init('dd if=/dev/init_disk of=/dev/null bs=4096 count=1', beside=False),
    'init_link': init('! ip link add lab9 type init_link', beside=False),
    'init_modnotifier': init('modprobe dummy && rmmod dummy'),
    'init_panic': init(),
    'init_qdisc': init('! tc qdisc add dev lo root lab_none', beside=False),
    'init_inet': init("""python3 -c 'import socket; socket.socket(2, 3, 253).sendto(b"x", ("127.0.0.1", 0))'""",
                      beside=False),
    'exit_tail': unloads('exit_died'),
    'init_waits': stays('init_waiting', r'insmod \(pid \d+', guest=OF_WAITING, own_alarms=STALLS),
    'probe_async': stays('init_waiting', r'insmod \(pid \d+', guest=OWN, own_alarms=STALLS),
    'cdev_core': stays('has_dependents', r'\bcdev_driver\b'),
    'cdev_driver': stays('in_use', r'sleep \(pid \d+\).*/dev/cdev_driver', CLOSE.format('cdev_driver')),
    'hook_asleep': stays('unloadable', r'python3 \(pid \d+',
                         'echo N >/sys/module/hook_asleep/parameters/asleep; sleep 1; '
                         '! pgrep -f "[l]ab-has hook_asleep"'),
    'sysfs_ref': unloads('references_leaked'),
    'init_pages': init(ORPHAN),
    'init_dma': init(ORPHAN),
    'init_unaligned': init(ORPHAN),
    'init_requeue': init(WAIT),
    'init_kobject': init(),
    'init_percpu': init(),
    'init_moves': init(WAIT),
    'init_class': init('cat /dev/init_class', beside=False),
    'init_directories': init('cat /proc/init_directories/value /sys/kernel/debug/init_directories/value',
                             beside=False),
    'init_leak': unloads('init_died'),
    'ref_mapped': stays('in_use_unknown', 'orphan_ended of ref_mapped', ORPHAN),
    'ref_notifier': stays('in_use_unknown', 'ref_notifier', END % 'ref_notifier'),
    'used_ldisc': stays('in_use', r'python3 \(pid \d+', END % 'used_ldisc'),
    'ldisc_unowned': stays('in_use', r'python3 \(pid \d+', END % 'ldisc_unowned'),
    'mount_unowned': stays('in_use', r'type mount_unowned, .* used by process python3',
                           END % 'mount_unowned'),
    'disk_unowned': stays('in_use', 'disk_unowned: .*loop6',
                          'dd if=/dev/loop6 of=/dev/null bs=4096 count=1 && losetup -d /dev/loop6'),
    'binfmt_unowned': stays('in_use', r'python3 \(pid \d+', END % 'binfmt_unowned'),
    'dmabuf_unowned': stays('in_use', r'python3 \(pid \d+', END % 'dmabuf_unowned'),
    'exit_other': stays('unloadable', 'as the exit of exit_other'),
    'used_congestion': stays('in_use', r'python3 \(pid \d+', END % 'used_congestion'),
    'used_qdisc': stays('in_use', r'used_qdisc on lo', PACKET + ' && tc qdisc del dev lo root'),
    'used_family': stays('in_use', r'python3 \(pid \d+', END % 'used_family'),
    'used_hash': stays('in_use', 'users of the algorithm used_hash', END % 'used_hash'),
    'used_livepatch': stays('in_use', r'live *patch', """python3 -c '
import ctypes, errno, sys
host = ctypes.CDLL(None, use_errno=True)
sys.exit(host.swapon(b"lab", 0) != -1 or ctypes.get_errno() != errno.EUSERS)'"""),
    'used_mount': stays('in_use', '/run/used_mount', IN_MOUNTS),
    'used_configfs': stays('in_use', 'configfs', 'rmdir /sys/kernel/config/used_configfs/lab'),
}

# What must be named as what each left registered, and nothing else.
DANGLES = {
    'init_misc': 'misc device /dev/init_misc$',
    'init_chrdev': r'character device init_chrdev \(\d+:0\)$',
    'init_netdev': 'network device lab0$',
    'init_timer': 'timer init_timer_tick$',
    'init_hrtimer': 'high-resolution timer init_hrtimer_tick$',
    'init_irq': r'interrupt \d+ \(lab_interrupt\)$',
    'init_kprobe': 'kprobe vfs_mkdir$',
    'init_notifier': 'notifier init_notifier_call on (reboot_notifier_list|the chain of register_reboot_notifier)$',
    'init_filesystem': 'file system lab_filesystem$',
    'init_protocol': 'network protocol LAB$',
    'init_driver': 'driver platform:lab_driver$',
    'init_thread': r'kernel thread lab_thread \(pid \d+, in \w+\)$',
    'no_exit_misc': 'misc device /dev/no_exit_misc$',
    'layout_pad': 'misc device /dev/layout_pad$',
    **dict.fromkeys(('init_hang', 'exit_hang', 'used_base', 'cdev_held', 'leaked_ref', 'no_exit', 'exit_oops',
                     'init_oops', 'kernel_thread', 'healthy'), NOTHING),
}
# What must point into each, whose neighbours on the kernel's lists and in its memory differ from run to run.
REACHED = {
    'init_chrdev': r'cdev\.ops', 'init_netdev': r'net_device\.netdev_ops', 'init_kprobe': 'kprobe_table',
    'init_protocol': 'proto_list', 'init_driver': r'driver_private\.driver', 'init_thread': r'kthread\.threadfn',
    'init_proc': r'proc_dir_entry\.seq_ops', 'init_proc_ops': r'proc_dir_entry\.proc_ops',
    'init_debugfs': r'dentry\.d_fsdata|debugfs_inode_info\.raw', 'init_sysfs': r'kernfs_node\.priv',
    'init_sysctl': r'ctl_table_header\.ctl_table', 'init_packet': 'ptype_all|net_hotdata|init_net',
    'init_tracepoint': '__SCK__tp_func_', 'init_ftrace': 'ftrace_ops', 'init_heap_work': r'work_struct\.func',
    'init_binfmt': 'formats', 'init_kretprobe': 'kprobe_table', 'init_shrinker': r'shrinker_list|shrinker\.',
    'init_cpuhp': 'cpuhp_hp_states', 'init_input': 'input_handler_list', 'init_ldisc': 'tty_ldiscs',
    'init_key': 'key_types_list', 'init_tcp': 'tcp_cong_list', 'init_socket': 'net_families',
    'init_sysrq': 'sysrq_key_table', 'init_genl': 'radix_tree_node', 'init_disk': r'gendisk\.fops',
    'init_class': r'kmalloc-', 'init_directories': r'proc_dir_entry\.',
    'init_link': 'link_ops', 'init_inet': 'inet_protos', 'init_kobject': NOTHING,
    'init_percpu': NOTHING,
}
UNEXPLAINED = {'leaked_ref': 3, 'init_irq': 1}
for _name, _expected in EXPECTED.items():
    EXPECTED[_name] = _expected._replace(
        dangles=DANGLES.get(_name, ''), reached=REACHED.get(_name, ''),
        unexplained=UNEXPLAINED.get(_name, 0 if _name in DANGLES else -1))

# What is taken back to the last, so that the module is freed and a fixed build registers it again. Of the others a part
# stays: the memory of a work with its function, a descriptor of an interrupt, what the kernel has no way to take back.
UNDONE = (
    'init_misc', 'init_chrdev', 'init_netdev', 'init_timer', 'init_hrtimer', 'init_kprobe', 'init_notifier',
    'init_filesystem', 'init_driver', 'init_thread', 'init_proc', 'init_proc_ops', 'init_debugfs', 'init_sysfs',
    'init_sysctl', 'init_netfilter', 'init_packet', 'init_tracepoint', 'init_ftrace', 'init_work', 'init_workqueue',
    'init_kretprobe', 'init_net_event', 'init_modnotifier', 'init_panic', 'init_class', 'init_directories',
    'init_shared',
)
# Where they crash in exit instead.
LATE = fault_table.LATE

# The host is lost by the exit of the one, however that is called: only the fleet's playbook has to do with it. The
# others hold got_base, which the exit of got_by lets go, and polled.
NOT_RUN = ('exit_panic', 'got_by', 'polls')


# What a guest and a search of its memory cost is shared; the more, the longer it takes to run each alone after a loss.
IN_ONE_GUEST = 24


def asked_of(fault: str) -> str:
    """Its module, and what is asked for besides, as in_guest/turns.py takes it."""
    return module_of(fault) + EXPECTED[fault].asked


def module_of(fault: str) -> str:
    """The kernel's name for a fault's module."""
    return fault.replace('-', '_')


def batches(faults: List[str]) -> List[List[str]]:
    """The faults, in the order in which they are injected, in as few guests as they can share."""
    missing = [name for name in faults if name not in EXPECTED]
    if missing:
        raise LabError('tests/torture/expectations.py says nothing of %s: add to EXPECTED one line each, such as\n'
                       "    '%s': unloads('init_died'),\nor stays(VERDICT, WHOM_THE_REFUSAL_NAMES), with guest=OWN for "
                       'one that takes a CPU or a lock from all others.' % (', '.join(missing), missing[0]))
    together = [name for name in faults if not EXPECTED[name].guest]
    # used_by is loaded by injecting used_base, and is unloaded: its turn comes after used_base was refused.
    dependents = {name: fault_table.FAULTS[name].needs for name in together
                  if fault_table.FAULTS[name].needs in together}
    found: List[List[str]] = []
    for name in together:
        if name in dependents:
            continue
        if not found or len(found[-1]) >= IN_ONE_GUEST:
            found.append([])
        found[-1] += [name, *(other for other, needed in dependents.items() if needed == name)]
    for guest in (OF_WAITING, OF_CRASHED):
        found.append([name for name in faults if EXPECTED[name].guest == guest])
    found += [[name] for name in faults if EXPECTED[name].guest == OWN]
    return list(filter(None, found))
