# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses from /proc/kallsyms: captures of four kernels, and what looks alike."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols
from hypothesis import given
from hypothesis import strategies as st

TABLE = '''\
0000000000000000 A fixed_percpu_data
ffffffffb0000000 T modules
ffffffffb0000040 b module_mutex
ffffffffb0000100 b idem_hash
ffffffffb0000100 b idem_alias
ffffffffa0000000 t init_part
ffffffffb0000900 b idem_lock
ffffffffb0001000 t twice
ffffffffb0001100 t twice
ffffffffb0002000 T last.isra.0
ffffffffc0001010 t f_exit\t[foo]
ffffffffc0001010 t cleanup_module\t[foo]
ffffffffc0002010 t cleanup_module\t[foobar]
ffffffffc0003010 t cleanup_module\t[f.o]
'''


@pytest.fixture
def symbols(tmp_path):
    builders.write(tmp_path, 'proc/kallsyms', TABLE)
    return Symbols(str(tmp_path))


def scanned(text, name, module):
    """What is looked for, by the plain way: each line in turn."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if words[2] == name and words[3:] == (['[%s]' % module] if module else []):
            found.append(int(words[0], 16))
    return found


@pytest.mark.parametrize('kernel', builders.KERNELS)
def test_anchors_of_four_kernels(kernel, tmp_path):
    found = Symbols(builders.captured_root(kernel, tmp_path))
    text = builders.captured(kernel, 'kallsyms')
    for name in ('modules', 'module_mutex'):
        assert [found.address(name)] == scanned(text, name, None)


@pytest.mark.parametrize('kernel', builders.KERNELS)
def test_every_captured_symbol_is_found_where_it_is_listed(kernel, tmp_path):
    text = builders.captured(kernel, 'kallsyms')
    found = Symbols(builders.captured_root(kernel, tmp_path))
    for line in text.splitlines():
        words = line.split()
        module = words[3].strip('[]') if len(words) > 3 else None
        expected = scanned(text, words[2], module)
        if any(expected):
            assert found.addresses(words[2], module) == expected, line


def test_address(symbols):
    assert symbols.address('modules') == 0xffffffffb0000000
    assert symbols.address('last.isra.0') == 0xffffffffb0002000
    assert symbols.address('cleanup_module', 'foo') == 0xffffffffc0001010
    assert symbols.address('cleanup_module', 'f.o') == 0xffffffffc0003010


@pytest.mark.parametrize(('name', 'module'), [
    ('module', None), ('odules', None), ('last.isra', None), ('last_isra_0', None), ('cleanup_module', None),
    ('modules', 'foo'), ('cleanup_module', 'oo'), ('f_exit', 'foobar'), ('', None), ('T modules', None),
])
def test_what_only_looks_alike_is_not_found(symbols, name, module):
    assert symbols.address(name, module) is None


def test_several_of_a_name_are_refused(symbols):
    assert symbols.addresses('twice') == [0xffffffffb0001000, 0xffffffffb0001100]
    with pytest.raises(KmodError, match='lists 2 of them'):
        symbols.address('twice')


def test_hidden_addresses_are_said_to_be_hidden(symbols):
    with pytest.raises(KmodError, match='kptr_restrict below 2'):
        symbols.address('fixed_percpu_data')


def test_size_reaches_to_the_next_address(symbols):
    assert symbols.size('idem_hash') == 0x800
    assert symbols.size('modules') == 0x40
    assert symbols.size('nothing') is None


DATA_TABLE = TABLE.replace('ffffffffb0000000 T modules', '''\
ffffffffaffff000 T _etext
ffffffffb0000000 T modules
ffffffffa0000010 t text_list
ffffffffb0000020 R __ksymtab_some_list
nonsense some_list
ffffffffb0000028 d init_task
ffffffffb0000030 d some_list''')


@pytest.fixture
def data_symbols(tmp_path):
    builders.write(tmp_path, 'proc/kallsyms', DATA_TABLE)
    return Symbols(str(tmp_path))


def test_data_and_what_is_kept_behind_it(data_symbols):
    assert data_symbols.data('idem_hash') == (0xffffffffb0000100, 0x800)
    assert data_symbols.data('idem_alias') == (0xffffffffb0000100, 0x800)
    assert data_symbols.data('last.isra.0') == (0xffffffffb0002000, 0)
    # Per-processor data come before the code.
    assert data_symbols.data('fixed_percpu_data') == (0, 0xffffffffaffff000)
    for missing in ('list', 'f_exit', 'nothing', ''):
        with pytest.raises(KmodError, match='does not give its address'):
            data_symbols.data(missing)


def test_data_by_how_they_end(data_symbols):
    assert list(data_symbols.data_ending(['_lock', '_list', 'exit'])) == [
        ('idem_lock', 0xffffffffb0000900, 0x700), ('text_list', 0xffffffffa0000010, 0x10000010),
        ('some_list', 0xffffffffb0000030, 0x10)]


def test_symbols_of_a_module(data_symbols):
    assert data_symbols.of_module('foo') == [(0xffffffffc0001010, 'f_exit'), (0xffffffffc0001010, 'cleanup_module')]
    assert data_symbols.of_module('fo') == []


def test_data_of_a_table_without_an_end_of_code(symbols):
    assert symbols.data('idem_lock') == (0xffffffffb0000900, 0x700)


def test_table_is_read_once(symbols, tmp_path):
    symbols.address('modules')
    (tmp_path / 'proc/kallsyms').unlink()
    assert symbols.address('module_mutex') == 0xffffffffb0000040


def test_no_table(tmp_path):
    with pytest.raises(KmodError, match='proc/kallsyms: No such file'):
        Symbols(str(tmp_path)).address('modules')


LINES = st.one_of(
    st.sampled_from(TABLE.splitlines()), st.text(max_size=40), st.just(''), st.just('ffffffffb0000100'),
    st.just('xyz b idem_hash'), st.just(' idem_hash'), st.just('ffffffffb0000100 b idem_hash'))


@given(st.lists(LINES, max_size=12).map('\n'.join), st.sampled_from(['idem_hash', 'modules', 'twice', '']))
def test_any_table_is_read_or_refused(tmp_path_factory, text, name):
    root = tmp_path_factory.mktemp('table')
    (root / 'proc').mkdir()
    (root / 'proc/kallsyms').write_bytes(text.encode('utf-8', 'surrogatepass'))
    found = Symbols(str(root))
    for ask in (lambda: found.address(name), lambda: found.address(name, 'foo'), lambda: found.size(name),
                lambda: found.data(name)[0], lambda: len(found.of_module(name)),
                lambda: len(list(found.data_ending([name])))):
        assert answered(ask) is None or answered(ask) >= 0


def answered(ask):
    """The answer, or None where the reader refuses in its own words."""
    try:
        return ask()
    except KmodError:
        return None
