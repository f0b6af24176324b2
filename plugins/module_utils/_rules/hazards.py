# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes an unload unsafe, and how tasks and holders are named in a sentence. What was not seen is not absent."""

from typing import Any, Dict, List, Sequence

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Hazard, Holder, Holders, Task, by_kind

# Each code with what it means for whoever accepts it: a refusal that tells the override tells this with it.
HAZARDS: Dict[str, str] = {
    'running_task': 'a task that runs in freed code crashes the host',
    'undecided': 'whoever uses it unseen, or runs in it, crashes the host when its code is gone',
    'in_use': 'what still uses it calls code that is gone, and crashes the host or loses what it did',
    'dangling_references': 'the kernel calls what it registered, and crashes when that code is gone',
    'reachability_unknown': 'whatever it left in the kernel that nobody has seen calls code that is gone, and crashes '
                            'the host',
    'locks_held': 'whoever takes the lock that died with its owner waits for ever',
    'foreign_oops': 'kernel locks that died with their owner may hang the host',
}
# The kernel does not tell of which kind an AF_ALG socket is.
PERHAPS_OF_ANOTHER = ('AF_ALG socket',)


def hazard(code: str, reason: str, evidence: Sequence[Any]) -> Hazard:
    """One hazard as it is returned: a ``code`` of HAZARDS, the ``reason`` in words, the ``evidence``."""
    return {'code': code, 'reason': reason, 'evidence': list(evidence)}


def listed(texts: List[str]) -> str:
    """``a, b and 3 more``: the first five of them."""
    return ', '.join(texts[:5]) + (' and %d more' % (len(texts) - 5) if len(texts) > 5 else '')


def known(fact: Any, otherwise: str) -> str:
    """A fact as text; ``otherwise`` where it is not to be had or empty."""
    return otherwise if is_unavailable(fact) or not fact else str(fact)


def name_task(task: Task) -> str:
    """``insmod (pid 1876, in f_init)``; ``rmmod (pid 9, waits in kthread_stop)``."""
    where = ', in {}'.format(task['function']) if task.get('function') else ''
    if task.get('waits_in') and task['waits_in'] != task.get('function'):
        where += ', waits in {}'.format(task['waits_in'])
    return '{} (pid {}{})'.format(task.get('command', '?'), task.get('pid', '?'), where)


def entries(holders: Fact[Holders]) -> List[Holder]:
    """Every holder that was found, of whatever kind."""
    if is_unavailable(holders):
        return []
    return [entry for _kind, found in by_kind(holders) if not is_unavailable(found) for entry in found]


def counted(holders: Fact[Holders]) -> List[Holder]:
    """The holders that take a reference of the module."""
    return [entry for entry in entries(holders) if entry['counts']]


def active(holders: Fact[Holders]) -> List[Holder]:
    """What would break by the unload although it holds no reference, such as a network device that is up."""
    return [entry for entry in entries(holders) if entry['active']]


def uncounted(holders: Fact[Holders]) -> List[Holder]:
    """What uses a module that counts no reference: operations without owner, or what takes none, as a firewall's table.

    A device is none of that: its driver's exit lets it go. Nor is what may be another module's, since that counts.
    """
    without: Holders = {} if is_unavailable(holders) else {**holders, 'devices': []}
    return [entry for entry in counted(without) if entry.get('kind') not in PERHAPS_OF_ANOTHER]


def named(found: Sequence[Task]) -> List[str]:
    """One phrase for each holder."""
    return [entry['what'] for entry in found]


def unread(holders: Fact[Holders]) -> List[str]:
    """Why holders of some kind could not be looked for: each such kind counts as found."""
    if is_unavailable(holders):
        return [holders['unavailable']]
    return ['{}: {}'.format(kind, found['unavailable']) for kind, found in by_kind(holders)
            if found is not None and is_unavailable(found)] + holders.get('unread', [])
