# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's module table as ``/proc/modules`` and ``/sys/module`` show it (kernel/module/procfs.c, sysfs.c)."""

import os
import re
from typing import Dict, List, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, ModuleEntry, ModuleTable

# MODULE_NAME_LEN in include/linux/module.h is 64 - sizeof(long), with the closing NUL
NAME_LIMIT = 55
NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_-]*\Z')
STATES = {'Live': 'live', 'Loading': 'coming', 'Unloading': 'going'}


def kernel_name(name: str, doing: str = 'unload') -> str:
    """The name as the kernel has it (``-`` is ``_`` there). Raises KmodError for what cannot be a module's name.

    ``doing`` is what was to be done with it.
    """
    tried = '{} the module {!r}'.format(doing, name if len(name) <= 80 else name[:77] + '...')
    if not name:
        raise KmodError(f'{doing} a module', 'name is empty', 'Give the name as lsmod shows it')
    if len(name) > NAME_LIMIT:
        raise KmodError(tried, 'a module\'s name has at most %d characters, and this has %d' % (NAME_LIMIT, len(name)))
    if not NAME.match(name):
        raise KmodError(tried, 'that is no module\'s name', 'Give the name as lsmod shows it, without path or .ko')
    return name.replace('-', '_')


def parse_line(line: str) -> ModuleEntry:
    """One line of /proc/modules. Raises ValueError where it is none.

    ``refcount`` is what the kernel shows there: without the loader's base of 1, so -1 while a module goes.
    ``used_by`` names the dependent modules; ``permanent`` is the kernel's word for a module that it cannot unload.
    """
    words = line.split()
    if len(words) < 6 or words[4] not in STATES:
        raise ValueError(f'not a line of /proc/modules: {line[:80]!r}')
    users = [user for user in words[3].split(',') if user not in ('', '-')]
    return {
        'name': words[0],
        'size': int(words[1]),
        'refcount': int(words[2]) if words[2] != '-' else unavailable('this kernel cannot unload modules'),
        'used_by': [user for user in users if user != '[permanent]'],
        'permanent': '[permanent]' in users,
        'state': STATES[words[4]],
        'address': int(words[5], 16),
        # Behind the letters + marks one that is being loaded, and - one that is being unloaded.
        'taint': words[6].strip('()').rstrip('+-') if len(words) > 6 else '',
    }


def read(root: str = '/') -> ModuleTable:
    """``{'modules': {name: entry}, 'warnings': [text]}``; a line that cannot be read costs that line.

    Raises KmodError where there is no table at all.
    """
    path = os.path.join(root, 'proc/modules')
    try:
        with open(path, errors='replace') as stream:
            lines = stream.readlines()
    except OSError as error:
        raise KmodError('read the module table', f'{path}: {error.strerror}',
                        'A kernel without CONFIG_MODULES has no modules') from error
    modules: Dict[str, ModuleEntry] = {}
    warnings: List[str] = []
    for line in lines:
        try:
            entry = parse_line(line)
        except ValueError as error:
            warnings.append(str(error))
            continue
        modules[entry['name']] = entry
    return {'modules': modules, 'warnings': warnings}


def names(root: str = '/') -> List[str]:
    """The names that are taken: those in the table, and those in sysfs, where built-in modules have theirs as well."""
    try:
        shown = os.listdir(os.path.join(root, 'sys/module'))
    except OSError:
        shown = []
    return sorted(set(shown) | set(read(root)['modules']))


def _attribute(name: str, attribute: str, root: str) -> Fact[str]:
    try:
        with open(os.path.join(root, 'sys/module', name, attribute), 'rb', buffering=0) as stream:
            return stream.read().decode('utf-8', 'replace').strip()
    except OSError as error:
        return unavailable(error)


def struct_address(name: str, root: str = '/') -> Fact[int]:
    """Address of the module's ``struct module``, from its section of that name; 0 means hidden by kptr_restrict."""
    text = _attribute(name, 'sections/.gnu.linkonce.this_module', root)
    if is_unavailable(text):
        return text
    try:
        address = int(text, 16)
    except ValueError:
        return unavailable(f'the section address reads {text[:40]!r}')
    return address or unavailable('section addresses are hidden (kernel.kptr_restrict=2)')


def is_builtin(name: str, release: str, root: str = '/') -> bool:
    """True where ``modules.builtin`` of the kernel ``release`` names it, or sysfs shows it with no ``initstate``."""
    if os.path.isdir(os.path.join(root, 'sys/module', name)):
        return not os.path.exists(os.path.join(root, 'sys/module', name, 'initstate'))
    try:
        with open(os.path.join(root, 'lib/modules', release, 'modules.builtin'), errors='replace') as stream:
            return any(line.strip().rsplit('/', 1)[-1].split('.ko')[0].replace('-', '_') == name for line in stream)
    except OSError:
        return False


def aliases(name: str, release: str, root: str = '/') -> List[str]:
    """The module's aliases in ``modules.alias`` of the kernel ``release``, but for those of hardware: ``fs-ext2``."""
    try:
        with open(os.path.join(root, 'lib/modules', release, 'modules.alias'), 'rb') as stream:
            text = stream.read()
    except OSError:
        return []
    spelt = re.escape(name).replace('_', '[-_]').encode()
    lines = re.findall(br'^alias (\S+) ' + spelt + br'\s*$', text, re.MULTILINE)
    found = [alias.decode('utf-8', 'replace') for alias in lines]
    return [alias for alias in found if ':' not in alias[:14] or alias.startswith(('ip_set', 'usbfunc'))]


def module(name: str, release: str, root: str = '/', table: Optional[ModuleTable] = None) -> ModuleEntry:
    """All that the table shows of one module; ``state`` is also ``builtin`` or ``absent``."""
    entry = (table or read(root))['modules'].get(name)
    if entry is None:
        return {'name': name, 'state': 'builtin' if is_builtin(name, release, root) else 'absent'}
    return {**entry, 'struct_address': struct_address(name, root)}


def is_idle(entry: ModuleEntry) -> bool:
    """Whether nothing holds back a loaded module: it is live, unused and not permanent."""
    return entry['state'] == 'live' and entry['refcount'] == 0 and not entry['permanent']
