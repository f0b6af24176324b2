# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The live struct module (include/linux/module.h), read without loading anything: BTF offsets and /proc/kcore."""

import struct
from typing import Any, Dict, Iterator, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import btf
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._types import (
    ExitOffsets,
    Fact,
    Ranges,
    StructLayout,
    StructModule,
)

# enum module_state in include/linux/module.h, by number
STATES = ('live', 'coming', 'going', 'unformed')
NAME_LENGTH = 56
LARGEST_STRUCT = 1 << 16
FARTHEST_EXIT = 256
# MOD_MEM_NUM_TYPES is 7 in include/linux/module.h.
MOST_PARTS = 16


def layout(root: str = '/', memory: Optional[KernelMemory] = None) -> Fact[StructLayout]:
    """The running kernel's struct module: its ``size`` and the byte offsets of the members that matter, or unavailable.

    Keys: size, state, list, name, mkobj_mod, init, exit, refcount (member refcnt), and source, which is ``btf``.
    """
    try:
        offsets = _offsets(memory or KernelMemory(root))
    except KmodError as error:
        return unavailable(error)
    return {'size': offsets['size'], 'state': offsets['state'], 'list': offsets['list'], 'name': offsets['name'],
            'mkobj_mod': offsets['mkobj_mod'], 'init': offsets['init'], 'exit': offsets['exit'],
            'refcount': offsets['refcount'], 'source': 'btf'}


def read(address: Optional[Fact[int]], name: str, root: str = '/',
         memory: Optional[KernelMemory] = None) -> Fact[StructModule]:
    """The struct module at ``address``, if it is that of module ``name``; otherwise unavailable.

    Returns module (the address), state (live, coming, going, unformed), refcount (raw: its base is 1), init and exit
    (addresses; init of a live module dangles by design, only 0 means anything) and source, which is ``kcore``.
    An ``address`` that is itself unavailable is handed back.
    """
    if is_unavailable(address):
        return address or unavailable('the address of struct module is not known')
    if not address:
        return unavailable('the address of struct module is hidden (kernel.kptr_restrict=2)')
    own = memory or KernelMemory(root)
    try:
        return _read(address, name, own)
    except KmodError as error:
        return unavailable(error)
    finally:
        if memory is None:
            own.close()


def exit_offsets(address: int, exit_function: int, memory: KernelMemory) -> Fact[ExitOffsets]:
    """Where the struct module at ``address`` holds the address of its exit, and where the kernel looks for it.

    ``{'module': bytes, 'kernel': bytes}``: they differ in a module that was built with another layout. Unavailable
    where memory cannot be read, or where the pointer lies beyond the kernel's own struct.
    """
    try:
        offsets = _offsets(memory)
        data = memory.kcore.read(address, offsets['size'])
    except KmodError as error:
        return unavailable(error)
    words = struct.unpack_from('<%dQ' % (len(data) // 8), data)
    found = [8 * index for index, word in enumerate(words) if word == exit_function]
    # The base of its code stands there too, and may be the same address: layouts differ by less than these lie apart.
    near = [at for at in found if abs(at - offsets['exit']) <= FARTHEST_EXIT]
    if not near:
        return unavailable('its struct module holds no pointer to its exit where one may be')
    return {'module': min(near, key=lambda at: abs(at - offsets['exit'])), 'kernel': offsets['exit']}


def ranges(address: Optional[Fact[int]], memory: KernelMemory) -> Fact[Ranges]:
    """All memory of the module whose struct module is at ``address``, code and data: start and end of each part.

    ``mem[]`` from 6.4 on, ``core_layout`` and ``init_layout`` before; a part that was given back has no base.
    Unavailable where that cannot be read; an ``address`` that is itself unavailable is handed back.
    """
    if is_unavailable(address) or not address:
        return address or unavailable('the address of struct module is not known')
    try:
        return list(_parts(address, memory))
    except KmodError as error:
        return unavailable(error)


def _parts(address: int, memory: KernelMemory) -> Iterator[Tuple[int, int]]:
    types, kcore = memory.btf, memory.kcore
    try:
        first, kind = types.offset('module', 'mem'), 'module_memory'
    except KmodError:
        parts, kind = [types.offset('module', member) for member in ('core_layout', 'init_layout')], 'module_layout'
    else:
        # The member behind it tells how many there are.
        parts = list(range(first, types.offset('module', 'arch'), max(types.size(kind), 8)))[:MOST_PARTS]
    base, size = types.offset(kind, 'base'), types.offset(kind, 'size')
    for part in parts:
        start, length = kcore.u64(address + part + base), kcore.u32(address + part + size)
        if start and length:
            yield start, start + length


def _offsets(memory: KernelMemory) -> Dict[str, int]:
    return memory.once('struct module', _find_offsets)


def _find_offsets(types: btf.Btf) -> Dict[str, int]:
    offsets = btf.layout_of(types, {
        'state': ('module', 'state'), 'list': ('module', 'list'), 'name': ('module', 'name'),
        'init': ('module', 'init'), 'exit': ('module', 'exit'), 'refcount': ('module', 'refcnt'),
    })
    # By struct names, not by 'mkobj.mod': that path would need a walk over all types.
    offsets['mkobj_mod'] = types.offset('module', 'mkobj') + types.offset('module_kobject', 'mod')
    offsets['size'] = types.size('module')
    return offsets


def _read(address: int, name: str, memory: KernelMemory) -> StructModule:
    tried = f'read struct module of {name} at {address:#x}'
    offsets = _offsets(memory)
    if not max(offsets.values()) + 8 <= offsets['size'] + 8 <= LARGEST_STRUCT:
        raise KmodError(tried, 'the kernel\'s BTF gives it %d bytes' % offsets['size'])
    data = memory.kcore.read(address, offsets['size'])

    def at(key: str, form: str) -> Any:
        try:
            return struct.unpack_from(form, data, offsets[key])[0]
        except struct.error as error:
            raise KmodError(tried, f'the kernel\'s BTF puts {key} outside of it') from error

    in_memory = at('name', '%ds' % NAME_LENGTH).split(b'\0', 1)[0].decode('utf-8', 'backslashreplace')
    if in_memory != name:
        raise KmodError(tried, f'the name there is {in_memory!r}')
    if at('mkobj_mod', '<Q') != address:
        raise KmodError(tried, 'its mkobj.mod is {:#x}, not its own address'.format(at('mkobj_mod', '<Q')))
    state = at('state', '<I')
    if state >= len(STATES):
        raise KmodError(tried, 'its state is %d, which no kernel has' % state)
    return {
        'module': address, 'state': STATES[state], 'refcount': at('refcount', '<i'),
        'init': at('init', '<Q'), 'exit': at('exit', '<Q'), 'source': 'kcore',
    }
