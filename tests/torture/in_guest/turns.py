# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the guest: kmod_force_unload on one module after the other, by its front door.

``turns.py run SECONDS NAME...`` prints one JSON line for each: what was returned, and the host once that process is
gone. ``turns.py whole SECONDS NAME...`` asks for all of them what kmod_facts tells, and prints that; then, for each, a
line of what check mode returned, the run, and where that went well a second run; each with the host after it.
``turns.py two SECONDS NAME`` prints what each of two at once returned.
A name may carry the hazards that are accepted and the methods: ``init_misc=dangling_references:plain,reset``.
"""

import json
import sys
from typing import Any, Dict, List, Tuple

import front_door
import witness

IN_USE = 'virtio_blk'


def started(word: str, seconds: float, check: bool = False) -> front_door.Call:
    """kmod_force_unload of a name and what that carries."""
    name, _equals, more = word.partition('=')
    accepted, _colon, methods = more.partition(':')
    options = {'methods': methods.split(',')} if methods else {}  # type: Dict[str, Any]
    return front_door.start('kmod_force_unload', dict(
        options, name=name, timeout=seconds, accept_hazards=accepted.split(',') if accepted else []), check)


def seen(word: str, seconds: float, names: List[str], check: bool = False) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """What it returned, and the host after it."""
    return front_door.end(started(word, seconds, check)), witness.settle(names)


def whole(word: str, seconds: float, names: List[str]) -> List[Any]:
    """Check mode, the run, and the second run where there was nothing to refuse."""
    found = [seen(word, seconds, names, check=True), seen(word, seconds, names)]
    if not found[-1][0].get('failed'):
        found.append(seen(word, seconds, names))
    return found


def told(names: List[str], seconds: float) -> Dict[str, Any]:
    """What kmod_facts tells of each."""
    answer = front_door.end(front_door.start('kmod_facts', {'names': names, 'timeout': seconds}))
    found = answer.get('ansible_facts', {}).get('kmod', {}).get('modules', {})
    return {name: found.get(name, {'unavailable': answer.get('msg', 'nothing')}) for name in names}


def main(how: str, seconds: float, words: List[str]) -> None:
    """All of them, in this order."""
    names = [word.partition('=')[0] for word in words]
    if how == 'two':
        calls = [started(words[0], seconds) for _number in range(2)]
        print(json.dumps({'reports': [front_door.end(call) for call in calls]}), flush=True)
        return
    if how == 'whole':
        front_door.warm_up(IN_USE)
        print(json.dumps(told(names, seconds)), flush=True)
    for word in words:
        print(json.dumps(whole(word, seconds, names) if how == 'whole' else seen(word, seconds, names)), flush=True)


if __name__ == '__main__':
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
