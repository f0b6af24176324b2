# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running kernel: what it is, what it allows, where its headers are."""

import gzip
import os
import re
import zlib
from typing import Dict, List, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Headers, Kernel, LoadsRefused

# Documentation/admin-guide/tainted-kernels.rst, by bit
TAINT_FLAGS = (
    'proprietary_module', 'forced_module', 'cpu_out_of_spec', 'forced_rmmod', 'machine_check', 'bad_page', 'user',
    'died', 'overridden_acpi_table', 'warn', 'staging', 'firmware_workaround', 'out_of_tree_module', 'unsigned_module',
    'soft_lockup', 'livepatch', 'auxiliary', 'randstruct', 'test', 'fwctl',
)

# Ten thousand others are of no interest here, and would take longer than all else.
OPTION = br'\n(CONFIG_(?:MODULE|CC_|GCC_|CLANG_)\w*)=(.*)'


def _text(path: str, root: str) -> Fact[str]:
    try:
        with open(os.path.join(root, path), errors='replace') as stream:
            return stream.read().strip()
    except OSError as error:
        return unavailable(error)


def _number(path: str, root: str) -> Fact[int]:
    text = _text(path, root)
    if is_unavailable(text):
        return text
    try:
        return int(text)
    except ValueError:
        return unavailable(f'/{path} reads {text[:40]!r}')


def taint_flags(value: int) -> List[str]:
    """Names of the bits set in ``/proc/sys/kernel/tainted``; a bit not known here is called ``bit_N``."""
    known = dict(enumerate(TAINT_FLAGS))
    return [known.get(bit, 'bit_%d' % bit) for bit in range(value.bit_length()) if value >> bit & 1]


def lockdown(text: str) -> str:
    """``none``, ``integrity`` or ``confidentiality`` from ``none [integrity] confidentiality``."""
    chosen = [word.strip('[]') for word in text.split() if word.startswith('[')]
    return chosen[0] if chosen else 'none'


def parse_config(text: str) -> Dict[str, str]:
    """``CONFIG_`` names to values, quotes removed, of the options on modules and compilers that are set."""
    return _options(text.encode('utf-8', 'replace'))


def _options(text: bytes) -> Dict[str, str]:
    return {name.decode(): value.strip().strip(b'"').decode('utf-8', 'replace')
            for name, value in re.findall(OPTION, b'\n' + text)}


def config(release: str, root: str = '/') -> Fact[Dict[str, str]]:
    """The configuration of the running kernel, from where distributions keep it; unavailable where none does."""
    candidates = ('boot/config-' + release, f'lib/modules/{release}/config',
                  f'usr/lib/modules/{release}/config', f'lib/modules/{release}/build/.config')
    for candidate in candidates:
        try:
            with open(os.path.join(root, candidate), 'rb') as stream:
                return _options(stream.read())
        except OSError:
            continue
    text = _unpacked('proc/config.gz', root)
    if text is None:
        places = ', '.join('/' + name for name in candidates)
        return unavailable(f'neither /proc/config.gz nor {places} is there')
    return _options(text)


def _unpacked(path: str, root: str) -> Optional[bytes]:
    try:
        with gzip.open(os.path.join(root, path)) as stream:
            return stream.read()
    except (OSError, EOFError, zlib.error):
        return None


def _signatures(options: Fact[Dict[str, str]], lock: Fact[str], root: str) -> Fact[str]:
    enforced = _text('sys/module/module/parameters/sig_enforce', root)
    if enforced == 'Y' or (not is_unavailable(lock) and lock != 'none'):
        return 'enforced'
    if is_unavailable(options):
        return options if is_unavailable(enforced) else 'permissive'
    if 'CONFIG_MODULE_SIG' not in options:
        return 'off'
    return 'enforced' if 'CONFIG_MODULE_SIG_FORCE' in options else 'permissive'


def loads_refused(signatures: Fact[str], root: str = '/') -> LoadsRefused:
    """Why this kernel would not load a helper, by what the helper lacks; an empty text where it would.

    ``unsigned``: one without a signature of a key that the kernel trusts. ``from_memory``: any that init_module(2) is
    given, signed or not: IMA appraisal answers EACCES (ima_read_file in security/integrity/ima/ima_main.c), LoadPin
    EPERM (security/loadpin/loadpin.c), since there is no file to look at.
    """
    refused: LoadsRefused = {'unsigned': '', 'from_memory': ''}
    if signatures == 'enforced':
        refused['unsigned'] = 'this kernel takes only modules that are signed by a key it trusts'
    security = _text('sys/kernel/security/lsm', root)
    enforced = [_text('proc/sys/kernel/loadpin/' + name, root) for name in ('enforce', 'enabled')]
    if not is_unavailable(security) and 'loadpin' in security.split(',') and '1' in enforced:
        refused['from_memory'] = 'LoadPin is enforced: modules are taken from one file system alone'
    policy, command_line = _text('sys/kernel/security/ima/policy', root), _text('proc/cmdline', root)
    rules = [] if is_unavailable(policy) else policy.splitlines()
    words = [] if is_unavailable(command_line) else command_line.split()
    asked = any(word.startswith('ima_policy=') and 'secure_boot' in word for word in words)
    if asked or any(rule.startswith('appraise') and 'func=MODULE_CHECK' in rule for rule in rules):
        refused['from_memory'] = 'IMA appraises modules: one that comes from memory has no file to appraise'
    return refused


def headers(release: str, root: str = '/') -> Headers:
    """``dir`` is where kbuild for ``release`` is looked for, ``present`` whether a Makefile and a .config are there."""
    directory = f'lib/modules/{release}/build'
    present = all(os.path.exists(os.path.join(root, directory, name)) for name in ('Makefile', '.config'))
    return {'dir': '/' + directory, 'present': present}


def read(root: str = '/', release: Optional[str] = None, machine: Optional[str] = None) -> Kernel:
    """The facts named ``kernel`` in the collection's returns; ``config`` beside them is the collection's own."""
    release = release or os.uname().release
    taint = _number('proc/sys/kernel/tainted', root)
    lock = _text('sys/kernel/security/lockdown', root)
    if is_unavailable(lock):
        # securityfs shows the file only where the lockdown LSM is built in and mounted.
        lock = 'none' if os.path.isdir(os.path.join(root, 'sys/kernel/security')) else lock
    else:
        lock = lockdown(lock)
    options = config(release, root)
    signatures = _signatures(options, lock, root)
    return {
        'release': release,
        'arch': machine or os.uname().machine,
        'version_banner': _text('proc/version', root),
        'taint': taint if is_unavailable(taint) else {'value': taint, 'flags': taint_flags(taint)},
        'lockdown': lock,
        'module_signatures': signatures,
        'loads_refused': loads_refused(signatures, root),
        'oops_count': _number('sys/kernel/oops_count', root),
        'modules_disabled': _number('proc/sys/kernel/modules_disabled', root),
        'kptr_restrict': _number('proc/sys/kernel/kptr_restrict', root),
        'panic_on_oops': _number('proc/sys/kernel/panic_on_oops', root),
        'force_unload': options if is_unavailable(options) else 'CONFIG_MODULE_FORCE_UNLOAD' in options,
        'headers': headers(release, root),
        'config': options,
    }
