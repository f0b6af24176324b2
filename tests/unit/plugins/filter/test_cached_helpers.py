# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which helpers in the controller's cache are believed."""

import pytest
from ansible_collections.kernelops.kmod.plugins.filter.cached_helpers import cached_helpers

OWN = {'exists': True, 'isreg': True, 'uid': 1000, 'wgrp': False, 'woth': False, 'checksum': 'abc',
       'path': '/cache/key-abc.ko'}

# id: (what differs from a sound entry, whether it is sound or damaged)
ENTRIES = {
    'as it should be': ({}, 'sound'),
    'another content than its name says': ({'checksum': 'abd'}, 'damaged'),
    'of another kernel': ({'path': '/cache/other-abc.ko'}, 'damaged'),
    'a checksum that could not be made': ({'checksum': None}, 'damaged'),
    'the group can write it': ({'wgrp': True}, 'damaged'),
    'anybody can write it': ({'woth': True}, 'damaged'),
    'who can write it is not known': ({'woth': None}, 'damaged'),
    'of another user': ({'uid': 0}, ''),
    'no file': ({'isreg': False}, ''),
    'gone': ({'exists': False}, ''),
}


@pytest.mark.parametrize(('differs', 'kind'), ENTRIES.values(), ids=list(ENTRIES))
@pytest.mark.parametrize('user', [1000, '1000', '1000\n'], ids=repr)
def test_each_entry(differs, kind, user):
    entry = dict(OWN, **differs)
    found = cached_helpers({'results': [{'stat': entry}]}, '/cache/key-', user)
    assert found == dict({'sound': [], 'damaged': []}, **({kind: [entry['path']]} if kind else {}))


@pytest.mark.parametrize('broken', [None, {}, {'results': None}, {'results': [None, {'stat': None}, {}]}], ids=str)
def test_where_nothing_was_looked_at_there_is_none(broken):
    assert cached_helpers(broken, '/cache/key-', 0) == {'sound': [], 'damaged': []}
