# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the kernel keeps what it has of every module, by its own lists (kernel/module/, its notifiers).

Each place is told with the function that clears it. A list that cannot be walked costs what is on it: its words then
count as pointers like any other. Part of :mod:`bookkeeping`.
"""

import functools
import struct
from typing import Callable, Iterator, List, NamedTuple, Set, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import (
    freed_init,
    kernel_lists,
    locate,
    page_frames,
    slab,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_lists import pointer
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols

Mark = Tuple[int, int]  # address, bytes

# Symbols of the kernel that hold nothing but links to modules, unlinked in free_module() and module_bug_cleanup(); the
# registers of the first oops, kept for its report; what the last module's tables for unwinding were sorted with.
LINKS = ('modules', 'mod_tree', 'module_bug_list', 'exec_summary_regs', 'cur_orc_table', 'cur_orc_ip_table')
LISTS = {
    'tracepoint_module_list': ('tp_module', 'list'),  # tracepoint_module_going()
    'bpf_trace_modules': ('bpf_trace_module', 'list'),  # bpf_event_notify()
    'ddebug_tables': ('ddebug_table', 'link'),  # ddebug_remove_module()
    'btf_modules': ('btf_module', 'list'),  # btf_module_notify()
    'smp_alt_modules': ('smp_alt_module', 'next'),  # alternatives_smp_module_del()
    'kprobe_blacklist': ('kprobe_blacklist_entry', 'list'),  # kprobe_remove_ksym_blacklist() at MODULE_STATE_GOING
}
EVENT_HASH_SIZE = 128
MOST_DOMAINS = 1024
MOST_SYMBOLS = 1 << 16


class Loaded(NamedTuple):
    """A loaded module: its name, its struct module, and all of its memory."""

    name: str
    address: int
    ranges: List[Tuple[int, int]]


class Lists:
    """The walks over them, in the order in which they are to be tried: the last ones are long."""

    def __init__(self, memory: KernelMemory, symbols: Symbols, physical: page_frames.PhysicalMemory, slabs: slab.Slabs,
                 places: locate.Places, loaded: List[Loaded]) -> None:
        self._memory, self._symbols, self._loaded = memory, symbols, loaded
        self._physical, self._slabs, self._places = physical, slabs, places
        self._offset, self._u64 = memory.btf.offset, memory.kcore.u64
        self.calls: Set[int] = set()  # the trace events' struct trace_event_call, once that walk is made
        self.walks = [self._structs, self._links, self._module_set, self._uses, self._attributes, self._directories_of,
                      self._areas, self._domains, self._workers, self._livepatches, self._call_sites, self._freed_inits,
                      *map(self._listed, LISTS), self._freed_code, self._traced, self._events, self._event_files]

    def walked(self, walk: Callable[[], Iterator[Mark]]) -> Iterator[Mark]:
        """What a walk finds. One that got lost, and has not found the list missing, is walked again."""
        for _attempt in range(kernel_lists.WALKS):
            found = False
            try:
                for mark in walk():
                    found = True
                    yield mark
            except KmodError:
                if found:
                    continue
            return

    def _of_each(self, read: Callable[[Loaded], Iterator[Mark]]) -> Iterator[Mark]:
        for module in self._loaded:
            yield from self.walked(functools.partial(read, module))

    def _structs(self) -> Iterator[Mark]:
        """Each struct module: their links to one another, in four lists and two trees."""
        size = self._memory.btf.size('module')
        return iter([(module.address, size) for module in self._loaded])

    def _links(self) -> Iterator[Mark]:
        for name in LINKS:
            start = self._symbols.address(name)
            if start:
                yield start, self._symbols.size(name) or 16

    def _module_set(self) -> Iterator[Mark]:
        """The kset of /sys/module: module_remove_modinfo_attrs(), kobject_put()."""
        yield self._u64(self._symbols.data('module_kset')[0]), self._memory.btf.size('kset')

    def _freed_inits(self) -> Iterator[Mark]:
        return self._of_each(lambda module: freed_init.pointers(module.address, self._memory, self._symbols))

    def _uses(self) -> Iterator[Mark]:
        """Who uses whom: module_unload_free()."""
        size = self._memory.btf.size('module_use')

        def of(module: Loaded) -> Iterator[Mark]:
            for member in ('source_list', 'target_list'):
                head = module.address + self._offset('module', member)
                for address, _data in kernel_lists.ring(self._memory.kcore, head, self._offset('module_use', member),
                                                        size, 'the users of a module'):
                    yield address, size

        return self._of_each(of)

    def _attributes(self) -> Iterator[Mark]:
        """What /sys/module/NAME/{sections,notes,parameters} say: mod_sysfs_teardown()."""
        places = [self._offset('module', 'sect_attrs'), self._offset('module', 'notes_attrs'),
                  self._offset('module', 'mkobj') + self._offset('module_kobject', 'mp')]

        def of(module: Loaded) -> Iterator[Mark]:
            for at in places:
                address = self._u64(module.address + at)
                if address:
                    yield self._allocation(address)

        return self._of_each(of)

    def _allocation(self, address: int) -> Mark:
        """All of what kmalloc gave at an address: an object, or pages of their own."""
        found = self._slabs.object_at(address)
        if found:
            return found.start, found.size
        frame = self._physical.frame(address)
        if frame is None:
            return address, self._physical.page_size
        count = 1
        while self._physical.flags(frame + count)[0] & page_frames.COMPOUND_TAIL:
            count += 1
        return address, count * self._physical.page_size

    def _directories_of(self) -> Iterator[Mark]:
        """The directories holders, drivers and notes in /sys/module/NAME."""
        size = self._memory.btf.size('kobject')
        places = [self._offset('module', 'holders_dir'),
                  self._offset('module', 'mkobj') + self._offset('module_kobject', 'drivers_dir')]

        def of(module: Loaded) -> Iterator[Mark]:
            for at in places:
                yield self._u64(module.address + at), size
            notes = self._u64(module.address + self._offset('module', 'notes_attrs'))
            if notes:
                yield self._u64(notes + self._offset('module_notes_attrs', 'dir')), size

        return self._of_each(of)

    def _call_sites(self) -> Iterator[Mark]:
        """Each module's table of its functions: those of its init are freed, and another may lie there by now."""
        first, count = self._offset('module', 'ftrace_callsites'), self._offset('module', 'num_ftrace_callsites')

        def of(module: Loaded) -> Iterator[Mark]:
            yield self._u64(module.address + first), 8 * self._memory.kcore.u32(module.address + count)

        return self._of_each(of)

    def _livepatches(self) -> Iterator[Mark]:
        """Section headers and symbols of a module that patches, those of its freed init as well: free_module_elf()."""
        types, kcore = self._memory.btf, self._memory.kcore
        kept, headers = self._offset('module', 'klp_info'), self._offset('klp_modinfo', 'sechdrs')
        table, first, count = (self._offset('module', 'kallsyms'), self._offset('mod_kallsyms', 'symtab'),
                               self._offset('mod_kallsyms', 'num_symtab'))

        def of(module: Loaded) -> Iterator[Mark]:
            info, symbols = self._u64(module.address + kept), self._u64(module.address + table)
            if info:
                yield self._allocation(self._u64(info + headers))
                many = min(kcore.u32(symbols + count), MOST_SYMBOLS)
                yield self._u64(symbols + first), many * types.size('elf64_sym')

        return self._of_each(of)

    def _freed_code(self) -> Iterator[Mark]:
        """Names of functions of freed inits, in whose place another may lie: ftrace_free_mem()."""
        kcore, head = self._memory.kcore, self._symbols.data('ftrace_mod_maps')[0]
        size, own = self._memory.btf.size('ftrace_mod_map'), self._memory.btf.size('ftrace_mod_func')
        functions, link = self._offset('ftrace_mod_map', 'funcs'), self._offset('ftrace_mod_func', 'list')
        for address, _data in kernel_lists.ring(kcore, head, self._offset('ftrace_mod_map', 'list'), size,
                                                'ftrace_mod_maps'):
            yield address, size
            for function, _name in kernel_lists.ring(kcore, address + functions, link, own, 'freed functions'):
                yield function, own

    def _traced(self) -> Iterator[Mark]:
        """Where functions can be traced: ftrace_release_mod(). What lies behind the last record was one before."""
        first = self._u64(self._symbols.data('ftrace_pages_start')[0])
        at = {member: self._offset('ftrace_page', member) for member in ('next', 'records')}
        order = self._memory.btf.first_offset('ftrace_page', 'order', 'size')
        record = self._memory.btf.size('dyn_ftrace') if not self._memory.btf.has('ftrace_page', 'order') else 0
        for _address, data in kernel_lists.pointers_chain(self._memory.kcore, first, at['next'],
                                                          self._memory.btf.size('ftrace_page'), 'ftrace\'s pages'):
            many = struct.unpack_from('<I', data, order)[0]
            yield pointer(data, at['records']), record * many or self._physical.page_size << min(many, 10)

    def _events(self) -> Iterator[Mark]:
        """The links of trace events to one another, on their list and in their hash, and the fields that each has."""
        kcore, head = self._memory.kcore, self._symbols.data('ftrace_events')[0]
        link, node = self._offset('trace_event_call', 'list'), self._offset('trace_event_call', 'event')
        kind, fields = self._offset('trace_event_call', 'class'), self._offset('trace_event_class', 'fields')
        own, size = self._offset('ftrace_event_field', 'link'), self._memory.btf.size('ftrace_event_field')
        yield head, 16
        yield self._symbols.data('event_hash')[0], 8 * EVENT_HASH_SIZE
        classes: Set[int] = set()
        for address, data in kernel_lists.ring(kcore, head, link, kind + 8, 'ftrace_events'):
            self.calls.add(address)
            yield address + link, 16
            yield address + node, self._memory.btf.size('trace_event')
            first = pointer(data, kind) + fields
            if first not in classes:
                classes.add(first)
                for field, _data in kernel_lists.ring(kcore, first, own, size, 'the fields of a trace event'):
                    yield field, size

    def _event_files(self) -> Iterator[Mark]:
        """What each instance of the tracer keeps of each event: remove_event_from_tracers()."""
        kcore, head = self._memory.kcore, self._symbols.data('ftrace_trace_arrays')[0]
        link, events = self._offset('trace_array', 'list'), self._offset('trace_array', 'events')
        own, size = self._offset('trace_event_file', 'list'), self._memory.btf.size('trace_event_file')
        for address, _data in kernel_lists.ring(kcore, head, link, link + 16, 'ftrace_trace_arrays'):
            for file, _event in kernel_lists.ring(kcore, address + events, own, size, 'the events of a tracer'):
                yield file, size

    def _areas(self) -> Iterator[Mark]:
        """The vmap_area and the vm_struct of each part of each module, vfree(); areas that end where one begins."""
        area_size, size = self._memory.btf.size('vmap_area'), self._memory.btf.size('vm_struct')
        caller = self._offset('vm_struct', 'caller')
        starts = {start for module in self._loaded for start, _end in module.ranges}
        for area in self._places.areas:
            if area.start in starts or area.end in starts:
                yield area.address, area_size
            if area.start in starts:
                yield area.described, size
            elif area.described:
                yield area.described + caller, 8  # who asked for it, for /proc/vmallocinfo alone
        head = self._symbols.address('free_vmap_area_list')
        for address, _data in kernel_lists.ring(self._memory.kcore, head, self._offset('vmap_area', 'list'), area_size,
                                                'free_vmap_area_list') if head else ():
            yield address, area_size

    def _workers(self) -> Iterator[Mark]:
        """The function that a worker ran last, which is compared and never called: process_one_work()."""
        data, last = self._offset('kthread', 'data'), self._offset('worker', 'last_func')
        for thread in self._places.workers:
            worker = self._u64(thread + data)
            if worker:
                yield worker + last, 8

    def _domains(self) -> Iterator[Mark]:
        """What each processor keeps of a static SRCU domain: srcu_module_going()."""
        link, first = self._offset('srcu_data', 'ssp'), self._offset('srcu_struct', 'sda')

        def of(module: Loaded) -> Iterator[Mark]:
            table = self._u64(module.address + self._offset('module', 'srcu_struct_ptrs'))
            count = self._memory.kcore.u32(module.address + self._offset('module', 'num_srcu_structs'))
            data = self._memory.kcore.read(table, 8 * count) if table and count < MOST_DOMAINS else b''
            for (domain,) in struct.iter_unpack('<Q', data):
                for offset in self._places.offsets():
                    yield (self._u64(domain + first) + offset + link) % (1 << 64), 8

        return self._of_each(of)

    def _listed(self, symbol: str) -> Callable[[], Iterator[Mark]]:
        def walk() -> Iterator[Mark]:
            name, member = LISTS[symbol]
            head, size = self._symbols.data(symbol)[0], self._memory.btf.size(name)
            yield head, 16
            link = self._offset(name, member)
            for address, _data in kernel_lists.ring(self._memory.kcore, head, link, size, symbol):
                yield address, size

        return walk
