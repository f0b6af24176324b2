# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guide shows: its commands, the output below each, and whether what came is what is shown. Pure."""

import re
from typing import Iterator, List, NamedTuple, Optional, Tuple

BLOCK = '.. code-block:: console'
PROMPT = '$ '
# Stands for any lines where it is alone on a line, and for any characters within one.
ANYTHING = '...'
GUEST = re.compile(r'^python3 tests/lab up (?P<name>[\w.-]+)')


class GuideError(Exception):
    """A guide that cannot be followed, or was followed and came to something else: where, and what to do."""


class Shown(NamedTuple):
    """A line of output as the guide shows it."""

    number: int
    text: str


class Command(NamedTuple):
    """A command of the guide, the number of its line, and the output that is shown below it."""

    number: int
    text: str
    shown: List[Shown]


class Mismatch(NamedTuple):
    """The first shown line that did not come, and the line that came in its place; None for one beyond the end."""

    shown: Optional[Shown]
    came: Optional[str]


def commands(text: str) -> List[Command]:
    """The commands of a guide in their order. Raises GuideError where output is shown above the first of a block."""
    found: List[Command] = []
    for block in _blocks(text):
        first = len(found)
        for number, line in block:
            if line.startswith(PROMPT):
                found.append(Command(number, line[len(PROMPT):], []))
            elif len(found) > first and _goes_on(found[-1]):
                found[-1] = found[-1]._replace(text='%s\n%s' % (found[-1].text, line))
            elif len(found) == first:
                raise GuideError('line %d: output stands above the first command of its block: %r. Begin the block '
                                 'with a line that begins with "$ ".' % (number, line))
            else:
                found[-1].shown.append(Shown(number, line))
    return found


def _goes_on(command: Command) -> bool:
    return command.text.endswith('\\') and not command.shown


def _blocks(text: str) -> Iterator[List[Tuple[int, str]]]:
    """Each console block: its lines with their numbers, without the indentation and without empty ones."""
    block: Optional[List[Tuple[int, str]]] = None
    indent = 0
    for number, line in enumerate(text.splitlines(), 1):
        if block is not None and line.strip():
            depth = len(line) - len(line.lstrip())
            indent = indent or depth
            if depth >= indent > 0:
                block.append((number, line[indent:].rstrip()))
                continue
            yield block
            block, indent = None, 0
        if line.strip() == BLOCK:
            block = []
    if block is not None:
        yield block


def guests(guide: List[Command]) -> List[str]:
    """The guests that the guide boots."""
    named = [GUEST.match(command.text) for command in guide]
    return sorted({match['name'] for match in named if match})


def mismatch(shown: List[Shown], came: str) -> Optional[Mismatch]:
    """Where what came is not what is shown; None where it is. Empty lines and spaces at a line's end do not count."""
    lines = [line.rstrip() for line in came.splitlines() if line.strip()]
    parts: List[List[Shown]] = [[]]
    for line in shown:
        if line.text.strip() == ANYTHING:
            parts.append([])
        else:
            parts[-1].append(line)
    position = 0
    for number, part in enumerate(parts):
        is_first, is_last = number == 0, number == len(parts) - 1
        if is_first:
            starts = [0]
        elif is_last:
            starts = [max(position, len(lines) - len(part))]
        else:
            starts = list(range(position, len(lines) + 1))
        held = {start: _held(part, lines[start:]) for start in starts}
        where = next((start for start in starts if held[start] == len(part)), None)
        if where is None:
            best = max(starts, key=lambda start: held[start])
            return Mismatch(part[held[best]], _at(lines, best + held[best]))
        position = where + len(part)
    return None if len(parts) > 1 or position == len(lines) else Mismatch(None, lines[position])


def _held(part: List[Shown], lines: List[str]) -> int:
    """How many of the part's lines hold, from its first on."""
    for count, shown in enumerate(part):
        if count >= len(lines) or not _pattern(shown.text).fullmatch(lines[count]):
            return count
    return len(part)


def _pattern(text: str) -> 're.Pattern[str]':
    return re.compile('.*'.join(re.escape(piece) for piece in text.split(ANYTHING)))


def _at(lines: List[str], position: int) -> Optional[str]:
    return lines[position] if position < len(lines) else None
