# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running kernel: captures of four kernels, and each fact's reason where it cannot be had."""

import gzip

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import running_kernel
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable
from hypothesis import given
from hypothesis import strategies as st

SIGNED = 'CONFIG_MODULE_SIG=y\n'
FORCED = SIGNED + 'CONFIG_MODULE_SIG_FORCE=y\n'
LOCKDOWN = 'sys/kernel/security/lockdown'
SIG_ENFORCE = 'sys/module/module/parameters/sig_enforce'


@pytest.mark.parametrize('kernel', builders.KERNELS)
def test_facts_of_four_kernels(kernel, tmp_path):
    release = builders.captured_release(kernel)
    found = running_kernel.read(builders.captured_root(kernel, tmp_path), release, 'x86_64')
    assert found['release'] == release
    assert found['version_banner'].startswith('Linux version %s ' % release)
    assert found['taint'] == {'value': 12416, 'flags': ['died', 'out_of_tree_module', 'unsigned_module']}
    assert (found['lockdown'], found['module_signatures'], found['force_unload']) == ('none', 'permissive', True)
    assert found['kptr_restrict'] == 0
    assert found['config']['CONFIG_MODULE_UNLOAD'] == 'y'
    assert found['headers'] == {'dir': '/lib/modules/%s/build' % release, 'present': False}
    assert 'proc/sys/kernel/modules_disabled' in found['modules_disabled']['unavailable']


def test_no_configuration_value_keeps_its_quotes():
    found = running_kernel.parse_config(builders.captured('6.12', 'config'))
    assert found['CONFIG_MODULE_SIG_HASH'] == 'sha256'
    assert found['CONFIG_CC_VERSION_TEXT'] == 'x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0'
    assert found['CONFIG_CLANG_VERSION'] == '0'


def test_bare_root_gives_reasons_and_no_exception(tmp_path):
    found = running_kernel.read(str(tmp_path), '6.1', 'x86_64')
    for name in ('version_banner', 'taint', 'lockdown', 'module_signatures', 'modules_disabled', 'kptr_restrict',
                 'panic_on_oops', 'force_unload', 'config'):
        assert found[name]['unavailable'], name
    assert found['headers']['present'] is False


# id: (files, lockdown, module_signatures)
SIGNATURES = {
    'no module signatures': ({'boot/config-6.1': 'CONFIG_MODULES=y\n', LOCKDOWN: '[none] integrity'}, 'none', 'off'),
    'permissive': ({'boot/config-6.1': SIGNED, LOCKDOWN: '[none] integrity'}, 'none', 'permissive'),
    'enforced by configuration': ({'boot/config-6.1': FORCED, LOCKDOWN: '[none] integrity'}, 'none', 'enforced'),
    'enforced at boot': ({'boot/config-6.1': SIGNED, SIG_ENFORCE: 'Y\n', LOCKDOWN: '[none]'}, 'none', 'enforced'),
    'not enforced at boot': ({'boot/config-6.1': SIGNED, SIG_ENFORCE: 'N\n', LOCKDOWN: '[none]'}, 'none', 'permissive'),
    'lockdown=integrity': ({'boot/config-6.1': SIGNED, LOCKDOWN: 'none [integrity] confidentiality'},
                           'integrity', 'enforced'),
    'lockdown=confidentiality': ({'boot/config-6.1': SIGNED, LOCKDOWN: 'none integrity [confidentiality]'},
                                 'confidentiality', 'enforced'),
    'lockdown without a configuration': ({LOCKDOWN: 'none [integrity]'}, 'integrity', 'enforced'),
    'no configuration, not enforced': ({SIG_ENFORCE: 'N\n', LOCKDOWN: '[none]'}, 'none', 'permissive'),
    'no lockdown LSM': ({'boot/config-6.1': SIGNED, 'sys/kernel/security/lsm': 'capability'}, 'none', 'permissive'),
}


@pytest.mark.parametrize(('files', 'lock', 'signatures'), SIGNATURES.values(), ids=list(SIGNATURES))
def test_signatures_and_lockdown(files, lock, signatures, tmp_path):
    for place, text in files.items():
        builders.write(tmp_path, place, text)
    found = running_kernel.read(str(tmp_path), '6.1', 'x86_64')
    assert (found['lockdown'], found['module_signatures']) == (lock, signatures)


@pytest.mark.parametrize('place', ['boot/config-6.1', 'lib/modules/6.1/config', 'usr/lib/modules/6.1/config',
                                   'lib/modules/6.1/build/.config'])
def test_configuration_is_found_where_distributions_keep_it(place, tmp_path):
    builders.write(tmp_path, place, 'CONFIG_MODULE_FORCE_UNLOAD=y\n# CONFIG_MODULE_SIG is not set\n')
    assert running_kernel.config('6.1', str(tmp_path)) == {'CONFIG_MODULE_FORCE_UNLOAD': 'y'}


def test_configuration_in_proc(tmp_path):
    builders.write(tmp_path, 'proc/version', '')
    (tmp_path / 'proc/config.gz').write_bytes(gzip.compress(b'CONFIG_MODULES=y\n'))
    assert running_kernel.config('6.1', str(tmp_path)) == {'CONFIG_MODULES': 'y'}


DEFLATED = gzip.compress(b'CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n' * 20)


@given(st.data())
def test_damaged_configuration_in_proc_is_unavailable_or_text(tmp_path_factory, data):
    root = tmp_path_factory.mktemp('damaged')
    damaged = bytearray(DEFLATED)
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    (root / 'proc').mkdir()
    (root / 'proc/config.gz').write_bytes(bytes(damaged[:data.draw(st.integers(0, len(damaged)))]))
    found = running_kernel.config('6.1', str(root))
    assert is_unavailable(found) or all(name.startswith('CONFIG_') for name in found)


@pytest.mark.parametrize(('files', 'present'), [
    (['Makefile', '.config'], True), (['Makefile'], False), (['.config'], False), ([], False)])
def test_headers_need_both_files(files, present, tmp_path):
    for name in files:
        builders.write(tmp_path, 'lib/modules/6.1/build/' + name, '')
    assert running_kernel.headers('6.1', str(tmp_path)) == {'dir': '/lib/modules/6.1/build', 'present': present}


@pytest.mark.parametrize(('value', 'flags'), [
    (0, []), (1, ['proprietary_module']), (2, ['forced_module']), (8, ['forced_rmmod']), (1 << 9, ['warn']),
    (128 + 4096 + 8192, ['died', 'out_of_tree_module', 'unsigned_module']), (1 << 18, ['test']), (1 << 40, ['bit_40']),
])
def test_taint_flags(value, flags):
    assert running_kernel.taint_flags(value) == flags


@given(st.integers(0, 1 << 64))
def test_taint_flags_lose_no_bit(value):
    assert len(running_kernel.taint_flags(value)) == bin(value).count('1')


@pytest.mark.parametrize('text', ['', 'many', '0 0', '\x00'])
def test_a_number_that_is_none_says_what_was_read(text, tmp_path):
    builders.write(tmp_path, 'proc/sys/kernel/tainted', text)
    found = running_kernel.read(str(tmp_path), '6.1', 'x86_64')
    assert found['taint']['unavailable'].startswith('/proc/sys/kernel/tainted reads ')


@given(st.text())
def test_any_lockdown_text(text):
    found = running_kernel.lockdown(text)
    assert found == 'none' or found in text


@given(st.lists(st.tuples(st.from_regex(r'\ACONFIG_(MODULE|CC_|GCC_|CLANG_)[A-Z0-9_]{1,20}\Z'),
                          st.sampled_from(['y', 'm', '"text"', '0x10']))))
def test_configuration_that_was_written_is_read(options):
    written = dict(options)
    text = '\n'.join(['# CONFIG_ABSENT is not set', ''] + ['%s=%s' % item for item in options])
    assert running_kernel.parse_config(text) == {name: value.strip('"') for name, value in written.items()}


@given(st.text())
def test_any_configuration(text):
    assert all(name.startswith('CONFIG_') for name in running_kernel.parse_config(text))


# id: (files, words of what an unsigned helper meets, words of what any helper from memory meets)
LIMITS = {
    'none': ({}, '', ''),
    'signatures': ({LOCKDOWN: 'none [integrity] confidentiality'}, 'signed by a key it trusts', ''),
    'LoadPin': ({'sys/kernel/security/lsm': 'lockdown,loadpin,yama', 'proc/sys/kernel/loadpin/enforce': '1\n'}, '',
                'LoadPin'),
    'LoadPin, as it was called before': (
        {'sys/kernel/security/lsm': 'loadpin', 'proc/sys/kernel/loadpin/enabled': '1\n'}, '', 'LoadPin'),
    'LoadPin that only watches': (
        {'sys/kernel/security/lsm': 'loadpin', 'proc/sys/kernel/loadpin/enforce': '0\n'}, '', ''),
    'LoadPin not there': ({'sys/kernel/security/lsm': 'yama', 'proc/sys/kernel/loadpin/enforce': '1\n'}, '', ''),
    'IMA appraises modules': ({'sys/kernel/security/ima/policy':
                               'measure func=MODULE_CHECK\nappraise func=MODULE_CHECK appraise_type=imasig\n'}, '',
                              'IMA'),
    'IMA measures modules': ({'sys/kernel/security/ima/policy': 'measure func=MODULE_CHECK uid=0\n'}, '', ''),
    'IMA, its policy not to be read': (
        {'proc/cmdline': 'root=/dev/vda ima_policy="tcb|secure_boot" quiet\n'}, '', 'IMA'),
}


@pytest.mark.parametrize(('files', 'unsigned', 'from_memory'), LIMITS.values(), ids=list(LIMITS))
def test_what_the_kernel_would_refuse_to_load_is_known_before(files, unsigned, from_memory, tmp_path):
    for place, text in files.items():
        builders.write(tmp_path, place, text)
    found = running_kernel.read(str(tmp_path), '6.1', 'x86_64')['loads_refused']
    assert unsigned in found['unsigned']
    assert from_memory in found['from_memory']
    assert (bool(found['unsigned']), bool(found['from_memory'])) == (bool(unsigned), bool(from_memory))
