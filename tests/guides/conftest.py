# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guides are held against the collection and the lab: both can be imported here."""

import runpy
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

sys.path.insert(0, str(TESTS / 'lab'))
if 'ansible_collections.kernelops.kmod' not in sys.modules:
    runpy.run_path(str(TESTS / 'unit/conftest.py'))
