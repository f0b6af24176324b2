# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the guest: the collection's own unload of each module in turn, in a process of its own as Ansible has it.

``turns.py SECONDS NAME...`` prints one JSON line for each: what was returned, and the host once that process is gone.
``turns.py two SECONDS NAME`` prints what each of two at once returned.
A name may carry the hazards that are accepted and the methods: ``init_misc=dangling_references:plain,reset``.
"""

import json
import os
import sys
from typing import Any, Dict, List, Tuple

import witness


def unload(word: str, seconds: float) -> Dict[str, Any]:
    """The return values, or the words and facts of the refusal."""
    import collection  # noqa: PLC0415  (read anew by each process, as a module of Ansible's is)
    from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError  # noqa: PLC0415

    name, _equals, more = word.partition('=')
    accepted, _colon, methods = more.partition(':')
    options = {'methods': methods.split(',')} if methods else {}  # type: Dict[str, Any]
    try:
        return collection.unload(name, timeout=seconds, accept_hazards=accepted.split(',') if accepted else [],
                                 **options)
    except KmodError as error:
        return dict(error.facts, failed=True, msg=str(error))


def started(word: str, seconds: float) -> Tuple[int, int]:
    """The same in a child, by pid and answer: what it leaves behind is seen by the look that follows."""
    # No pipe: what it leaves behind in the kernel would keep that open.
    answer = os.memfd_create('answer')
    pid = os.fork()
    if pid == 0:
        try:
            text = json.dumps(unload(word, seconds))
        except BaseException as error:  # pylint: disable=broad-except  # the parent must hear of it
            text = json.dumps({'failed': True, 'msg': 'Traceback: %r' % error})
        os.write(answer, text.encode())
        os._exit(0)
    return pid, answer


def ended(pid: int, answer: int) -> Dict[str, Any]:
    """What the child returned, once it has ended."""
    os.waitpid(pid, 0)
    with os.fdopen(answer, 'rb') as stream:
        stream.seek(0)
        said = stream.read()
    return dict(json.loads(said)) if said else {'failed': True, 'msg': 'the process was killed'}


def main(seconds: float, words: List[str]) -> None:
    """All of them, in this order."""
    names = [word.partition('=')[0] for word in words]
    for word in words:
        report = ended(*started(word, seconds))
        print(json.dumps([report, witness.settle(names)]), flush=True)


if __name__ == '__main__':
    if sys.argv[1] == 'two':
        children = [started(sys.argv[3], float(sys.argv[2])) for _number in range(2)]
        print(json.dumps({'reports': [ended(*child) for child in children]}), flush=True)
    else:
        main(float(sys.argv[1]), sys.argv[2:])
