# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the guest: copies of the samples die, are unloaded by one call, and their fixed builds are used, one by one.

``copies.py FILE``: FILE holds, as JSON, the option timeout and of each copy its name, what it is a copy of, where it
dies, and the command that ends with 0 where the fixed build serves. Prints a JSON object of what was seen.
"""

import ctypes
import functools
import json
import os
import subprocess
import sys
from typing import Any, Dict, List

import as_ansible
import witness

SAMPLES = '/root/samples'
METHODS = ['undo', 'reset', 'park']
EXIT = 50
DEAD = ('1 - Loading', '-1 - Unloading')
Copy = Dict[str, Any]


def image(copy: Copy) -> bytes:
    """The file of a copy: that of the sample, with a name of the same length."""
    with open('%s/%s.ko' % (SAMPLES, copy['of']), 'rb') as stream:
        return stream.read().replace(copy['of'].encode(), copy['name'].encode())


def load(copy: Copy, crash_at: int) -> str:
    """Loads a copy by init_module(2): empty, or what failed."""
    data = image(copy)
    words = b'crash_at=%d' % crash_at
    error = witness.call(witness.INIT_MODULE, data, ctypes.c_ulong(len(data)), words)
    return os.strerror(error) if error else 'ok'


def unload(copy: Copy) -> str:
    """Unloads a copy by delete_module(2): ``ok``, or what failed."""
    flags = ctypes.c_uint(os.O_NONBLOCK)
    error = witness.call(witness.DELETE_MODULE, copy['name'].encode(), flags)
    return os.strerror(error) if error else 'ok'


def dies(copy: Copy) -> None:
    """Has it die where it is to."""
    witness.in_time(functools.partial(load, copy, copy['crash_at']), 20)
    if copy['crash_at'] >= EXIT:
        witness.in_time(functools.partial(unload, copy), 20)


def serves(command: str) -> str:
    """``ok``, or how the command ended."""
    process = subprocess.Popen(['sh', '-c', command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        out = process.communicate(timeout=30)[0].decode(errors='replace')
    except subprocess.TimeoutExpired:
        return 'did not end'
    return 'ok' if process.returncode == 0 else 'status %d: %s' % (process.returncode, out[-200:])


def used(copy: Copy) -> Dict[str, Any]:
    """What came of loading, using and unloading the fixed build of a copy, and the new alarms."""
    known = witness.alarms()
    said = {'loads': witness.in_time(functools.partial(load, copy, 0), 20)}
    said = {'loads': 'hangs' if said['loads'] is None else said['loads'] or 'died', 'serves': '', 'unloads': ''}
    if said['loads'] == 'ok':
        said['serves'] = serves(copy['serves'])
        unloaded = witness.in_time(functools.partial(unload, copy), 20)
        said['unloads'] = 'hangs' if unloaded is None else unloaded or 'died'
    return dict(said, alarms=[line for line in witness.alarms() if line not in known])


def main(seconds: float, copies: List[Copy]) -> Dict[str, Any]:
    """What was seen of all copies, and the alarms while they were unloaded."""
    as_ansible.warm_up('virtio_blk')
    for copy in copies:
        dies(copy)
    names = [copy['name'] for copy in copies]
    before = witness.look(names)
    alive = [name for name in names if not before['table'].get(name, '').startswith(DEAD)]
    answer = as_ansible.end(as_ansible.start('kmod_force_unload', {
        'names': names, 'methods': METHODS, 'timeout': seconds}))
    after = witness.settle(names)
    reports = {entry['name']: entry for entry in answer.get('modules', [])}
    return {
        'alive': alive, 'message': answer.get('msg', ''), 'reports': reports,
        'alarms': [line for line in after['log'] if line not in before['log']],
        'others': sorted(name for name, line in before['table'].items()
                         if name not in names and after['table'].get(name) != line),
        'table': after['table'], 'used': {copy['name']: used(copy) for copy in copies},
    }


if __name__ == '__main__':
    with open(sys.argv[1]) as opened:
        asked = json.load(opened)
    print(json.dumps(main(asked['seconds'], asked['copies'])), flush=True)
