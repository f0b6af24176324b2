# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the guest: the collection's own unload, whose loading process is killed as the helper returns.

``killed.py NAME`` prints the report as JSON, with ``killed`` where the helper was loaded; ``killed.py NAME=:METHODS``
allows only these methods.
"""

import json
import os
import signal
import sys
from typing import Any, Dict

import collection
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls

MARK = '/run/torture-killed'


def main(word: str) -> Dict[str, Any]:
    """Runs it; the report or, where it failed, its words and facts."""
    real = loader_syscalls.init_module

    def kills_itself(image: bytes, parameters: str) -> int:
        real(image, parameters)
        with open(MARK, 'w'):
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    loader_syscalls.init_module = kills_itself
    name, _equals, methods = word.partition('=:')
    try:
        options: Dict[str, Any] = {'methods': methods.split(',')} if methods else {}
        report = collection.unload(name, **options)
    except KmodError as error:
        report = dict(error.facts, failed=True, msg=str(error))
    report['killed'] = os.path.exists(MARK)
    if report['killed']:
        os.unlink(MARK)
    return report


if __name__ == '__main__':
    print(json.dumps(main(sys.argv[1])), flush=True)
