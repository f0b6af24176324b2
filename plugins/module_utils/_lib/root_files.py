# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small files, links and directories below a root directory; names that anybody chose, as text and for a shell."""

import os
import re
from typing import BinaryIO, Iterable, Iterator, List, Optional, Set

# /proc/crypto and /proc/modules of large hosts are tenths of a megabyte.
MOST_BYTES = 1 << 24
PIECE = 1 << 16


def text(name: str) -> str:
    """A file's name as text that JSON can carry, whatever bytes it has."""
    return os.fsencode(name).decode('utf-8', 'backslashreplace')


def lines(root: str, path: str, must_exist: bool = False) -> List[str]:
    """The lines of a file; none where it cannot be read, but an OSError where it ``must_exist``."""
    try:
        with open(os.path.join(root, path), 'rb', buffering=0) as stream:
            return b''.join(_chunks(stream)).decode('utf-8', 'backslashreplace').split('\n')
    except OSError:
        if must_exist:
            raise
        return []


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """A whole file, in pieces: what lies below /proc/sys refuses to be read with a large buffer (ENOMEM)."""
    for _piece in range(MOST_BYTES // PIECE):
        chunk = stream.read(PIECE)
        if not chunk:
            return
        yield chunk


def word(root: str, path: str) -> str:
    """The first line of a file without the space around it; '' where it cannot be read."""
    return ''.join(lines(root, path)[:1]).strip()


def names(root: str, directory: str, must_exist: bool = False) -> List[str]:
    """The sorted entries of a directory; none where it cannot be read, but an OSError where it ``must_exist``."""
    try:
        return sorted(os.listdir(os.path.join(root, directory)))
    except OSError:
        if must_exist:
            raise
        return []


def numbers(root: str, directory: str) -> List[int]:
    """The entries that are numbers: processes in proc, file descriptors in proc/PID/fd."""
    return sorted(int(entry) for entry in names(root, directory) if re.match(r'[0-9]{1,10}\Z', entry))


def link_name(path: str) -> Optional[str]:
    """The last part of where a link leads; None where it is none."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def has_code(root: str, name: str) -> bool:
    """Whether a module is loaded, or is of the kernel itself: only then may it be asked what it lists."""
    if os.path.isdir(os.path.join(root, 'sys/module', name)):
        return True
    built_in = 'lib/modules/{}/modules.builtin'.format(word(root, 'proc/sys/kernel/osrelease') or os.uname().release)
    return any(line.rpartition('/')[2].replace('-', '_') == name + '.ko' for line in lines(root, built_in))


def ending(module_names: Iterable[str], *prefixes: str) -> Set[str]:
    """What follows each prefix in the names of a module: ``htb`` of ``sch_htb``."""
    return {name[len(prefix):] for name in module_names for prefix in prefixes if name.startswith(prefix)}


def quoted(argument: str) -> str:
    """An argument of a shell command, in one line whatever it holds."""
    if re.match(r'[A-Za-z0-9_@%+=:,./-]+\Z', argument):
        return argument
    if argument.isprintable():
        return "'" + argument.replace("'", "'\"'\"'") + "'"
    escaped = ''.join(letter if letter.isprintable() and letter not in "'\\" else
                      ''.join('\\x%02x' % byte for byte in os.fsencode(letter)) for letter in argument)
    return f"$'{escaped}'"
