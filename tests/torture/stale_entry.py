# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stale entry that a crashed load leaves in the loader's table: the loads to come, with it cleared and left.

From 6.5 on finit_module(2) keeps an entry on its caller's stack in ``idem_hash`` (kernel/module/main.c). Where the
collection unloaded the module, 1,500 loads of files with other inodes and 1,500 of the same inode must go through.
Where the entry was left, the host must crash: else this test would pass where there is nothing to clear. Before 6.5 all
must go through either way.
"""

from typing import Any, Dict, List, NamedTuple

from rig import HostLostError, Rig, progress

LOADS = 1500
REAL = 300
FILE = '/root/lab/init_oops.ko'
FIXED = '/root/lab/fixed/init_oops.ko'
# Enough processes that the killed task's stack is given back: on an idle guest it is kept for the next fork.
CHURN = 100


class Case(NamedTuple):
    """What is done to the module whose init crashed, and which loads come after that."""

    what: str
    remedy: str
    same_inode: bool


UNLOADED = Case('unloaded by kmod_force_unload', 'unload', same_inode=False)
NOT_CLEARED = (
    Case('unloaded, entry left', 'leave', same_inode=False),
    Case('unloaded, entry left', 'leave', same_inode=True),
    Case('not unloaded', 'none', same_inode=False),
)


def keeps_table(rig: Rig) -> bool:
    """Whether this kernel keeps a table of running loads: by its symbol, not by its version."""
    return rig.sh("grep -c ' idem_hash$' /proc/kallsyms").out.strip() != '0'


def loads(rig: Rig, *, same_inode: bool) -> Dict[str, Any]:
    """1,500 loads; where the guest is lost in them, that."""
    words = f'same {FILE} {FIXED}' if same_inode else 'others'
    said = rig.python(f'loads.py {words} {LOADS} {REAL}', timeout=400)
    if said.status is None or not said.out.strip().endswith('}'):
        end = 'no answer' if rig.is_alive() else 'the host crashed'
        return {'asked': LOADS, 'through': 0, 'seconds': round(said.seconds, 1), 'end': end}
    return said.last


def alarms(rig: Rig) -> List[str]:
    """The kernel's alarms so far; none to be had from a host that is lost."""
    try:
        log: List[str] = rig.look()['log']
    except HostLostError:
        return []
    return log


def judged(rig: Rig, case: Case, keeps: bool, *, clean: bool = True) -> List[Dict[str, Any]]:
    """The rows of one case: figures, what must hold, whether it does."""
    if clean:
        rig.restore()
    injected = rig.python(f'loads.py inject {FILE}', timeout=60).last
    steps: List[Dict[str, Any]] = []
    if case.remedy == 'unload':
        answer = rig.force_unload('init_oops', accept=('reachability_unknown',))
        steps = answer.get('steps', [])
        if answer.get('failed'):
            steps = [{'action': 'failed', 'result': answer.get('msg', '')}]
    elif case.remedy == 'leave':
        steps = rig.python('loads.py unload init_oops leave', timeout=90).last['steps']
    cleared = [step['result'] for step in steps if step['action'] == 'clear_loader']
    if case.remedy != 'unload':
        rig.python(f'loads.py churn {CHURN}', timeout=120)
    before = alarms(rig)
    rows = []
    for same_inode in ([False, True] if case.remedy == 'unload' else [case.same_inode]):
        found = loads(rig, same_inode=same_inode)
        seen = [line for line in alarms(rig) if line not in before]
        must_crash = keeps and case.remedy != 'unload'
        holds = injected['end'] == 'died' and (
            found['end'] not in ('all', 'no answer') and 'refused' not in found['end'] if must_crash
            else found['end'] == 'all' and not seen)
        if keeps and case.remedy == 'unload':
            holds = holds and any('cleared' in text for text in cleared)
        rows.append({
            'kernel': rig.kernel, 'case': case.what, 'loads of': 'the same inode' if same_inode else 'other inodes',
            'loader': '; '.join(cleared) or '-', 'asked': found['asked'], 'real': found.get('real', 0),
            'through': found['through'], 'seconds': found['seconds'], 'end': found['end'],
            'next load': found.get('next', '-'), 'kernel log': seen[0].split('] ', 1)[-1][:90] if seen else '-',
            'must': 'the host crashes' if must_crash else 'all go through', 'holds': holds,
        })
        progress('{kernel}: {case}, {loads of}: {through} of {asked} in {seconds} s, {end}; next load: {next load}; '
                 '{kernel log}'.format(**rows[-1]))
    return rows


def measure(kernel: str, name: str = '') -> List[Dict[str, Any]]:
    """All rows of one kernel."""
    rows: List[Dict[str, Any]] = []
    with Rig(kernel, name and f'{name}-{kernel}') as rig:
        keeps = keeps_table(rig)
        progress(f'{kernel}: {"has" if keeps else "has no"} idem_hash')
        rows += judged(rig, UNLOADED, keeps, clean=False)
        for case in NOT_CLEARED:
            rows += judged(rig, case, keeps)
    return rows
