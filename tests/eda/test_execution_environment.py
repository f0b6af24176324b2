# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-builder reads what the collection needs, and makes the recipe of an image from our definition.

Whether the image builds is not shown here: that takes a container engine and the network.
"""

import os
import subprocess
import sys
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
DEFINITION = CHECKOUT / 'extensions/execution-environment/execution-environment.yml'


def builder(*arguments):
    """Runs ansible-builder and returns what it prints."""
    place = Path(sys.executable).parent
    done = subprocess.run(
        [str(place / 'ansible-builder'), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=100, check=False, env={**os.environ, 'PATH': f'{place}{os.pathsep}{os.environ["PATH"]}'})
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_collection_asks_for_an_ssh_client_and_no_python_package(tmp_path):
    place = tmp_path / 'ansible_collections/kernelops'
    (place / 'kmod').mkdir(parents=True)
    for name in ('meta', 'galaxy.yml'):
        (place / 'kmod' / name).symlink_to(CHECKOUT / name)
    asked = yaml.safe_load(builder('introspect', str(tmp_path)))
    assert asked['python'] == []
    assert [line.split()[0] for line in asked['system']] == ['openssh-clients', 'openssh-client']
    assert all(line.endswith('from collection kernelops.kmod') for line in asked['system'])


def test_the_recipe_of_the_image_installs_ansible_the_runner_and_the_collection(tmp_path):
    builder('create', '-f', str(DEFINITION), '-c', str(tmp_path), '--output-filename', 'Containerfile')
    lines = (tmp_path / 'Containerfile').read_text().splitlines()
    recipe = dict(line[4:].split('=', 1) for line in lines if line.startswith('ARG ') and '=' in line)
    definition = yaml.safe_load(DEFINITION.read_text())
    assert recipe['EE_BASE_IMAGE'].strip('"') == definition['images']['base_image']['name']
    assert recipe['PKGMGR'].strip('"') == '/usr/bin/dnf'
    assert recipe['ANSIBLE_INSTALL_REFS'].strip('"').split() == ['ansible-core>=2.16', 'ansible-runner>=2.4']
    steps = [line[4:] for line in lines if line.startswith('RUN ')]
    git = steps.index('$PKGMGR -y install git-core')
    (galaxy,) = [number for number, step in enumerate(steps) if ' ansible-galaxy collection install ' in step]
    assert git < galaxy
    assert ' -r requirements.yml ' in steps[galaxy]
    assert any(step.endswith('pip install --no-cache-dir $ANSIBLE_INSTALL_REFS') for step in steps[:galaxy])
    (wanted,) = yaml.safe_load((tmp_path / '_build/requirements.yml').read_text())['collections']
    repository = yaml.safe_load((CHECKOUT / 'galaxy.yml').read_text())['repository']
    assert wanted == {'name': repository + '.git', 'type': 'git'}
