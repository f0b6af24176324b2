# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources of a build: a directory of the host, or files that came with the task."""

import hashlib
import os
import re
import shutil
from typing import Callable, Dict, List

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError

# What kbuild leaves in a source directory; no source of the next build.
PRODUCTS = ('.o', '.ko', '.mod', '.mod.c', '.cmd', '.order', '.symvers', '.d')
FILE_NAME = re.compile(r'\w[\w.+-]*\Z', re.ASCII)


class Sources:
    """What is built: ``told`` in a sentence; ``path``, where they lie on the host, or an empty text."""

    told = path = ''

    def digests(self, tried: str, vet: Callable[[str], None]) -> Dict[str, str]:
        """SHA-256 by relative path. ``vet`` raises for what others could have written. Raises KmodError and OSError."""
        raise NotImplementedError

    def copy_to(self, tree: str) -> None:
        """Makes the directory ``tree`` with them in it. Raises OSError."""
        raise NotImplementedError


class Directory(Sources):
    """The sources below a directory."""

    def __init__(self, path: str) -> None:
        self.told = f'the modules in {path}'
        self.path = os.path.realpath(path)

    def digests(self, tried: str, vet: Callable[[str], None]) -> Dict[str, str]:
        if not os.path.isdir(self.path):
            raise KmodError(tried, 'there is no such directory on this host', 'Copy the sources there first')
        found = {}
        for directory, subdirectories, files in os.walk(self.path, followlinks=True):
            vet(directory)
            left_out = no_source(directory, subdirectories + files)
            subdirectories[:] = sorted(set(subdirectories).difference(left_out))
            for name in sorted(set(files).difference(left_out)):
                path = os.path.join(directory, name)
                if os.path.isfile(path):
                    vet(path)
                    found[os.path.relpath(path, self.path)] = digest(path)
        return found

    def copy_to(self, tree: str) -> None:
        shutil.copytree(self.path, tree, ignore=no_source)


class Given(Sources):
    """Text by name, all in one directory."""

    def __init__(self, files: Dict[str, str]) -> None:
        self.told = 'the modules of the given files'
        self.files = files

    def digests(self, tried: str, vet: Callable[[str], None]) -> Dict[str, str]:
        """Nothing is vetted: nobody else had them. Raises KmodError for a name that leads elsewhere."""
        del vet
        for name, text in self.files.items():
            if not isinstance(text, str):
                raise KmodError(tried, f'{name} in files has no text', 'Give each file\'s text, as by lookup(\'file\')')
            if not FILE_NAME.match(name):
                raise KmodError(tried, f'{name!r} in files is no file\'s name', 'Give names alone, without directories')
        return {name: hashlib.sha256(text.encode('utf-8')).hexdigest() for name, text in self.files.items()}

    def copy_to(self, tree: str) -> None:
        os.mkdir(tree, 0o700)
        for name, text in self.files.items():
            with open(os.path.join(tree, name), 'wb') as stream:
                stream.write(text.encode('utf-8'))


def no_source(directory: str, names: List[str]) -> List[str]:
    """Which of them are no source: hidden, what kbuild leaves behind, or links that lead nowhere."""
    return [name for name in names if name.startswith('.') or name.endswith(PRODUCTS)
            or not os.path.exists(os.path.join(directory, name))]


def digest(path: str) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, 'rb') as stream:
        return hashlib.sha256(stream.read()).hexdigest()
