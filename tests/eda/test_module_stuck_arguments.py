# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments of the event source: the command that they make, those that are refused, and their documentation."""

import asyncio
import json

import pytest
import yaml
from stage import CHECKOUT, SOURCE, looks, scene

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
