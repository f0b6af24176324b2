# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses from ``/proc/kallsyms`` (kernel/kallsyms.c), which costs seconds on a slow host: read once, if at all."""

import os
import re
from typing import List, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError

# Type letters differ between kernels for the same symbol, so none is asked for.
LINE = r'^([0-9a-f]+) \S %s%s$'


class Symbols:
    """The symbol table, read when first asked and kept."""

    def __init__(self, root='/'):
        # type: (str) -> None
        self._path = os.path.join(root, 'proc/kallsyms')
        self._table = None  # type: Optional[bytes]

    def _text(self):
        # type: () -> bytes
        if self._table is None:
            try:
                with open(self._path, 'rb') as stream:
                    self._table = stream.read()
            except OSError as error:
                raise KmodError('read kernel symbols', f'{self._path}: {error.strerror}') from error
        return self._table

    def addresses(self, name, module=None):
        # type: (str, Optional[str]) -> List[int]
        """All addresses of ``name`` in the kernel itself, or in ``module``; raises KmodError where they are hidden."""
        tail = rf'\t\[{re.escape(module)}\]' if module else ''
        table = self._text()
        found = []
        # A plain search for the name costs a tenth of a regular expression over ten megabytes.
        word = (' {}{}\n'.format(name, f'\t[{module}]' if module else '')).encode()
        at = table.find(word)
        while at != -1:
            start = table.rfind(b'\n', 0, at) + 1
            match = re.match((LINE % (re.escape(name), tail)).encode(), table[start:at + len(word) - 1])
            if match:
                found.append(int(match.group(1), 16))
            at = table.find(word, at + 1)
        if found and not any(found):
            raise KmodError('read kernel symbols', 'the addresses in /proc/kallsyms are hidden',
                            'Act as root, with CAP_SYSLOG and kernel.kptr_restrict below 2')
        return found

    def address(self, name, module=None):
        # type: (str, Optional[str]) -> Optional[int]
        """The one address of ``name``; None where it is not there, KmodError where several are."""
        found = self.addresses(name, module)
        if len(found) > 1:
            raise KmodError(f'find the kernel symbol {name}', '/proc/kallsyms lists %d of them' % len(found))
        return found[0] if found else None

    def size(self, name):
        # type: (str) -> Optional[int]
        """Bytes from ``name`` to the next symbol of the kernel itself, which lists them by address, or None."""
        start = self.address(name)
        if start is None:
            return None
        table = self._text()
        at = table.find((f' {name}\n').encode())
        for line in table[at:at + 4096].splitlines()[1:-1]:
            match = re.match(br'([0-9a-f]+) ', line)
            if match and int(match.group(1), 16) > start:
                return int(match.group(1), 16) - start
        return None
