# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What in a kernel's memory points into a module, and what only looks like it, on the layouts of six kernels."""

import struct

import pytest
import reached_kernel as made
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import freed_init, in_use, sweep, vmalloc
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_memory import PAGE
from reached_kernel import AREA, FUNCTION, IMAGE, OBJECT, OTHER, SLAB, STACK, ReachedKernel, linear, places, write

kernel = made.each_kernel


def test_nothing_points_into_an_idle_module(kernel, tmp_path):
    answer = kernel.find(tmp_path)
    assert (answer['answer'], answer['hits'], answer['count']) == ('unreachable', [], 0)
    assert answer['bytes'] > 2 * 4 * PAGE
    assert 'no word of kernel memory points into stuck' in answer['reason']


def test_an_object_in_use_is_told_with_its_cache_and_what_it_points_to(kernel, tmp_path):
    kernel.memory.u64(linear(SLAB, 5 * OBJECT + 0x18), FUNCTION)
    answer = kernel.find(tmp_path)
    assert answer['answer'] == 'reachable'
    assert answer['hits'] == [{'place': 'a kmalloc-64 object', 'address': f'{linear(SLAB, 5 * OBJECT + 0x18):#x}',
                               'target': 'f_call', 'what': ''}]
    assert answer['reason'] == 'a kmalloc-64 object points to f_call of stuck'


def test_a_work_item_is_named_by_what_stands_beside_its_function(kernel, tmp_path):
    work, types = linear(SLAB, 5 * OBJECT), kernel.types
    entry = work + types.offset('work_struct', 'entry')
    kernel.memory.u64(entry, entry)
    kernel.memory.u64(entry + 8, entry)
    kernel.memory.u64(work + types.offset('work_struct', 'func'), FUNCTION)
    assert kernel.find(tmp_path)['reason'] == 'work_struct.func in a kmalloc-64 object points to f_call of stuck'


def test_what_is_no_function_is_no_work_item_s(kernel, tmp_path):
    work, types = linear(SLAB, 5 * OBJECT), kernel.types
    entry = work + types.offset('work_struct', 'entry')
    kernel.memory.u64(entry, entry)
    kernel.memory.u64(entry + 8, entry)
    kernel.memory.u64(work + types.offset('work_struct', 'func'), made.DATA)
    assert kernel.find(tmp_path)['hits'][0]['what'] == ''


@pytest.mark.parametrize('at', [0x19, 0x1c, 0x1f, OBJECT - 3, PAGE - 5 * OBJECT - 3])
def test_a_word_at_any_address_counts(kernel, tmp_path, at):
    kernel.memory.u64(linear(SLAB, 5 * OBJECT + at), FUNCTION)
    assert kernel.find(tmp_path)['hits'][0]['address'] == f'{linear(SLAB, 5 * OBJECT + at):#x}'


@pytest.mark.parametrize('at_most', ['AT_ONCE', 'PIECE'])
def test_a_word_counts_that_lies_over_the_end_of_what_is_read_at_once(at_most, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, at_most, PAGE // 4)
    kernel = ReachedKernel('linux-6.12')
    kernel.memory.u64(linear(SLAB, PAGE // 2 - 5), FUNCTION)
    assert kernel.find(tmp_path)['count'] == 1


def test_a_pointer_into_the_middle_of_its_data_counts(kernel, tmp_path):
    kernel.memory.u64(linear(SLAB), made.DATA + 0x129)
    assert kernel.find(tmp_path)['hits'][0]['target'] == 'f_data+0x129'


def test_what_holds_its_directory_in_sysfs_would_keep_the_unload_waiting(kernel, tmp_path):
    types = kernel.types
    kobject = made.THIS + types.offset('module', 'mkobj') + types.offset('module_kobject', 'kobj')
    kernel.memory.u64(made.THIS + types.offset('module', 'holders_dir'), linear(SLAB))
    for count, answer in ((2, 'unreachable'), (3, 'unknown')):
        kernel.memory.write(kobject + types.offset('kobject', 'kref'), struct.pack('<I', count))
        found = kernel.find(tmp_path / str(count))
        assert found['answer'] == answer, found
    assert found['reason'].endswith('(references to its kobject: 1)')


@pytest.mark.parametrize(('called', 'answer'), [(0, 'unreachable'), (8, 'reachable')], ids=['by RCU', 'by another'])
@pytest.mark.parametrize('member', ['start_addr', 'end_addr'])
def test_where_the_init_of_one_that_has_gone_was_does_not_count(kernel, tmp_path, monkeypatch, called, answer, member):
    """Until RCU frees what the kernel kept of it: another module lies there."""
    frees, start = made.IMAGE - 0x100, linear(made.CACHES, 0xc00)
    monkeypatch.setattr(made, 'SYMBOLS', dict(made.SYMBOLS, ftrace_free_mod_map=frees))
    kernel.flags[made.PLAIN - made.FIRST] = 1 << 7
    kernel.slab(made.PLAIN, start, 'kmalloc-96', 96)
    place, types = linear(made.PLAIN, 2 * 96), kernel.types
    kernel.memory.u64(place + types.offset('ftrace_mod_map', member), FUNCTION)
    kernel.memory.u64(place + types.offset('ftrace_mod_map', 'rcu') + types.offset('callback_head', 'func'),
                      frees + called)
    assert kernel.find(tmp_path)['answer'] == answer


@pytest.mark.parametrize(('called', 'before', 'module', 'answer'), [
    (0, freed_init.LIST_POISON2, made.THIS + 0x4000, 'unreachable'), (0, 0, made.THIS + 0x4000, 'reachable'),
    (0, freed_init.LIST_POISON2, made.THIS, 'reachable'),
    (made.IMAGE, freed_init.LIST_POISON2, made.THIS + 0x4000, 'reachable'),
], ids=['RCU has called', 'on its list', 'of one that is loaded', 'something else is called'])
def test_what_rcu_has_called_is_told_by_its_list(kernel, tmp_path, monkeypatch, called, before, module, answer):
    """RCU forgets whom it called, and the slab changes too fast to tell whether the record is free by now."""
    start, types = linear(made.CACHES, 0xc00), kernel.types
    monkeypatch.setattr(made, 'SYMBOLS', dict(made.SYMBOLS, ftrace_free_mod_map=made.IMAGE - 0x100))
    kernel.flags[made.PLAIN - made.FIRST] = 1 << 7
    kernel.slab(made.PLAIN, start, 'kmalloc-96', 96)
    place = linear(made.PLAIN, 2 * 96)
    for member, value in (('start_addr', FUNCTION), ('mod', module)):
        kernel.memory.u64(place + types.offset('ftrace_mod_map', member), value)
    kernel.memory.u64(place + types.offset('ftrace_mod_map', 'list') + types.offset('list_head', 'prev'), before)
    kernel.memory.u64(place + types.offset('ftrace_mod_map', 'rcu') + types.offset('callback_head', 'func'), called)
    assert kernel.find(tmp_path)['answer'] == answer


def test_data_of_each_processor_may_be_reached_by_an_offset(kernel, tmp_path):
    start = 0x1234
    kernel.memory.u64(made.SYMBOLS['__per_cpu_offset'], (linear(made.PLAIN) - start) % (1 << 64))
    kernel.memory.u64(made.THIS + kernel.types.offset('module', 'percpu'), start)
    kernel.memory.u32(made.THIS + kernel.types.offset('module', 'percpu_size'), 64)
    answer = kernel.find(tmp_path)
    assert answer['answer'] == 'unknown'
    assert 'offset, which looks like any number' in answer['reason']


def test_pages_of_the_kernel_count(kernel, tmp_path):
    kernel.memory.u64(linear(made.PLAIN, 0x40), FUNCTION)
    assert places(kernel.find(tmp_path)) == ['a page of the kernel']


@pytest.mark.parametrize('own', [made.DATA, made.CODE], ids=['whose page is told', 'whose page is not'])
def test_a_page_that_is_all_but_empty_is_not_taken_for_one_of_the_modules(kernel, tmp_path, own):
    """Both hold the same word at the same place, and next to nothing besides."""
    kernel.memory.u64(own + 0x50, FUNCTION)
    kernel.memory.u64(linear(made.PLAIN, 0x50), FUNCTION)
    assert places(kernel.find(tmp_path)) == ['a page of the kernel']


def test_the_kernels_own_data_is_named(kernel, tmp_path):
    kernel.memory.u64(made.SYMBOLS['some_list'] + 8, FUNCTION)
    answer = kernel.find(tmp_path)
    assert (answer['answer'], places(answer)) == ('reachable', ['some_list+0x8'])


def test_the_kernels_own_data_is_named_where_it_has_an_area(kernel, tmp_path, monkeypatch):
    """As AArch64 has for each part of its image."""
    monkeypatch.setattr(made, 'SYMBOLS', dict(made.SYMBOLS, _text=OTHER + PAGE, some_notifiers=OTHER + PAGE + 0x40,
                                              _end=OTHER + 2 * PAGE))
    monkeypatch.setattr(made, 'OTHER_PAGES', 1)
    kernel.memory.u64(OTHER + PAGE + 0x48, FUNCTION)
    assert places(kernel.find(tmp_path)) == ['some_notifiers+0x8']


def test_where_no_data_are_listed_it_is_searched_and_they_have_no_name(kernel, tmp_path):
    """As on Debian 12's kernel for AArch64: what counts is the same, and what the kernel keeps counts, too."""
    kernel.lists_data = False
    kernel.memory.u64(IMAGE + 0x900, FUNCTION)
    assert places(kernel.find(tmp_path)) == ["the kernel's data"]


@pytest.mark.parametrize(('reader', 'place'), [('vread', []), ('vread_iter', ['memory mapped page by page'])])
def test_what_is_mapped_besides_is_read_where_that_cannot_kill_the_host(kernel, tmp_path, monkeypatch, reader, place):
    monkeypatch.setattr(made, 'SYMBOLS', dict(made.SYMBOLS, **{reader: IMAGE + 0xe00}))
    monkeypatch.setattr(made, 'OTHER_PAGES', 1)
    described = kernel.described(OTHER)
    kernel.memory.u64(described + kernel.types.offset('vm_struct', 'flags'), 4)
    kernel.memory.u64(OTHER + PAGE + 0x48, FUNCTION)
    assert places(kernel.find(tmp_path)) == place


def test_a_list_that_changes_while_it_is_walked_is_walked_again(kernel, tmp_path, monkeypatch):
    """Else what describes the module's own memory would be taken for somebody who can reach it."""
    walk, torn = vmalloc.areas, []

    def areas(*arguments):
        for number, area in enumerate(walk(*arguments)):
            if number == 2 and not torn:
                torn.append(area)
                raise KmodError('walk', 'it changed')
            yield area

    monkeypatch.setattr(vmalloc, 'areas', areas)
    assert kernel.find(tmp_path)['answer'] == 'unreachable'
    assert torn


def test_another_modules_data_counts_and_its_struct_module_does_not(kernel, tmp_path):
    kernel.memory.u64(made.OTHER_STRUCT + kernel.types.offset('module', 'list'), made.THIS + 8)
    assert kernel.find(tmp_path)['answer'] == 'unreachable'
    kernel.memory.u64(OTHER + PAGE + 0x800, FUNCTION)
    assert places(kernel.find(tmp_path)) == ['memory of other']


def test_a_stack_counts_as_far_as_it_is_in_use(kernel, tmp_path):
    kernel.memory.u64(STACK + PAGE, FUNCTION + 3)
    assert kernel.find(tmp_path)['answer'] == 'unreachable'
    kernel.memory.u64(STACK + 3 * PAGE, FUNCTION + 3)
    answer = kernel.find(tmp_path)
    assert [(hit['place'], hit['target']) for hit in answer['hits']] == [('stack of sleeper (pid 77)', 'f_call+0x3')]


def test_a_search_that_comes_to_no_end_tells_nothing(kernel, tmp_path):
    answer = kernel.find(tmp_path, seconds=-1)
    assert answer['answer'] == 'unknown'
    assert 'MB of kernel memory were read in the time given' in answer['reason']


@pytest.mark.parametrize(('member', 'value', 'why'), [
    ('unfinished', 'only 1 of 2 MB', 'only 1 of 2 MB'), ('unread', 8 << 10, '8 KB of kernel memory could not be read')])
def test_nor_does_one_that_could_not_be_done_again(kernel, tmp_path, monkeypatch, member, value, why):
    first, swept = sweep.sweep, []

    def later(*arguments):
        swept.append(first(*arguments))
        return swept[-1]._replace(**{member: value}) if len(swept) == 2 else swept[-1]

    monkeypatch.setattr(sweep, 'sweep', later)
    answer = kernel.find(tmp_path)
    assert (answer['answer'], why in answer['reason']) == ('unknown', True)


def test_areas_that_cannot_be_do_not_fill_the_memory(kernel, tmp_path):
    first = AREA + kernel.types.offset('vmap_area', 'va_start')
    kernel.memory.u64(first, 1)
    answer = kernel.find(tmp_path)
    assert (answer['answer'], 'more than 8 TB of it mapped' in answer['reason']) == ('unknown', True)


@pytest.mark.parametrize(('path', 'why'), [
    ('proc/kpageflags', 'find what the pages are used for'), ('proc/kcore', 'read kernel memory')])
def test_what_cannot_be_read_tells_nothing(kernel, tmp_path, path, why, monkeypatch):
    root = kernel.root

    def without(directory):
        found = root(directory)
        (directory / path).unlink()
        return found

    monkeypatch.setattr(kernel, 'root', without)
    answer = kernel.find(tmp_path)
    assert (answer['answer'], why in answer['reason']) == ('unknown', True)


TORN = st.lists(st.tuples(st.integers(0, made.FRAMES * PAGE // 8 - 1), st.sampled_from([
    0, 1, FUNCTION, made.THIS, linear(SLAB), linear(made.CACHES), IMAGE, (1 << 64) - 1, 0xFFFF800000000000])),
    max_size=400)


@given(TORN, st.booleans(), st.integers(0, 1 << 32))
@settings(max_examples=25)
def test_torn_memory_gives_an_answer(tmp_path_factory, torn, of_pages, size):
    kernel = ReachedKernel('linux-6.12')
    for word, value in torn:
        kernel.memory.u64(linear(made.FIRST) + 8 * word, value)
        if of_pages:
            kernel.memory.u64(made.PAGES + made.FIRST * 64 + 8 * (word % 512), value)
    kernel.memory.write(linear(made.CACHES, 0x100) + kernel.types.offset('kmem_cache', 'size'),
                        struct.pack('<I', size & 0xFFFFFFFF))
    answer = kernel.find(tmp_path_factory.mktemp('torn'))
    assert answer['answer'] in ('reachable', 'unreachable', 'unknown')
    assert answer['reason']


@pytest.mark.parametrize('symbols', [
    {}, {'_stext': IMAGE - PAGE}, {'_stext': IMAGE - (1 << 30)}, {'_stext': IMAGE + 8}],
    ids=['unknown', 'known', 'far away', 'behind its end'])
def test_what_is_taken_for_code_is_never_the_rest_of_memory(symbols, tmp_path, monkeypatch):
    monkeypatch.setattr(made, 'SYMBOLS', dict(made.SYMBOLS, **symbols))
    kernel = ReachedKernel('linux-6.12')
    kernel.memory.u64(linear(SLAB, 0x18), FUNCTION)
    assert kernel.find(tmp_path)['answer'] == 'reachable'


def test_between_two_words_of_another_modules_data_there_is_none(kernel, tmp_path):
    kernel.memory.u64(OTHER + PAGE + 0x804, FUNCTION)
    assert kernel.find(tmp_path)['answer'] == 'unreachable'


def test_what_looks_like_an_address_in_code_is_none(kernel, tmp_path):
    kernel.memory.u64(OTHER + 0x833, FUNCTION)
    if kernel.has_parts:
        assert kernel.find(tmp_path)['answer'] == 'unreachable'


def test_a_slab_that_is_called_anonymous_is_searched(kernel, tmp_path):
    kernel.flags[SLAB - made.FIRST] = 1 << 7 | 1 << 12 | 1 << 21
    kernel.memory.u64(linear(SLAB, 0x18), FUNCTION)
    assert kernel.find(tmp_path)['answer'] == 'reachable'


def test_where_an_address_stands_is_told_also_in_modules(kernel, tmp_path):
    wanted, other = linear(made.PLAIN, 0x100), linear(made.PLAIN, 0x200)
    places = [linear(SLAB, 2 * OBJECT) + 8, made.DATA + 0x800, OTHER + PAGE + 0x40]
    for place in places:
        kernel.memory.u64(place, wanted)
    kernel.memory.u64(IMAGE + 0x900, wanted + 8)
    found = kernel.holders(tmp_path, [wanted, other])
    assert {address: sorted(where) for address, where in found.items()} == {wanted: sorted(places), other: []}


def test_what_nobody_has_any_more_holds_no_address(kernel, tmp_path):
    kernel.memory.u64(linear(SLAB, 3 * OBJECT) + 16, linear(made.PLAIN))
    kernel.free(3)
    assert kernel.holders(tmp_path, [linear(made.PLAIN)]) == {linear(made.PLAIN): []}


def test_another_modules_directory_is_held_by_what_the_loader_keeps_of_that(kernel, tmp_path, monkeypatch):
    """Of a module such words do not count: they go with it."""
    monkeypatch.setattr(made, 'OTHER_STRUCT', OTHER + PAGE + 0x80)  # among its data
    kernel.module(made.OTHER_STRUCT, 'other', [(OTHER, PAGE), (OTHER + PAGE, PAGE)])
    place, wanted = made.OTHER_STRUCT + kernel.types.offset('module', 'holders_dir'), linear(SLAB, 3 * OBJECT)
    kernel.memory.u64(place, wanted)
    assert kernel.holders(tmp_path, [wanted]) == {wanted: [place]}


def test_what_is_freed_while_it_is_looked_at_is_looked_at_again(kernel, tmp_path, monkeypatch):
    """RCU frees it some moments after it was taken back."""
    place, wanted = linear(SLAB, 3 * OBJECT) + 16, linear(made.PLAIN)
    kernel.memory.u64(place, wanted)
    asked = in_use.InUse.is_there

    def frees_it(self, word):
        write(tmp_path, word.place, 0)
        self._memory.kcore.forget()
        return asked(self, word)

    monkeypatch.setattr(in_use.InUse, 'is_there', frees_it)
    assert kernel.holders(tmp_path, [wanted]) == {wanted: []}


@pytest.mark.parametrize('other', [0, 8], ids=['of its cache', 'of another'])
def test_what_the_allocator_keeps_in_a_sheaf_has_no_object(kernel, tmp_path, other):
    """An object that was free stands there until another takes its place."""
    if not kernel.types.has('slab_sheaf', 'cache'):
        pytest.skip('before 6.18 there are no sheaves')
    sheaf, wanted, at = linear(SLAB, 2 * OBJECT), linear(SLAB, 7 * OBJECT), kernel.types.offset
    kernel.memory.u64(sheaf + at('slab_sheaf', 'cache'), linear(made.CACHES, 0x100) + other)
    place = sheaf + at('slab_sheaf', 'objects') + 8
    kernel.memory.u64(place, wanted)
    assert kernel.holders(tmp_path, [wanted]) == {wanted: [place] if other else []}


def test_where_not_all_memory_was_read_who_has_an_address_is_not_known(kernel, tmp_path):
    with pytest.raises(KmodError, match='see who else has it: .* in the time given'):
        kernel.holders(tmp_path, [linear(made.PLAIN)], seconds=-1)
