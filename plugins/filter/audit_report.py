# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the playbook audit: what to look for more closely, and what the hosts said, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypedDict

from ansible_collections.kernelops.kmod.plugins.plugin_utils.answers import (
    at,
    facts,
    items,
    line,
    mapping,
    plain,
)

NORMAL = ('unloadable', 'absent', 'builtin', 'has_dependents', 'in_use', 'in_use_unknown')
BY_DESIGN = ('no_exit', 'unload_disabled')
RANKS = ('error', 'warning', 'info', 'ok')
LOOK = ('error', 'warning')
REBUILD = ('layout_mismatch', 'vermagic_differs', 'compiler_differs')
NOTHING = {'unavailable': 'not asked'}
MODULES_ONLY = 'modules only'


class Finding(TypedDict):
    """One module on one kernel with one outcome, and the hosts that have it."""

    module: str
    kernel: str
    arch: str
    severity: str
    will_not_unload: bool
    loaded: bool
    diagnosis: str
    file_verdict: str
    reasons: list[str]
    file: Any
    compilers: Any
    layout: Any
    method: str
    unload: str
    rebuild: bool
    rebuild_with: dict[str, list[str]]
    without_headers: list[str]
    hosts: list[str]


class Kernel(TypedDict):
    """One kernel, and the hosts that run it."""

    release: str
    arch: str
    hosts: list[str]
    compiler: Any
    layout: Any
    recommended_compilers: dict[str, list[str]]
    without_headers: list[str]
    headers: str
    modules: int
    will_not_unload: int


class Silent(TypedDict):
    """A host that did not answer, or not to all."""

    host: str
    answer: str
    reason: str


class Report(TypedDict):
    """What the fleet said."""

    summary: dict[str, int]
    findings: list[Finding]
    kernels: list[Kernel]
    silent_hosts: list[Silent]


class Answer(NamedTuple):
    """What one host said."""

    release: str
    arch: str
    loaded: Mapping[str, Any]
    files: Mapping[str, Any]
    toolchain: Mapping[str, Any]
    headers: Mapping[str, Any]
    failures: list[str]

    @property
    def compiler(self) -> str:
        """The one to build modules with on this host, '' where it has none that fits."""
        return str(at(self.toolchain, 'recommended_compiler', 'cc') or '')

    @property
    def has_headers(self) -> bool:
        """Whether the headers of its kernel are there."""
        return bool(self.headers.get('present'))


def _answer(about: Any) -> Answer:
    """What one host said, of those tasks that succeeded."""
    told = facts(at(about, 'audit_modules'))
    kernel = mapping(told, 'kernel')
    loaded: dict[str, Any] = dict(mapping(told, 'modules').items())
    files: dict[str, Any] = {}
    first: Mapping[str, Any] = {}
    failures = []
    loaded.update(mapping(facts(at(about, 'audit_closer')), 'modules').items())
    for result in items(about, 'audit_files', 'results'):
        toolchain = mapping(result, 'ansible_facts', 'kmod_toolchain')
        first = first or toolchain
        files.update(mapping(toolchain, 'modules').items())
        if not toolchain:
            failures.append(line(at(result, 'msg'), 'no answer'))
    return Answer(line(kernel.get('release'), 'not known'), line(kernel.get('arch'), 'not known'), loaded, files, first,
                  mapping(first, 'headers') or mapping(kernel, 'headers'), failures)


def _finding(answer: Answer, name: str, module: Any, file: Any) -> Finding:
    """The first of its kind, without its hosts."""
    diagnosis, differs = mapping(module, 'diagnosis'), line(at(file, 'verdict'))
    verdict = _verdict(module)
    stuck = bool(module) and verdict not in NORMAL
    severity = str(at(file, 'severity') or 'info')
    severity = severity if severity in RANKS else 'warning'
    bad = severity == 'error' or (stuck and verdict not in BY_DESIGN)
    told = severity != 'ok' and not (stuck and differs == 'unknown')
    about_file = line(at(file, 'reason')) if told else ''
    # What is said of a module without a file comes from the loaded module, as the diagnosis does.
    same = about_file and differs == 'layout_mismatch' and isinstance(at(file, 'file'), Mapping)
    return {
        'module': name, 'kernel': answer.release, 'arch': answer.arch,
        'severity': 'error' if bad else 'warning' if stuck else severity,
        'will_not_unload': stuck or differs == 'layout_mismatch', 'loaded': name in answer.loaded,
        'diagnosis': verdict, 'file_verdict': differs or 'not_compared',
        'reasons': ([line(diagnosis.get('reason'), 'no reason given')] if stuck and not same else [])
        + ([about_file] if about_file else []),
        'file': plain(at(file, 'file') or NOTHING), 'compilers': plain(at(file, 'compilers') or []),
        'layout': plain(at(file, 'layout') or NOTHING),
        'method': line(diagnosis.get('method'), 'none'), 'unload': line(diagnosis.get('next')) if stuck else '',
        'rebuild': (differs in REBUILD and severity in LOOK) or verdict == 'exit_lost',
        'rebuild_with': {}, 'without_headers': [], 'hosts': []}


def _verdict(module: Any) -> str:
    return line(at(module, 'diagnosis', 'verdict'), 'not known') if module else 'not_loaded'


def _count_in_kernel(kernels: dict[tuple[str, str], Kernel], host: str, answer: Answer) -> None:
    """Adds a host to its kernel."""
    compiler = plain(at(answer.toolchain, 'kernel', 'compiler') or NOTHING)
    layout = plain(at(answer.toolchain, 'kernel', 'layout') or NOTHING)
    kernel = kernels.setdefault((answer.release, answer.arch), {
        'release': answer.release, 'arch': answer.arch, 'hosts': [], 'compiler': compiler, 'layout': layout,
        'recommended_compilers': {}, 'without_headers': [], 'headers': line(answer.headers.get('dir')),
        'modules': 0, 'will_not_unload': 0})
    if at(kernel, 'compiler', 'unavailable') is not None and at(compiler, 'unavailable') is None:
        kernel.update({'compiler': compiler, 'layout': layout})
    kernel['hosts'].append(host)
    if answer.toolchain:
        kernel['recommended_compilers'].setdefault(answer.compiler, []).append(host)
    if not answer.has_headers:
        kernel['without_headers'].append(host)


def _count_in_findings(findings: dict[tuple[str, ...], Finding], host: str, answer: Answer) -> None:
    """Adds a host to a finding for each of its modules and module files."""
    for name in dict.fromkeys([*answer.loaded.keys(), *answer.files.keys()]):
        module, file = answer.loaded.get(name), answer.files.get(name)
        key = (answer.release, answer.arch, str(name), _verdict(module), line(at(file, 'verdict')),
               line(at(file, 'severity')))
        if key not in findings:
            findings[key] = _finding(answer, str(name), module, file)
        finding = findings[key]
        finding['hosts'].append(host)
        if finding['rebuild']:
            finding['rebuild_with'].setdefault(answer.compiler, []).append(host)
            if not answer.has_headers:
                finding['without_headers'].append(host)


def audit_report(hosts: Iterable[str], about: Any) -> Report:
    """One finding for each module, kernel and outcome, the worst first; the kernels; who did not answer, and why."""
    findings: dict[tuple[str, ...], Finding] = {}
    kernels: dict[tuple[str, str], Kernel] = {}
    silent: list[Silent] = []
    asked = [str(host) for host in hosts]
    for host in asked:
        answers = at(about, host)
        if not facts(at(answers, 'audit_modules')):
            silent.append({'host': host, 'answer': 'none',
                           'reason': line(at(answers, 'audit_modules', 'msg'), 'the host was not reached')})
            continue
        answer = _answer(answers)
        if answer.failures:
            reasons = ' '.join(dict.fromkeys(answer.failures))
            silent.append({'host': host, 'answer': MODULES_ONLY,
                           'reason': 'Its module files were not compared. ' + reasons})
        _count_in_kernel(kernels, host, answer)
        _count_in_findings(findings, host, answer)
    listed = sorted(findings.values(), key=lambda found: (
        RANKS.index(found['severity']), found['kernel'].lower(), found['module'].lower()))
    stuck = [found for found in listed if found['will_not_unload']]
    for found in listed:
        kernels[found['kernel'], found['arch']]['modules'] += 1
        kernels[found['kernel'], found['arch']]['will_not_unload'] += found['will_not_unload']
    incomplete = sum(one['answer'] == MODULES_ONLY for one in silent)
    return {
        'summary': {
            'hosts': len(asked), 'answered': len(asked) - len(silent) + incomplete,
            'without_answer': len(silent) - incomplete, 'incomplete': incomplete,
            'kernels': len(kernels), 'findings': len(listed),
            'will_not_unload': len({found['module'] for found in stuck}),
            'stuck_kernels': len({found['kernel'] for found in stuck}),
            'stuck_hosts': len({host for found in stuck for host in found['hosts']}),
            'worth_a_look': len({found['module'] for found in listed if _worth_a_look(found)})},
        'findings': listed,
        'kernels': sorted(kernels.values(), key=lambda kernel: (kernel['release'].lower(), kernel['arch'].lower())),
        'silent_hosts': silent}


def _worth_a_look(found: Mapping[str, Any]) -> bool:
    return not found['will_not_unload'] and found['severity'] in LOOK


def out_of_tree_in_use(answer: Any) -> list[str]:
    """The modules from outside of the kernel's tree that something uses, by the first answer of kmod_facts."""
    return [str(name) for name, module in mapping(facts(answer), 'modules').items()
            if 'O' in str(at(module, 'taint')) and _verdict(module) in ('in_use', 'in_use_unknown')]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {'audit_report': audit_report, 'out_of_tree_in_use': out_of_tree_in_use}
