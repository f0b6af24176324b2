# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which locks the kernel holds while it is inside its functions, and which functions take none.

Read in the source of 4.18 to 6.12: a function stands here only where every path through it that calls on, or calls a
module back, does so under that lock. One that is not here may take a lock all the same.
"""

import re
from typing import Dict, List, Tuple

# drivers/base/dd.c calls a driver's probe.
PROBES = ('really_probe', 'call_driver_probe', 'driver_probe_device', '__driver_probe_device', '__driver_attach',
          '__device_attach', '__device_attach_driver', 'device_initial_probe', 'device_driver_attach',
          '__driver_attach_async_helper', '__device_attach_async_helper')
NOTIFIER_CHAIN = 'notifier chain'
# That of module_notify_list, which every load and unload walks.
MODULE_NOTIFIERS = 'module notifier chain'
# Or preemption was off for another reason: the kernel tells no more.
SPIN_LOCK = 'spin lock'

HELD_IN: Dict[str, Tuple[str, ...]] = {
    # drivers/base/dd.c, core.c
    'device_lock': (*PROBES, 'device_release_driver', 'device_release_driver_internal', '__device_release_driver',
                    'driver_detach', 'device_shutdown', 'deferred_probe_work_func', 'dpm_run_callback',
                    'local_pci_probe', 'pci_device_remove', 'platform_probe', 'platform_drv_probe', 'platform_remove',
                    'platform_drv_remove', 'usb_probe_interface', 'usb_unbind_interface', 'i2c_device_probe',
                    'i2c_device_remove', 'hid_device_probe', 'virtio_dev_probe', 'virtio_dev_remove'),
    'async': ('async_run_entry_fn', '__driver_attach_async_helper', '__device_attach_async_helper'),
    # net/core/{dev,rtnetlink}.c
    'rtnl': ('register_netdevice', 'register_netdev', 'unregister_netdev', 'unregister_netdevice_queue',
             'unregister_netdevice_many', 'unregister_netdevice_many_notify', 'rtnl_link_register',
             'rtnl_link_unregister', '__rtnl_link_unregister', 'register_netdevice_notifier',
             'unregister_netdevice_notifier', 'call_netdevice_notifiers_info', 'call_netdevice_notifiers',
             '__dev_open', 'dev_open', 'dev_close', 'dev_close_many', '__dev_close_many',
             'rollback_registered', 'rollback_registered_many', 'dev_change_flags', '__dev_change_flags',
             'rtnl_newlink', '__rtnl_newlink', 'rtnl_dellink', 'do_setlink', 'dev_ethtool', 'default_device_exit_batch',
             'cfg80211_register_netdevice', 'cfg80211_unregister_wdev'),
    # net/core/net_namespace.c
    'pernet_ops_rwsem': ('register_pernet_subsys', 'unregister_pernet_subsys', 'register_pernet_device',
                         'unregister_pernet_device', 'register_pernet_operations', '__register_pernet_operations',
                         'unregister_pernet_operations', '__unregister_pernet_operations', 'setup_net', 'cleanup_net',
                         'ops_init', 'ops_exit_list', 'ops_undo_list'),
    # kernel/notifier.c; an atomic or raw chain takes no lock of its own
    NOTIFIER_CHAIN: ('blocking_notifier_call_chain', '__blocking_notifier_call_chain',
                     'blocking_notifier_call_chain_robust', 'srcu_notifier_call_chain',
                     '__srcu_notifier_call_chain'),
    # kernel/cpu.c, stop_machine.c, drivers/cpufreq/cpufreq.c
    'cpu_hotplug_lock': ('__cpuhp_setup_state', '__cpuhp_setup_state_cpuslocked', '__cpuhp_remove_state',
                         '__cpuhp_remove_state_cpuslocked', 'cpuhp_issue_call', 'cpuhp_invoke_callback',
                         'cpuhp_thread_fun', 'stop_machine', 'stop_machine_cpuslocked', 'cpufreq_register_driver',
                         'cpufreq_unregister_driver'),
    'input_mutex': ('input_register_handler', 'input_unregister_handler', 'input_attach_handler',
                    '__input_unregister_device'),
    'i2c core_lock': ('i2c_for_each_dev', '__process_new_driver', '__process_new_adapter',
                      '__process_removed_driver', '__process_removed_adapter'),
    'subsystem mutex': ('class_interface_register', 'class_interface_unregister', 'subsys_interface_register',
                        'subsys_interface_unregister', 'bus_rescan_devices_helper'),
    'configuration file system': ('configfs_register_subsystem', 'configfs_unregister_subsystem', 'configfs_mkdir',
                                  'configfs_rmdir'),
    # fs/super.c: sync(2) and unmounting wait for it
    's_umount': ('generic_shutdown_super', 'deactivate_locked_super', 'get_tree_bdev', 'mount_bdev', 'mount_nodev',
                 'mount_single', 'vfs_get_super', 'get_tree_nodev', 'iterate_supers', 'iterate_supers_type',
                 'kill_block_super', 'kill_litter_super', 'kill_anon_super', 'reconfigure_super'),
    'ftrace_lock': ('register_ftrace_function', 'unregister_ftrace_function', 'ftrace_startup', 'ftrace_shutdown',
                    'ftrace_run_update_code', 'ftrace_module_enable', 'ftrace_release_mod'),
    'tracepoints_mutex': ('tracepoint_add_func', 'tracepoint_remove_func', 'tracepoint_probe_register_prio',
                          'tracepoint_probe_unregister'),
    'kprobe_mutex': ('__unregister_kprobe_top', 'arm_kprobe', 'disarm_kprobe', 'kprobes_module_callback'),
    'text_mutex': ('text_poke', 'text_poke_bp', 'text_poke_bp_batch', 'arch_jump_label_transform_apply',
                   'smp_text_poke_batch_finish'),
    'jump_label_mutex': ('jump_label_update', '__jump_label_update', 'static_key_slow_inc_cpuslocked',
                         'jump_label_module_notify', 'jump_label_add_module', 'jump_label_del_module'),
    'static_call_mutex': ('__static_call_update', '__static_call_init', 'static_call_add_module'),
    'module_mutex': ('module_kallsyms_on_each_symbol', 'complete_formation'),
    'klp_mutex': ('klp_enable_patch', '__klp_enable_patch', '__klp_disable_patch', 'klp_module_coming',
                  'klp_module_going', 'klp_init_patch'),
    # drivers/char/misc.c: misc_open calls the device's open under it
    'misc_mtx': ('misc_open', 'misc_register', 'misc_deregister'),
    'console_lock': ('register_console', 'unregister_console', 'console_unlock', 'do_take_over_console',
                     'do_bind_con_driver', 'do_unbind_con_driver', 'do_unregister_con_driver', 'fbcon_fb_registered'),
    'tty_mutex': ('tty_init_dev',),
    'scan_mutex': ('__scsi_scan_target', 'scsi_scan_host_selected', 'scsi_forget_host', 'scsi_probe_and_add_lun'),
    'disk\'s open_mutex': ('bdev_disk_changed', 'blkdev_get_whole', '__blkdev_get'),
    'clk prepare_lock': ('__clk_core_init', 'clk_core_prepare', 'clk_core_unprepare', 'clk_core_set_rate_nolock',
                         'clk_core_set_parent_nolock'),
    'crypto_alg_sem': ('__crypto_register_alg', 'crypto_remove_alg', 'crypto_remove_spawns', '__crypto_alg_lookup'),
    'watchdog mutex': ('__watchdog_register_device', '__watchdog_unregister_device'),
    'leds mutex': ('led_trigger_set', 'led_trigger_register'),
    'pci_rescan_remove_lock': ('pci_rescan_bus', 'pci_stop_and_remove_bus_device_locked'),
    'pci_bus_sem': ('pci_walk_bus',),
    'usb address0_mutex': ('hub_port_init',),
    'snd register_mutex': ('snd_card_disconnect', 'snd_device_register_all'),
    # kernel/params.c: of the module whose parameter it is
    'param_lock': ('param_attr_store', 'param_attr_show', 'parse_args'),
    # fs/{proc,kernfs,debugfs}: the entry counts who is inside, and its removal waits for that
    'entry in /proc': ('proc_reg_read', 'proc_reg_read_iter', 'proc_reg_write', 'proc_reg_open', 'proc_reg_release',
                       'proc_reg_unlocked_ioctl', 'pde_read', 'pde_write', 'close_pdeo'),
    'entry in sysfs': ('kernfs_fop_write', 'kernfs_fop_write_iter', 'sysfs_kf_write', 'sysfs_kf_seq_show',
                       'sysfs_kf_read', 'sysfs_kf_bin_read', 'kernfs_seq_show', 'kernfs_fop_read',
                       'kernfs_fop_read_iter', 'kernfs_file_direct_read', 'kernfs_file_read_iter'),
    'entry in debugfs': ('full_proxy_read', 'full_proxy_write', 'full_proxy_open', 'full_proxy_unlocked_ioctl',
                         'debugfs_attr_read', 'debugfs_attr_write'),
}
LOCKS_OF: Dict[str, List[str]] = {}
for _lock, _functions in HELD_IN.items():
    for _function in _functions:
        LOCKS_OF.setdefault(_function, []).append(_lock)

# Functions that take no lock of their own: text, memory, and what prints.
LEAF = re.compile(
    r'_*(mem(cpy|set|move|cmp|chr|scan|dup)|str(n?cpy|n?len|n?cmp|n?casecmp|n?cat|n?r?chr|n?str|lcpy|lcat|scpy|sep|spn|'
    r'cspn|pbrk|reverse|im)|string(_\w+)?\b|vs(c)?n?printf|sn?printf|scnprintf|kvasprintf|kasprintf|number\b|pointer\b|'
    r'ptr_to_id|widen_string|format_decode|hex_|v?printk|dev_v?(printk|err|warn|info|notice)|rep_|copy_(from|to|user)|'
    r'clear_(page|user)|csum_|crc\d|kasan_|asan_|ubsan_|check_(memory_region|bytes)|list_(add|del)_|fortify_|'
    r'stack_chk_fail|x86_indirect_thunk|x86_return_thunk|kstrto|simple_strto|refcount_(warn|dec|inc|sub|add)|'
    r'find_(next|first|last)_|bitmap_|bit_|arch_\w+_bit|die\b|page_fault_oops|exc_|asm_exc_|no_context|do_error_trap|'
    r'do_trap|handle_bug|report_bug|bad_area|do_user_addr_fault|do_page_fault|page_fault\b|async_page_fault|fixup_|'
    r'srso_|show_|dump_stack|el1|do_mem_abort|do_translation_fault|do_undefinstr|die_kernel_fault|error_entry|'
    r'invalid_op)')
# Where calls come from: the loader, workers, system calls.
ROOTS = re.compile(
    r'_*(do_one_initcall|do_init_module|load_module|init_module_from_file|idempotent_init_module|'
    r'((x64|ia32|x32|arm64|s390x|riscv|se|do|compat)_)*k?(sys|SyS|SYSC|compat_sys|compat_SyS)_\w+|'
    r'process_(one_work|scheduled_works)|worker_thread|kthread|kthread_worker_fn|ret_from_fork\w*|smpboot_thread_fn|'
    r'async_run_entry_fn|irq_thread\w*|do_syscall_\w+|do_fast_syscall_32|entry_\w+|el0_?\w*|do_el0_svc|invoke_syscall|'
    r'system_call_?\w*|tracesys|kernel_thread_helper|kernel_init\w*|do_initcalls?\w*)\Z')
# Callers of a driver's probe and removal, between those that hold its lock: they hold none themselves.
DRIVER_CORE = re.compile(r'_*(\w*driver\w*|bus_\w+|class_\w+|device_\w+|\w+_notifier\w*|notifier_call_chain|'
                         r'\w*_(probe|remove))\Z')
