# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the controller, tested in a process of its own.

Where its code is imported, a module's warnings are shown and not returned: the front doors' tests would miss them.
"""

import runpy
import sys
from pathlib import Path

UNIT = Path(__file__).resolve().parents[1] / 'unit'

sys.path.insert(0, str(UNIT))
runpy.run_path(str(UNIT / 'conftest.py'))
