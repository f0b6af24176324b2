# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong, in one sentence for the reader; and facts that cannot be had, with their reason."""

import re
from typing import TYPE_CHECKING, Any, Match, Optional

if TYPE_CHECKING:
    from ansible_collections.kernelops.kmod.plugins.module_utils._types import Unavailable
    from typing_extensions import TypeIs

# What steers a terminal, hides text or turns its direction, and what is no character at all.
STEERING = '[\0-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]'


class KmodError(Exception):
    """A failure a person can act on: what was tried, why it failed, what to do next.

    ``str()`` is the whole message, ready for ``fail_json(msg=...)``. ``facts`` is returned beside it.
    """

    def __init__(self, tried: str, why: str, next_step: Optional[str] = None, **facts: Any) -> None:
        self.tried = tried
        self.why = why
        self.next_step = next_step
        self.facts: Any = facts  # of each caller its own
        message = 'Cannot {}: {}.'.format(tried, why.rstrip('.'))
        if next_step:
            message += ' {}.'.format(next_step.rstrip('.'))
        super().__init__(message)


def unavailable(reason: object) -> 'Unavailable':
    """A fact that cannot be had, with the reason in its place."""
    if isinstance(reason, OSError) and reason.filename:
        reason = f'{reason.filename}: {reason.strerror}'
    return {'unavailable': str(reason)}


def is_unavailable(fact: object) -> 'TypeIs[Optional[Unavailable]]':
    """True for a fact made by :func:`unavailable`, and for None."""
    return fact is None or (isinstance(fact, dict) and 'unavailable' in fact)


def _escaped(match: Match[str]) -> str:
    number = ord(match.group())
    return '\\x%02x' % number if number < 0x100 else '\\u%04x' % number


def one_line(text: str) -> str:
    """A name that somebody else chose (of a process, a file), fit to stand in a sentence: see :func:`printable`."""
    return text if text.isprintable() else re.sub('[\t\n]', _escaped, re.sub(STEERING, _escaped, text))


def printable(value: Any) -> Any:
    """A result with all that would steer a terminal escaped, in all of its texts; lines stay lines.

    A module's file, a process or a kernel message can say what it likes: it must not write on an operator's screen.
    """
    if isinstance(value, str):
        return value if value.isprintable() else re.sub(STEERING, _escaped, value)
    if isinstance(value, dict):
        return {printable(key): printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(item) for item in value]
    return value


def warn(module: Any, result: Any) -> None:
    """Takes the ``warnings`` out of a result and gives them to the AnsibleModule, which has its own way for them."""
    for warning in result.pop('warnings', []):
        module.warn(printable(warning))
