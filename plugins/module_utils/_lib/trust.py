# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who could have written a file that root is about to use: by owner and mode, its own and of all directories above."""

import os
import stat
from typing import Optional, Set

# What kmod_build leaves beside the files that it built: their SHA-256.
STAMP = '.kmod_build.json'


def owners() -> Set[int]:
    """Users whose files root may run: root, and who became root by sudo."""
    caller = os.environ.get('SUDO_UID', '')
    return {0, os.geteuid()} | ({int(caller)} if caller.isdecimal() and len(caller) < 11 else set())


def fault(found: os.stat_result, trusted: Optional[Set[int]], sticky: bool = False,
          by_group: bool = True) -> Optional[str]:
    """Why what was found could have been written by others; None where it could not.

    ``trusted``: users who may own it; None for any. ``sticky``: a directory like /tmp will do, in which each may remove
    only what is his own. ``by_group``: the owner's own group may write it, and root's.
    """
    if trusted is not None and found.st_uid not in trusted:
        return 'it belongs to user %d' % found.st_uid
    if sticky and found.st_mode & stat.S_ISVTX:
        return None
    if found.st_mode & stat.S_IWOTH:
        return 'everyone can write it (mode %o)' % stat.S_IMODE(found.st_mode)
    # A group of the owner's own, as most distributions make one, has nobody else in it.
    if found.st_mode & stat.S_IWGRP and not (by_group and found.st_gid in (0, found.st_uid)):
        return 'the group %d can write it (mode %o)' % (found.st_gid, stat.S_IMODE(found.st_mode))
    return None


def fault_of_entry(path: str, trusted: Optional[Set[int]]) -> Optional[str]:
    """:func:`fault` of what ``path`` leads to, named, in a directory that was looked at before. Raises OSError."""
    why = fault(os.stat(path), trusted)
    return f'{path}: {why}' if why else None


def fault_of_path(path: str, trusted: Optional[Set[int]], sticky: bool = False, by_group: bool = True) -> Optional[str]:
    """:func:`fault` of what ``path`` leads to, then of each directory above it, named; what is missing is passed over.

    ``sticky`` counts for ``path`` itself; the directories above may always be like /tmp. Raises OSError.
    """
    place = os.path.realpath(path)
    allowed = sticky
    while True:
        try:
            why = fault(os.stat(place), trusted, allowed, by_group)
        except FileNotFoundError:
            why = None
        if why:
            return f'{place}: {why}'
        if place == '/':
            return None
        place, allowed = os.path.dirname(place), True


def read(path: str, trusted: Optional[Set[int]], limit: int, by_group: bool = True) -> bytes:
    """A file's bytes, opened without following a link or waiting for a pipe. Raises OSError where it is not fit.

    Not fit: no regular file, one that others could have written, one of more than ``limit`` bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        why = fault(found, trusted, False, by_group) if stat.S_ISREG(found.st_mode) else 'it is no regular file'
        if not why and found.st_size > limit:
            why = 'it has %d bytes' % found.st_size
        if why:
            raise OSError(f'{path}: {why}')
        with os.fdopen(descriptor, 'rb', closefd=False) as stream:
            return stream.read(found.st_size)  # for a limit, so much memory would be taken at once
    finally:
        os.close(descriptor)
