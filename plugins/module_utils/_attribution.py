# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What died, by the whole trace of a report: an init, an exit, a probe, a worker; of which module; holding which locks.

The frames of a trace stand from the fault outwards. Between it and the loader's own functions (do_init_module,
delete_module in kernel/module/main.c) lies what that call was doing.
"""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable

# Functions that call a module's init, or its exit, in whatever spelling: SyS_, __x64_sys_, .constprop.0.
INIT_CALLS = ('do_one_initcall', 'do_init_module', 'load_module', 'init_module_from_file', 'idempotent_init_module',
              'sys_init_module', 'sys_finit_module', 'SyS_init_module', 'SyS_finit_module', 'SYSC_init_module',
              'SYSC_finit_module')
EXIT_CALL = 'delete_module'
# drivers/base/dd.c calls a driver's probe.
PROBES = ('really_probe', 'call_driver_probe', 'driver_probe_device', '__driver_probe_device', '__driver_attach',
          '__device_attach', '__device_attach_driver', 'device_initial_probe', 'bus_probe_device')
WORKERS = ('process_one_work', 'worker_thread', 'kthread', 'kthread_worker_fn', 'async_run_entry_fn',
           'smpboot_thread_fn', 'irq_thread')
# Which lock the kernel holds while it calls what stands above this function in a trace.
LOCKS = {
    'device_lock': (*PROBES, '__driver_attach_async_helper', 'device_driver_attach', 'device_release_driver',
                    'device_release_driver_internal', '__device_release_driver', 'driver_detach', 'device_shutdown',
                    'deferred_probe_work_func', 'dpm_run_callback'),
    'async': ('async_run_entry_fn', '__driver_attach_async_helper'),
    'rtnl': ('register_netdevice', 'register_netdev', 'unregister_netdev', 'unregister_netdevice_queue',
             'unregister_netdevice_many', 'unregister_netdevice_many_notify', 'rtnl_link_register',
             'rtnl_link_unregister', '__rtnl_link_unregister', 'register_netdevice_notifier',
             'unregister_netdevice_notifier', 'call_netdevice_notifiers_info', 'call_netdevice_notifiers',
             'rtnetlink_rcv_msg', '__dev_open', 'dev_open', 'dev_close', 'dev_close_many', '__dev_close_many',
             'rollback_registered_many'),
    'pernet_ops_rwsem': ('register_pernet_subsys', 'unregister_pernet_subsys', 'register_pernet_device',
                         'unregister_pernet_device', 'register_pernet_operations', 'unregister_pernet_operations',
                         'setup_net', 'cleanup_net', 'ops_init'),
    'notifier chain': ('blocking_notifier_call_chain', '__blocking_notifier_call_chain', 'srcu_notifier_call_chain',
                       'blocking_notifier_call_chain_robust'),
    'cpu_hotplug_lock': ('__cpuhp_setup_state', '__cpuhp_setup_state_cpuslocked', '__cpuhp_remove_state',
                         '__cpuhp_remove_state_cpuslocked', 'cpuhp_issue_call', 'cpuhp_invoke_callback',
                         'stop_machine', 'stop_machine_cpuslocked'),
    'input_mutex': ('input_register_handler', 'input_unregister_handler', 'input_register_device',
                    'input_attach_handler', '__input_unregister_device', 'input_unregister_device'),
    'i2c core_lock': ('i2c_for_each_dev', 'i2c_register_driver', 'i2c_del_driver'),
    'subsystem mutex': ('class_interface_register', 'class_interface_unregister', 'subsys_interface_register',
                        'subsys_interface_unregister', 'bus_rescan_devices_helper'),
    'configuration file system': ('configfs_register_subsystem', 'configfs_unregister_subsystem', 'configfs_mkdir',
                                  'configfs_rmdir'),
    's_umount': ('generic_shutdown_super', 'deactivate_locked_super', 'sget', 'sget_fc', 'get_tree_bdev', 'mount_bdev',
                 'mount_nodev'),
    'ftrace_lock': ('register_ftrace_function', 'unregister_ftrace_function', 'ftrace_startup', 'ftrace_shutdown'),
    'kernel\'s text_mutex': ('text_poke_bp', 'jump_label_update', 'static_key_slow_inc'),
    'usb address0_mutex': ('hub_port_init', 'hub_port_connect'),
    'snd register_mutex': ('snd_card_disconnect', 'snd_card_register', 'snd_device_register_all'),
}
LOCK_OF = {function: [lock for lock, functions in LOCKS.items() if function in functions]
           for functions in LOCKS.values() for function in functions}
# Functions that take no lock of their own: text, memory, and what prints.
LEAF = re.compile(
    r'_*(mem(cpy|set|move|cmp|chr|scan)|str(n?cpy|n?len|n?cmp|n?cat|r?chr|lcpy|lcat|scpy|str|sep|spn|pbrk)|string(_\w+)?\b|'
    r'vs(c)?n?printf|sn?printf|number\b|pointer\b|format_decode|hex_|v?printk|dev_(printk|err|warn|info|notice)|rep_|'
    r'copy_(from|to|user)|clear_(page|user)|csum_|crc\d|kasan_|asan_|ubsan_|list_(add|del)_|fortify_|stack_chk_fail|'
    r'x86_indirect_thunk|kstrto|simple_strto|refcount_warn|die\b|page_fault_oops|exc_|asm_exc_|no_context|do_error_trap|'
    r'do_trap|handle_bug|report_bug|bad_area|do_user_addr_fault|do_page_fault|page_fault\b|async_page_fault|fixup_|srso_|'
    r'show_|dump_stack|el1|do_mem_abort|do_translation_fault|do_undefinstr|die_kernel_fault|error_entry|invalid_op)')


class Frame(NamedTuple):
    """A line of a trace: function, module (empty for the kernel itself), whether the kernel is sure of it."""

    function: str
    module: str
    sure: bool


def frame_of(printed):
    # type: (str) -> Frame
    """``? f_init+0x14/0x1000 [foo]``, as :mod:`_oops` keeps it."""
    words = printed.split()
    sure = words[:1] != ['?']
    words = words if sure else words[1:]
    function = words[0].partition('+0x')[0] if words else ''
    module = words[1].strip('[]') if len(words) > 1 and words[1].startswith('[') else ''
    return Frame(function, module, sure)


def attribution(entry):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """``died_in`` (init, exit, probe, worker or None), ``of`` (its module, or None), ``call`` and ``locks``.

    ``call`` is ``init`` or ``exit`` where the task that died was inside the loader's system call for that module: then
    its init or exit ended half way. ``locks`` that it died with, by the functions of the kernel that hold them;
    ``in F`` is one that F itself may have taken. Each is None or empty for what killed no task.
    """
    nothing = {'died_in': None, 'of': None, 'call': None,
               'locks': entry.get('locks', [])}  # type: Dict[str, Any]
    if entry['kind'] != 'oops':
        return nothing
    frames = [frame_of(printed) for printed in entry['trace']]
    at, call = _loader_call(frames)
    if call:
        return _in_call(entry, frames[:at], call)
    if not frames and entry.get('loading') and _word(entry['module']) == entry['loading']:
        # A kernel without symbol names: its task loaded the very module in whose code it died.
        return dict(nothing, died_in='init', of=entry['loading'], call='init')
    if any(frame.function in WORKERS for frame in frames):
        return _in_worker(entry, frames)
    return nothing


def _loader_call(frames):
    # type: (List[Frame]) -> Any
    """(index, ``init`` or ``exit``) of the innermost frame of the loader; (0, None) without one."""
    for at, frame in enumerate(frames):
        function = frame.function.partition('.')[0]
        if frame.module:
            continue
        if EXIT_CALL in function:
            return at, 'exit'
        if function.endswith(INIT_CALLS):
            return at, 'init'
    return 0, None


def _in_call(entry, inner, call):
    # type: (Dict[str, Any], List[Frame], str) -> Dict[str, Any]
    named = [frame for frame in inner if frame.module]
    # A guess may be the rest of an earlier call: the module nearest to the loader of which the kernel is sure.
    sure = [frame for frame in named if frame.sure] or named
    of = sure[-1].module if sure else _word(entry['module'])
    if not of:
        return {'died_in': None, 'of': None, 'call': None, 'locks': []}
    probe = any(frame.function in PROBES for frame in inner)
    return {'died_in': 'probe' if probe and call == 'init' else call, 'of': of, 'call': call,
            'locks': _locks(entry, inner, of)}


def _in_worker(entry, frames):
    # type: (Dict[str, Any], List[Frame]) -> Dict[str, Any]
    named = [frame for frame in frames if frame.module]
    sure = [frame for frame in named if frame.sure] or named
    of = _word(entry['module']) or (sure[0].module if sure else '') or \
        (entry.get('last_unloaded') if entry.get('freed_code') else '')
    probe = any(frame.function in PROBES for frame in frames)
    return {'died_in': 'probe' if probe else 'worker', 'of': of or None, 'call': None,
            'locks': _locks(entry, frames, of) if of else []}


def _locks(entry, inner, of):
    # type: (Dict[str, Any], List[Frame], str) -> List[str]
    """The locks that were held: of the kernel's functions that had called the module, and where it had called one."""
    found = []  # type: List[str]
    first = next((at for at, frame in enumerate(inner) if frame.module), len(inner))
    for frame in inner[first:]:
        if not frame.module:
            found += [lock for lock in LOCK_OF.get(frame.function.partition('.')[0], []) if lock not in found]
    inside = _fault_in(entry, inner, of)
    return found + ([f'in {inside}'] if inside else [])


def _fault_in(entry, inner, of):
    # type: (Dict[str, Any], List[Frame], str) -> Optional[str]
    """The function outside the module that may hold a lock of its own; None where the module's own code died."""
    if is_unavailable(entry['function']):
        return None
    for frame in [Frame(entry['function'], _word(entry['module']), sure=True), *inner]:
        if frame.module == of:
            return None
        if frame.sure and not LEAF.match(frame.function):
            return frame.function
    return None


def _word(fact):
    # type: (Any) -> str
    return '' if is_unavailable(fact) else str(fact)


def believed(oopses, taint_flags, oops_count):
    # type: (List[Dict[str, Any]], Any, Any) -> Tuple[List[Dict[str, Any]], List[str]]
    """The reports that the kernel's own evidence bears out, and why the log may lack some: a sentence each.

    Without the taint ``died`` (die() in arch/x86/kernel/dumpstack.c sets it) no task of this boot has died in an oops,
    whatever a log says. ``oops_count`` is /sys/kernel/oops_count, from 6.2 on, or unavailable.
    """
    deaths = [entry for entry in oopses if entry['kind'] == 'oops']
    if not is_unavailable(taint_flags) and 'died' not in taint_flags:
        return [entry for entry in oopses if entry['kind'] != 'oops'], []
    if not is_unavailable(oops_count) and oops_count > len(deaths):
        return oopses, ['the kernel has counted %d oopses, and its log shows %d: it has lost some' % (
            oops_count, len(deaths))]
    if is_unavailable(oops_count) and not deaths and not is_unavailable(taint_flags):
        return oopses, ['the kernel says that a task has died in an oops (taint D), and its log shows none']
    return oopses, []
