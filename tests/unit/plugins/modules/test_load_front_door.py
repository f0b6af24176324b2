# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The front door kmod_load through AnsibleModule: what it documents is what it returns."""

import errno
import json

import builders
import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import load_plan
from ansible_collections.kernelops.kmod.plugins.modules import kmod_load
from fake_kernel import FakeModule
from loading_kernel import LoadingHost

OLD, NEW = {'srcversion': 'OLD'}, {'srcversion': 'NEW'}

FIELDS = yaml.safe_load(kmod_load.RETURN)
COMMON = {'changed', 'failed', 'msg', 'diff', 'invocation', 'warnings', 'exception'}


@pytest.fixture
def host(monkeypatch):
    return LoadingHost(monkeypatch)


@pytest.fixture
def path(tmp_path):
    (tmp_path / 'foo.ko').write_bytes(builders.module_image(name='foo\x00srcversion=NEW\x00parmtype=count:int'))
    return tmp_path / 'foo.ko'


def called(arguments, capfd, **flags):
    given_arguments = dict(arguments, **{'_ansible_' + flag: value for flag, value in flags.items()})
    with patch_module_args(given_arguments), pytest.raises(SystemExit) as ended:
        kmod_load.main()
    return ended.value.code, json.loads(capfd.readouterr().out)


def test_every_verdict_is_documented():
    described = ' '.join(FIELDS['verdict']['description'])
    assert all('V(%s)' % verdict in described for verdict in load_plan.VERDICTS)


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
@pytest.mark.parametrize(('modules', 'answer', 'code'), [
    ([], 0, 0), ([FakeModule('foo', **NEW)], 0, 0), ([FakeModule('foo', **OLD)], 0, 0),
    ([FakeModule('foo', refcount=3, **OLD)], 0, 1), ([], errno.ENOEXEC, 1)],
    ids=['load', 'loaded', 'replace', 'refused', 'the kernel refuses'])
def test_the_module_returns_what_it_documents(modules, answer, code, check_mode, host, path, capfd):
    host.start(*modules).answer = answer
    arguments = {'path': str(path), 'replace': True, 'params': {'count': 3} if not modules else {}}
    ended, result = called(arguments, capfd, check_mode=check_mode)
    assert ended == (0 if check_mode and answer else code)
    assert set(result) - COMMON <= set(FIELDS)
    assert {key for key, field in FIELDS.items() if field['returned'].startswith('when the file')} <= set(result)
    assert set(result.get('unload', {})) <= set(FIELDS['unload']['contains'])


def test_warnings_arrive(host, path, capfd):
    host.start(FakeModule('foo', parameters={'count': '1'}, **NEW))
    code, result = called({'path': str(path), 'params': {'count': 2}}, capfd)
    assert code == 0
    assert 'count is 1 and not 2' in str(result['warnings'])


@pytest.mark.parametrize(('arguments', 'words'), [
    ({}, 'missing required arguments: path'), ({'path': '/nowhere/foo.ko'}, 'there is no such file'),
    ({'path': '/nowhere', 'params': 'x'}, 'params'), ({'path': '/nowhere', 'timeout': 'long'}, 'timeout')])
def test_bad_arguments(arguments, words, host, capfd):
    host.start()
    code, result = called(arguments, capfd)
    assert (code, result['failed']) == (1, True)
    assert words in result['msg']
    assert 'Traceback' not in json.dumps(result)
