# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's module table as ``/proc/modules`` and ``/sys/module`` show it (kernel/module/procfs.c, sysfs.c)."""

import os
from typing import Any, Dict, List, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable

STATES = {'Live': 'live', 'Loading': 'coming', 'Unloading': 'going'}


def parse_line(line):
    # type: (str) -> Dict[str, Any]
    """One line of /proc/modules. Raises ValueError where it is none.

    ``refcount`` is what the kernel shows there: without the loader's base of 1, so -1 while a module goes.
    ``used_by`` names the dependent modules; ``permanent`` is the kernel's word for a module that it cannot unload.
    """
    words = line.split()
    if len(words) < 6 or words[4] not in STATES:
        raise ValueError('not a line of /proc/modules: %r' % line[:80])
    users = [user for user in words[3].split(',') if user not in ('', '-')]
    return {
        'name': words[0],
        'size': int(words[1]),
        'refcount': int(words[2]) if words[2] != '-' else unavailable('this kernel cannot unload modules'),
        'used_by': [user for user in users if user != '[permanent]'],
        'permanent': '[permanent]' in users,
        'state': STATES[words[4]],
        'address': int(words[5], 16),
        'taint': words[6].strip('()') if len(words) > 6 else '',
    }


def read(root='/'):
    # type: (str) -> Dict[str, Any]
    """``{'modules': {name: entry}, 'warnings': [text]}``; a line that cannot be read costs that line.

    Raises KmodError where there is no table at all.
    """
    path = os.path.join(root, 'proc/modules')
    try:
        with open(path, errors='replace') as stream:
            lines = stream.readlines()
    except OSError as error:
        raise KmodError('read the module table', '%s: %s' % (path, error.strerror),
                        'A kernel without CONFIG_MODULES has no modules')
    modules = {}
    warnings = []
    for line in lines:
        try:
            entry = parse_line(line)
        except ValueError as error:
            warnings.append(str(error))
            continue
        modules[entry['name']] = entry
    return {'modules': modules, 'warnings': warnings}


def _attribute(name, attribute, root):
    # type: (str, str, str) -> Any
    try:
        with open(os.path.join(root, 'sys/module', name, attribute), errors='replace') as stream:
            return stream.read().strip()
    except OSError as error:
        return unavailable(error)


def struct_address(name, root='/'):
    # type: (str, str) -> Any
    """Address of the module's ``struct module``, from its section of that name; 0 means hidden by kptr_restrict."""
    text = _attribute(name, 'sections/.gnu.linkonce.this_module', root)
    if isinstance(text, dict):
        return text
    try:
        address = int(text, 16)
    except ValueError:
        return unavailable('the section address reads %r' % text[:40])
    return address or unavailable('section addresses are hidden (kernel.kptr_restrict=2)')


def is_builtin(name, release, root='/'):
    # type: (str, str, str) -> bool
    """True where ``modules.builtin`` of the kernel ``release`` names it, or sysfs shows it with no ``initstate``."""
    if os.path.isdir(os.path.join(root, 'sys/module', name)):
        return not os.path.exists(os.path.join(root, 'sys/module', name, 'initstate'))
    try:
        with open(os.path.join(root, 'lib/modules', release, 'modules.builtin'), errors='replace') as stream:
            return any(line.strip().rsplit('/', 1)[-1].split('.ko')[0].replace('-', '_') == name for line in stream)
    except OSError:
        return False


def aliases(name, release, root='/'):
    # type: (str, str, str) -> List[str]
    """The module's aliases in ``modules.alias`` of the kernel ``release`` that name file systems: ``fs-ext2``."""
    try:
        with open(os.path.join(root, 'lib/modules', release, 'modules.alias'), errors='replace') as stream:
            lines = [line.split() for line in stream if line.startswith('alias fs-')]
    except OSError:
        return []
    return [words[1] for words in lines if len(words) == 3 and words[2].replace('-', '_') == name]


def module(name, release, root='/', table=None):
    # type: (str, str, str, Optional[Dict[str, Any]]) -> Dict[str, Any]
    """All that the table shows of one module; ``state`` is also ``builtin`` or ``absent``."""
    entry = (table or read(root))['modules'].get(name)
    if entry is None:
        return {'name': name, 'state': 'builtin' if is_builtin(name, release, root) else 'absent'}
    return dict(entry, struct_address=struct_address(name, root))
