# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build id in an ELF note (elf(5)): of a loaded module in sysfs, of a module file in its section of that name."""

import struct
from typing import Optional

BUILD_ID = '.note.gnu.build-id'
NT_GNU_BUILD_ID = 3


def build_id(note: bytes, order: str = '<') -> Optional[str]:
    """The hexadecimal build id in an ELF note; None where it holds none. ``order`` is that of struct."""
    if len(note) < 12:
        return None
    name_size, size, kind = struct.unpack_from(order + 'III', note)
    start = 12 + (name_size + 3) // 4 * 4
    if kind != NT_GNU_BUILD_ID or not 0 < size <= 64 or start + size > len(note):
        return None
    return note[start:start + size].hex()
