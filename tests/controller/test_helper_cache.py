# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entry of the controller's cache the role hands to a host, and which it removes."""

import hashlib
import json
import os
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
PLAY = [{'hosts': 'localhost', 'gather_facts': False, 'tasks': [
    {'ansible.builtin.set_fact': {'__force_unload_at_hand': False}},
    {'ansible.builtin.include_role': {'name': 'kernelops.kmod.force_unload', 'tasks_from': 'cached.yml'},
     'vars': {'force_unload_names': ['foo']}},
    {'ansible.builtin.debug': {'msg': 'at hand: {{ __force_unload_at_hand }}'}},
]}]


@pytest.fixture
def ask(tmp_path):
    """What lies on the host then (None: nothing), what is left in the cache, and what was printed."""
    for part in ('roles/force_unload', 'plugins/filter', 'plugins/plugin_utils'):
        shutil.copytree(str(CHECKOUT / part), str(tmp_path / 'ansible_collections/kernelops/kmod' / part))
    (tmp_path / 'cache').mkdir(mode=0o700)
    (tmp_path / 'host').mkdir()
    (tmp_path / 'play.json').write_text(json.dumps(PLAY))

    def run(*options):
        given = {'force_unload_cache': str(tmp_path / 'cache'), '__force_unload_key': KEY,
                 'ansible_python_interpreter': sys.executable,
                 '__force_unload_helper_path': str(tmp_path / 'host/kmod_reset.ko')}
        done = subprocess.run(
            [*PROGRAM, str(tmp_path / 'play.json'), '-i', 'localhost,', '-c', 'local', '-e', json.dumps(given),
             *options],
            check=False, timeout=200, cwd=str(tmp_path), env=environment(tmp_path), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout.decode()
        helper = tmp_path / 'host/kmod_reset.ko'
        return (helper.read_bytes() if helper.exists() else None,
                sorted(path.name for path in (tmp_path / 'cache').iterdir()), done.stdout.decode())

    return run


def entry(tmp_path, content=HELPER, named=HELPER, key=KEY, mode=0o600):
    """An entry of the cache, named for some content."""
    path = tmp_path / 'cache' / ('%s-%s.ko' % (key, hashlib.sha256(named).hexdigest()))
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_sound_entry_is_handed_out(ask, tmp_path):
    name = entry(tmp_path).name
    helper, kept, printed = ask()
    assert (helper, kept) == (HELPER, [name])
    assert 'at hand: True' in printed


def test_check_mode_foresees_it(ask, tmp_path):
    name = entry(tmp_path).name
    (tmp_path / 'host').rmdir()
    helper, kept, printed = ask('--check')
    assert (helper, kept) == (None, [name])
    assert 'at hand: True' in printed


def test_a_damaged_entry_is_removed(ask, tmp_path):
    entry(tmp_path, content=HELPER[:-1])
    helper, kept, printed = ask()
    assert (helper, kept) == (None, [])
    assert 'at hand: False' in printed


def test_of_two_the_sound_one_is_taken(ask, tmp_path):
    entry(tmp_path, content=b'cut', named=b'another build')
    name = entry(tmp_path).name
    assert ask()[:2] == (HELPER, [name])


@pytest.mark.parametrize('mode', [0o620, 0o602])
def test_what_others_can_write_is_not_believed(ask, tmp_path, mode):
    entry(tmp_path, mode=mode)
    assert ask()[:2] == (None, [])


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give a file away')
def test_what_belongs_to_another_user_is_neither_believed_nor_touched(ask, tmp_path):
    path = entry(tmp_path)
    os.chown(str(path), 12345, 12345)
    assert ask()[:2] == (None, [path.name])


def test_what_one_hosts_key_has_signed_is_not_handed_to_another(ask, tmp_path):
    name = entry(tmp_path).name
    helper, kept, printed = ask('-e', 'force_unload_sign_key=/var/lib/dkms/mok.key')
    assert (helper, kept) == (None, [name])
    assert 'at hand: False' in printed


def test_an_entry_of_another_kernel_is_left_alone(ask, tmp_path):
    name = entry(tmp_path, key='b' * 64).name
    assert ask()[:2] == (None, [name])
