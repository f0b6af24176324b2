# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel with physical memory: frames and what they are used for, a slab, stacks, an image, and one module in it."""

import struct
from pathlib import Path

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import reachability
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import (
    bookkeeping,
    in_use,
    kcore,
    locate,
    symbols,
)
from kernel_memory import ALL_KERNELS, PAGE, Memory, btf_of, elf_header, make_root, program_header, write_files

LINEAR, FIRST, FRAMES = 0xFFFF888000000000, 0x100, 64
PAGES, IMAGE, STACK = 0xFFFFEA0000000000, 0xFFFFFFFF81000000, 0xFFFFC90000100000
CODE, DATA, OTHER = 0xFFFFFFFFC0500000, 0xFFFFFFFFC0502000, 0xFFFFFFFFC0600000
THIS, OTHER_STRUCT, FUNCTION = DATA + 0x80, OTHER + 0x80, CODE + 0x10
# Which frame is what.
IN_IMAGE, SLAB, CACHES, OWN, KEPT, PLAIN, PROCESS = range(FIRST, FIRST + 7)
OF_FIRST_TASK, OF_TASK, SIGNAL = FIRST + 0x10, FIRST + 0x18, FIRST + 0x20
NODE, AREA = LINEAR + (FIRST + 0x28) * PAGE, LINEAR + (FIRST + 0x30) * PAGE
FLAGS = {IN_IMAGE: 1 << 32, SLAB: 1 << 7, CACHES: 1 << 7, OWN: 0, KEPT: 0, PLAIN: 0, PROCESS: 1 << 12 | 1 << 5,
         **dict.fromkeys(range(OF_FIRST_TASK, SIGNAL + 2), 0), FIRST + 0x30: 0}
# What is mapped page by page, in pages.
SPANS = ((STACK, 4), (CODE, 1), (DATA, 1), (OTHER, 2))
BUDDY, OBJECT, OTHER_PAGES = 1 << 10, 64, 2
SECRET = 0x1122334455667788
NO_TYPE = 0xFFFFFFFF
SYMBOLS = {'init_task': LINEAR + OF_FIRST_TASK * PAGE, '_etext': IMAGE, 'some_list': IMAGE + 0x900,
           'module_kset': IMAGE + 0x910, 'vmap_area_list': IMAGE + 0x920, '__per_cpu_offset': IMAGE + 0x940,
           'end_of_data': IMAGE + 0xF00}


def linear(frame, offset=0):
    """Where the linear map has it."""
    return LINEAR + frame * PAGE + offset


def places(answer):
    return [hit['place'] for hit in answer['hits']]


def write(root, place, value):
    """Changes memory while it is read."""
    with kcore.Kcore.open(str(root)) as memory, open(root / 'proc/kcore', 'r+b') as stream:
        segment = next(found for found in memory.segments if found.start <= place < found.end)
        stream.seek(segment.offset + place - segment.start)
        stream.write(struct.pack('<Q', value))


class ReachedKernel:
    """Nothing points into the module but itself."""

    def __init__(self, kernel):
        self.kernel, self.types, self.memory = kernel, btf_of(kernel), Memory()
        self.lists_data = True
        self.has_parts = False  # of a module, by what they hold: from 6.4 on
        self.flags = [FLAGS.get(frame, BUDDY) for frame in range(FIRST, FIRST + FRAMES)]
        self.memory.write(linear(FIRST), bytes(FRAMES * PAGE))
        self.memory.write(PAGES + FIRST * self.types.size('page'), bytes(FRAMES * self.types.size('page')))
        for address in (IMAGE, STACK, STACK + PAGE, STACK + 2 * PAGE, STACK + 3 * PAGE, CODE, DATA, OTHER):
            self.memory.write(address, bytes(PAGE))
        self.pages()
        self.slab(SLAB, linear(CACHES, 0x100), 'kmalloc-64', OBJECT)
        self.slab(CACHES, linear(CACHES, 0x800), 'kmem_cache', 0x400)
        self.module(THIS, 'stuck', [(CODE, PAGE), (DATA, PAGE)])
        self.module(OTHER_STRUCT, 'other', [(OTHER, PAGE), (OTHER + PAGE, PAGE)])
        self.memory.write(OTHER + PAGE, bytes(PAGE))
        self.memory.u64(DATA + 0x20, FUNCTION)
        self.areas()
        self.task()

    def pages(self):
        """Each frame is in use once, and has no type; the one that a processor keeps is not in use."""
        for frame in range(FIRST, FIRST + FRAMES):
            self.page(frame, '_refcount', struct.pack('<I', int(frame != KEPT)))
            self.page(frame, '_mapcount', struct.pack('<I', NO_TYPE))

    def page(self, frame, member, data):
        """Sets a member of a frame's struct page."""
        name = 'page'
        if member in ('slab_cache', 'freelist') and self.kernel != 'linux-5.10':
            name = 'slab'
        self.memory.write(PAGES + frame * self.types.size('page') + self.types.offset(name, member), data)

    def keep(self, frame, number=0):
        """Puts a frame on a list of free pages of CPU 0, in the first zone."""
        types, pages = self.types, linear(SIGNAL + 1)
        zone, member = NODE + types.offset('pglist_data', 'node_zones'), 'per_cpu_pageset'
        if not self.types.has('zone', member):
            member = 'pageset'
        self.memory.u64(zone + types.offset('zone', member), pages)
        lists, size = types.offset('per_cpu_pages', 'lists'), types.size('per_cpu_pages')
        for head in range(pages + lists, pages + size - 15, 16):
            self.memory.u64(head, head)
            self.memory.u64(head + 8, head)
        link = PAGES + frame * types.size('page') + types.offset('page', 'lru')
        first = pages + lists + 16 * number
        for place in (first, link):
            other = link if place != link else first
            self.memory.u64(place, other)
            self.memory.u64(place + 8, other)

    def slab(self, frame, cache, name, size):
        """Makes a frame a slab of a cache, all of whose objects are in use."""
        text = cache + 0x380
        self.memory.write(text, name.encode() + b'\0')
        for member, value in (('name', struct.pack('<Q', text)), ('size', struct.pack('<I', size)),
                              ('offset', struct.pack('<I', 8)), ('random', struct.pack('<Q', SECRET))):
            if cache + self.types.offset('kmem_cache', member) + len(value) <= linear(CACHES + 1):
                self.memory.write(cache + self.types.offset('kmem_cache', member), value)
        self.page(frame, 'slab_cache', struct.pack('<Q', cache))

    def free(self, *objects):
        """Puts objects of the slab on its list of free ones."""
        for index, number in enumerate(objects):
            place = linear(SLAB, number * OBJECT) + 8
            following = linear(SLAB, objects[index + 1] * OBJECT) if index + 1 < len(objects) else 0
            swapped = struct.unpack('>Q', struct.pack('<Q', place))[0]
            self.memory.u64(place, following ^ SECRET ^ swapped)
        self.page(SLAB, 'freelist', struct.pack('<Q', linear(SLAB, objects[0] * OBJECT)))

    def module(self, address, name, parts):
        """A struct module, live, with its memory."""
        put = self.memory.u64
        for member in ('source_list', 'target_list', 'list'):
            place = address + self.types.offset('module', member)
            put(place, place)
            put(place + 8, place)
        try:
            first, kind = self.types.offset('module', 'mem'), 'module_memory'
            self.has_parts = True
            places = [first + index * self.types.size(kind) for index in range(len(parts))]
        except KmodError:  # before 6.4
            kind = 'module_layout'
            places = [self.types.offset('module', member) for member in ('core_layout', 'init_layout')]
        for place, (start, size) in zip(places, parts):
            put(address + place + self.types.offset(kind, 'base'), start)
            self.memory.u32(address + place + self.types.offset(kind, 'size'), size)
            if kind == 'module_layout' and start == CODE:
                self.memory.u32(address + place + self.types.offset(kind, 'text_size'), size)
        self.memory.write(address + self.types.offset('module', 'name'), name.encode() + b'\0')

    def areas(self):
        """What is mapped page by page; of the module's data the table tells the page, too."""
        put, head = self.memory.u64, SYMBOLS['vmap_area_list']
        link, table = self.types.offset('vmap_area', 'list'), AREA + 0xf00
        places = [self.described(start) - 0x100 for start, _pages in SPANS]
        nodes = [head, *(place + link for place in places)]
        for before, after in zip(nodes, nodes[1:] + nodes[:1]):
            put(before, after)
            put(after + 8, before)
        for place, (start, pages) in zip(places, SPANS):
            described = place + 0x100
            for member, value in (('va_start', start), ('va_end', start + pages * PAGE), ('vm', described)):
                put(place + self.types.offset('vmap_area', member), value)
            for member, value in (('addr', start), ('pages', table if start == DATA else 0)):
                put(described + self.types.offset('vm_struct', member), value)
            self.memory.u32(described + self.types.offset('vm_struct', 'nr_pages'), pages)
        put(table, PAGES + OWN * self.types.size('page'))

    @staticmethod
    def described(start):
        """Where the vm_struct of an area lies."""
        return AREA + 0x200 * [first for first, _pages in SPANS].index(start) + 0x100

    def task(self):
        """One task beside the first, asleep, whose stack is in use from its third page on."""
        at = {member: self.types.offset('task_struct', member)
              for member in ('tasks', 'thread_node', 'signal', 'stack', 'tgid', 'comm', 'thread')}
        head, put = self.types.offset('signal_struct', 'thread_head'), self.memory.u64
        tasks = (SYMBOLS['init_task'], linear(OF_TASK))
        for task, following in zip(tasks, tasks[::-1]):
            put(task + at['tasks'], following + at['tasks'])
            put(task + at['signal'], linear(SIGNAL))
            put(task + at['thread_node'], linear(SIGNAL) + head)
        self.memory.u32(tasks[1] + at['tgid'], 77)
        self.memory.write(tasks[1] + at['comm'], b'sleeper\0')
        put(tasks[1] + at['stack'], STACK)
        try:
            top = self.types.offset('thread_struct', 'sp')
        except KmodError:
            top = self.types.offset('thread_struct', 'cpu_context') + self.types.offset('cpu_context', 'sp')
        put(tasks[1] + at['thread'] + top, STACK + 2 * PAGE)

    def alias(self):
        """The module's data is seen through the linear map as well, and so is the image."""
        for frame, address in ((OWN, DATA), (IN_IMAGE, IMAGE)):
            self.memory.write(linear(frame), bytes(self.memory._pages[address // PAGE]))

    def core_file(self):
        """The memory as /proc/kcore has it: with the physical address of what is mapped as a whole."""
        self.alias()
        runs = []
        for page in sorted(self.memory._pages):
            if runs and page == runs[-1][0] + len(runs[-1][1]):
                runs[-1][1].append(self.memory._pages[page])
            else:
                runs.append((page, [self.memory._pages[page]]))
        headers, contents, start = b'', b'', 64 + 56 * len(runs)
        for page, pages in runs:
            address, data = page * PAGE, b''.join(bytes(each) for each in pages)
            physical = (1 << 64) - 1
            if LINEAR <= address < LINEAR + (1 << 40):
                physical = address - LINEAR
            elif address == IMAGE:
                physical = IN_IMAGE * PAGE
            header = bytearray(program_header(1, start + len(contents), address, len(data)))
            header[24:32] = struct.pack('<Q', physical)
            headers += bytes(header)
            contents += data
        return elf_header(len(runs)) + headers + contents

    def root(self, directory):
        """All of it below a directory."""
        root = make_root(directory, self.kernel)
        Path(root, 'proc/kcore').write_bytes(self.core_file())
        Path(root, 'proc/kpageflags').write_bytes(bytes(8 * FIRST) + struct.pack(f'<{FRAMES}Q', *self.flags))
        listed = [*SYMBOLS.items(), *[('init_task', IMAGE + PAGE)] * self.lists_data]  # where every kernel has it
        names = [f'{address:016x} {"T" if name == "_etext" else "D"} {name}\n'
                 for name, address in sorted(listed, key=lambda pair: pair[1])]
        names += [f'{address:016x} t {name}\t[stuck]\n' for name, address in (('f_call', FUNCTION), ('f_data', DATA))]
        write_files(root, {'proc/kallsyms': ''.join(names), 'sys/devices/system/cpu/possible': '0\n'})
        return root

    def find(self, directory, seconds=60.0):
        """The answer for the module."""
        return self.find_all(directory, ['stuck'], seconds)['stuck']

    def find_all(self, directory, names, seconds=60.0):
        """The answers for several."""
        return self._asked(directory, reachability.find, names, seconds)

    def holders(self, directory, addresses, seconds=60.0):
        """Where addresses stand."""
        return self._asked(directory, reachability.holders, addresses, seconds)

    def _asked(self, directory, ask, what, seconds):
        root = self.root(directory)
        loaded = [bookkeeping.Loaded('stuck', THIS, [(CODE, CODE + PAGE), (DATA, DATA + PAGE)]),
                  bookkeeping.Loaded('other', OTHER_STRUCT, [(OTHER, OTHER + OTHER_PAGES * PAGE)])]
        with kcore.KernelMemory(root) as memory:
            return ask(what, loaded, memory, symbols.Symbols(root), SYMBOLS.get, seconds)


@pytest.fixture(params=ALL_KERNELS)
def each_kernel(request, monkeypatch):
    """Of each layout one. What is looked at again is so at once: nothing but a test changes it."""
    monkeypatch.setattr(in_use, 'PAUSE', 0.0001)
    monkeypatch.setattr(in_use, 'LONG_PAUSE', 0.0004)
    monkeypatch.setattr(locate, 'PAUSE', 0.0002)
    monkeypatch.setattr(reachability, 'WATCH_PAUSE', 0.0003)
    return ReachedKernel(request.param)
