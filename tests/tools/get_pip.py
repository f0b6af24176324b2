# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the get-pip.py that ansible-test downloads, on a network that reaches package registries only.

ansible-test runs it with what get-pip.py accepts: packages such as ``pip==24.2`` and options such as ``--no-wheel``.
"""

import subprocess
import sys

subprocess.run([sys.executable, '-m', 'ensurepip'], check=True, stdout=subprocess.DEVNULL, timeout=300)
packages = [argument for argument in sys.argv[1:] if not argument.startswith('-')]
subprocess.run([sys.executable, '-m', 'pip', 'install', '-qq', '--disable-pip-version-check', *packages],
               check=True, timeout=300)
