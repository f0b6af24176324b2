# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module files of other machines, 32-bit or big-endian, by pyelftools: read to tell why they are refused.

pyelftools bounds neither time nor memory on a damaged file, so it runs in a child with a deadline.
"""

import io
import resource
import struct
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._file_types import ModuleFile
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import relocatable
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Unavailable

LARGEST_FILE = 64 << 20
DEADLINE = 10
PACKAGE = 'Install python3-pyelftools'


class Foreign:
    """What :class:`relocatable.Relocatable` has, of any class and byte order; its failures are those of pyelftools."""

    def __init__(self, data: bytes, origin: str) -> None:
        # Not every host has it.
        from elftools.elf.elffile import (  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: PLC0415
            ELFFile,
        )

        self._data = data
        self._origin = origin
        self._file = ELFFile(io.BytesIO(data))
        self.form = str(relocatable.file_format(data))
        self.order = '<' if self._file.little_endian else '>'
        self.machine = machine(data, self.form)
        if self._file['e_type'] != 'ET_REL':
            raise self._broken('it is no relocatable file, as a kernel module is')
        self._sections: Dict[str, Any] = {}
        for section in self._file.iter_sections():
            self._sections.setdefault(section.name, section)

    def _broken(self, why: str) -> KmodError:
        return KmodError(f'read the module file {self._origin}', why)

    def size_of(self, name: str) -> Optional[int]:
        """Size of a section in the kernel's memory; None where there is none."""
        section = self._sections.get(name)
        return None if section is None else int(section['sh_size'])

    def content(self, name: str, limit: int = relocatable.LARGEST_CONTENT) -> bytes:
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

    def relocations(self, name: str) -> Iterator[Tuple[int, str]]:
        """(offset in ``name``, name of the symbol stored there) for each relocation of ``name``."""
        # i386 and ARM have REL, without addends.
        section = self._sections.get('.rela' + name) or self._sections.get('.rel' + name)
        if section is None:
            return
        symbols: Any = self._file.get_section(section['sh_link'])
        if section.num_relocations() > relocatable.MOST_RELOCATIONS:
            raise self._broken('section {} has more relocations than any module\'s'.format(section.name))
        for entry in section.iter_relocations():
            yield int(entry['r_offset']), str(symbols.get_symbol(entry['r_info_sym']).name)


def machine(data: bytes, form: str) -> str:
    """e_machine by the first bytes of a file, as ``uname -m`` has it."""
    if len(data) < 20:
        return 'machine unknown'
    return relocatable.machine_name(struct.unpack_from('<H' if 'little' in form else '>H', data, 18)[0], form)


def describe(source: relocatable.Source, origin: str, form: str, signed: bool,
             facts_of: Callable[[Foreign, str, bool], ModuleFile]) -> ModuleFile:
    """``facts_of`` the file. Without pyelftools: that which the first bytes tell, and the reason."""
    tried = f'read the module file {origin}'
    if source.size > LARGEST_FILE:
        raise KmodError(tried, 'it is a %s file of %d bytes, more than any module has' % (form, source.size))
    data = source.at(0, source.size)
    try:
        import elftools.elf.elffile  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: F401, PLC0415
    except ImportError:
        return _headline(data, form, signed, unavailable(
            f'it is a {form} file, and pyelftools, which reads those, is not installed. {PACKAGE}'))
    try:
        return child_process.with_deadline(lambda: _read(data, origin, signed, facts_of), DEADLINE, tried)
    except child_process.Deadline as error:
        raise KmodError(tried, 'pyelftools has not read it within %d seconds' % DEADLINE) from error


def _read(data: bytes, origin: str, signed: bool,
          facts_of: Callable[[Foreign, str, bool], ModuleFile]) -> ModuleFile:
    # Whoever waits for it may be ended first.
    resource.setrlimit(resource.RLIMIT_CPU, (DEADLINE, DEADLINE))
    try:
        return facts_of(Foreign(data, origin), origin, signed)
    except KmodError:
        raise
    except Exception as error:  # pylint: disable=broad-except  # pyelftools lets through whatever a file provokes
        raise KmodError(f'read the module file {origin}', 'it is damaged (pyelftools: {}: {})'.format(
            type(error).__name__, error)) from error


def _headline(data: bytes, form: str, signed: bool, reason: Unavailable) -> ModuleFile:
    return {'compilers': reason, 'crc': reason, 'layout': reason, 'build_id': reason, 'depends': reason, 'name': '',
            'vermagic': '', 'release': '', 'machine': machine(data, form), 'format': form, 'signed': signed}
