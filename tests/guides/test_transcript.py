# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guide's commands are found, and output that is not what the guide shows is told."""

from typing import List, Optional, Tuple

import pytest
from transcript import GuideError, Mismatch, Shown, commands, guests, mismatch

GUIDE = """\
A title
=======

Text with a literal ``$ no command``.

.. code-block:: console

   $ python3 tests/lab up web1 --kernel 6.1
   web1 runs ...

   $ rmmod it; echo $?
   rmmod: ERROR: Module it is in use
     indented
   1
   $ ansible web1 \\
       -m ping

Between.

.. code-block:: yaml

   $ this is no console

* a list

  .. code-block:: console

     $ last
"""


def test_the_commands_of_a_guide_with_their_lines() -> None:
    assert [(command.number, command.text) for command in commands(GUIDE)] == [
        (8, 'python3 tests/lab up web1 --kernel 6.1'), (11, 'rmmod it; echo $?'), (15, 'ansible web1 \\\n    -m ping'),
        (28, 'last')]


def test_the_output_below_each() -> None:
    first, second, third, last = commands(GUIDE)
    assert first.shown == [Shown(9, 'web1 runs ...')]
    assert [line.text for line in second.shown] == ['rmmod: ERROR: Module it is in use', '  indented', '1']
    assert third.shown == last.shown == []


def test_the_guests_of_a_guide() -> None:
    assert guests(commands(GUIDE)) == ['web1']


@pytest.mark.parametrize('text', ['no block', '.. code-block:: console\n\nleft', '.. code-block:: sh\n\n   $ ls'])
def test_text_without_commands(text: str) -> None:
    assert commands(text) == []


def test_output_above_the_first_command_of_a_block_is_told_with_its_line() -> None:
    with pytest.raises(GuideError, match='line 7'):
        commands('.. code-block:: console\n\n   $ ls\n\n.. code-block:: console\n\n   output of nothing\n')


@pytest.mark.parametrize(('shown', 'came', 'told'), [
    ('', '', None),
    ('', 'x', (None, 'x')),
    ('a', 'a\n', None),
    ('a', 'a  \n\n', None),
    ('a', '', ('a', None)),
    ('a', 'b', ('a', 'b')),
    ('a', 'a\nb', (None, 'b')),
    ('a\nc', 'a\nb\nc', ('c', 'b')),
    ('...', '', None),
    ('...', 'a\nb', None),
    ('...\nb', 'a\nb', None),
    ('...\nb', 'a\nb\nc', ('b', 'c')),
    ('a\n...', 'b\na', ('a', 'b')),
    ('a\n...\nc\nd\n...\nf', 'a\nc\nb\nc\nd\ne\nf', None),
    ('a\n...\nc\nd\n...\nf', 'a\nd\nc\ne\nf', ('d', 'e')),
    ('...\na\n...\na', 'a', ('a', None)),
    ('...\nb\n...\na\n...', 'a\nb', ('a', None)),
    ('pid ..., in ...', 'pid 12, in f', None),
    ('pid ...', 'tid 12', ('pid ...', 'tid 12')),
    ('a.c', 'abc', ('a.c', 'abc')),
    ('PLAY [x] ***...', 'PLAY [x] *******', None),
    ('  a', 'a', ('  a', 'a')),
])
def test_what_came_is_held_against_what_is_shown(
    shown: str, came: str, told: Optional[Tuple[Optional[str], str]],
) -> None:
    lines: List[Shown] = [Shown(number, line) for number, line in enumerate(shown.splitlines(), 1)]
    found: Optional[Mismatch] = mismatch(lines, came)
    assert (found and (found.shown.text if found.shown else None, found.came)) == told
