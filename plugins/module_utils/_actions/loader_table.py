# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load that died left in the loader's table of running loads, and how the helper clears it."""

from typing import Dict

from ansible_collections.kernelops.kmod.plugins.module_utils._actions import compiled_helper
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import loader_data
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._returns import HelperReport, Step
from ansible_collections.kernelops.kmod.plugins.module_utils._types import ModuleFacts

# By the helper's answer.
WORDS = {
    'clean': 'no stale entry',
    'cleared': 'stale entries cleared: {buckets}',
    'in_use': 'left alone: task {loading_pid} is inside finit_module',
    'lock_busy': 'left alone: its lock could not be taken',
}


def parameters(verdict: str, facts: ModuleFacts) -> Dict[str, int]:
    """The helper's parameters to clear it; empty where that is not called for."""
    anchors = facts['anchors']
    if is_unavailable(anchors) or verdict != 'init_died':
        return {}  # only a load that died leaves an entry behind
    # A table of another size is not the one known here.
    known = (anchors['idem_bytes'] or 0) >= loader_data.IDEM_BYTES
    return compiled_helper.loader_parameters(anchors, loader_data.IDEM_BUCKETS) if known else {}


def told(name: str, method: str, report: HelperReport) -> Step:
    """The step, by the helper's report."""
    result = WORDS[report['loader']].format(**report)
    return {'module': name, 'method': method, 'action': 'clear_loader', 'result': result,
            'changed': report['loader'] == 'cleared'}


def demand(step: Step, report: HelperReport) -> None:
    """Raises KmodError where it could not be cleared: what loads next would hang or crash."""
    if report['loader'] in ('in_use', 'lock_busy'):
        raise KmodError('clear what the dead load of {module} left in the loader'.format(**step),
                        'the module is {}, but the loader was {}'.format(
                            'parked' if step['method'] == 'park' else 'unloaded', step['result']),
                        'Load nothing by finit_module(2) (modprobe, insmod) on this host until it has been rebooted')
