# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter of the playbook audit: its report, cut into what its page shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from ansible_collections.kernelops.kmod.plugins.plugin_utils.answers import (
    addressed,
    at,
    is_command,
    items,
    line,
    mapping,
    plain,
)

NAMED = 6  # a command names no more hosts than one can read


class Page(TypedDict):
    """The page: findings and kernels are those of the report, with texts of their own."""

    stuck: list[dict[str, Any]]
    look: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    kernels: list[dict[str, Any]]


def _compiler(found: Any) -> str:
    """A compiler by its name and version."""
    if not isinstance(found, Mapping):
        return str(found)
    if 'unavailable' in found:
        return 'not known: %s' % found['unavailable']
    return line('%s %s' % (found.get('family'), found.get('version') or '') if found.get('family')
                else found.get('banner') or 'not known')


def _layout(found: Any) -> str:
    """A layout of struct module as a phrase."""
    if at(found, 'unavailable') is not None:
        return 'not known: %s' % at(found, 'unavailable')
    said = mapping(found)
    source = ' (from %s)' % said['source'] if 'source' in said else ''
    return 'size %s, init at %s, exit at %s%s' % (
        said.get('size', '?'), said.get('init') or 'none', said.get('exit') or 'none', source)


def _shown(finding: Any) -> dict[str, Any]:
    hosts, unload = items(finding, 'hosts'), line(at(finding, 'unload'))
    advice = addressed(unload, ','.join(map(str, hosts)) if len(hosts) <= NAMED else 'HOST')
    return {**plain(finding), 'command': advice if is_command(advice) else '',
            'unload': '' if is_command(advice) else advice,
            'built_by': ', '.join(map(_compiler, items(finding, 'compilers'))) or 'not known'}


def _kernel(kernel: Any, findings: list[dict[str, Any]]) -> dict[str, Any]:
    own = [found for found in findings
           if (found['kernel'], found['arch']) == (at(kernel, 'release'), at(kernel, 'arch'))]
    told = [found for found in own if found['severity'] != 'ok' and found['reasons']]
    return {**plain(kernel), 'told': told, 'others': len(own) - len(told),
            'compiler': _compiler(at(kernel, 'compiler')), 'layout': _layout(at(kernel, 'layout'))}


def audit_page(report: Any) -> Page:
    """What will not unload, what is worth a look, all findings, and each kernel with those of its own to be told."""
    findings = [_shown(finding) for finding in items(report, 'findings')]
    return {
        'stuck': [found for found in findings if found['will_not_unload']],
        'look': [found for found in findings
                 if not found['will_not_unload'] and found['severity'] in ('error', 'warning')],
        'findings': findings, 'kernels': [_kernel(kernel, findings) for kernel in items(report, 'kernels')]}


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {'audit_page': audit_page}
