# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts answered, read so that nothing in it is taken for granted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COMMANDS = ('ansible ', 'ansible-playbook ')


def at(answer: Any, *keys: str) -> Any:
    """What stands below these keys; None where something is missing or no mapping."""
    for key in keys:
        answer = answer.get(key) if isinstance(answer, Mapping) else None
    return answer


def mapping(answer: Any, *keys: str) -> Mapping[str, Any]:
    """The mapping below these keys, empty where there is none."""
    found = at(answer, *keys)
    return found if isinstance(found, Mapping) else {}


def items(answer: Any, *keys: str) -> list[Any]:
    """The items of the list below these keys, none where there is no list."""
    found = at(answer, *keys)
    return list(found) if is_list(found) else []


def is_list(value: Any) -> bool:
    """Whether this is a sequence, and no text."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def facts(answer: Any) -> Mapping[str, Any]:
    """What kmod_facts told in this answer, empty where it told nothing."""
    return mapping(answer, 'ansible_facts', 'kmod')


def line(text: Any, missing: str = '') -> str:
    """A text in one line; ``missing`` for None."""
    return missing if text is None else ' '.join(str(text).split())


def plain(value: Any) -> Any:
    """The same in dict, list and str, whatever Ansible has wrapped around them."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if is_list(value):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, str) else value


def underscored(name: Any) -> str:
    """A module's name as the kernel writes it."""
    return str(name).replace('-', '_')


def is_command(advice: str) -> bool:
    """Whether this advice is a command line that can be copied."""
    return advice.startswith(COMMANDS)


def addressed(advice: str, hosts: str) -> str:
    """The advice with the hosts that it is for in the place of HOST."""
    return advice.replace('ansible HOST ', 'ansible %s ' % hosts).replace(' -l HOST ', ' -l %s ' % hosts)
