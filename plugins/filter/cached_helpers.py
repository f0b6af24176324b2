# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter of the role force_unload: which helpers in the controller's cache can be believed."""

from __future__ import annotations

from typing import Any, Callable, TypedDict

from ansible_collections.kernelops.kmod.plugins.plugin_utils.answers import at, items, mapping


class Helpers(TypedDict):
    """The user's own files of the cache, by their paths."""

    sound: list[str]
    damaged: list[str]


def _is_believed(file: Any, entry: str) -> bool:
    """Whether nobody else could have written it, and it is what its own name says."""
    written_by_others = at(file, 'wgrp') is not False or at(file, 'woth') is not False
    return not written_by_others and at(file, 'path') == '%s%s.ko' % (entry, at(file, 'checksum'))


def cached_helpers(looked: Any, entry: str, user: Any) -> Helpers:
    """Those to be used, and those to be removed; what belongs to somebody else is neither."""
    files = [mapping(result, 'stat') for result in items(looked, 'results')]
    own = [file for file in files
           if file.get('exists') and file.get('isreg') and str(file.get('uid')) == str(user).strip()]
    sound = [str(file['path']) for file in own if _is_believed(file, entry)]
    return {'sound': sound, 'damaged': [str(file['path']) for file in own if str(file['path']) not in sound]}


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {'cached_helpers': cached_helpers}
