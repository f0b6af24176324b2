# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet costs the controller: the playbook diagnose for one stuck module, by hosts and forks. `make scale`.

Real are the hosts that are names of one guest, each with an ssh connection of its own: the guest's two emulated
processors are what they wait for. Simulated are hosts whose interpreter is a program that reads what Ansible sends and
prints what that guest answered: all of the controller's work is real then, and a host takes no time.
"""

import argparse
import json
import os
import shlex
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Dict

from commands import CHECKOUT, LAB, run

GUEST = 'scale'
ASK = ['kernelops.kmod.kmod_facts', '-a', 'names=init_oops timeout=120']


def measured(inventory: Path, forks: int, scratch: Path) -> Dict[str, Any]:
    """Seconds, processor seconds and the largest process of one run of the playbook."""
    words = ['ansible-playbook', 'kernelops.kmod.diagnose', '-i', str(inventory), '--forks', str(forks),
             '-e', '{"diagnose_names": ["init_oops"], "diagnose_timeout": 120}']
    start = time.monotonic()
    with open(scratch / 'printed', 'w+', encoding='utf-8') as printed, subprocess.Popen(
            words, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT) as process:
        dummy, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        printed.seek(0)
        text = printed.read()
    hosts = inventory.read_text(encoding='utf-8').count('ansible_host')
    if process.returncode or text.count('init_died') < hosts:
        raise SystemExit(f'{shlex.join(words)}\nended with {process.returncode}:\n{text[-3000:]}')
    return {'seconds': seconds, 'processor': usage.ru_utime + usage.ru_stime, 'memory': usage.ru_maxrss / 1024}


def simulated(hosts: int, stub: Path, scratch: Path) -> Path:
    """An inventory of hosts that answer at once."""
    path = scratch / f'simulated-{hosts}.yml'
    variables = {'ansible_connection': 'local', 'ansible_python_interpreter': str(stub), 'ansible_become': False}
    path.write_text(json.dumps({'all': {'hosts': {
        f'host{number:04}': {'ansible_host': 'localhost', **variables} for number in range(hosts)}}}), encoding='utf-8')
    return path


def real(hosts: int, guest: Dict[str, Any], scratch: Path) -> Path:
    """An inventory of many names of one guest."""
    path = scratch / f'real-{hosts}.json'
    path.write_text(json.dumps({'all': {'hosts': {f'real{number:04}': guest for number in range(hosts)}}}),
                    encoding='utf-8')
    return path


def main() -> None:
    """Boots one guest, asks it once, and measures each row."""
    parser = argparse.ArgumentParser(description='What a fleet costs the controller.')
    parser.add_argument('--hosts', type=int, nargs='+', default=[1, 10, 100, 500], help='simulated')
    parser.add_argument('--real', type=int, nargs='+', default=[1, 10], help='names of one guest')
    parser.add_argument('--forks', type=int, nargs='+', default=[5, 25, 100])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='kmod-scale-') as name:
        scratch = Path(name)
        print(run([*LAB, 'up', GUEST, '--kernel', '6.1']), end='')
        try:
            run([*LAB, 'inject', GUEST, 'init_oops'])
            listed = run([*LAB, 'inventory', GUEST])
            (scratch / 'guest.yml').write_text(listed, encoding='utf-8')
            told = run(['ansible-inventory', '-i', str(scratch / 'guest.yml'), '--host', GUEST])
            guest = json.loads(told)
            answer = run(['ansible', GUEST, '-i', str(scratch / 'guest.yml'), '-b', '-m', *ASK])
            facts = json.loads('{' + answer.partition(' => {')[2])
            (scratch / 'answer').write_text(json.dumps(facts) + '\n', encoding='utf-8')
            stub = scratch / 'python3'
            stub.write_text(f'#!/bin/sh\ncat > /dev/null\ncat {scratch}/answer\n', encoding='utf-8')
            stub.chmod(0o755)
            print('hosts  which      forks   seconds  per host  processor     MB')
            rows = [('real', count, real(count, guest, scratch)) for count in options.real]
            rows += [('simulated', count, simulated(count, stub, scratch)) for count in options.hosts]
            for which, count, inventory in rows:
                for forks in [forks for forks in options.forks if forks <= max(count, options.forks[0])]:
                    row = measured(inventory, forks, scratch)
                    print('{:5}  {:9}  {:5}  {:8.1f}  {:8.3f}  {:9.1f}  {:5.0f}'.format(
                        count, which, forks, row['seconds'], row['seconds'] / count, row['processor'], row['memory']),
                        flush=True)
        finally:
            print(run([*LAB, 'down', GUEST]), end='')


if __name__ == '__main__':
    main()
