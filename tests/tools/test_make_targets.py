# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every make target that a document, the workflow or a hook names is one of the Makefile's."""

import re
from pathlib import Path
from typing import Set

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
TARGETS = set(re.findall(r'^([a-z][a-z-]*):', (CHECKOUT / 'Makefile').read_text(), re.MULTILINE))
# A line of code, or a span of it, that calls make: options, targets, variables.
CALL = re.compile(r'(?:^|`|run: |entry: |&& )make((?: +[^\s`]+)+)', re.MULTILINE)
DOCUMENTS = ('CONTRIBUTING.md', 'README.md', 'docs/ARCHITECTURE.md', 'docs/EVENTS.md', 'docs/FLEETS.md',
             'docs/TORTURE.md', '.pre-commit-config.yaml', '.github/pull_request_template.md')
WORKFLOW = '.github/workflows/ci.yml'


def named(text: str) -> Set[str]:
    """The targets that a text calls make with."""
    words = [word for call in CALL.findall(text) for word in call.split()]
    return {word for word in words if re.fullmatch('[a-z][a-z-]*', word)}


@pytest.mark.parametrize('document', DOCUMENTS)
def test_what_a_document_names_exists(document: str) -> None:
    found = named((CHECKOUT / document).read_text())
    assert found
    assert found <= TARGETS


def test_what_the_workflow_runs_exists() -> None:
    text = (CHECKOUT / WORKFLOW).read_text()
    (listed,) = re.findall(r'^        target:\n((?:          - .*\n)+)', text, re.MULTILINE)
    found = named(text) | set(re.findall('- (.*)', listed))
    assert {'lint', 'sanity', 'unit', 'molecule'} <= found
    assert found <= TARGETS


def test_a_target_that_does_not_exist_is_seen() -> None:
    assert named('run `make lint units KERNELS=6.1`, then\nmake --quiet frobnicate\n') == {
        'lint', 'units', 'frobnicate'}
