# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The samples, the points at which each dies, and how it is seen that the fixed build serves."""

import re
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

DIRECTORY = Path(__file__).resolve().parent / 'samples'
STEP = re.compile(r'^\t\{ \w+, \w+ \},$', re.MULTILINE)
# EXIT in samples/steps.h
EXIT = 50
CALLED = '! grep -qx 0 /sys/module/{name}/parameters/served'
WAIT = 'for attempt in $(seq 20); do %s && break; sleep 0.5; done; %s' % (CALLED, CALLED)
PACKET = 'python3 -c "import socket; socket.socket(2, 2).sendto(b\'lab\', (\'127.0.0.1\', 9))"; ' + WAIT
TEXT = 'test "$(cat %s)" = lab'


class Sample(NamedTuple):
    """How the fixed build of a sample is used, and which of its points leave a lock that nobody can give back."""

    serves: str  # shell in the guest; ends with 0 where it serves
    locked_at: int = 0  # the point at which the lock of a device is held


class Point(NamedTuple):
    """Where a copy of a sample dies."""

    sample: str
    name: str  # the copy's module
    crash_at: int

    @property
    def where(self) -> str:
        """The step that it dies after, in words."""
        if self.crash_at < EXIT:
            return f'init, step {self.crash_at}'
        return f'exit, step {self.crash_at - EXIT}'


SAMPLES: Dict[str, Sample] = {
    'misc': Sample(TEXT % '/dev/{name}'),
    'class': Sample('udevadm settle; ' + TEXT % '/dev/{name}'),
    # What is mounted on /run has no devices.
    'chrdev': Sample("mknod /dev/{name} c $(sed -n 's/ {name}$//p' /proc/devices | tail -n 1) 0; " +
                     TEXT % '/dev/{name}' + '; status=$?; rm /dev/{name}; exit $status'),
    'proc': Sample(TEXT % '/proc/{name}/text' + ' && ' + TEXT % '/proc/{name}/shown'),
    'debugfs': Sample(TEXT % '/sys/kernel/debug/{name}/text' + ' && grep -qx 7 /sys/kernel/debug/{name}/value'),
    'sysfs': Sample(TEXT % '/sys/kernel/{name}/value' + ' && ' + TEXT % '/sys/kernel/{name}/group/member'),
    'timer': Sample(WAIT),
    'hrtimer': Sample(WAIT),
    'work': Sample(WAIT),
    'queue': Sample(WAIT + ' && test -d /sys/bus/workqueue/devices/{name}'),
    'thread': Sample(WAIT),
    'probes': Sample('mkdir /run/{name} && rmdir /run/{name}; ' + CALLED),
    'chains': Sample(CALLED),
    'netfilter': Sample(PACKET),
    'packet': Sample(PACKET),
    'netdev': Sample('ip link set {name} up; ' + WAIT + '; status=$?; ip link set {name} down; exit $status'),
    'filesystem': Sample('mkdir /run/{name}; mount -t {name} none /run/{name} && umount /run/{name}; '
                         'rmdir /run/{name}; ' + CALLED),
    'sysctl': Sample('grep -qx 7 /proc/sys/{name}/value'),
    'tracing': Sample(CALLED),
    'interrupt': Sample('grep -q {name} /proc/interrupts'),
    'driver': Sample(CALLED),
    'bus': Sample('test -d /sys/bus/{name}'),
    'probe': Sample(CALLED, locked_at=2),
    'device': Sample(TEXT % '/dev/{name}' + ' && ' + TEXT % '/proc/{name}' + ' && ' + WAIT),
    'network': Sample('ip link show {name} && grep -qx 7 /proc/sys/net/{name}/value; ' + PACKET),
}


def source(sample: str) -> Path:
    """The source of a sample."""
    return DIRECTORY / f'{built_as(sample)}.c'


def built_as(sample: str) -> str:
    """The module that is built of a sample; copies have another number."""
    return f'sw_{sample}_00'


def points(samples: List[str]) -> Iterator[Point]:
    """All points of these samples: after each step of init; in exit, before its first step and after each."""
    for sample in samples:
        steps = len(STEP.findall(source(sample).read_text(encoding='ascii')))
        numbers = [*range(1, steps + 1), *range(EXIT, EXIT + steps + 1)]
        for number in numbers:
            yield Point(sample, f'sw_{sample}_{number:02d}', number)
