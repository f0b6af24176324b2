# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible_facts.kmod_toolchain``: the kernel's compiler and layout, and whether each module suits them."""

import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import (
    _compiler_text,
    _kernel,
    _module_details,
    _module_file,
    _module_table,
    _module_verdict,
    _struct_module,
    _syscalls,
    _workers,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable

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


def kernel(root='/', facts=None):
    # type: (str, Optional[Dict[str, Any]]) -> Dict[str, Any]
    """What _module_verdict.judge takes of the running kernel; ``facts`` are _kernel.read's, if they are there already.

    vermagic and CRC are those of a module of the kernel's own tree: the kernel shows them nowhere. So is the layout
    where there is no BTF; its ``source`` tells.
    """
    facts = facts or _kernel.read(root)
    reference = reference_file(facts['release'], root)
    layout = _struct_module.layout(root)
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


def compiler(facts):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """The compiler that built the kernel of these facts (_kernel.read), and the ``command`` that it was called by."""
    banner = facts['version_banner']
    line = '' if is_unavailable(facts['config']) else facts['config'].get('CONFIG_CC_VERSION_TEXT', '')
    configured = _compiler_text.parse_cc_line(line)
    found = _compiler_text.unknown('') if is_unavailable(banner) else _compiler_text.parse_version_banner(banner)
    if found['family'] is None:
        found = configured
    if found['family'] is None:
        return banner if is_unavailable(banner) else unavailable('/proc/version names none that is known here')
    return dict(found, command=configured['command'] if _compiler_text.same(found, configured) else None)


def reference_file(release, root='/', tree=None):
    # type: (str, str, Optional[str]) -> Dict[str, Any]
    """What a module of the kernel's own tree, one with init and exit, says of itself; or unavailable."""
    tree = tree or os.path.join(MODULES, release)
    tried = 0
    for path in module_files(os.path.join(tree, IN_TREE), root):
        try:
            found = _module_file.read(_below(root, path), path)
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


def gather(names, paths, scope, root='/', timeout=DEADLINE):
    # type: (List[str], List[str], str, str, float) -> Dict[str, Any]
    """``{'facts': ansible_facts.kmod_toolchain, 'warnings': [text]}``.

    ``scope`` counts where neither names nor paths are given. Of a whole tree or directory, modules that suit the kernel
    are listed in short. ``timeout`` is in seconds, for the kernel and for each file. Raises _syscalls.Deadline.
    """
    from ansible_collections.kernelops.kmod.plugins.module_utils import _compilers, _toolchain

    _syscalls.checked_timeout(timeout)
    patience = timeout / 2 if paths and not names else None

    def read():
        # type: () -> Tuple[Any, ...]
        facts = _kernel.read(root)
        running = kernel(root, facts)
        table, warnings = _table(root, patience)
        targets, cut = _targets(names, paths, scope, facts['release'], table, root)
        directory = any(os.path.isdir(_below(root, path)) for path in paths)
        return facts, running, table, warnings + cut, [tuple(target) for target in targets], directory

    # The rest has its time all the same where a table that can be done without was waited for.
    facts, running, table, warnings, found, directory = _syscalls.with_deadline(
        read, timeout + (patience or 0), 'read the kernel and its modules')
    in_short = not names and (directory if paths else scope == 'all')
    modules = _judged([Target(*target) for target in found], running, table, in_short, root, facts, timeout)
    host = _syscalls.with_deadline(lambda: _compilers.found(root), timeout, 'look for compilers')
    built_by = running['compiler']
    chosen = None if is_unavailable(built_by) else _toolchain.choose_compiler(built_by, host)
    return {'warnings': warnings, 'facts': {
        'kernel': {key: running[key] for key in ('release', 'arch', 'compiler', 'layout', 'vermagic')},
        'compilers': host,
        'recommended_compiler': chosen or _no_compiler(built_by),
        'headers': facts['headers'],
        'modules': modules,
        'counts': {verdict: sum(1 for entry in modules.values() if entry['verdict'] == verdict)
                   for verdict in _module_verdict.VERDICTS},
        'permanent': sorted(name for name, entry in modules.items() if entry.pop('permanent')),
        'mismatched': sorted(name for name, entry in modules.items() if entry['severity'] == 'error'),
    }}


def _no_compiler(built_by):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    if is_unavailable(built_by):
        return built_by
    return unavailable('the kernel was built by {} {}, and this host has no {}'.format(
        built_by['family'], built_by['version'], built_by['family']))


def _table(root, patience):
    # type: (str, Optional[float]) -> Tuple[Dict[str, Any], List[str]]
    """The module table and warnings; where it can be done without it, ``patience`` says how long it is waited for."""
    if patience is None:
        table = _module_table.read(root)
        return table['modules'], table['warnings']
    try:
        table = _syscalls.with_deadline(lambda: _module_table.read(root), patience, 'read the module table')
    except KmodError as error:
        return {}, [str(error)]
    return table['modules'], table['warnings']


def _below(root, path):
    # type: (str, str) -> str
    return os.path.join(root, path.lstrip('/')) if root != '/' else path


# --- which modules ------------------------------------------------------------------------------------------------

def module_files(directory, root):
    # type: (str, str) -> Iterator[str]
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


def _targets(names, paths, scope, release, table, root):
    # type: (List[str], List[str], str, str, Dict[str, Any], str) -> Tuple[List[Target], List[str]]
    tree = os.path.join(MODULES, release)
    targets = []  # type: List[Target]
    warnings = []
    if names or (scope == 'loaded' and not paths):
        asked = [_module_table.kernel_name(name, 'look at') for name in names] or sorted(table)
        known = _module_details.files(release, root, asked)
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
        known = _module_details.files(release, root, loaded)
        targets += [Target(name, known.get(name)) for name in loaded]
    if len(targets) > MOST_FILES:
        warnings.append('%d modules were found; the first %d are judged' % (len(targets), MOST_FILES))
    return targets[:MOST_FILES], warnings


def _name_of(path):
    # type: (str) -> str
    return os.path.basename(path).split('.ko')[0].replace('-', '_')


# --- their verdicts -----------------------------------------------------------------------------------------------

def examine(path, shown, running, judged):
    # type: (str, str, Dict[str, Any], Dict[Any, Dict[str, str]]) -> Dict[str, Any]
    """One file's entry, and ``name``, ``permanent`` (init and no exit) beside it.

    Most files of a tree differ in nothing that counts: ``judged`` keeps the verdicts by what they rest on.
    """
    try:
        file = _module_file.read(path, shown)  # type: Dict[str, Any]
    except KmodError as error:
        file = unavailable(error)
    except Exception as error:  # pylint: disable=broad-except  # one file must not cost the other four thousand
        file = unavailable(f'{shown}: {type(error).__name__}: {error}')
    entry = {'file': shown}  # type: Dict[str, Any]
    if is_unavailable(file):
        entry.update(name='', compilers=file, vermagic=file, layout=file, permanent=False)
    else:
        layout = file['layout']
        entry.update((key, file[key]) for key in ('name', 'compilers', 'vermagic'))
        entry['layout'] = layout if is_unavailable(layout) else {key: layout[key] for key in LAYOUT[:3]}
        entry['permanent'] = _module_verdict.is_permanent(file)
    key = _rests_on(file)
    verdict = judged.get(key) or _module_verdict.judge(file, running)
    if key is not None:
        judged[key] = verdict
    entry.update(verdict)
    return entry


def _rests_on(file):
    # type: (Dict[str, Any]) -> Any
    """What the verdict on a file rests on; None for one that was not read in full."""
    if is_unavailable(file) or is_unavailable(file['layout']) or is_unavailable(file['compilers']):
        return None
    return (file['vermagic'], file['crc'], file['machine'], file['format'], file['signed'],
            tuple([file['layout'][key] for key in LAYOUT[:3]]), tuple([found['banner'] for found in file['compilers']]))


def examine_all(paths, running, root='/', in_short=False, timeout=DEADLINE):
    # type: (List[str], Dict[str, Any], str, bool, float) -> List[Dict[str, Any]]
    """:func:`examine` of each, on all processors; ``in_short`` leaves out what a module that suits the kernel says."""
    judged = {}  # type: Dict[Any, Dict[str, str]]

    def one(path):
        # type: (str) -> Dict[str, Any]
        entry = examine(_below(root, path), path, running, judged)
        if in_short and entry['severity'] == 'ok':
            return {key: entry[key] for key in ('name', 'file', 'verdict', 'severity', 'permanent')}
        return entry

    found = _workers.share(one, paths, timeout)
    return [found[place] if place in found else _unanswered(path, timeout) for place, path in enumerate(paths)]


def _unanswered(path, timeout):
    # type: (str, float) -> Dict[str, Any]
    reason = unavailable(f'{path} was not read within {timeout:g} seconds')
    return dict(_module_verdict.judge(reason, {}), name='', file=path, compilers=reason, vermagic=reason, layout=reason,
                permanent=False)


def _judged(targets, running, table, in_short, root, facts, timeout):
    # type: (List[Target], Dict[str, Any], Dict[str, Any], bool, str, Dict[str, Any], float) -> Dict[str, Any]
    paths = [target.path for target in targets if target.path]
    entries = iter(examine_all(paths, running, root, in_short, timeout))
    modules = {}  # type: Dict[str, Dict[str, Any]]
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
        modules.update(_syscalls.with_deadline(
            lambda: _look_inside(lost, modules, running, root, facts), timeout, 'look at the loaded modules'))
    return modules


def _without_file(name, running, table, root):
    # type: (str, Dict[str, Any], Dict[str, Any], str) -> Dict[str, Any]
    absent = unavailable(_module_details.NO_FILE)
    entry = {'name': name, 'file': absent, 'compilers': absent, 'vermagic': absent, 'layout': absent,
             'permanent': False}  # type: Dict[str, Any]
    verdict, severity = 'unknown', 'warning'
    loaded = table.get(name)
    if loaded is None and _module_table.is_builtin(name, running['release'], root):
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


def _look_inside(names, modules, running, root, facts):
    # type: (List[str], Dict[str, Any], Dict[str, Any], str, Dict[str, Any]) -> Dict[str, Any]
    """Entries of loaded modules that the kernel calls permanent, though their source may have an exit: where it is."""
    # Compiled at each run of a module, like all else: seldom needed.
    from ansible_collections.kernelops.kmod.plugins.module_utils import _diagnosis
    from ansible_collections.kernelops.kmod.plugins.module_utils._survey import BRIEF, Survey

    with Survey(root, facts) as survey:
        for name in names:
            found = survey.module(name, BRIEF)
            diagnosis = _diagnosis.diagnose(found)
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


def _layout_in_memory(offsets):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    if is_unavailable(offsets):
        return offsets
    reason = unavailable('not to be seen in a loaded module')
    return {'size': reason, 'init': reason, 'exit': offsets['module']}
