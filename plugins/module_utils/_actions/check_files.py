# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible_facts.kmod_toolchain``: the kernel's compiler and layout, and whether each module suits them."""

import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

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

SCOPES = ('loaded', 'out_of_tree', 'all')
# In /lib/modules/RELEASE, and no module's place
NO_MODULES = ('build', 'source')
IN_TREE = 'kernel'
ENDINGS = ('.ko', '.ko.gz', '.ko.xz', '.ko.zst')
MODULES = '/lib/modules'
LAYOUT = ('size', 'init', 'exit', 'source')
MOST_FILES = 20000
# For a module of the kernel's own tree that has init and exit: nearly all have.
REFERENCE_TRIES = 20
# Seconds for one file, and for all that is read of the kernel
DEADLINE = 30.0


class Target(NamedTuple):
    """A module to judge: its name, or its file, or both. Names are the kernel's, paths those of the host.

    Of a file that was asked for as such, what is loaded by that name tells nothing.
    """

    name: Optional[str]
    path: Optional[str]
    file_only: bool = False


def kernel(root: str = '/', facts: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """What file_fitness.judge takes of the running kernel; ``facts`` are running_kernel.read's, if there already.

    vermagic and CRC are those of a module of the kernel's own tree: the kernel shows them nowhere. So is the layout
    where there is no BTF; its ``source`` tells.
    """
    facts = facts or running_kernel.read(root)
    reference = reference_file(facts['release'], root)
    layout = struct_module.layout(root)
    if is_unavailable(layout):
        layout = reference['layout'] if not is_unavailable(reference) else unavailable('{}; {}'.format(
            layout['unavailable'].rstrip('.'), reference['unavailable']))
    return {
        'release': facts['release'], 'arch': facts['arch'], 'module_signatures': facts['module_signatures'],
        'compiler': compiler(facts),
        'layout': layout if is_unavailable(layout) else {key: layout[key] for key in LAYOUT},
        'vermagic': reference if is_unavailable(reference) else reference['vermagic'],
        'crc': reference if is_unavailable(reference) else reference['crc'],
    }


def compiler(facts: Dict[str, Any]) -> Dict[str, Any]:
    """The compiler that built the kernel of these facts (running_kernel.read), and the ``command`` it was called by."""
    banner = facts['version_banner']
    line = '' if is_unavailable(facts['config']) else facts['config'].get('CONFIG_CC_VERSION_TEXT', '')
    configured = compiler_text.parse_cc_line(line)
    found = compiler_text.unknown('') if is_unavailable(banner) else compiler_text.parse_version_banner(banner)
    if found['family'] is None:
        found = configured
    if found['family'] is None:
        return banner if is_unavailable(banner) else unavailable('/proc/version names none that is known here')
    return dict(found, command=configured['command'] if compiler_text.same(found, configured) else None)


def reference_file(release: str, root: str = '/', tree: Optional[str] = None) -> Dict[str, Any]:
    """What a module of the kernel's own tree, one with init and exit, says of itself; or unavailable."""
    tree = tree or os.path.join(MODULES, release)
    tried = 0
    for path in module_files(os.path.join(tree, IN_TREE), root):
        try:
            found = module_file.read(_below(root, path), path)
        except KmodError:
            found = {}
        # A directory of drivers may have been filled by others.
        if found and found['release'] == release and None not in (found['layout']['init'], found['layout']['exit']):
            return found
        tried += 1
        if tried == REFERENCE_TRIES:
            break
    if not tried:
        return unavailable(f'{tree}/{IN_TREE} holds no module')
    return unavailable(f'none of {tried} modules in {tree}/{IN_TREE} is for {release} and has init and exit')


def gather(names: List[str], paths: List[str], scope: str, root: str = '/',
           timeout: float = DEADLINE) -> Dict[str, Any]:
    """``{'facts': ansible_facts.kmod_toolchain, 'warnings': [text]}``.

    ``scope`` counts where neither names nor paths are given. Of a whole tree or directory, modules that suit the kernel
    are listed in short. ``timeout`` is in seconds, for the kernel and for each file. Raises child_process.Deadline.
    """
    child_process.checked_timeout(timeout)
    patience = timeout / 2 if paths and not names else None

    def read() -> Tuple[Any, ...]:
        facts = running_kernel.read(root)
        running = kernel(root, facts)
        table, warnings = _table(root, patience)
        targets, cut = _targets(names, paths, scope, facts['release'], table, root)
        directory = any(os.path.isdir(_below(root, path)) for path in paths)
        return facts, running, table, warnings + cut, [tuple(target) for target in targets], directory

    # The rest has its time all the same where a table that can be done without was waited for.
    facts, running, table, warnings, found, directory = child_process.with_deadline(
        read, timeout + (patience or 0), 'read the kernel and its modules')
    in_short = not names and (directory if paths else scope == 'all')
    modules = _judged([Target(*target) for target in found], running, table, in_short, root, facts, timeout)
    host = child_process.with_deadline(lambda: host_compilers.found(root), timeout, 'look for compilers')
    built_by = running['compiler']
    chosen = None if is_unavailable(built_by) else compiler_choice.choose_compiler(built_by, host)
    return {'warnings': warnings, 'facts': {
        'kernel': {key: running[key] for key in ('release', 'arch', 'compiler', 'layout', 'vermagic')},
        'compilers': host,
        'recommended_compiler': chosen or _no_compiler(built_by),
        'headers': facts['headers'],
        'modules': modules,
        'counts': {verdict: sum(1 for entry in modules.values() if entry['verdict'] == verdict)
                   for verdict in file_fitness.VERDICTS},
        'permanent': sorted(name for name, entry in modules.items() if entry.pop('permanent')),
        'mismatched': sorted(name for name, entry in modules.items() if entry['severity'] == 'error'),
    }}


def _no_compiler(built_by: Dict[str, Any]) -> Dict[str, Any]:
    if is_unavailable(built_by):
        return built_by
    return unavailable('the kernel was built by {} {}, and this host has no {}'.format(
        built_by['family'], built_by['version'], built_by['family']))


def _table(root: str, patience: Optional[float]) -> Tuple[Dict[str, Any], List[str]]:
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


# --- which modules ------------------------------------------------------------------------------------------------

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


def _targets(names: List[str], paths: List[str], scope: str, release: str, table: Dict[str, Any],
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


# --- their verdicts -----------------------------------------------------------------------------------------------

def examine(path: str, shown: str, running: Dict[str, Any], judged: Dict[Any, Dict[str, str]]) -> Dict[str, Any]:
    """One file's entry, and ``name``, ``permanent`` (init and no exit) beside it.

    Most files of a tree differ in nothing that counts: ``judged`` keeps the verdicts by what they rest on.
    """
    try:
        file: Dict[str, Any] = module_file.read(path, shown)
    except KmodError as error:
        file = unavailable(error)
    except Exception as error:  # pylint: disable=broad-except  # one file must not cost the other four thousand
        file = unavailable(f'{shown}: {type(error).__name__}: {error}')
    entry: Dict[str, Any] = {'file': shown}
    if is_unavailable(file):
        entry.update(name='', compilers=file, vermagic=file, layout=file, permanent=False)
    else:
        layout = file['layout']
        entry.update((key, file[key]) for key in ('name', 'compilers', 'vermagic'))
        entry['layout'] = layout if is_unavailable(layout) else {key: layout[key] for key in LAYOUT[:3]}
        entry['permanent'] = file_fitness.is_permanent(file)
    key = _rests_on(file)
    verdict = judged.get(key) or file_fitness.judge(file, running)
    if key is not None:
        judged[key] = verdict
    entry.update(verdict)
    return entry


def _rests_on(file: Dict[str, Any]) -> Any:
    """What the verdict on a file rests on; None for one that was not read in full."""
    if is_unavailable(file) or is_unavailable(file['layout']) or is_unavailable(file['compilers']):
        return None
    return (file['vermagic'], file['crc'], file['machine'], file['format'], file['signed'],
            tuple([file['layout'][key] for key in LAYOUT[:3]]), tuple([found['banner'] for found in file['compilers']]))


def examine_all(paths: List[str], running: Dict[str, Any], root: str = '/', in_short: bool = False,
                timeout: float = DEADLINE) -> List[Dict[str, Any]]:
    """:func:`examine` of each, on all processors; ``in_short`` leaves out what a module that suits the kernel says."""
    judged: Dict[Any, Dict[str, str]] = {}

    def one(path: str) -> Dict[str, Any]:
        entry = examine(_below(root, path), path, running, judged)
        if in_short and entry['severity'] == 'ok':
            return {key: entry[key] for key in ('name', 'file', 'verdict', 'severity', 'permanent')}
        return entry

    found = pool.share(one, paths, timeout)
    return [found[place] if place in found else _unanswered(path, timeout) for place, path in enumerate(paths)]


def _unanswered(path: str, timeout: float) -> Dict[str, Any]:
    reason = unavailable(f'{path} was not read within {timeout:g} seconds')
    return dict(file_fitness.judge(reason, {}), name='', file=path, compilers=reason, vermagic=reason, layout=reason,
                permanent=False)


def _judged(targets: List[Target], running: Dict[str, Any], table: Dict[str, Any], in_short: bool, root: str,
            facts: Dict[str, Any], timeout: float) -> Dict[str, Any]:
    paths = [target.path for target in targets if target.path]
    entries = iter(examine_all(paths, running, root, in_short, timeout))
    modules: Dict[str, Dict[str, Any]] = {}
    lost = []
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


def _without_file(name: str, running: Dict[str, Any], table: Dict[str, Any], root: str) -> Dict[str, Any]:
    absent = unavailable(module_details.NO_FILE)
    entry: Dict[str, Any] = {'name': name, 'file': absent, 'compilers': absent, 'vermagic': absent, 'layout': absent,
             'permanent': False}
    verdict, severity = 'unknown', 'warning'
    loaded = table.get(name)
    if loaded is None and module_table.is_builtin(name, running['release'], root):
        verdict, severity, reason = 'match', 'ok', f'{name} is built into the kernel'
        entry.update(dict.fromkeys(('file', 'compilers', 'vermagic', 'layout'), unavailable(reason)))
    elif loaded is None:
        reason = '{} is not loaded, and modules.dep of {} does not name it'.format(name, running['release'])
        entry.update(dict.fromkeys(('file', 'compilers', 'vermagic', 'layout'), unavailable(reason)))
    elif loaded['permanent'] or loaded['state'] != 'live':
        reason = 'Its file is not known, and the kernel has it as {}'.format(
            'permanent' if loaded['permanent'] else loaded['state'])
    else:
        verdict, severity = 'match', 'ok'
        reason = 'Its file is not known; the kernel has found its exit function, so the layout is the kernel\'s'
    return dict(entry, verdict=verdict, severity=severity, reason=reason + '.')


def _look_inside(names: List[str], modules: Dict[str, Any], running: Dict[str, Any], root: str,
                 facts: Dict[str, Any]) -> Dict[str, Any]:
    """Entries of loaded modules that the kernel calls permanent, though their source may have an exit: where it is."""
    # Compiled at each run of a module, like all else: seldom needed.

    with Survey(root, facts) as survey:
        for name in names:
            found = survey.module(name, BRIEF)
            diagnosis = diagnose.diagnose(found)
            entry = modules[name]
            if diagnosis['verdict'] == 'exit_lost':
                entry['layout'] = _layout_in_memory(found['exit_offsets'])
                entry.update(verdict='layout_mismatch', severity='error', reason='{} {}'.format(
                    diagnosis['reason'], 'Unload it by kernelops.kmod.kmod_force_unload, and build it against the '
                    'headers of {}.'.format(running['release'])))
            elif diagnosis['verdict'] != 'no_exit' or found['cleanup_module'] is not None:
                entry.update(verdict='unknown', severity='warning', reason=diagnosis['reason'])
            elif is_unavailable(entry['file']):
                entry.update(verdict='match', severity='ok', permanent=True, reason=diagnosis['reason'])
            else:
                entry.update(verdict='unknown', severity='warning', reason=(
                    f'What is loaded as {name} has no exit function, unlike its file: it is another build.'))
    return {name: modules[name] for name in names}


def _layout_in_memory(offsets: Dict[str, Any]) -> Dict[str, Any]:
    if is_unavailable(offsets):
        return offsets
    reason = unavailable('not to be seen in a loaded module')
    return {'size': reason, 'init': reason, 'exit': offsets['module']}
