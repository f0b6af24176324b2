# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads one module file: read it, read what is loaded, plan, load by init_module(2), read again, report."""

import os
import re
from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._actions import check_files, unload
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

LONGEST_LOG = 40
# What every parameter of a module is named by, described or not (include/linux/moduleparam.h, __module_param_call).
PARAMETER_SYMBOL = br'__param_str_(\w+)\0'


class Options(NamedTuple):
    """The options of kmod_load, and whether it runs in check mode."""

    path: str
    params: Dict[str, Any]
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
        self.name: str = self.file['name']
        self.params = load_plan.wanted(options.params)
        self.result: Dict[str, Any] = {'changed': False, 'name': self.name}

    def run(self) -> Dict[str, Any]:
        """The module's return values. Raises KmodError, with these as its facts, where the file is not loaded."""
        loaded = self._look()
        before = self._shown(loaded)
        options = {'params': self.params, 'replace': self.options.replace}
        plan = load_plan.standing(self.file, loaded, options)
        if plan['action'] in ('load', 'replace'):
            # Dear to read, and of no interest where nothing is to be loaded.
            kernel = self._host()
            plan = load_plan.plan(dict(self.file, fitness=_fitness(self.file, kernel)), loaded, kernel, options)
        self.result.update(verdict=plan['verdict'], reason=plan['reason'], before=before, kernel_log=[],
                           warnings=plan['warnings'])
        self._report(before, loaded)
        if plan['action'] == 'refuse':
            raise KmodError(self.tried, plan['reason'], plan['next'], **self.result)
        if plan['action'] == 'none':
            return dict(self.result, msg=plan['reason'])
        if plan['action'] == 'replace':
            self._unload()
        if self.options.check_mode:
            return self._foresee()
        self._load()
        self._check()
        return dict(self.result, msg=f'{self.name} is loaded.')

    def _look(self) -> Dict[str, Any]:
        return child_process.with_deadline(lambda: look(self.name, self.file['depends'], self.kernel),
                                       self.options.timeout, f'read the state of {self.name}')

    def _host(self) -> Dict[str, Any]:
        return child_process.with_deadline(lambda: host(self.kernel), self.options.timeout, 'read what this kernel is')

    def _shown(self, loaded: Dict[str, Any]) -> Dict[str, Any]:
        """What is returned as ``before`` and ``after``: of the parameters, those that were asked for."""
        if is_unavailable(loaded) or loaded['state'] in ('absent', 'builtin'):
            return {key: loaded[key] for key in ('unavailable', 'state') if key in loaded}
        found = {key: loaded[key] for key in ('state', 'refcount', 'used_by', 'permanent', 'build_id', 'srcversion')}
        found['parameters'] = {name: loaded['parameters'].get(name, unavailable('sysfs does not show it'))
                               for name in sorted(self.params)}
        return found

    def _report(self, after: Dict[str, Any], loaded: Dict[str, Any]) -> None:
        self.result.update(after=after, parameters=loaded.get('parameters', {}),
                           diff={'before': self.result['before'], 'after': after})

    def _look_again(self) -> Dict[str, Any]:
        """What is loaded now, also where it cannot be read; ``changed`` is what was seen to change."""
        try:
            loaded = self._look()
        except KmodError as error:
            loaded = unavailable(error)
        after = self._shown(loaded)
        self._report(after, loaded)
        self.result['changed'] = self.result['changed'] or after != self.result['before']
        return loaded

    def _failure(self, verdict: str, why: str, following: Optional[str]) -> KmodError:
        if 'unload' in self.result and not self.options.check_mode and self.result['unload'].get('after') == 'absent':
            why += '. The build that was loaded before is unloaded by now'
            path = module_details.files(self.kernel['release'], '/', [self.name]).get(self.name)
            if path:
                following = '{}{} is loaded again by modprobe {}'.format(
                    following.rstrip('.') + '. ' if following else '', path, self.name)
        self.result.update(verdict=verdict, reason=why.rstrip('.') + '.')
        return KmodError(self.tried, why, following, **self.result)

    def _unload(self) -> None:
        """The build that is loaded goes by the plain method, as rmmod has it, or stays."""
        options = unload.Options(
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

    def _foresee(self) -> Dict[str, Any]:
        after = {'state': 'live', 'refcount': 0, 'used_by': [], 'permanent': file_fitness.is_permanent(self.file),
                 'build_id': self.file['build_id'], 'srcversion': self.file['srcversion'], 'parameters': self.params}
        self._report(after, {'parameters': self.params})
        return dict(self.result, changed=True, msg=f'{self.name} would be loaded.')

    def _load(self) -> None:
        text = load_plan.parameter_text(self.params)
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
        if now.get('state') != 'live':
            raise self._failure('kernel_refused', 'the kernel accepted it, but shows it as {}'.format(
                now.get('state', now.get('unavailable'))), 'Look at the kernel log')
        self.result['changed'] = True

    def _still_runs(self, error: child_process.Deadline) -> None:
        """Returns where it was done when looked at: then it was only late."""
        now = self._look_again()
        if now.get('state') == 'live':
            self.result['changed'] = True
            return
        if now.get('state') == 'coming':
            raise self._failure('init_running', 'its init has not returned within {:g} seconds. {}'.format(
                self.options.timeout, now['diagnosis']['reason']),
                'It is left to finish: a task in the kernel cannot be ended safely. kmod_facts with name={} says '
                'whether it did'.format(self.name))
        raise self._failure('init_running', error.why, error.next_step)

    def _died(self, error: KmodError) -> KmodError:
        now = self._look_again()
        if now.get('state') == 'coming':
            return self._failure('init_died', now['diagnosis']['reason'], load_plan.FORCE.format(self.name))
        return self._failure('init_died', error.why, error.next_step)

    def _check(self) -> None:
        """What was loaded is what was asked for, as far as sysfs shows it."""
        for name, value in sorted(self.params.items()):
            shown = self.result['parameters'].get(name)
            if is_unavailable(shown):
                continue
            if not load_plan.same_value(value, shown, self.file['parameters'].get(name)):
                self.result['warnings'].append(f'{self.name} was loaded with {name}={value} and shows it as {shown}.')


def _unloading(facts: Dict[str, Any]) -> Dict[str, Any]:
    """Of kmod_force_unload's result, what tells how it went."""
    found: Dict[str, Any] = {key: facts[key] for key in ('verdict', 'reason', 'method', 'hazards')
             if key in facts}
    after = facts.get('after')
    return dict(found, after=after.get('state', 'unknown') if isinstance(after, dict) else 'unknown')


def _fitness(file: Dict[str, Any], kernel: Dict[str, Any]) -> Dict[str, Any]:
    return file_fitness.judge(file, kernel)


def look(name: str, depends: List[str], kernel: Dict[str, Any], root: str = '/') -> Dict[str, Any]:
    """What is loaded by that name, what it is, why it would not go if it looks stuck; states of what it depends on."""
    with module_survey.Survey(root, kernel) as survey:
        facts = survey.module(name, module_survey.BRIEF)
        entry = facts['module']
        others = {other.replace('-', '_') for other in depends}
        found: Dict[str, Any] = {'state': entry['state'],
                 'depends': {other: module_table.module(other, kernel['release'], root, survey.table)['state']
                             for other in others}}
        if entry['state'] in ('absent', 'builtin'):
            return found
        found.update((key, entry[key]) for key in ('refcount', 'used_by', 'permanent'))
        details = module_details.read(name, {}, root)
        found.update((key, details[key]) for key in ('build_id', 'srcversion', 'parameters'))
        if entry['state'] != 'live' or entry['permanent']:
            diagnosis = diagnose.diagnose(facts)
            found['diagnosis'] = {key: diagnosis[key] for key in ('verdict', 'reason')}
        return found


def host(kernel: Dict[str, Any], root: str = '/') -> Dict[str, Any]:
    """What decides whether this kernel takes a module file; ``loader`` as crashes.loader says it."""
    with module_survey.Survey(root, kernel) as survey:
        loader = crashes.loader(survey.oopses, *survey.running_loads())
    found = {key: kernel[key] for key in ('modules_disabled', 'module_signatures', 'lockdown')}
    return dict(check_files.kernel(root, kernel), loader=loader, **found)


def read_file(path: str) -> Any:
    """(image, what it is): as module_file.describe, and ``srcversion``, ``parameters`` (type by name) and ``name``."""
    tried = f'load {path}'
    if not os.path.exists(path):
        raise KmodError(tried, 'there is no such file', 'Give the path of a .ko file on the host')
    if not os.path.isfile(path):
        raise KmodError(tried, 'it is no regular file', 'Give the path of a .ko file on the host')
    why = trust.fault_of_path(path, None)
    if why:
        raise KmodError(tried, f'others than its owner could have written it: {why}', 'Copy it to a directory of root')
    image = module_image.load(path)
    file = dict(module_file.describe(image, path))
    file['build_id'] = file['build_id'] or unavailable('the file has none')
    if file['format'] != relocatable.OWN_FORMAT:
        raise KmodError(tried, 'it is a {} file for {}, which this host cannot load'.format(
            file['format'], file['machine']), 'Build it on this host: kernelops.kmod.kmod_build does that')
    file.update(identity(image, path, file['name']))
    if not module_table.NAME.match(file['name']) or len(file['name']) > module_table.NAME_LIMIT:
        raise KmodError(tried, 'it calls itself {}, which is no module\'s name'.format(ascii(file['name'])[:80]))
    return image, file


def identity(image: bytes, path: str, name: str) -> Dict[str, Any]:
    """``name``, ``srcversion`` and ``parameters`` from the module's own sections."""
    module = relocatable.Relocatable(image, path)
    pairs = []
    for record in module.content('.modinfo').split(b'\0'):
        key, equals, value = record.decode('utf-8', 'replace').partition('=')
        if equals:
            pairs.append((key, value))
    parameters: Dict[str, Optional[str]] = {symbol.decode('ascii', 'replace'): None
                  for symbol in re.findall(PARAMETER_SYMBOL, image)}
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


def shortened(lines: Any) -> Any:
    """At most the first forty lines of what came to the kernel log."""
    if is_unavailable(lines):
        return lines
    more = len(lines) - LONGEST_LOG
    return lines[:LONGEST_LOG] + (['and %d more lines' % more] if more > 0 else [])
