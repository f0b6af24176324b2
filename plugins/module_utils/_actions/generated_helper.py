# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reset without headers and compiler: a helper that is written here, for this one module, and loaded at once.

What it takes to be loaded comes from a module file of the running kernel's own tree: vermagic, the size of struct
module and where init stands in it, the CRC of module_layout. It compares and stores as the compiled helper does, but
takes no lock and looks at no stack.
"""

import os
import struct
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._actions import compiled_helper
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_file, module_tasks, struct_module
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import store_code, writer
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._returns import HelperReport
from ansible_collections.kernelops.kmod.plugins.module_utils._types import Anchors, Entry, Kernel, Leftover

CODE, TABLE = '.init.text', '.data'
MODINFO, VERSIONS = '.modinfo', '__versions'
VERSION = struct.Struct('<Q56s')
LIMITS = 'no lock was taken and no stack looked at: it was written on the spot'
# Where struct module has its name and its place in the list, on every kernel since 2.6: before all that is configured.
LIST_AT, NAME_AT = 8, 24
TRIES = 50
# What compiled_helper.parse_report has, as far as this kind can tell.
REPORT: HelperReport = {'loader': 'not_asked', 'buckets': 0, 'loading_pid': 0,
                        'look': {'result': 'not_asked', 'reason': LIMITS}}


class Donor(NamedTuple):
    """What a module file of the kernel's own tree gives: see :func:`find_donor`."""

    path: str
    vermagic: str
    machine: str
    size: int
    init: int
    exit: int
    crc: Optional[int]


def find_donor(release: str, root: str = '/') -> Donor:
    """A module of the running kernel's tree that has an init and an exit. Raises KmodError where there is none.

    ``size`` of struct module and the byte offsets of ``init`` and ``exit`` in it; ``crc`` of module_layout, None on a
    kernel without CONFIG_MODVERSIONS.
    """
    tree = os.path.join(root, 'lib/modules', release)
    tried = f'find a module of the kernel {release} to learn its layout from'
    last = 'modules.dep names none with an init and an exit'
    try:
        with open(os.path.join(tree, 'modules.dep'), errors='surrogateescape') as stream:
            paths = [line.split(':', 1)[0] for line in stream]
    except OSError as error:
        raise KmodError(tried, f'{tree}/modules.dep: {error.strerror}', 'Install the package of this kernel') from error
    in_tree = [path for path in paths if path.startswith('kernel/')]
    for path in in_tree[:TRIES]:
        try:
            found = module_file.read(os.path.join(tree, path))
        except KmodError as error:
            last = error.why
            continue
        layout, crc = found['layout'], found['crc']
        if not is_unavailable(layout) and found['release'] == release and layout['init'] and layout['exit']:
            return Donor(os.path.join(tree, path), found['vermagic'], found['machine'], layout['size'], layout['init'],
                         layout['exit'], None if is_unavailable(crc) else crc)
    raise KmodError(tried, last, 'Install the package of this kernel')


def lacking(kernel: Kernel, memory: KernelMemory, root: str = '/') -> Dict[str, str]:
    """For each kind of helper why it cannot be used on this host now; an empty text where it can.

    ``kernel`` as running_kernel.read has it. Nothing is loaded to find out.
    """
    from_memory, unsigned = kernel['loads_refused']['from_memory'], kernel['loads_refused']['unsigned']
    if from_memory:
        return {'compiled': from_memory, 'synthesized': from_memory}
    path = os.path.join(root, compiled_helper.helper_path(kernel['release']).lstrip('/'))
    return {
        'compiled': _reason(lambda: compiled_helper.vet_helper(path, kernel, struct_module.layout(root, memory))),
        'synthesized': unsigned or _reason(lambda: find_donor(kernel['release'], root)),
    }


def _reason(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except KmodError as error:
        return str(error)
    return ''


def write(donor: Donor, table: bytes) -> bytes:
    """The helper: an ELF file that init_module(2) takes on the donor's kernel. Raises KmodError for another machine."""
    code = store_code.CODE.get(donor.machine)
    if code is None:
        raise KmodError('write a helper', f'its machine code for {donor.machine} is not known here',
                        'Build the helper by the role kernelops.kmod.force_unload')
    info = ['license=GPL', f'name={compiled_helper.NAME}', 'depends=', f'vermagic={donor.vermagic}', *code.modinfo]
    this_module = bytearray(donor.size)
    struct.pack_into('56s', this_module, NAME_AT, compiled_helper.NAME.encode())
    sections = [
        writer.Section(CODE, code.text, writer.ALLOC | writer.EXECUTE, 16),
        writer.Section(TABLE, table, writer.ALLOC | writer.WRITE),
        writer.Section(MODINFO, '\0'.join(info).encode() + b'\0', writer.ALLOC, 1),
        writer.Section(module_file.THIS_MODULE, bytes(this_module), writer.ALLOC | writer.WRITE, 64),
    ]
    sections += [writer.Section(name, b'\0', writer.ALLOC | writer.EXECUTE, 1)
                 for name in code.trampolines]
    if donor.crc is not None:
        sections.append(writer.Section(VERSIONS, VERSION.pack(donor.crc, b'module_layout'), writer.ALLOC))
    symbols = [writer.Symbol('init_module', CODE, writer.FUNCTION),
               writer.Symbol('kmod_reset_table', TABLE, writer.OBJECT),
               writer.Symbol('__this_module', module_file.THIS_MODULE, writer.OBJECT)]
    relocations = [writer.Relocation(CODE, code.table_at, 'kmod_reset_table', code.absolute),
                   writer.Relocation(module_file.THIS_MODULE, donor.init, 'init_module', code.absolute)]
    return writer.relocatable(code.machine, sections, symbols, relocations)


def _load(donor: Donor, head: int, entry: int, compares: List[store_code.Compare], stores: List[store_code.Store],
          tried: str) -> None:
    """Writes the helper for these steps and loads it once. Raises KmodError where it did not do all of them."""
    error = compiled_helper.insert_when_free(write(donor, store_code.table(head, entry, compares, stores)), '')
    outcome, what = store_code.answer(error, compares, stores)
    if outcome == 'absent':
        raise KmodError(tried, 'the module table no longer has it at the address that was read', 'Run the task again')
    if outcome in ('differs', 'taken'):
        raise KmodError(tried, f'its {what} changed between reading and acting', 'Run the task again')
    if outcome != 'done':
        raise compiled_helper.load_error(error)


class Helper:
    """A helper of this kind for the running kernel: what :mod:`unload` needs of either kind."""

    def __init__(self, donor: Donor, root: str = '/') -> None:
        self._donor = donor
        self._root = root

    def target(self, name: str, address: int, anchors: Anchors) -> 'Target':
        """The entry of a module."""
        return Target(name, address, anchors, self._donor, self._root)

    def clear_loader(self, loader: Dict[str, int], anchors: Anchors) -> HelperReport:
        """Empties the loader's table of running loads, if nobody is seen inside finit_module(2); the report of it.

        Each head must still be what was read: a load that has begun meanwhile is left alone, and so is all else then.
        """
        pid = module_tasks.in_system_call(loader_syscalls.numbers()['finit_module'], self._root)
        if pid:
            return {**REPORT, 'loader': 'in_use', 'loading_pid': pid}
        with KernelMemory(self._root) as memory:
            first, = struct.unpack('<Q', memory.kcore.read(anchors['modules'], 8))
            stale = _heads(memory, loader)
            stores = [store_code.Store('table of running loads', address, head, 0) for address, head in stale.items()]
            for part in range(0, len(stores), store_code.MOST):
                # Whatever is first in the list will do as the entry to find: no module is meant.
                _load(self._donor, anchors['modules'], first, [], stores[part:part + store_code.MOST],
                      'clear the loader')
            left = _heads(memory, loader)
        cleared = sum(1 for address, head in stale.items() if left.get(address) != head)
        return {**REPORT, 'loader': 'cleared' if stale else 'clean', 'buckets': cleared}


def _heads(memory: KernelMemory, loader: Dict[str, int]) -> Dict[int, int]:
    """What the heads that are not empty hold, by their addresses."""
    table, buckets = loader['idem_hash'], loader['idem_buckets']
    words = struct.unpack('<%dQ' % buckets, memory.kcore.read(table, 8 * buckets))
    return {table + 8 * index: word for index, word in enumerate(words) if word}


class Target:
    """One entry of the module table, as :class:`compiled_helper.Target`. Each :meth:`store` loads a helper once."""

    def __init__(self, name: str, address: int, anchors: Anchors, donor: Donor, root: str = '/') -> None:
        """``address`` of its struct module; ``anchors``: the address ``modules``."""
        self.name = name
        self._address = address
        self._modules = anchors['modules']
        self._donor = donor
        self._root = root

    def look(self) -> Entry:
        """The entry as /proc/kcore shows it: state, refcount (raw), init, exit. Raises KmodError where it does not."""
        with KernelMemory(self._root) as memory:
            live = struct_module.read(self._address, self.name, self._root, memory)
        if is_unavailable(live):
            raise KmodError(f'reset {self.name} by a synthesized helper', live['unavailable'],
                            'Build the helper by the role kernelops.kmod.force_unload: it reads that itself')
        return {'state': live['state'], 'refcount': live['refcount'], 'init': live['init'], 'exit': live['exit']}

    def store(self, expect: Entry, write_values: Entry, _loader: Dict[str, int], _look_for: str) -> HelperReport:
        """Writes the entry where it is ``expect``, and returns the report; otherwise raises KmodError.

        The loader's table is left to :meth:`Helper.clear_loader`, and nobody is looked for: ``look`` in the report says
        so.
        """
        compares, stores = self.steps(expect, write_values)
        _load(self._donor, self._modules, self._address + LIST_AT, compares, stores, f'reset {self.name}')
        return {**REPORT, 'found': expect, 'left': self.look()}

    def park(self, _expect: Entry, new_name: str, look_for: str) -> HelperReport:  # noqa: ARG002  (as of the other kind)
        """Raises KmodError: a rename takes functions of the kernel."""
        raise KmodError(f'park {self.name} as {new_name}', 'a synthesized helper calls nothing in the kernel',
                        'Build the helper by the role kernelops.kmod.force_unload')

    def undo(self, _expect: Entry, _leftovers: List[Leftover], _look_for: str) -> HelperReport:
        """Raises KmodError: what is registered is taken back by functions of the kernel."""
        raise KmodError(f'take back what {self.name} left', 'a synthesized helper calls nothing in the kernel',
                        'Build the helper by the role kernelops.kmod.force_unload')

    def steps(self, expect: Entry, write_values: Entry) -> Tuple[List[store_code.Compare], List[store_code.Store]]:
        """The comparisons and the stores: the references first, since they move by themselves, the state last."""
        at = {'state': 0, 'init': self._donor.init, 'exit': self._donor.exit, 'refcount': self._donor.exit + 8}
        size = {'state': 4, 'refcount': 4}
        old, new = (self._numbers(entry) for entry in (expect, write_values))
        compares = store_code.text_of(self._address + NAME_AT, self.name.encode(), struct_module.NAME_LENGTH, 'name')
        compares += [store_code.Compare(key, self._address + at[key], old[key],
                                        (1 << 8 * size.get(key, 8)) - 1) for key in ('state', 'init', 'exit')]
        stores = [store_code.Store(key, self._address + at[key], old[key], new[key],
                                   size.get(key, 8)) for key in ('refcount', 'init', 'exit', 'state')]
        return compares, stores

    @staticmethod
    def _numbers(entry: Entry) -> Dict[str, int]:
        return {'state': struct_module.STATES.index(entry['state']), 'refcount': entry['refcount'],
                'init': entry['init'], 'exit': entry['exit']}
