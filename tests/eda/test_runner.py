# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-runner, which AWX runs playbooks by, runs ours, and its artefacts say what came of them.

The hosts are this machine, which is only read, and one that nobody answers for.
"""

import json
import os
import sys
from pathlib import Path

import ansible_runner
import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = {'ansible_connection': 'local', 'ansible_python_interpreter': sys.executable}
GONE = {'ansible_host': '127.0.0.1', 'ansible_port': 1, 'ansible_ssh_args': '-o ConnectTimeout=5'}
NO_NAME = 'there_is_no_module_of_this_name'


@pytest.fixture(name='artefacts')
def _artefacts(tmp_path, monkeypatch):
    """Runs a playbook; what ansible-runner then left on disk: status, rc, events, and the statistics at the end."""
    monkeypatch.setenv('PATH', str(Path(sys.executable).parent) + os.pathsep + os.environ['PATH'])

    def run(playbook, **extra_variables):
        hosts = {'here': dict(HERE, ansible_become=False), 'gone': dict(GONE, ansible_become=False)}
        ansible_runner.run(
            private_data_dir=str(tmp_path), ident='test', playbook=playbook, quiet=True, timeout=100,
            inventory={'all': {'hosts': hosts}}, extravars=extra_variables,
            envvars={'ANSIBLE_CONFIG': str(CHECKOUT / 'ansible.cfg'), 'ANSIBLE_HOME': str(tmp_path / 'home')})
        left = tmp_path / 'artifacts/test'
        events = [json.loads(path.read_text()) for path in (left / 'job_events').glob('*-*.json')]
        events.sort(key=lambda event: event['counter'])
        (end,) = [event for event in events if event['event'] == 'playbook_on_stats']
        return {'status': (left / 'status').read_text(), 'rc': (left / 'rc').read_text(), 'events': events,
                'end': end['event_data'], 'stdout': (left / 'stdout').read_text()}

    return run


def test_the_table_of_diagnose_is_in_the_events(artefacts):
    found = artefacts('kernelops.kmod.diagnose', diagnose_names=[NO_NAME])
    assert (found['status'], found['rc']) == ('successful', '0'), found['stdout']
    assert found['end']['ok'] == {'here': 2, 'gone': 1}
    assert found['end']['changed'] == found['end']['failures'] == found['end']['dark'] == {}
    (shown,) = [event['event_data'] for event in found['events']
                if event['event'] == 'runner_on_ok' and event['event_data']['task'] == 'Show the table']
    rows = [row.split() for row in shown['res']['msg']]
    assert rows[0] == ['HOST', 'MODULE', 'VERDICT', 'METHOD', 'HOLDERS']
    expected = ['here', NO_NAME, 'absent', 'none', '-'] if Path('/proc/modules').exists() else \
        ['here', '-', 'no', 'answer', '-', '-']
    assert expected in rows
    assert ['gone', '-', 'no', 'answer', '-', '-'] in rows


def test_a_host_that_is_not_reached_is_in_the_report(artefacts, tmp_path):
    found = artefacts('kernelops.kmod.force_unload', force_unload_names=[NO_NAME], force_unload_hosts='gone',
                      force_unload_dest=str(tmp_path / 'fleet'))
    assert (found['status'], found['rc']) == ('successful', '0'), found['stdout']
    (event,) = [event for event in found['events'] if event['event'] == 'runner_on_unreachable']
    assert 'Connection refused' in event['event_data']['res']['msg']
    (host,) = json.loads((tmp_path / 'fleet.json').read_text())['hosts']
    assert (host['host'], host['outcome']) == ('gone', 'no answer')
    assert 'Connection refused' in host['reason']
