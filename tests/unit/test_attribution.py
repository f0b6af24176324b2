# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who died, by the whole trace: each row is a way to die, and whose init or exit it ended, with which locks."""

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils import _attribution, _died, _oops
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable


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
                                  '__do_sys_finit_module'), None, None, None, []),
    'a builtin init at boot': (died('b_init', '', 'do_one_initcall', 'kernel_init_freeable'), None, None, None, []),
    'a guess is the rest of an earlier call': (
        died('f_init', 'foo', 'f_init [foo]', '? old [bar]', *LOAD), 'init', 'foo', 'init', []),
    'only guesses': (died('f_init', 'foo', '? f_init [foo]', '? do_one_initcall'), 'init', 'foo', 'init', []),
    'no symbol names, its loader died in it': (
        died(unavailable('nameless'), 'foo', loading='foo'), 'init', 'foo', 'init', []),
    'no symbol names, in another module': (
        died(unavailable('nameless'), 'bar', loading='foo'), None, None, None, []),
    'a warning in its init': (dict(died('f_init', 'foo', 'f_init [foo]', *LOAD), kind='warning'), None, None, None, []),
    'a hung task': (dict(died('f_exit', 'foo', 'f_exit [foo]', *UNLOAD), kind='hung'), None, None, None, []),
}


@pytest.mark.parametrize('row', DEATHS.values(), ids=list(DEATHS))
def test_who_died(row):
    entry, died_in, of, call, locks = row
    assert _attribution.attribution(entry) == {'died_in': died_in, 'of': of, 'call': call, 'locks': locks}


def told(case, **more):
    entry = DEATHS[case][0]
    return dict(entry, cause='a fault', task_gone=True, **_attribution.attribution(entry), **more)


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
    'in the loader itself': (True, [], []),
    'in its work': (False, [], []),
}


@pytest.mark.parametrize('case', CONSEQUENCES)
def test_what_follows_for_a_module(case):
    foreign, own, others = CONSEQUENCES[case]
    entries = [told(case)]
    assert bool(_died.foreign_oopses(entries, 'foo')) == foreign
    for name, words in (('foo', own), ('bar', others)):
        found = [text for _lock, text in _died.locks_held(entries, name)]
        assert len(found) == len(words)
        assert all(word in text for word, text in zip(words, found))


@pytest.mark.parametrize(('case', 'foreign'), [
    ('in its own init', False), ('in its own exit', False), ('in memcpy that its init called', False),
    ('in the probe that its init started', True), ('in its work', True), ('in an ioctl', True)])
def test_what_follows_for_another_module(case, foreign):
    assert bool(_died.foreign_oopses([told(case)], 'bar')) == foreign


@pytest.mark.parametrize(('case', 'call', 'found'), [
    ('in its own init', 'init', True), ('in its own init', 'exit', False), ('in its own exit', 'exit', True),
    ('in the probe that its init started', 'init', True), ('in its work', 'exit', False),
    ('in an asynchronous probe', 'init', False), ('in a module below', 'init', True)])
def test_what_ends_an_init_or_exit(case, call, found):
    entry = told(case)
    assert (_died.own_death([entry], 'foo', call) is entry) == found
    assert _died.own_death([dict(entry, task_gone=False)], 'foo', call) is None
    assert _died.own_death([entry], 'bar', call) is None
    assert (_died.own_death([entry], 'foo_parked1', call) is entry) == found


OOPS, WARNING = builders.oops(), builders.oops(kind='warning')
# id: (reports, taint of the kernel, its count, how many are believed, words of what is lost)
EVIDENCE = {
    'borne out': ([OOPS, WARNING], ['died'], 1, 2, ''),
    'no task died: a text that says so is forged': ([OOPS, WARNING], ['out_of_tree_module'], 0, 1, ''),
    'taint not known': ([OOPS], unavailable('x'), unavailable('x'), 1, ''),
    'before 6.2': ([OOPS], ['died'], unavailable('no such file'), 1, ''),
    'some are lost': ([OOPS], ['died'], 3, 1, 'counted 3 oopses, and its log shows 1'),
    'all are lost': ([WARNING], ['died'], unavailable('no such file'), 1, 'its log shows none'),
}


@pytest.mark.parametrize('row', EVIDENCE.values(), ids=list(EVIDENCE))
def test_the_kernels_own_evidence_goes_before_text(row):
    reports, taint, count, believed, words = row
    found, lost = _attribution.believed(reports, taint, count)
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
    found = _oops.oopses(['[  918.825279] ' + line.format(name)] * 2)
    assert [entry for entry in found if entry['kind'] == 'oops'] == []
