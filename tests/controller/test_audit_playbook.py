# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook audit as ansible-playbook runs it, on hosts whose modules answer from a file."""

import json
import shutil
import subprocess
import sys

import ansible
import builders
import pytest
from engine import environment
from fleet import HOSTILE, fleet

# Programs, on a machine that may be busy with guests
pytestmark = pytest.mark.timeout(300)

CHECKOUT = builders.CAPTURES.parents[2]
PROGRAM = [sys.executable, '-m', ansible.__name__, 'playbook']
# A module that answers what the test has written for this host.
DOOR = '''\
import json, os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({'names': {'type': 'list', 'elements': 'str'}, 'gather_subset': {'type': 'list'},
                        'scope': {}, 'paths': {'type': 'list', 'elements': 'path'}, 'timeout': {'type': 'float'}},
                       supports_check_mode=True)
with open(os.environ['KMOD_ANSWERS']) as stream:
    answer = json.load(stream)['%s']
if answer is None:
    raise SystemExit('a traceback, say')
if '%s' == 'kmod_toolchain_facts':
    asked, kind = [module.params['scope'], module.params['paths']], '.asked'
else:
    asked, kind = module.params['names'], '.named'
with open(os.environ['KMOD_ANSWERS'] + kind, 'a') as stream:
    stream.write(json.dumps(asked) + chr(10))
module.exit_json(**answer)
'''
INVENTORY = '''\
[all:vars]
ansible_become=false
[all]
gone ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1
'''


@pytest.fixture
def run(tmp_path):
    """Runs the playbook in an empty directory; returns what it printed, and the report."""
    collection = tmp_path / 'ansible_collections/kernelops/kmod'
    (collection / 'plugins/modules').mkdir(parents=True)
    for part in ('playbooks', 'plugins/filter', 'plugins/plugin_utils'):
        shutil.copytree(str(CHECKOUT / part), str(collection / part))
    for name in ('kmod_facts', 'kmod_toolchain_facts'):
        (collection / 'plugins/modules' / (name + '.py')).write_text(DOOR % (name, name))
    hosts, inventory = fleet(), INVENTORY
    for name in ('web1', 'db1', 'broken'):
        about = hosts.get(name, {'audit_modules': None, 'audit_files': {'results': [None]}})
        (tmp_path / (name + '.json')).write_text(json.dumps({
            'kmod_facts': about['audit_modules'], 'kmod_toolchain_facts': about['audit_files']['results'][0]}))
        interpreter = tmp_path / (name + '.sh')
        interpreter.write_text('#!/bin/sh\nKMOD_ANSWERS=%s/%s.json exec %s "$@"\n' % (tmp_path, name, sys.executable))
        interpreter.chmod(0o755)
        inventory += '%s ansible_connection=local ansible_python_interpreter=%s\n' % (name, interpreter)
    (tmp_path / 'hosts').write_text(inventory)
    (tmp_path / 'work').mkdir()

    def play(*options):
        settings = environment(tmp_path, ANSIBLE_PIPELINING='1', PWD=str(tmp_path / 'work'))
        done = subprocess.run(
            [*PROGRAM, 'kernelops.kmod.audit', '-i', str(tmp_path / 'hosts'), *options], check=False, timeout=100,
            cwd=str(tmp_path / 'work'), env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout.decode()

    return play


def test_hosts_that_fail_do_not_end_the_audit(run, tmp_path):
    code, printed = run()
    assert code == 0, printed
    assert sorted(path.name for path in (tmp_path / 'work').iterdir()) == ['kmod-audit.html', 'kmod-audit.json']
    report = json.loads((tmp_path / 'work/kmod-audit.json').read_text())
    assert report['summary']['answered'] == 2
    assert [silent['host'] for silent in report['silent_hosts']] == ['gone', 'broken']
    # ansible-core 2.16 says so in words of its own where ssh has ended before it was written to.
    assert '127.0.0.1' in report['silent_hosts'][0]['reason']
    assert {found['module'] for found in report['findings'] if found['will_not_unload']} == {'nicdrv', 'sensor'}
    page = (tmp_path / 'work/kmod-audit.html').read_text()
    assert page.startswith('<!DOCTYPE html>')
    assert page.endswith('</html>\n')
    assert 'Modules that will not unload: 2' in printed
    assert HOSTILE not in page
    asked = [json.loads(line) for line in (tmp_path / 'web1.json.asked').read_text().splitlines()]
    assert asked == [['loaded', []], ['out_of_tree', []]]
    # Who holds those that have references is looked for by name, and only then.
    named = [json.loads(line) for line in (tmp_path / 'web1.json.named').read_text().splitlines()]
    assert named == [None, ['ext4', 'virtio_net']]


def test_its_variables_and_check_mode(run, tmp_path):
    options = ['--extra-vars', json.dumps({
        'audit_hosts': 'web1', 'audit_scope': ['all'], 'audit_paths': ['/opt/nic'], 'audit_dest': 'fleet'})]
    code, printed = run('--check', *options)
    assert code == 0, printed
    assert list((tmp_path / 'work').iterdir()) == []
    code, printed = run(*options)
    assert code == 0, printed
    assert sorted(path.name for path in (tmp_path / 'work').iterdir()) == ['fleet.html', 'fleet.json']
    asked = [json.loads(line) for line in (tmp_path / 'web1.json.asked').read_text().splitlines()]
    assert asked == [['all', []], ['loaded', ['/opt/nic']]] * 2
    code, printed = run('--check', *options)
    assert code == 0, printed
    # The same answers give the same report.
    assert 'changed=0' in printed
