# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the loader, by the oopses of the kernel log and by its table."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import crashes

UNKNOWN = unavailable('lockdown=confidentiality')


LOADER_OOPS = builders.oops(module='', of=None, function='idempotent', trace=['load_module+0x5/0x10'])
DIED_IN_FINIT = builders.oops(trace=['do_init_module+0x4a/0x1f0', '__do_sys_finit_module+0xac/0x120'])

# id: (oopses, has the kernel a table of running loads, stale buckets, state of the loader)
LOADERS = {
    'no oops': ([], True, 0, 'ok'),
    'kernel log unreadable': (UNKNOWN, True, UNKNOWN, 'ok'),
    'an oops in the loader itself': ([LOADER_OOPS], False, UNKNOWN, 'wedged'),
    'a warning in the loader itself': ([dict(LOADER_OOPS, kind='warning')], True, UNKNOWN, 'ok'),
    'a load died, table unknown': ([DIED_IN_FINIT], True, UNKNOWN, 'stale_entry_suspected'),
    'a load died, an entry counted': ([DIED_IN_FINIT], True, 1, 'stale_entry_suspected'),
    'a load died, table empty': ([DIED_IN_FINIT], True, 0, 'ok'),
    'a load died, no such table': ([DIED_IN_FINIT], False, UNKNOWN, 'ok'),
    'a load by init_module died': ([builders.oops(trace=['do_init_module+0x4a/0x1f0'])], True, UNKNOWN, 'ok'),
}


@pytest.mark.parametrize(('entries', 'has_table', 'stale', 'state'), LOADERS.values(), ids=list(LOADERS))
def test_loader(entries, has_table, stale, state):
    assert crashes.loader(entries, has_table, stale) == state
