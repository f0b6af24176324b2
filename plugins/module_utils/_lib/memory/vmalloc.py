# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mapped page by page in the kernel: its vmap areas (mm/vmalloc.c), stacks of tasks and modules among them."""

import struct
from typing import Iterator, NamedTuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_lists import pointer
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols

VM_IOREMAP, VM_MAP = 1, 4
# MAX_NR_VMAP_NODES, the kernel has at most 128
MOST_LISTS = 1024


class Area(NamedTuple):
    """Addresses from start to before end, the code that asked for it (0: not known), and the table of its struct pages.

    ``mapped`` is how many the table has; 0 where the area has none, and what it maps has another owner. ``address`` and
    ``described`` are where its vmap_area and its vm_struct lie (0: it has none).
    """

    start: int
    end: int
    caller: int
    pages: int
    mapped: int
    address: int
    described: int


def areas(memory: KernelMemory, symbols: Symbols) -> Iterator[Area]:
    """Each area that is in use and no device's memory. Raises KmodError where the kernel's lists cannot be walked.

    Before 6.5 vread() dies, with the lock of all areas held, of a page that the linear map lacks, as set_direct_map_*()
    makes them: what is mapped besides is left out there, and read by the linear map alone, where that does no harm.
    """
    left_out = VM_IOREMAP if symbols.address('vread_iter') else VM_IOREMAP | VM_MAP
    types, kcore = memory.btf, memory.kcore
    at = {member: types.offset('vmap_area', member) for member in ('va_start', 'va_end', 'list', 'vm')}
    own = {member: types.offset('vm_struct', member) for member in ('flags', 'caller', 'pages', 'nr_pages')}
    size, own_size = max(at.values()) + 16, types.size('vm_struct')
    for head in _lists(memory, symbols):
        for address, data in kernel_lists.ring(kcore, head, at['list'], size, 'the kernel\'s vmap areas'):
            start, end, described = (pointer(data, at[member]) for member in ('va_start', 'va_end', 'vm'))
            area = kcore.read(described, own_size) if described else bytes(own_size)
            if start < end and not pointer(area, own['flags']) & left_out:
                pages = pointer(area, own['pages'])
                mapped = struct.unpack_from('<I', area, own['nr_pages'])[0] if pages else 0
                yield Area(start, end, pointer(area, own['caller']), pages, mapped, address, described)


def _lists(memory: KernelMemory, symbols: Symbols) -> Iterator[int]:
    """The heads of the lists of areas in use: one up to 6.8, then one for each vmap_node."""
    kcore = memory.kcore
    head = symbols.address('vmap_area_list')
    if head:
        yield head
        return
    first = kcore.u64(symbols.data('vmap_nodes')[0])
    count = kcore.u32(symbols.data('nr_vmap_nodes')[0])
    if not 0 < count <= MOST_LISTS:
        raise KmodError('walk the kernel\'s vmap areas', 'it says that it has %d lists of them' % count)
    step = memory.btf.size('vmap_node')
    at = memory.btf.offset('vmap_node', 'busy') + memory.btf.offset('rb_list', 'head')
    for number in range(count):
        yield first + number * step + at
