# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leftovers of the driver core: buses, classes with their devices, platform devices (drivers/base/)."""

import contextlib
from typing import Dict, Iterator, List

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.leftovers.entry import Found, Known, leftover
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Leftover


class DriverCore:
    """Reads the kernel's lists of them, and what a module keeps a pointer to."""

    def __init__(self, memory: KernelMemory, symbols: Symbols) -> None:
        self._memory, self._symbols = memory, symbols

    def _offset(self, name: str, member: str) -> int:
        return self._memory.btf.offset(name, member)

    def buses(self, known: Known) -> Iterator[Leftover]:
        """Each struct bus_type of the module that is registered."""
        of = self._offset('subsys_private', 'bus')
        for private in self._subsystems('bus_kset'):
            bus = self._memory.kcore.u64(private + of)
            if known.has(bus):
                yield leftover('bus', 'bus ' + self._text(bus + self._offset('bus_type', 'name')), bus, private + of)

    def classes(self, words: Dict[int, int]) -> List[Found]:
        """A class that class_create() made, with the devices that device_create() made in it.

        ``words``: what the module keeps a pointer to, and where.
        """
        found: List[Found] = []
        of = self._offset('subsys_private', 'class')
        with contextlib.suppress(KmodError):
            for private in self._subsystems('class_kset'):
                address = self._memory.kcore.u64(private + of)
                if address in words and self._is_made(address, 'class', 'class_release', 'class_create_release'):
                    found += self._class(private, address, words[address])
        return found

    def platform_device(self, device: int, place: int) -> List[Found]:
        """A device that platform_device_alloc() made and that was added; ``device``: what is at ``place``."""
        kcore, inner = self._memory.kcore, device + self._offset('platform_device', 'dev')
        private, holder = kcore.u64(inner + self._offset('device', 'p')), self._offset('device_private', 'device')
        if not self._is_made(inner, 'device', 'release', 'platform_device_release') or \
                kcore.u64(private + holder) != inner:
            return []
        kobject = inner + self._offset('device', 'kobj')
        what = 'platform device ' + self._text(kobject + self._offset('kobject', 'name'))
        name = self._text(device + self._offset('platform_device', 'name'))
        return [Found(leftover('platform_device', what, device, place), name, {private + holder}, (inner,),
                      kcore.u64(kobject + self._offset('kobject', 'sd')))]

    def _text(self, place: int) -> str:
        return self._memory.kcore.text(self._memory.kcore.u64(place))

    def _subsystems(self, kset: str) -> Iterator[int]:
        """The struct subsys_private of each bus or class."""
        first = self._memory.kcore.u64(self._symbols.data(kset)[0])
        of = (('subsys_private', 'subsys'), ('kset', 'kobj'), ('kobject', 'entry'))
        head, link = first + self._offset('kset', 'list'), sum(self._offset(*member) for member in of)
        for private, _data in kernel_lists.ring(self._memory.kcore, head, link, 0, kset):
            yield private

    def _is_made(self, address: int, name: str, member: str, by: str) -> bool:
        # Drivers of the kernel's own have functions of these names, too, which do the same.
        return self._memory.kcore.u64(address + self._offset(name, member)) in self._symbols.addresses(by)

    def _class(self, private: int, address: int, place: int) -> List[Found]:
        kcore = self._memory.kcore
        name = self._text(address + self._offset('class', 'name'))
        places = {private + self._offset('subsys_private', 'class')}
        found: List[Leftover] = []
        for device in self._devices(private):
            number = kcore.u32(device + self._offset('device', 'devt'))
            if not number or not self._is_made(device, 'device', 'release', 'device_create_release'):
                return []  # somebody else's device is of this class
            kobject = device + self._offset('device', 'kobj')
            what = 'device %s of class %s' % (self._text(kobject + self._offset('kobject', 'name')), name)
            found.append(leftover('device', what, address, place, other=number))
            # The directory of the class below the device's parent is a class_dir (drivers/base/core.c).
            directory = kcore.u64(kobject + self._offset('kobject', 'parent')) - self._offset('class_dir', 'kobj')
            places.update((device + self._offset('device', 'class'), directory + self._offset('class_dir', 'class')))
        return [Found(one, name, places) for one in (*found, leftover('class', f'class {name}', address, place))]

    def _devices(self, private: int) -> Iterator[int]:
        head = private + self._offset('subsys_private', 'klist_devices') + self._offset('klist', 'k_list')
        link = self._offset('device_private', 'knode_class') + self._offset('klist_node', 'n_node')
        for _entry, data in kernel_lists.ring(self._memory.kcore, head, link, self._memory.btf.size('device_private'),
                                              'the devices of a class'):
            yield kernel_lists.pointer(data, self._offset('device_private', 'device'))
