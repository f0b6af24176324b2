# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the guest: what the host shows of itself, read without the collection.

``witness.py look NAME...`` prints one JSON object, ``settle`` does so once no process of a run is left, or after 100 s;
``use JSON`` runs each shell command of a list and prints it with its status and the new alarms, a line for each;
``probe NAME...`` loads and unloads the fixed build of each by init_module(2), in a child with a deadline, and prints
what became of it; ``hog KB`` takes memory until that much is left, and keeps it until it is killed.
"""

import ctypes
import functools
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional, Set

LAB = '/root/lab'
# Where a run could leave something behind: its temporary files, the helper's directory, the helper itself.
LEFT = ('/tmp', '/var/tmp', '/var/lib/kmod_reset', '/root/.ansible/tmp', '/sys/module/kmod_reset')
# What no run of the collection may add to the kernel's log.
ALARMS = re.compile(r'BUG:|Oops|general protection|WARNING:|rcu: INFO|stall|soft lockup|hung_task|blocked for more|'
                    r'kernel BUG|Internal error:|Unable to handle|[Bb]ad page|refcount_t|list_(add|del) corruption')
STATES = {'coming': 'Loading', 'going': 'Unloading', 'live': 'Live'}
WEDGED = '/run/torture-wedged'
# The process that all calls of a module by turns.py are children of, by pid; it is left behind by no run.
SERVER = '/run/turns/pid'
# A run that lost its controller ends by its own deadlines; on a busy emulated host that takes longer than they say.
SETTLED_S = 100
INIT_MODULE, DELETE_MODULE = {'x86_64': (175, 176), 'aarch64': (105, 106)}[os.uname().machine]


def text(path: str) -> str:
    """A file's words, stripped; empty where it cannot be read."""
    try:
        with open(path, errors='replace') as stream:
            return stream.read().strip()
    except OSError:
        return ''


def in_time(function: Callable[[], str], seconds: float) -> Optional[str]:
    """What a function says, called in a child; None: the kernel does not answer in time, '': it kills the child.

    Once the owner of module_mutex has crashed, reading /proc/modules never ends; the child stays for ever then.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.close(read_end)
        with os.fdopen(write_end, 'w') as stream:
            stream.write(function())
        os._exit(0)
    os.close(write_end)
    chunks: List[bytes] = []
    try:
        while select.select([read_end], [], [], seconds)[0]:
            chunk = os.read(read_end, 65536)
            if not chunk:
                os.waitpid(pid, 0)
                return b''.join(chunks).decode()
            chunks.append(chunk)
    finally:
        os.close(read_end)
    os.kill(pid, signal.SIGKILL)
    return None


def table() -> List[List[str]]:
    """The words of /proc/modules; where that hangs, what /sys/module has of them."""
    lines = None if os.path.exists(WEDGED) else in_time(lambda: text('/proc/modules'), 10)
    if lines is not None:
        return [line.split() for line in lines.splitlines()]
    with open(WEDGED, 'w'):
        pass
    words = []
    for name in sorted(os.listdir('/sys/module')):
        state = text('/sys/module/%s/initstate' % name)
        if state:
            words.append([name, '?', text('/sys/module/%s/refcnt' % name), '?', STATES.get(state, state), '?'])
    return words


def alarms() -> List[str]:
    """The alarms in the kernel's log, by syslog(2), which needs no /dev/kmsg."""
    buffer = ctypes.create_string_buffer(1 << 22)
    size = ctypes.CDLL(None).klogctl(3, buffer, len(buffer))
    lines = buffer.raw[:max(0, size)].decode(errors='replace').splitlines()
    return [re.sub('^<[0-9]+>', '', line) for line in lines if ALARMS.search(line)]


def left_behind() -> List[str]:
    """Files with their sizes; Ansible's own for the very task that looks do not count, nor do systemd's."""
    found = []
    for top in LEFT:
        for directory, directories, files in os.walk(top):
            directories[:] = [name for name in directories if not name.startswith(('systemd-private', 'ansible-tmp'))]
            for name in files:
                path = os.path.join(directory, name)
                try:
                    found.append('%s %d' % (path, os.stat(path).st_size))
                except OSError:
                    continue
        if top.startswith('/sys') and os.path.isdir(top):
            found.append(top)
    return sorted(path for path in found if '/ansible_' not in path)


def ancestors() -> Set[int]:
    """This process and those that started it, as Ansible's own where that runs this look; the server of turns.py."""
    found, pid = {int(text(SERVER) or 0)}, os.getpid()
    while pid > 1:
        found.add(pid)
        pid = int(text('/proc/%d/stat' % pid).rsplit(')', 1)[1].split()[1])
    return found


def stuck_processes() -> List[str]:
    """Processes of a run of Ansible that are still there: a module's own Python, or a child that it left behind."""
    found, mine = [], ancestors()
    for pid in filter(str.isdigit, os.listdir('/proc')):
        line = text('/proc/%s/cmdline' % pid).replace('\0', ' ')
        if 'python3' not in line or int(pid) in mine:
            continue
        if 'AnsiballZ' in line or 'ansible' in line or 'turns.py' in line or line.strip() == '/usr/bin/python3':
            state = text('/proc/%s/stat' % pid).rsplit(')', 1)[-1].split()
            if state and state[0] not in 'ZX':
                found.append('%s %s %s' % (pid, state[0], text('/proc/%s/wchan' % pid)))
    return found


def look(names: List[str]) -> Dict[str, Any]:
    """The host: which boot it is, its modules, what its kernel said last, what lies about."""
    modules = {}
    lines = {words[0]: words for words in table()}
    for name in names:
        base = '/sys/module/%s' % name
        modules[name] = {
            'initstate': text(base + '/initstate'), 'refcnt': text(base + '/refcnt'), 'sysfs': os.path.isdir(base),
            'device': os.path.exists('/dev/' + name),
            # Where it lies: another load of the same name would lie elsewhere.
            'address': lines[name][5] if name in lines else '',
        }
    return {'boot': text('/proc/sys/kernel/random/boot_id'),
            'table': {name: ' '.join(words[2:5]) for name, words in lines.items()},
            'modules': modules,
            'taint': text('/proc/sys/kernel/tainted'), 'left': left_behind(), 'log': alarms(),
            'processes': stuck_processes()}


def settle(names: List[str]) -> Dict[str, Any]:
    """The look, once no process of a run is left, or after SETTLED_S seconds."""
    end = time.monotonic() + SETTLED_S
    while True:
        found = look(names)
        # What hangs in a lock that never comes free is not waited for.
        if not found['processes'] or time.monotonic() > end or os.path.exists(WEDGED):
            return found
        time.sleep(1)


def call(number: int, *arguments: Any) -> int:
    """A system call's errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    ctypes.set_errno(0)
    return 0 if libc.syscall(ctypes.c_long(number), *arguments) == 0 else ctypes.get_errno()


def load_and_unload(name: str) -> str:
    """``ok``, or what failed."""
    with open('%s/fixed/%s.ko' % (LAB, name), 'rb') as stream:
        image = stream.read()
    error = call(INIT_MODULE, image, ctypes.c_ulong(len(image)), b'')
    if error:
        return 'init_module: ' + os.strerror(error)
    error = call(DELETE_MODULE, name.replace('-', '_').encode(), ctypes.c_uint(os.O_NONBLOCK))
    return 'delete_module: ' + os.strerror(error) if error else 'ok'


def probe(names: List[str]) -> Dict[str, str]:
    """What a fixed build of each name came to; ``hangs`` where the kernel does not answer within 20 s."""
    answers = {}
    for name in names:
        known = alarms()
        said = in_time(functools.partial(load_and_unload, name), 20)
        answers[name] = 'hangs' if said is None else said or 'died'
        new = [line for line in alarms() if line not in known]
        if new:
            answers[name] += ', and the kernel log has new alarms: ' + ' | '.join(new[:4])
    return answers


def use(words: List[str]) -> None:
    """Each command in turn, with 30 seconds, a look at the log half a second later, and a line for each."""
    for command in json.loads(words[0]):
        known = alarms()
        with tempfile.TemporaryFile() as stream:
            # What it leaves hanging in the kernel keeps the file open, and nobody waits for that.
            process = subprocess.Popen(['sh', '-c', command], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                                       start_new_session=True)
            try:
                status = process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status = -1
            time.sleep(0.5)
            stream.seek(0)
            out = stream.read().decode(errors='replace')[-300:]
        new = [line for line in alarms() if line not in known]
        print(json.dumps([command, {'status': status, 'log': new, 'out': out}]), flush=True)


def hog(leave_kb: int) -> None:
    """Takes memory, a megabyte at a time and locked, until no more than ``leave_kb`` is available."""
    with open('/proc/self/oom_score_adj', 'w') as stream:
        stream.write('-1000')
    ctypes.CDLL(None).mlockall(3)
    kept = []
    with open('/proc/meminfo') as stream:
        while True:
            stream.seek(0)
            available = next(int(line.split()[1]) for line in stream if line.startswith('MemAvailable'))
            if available <= leave_kb:
                break
            kept.append(bytearray(1 << 20))
    print('%d MB taken' % len(kept), flush=True)
    time.sleep(3600)


if __name__ == '__main__':
    if sys.argv[1] == 'hog':
        hog(int(sys.argv[2]))
    elif sys.argv[1] == 'use':
        use(sys.argv[2:])
    else:
        words = sys.argv[2:]
        print(json.dumps({'probe': probe, 'settle': settle, 'look': look}[sys.argv[1]](words)), flush=True)
