# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A template as a task of a playbook gets it, by the engine of the ansible-core that is installed: 2.16 or later."""

from ansible import template as engine
from ansible.parsing.dataloader import DataLoader
from ansible.utils.unsafe_proxy import wrap_var


def rendered(path, variables):
    """What ``lookup('template', path)`` gives; no variable is a template, as what a host answers is none."""
    expression = "{{ lookup('template', '%s') }}" % path
    if hasattr(engine, 'trust_as_template'):
        expression = engine.trust_as_template(expression)
    else:
        # Until 2.18 every text is a template that is not marked as none.
        variables = wrap_var(variables)
    return engine.Templar(loader=DataLoader(), variables=variables).template(expression)
