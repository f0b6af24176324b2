# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load reads of the host: what is loaded, and what the kernel is."""

import json

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import load
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import running_kernel
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import log_source
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable

MODULES = """foo 16384 0 - Live 0xffffffffc0a96000 (OE)
stuck 16384 1 - Loading 0xffffffffc0b96000 (OE+)
kept 16384 0 [permanent], Live 0xffffffffc0c96000 (OE)
bar 16384 1 foo, Live 0xffffffffc0d96000
"""


@pytest.fixture
def root(tmp_path):
    builders.write(tmp_path, 'proc/modules', MODULES)
    builders.write(tmp_path, 'sys/module/foo/parameters/count', '3\n')
    builders.write(tmp_path, 'sys/module/foo/srcversion', 'NEW\n')
    builders.write(tmp_path, 'lib/modules/%s/modules.builtin' % builders.RELEASE, 'kernel/lib/quiet-lib.ko\n')
    return str(tmp_path)


def test_what_is_loaded_is_read(root):
    found = load.look('foo', ['bar', 'quiet-lib', 'stuck', 'no-such'], builders.kernel(), root)
    assert json.loads(json.dumps(found)) == found
    assert found['depends'] == {'bar': 'live', 'quiet_lib': 'builtin', 'stuck': 'coming', 'no_such': 'absent'}
    assert (found['state'], found['refcount'], found['used_by'], found['permanent']) == ('live', 0, [], False)
    assert (found['srcversion'], found['parameters']) == ('NEW', {'count': '3'})
    assert is_unavailable(found['build_id'])
    assert 'diagnosis' not in found


@pytest.mark.parametrize(('name', 'state', 'verdict'), [
    ('stuck', 'coming', 'init_running'), ('kept', 'live', 'no_exit')])
def test_what_looks_stuck_is_diagnosed(name, state, verdict, root):
    found = load.look(name, [], builders.kernel(), root)
    assert (found['state'], found['diagnosis']['verdict']) == (state, verdict)
    assert found['diagnosis']['reason']


@pytest.mark.parametrize(('name', 'state'), [('no_such', 'absent'), ('quiet_lib', 'builtin')])
def test_what_is_not_loaded_has_a_state_and_no_more(name, state, root):
    assert load.look(name, [], builders.kernel(), root) == {'state': state, 'depends': {}}


KMSG = """6,1,1000000,-;Linux version 6.1
1,2,2000000,-;BUG: kernel NULL pointer dereference, address: 0000000000000000
4,3,2000001,-;Oops: 0002 [#1] PREEMPT SMP
4,4,2000002,-;CPU: 0 PID: 99 Comm: insmod Not tainted 6.1
4,5,2000003,-;RIP: 0010:static_call_module_notify+0x10/0x20
4,6,2000004,-;Call Trace:
4,7,2000005,-; load_module+0x10/0x20
4,8,2000006,-;---[ end trace 0000000000000000 ]---
"""


@pytest.mark.parametrize(('lines', 'loader'), [(1, 'ok'), (8, 'wedged')])
def test_what_the_kernel_is(lines, loader, tmp_path, monkeypatch):
    root = builders.captured_root('6.1', tmp_path)
    text = ['[%5d.%06d] %s' % (*divmod(int(line.split(',')[2]), 1000000), line.split(';')[1])
            for line in KMSG.splitlines()[:lines]]
    monkeypatch.setattr(log_source, 'read', lambda *_root, **_how: text)
    kernel = running_kernel.read(root, builders.captured_release('6.1'), 'x86_64')
    found = load.host(kernel, root)
    assert json.loads(json.dumps(found)) == found
    assert (found['loader'], found['arch'], found['release']) == (loader, 'x86_64', kernel['release'])
    assert (found['compiler']['family'], found['compiler']['version']) == ('gcc', '12.2.0')
    assert set(found) == {'loader', 'arch', 'release', 'compiler', 'layout', 'vermagic', 'crc', 'modules_disabled',
                          'module_signatures', 'lockdown'}
