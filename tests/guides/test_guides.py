# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guides and the diagram name is there: faults, verdicts, hazards, methods, options, kernels, playbooks."""

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any, Dict, Set
from xml.etree import ElementTree

import fault_table
import images
import pytest
import yaml
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.running_kernel import TAINT_FLAGS
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.hazards import HAZARDS
from ansible_collections.kernelops.kmod.plugins.module_utils._rules.ladder import METHODS
from transcript import commands

CHECKOUT = Path(__file__).resolve().parents[2]
SITE = CHECKOUT / 'docs/docsite'
GUIDES = sorted((SITE / 'rst').glob('guide_*.rst'))
# What the kernel calls so.
ELSEWHERE = {'module_mutex'}
IDENTIFIER = re.compile(r'[a-z]+(_[a-z0-9]+)+')


def of_module(name: str, variable: str) -> Any:
    """DOCUMENTATION or RETURN of a module of the collection."""
    tree = ast.parse((CHECKOUT / 'plugins/modules' / (name + '.py')).read_text(encoding='utf-8'))
    text = next(node.value.value for node in tree.body if isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Name) and node.targets[0].id == variable
                and isinstance(node.value, ast.Constant))
    return yaml.safe_load(str(text))


MODULES = {path.stem: of_module(path.stem, 'DOCUMENTATION')['options']
           for path in sorted((CHECKOUT / 'plugins/modules').glob('kmod_*.py'))}
ROLE = yaml.safe_load((CHECKOUT / 'roles/force_unload/meta/argument_specs.yml').read_text())['argument_specs']['main'][
    'options']
PLAYBOOKS = {path.stem: set(re.findall(r'^# (\w+_\w+) ', path.read_text(encoding='utf-8'), re.MULTILINE))
             for path in (CHECKOUT / 'playbooks').glob('*.yml')}
# What the modules say that they return, by its markup.
RETURNED = set(re.findall(r'[CV]\((\w+)\)', ' '.join(str(of_module(name, 'RETURN')) for name in MODULES)))
VERDICTS = {word for name in ('kmod_force_unload', 'kmod_load')
            for word in re.findall(r'V\((\w+)\)', str(of_module(name, 'RETURN')['verdict']['description']))}


def known() -> Set[str]:
    """Every name that a guide may use."""
    options: Dict[str, Any] = dict(ROLE)
    for documented in MODULES.values():
        options.update(documented)
    choices = {str(choice) for option in options.values() for choice in option.get('choices', [])}
    return {*fault_table.FAULTS, *VERDICTS, *HAZARDS, *METHODS, *options, *choices, *MODULES, *PLAYBOOKS,
            *TAINT_FLAGS, *(name for names in PLAYBOOKS.values() for name in names),
            *of_module('kmod_force_unload', 'RETURN'), *RETURNED, *ELSEWHERE}


@pytest.fixture(params=GUIDES, ids=lambda path: path.stem)
def guide(request: pytest.FixtureRequest) -> Path:
    found = request.param
    assert isinstance(found, Path)
    return found


def test_each_guide_is_in_the_table_of_contents_once() -> None:
    sections = yaml.safe_load((SITE / 'extra-docs.yml').read_text(encoding='utf-8'))['sections']
    assert sorted(name for section in sections for name in section['toctree']) == [path.stem for path in GUIDES]


def test_a_guide_has_commands_boots_a_guest_and_ends_it(guide: Path) -> None:
    texts = [command.text for command in commands(guide.read_text(encoding='utf-8'))]
    booted = {text.split()[3] for text in texts if text.startswith('python3 tests/lab up ')}
    ended = {name for text in texts if text.startswith('python3 tests/lab down ') for name in text.split()[3:]}
    assert booted
    assert booted == ended


def test_the_quotes_of_a_command_are_closed(guide: Path) -> None:
    for command in commands(guide.read_text(encoding='utf-8')):
        assert shlex.split(command.text.replace('\\\n', ' '))


def test_a_guide_injects_faults_and_boots_kernels_that_there_are(guide: Path) -> None:
    for command in commands(guide.read_text(encoding='utf-8')):
        for kernel in re.findall(r'--kernel (\S+)', command.text):
            assert kernel in images.RECIPES
        if command.text.startswith('python3 tests/lab inject '):
            assert set(command.text.split(';')[0].split()[4:]) <= set(fault_table.FAULTS)
        for name in re.findall(r'/root/lab/(?:fixed/)?([\w-]+)\.ko', command.text):
            assert name in fault_table.FAULTS


def test_a_guide_gives_modules_and_playbooks_the_options_that_they_have(guide: Path) -> None:
    for command in commands(guide.read_text(encoding='utf-8')):
        called = re.search(r'-m kernelops\.kmod\.(\w+)', command.text)
        given = re.search(r"-a (?:'([^']*)'|\"([^\"]*)\"|(\S+))", command.text)
        if called:
            options = MODULES[called[1]]
            for word in next(filter(None, given.groups())).split() if given else ():
                key, value = word.rstrip(';').split('=', 1)
                assert key in options
                assert set(value.split(',')) <= set(map(str, options[key].get('choices', value.split(','))))
        played = re.search(r'ansible-playbook kernelops\.kmod\.(\w+)', command.text)
        if played:
            known_variables = PLAYBOOKS[played[1]] | (set(ROLE) if played[1] == 'force_unload' else set())
            for variables in re.findall(r"-e '(\{[^']*\})'", command.text):
                assert set(json.loads(variables)) <= known_variables
            for name in re.findall(r'-e (\w+)=', command.text):
                assert name in known_variables


def test_a_guide_names_what_there_is(guide: Path) -> None:
    text = guide.read_text(encoding='utf-8')
    literals = {word for literal in re.findall(r'``([^`]+)``', text) for word in [literal.split('=')[0]]
                if IDENTIFIER.fullmatch(word)}
    assert literals <= known()
    assert set(re.findall(r'"verdict": "(\w+)"', text)) <= VERDICTS
    for codes in re.findall(r'accept_hazards=([a-z_,]+)', text):
        assert set(codes.split(',')) <= set(HAZARDS)


def test_the_diagram_names_every_method_and_every_hazard() -> None:
    root = ElementTree.parse(SITE / 'rst/images/ladder.svg').getroot()  # noqa: S314  (our own file)
    words = set(re.findall(r'\w+', ' '.join(''.join(text.itertext()) for text in root.iter(
        '{http://www.w3.org/2000/svg}text'))))
    assert set(METHODS) | set(HAZARDS) <= words
