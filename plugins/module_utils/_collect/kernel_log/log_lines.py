# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a single line of the kernel log says: its stamp, a place in the code, an address, modules with their marks."""

import re
from typing import List, NamedTuple, Optional, Tuple

# The module of code that is in no module.
CORE_KERNEL = ''
# ``May  3 09:41:17 host1 kernel: `` as syslog writes it, the same with a date of RFC 3339, and with journalctl's pid;
# the date of dmesg -T, and the facility and level of dmesg -x.
SAVED = re.compile(r'(?:[A-Z][a-z]{2} [ 0-3]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ]\S{8,32}) \S{1,255} '
                   r'kernel(?:\[\d+\])?: ?|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-3]\d \d\d:\d\d:\d\d \d{4}\] |'
                   r'kern {0,4} ?:[a-z]{3,6} {0,4} ?: ')
LINKED_IN = 'Modules linked in: '
# What opens a report that _oops reads, and every line that could be the first left of one.
ALARMS = ('cut here', 'BUG', 'Unable to handle', 'WARNING', '[#', 'PID: ', 'RIP: ', 'pc : ', 'PC is at', 'all trace',
          'all Trace', 'INFO: ', 'UBSAN: ', 'LOCKUP', 'still has objects',
          'exited with preempt_count')


class Place(NamedTuple):
    """Where code is: function, byte offset into it, module (empty for the kernel itself), and that as printed."""

    function: str
    offset: int
    module: str
    printed: str


def split_place(text: str) -> Optional[Place]:
    """``f_init+0x14/0x1000 [foo]``, after addresses in brackets and the ``?`` of a guess; None for another text."""
    words = text.split()
    while words and words[0].startswith('[<') and words[0].endswith('>]'):
        del words[0]
    guess = '? ' if words[:1] == ['?'] else ''
    words = words[1:] if guess else words
    function, _plus, numbers = words[0].partition('+0x') if words else ('', '', '')
    offset, slash, size = numbers.partition('/0x')
    if not (function and slash and offset.isalnum() and size.isalnum()) or any(mark in function for mark in '[]:'):
        return None
    try:
        distance = int(offset, 16)
    except ValueError:
        return None
    # With CONFIG_STACKTRACE_BUILD_ID a build id follows the name within the brackets.
    module = words[1][1:].rstrip(']') if len(words) > 1 and words[1].startswith('[') else ''
    printed = f'{guess}{words[0]} [{module}]' if module else guess + words[0]
    return Place(function, distance, module or CORE_KERNEL, printed)


def address_in(text: str, marks: Tuple[str, ...] = ('address: ', 'address ', 'dereference ')) -> Optional[int]:
    """The address that a cause names, after one of the marks; ``(null)`` is 0. None where it names none."""
    for mark in marks:
        found = text.partition(mark)[2].lstrip(' ').partition(' ')[0].rstrip(',')
        if found == '(null)':
            return 0
        found = found[2:] if found.startswith('0x') else found
        if is_hexadecimal(found):
            return int(found, 16)
    return None


def is_hexadecimal(text: str) -> bool:
    """Whether it is a number as the kernel prints it, of 64 bits at most."""
    return 0 < len(text) <= 16 and not text.strip('0123456789abcdef')


def split_stamp(line: str) -> Tuple[Optional[float], str, str]:
    """Seconds since boot, caller and text of a line as dmesg prints it: ``[  185.234789] text``.

    With CONFIG_PRINTK_CALLER ``[  185.234789][  T481] text``. Of a log that syslog or a journal saved, date, host and
    ``kernel:`` come first. A line of another form is all text.
    """
    saved = SAVED.match(line)
    line = line[saved.end():] if saved else line
    rest = line.partition('>')[2] if line.startswith('<') and line[1:line.find('>')].isdecimal() else line
    stamp, _bracket, text = rest[1:].partition(']')
    seconds, dot, fraction = stamp.lstrip(' ').partition('.')
    if not (rest.startswith('[') and dot and seconds.isdecimal() and fraction.isdecimal() and len(stamp) <= 24):
        return None, '', line
    caller, closed, after = text[1:].partition(']')
    if text.startswith('[') and closed and caller.strip()[:1] in ('T', 'C') and caller.strip()[1:].isdecimal():
        text = after
    else:
        caller = ''
    return float(f'{seconds}.{fraction}'), caller.strip(), text[1:] if text.startswith(' ') else text


def module_of_address(text: str) -> str:
    """``0xffffffc008df036c [foo@0000000061dcf4be+0x2a6000]``, as a kernel without symbol names has it; or ''."""
    words = [word for word in text.split() if word != '?']
    if len(words) > 1 and words[0].startswith('0x') and words[1].startswith('[') and '@' in words[1]:
        return words[1][1:].partition('@')[0]
    return ''


class Listed(NamedTuple):
    """Modules by what the line ``Modules linked in`` marks them with: ``(+)``, ``(-)``, nothing; the last unloaded."""

    loading: List[str]
    unloading: List[str]
    settled: List[str]
    last_unloaded: str


def modules_linked_in(text: str) -> Listed:
    """What that line tells (print_modules in kernel/module/main.c): ``foo(OE+) bar [last unloaded: baz(O)]``."""
    listed, _bracket, unloaded = text.partition('[last unloaded: ')
    found = Listed([], [], [], next(iter(unloaded.split(']')[0].split('(')[0].split()), ''))
    for word in listed.split():
        name, _parenthesis, marks = word.partition('(')
        mark = marks[-2:-1] if marks.endswith(')') else ''
        {'+': found.loading, '-': found.unloading}.get(mark, found.settled).append(name)
    return found
