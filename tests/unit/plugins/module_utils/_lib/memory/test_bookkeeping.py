# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel keeps of every module, and lets go of with it, is no way into one, on the layouts of six kernels."""

import struct

import pytest
import reached_kernel as made
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import slab
from kernel_memory import PAGE, write_files
from reached_kernel import FUNCTION, IMAGE, OBJECT, OTHER, SLAB, ReachedKernel, linear

kernel = made.each_kernel


@pytest.mark.parametrize(('users', 'answer'), [(0, 'reachable'), (-1 << 31, 'unreachable')], ids=['in use', 'removed'])
def test_a_file_of_proc_that_was_removed_calls_nothing(kernel, tmp_path, monkeypatch, users, answer):
    entry, at = linear(SLAB, 5 * OBJECT), slab.Slabs.object_at
    monkeypatch.setattr(slab.Slabs, 'object_at', lambda slabs, address: at(slabs, address) and at(
        slabs, address)._replace(cache='proc_dir_entry', start=entry, size=4 * OBJECT))
    kernel.memory.write(entry + kernel.types.offset('proc_dir_entry', 'in_use'), struct.pack('<i', users))
    kernel.memory.u64(entry + kernel.types.offset('proc_dir_entry', 'seq_ops'), FUNCTION)
    found = kernel.find(tmp_path)
    assert found['answer'] == answer
    assert [hit['what'] for hit in found['hits']] == ['proc_dir_entry.seq_ops'] * (answer == 'reachable')


def test_whoever_uses_the_module_is_the_kernels_book_keeping(kernel, tmp_path):
    use, types = linear(SLAB, 7 * OBJECT), kernel.types
    for member, offset in (('source_list', 0), ('target_list', 16)):
        head = made.THIS + types.offset('module', member)
        kernel.memory.u64(use + offset, head)
        kernel.memory.u64(use + offset + 8, head)
        kernel.memory.u64(head, use + offset)
        kernel.memory.u64(head + 8, use + offset)
    kernel.memory.u64(use + types.offset('module_use', 'target'), made.THIS)
    assert kernel.find(tmp_path)['answer'] == 'unreachable'


def symbol(monkeypatch, name, address):
    monkeypatch.setattr(made, 'SYMBOLS', dict(made.SYMBOLS, **{name: address}))


def test_where_its_functions_can_be_traced_is_the_kernels_book_keeping(kernel, tmp_path, monkeypatch):
    page, records, types = linear(SLAB, 8 * OBJECT), linear(made.PLAIN), kernel.types
    symbol(monkeypatch, 'ftrace_pages_start', IMAGE + 0x960)
    kernel.memory.u64(records + 0x10, FUNCTION)
    assert kernel.find(tmp_path)['answer'] == 'reachable'
    kernel.memory.u64(IMAGE + 0x960, page)
    kernel.memory.u64(page + types.offset('ftrace_page', 'records'), records)
    if kernel.types.has('ftrace_page', 'size'):
        kernel.memory.u32(page + types.offset('ftrace_page', 'size'), 16)
    assert kernel.find(tmp_path)['answer'] == 'unreachable'


def test_the_headers_of_a_livepatch_name_its_freed_init_where_another_lies(kernel, tmp_path):
    types, info, headers = kernel.types, linear(SLAB, 5 * OBJECT), linear(SLAB, 7 * OBJECT)
    if not types.has('module', 'klp_info'):
        pytest.skip('a kernel without livepatches')
    kernel.memory.u64(headers + 0x10, FUNCTION)
    kernel.memory.u64(made.OTHER + PAGE + 0xf00 + 8, FUNCTION)
    assert kernel.find(tmp_path / 'of nobody')['count'] == 2
    kernel.memory.u64(made.OTHER_STRUCT + types.offset('module', 'klp_info'), info)
    kernel.memory.u64(info + types.offset('klp_modinfo', 'sechdrs'), headers)
    table = linear(SLAB, 9 * OBJECT)
    kernel.memory.u64(made.OTHER_STRUCT + types.offset('module', 'kallsyms'), table)
    kernel.memory.u64(table + types.offset('mod_kallsyms', 'symtab'), made.OTHER + PAGE + 0xf00)
    kernel.memory.u32(table + types.offset('mod_kallsyms', 'num_symtab'), 2)
    assert kernel.find(tmp_path / 'of a livepatch')['answer'] == 'unreachable'


@pytest.mark.parametrize(('operations', 'name', 'member'), [
    ('param_ops_string', 'kparam_string', 'string'), ('param_array_ops', 'kparam_array', 'elem'), ('', '', '')])
def test_a_parameter_that_sysfs_lacks_names_its_value_in_a_freed_init(
        kernel, tmp_path, monkeypatch, operations, name, member):
    types, parameter, value = kernel.types, OTHER + PAGE + 0xe00, OTHER + PAGE + 0xf00
    symbol(monkeypatch, operations or 'param_ops_int', IMAGE + 0x970)
    kernel.memory.u64(made.OTHER_STRUCT + types.offset('module', 'kp'), parameter)
    kernel.memory.u32(made.OTHER_STRUCT + types.offset('module', 'num_kp'), 1)
    kernel.memory.u64(parameter + types.offset('kernel_param', 'ops'), IMAGE + 0x970)
    argument = parameter + types.offset('kernel_param', 'arg')
    kernel.memory.u64(argument, value if name else FUNCTION)
    if name:
        kernel.memory.u64(value + types.offset(name, member), FUNCTION)
    assert kernel.find(tmp_path / 'hidden')['answer'] == 'unreachable'
    kernel.memory.write(parameter + types.offset('kernel_param', 'perm'), struct.pack('<H', 0o444))
    assert kernel.find(tmp_path / 'shown')['answer'] == 'reachable'


def test_the_enums_of_trace_events_lie_in_a_freed_init(kernel, tmp_path):
    types, table = kernel.types, OTHER + PAGE + 0xe00
    kernel.memory.u64(table, FUNCTION)
    assert kernel.find(tmp_path / 'of nobody')['answer'] == 'reachable'
    kernel.memory.u64(made.OTHER_STRUCT + types.offset('module', 'trace_evals'), table)
    kernel.memory.u32(made.OTHER_STRUCT + types.offset('module', 'num_trace_evals'), 1)
    assert kernel.find(tmp_path / 'of trace events')['answer'] == 'unreachable'


def test_what_a_dead_init_would_have_given_back_is_the_kernels_book_keeping(kernel, tmp_path):
    members = [member for member in ('module_init', 'init_text', 'init_data')
               if kernel.types.has('mod_initfree', member)]
    for member in members:
        kernel.memory.u64(linear(SLAB, 8 * OBJECT) + kernel.types.offset('mod_initfree', member), made.CODE)
    assert kernel.find(tmp_path)['answer'] == 'unreachable'
    kernel.memory.u64(linear(SLAB, 8 * OBJECT) + kernel.types.offset('mod_initfree', members[0]), FUNCTION)
    assert kernel.find(tmp_path)['answer'] == 'reachable'


def test_the_end_of_its_code_in_a_tree_of_areas_is_the_kernels_book_keeping(tmp_path):
    kernel = ReachedKernel('linux-7.3')
    kernel.slab(SLAB, linear(made.CACHES, 0x100), 'maple_node', 256)
    kernel.memory.u64(linear(SLAB, 0x18), made.CODE + PAGE - 1)
    assert kernel.find(tmp_path)['answer'] == 'unreachable'
    kernel.memory.u64(linear(SLAB, 0x20), FUNCTION)
    assert kernel.find(tmp_path)['answer'] == 'reachable'


@pytest.mark.parametrize('at', [0x28, 0x30])
def test_a_table_of_the_room_before_functions_names_those_of_a_freed_init(tmp_path, at):
    kernel = ReachedKernel('linux-6.12')
    write_files(tmp_path, {'sys/module/other/sections/.data': f'{OTHER + PAGE:#x}\n',
                           'sys/module/other/sections/__patchable_function_entries': f'{OTHER + PAGE + 0x20:#x}\n',
                           'sys/module/other/sections/.bss': f'{OTHER + PAGE + 0x30:#x}\n'})
    kernel.memory.u64(OTHER + PAGE + at, FUNCTION)
    assert kernel.find(tmp_path)['answer'] == ('unreachable' if at == 0x28 else 'reachable')
