# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a case's steps come to: a row, and what is wrong with it. Pure."""

import re
from typing import Any, Dict, List, Optional

from use_cases import Case

Step = Dict[str, Any]
Row = Dict[str, Any]
# Of the cases that a command is asked for, so many must be named and freed.
SHARE = 0.75


def step_of(steps: List[Step], name: str, last: bool = False) -> Optional[Step]:
    """The first step of this name, or the last; None where the guest did not come so far."""
    found = [step for step in steps if step['step'] == name]
    return found[-1 if last else 0] if found else None


def names_of(facts: Step) -> List[str]:
    """What a user reads of each holder."""
    return [str(entry.get('what') or ', '.join(f'{key} {value}' for key, value in entry.items()))
            for entry in facts['holders']]


def row_of(name: str, case: Case, steps: List[Step], said: str, alive: bool) -> Row:
    """One row; ``wrong`` has a sentence for each thing that must be otherwise."""
    refused, facts = step_of(steps, 'refused'), step_of(steps, 'facts')
    commands = [step for step in steps if step['step'] == 'command']
    again = step_of(steps, 'again', last=True)
    row: Row = {'case': name, 'module': case.module, 'asked': case.command, 'set up': False, 'refused': False,
                'named': '', 'freed': False, 'host': 'alive' if alive else 'LOST', 'verdict': '-', 'reason': '',
                'next': '', 'holders': [], 'commands': [step['command'] for step in commands], 'refcount': '-',
                'unread': [], 'hint': '', 'wrong': []}
    if not alive:
        row['wrong'].append('the host was lost after the step `{}`'.format(steps[-1]['step'] if steps else 'none'))
    if not refused or not facts:
        row['wrong'] += not_so_far(steps, said)
    if refused:
        row['set up'] = True
        row['wrong'] += harmed(case, steps, refused)
        row['refused'] = not row['wrong']
        row.update({key: refused['report'].get(key, '') for key in ('verdict', 'reason')})
    if facts and not facts['failed']:
        diagnosis = facts['diagnosis']
        if diagnosis['verdict'] != 'absent':
            row.update(verdict=diagnosis['verdict'], reason=diagnosis['reason'])
        row.update(next=diagnosis['next'],
                   refcount=facts['refcount'], holders=names_of(facts), unread=facts['unread'], hint=facts['hint'],
                   dependents=facts['dependents'])
        named = [what for what in row['holders'] if re.search(case.named, what)]
        row['named'] = named[0] if named else ''
        if not named:
            row['wrong'].append(f'nobody named matches /{case.named}/; named: {"; ".join(row["holders"]) or "nobody"}')
    elif facts:
        row['wrong'].append('kmod_facts failed: {}'.format(facts['failed']))
    if case.command and facts:
        late = alarms_since(step_of(steps, 'before'), again['look']['log'] if again else [])
        row['wrong'] += not_freed(commands, again) + late
        row['freed'] = bool(row['named'] and commands and again and not again['loaded'] and not late
                            and again['report'].get('method') == 'plain')
    return row


def not_so_far(steps: List[Step], said: str) -> List[str]:
    """Why the case ended before the module was asked for."""
    for name in ('setup', 'works'):
        step = step_of(steps, name)
        if step and step['status'] != 0:
            return ['the case itself fails: `{}` ended with {}: {}'.format(name, step['status'], step['said'][-600:])]
    return ['the case ended early: {}'.format(said.strip()[-600:])]


def harmed(case: Case, steps: List[Step], refused: Step) -> List[str]:
    """What the first unload did that it must not do."""
    report, before, after = refused['report'], step_of(steps, 'before'), step_of(steps, 'still works')
    wrong = []
    if before and not before['loaded']:
        wrong.append('the case itself fails: the module was not loaded')
    if not report.get('failed'):
        wrong.append('it was not refused: {}'.format(report.get('msg')))
    elif report.get('changed') or 'Traceback' in str(report.get('msg')):
        wrong.append('it was refused, but: changed {}, {}'.format(report.get('changed'), report.get('msg')))
    if not before:
        return wrong
    old, new = before['look'], refused['look']
    if new['boot'] != old['boot'] or new['taint'] != old['taint']:
        wrong.append('boot or taint changed: {} {}'.format(old['taint'], new['taint']))
    gone = set(old['table']) - set(new['table'])
    # What udev loads meanwhile is its own affair.
    left = gone | ({'kmod_reset'} & set(new['table']))
    if left:
        wrong.append('/proc/modules changed: {}'.format(', '.join(sorted(left))))
    elif new['table'].get(case.module) != old['table'].get(case.module):
        wrong.append('/proc/modules changed: {} {}'.format(case.module, new['table'].get(case.module)))
    wrong += alarms_since(before, (after or new)['log'])
    if after and after['status'] != 0:
        wrong.append('the use no longer works: {}'.format(after['said'][-400:]))
    return wrong


def alarms_since(before: Optional[Step], log: List[str]) -> List[str]:
    """The first alarm that was not there before the module was asked for."""
    known = before['look']['log'] if before else []
    return [f'new in the kernel log: {line}' for line in log if line not in known][:1]


def not_freed(commands: List[Step], again: Optional[Step]) -> List[str]:
    """Why the module is not gone by what was told."""
    if not commands:
        return ['no command is told']
    wrong = ['`{command}` ended with {status}: {said}'.format(**step) for step in commands if step['status'] != 0]
    if again and again['loaded']:
        wrong.append('after `{}` it is still refused: {}'.format(
            '; '.join(step['command'] for step in commands), again['report'].get('msg')))
    elif again and again['report'].get('method') != 'plain':
        wrong.append('it went by {}, not plain: {}'.format(again['report'].get('method'), again['report'].get('msg')))
    elif not again:
        wrong.append('the host did not come to the second unload')
    return wrong


def totals(rows: List[Row]) -> Dict[str, int]:
    """Counts over all rows: of those that a command is asked for, how many were named and freed."""
    return {'cases': len(rows), 'set up': sum(row['set up'] for row in rows),
            'refused': sum(row['refused'] for row in rows), 'asked': sum(row['asked'] for row in rows),
            'named': sum(bool(row['named']) for row in rows), 'freed': sum(row['freed'] for row in rows),
            'lost': sum(row['host'] != 'alive' for row in rows)}


def summary(rows: List[Row]) -> str:
    """One line."""
    return ('{refused} of {cases} refused unharmed; {named} of {cases} named; {freed} of {asked} named and freed '
            'by the command told; {lost} hosts lost').format(**totals(rows))


def holds(rows: List[Row]) -> bool:
    """All refused, no host lost, enough of them freed."""
    found = totals(rows)
    return found['refused'] == found['cases'] and not found['lost'] and found['freed'] >= SHARE * found['asked']
