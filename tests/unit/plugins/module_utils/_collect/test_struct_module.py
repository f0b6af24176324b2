# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The live struct module, in memory laid out as each of the four kernels has it."""

import struct

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import struct_module
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_memory import ALL_KERNELS, Memory, btf_of, make_root

ADDRESS = 0xFFFFFFFFC0C4FFC0  # across a page boundary
NOWHERE = {'unavailable': 'its struct module holds no pointer to its exit where one may be'}
INIT, EXIT = 0xFFFFFFFFC0C4D010, 0xFFFFFFFFC0C47010


def made(kernel, *, name=b'init_oops', state=1, refcount=2, exit_=EXIT, mkobj_mod=ADDRESS):
    """The bytes of a struct module of this kernel."""
    types = btf_of(kernel)
    data = bytearray(types.size('module'))
    for member, form, value in (('state', '<I', state), ('name', '56s', name), ('mkobj.mod', '<Q', mkobj_mod),
                                ('init', '<Q', INIT), ('exit', '<Q', exit_), ('refcnt', '<i', refcount)):
        struct.pack_into(form, data, types.offset('module', member), value)
    return bytes(data)


def root_with(directory, kernel, data):
    """A root whose kernel memory holds the data at ADDRESS."""
    memory = Memory()
    memory.write(ADDRESS, data)
    return make_root(directory, kernel, memory)


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_the_layout(tmp_path, kernel):
    types = btf_of(kernel)
    assert struct_module.layout(make_root(tmp_path, kernel)) == {
        'size': types.size('module'), 'state': 0, 'list': 8, 'name': 24,
        'mkobj_mod': types.offset('module', 'mkobj.mod'),
        'init': types.offset('module', 'init'), 'exit': types.offset('module', 'exit'),
        'refcount': types.offset('module', 'exit') + 8, 'source': 'btf',
    }


# As the faults look: dead in init, dead in exit, leaked references, no exit function, being made.
@pytest.mark.parametrize('seen', [
    (1, 'coming', 2, EXIT), (2, 'going', 0, EXIT), (0, 'live', 8, EXIT), (0, 'live', 1, 0), (3, 'unformed', 0, 0),
    (0, 'live', -3, EXIT),
])
@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_each_state(tmp_path, kernel, seen):
    state, name, refcount, exit_ = seen
    root = root_with(tmp_path, kernel, made(kernel, state=state, refcount=refcount, exit_=exit_))
    assert struct_module.read(ADDRESS, 'init_oops', root) == {
        'module': ADDRESS, 'state': name, 'refcount': refcount, 'init': INIT, 'exit': exit_, 'source': 'kcore',
    }


@pytest.mark.parametrize(('changes', 'why'), [
    ({'name': b'exit_oops'}, 'the name there is'), ({'name': b'init_oops\xff'}, 'the name there is'),
    ({'name': b''}, 'the name there is'),
    ({'name': b'init_oops' * 6}, 'the name there is'), ({'mkobj_mod': ADDRESS + 64}, 'not its own address'),
    ({'mkobj_mod': 0}, 'not its own address'), ({'state': 77}, 'its state is 77'),
])
def test_what_is_not_the_module_is_not_believed(tmp_path, changes, why):
    root = root_with(tmp_path, 'linux-6.1', made('linux-6.1', **changes))
    assert why in struct_module.read(ADDRESS, 'init_oops', root)['unavailable']


@pytest.mark.parametrize(('address', 'why'), [
    (0, 'kptr_restrict=2'), (None, 'not known'), (unavailable('sections: Permission denied'), 'Permission denied'),
    (0x1000, 'no segment'),
])
def test_an_address_that_is_none(tmp_path, address, why):
    root = root_with(tmp_path, 'linux-6.1', made('linux-6.1'))
    assert why in struct_module.read(address, 'init_oops', root)['unavailable']


def test_without_btf_or_kcore_the_reason_is_given(tmp_path):
    bare = make_root(tmp_path / 'bare')
    assert 'CONFIG_DEBUG_INFO_BTF' in struct_module.layout(bare)['unavailable']
    assert 'CONFIG_DEBUG_INFO_BTF' in struct_module.read(ADDRESS, 'init_oops', bare)['unavailable']
    typed = make_root(tmp_path / 'typed', 'linux-6.12')
    assert struct_module.layout(typed)['source'] == 'btf'
    assert 'CONFIG_PROC_KCORE' in struct_module.read(ADDRESS, 'init_oops', typed)['unavailable']


def test_shared_memory_stays_open(tmp_path):
    with KernelMemory(root_with(tmp_path, 'linux-7.3', made('linux-7.3'))) as memory:
        for dummy in range(2):
            assert struct_module.read(ADDRESS, 'init_oops', memory=memory)['state'] == 'coming'
        assert struct_module.layout(memory=memory)['size'] == 1280


@pytest.mark.parametrize(('kernel', 'lies_at', 'expected'), [
    ('linux-6.1', 864, {'module': 864, 'kernel': 848}),
    ('linux-7.3', 1224, {'module': 1224, 'kernel': 1208}),
    ('linux-6.1', None, NOWHERE), ('linux-6.1', 866, NOWHERE), ('linux-6.1', 320, NOWHERE),
])
def test_where_a_lost_exit_is(tmp_path, kernel, lies_at, expected):
    data = bytearray(made(kernel))
    if lies_at is not None:
        struct.pack_into('<Q', data, lies_at, 0xffffffffc0a96010)
        struct.pack_into('<Q', data, 320, 0xffffffffc0a96010)  # the base of its code, where its exit lies first
    with KernelMemory(root_with(tmp_path, kernel, bytes(data))) as memory:
        assert struct_module.exit_offsets(ADDRESS, 0xffffffffc0a96010, memory) == expected
        assert is_unavailable(struct_module.exit_offsets(0x1000, 0xffffffffc0a96010, memory))


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_the_memory_of_a_module(tmp_path, kernel):
    types, data = btf_of(kernel), bytearray(made(kernel))
    if kernel in ('linux-5.10', 'linux-6.1', 'linux-arm64-6.1'):
        places = [types.offset('module', member) for member in ('core_layout', 'init_layout')]
        base, size = types.offset('module_layout', 'base'), types.offset('module_layout', 'size')
    else:
        places = [types.offset('module', 'mem') + number * types.size('module_memory') for number in range(7)]
        base, size = types.offset('module_memory', 'base'), types.offset('module_memory', 'size')
    for number, at in enumerate(places):
        struct.pack_into('<Q', data, at + base, 0xffffffffc0500000 + 0x10000 * number)
        struct.pack_into('<I', data, at + size, 0x3000 + number)
    struct.pack_into('<Q', data, places[1] + base, 0)  # init's code is given back
    with KernelMemory(root_with(tmp_path, kernel, bytes(data))) as memory:
        assert struct_module.ranges(ADDRESS, memory) == [
            (0xffffffffc0500000 + 0x10000 * number, 0xffffffffc0503000 + 0x10001 * number)
            for number in range(len(places)) if number != 1]
        assert 'no segment' in struct_module.ranges(0x1000, memory)['unavailable']
        assert struct_module.ranges(unavailable('hidden'), memory) == unavailable('hidden')
        assert is_unavailable(struct_module.ranges(0, memory))


@given(data=st.binary(min_size=1, max_size=1400), name=st.text(max_size=60))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_memory_gives_facts_or_a_reason(tmp_path_factory, data, name):
    root = root_with(tmp_path_factory.getbasetemp() / 'any', 'linux-6.1', data)
    assert is_unavailable(struct_module.read(ADDRESS, name, root))
