# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module file: what it is called, which kernel it is for, and the ``struct module`` it was built with."""

import gzip
import lzma
import zlib
from typing import Any, Dict

from ansible_collections.kernelops.kmod.plugins.module_utils._elf import Relocatable
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError

THIS_MODULE = '.gnu.linkonce.this_module'
SIGNATURE = b'~Module signature appended~\n'
LIMIT = 256 * 1024 * 1024


def load(path):
    # type: (str) -> bytes
    """The ELF image in a .ko, .ko.gz or .ko.xz file. Raises KmodError where it cannot be read."""
    try:
        if path.endswith('.gz'):
            with gzip.open(path) as stream:
                image = stream.read(LIMIT)
        elif path.endswith('.xz'):
            with lzma.open(path) as stream:
                image = stream.read(LIMIT)
        else:
            with open(path, 'rb') as stream:
                image = stream.read(LIMIT)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise KmodError(f'read the module file {path}', getattr(error, 'strerror', None) or str(error)) from error
    return image


def describe(image, origin):
    # type: (bytes, str) -> Dict[str, Any]
    """``name``, ``vermagic``, ``release`` (its first word), ``machine``, ``signed`` and ``layout`` of a module image.

    ``layout`` has ``size`` of struct module and the byte offsets ``init`` and ``exit`` in it, None for a function that
    the module does not have: the compiler left them as relocations against init_module and cleanup_module
    (scripts/mod/modpost.c, add_header). Raises KmodError for what is no module.
    """
    module = Relocatable(image, origin)
    if THIS_MODULE not in module.sections:
        raise KmodError(f'read the module file {origin}', f'it has no section {THIS_MODULE}')
    info = {}  # type: Dict[str, str]
    for record in module.content('.modinfo').split(b'\0'):
        key, equals, value = record.partition(b'=')
        if equals:
            info.setdefault(key.decode('utf-8', 'replace'), value.decode('utf-8', 'replace'))
    offsets = {symbol: offset for offset, symbol in module.relocations(THIS_MODULE)}
    vermagic = info.get('vermagic', '')
    return {
        'name': info.get('name', ''),
        'vermagic': vermagic,
        'release': vermagic.split(' ')[0],
        'machine': module.machine,
        'signed': image.endswith(SIGNATURE),
        'layout': {
            'size': module.sections[THIS_MODULE].size,
            'init': offsets.get('init_module'),
            'exit': offsets.get('cleanup_module'),
            'source': origin,
        },
    }


def note(image, section, origin):
    # type: (bytes, str, str) -> bytes
    """The bytes of a note section, empty without one. Raises KmodError for what is no ELF file."""
    return Relocatable(image, origin).content(section)
