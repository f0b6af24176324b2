# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the guest: the collection's modules as Ansible calls them, arguments in and JSON out, a process for each call.

Ansible's own module utilities lie beside this file; there is no controller. What no task changes, the code and the
kernel's types, is read once by the process that all calls are children of.
"""

import contextlib
import importlib
import json
import os
import sys
from typing import Any, Dict, NamedTuple

from ansible.module_utils.testing import patch_module_args

MODULES = 'ansible_collections.kernelops.kmod.plugins.modules.'
UTILITIES = 'ansible_collections.kernelops.kmod.plugins.module_utils.'


class Call(NamedTuple):
    """A call that runs: its process, and the file that its answer is in when that has ended."""

    pid: int
    answer: int


def warm_up(a_module: str) -> None:
    """Reads the code and the kernel's types, by surveys of a module of the kernel's own that is in use."""
    for name in ('kmod_facts', 'kmod_force_unload'):
        importlib.import_module(MODULES + name)
    survey = importlib.import_module(UTILITIES + '_collect.module_survey')
    for depth in (survey.ALL, survey.FREED):
        survey.module(a_module, depth=depth)


def start(module: str, arguments: Dict[str, Any], check: bool = False) -> Call:
    """Calls a module, in check mode if asked to."""
    # No pipe: what the call leaves behind in the kernel would keep that open.
    answer = os.memfd_create('answer')
    pid = os.fork()
    if pid == 0:
        os.dup2(answer, sys.stdout.fileno())
        try:
            with patch_module_args(dict(arguments, _ansible_check_mode=check)):
                importlib.import_module(MODULES + module).main()
        except SystemExit:
            pass
        except BaseException as error:  # pylint: disable=broad-except  # the parent must hear of it
            print(json.dumps({'failed': True, 'msg': 'Traceback: %r' % error}))
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(0)
    return Call(pid, answer)


def end(call: Call) -> Dict[str, Any]:
    """What the module printed, once its process has ended."""
    os.waitpid(call.pid, 0)
    with os.fdopen(call.answer, 'rb') as stream:
        stream.seek(0)
        lines = stream.read().splitlines()
    return dict(json.loads(lines[-1])) if lines else {'failed': True, 'msg': 'the process was killed'}
