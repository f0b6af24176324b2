# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conditions: how each is brought about in a guest, how one fault is run under it, how it is lifted.

On a Debian guest these stand in for what they are named after. ``denied``: SELinux answers EACCES to root; so does
open(2) of a device node on a file system mounted nodev, and such a node is bound over every file that is to be denied.
``killed_helper``: the process that loads the helper is killed by SIGKILL as its init_module(2) returns, which is the
only moment at which a kill can come between the helper's stores and delete_module(2).
"""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from expectations import EXPECTED, LATE, UNDONE, Expectation, asked_of, module_of
from rig import CHECKOUT, GUEST_DIRECTORY, HostLostError, LabError, Rig, fault_table
from rules import CHECK, PLAIN, Look, Report, Rule, Turn

# Seconds after its start at which the controller's ssh is killed, in turn: from before the module arrives to its end.
KILL_AFTER_S = (1.2, 1.6, 2.0, 2.4, 2.8, 3.2)
LEFT_FREE_KB = 40 * 1024
# Kernels whose symbol table has functions alone: what points to a module has no name there, but for members of structs.
LISTS_NO_DATA = ('arm64-6.1',)
# What is taken back there is freed once more of its kind wait for RCU, and no module may ask for it sooner.
FREED_LATE = (('7.3', 'init_sysctl'),)
# One has what is the other's.
IN_PAIRS = ('shared', 'init_shared', 'lent', 'init_borrows')
WITH_UNDO = 'plain,kernel_force,undo,reset,park'
# Answers of in_guest/turns.py to `whole`.
WHOLE = 4
DENY = r"""
set -e
mkdir -p /run/denied; mount -t tmpfs -o nodev,mode=755 tmpfs /run/denied
mknod /run/denied/node c 1 3
! cat /run/denied/node 2>/dev/null
for path in %s; do mount --bind /run/denied/node $path; done
"""
THE_LOG = '/dev/kmsg $(command -v journalctl)'
EVERY_SOURCE = (f'/proc/kallsyms /proc/kcore {THE_LOG} '
                '/sys/module/*/sections/.gnu.linkonce.this_module')
ALLOW = """
grep ' /node /' /proc/self/mountinfo | cut -d ' ' -f 5 | while read path; do umount $path; done
! grep ' /node /' /proc/self/mountinfo
"""
# Nothing is read any more of a task that loads a module.
HIDE = """
mkdir -p /run/nothing
for name in $(grep -lx insmod /proc/[0-9]*/comm); do mount --bind /run/nothing ${name%/comm}; done
! grep -qx insmod /proc/[0-9]*/comm
"""
NOEXEC = """
set -e
for path in /tmp /var/tmp /dev/shm; do
  mount --bind $path $path; mount -o remount,bind,noexec,nosuid,nodev $path
done
printf '#!/bin/sh\n' > /tmp/try; chmod 755 /tmp/try; ! /tmp/try 2>/dev/null; rm /tmp/try
"""
# Ansible runs no module where its own files find no room: it has /tmp in memory, as on Debian from 13 on.
FILL = """
set -e
mountpoint -q /tmp || mount -t tmpfs tmpfs /tmp
rm -rf /var/lib/kmod_reset
fallocate -l "$(( $(df --output=avail -B1 / | tail -n 1) - 400000 ))" /root/filler
dd if=/dev/zero of=/root/filler2 bs=4096 count=1000000 2>/dev/null || true
df -k / | tail -n 1
"""
AFTER_A_KILL = 'as it was, repaired, parked or unloaded; the next run unloads it or parks it'
UNFILL = 'rm -f /root/filler /root/filler2; sync; true'


class Condition(NamedTuple):
    """One column of the suite."""

    name: str
    what: str
    rule: Rule
    run: Callable[['Batch'], Iterator[Turn]]
    setup: str = ''  # shell in the guest, after the faults are injected
    lift: str = ''
    again: bool = False  # whether a plain run follows, with the condition lifted
    only: Tuple[str, ...] = ()  # the faults that it is for; empty: all
    whole: Optional[Callable[['Batch'], None]] = None  # what is done once for all faults, before their turns
    late: bool = False  # whether the faults crash in exit and not in init
    methods: str = ''  # those that are allowed; empty: the default


def expectation(condition: Condition, fault: str, kernel: str) -> Expectation:
    """What must hold for a fault under a condition, on a kernel."""
    found = EXPECTED[fault]
    if kernel in LISTS_NO_DATA and '.' not in found.reached:
        found = found._replace(reached='')
    if condition.late:
        # Nothing of a module that is going can be opened: that the kernel survives it is what counts.
        use = found.use and '( %s ); true' % found.use
        found = found._replace(verdict='exit_died', use=use)
    if 'undo' in condition.methods and fault in UNDONE:
        found = found._replace(use=found.use and '( %s ); true' % found.use)
        if (kernel, fault) not in FREED_LATE:
            found = found._replace(parked=False, beside=True, undone=True)
    return found


class Batch:
    """Faults that share a guest, under one condition."""

    def __init__(self, rig: Rig, condition: Condition, faults: List[str]) -> None:
        self.rig = rig
        self.condition = condition
        self.faults = faults
        self.names = [module_of(fault) for fault in faults]
        self.reports: Dict[str, Report] = {}
        self.before: Look = {}

    def asked(self, fault: str) -> str:
        """A fault's module and what is asked for besides, as in_guest/turns.py takes it."""
        return asked_of(fault) + (self.condition.methods and '=:' + self.condition.methods)

    def once_more(self, fault: str) -> str:
        """The same with nothing accepted."""
        return module_of(fault) + (self.condition.methods and '=:' + self.condition.methods)

    def look(self) -> Look:
        """The host now, once none of a run's processes is left."""
        return self.rig.look(self.names)

    def prepare(self) -> None:
        """A clean kernel, every fault, the condition."""
        self.rig.seconds = 15 if any(EXPECTED[fault].hangs for fault in self.faults) else 150
        self.rig.injected(self.faults, self.condition.late)
        if self.condition.setup:
            said = self.rig.sh(self.condition.setup, timeout=120)
            if said.status != 0:
                raise LabError(f'{self.condition.name} failed on {self.rig.kernel}:\n{said.out}{said.err}')
        self.before = self.look()
        if self.condition.whole:
            self.condition.whole(self)

    def turns(self) -> Iterator[Turn]:
        """One fault's turn after the other. A host that is lost ends them with a turn that has no look after it."""
        done = 0
        try:
            for turn in self.condition.run(self):
                yield turn
                done += 1
                if turn.after is None:
                    return
                self.before = turn.after
        except HostLostError as lost:
            yield Turn(self.faults[done], self.before, None, [], note=str(lost))

    def lift(self, turns: List[Turn]) -> List[Turn]:
        """Ends the condition; runs a plain unload of each fault that must be unloaded, in case it was not yet."""
        again = [turn for turn in turns if EXPECTED[turn.fault].frees_name]
        if not self.condition.again or not again or any(turn.after is None for turn in turns):
            return turns
        finished = {}
        try:
            self.rig.sh(f'{self.condition.lift or "true"}; {self.rig.install_helper}', timeout=60)
            lifted = self.look()
            done = self.rig.unload_each_in_guest([self.once_more(turn.fault) for turn in again])
            for turn, (report, look) in zip(again, done):
                finished[turn.fault] = turn._replace(lifted=lifted, next_report=report, final=look)
                if look is None:
                    break
                lifted = look
        except HostLostError as lost:
            for turn in again:
                finished.setdefault(turn.fault, turn._replace(after=None, note=str(lost)))
        return [finished.get(turn.fault, turn) for turn in turns]

    def use(self, turns: List[Turn]) -> List[Turn]:
        """Has the kernel use what each fault left or holds, one after the other.

        Where that loses the host, the turns end with that fault: it and those after it are run one by one.
        """
        users: Dict[str, List[str]] = {}
        for turn in turns:
            users.setdefault(expectation(self.condition, turn.fault, self.rig.kernel).use, []).append(turn.fault)
        users.pop('', None)
        if not users or any(turn.after is None for turn in turns):
            return turns
        said = self.rig.python('witness.py use ' + shlex.quote(json.dumps(list(users))), timeout=60 + 40 * len(users))
        answers = {fault: self._judged(fault, answer) for command, answer in
                   (json.loads(line) for line in said.out.splitlines() if line.startswith('['))
                   for fault in users[command]}
        unused = [fault for faults in users.values() for fault in faults if fault not in answers]
        if not unused and not self.rig.is_alive():
            unused = [list(users.values())[-1][-1]]
        if not unused:
            return [turn._replace(used=answers.get(turn.fault, '')) for turn in turns]
        lost = next(turn for turn in turns if turn.fault == unused[0])
        return [turn._replace(used=answers[turn.fault]) for turn in turns if turn.fault in answers] + [
            lost._replace(after=None, note='lost when what it left was used')]

    @staticmethod
    def _judged(fault: str, answer: Dict[str, Any]) -> str:
        """``ok``, or what came of it: the command failed, or the kernel's log has new alarms."""
        own = EXPECTED[fault].own_alarms
        alarms = [line for line in answer['log'] if not own or not re.search(own, line)]
        if alarms:
            return 'the kernel log has new alarms: ' + ' | '.join(alarms[:4])
        if answer['status'] != 0:
            return 'the command ended with {status}: {out}'.format(**answer)
        return 'ok'

    def probe(self, turns: List[Turn]) -> List[Turn]:
        """Loads and unloads a fixed build of whatever is gone, or parked and in nobody's way."""
        looks = [turn.after for turn in turns] + [turn.final for turn in turns if turn.final]
        last = looks[-1] if looks else None
        if last is None:
            return turns
        free = [turn.fault for turn in turns if EXPECTED[turn.fault].frees_name and
                expectation(self.condition, turn.fault, self.rig.kernel).beside]
        absent = [fault for fault in free if module_of(fault) not in last['table']]
        if not absent:
            return turns
        said = self.rig.python('witness.py probe ' + ' '.join(absent), timeout=60 + 5 * len(absent))
        try:
            answers = said.last
        except LabError:
            answers = dict.fromkeys(absent, 'no answer')
        return [turn._replace(probe=answers.get(turn.fault, '')) for turn in turns]


def each(run: Callable[[Batch, str], Turn]) -> Callable[[Batch], Iterator[Turn]]:
    """A condition whose faults are run one by one."""
    def turns(batch: Batch) -> Iterator[Turn]:
        for fault in batch.faults:
            yield run(batch, fault)
    return turns


def in_a_play(*more: str, check: bool = False) -> Callable[[Batch], Iterator[Turn]]:
    """A condition whose faults are run to their end, in one play."""
    def turns(batch: Batch) -> Iterator[Turn]:
        faults = batch.faults
        done = batch.rig.unload_each([module_of(fault) for fault in faults], *more, check=check)
        for fault, (report, look) in zip(faults, done):
            yield Turn(fault, batch.before, look, [report])
    return turns


def whole(batch: Batch) -> Iterator[Turn]:
    """As Ansible calls them, in the guest, each for all faults: what is told, foreseen, done, and done again.

    Those that must stay come first, so that nothing that held them is unloaded before.
    """
    if any(EXPECTED[fault].hangs for fault in batch.faults):
        yield from in_guest(batch)
        return
    for frees_name in (False, True):
        faults = [fault for fault in batch.faults if EXPECTED[fault].frees_name == frees_name]
        if faults:
            yield from together(batch, faults)


def together(batch: Batch, faults: List[str]) -> Iterator[Turn]:
    """The turns of faults that are asked for in one task, each with what is to be seen of the others' in its row."""
    before, names = batch.before, [module_of(fault) for fault in faults]
    # Of the others check mode tells the same.
    asks = any(EXPECTED[fault].unexplained > 0 for fault in faults)
    to_tell = [module_of(fault) for fault in faults if asks and (EXPECTED[fault].dangles or EXPECTED[fault].reached)]
    lines = batch.rig.whole([batch.asked(fault) for fault in faults], to_tell, batch.names)
    if len(lines) < WHOLE:
        raise HostLostError(f'{batch.rig.guest.name}: the run of {", ".join(names)} ended early: {lines[1:]}')
    told, (foreseen, unchanged), (done, after), (again, at_last) = lines
    alarms = '|'.join(filter(None, (EXPECTED[fault].own_alarms for fault in faults)))
    for fault, name in zip(faults, names):
        beside = tuple(other for other in names if other != name)
        yield Turn(fault, before, after, [done[name]], told=told.get(name), beside=beside, alarms=alarms,
                   foreseen=Turn(fault, before, unchanged, [foreseen[name]], alarms=alarms),
                   again=(again[name], at_last) if name in again else None)


def in_guest(batch: Batch) -> Iterator[Turn]:
    """The run alone, without Ansible: for conditions that are none of its business."""
    faults = batch.faults
    for fault, (report, look) in zip(faults, batch.rig.unload_each_in_guest([asked_of(fault) for fault in faults])):
        yield Turn(fault, batch.before, look, [report])


check = in_a_play(check=True)
# With the module as a file in /tmp, as it is where pipelining is off.
noexec = in_a_play('-e', 'ansible_pipelining=false', '-e', 'ansible_remote_tmp=/tmp/.ansible')


def accepted(batch: Batch) -> Iterator[Turn]:
    """The run alone, what the reading leaves open accepted: only the helper's check before the write can refuse it."""
    names = [module_of(fault) + '=undecided,dangling_references,reachability_unknown' for fault in batch.faults]
    for fault, (report, look) in zip(batch.faults, batch.rig.unload_each_in_guest(names)):
        yield Turn(fault, batch.before, look, [report])


def killed_ssh(batch: Batch, fault: str) -> Turn:
    """The controller and its connection are killed; what runs on the host may go on."""
    delay = KILL_AFTER_S[batch.faults.index(fault) % len(KILL_AFTER_S)]
    with subprocess.Popen(batch.rig.unload_words(module_of(fault)), cwd=CHECKOUT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        time.sleep(delay)
        ended = process.poll() is not None
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
        batch.rig.guest.close_connections()
    note = 'ended before it was killed' if ended else f'killed after {delay} s'
    return Turn(fault, batch.before, batch.look(), [], note=note)


def two(batch: Batch, fault: str) -> Turn:
    """Two processes of the host at once, as two controllers have them."""
    reports = batch.rig.both(batch.asked(fault))
    return Turn(fault, batch.before, batch.look(), reports)


def killed_helper(batch: Batch, fault: str) -> Turn:
    """The collection's own unload in the guest, killed when the helper has done its work."""
    said = batch.rig.python('killed.py ' + batch.once_more(fault), timeout=400)
    try:
        report = said.last
    except LabError:
        report = {'no_report': (said.out + said.err)[-500:], 'failed': True}
    note = 'the helper was not needed' if not report.pop('killed', False) else 'killed'
    return Turn(fault, batch.before, batch.look(), [report], note=note)


def role_for_all(batch: Batch) -> None:
    """The role, which builds the helper: once for the modules to be unloaded, once for those that it must refuse."""
    for frees_name in (True, False):
        names = [module_of(fault) for fault in batch.faults if EXPECTED[fault].frees_name == frees_name]
        if names:
            batch.reports.update(batch.rig.role(names, timeout=1800))


def after_role(batch: Batch, fault: str) -> Turn:
    """What the role made of it."""
    return Turn(fault, batch.before, batch.look(), [batch.reports[module_of(fault)]])


CONDITIONS = {condition.name: condition for condition in (
    Condition('plain', 'a plain run', PLAIN, whole),
    Condition('late', 'crashes in exit, and not in init', PLAIN, whole, only=LATE, late=True),
    Condition('undo', 'what it left is to be taken back first', PLAIN, whole,
              only=(*fault_table.REGISTERED, *IN_PAIRS), methods=WITH_UNDO),
    Condition('undo_late', 'the same, of a crash in exit', PLAIN, whole, only=LATE, late=True, methods=WITH_UNDO),
    Condition('undo_two', 'the same by two runs at once', Rule('gone; one run changes it', together=True), each(two),
              only=UNDONE, methods=WITH_UNDO),
    Condition('undo_killed', 'the same, killed as the helper returns', Rule(AFTER_A_KILL, killed=True),
              each(killed_helper), again=True, only=UNDONE, methods=WITH_UNDO),
    Condition('check', 'check mode', CHECK, check),
    Condition('killed_ssh', 'ssh killed in mid-run', Rule(AFTER_A_KILL, killed=True), each(killed_ssh), again=True),
    Condition('two', 'two runs at once', Rule('gone; one run changes it', together=True), each(two)),
    Condition('killed_helper', 'killed as the helper returns', Rule(AFTER_A_KILL, killed=True), each(killed_helper),
              again=True),
    Condition('disk_full', 'disk full at build', Rule(
        'as it was, and why; the next run unloads it or parks it', may_refuse=True,
        needs_words='[Nn]o space|room|disk|full', leaves='filler'),
        each(after_role), FILL, UNFILL, again=True, whole=role_for_all),
    Condition('noexec', '/tmp noexec', PLAIN, noexec, NOEXEC),
    Condition('denied', 'reads denied', Rule(
        'unloaded, or as it was and what was denied', may_refuse=True, needs_words='ermission|denied|EACCES'),
        in_guest, DENY % EVERY_SOURCE, ALLOW, again=True),
    Condition('no_kcore', '/proc/kcore denied', Rule(
        'unloaded, or as it was and what was denied', may_refuse=True, needs_words='kcore'),
        in_guest, DENY % '/proc/kcore', ALLOW),
    Condition('lockdown', 'lockdown=confidentiality', Rule(
        'unloaded, or as it was and why', may_refuse=True,
        needs_words='lockdown|locked down|EPERM|not permitted|signature'), in_guest,
        'echo confidentiality > /sys/kernel/security/lockdown'),
    # The helper stays for as long as a CPU that it has asked may still answer.
    Condition('hidden', 'the loading task hidden from /proc', Rule(
        'stays; the kernel itself sees what runs', names=r'as the kernel itself sees, CPU 1 runs its code at '
        r'0x[0-9a-f]+, in insmod \(pid \d+\)', leaves='kmod_reset'), accepted, HIDE, only=('init_spin',)),
    Condition('low_memory', f'{LEFT_FREE_KB // 1024} MB of memory left', Rule(
        'unloaded, or as it was and why; the next run unloads it or parks it', may_refuse=True), in_guest,
        f'cd {GUEST_DIRECTORY} && setsid -f python3 witness.py hog {LEFT_FREE_KB} >hog.txt 2>&1 </dev/null; '
        'until grep taken hog.txt; do sleep 0.5; done', "pkill -f '[w]itness.py hog'", again=True),
)}


def names_of(text: str) -> List[str]:
    """The conditions that were asked for; all for an empty text."""
    names = text.split() or list(CONDITIONS)
    unknown = [name for name in names if name not in CONDITIONS]
    if unknown:
        raise LabError(f'There are no conditions {unknown}; there are {list(CONDITIONS)}.')
    return names
