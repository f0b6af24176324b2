# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible_facts.kmod_toolchain``: the kernel's compiler and layout, and whether each module suits them."""

import contextlib
import itertools
import os
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import _file_types as types
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import (
    host_compilers,
    module_details,
    module_file,
    module_table,
    running_kernel,
    struct_module,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.module_survey import BRIEF, Survey
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, compiler_text, pool
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import compiler_choice, diagnose, file_fitness
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Kernel, ModuleEntry, Unavailable

SCOPES = ('loaded', 'out_of_tree', 'all')
# In /lib/modules/RELEASE, and no module's place
NO_MODULES = ('build', 'source')
IN_TREE = 'kernel'
ENDINGS = ('.ko', '.ko.gz', '.ko.xz', '.ko.zst')
MODULES = '/lib/modules'
MOST_FILES = 20000
# For a module of the kernel's own tree that has init and exit: nearly all have.
REFERENCE_TRIES = 20
# Seconds for one file, and for all that is read of the kernel
DEADLINE = 30.0
NOT_IN_MEMORY = unavailable('not to be seen in a loaded module')
Table = Dict[str, ModuleEntry]
# A Target as marshal carries it
PlainTarget = Tuple[Optional[str], Optional[str], bool]
# What a verdict rests on
Ground = Optional[Tuple[object, ...]]


class Target(NamedTuple):
    """A module to judge: its name, or its file, or both. Names are the kernel's, paths those of the host.

    Of a file that was asked for as such, what is loaded by that name tells nothing.
    """

    name: Optional[str]
    path: Optional[str]
    file_only: bool = False


def kernel(root: str = '/', facts: Optional[Kernel] = None) -> types.SuitedKernel:
    """What file_fitness.judge takes of the running kernel; ``facts`` are running_kernel.read's, if there already.

    vermagic and CRC are those of a module of the kernel's own tree: the kernel shows them nowhere. So is the layout
    where there is no BTF; its ``source`` tells.
    """
    facts = facts or running_kernel.read(root)
    reference = reference_file(facts['release'], root)
    return {
        'release': facts['release'], 'arch': facts['arch'], 'module_signatures': facts['module_signatures'],
        'compiler': compiler(facts),
        'layout': _running_layout(reference, root),
        'vermagic': reference if is_unavailable(reference) else reference['vermagic'],
        'crc': reference if is_unavailable(reference) else reference['crc'],
    }


def _running_layout(reference: Fact[types.ModuleFile], root: str) -> Fact[types.FoundLayout]:
    layout = struct_module.layout(root)
    if not is_unavailable(layout):
        return {'size': layout['size'], 'init': layout['init'], 'exit': layout['exit'], 'source': layout['source']}
    if not is_unavailable(reference):
        return reference['layout']
    return unavailable('{}; {}'.format(layout['unavailable'].rstrip('.'), reference['unavailable']))


def installed_kernel(release: str, cross: bool, config: Dict[str, str]) -> types.SuitedKernel:
    """The same of a kernel that does not run: its own modules tell. ``cross``: it is of another machine."""
    file = reference_file(release)
    if is_unavailable(file):
        file = unavailable('this host runs another kernel, and {}'.format(file['unavailable']))
    return {
        'release': release,
        'arch': unavailable('it is of another machine') if cross else os.uname().machine,
        'vermagic': file if is_unavailable(file) else file['vermagic'],
        'crc': file if is_unavailable(file) else file['crc'],
        'layout': file if is_unavailable(file) else file['layout'],
        'compiler': compiler_text.parse_cc_line(config.get('CONFIG_CC_VERSION_TEXT', '')),
        'module_signatures': unavailable('it is for that kernel to say'),
    }


def sizes(layout: types.Layout) -> types.Layout:
    """A layout without its source."""
    return {'size': layout['size'], 'init': layout['init'], 'exit': layout['exit']}


def compiler(facts: Kernel) -> Fact[types.CalledCompiler]:
    """The compiler that built the kernel of these facts."""
    banner = facts['version_banner']
    line = '' if is_unavailable(facts['config']) else facts['config'].get('CONFIG_CC_VERSION_TEXT', '')
    configured = compiler_text.parse_cc_line(line)
    found: types.NamedCompiler = \
        compiler_text.unknown('') if is_unavailable(banner) else compiler_text.parse_version_banner(banner)
    if found['family'] is None:
        found = configured
    if found['family'] is None:
        return banner if is_unavailable(banner) else unavailable('/proc/version names none that is known here')
    return {**found, 'command': configured['command'] if compiler_text.same(found, configured) else None}


def reference_file(release: str, root: str = '/', tree: Optional[str] = None) -> Fact[types.ModuleFile]:
    """What a module of the kernel's own tree, one with init and exit, says of itself; or unavailable."""
    tree = tree or os.path.join(MODULES, release)
    tried = list(itertools.islice(module_files(os.path.join(tree, IN_TREE), root), REFERENCE_TRIES))
    for path in tried:
        # A directory of drivers may have been filled by others.
        with contextlib.suppress(KmodError):
            found = module_file.read(_below(root, path), path)
            if found['release'] == release and _has_both(found):
                return found
    if not tried:
        return unavailable(f'{tree}/{IN_TREE} holds no module')
    return unavailable(f'none of {len(tried)} modules in {tree}/{IN_TREE} is for {release} and has init and exit')


def _has_both(file: types.ModuleFile) -> bool:
    return not is_unavailable(file['layout']) and None not in (file['layout']['init'], file['layout']['exit'])


def gather(names: List[str], paths: List[str], scope: str, root: str = '/',
           timeout: float = DEADLINE) -> types.Checked:
    """All that kmod_toolchain_facts returns.

    ``scope`` counts where neither names nor paths are given. Of a whole tree or directory, modules that suit the kernel
    are listed in short. ``timeout`` is in seconds, for the kernel and for each file. Raises child_process.Deadline.
    """
    child_process.checked_timeout(timeout)
    patience = timeout / 2 if paths and not names else None

    def read() -> Tuple[Kernel, types.SuitedKernel, Table, List[str], List[PlainTarget], bool]:
        facts = running_kernel.read(root)
        running = kernel(root, facts)
        table, warnings = _table(root, patience)
        targets, cut = _targets(names, paths, scope, facts['release'], table, root)
        directory = any(os.path.isdir(_below(root, path)) for path in paths)
        return facts, running, table, warnings + cut, [target[:] for target in targets], directory

    # The rest has its time all the same where a table that can be done without was waited for.
    facts, running, table, warnings, found, directory = child_process.with_deadline(
        read, timeout + (patience or 0), 'read the kernel and its modules')
    in_short = not names and (directory if paths else scope == 'all')
    modules = _judged([Target(*target) for target in found], running, table, in_short, root, facts, timeout)
    host = child_process.with_deadline(lambda: host_compilers.found(root), timeout, 'look for compilers')
    built_by = running['compiler']
    chosen = None if is_unavailable(built_by) else compiler_choice.choose_compiler(built_by, host)
    return {'warnings': warnings, 'facts': {
        'kernel': {'release': running['release'], 'arch': running['arch'], 'compiler': built_by,
                   'layout': running['layout'], 'vermagic': running['vermagic']},
        'compilers': host,
        'recommended_compiler': chosen or _no_compiler(built_by),
        'headers': facts['headers'],
        'modules': modules,
        'counts': {verdict: sum(1 for entry in modules.values() if entry['verdict'] == verdict)
                   for verdict in file_fitness.VERDICTS},
        'permanent': sorted(name for name, entry in modules.items() if entry.pop('permanent')),
        'mismatched': sorted(name for name, entry in modules.items() if entry['severity'] == 'error'),
    }}


def _no_compiler(built_by: Fact[types.CalledCompiler]) -> Unavailable:
    if is_unavailable(built_by):
        return built_by
    return unavailable('the kernel was built by {} {}, and this host has no {}'.format(
        built_by['family'], built_by['version'], built_by['family']))


def _table(root: str, patience: Optional[float]) -> Tuple[Table, List[str]]:
    """The module table and warnings; where it can be done without it, ``patience`` says how long it is waited for."""
    if patience is None:
        table = module_table.read(root)
        return table['modules'], table['warnings']
    try:
        table = child_process.with_deadline(lambda: module_table.read(root), patience, 'read the module table')
    except KmodError as error:
        return {}, [str(error)]
    return table['modules'], table['warnings']


def _below(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip('/')) if root != '/' else path


def module_files(directory: str, root: str) -> Iterator[str]:
    """Module files below a directory, by name; links are followed to files only."""
    real = _below(root, directory)
    for place, directories, files in os.walk(real):
        directories.sort()
        if place == real:
            directories[:] = [name for name in directories if name not in NO_MODULES]
        shown = directory + place[len(real):] + '/'
        files.sort()
        for name in files:
            if name.endswith(ENDINGS):
                yield shown + name


def _targets(names: List[str], paths: List[str], scope: str, release: str, table: Table,
             root: str) -> Tuple[List[Target], List[str]]:
    tree = os.path.join(MODULES, release)
    targets: List[Target] = []
    warnings = []
    if names or (scope == 'loaded' and not paths):
        asked = [module_table.kernel_name(name, 'look at') for name in names] or sorted(table)
        known = module_details.files(release, root, asked)
        targets += [Target(name, known.get(name)) for name in asked]
    for path in paths:
        if os.path.isdir(_below(root, path)):
            found = [Target(None, file, True) for file in module_files(path, root)]
            if not found:
                warnings.append(f'{path} holds no module file')
            targets += found
        else:
            targets.append(Target(None, path, True))
    if not (names or paths or scope == 'loaded'):
        inside = os.path.join(tree, IN_TREE) + '/'
        files = [path for path in module_files(tree, root) if scope == 'all' or not path.startswith(inside)]
        targets += [Target(None, path) for path in files]
        there = {_name_of(path) for path in files}
        loaded = [name for name in sorted(table) if name not in there
                  and (scope == 'all' or 'O' in table[name]['taint'])]
        known = module_details.files(release, root, loaded)
        targets += [Target(name, known.get(name)) for name in loaded]
    if len(targets) > MOST_FILES:
        warnings.append('%d modules were found; the first %d are judged' % (len(targets), MOST_FILES))
    return targets[:MOST_FILES], warnings


def _name_of(path: str) -> str:
    return os.path.basename(path).split('.ko')[0].replace('-', '_')


def examine(path: str, shown: str, running: types.SuitedKernel,
            judged: Dict[Ground, types.Fitness]) -> types.CheckedFile:
    """One file's entry.

    Most files of a tree differ in nothing that counts: ``judged`` keeps the verdicts by what they rest on.
    """
    try:
        file: Fact[types.ModuleFile] = module_file.read(path, shown)
    except KmodError as error:
        file = unavailable(error)
    except Exception as error:  # pylint: disable=broad-except  # one file must not cost the other four thousand
        file = unavailable(f'{shown}: {type(error).__name__}: {error}')
    ground = _rests_on(file)
    verdict = judged.get(ground) or file_fitness.judge(file, running)
    if ground is not None:
        judged[ground] = verdict
    if is_unavailable(file):
        return _unread(shown, '', file, verdict)
    layout = file['layout']
    return {'file': shown, 'name': file['name'], 'compilers': file['compilers'], 'vermagic': file['vermagic'],
            'layout': layout if is_unavailable(layout) else sizes(layout),
            'permanent': file_fitness.is_permanent(file), 'verdict': verdict['verdict'],
            'severity': verdict['severity'], 'reason': verdict['reason']}


def _unread(file: Fact[str], name: str, reason: Unavailable, verdict: types.Fitness) -> types.CheckedFile:
    return {'file': file, 'name': name, 'compilers': reason, 'vermagic': reason, 'layout': reason, 'permanent': False,
            'verdict': verdict['verdict'], 'severity': verdict['severity'], 'reason': verdict['reason']}


def _rests_on(file: Fact[types.ModuleFile]) -> Ground:
    """What the verdict on a file rests on; None for one that was not read in full."""
    if is_unavailable(file) or is_unavailable(file['layout']) or is_unavailable(file['compilers']):
        return None
    return (file['vermagic'], file['crc'], file['machine'], file['format'], file['signed'],
            tuple([file['layout'][key] for key in types.LAYOUT_KEYS]),
            tuple([found['banner'] for found in file['compilers']]))


def examine_all(paths: List[str], running: types.SuitedKernel, root: str = '/', in_short: bool = False,
                timeout: float = DEADLINE) -> List[types.CheckedFile]:
    """:func:`examine` of each, on all processors; ``in_short`` leaves out what a module that suits the kernel says."""
    judged: Dict[Ground, types.Fitness] = {}

    def one(path: str) -> types.CheckedFile:
        entry = examine(_below(root, path), path, running, judged)
        if in_short and entry['severity'] == 'ok':
            return {'name': entry['name'], 'file': entry['file'], 'verdict': entry['verdict'],
                    'severity': entry['severity'], 'permanent': entry['permanent']}
        return entry

    found = pool.share(one, paths, timeout)
    return [found[place] if place in found else _unanswered(path, timeout) for place, path in enumerate(paths)]


def _unanswered(path: str, timeout: float) -> types.CheckedFile:
    reason = unavailable(f'{path} was not read within {timeout:g} seconds')
    return _unread(path, '', reason, file_fitness.unread(reason))


def _judged(targets: List[Target], running: types.SuitedKernel, table: Table, in_short: bool, root: str,
            facts: Kernel, timeout: float) -> Dict[str, types.CheckedFile]:
    paths = [target.path for target in targets if target.path]
    entries = iter(examine_all(paths, running, root, in_short, timeout))
    modules: Dict[str, types.CheckedFile] = {}
    lost: List[str] = []
    for target in targets:
        entry = next(entries) if target.path else _without_file(str(target.name), running, table, root)
        own = entry.pop('name') or _name_of(target.path or '')
        name = target.name or own
        if name in modules:
            # Two files of one name: the second goes by its path.
            name = str(target.path) if target.path else name
        entry['loaded'] = name in table
        # What is loaded may be another build than the file.
        if entry['loaded'] and table[name]['permanent'] and not (entry['permanent'] or target.file_only):
            lost.append(name)
        modules[name] = entry
    if lost:
        modules.update(child_process.with_deadline(
            lambda: _look_inside(lost, modules, running, root, facts), timeout, 'look at the loaded modules'))
    return modules


def _without_file(name: str, running: types.SuitedKernel, table: Table, root: str) -> types.CheckedFile:
    absent = unavailable(module_details.NO_FILE)
    verdict, severity = 'unknown', 'warning'
    loaded = table.get(name)
    if loaded is None and module_table.is_builtin(name, running['release'], root):
        verdict, severity, reason = 'match', 'ok', f'{name} is built into the kernel'
        absent = unavailable(reason)
    elif loaded is None:
        reason = '{} is not loaded, and modules.dep of {} does not name it'.format(name, running['release'])
        absent = unavailable(reason)
    elif loaded['permanent'] or loaded['state'] != 'live':
        reason = 'Its file is not known, and the kernel has it as {}'.format(
            'permanent' if loaded['permanent'] else loaded['state'])
    else:
        verdict, severity = 'match', 'ok'
        reason = 'Its file is not known; the kernel has found its exit function, so the layout is the kernel\'s'
    return _unread(absent, name, absent, {'verdict': verdict, 'severity': severity, 'reason': reason + '.'})


def _look_inside(names: List[str], modules: Dict[str, types.CheckedFile], running: types.SuitedKernel, root: str,
                 facts: Kernel) -> Dict[str, types.CheckedFile]:
    """Entries of loaded modules that the kernel calls permanent, though their source may have an exit: where it is."""
    with Survey(root, facts) as survey:
        for name in names:
            found = survey.module(name, BRIEF)
            diagnosis = diagnose.diagnose(found)
            entry = modules[name]
            if diagnosis['verdict'] == 'exit_lost':
                offsets = found['exit_offsets']
                entry['layout'] = offsets if is_unavailable(offsets) else \
                    {'size': NOT_IN_MEMORY, 'init': NOT_IN_MEMORY, 'exit': offsets['module']}
                entry.update({'verdict': 'layout_mismatch', 'severity': 'error', 'reason': '{} {}'.format(
                    diagnosis['reason'], 'Unload it by kernelops.kmod.kmod_force_unload, and build it against the '
                    'headers of {}.'.format(running['release']))})
            elif diagnosis['verdict'] != 'no_exit' or found['cleanup_module'] is not None:
                entry.update({'verdict': 'unknown', 'severity': 'warning', 'reason': diagnosis['reason']})
            elif is_unavailable(entry['file']):
                entry.update({'verdict': 'match', 'severity': 'ok', 'permanent': True, 'reason': diagnosis['reason']})
            else:
                entry.update({'verdict': 'unknown', 'severity': 'warning', 'reason':
                              f'What is loaded as {name} has no exit function, unlike its file: it is another build.'})
    return {name: modules[name] for name in names}
