# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a loaded module is: parameters, version and build id from sysfs, its file from ``modules.dep``."""

import os
from typing import Dict, List

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._file_types import ModuleDetails
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import elf_note, relocatable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf.module_image import Opened, unreadable
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact

# sysfs hands out a page at most.
LARGEST_ATTRIBUTE = 65536
NO_BUILD_ID = 'the note holds no build id'
ABSENT = 'the module declares none'
NO_FILE = 'modules.dep does not name it: it was loaded from elsewhere'


def _contents(path: str) -> bytes:
    # Some hundred of these are read for all modules: a stream for each would cost three times as much.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, LARGEST_ATTRIBUTE)
    finally:
        os.close(descriptor)


def _attribute(directory: str, name: str) -> Fact[str]:
    try:
        return _contents(f'{directory}/{name}').decode('utf-8', 'replace').rstrip('\n')
    except FileNotFoundError:
        return unavailable(ABSENT)
    except OSError as error:
        return unavailable(error)


def _parameters(directory: str) -> Dict[str, Fact[str]]:
    path = os.path.join(directory, 'parameters')
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return {}
    return {name: _attribute(path, name) for name in names}


def files(release: str, root: str, names: List[str]) -> Dict[str, str]:
    """Path of the file of each module of ``names`` of the kernel ``release``, from ``modules.dep`` (modules.dep(5))."""
    base = os.path.join('/lib/modules', release)
    try:
        with open(os.path.join(root, 'lib/modules', release, 'modules.dep'), 'rb') as stream:
            text = b'\n' + stream.read()
    except OSError:
        return {}
    # A file is called as its author likes it; the module in the kernel has _ for each -.
    in_kernel = text.replace(b'-', b'_').replace(b'\n', b'/')
    found = [(name, _path_of(name.encode(), text, in_kernel)) for name in names]
    return {name: f'{base}/' + path.decode('utf-8', 'surrogateescape') for name, path in found if path}


def _path_of(name: bytes, text: bytes, in_kernel: bytes) -> bytes:
    """The path before a line's colon whose last part is the module's; after it come those that it depends on."""
    end = 0
    while True:
        at = in_kernel.find(b'/%s.ko' % name, end)
        if at == -1:
            return b''
        start, end = text.rfind(b'\n', 0, at + 1) + 1, at + 1
        path = text[start:text.find(b':', start)]
        if start + len(path) > at + 1:
            return path


def read(name: str, known_files: Dict[str, str], root: str = '/') -> ModuleDetails:
    """``parameters``, ``version``, ``srcversion``, ``build_id`` and ``file`` of a loaded module."""
    directory = os.path.join(root, 'sys/module', name)
    try:
        note = _contents(f'{directory}/notes/{elf_note.BUILD_ID}')
        identity: Fact[str] = elf_note.build_id(note) or unavailable(NO_BUILD_ID)
    except OSError as error:
        identity = unavailable(error)
    return {
        'parameters': _parameters(directory),
        'version': _attribute(directory, 'version'),
        'srcversion': _attribute(directory, 'srcversion'),
        'build_id': identity,
        'file': known_files.get(name) or unavailable(NO_FILE),
    }


def same_as_file(details: ModuleDetails, root: str = '/') -> Fact[bool]:
    """Whether the loaded code and the module's file have the same build id; reads that file."""
    file, loaded = details['file'], details['build_id']
    if is_unavailable(file):
        return file
    if is_unavailable(loaded):
        return loaded
    try:
        with Opened(os.path.join(root, file.lstrip('/'))) as opened:
            in_file = elf_note.build_id(relocatable.Relocatable(opened.elf(), file).content(elf_note.BUILD_ID))
    except KmodError as error:
        return unavailable(error)
    except OSError as error:
        return unavailable(unreadable(file, error))
    return unavailable(NO_BUILD_ID) if in_file is None else in_file == loaded
