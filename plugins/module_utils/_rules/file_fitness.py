# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a module file suits a kernel: the facts of both in, one verdict with its severity and its reason out."""

import re
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable

VERDICTS = ('match', 'compiler_differs', 'vermagic_differs', 'layout_mismatch', 'unknown')
SEVERITIES = ('ok', 'info', 'warning', 'error')
PERMANENT = 'It has an init and no exit: permanent by design'
# What `uname -m` calls machines that are one to a module file, by how it begins
ONE_MACHINE = (('i486', 'i386'), ('i586', 'i386'), ('i686', 'i386'), ('armv', 'arm'))
Answer = Tuple[str, str, str]


def judge(file: Any, kernel: Dict[str, Any]) -> Dict[str, str]:
    """``{'verdict', 'severity', 'reason'}`` of a module file for a kernel.

    ``file`` is what module_file.describe returns, or unavailable. ``kernel`` has release, arch, vermagic, crc (of
    module_layout; None for a kernel without versions), layout, compiler and module_signatures, each of which may be
    unavailable. The order is that of the kernel's load_module: what it refuses comes first, then what it loads all the
    same, to its harm.

    - ``match``: the layout is the kernel's, and so is the compiler, as far as the file names one.
    - ``compiler_differs``: another compiler, the same layout.
    - ``vermagic_differs``: for another kernel: machine, vermagic or CRC. An error where the kernel refuses the file.
    - ``layout_mismatch``: struct module differs: the kernel refuses the file, or loads it and never lets it go.
    - ``unknown``: the file or the kernel's layout cannot be read.
    """
    if is_unavailable(file):
        return _answer('unknown', 'warning', str((file or {}).get('unavailable', 'the file was not read')))
    notes = _notes(file, kernel)
    refusal = _machine(file, kernel) or _magic(file, kernel)
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


def is_permanent(file: Any) -> bool:
    """Whether the source has an init and no exit, so that the kernel keeps the module by design."""
    layout = {} if is_unavailable(file) or is_unavailable(file['layout']) else file['layout']
    return bool(layout) and layout['init'] is not None and layout['exit'] is None


def layout_differences(built: Dict[str, Any], running: Dict[str, Any]) -> List[str]:
    """What differs, as ``exit at 864 instead of 848``; a function that the module does not have has no offset."""
    return [('size %s instead of %s' if key == 'size' else key + ' at %s instead of %s') % (built[key], running[key])
            for key in ('size', 'init', 'exit') if built.get(key) is not None and built[key] != running[key]]


def _answer(verdict: str, severity: str, reason: str) -> Dict[str, str]:
    return {'verdict': verdict, 'severity': severity, 'reason': reason[:1].upper() + reason[1:].rstrip('.') + '.'}


def _notes(file: Dict[str, Any], kernel: Dict[str, Any]) -> List[Tuple[str, str]]:
    notes = []
    if is_permanent(file):
        notes.append(('ok', PERMANENT))
    if kernel.get('module_signatures') == 'enforced' and not file['signed']:
        notes.append(('warning', 'It has no signature, and this kernel refuses modules without one'))
    return notes


def _machine(file: Dict[str, Any], kernel: Dict[str, Any]) -> Optional[Answer]:
    if is_unavailable(kernel['arch']):
        return None
    arch = kernel['arch']
    for begin, machine in ONE_MACHINE:
        arch = machine if arch.startswith(begin) else arch
    if file['machine'] == arch:
        return None
    return ('vermagic_differs', 'error', 'it is a {} file for {}, and this kernel is for {}, which refuses it'.format(
        file['format'], file['machine'], kernel['arch']))


def _magic(file: Dict[str, Any], kernel: Dict[str, Any]) -> Optional[Answer]:
    """same_magic and check_modstruct_version in kernel/module/version.c: with CRCs the release is passed over."""
    rebuild = 'Build it against the headers of {}'.format(kernel['release'])
    ours, theirs, crc = file['vermagic'], kernel['vermagic'], file['crc']
    if is_unavailable(ours):
        return 'unknown', 'warning', 'the vermagic of the file is not known: {}'.format((ours or {}).get('unavailable'))
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
            (kernel['crc'] or {}).get('unavailable', 'its CRC of module_layout is not known'))
    return 'vermagic_differs', 'warning', f'{of_both}; {why}'


def _layout(file: Dict[str, Any], kernel: Dict[str, Any]) -> Optional[Answer]:
    built, running = file['layout'], kernel['layout']
    for layout, whose in ((built, 'struct module of the file'), (running, 'this kernel\'s struct module')):
        if is_unavailable(layout):
            return ('unknown', 'warning', '{} cannot be compared: {}'.format(
                whose, (layout or {}).get('unavailable', 'it was not read')))
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


def _by_what(kernel: Dict[str, Any]) -> str:
    against = 'against the headers of {}'.format(kernel['release'])
    compiler = kernel['compiler']
    if is_unavailable(compiler) or not compiler.get('family'):
        return against
    return '{} with {}, which built this kernel'.format(against, _named(compiler))


def _version(release: Any) -> Tuple[int, ...]:
    numbers = re.match(r'(\d{1,9})\.(\d{1,9})', str(release))
    return (int(numbers.group(1)), int(numbers.group(2))) if numbers else (0, 0)


def _named(compiler: Dict[str, Any]) -> str:
    return ' '.join(str(compiler[key]) for key in ('family', 'version') if compiler.get(key))


def _compiler(file: Dict[str, Any], kernel: Dict[str, Any]) -> Answer:
    same = 'struct module has the kernel\'s layout'
    theirs, found = kernel['compiler'], file['compilers']
    if is_unavailable(found):
        return 'match', 'ok', '{}; its compiler is not known ({})'.format(same, (found or {}).get('unavailable'))
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


def _major(compiler: Dict[str, Any]) -> str:
    return str(compiler['version']).partition('.')[0]
