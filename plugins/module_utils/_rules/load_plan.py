# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a module file may be loaded here, and what becomes of the module of its name: facts in, one plan out."""

import errno
import re
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import _file_types as types
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import file_fitness, refusals

VERDICTS = {
    # what is to be done
    'loadable': 'not loaded, and nothing speaks against it',
    'same_build': 'this build is loaded already',
    'parameters_differ': 'this build is loaded, with other parameters than asked for',
    'other_build': 'another build of that name is loaded',
    'build_unknown': 'a module of that name is loaded, and nothing tells whether it is this build',
    # what is refused before the kernel sees it
    'bad_parameter': 'a parameter that the module does not have, or a value that it cannot take',
    'builtin': 'the kernel has a module of that name built in',
    'stuck': 'a module of that name is loaded and will not go',
    'replace_refused': 'another build is loaded and cannot be unloaded by plain means',
    'layout_mismatch': 'built with another layout of struct module: it would load and never go',
    'vermagic_differs': 'built for another kernel',
    'unsigned': 'it has no signature, and the kernel enforces one',
    'load_disabled': 'kernel.modules_disabled=1',
    'loader_wedged': 'an oops in the module loader left its locks held',
    'depends_missing': 'modules that it needs are not loaded',
    # what the kernel made of it
    'kernel_refused': 'the kernel refused it all the same',
    'init_running': 'its init has not returned in time',
    'init_died': 'its init died',
}
# Every module has these (kernel/module/main.c, unknown_module_param_cb).
OF_ANY_MODULE = ('async_probe', 'dyndbg')
NAME = r'[A-Za-z0-9_.-]+\Z'
# isspace() of lib/ctype.c: the byte 0xa0 is one too, which is half of many a letter in UTF-8.
SPACE = br'[ \xa0]'
CONTROL = r'[\0-\x1f\x7f"]'
# kstrtoull() with base 0
INTEGER = r'(-?)\+?(?:(0[xX][0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))\Z'
# The standard types of kernel/params.c: lowest and highest value.
INTEGERS = {
    'byte': (0, 2**8 - 1), 'short': (-2**15, 2**15 - 1), 'ushort': (0, 2**16 - 1), 'int': (-2**31, 2**31 - 1),
    'uint': (0, 2**32 - 1), 'hexint': (0, 2**32 - 1), 'long': (-2**63, 2**63 - 1), 'ulong': (0, 2**64 - 1),
    'ullong': (0, 2**64 - 1),
}
BOOLEANS = ('bool', 'invbool', 'bint')
# finit_module(2) alone looks into the table of running loads (kernel/module/main.c, idempotent_init_module).
STALE = ('A load that died has left an entry in the kernel\'s table of running loads. This load is safe, since '
         'init_module(2) does not look there; insmod and modprobe do, and may crash the host. kmod_force_unload clears '
         'it when it gets the module out that died.')
BUILD = 'Build it for this kernel on this host: kernelops.kmod.kmod_build does'
FORCE = ('Unload it first: kernelops.kmod.kmod_force_unload with name={} says why it is stuck, and gets it out where '
         'that is safe')
# What the loader (kernel/module/main.c) means by each; a module's own init may answer with any of them.
ANSWERS = {
    errno.ENOEXEC: ('the kernel finds the file damaged or built for another kernel (vermagic, symbol versions)', BUILD),
    errno.ENOENT: ('it needs a symbol that neither the kernel nor a loaded module has',
                   'Load the module that exports the symbol first, or build it for this kernel'),
    errno.EKEYREJECTED: ('the kernel wants a signature by a key that it trusts',
                         'Sign it with a key that is enrolled on this host (sign_key and sign_cert of kmod_build)'),
    errno.ENOKEY: ('the kernel does not have the key that it was signed with',
                   'Enrol that key, or sign it with another'),
    errno.EBADMSG: ('the signature is damaged, or not that of this file', 'Sign the file again'),
    errno.EPERM: ('the kernel is locked down or forbids loading modules; a security module may forbid it as well',
                  'Sign it with a key that the kernel trusts'),
    errno.EACCES: ('a security module forbids it: IMA appraises modules by file, and init_module(2) hands over none',
                   'Look at the policy of IMA'),
    errno.EEXIST: ('a module of that name, or something that its init registers, is there already',
                   'Run the task again: it reads what is loaded now'),
    errno.EBUSY: ('another load of that name was under way and failed, or what its init claims is in use',
                  'Run the task again: it reads what is loaded now'),
    errno.EINVAL: ('a parameter has a value that the module cannot take, or the file is damaged', None),
    errno.ERANGE: ('a parameter has a value that its type cannot hold', None),
    errno.ENOSPC: ('the text of a parameter is longer than it may be', None),
    errno.ENOMEM: ('the kernel has no memory left for it', 'Free memory, then run the task again'),
    errno.ENODEV: ('its init found no device that it serves', None),
    errno.EINTR: ('a signal ended the load', 'Run the task again'),
}


def spelt(value: object) -> str:
    """A parameter's value as the kernel reads it: booleans as 1 and 0, lists with commas."""
    if isinstance(value, bool):
        return '1' if value else '0'
    if isinstance(value, (list, tuple)):
        return ','.join(spelt(item) for item in value)
    return str(value)


def wanted(params: Mapping[str, object]) -> Dict[str, Optional[str]]:
    """Parameters by the name that sysfs has (``-`` is ``_`` there), values as text; None stays, to be refused."""
    return {str(name).replace('-', '_'): None if value is None or isinstance(value, dict) else spelt(value)
            for name, value in params.items()}


def given(params: Dict[str, Optional[str]]) -> Dict[str, str]:
    """Of :func:`wanted`, the parameters that have a value: all, once :func:`parameter_fault` has found none."""
    return {name: value for name, value in params.items() if value is not None}


def parameter_text(values: Dict[str, str]) -> str:
    """The parameters as init_module(2) takes them; what has a space is in quotes (kernel/params.c, next_arg)."""
    words = []
    for name, value in sorted(values.items()):
        words.append('{}="{}"'.format(name, value) if re.search(SPACE, value.encode('utf-8')) else f'{name}={value}')
    return ' '.join(words)


def number(text: str) -> Optional[int]:
    """An integer as the kernel reads it, or None: 0x1f is hexadecimal, 017 octal."""
    match = re.match(INTEGER, text)
    if not match:
        return None
    sign, hexadecimal, octal, decimal = match.groups()
    value = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
    return -value if sign else value


def boolean(text: str) -> Optional[bool]:
    """A truth value as kstrtobool() of lib/kstrtox.c reads it, or None."""
    first = text[:2].lower()
    if first[:1] in ('y', 't', '1') or first == 'on':
        return True
    return False if first[:1] in ('n', 'f', '0') or first == 'of' else None


def same_value(asked: str, shown: str, kind: Optional[str]) -> bool:
    """Whether what sysfs shows of a parameter is what was asked for; ``kind`` is its type in the module file."""
    if asked == shown:
        return True
    if kind in BOOLEANS:
        return boolean(asked) is not None and boolean(asked) == boolean(shown)
    pairs = list(zip(asked.split(','), shown.split(',')))
    return asked.count(',') == shown.count(',') and all(
        left == right or (number(left) is not None and number(left) == number(right)) for left, right in pairs)


def _value_fault(value: str, kind: Optional[str]) -> Optional[str]:
    """Why a value is none for a parameter of that type; None where it is, or where the type does not tell."""
    if kind and kind.startswith('array of '):
        faults = [_value_fault(item, kind[len('array of '):]) for item in value.split(',')]
        return next((fault for fault in faults if fault), None)
    if kind in INTEGERS:
        found = number(value)
        lowest, highest = INTEGERS[kind]
        if found is None:
            return f'{value!r} is no integer'
        if not lowest <= found <= highest:
            return f'{value} is not between {lowest} and {highest}'
    elif kind in BOOLEANS and kind != 'bint' and boolean(value) is None:
        return f'{value!r} is neither yes nor no'
    return None


def parameter_fault(file: types.LoadableFile, params: Dict[str, Optional[str]]) -> Optional[Tuple[str, str]]:
    """Reason and next step for the first parameter that cannot be; None where all can. ``params`` as in wanted()."""
    known = file['parameters']
    listed = 'It has {}'.format(', '.join(sorted(known)[:40]) if known else 'none')
    for name, value in sorted(params.items()):
        if not re.match(NAME, name) or (name not in known and name not in OF_ANY_MODULE):
            return '{} has no parameter {}'.format(file['name'], ascii(name)), listed
        if value is None:
            return f'the parameter {name} has no value that is text, a number, a truth value or a list', 'Give it one'
        try:
            bad = re.search(CONTROL, value)
            value.encode('utf-8')
        except UnicodeEncodeError:
            return f'the value of {name} is no UTF-8 text', 'Give it as text'
        if bad:
            return ('the value of {} has the character {}, which the kernel cannot be handed'.format(
                name, ascii(bad.group())), 'Leave out quotes and control characters')
        fault = _value_fault(value, known.get(name))
        if fault:
            return f'the parameter {name} is of the type {known[name]}, and {fault}', 'Give it such a value'
    return None


def differing(file: types.LoadableFile, loaded: types.Loaded, params: Dict[str, str]) -> Tuple[List[str], List[str]]:
    """Of the parameters asked for: those that sysfs shows with another value, and those that it does not show."""
    other, hidden = [], []
    for name, value in sorted(params.items()):
        shown = loaded['parameters'].get(name)
        if is_unavailable(shown):
            hidden.append(name)
        elif not same_value(value, shown, file['parameters'].get(name)):
            other.append(f'{name} is {shown} and not {value}')
    return other, hidden


def identity(file: types.LoadableFile, loaded: types.Loaded) -> Tuple[str, str]:
    """``same``, ``other`` or ``unknown``, and what that rests on: the build id, else srcversion."""
    for words, ours, theirs in (('build id', file['build_id'], loaded['build_id']),
                                ('srcversion', file['srcversion'], loaded['srcversion'])):
        if is_unavailable(ours) or is_unavailable(theirs):
            continue
        if ours == theirs:
            return 'same', f'{words} {ours}'
        return 'other', f'{words} {theirs} and not {ours}'
    return 'unknown', 'neither a build id nor a srcversion is on both sides'


def _plan(action: str, verdict: str, reason: str, following: Optional[str] = None,
          warnings: Sequence[str] = ()) -> types.LoadPlan:
    return {'action': action, 'verdict': verdict, 'reason': reason.rstrip('.') + '.', 'next': following,
            'warnings': list(warnings)}


def _has_no_exit(file: types.LoadableFile) -> bool:
    return not is_unavailable(file['layout']) and file['layout']['exit'] is None


def standing(file: types.LoadableFile, loaded: types.Loaded, options: types.LoadOptions) -> types.LoadPlan:
    """What is to be done about the module of that name, whatever the kernel will think of the file."""
    name, state, replace = file['name'], loaded['state'], options['replace']
    fault = parameter_fault(file, options['params'])
    if fault:
        return _plan('refuse', 'bad_parameter', fault[0], fault[1])
    if state == 'builtin':
        return _plan('refuse', 'builtin', f'{name} is built into this kernel', 'Nothing is to be loaded then')
    if state == 'absent':
        return _plan('load', 'loadable', f'{name} is not loaded.')
    if state != 'live':
        return _plan('refuse', 'stuck', 'a module of that name is {}: {}'.format(state, loaded['diagnosis']['reason']),
                     FORCE.format(name))
    same, because = identity(file, loaded)
    by_design = loaded['permanent'] and same == 'same' and _has_no_exit(file)
    if loaded['permanent'] and not by_design:
        return _plan('refuse', 'stuck', 'a module of that name is permanent: {}'.format(loaded['diagnosis']['reason']),
                     FORCE.format(name))
    if same == 'other':
        if replace:
            return _plan('replace', 'other_build', f'another build of {name} is loaded: {because}.')
        return _plan('refuse', 'other_build', f'another build of {name} is loaded: {because}',
                     'Set replace=true to unload that one first')
    if same == 'unknown' and replace:
        return _plan('replace', 'build_unknown', f'whether this build of {name} is loaded cannot be told: {because}.')
    other, hidden = differing(file, loaded, given(options['params']))
    warnings = [f'Whether the parameter {key} of {name} has the value asked for cannot be told: it cannot be read.'
                for key in hidden]
    if same == 'unknown':
        warnings.append(f'Whether this build of {name} is the one that is loaded cannot be told: {because}.')
        return _plan('none', 'build_unknown', f'{name} is loaded, maybe from another build.', warnings=warnings)
    if other and replace and not by_design:
        return _plan('replace', 'parameters_differ', '{} is loaded with other parameters: {}.'.format(
            name, '; '.join(other)), warnings=warnings)
    if other:
        how = 'It cannot be unloaded to change that' if by_design else 'Set replace=true to load it again'
        warnings += [f'The parameter {text} as asked for. {how}.' for text in other]
        return _plan('none', 'parameters_differ', f'{name} is loaded with other parameters: {"; ".join(other)}.',
                     warnings=warnings)
    return _plan('none', 'same_build', f'{name} is loaded ({because}).', warnings=warnings)


def obstacle(file: types.JudgedFile, loaded: types.Loaded,
             kernel: types.LoadingKernel) -> Optional[Tuple[str, str, str]]:
    """Verdict, reason and next step for what keeps the file out of this kernel; None where nothing does."""
    name, fitness = file['name'], file['fitness']
    if kernel['modules_disabled'] == 1:
        return ('load_disabled', 'kernel.modules_disabled=1 forbids loading until the next boot', 'Reboot the host')
    if kernel['loader'] == 'wedged':
        return ('loader_wedged', 'an oops in the module loader left its locks held: this load would hang',
                'Reboot required: nothing can be loaded any more')
    if fitness['severity'] == 'error':
        return fitness['verdict'], fitness['reason'], 'kernelops.kmod.kmod_build does that'
    if kernel['module_signatures'] == 'enforced' and not file['signed']:
        lock = kernel['lockdown'] if isinstance(kernel['lockdown'], str) else 'unknown'
        return ('unsigned', f'this kernel enforces module signatures (lockdown={lock}), and {name} has none',
                'Sign it with a key that is enrolled on this host (sign_key and sign_cert of kmod_build)')
    missing = sorted(key for key, state in loaded['depends'].items() if state not in ('live', 'builtin'))
    if missing:
        halfway = [f'{key} is {loaded["depends"][key]}' for key in missing if loaded['depends'][key] != 'absent']
        why = '; '.join([f'{name} needs {", ".join(missing)}, not loaded'] + halfway)
        return 'depends_missing', why, 'Load it first: modprobe -a {}'.format(' '.join(missing))
    return None


def plan(file: types.JudgedFile, loaded: types.Loaded, kernel: types.LoadingKernel,
         options: types.LoadOptions) -> types.LoadPlan:
    """The whole plan: as :func:`standing`, refused where something keeps the file out of this kernel."""
    found = standing(file, loaded, options)
    if found['action'] not in ('load', 'replace'):
        return found
    against = obstacle(file, loaded, kernel)
    if against:
        return _plan('refuse', *against)
    fitness = file['fitness']
    if fitness['severity'] == 'warning':
        found['warnings'].append('{}: {}'.format(file['name'], fitness['reason']))
    if kernel['loader'] == 'stale_entry_suspected':
        found['warnings'].append(STALE)
    if file_fitness.is_permanent(file):
        found['warnings'].append('{} has no exit function: it cannot be unloaded again.'.format(file['name']))
    return found


def answer(code: int, text: str, log: List[str], name: str = '') -> Tuple[str, Optional[str]]:
    """Why the kernel refused, and what to do: its errno as ``text`` in words, and the last that it wrote to its log."""
    told = refusals.explained(text.split(maxsplit=1)[0], name, log)
    why, following = ANSWERS.get(code, ('the init of the module may have answered so', None))
    said = '; '.join(re.sub(r'\A\[ *[0-9.]+\](?:\[ *[TC][0-9]+\])? ', '', line)
                     for line in [line for line in log if 'taint' not in line][-3:])
    reason = told.says if told else f'the kernel answered {text}: {why}'
    following = told.next[0].upper() + told.next[1:] if told else following
    return reason + (f'. Its log says: {said}' if said else ''), following
