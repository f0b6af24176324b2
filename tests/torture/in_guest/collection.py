# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the guest: the collection's own unload, called as its module calls it."""

from typing import Any, Dict

from ansible_collections.kernelops.kmod.plugins.module_utils._actions import unload_each
from ansible_collections.kernelops.kmod.plugins.module_utils._actions.unload import Unload
from ansible_collections.kernelops.kmod.plugins.module_utils._actions.unload_options import Options

# The module's defaults; an option that is not named here is None.
DEFAULTS: Dict[str, Any] = {
    'methods': ['plain', 'kernel_force', 'reset', 'park'], 'run_exit': 'auto', 'cascade': False, 'accept_hazards': [],
    'helper': 'auto', 'check_mode': False,
}


def unload(name: str, kernel: Any = None, timeout: float = 150, **options: Any) -> Dict[str, Any]:
    """The return values; KmodError where the module stays. ``kernel``: what is known of it and need not be read."""
    fields: Dict[str, Any] = {field: DEFAULTS.get(field) for field in Options._fields}
    fields.update(options, name=name, timeout=timeout)
    options_of_it = Options(**fields)
    return dict(unload_each.one(options_of_it) if kernel is None else Unload(options_of_it, kernel).run())
