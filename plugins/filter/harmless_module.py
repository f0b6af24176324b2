# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter of the playbook force_unload: the module that is loaded to see whether the kernel still loads any."""

from __future__ import annotations

from os.path import basename
from typing import Any, Callable

from ansible_collections.kernelops.kmod.plugins.plugin_utils.answers import at, facts, items, underscored


def harmless_module(found: Any, health: Any) -> str:
    """The first file, by its path, whose module the host says is not loaded; '' where there is none."""
    paths = sorted(str(at(file, 'path')) for file in items(found, 'files'))
    free = [path for path in paths
            if at(facts(health), 'modules', underscored(basename(path).partition('.')[0]), 'state') == 'absent']
    return free[0] if free else ''


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {'harmless_module': harmless_module}
