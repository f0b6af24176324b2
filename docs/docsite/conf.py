# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx's configuration of the site that `make docs` builds."""

from docutils import nodes

project = 'kernelops.kmod'
extensions = ['sphinx_antsibull_ext']
html_theme = 'furo'
html_title = project
html_copy_source = False
pygments_style = 'ansible'
default_role = 'any'
# A reference that leads nowhere is an error.
nitpicky = True

# What the generated pages refer to and are not. No inventory is fetched: the site builds without a network.
ANSIBLE = 'https://docs.ansible.com/ansible/latest/'
ELSEWHERE = {
    'common_return_values': 'reference_appendices/common_return_values.html',
    'ansible_collections.community.general.pacman_module': 'collections/community/general/pacman_module.html',
    'ansible_collections.community.general.zypper_module': 'collections/community/general/zypper_module.html',
}


def _elsewhere(_app, _env, node, shown):
    """A link to Ansible's own documentation; None for what is not there either."""
    page = ELSEWHERE.get(node['reftarget'])
    return nodes.reference('', '', shown, refuri=ANSIBLE + page, internal=False) if page else None


def setup(app):
    """Called by Sphinx."""
    app.connect('missing-reference', _elsewhere)
