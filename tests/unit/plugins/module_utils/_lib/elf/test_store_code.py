# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine code of the synthesized helper: it is what its source says, and does that, run on memory of our own."""

import ctypes
import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import store_code
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf.store_code import Compare, Store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SOURCES = Path(__file__).parent / 'store_code'
LIST, NODES, WORDS, CODE_AT, TABLE_AT = 0, 64, 1024, 2048, 4096
SIZE = 8192
WORD = st.integers(min_value=0, max_value=store_code.FULL)
ASSEMBLE = {'x86_64': ['x86_64-linux-gnu-as', '--64'], 'aarch64': ['aarch64-linux-gnu-as']}


@pytest.mark.parametrize('machine', sorted(store_code.CODE))
def test_bytes_are_those_of_the_source(machine, tmp_path):
    assemble = ASSEMBLE[machine]
    if not shutil.which(assemble[0]):
        pytest.skip(f'needs {assemble[0]}')
    unit, text = tmp_path / 'code.o', tmp_path / 'code.bin'
    subprocess.run([*assemble, '-o', str(unit), str(SOURCES / f'{machine}.S')], check=True)
    objcopy = assemble[0].replace('-as', '-objcopy')
    subprocess.run([objcopy, '-O', 'binary', '-j', '.text', str(unit), str(text)], check=True)
    assert text.read_bytes() == store_code.CODE[machine].text
    at = store_code.CODE[machine].table_at
    assert text.read_bytes()[at:at + 8] == bytes(8)


class Kernel:
    """Memory with a list of three nodes and some words, and the code of a machine beside it."""

    def __init__(self, machine):
        self.code = store_code.CODE[machine]
        self.memory = mmap.mmap(-1, SIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.call = self.native if machine == os.uname().machine else self.emulated
        ring = [LIST, NODES, NODES + 64, NODES + 128]
        for node, following in zip(ring, ring[1:] + ring[:1]):
            self.put(node, self.base + following)
        self.nodes = [self.base + node for node in ring[1:]]

    def put(self, at, value):
        struct.pack_into('<Q', self.memory, at, value)

    def word(self, index):
        return struct.unpack_from('<Q', self.memory, WORDS + 8 * index)[0]

    def address(self, index):
        return self.base + WORDS + 8 * index

    def native(self):
        return ctypes.CFUNCTYPE(ctypes.c_int)(self.base + CODE_AT)()

    def emulated(self):
        unicorn = pytest.importorskip('unicorn')
        engine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        engine.mem_map_ptr(self.base, SIZE, unicorn.UC_PROT_ALL, self.base)
        link, result = unicorn.arm64_const.UC_ARM64_REG_X30, unicorn.arm64_const.UC_ARM64_REG_W0
        engine.reg_write(link, self.base)
        engine.emu_start(self.base + CODE_AT, self.base)
        return ctypes.c_int(engine.reg_read(result)).value

    def run(self, entry, compares, stores):
        text = bytearray(self.code.text)
        struct.pack_into('<Q', text, self.code.table_at, self.base + TABLE_AT)
        table = store_code.table(self.base + LIST, entry, compares, stores)
        self.memory[CODE_AT:CODE_AT + len(text)] = bytes(text)
        self.memory[TABLE_AT:TABLE_AT + len(table)] = table
        return -self.call()


# This machine's own runs on its processor, another's in an emulator.
@pytest.fixture(params=sorted(store_code.CODE))
def machine(request):
    if request.param not in (os.uname().machine, 'aarch64'):
        pytest.skip(f'nothing here runs the code of {request.param}')
    return request.param


def test_finds_its_entry_in_the_list_or_touches_nothing(machine):
    kernel = Kernel(machine)
    store = [Store('word', kernel.address(0), 0, 7)]
    assert kernel.run(kernel.base + 2000, [], store) == store_code.ABSENT
    assert [kernel.run(node, [], []) for node in kernel.nodes] == [store_code.DONE] * 3


def test_a_list_without_an_end_is_left(machine):
    kernel = Kernel(machine)
    kernel.put(NODES, kernel.base + NODES)
    assert kernel.run(kernel.nodes[2], [], []) == store_code.ABSENT


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORD, min_size=1, max_size=6), masks=st.lists(WORD, min_size=6, max_size=6),
       wrong=st.lists(WORD, min_size=6, max_size=6))
def test_compares_under_the_mask(machine, words, masks, wrong):
    kernel = Kernel(machine)
    compares = []
    differing = []
    for index, word in enumerate(words):
        kernel.put(WORDS + 8 * index, word)
        compares.append(Compare(str(index), kernel.address(index), wrong[index], masks[index]))
        if word & masks[index] != wrong[index] & masks[index]:
            differing.append(index)
    error = kernel.run(kernel.nodes[1], compares, [])
    assert error == (store_code.DIFFERS + differing[0] if differing else store_code.DONE)
    assert [kernel.word(index) for index in range(len(words))] == words
    expected = ('differs', str(differing[0])) if differing else ('done', None)
    assert store_code.answer(error, compares, []) == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORD, min_size=1, max_size=6), values=st.lists(WORD, min_size=6, max_size=6),
       sizes=st.lists(st.sampled_from([4, 8]), min_size=6, max_size=6), taken=st.integers(min_value=0, max_value=8))
def test_stores_all_or_nothing(machine, words, values, sizes, taken):
    kernel = Kernel(machine)
    stores = []
    wanted = []
    for index, word in enumerate(words):
        kernel.put(WORDS + 8 * index, word)
        expected = word ^ 1 if index == taken else word
        stores.append(Store(str(index), kernel.address(index), expected, values[index], sizes[index]))
        low = (1 << 8 * sizes[index]) - 1
        wanted.append(word & ~low | values[index] & low)
    error = kernel.run(kernel.nodes[0], [], stores)
    held = [kernel.word(index) for index in range(len(words))]
    if taken < len(words):
        assert (error, held) == (store_code.TAKEN + taken, words)
        assert store_code.answer(error, [], stores) == ('taken', str(taken))
    else:
        assert (error, held) == (store_code.DONE, wanted)


@pytest.mark.parametrize('name', ['a', 'seven77', 'eight888', 'nine99999', 'n' * 55])
def test_text_is_compared_with_its_end(machine, name):
    kernel = Kernel(machine)

    def answers(text):
        kernel.memory[WORDS:WORDS + 64] = text.encode() + b'\0' + b'x' * (63 - len(text))
        return kernel.run(kernel.nodes[0], store_code.text_of(kernel.address(0), name.encode(), 56, 'name'), [])

    assert answers(name) == store_code.DONE
    assert answers(name[:-1]) >= store_code.DIFFERS
    assert answers(name + 'x') >= store_code.DIFFERS
    assert answers('x' + name[1:]) >= store_code.DIFFERS


def test_an_errno_of_the_kernel_is_no_answer():
    assert store_code.answer(8, [], []) == ('error', None)
    assert store_code.answer(store_code.DIFFERS, [], []) == ('error', None)
