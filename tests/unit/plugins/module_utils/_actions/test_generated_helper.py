# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper that Python writes: its file as pyelftools sees it, its init run on a struct module in memory of ours."""

import ctypes
import errno
import io
import mmap
import os
import struct

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import generated_helper
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_file, struct_module
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import store_code, writer
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_RELOC_TYPE_AARCH64, ENUM_RELOC_TYPE_x64

RELEASE = '6.1.0-50-amd64'
VERMAGIC = RELEASE + ' SMP preempt mod_unload modversions '
DONOR = generated_helper.Donor('power.ko', VERMAGIC, 'x86_64', 896, 312, 848, 0x90634e5f)
DIED = {'state': 'coming', 'refcount': 2, 'init': builders.INIT, 'exit': builders.EXIT}
MENDED = {'state': 'live', 'refcount': 1, 'init': 0, 'exit': 0}
ADDRESS = {'x86_64': ENUM_RELOC_TYPE_x64['R_X86_64_64'], 'aarch64': ENUM_RELOC_TYPE_AARCH64['R_AARCH64_ABS64']}
TRAMPOLINES = ('.plt', '.init.plt', '.text.ftrace_trampoline', '.init.text.ftrace_trampoline')
needs_code = pytest.mark.skipif(os.uname().machine != 'x86_64', reason='the code is for x86-64')


def donor_tree(tmp_path, names, release=RELEASE):
    """A root with a kernel's tree of modules, each a real file of the kernel 6.1."""
    tree = tmp_path / 'lib/modules' / release
    (tree / 'kernel').mkdir(parents=True)
    (tree / 'modules.dep').write_text(''.join('kernel/%s: kernel/other.ko\n' % name for name in names))
    for name in names:
        source = builders.MODULE_FILES / (name.split('.')[0] + '-6.1.ko.xz')
        (tree / 'kernel' / (name.split('.')[0] + '.ko.xz')).write_bytes(source.read_bytes())
    return str(tmp_path)


def test_a_donor_is_a_module_of_this_kernel_with_an_init_and_an_exit(tmp_path):
    release = module_file.read(str(builders.MODULE_FILES / 'healthy-6.1.ko.xz'))['release']
    root = donor_tree(tmp_path, ['no_exit.ko.xz', 'healthy.ko.xz'], release)
    donor = generated_helper.find_donor(release, root)
    assert donor.path.endswith('healthy.ko.xz')
    assert (donor.size, donor.init, donor.exit) == (896, 312, 848)
    assert donor.vermagic.startswith(release)
    assert donor.crc


def test_without_a_donor_it_says_why(tmp_path):
    with pytest.raises(KmodError, match=r'modules\.dep'):
        generated_helper.find_donor(RELEASE, str(tmp_path))
    root = donor_tree(tmp_path, ['healthy.ko.xz'], 'another')
    with pytest.raises(KmodError, match='with an init and an exit'):
        generated_helper.find_donor('another', root)
    (tmp_path / 'lib/modules/another/kernel/healthy.ko.xz').write_bytes(b'garbage')
    with pytest.raises(KmodError, match='learn its layout'):
        generated_helper.find_donor('another', root)


@pytest.mark.parametrize('crc', [DONOR.crc, None])
@pytest.mark.parametrize('machine', ['x86_64', 'aarch64'])
def test_the_file_is_what_the_loader_asks_for(machine, crc):
    image = generated_helper.write(DONOR._replace(machine=machine, crc=crc), b'table')
    found = module_file.describe(image, 'written')
    assert (found['name'], found['vermagic'], found['crc']) == ('kmod_reset', VERMAGIC, crc)
    assert (found['layout']['size'], found['layout']['init'], found['layout']['exit']) == (896, 312, None)
    elf = ELFFile(io.BytesIO(image))
    assert (elf['e_type'], elf['e_machine'], elf['e_shentsize']) == ('ET_REL', 'EM_' + machine.upper(), 64)
    this_module = elf.get_section_by_name('.gnu.linkonce.this_module')
    assert this_module.data()[24:35] == b'kmod_reset\0'
    assert set(this_module.data()[:24] + this_module.data()[35:]) == {0}
    names = {symbol.name: elf.get_section(symbol['st_shndx']).name for symbol in
             elf.get_section_by_name('.symtab').iter_symbols() if symbol.name}
    assert names == {'init_module': '.init.text', 'kmod_reset_table': '.data',
                     '__this_module': '.gnu.linkonce.this_module'}
    assert b'license=GPL\0' in elf.get_section_by_name('.modinfo').data()
    places = [elf.get_section_by_name(name) for name in TRAMPOLINES]
    assert [place is not None for place in places] == [machine == 'aarch64'] * 4
    relocation, = elf.get_section_by_name('.rela.init.text').iter_relocations()
    assert relocation['r_info_type'] == ADDRESS[machine]
    for section in elf.iter_sections():
        assert not section['sh_addralign'] or section['sh_offset'] % section['sh_addralign'] == 0
        assert section['sh_offset'] + section['sh_size'] <= len(image)


def test_another_machine_is_named():
    with pytest.raises(KmodError, match='riscv64'):
        generated_helper.write(DONOR._replace(machine='riscv64'), b'')


def test_strings_are_shared():
    section = writer.Section('.data', b'x', writer.ALLOC)
    symbols = [writer.Symbol('same', '.data', writer.OBJECT)] * 2
    assert writer.relocatable(62, [section], symbols, []).count(b'same\0') == 1


class Kernel:
    """Memory of our own with a module in a list; loads a written helper as the kernel does, and runs it."""

    def __init__(self, name='foo', **entry):
        self.memory = mmap.mmap(-1, 1 << 16, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.modules, self.module = self.base, self.base + 512
        self.link(self.modules, self.module + 8)
        self.link(self.module + 8, self.modules)
        self.memory[512 + 24:512 + 80] = name.encode().ljust(56, b'\0')
        self.put(dict(DIED, **entry))
        self.loads = 0

    def link(self, node, following):
        struct.pack_into('<Q', self.memory, node - self.base, following)

    def put(self, entry):
        struct.pack_into('<I', self.memory, 512, struct_module.STATES.index(entry['state']))
        struct.pack_into('<Q', self.memory, 512 + DONOR.init, entry['init'])
        struct.pack_into('<QI', self.memory, 512 + DONOR.exit, entry['exit'], entry['refcount'])

    def entry(self):
        state, = struct.unpack_from('<I', self.memory, 512)
        init, = struct.unpack_from('<Q', self.memory, 512 + DONOR.init)
        leave, refcount = struct.unpack_from('<Qi', self.memory, 512 + DONOR.exit)
        return {'state': struct_module.STATES[state], 'refcount': refcount, 'init': init, 'exit': leave}

    def read(self, address, _name, _root, _memory):
        assert address == self.module
        return dict(self.entry(), module=address, source='kcore')

    def init_module(self, image, parameters):
        assert parameters == ''
        self.loads += 1
        elf = ELFFile(io.BytesIO(image))
        places, at = {}, 8192
        for index, section in enumerate(elf.iter_sections()):
            if section['sh_flags'] & 2:
                at += -at % section['sh_addralign']
                places[index] = at
                self.memory[at:at + section['sh_size']] = section.data()
                at += section['sh_size']
        symbols = list(elf.get_section_by_name('.symtab').iter_symbols())
        for section in elf.iter_sections():
            if section['sh_type'] == 'SHT_RELA':
                for relocation in section.iter_relocations():
                    assert relocation['r_info_type'] == 1  # R_X86_64_64
                    value = self.base + places[symbols[relocation['r_info_sym']]['st_shndx']]
                    where = places[section['sh_info']] + relocation['r_offset']
                    assert self.memory[where:where + 8] == bytes(8)  # as the kernel asks
                    struct.pack_into('<Q', self.memory, where, value)
        this_module = places[elf.get_section_index('.gnu.linkonce.this_module')]
        init, = struct.unpack_from('<Q', self.memory, this_module + DONOR.init)
        return -ctypes.CFUNCTYPE(ctypes.c_int)(init)()


@pytest.fixture
def kernel(monkeypatch):
    found = Kernel()
    monkeypatch.setattr(loader_syscalls, 'init_module', found.init_module)
    monkeypatch.setattr(struct_module, 'read', found.read)
    return found


def target(kernel, name='foo'):
    return generated_helper.Target(name, kernel.module, {'modules': kernel.modules}, DONOR)


@needs_code
def test_writes_what_was_asked_and_reports_what_it_saw(kernel):
    report = target(kernel).store(DIED, MENDED, {}, 'tasks')
    assert kernel.entry() == MENDED
    assert (report['found'], report['left'], report['loader']) == (DIED, MENDED, 'not_asked')


@needs_code
@pytest.mark.parametrize('changed', [{'state': 'live'}, {'refcount': 3}, {'init': 0}, {'exit': 0}])
def test_what_changed_meanwhile_is_named_and_nothing_written(kernel, changed):
    kernel.put(dict(DIED, **changed))
    with pytest.raises(KmodError, match='its {} changed'.format(next(iter(changed)))):
        target(kernel).store(DIED, MENDED, {}, 'tasks')
    assert kernel.entry() == dict(DIED, **changed)


@needs_code
def test_a_module_that_is_gone_or_another_is_not_touched(kernel):
    with pytest.raises(KmodError, match='its name changed'):
        target(kernel, 'fo').store(DIED, MENDED, {}, 'tasks')
    kernel.link(kernel.modules, kernel.modules)
    with pytest.raises(KmodError, match='no longer has it'):
        target(kernel).store(DIED, MENDED, {}, 'tasks')
    assert kernel.entry() == DIED


def test_it_says_that_it_looked_for_nobody_and_that_it_cannot_park(kernel):
    assert 'no stack' in generated_helper.REPORT['look']['reason']
    with pytest.raises(KmodError, match='park foo as foo_parked1'):
        target(kernel).park(DIED, 'foo_parked1', 'nobody')


class Loader:
    """A table of running loads in memory of our own, and a kcore that reads it."""

    def __init__(self, kernel, monkeypatch):
        self.kernel = kernel
        self.parameters = {'idem_hash': kernel.base + 4096, 'idem_buckets': 256}
        self.inside = None
        self.after_reading = None
        monkeypatch.setattr(generated_helper, 'KernelMemory', lambda _root: self)
        monkeypatch.setattr(generated_helper.module_tasks, 'in_system_call', lambda _number, _root: self.inside)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        return None

    @property
    def kcore(self):
        return self

    def read(self, address, size):
        data = ctypes.string_at(address, size)
        if address == self.parameters['idem_hash'] and self.after_reading:
            self.kernel.link(*self.after_reading)
        return data

    def heads(self):
        table = self.kernel.memory[4096:4096 + 8 * 256]
        return {index: head for index, (head,) in enumerate(struct.iter_unpack('<Q', table)) if head}

    def clear(self):
        return generated_helper.Helper(DONOR).clear_loader(self.parameters, {'modules': self.kernel.modules})


@needs_code
def test_stale_entries_of_the_loader_go(kernel, monkeypatch):
    loader = Loader(kernel, monkeypatch)
    assert (loader.clear()['loader'], kernel.loads) == ('clean', 0)
    for index in (0, 17, 255):
        kernel.link(kernel.base + 4096 + 8 * index, 0xff77a3dd40d93958 + index)
    assert set(loader.heads()) == {0, 17, 255}
    report = loader.clear()
    assert (report['loader'], report['buckets'], loader.heads()) == ('cleared', 3, {})


@needs_code
def test_a_load_that_runs_is_left_alone(kernel, monkeypatch):
    loader = Loader(kernel, monkeypatch)
    kernel.link(kernel.base + 4096, 0xff77a3dd40d93958)
    kernel.link(kernel.base + 4096 + 8, 0xff77a3dd40d93958)
    loader.inside = 4711
    report = loader.clear()
    assert (report['loader'], report['loading_pid'], kernel.loads) == ('in_use', 4711, 0)
    loader.inside, loader.after_reading = None, (kernel.base + 4096 + 8, 0xff77a3dd40d00000)
    with pytest.raises(KmodError, match='table of running loads changed'):
        loader.clear()
    assert loader.heads() == {0: 0xff77a3dd40d93958, 1: 0xff77a3dd40d00000}


def test_the_kernels_own_refusal_is_handed_on(kernel, monkeypatch):
    monkeypatch.setattr(loader_syscalls, 'init_module', lambda _image, _parameters: errno.EPERM)
    with pytest.raises(KmodError, match='EPERM'):
        target(kernel).store(DIED, MENDED, {}, 'tasks')


def test_without_kcore_it_does_not_guess(kernel, monkeypatch):
    monkeypatch.setattr(struct_module, 'read', lambda *_arguments: unavailable('lockdown=confidentiality'))
    with pytest.raises(KmodError, match='lockdown=confidentiality'):
        target(kernel).look()


def test_errors_of_the_code_lie_beyond_the_kernels():
    assert max(errno.errorcode) < store_code.ABSENT < store_code.DIFFERS < store_code.TAKEN < 4095 - store_code.MOST
