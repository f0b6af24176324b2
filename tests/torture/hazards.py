# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every hazard code: found and refused, not accepted by another code, and what accepting it by name does."""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from expectations import EXPECTED, module_of
from rig import HostLostError, LabError, Rig, progress
from rules import state


class Case(NamedTuple):
    """A fault that has the hazard, and what shows afterwards that the documentation is right."""

    code: str
    faults: List[str]  # the last of them is unloaded
    besides: Sequence[str] = ()  # its other hazards: accepted in all runs but the first, so that the code decides
    methods: str = ''  # what may be taken; empty: the default
    setup: str = ''  # shell in the guest, after the faults are injected
    then: str = ''  # what the accepted hazard brings about, when this is done
    must: str = ''  # what the kernel log must say of it, as a regular expression; empty: nothing new


CRASH = 'BUG: unable to handle page fault|Oops|general protection'
FREE = 'plain,kernel_force,reset'
CASES = (
    # Freeing the code under a task crashes the kernel when the task goes on: it sleeps for a second at a time.
    Case('running_task', ['init_hang'], ('reachability_unknown',), FREE, then='sleep 3; true', must=CRASH),
    # Nothing shows that nobody has the reference: here another module has it, and calls the code that is gone.
    Case('undecided', ['got_base'], then='timeout 10 cat /sys/module/got_by/parameters/call; true', must=CRASH),
    # The process has the device open, and closes it.
    Case('in_use', ['mapped'], then=EXPECTED['mapped'].use + '; true', must=CRASH),
    # It forbids to load anything: what needs no helper is still unloaded.
    Case('foreign_oops', ['bystander', 'init_bug']),
    # The device still points into the code that was freed.
    Case('dangling_references', ['init_misc'], ('reachability_unknown',), FREE,
         then='timeout 10 cat /dev/init_misc; true', must=CRASH),
    # Nobody has seen the file; it is there all the same.
    Case('reachability_unknown', ['init_proc'], methods=FREE, then=EXPECTED['init_proc'].use + '; true', must=CRASH),
    # Whoever takes the lock of the device waits for ever.
    Case('locks_held', ['init_probe'],
         then='cd /sys/bus/platform/drivers/lab_probe; (echo lab_probe >unbind &) 2>/dev/null; sleep 2; '
              'echo w >/proc/sysrq-trigger; sleep 1', must='sh  *state:D|sh  *D '),
)
WRONG = {'running_task': 'undecided'}
SHOW = "dmesg | grep -aE '{}'"


def measure(kernel: str, name: str) -> List[Dict[str, Any]]:
    """A row for each code."""
    rows = []
    with Rig(kernel, name and f'{name}-{kernel}') as rig:
        for case in CASES:
            try:
                row = tried(rig, case)
            except HostLostError as lost:
                row = {'refused': '-', 'another code': '-', 'accepted': '-', 'after that': f'the host was lost: {lost}',
                       'broken': ['the host was lost before the hazard was accepted']}
            rows.append(dict({'kernel': kernel, 'hazard': case.code, 'fault': case.faults[-1]}, **row,
                             holds=not row['broken']))
            progress(f'{kernel} {case.code}: ' + ('; '.join(row['broken']) or 'holds'))
    return rows


def tried(rig: Rig, case: Case) -> Dict[str, Any]:
    """One case, on a clean kernel."""
    fault = case.faults[-1]
    module = module_of(fault)
    rig.injected(case.faults)
    said = rig.sh(case.setup or 'true', timeout=60)
    if said.status != 0:
        raise LabError(f'{case.code} could not be brought about on {rig.kernel}:\n{said.out}{said.err}')
    before = rig.look([module])
    known = rig.sh(SHOW.format(case.must), timeout=60).out.splitlines()
    other = WRONG.get(case.code, 'running_task')
    methods = f':{case.methods}' * bool(case.methods)
    accepts = ['', *(','.join([*case.besides, code]) for code in (other, case.code))]
    turns = list(rig.unload_each_in_guest([f'{module}={codes}{methods}' for codes in accepts]))
    (refused, first), (still, second), (accepted, third) = turns
    codes = [hazard['code'] for hazard in refused.get('hazards', [])]
    broken = []
    for report, look, when in ((refused, first, 'without'), (still, second, f'with {other} alone')):
        if not report.get('failed') or look is None or state(look, fault) != state(before, fault):
            broken.append(f'{when} accept_hazards it was not left alone: {report.get("msg")}')
    if sorted(codes) != sorted([case.code, *case.besides]):
        broken.append(f'the hazards found are {codes}')
    if f'accept_hazards={",".join(codes)}' not in str(refused.get('msg')):
        broken.append('the refusal does not name the code: {}'.format(refused.get('msg')))
    if accepted.get('failed') or third is None or state(third, fault) != 'absent':
        broken.append(f'accepted by name, it is not gone: {accepted.get("msg")}')
    if third and not case.must and [line for line in third['log'] if line not in before['log']]:
        broken.append('the kernel log has new alarms')
    after = aftermath(rig, case, module, known) if not broken else '-'
    if after is None:
        broken.append('the kernel log does not show what the documentation says')
    with_another = 'refused' if still.get('failed') else still.get('msg')
    return {'refused': ', '.join(codes), 'another code': f'{other}: {with_another}',
            'accepted': accepted.get('msg', '-'), 'after that': after, 'broken': broken}


def aftermath(rig: Rig, case: Case, module: str, known: List[str]) -> Optional[str]:
    """What came of it; None where that is not what the documentation says."""
    if not case.must:
        return 'nothing new in the kernel log'
    said = rig.sh(f'{case.then}; {SHOW.format(case.must)}', timeout=60)
    new = [line for line in said.out.splitlines() if line.startswith('[') and line not in known]
    if new:
        return new[-1]
    if not rig.is_alive():
        return f'the host is lost, as {module} warned'
    return None
