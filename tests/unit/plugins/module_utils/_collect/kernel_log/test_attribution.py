# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who died, by the whole trace: each row is a way to die, and whose init or exit it ended, with which locks."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import attribution, oops
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import crashes


def died(function, module, *trace, **more):
    """A report of an oops, its trace from the fault outwards; ``f [m]`` is short for a line of it."""
    lines = []
    for frame in trace:
        guess, name = ('? ', frame[2:]) if frame.startswith('? ') else ('', frame)
        function_name, _space, owner = name.partition(' ')
        lines.append(f'{guess}{function_name}+0x1/0x2' + (f' {owner}' if owner else ''))
    return dict({'kind': 'oops', 'function': function, 'module': module, 'trace': lines}, **more)


LOAD = ('do_one_initcall', 'do_init_module', 'load_module', '__do_sys_finit_module', 'do_syscall_64')
UNLOAD = ('__do_sys_delete_module.constprop.0', 'do_syscall_64')
PROBE = ('platform_probe', 'really_probe', '__driver_probe_device', 'driver_probe_device', '__driver_attach',
         'bus_for_each_dev', 'bus_add_driver', 'driver_register')
WORK = ('process_one_work', 'worker_thread', 'kthread', 'ret_from_fork')

# id: (the report, died_in, of, call, locks)
DEATHS = {
    'in its own init': (died('f_init', 'foo', 'f_init [foo]', *LOAD), 'init', 'foo', 'init', []),
    'in its own exit': (died('f_exit', 'foo', 'f_exit [foo]', *UNLOAD), 'exit', 'foo', 'exit', []),
    'exit, SyS_': (died('f_exit', 'foo', 'f_exit [foo]', 'SyS_delete_module'), 'exit', 'foo', 'exit', []),
    'exit, 32 bits': (died('f_exit', 'foo', '__ia32_compat_sys_delete_module'), 'exit', 'foo', 'exit', []),
    'init, by init_module': (died('f_init', 'foo', 'f_init [foo]', 'do_one_initcall', '__x64_sys_init_module'), 'init',
                             'foo', 'init', []),
    'in memcpy that its init called': (died('memcpy_erms', '', 'f_init [foo]', *LOAD), 'init', 'foo', 'init', []),
    'in a function that may hold a lock': (died('kmem_cache_free', '', 'f_exit [foo]', *UNLOAD), 'exit', 'foo', 'exit',
                                           ['in kmem_cache_free']),
    'a broken list in such a function': (
        died('__list_del_entry_valid', '', 'unregister_foo', 'f_exit [foo]', *UNLOAD), 'exit', 'foo', 'exit',
        ['in unregister_foo']),
    'in a module below': (died('core_do', 'foo_core', 'core_do [foo_core]', 'f_init [foo]', *LOAD), 'init', 'foo',
                          'init', ['in core_do']),
    'in a notifier of another module, called by its init': (
        died('b_event', 'bar', 'b_event [bar]', 'raw_notifier_call_chain', 'register_netdevice', 'f_init [foo]', *LOAD),
        'init', 'foo', 'init', ['rtnl', 'in b_event']),
    'a tail-called exit': (died('f_remove', 'foo', 'f_remove [foo]', 'pci_unregister_driver', *UNLOAD), 'exit', 'foo',
                           'exit', []),
    'in the removal of a device': (
        died('f_remove', 'foo', 'f_remove [foo]', 'pci_device_remove', 'device_release_driver_internal',
             'driver_detach', 'f_exit [foo]', *UNLOAD), 'exit', 'foo', 'exit', ['device_lock']),
    'in the probe that its init started': (
        died('f_probe', 'foo', 'f_probe [foo]', *PROBE, 'f_init [foo]', *LOAD), 'probe', 'foo', 'init',
        ['device_lock']),
    'in an asynchronous probe': (
        died('f_probe', 'foo', 'f_probe [foo]', *PROBE[:4], '__driver_attach_async_helper', 'async_run_entry_fn',
             *WORK),
        'probe', 'foo', None, ['device_lock', 'async']),
    'in a network device\'s callback under rtnl': (
        died('f_uninit', 'foo', 'f_uninit [foo]', 'unregister_netdevice_many', 'unregister_netdev', 'f_exit [foo]',
             *UNLOAD), 'exit', 'foo', 'exit', ['rtnl']),
    'in a CPU callback': (died('f_online', 'foo', 'f_online [foo]', 'cpuhp_issue_call', '__cpuhp_setup_state',
                               'f_init [foo]', *LOAD), 'init', 'foo', 'init', ['cpu_hotplug_lock']),
    'in a namespace callback': (died('f_net_init', 'foo', 'f_net_init [foo]', 'ops_init', 'register_pernet_operations',
                                     'register_pernet_subsys', 'f_init [foo]', *LOAD), 'init', 'foo', 'init',
                                ['pernet_ops_rwsem']),
    'in its work': (died('f_work', 'foo', 'f_work [foo]', *WORK), 'worker', 'foo', None, []),
    'in a work function of the kernel, called for it': (
        died('strlen', '', 'f_name [foo]', *WORK), 'worker', 'foo', None, []),
    'in its thread': (died('f_thread', 'foo', 'kthread', 'ret_from_fork'), 'worker', 'foo', None, []),
    'in a worker, code without a name': (
        died(unavailable('nameless'), unavailable('nameless'), *WORK, freed_code=True, last_unloaded='foo'), 'worker',
        'foo', None, []),
    'in an ioctl': (died('f_ioctl', 'foo', 'f_ioctl [foo]', '__x64_sys_ioctl', 'do_syscall_64'), None, None, None, []),
    'in the kernel alone': (died('kfree', '', 'do_exit', 'do_syscall_64'), None, None, None, []),
    'in the loader itself': (died('static_call_module_notify', '', 'blocking_notifier_call_chain', 'load_module',
                                  '__do_sys_finit_module'), None, None, None, ['module notifier chain']),
    'a builtin init at boot': (died('b_init', '', 'do_one_initcall', 'kernel_init_freeable'), None, None, None, []),
    'a guess is the rest of an earlier call': (
        died('f_init', 'foo', 'f_init [foo]', '? old [bar]', *LOAD), 'init', 'foo', 'init', []),
    'only guesses': (died('f_init', 'foo', '? f_init [foo]', '? do_one_initcall'), 'init', 'foo', 'init', []),
    'no symbol names, its loader died in it': (
        died(unavailable('nameless'), 'foo', loading=['foo'], task='modprobe'), 'init', 'foo', 'init',
        ['in code without names']),
    'no symbol names, its unloader died in it': (
        died(unavailable('nameless'), 'foo', loading=[], unloading=['foo'], task='rmmod'), 'exit', 'foo', 'exit',
        ['in code without names']),
    'no symbol names, its loader died in a module below': (
        died(unavailable('nameless'), 'lib', loading=['foo', 'old'], code_of=['lib', 'foo'], task='python3'), 'init',
        'foo', 'init', ['in code without names']),
    'no symbol names, a worker of it died while it was loaded': (
        died(unavailable('nameless'), 'foo', loading=['foo'], task='kworker/0:1', workqueue='events'), None, None, None,
        []),
    'no symbol names, somebody died in it while it was loaded': (
        died(unavailable('nameless'), 'foo', loading=['foo'], task='cat'), None, None, None, []),
    'the trace is lost, it was being loaded': (
        died('f_read', 'foo', loading=['foo'], task='modprobe'), None, None, None, []),
    'no symbol names, in another module': (
        died(unavailable('nameless'), 'bar', loading=['foo'], task='modprobe'), None, None, None, []),
    'an earlier call of a task that died in another': (
        died('f_ioctl', 'foo', '? __do_sys_delete_module', '? f_x [foo]', '__x64_sys_ioctl', 'do_syscall_64'), None,
        None, None, []),
    'an earlier call, the kernel sure of nothing': (
        died('f_ioctl', 'foo', '? f_ioctl [foo]', '? SyS_ioctl', '? do_syscall_64', '? SyS_delete_module'), None, None,
        None, []),
    'the unwinder lost its way': (
        died('f_init', 'foo', 'f_do [foo]', '? f_init [foo]', '? do_one_initcall', '? do_init_module'), 'init', 'foo',
        'init', []),
    'a tail-called exit, in the module below': (
        died('core_unregister', 'core', *UNLOAD, loading=[], unloading=['foo'], settled=['core']), 'exit', 'foo',
        'exit', ['in core_unregister']),
    'the same, two are being unloaded': (
        died('core_unregister', 'core', *UNLOAD, loading=[], unloading=['foo', 'bar'], settled=['core']), None, None,
        None, []),
    'the same, and the list of modules is lost': (
        died('core_unregister', 'core', *UNLOAD), 'exit', 'core', 'exit', []),
    'a tail-called init, in the kernel': (
        died('kthread_create_on_node', '', *LOAD, loading=['foo'], unloading=[], settled=[]), 'init', 'foo', 'init',
        ['in kthread_create_on_node']),
    'in the notifier of another module, after its exit': (
        died('b_note', 'bar', 'notifier_call_chain', 'blocking_notifier_call_chain', *UNLOAD, loading=[],
             unloading=['foo'], settled=['bar']), 'exit', 'foo', 'exit', ['module notifier chain', 'in b_note']),
    'the same, two are being unloaded, after the exit of one': (
        died('b_note', 'bar', 'b_note [bar]', 'notifier_call_chain', 'blocking_notifier_call_chain', *UNLOAD,
             loading=[], unloading=['foo', 'old'], settled=['bar']), None, None, None, ['module notifier chain']),
    'after its exit': (
        died('kfree', '', 'free_module', *UNLOAD, loading=[], unloading=['foo'], settled=[]), None, None, None, []),
    'before its init': (
        died('kfree', '', 'percpu_modalloc', 'load_module', '__do_sys_finit_module', loading=['foo'], settled=[]), None,
        None, None, []),
    'setting a parameter': (
        died('f_set', 'foo', 'f_set [foo]', 'parse_args', 'load_module', '__do_sys_finit_module'), 'init', 'foo',
        'init', ['param_lock']),
    'in the kernel, under the lock of the network': (
        died('kobject_add', '', 'netdev_register_kobject', 'register_netdevice', 'f_init [foo]', *LOAD), 'init', 'foo',
        'init', ['rtnl', 'in kobject_add']),
    'a null pointer called by the kernel': (
        died('f_exit', 'foo', 'core_do', 'f_exit [foo]', *UNLOAD, pc=0), 'exit', 'foo', 'exit', ['in core_do']),
    'called back by what may hold a lock': (
        died('f_each', 'foo', 'f_each [foo]', 'core_for_each', 'core_list', 'f_init [foo]', *LOAD), 'init', 'foo',
        'init', ['in core_for_each']),
    'with a spin lock held': (
        died('f_init', 'foo', 'f_init [foo]', *LOAD, preempt_count=1), 'init', 'foo', 'init', ['spin lock']),
    'in a probe that somebody asked for': (
        died('f_probe', 'foo', 'really_probe', '__driver_probe_device', 'device_driver_attach', 'bind_store',
             'kernfs_fop_write_iter', 'vfs_write', 'ksys_write'), 'probe', 'foo', None, ['device_lock',
                                                                                         'entry in sysfs']),
    'in a probe that a bus in a module called': (
        died('f_probe', 'foo', 'usb_probe_interface [usbcore]', *PROBE[1:4], '__device_attach', 'device_add',
             'usb_set_configuration [usbcore]', 'hub_event [usbcore]', *WORK), 'probe', 'foo', None, ['device_lock']),
    'in what a probe called, under a bus in a module': (
        died('memset', '', 'f_attach [foo]', 'f_probe [foo]', 'b_bus_probe [bus]', *PROBE[1:4], *WORK), 'probe', 'foo',
        None, ['device_lock']),
    'in a library that a probe called': (
        died('lib_do', 'lib', 'lib_do [lib]', 'f_probe [foo]', *PROBE[:4], *WORK), 'probe', 'foo', None,
        ['device_lock', 'in lib_do']),
    'when a misc device was opened': (
        died('f_open', 'foo', 'f_open [foo]', 'misc_open', 'chrdev_open', 'do_dentry_open', '__x64_sys_openat'), None,
        None, None, ['misc_mtx']),
    'when its file in /proc was read': (
        died('f_show', 'foo', 'f_show [foo]', 'seq_read_iter', 'proc_reg_read_iter', 'vfs_read', 'ksys_read'), None,
        None, None, ['entry in /proc']),
    'in a worker, by the name of its work alone': (
        died(unavailable('nameless'), unavailable('nameless'), *WORK, work_of='foo', pc=0), 'worker', 'foo', None, []),
    'a warning in its init': (dict(died('f_init', 'foo', 'f_init [foo]', *LOAD), kind='warning'), None, None, None, []),
    'a hung task': (dict(died('f_exit', 'foo', 'f_exit [foo]', *UNLOAD), kind='hung'), None, None, None, []),
}


@pytest.mark.parametrize('row', DEATHS.values(), ids=list(DEATHS))
def test_who_died(row):
    entry, died_in, of, call, locks = row
    assert attribution.attribution(entry) == {'died_in': died_in, 'of': of, 'call': call, 'locks': locks}


def told(case, **more):
    entry = DEATHS[case][0]
    return dict(entry, cause='a fault', task_gone=True, **attribution.attribution(entry), **more)


# id: (the report, is it foreign to foo, words of what will hang for foo, for another module)
CONSEQUENCES = {
    'in its own init': (False, [], []),
    'in memcpy that its init called': (False, [], []),
    'in a function that may hold a lock': (False, [], []),
    'in the probe that its init started': (False, ['an ordinary reboot hang'], []),
    'in an asynchronous probe': (False, ['an ordinary reboot hang', 'async_synchronize_full'],
                                 ['async_synchronize_full']),
    'in a network device\'s callback under rtnl': (False, ['network device hangs'], ['network device hangs']),
    'in the kernel alone': (True, [], []),
    'in the loader itself': (True, ['every load and unload hangs'], ['every load and unload hangs']),
    'in its work': (False, [], []),
    'in the notifier of another module, after its exit': (False, ['every load and unload hangs'],
                                                          ['every load and unload hangs']),
    'when a misc device was opened': (False, ['misc device hangs'], []),
    'when its file in /proc was read': (False, ['removes that file hangs'], []),
    'with a spin lock held': (False, ['keeps a CPU for ever'], []),
}


@pytest.mark.parametrize('case', CONSEQUENCES)
def test_what_follows_for_a_module(case):
    foreign, own, others = CONSEQUENCES[case]
    entries = [told(case)]
    assert bool(crashes.foreign_oopses(entries, 'foo')) == foreign
    for name, words in (('foo', own), ('bar', others)):
        found = [text for _lock, text in crashes.locks_held(entries, name)]
        assert len(found) == len(words)
        assert all(word in text for word, text in zip(words, found))


@pytest.mark.parametrize(('case', 'foreign'), [
    ('in its own init', False), ('in its own exit', False), ('in memcpy that its init called', False),
    ('in the probe that its init started', False), ('in its work', True), ('in an ioctl', True)])
def test_what_follows_for_another_module(case, foreign):
    assert bool(crashes.foreign_oopses([told(case)], 'bar')) == foreign


@pytest.mark.parametrize(('case', 'call', 'found'), [
    ('in its own init', 'init', True), ('in its own init', 'exit', False), ('in its own exit', 'exit', True),
    ('in the probe that its init started', 'init', True), ('in its work', 'exit', False),
    ('in an asynchronous probe', 'init', False), ('in a module below', 'init', True)])
def test_what_ends_an_init_or_exit(case, call, found):
    entry = told(case)
    assert (crashes.own_death([entry], 'foo', call) is entry) == found
    assert crashes.own_death([dict(entry, task_gone=False)], 'foo', call) is None
    assert crashes.own_death([entry], 'bar', call) is None
    assert (crashes.own_death([entry], 'foo_parked1', call) is entry) == found


OOPS, WARNING = builders.oops(), builders.oops(kind='warning')
# id: (reports, taint of the kernel, its count, how many are believed, words of what is lost)
EVIDENCE = {
    'borne out': ([OOPS, WARNING], ['died'], 1, 2, ''),
    'no task died: a text that says so is forged': ([OOPS, WARNING], ['out_of_tree_module'], 0, 1, ''),
    'taint not known': ([OOPS], unavailable('x'), unavailable('x'), 1, ''),
    'before 6.2': ([OOPS], ['died'], unavailable('no such file'), 1, ''),
    'some are lost': ([OOPS], ['died'], 3, 1, 'counted 3 oopses, and its log shows 1'),
    'some are lost, before 6.2': ([dict(OOPS, number=3)], ['died'], unavailable('no such file'), 1, 'number 3'),
    'none is lost, before 6.2': ([dict(OOPS, number=1)], ['died'], unavailable('no such file'), 1, ''),
    'all are lost': ([WARNING], ['died'], unavailable('no such file'), 1, 'its log shows none'),
}


@pytest.mark.parametrize('row', EVIDENCE.values(), ids=list(EVIDENCE))
def test_the_kernels_own_evidence_goes_before_text(row):
    reports, taint, count, believed, words = row
    found, lost = attribution.believed(reports, taint, count)
    assert len(found) == believed
    assert bool(lost) == bool(words)
    assert words in ''.join(lost)


@pytest.mark.parametrize('name', ['Oops: 0000 [#1]', 'BUG: kernel NUL', 'kernel BUG at x', 'RIP: 0010:f+0x1',
                                  'Call Trace:'])
@pytest.mark.parametrize('line', [
    '{}[5800]: segfault at 10 ip 000055d0c0ae0139 sp 00007ffd6f0a2e10 error 4 in a.out[55d0c0ae0000+1000]',
    'traps: {}[5800] general protection fault ip:55d0 sp:7ffd error:0 in a.out[55d0c0ae0000+1000]',
    '{} (5800): drop_caches: 3', '{}[5800] bad frame in rt_sigreturn frame:00007ffd6f0a2e10 ip:55d0 sp:7ffd orax:f',
    '{}/5800: potentially unexpected fatal signal 11.'])
def test_the_name_of_a_process_makes_no_oops(name, line):
    found = oops.oopses(['[  918.825279] ' + line.format(name)] * 2)
    assert [entry for entry in found if entry['kind'] == 'oops'] == []
