# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong, in one sentence for the reader; and facts that cannot be had, with their reason."""

from typing import Any, Dict, Optional


class KmodError(Exception):
    """A failure a person can act on: what was tried, why it failed, what to do next.

    ``str()`` is the whole message, ready for ``fail_json(msg=...)``. ``facts`` is returned beside it.
    """

    def __init__(self, tried, why, next_step=None, **facts):
        # type: (str, str, Optional[str], **Any) -> None
        self.tried = tried
        self.why = why
        self.next_step = next_step
        self.facts = facts
        message = 'Cannot {}: {}.'.format(tried, why.rstrip('.'))
        if next_step:
            message += ' {}.'.format(next_step.rstrip('.'))
        super().__init__(message)


def unavailable(reason):
    # type: (object) -> Dict[str, str]
    """A fact that cannot be had, with the reason in its place."""
    if isinstance(reason, OSError) and reason.filename:
        reason = f'{reason.filename}: {reason.strerror}'
    return {'unavailable': str(reason)}


def is_unavailable(fact):
    # type: (object) -> bool
    """True for a fact made by :func:`unavailable`, and for None."""
    return fact is None or (isinstance(fact, dict) and 'unavailable' in fact)
