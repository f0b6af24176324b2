# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the role has the helper from that parking takes: built where it is to be built, from the cache, or refused.

The module is a stand-in that parks if the helper lies where it was put, and says in check mode what the real one says;
the build is a stand-in too. With guests both are in the Molecule scenarios.
"""

import hashlib
import json
import shutil
import subprocess
import sys

import ansible
import builders
import pytest
from engine import environment

# Programs, on a machine that may be busy with guests
pytestmark = pytest.mark.timeout(300)

ROLE = builders.CAPTURES.parents[2] / 'roles/force_unload'
PROGRAM = [sys.executable, '-m', ansible.__name__, 'playbook']
KEY = 'a' * 64
HELPER = b'what a host of this kernel built'
DOOR = '''\
import os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({'names': {'type': 'list'}, 'methods': {'type': 'list'}, 'run_exit': {},
                        'cascade': {'type': 'bool'}, 'accept_hazards': {'type': 'list'},
                        'timeout': {'type': 'float'}, 'helper': {},
                        'helper_will_be_built': {'type': 'bool'}}, supports_check_mode=True)
path = %r
there = os.path.exists(path)
helper = {'kind': 'compiled' if there else 'none', 'usable': there, 'compiled': {
    'path': path, 'key': 'k', 'must_be_signed': bool(os.environ.get('MUST_BE_SIGNED'))}}
result = {'verdict': 'init_died', 'method': 'park', 'helper': helper, 'after': {'state': 'absent'}}
result = {'modules': [dict(result, name=name, msg='told') for name in module.params['names']]}
if there or module.check_mode and module.params['helper_will_be_built']:
    module.exit_json(changed=True, **result)
module.fail_json(msg='Have it built', **result)
'''
BUILD = '''\
- name: Compile the helper
  ansible.builtin.copy:
    src: "{{ built }}"
    dest: "{{ __force_unload_helper_path }}"
    mode: "0600"
  when: not ansible_check_mode
- name: Say that it would be built
  ansible.builtin.debug:
    msg: it would be built
  when: ansible_check_mode
'''
PLAY = [{'hosts': 'localhost', 'gather_facts': False, 'roles': ['kernelops.kmod.force_unload']}]


@pytest.fixture
def run_role(tmp_path):
    """Runs the role: exit status and what it printed. The cache has the helper where ``cached``."""
    collection = tmp_path / 'ansible_collections/kernelops/kmod'
    (collection / 'plugins/modules').mkdir(parents=True)
    (collection / 'roles').mkdir()
    shutil.copytree(str(ROLE), str(collection / 'roles/force_unload'))
    (collection / 'roles/force_unload/tasks/build.yml').write_text(BUILD)
    path = tmp_path / 'helper/6.1/kmod_reset.ko'
    (collection / 'plugins/modules/kmod_force_unload.py').write_text(DOOR % str(path))
    (tmp_path / 'play.json').write_text(json.dumps(PLAY))
    (tmp_path / 'built').write_bytes(HELPER)
    (tmp_path / 'cache').mkdir(mode=0o700)
    (tmp_path / 'bin').mkdir()
    dmesg = tmp_path / 'bin/dmesg'
    dmesg.write_text('#!/bin/sh\n')
    dmesg.chmod(0o755)

    def run(helper, cached, *options, **settings):
        if cached:
            entry = tmp_path / 'cache' / ('%s-%s.ko' % (KEY, hashlib.sha256(HELPER).hexdigest()))
            entry.write_bytes(HELPER)
            entry.chmod(0o600)
        given = {'force_unload_names': ['foo'], 'force_unload_helper': helper,
                 'force_unload_cache': str(tmp_path / 'cache'), '__force_unload_key_now': KEY,
                 '__force_unload_root': str(tmp_path / 'helper'), 'built': str(tmp_path / 'built'),
                 'ansible_python_interpreter': sys.executable}
        settings = environment(tmp_path, **settings)
        settings['PATH'] = '%s:%s' % (tmp_path / 'bin', settings['PATH'])
        done = subprocess.run(
            [*PROGRAM, str(tmp_path / 'play.json'), '-i', 'localhost,', '-c', 'local', '-e', json.dumps(given),
             *options],
            check=False, timeout=200, cwd=str(tmp_path), env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert not path.exists()  # it was removed again
        return done.returncode, done.stdout.decode()

    return run


def compiles(printed):
    """Whether the build ran, or would."""
    section = printed.partition('Compile the helper]')[2].partition('TASK')[0]
    return 'changed: [localhost]' in section or 'it would be built' in printed


# helper, whether the cache has one; whether one is built, whether the module is parked
CHOICES = {
    'to be built': ('compiled', False, True, True),
    'to be built, and in the cache': ('compiled', True, False, True),
    'left open, and in the cache': ('auto', True, False, True),
    'left open: none is built': ('auto', False, False, False),
}


@pytest.mark.parametrize('options', [[], ['--check']], ids=['run', 'check'])
@pytest.mark.parametrize(('helper', 'cached', 'built', 'parked'), CHOICES.values(), ids=list(CHOICES))
def test_check_mode_promises_what_a_run_does(run_role, helper, cached, built, parked, options):
    status, printed = run_role(helper, cached, *options)
    assert (status == 0) is parked, printed
    assert ('Have it built' in printed) is not parked
    assert ('set it to compiled for that' in printed) is not parked
    assert compiles(printed) is built, printed


@pytest.mark.parametrize('options', [[], ['--check']], ids=['run', 'check'])
def test_a_kernel_that_takes_only_signed_modules_asks_for_the_key_first(run_role, options):
    status, printed = run_role('compiled', False, *options, MUST_BE_SIGNED='1')
    assert status != 0
    assert 'Set force_unload_sign_key to a key that the kernel trusts' in ' '.join(printed.split())
    assert not compiles(printed)
    key = ['-e', 'force_unload_sign_key=/etc/mok.key']
    status, printed = run_role('compiled', False, *options, *key, MUST_BE_SIGNED='1')
    assert status == 0, printed
    assert compiles(printed)
