# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rules are asked about: facts of modules in each state, and the plan for them."""

import builders
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import diagnose, ladder

ALL = list(ladder.METHODS)
FREE = ['plain', 'kernel_force', 'reset']
HOLDERS = {'mounts': [builders.holder()]}
THREAD = builders.tasks(builders.task('foo_thread', 5, 'f_loop', kernel_thread=True))
USER_TASK = builders.tasks(builders.task('cat', 6, 'f_read'))
INSMOD = builders.tasks(builders.loader_task())
REGISTERED = {'found': [{'kind': 'misc device', 'what': '/dev/foo', 'evidence': 'struct miscdevice is f_device'},
                        {'kind': 'timer', 'what': 'f_tick', 'evidence': 'timer_list.function is f_tick'}],
              'unseen': ['work items'], 'blind': '', 'leftovers': []}
HIDDEN_KERNEL = builders.kernel(kptr_restrict=2)
ELSEWHERE = builders.oops(module='', of=None, call=None, died_in=None, function='static_call_module_notify')
SHOWN = {'reachability': builders.UNREACHABLE}

INIT_DIED = builders.facts('coming', 1, oopses=[builders.oops()])
PROBE_DIED = builders.facts('coming', 1, oopses=[builders.oops(died_in='probe', locks=['device_lock'])])
UNKNOWN = builders.facts(refcount=3)
RUNNING = builders.facts('coming', 1, loader_tasks=INSMOD)
HELD = builders.facts(refcount=1, holders=HOLDERS)


def shown(given):
    """The facts where it is shown that nothing in the kernel leads into the module."""
    return dict(given, **SHOWN)


def hidden(given, **changes):
    """The facts where the kernel hides the address of struct module."""
    module = dict(given['module'], struct_address=unavailable('section addresses are hidden (kernel.kptr_restrict=2)'))
    return dict(given, module=module, kernel=HIDDEN_KERNEL, **changes)


def plan(given, methods, run_exit='auto', accepted=()):
    """What the ladder makes of the diagnosis of these facts."""
    return ladder.plan(given, diagnose.diagnose(given, run_exit == 'never'), methods, run_exit, accepted)
