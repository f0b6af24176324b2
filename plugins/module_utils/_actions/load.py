# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads one module file: read it, read what is loaded, plan, load by init_module(2), read again, report."""

import os
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import _file_types as types
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import check_files, unload, unload_options
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import (
    module_details,
    module_file,
    module_survey,
    module_table,
    running_kernel,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import log_source
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls, trust
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import module_image, relocatable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import crashes, diagnose, file_fitness, load_plan
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Kernel

LONGEST_LOG = 40
NO_BUILD_ID = unavailable('the file has none')
# What every parameter of a module is named by, described or not (include/linux/moduleparam.h, __module_param_call).
PARAMETER_SYMBOL = br'__param_str_(\w+)\0'


class Options(NamedTuple):
    """The options of kmod_load, and whether it runs in check mode."""

    path: str
    params: Dict[str, object]
    replace: bool
    timeout: float
    check_mode: bool


class Load:
    """One run with one module file on this host."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tried = f'load {options.path}'
        if os.geteuid() != 0:
            raise KmodError(self.tried, 'only root may, and this is user %d' % os.geteuid(),
                            'Set become=true, or call ansible with -b')
        loader_syscalls.numbers()  # raises where those of this machine are not known
        self.image, self.file, self.kernel = child_process.with_deadline(
            lambda: (*read_file(options.path), running_kernel.read()), options.timeout, self.tried)
        self.name = self.file['name']
        self.params = load_plan.wanted(options.params)
        self.result: types.LoadResult = {'changed': False, 'name': self.name}

    def run(self) -> types.LoadResult:
        """The module's return values. Raises KmodError, with these as its facts, where the file is not loaded."""
        loaded = self._look()
        before = self._shown(loaded)
        options: types.LoadOptions = {'params': self.params, 'replace': self.options.replace}
        plan = load_plan.standing(self.file, loaded, options)
        if plan['action'] in ('load', 'replace'):
            # Dear to read, and of no interest where nothing is to be loaded.
            kernel = self._host()
            file: types.JudgedFile = {**self.file, 'fitness': file_fitness.judge(self.file, kernel)}
            plan = load_plan.plan(file, loaded, kernel, options)
        self.result.update({'verdict': plan['verdict'], 'reason': plan['reason'], 'before': before, 'kernel_log': [],
                            'warnings': plan['warnings']})
        self._report(before, loaded.get('parameters', {}))
        if plan['action'] == 'refuse':
            raise KmodError(self.tried, plan['reason'], plan['next'], **self.result)
        if plan['action'] == 'none':
            return {**self.result, 'msg': plan['reason']}
        if plan['action'] == 'replace':
            self._unload()
        if self.options.check_mode:
            return self._foresee()
        self._load()
        self._check()
        return {**self.result, 'msg': f'{self.name} is loaded.'}

    def _look(self) -> types.Loaded:
        return child_process.with_deadline(lambda: look(self.name, self.file['depends'], self.kernel),
                                           self.options.timeout, f'read the state of {self.name}')

    def _host(self) -> types.LoadingKernel:
        return child_process.with_deadline(lambda: host(self.kernel), self.options.timeout, 'read what this kernel is')

    def _shown(self, loaded: Fact[types.Loaded]) -> Fact[types.ModuleState]:
        """What is returned as ``before`` and ``after``: of the parameters, those that were asked for."""
        if is_unavailable(loaded):
            return loaded
        if loaded['state'] in ('absent', 'builtin'):
            return {'state': loaded['state']}
        parameters = {name: loaded['parameters'].get(name, unavailable('sysfs does not show it'))
                      for name in sorted(self.params)}
        return {'state': loaded['state'], 'refcount': loaded['refcount'], 'used_by': loaded['used_by'],
                'permanent': loaded['permanent'], 'build_id': loaded['build_id'], 'srcversion': loaded['srcversion'],
                'parameters': parameters}

    def _report(self, after: Fact[types.ModuleState], parameters: Dict[str, Fact[str]]) -> None:
        self.result.update({'after': after, 'parameters': parameters,
                            'diff': {'before': self.result['before'], 'after': after}})

    def _look_again(self) -> Fact[types.Loaded]:
        """What is loaded now, also where it cannot be read; ``changed`` is what was seen to change."""
        try:
            loaded: Fact[types.Loaded] = self._look()
        except KmodError as error:
            loaded = unavailable(error)
        after = self._shown(loaded)
        self._report(after, {} if is_unavailable(loaded) else loaded.get('parameters', {}))
        self.result['changed'] = self.result['changed'] or after != self.result['before']
        return loaded

    def _failure(self, verdict: str, why: str, following: Optional[str]) -> KmodError:
        if 'unload' in self.result and not self.options.check_mode and self.result['unload'].get('after') == 'absent':
            why += '. The build that was loaded before is unloaded by now'
            path = module_details.files(self.kernel['release'], '/', [self.name]).get(self.name)
            if path:
                following = '{}{} is loaded again by modprobe {}'.format(
                    following.rstrip('.') + '. ' if following else '', path, self.name)
        self.result.update({'verdict': verdict, 'reason': why.rstrip('.') + '.'})
        return KmodError(self.tried, why, following, **self.result)

    def _unload(self) -> None:
        """Unloads the build that is loaded by the plain method, as rmmod does. Raises KmodError where it stays."""
        options = unload_options.Options(
            name=self.name, methods=['plain'], run_exit='auto', cascade=False, accept_hazards=[], helper='auto',
            helper_path=None, timeout=self.options.timeout, check_mode=self.options.check_mode)
        try:
            done = unload.Unload(options, self.kernel).run()
        except KmodError as error:
            self.result['unload'] = _unloading(error.facts)
            if error.facts.get('changed'):
                self._look_again()
            # A step that was taken failed by what the kernel answered; else what was found speaks against any.
            taken = error.facts.get('method', 'plain') != 'none'
            raise self._failure(
                'replace_refused', f'the build that is loaded cannot be unloaded by plain means: {error.why}',
                error.next_step if taken else load_plan.FORCE.format(self.name)) from error
        self.result['unload'] = _unloading(done)
        self.result['changed'] = True

    def _foresee(self) -> types.LoadResult:
        parameters: Dict[str, Fact[str]] = {**load_plan.given(self.params)}
        self._report({'state': 'live', 'refcount': 0, 'used_by': [], 'permanent': file_fitness.is_permanent(self.file),
                      'build_id': self.file['build_id'] or NO_BUILD_ID, 'srcversion': self.file['srcversion'],
                      'parameters': parameters}, parameters)
        return {**self.result, 'changed': True, 'msg': f'{self.name} would be loaded.'}

    def _load(self) -> None:
        text = load_plan.parameter_text(load_plan.given(self.params))
        log = log_source.Since()
        try:
            code = child_process.with_deadline(lambda: loader_syscalls.init_module(self.image, text),
                                               self.options.timeout, self.tried, outlives=True)
        except child_process.Deadline as error:
            self.result['kernel_log'] = shortened(log.lines())
            self._still_runs(error)
            return
        except KmodError as error:
            self.result['kernel_log'] = shortened(log.lines())
            raise self._died(error) from error
        self.result['kernel_log'] = said = shortened(log.lines())
        now = self._look_again()
        if code:
            why, following = load_plan.answer(
                code, loader_syscalls.errno_text(code), [] if is_unavailable(said) else said, self.name)
            raise self._failure('kernel_refused', why, following)
        shown = now['unavailable'] if is_unavailable(now) else now['state']
        if shown != 'live':
            raise self._failure('kernel_refused', f'the kernel accepted it, but shows it as {shown}',
                                'Look at the kernel log')
        self.result['changed'] = True

    def _still_runs(self, error: child_process.Deadline) -> None:
        """Returns where it was done when looked at: then it was only late."""
        now = self._look_again()
        if is_unavailable(now):
            raise self._failure('init_running', error.why, error.next_step)
        if now['state'] == 'live':
            self.result['changed'] = True
            return
        if now['state'] == 'coming':
            raise self._failure('init_running', 'its init has not returned within {:g} seconds. {}'.format(
                self.options.timeout, now['diagnosis']['reason']),
                'It is left to finish: a task in the kernel cannot be ended safely. kmod_facts with name={} says '
                'whether it did'.format(self.name))
        raise self._failure('init_running', error.why, error.next_step)

    def _died(self, error: KmodError) -> KmodError:
        now = self._look_again()
        if not is_unavailable(now) and now['state'] == 'coming':
            return self._failure('init_died', now['diagnosis']['reason'], load_plan.FORCE.format(self.name))
        return self._failure('init_died', error.why, error.next_step)

    def _check(self) -> None:
        """What was loaded is what was asked for, as far as sysfs shows it."""
        for name, value in sorted(load_plan.given(self.params).items()):
            shown = self.result['parameters'].get(name)
            if is_unavailable(shown):
                continue
            if not load_plan.same_value(value, shown, self.file['parameters'].get(name)):
                self.result['warnings'].append(f'{self.name} was loaded with {name}={value} and shows it as {shown}.')


def _unloading(facts: Mapping[str, Any]) -> types.Unloading:
    """Of kmod_force_unload's result, or the facts of its error, what tells how it went."""
    told: Any = {key: facts[key] for key in ('verdict', 'reason', 'method', 'hazards') if key in facts}
    found: types.Unloading = told
    after = facts.get('after')
    found['after'] = after.get('state', 'unknown') if isinstance(after, dict) else 'unknown'
    return found


def look(name: str, depends: Fact[List[str]], kernel: Kernel, root: str = '/') -> types.Loaded:
    """What is loaded by that name, what it is, why it would not go if it looks stuck; states of what it depends on."""
    with module_survey.Survey(root, kernel) as survey:
        facts = survey.module(name, module_survey.BRIEF)
        entry = facts['module']
        others = set() if is_unavailable(depends) else {other.replace('-', '_') for other in depends}
        found: types.Loaded = {
            'state': entry['state'],
            'depends': {other: module_table.module(other, kernel['release'], root, survey.table)['state']
                        for other in others}}
        if entry['state'] in ('absent', 'builtin'):
            return found
        details = module_details.read(name, {}, root)
        found.update({
            'refcount': entry['refcount'], 'used_by': entry['used_by'], 'permanent': entry['permanent'],
            'build_id': details['build_id'], 'srcversion': details['srcversion'], 'parameters': details['parameters']})
        if entry['state'] != 'live' or entry['permanent']:
            diagnosis = diagnose.diagnose(facts)
            found['diagnosis'] = {'verdict': diagnosis['verdict'], 'reason': diagnosis['reason']}
        return found


def host(kernel: Kernel, root: str = '/') -> types.LoadingKernel:
    """What decides whether this kernel takes a module file; ``loader`` as crashes.loader says it."""
    with module_survey.Survey(root, kernel) as survey:
        loader = crashes.loader(survey.oopses, *survey.running_loads())
    return {**check_files.kernel(root, kernel), 'loader': loader, 'modules_disabled': kernel['modules_disabled'],
            'module_signatures': kernel['module_signatures'], 'lockdown': kernel['lockdown']}


def read_file(path: str) -> Tuple[bytes, types.LoadableFile]:
    """The unpacked image of a module file, and what it is. Raises KmodError for what this host cannot load."""
    tried = f'load {path}'
    if not os.path.exists(path):
        raise KmodError(tried, 'there is no such file', 'Give the path of a .ko file on the host')
    if not os.path.isfile(path):
        raise KmodError(tried, 'it is no regular file', 'Give the path of a .ko file on the host')
    why = trust.fault_of_path(path, None)
    if why:
        raise KmodError(tried, f'others than its owner could have written it: {why}', 'Copy it to a directory of root')
    image = module_image.load(path)
    file = module_file.describe(image, path)
    if file['format'] != relocatable.OWN_FORMAT:
        raise KmodError(tried, 'it is a {} file for {}, which this host cannot load'.format(
            file['format'], file['machine']), 'Build it on this host: kernelops.kmod.kmod_build does that')
    source = identity(image, path, file['name'])
    if not module_table.NAME.match(source['name']) or len(source['name']) > module_table.NAME_LIMIT:
        raise KmodError(tried, 'it calls itself {}, which is no module\'s name'.format(ascii(source['name'])[:80]))
    return image, {**file, **source, 'build_id': file['build_id'] or NO_BUILD_ID}


def identity(image: bytes, path: str, name: str) -> types.ModuleSource:
    """What the module's own sections say (MODULE_PARM_DESC and __MODULE_PARM_TYPE in include/linux/moduleparam.h)."""
    module = relocatable.Relocatable(image, path)
    pairs = []
    for record in module.content('.modinfo').split(b'\0'):
        key, equals, value = record.decode('utf-8', 'replace').partition('=')
        if equals:
            pairs.append((key, value))
    parameters: Dict[str, Optional[str]] = {
        symbol.decode('ascii', 'replace'): None for symbol in re.findall(PARAMETER_SYMBOL, image)}
    for key, value in pairs:
        of, colon, kind = value.partition(':')
        if key in ('parm', 'parmtype') and colon:
            parameters.setdefault(of, None)
        if key == 'parmtype' and colon:
            parameters[of] = kind
    info = dict(reversed(pairs))
    return {
        # Kernels before 4.13 wrote no name into the file.
        'name': name or os.path.basename(path).split('.ko')[0].replace('-', '_'),
        'srcversion': info.get('srcversion') or unavailable(module_details.ABSENT),
        'parameters': parameters,
    }


def shortened(lines: Fact[List[str]]) -> Fact[List[str]]:
    """At most the first forty lines of what came to the kernel log."""
    if is_unavailable(lines):
        return lines
    more = len(lines) - LONGEST_LOG
    return lines[:LONGEST_LOG] + (['and %d more lines' % more] if more > 0 else [])
