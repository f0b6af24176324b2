# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kmod_force_unload is asked for."""

from typing import List, NamedTuple, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_survey


class Options(NamedTuple):
    """The options of kmod_force_unload, and whether it runs in check mode."""

    name: str
    methods: List[str]
    run_exit: str
    cascade: bool
    accept_hazards: List[str]
    helper: str
    helper_path: Optional[str]
    timeout: float
    check_mode: bool
    helper_will_be_built: bool = False

    def depth(self) -> str:
        """How much of a module is read."""
        if self.run_exit == 'never':
            return module_survey.FREED
        # Only a plain unload gets by without the anchors; then the kernel itself looks before it acts.
        return module_survey.NEEDED if 'plain' in self.methods else module_survey.ALL
