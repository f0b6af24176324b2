# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel log as dmesg prints it, from /dev/kmsg (Documentation/ABI/testing/dev-kmsg), else from the journal."""

# pylint: disable=ansible-bad-function  # it asks for Ansible's run_command; nothing here imports Ansible

import errno
import os
import re
import subprocess
import time
from typing import List, Match

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log.log_lines import ALARMS
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact

LARGEST_RECORD = 16384
ALARMS_BYTES = [alarm.encode() for alarm in ALARMS]
OVERWRITTEN = 'the kernel log has overwritten what came since'


def read(root: str = '/', path: str = '/dev/kmsg', deadline: float = 2.0, from_alarm: bool = False) -> Fact[List[str]]:
    """The kernel log's lines, oldest first, as dmesg prints them: ``[  185.234789] text``; or unavailable.

    ``from_alarm`` leaves out what comes before the first line that an oops or warning could begin with: mostly all.
    Stops after ``deadline`` seconds. Records overwritten while they are read are left out.
    """
    try:
        descriptor = os.open(os.path.join(root, path.lstrip('/')), os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        lines = _journal(deadline) if os.path.realpath(root) == '/' else []
        return lines or unavailable(error)
    try:
        records = _records(descriptor, time.monotonic() + deadline)
    finally:
        os.close(descriptor)
    if from_alarm:
        records = _from_alarm(records)
    return [line for record in records for line in lines_of(record)]


class Since:
    """The kernel log from now on. Of one that cannot be opened (see :func:`read`), what came is told by comparing."""

    def __init__(self, path: str = '/dev/kmsg') -> None:
        self._path = path
        self._before: Fact[List[str]] = unavailable('what came since was told before')
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1
            self._before = read(path=path)
            return
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def lines(self, deadline: float = 2.0) -> Fact[List[str]]:
        """What came since, as :func:`read` has it. Asked once: what was told is not told again."""
        if self._descriptor < 0:
            return _news(self._before, read(path=self._path))
        try:
            records = _records(self._descriptor, time.monotonic() + deadline, whole=True)
        except OSError:
            return unavailable(OVERWRITTEN)
        finally:
            os.close(self._descriptor)
            self._descriptor = -1
        return [line for record in records for line in lines_of(record)]


def _news(before: Fact[List[str]], after: Fact[List[str]]) -> Fact[List[str]]:
    if is_unavailable(after) or is_unavailable(before):
        return after if is_unavailable(after) else before
    last = before[-1] if before else None
    start = len(after)
    while start and after[start - 1] != last:
        start -= 1
    if last is not None and not start:
        return unavailable(OVERWRITTEN)
    return after[start:]


def _from_alarm(records: List[bytes]) -> List[bytes]:
    whole = b'\n'.join(records)
    places = [whole.find(alarm) for alarm in ALARMS_BYTES]
    left = min((place for place in places if place >= 0), default=len(whole) + 1)
    for index, record in enumerate(records):
        left -= len(record) + 1
        if left < 0:
            return records[index:]
    return []


def _records(descriptor: int, end: float, whole: bool = False) -> List[bytes]:
    """``whole``: records that were overwritten are an OSError and not passed over."""
    records: List[bytes] = []
    while time.monotonic() < end:
        try:
            record = os.read(descriptor, LARGEST_RECORD)
        except OSError as error:
            if error.errno == errno.EPIPE and whole:
                raise
            if error.errno == errno.EPIPE:
                continue
            break  # EAGAIN: that was the last record
        if not record:
            break
        records.append(record)
    return records


def lines_of(record: bytes) -> List[str]:
    """``6,339,5140900,-;text`` and continuation lines, which begin with a space, as dmesg prints it.

    None of a record that a program wrote to /dev/kmsg: its facility, the priority above the lowest three bits, is not
    that of the kernel, which is 0 (devkmsg_write in kernel/printk/printk.c sees to that).
    """
    prefix, _semicolon, rest = record.partition(b';')
    fields = prefix.decode('ascii', 'backslashreplace').split(',')
    if len(fields) < 4 or not fields[2].isdigit() or len(fields[2]) > 18:
        return []
    if fields[0].isdigit() and int(fields[0][:9]) >> 3:
        return []
    # The kernel escapes each byte that is not plain ASCII: the text is UTF-8 only once they are bytes again.
    escaped = rest.partition(b'\n')[0]
    if b'\\x' in escaped:
        # The kernel tells an oops in records of one line each: a name with a newline in it makes none.
        forged = b'\\x0a' in escaped and any(alarm in escaped for alarm in ALARMS_BYTES)
        escaped = re.sub(br'\\x(?!0a)([0-9a-f]{2})' if forged else br'\\x([0-9a-f]{2})', _unescaped, escaped)
    text = escaped.decode('utf-8', 'backslashreplace')
    caller = ''.join(f'[{field[7:]}]' for field in fields if field.startswith('caller='))
    stamp = '[%5d.%06d]%s ' % (divmod(int(fields[2]), 1000000) + (caller,))
    return [stamp + line for line in text.split('\n')]


def _unescaped(match: Match[bytes]) -> bytes:
    byte = int(match.group(1), 16)
    # What would steer a terminal stays escaped.
    return bytes([byte]) if byte >= 0x80 or byte in b'\n\t\\' else match.group()


def _journal(deadline: float) -> List[str]:
    """This boot's kernel messages from the journal; nothing where there is none.

    What a program wrote to /dev/kmsg is among those of --dmesg, and has another facility.
    """
    command = ['journalctl', '--dmesg', '--boot', '--no-pager', '--output=short-monotonic', 'SYSLOG_FACILITY=0']
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=deadline, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    matches = (re.match(r'\[ *([0-9]+\.[0-9]+)\] \S+ kernel: (.*)', line)
               for line in done.stdout.decode('utf-8', 'backslashreplace').splitlines())
    return ['[{}] {}'.format(*match.groups()) for match in matches if match]
