# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The undo step: the kernel's own functions take back what a module that died left registered."""

import contextlib
import errno
import fcntl
import os
import time
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._actions import compiled_helper
from ansible_collections.kernelops.kmod.plugins.module_utils._actions.helper_choice import (
    Helper,
    HelperChoice,
    target_of,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._actions.unload_options import Options
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_table
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process
from ansible_collections.kernelops.kmod.plugins.module_utils._returns import Diff, Report, ShownEntry, Step
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import diagnose, ladder
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.report import shown
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover, ModuleFacts, Reachability

PAUSE = 0.2
WORDS = {
    'done': 'taken back',
    'not_there': 'it was no longer there',
    'in_use': 'left: it is in use',
    'own_code': 'left: the module\'s own code would be called for it',
    'died': 'it died when it was told to stop',
    'unknown': 'left: this kernel has no way to take it back',
    'late': 'left: the kernel\'s function has not returned',
    'not_tried': 'left: not tried, since the one before has not returned',
}
Key = Tuple[str, int, int]
# What a module left may hide what it left below: directories that are empty by then.
ROUNDS = 3


class Read(NamedTuple):
    """The facts of modules, read together, and what can still reach those that may be freed."""

    facts: Dict[str, ModuleFacts]
    reached: Dict[str, Reachability]


class Undone:
    """What was taken back of several modules, and what each was before."""

    def __init__(self, options: Options, read: Callable[[], Read]) -> None:
        """``read`` reads the modules anew."""
        self.steps: Dict[str, List[Step]] = {}
        self.before: Dict[str, ShownEntry] = {}
        self.failed: Dict[str, KmodError] = {}
        self._options, self._read = options, read
        self._tried: Set[Key] = set()
        self._step_of: Dict[Tuple[str, Key], Step] = {}

    def take_back(self) -> Read:
        """Takes back all that can be, until nothing new is seen; returns the last reading."""
        read = self._read()
        for _round in range(ROUNDS):
            tried = [self._of_one(name, facts) for name, facts in sorted(read.facts.items()) if name not in self.failed]
            if not any(tried):
                break
            read = self._read()
        self._tell_what_came_back(read)
        return read

    def _tell_what_came_back(self, read: Read) -> None:
        """What one of two that call each other has registered again."""
        for name, facts in read.facts.items():
            for one in facts['registrations']['leftovers']:
                step = self._step_of.get((name, _key(one)))
                if step and step['changed']:
                    step['result'] += ', and there again'

    def _of_one(self, name: str, facts: ModuleFacts) -> bool:
        """Whether anything was tried. Where nothing can be, for want of the helper or for a task in it, it fails."""
        options = self._options
        leftovers = [one for one in facts['registrations']['leftovers'] if _key(one) not in self._tried]
        plan = ladder.plan({**facts, 'registrations': {**facts['registrations'], 'leftovers': leftovers}},
                           diagnose.diagnose(facts, options.run_exit == 'never'), options.methods, options.run_exit,
                           options.accept_hazards)
        if plan['method'] != 'undo':
            return False
        self._tried.update(map(_key, leftovers))
        try:
            helper = HelperChoice(name, facts['kernel'], options.helper, options.helper_path, options.timeout).choose(
                'undo', False)
            results = child_process.with_deadline(lambda: _by_helper(helper, name, facts, leftovers), options.timeout,
                                                  f'take back what {name} left', outlives=True)
        except KmodError as error:
            self.failed[name] = error
            return False
        self.before.setdefault(name, shown(facts))
        told = _told(name, leftovers, results)
        self.steps.setdefault(name, []).extend(told)
        self._step_of.update(((name, _key(one)), step) for one, step in zip(leftovers, told))
        return True

    def with_steps(self, name: str, result: Report) -> Report:
        """What a run that followed returned, with what was done before it."""
        steps, before = self.steps.get(name, []), self.before.get(name)
        if not before:
            return result
        changed = result.get('changed', False) or any(step['changed'] for step in steps)
        diff: Diff = result.get('diff', {})
        return {**result, 'changed': changed, 'before': before, 'steps': steps + result.get('steps', []),
                'diff': {**diff, 'before': before}}


def _by_helper(helper: Optional[Helper], name: str, facts: ModuleFacts, leftovers: List[Leftover]) -> List[str]:
    target = target_of(helper, name, facts)
    return target.undo(ladder.expected(facts) or target.look(), leftovers, 'user_tasks')['undone']


def _key(leftover: Leftover) -> Key:
    return leftover['kind'], leftover['address'], leftover['other']


def half_way(names: Iterable[str]) -> List[str]:
    """Those of the modules that are loading or unloading, and so may have died."""
    table = module_table.read()['modules']
    return sorted(name for name in set(names) if name in table and table[name]['state'] in ('coming', 'going'))


@contextlib.contextmanager
def alone(names: List[str], seconds: float, root: str = '/') -> Iterator[None]:
    """Nobody else takes back anything of these modules meanwhile. What was read before may be gone by then.

    Raises KmodError where somebody is at one of them for longer than ``seconds``.
    """
    with contextlib.ExitStack() as opened:
        for name in sorted(names):
            with contextlib.suppress(FileNotFoundError):  # it is gone
                directory = os.open(os.path.join(root, 'sys/module', name), os.O_RDONLY | os.O_CLOEXEC)
                opened.callback(os.close, directory)
                _lock(directory, time.monotonic() + seconds, f'take back what {name} left')
        yield


def _lock(directory: int, until: float, tried: str) -> None:
    while not _is_locked(directory, tried):
        if time.monotonic() > until:
            raise KmodError(tried, 'another task is at it', 'Run the task again')
        time.sleep(PAUSE)


def _is_locked(directory: int, tried: str) -> bool:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            return False
        raise KmodError(tried, f'/sys/module cannot be locked: {error.strerror}') from error
    return True


def _told(name: str, leftovers: List[Leftover], results: List[str]) -> List[Step]:
    """A step for each, by the function that was called."""
    return [{'module': name, 'method': 'undo', 'action': compiled_helper.UNDO_KINDS[one['kind']],
             'result': '{}: {}'.format(one['what'], WORDS[result]), 'changed': result == 'done'}
            for one, result in zip(leftovers, results)]


def foreseen(name: str, leftovers: List[Leftover]) -> List[Step]:
    """The same in check mode."""
    return [{'module': name, 'method': 'undo', 'action': compiled_helper.UNDO_KINDS[one['kind']],
             'result': '{}: would be taken back'.format(one['what']), 'changed': True} for one in leftovers]
