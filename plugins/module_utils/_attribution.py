# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report of the kernel log says died: init, exit, of which module, by the whole trace."""

from typing import Any, Dict

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable

CALLS = (('delete_module', 'exit'), ('do_one_initcall', 'init'), ('do_init_module', 'init'))


def attribution(entry):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """``died_in``, ``of``, ``call`` and ``locks`` of a report, by its trace."""
    found = {'died_in': None, 'of': None, 'call': None, 'locks': []}  # type: Dict[str, Any]
    if entry['kind'] != 'oops':
        return found
    last = '' if is_unavailable(entry['module']) else entry['module']
    for frame in entry['trace']:
        for mark, call in CALLS:
            if mark in frame:
                return dict(found, died_in=call, call=call, of=last or None)
        if '[' in frame:
            last = frame.rsplit('[', 1)[1].rstrip(']')
    return found
