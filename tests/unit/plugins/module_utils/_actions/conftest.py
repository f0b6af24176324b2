# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of several actions start from."""

import builders
import pytest


@pytest.fixture
def path(tmp_path):
    """A module file to load, called foo."""
    (tmp_path / 'foo.ko').write_bytes(builders.module_with())
    return tmp_path / 'foo.ko'
