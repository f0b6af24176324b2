# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper's source, as the role hands it to the module that builds it: byte for byte, under each ansible-core."""

import json
import subprocess
import sys

import ansible
import builders
import pytest
from engine import environment

# Programs, on a machine that may be busy with guests
pytestmark = pytest.mark.timeout(300)

ROLE = builders.CAPTURES.parents[2] / 'roles/force_unload'
DOOR = '''\
import json, os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({'files': {'type': 'dict'}, 'to': {}})
with open(module.params['to'], 'w') as stream:
    json.dump(module.params['files'], stream)
module.exit_json()
'''


def test_the_source_arrives_as_it_is(tmp_path):
    (tmp_path / 'library').mkdir()
    (tmp_path / 'library/takes_files.py').write_text(DOOR)
    (tmp_path / 'play.json').write_text(json.dumps([{
        'hosts': 'localhost', 'gather_facts': False, 'vars_files': [str(ROLE / 'vars/main.yml')],
        'tasks': [{'takes_files': {'files': '{{ __force_unload_files }}', 'to': str(tmp_path / 'seen')}}]}]))
    done = subprocess.run(
        [sys.executable, '-m', ansible.__name__, 'playbook', str(tmp_path / 'play.json'), '-i', 'localhost,',
         '-c', 'local', '-e', json.dumps({'role_path': str(ROLE), 'ansible_python_interpreter': sys.executable})],
        check=False, timeout=200, cwd=str(tmp_path), env=environment(tmp_path), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()
    source = {path.name: path.read_text() for path in (ROLE / 'files/kmod_reset').iterdir()}
    assert 'Kbuild' in source
    assert json.loads((tmp_path / 'seen').read_text()) == source
