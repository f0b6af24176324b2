# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter of the playbook diagnose: the rows of its table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypedDict

from ansible_collections.kernelops.kmod.plugins.plugin_utils.answers import (
    addressed,
    at,
    facts,
    is_command,
    items,
    line,
    mapping,
)

# Shown only where the module was asked for by name.
QUIET = ('unloadable', 'has_dependents', 'in_use', 'in_use_unknown')
KINDS = ('processes', 'mounts', 'network', 'devices', 'protocols', 'algorithms', 'others')
SHOWN = 10
TITLES = ('HOST', 'MODULE', 'VERDICT', 'METHOD')


class Row(TypedDict):
    """A row as it is laid out: its columns in their widths, and texts of one line each."""

    columns: str
    holders: list[str]
    why: str
    next: str
    command: str


class Cells(NamedTuple):
    """A row before its columns have their widths."""

    columns: tuple[str, ...]
    holders: list[str]
    why: str
    next: str


def _task(task: Any) -> str:
    kind = 'kernel thread' if at(task, 'kernel_thread') else 'task'
    return '%s %s (pid %s) in %s' % (kind, at(task, 'command'), at(task, 'pid'), at(task, 'function'))


def _holders(held: Mapping[str, Any]) -> list[str]:
    """A line for each holder, for what could not be found, and '-' where nothing holds the module."""
    lines = ['module %s' % user for user in items(held, 'modules')]
    lines += [_task(task) for task in items(held, 'tasks')]
    lines += [str(at(holder, 'what')) for kind in KINDS for holder in items(held, kind)]
    lines += ['not known: %s' % reason for reason in items(held, 'unread')]
    unknown: dict[str, list[str]] = {}
    for kind in KINDS:
        if isinstance(held.get(kind), Mapping):
            unknown.setdefault(line(at(held, kind, 'unavailable')), []).append(kind)
    lines += ['%s not known: %s' % (', '.join(kinds), reason) for reason, kinds in unknown.items()]
    if 'unavailable' in held:
        lines.append(str(held['unavailable']))
    elif held and not lines and 'processes' not in held:
        lines.append('not looked for')
    more = ['and %d more' % (len(lines) - SHOWN)] if len(lines) > SHOWN else []
    return [line(text) for text in lines[:SHOWN] + more] or ['-']


def _of_host(host: str, answer: Any, *, named: bool) -> list[Cells]:
    """The rows of one host: one for each module to be shown, or one that says that there is none."""
    if not facts(answer):
        return [Cells((host, '-', 'no answer', '-'), ['-'], line(at(answer, 'msg'), 'the host was not reached'), '')]
    rows = []
    for name, module in sorted(mapping(facts(answer), 'modules').items(), key=lambda pair: str(pair[0]).lower()):
        told = {key: line(at(module, 'diagnosis', key), 'not known')
                for key in ('verdict', 'method', 'reason', 'next')}
        if named or told['verdict'] not in QUIET:
            rows.append(Cells((host, str(name), told['verdict'], told['method']), _holders(mapping(module, 'holders')),
                              told['reason'], addressed(told['next'], host).replace('"', "'")))
    return rows or [Cells((host, '-', 'none stuck', '-'), ['-'], '', '')]


def diagnosis_rows(hosts: Iterable[str], about: Any, names: Iterable[Any]) -> list[Row]:
    """The rows of the table, the titles first: of all modules where some are named, else of those that are stuck."""
    named = bool(list(names))
    rows = [Cells(TITLES, ['HOLDERS'], '', '')]
    for host in hosts:
        rows += _of_host(str(host), at(about, host, 'diagnose_answer'), named=named)
    widths = [max(map(len, column)) for column in zip(*(row.columns for row in rows), strict=True)]
    return [{'columns': ''.join('%-*s  ' % (width, text) for width, text in zip(widths, row.columns, strict=True)),
             'holders': row.holders, 'why': row.why,
             'next': '' if is_command(row.next) else row.next, 'command': row.next if is_command(row.next) else ''}
            for row in rows]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {'diagnosis_rows': diagnosis_rows}
