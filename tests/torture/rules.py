# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold for a row, by rules; pure: what was seen goes in, sentences about what does not hold come out."""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from expectations import NOTHING, Expectation, module_of

Look = Dict[str, Any]
Report = Dict[str, Any]
# A repaired module whose run was killed before delete_module(2): idle, so that any plain unload takes it.
REPAIRED = '0 - Live'
HONEST = re.compile(r'changed between reading and acting|no longer has it|another kmod_reset|EBUSY|ENOENT|EWOULDBLOCK|'
                    r'EAGAIN|Run the task again')


Seen = Tuple[Report, Look]


class Turn(NamedTuple):
    """One fault under one condition, as it was seen."""

    fault: str
    before: Look
    after: Optional[Look]  # None: the host was lost
    reports: List[Report]
    next_report: Optional[Report] = None  # of a plain run afterwards, with the condition lifted
    lifted: Optional[Look] = None  # before that run
    final: Optional[Look] = None  # after it
    note: str = ''
    probe: str = ''  # what loading and unloading a fixed build came to; empty: not tried
    used: str = ''  # what came of having the kernel use what was left; 'ok' where nothing did; empty: not tried
    told: Optional[Dict[str, Any]] = None  # what kmod_facts says of it beforehand, where it was asked
    foreseen: Optional['Turn'] = None  # check mode, before the runs of all faults in the same guest
    again: Optional[Seen] = None  # the same of a second run, where the first went well
    beside: Tuple[str, ...] = ()  # the modules of the same task, each with a row of its own
    alarms: str = ''  # what the kernel says of them while they last


class Rule(NamedTuple):
    """What a condition asks of its rows."""

    must: str  # for the reader, of a fault that is unloaded or parked
    must_stay: str = 'stays; whom it is for is named; nothing changes'
    check: bool = False  # nothing may change at all
    may_refuse: bool = False  # a refusal in words is as good as the unload, if nothing changed
    needs_words: str = ''  # what such a refusal must speak of
    killed: bool = False  # the run was killed: no report, or none to go by
    together: bool = False  # two reports
    names: str = ''  # what the refusal of one that stays must say besides
    leaves: str = ''  # files and modules that may be left behind, as a regular expression


PLAIN = Rule('as foreseen; gone or parked; reported so; what it left can be used; a fixed build loads')
# Where no exit will run, so that memory is searched for what can still reach the code.
SEARCHED = ('init_died', 'exit_died', 'no_exit', 'references_leaked')
CHECK = Rule('as it was; the change is foreseen', check=True)


def state(look: Look, fault: str) -> str:
    """The module as /proc/modules has it: ``1 - Loading``; ``absent``."""
    line: str = look['table'].get(module_of(fault), 'absent')
    return line.rstrip(',')


def parked_as(look: Look, fault: str) -> List[str]:
    """The names under which code of the module is parked."""
    return [name for name in look['table'] if re.fullmatch(module_of(fault) + r'_parked\d+', name)]


def is_gone(look: Look, fault: str) -> bool:
    """Whether neither /proc/modules nor /sys/module knows the module."""
    return state(look, fault) == 'absent' and not look['modules'][module_of(fault)]['sysfs']


def reported(report: Report) -> str:
    """A report in a few words."""
    if 'no_report' in report:
        return 'no report: ' + str(report['no_report']).splitlines()[0][:80]
    kind = 'failed' if report.get('failed') else 'changed' if report.get('changed') else 'ok'
    return '%s %s/%s' % (kind, report.get('verdict', '-'), report.get('method', '-'))


def shown(report: Report, when: str) -> str:
    """The state that a report gives for before or after, in the words of /proc/modules."""
    entry = report.get(when) or {}
    words = {'coming': 'Loading', 'going': 'Unloading', 'live': 'Live', 'absent': 'absent'}
    return words.get(entry.get('state', '?'), '?')


def truthful(report: Report, turn: Turn, *, check: bool) -> List[str]:
    """Where a report differs from what the host showed, before and after."""
    assert turn.after is not None
    if 'no_report' in report:
        return ['no report: ' + report['no_report'][:300]]
    broken = []
    for when, look in (('before', turn.before), ('after', turn.after)):
        if check and when == 'after' and not report.get('failed'):
            continue  # a forecast
        host = state(look, turn.fault)
        if when in report and 'unavailable' not in report[when] and shown(report, when) not in host:
            broken.append(f'reported {when}: {shown(report, when)}; the host shows {host}')
    if not check:
        changed = state(turn.before, turn.fault) != state(turn.after, turn.fault)
        if bool(report.get('changed')) != changed:
            broken.append('reported changed={}; the host shows {} -> {}'.format(
                report.get('changed'), state(turn.before, turn.fault), state(turn.after, turn.fault)))
    if 'Traceback' in str(report.get('msg', '')) or 'Traceback' in str(report.get('module_stderr', '')):
        broken.append('a traceback instead of words: ' + str(report)[-300:])
    return broken


def sound(turn: Turn, look: Look, expected: Expectation, rule: Rule) -> List[str]:
    """What of the host beside the module is not as it was."""
    broken = []
    if look['boot'] != turn.before['boot']:
        return ['the host booted again']
    known = turn.before['log']
    new = [line for line in look['log'] if line not in known]
    for alarms in filter(None, (expected.own_alarms, turn.alarms)):
        new = [line for line in new if not re.search(alarms, line)]
    if new:
        broken.append('the kernel log has new alarms: ' + ' | '.join(new[:4]))
    run = (module_of(turn.fault), *turn.beside)
    # A module that one of these used, or that used one of them, loses a reference with it.
    used = ' '.join(turn.before['table'].get(own, '') for own in run)
    base = {name: line for name, line in turn.before['table'].items()
            if name not in run and not any(re.search(rf'\b{own}\b', line) for own in run)}
    for name, line in base.items():
        if look['table'].get(name) != line and name not in used:
            broken.append(f'{name} was {line!r} and is {look["table"].get(name)!r}')
    parked = {name for own in run for name in parked_as(look, own)}
    more = sorted(set(look['table']) - set(turn.before['table']) - parked)
    more = [name for name in more if not rule.leaves or not re.search(rule.leaves, name)]
    if more:
        broken.append('modules that were not there: ' + ', '.join(more))
    left = [path for path in look['left'] if path not in turn.before['left']]
    left = [path for path in left if not rule.leaves or not re.search(rule.leaves, path)]
    if left:
        broken.append('left behind: ' + ', '.join(left[:5]))
    if look['processes'] and not expected.hangs:
        broken.append('processes left behind: ' + '; '.join(look['processes'][:3]))
    return broken


def unchanged(turn: Turn, look: Look) -> List[str]:
    """A module that is not as it was."""
    own = module_of(turn.fault)
    if (state(look, turn.fault), look['modules'][own]) == (state(turn.before, turn.fault),
                                                           turn.before['modules'][own]):
        return []
    return ['{} was {} {} and is {} {}'.format(own, state(turn.before, turn.fault), turn.before['modules'][own],
                                               state(look, turn.fault), look['modules'][own])]


def _gone(turn: Turn, look: Look, expected: Expectation) -> List[str]:
    if not is_gone(look, turn.fault):
        return [f'its name is not free: {state(look, turn.fault)}, sysfs: {look["modules"][module_of(turn.fault)]}']
    parked = parked_as(look, turn.fault)
    if expected.parked:
        return [] if len(parked) == 1 else [f'its code should be parked once, and is as {parked}']
    if parked:
        return [f'it should be gone, and is parked as {parked}']
    if look['modules'][module_of(turn.fault)]['device']:
        return [f'/dev/{module_of(turn.fault)} is still there']
    return []


def _refused(report: Report, expected: Expectation) -> List[str]:
    broken = [] if report.get('failed') else ['it was not refused: ' + reported(report)]
    if not re.search(expected.names, str(report.get('msg', ''))):
        broken.append('the refusal does not name {!r}: {}'.format(expected.names, report.get('msg', '')))
    return broken


def _one(report: Report, turn: Turn, look: Look, expected: Expectation, rule: Rule) -> List[str]:
    """One run that was left to end."""
    if not expected.frees_name:
        names = '|'.join([expected.names] + [rule.needs_words or '.'] * rule.may_refuse)
        found = unchanged(turn, look) + _refused(report, expected._replace(names=names))
        return found + (_refused(report, expected._replace(names=rule.names)) if rule.names else [])
    broken = []
    if report.get('failed') and rule.may_refuse:
        if not re.search(rule.needs_words or '.', str(report.get('msg', ''))):
            broken.append('the refusal does not say what it lacks: {}'.format(report.get('msg', '')))
        return broken + unchanged(turn, look)
    if report.get('failed'):
        broken.append('it failed: {}{}'.format(report.get('msg', report), _pointing(report)))
    elif report.get('verdict') != expected.verdict and not rule.may_refuse:
        broken.append('the verdict is {}, and should be {}'.format(report.get('verdict'), expected.verdict))
    if rule.check:
        return broken + ([] if report.get('changed') else ['check mode foresees no change'])
    return broken + [text + _pointing(report) for text in _gone(turn, look, expected)]


def _pointing(report: Report) -> str:
    """What pointed into the module, for whoever has this line alone."""
    hits = (report.get('reachability') or {}).get('hits', [])
    return ''.join('; at {address} in {place} ({what}) stands {target}'.format(**hit) for hit in hits[:3])


def _two(turn: Turn, look: Look, expected: Expectation) -> List[str]:
    """Two runs at once: exactly one changes the host, the other found nothing to do or says what came in between."""
    if not expected.frees_name:
        return unchanged(turn, look) + [text for report in turn.reports for text in _refused(report, expected)]
    broken = _gone(turn, look, expected)
    changed = [report for report in turn.reports if report.get('changed')]
    if len(changed) != 1:
        broken.append('%d of two runs report a change' % len(changed))
    for report in turn.reports:
        if report.get('failed') and not HONEST.search(str(report.get('msg', report))):
            broken.append('one failed, and not for what came in between: {}'.format(report.get('msg', report)))
        if not report.get('failed') and shown(report, 'after') != 'absent':
            broken.append('one ended well and reports the module as {}'.format(shown(report, 'after')))
    return broken


def judge(turn: Turn, expected: Expectation, rule: Rule) -> List[str]:
    """All that does not hold; empty where the row holds."""
    if turn.after is None:
        return ['the host was lost']
    broken = sound(turn, turn.after, expected, rule)
    if rule.together:
        broken += _two(turn, turn.after, expected)
    elif rule.killed:
        if expected.frees_name and not is_gone(turn.after, turn.fault) and unchanged(turn, turn.after) and \
                state(turn.after, turn.fault) not in (REPAIRED, expected.undone and state(turn.before, turn.fault)):
            broken.append(f'half done: {state(turn.after, turn.fault)} {turn.after["modules"][module_of(turn.fault)]}')
        if not expected.frees_name:
            broken += unchanged(turn, turn.after)
        for report in turn.reports:
            broken += truthful(report, turn, check=False)
    else:
        for report in turn.reports:
            broken += truthful(report, turn, check=rule.check) + _one(report, turn, turn.after, expected, rule)
        if rule.check:
            broken += unchanged(turn, turn.after)
    return broken + _around(turn, expected) + _afterwards(turn, expected, rule)


def _around(turn: Turn, expected: Expectation) -> List[str]:
    """What was told and foreseen before the run, and what a second run came to."""
    broken = []
    if turn.told is not None:
        broken += ['kmod_facts: ' + text for text in _told(turn.told, expected)]
    if turn.foreseen is not None:
        broken += ['check mode: ' + text for text in judge(turn.foreseen, expected, CHECK)]
        for report in turn.foreseen.reports if expected.dangles or expected.reached else ():
            broken += ['check mode: ' + text for text in _found(report, report, expected)]
    if turn.again is not None and turn.after is not None:
        report, look = turn.again
        second = Turn(turn.fault, turn.after, look, [report], alarms=turn.alarms)
        found = sound(second, look, expected, PLAIN) + truthful(report, second, check=False)
        found += unchanged(second, look) if state(look, turn.fault) != 'absent' else []
        if report.get('changed') or report.get('failed') or report.get('verdict') != 'absent':
            found.append('it is not told that there is nothing to do: ' + reported(report))
        broken += ['the second run: ' + text for text in found]
    return broken


def _told(facts: Dict[str, Any], expected: Expectation) -> List[str]:
    """What kmod_facts says of the module and of what it would take."""
    said = facts.get('diagnosis') or {}
    if not said:
        return ['no diagnosis: {}'.format(facts)]
    broken = []
    if said.get('verdict') != expected.verdict:
        broken.append('the verdict is {}, and should be {}'.format(said.get('verdict'), expected.verdict))
    method = 'none' if not expected.frees_name else 'park' if expected.parked else ''
    if not expected.asked and (said.get('method') != method if method else said.get('method') in ('none', 'park')):
        broken.append('the method is {}: {}'.format(said.get('method'), said.get('reason')))
    unexplained = facts.get('unexplained_references', 0)
    if expected.unexplained not in (-1, unexplained):
        broken.append('{} references are unexplained, not {}'.format(unexplained, expected.unexplained))
    return broken + _found(said, facts, expected)


def _found(judged: Dict[str, Any], facts: Dict[str, Any], expected: Expectation) -> List[str]:
    """What the module left, and what points into it: in the hazards of what was judged, and in the facts."""
    dangling = [hazard['reason'] for hazard in judged.get('hazards', []) if hazard['code'] == 'dangling_references']
    broken = []
    if expected.dangles and (len(dangling) != (expected.dangles != NOTHING) or
                             not all(re.search(expected.dangles, reason) for reason in dangling)):
        broken.append('what it left is not told as {!r}: {}'.format(expected.dangles, dangling))
    return broken + _reachability(facts.get('reachability') or {}, expected)


def _reachability(found: Dict[str, Any], expected: Expectation) -> List[str]:
    """Who can reach it: what is parked was reached, what is freed without its exit was not."""
    if expected.verdict not in SEARCHED or not expected.frees_name:
        return []
    is_reached = expected.parked or expected.undone
    must = 'unknown' if expected.reached == NOTHING else 'reachable' if is_reached else 'unreachable'
    broken = [] if found.get('answer') == must else ['it should be {}, and is {}: {}'.format(
        must, found.get('answer'), found.get('reason'))]
    words = ['{what} in {place}'.format(**hit) for hit in found.get('hits', [])]
    if expected.reached not in ('', NOTHING) and not any(re.search(expected.reached, word) for word in words):
        broken.append(f'nothing that points there is told as {expected.reached!r}: {words}')
    return broken


def _afterwards(turn: Turn, expected: Expectation, rule: Rule) -> List[str]:
    broken = []
    if turn.next_report is not None and turn.final is not None and turn.lifted is not None:
        again = turn._replace(before=turn.lifted, after=turn.final)
        broken += sound(again, turn.final, expected, rule) + truthful(turn.next_report, again, check=False)
        broken += _gone(again, turn.final, expected)
        if turn.next_report.get('failed'):
            broken.append('the next plain run failed: {}'.format(turn.next_report.get('msg')))
    elif turn.next_report is not None:
        broken.append('the host was lost in the next plain run')
    if turn.used not in ('', 'ok'):
        broken.append('when what it left was used: ' + turn.used)
    if turn.probe not in ('', 'ok'):
        broken.append('a fixed build does not load and unload: ' + turn.probe)
    return list(dict.fromkeys(broken))
