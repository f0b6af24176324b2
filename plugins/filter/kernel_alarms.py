# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter of the role force_unload: what the kernel complained of since the log was read before."""

from __future__ import annotations

import re
from typing import Any, Callable, Iterable

# The words with which the kernel begins an oops, a warning, a lockup or a stall.
ALARMS = (
    r'\] (BUG|WARNING|Oops|Kernel panic)\b',
    r'kernel BUG at',
    r'cut here',
    r'general protection fault',
    r'Unable to handle kernel',
    r'Internal error: ',
    r'(soft|hard) lockup',
    r'blocked for more than \d+ seconds',
    r'rcu.*(stall|self-detected)',
)
ALARM = re.compile('|'.join(ALARMS))


def kernel_alarms(after: Iterable[Any], before: Iterable[Any]) -> list[str]:
    """The lines that begin an oops, a warning, a lockup or a stall, and that were not there before."""
    known = {str(line) for line in before}
    return [line for line in dict.fromkeys(map(str, after)) if line not in known and ALARM.search(line)]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {'kernel_alarms': kernel_alarms}
