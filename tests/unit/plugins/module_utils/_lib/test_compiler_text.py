# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compilers by their own words: kernels' banners, first lines of --version, strings of .comment sections."""

import time

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import running_kernel
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import compiler_text
from compiler_texts import CC_LINES, COMMENTS, VERSION_BANNERS
from hypothesis import given
from hypothesis import strategies as st

PARSERS = (compiler_text.parse_version_banner, compiler_text.parse_cc_line, compiler_text.parse_comment)
# Texts that no compiler printed, for the edges; the real ones are in compiler_texts.py.
# line: (command, family, version)
EDGES = {
    'gcc-13': ('gcc-13', 'gcc', '13'),
    'gcc': ('gcc', 'gcc', None),
    'cc': ('cc', 'gcc', None),
    '/usr/bin/gcc-12 (Debian 12.2.0-14) 12.2.0': ('/usr/bin/gcc-12', 'gcc', '12.2.0'),
    '/opt/rh/devtoolset-9/root/usr/bin/gcc (GCC) 9.3.1 20200408 (Red Hat 9.3.1-2)': (
        '/opt/rh/devtoolset-9/root/usr/bin/gcc', 'gcc', '9.3.1'),
    'gcc (GCC) 12': ('gcc', 'gcc', '12'),
    'gcc ((nested (names) 1.2) 3.4) 5.6.7': ('gcc', 'gcc', '5.6.7'),
    'gcc (never closed 5.6.7': ('gcc', 'gcc', None),
    'gcc-ar (GNU Binutils) 2.40': (None, None, None),
    'tcc version 0.9.27': (None, None, None),
    'GNU ld (GNU Binutils for Debian) 2.40': (None, None, None),
    'bash: gcc: command not found': (None, None, None),
    'clang version 14': ('clang', 'clang', '14'),
    'clang version': (None, None, None),
    '': (None, None, None),
}
# banner: (family, version)
BANNER_EDGES = {
    '': (None, None),
    'Linux version 6.1.0 (a@b)': (None, None),
    'Linux version 6.1.0 (gcc-12 (x) 12.2.0)': (None, None),
    'Linux version 6.1.0 (gcc@clang version 9) (gcc (x) 12.2.0) #1': ('gcc', '12.2.0'),
    'Linux version 6.1.0 (a@b) () #1': (None, None),
    'Linux version 6.1.0 (a@b) (tcc 0.9) #1': (None, None),
    'Linux version 6.1.0 (a@b) (gcc-12 (Debian 12.2.0-14) 12.2.0, Linker: LLD 14.0.6) #1': ('gcc', '12.2.0'),
    'Linux version 6.1.0 (a@b) (Linker: LLD 14.0.6) #1': (None, None),
    'Linux version 6.1.0 (a@b) (gcc version 12.2.0 (cut off': ('gcc', '12.2.0'),
    'Linux version 6.1.0 (a@b) ) (gcc version 12.2.0) (gcc version 9.9.9)': ('gcc', '12.2.0'),
}


def test_the_tables_are_as_large_as_promised():
    assert len(VERSION_BANNERS) >= 25
    assert len(COMMENTS) >= 15
    for table in (VERSION_BANNERS, COMMENTS, CC_LINES):
        assert len({row[1] for row in table.values()}) == len(table)
        assert all(row[0] for row in table.values())


def test_captured_banners_are_those_of_the_table():
    captured = {builders.captured(kernel, 'proc_version').strip() for kernel in builders.KERNELS}
    assert captured <= {row[1] for row in VERSION_BANNERS.values()}


@pytest.mark.parametrize('row', VERSION_BANNERS.values(), ids=list(VERSION_BANNERS))
def test_version_banner(row):
    dummy, text, family, version, vendor = row
    found = compiler_text.parse_version_banner(text + '\n')
    assert (found['family'], found['version'], found['vendor']) == (family, version, vendor)
    assert found['major'] == version.split('.')[0]
    # The compiler's and the linker's own words, without those of the kernel.
    assert found['banner'] in text
    assert version in found['banner']
    assert 'Linux version' not in found['banner']
    assert '#' not in found['banner']


@pytest.mark.parametrize('row', COMMENTS.values(), ids=list(COMMENTS))
def test_comment(row):
    dummy, text, family, version, vendor = row
    assert compiler_text.parse_comment(text) == {
        'family': family, 'version': version, 'vendor': vendor, 'banner': text,
        'major': version.split('.')[0] if version else None}


@pytest.mark.parametrize('row', CC_LINES.values(), ids=list(CC_LINES))
def test_cc_line(row):
    dummy, text, family, version, vendor, command = row
    assert compiler_text.parse_cc_line(text) == {
        'command': command, 'family': family, 'version': version, 'vendor': vendor, 'banner': text,
        'major': version.split('.')[0]}


@pytest.mark.parametrize('line', EDGES)
def test_cc_line_at_the_edges(line):
    found = compiler_text.parse_cc_line(line)
    assert (found['command'], found['family'], found['version']) == EDGES[line]


@pytest.mark.parametrize('banner', BANNER_EDGES)
def test_version_banner_at_the_edges(banner):
    found = compiler_text.parse_version_banner(banner)
    assert (found['family'], found['version']) == BANNER_EDGES[banner]


@pytest.mark.parametrize('kernel', builders.KERNELS)
def test_a_kernel_says_the_same_in_three_ways(kernel):
    config = running_kernel.parse_config(builders.captured(kernel, 'config'))
    line = compiler_text.parse_cc_line(config['CONFIG_CC_VERSION_TEXT'])
    banner = compiler_text.parse_version_banner(builders.captured(kernel, 'proc_version'))
    assert compiler_text.same(line, banner)
    major, minor, patch = line['version'].split('.')
    assert int(config['CONFIG_GCC_VERSION']) == int(major) * 10000 + int(minor) * 100 + int(patch)


def test_same():
    debian = compiler_text.parse_comment('GCC: (Debian 10.2.1-6) 10.2.1 20210110')
    another = compiler_text.parse_comment('GCC: (Debian 10.2.1-6+build2) 10.2.1 20210110')
    newer = compiler_text.parse_comment('GCC: (Debian 12.2.0-14+deb12u1) 12.2.0')
    clang = compiler_text.parse_comment('clang version 12.2.0')
    linker = compiler_text.parse_comment('Linker: LLD 12.0.1')
    nameless = compiler_text.parse_cc_line('gcc')
    assert compiler_text.same(debian, another)
    assert not compiler_text.same(debian, newer)
    assert not compiler_text.same(newer, clang)
    assert not compiler_text.same(linker, linker)
    assert not compiler_text.same(nameless, nameless)


PIECES = st.sampled_from([
    'Linux version 6.1 ', 'gcc', 'cc', 'clang', '-12', ' (', ')', '((', ')) ', ' 12.2.0', '.', ' clang version ', ',',
    ' gcc version ', 'GCC: ', 'rustc version ', '9' * 50, '1.' * 20, ' ', 'x', '\0', '\n', '[', '://', '-'])


@given(st.one_of(st.text(), st.lists(PIECES, max_size=80).map(''.join)))
def test_any_text_has_an_answer(text):
    for parse in PARSERS:
        found = parse(text)
        assert found['family'] in ('gcc', 'clang', 'rustc', None)
        assert (found['version'] is None) == (found['major'] is None)
        assert found['version'] is None or found['version'] in text
        assert found['vendor'] in text
        assert found['banner'] in text
        if found['family'] is None:
            assert (found['version'], found['vendor']) == (None, '')


@pytest.mark.parametrize('piece', [
    '(', ')', '()', 'gcc', 'gcc-', 'gcc-1.', 'cc', '1.', '1', ' ', 'clang version ', 'gcc version ', '(a ', '\0', '-'])
def test_a_text_of_a_million_characters_costs_no_time(piece):
    start = time.monotonic()
    for before in ('', 'Linux version 6.1 (a@b) (', 'gcc-12 (', 'GCC: ', 'rustc version '):
        for parse in PARSERS:
            assert parse(before + piece * 1000000)['family'] in ('gcc', 'clang', 'rustc', None)
    assert time.monotonic() - start < 5
