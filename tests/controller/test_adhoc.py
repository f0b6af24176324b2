# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each module by `ansible` ad hoc, on this machine, in ways that change nothing: `make ansible-versions`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ansible
import builders
import pytest
from engine import environment

# Programs, on a machine that may be busy with guests
pytestmark = pytest.mark.timeout(300)

CHECKOUT = builders.CAPTURES.parents[2]
PROGRAM = [sys.executable, '-m', ansible.__name__, 'adhoc']
HAS_MODULES = Path('/proc/modules').exists()
HEALTHY = CHECKOUT / 'tests/unit/module_files/healthy-6.1.ko.xz'


@pytest.fixture
def ask(tmp_path):
    """Runs a module of the collection in check mode; its exit status and what it returned."""
    place = tmp_path / 'ansible_collections/kernelops'
    place.mkdir(parents=True)
    (place / 'kmod').symlink_to(CHECKOUT)

    def run(name, *arguments):
        done = subprocess.run(
            [*PROGRAM, 'localhost', '-i', 'localhost,', '-c', 'local', '--check', '-m', 'kernelops.kmod.' + name,
             '-e', json.dumps({'ansible_python_interpreter': sys.executable}), '-a', ' '.join(arguments)],
            check=False, timeout=100, cwd=str(tmp_path), env=environment(tmp_path), capture_output=True)
        printed = done.stdout.decode()
        assert ' => {' in printed, printed + done.stderr.decode()
        return done.returncode, json.loads(printed[printed.index(' => {') + len(' => '):])

    return run


def answered(code, result):
    """True for an answer; a kernel that has no modules is named as such, and there is no more to be had of it."""
    if HAS_MODULES:
        assert (code, result['changed']) == (0, False), result
    else:
        assert code == 2, result
        assert result['msg'].startswith('Cannot read the module table: /proc/modules'), result
    return HAS_MODULES


def test_kmod_facts(ask):
    code, result = ask('kmod_facts', 'names=kmod_no_such_module', 'gather_subset=kernel,state')
    if answered(code, result):
        assert result['ansible_facts']['kmod']['kernel']['release'] == os.uname().release
        assert result['ansible_facts']['kmod']['modules']['kmod_no_such_module']['state'] == 'absent'


def test_kmod_toolchain_facts(ask):
    code, result = ask('kmod_toolchain_facts', 'names=kmod_no_such_module', 'paths=%s' % HEALTHY)
    if answered(code, result):
        assert result['ansible_facts']['kmod_toolchain']['modules']['healthy']['compilers'][0]['family'] == 'gcc'


def test_kmod_force_unload(ask):
    code, result = ask('kmod_force_unload', 'name=kmod_no_such_module')
    if answered(code, result):
        assert result['verdict'] == 'absent'


def test_kmod_build_asks_for_its_source(ask):
    code, result = ask('kmod_build', 'dest=/nowhere')
    assert (code, result['msg']) == (2, 'state is built but any of the following are missing: src, files')


def test_kmod_load_says_that_there_is_no_such_file(ask, tmp_path):
    code, result = ask('kmod_load', 'path=%s' % (tmp_path / 'none.ko'))
    assert code == 2, result
    assert str(tmp_path / 'none.ko') in result['msg']
    assert 'Traceback' not in result['msg']
