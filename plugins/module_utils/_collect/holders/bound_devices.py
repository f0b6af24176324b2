# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that a module serves: those bound to its drivers, and disks of its block major.

A driver takes no reference for a bound device, but who uses the device takes one of the driver: a root disk's file
system holds virtio_blk. Watchdogs need no rule of their own: one that has a driver is bound to it, and of one that has
none sysfs names no module.
"""

import os
from typing import Dict, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.disks import Disks
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders.entry import Found, holder
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.root_files import names, quoted, text
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Holder

# Buses of devices that a module registers itself: they hold no reference of it.
OWN_BUSES = ('platform', 'faux')
# Names in /proc/devices that differ from the module's: register_blkdev in the driver's source.
MAJORS = {
    'device-mapper': 'dm_mod', 'md': 'md_mod', 'mdp': 'md_mod', 'sd': 'sd_mod', 'sr': 'sr_mod', 'ramdisk': 'brd',
    'fd': 'floppy', 'mmc': 'mmc_block', 'nullb': 'null_blk', 'virtblk': 'virtio_blk', 'xvd': 'xen_blkfront',
    'zvol': 'zfs', 'dasd': 'dasd_mod',
}


def find(name: str, root: str = '/') -> Fact[Found]:
    """The devices of module ``name``, as holders with device and path (in sysfs). Unavailable where sysfs shows none.

    A disk that is bound to one of the drivers is listed once, as the device of that driver.
    """
    found: Found = []
    disks: Disks = Disks(root)
    try:
        found.extend(_bound(name, root, disks))
        found.extend(_served(name, root, disks, {str(entry['path']) for entry in found}))
    except OSError as error:
        return found or unavailable(error)
    return found


def _bound(name: str, root: str, disks: Disks) -> Found:
    """Devices bound to the module's drivers (module_add_driver in drivers/base/module.c makes the links)."""
    directory = os.path.join(root, 'sys/module', name)
    if 'drivers' not in os.listdir(directory):
        return []
    found = []
    for driver in sorted(os.listdir(os.path.join(directory, 'drivers'))):
        place = os.path.join(directory, 'drivers', driver)
        for entry in sorted(os.listdir(place)):
            link = os.path.join(place, entry)
            if entry != 'module' and os.path.islink(link):
                found.append(_bound_device(entry, link, driver, disks))
    return found


def _served(name: str, root: str, disks: Disks, known: Set[str]) -> Found:
    """Disks of the module's block majors that hold something: a loop device with no file has size 0."""
    majors = _block_majors(name, root)
    if not majors:
        return []
    found = []
    directory = os.path.join(root, 'sys/block')
    for disk in sorted(os.listdir(directory)):
        place = os.path.join(directory, disk)
        try:
            major = _text(os.path.join(place, 'dev')).partition(':')[0]
            sectors = _text(os.path.join(place, 'size'))
        except OSError:
            continue  # it went away
        if major in majors and sectors != '0' and _shown(os.path.join(place, 'device'), root) not in known:
            evidence = f'block major {major} ({majors[major]}), {sectors} sectors'
            used = disks.told(disk)
            # Those that somebody sets up hold their module from then on, others while somebody uses them.
            kept = any(os.path.exists(os.path.join(place, entry)) for entry in ('dm', 'loop', 'pid'))
            found.append(holder('disk ' + disks.label(disk) + (f': {used}' if used else ''), text(evidence),
                                disks.end_with(disk), counts=bool(used) or kept, active=bool(used),
                                device=text(disk), path=_shown(place, root)))
    return found


def _block_majors(name: str, root: str) -> Dict[str, str]:
    """The names in /proc/devices of the module's block majors, by number."""
    _characters, _heading, blocks = _text(os.path.join(root, 'proc/devices')).partition('Block devices:')
    pairs = [_pair(line) for line in blocks.splitlines()]
    return {major: label for major, label in pairs if label and MAJORS.get(label, label.replace('-', '_')) == name}


def _pair(line: str) -> Tuple[str, str]:
    major, _space, label = line.strip().partition(' ')
    return major, label.strip()


def _bound_device(device: str, link: str, driver: str, disks: Disks) -> Holder:
    """A device bound to ``driver``, which is BUS:DRIVER; where disks of it are used, with who uses them."""
    bus, _colon, name = driver.partition(':')
    what, end_with = f'device {text(device)}', 'echo {} > {}'.format(
        quoted(device), quoted(f'/sys/bus/{bus}/drivers/{name}/unbind'))
    below = os.path.realpath(link) + '/'
    own = [disk for disk in names(disks.root, 'sys/block')
           if os.path.realpath(os.path.join(disks.root, 'sys/block', disk)).startswith(below)]
    used = [disk for disk in own if disks.uses(disk)]
    if used:
        what += ' ({})'.format('; '.join(f'disk {text(disk)}: {disks.told(disk)}' for disk in used))
        chains = [disks.chain(disk) for disk in used]
        end_with = ' && '.join(command for chain in chains for command in chain or []) if all(chains) else ''
    return holder(what, text(f'driver {driver}'), end_with, counts=bus not in OWN_BUSES or bool(used),
                  active=bool(used), device=text(device), path=_shown(link, disks.root))


def _shown(link: str, root: str) -> str:
    """Where a link leads, as a path on the host."""
    return text('/' + os.path.relpath(os.path.realpath(link), os.path.realpath(root)))


def _text(path: str) -> str:
    with open(path, 'rb', buffering=0) as stream:
        return stream.read().decode('utf-8', 'backslashreplace').strip()
