# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The front doors through AnsibleModule: what they document is what they take and return."""

import importlib
import json
from pathlib import Path

import builders
import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.kernelops.kmod.plugins.doc_fragments.attributes import ModuleDocFragment
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import build, check_files, unload
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import running_kernel
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import hazards, ladder
from fake_kernel import FAULTS, FakeModule, Host

MODULES = 'ansible_collections.kernelops.kmod.plugins.modules.'
DOORS = sorted(path.stem for path in (builders.CAPTURES.parents[2] / 'plugins/modules').glob('*.py'))
# What Ansible itself documents for every module
COMMON = {'changed', 'failed', 'msg', 'diff', 'invocation', 'warnings', 'deprecations', 'exception'}
DEFAULTS = {'name': 'foo', 'src': '/nowhere'}


def door(name):
    return importlib.import_module(MODULES + name)


def documented(name):
    return yaml.safe_load(door(name).DOCUMENTATION)


def returns(name):
    return yaml.safe_load(door(name).RETURN)


def called(name, capfd, arguments=None, **flags):
    """The result of one call: exit code and the JSON that was printed."""
    given = dict(arguments or {}, **{'_ansible_' + flag: value for flag, value in flags.items()})
    with patch_module_args(given), pytest.raises(SystemExit) as ended:
        door(name).main()
    return ended.value.code, json.loads(capfd.readouterr().out)


def documented_in(value, fields, path=''):
    """The keys of ``value`` that ``fields`` (of RETURN) does not document; a dict without contains has a sample."""
    missing = []
    for key, item in value.items():
        if key not in fields:
            missing.append(path + key)
        elif fields[key].get('contains'):
            for entry in item if isinstance(item, list) else [item]:
                missing += documented_in(entry, fields[key]['contains'], path + key + '.')
    return missing


# --- documentation ------------------------------------------------------------------------------------------------

def test_all_front_doors_are_tested():
    assert {'kmod_build', 'kmod_force_unload'} <= set(DOORS)


@pytest.mark.parametrize('name', DOORS)
def test_documented_options_are_those_of_the_specification(name):
    options = documented(name)['options']
    specification = door(name).argument_spec()
    assert set(options) == set(specification)
    for option, spec in specification.items():
        for key in ('type', 'elements', 'default', 'choices', 'required'):
            assert options[option].get(key) == spec.get(key), (option, key)
        assert options[option]['description']


def tasks_in(examples):
    """Tasks, and those of plays."""
    for entry in examples:
        yield entry
        yield from entry.get('tasks', [])


@pytest.mark.parametrize('name', DOORS)
def test_documentation_is_whole(name):
    found = documented(name)
    assert found['module'] == name
    assert found['short_description']
    assert not found['short_description'].endswith('.')
    assert found['version_added']
    assert found['extends_documentation_fragment']
    calls = [task['kernelops.kmod.' + name] for task in tasks_in(yaml.safe_load(door(name).EXAMPLES))
             if 'kernelops.kmod.' + name in task]
    assert calls
    assert all(set(call or {}) <= set(found['options']) for call in calls)


@pytest.mark.parametrize('name', DOORS)
def test_every_return_value_has_type_sample_and_words(name):
    def check(fields, path):
        for key, field in fields.items():
            where = path + key
            assert field['description'], where
            assert field['type'], where
            assert 'sample' in field or 'contains' in field, where
            if field['type'] == 'list':
                assert field['elements'], where
            check(field.get('contains', {}), where + '.')

    found = returns(name)
    assert all(field['returned'] for field in found.values())
    check(found, '')


def test_fragment_documents_check_and_diff_mode():
    attributes = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)['attributes']
    assert (attributes['check_mode']['support'], attributes['diff_mode']['support']) == ('full', 'full')


def test_choices_are_those_of_the_judgement():
    specification = door('kmod_force_unload').argument_spec()
    assert tuple(specification['methods']['choices']) == ladder.METHODS
    assert specification['methods']['default'] == list(ladder.BY_DEFAULT)
    assert specification['accept_hazards']['default'] == []
    assert set(specification['accept_hazards']['choices']) == set(hazards.HAZARDS)


# --- kmod_force_unload --------------------------------------------------------------------------------------------

@pytest.fixture
def host(monkeypatch):
    found = Host(monkeypatch)
    monkeypatch.setattr(running_kernel, 'read', lambda *_root: found.kernel.facts)
    return found


@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_unload_returns_what_it_documents(fault, check_mode, host, capfd):
    kernel = host.boot(FakeModule(fault, **FAULTS[fault]))
    code, result = called('kmod_force_unload', capfd, {'name': fault}, check_mode=check_mode)
    assert (code, result['changed']) == (0, True)
    assert (fault in kernel.modules) == check_mode
    fields = returns('kmod_force_unload')
    assert documented_in({key: value for key, value in result.items() if key not in COMMON}, fields) == []
    assert {key for key, field in fields.items() if field['returned'] == 'when the module could be read'} <= set(result)
    assert result['verdict'] in str(fields['verdict']['description'])
    assert all(step['action'] in str(fields['steps']['contains']['action']) for step in result['steps'])


def test_unload_twice_is_unchanged(host, capfd):
    host.boot()
    code, result = called('kmod_force_unload', capfd, {'name': 'foo'})
    assert (code, result['changed'], result['verdict'], result['msg']) == (0, False, 'absent', 'foo is not loaded.')


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_unload_refused(check_mode, host, capfd):
    host.boot(FakeModule('foo', refcount=2, holders={'mounts': [builders.holder()]}))
    code, result = called('kmod_force_unload', capfd, {'name': 'foo'}, check_mode=check_mode)
    assert (code, result['failed'], result['changed'], result['verdict']) == (1, True, False, 'in_use')
    assert result['msg'] == (
        'Cannot unload foo: it is not safe: foo is held by mount /mnt/data. End what holds it: umount /mnt/data. '
        'accept_hazards=in_use overrides this at the risk of the host: what still uses it calls code that is gone, and '
        'crashes the host or loses what it did.')
    assert documented_in({key: value for key, value in result.items() if key not in COMMON},
                         returns('kmod_force_unload')) == []


# id: (arguments, words of the failure)
BAD_ARGUMENTS = {
    'no name': ({}, 'one of the following is required: name, names'),
    'both': ({'name': 'foo', 'names': ['bar']}, 'mutually exclusive: name|names'),
    'empty name': ({'name': ''}, 'Cannot unload a module: name is empty. Give the name as lsmod shows it.'),
    'a path': ({'name': '/lib/foo.ko'}, "Cannot unload the module '/lib/foo.ko': that is no module's name"),
    'dots': ({'name': '..'}, "that is no module's name"),
    'spaces': ({'name': 'foo bar'}, "that is no module's name"),
    'too long': ({'name': 'a' * 57}, 'at most 55 characters, and this has 57'),
    'unknown method': ({'name': 'foo', 'methods': ['hammer']}, 'hammer'),
    'unknown hazard': ({'name': 'foo', 'accept_hazards': ['all']}, 'accept_hazards'),
    'unknown run_exit': ({'name': 'foo', 'run_exit': 'maybe'}, 'run_exit'),
    'unknown option': ({'name': 'foo', 'force': True}, 'Unsupported parameters'),
}


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
@pytest.mark.parametrize(('arguments', 'why'), BAD_ARGUMENTS.values(), ids=list(BAD_ARGUMENTS))
def test_unload_with_bad_arguments(arguments, why, check_mode, host, capfd):
    kernel = host.boot(FakeModule('foo'))
    code, result = called('kmod_force_unload', capfd, arguments, check_mode=check_mode)
    assert (code, result['failed']) == (1, True)
    assert why in result['msg']
    assert 'Traceback' not in json.dumps(result)
    assert kernel.calls == []


@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_unload_of_several(check_mode, host, capfd):
    host.boot(FakeModule('healthy'), FakeModule('no_exit', **FAULTS['no_exit']))
    code, result = called('kmod_force_unload', capfd, {'names': ['healthy', '..', 'no_exit']}, check_mode=check_mode)
    assert (code, result['failed'], result['changed']) == (1, True, True)
    assert result['msg'].startswith("Cannot unload the module '..'")
    assert [entry.get('verdict') for entry in result['modules']] == ['unloadable', None, 'no_exit']
    assert documented_in({'modules': result['modules']}, returns('kmod_force_unload')) == []
    code, result = called('kmod_force_unload', capfd, {'names': []}, check_mode=check_mode)
    assert (code, result['changed'], result['modules']) == (0, False, [])


def test_unload_without_root(host, monkeypatch, capfd):
    host.boot(FakeModule('foo'))
    monkeypatch.setattr(unload.os, 'geteuid', lambda: 1000)
    code, result = called('kmod_force_unload', capfd, {'name': 'foo'})
    assert code == 1
    assert result['msg'] == ('Cannot unload foo: only root may, and this is user 1000. '
                             'Set become=true, or call ansible with -b.')


def test_unload_on_a_host_that_hangs(host, monkeypatch, capfd):
    def deadline(_function, seconds, tried):
        raise child_process.Deadline(tried, 'no answer within %g seconds' % seconds, hangs_in='__mutex_lock')

    host.boot(FakeModule('foo'))
    monkeypatch.setattr(child_process, 'with_deadline', deadline)
    code, result = called('kmod_force_unload', capfd, {'name': 'foo', 'timeout': 2})
    assert (code, result['msg']) == (1, 'Cannot read the state of foo: no answer within 2 seconds.')
    assert documented_in({key: value for key, value in result.items() if key not in COMMON},
                         returns('kmod_force_unload')) == []


# --- what every front door does with arguments and errors ---------------------------------------------------------

def required(name):
    """What it must be given; kmod_force_unload takes name or names, kmod_build src or files."""
    return {option: DEFAULTS[option] for option, spec in door(name).argument_spec().items()
            if spec.get('required') or (name, option) in (('kmod_force_unload', 'name'), ('kmod_build', 'src'))}


@pytest.mark.parametrize('name', DOORS)
def test_check_mode_is_supported(name, monkeypatch):
    seen = []

    def init(_self, **options):
        seen.append(options['supports_check_mode'])
        raise SystemExit(0)

    monkeypatch.setattr(AnsibleModule, '__init__', init)
    with pytest.raises(SystemExit):
        door(name).main()
    assert seen == [True]


@pytest.mark.parametrize(('name', 'module', 'what'), [
    ('kmod_force_unload', unload, 'Unload'), ('kmod_build', build, 'Build')])
def test_an_error_becomes_one_failure_with_its_facts(name, module, what, monkeypatch, capfd):
    def fail(_options, **_known):
        raise KmodError('act', 'it rained', 'Wait', package='umbrella')

    monkeypatch.setattr(module, what, fail)
    code, result = called(name, capfd, required(name))
    assert (code, result['failed'], result['msg'], result['package']) == (
        1, True, 'Cannot act: it rained. Wait.', 'umbrella')


@pytest.mark.parametrize(('name', 'module', 'what'), [
    ('kmod_force_unload', unload, 'Unload'), ('kmod_build', build, 'Build')])
@pytest.mark.parametrize('check_mode', [False, True], ids=['run', 'check'])
def test_options_arrive_with_their_defaults(name, module, what, check_mode, monkeypatch, capfd):
    seen = []

    class Action:
        def __init__(self, options, **_known):
            seen.append(options)

        def run(self):
            return {'changed': False}

    monkeypatch.setattr(module, what, Action)
    assert called(name, capfd, required(name), check_mode=check_mode)[0] == 0
    [options] = seen
    assert options.check_mode is check_mode
    specification = door(name).argument_spec()
    expected = {option: specification.get(option, {}).get('default') for option in options._fields}
    for option, value in options._asdict().items():
        if option not in required(name) and option != 'check_mode':
            assert value == expected[option], option


# --- kmod_build ---------------------------------------------------------------------------------------------------

@pytest.fixture
def headers(tmp_path, monkeypatch):
    builders.write(tmp_path, 'src/Kbuild', 'obj-m := foo.o\n')
    builders.write(tmp_path, 'kdir/Makefile', '')
    builders.write(tmp_path, 'kdir/.config', 'CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14) 12.2.0"\n')
    monkeypatch.setattr(build.shutil, 'which', lambda name, path: '%s/%s' % (path.split(':')[0], name))
    monkeypatch.setattr(build.host_compilers, 'found', lambda **_where: [{
        'command': 'gcc-12', 'path': '/usr/bin/gcc-12', 'target': '', 'family': 'gcc', 'version': '12.2.0',
        'major': '12', 'vendor': 'Debian 12.2.0-14', 'text': 'gcc-12 (Debian 12.2.0-14) 12.2.0'}])
    monkeypatch.setattr(build, 'read_os_release', lambda: {'ID': 'debian'})
    return {'src': str(tmp_path / 'src'), 'kdir': str(tmp_path / 'kdir'), 'dest': str(tmp_path / 'dest'),
            'kernel_release': builders.RELEASE}


def fake_make(command, _timeout, _tried):
    tree = next(word for word in command if word.startswith('M='))[2:]
    Path(tree, 'foo.ko').write_bytes(builders.module_image(name='foo'))
    return ''


def test_build_returns_what_it_documents(headers, monkeypatch, capfd):
    monkeypatch.setattr(build, 'run', fake_make)
    fields = returns('kmod_build')
    always = {key for key, field in fields.items() if field['returned'] == 'success'}
    for changed, flags in ((True, {'check_mode': True}), (True, {}), (False, {}), (True, {'state': 'clean'})):
        arguments = dict(headers, **({'state': flags.pop('state')} if 'state' in flags else {}))
        code, result = called('kmod_build', capfd, arguments, **flags)
        assert (code, result['changed']) == (0, changed)
        assert documented_in({key: value for key, value in result.items() if key not in COMMON}, fields) == []
        assert always <= set(result)
        assert result['diff']['before'] != result['diff']['after'] or not changed


def test_build_warns_of_what_it_cannot_compare(headers, monkeypatch, capfd):
    monkeypatch.setattr(build, 'run', fake_make)
    monkeypatch.setattr(check_files, 'MODULES', '/nowhere')
    result = called('kmod_build', capfd, headers)[1]
    assert [module['severity'] for module in result['modules']] == ['warning']
    assert '/kernel holds no module' in json.dumps(result['warnings'])


def test_build_that_fails_returns_what_it_documents(headers, monkeypatch, capfd):
    def fail(_command, _timeout, tried):
        return _kbuild_run(['false'], 10, tried)

    _kbuild_run = build.run
    monkeypatch.setattr(build, 'run', fail)
    code, result = called('kmod_build', capfd, headers)
    assert (code, result['failed']) == (1, True)
    assert 'false ended with 1' in result['msg']
    assert [key for key in result if key not in COMMON | set(returns('kmod_build'))] == []


def test_build_without_headers_names_the_package(headers, capfd):
    code, result = called('kmod_build', capfd, dict(headers, kdir='/nowhere'))
    assert (code, result['package']) == (1, 'linux-headers-' + builders.RELEASE)
    assert 'Install the package linux-headers-%s.' % builders.RELEASE in result['msg']
    assert [key for key in result if key not in COMMON | set(returns('kmod_build'))] == []


@pytest.mark.parametrize(('arguments', 'why'), [
    ({'src': None}, 'state is built but any of the following are missing: src, files'),
    ({'state': 'maybe'}, 'state must be one of'),
    ({'sign_key': '/mok.key'}, 'sign_cert'), ({'jobs': 'many'}, 'jobs'), ({'src': '/nowhere'}, 'no such directory'),
    ({'src': None, 'dest': None, 'files': {'Kbuild': ''}}, 'dest'), ({'files': {'Kbuild': ''}}, 'mutually exclusive'),
], ids=['no src', 'unknown state', 'key without certificate', 'jobs', 'no such src', 'no dest', 'both'])
def test_build_with_bad_arguments(arguments, why, headers, capfd):
    given = {key: value for key, value in dict(headers, **arguments).items() if value is not None}
    code, result = called('kmod_build', capfd, given)
    assert (code, result['failed']) == (1, True)
    assert why in result['msg']
    assert 'Traceback' not in json.dumps(result)
