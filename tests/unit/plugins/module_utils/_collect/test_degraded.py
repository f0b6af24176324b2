# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kmod_facts on a host that hides part of its kernel: what can still be had is there, each other fact says why not."""

import errno
import os
import struct

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import module_facts
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import log_source
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import btf, kcore
from kernel_memory import CAPTURES, Memory, btf_of, make_root, write_files

KERNEL = 'linux-6.1'
TABLE = '''\
layout_pad 16384 0 [permanent], Live 0x{0:x} (OE)
init_oops 28672 1 - Loading 0x{1:x} (OE+)
held 16384 1 - Live 0x{2:x} (OE)
used 16384 1 user, Live 0x{2:x}
'''
CODE = (0xffffffffc0a7d000, 0xffffffffc0a96000, 0xffffffffc0a87000)
# name: (address of struct module, its state, refcount and exit)
STRUCTS = {'layout_pad': (0xffffffffc0a7e040, 0, 1, 0), 'init_oops': (0xffffffffc0a98040, 1, 2, 0xffffffffc0a96010),
           'held': (0xffffffffc0a88040, 0, 2, 0xffffffffc0a87010),
           'used': (0xffffffffc0a89040, 0, 2, 0xffffffffc0a87010)}
SYMBOLS = '''\
{1:016x} D init_task
{1:016x} D super_blocks
{0:016x} t cleanup_module\t[layout_pad]
'''
OOPS = (CAPTURES / KERNEL / 'oops/1.txt').read_text().splitlines()
MOUNTS = '22 27 0:21 / /mnt rw - held none rw\n'

HIDDEN = 'kptr_restrict=2'
LOCKED = 'Operation not permitted: lockdown=confidentiality'
UNTYPED = 'sys/kernel/btf/vmlinux'
NO_MEMORY = 'the kernel needs CONFIG_PROC_KCORE'
# id: (reason for the pointers, verdict and method of layout_pad, reason for the open files of a module)
HOSTS = {
    'nothing in the way': (None, 'exit_lost', None),
    'kptr_restrict=2': (HIDDEN, 'no_exit', 'the address of its struct module is not known'),
    'lockdown=confidentiality': (LOCKED, 'exit_lost', LOCKED),
    'no BTF': (UNTYPED, 'exit_lost', UNTYPED),
    'no kcore': (NO_MEMORY, 'exit_lost', NO_MEMORY),
}


def memory():
    """The struct modules, as this kernel lays them out."""
    types, found = btf_of(KERNEL), Memory()
    for name, (address, state, refcount, leave) in STRUCTS.items():
        data = bytearray(types.size('module'))
        for member, form, value in (('state', '<I', state), ('name', '56s', name.encode()), ('refcnt', '<i', refcount),
                                    ('mkobj.mod', '<Q', address), ('init', '<Q', builders.INIT), ('exit', '<Q', leave)):
            struct.pack_into(form, data, types.offset('module', member), value)
        found.write(address, bytes(data))
    return found


@pytest.fixture
def facts(tmp_path, monkeypatch):
    """What kmod_facts says of a host, by what stands in the way there."""
    def gather(host):
        hidden = host == 'kptr_restrict=2'
        root = make_root(tmp_path, None if host == 'no BTF' else KERNEL, None if host == 'no kcore' else memory())
        files = {'sys/module/%s/sections/.gnu.linkonce.this_module' % name: '0x%016x\n' % (0 if hidden else address[0])
                 for name, address in STRUCTS.items()}
        files.update({'sys/module/%s/initstate' % name: '' for name in STRUCTS})
        write_files(root, dict(files, **{
            'proc/modules': TABLE.format(*[0 if hidden else address for address in CODE]),
            'proc/kallsyms': SYMBOLS.format(*(0, 0) if hidden else (CODE[0], 0xffffffffb0000000)),
            'proc/version': 'Linux version 6.1.0 (gcc)\n',
            'proc/sys/kernel/tainted': '12416\n', 'proc/sys/kernel/kptr_restrict': '2\n' if hidden else '0\n',
            'proc/sys/kernel/modules_disabled': '0\n', 'proc/sys/kernel/panic_on_oops': '0\n',
            'sys/kernel/security/lockdown': 'none integrity [confidentiality]\n' if host.startswith('lockdown')
            else '[none] integrity confidentiality\n',
            'proc/1/task/1/stack': '', 'proc/1/task/1/syscall': '1', 'proc/1/ns/mnt': '-> mnt:[1]',
            'proc/1/mountinfo': MOUNTS, 'proc/devices': '', 'proc/net/protocols': '', 'proc/crypto': '',
            'sys/class/net/lo/mtu': '',
        }))
        real = os.open

        def refuse(path, *arguments, **options):
            if str(path).endswith('proc/kcore'):
                raise PermissionError(errno.EPERM, 'Operation not permitted', path)
            return real(path, *arguments, **options)

        if host.startswith('lockdown'):
            monkeypatch.setattr(kcore.os, 'open', refuse)
        monkeypatch.setattr(log_source, 'read', lambda _root, **_how: OOPS)
        monkeypatch.setattr(btf, '_running', {})
        return module_facts.answer(list(STRUCTS), ['all'], 60, root)['facts']

    return gather


def missing(value, path=''):
    """Each fact that cannot be had: where it stands, and the reason."""
    if value is None:
        return [(path, '')]
    if isinstance(value, dict):
        if 'unavailable' in value:
            return [(path, value['unavailable'])]
        return [found for key, item in value.items() for found in missing(item, f'{path}.{key}')]
    return []


@pytest.mark.parametrize('host', HOSTS)
def test_what_can_be_had_is_there(facts, host):
    found = facts(host)
    kernel, modules = found['kernel'], found['modules']
    assert kernel['taint']['flags'] == ['died', 'out_of_tree_module', 'unsigned_module']
    assert kernel['kptr_restrict'] == (2 if HOSTS[host][0] == HIDDEN else 0)
    assert kernel['lockdown'] == ('confidentiality' if HOSTS[host][0] == LOCKED else 'none')
    assert [(entry['state'], entry['refcount'], entry['size'], entry['permanent'], entry['taint'])
            for entry in modules.values()] == [
        ('live', 0, 16384, True, 'OE'), ('coming', 1, 28672, False, 'OE'), ('live', 1, 16384, False, 'OE'),
        ('live', 1, 16384, False, '')]
    assert modules['used']['used_by'] == ['user']
    assert modules['init_oops']['oops']['cause'].startswith('kernel NULL pointer dereference')
    assert [entry['diagnosis']['verdict'] for entry in modules.values()] == [
        HOSTS[host][1], 'init_died', 'in_use', 'has_dependents']


@pytest.mark.parametrize('host', HOSTS)
def test_pointers_are_there_or_say_why(facts, host):
    reason = HOSTS[host][0]
    for name, entry in facts(host)['modules'].items():
        if reason is None:
            assert entry['pointers']['module'] == '0x%x' % STRUCTS[name][0]
            assert entry['pointers']['refcount'] == STRUCTS[name][2]
        else:
            assert set(entry['pointers']) == {'unavailable'}
            assert reason in entry['pointers']['unavailable']


@pytest.mark.parametrize('host', HOSTS)
def test_no_reset_is_promised_where_addresses_or_registrations_are_hidden(facts, host):
    found = facts(host)['modules']
    hidden = HOSTS[host][0] == HIDDEN
    diagnosis = found['init_oops']['diagnosis']
    assert diagnosis['method'] == ('none' if hidden else 'park')
    assert ('sysctl kernel.kptr_restrict=1' in diagnosis['next']) is hidden
    if not hidden:
        # There is no compiled helper on this host.
        assert 'ansible-playbook kernelops.kmod.force_unload -l HOST' in diagnosis['next']
        assert ('force_unload_sign_key' in diagnosis['next']) is (HOSTS[host][0] == LOCKED)
    for name, address in zip(('layout_pad', 'init_oops', 'held'), CODE):
        assert found[name]['address'] == ({'unavailable': (
            '/proc/modules shows 0: addresses are hidden, or all of its code is gone with its init')} if hidden
            else '0x%x' % address)


def test_an_address_0_where_none_is_hidden_says_why(facts, monkeypatch):
    monkeypatch.setitem(globals(), 'CODE', (0, *CODE[1:]))
    assert facts('nothing in the way')['modules']['layout_pad']['address'] == {
        'unavailable': '/proc/modules shows 0: all of its code is gone with its init'}


@pytest.mark.parametrize('host', [host for host in HOSTS if HOSTS[host][2]])
def test_holders_are_found_the_lesser_way_or_say_why(facts, host):
    holders = facts(host)['modules']['held']['holders']
    assert HOSTS[host][2] in holders['processes']['unavailable']
    assert [mount['path'] for mount in holders['mounts']] == ['/mnt']
    assert [mount['evidence'] for mount in holders['mounts']] == ['/proc/PID/mountinfo']
    # Where the lesser way found something, the reason for taking it is a note.
    assert any(HOSTS[host][2] in note for note in holders['notes'])
    assert holders['network'] == []


@pytest.mark.parametrize('host', HOSTS)
def test_no_fact_is_missing_without_a_reason(facts, host):
    silent = [path for path, reason in missing(facts(host)) if len(reason) < 10]
    assert silent == []


def test_symbols_that_are_hidden_are_named_in_the_verdict(facts):
    diagnosis = facts('kptr_restrict=2')['modules']['layout_pad']['diagnosis']
    assert 'its symbols: Cannot read kernel symbols: the addresses in /proc/kallsyms are hidden' in diagnosis['reason']
