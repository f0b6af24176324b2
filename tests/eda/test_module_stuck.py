# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source by itself: a stand-in for the command ``ansible`` prints what the real one printed.

captures/stuck.txt is a look at three hosts (one without a port that answers, one without a Python), on kernel 6.1 with
init_oops, no_exit and leaked_ref jammed; captures/asked_by_name.txt is the same with names, laid out for reading.
"""

import asyncio
import json
import logging
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
PLUGIN = CHECKOUT / 'extensions/eda/plugins/event_source/module_stuck.py'
SOURCE = runpy.run_path(str(PLUGIN))
CAPTURES = Path(__file__).with_name('captures')
STUCK = (CAPTURES / 'stuck.txt').read_text()
BY_NAME = (CAPTURES / 'asked_by_name.txt').read_text()
HOSTS = ('web1', 'web2', 'web3')
# Plays a script: each look takes the next of its entries, the last one for good.
STAND_IN = '''#!{python}
import json, os, pathlib, subprocess, sys, time
place = pathlib.Path({place!r})
log = place / 'log'
script = json.loads((place / 'script.json').read_text())
listing = '--list-hosts' in sys.argv
before = log.read_text().splitlines() if log.exists() else []
turn = sum(json.loads(line)['listing'] == listing for line in before)
scene = script[min(turn, len(script) - 1)]
environment = {{key: os.environ.get(key) for key in ('ANSIBLE_CALLBACK_RESULT_FORMAT', 'ANSIBLE_NOCOLOR', 'OWN')}}
with log.open('a') as book:
    book.write(json.dumps({{'argv': sys.argv[1:], 'listing': listing, 'environment': environment}}) + '\\n')
if listing:
    if scene['hosts']:
        print('  hosts (%d):' % len(scene['hosts']))
    for host in scene['hosts']:
        print('    ' + host)
    sys.exit(scene.get('list_status', 0))
sys.stdout.write(scene['output'])
sys.stdout.flush()
if scene.get('hang'):
    child = subprocess.Popen(['sleep', '600'])
    (place / 'pids').write_text('%d %d' % (os.getpid(), child.pid))
    time.sleep(600)
sys.stderr.write(scene.get('complaint', ''))
sys.exit(scene.get('status', 0))
'''


def scene(output=STUCK, hosts=HOSTS, **more):
    """One look."""
    return {'output': output, 'hosts': list(hosts), **more}


class Stage:
    """The stand-in with its script."""

    def __init__(self, place):
        self.place = place
        stand_in = place / 'ansible'
        stand_in.write_text(STAND_IN.format(python=sys.executable, place=str(place)))
        stand_in.chmod(0o755)

    def play(self, *scenes):
        """What is to be seen, look by look."""
        (self.place / 'script.json').write_text(json.dumps(scenes))

    def calls(self):
        """What was asked, the lists of hosts left out."""
        return [call for call in map(json.loads, (self.place / 'log').read_text().splitlines()) if not call['listing']]


@pytest.fixture(name='stage')
def _stage(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path) + os.pathsep + os.environ['PATH'])
    return Stage(tmp_path)


def looks(stage, *scenes, **args):
    """The events of one look after the other."""
    stage.play(*scenes)
    chosen = SOURCE['options'](args)
    watch = SOURCE['Watch'](chosen)

    async def all_of_them():
        return [await SOURCE['look'](chosen, watch) for dummy in scenes]

    return asyncio.run(all_of_them())


def told(events):
    """The short form of events."""
    short = []
    for event in events:
        kind = 'module_stuck' if 'module_stuck' in event else 'host_silent'
        short.append((event[kind]['host'], event[kind].get('module', 'silent'), event[kind].get('verdict', '')))
    return short


def edited(change, host='web1', text=STUCK):
    """The output with one host's result changed in place by a function."""
    lines = []
    for line in text.splitlines():
        if line.startswith(host + ' | '):
            head, result = line.split(' => ', 1)
            result = json.loads(result)
            change(result)
            lines.append(head + ' => ' + json.dumps(result))
        else:
            lines.append(line)
    return '\n'.join(lines) + '\n'


def module(name, change):
    """An edit of one module of web1: a function of its dict."""
    return edited(lambda result: change(result['ansible_facts']['kmod']['modules'][name]))


def without(name):
    """An edit: the module is gone."""
    return edited(lambda result: result['ansible_facts']['kmod']['modules'].pop(name))


def renamed(name, new):
    """An edit: the module has another name."""
    def change(result):
        modules = result['ansible_facts']['kmod']['modules']
        modules[new] = modules.pop(name)
    return edited(change)


DIED, NO_EXIT = ('web1', 'init_oops', 'init_died'), ('web1', 'no_exit', 'no_exit')
SILENT = [('web2', 'silent', ''), ('web3', 'silent', '')]


def test_the_first_look_tells_what_is_stuck_and_who_is_silent(stage):
    (events,) = looks(stage, scene(status=4))
    assert told(events) == [DIED, NO_EXIT, *SILENT]
    assert events[0] == {'module_stuck': {
        'host': 'web1', 'module': 'init_oops', 'state': 'coming', 'taint': 'OE', 'verdict': 'init_died',
        'reason': 'The init of init_oops died: kernel NULL pointer dereference, address: 0000000000000000 in '
                  'init_oops_init.',
        'method': 'park', 'hazards': ['reachability_unknown'],
        'next': "ansible-playbook kernelops.kmod.force_unload -l web1 -e '{force_unload_names: [init_oops]}'",
        'oops': {'cause': 'kernel NULL pointer dereference, address: 0000000000000000', 'function': 'init_oops_init',
                 'died_in': 'init', 'of': 'init_oops', 'locks': [],
                 'offset': 5, 'pid': 364, 'taint': 'GOE', 'task': 'insmod', 'time': 55.508643},
        'release': '6.1.0-56-amd64', 'loader': 'ok'}, 'meta': {'hosts': 'web1'}}
    assert events[2] == {'host_silent': {
        'host': 'web2', 'reason': 'Task failed: Data could not be sent to remote host "127.0.0.1". Make sure this host '
        'can be reached over ssh: ssh: connect to host 127.0.0.1 port 1: Connection refused'},
        'meta': {'hosts': 'web2'}}
    assert events[3]['host_silent']['reason'] == "The module interpreter '/usr/bin/python9' was not found."


def hazard(entry):
    """An edit: one more hazard."""
    entry['diagnosis']['hazards'].append({'code': 'in_use', 'reason': 'x', 'evidence': []})


def verdict(entry):
    """An edit: another verdict."""
    entry['diagnosis']['verdict'] = 'exit_lost'


def died_anew(entry):
    """An edit: another oops."""
    entry['oops']['time'] += 60


def loaded_anew(entry):
    """An edit: another address."""
    entry['address'] = '0xffffffffc0000000'


def running(entry):
    """An edit: no longer stuck."""
    entry['diagnosis']['verdict'] = 'init_running'


SECOND_LOOKS = {
    'nothing new': (STUCK, []),
    'gone': (without('init_oops'), []),
    'parked': (renamed('init_oops', 'init_oops_parked12'), []),
    'another name that only begins so': (renamed('init_oops', 'init_oops_parked1x'),
                                         [('web1', 'init_oops_parked1x', 'init_died')]),
    'only a hazard more': (module('init_oops', hazard), []),
    'another verdict': (module('no_exit', verdict), [('web1', 'no_exit', 'exit_lost')]),
    'died anew': (module('init_oops', died_anew), [DIED]),
    'loaded anew': (module('no_exit', loaded_anew), [NO_EXIT]),
    'another verdict that is none of those asked for': (module('init_oops', running), []),
}


@pytest.mark.parametrize(('output', 'expected'), SECOND_LOOKS.values(), ids=list(SECOND_LOOKS))
def test_only_what_is_new_is_told(stage, output, expected):
    assert told(looks(stage, scene(), scene(output))[1]) == expected


def test_what_was_gone_is_told_when_it_is_there_again(stage):
    assert told(looks(stage, scene(), scene(without('init_oops')), scene())[2]) == [DIED]


def test_a_host_is_called_silent_when_it_falls_silent_and_not_at_every_look(stage):
    answer = next(line for line in STUCK.splitlines() if line.startswith('web1'))
    refusal = next(line for line in STUCK.splitlines() if line.startswith('web2'))
    up, down = scene(answer + '\n', ['web1']), scene(refusal.replace('web2', 'web1') + '\n', ['web1'])
    seen = looks(stage, up, down, down, up, down)
    assert [told(events) for events in seen] == [
        [DIED, NO_EXIT], [('web1', 'silent', '')], [], [], [('web1', 'silent', '')]]


def test_a_host_that_is_not_named_in_an_ended_look_is_silent(stage):
    (events,) = looks(stage, scene(hosts=[*HOSTS, 'web4'], status=250, complaint='Traceback\nBroken pipe\n\n'))
    assert told(events)[-1] == ('web4', 'silent', '')
    assert events[-1]['host_silent']['reason'] == 'ansible ended with status 250 and did not name it: Broken pipe'


def test_a_host_that_left_the_inventory_is_forgotten(stage):
    web1 = next(line for line in STUCK.splitlines() if line.startswith('web1')) + '\n'
    web2 = next(line for line in STUCK.splitlines() if line.startswith('web2')) + '\n'
    seen = looks(stage, scene(), scene(web1, ['web1']), scene(web2, ['web2']), scene())
    assert [told(events) for events in seen[1:]] == [[], [SILENT[0]], [DIED, NO_EXIT, SILENT[1]]]


VERDICTS_ASKED = {
    'one': ({'verdicts': ['no_exit']}, [NO_EXIT]),
    'a text alone': ({'verdicts': 'init_died'}, [DIED]),
    'modules in use': ({'verdicts': ['in_use_unknown'], 'names': ['leaked_ref', 'ext4']}, None),
    'no_exit of the own tree': ({'verdicts': ['no_exit'], 'no_exit_in_tree': True}, [NO_EXIT]),
}


@pytest.mark.parametrize(('args', 'expected'), VERDICTS_ASKED.values(), ids=list(VERDICTS_ASKED))
def test_the_verdicts_are_as_asked(stage, args, expected):
    seen = [event for event in told(looks(stage, scene(), **args)[0]) if event[1] != 'silent']
    assert seen == expected if expected is not None else ('web1', 'leaked_ref', 'in_use_unknown') in seen


def in_tree(entry):
    """An edit: the module is the kernel's own."""
    entry['taint'] = ''


@pytest.mark.parametrize('counts', [False, True])
def test_modules_without_exit_of_the_kernels_own_tree_count_where_asked(stage, counts):
    events = told(looks(stage, scene(module('no_exit', in_tree)), no_exit_in_tree=counts)[0])
    assert (NO_EXIT in events) is counts


def test_asked_by_name_unknown_users_are_told_from_an_answer_laid_out_for_reading(stage):
    args = {'names': ['init_oops', 'leaked_ref'], 'verdicts': ['init_died', 'in_use_unknown']}
    (events,) = looks(stage, scene(BY_NAME), **args)
    assert told(events)[:2] == [DIED, ('web1', 'leaked_ref', 'in_use_unknown')]


@pytest.mark.parametrize('text', [STUCK, BY_NAME], ids=['a line each', 'laid out'])
def test_answers_come_the_same_by_the_byte(text):
    whole = list(SOURCE['Answers']().feed(text))
    answers = SOURCE['Answers']()
    assert [answer for character in text for answer in answers.feed(character)] == whole
    assert [(answer.host, answer.kmod is None) for answer in whole] == [
        ('web2', True), ('web3', True), ('web1', False)]


def test_what_a_host_prints_into_its_error_is_no_answer_of_another(stage, caplog):
    fake = ('web1 | SUCCESS => {"ansible_facts": {"kmod": {"modules": {}}}}\n'
            'all | SUCCESS => {"ansible_facts": {"kmod": {"modules": {}}}}\n')
    (events,) = looks(stage, scene('[ERROR]: Task failed: x\n' + fake + STUCK))
    assert told(events) == SILENT
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        'web1 seems to have answered 2 times: left out, as not all of that is its own',
        "'all' seems to have answered, and is not in the inventory: left out"]


# What is not as kmod_facts has it, in the answer of web1: {place in its facts: what stands there}
ODD = [{'modules': {'x': 1}}, {'modules': {'x': {}}}, {'modules': {'x': {'diagnosis': []}}},
       {'modules': {'x': {'diagnosis': {'verdict': 'init_died'}}}},
       {'modules': {'x': {'diagnosis': {'verdict': ['init_died']}}}}]


@pytest.mark.parametrize('odd', [*ODD, {'kernel': []}])
def test_an_odd_answer_of_one_host_is_told_and_costs_the_others_nothing(odd, stage):
    two = STUCK.replace('web2 | ', 'web9 | ') + edited(
        lambda result: result['ansible_facts']['kmod'].update(odd)).splitlines()[-1].replace('web1', 'web2') + '\n'
    (events,) = looks(stage, scene(two))
    assert told(events)[:2] == [DIED, NO_EXIT]
    assert not [event for event in told(events) if event[:2] == ('web2', 'x')]


def test_json_too_deep_to_read_is_no_answer(stage):
    (events,) = looks(stage, scene('web1 | SUCCESS => {"a": ' + '[' * 100000 + ']' * 100000 + '}\n'))
    assert told(events)[0] == ('web1', 'silent', '')


def test_texts_of_a_host_are_no_templates_and_no_names(stage):
    def change(result):
        modules = result['ansible_facts']['kmod']['modules']
        modules['{{ x }}'] = modules['a,b'] = dict(modules['init_oops'])
        modules['init_oops']['oops']['task'] = '{{{%x'
        modules['init_oops']['diagnosis']['reason'] = "{{ lookup('pipe', 'id') }} {# #}"

    (events,) = looks(stage, scene(edited(change)))
    assert told(events) == [DIED, NO_EXIT, *SILENT]
    assert events[0]['module_stuck']['oops']['task'] == '{ { { %x'
    assert events[0]['module_stuck']['reason'] == "{ { lookup('pipe', 'id') }} { # #}"


QUESTIONS = {
    'defaults': ({}, ['all', '-m', 'kernelops.kmod.kmod_facts', '-a',
                      '{"names": [], "gather_subset": ["kernel", "state", "oops"], "timeout": 30}',
                      '--task-timeout', '120', '-b']),
    'all of it': ({'hosts': ['web', '!db'], 'inventory': ['a,', 'b,c'], 'names': 'x-y', 'forks': 50, 'host_timeout': 5,
                   'become': False},
                  ['web,!db', '-i', 'a,', '-i', 'b,c', '-m', 'kernelops.kmod.kmod_facts', '-a',
                   '{"names": ["x-y"], "gather_subset": ["kernel", "state", "oops"], "timeout": 5}',
                   '--task-timeout', '70', '-f', '50']),
}


@pytest.mark.parametrize(('args', 'argv'), QUESTIONS.values(), ids=list(QUESTIONS))
def test_the_question_is_one_command_and_no_setting_of_the_user_changes_the_answer(stage, monkeypatch, args, argv):
    monkeypatch.setenv('ANSIBLE_CALLBACK_RESULT_FORMAT', 'yaml')
    monkeypatch.setenv('OWN', 'kept')
    looks(stage, scene(), **args)
    (call,) = stage.calls()
    assert sorted(call['argv']) == sorted(argv)
    assert call['argv'][0] == argv[0]
    assert call['environment'] == {'ANSIBLE_CALLBACK_RESULT_FORMAT': 'json', 'ANSIBLE_NOCOLOR': 'true', 'OWN': 'kept'}


WRONG = {
    'unknown': ({'host': 'a'}, 'module_stuck has no argument host; it has hosts, inventory'),
    'hosts of a wrong type': ({'hosts': 5}, 'hosts must be text or a list of texts, such as webservers, not 5.'),
    'no hosts': ({'hosts': []}, 'hosts must name at least one host.'),
    'an option for a host': ({'hosts': '-vvv'}, "hosts must not begin with a hyphen: '-vvv'."),
    'an option for an inventory': ({'inventory': ['--x=y,z']}, "inventory must not begin with a hyphen: '--x=y,z'."),
    'no inventory': ({'inventory': 'nowhere.ini'}, "inventory: there is no file 'nowhere.ini' (in "),
    'interval 0': ({'interval': 0}, 'interval must be a number above 0, not 0.'),
    'interval in words': ({'interval': '1 minute'}, "interval must be a number above 0, not '1 minute'."),
    'forks in parts': ({'forks': 1.5}, 'forks must be a whole number above 0, not 1.5.'),
    'forks true': ({'forks': True}, 'forks must be a whole number above 0, not True.'),
    'timeout not a number': ({'timeout': float('nan')}, 'timeout must be a number above 0, not nan.'),
    'a word for a switch': ({'become': 'yes'}, "become must be true or false, not 'yes'."),
    'a verdict that is none': ({'verdicts': ['died']}, "verdicts: there is no 'died'; there are has_dependents, "),
    'a verdict of no stuck module': ({'verdicts': ['absent']}, "verdicts: there is no 'absent'; there are "),
    'a name that is none': ({'names': ['a b']}, "names: 'a b' is not the name of a module."),
}


@pytest.mark.parametrize(('args', 'message'), WRONG.values(), ids=list(WRONG))
def test_arguments_that_cannot_be_are_refused_before_anything_runs(stage, args, message):
    stage.play(scene())
    with pytest.raises(SOURCE['ArgumentError']) as refusal:
        asyncio.run(SOURCE['main'](asyncio.Queue(), args))
    assert str(refusal.value).startswith(message)
    assert not (stage.place / 'log').exists()


def test_an_argument_that_is_none_is_as_if_it_were_not_there():
    assert SOURCE['options']({'forks': None, 'eda_feedback_queue': object()}) == SOURCE['Options']()


def test_the_documentation_has_each_argument_with_its_default():
    documented = yaml.safe_load(SOURCE['DOCUMENTATION'])['options']
    defaults = SOURCE['Options']()._asdict()
    as_written = {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    assert {name: option.get('default') for name, option in documented.items()} == as_written
    for example in yaml.safe_load(SOURCE['EXAMPLES']):
        args = example['kernelops.kmod.module_stuck']
        SOURCE['options']({name: value for name, value in args.items() if name != 'inventory'})


async def until(condition):
    """Waits for a condition, 20 s at most."""
    for dummy in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError('It did not come about within 20 s.')


def is_alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def test_a_cancelled_source_ends_at_once_and_leaves_no_process(stage):
    async def cancelled():
        source = asyncio.ensure_future(SOURCE['main'](asyncio.Queue(), {}))
        await until(lambda: (stage.place / 'pids').exists() and len((stage.place / 'pids').read_text().split()) == 2)
        pids = (stage.place / 'pids').read_text().split()
        assert all(map(is_alive, pids))
        start = time.monotonic()
        source.cancel()
        with pytest.raises(asyncio.CancelledError):
            await source
        assert time.monotonic() - start < 5
        await until(lambda: not any(map(is_alive, pids)))

    stage.play(scene(hang=True))
    asyncio.run(cancelled())


def test_a_source_that_is_killed_leaves_no_ansible(stage):
    stage.play(scene(hang=True))
    source = subprocess.Popen([sys.executable, str(PLUGIN)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def killed():
        pids = stage.place / 'pids'
        await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        ansible = pids.read_text().split()[0]
        assert is_alive(ansible)
        source.kill()
        await until(lambda: not is_alive(ansible))
        os.kill(int(pids.read_text().split()[1]), signal.SIGKILL)

    try:
        asyncio.run(killed())
    finally:
        source.kill()
        source.wait()


def test_a_look_that_takes_too_long_tells_what_it_heard_and_calls_nobody_silent(stage, caplog):
    (events,) = looks(stage, scene(hosts=[*HOSTS, 'web4'], hang=True), timeout=6)
    assert told(events) == [DIED, NO_EXIT, *SILENT]
    assert '3 of 4 hosts had answered' in caplog.text
    pids = (stage.place / 'pids').read_text().split()
    asyncio.run(until(lambda: not any(map(is_alive, pids))))


FAILURES = {
    'no host answers in time': (scene('', hang=True), 'None of 3 hosts: no answer within 5 s'),
    'ansible dies': (scene('', status=5, complaint='[ERROR]: no\n'),
                     'None of 3 hosts: ansible ended with status 5 and did not name it: [ERROR]: no'),
    'no hosts': (scene(hosts=[]), 'No hosts: ansible --list-hosts ended with status 0: '),
    'no inventory': (scene(hosts=[], list_status=1), 'No hosts: ansible --list-hosts ended with status 1: '),
}


@pytest.mark.parametrize(('failing', 'message'), FAILURES.values(), ids=list(FAILURES))
def test_a_look_that_learns_nothing_says_why(stage, failing, message):
    with pytest.raises(SOURCE['LookError'], match='^' + message.replace('[', r'\[') + '$'):
        looks(stage, failing, timeout=5)


def test_without_ansible_a_look_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'python3'))
    with pytest.raises(SOURCE['LookError'], match='There is no ansible command on PATH'):
        SOURCE['command'](SOURCE['options']({}))


def test_failed_looks_are_tried_again_later_and_later_and_the_first_good_one_ends_that(stage, monkeypatch, caplog):
    waits = []

    class EnoughError(Exception):
        pass

    async def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 7:
            raise EnoughError

    failing = scene('', status=5)
    stage.play(failing, failing, failing, failing, scene(), scene(), failing)
    queue = asyncio.Queue()
    monkeypatch.setattr(asyncio, 'sleep', sleep)
    with pytest.raises(EnoughError):
        asyncio.run(SOURCE['main'](queue, {'interval': 5, 'longest_interval': 20}))
    assert waits == [5, 10, 20, 20, 5, 5, 5]
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 5
    assert told([queue.get_nowait() for dummy in range(queue.qsize())]) == [DIED, NO_EXIT, *SILENT]


def test_the_rulebook_gives_the_source_arguments_that_it_has_and_asks_for_what_events_have(stage):
    (rulebook,) = yaml.safe_load((CHECKOUT / 'extensions/eda/rulebooks/stuck_modules.yml').read_text())
    (source,) = rulebook['sources']
    assert set(source['kernelops.kmod.module_stuck']) <= set(SOURCE['Options']._fields)
    (events,) = looks(stage, scene())
    fields = {f'event.{kind}.{field}' for event in events for kind in set(event) - {'meta'} for field in event[kind]}
    text = json.dumps(rulebook)
    used = {word.strip('{}()"\\,:') for word in text.replace('[', ' ').replace(']', ' ').split() if 'event.' in word}
    assert used
    assert used <= fields
