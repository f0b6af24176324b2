# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the role has the helper from that parking takes: built where it is to be built, from the cache, or refused.

The module is a stand-in that parks if the helper lies where it was put, and says in check mode what the real one says;
the build is a stand-in too. With guests both are in the Molecule scenarios.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys

import ansible
import builders
import pytest
from engine import environment

# Programs, on a machine that may be busy with guests
pytestmark = pytest.mark.timeout(300)

CHECKOUT = builders.CAPTURES.parents[2]
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
path = os.environ['HELPER_AT']
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
PLAY = [{'hosts': 'all', 'gather_facts': False, 'roles': ['kernelops.kmod.force_unload'],
         'environment': {'HELPER_AT': '{{ __force_unload_root }}/6.1/kmod_reset.ko',
                         'MUST_BE_SIGNED': '{{ must_be_signed | default() }}'}}]
SIGNED = {'must_be_signed': '1', 'force_unload_helper': 'compiled'}
# host: its variables, whether the cache has a helper; whether one is built, whether the module is parked, what is said
HOSTS = {
    'to_be_built': ({'force_unload_helper': 'compiled'}, False, True, True, ''),
    'to_be_built_and_in_the_cache': ({'force_unload_helper': 'compiled'}, True, False, True, ''),
    'left_open_and_in_the_cache': ({'force_unload_helper': 'auto'}, True, False, True, ''),
    'left_open_none_is_built': ({'force_unload_helper': 'auto'}, False, False, False,
                                'Have it built.*set it to compiled for that'),
    'signed_modules_only_and_no_key': (SIGNED, False, False, False,
                                       'Set force_unload_sign_key to a key that the kernel trusts'),
    'signed_modules_only': (dict(SIGNED, force_unload_sign_key='/etc/mok.key'), False, True, True, ''),
}


def host_variables(home, name):
    """Those of one host: a cache of its own, and a place for the helper."""
    settings, cached, _built, _parked, _said = HOSTS[name]
    cache = home / name / 'cache'
    cache.mkdir(parents=True, mode=0o700)
    if cached:
        entry = cache / ('%s-%s.ko' % (KEY, hashlib.sha256(HELPER).hexdigest()))
        entry.write_bytes(HELPER)
        entry.chmod(0o600)
    return dict(settings, force_unload_cache=str(cache), helpers=str(home / name / 'helper'))


@pytest.fixture(scope='module', params=[(), ('--check',)], ids=['run', 'check'])
def printed(request, tmp_path_factory):
    """What the role printed, run on all the hosts at once."""
    home = tmp_path_factory.mktemp('choice')
    collection = home / 'ansible_collections/kernelops/kmod'
    (collection / 'plugins/modules').mkdir(parents=True)
    for part in ('roles/force_unload', 'plugins/filter', 'plugins/plugin_utils'):
        shutil.copytree(str(CHECKOUT / part), str(collection / part))
    (collection / 'roles/force_unload/tasks/build.yml').write_text(BUILD)
    (collection / 'plugins/modules/kmod_force_unload.py').write_text(DOOR)
    (home / 'play.json').write_text(json.dumps(PLAY))
    (home / 'built').write_bytes(HELPER)
    (home / 'bin').mkdir()
    dmesg = home / 'bin/dmesg'
    dmesg.write_text('#!/bin/sh\n')
    dmesg.chmod(0o755)
    inventory = {'all': {'hosts': {name: host_variables(home, name) for name in HOSTS}, 'vars': {
        'ansible_connection': 'local', 'ansible_python_interpreter': sys.executable, 'force_unload_names': ['foo'],
        'built': str(home / 'built')}}}
    # The role's own, which no inventory overrides.
    given = {'__force_unload_root': '{{ helpers }}', '__force_unload_key_now': KEY}
    (home / 'hosts.json').write_text(json.dumps(inventory))
    settings = environment(home)
    settings['PATH'] = '%s:%s' % (home / 'bin', settings['PATH'])
    done = subprocess.run([*PROGRAM, str(home / 'play.json'), '-i', str(home / 'hosts.json'), '-e', json.dumps(given),
                           *request.param], check=False, timeout=200, cwd=str(home), env=settings,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert not list(home.glob('*/helper/6.1/kmod_reset.ko'))  # it was removed again
    return done.stdout.decode()


def told_of(printed, name):
    """Of one host: the lines of each task by its name, and those that tell of a failure in one."""
    tasks = {}
    for part in printed.split('\nTASK [')[1:]:
        title, _bracket, lines = part.partition(']')
        each = re.findall(r'(?ms)^(\w+: \[%s\b.*?)(?=^\w+: \[|\Z)' % name, lines)
        tasks.setdefault(title.rpartition(' : ')[2], []).extend(each)
    failures = ' '.join(line for lines in tasks.values() for line in lines if line.startswith('fatal: '))
    return tasks, ' '.join(failures.split())


@pytest.mark.parametrize('name', HOSTS)
def test_check_mode_promises_what_a_run_does(printed, name):
    _settings, _cached, built, parked, said = HOSTS[name]
    tasks, failures = told_of(printed, name)
    failed = int(re.search(r'(?m)^%s +: .*failed=(\d+)' % name, printed).group(1))
    assert (failed == 0) is parked, failures
    assert (failures == '') is parked
    assert re.search(said, failures), printed
    compiled = any(line.startswith('changed: ') for line in tasks.get('Compile the helper', []))
    promised = any(line.startswith('ok: ') for line in tasks.get('Say that it would be built', []))
    assert (compiled or promised) is built, printed
