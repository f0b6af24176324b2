# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage, as a fixture."""

import os

import pytest
from stage import Stage


@pytest.fixture(name='stage')
def _stage(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path) + os.pathsep + os.environ['PATH'])
    return Stage(tmp_path)
