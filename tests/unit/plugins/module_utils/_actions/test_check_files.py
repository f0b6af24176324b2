# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible_facts.kmod_toolchain`` of a host with kernel 6.1: which modules are looked at, and what is said of them."""

import functools
import lzma
import struct
import time

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import check_files
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import host_compilers, module_file, running_kernel
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import pool
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import file_fitness
from kernel_memory import Memory, btf_of, make_root

RELEASE = module_file.read(str(builders.MODULE_FILES / 'healthy-6.1.ko.xz'))['release']
TREE = '/lib/modules/' + RELEASE
VERMAGIC = RELEASE + ' SMP preempt mod_unload modversions '
FILES = {name: lzma.decompress((builders.MODULE_FILES / (name + '-6.1.ko.xz')).read_bytes())
         for name in ('healthy', 'kmod_reset', 'layout_pad', 'no_exit')}
GCC_12 = {'command': 'gcc-12', 'path': '/usr/bin/gcc-12', 'family': 'gcc', 'version': '12.2.0', 'major': '12',
          'vendor': 'Debian', 'target': '', 'text': 'gcc-12 (Debian 12.2.0-14) 12.2.0'}
ADDRESS, CODE = 0xffffffffc0a99000, 0xffffffffc0a96040
LINE = '%s 16384 0 - Live 0xffffffffc0a96000 (OE)\n'
PERMANENT = '%s 16384 0 [permanent], Live 0xffffffffc0a96000 (OE)\n'


class Host:
    """A root directory with the kernel's tree, the module table and the kernel's memory."""

    def __init__(self, directory):
        self.directory = directory
        self.root = str(directory)
        self.table, self.dependencies = '', []
        builders.captured_root('6.1', directory)
        builders.write(directory, 'boot/config-' + RELEASE, builders.captured('6.1', 'config'))
        self.loaded()
        self.file('kernel/drivers/healthy.ko', FILES['healthy'])

    def file(self, place, image, known=True):
        """A module file in the tree, named by modules.dep or not."""
        path = self.directory / TREE.lstrip('/') / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
        if known:
            self.dependencies.append(place + ':\n')
            builders.write(self.directory, TREE.lstrip('/') + '/modules.dep', ''.join(self.dependencies))
        return TREE + '/' + place

    def loaded(self, *lines):
        builders.write(self.directory, 'proc/modules', ''.join(lines))

    def gather(self, names=(), paths=(), scope='loaded', timeout=30):
        return check_files.gather(list(names), list(paths), scope, self.root, timeout)

    def modules(self, **options):
        return self.gather(**options)['facts']['modules']


@pytest.fixture
def host(tmp_path, monkeypatch):
    read = functools.partial(running_kernel.read, release=RELEASE, machine='x86_64')
    monkeypatch.setattr(running_kernel, 'read', read)
    monkeypatch.setattr(host_compilers, 'found', lambda *_arguments: [GCC_12])
    return Host(tmp_path)


# --- the kernel ---------------------------------------------------------------------------------------------------

def test_the_kernel(host):
    make_root(host.directory, 'linux-6.1')
    kernel = check_files.kernel(host.root)
    compiler = kernel.pop('compiler')
    assert (compiler['family'], compiler['version'], compiler['command']) == ('gcc', '12.2.0', 'gcc-12')
    assert kernel == {
        'release': RELEASE, 'arch': 'x86_64', 'module_signatures': 'permissive', 'vermagic': VERMAGIC,
        'crc': module_file.describe(FILES['healthy'], '')['crc'],
        'layout': {'size': 896, 'init': 312, 'exit': 848, 'source': 'btf'}}


def test_without_btf_the_layout_is_that_of_a_module_of_the_tree(host):
    assert check_files.kernel(host.root)['layout'] == {
        'size': 896, 'init': 312, 'exit': 848, 'source': TREE + '/kernel/drivers/healthy.ko'}


# id: (files in the tree beside healthy.ko, what is wrong with it)
NO_REFERENCE = {
    'none': ({}, 'holds no module'),
    'no exit': ({'kernel/a.ko': FILES['no_exit']}, 'none of 1 modules'),
    'damaged': ({'kernel/a.ko': FILES['healthy'][:1000]}, 'none of 1 modules'),
    'of another release': ({'kernel/a.ko': builders.module_image(release='5.10.0')}, 'none of 1 modules'),
    'many without exit': ({'kernel/%d.ko' % number: FILES['no_exit'] for number in range(40)}, 'none of 20 modules'),
    'elsewhere': ({'updates/a.ko': FILES['healthy']}, 'holds no module'),
}


@pytest.mark.parametrize(('files', 'why'), NO_REFERENCE.values(), ids=list(NO_REFERENCE))
def test_without_a_module_of_the_tree_nothing_is_known(files, why, host):
    (host.directory / TREE.lstrip('/') / 'kernel/drivers/healthy.ko').unlink()
    for place, image in files.items():
        host.file(place, image)
    kernel = check_files.kernel(host.root)
    for fact in ('layout', 'vermagic', 'crc'):
        assert why in str(kernel[fact]['unavailable'])
    entry = host.modules(paths=[host.file('extra/b.ko', FILES['healthy'])])['healthy']
    assert (entry['verdict'], entry['severity']) == ('unknown', 'warning')
    assert why in entry['reason']


BANNERS = {
    'both agree': ('gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0', 'gcc', '12.2.0', 'gcc-12'),
    'the banner wins': ('gcc (Debian 9.1.0) 9.1.0', 'gcc', '9.1.0', None),
    'the banner names none': ('x', 'gcc', '12.2.0', 'gcc-12'),
}


@pytest.mark.parametrize(('text', 'family', 'version', 'command'), BANNERS.values(), ids=list(BANNERS))
def test_the_kernels_compiler(text, family, version, command):
    found = check_files.compiler({
        'version_banner': f'Linux version 6.1 (a@b) ({text}, GNU ld 2.40) #1 SMP',
        'config': {'CONFIG_CC_VERSION_TEXT': 'gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0'}})
    assert (found['family'], found['version'], found['command']) == (family, version, command)


@pytest.mark.parametrize('banner', ['Linux version 6.1', {'unavailable': 'no /proc'}])
def test_no_compiler_of_the_kernel_is_known(banner):
    found = check_files.compiler({'version_banner': banner, 'config': {'unavailable': 'none'}})
    assert set(found) == {'unavailable'}


def test_what_is_said_of_the_host(host, monkeypatch):
    host.loaded(LINE % 'healthy')
    facts = host.gather()['facts']
    assert (facts['compilers'], facts['recommended_compiler']['cc']) == ([GCC_12], 'gcc-12')
    assert facts['headers'] == {'dir': TREE + '/build', 'present': False}
    assert facts['kernel']['vermagic'] == VERMAGIC
    monkeypatch.setattr(host_compilers, 'found', lambda *_arguments: [])
    assert host.gather()['facts']['recommended_compiler'] == {
        'unavailable': 'the kernel was built by gcc 12.2.0, and this host has no gcc'}


# --- which modules ------------------------------------------------------------------------------------------------

@pytest.fixture
def tree(host):
    host.file('kernel/net/other-o.ko.xz', lzma.compress(FILES['healthy'].replace(b'name=healthy', b'name=other_o')))
    host.file('updates/dkms/padded.ko', FILES['layout_pad'])
    host.file('extra/stray.ko', FILES['no_exit'], known=False)
    host.file('build/scripts/not_ours.ko', FILES['healthy'], known=False)
    host.file('kernel/drivers/notes.ko.txt', b'', known=False)
    host.loaded(LINE % 'healthy', LINE % 'elsewhere', '%s 1 0 - Live 0x0\n' % 'other_o')
    return host


# id: (options, names found)
SELECTED = {
    'loaded': ({}, ['elsewhere', 'healthy', 'other_o']),
    'names': ({'names': ['other-o', 'nowhere']}, ['nowhere', 'other_o']),
    'names win over a scope': ({'names': ['healthy'], 'scope': 'all'}, ['healthy']),
    'a file': ({'paths': [TREE + '/extra/stray.ko']}, ['no_exit']),
    'a directory': ({'paths': [TREE + '/updates']}, ['layout_pad']),
    'names and a file': ({'names': ['healthy'], 'paths': [TREE + '/extra/stray.ko']}, ['healthy', 'no_exit']),
    'out of tree': ({'scope': 'out_of_tree'}, ['elsewhere', 'healthy', 'layout_pad', 'no_exit']),
    'all': ({'scope': 'all'}, ['elsewhere', 'healthy', 'layout_pad', 'no_exit', 'other_o']),
}


@pytest.mark.parametrize(('options', 'names'), SELECTED.values(), ids=list(SELECTED))
def test_which_modules(options, names, tree):
    assert sorted(tree.modules(**options)) == sorted(names)


def test_a_bad_name_is_refused(host):
    with pytest.raises(KmodError, match="that is no module's name"):
        host.gather(names=['../x'])


def test_a_directory_without_modules_and_a_file_that_is_not_there(host):
    (host.directory / 'empty').mkdir()
    found = host.gather(paths=['/empty', '/gone.ko'])
    assert found['warnings'] == ['/empty holds no module file']
    entry = found['facts']['modules']['gone']
    assert (entry['verdict'], entry['severity'], entry['file']) == ('unknown', 'warning', '/gone.ko')
    assert 'No such file' in entry['reason']
    assert 'No such file' in entry['layout']['unavailable']


def test_two_files_of_one_name(host):
    for place in ('a', 'b'):
        builders.write(host.directory, place + '/x', '')
        (host.directory / place / 'healthy.ko').write_bytes(FILES['healthy'])
    found = host.modules(paths=['/a/healthy.ko', '/b/healthy.ko'])
    assert {name: entry['file'] for name, entry in found.items()} == {
        'healthy': '/a/healthy.ko', '/b/healthy.ko': '/b/healthy.ko'}


def test_without_a_module_table(host):
    (host.directory / 'proc/modules').unlink()
    found = host.gather(paths=[TREE + '/kernel'])
    assert found['facts']['counts']['match'] == 1
    assert 'Cannot read the module table' in found['warnings'][0]
    with pytest.raises(KmodError, match='Cannot read the module table'):
        host.gather()


def test_more_files_than_any_host_has(tree, monkeypatch):
    monkeypatch.setattr(check_files, 'MOST_FILES', 2)
    found = tree.gather(scope='all')
    assert len(found['facts']['modules']) == 2
    assert found['warnings'] == ['5 modules were found; the first 2 are judged']


# --- what is said of them -----------------------------------------------------------------------------------------

def test_a_file_in_full_and_in_short(tree):
    entry = tree.modules(names=['healthy'])['healthy']
    assert entry['compilers'][0]['version'] == '12.2.0'
    assert entry['layout'] == {'size': 896, 'init': 312, 'exit': 848}
    assert (entry['vermagic'], entry['loaded'], entry['verdict']) == (VERMAGIC, True, 'match')
    assert set(entry) == {'file', 'compilers', 'vermagic', 'layout', 'verdict', 'severity', 'reason', 'loaded'}
    found = tree.modules(scope='all')
    assert found['healthy'] == {'file': TREE + '/kernel/drivers/healthy.ko', 'verdict': 'match', 'severity': 'ok',
                                'loaded': True}
    assert set(found['layout_pad']) == set(entry)


def test_sums(tree):
    facts = tree.gather(scope='all')['facts']
    assert {verdict: count for verdict, count in facts['counts'].items() if count} == {'match': 4, 'layout_mismatch': 1}
    assert sorted(facts['counts']) == sorted(file_fitness.VERDICTS)
    assert (facts['mismatched'], facts['permanent']) == (['layout_pad'], ['no_exit'])


def test_a_padded_file_has_both_offsets_in_its_reason(tree):
    entry = tree.modules(names=['padded'])['padded']
    assert (entry['verdict'], entry['severity'], entry['loaded']) == ('layout_mismatch', 'error', False)
    assert 'exit at 864 instead of 848' in entry['reason']


# id: (what is loaded, asked for, verdict, severity, words)
WITHOUT_FILE = {
    'live': ([LINE % 'x'], 'x', 'match', 'ok', 'the kernel has found its exit function'),
    'coming': (['x 16384 1 - Loading 0xffffffffc0a96000 (OE+)\n'], 'x', 'unknown', 'warning', 'has it as coming'),
    'absent': ([], 'x', 'unknown', 'warning', 'x is not loaded, and modules.dep of'),
    'builtin': ([], 'ext4', 'match', 'ok', 'ext4 is built into the kernel'),
}


@pytest.mark.parametrize(('table', 'name', 'verdict', 'severity', 'words'), WITHOUT_FILE.values(),
                         ids=list(WITHOUT_FILE))
def test_a_module_whose_file_is_not_known(table, name, verdict, severity, words, host):
    host.loaded(*table)
    builders.write(host.directory, TREE.lstrip('/') + '/modules.builtin', 'kernel/fs/ext4/ext4.ko\n')
    entry = host.modules(names=[name])[name]
    assert (entry['verdict'], entry['severity']) == (verdict, severity)
    assert words in entry['reason']
    assert set(entry['layout']) == {'unavailable'}


def in_memory(host, exit_at, cleanup=True):
    """A loaded module x that the kernel calls permanent, with the address of its exit at that place in its memory."""
    types = btf_of('linux-6.1')
    data = bytearray(types.size('module'))
    for member, form, value in (('name', '56s', b'x'), ('mkobj.mod', '<Q', ADDRESS), ('init', '<Q', CODE - 64),
                                ('refcnt', '<i', 1)):
        struct.pack_into(form, data, types.offset('module', member), value)
    if exit_at:
        struct.pack_into('<Q', data, exit_at, CODE)
    memory = Memory()
    memory.write(ADDRESS, bytes(data))
    make_root(host.directory, 'linux-6.1', memory)
    symbols = '%x t f_exit\t[x]\n' % CODE + ('%x t cleanup_module\t[x]\n' % CODE if cleanup else '')
    builders.write(host.directory, 'proc/kallsyms', symbols)
    builders.write(host.directory, 'sys/module/x/sections/.gnu.linkonce.this_module', '0x%x\n' % ADDRESS)
    host.loaded(PERMANENT % 'x')


def test_a_lost_exit_is_found_in_the_loaded_module(host):
    in_memory(host, exit_at=864)
    facts = host.gather()['facts']
    entry = facts['modules']['x']
    assert (entry['verdict'], entry['severity'], entry['layout']['exit']) == ('layout_mismatch', 'error', 864)
    assert 'it is at 864, and the kernel looks at 848' in entry['reason']
    assert 'kmod_force_unload' in entry['reason']
    assert (facts['mismatched'], facts['permanent']) == (['x'], [])


def test_a_lost_exit_that_is_nowhere_in_memory(host):
    in_memory(host, exit_at=None)
    entry = host.modules()['x']
    assert (entry['verdict'], entry['layout']) == (
        'layout_mismatch', {'unavailable': 'its struct module holds no pointer to its exit where one may be'})
    assert 'another layout' in entry['reason']


def test_what_is_loaded_counts_more_than_the_file_of_its_name(host):
    in_memory(host, exit_at=864)
    host.file('kernel/x.ko', FILES['healthy'])
    entry = host.modules()['x']
    assert (entry['verdict'], entry['loaded'], entry['layout']['exit']) == ('layout_mismatch', True, 864)


def test_a_file_asked_for_is_judged_by_itself(host):
    host.loaded(PERMANENT % 'healthy')
    path = TREE + '/kernel/drivers/healthy.ko'
    assert host.modules(names=['healthy'])['healthy']['verdict'] == 'unknown'
    for asked in (path, TREE + '/kernel/drivers'):
        assert host.modules(paths=[asked])['healthy']['verdict'] == 'match'


def test_another_build_than_the_file(host):
    in_memory(host, exit_at=None, cleanup=False)
    host.file('kernel/x.ko', FILES['healthy'])
    entry = host.modules()['x']
    assert (entry['verdict'], entry['severity']) == ('unknown', 'warning')
    assert 'another build' in entry['reason']


def test_symbols_that_are_hidden_prove_nothing(host):
    in_memory(host, exit_at=864)
    builders.write(host.directory, 'proc/kallsyms', '0000000000000000 t cleanup_module\t[x]\n')
    facts = host.gather()['facts']
    assert (facts['modules']['x']['verdict'], facts['modules']['x']['severity']) == ('unknown', 'warning')
    assert 'hidden' in facts['modules']['x']['reason']
    assert facts['permanent'] == []


def test_permanent_by_design(host):
    in_memory(host, exit_at=None, cleanup=False)
    facts = host.gather()['facts']
    assert facts['permanent'] == ['x']
    assert (facts['modules']['x']['verdict'], facts['modules']['x']['severity']) == ('match', 'ok')
    host.file('kernel/x.ko', FILES['no_exit'])
    facts = host.gather()['facts']
    assert facts['permanent'] == ['x']
    assert 'permanent by design' in facts['modules']['x']['reason']


# --- files that resist --------------------------------------------------------------------------------------------

def test_a_file_that_is_never_read(host, monkeypatch):
    read = module_file.read

    def hang(path, shown):
        return time.sleep(60) if 'hang' in path else read(path, shown)

    monkeypatch.setattr(module_file, 'read', hang)
    host.file('updates/hang.ko', FILES['healthy'])
    found = host.modules(paths=[TREE], timeout=3)
    assert found['healthy']['verdict'] == 'match'
    assert found['hang']['reason'] == TREE + '/updates/hang.ko was not read within 3 seconds.'


def test_a_fault_of_ours_costs_one_file(host, monkeypatch):
    read = module_file.read

    def fail(path, shown):
        return 1 // 0 if 'odd' in path else read(path, shown)

    monkeypatch.setattr(module_file, 'read', fail)
    host.file('updates/odd.ko', FILES['healthy'])
    found = host.modules(paths=[TREE])
    assert (found['healthy']['verdict'], found['odd']['verdict']) == ('match', 'unknown')
    assert 'ZeroDivisionError' in found['odd']['reason']


def test_the_whole_tree_is_shared_out(host, monkeypatch):
    seen = []
    share = pool.share
    monkeypatch.setattr(pool, 'share', lambda *arguments: seen.append(len(arguments[1])) or share(*arguments))
    for number in range(70):
        host.file('kernel/many/m%d.ko' % number, builders.module_image(name='m%d' % number))
    facts = host.gather(scope='all')['facts']
    assert (len(facts['modules']), seen) == (71, [71])
