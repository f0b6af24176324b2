# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible ships the utilities as source in a zip, of which Python compiles each file twice; here, once.

``zipimporter.get_filename`` (Lib/zipimport.py) compiles a module only to tell its file's name, and each import asks it:
https://github.com/python/cpython/issues/141276. That takes as long as all else of the import.
"""

import os
import sys
import zipimport


class _Importer(zipimport.zipimporter):
    """Finds modules as its parent does, in a directory that holds no packages; tells their files' names by theirs."""

    def get_filename(self, fullname):
        # type: (str) -> str
        """Where in the zip a module is."""
        return os.path.join(os.path.dirname(__file__), fullname.rpartition('.')[2] + '.py')


def compile_once():
    # type: () -> None
    """Has what is imported from this directory from now on compiled once, if it is in a zip."""
    directory = os.path.dirname(__file__)
    if type(sys.path_importer_cache.get(directory)) is zipimport.zipimporter:  # pylint: disable=unidiomatic-typecheck
        sys.path_importer_cache[directory] = _Importer(directory)
