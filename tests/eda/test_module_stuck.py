# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the event source tells: modules that are stuck, hosts that are silent, only what is new; hostile answers."""

import json
import logging

import pytest
from stage import BY_NAME, DIED, HOSTS, NO_EXIT, SILENT, SOURCE, STUCK, looks, scene, told


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
