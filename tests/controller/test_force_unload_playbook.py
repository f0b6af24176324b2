# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook force_unload as ansible-playbook runs it: its batches, its report. The hosts answer from a file.

The role is a stub of one task here; with guests it is in the Molecule scenarios.
"""

import base64
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
from fleet import HOSTILE

# Programs, on a machine that may be busy with guests
pytestmark = pytest.mark.timeout(300)

CHECKOUT = builders.CAPTURES.parents[2]
PROGRAM = [sys.executable, '-m', ansible.__name__, 'playbook']
# A module that gives the answers that the test has written for this host, one after the other.
DOOR = '''\
import json, os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({'names': {'type': 'list', 'elements': 'str'}, 'gather_subset': {'type': 'list'}, 'name': {},
                        'path': {}, 'methods': {'type': 'list'}, 'timeout': {'type': 'float'}})
asked = os.environ['KMOD_ANSWERS'] + '.asked'
with open(asked, 'a+') as stream:
    stream.seek(0)
    calls = stream.read().split()
    stream.write('%s ')
with open(os.environ['KMOD_ANSWERS']) as stream:
    answer = json.load(stream)['%s'][calls.count('%s')]
if %r == 'kmod_force_unload':
    answer['modules'] = [dict(answer, name=name) for name in module.params['names']]
if answer.get('failed'):
    module.fail_json(**answer)
module.exit_json(**answer)
'''
ROLE = '''\
- name: Unload
  kernelops.kmod.kmod_force_unload:
    names: "{{ force_unload_names }}"
  register: __force_unload_done
'''
GONE = 'gone ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1\n'
CURED = {'changed': True, 'method': 'reset', 'verdict': 'init_died'}


def facts(state='coming', flags=('died',), oopses=1, loader='ok'):
    """What kmod_facts answers of a host with the module foo."""
    kernel = {'release': '6.1.0-56-amd64', 'taint': {'value': 1, 'flags': list(flags)}, 'oopses': oopses,
              'loader': loader}
    module = {'state': state, 'diagnosis': {'verdict': 'absent' if state == 'absent' else 'init_died'}}
    return {'changed': False, 'ansible_facts': {'kmod': {'kernel': kernel, 'modules': {'foo': module}}}}


@pytest.fixture
def play(tmp_path):
    """Runs the playbook on hosts by name: (answers of kmod_facts, of kmod_force_unload); None: one that is down."""
    collection = tmp_path / 'ansible_collections/kernelops/kmod'
    (collection / 'plugins/modules').mkdir(parents=True)
    for part in ('playbooks', 'plugins/filter', 'plugins/plugin_utils'):
        shutil.copytree(str(CHECKOUT / part), str(collection / part))
    (collection / 'roles/force_unload/tasks').mkdir(parents=True)
    (collection / 'roles/force_unload/tasks/main.yml').write_text(ROLE)
    for name in ('kmod_facts', 'kmod_force_unload', 'kmod_load'):
        (collection / 'plugins/modules' / (name + '.py')).write_text(DOOR % (name, name, name, name))
    (tmp_path / 'work').mkdir()

    def run(hosts, *options):
        inventory = '[all:vars]\nansible_become=false\n[all]\n'
        for name, answers in hosts.items():
            if answers is None:
                inventory += GONE
                continue
            (tmp_path / (name + '.json')).write_text(json.dumps(
                {'kmod_facts': answers[0], 'kmod_force_unload': answers[1]}))
            interpreter = tmp_path / (name + '.sh')
            interpreter.write_text('#!/bin/sh\nKMOD_ANSWERS=%s/%s.json exec %s "$@"\n' % (
                tmp_path, name, sys.executable))
            interpreter.chmod(0o755)
            inventory += '%s ansible_connection=local ansible_python_interpreter=%s\n' % (name, interpreter)
        (tmp_path / 'hosts').write_text(inventory)
        settings = environment(tmp_path, ANSIBLE_PIPELINING='1', PWD=str(tmp_path / 'work'))
        done = subprocess.run(
            [*PROGRAM, 'kernelops.kmod.force_unload', '-i', str(tmp_path / 'hosts'),
             '-e', json.dumps({'force_unload_names': ['foo'], 'force_unload_serial': 1}), *options],
            check=False, timeout=200, cwd=str(tmp_path / 'work'), env=settings, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        printed = done.stdout.decode()
        path = tmp_path / 'work/kmod-force-unload.json'
        report = json.loads(path.read_text()) if path.exists() else None
        asked = {name: (tmp_path / (name + '.json.asked')) for name in hosts}
        asked = {name: path.read_text().split() if path.exists() else [] for name, path in asked.items()}
        return done.returncode, printed, report, asked

    return run


def outcomes(report):
    """Outcome by host."""
    return {host['host']: host['outcome'] for host in report['hosts']}


def test_a_healthy_host_costs_one_task(play, tmp_path):
    code, printed, report, asked = play({'web1': ([facts('absent')], []), 'gone': None})
    assert code == 0, printed
    assert asked['web1'] == ['kmod_facts']
    assert outcomes(report) == {'web1': 'nothing to do', 'gone': 'no answer'}
    assert '127.0.0.1' in report['hosts'][1]['reason']
    assert sorted(path.name for path in (tmp_path / 'work').iterdir()) == [
        'kmod-force-unload.html', 'kmod-force-unload.json']


def test_what_was_done_is_told(play):
    code, printed, report, asked = play({'web1': ([facts(), facts('absent', ('died', 'out_of_tree_module'))], [CURED])})
    assert code == 0, printed
    assert asked['web1'] == ['kmod_facts', 'kmod_force_unload', 'kmod_facts']
    (host,) = report['hosts']
    assert host['modules'] == [
        {'name': 'foo', 'before': 'coming', 'verdict': 'init_died', 'method': 'reset', 'after': 'absent',
         'parked_as': ''}]
    assert (host['outcome'], host['worse'], host['reason']) == ('cured', [], '')
    assert host['seconds'] > 0
    assert host['health']['before']['oopses'] == 1


def test_a_parked_module_is_told_as_parked(play, tmp_path):
    parked = {'changed': True, 'method': 'park', 'verdict': 'init_died', 'parked_as': 'foo_parked1'}
    code, printed, report, dummy = play({'web1': ([facts(), facts('absent')], [parked])})
    assert code == 0, printed
    (module,) = report['hosts'][0]['modules']
    assert (module['method'], module['after'], module['parked_as']) == ('park', 'absent', 'foo_parked1')
    page = ' '.join((tmp_path / 'work/kmod-force-unload.html').read_text().split())
    assert 'now parked as <code>foo_parked1</code>: the name is free, and the code stays until the next reboot' in page
    assert 'now absent' not in page


def test_a_name_with_a_dash_and_an_underscore_is_the_module_s(play):
    answers = json.loads(json.dumps([facts(), facts('absent')]).replace('"foo"', '"a_b_c"'))
    code, printed, report, dummy = play({'web1': (answers, [CURED])}, '-e', '{"force_unload_names": ["a-b_c"]}')
    assert code == 0, printed
    assert [(module['name'], module['method']) for module in report['hosts'][0]['modules']] == [('a_b_c', 'reset')]


@pytest.mark.parametrize(('after', 'why'), [
    (facts('absent', oopses=2), 'the kernel log has 1 more oopses'),
    (facts('absent', ('died', 'soft_lockup')), 'the kernel is tainted: soft_lockup'),
    (facts('absent', loader='wedged'), "the kernel's loader is wedged, and was ok"),
    ({'failed': True, 'msg': 'no answer within 30 s'}, 'it does not answer any more: no answer within 30 s'),
], ids=['oops', 'taint', 'loader', 'silent'])
def test_a_host_that_comes_out_worse_stops_the_fleet(play, after, why):
    healthy = ([facts(), facts('absent')], [CURED])
    code, printed, report, asked = play({'one': healthy, 'two': ([facts(), after], [CURED]), 'three': healthy})
    assert code != 0, printed
    assert outcomes(report) == {'one': 'cured', 'two': 'worse', 'three': 'waiting'}
    assert report['hosts'][1]['worse'] == [why]
    assert asked['three'] == []
    assert why in printed


def test_a_refusal_stops_the_fleet(play, tmp_path):
    refused = ([facts(), facts()], [{'failed': True, 'msg': 'Cannot unload foo: ' + HOSTILE}])
    code, printed, report, asked = play({'one': refused, 'two': refused}, '-e', 'force_unload_dest=fleet')
    assert (code != 0, report) == (True, None), printed
    report = json.loads((tmp_path / 'work/fleet.json').read_text())
    assert outcomes(report) == {'one': 'failed', 'two': 'waiting'}
    assert asked['two'] == []
    page = (tmp_path / 'work/fleet.html').read_text()
    assert page.endswith('</html>\n')
    assert HOSTILE not in page
    assert '<script' not in page
    assert '1 host failed or came out worse: the fleet was stopped' in page
    (style,) = re.findall('<style>(.*?)</style>', page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert "style-src 'sha256-%s'" % digest in page


def test_check_mode_writes_nothing(play, tmp_path):
    code, printed, report, dummy = play({'web1': ([facts()], [CURED])}, '--check')
    assert (code, report) == (0, None), printed
    assert list((tmp_path / 'work').iterdir()) == []
