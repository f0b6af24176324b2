# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One holder of a module, as every reader here tells it. Part of :mod:`find_holders`."""

from typing import TYPE_CHECKING, List

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import one_line
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Holder

if TYPE_CHECKING:
    from ansible_collections.kernelops.kmod.plugins.module_utils._types import HolderKeys
    from typing_extensions import Unpack

Found = List[Holder]


def holder(what: str, evidence: str, end_with: str = '', counts: bool = True, active: bool = False,
           **keys: 'Unpack[HolderKeys]') -> Holder:
    """One holder: ``what`` it is, in a phrase; where it was seen; the shell command that ends it, or ''.

    ``counts``: it holds a reference. ``active``: it holds none, and unloading would break something in use.
    """
    return {**keys, 'what': one_line(what), 'evidence': one_line(evidence), 'end_with': end_with, 'counts': counts,
            'active': active}
