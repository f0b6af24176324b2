# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the guest: loads by finit_module(2), one after the other, and what became of them.

``loads.py inject FILE`` loads FILE in a child, which is to be killed by it.
``loads.py unload NAME [leave]`` runs the collection's unload; ``leave``: without clearing the loader's table.
``loads.py churn PROCESSES`` starts and ends that many processes at once, as a busy host does.
``loads.py others COUNT REAL`` loads COUNT files of other inodes, REAL of which are healthy.ko and are unloaded again.
``loads.py same FILE FIXED COUNT REAL`` the same for one inode: that of FILE, whose contents are replaced in place.

The last line is JSON. Loads run in a child: when that is killed or makes no progress, a second one tries one load more.
"""

import ctypes
import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List

import collection
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls

QUIET_S = 30
LAB = '/root/lab'
GARBAGE = b'This is no module.\n' * 8


def finit_module(path: str) -> int:
    """0 or the errno."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        words = ctypes.c_uint(descriptor), ctypes.c_char_p(b''), ctypes.c_uint(0)
        return loader_syscalls._call('finit_module', *words)  # noqa: SLF001  # pylint: disable=protected-access
    finally:
        os.close(descriptor)


def checked(path: str, wanted: int, module: str = '') -> None:
    """One load that is to end with ``wanted``; the module that it loaded is unloaded again."""
    error = finit_module(path)
    if error != wanted:
        raise SystemExit('finit_module(%s) ended with %s' % (path, loader_syscalls.errno_text(error)))
    if module:
        error = loader_syscalls.delete_module(module)
        if error:
            raise SystemExit('delete_module(%s) ended with %s' % (module, loader_syscalls.errno_text(error)))


def watched(count: int, load: Callable[[int], None]) -> Dict[str, Any]:
    """Runs ``load(0 .. count - 1)`` in a child: how many went through, and how the child ended where it did not."""
    read_end, write_end = os.pipe()
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        # A child that spins in the kernel for ever keeps what it holds: ssh would wait for its end.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        status = 1
        try:
            for number in range(count):
                load(number)
                os.write(write_end, b'.')
            status = 0
        except BaseException as error:  # pylint: disable=broad-except  # the parent must hear of it
            os.write(write_end, repr(error).replace('.', ' ').encode())
        finally:
            os._exit(status)
    os.close(write_end)
    through, quiet, said = 0, False, b''
    while True:
        ready = select.select([read_end], [], [], QUIET_S)[0]
        if not ready:
            quiet = True
            break
        chunk = os.read(read_end, 65536)
        if not chunk:
            break
        through += chunk.count(b'.')
        said += chunk.replace(b'.', b'')
    found = {'asked': count, 'through': through, 'seconds': round(time.monotonic() - start, 1), 'end': 'all'}
    if quiet:
        found['end'] = ended = state_of(pid)
        print('load %d %s' % (through + 1, ended), flush=True)
        os.kill(pid, signal.SIGKILL)
        return found
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        found['end'] = 'died'
    elif os.WEXITSTATUS(status):
        found['end'] = 'was refused: ' + said.decode()
    print('after %d of %d loads the child ended with %d' % (through, count, status), flush=True)
    return found


def state_of(pid: int) -> str:
    """``spins`` for a task that runs on a CPU, else where it waits."""
    with open('/proc/%d/stat' % pid) as stream:
        state = stream.read().rsplit(')', 1)[1].split()[0]
    if state == 'R':
        return 'spins'
    try:
        with open('/proc/%d/wchan' % pid) as stream:
            return 'waits for ever in ' + (stream.read().strip() or '?')
    except OSError:
        return 'waits for ever'


def run(count: int, load: Callable[[int], None]) -> Dict[str, Any]:
    """All loads; after a crash one load more, since that is what the host's next modprobe meets."""
    found = watched(count, load)
    if found['end'] != 'all':
        found['next'] = watched(1, lambda _number: load(0))['end']
    return found


def others(count: int, real: int) -> Dict[str, Any]:
    """Each load has a file, and so an inode, of its own, and all of them are kept: no inode comes twice."""
    with open(LAB + '/healthy.ko', 'rb') as stream:
        healthy = stream.read()
    every = count // real if real else 0
    directory = '/root/torture/files'
    os.makedirs(directory, exist_ok=True)
    jobs: List[Any] = []
    for number in range(count):
        is_real = bool(every) and number % every == every - 1
        path = '%s/%d.ko' % (directory, number)
        with open(path, 'wb') as stream:
            stream.write(healthy if is_real else GARBAGE)
        jobs.append((path, 0, 'healthy') if is_real else (path, errno.ENOEXEC, ''))
    return dict(run(count, lambda number: checked(*jobs[number])), real=sum(1 for job in jobs if job[2]))


def same(path: str, fixed: str, count: int, real: int) -> Dict[str, Any]:
    """The inode of ``path`` all the time: its contents are written over in place."""
    with open(fixed, 'rb') as stream:
        image = stream.read()
    module = os.path.basename(fixed)[:-len('.ko')]
    inode = os.stat(path).st_ino
    every = count // real if real else 0

    def load(number: int) -> None:
        is_real = bool(every) and number % every == every - 1
        with open(path, 'r+b') as stream:
            stream.write(image if is_real else GARBAGE)
            stream.truncate()
        checked(path, *((0, module) if is_real else (errno.ENOEXEC, '')))

    found = dict(run(count, load), real=count // every if every else 0)
    if os.stat(path).st_ino != inode:
        raise SystemExit('the inode of %s changed' % path)
    return found


def inject(path: str) -> Dict[str, Any]:
    """The child's end: ``died`` where the kernel killed it."""
    return {'end': watched(1, lambda _number: checked(path, 0))['end']}


def unload(name: str, leave: bool) -> Dict[str, Any]:
    """The collection's own unload. Its steps, by which one sees what was done to the loader."""
    from ansible_collections.kernelops.kmod.plugins.module_utils._actions import compiled_helper  # noqa: PLC0415

    if leave:
        compiled_helper.loader_parameters = lambda *_arguments: {}
    result = collection.unload(name)
    return {'method': result['method'], 'after': result['after'], 'steps': result['steps']}


def churn(processes: int) -> Dict[str, Any]:
    """Kernel stacks of ended tasks are kept for the next fork; enough forks at once, and they are given back."""
    for _round in range(2):
        running = [subprocess.Popen(['sleep', '2']) for _number in range(processes)]
        for process in running:
            process.wait()
    return {'processes': 2 * processes}


def main(words: List[str]) -> Dict[str, Any]:
    """One command."""
    command = words[0]
    if command == 'inject':
        return inject(words[1])
    if command == 'unload':
        return unload(words[1], 'leave' in words)
    if command == 'churn':
        return churn(int(words[1]))
    if command == 'others':
        return others(int(words[1]), int(words[2]))
    return same(words[1], words[2], int(words[3]), int(words[4]))


if __name__ == '__main__':
    print(json.dumps(main(sys.argv[1:])), flush=True)
