# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load reads of a module file: real ones, made ones, damaged ones."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import load
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable
from hypothesis import given, settings
from hypothesis import strategies as st
from loading_kernel import LoadingHost

HEALTHY = builders.unpacked('healthy-6.1')


@pytest.fixture
def host(monkeypatch):
    return LoadingHost(monkeypatch)


@pytest.mark.parametrize(('name', 'has_exit'), [('healthy', True), ('no_exit', False)])
def test_a_real_file(name, has_exit):
    found = load.read_file(str(builders.MODULE_FILES / (name + '-6.1.ko.xz')))[1]
    assert found['name'] == name
    assert len(found['build_id']) == 40
    assert int(found['build_id'], 16)
    assert (found['depends'], found['parameters']) == ([], {})
    assert (found['layout']['exit'] is not None) is has_exit
    assert is_unavailable(found['srcversion']) or len(found['srcversion']) == 23


def test_the_helpers_parameters_are_those_of_its_source():
    source = (builders.CAPTURES.parents[2] / 'roles/force_unload/files/kmod_reset/main.c').read_text()
    found = load.read_file(str(builders.MODULE_FILES / 'kmod_reset-6.1.ko.xz'))[1]['parameters']
    assert found['name'] in ('charp', 'string')
    assert len(found) > 10
    assert all('(%s,' % name in source for name in found)


def test_parameters_without_words_are_known_by_their_symbols():
    names = b'\0__param_str_secret\0__param_str_count\0'
    image = builders.module_with('parmtype=count:int', 'parm=label:Words') + names
    assert load.identity(image, 'a.ko', 'a')['parameters'] == {'secret': None, 'count': 'int', 'label': None}


def test_an_old_file_is_called_as_its_path_says():
    assert load.identity(builders.module_with(name=''), '/lib/dashed-name.ko.xz', '')['name'] == 'dashed_name'


def test_the_first_line_of_a_kind_counts():
    found = load.identity(builders.module_with('srcversion=A', 'srcversion=B'), 'a.ko', 'a')
    assert found['srcversion'] == 'A'


@pytest.mark.parametrize(('content', 'why'), [
    (None, 'there is no such file. Give the path'), (b'', 'it is no ELF file'), (b'\x7fELF', 'it is '),
    (HEALTHY[:3000], 'cut short'), (builders.module_with(name='a/b'), "calls itself 'a/b', which is no module's name"),
    (builders.module_with(name='a' * 60), "which is no module's name")],
    ids=['missing', 'empty', 'magic', 'cut', 'path', 'long'])
def test_a_file_that_is_no_module(content, why, host, tmp_path):
    kernel = host.start()
    if content is not None:
        (tmp_path / 'foo.ko').write_bytes(content)
    assert why in str(host.load_refused(tmp_path / 'foo.ko'))
    assert kernel.calls == []


def test_a_directory_is_no_module(host, tmp_path):
    host.start()
    assert 'it is no regular file' in str(host.load_refused(tmp_path))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, len(HEALTHY) - 1), st.integers(0, 255)), max_size=40), st.integers(0, 99))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, changes, cut):
    damaged = bytearray(HEALTHY)
    for at, value in changes:
        damaged[at] = value
    path = tmp_path_factory.mktemp('damaged') / 'healthy.ko'
    path.write_bytes(bytes(damaged[:len(damaged) * (cut + 1) // 100]))
    try:
        found = load.read_file(str(path))[1]
    except KmodError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right, each has its own rule
    else:
        assert isinstance(found['parameters'], dict)
