# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The name that a parked module bears: made here, and told from others."""

import re
from typing import Any

# MODULE_NAME_LEN in include/linux/module.h is 64 - sizeof(long), with the closing NUL
LONGEST = 55
PARKED = re.compile(r'(.+)_parked[0-9]+\Z')


def new_name(name: str, taken: Any) -> str:
    """``NAME_parkedN`` with the first N from 1 on that is not ``taken``; NAME is cut where the whole would not fit."""
    number = 1
    while True:
        suffix = '_parked%d' % number
        found = name[:LONGEST - len(suffix)] + suffix
        if found not in taken:
            return found
        number += 1


def is_parked(name: str) -> bool:
    """Whether a module of that name was parked."""
    return PARKED.match(name) is not None


def bore(name: str, former: Any) -> bool:
    """Whether the module ``name`` may have been loaded as ``former``: that is its name, or it was parked from it."""
    if name == former:
        return True
    match = PARKED.match(name)
    if not match or not isinstance(former, str):
        return False
    return former.startswith(match.group(1)) if len(name) == LONGEST else former == match.group(1)
