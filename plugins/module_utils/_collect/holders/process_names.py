# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /proc says of a process: what it descends from, and the command that ends it."""

import os
from typing import Set

from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import lines, quoted

# Services that hold what others started, or that nobody stops: there the process alone is ended.
NOT_STOPPED = ('user@', 'ssh.', 'sshd.', 'ssh@', 'sshd@', 'cron.', 'crond.', 'atd.', 'dbus', 'getty@', 'serial-getty@',
               'container-getty@', 'console-getty', 'systemd-', 'init.', 'rc-local', 'emergency.', 'rescue.')


def ends_process(pid: int, root: str) -> str:
    """The command that ends a process: its service, where it is one's own, or the process.

    '' for pid 1, and for those that this very process descends from: the connection that it is asked through.
    """
    ours = ancestors(root)
    if pid <= 1 or pid in ours:
        return ''
    unit = _service(pid, root)
    if unit and not unit.startswith(NOT_STOPPED) and unit not in {_service(our, root) for our in ours}:
        return f'systemctl stop {quoted(unit)}'
    return 'kill %d' % pid


def _service(pid: int, root: str) -> str:
    """The service of the system's systemd that a process belongs to, by its control group; '' where none does."""
    for line in lines(root, 'proc/%d/cgroup' % pid):
        number, _colon, rest = line.partition(':')
        controllers, _colon, path = rest.partition(':')
        if controllers not in ('', 'name=systemd') or (not controllers and number != '0'):
            continue
        # The outermost is the one that this host's systemd manages: in a scope there may be a whole container.
        unit = next((part for part in path.split('/') if part.endswith(('.service', '.scope'))), '')
        if unit.endswith('.service'):
            return unit
    return ''


def ancestors(root: str) -> Set[int]:
    """The pids of this process and of all that it descends from, but the first; none where /proc does not tell."""
    found: Set[int] = set()
    try:
        pid = int(os.readlink(os.path.join(root, 'proc/self')))
    except (OSError, ValueError):
        return found
    while pid > 1 and pid not in found:
        found.add(pid)
        # The command in parentheses may hold anything, a ')' too.
        fields = ''.join(lines(root, 'proc/%d/stat' % pid)).rpartition(')')[2].split()
        pid = int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0
    return found
