# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module files of other machines, 32-bit or big-endian, by pyelftools: read to tell why they are refused.

pyelftools bounds neither time nor memory on a damaged file, so it runs in a child with a deadline.
"""

import io
import struct
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import _elf, _syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable

LARGEST_FILE = 64 << 20
DEADLINE = 10
PACKAGE = 'Install python3-pyelftools'


class Foreign:
    """What :class:`_elf.Relocatable` has, of any class and byte order; its failures are those of pyelftools."""

    def __init__(self, data, origin):
        # type: (bytes, str) -> None
        from elftools.elf.elffile import ELFFile  # type: ignore[import-untyped,import-not-found,unused-ignore]

        self._data = data
        self._origin = origin
        self._file = ELFFile(io.BytesIO(data))
        self.form = str(_elf.file_format(data))
        self.order = '<' if self._file.little_endian else '>'
        self.machine = machine(data, self.form)
        if self._file['e_type'] != 'ET_REL':
            raise self._broken('it is no relocatable file, as a kernel module is')
        self._sections = {}  # type: Dict[str, Any]
        for section in self._file.iter_sections():
            self._sections.setdefault(section.name, section)

    def _broken(self, why):
        # type: (str) -> KmodError
        return KmodError(f'read the module file {self._origin}', why)

    def size_of(self, name):
        # type: (str) -> Optional[int]
        """Size of a section in the kernel's memory; None where there is none."""
        section = self._sections.get(name)
        return None if section is None else int(section['sh_size'])

    def content(self, name, limit=_elf.LARGEST_CONTENT):
        # type: (str, int) -> bytes
        """The bytes of a section; empty where there is none, or where it takes no room in the file."""
        section = self._sections.get(name)
        if section is None or section['sh_type'] == 'SHT_NOBITS':
            return b''
        # Section.data() would unpack a compressed section, whatever it comes to.
        start, size = section['sh_offset'], section['sh_size']
        if start + size > len(self._data):
            raise self._broken(f'section {name} is cut short')
        if size > limit:
            raise self._broken('section %s takes %d bytes, more than any module\'s' % (name, size))
        return self._data[start:start + size]

    def relocations(self, name):
        # type: (str) -> Iterator[Tuple[int, str]]
        """(offset in ``name``, name of the symbol stored there) for each relocation of ``name``."""
        # i386 and ARM have REL, without addends.
        section = self._sections.get('.rela' + name) or self._sections.get('.rel' + name)
        if section is None:
            return
        symbols = self._file.get_section(section['sh_link'])  # type: Any
        if section.num_relocations() > _elf.MOST_RELOCATIONS:
            raise self._broken('section {} has more relocations than any module\'s'.format(section.name))
        for entry in section.iter_relocations():
            yield int(entry['r_offset']), str(symbols.get_symbol(entry['r_info_sym']).name)


def machine(data, form):
    # type: (bytes, str) -> str
    """e_machine by the first bytes of a file, as ``uname -m`` has it."""
    if len(data) < 20:
        return 'machine unknown'
    return _elf.machine_name(struct.unpack_from('<H' if 'little' in form else '>H', data, 18)[0], form)


def describe(source, origin, form, signed, facts_of):
    # type: (Any, str, Any, bool, Callable[[Any, str, bool], Dict[str, Any]]) -> Dict[str, Any]
    """``facts_of`` the file. Without pyelftools: that which the first bytes tell, and the reason."""
    tried = f'read the module file {origin}'
    if source.size > LARGEST_FILE:
        raise KmodError(tried, 'it is a %s file of %d bytes, more than any module has' % (form, source.size))
    data = source.at(0, source.size)
    try:
        import elftools.elf.elffile  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        return _headline(data, form, signed, unavailable(
            f'it is a {form} file, and pyelftools, which reads those, is not installed. {PACKAGE}'))
    try:
        found = _syscalls.with_deadline(lambda: _read(data, origin, signed, facts_of), DEADLINE, tried)  # type: Dict[str, Any]
    except _syscalls.Deadline as error:
        raise KmodError(tried, 'pyelftools has not read it within %d seconds' % DEADLINE) from error
    return found


def _read(data, origin, signed, facts_of):
    # type: (bytes, str, bool, Callable[[Any, str, bool], Dict[str, Any]]) -> Dict[str, Any]
    import resource

    # Whoever waits for it may be ended first.
    resource.setrlimit(resource.RLIMIT_CPU, (DEADLINE, DEADLINE))
    try:
        return facts_of(Foreign(data, origin), origin, signed)
    except KmodError:
        raise
    except Exception as error:  # pylint: disable=broad-except  # pyelftools lets through whatever a file provokes
        raise KmodError(f'read the module file {origin}', 'it is damaged (pyelftools: {}: {})'.format(
            type(error).__name__, error)) from error


def _headline(data, form, signed, reason):
    # type: (bytes, str, bool, Dict[str, str]) -> Dict[str, Any]
    facts = dict.fromkeys(('compilers', 'crc', 'layout', 'build_id', 'depends'), reason)  # type: Dict[str, Any]
    return dict(facts, name='', vermagic='', release='', machine=machine(data, form), format=form, signed=signed)
