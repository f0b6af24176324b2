# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the controller, tested in a process of its own: the checkout is a collection that Ansible has found.

Where its code is imported, a module's warnings are shown and not returned: the modules' tests would miss them.
"""

import sys
import tempfile
from pathlib import Path

from ansible.plugins.loader import init_plugin_loader

CHECKOUT = Path(__file__).resolve().parents[2]
COLLECTIONS = tempfile.TemporaryDirectory(prefix='kmod-controller-')

sys.path.insert(0, str(CHECKOUT / 'tests/unit'))
place = Path(COLLECTIONS.name) / 'ansible_collections/kernelops'
place.mkdir(parents=True)
(place / 'kmod').symlink_to(CHECKOUT)
init_plugin_loader([COLLECTIONS.name])
