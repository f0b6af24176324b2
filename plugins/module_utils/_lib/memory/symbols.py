# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses from ``/proc/kallsyms`` (kernel/kallsyms.c), which costs seconds on a slow host: read once, if at all."""

import itertools
import os
import re
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError

# Type letters differ between kernels for the same symbol, so none is asked for.
HEXADECIMAL = re.compile(br'[0-9a-f]+\Z')
OF_THE_KERNEL = re.compile(br'([0-9a-f]+) \S (\S+)\n\Z')
# What EXPORT_SYMBOL makes of a name; thousands of them may share one address.
OF_AN_EXPORT = ('__ksymtab_', '__kstrtab')
EVERY_KERNELS_DATUM = 'init_task'
# An undefined symbol (u) is another's; $d and $x say what AArch64's assembler put there.
OF_A_MODULE = re.compile(br'([0-9a-f]+) [^uU] ([^\s$]\S*)\t')
# Names that the compiler and the loader make, at the address of another.
MADE = re.compile(r'__|(init|cleanup)_module\Z')
LINE = r'^([0-9a-f]+) \S %s%s$'


class Symbols:
    """The symbol table, read when first asked and kept."""

    def __init__(self, root: str = '/') -> None:
        self._path = os.path.join(root, 'proc/kallsyms')
        self._table: Optional[bytes] = None
        self._data: Optional[bytes] = None
        self._modules: Optional[int] = None
        self._lists_data: Optional[bool] = None
        self._of_modules: Dict[str, List[Tuple[int, str]]] = {}
        self._found: Dict[Tuple[str, Optional[str]], List[int]] = {}

    def _text(self) -> bytes:
        if self._table is None:
            self._table = self._read()
        return self._table

    def _read(self) -> bytes:
        try:
            with open(self._path, 'rb') as stream:
                return stream.read()
        except OSError as error:
            raise KmodError('read kernel symbols', f'{self._path}: {error.strerror}') from error

    def addresses(self, name: str, module: Optional[str] = None) -> List[int]:
        """All addresses of ``name`` in the kernel itself, or in ``module``; raises KmodError where they are hidden."""
        if (name, module) not in self._found:
            self._found[name, module] = self._addresses(name, module)
        return self._found[name, module]

    def _addresses(self, name: str, module: Optional[str]) -> List[int]:
        tail = rf'\t\[{re.escape(module)}\]' if module else ''
        table = self._text()
        found = []
        # A plain search for the name costs a tenth of a regular expression over ten megabytes.
        word = (' {}{}\n'.format(name, f'\t[{module}]' if module else '')).encode()
        at = table.find(word, self._first_of_modules() if module else 0)
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

    def address(self, name: str, module: Optional[str] = None) -> Optional[int]:
        """The one address of ``name``; None where it is not there, KmodError where several are."""
        found = self.addresses(name, module)
        if len(found) > 1:
            raise KmodError(f'find the kernel symbol {name}', '/proc/kallsyms lists %d of them' % len(found))
        return found[0] if found else None

    def size(self, name: str) -> Optional[int]:
        """Bytes from ``name`` to the next symbol of the kernel itself, which lists them by address, or None."""
        start = self.address(name)
        if start is None:
            return None
        table = self._text()
        return _room(table, table.find((f' {name}\n').encode()) + 1, start)

    def functions(self, name: str) -> List[Tuple[int, int]]:
        """Address of each of the kernel's own functions ``name``, and bytes up to the next symbol."""
        table = self._text()
        return [(address, _room(table, at, address) or 0) for _name, address, at in _ending(table, f' {name}')]

    def nearest(self, address: int) -> Tuple[str, int]:
        """Name and address of the kernel's own symbol at ``address``, or of the last before it.

        The kernel's own stand in the order of their addresses, so half of the lines are left out at each look. Raises
        KmodError where there is none.
        """
        table, low, high = self._text(), 0, self._first_of_modules()
        while low < high:
            start = table.rfind(b'\n', low, (low + high) // 2) + 1 or low
            word = table[start:start + 17].split(b' ', 1)[0]
            if int(word, 16) <= address:
                low = table.find(b'\n', start) + 1 or high
            else:
                high = start
        match = OF_THE_KERNEL.match(table[table.rfind(b'\n', 0, low - 1) + 1:low]) if low else None
        if not match:
            raise KmodError(f'find the kernel symbol at {address:#x}', '/proc/kallsyms has none')
        place = int(match.group(1), 16)
        first = table.find(match.group(1) + b' ')
        return table[first:table.find(b'\n', first)].split()[2].decode('utf-8', 'backslashreplace'), place

    def names_with(self, part: str) -> List[str]:
        """The names of the kernel's own functions that have ``part`` in them."""
        return sorted({name for name, _address, _at in _having(self._text(), part.encode())})

    def data(self, name: str) -> Tuple[int, int]:
        """Address of the kernel's own datum ``name``, and bytes up to the next symbol. Raises KmodError without one."""
        for table in (self._data_part(), self._text()):
            for _name, address, at in _ending(table, f' {name}'):
                return address, _room(table, at, address) or 0
        self._demand_data()
        raise KmodError(f'find the kernel\'s {name}', '/proc/kallsyms does not give its address')

    def data_ending(self, suffixes: Iterable[str]) -> Iterator[Tuple[str, int, int]]:
        """Name, address and bytes up to the next symbol, of the kernel's own data that end in one of ``suffixes``."""
        self._demand_data()
        for suffix in suffixes:
            for name, address, at in _ending(self._data_part(), suffix):
                if not name.startswith(OF_AN_EXPORT):
                    yield name, address, _room(self._data_part(), at, address) or 0

    def lists_data(self) -> bool:
        """Whether the table has data as well as functions (CONFIG_KALLSYMS_ALL)."""
        if self._lists_data is None:
            self._lists_data = any(_ending(self._data_part(), f' {EVERY_KERNELS_DATUM}'))
        return self._lists_data

    def _demand_data(self) -> None:
        if not self.lists_data():
            raise KmodError('find the kernel\'s data',
                            '/proc/kallsyms lists functions alone: CONFIG_KALLSYMS_ALL is not set')

    def within(self, module: str, address: int, first: int = 1) -> str:
        """``f_tick``, ``f_data+0x20``: by the nearest symbol of a module from ``first`` on; else the address."""
        if module not in self._of_modules:
            try:
                self._of_modules[module] = self.of_module(module)
            except KmodError:
                self._of_modules[module] = []
        below = [(start, name) for start, name in self._of_modules[module] if first <= start <= address]
        if not below:
            return f'{address:#x}'
        nearest = max(start for start, _name in below)
        name = min((bool(MADE.match(name)), name) for start, name in below if start == nearest)[1]
        return name + (f'+{address - nearest:#x}' if address != nearest else '')

    def of_module(self, module: str) -> List[Tuple[int, str]]:
        """Address and name of each symbol of ``module``; a module's stand together in the table."""
        table, word = self._text(), f'\t[{module}]\n'.encode()
        at = table.find(word, self._first_of_modules())
        if at == -1:
            return []
        start = table.rfind(b'\n', 0, at) + 1
        found = []
        for line in _lines(table, start):
            if not line.endswith(word):
                break
            match = OF_A_MODULE.match(line)
            if match:
                found.append((int(match.group(1), 16), match.group(2).decode('utf-8', 'backslashreplace')))
        return found

    def is_only_of(self, name: str, module: str) -> bool:
        """Whether ``module`` has a symbol ``name``, and neither the kernel nor another module has one."""
        table, own = self._text(), f' {name}\t[{module}]\n'.encode()
        if table.find(own, self._first_of_modules()) == -1:
            return False
        return table.count(f' {name}\n'.encode()) + table.count(f' {name}\t['.encode()) == 1

    def _data_part(self) -> bytes:
        """The lines from the end of the kernel's code to the first module: a third of them."""
        if self._data is None:
            table, end_of_code = self._text(), b' T _etext\n'
            first = table.find(end_of_code) + 1
            self.address('_etext')  # raises where addresses are hidden
            self._data = table[table.find(b'\n', first) + 1:self._first_of_modules()]
        return self._data

    def _first_of_modules(self) -> int:
        """Where the lines of modules begin: behind all of the kernel's own."""
        if self._modules is None:
            table = self._text()
            tab = table.find(b'\t[')
            self._modules = table.rfind(b'\n', 0, tab) + 1 if tab != -1 else len(table)
        return self._modules


def _ending(table: bytes, suffix: str) -> Iterator[Tuple[str, int, int]]:
    """Name and address of each symbol of the kernel itself that ends so, and where in the table it was found."""
    return _having(table, f'{suffix}\n'.encode())


def _having(table: bytes, word: bytes) -> Iterator[Tuple[str, int, int]]:
    """The same of each that has ``word`` in its line."""
    at = table.find(word)
    while at != -1:
        match = OF_THE_KERNEL.match(table[table.rfind(b'\n', 0, at + 1) + 1:table.find(b'\n', at) + 1])
        if match:
            address = int(match.group(1), 16)
            yield match.group(2).decode('utf-8', 'backslashreplace'), address, at
        at = table.find(word, at + 1)


def _lines(table: bytes, at: int) -> Iterator[bytes]:
    """The lines from ``at`` on, each with its end."""
    while at < len(table):
        end = table.find(b'\n', at) + 1 or len(table)
        yield table[at:end]
        at = end


def _room(table: bytes, at: int, start: int) -> Optional[int]:
    """Bytes from ``start`` to the next higher address in the lines behind ``at``, or None."""
    lines = _lines(table, table.find(b'\n', at) + 1 or len(table))
    for line in itertools.islice(lines, 100):
        word = line.split(b' ', 1)[0]
        address = int(word, 16) if HEXADECIMAL.match(word) else 0
        if address > start:
            return address - start
    return None
