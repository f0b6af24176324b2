# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One leftover, and what its readers know of the module that left it."""

from typing import List, NamedTuple

from ansible_collections.kernelops.kmod.plugins.module_utils._types import Hit, Leftover, Ranges


class Known(NamedTuple):
    """A module: its name, where its struct module is, its memory, the pointers into it."""

    name: str
    address: int
    ranges: Ranges
    hits: List[Hit]

    def has(self, address: int) -> bool:
        """Whether an address lies in its memory."""
        return any(start <= address < end for start, end in self.ranges)


def leftover(kind: str, what: str, function: str, address: int, proof: int, *, other: int = 0,
             more: int = 0) -> Leftover:
    """``proof``: where a word is that leads into the module, or a word of the module that holds ``address``."""
    return {'kind': kind, 'what': what, 'function': function, 'address': address, 'other': other, 'more': more,
            'proof': proof}
