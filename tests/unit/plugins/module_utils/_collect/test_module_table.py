# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module table: captures of four kernels, sysfs, and whatever else a line may be."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_table
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable
from hypothesis import given
from hypothesis import strategies as st

# The same on all four kernels: state, refcount, permanent, taint
FAULTS = {
    'init_oops': ('coming', 1, False, 'OE'),
    'init_hang': ('coming', 1, False, 'OE'),
    'exit_oops': ('going', -1, False, 'OE'),
    'no_exit': ('live', 0, True, 'OE'),
    'leaked_ref': ('live', 3, False, 'OE'),
    'cdev_busy': ('live', 1, False, 'OE'),
}
ENTRY = {'name': 'foo', 'size': 16384, 'refcount': 0, 'used_by': [], 'permanent': False, 'state': 'live',
         'address': 0xffffffffc0a96000, 'taint': ''}
ADDRESS = '0xffffffffc0a96000'

# id: (line, what differs from ENTRY)
LINES = {
    'healthy': ('foo 16384 0 - Live ' + ADDRESS, {}),
    'taints': ('foo 16384 0 - Live %s (OE)\n' % ADDRESS, {'taint': 'OE'}),
    'dependents': ('foo 16384 2 bar,baz, Live ' + ADDRESS, {'refcount': 2, 'used_by': ['bar', 'baz']}),
    'permanent': ('foo 16384 0 [permanent], Live ' + ADDRESS, {'permanent': True}),
    'permanent with a dependent': ('foo 16384 1 bar,[permanent], Live ' + ADDRESS,
                                   {'refcount': 1, 'used_by': ['bar'], 'permanent': True}),
    'coming': ('foo 16384 1 - Loading %s (+)' % ADDRESS, {'refcount': 1, 'state': 'coming', 'taint': ''}),
    'going': ('foo 16384 -1 - Unloading ' + ADDRESS, {'refcount': -1, 'state': 'going'}),
    'addresses hidden': ('foo 16384 0 - Live 0x0000000000000000', {'address': 0}),
}
NO_LINES = ['', 'foo', 'foo 16384 0 - Dead ' + ADDRESS, 'foo 16384 0 - Live', 'foo x 0 - Live ' + ADDRESS,
            'foo 16384 x - Live ' + ADDRESS, 'foo 16384 0 - Live nowhere']


@pytest.mark.parametrize('kernel', builders.KERNELS)
@pytest.mark.parametrize('name', FAULTS)
def test_faults_as_four_kernels_show_them(kernel, name, tmp_path):
    table = module_table.read(builders.captured_root(kernel, tmp_path))
    entry = table['modules'][name]
    assert (entry['state'], entry['refcount'], entry['permanent'], entry['taint']) == FAULTS[name]
    assert entry['used_by'] == []


@pytest.mark.parametrize('kernel', builders.KERNELS)
def test_each_line_of_a_real_table_is_read(kernel, tmp_path):
    lines = builders.captured(kernel, 'proc_modules').splitlines()
    table = module_table.read(builders.captured_root(kernel, tmp_path))
    assert table['warnings'] == []
    assert sorted(table['modules']) == sorted(line.split()[0] for line in lines)
    assert sum(entry['size'] for entry in table['modules'].values()) == sum(int(line.split()[1]) for line in lines)
    # Each dependent is itself a module, which sysfs may know as well.
    for entry in table['modules'].values():
        assert set(entry['used_by']) <= set(table['modules'])


@pytest.mark.parametrize(('line', 'differs'), LINES.values(), ids=list(LINES))
def test_line(line, differs):
    assert module_table.parse_line(line) == dict(ENTRY, **differs)


def test_line_of_a_kernel_that_cannot_unload():
    entry = module_table.parse_line('foo 16384 - - Live ' + ADDRESS)
    assert is_unavailable(entry['refcount'])
    assert entry['used_by'] == []


@pytest.mark.parametrize('line', NO_LINES)
def test_no_line(line):
    with pytest.raises(ValueError, match='not a line|invalid literal'):
        module_table.parse_line(line)


WORDS = st.sampled_from(['foo', '1', '-', '-1', ',', 'bar,', '[permanent],', 'Live', 'Loading', 'Unloading', ADDRESS,
                         '(OE)', '٣', '0x', '9' * 40])


@given(st.one_of(st.text(), st.lists(WORDS, max_size=9).map(' '.join)))
def test_any_line_is_read_or_refused(line):
    try:
        entry = module_table.parse_line(line)
    except ValueError:
        return
    assert set(entry) == set(ENTRY)
    assert entry['state'] in ('live', 'coming', 'going')


def test_a_line_that_cannot_be_read_costs_that_line(tmp_path):
    builders.write(tmp_path, 'proc/modules', 'garbage\n' + LINES['healthy'][0] + '\n')
    table = module_table.read(str(tmp_path))
    assert list(table['modules']) == ['foo']
    assert len(table['warnings']) == 1
    assert 'garbage' in table['warnings'][0]


def test_no_table_at_all(tmp_path):
    with pytest.raises(KmodError, match='without CONFIG_MODULES'):
        module_table.read(str(tmp_path))


SECTION = 'sys/module/foo/sections/.gnu.linkonce.this_module'


@pytest.mark.parametrize(('text', 'address', 'reason'), [
    ('0xffffffffc0a99040\n', 0xffffffffc0a99040, None),
    ('0x0000000000000000\n', None, 'kptr_restrict=2'),
    ('garbage\n', None, "reads 'garbage'"),
    ('', None, "reads ''"),
    (None, None, 'No such file'),
], ids=['shown', 'hidden', 'garbage', 'empty', 'no such section'])
def test_address_of_struct_module(text, address, reason, tmp_path):
    if text is not None:
        builders.write(tmp_path, SECTION, text)
    found = module_table.struct_address('foo', str(tmp_path))
    if reason is None:
        assert found == address
    else:
        assert reason in found['unavailable']


BUILTIN = 'lib/modules/6.1/modules.builtin'


@pytest.mark.parametrize(('files', 'state'), [
    ({}, 'absent'),
    ({'sys/module/foo_bar/parameters/debug': '0'}, 'builtin'),
    ({'sys/module/foo_bar/initstate': 'going'}, 'absent'),
    ({BUILTIN: 'kernel/drivers/foo-bar.ko\n'}, 'builtin'),
    ({BUILTIN: 'kernel/drivers/foo_bar.ko.xz\n'}, 'builtin'),
    ({BUILTIN: 'kernel/drivers/my-foo-bar.ko\nkernel/foo/bar.ko\n'}, 'absent'),
], ids=['nowhere', 'sysfs without initstate', 'sysfs with initstate', 'modules.builtin', 'compressed', 'another'])
def test_module_that_the_table_does_not_list(files, state, tmp_path):
    builders.write(tmp_path, 'proc/modules', '')
    for place, text in files.items():
        builders.write(tmp_path, place, text)
    assert module_table.module('foo_bar', '6.1', str(tmp_path)) == {'name': 'foo_bar', 'state': state}


def test_loaded_module_carries_the_address_of_its_struct(tmp_path):
    builders.write(tmp_path, 'proc/modules', LINES['healthy'][0])
    builders.write(tmp_path, SECTION, '0xffffffffc0a99040')
    builders.write(tmp_path, BUILTIN, 'kernel/foo.ko\n')
    found = module_table.module('foo', '6.1', str(tmp_path))
    assert found == dict(ENTRY, struct_address=0xffffffffc0a99040)


def test_file_systems_that_a_module_serves(tmp_path):
    builders.write(tmp_path, 'lib/modules/6.1/modules.alias', (
        'alias fs-ext2 ext4\nalias fs-ext3 ext4\nalias fs-xfs xfs\nalias pci:v* ext4\nalias fs-broken\n'
        'alias fs-dash my-fs\n'))
    assert module_table.aliases('ext4', '6.1', str(tmp_path)) == ['fs-ext2', 'fs-ext3']
    assert module_table.aliases('my_fs', '6.1', str(tmp_path)) == ['fs-dash']
    assert module_table.aliases('ext4', '5.10', str(tmp_path)) == []


@pytest.mark.parametrize(('name', 'kernels'), [
    ('foo', 'foo'), ('snd-hda-intel', 'snd_hda_intel'), ('8250', '8250'), ('a' * 55, 'a' * 55), ('_x', '_x'),
])
def test_name(name, kernels):
    assert module_table.kernel_name(name) == kernels


@pytest.mark.parametrize(('name', 'why'), [
    ('', 'name is empty'), ('a' * 56, 'at most 55 characters, and this has 56'), ('a' * 5000, 'has 5000'),
    ('../foo', 'no module'), ('..', 'no module'), ('/lib/foo.ko', 'no module'), ('foo.ko', 'no module'),
    ('foo bar', 'no module'), (' foo', 'no module'), ('foo\n', 'no module'), ('-foo', 'no module'),
    ('foo\0', 'no module'), ('f\xf6\xf6', 'no module'), ('foo;reboot', 'no module'),
], ids=ascii)
def test_what_cannot_be_a_name(name, why):
    with pytest.raises(KmodError, match=why) as caught:
        module_table.kernel_name(name)
    assert len(str(caught.value)) < 300


@given(st.text())
def test_any_name_is_the_kernels_or_refused(name):
    try:
        found = module_table.kernel_name(name)
    except KmodError:
        return
    assert 0 < len(found) <= 55
    assert found == name.replace('-', '_')
    assert all(letter.isalnum() or letter == '_' for letter in found)
    assert found.isascii() if hasattr(found, 'isascii') else found.encode('ascii')
