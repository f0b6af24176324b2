# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BTF: the quick find against real kernels, every encoding on types made here, and data meant to do harm."""

import contextlib
import struct

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import btf
from hypothesis import given
from hypothesis import strategies as st
from kernel_memory import ALL_KERNELS, btf_data, btf_of

INT, PTR, STRUCT, UNION, FWD, TYPEDEF, CONST = 1, 2, 4, 5, 7, 8, 10

# sizeof(struct module); init, exit, refcnt: measured on the running kernels.
STRUCT_MODULE = {
    'linux-5.10': (960, 336, 896, 904),
    'linux-6.1': (896, 312, 848, 856),
    'linux-6.12': (1280, 312, 1200, 1208),
    'linux-7.3': (1280, 304, 1208, 1216),
    'linux-arm64-6.1': (896, 312, 832, 840),
    'linux-arm64-6.12': (1280, 312, 1192, 1200),
}


class Types:
    """Writes BTF; type ids count from 1."""

    def __init__(self):
        self.strings, self.types, self.count = b'\0', b'', 0

    def name(self, text):
        """The offset of a string, which is added if it is new."""
        if not text:
            return 0
        word = text.encode() + b'\0'
        at = self.strings.find(b'\0' + word)
        if at < 0:
            at = len(self.strings) - 1
            self.strings += word
        return at + 1

    def add(self, kind, name, size_or_type, words=(), *, vlen=0, flag=0):
        """One type; returns its id."""
        info = flag << 31 | kind << 24 | vlen
        self.types += struct.pack('<III%dI' % len(words), self.name(name), info, size_or_type, *words)
        self.count += 1
        return self.count

    def struct(self, name, size, members, kind=STRUCT, flag=0):
        """A struct of (name, type id, bit offset) members."""
        words = [word for member, type_id, bits in members for word in (self.name(member), type_id, bits)]
        return self.add(kind, name, size, words, vlen=len(members), flag=flag)

    def data(self):
        """The file."""
        header = struct.pack('<HBBIIIII', 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings))
        return header + self.types + self.strings


def example():
    """A few types with every way in which a member may lie."""
    types = Types()
    number = types.add(INT, 'int', 4, (32,))
    inner = types.struct('inner', 16, [('x', number, 0), ('y', number, 64)])
    constant = types.add(CONST, '', types.add(TYPEDEF, 'inner_t', inner))
    union = types.struct('', 8, [('low', number, 0), ('high', number, 32)], kind=UNION)
    types.struct('outer', 64, [('a', number, 0), ('', union, 64), ('nested', constant, 128)])
    bit_fields = [('plain', number, 0), ('one', number, 1 << 24 | 32), ('six', number, 6 << 24 | 33)]
    types.struct('flags', 8, bit_fields, flag=1)
    return types


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_struct_module_of_real_kernels(kernel):
    size, init, exit_, refcount = STRUCT_MODULE[kernel]
    types = btf.Btf(btf_data(kernel))
    assert types.size('module') == size
    assert [types.offset('module', member) for member in ('state', 'list', 'name')] == [0, 8, 24]
    assert [types.offset('module', member) for member in ('init', 'exit', 'refcnt')] == [init, exit_, refcount]
    assert types._positions is None, 'the quick find walked over all types'


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_a_nested_path_is_the_sum_of_its_steps(kernel):
    types = btf_of(kernel)
    assert types.offset('module', 'mkobj.mod') == (
        types.offset('module', 'mkobj') + types.offset('module_kobject', 'mod'))
    assert types.offset('module', 'mkobj.kobj.kref') == (
        types.offset('module', 'mkobj') + types.offset('module_kobject', 'kobj') + types.offset('kobject', 'kref'))


def test_a_member_that_this_kernel_has_not_is_named():
    assert btf_of('linux-6.12').offset('file_system_type', 'next') == 56
    with pytest.raises(KmodError, match=r'offset of next in struct file_system_type .* no such member'):
        btf_of('linux-7.3').offset('file_system_type', 'next')
    with pytest.raises(KmodError, match='no type of this name'):
        btf_of('linux-7.3').size('no_such_struct')
    assert btf_of('linux-6.12').first_offset('file_system_type', 'list', 'next') == 56
    with pytest.raises(KmodError, match='struct file_system_type: it has none of first, second'):
        btf_of('linux-7.3').first_offset('file_system_type', 'first', 'second')


@pytest.mark.parametrize(('name', 'path', 'offset'), [
    ('outer', 'a', 0), ('outer', 'low', 8), ('outer', 'high', 12), ('outer', 'nested', 16), ('outer', 'nested.y', 24),
    ('inner', 'y', 8), ('flags', 'plain', 0), ('flags', 'one', 4),
])
def test_where_a_member_lies(name, path, offset):
    assert btf.Btf(example().data()).offset(name, path) == offset


@pytest.mark.parametrize(('name', 'path', 'why'), [
    ('flags', 'six', 'bit field that starts at bit 33'),
    ('outer', 'x', 'no such member'), ('outer', 'a.x', 'no such member'),
    ('outer', '', 'no such member'), ('outer', 'nested.', 'no such member'), ('int', 'x', 'no type of this name'),
    ('', 'x', 'no type of this name'),
])
def test_what_is_no_member(name, path, why):
    with pytest.raises(KmodError, match=why):
        btf.Btf(example().data()).offset(name, path)


def test_two_types_of_one_name_that_differ_are_not_guessed_at():
    types = example()
    types.struct('inner', 24, [('x', 1, 0), ('y', 1, 128)])
    both = btf.Btf(types.data())
    assert both.offset('inner', 'x') == 0
    with pytest.raises(KmodError, match='several types of this name differ'):
        both.offset('inner', 'y')
    with pytest.raises(KmodError, match='several types of this name differ'):
        both.size('inner')


def test_a_member_named_like_the_struct_is_not_taken_for_it():
    types = Types()
    number = types.add(INT, 'int', 4, (32,))
    # Its type id and its bit offset read as a struct's info word and size would.
    types.struct('decoy', 64, [('wanted', number, 64)])
    types.add(14, 'wanted', STRUCT << 24 | 1, (8,))
    types.add(FWD, 'wanted', 0)
    types.struct('wanted', 12, [('member', number, 32)])
    assert btf.Btf(types.data()).offset('wanted', 'member') == 4


def test_types_that_hold_themselves_end():
    types = Types()
    types.struct('ring', 8, [('', 1, 0)] * 500)
    types.add(TYPEDEF, 'loop', 2)
    types.struct('spin', 8, [('', 2, 0), ('s', 2, 0)])
    circles = btf.Btf(types.data())
    for name, path in (('ring', 'x'), ('ring', 'x.y.z'), ('spin', 'x'), ('spin', 's.s.s')):
        with pytest.raises(KmodError):
            circles.offset(name, path)


def test_a_table_full_of_lookalikes_is_given_up():
    types = Types()
    for dummy in range(40):
        types.struct('copy', 8, [('m', 0, 0)])
    with pytest.raises(KmodError, match='more than 32 types may be struct copy'):
        btf.Btf(types.data()).size('copy')


def test_an_unknown_kind_stops_the_walk_only():
    types = example()
    types.add(31, 'news', 0)
    unknown = btf.Btf(types.data())
    assert unknown.offset('outer', 'nested') == 16
    with pytest.raises(KmodError, match='type 8 is of an unknown kind'):
        unknown.offset('outer', 'nested.y')


@pytest.mark.parametrize('data', [
    b'', b'\x9f\xeb\x01', b'\x7fELF' + bytes(60), example().data()[:-1],
    struct.pack('<HBBIIIII', 0xEB9F, 1, 0, 24, 0, 1 << 31, 0, 0),
    struct.pack('<HBBIIIII', 0xEB9F, 2, 0, 24, 0, 0, 0, 0),
    struct.pack('<HBBIIIII', 0xEB9F, 1, 0, 0, 0, 0, 0, 0),
    struct.pack('<HBBIIIII', 0xEB9F, 1, 0, 25, 0, 0, 0, 0) + b' ',
])
def test_what_is_not_btf(data):
    with pytest.raises(KmodError, match='it is not BTF'):
        btf.Btf(data)


def ask_everything(data):
    """Asks all kinds of questions; only a KmodError may come out of it."""
    try:
        types = btf.Btf(data)
    except KmodError:
        return
    for name, path in (('outer', 'a'), ('outer', 'high'), ('outer', 'nested.y'), ('flags', 'one'), ('inner', 'x')):
        for question in (lambda n=name: types.size(n), lambda n=name, p=path: types.offset(n, p)):
            with contextlib.suppress(KmodError):
                assert 0 <= question() < 1 << 32


@given(st.lists(st.tuples(st.integers(0, 4096), st.integers(0, 255)), min_size=1, max_size=30), st.integers(0, 4096))
def test_damaged_types_give_an_answer_or_a_kmod_error(damage, length):
    data = bytearray(example().data())
    for at, value in damage:
        data[at % len(data)] = value
    ask_everything(bytes(data))
    ask_everything(bytes(data[:length]))


@given(st.binary(max_size=400), st.binary(max_size=100))
def test_any_tables_give_an_answer_or_a_kmod_error(types, strings):
    types = types[:len(types) // 4 * 4]
    strings = b'\0outer\0a\0nested\0inner\0flags\0' + strings
    header = struct.pack('<HBBIIIII', 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    ask_everything(header + types + strings)


def test_no_types_on_this_host(tmp_path):
    for dummy in range(2):
        with pytest.raises(KmodError, match=r'No such file or directory. The kernel needs CONFIG_DEBUG_INFO_BTF'):
            btf.running(str(tmp_path))


def test_the_file_is_read_once(tmp_path):
    path = tmp_path / 'sys/kernel/btf/vmlinux'
    path.parent.mkdir(parents=True)
    path.write_bytes(example().data())
    assert btf.running(str(tmp_path)).size('inner') == 16
    path.unlink()
    assert btf.running(str(tmp_path)).size('outer') == 64


def test_the_layout_of_several_members():
    wanted = {'a': ('outer', 'a'), 'y': ('outer', 'nested.y')}
    assert btf.layout_of(btf.Btf(example().data()), wanted) == {'a': 0, 'y': 24}
    with pytest.raises(KmodError):
        btf.layout_of(btf.Btf(example().data()), dict(wanted, z=('outer', 'z')))
