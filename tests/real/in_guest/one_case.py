# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the guest: one case, from its setup to the module's end. A JSON object for each step, a line each.

The case comes as JSON on stdin. The last line that arrives says how far a guest came that was lost.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional

import witness

SHELL_DEADLINE_S = 120
COMMAND_DEADLINE_S = 60
# Whoever ends what is named looks again: a mount, then the device below it.
ROUNDS = 3
SETTLE_S = 10
PRELUDE = r'''
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
holding() { python3 /root/torture/holding.py "$@"; }
# A loop device of its own over a file of so many MB.
disk() { truncate -s "${2:-32}M" "/root/$1.img" && losetup --find --show "/root/$1.img"; }
until_true() {
  for attempt in $(seq 60); do if eval "$1"; then return 0; fi; sleep 0.5; done
  echo "never true: $1"; return 1
}
behind() { setsid -f "$@" > /dev/null 2>&1 < /dev/null; }
'''


def say(step: str, **found: Any) -> None:
    """One step's line."""
    print(json.dumps(dict(found, step=step)), flush=True)


def shell(script: str, seconds: float) -> Dict[str, Any]:
    """``status`` (None: not in time) and the last of what it ``said``. What it leaves behind may keep the output."""
    with open('/run/said', 'w+b') as said:
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            ['bash', '-c', script], stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        status: Optional[int] = None
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        said.seek(0)
        return {'status': status, 'said': said.read().decode(errors='replace')[-1500:]}


def in_a_process(function: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
    """What a function of the collection returns, called in a child as Ansible would have it."""
    answer = os.memfd_create('answer')
    pid = os.fork()
    if pid == 0:
        try:
            text = json.dumps(function())
        except BaseException as error:  # pylint: disable=broad-except  # the parent must hear of it
            text = json.dumps({'failed': True, 'msg': 'Traceback: %r' % error})
        os.write(answer, text.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    with os.fdopen(answer, 'rb') as stream:
        stream.seek(0)
        said = stream.read()
    return dict(json.loads(said)) if said else {'failed': True, 'msg': 'the process was killed'}


def facts_of(module: str, seconds: float) -> Dict[str, Any]:
    """What kmod_facts says of one module."""

    def asked() -> Dict[str, Any]:
        from ansible_collections.kernelops.kmod.plugins.module_utils._actions import module_facts  # noqa: PLC0415

        return dict(module_facts.answer([module], ['all'], seconds)['facts']['modules'][module])

    return in_a_process(asked)


def entries(facts: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Each holder that was found, of every kind, in the order of the facts."""
    found = []
    holders = facts.get('holders') or {}
    for kind, listed in holders.items():
        if kind in ('tasks', 'modules') or not isinstance(listed, list):
            continue
        found += [dict(entry, list=kind) for entry in listed if isinstance(entry, dict)]
    return found


def commands(facts: Dict[str, Any]) -> List[str]:
    """What ends the holders, in order; where none says, what ``next`` tells to run."""
    found: List[str] = []
    for entry in entries(facts):
        command = entry.get('end_with')
        if command and command not in found:
            found.append(command)
    following = (facts.get('diagnosis') or {}).get('next', '')
    if not found and following.startswith('ansible HOST '):
        found.append(following)
    return found


def carried_out(command: str, seconds: float) -> Dict[str, Any]:
    """One command. Ansible's own is called without a controller: there is none in the guest."""
    if not command.startswith('ansible HOST '):
        return dict(shell('export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n' + command, COMMAND_DEADLINE_S), command=command)
    words = shlex.split(shlex.split(command)[-1])
    options: Dict[str, Any] = dict(word.split('=', 1) for word in words)
    name = options.pop('name')
    options = {key: value in ('true', 'yes') if key == 'cascade' else value.split(',') if key == 'methods' else value
               for key, value in options.items()}

    report = in_a_process(lambda: unload(name, seconds, **options))
    return {'command': command, 'status': int('failed' in report), 'said': str(report.get('msg'))}


def unload(name: str, seconds: float, **options: Any) -> Dict[str, Any]:
    """What kmod_force_unload returns, by its own defaults, or the words and facts of its refusal."""
    import collection  # noqa: PLC0415  (read anew by each process, as a module of Ansible's is)
    from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError  # noqa: PLC0415
    from ansible_collections.kernelops.kmod.plugins.module_utils._rules import ladder  # noqa: PLC0415

    options.setdefault('methods', list(ladder.METHODS))
    try:
        return collection.unload(name, timeout=seconds, **options)
    except KmodError as error:
        return dict(error.facts, failed=True, msg=str(error))


def references(module: str) -> str:
    """How often it is used, by its own count."""
    return witness.text('/sys/module/%s/refcnt' % module)


def until_steady(module: str) -> None:
    """Returns once its count has stayed the same for two seconds, or after SETTLE_S: udev opens what is new."""
    shell('udevadm settle --timeout=20', SHELL_DEADLINE_S)
    end, counts = time.monotonic() + SETTLE_S, [references(module)]
    while len(counts) < 5 or len(set(counts[-5:])) > 1:
        if time.monotonic() > end:
            break
        time.sleep(0.5)
        counts.append(references(module))


def until_unused(module: str) -> None:
    """Returns once nothing counts as using the module, or after SETTLE_S seconds: a live patch takes its time to go."""
    end = time.monotonic() + SETTLE_S
    while references(module) not in ('', '0') and time.monotonic() < end:
        time.sleep(0.5)


def brief(report: Dict[str, Any]) -> Dict[str, Any]:
    """What the driver judges of a run's return values."""
    kept = ('failed', 'msg', 'changed', 'verdict', 'reason', 'method', 'hazards', 'helper', 'steps', 'warnings')
    return {key: report[key] for key in kept if key in report}


def unloaded(module: str, seconds: float) -> Dict[str, Any]:
    """An unload in default options, and the host after it."""
    report = in_a_process(lambda: unload(module, seconds))
    look = witness.look([module])
    return {'report': brief(report), 'look': {key: look[key] for key in ('boot', 'table', 'taint', 'log')},
            'loaded': module in look['table']}


def run(case: Dict[str, Any], seconds: float) -> None:
    """All of it; each step is a line."""
    module = case['module']
    made = shell('set -e\n' + PRELUDE + case['setup'], SHELL_DEADLINE_S)
    say('setup', **made)
    if made['status'] != 0:
        return
    until_steady(module)
    look = witness.look([module])
    say('before', look={key: look[key] for key in ('boot', 'table', 'taint', 'log')}, loaded=module in look['table'])
    check = 'set -e\n' + PRELUDE + case['check']
    works = shell(check, SHELL_DEADLINE_S)
    say('works', **works)
    if works['status'] != 0:
        return
    say('refused', **unloaded(module, seconds))
    say('still works', **shell(check, SHELL_DEADLINE_S), log=witness.alarms())
    tried: List[str] = []
    for number in range(ROUNDS):
        facts = facts_of(module, seconds)
        say('facts', diagnosis=facts.get('diagnosis'), refcount=facts.get('refcount'), holders=entries(facts),
            dependents=facts.get('used_by'), state=facts.get('state'),
            unread=(facts.get('holders') or {}).get('unread', []), hint=(facts.get('holders') or {}).get('hint', ''),
            notes=(facts.get('holders') or {}).get('notes', []), unexplained=facts.get('unexplained_references'),
            failed=facts.get('msg') if facts.get('failed') else None)
        if number == 0 and not case['command']:
            return
        more = [command for command in commands(facts) if command not in tried]
        for command in more:
            tried.append(command)
            say('command', **carried_out(command, seconds))
        if not more:
            return
        until_unused(module)
        again = unloaded(module, seconds)
        say('again', **again)
        if not again['loaded']:
            return


if __name__ == '__main__':
    try:
        run(json.load(sys.stdin), float(sys.argv[1]))
    finally:
        say('end')
