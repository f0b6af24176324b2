# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold for each fault: one line each. A fault of the lab that has none is an error that says what to add."""

from typing import Dict, List, NamedTuple

from rig import LabError, fault_modules

# Lines of the kernel log of which a CPU that is spun on is the cause, not the collection.
STALLS = r'rcu: INFO|soft lockup|stall|hung_task|blocked for more|Call Trace'


class Expectation(NamedTuple):
    """What a plain run must come to, as rules and not as recorded from a run."""

    goes: bool  # whether the module must be gone afterwards; if not, it must be as it was
    verdict: str  # what the run must call it
    names: str = ''  # for one that stays: whom the refusal must name, as a regular expression
    alone: bool = False  # whether it needs a guest of its own: it harms all others in the same
    own_alarms: str = ''  # what the kernel says of the fault itself while it lasts
    hangs: bool = False  # whether whoever asks this kernel may hang for ever, so that processes are left behind


def gone(verdict: str, *, alone: bool = False) -> Expectation:
    """A module that must be out after a plain run."""
    return Expectation(goes=True, verdict=verdict, alone=alone)


def stays(verdict: str, names: str, *, alone: bool = False, own_alarms: str = '', hangs: bool = False) -> Expectation:
    """A module that must be left alone, with whom it is left alone for."""
    return Expectation(goes=False, verdict=verdict, names=names, alone=alone, own_alarms=own_alarms, hangs=hangs)


def dangles(kind: str, what: str = '', verdict: str = 'init_died') -> Expectation:
    """A module without an exit to run that registered something: it stays for the sake of that."""
    return stays(verdict, f'{kind} .*{what}')


EXPECTED: Dict[str, Expectation] = {
    # It leaves its mark on later loads by finit_module(2), which insmod calls.
    'init_oops': gone('init_died', alone=True),
    'init_bug': gone('init_died'),
    'dashed-name': gone('init_died'),
    'exit_oops': gone('exit_died'),
    'leaked_ref': gone('references_leaked'),
    'no_exit': gone('no_exit'),
    'layout_pad': gone('exit_lost'),
    'init_hang': stays('init_running', r'(insmod|python3) \(pid \d+', alone=True),
    'init_spin': stays('init_running', r'insmod \(pid \d+', alone=True, own_alarms=STALLS),
    'exit_hang': stays('exit_running', r'rmmod \(pid \d+'),
    'used_base': stays('has_dependents', r'\bused_by\b'),
    'used_by': gone('unloadable'),
    'cdev_held': stays('in_use', r'sleep \(pid \d+\).*/dev/cdev_held'),
    'kernel_thread': gone('unloadable'),
    'healthy': gone('unloadable'),
    'bystander': gone('unloadable', alone=True),
    'init_misc': dangles('misc device', '/dev/init_misc'),
    'init_chrdev': dangles('character device', 'init_chrdev'),
    'init_netdev': dangles('network device'),
    'init_timer': dangles('timer'),
    'init_hrtimer': dangles('high-resolution timer'),
    'init_kprobe': dangles('kprobe'),
    'init_notifier': dangles('notifier'),
    'init_filesystem': dangles('file system', 'lab_filesystem'),
    'init_protocol': dangles('protocol', 'LAB'),
    'init_driver': dangles('driver', 'lab_driver'),
    'init_irq': dangles('interrupt', 'lab_interrupt'),
    'init_thread': stays('init_died', r'\(pid \d+'),
    'no_exit_misc': dangles('misc device', '/dev/no_exit_misc', 'no_exit'),
    'irqs_off': stays('no_exit', r'notifier|lab_irqs_off|CPU 1', alone=True, own_alarms=STALLS),
    'mutex_dead': stays('', r'module_mutex|hangs in|no answer within', alone=True, own_alarms=STALLS, hangs=True),
}

# Its host is lost by its own exit, however that is called: only the fleet's playbook has to do with it.
NOT_RUN = ('exit_panic',)


def module_of(fault: str) -> str:
    """The kernel's name for a fault's module."""
    return fault.replace('-', '_')


def batches(faults: List[str]) -> List[List[str]]:
    """The faults, in the order in which they are jammed, in as few guests as they can share."""
    missing = [name for name in faults if name not in EXPECTED]
    if missing:
        raise LabError('tests/torture/expectations.py says nothing of %s: add to EXPECTED one line each, such as\n'
                       "    '%s': gone('init_died'),\nor stays(VERDICT, WHOM_THE_REFUSAL_NAMES), with alone=True for "
                       'one that takes a CPU or a lock from all others.' % (', '.join(missing), missing[0]))
    together = [name for name in faults if not EXPECTED[name].alone]
    # used_by is loaded by used_base's jam, and goes: its turn comes after used_base was refused.
    dependents = [name for name in together if fault_modules.FAULTS[name].needs in together]
    together = [name for name in together if name not in dependents] + dependents
    return [together] * bool(together) + [[name] for name in faults if EXPECTED[name].alone]
