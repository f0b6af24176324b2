# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checkout importable as ``ansible_collections.kernelops.kmod``, with Ansible installed or without."""

import sys
import types
from pathlib import Path

from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parents[2]


def _package(name, *paths):
    module = types.ModuleType(name)
    module.__path__ = [str(path) for path in paths]
    sys.modules[name] = module


if CHECKOUT.parts[-3:] != ('ansible_collections', 'kernelops', 'kmod'):
    _package('ansible_collections')
    _package('ansible_collections.kernelops')
    _package('ansible_collections.kernelops.kmod', CHECKOUT)

# A busy machine makes any example take long. What must end in time is timed by tests of its own.
settings.register_profile('busy', deadline=None)
settings.load_profile('busy')
