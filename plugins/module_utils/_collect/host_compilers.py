# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The C compilers on the host that a kernel module can be built with."""

# pylint: disable=ansible-bad-function  # it asks for Ansible's run_command; nothing here imports Ansible

import contextlib
import os
import re
import signal
import subprocess
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._file_types import HostCompiler
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import compiler_text

# A task's PATH may lack these.
USUAL = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
# gcc, gcc-12, cc, clang-14, Amazon's gcc10-gcc, aarch64-linux-gnu-gcc-12; neither afl-gcc nor gcc-ar
NAME = re.compile(r'(?:(?P<target>\w+(?:-\w+){1,3})-|gcc\d+-)?(?:gcc|clang|cc)(?:-?\d+(?:\.\d+){0,2})?$')
# Red Hat's newer compilers, which only their own environment has on its PATH
SOFTWARE_COLLECTIONS = 'opt/rh'
SOFTWARE_COLLECTION = re.compile(r'(?:devtoolset|gcc-toolset)-\d+$')
DEADLINE = 10
LINKS = 40


def found(root: str = '/', search: Optional[str] = None,
          run: Optional[Callable[[str], str]] = None) -> List[HostCompiler]:
    """Each name that a compiler is called by below ``root``, in the order of ``search`` (default: PATH).

    ``run`` (default: :func:`first_line`) is called once for each file.
    """
    run = run or first_line
    answers: Dict[str, HostCompiler] = {}
    listed: List[HostCompiler] = []
    for command, path, target in _names(root, search):
        program = _program(path, root)
        if program is None:
            continue
        if program not in answers:
            answers[program] = _answer(program, run)
        answer = answers[program]
        listed.append({**answer, 'command': command, 'path': path, 'target': target,
                       'text': _named(answer['text'], command)})
    return listed


def first_line(path: str) -> str:
    """The first line of ``PATH --version``. Raises OSError with the reason where there is none."""
    process = subprocess.Popen([path, '--version'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               stdin=subprocess.DEVNULL, env={'LC_ALL': 'C', 'PATH': USUAL}, start_new_session=True)
    try:
        output = process.communicate(timeout=DEADLINE)[0].decode('utf-8', 'replace')
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)  # one that hangs in the kernel does not end
        raise OSError(f'{path} --version did not end within {DEADLINE} seconds') from error
    if process.returncode:
        raise OSError(f'{path} --version ended with {process.returncode}')
    lines = output.splitlines()
    if not lines:
        raise OSError(f'{path} --version prints nothing')
    return lines[0]


def _answer(path: str, run: Callable[[str], str]) -> HostCompiler:
    reason = None
    text = ''
    try:
        text = run(path)
    except OSError as error:
        reason = f'{path}: {error.strerror}' if error.strerror else str(error)
    parsed = compiler_text.parse_cc_line(text)
    if reason is None and parsed['family'] is None:
        reason = f'{path} --version begins with {text[:80]!r}'
    answer: HostCompiler = {'family': parsed['family'], 'version': parsed['version'], 'major': parsed['major'],
                            'vendor': parsed['vendor'], 'text': text}
    if reason is not None:
        answer['unavailable'] = reason
    return answer


def _named(text: str, command: str) -> str:
    """What the compiler prints under that name: gcc begins with the name, clang does not."""
    first, blank, rest = text.partition(' ')
    return os.path.basename(command) + blank + rest if NAME.match(os.path.basename(first)) and rest[:1] == '(' else text


def _names(root: str, search: Optional[str]) -> Iterator[Tuple[str, str, str]]:
    """Command, path below the root, and cross prefix of what has a compiler's name."""
    seen = set()
    if search is None:
        search = os.environ.get('PATH', '') + ':' + USUAL
    for directory in search.split(':'):
        if directory.startswith('/'):
            for name in _listed(root, directory):
                match = NAME.match(name)
                # The first directory of the PATH wins, as it does for make.
                if match and name not in seen:
                    seen.add(name)
                    yield name, os.path.join(directory, name), match.group('target') or ''
    for name in _listed(root, SOFTWARE_COLLECTIONS):
        path = f'/{SOFTWARE_COLLECTIONS}/{name}/root/usr/bin/gcc'
        if SOFTWARE_COLLECTION.match(name) and path not in seen:
            seen.add(path)
            yield path, path, ''


def _listed(root: str, directory: str) -> List[str]:
    try:
        return sorted(os.listdir(os.path.join(root, directory.lstrip('/'))))
    except OSError:
        return []


def _program(path: str, root: str) -> Optional[str]:
    """What to run for a name: the file behind its links, the same for all names of one compiler; None without one.

    A link to ccache or to busybox is another compiler under each name, so that is run by its name.
    """
    name = os.path.join(root, path.lstrip('/'))
    place = name
    for dummy in range(LINKS):
        if not os.path.islink(place):
            break
        try:
            # An absolute link leads to a path below the root.
            path = os.path.join(os.path.dirname(path), os.readlink(place))
        except OSError:
            return None
        place = os.path.join(root, path.lstrip('/'))
    if not os.path.isfile(place) or not os.access(place, os.X_OK):
        return None
    return os.path.realpath(place) if NAME.match(os.path.basename(place)) else name
