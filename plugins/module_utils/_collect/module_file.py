# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module file: what it is called, which kernel and compiler it is of, the ``struct module`` it was built with.

Two readers of ELF: relocatable.py reads what the kernels of this family load, at the cost of a few preads a file;
pyelftools (foreign_elf.py) describes what that declines, and is its oracle in the tests.
"""

import struct
from typing import Dict, List, Optional, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._collect import foreign_elf
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._file_types import ModuleFile, NamedCompiler
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import compiler_text
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import elf_note, relocatable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf.module_image import Opened, unreadable

THIS_MODULE = '.gnu.linkonce.this_module'
SIGNATURE = b'~Module signature appended~\n'
LARGEST_TEXT = 1 << 20
MOST_COMPILERS = 32
# struct modversion_info (include/linux/module.h): the CRC, then the name, 64 bytes together
VERSION_ENTRY = 64
Module = Union[relocatable.Relocatable, foreign_elf.Foreign]
_parsed: Dict[bytes, NamedCompiler] = {}


def read(path: str, origin: Optional[str] = None) -> ModuleFile:
    """:func:`describe` of a file; of one that is not compressed, only what it takes is read."""
    origin = origin or path
    with Opened(path) as opened:
        try:
            return _describe(opened.elf(), origin)
        except OSError as error:
            raise unreadable(path, error) from error


def describe(image: bytes, origin: str) -> ModuleFile:
    """What a module image says of itself. Raises KmodError for what is no module.

    Where init and exit stand in struct module is told by the relocations against init_module and cleanup_module that
    the compiler left there (scripts/mod/modpost.c, add_header).
    """
    return _describe(relocatable.Bytes(image), origin)


def _describe(source: relocatable.Source, origin: str) -> ModuleFile:
    head = source.at(0, 64)
    form = relocatable.file_format(head)
    signed = source.at(max(0, source.size - len(SIGNATURE)), len(SIGNATURE)) == SIGNATURE
    if form is None or form == relocatable.OWN_FORMAT:
        return facts_of(relocatable.Relocatable(source, origin), origin, signed)
    return foreign_elf.describe(source, origin, form, signed, facts_of)


def facts_of(module: Module, origin: str, signed: bool) -> ModuleFile:
    """The facts of :func:`describe`, by either reader of ELF."""
    size = module.size_of(THIS_MODULE)
    if size is None:
        raise KmodError(f'read the module file {origin}', f'it has no section {THIS_MODULE}')
    info = b'\0' + module.content('.modinfo', LARGEST_TEXT)
    vermagic = _value(info, b'\0vermagic=')
    offsets = {symbol: offset for offset, symbol in module.relocations(THIS_MODULE)}
    return {
        'name': _value(info, b'\0name='),
        'vermagic': vermagic,
        'release': vermagic.split(' ')[0],
        'machine': module.machine,
        'format': module.form,
        'signed': signed,
        'depends': [name for name in _value(info, b'\0depends=').split(',') if name],
        'build_id': elf_note.build_id(module.content(elf_note.BUILD_ID, LARGEST_TEXT), module.order),
        'crc': _crc(module),
        'compilers': _compilers(module),
        'layout': {
            'size': size,
            'init': offsets.get('init_module'),
            'exit': offsets.get('cleanup_module'),
            'source': origin,
        },
    }


def _value(info: bytes, key: bytes) -> str:
    """The first value of a key in .modinfo, as the kernel takes it."""
    at = info.find(key)
    if at == -1:
        return ''
    start = at + len(key)
    end = info.find(b'\0', start)
    return info[start:end if end != -1 else len(info)].decode('utf-8', 'replace')


def _crc(module: Module) -> Optional[int]:
    """The CRC of module_layout (check_modstruct_version in kernel/module/version.c); None where there is none."""
    versions = module.content('__versions')
    word = 8 if module.form.startswith('64') else 4
    at = versions.find(b'module_layout\0')
    while at != -1:
        if at % VERSION_ENTRY == word:
            return int(struct.unpack_from(module.order + ('Q' if word == 8 else 'I'), versions, at - word)[0])
        at = versions.find(b'module_layout\0', at + 1)
    # CONFIG_EXTENDED_MODVERSIONS, from 6.14 on: the names in one section, 32-bit CRCs in another
    names = b'\0' + module.content('__version_ext_names')
    at = names.find(b'\0module_layout\0')
    crcs = module.content('__version_ext_crcs') if at != -1 else b''
    place = 4 * names.count(b'\0', 0, at) if at != -1 else 0
    return int(struct.unpack_from(module.order + 'I', crcs, place)[0]) if place + 4 <= len(crcs) else None


def _compilers(module: Module) -> List[NamedCompiler]:
    """What .comment names, each once; every object of a module repeats it."""
    texts = sorted(set(module.content('.comment', LARGEST_TEXT).split(b'\0')) - {b''})
    return [_compiler(text) for text in texts[:MOST_COMPILERS]]


def _compiler(text: bytes) -> NamedCompiler:
    if text not in _parsed:
        if len(_parsed) > MOST_COMPILERS:
            _parsed.clear()
        _parsed[text] = compiler_text.parse_comment(text.decode('utf-8', 'replace'))
    return _parsed[text]
