# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a module file suits a kernel: the facts of both in, one verdict with its severity and its reason out."""

import re
from typing import List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import _file_types as types
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Unavailable

# The meaning of each is told by kmod_toolchain_facts.
VERDICTS = ('match', 'compiler_differs', 'vermagic_differs', 'layout_mismatch', 'unknown')
SEVERITIES = ('ok', 'info', 'warning', 'error')
PERMANENT = 'It has an init and no exit: permanent by design'
# What `uname -m` calls machines that are one to a module file, by how it begins
ONE_MACHINE = (('i486', 'i386'), ('i586', 'i386'), ('i686', 'i386'), ('armv', 'arm'))
Answer = Tuple[str, str, str]


def judge(file: Optional[Fact[types.ModuleFile]], kernel: types.SuitedKernel) -> types.Fitness:
    """Whether a module file suits a kernel.

    The order is that of the kernel's load_module (kernel/module/main.c): what it refuses comes first, then what it
    loads all the same, to its harm.
    """
    if is_unavailable(file):
        return unread(file)
    notes = _notes(file, kernel)
    refusal = _machine(file, kernel) or _magic(file['vermagic'], file, kernel)
    if refusal and refusal[1] == 'error':
        return _answer(*refusal)
    found = _layout(file, kernel)
    if found is None or found[1] != 'error':
        found = refusal or found or _compiler(file, kernel)
    verdict, severity, reason = found
    for severity_of_note, note in notes:
        severity = max(severity, severity_of_note, key=SEVERITIES.index)
        reason = f'{reason}. {note}'
    return _answer(verdict, severity, reason)


def unread(file: Optional[Unavailable]) -> types.Fitness:
    """The verdict on a file that was not read."""
    return _answer('unknown', 'warning', _why(file, 'the file was not read'))


def is_permanent(file: Optional[Fact[types.ModuleFile]]) -> bool:
    """Whether the source has an init and no exit, so that the kernel keeps the module by design."""
    if is_unavailable(file) or is_unavailable(file['layout']):
        return False
    return file['layout']['init'] is not None and file['layout']['exit'] is None


def layout_differences(built: types.Layout, running: types.Layout) -> List[str]:
    """What differs, as ``exit at 864 instead of 848``; a function that the module does not have has no offset."""
    return [('size %s instead of %s' if key == 'size' else key + ' at %s instead of %s') % (built[key], running[key])
            for key in types.LAYOUT_KEYS if built.get(key) is not None and built[key] != running[key]]


def _why(fact: Optional[Unavailable], otherwise: str = 'None') -> str:
    return fact['unavailable'] if fact else otherwise


def _answer(verdict: str, severity: str, reason: str) -> types.Fitness:
    return {'verdict': verdict, 'severity': severity, 'reason': reason[:1].upper() + reason[1:].rstrip('.') + '.'}


def _notes(file: types.ModuleFile, kernel: types.SuitedKernel) -> List[Tuple[str, str]]:
    notes = []
    if is_permanent(file):
        notes.append(('ok', PERMANENT))
    if kernel.get('module_signatures') == 'enforced' and not file['signed']:
        notes.append(('warning', 'It has no signature, and this kernel refuses modules without one'))
    return notes


def _machine(file: types.ModuleFile, kernel: types.SuitedKernel) -> Optional[Answer]:
    if is_unavailable(kernel['arch']):
        return None
    arch = kernel['arch']
    for begin, machine in ONE_MACHINE:
        arch = machine if arch.startswith(begin) else arch
    if file['machine'] == arch:
        return None
    return ('vermagic_differs', 'error', 'it is a {} file for {}, and this kernel is for {}, which refuses it'.format(
        file['format'], file['machine'], kernel['arch']))


def _magic(ours: Fact[str], file: types.ModuleFile, kernel: types.SuitedKernel) -> Optional[Answer]:
    """same_magic and check_modstruct_version in kernel/module/version.c: with CRCs the release is passed over."""
    rebuild = 'Build it against the headers of {}'.format(kernel['release'])
    theirs, crc = kernel['vermagic'], file['crc']
    if is_unavailable(ours):
        return 'unknown', 'warning', 'the vermagic of the file is not known: {}'.format(_why(ours))
    if not ours:
        return 'vermagic_differs', 'error', f'it names no kernel (no vermagic), so the kernel refuses it. {rebuild}'
    if is_unavailable(theirs):
        differs, flags_differ = file['release'] != kernel['release'], kernel['crc'] is None
        theirs = kernel['release']
    else:
        differs = ours != theirs
        flags_differ = ours.split()[1:] != theirs.split()[1:] or 'modversions' not in theirs
    of_both = 'it is for "{}", this kernel is "{}"'.format(ours.strip(), theirs.strip())
    if differs and (flags_differ or not isinstance(crc, int)):
        return 'vermagic_differs', 'error', f'{of_both}: the kernel refuses it. {rebuild}'
    if isinstance(kernel['crc'], int) and crc != kernel['crc']:
        found = f'{crc:#010x}' if isinstance(crc, int) else 'missing'
        reason = 'its CRC of module_layout is {}, the kernel\'s is {:#010x}: the kernel refuses it. {}'.format(
            found, kernel['crc'], rebuild)
        return 'vermagic_differs', 'error', reason
    if not differs:
        return None
    if isinstance(kernel['crc'], int):
        why = 'the CRC of module_layout is the same, so the kernel passes over the release and loads it'
    else:
        why = 'whether the kernel refuses it cannot be told: {}'.format(
            _why(kernel['crc'], 'its CRC of module_layout is not known'))
    return 'vermagic_differs', 'warning', f'{of_both}; {why}'


def _layout(file: types.ModuleFile, kernel: types.SuitedKernel) -> Optional[Answer]:
    built, running = file['layout'], kernel['layout']
    if is_unavailable(built):
        return _not_compared('struct module of the file', built)
    if is_unavailable(running):
        return _not_compared('this kernel\'s struct module', running)
    differences = layout_differences(built, running)
    if not differences:
        return None
    if built['size'] != running['size']:
        outcome = 'The kernel refuses it' if _version(kernel['release']) >= (6, 4) else \
            'The kernel loads it all the same, and may oops on it or never let it go'
    elif built['exit'] is not None and built['exit'] != running['exit']:
        outcome = 'It loads without a word and never goes: the kernel looks for its exit at {}, where there is none' \
            .format(running['exit'])
    else:
        outcome = 'It loads without a word, and its init does not run: the kernel looks for it at {}'.format(
            running['init'])
    return 'layout_mismatch', 'error', 'struct module in the file has {}. {}. Build it {}'.format(
        ', '.join(differences), outcome, _by_what(kernel))


def _not_compared(whose: str, layout: Optional[Unavailable]) -> Answer:
    return 'unknown', 'warning', '{} cannot be compared: {}'.format(whose, _why(layout, 'it was not read'))


def _by_what(kernel: types.SuitedKernel) -> str:
    against = 'against the headers of {}'.format(kernel['release'])
    compiler = kernel['compiler']
    if is_unavailable(compiler) or not compiler.get('family'):
        return against
    return '{} with {}, which built this kernel'.format(against, _named(compiler))


def _version(release: str) -> Tuple[int, ...]:
    numbers = re.match(r'(\d{1,9})\.(\d{1,9})', str(release))
    return (int(numbers.group(1)), int(numbers.group(2))) if numbers else (0, 0)


def _named(compiler: types.Compiler) -> str:
    return ' '.join(word for word in (compiler.get('family'), compiler.get('version')) if word)


def _compiler(file: types.ModuleFile, kernel: types.SuitedKernel) -> Answer:
    same = 'struct module has the kernel\'s layout'
    theirs, found = kernel['compiler'], file['compilers']
    if is_unavailable(found):
        return 'match', 'ok', '{}; its compiler is not known ({})'.format(same, _why(found))
    # What names no compiler, such as a linker, proves nothing; rustc stands beside gcc or clang.
    ours = [compiler for compiler in found if compiler['family'] not in (None, 'rustc')]
    if not ours:
        return 'match', 'ok', f'{same}; it names no C compiler'
    if is_unavailable(theirs) or theirs.get('family') is None:
        return 'match', 'ok', f'{same}; which compiler built the kernel is not known'
    others = [compiler for compiler in ours
              if (compiler['family'], compiler['version']) != (theirs['family'], theirs['version'])]
    if not others:
        return 'match', 'ok', '{} and was built by its compiler, {}'.format(same, _named(theirs))
    near = all(compiler['family'] == theirs['family'] and _major(compiler) == _major(theirs) for compiler in others)
    return ('compiler_differs', 'info' if near else 'warning',
            'it was built by {}, the kernel by {}; {}, so it will unload'.format(
                ' and '.join(sorted({_named(compiler) for compiler in others})), _named(theirs), same))


def _major(compiler: types.Compiler) -> str:
    return str(compiler['version']).partition('.')[0]
