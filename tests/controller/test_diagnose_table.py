# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of the playbook diagnose, whole: what kmod_facts says of the captured host, and holders of every kind."""

import json

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import module_facts
from engine import rendered
from kernel_memory import write_files

TEMPLATE = builders.CAPTURES.parents[2] / 'playbooks/templates/diagnose.txt.j2'
STATUS = '%d (%s) S 1 1 1 0 -1 4194560 0 0 0 0 0 1 0 0 20 0 1 0 500 0 0'
STACK = '[<0>] f_init+0x21/0x1000 [init_hang]\n[<0>] do_one_initcall+0x56/0x220\n'
MOUNT = '22 27 0:21 / /mnt/my\\040disk rw - cdev_busy none rw\n'


def table(answers, names):
    """The lines, by Ansible's own template engine."""
    variables = {'ansible_play_hosts_all': list(answers), 'diagnose_names': names,
                 'hostvars': {host: {'diagnose_answer': answer} for host, answer in answers.items()}}
    return rendered(TEMPLATE, variables).splitlines()


def answered(facts):
    """What a task registers."""
    return {'changed': False, 'failed': False, 'ansible_facts': {'kmod': facts}}


def module(verdict='in_use', method='none', following='Close them', **facts):
    """The facts of a module, as far as the table shows them."""
    diagnosis = {'verdict': verdict, 'reason': 'The reason.', 'method': method, 'next': following}
    return dict(facts, diagnosis=diagnosis)


def holders(**kinds):
    """Holders as kmod_facts returns them: nothing found."""
    return dict({kind: [] for kind in ('modules', 'tasks', 'processes', 'mounts', 'network', 'devices', 'protocols',
                                       'algorithms', 'others', 'unread', 'notes')}, **kinds)


@pytest.fixture
def captured(tmp_path):
    """What kmod_facts says of a captured host with stuck modules, one of them with a task and one with a mount."""
    root = builders.captured_root('6.1', tmp_path)
    write_files(root, {
        'proc/1876/task/1876/stack': STACK, 'proc/1876/task/1876/syscall': '175 0x1 0x2 0x0',
        'proc/1876/task/1876/comm': 'insmod\n', 'proc/1876/task/1876/stat': STATUS % (1876, 'insmod'),
        'proc/1876/stat': STATUS % (1876, 'insmod'), 'proc/self/ns/pid': '-> pid:[4026531836]',
        'proc/1876/ns/mnt': '-> mnt:[1]', 'proc/1876/mountinfo': MOUNT,
        'sys/class/net/lo/mtu': '', 'proc/net/protocols': '', 'proc/crypto': '', 'proc/devices': '',
    })
    write_files(root, {f'sys/module/{name}/refcnt': '' for name in ('ccp', 'cdev_busy', 'init_hang', 'no_exit')})
    write_files(root, {'sys/module/no_exit/sections/.gnu.linkonce.this_module': '0xffffffffc0a88040\n'})

    def gather(names):
        found = module_facts.answer(names, ['all'], 60, root)['facts']
        return answered(json.loads(json.dumps(found).replace(root, '')))

    return gather


CAPTURED = '''\
HOST             MODULE     VERDICT         METHOD  HOLDERS
web1             ccp        has_dependents  none    module kvm_amd
                                                    not known: network devices in other namespaces: Cannot \
find what uses the module: the
                                                      address of its struct module is not known:
                                                      /sys/module/ccp/sections/.gnu.linkonce.this_module: No \
such file or directory.
                                                    processes, mounts not known: Cannot find what uses the \
module: the address of its struct
                                                      module is not known: \
/sys/module/ccp/sections/.gnu.linkonce.this_module: No such file or
                                                      directory.
    why:  ccp is used by the modules kvm_amd.
    next: ansible web1 -b -m kernelops.kmod.kmod_force_unload -a 'name=ccp cascade=true'
web1             cdev_busy  in_use          none    mount /mnt/my disk (in the mount namespace of pid 1876)
                                                    not known: network devices in other namespaces: Cannot \
find what uses the module: the
                                                      address of its struct module is not known:
                                                      \
/sys/module/cdev_busy/sections/.gnu.linkonce.this_module: No such file or directory.
                                                    processes not known: Cannot find what uses the module: \
the address of its struct module is
                                                      not known: \
/sys/module/cdev_busy/sections/.gnu.linkonce.this_module: No such file or
                                                      directory.
    why:  cdev_busy is held by mount /mnt/my disk (in the mount namespace of pid 1876).
    next: End what holds it: nsenter -t 1876 -m umount '/mnt/my disk'. accept_hazards=in_use overrides this \
at the risk of the host: what
          still uses it calls code that is gone, and crashes the host or loses what it did
web1             init_hang  init_waiting    none    task insmod (pid 1876) in f_init
                                                    not known: network devices in other namespaces: Cannot \
find what uses the module: the
                                                      address of its struct module is not known:
                                                      \
/sys/module/init_hang/sections/.gnu.linkonce.this_module: No such file or directory.
                                                    processes, mounts not known: Cannot find what uses the \
module: the address of its struct
                                                      module is not known: \
/sys/module/init_hang/sections/.gnu.linkonce.this_module: No such
                                                      file or directory.
    why:  The init of init_hang has not returned: insmod (pid 1876, in f_init).
    next: Let it finish, or end what it waits for; when it never does, only a reboot helps. \
accept_hazards=running_task,reachability_unknown
          overrides this at the risk of the host: a task that runs in freed code crashes the host; whatever \
it left in the kernel that
          nobody has seen calls code that is gone, and crashes the host
web1             no_exit    no_exit         park    not known: network devices in other namespaces: Cannot \
find network devices by the
                                                      module's memory: Cannot read the kernel's types from \
/sys/kernel/btf/vmlinux: No such file
                                                      or directory. The kernel needs CONFIG_DEBUG_INFO_BTF.
                                                    processes not known: Cannot read the kernel's types from \
/sys/kernel/btf/vmlinux: No such
                                                      file or directory. The kernel needs CONFIG_DEBUG_INFO_BTF.
                                                    mounts not known: Cannot find the kernel's super_blocks: \
/proc/kallsyms does not give its
                                                      address.
    why:  no_exit has no exit function, so the kernel calls it permanent.
    next: ansible-playbook kernelops.kmod.force_unload -l web1 -e '{force_unload_names: [no_exit]}'
web1             nowhere    absent          none    -
    why:  nowhere is not loaded.
    next: nothing
db1.example.org  -          no answer       -       -
    why:  Failed to connect to the host via ssh: Connection refused
'''


def test_the_table_of_a_captured_host_is_this(captured):
    answer = captured(['ccp', 'cdev_busy', 'init_hang', 'no_exit', 'nowhere'])
    silent = {'unreachable': True, 'msg': 'Failed to connect to the host via ssh:\n Connection refused\n'}
    assert table({'web1': answer, 'db1.example.org': silent}, ['any']) == CAPTURED.splitlines()


def test_of_all_modules_only_the_stuck_are_shown(captured):
    shown = [row.split()[1] for row in table({'web1': captured([])}, []) if row.startswith('web1')]
    assert shown == ['exit_oops', 'init_hang', 'init_oops', 'no_exit']


@pytest.mark.parametrize('command', [
    "ansible-playbook kernelops.kmod.force_unload -l %s -e '{force_unload_names: [foo]}'",
    "ansible %s -b -m kernelops.kmod.kmod_force_unload -a 'name=foo cascade=true'"])
def test_a_command_stays_in_one_line(command):
    host = 'web1.%s.example.org' % ('a' * 60)
    answer = answered({'modules': {'foo': module('no_exit', 'park', command % 'HOST')}})
    assert '    next: ' + command % host in table({host: answer}, ['foo'])


def test_a_host_where_nothing_is_stuck_has_a_line():
    answer = answered({'modules': {'foo': module('unloadable', 'plain'), 'bar': module('in_use')}})
    failed = {'failed': True, 'msg': 'No table.', 'ansible_facts': {'discovered_interpreter_python': '/x'}}
    assert table({'web1': answer, 'web2': {}, 'web3': failed}, []) == [
        'HOST  MODULE  VERDICT     METHOD  HOLDERS',
        'web1  -       none stuck  -       -',
        'web2  -       no answer   -       -',
        '    why:  the host was not reached',
        'web3  -       no answer   -       -',
        '    why:  No table.',
    ]


# id: (holders of a module, what its column says)
HOLDERS = {
    'none': (holders(), ['-']),
    'process': (holders(processes=[builders.holder('process sleep (pid 812) with /dev/foo open')]),
                ['process sleep (pid 812) with /dev/foo open']),
    'mount': (holders(mounts=[builders.holder('mount /run/ext2')]), ['mount /run/ext2']),
    'network device': (holders(network=[builders.holder('network device dummy0')]), ['network device dummy0']),
    'disk': (holders(devices=[builders.holder('disk loop0')]), ['disk loop0']),
    'protocol': (holders(protocols=[builders.holder('2 sockets of protocol SCTP')]), ['2 sockets of protocol SCTP']),
    'algorithm': (holders(algorithms=[builders.holder('users of sha1')]), ['users of sha1']),
    'any other kind': (holders(others=[builders.holder('queueing discipline htb on eth0')]),
                       ['queueing discipline htb on eth0']),
    'a kind that could not be read': (holders(unread=['queueing disciplines: EPERM']),
                                      ['not known: queueing disciplines: EPERM']),
    'dependents': (holders(modules=['bar', 'baz']), ['module bar', 'module baz']),
    'task': (holders(tasks=[{'pid': 1, 'command': 'rmmod', 'function': 'f_exit', 'kernel_thread': False}]),
             ['task rmmod (pid 1) in f_exit']),
    'kernel thread': (holders(tasks=[{'pid': 2, 'command': 'lab', 'function': 'f', 'kernel_thread': True}]),
                      ['kernel thread lab (pid 2) in f']),
    'text of two lines': (holders(network=[builders.holder('network device a\nb\t c')]), ['network device a b c']),
    'not looked for': ({'modules': [], 'tasks': []}, ['not looked for']),
    'not looked for, with the reason': ({'unavailable': 'not looked for: ask for foo by name', 'modules': []},
                                        ['not looked for: ask for foo by name']),
    'some not known': (dict(holders(network={'unavailable': 'b'}), mounts={'unavailable': 'a'},
                            protocols={'unavailable': 'a'}),
                       ['mounts, protocols not known: a', 'network not known: b']),
    'many': (holders(modules=['m%d' % number for number in range(13)]),
             ['module m%d' % number for number in range(10)] + ['and 3 more']),
}


@pytest.mark.parametrize(('found', 'column'), HOLDERS.values(), ids=list(HOLDERS))
def test_holders_are_named(found, column):
    rows = table({'web1': answered({'modules': {'foo': module(holders=found)}})}, ['foo'])
    at = rows[0].index('HOLDERS')
    assert [row[at:] for row in rows[1:-2]] == column
    assert rows[-2:] == ['    why:  The reason.', '    next: Close them']
