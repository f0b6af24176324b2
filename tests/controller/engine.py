# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ansible-core that is installed, 2.16 or later: its programs without this user's settings, its template engine."""

import os

from ansible import template as engine
from ansible.parsing.dataloader import DataLoader
from ansible.utils.unsafe_proxy import wrap_var


def environment(home, **settings):
    """For a program of Ansible that finds its collections below ``home`` and takes nothing from this user."""
    return dict({key: value for key, value in os.environ.items() if key != 'ANSIBLE_CONFIG'}, ANSIBLE_NOCOLOR='1',
                ANSIBLE_COLLECTIONS_PATH=str(home), ANSIBLE_HOME=str(home / 'home'), **settings)


def rendered(path, variables):
    """``lookup('template', path)``, as in a task; no variable is a template, as what a host answers is none."""
    expression = "{{ lookup('template', '%s') }}" % path
    if hasattr(engine, 'trust_as_template'):
        expression = engine.trust_as_template(expression)
    else:
        # Until 2.18 every text is a template that is not marked as none.
        variables = wrap_var(variables)
    return engine.Templar(loader=DataLoader(), variables=variables).template(expression)
