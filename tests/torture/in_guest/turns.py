# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the guest: kmod_force_unload as Ansible calls it, for whoever writes to a named pipe.

Reads the code and the kernel's types once, and then does what is written to ASKED as JSON (how, seconds, names, those
that kmod_facts is asked for, those that the host is looked at for), in a process of its own; what it prints, a JSON
line each, is read from ANSWERED. How:
``run``: for each name what was returned, and the host once that process is gone.
``whole``: what kmod_facts tells; what check mode returns of each, and the host after it; the same of the run of all,
and of a second run of those that went well.
``two``: what each of two calls at once returned.
A name may carry the hazards that are accepted and the methods: ``init_misc=dangling_references:plain,reset``.
"""

import contextlib
import json
import os
import sys
import traceback
from typing import Any, Dict, List, Sequence, Tuple

import as_ansible
import witness

IN_USE = 'virtio_blk'
SERVICE = '/run/turns'
ASKED, ANSWERED, ERRORS = (os.path.join(SERVICE, name) for name in ('asked', 'answered', 'errors'))


def options_of(word: str) -> str:
    """What a name carries."""
    return word.partition('=')[2]


def started(word: str, seconds: float, check: bool = False, names: Sequence[str] = ()) -> as_ansible.Call:
    """kmod_force_unload of a name and what that carries, or of several ``names`` that carry the same."""
    name, _equals, more = word.partition('=')
    accepted, _colon, methods = more.partition(':')
    options: Dict[str, Any] = {'methods': methods.split(',')} if methods else {}
    options.update({'names': list(names)} if names else {'name': name})
    return as_ansible.start('kmod_force_unload', dict(
        options, timeout=seconds, accept_hazards=accepted.split(',') if accepted else []), check)


def seen(word: str, seconds: float, names: List[str]) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """What it returned, and the host after it."""
    return as_ansible.end(started(word, seconds)), witness.settle(names)


def told(names: List[str], seconds: float) -> Dict[str, Any]:
    """What kmod_facts tells of each."""
    if not names:
        return {}
    answer = as_ansible.end(as_ansible.start('kmod_facts', {'names': names, 'timeout': seconds}))
    found = answer.get('ansible_facts', {}).get('kmod', {}).get('modules', {})
    return {name: found.get(name, {'unavailable': answer.get('msg', 'nothing')}) for name in names}


def returned(words: List[str], seconds: float, check: bool = False) -> Dict[str, Any]:
    """What is returned of each, by one call where all carry the same options, or none."""
    names = [word.partition('=')[0] for word in words]
    if len(words) == 1 or len({options_of(word) for word in words}) > 1:
        return {name: as_ansible.end(started(word, seconds, check)) for name, word in zip(names, words)}
    answer = as_ansible.end(started(words[0], seconds, check, names))
    lacking = {'no_report': answer.get('msg', 'nothing')}
    return dict(dict.fromkeys(names, lacking), **{entry['name']: entry for entry in answer.get('modules', [])})


def do(how: str, seconds: float, words: List[str], to_tell: List[str], names: List[str]) -> None:
    """All of them, in this order."""
    if how == 'two':
        calls = [started(words[0], seconds) for _number in range(2)]
        print(json.dumps({'reports': [as_ansible.end(call) for call in calls]}), flush=True)
        return
    if how == 'whole':
        print(json.dumps(told(to_tell, seconds)), flush=True)
        print(json.dumps([returned(words, seconds, check=True), witness.settle(names)]), flush=True)
        done = returned(words, seconds)
        print(json.dumps([done, witness.settle(names)]), flush=True)
        again = [word for word in words if not done[word.partition('=')[0]].get('failed')]
        print(json.dumps([returned(again, seconds) if again else {}, witness.settle(names)]), flush=True)
        return
    for word in words:
        print(json.dumps(seen(word, seconds, names)), flush=True)


def serve() -> None:
    """Never returns."""
    as_ansible.warm_up(IN_USE)
    os.makedirs(SERVICE)
    with open(witness.SERVER, 'w') as stream:
        stream.write(str(os.getpid()))
    os.mkfifo(ANSWERED)
    os.mkfifo(ASKED)
    while True:
        with open(ASKED) as stream:
            words = json.loads(stream.read())
        if os.fork() == 0:
            answer(words)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def answer(words: List[Any]) -> None:
    """Does what was asked for, and ends this process."""
    with open(ANSWERED, 'w') as stream:
        os.dup2(stream.fileno(), sys.stdout.fileno())
    try:
        do(*words)
    except BaseException:  # pylint: disable=broad-except  # who asked must hear of it
        with open(ERRORS, 'w') as stream:
            traceback.print_exc(file=stream)
    os._exit(0)


if __name__ == '__main__':
    serve()
