# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further forms of each kind of report: other kernels' spellings, other prefixes, what is forged, what follows."""

import time

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import attribution, log_source, oops
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log.log_lines import (
    ALARMS,
    modules_linked_in,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import crashes
from hypothesis import given
from hypothesis import strategies as st

CPU = 'CPU: 1 PID: 512 Comm: insmod Tainted: G           OE      6.1.0-50-amd64 #1\n'
SPINS = CPU + """\
RIP: 0010:f_spin+0x2/0x10 [foo]
Call Trace:
 f_init+0x5b/0xff0 [foo]
 do_one_initcall+0x56/0x220
"""
EXITS = CPU + """\
Call Trace:
 dump_stack_lvl+0x1/0x2
 f_exit+0x5b/0xff0 [foo]
 __do_sys_delete_module+0x56/0x220
"""
HEAD = 'BUG: kernel NULL pointer dereference, address: 0000000000000008\nOops: 0000 [#1] SMP NOPTI\n'
OOPS = HEAD + """\
CPU: 1 PID: 512 Comm: rmmod Tainted: G           OE      6.1.0-50-amd64 #1
RIP: 0010:f_exit+0x5/0x10 [foo]
Call Trace:
 <TASK>
 __do_sys_delete_module+0x1b5/0x330
 do_syscall_64+0x87/0x1b0
 </TASK>
Modules linked in: foo(OE-) bar [last unloaded: baz(O)]
CR2: 0000000000000008
---[ end trace 0000000000000000 ]---
"""
LOCKS = """\
6.1.0 #1 Tainted: G           OE
------------------------------------------------------
insmod/512 is trying to acquire lock:
ffffffff82578f70 (text_mutex){+.+.}-{3:3}, at: f_db+0x198/0x310 [foo]

but task is already holding lock:
ffffffff82648d10 (module_mutex){+.+.}-{3:3}, at: f_db+0x173/0x310 [foo]

stack backtrace:
""" + EXITS
HUNG = """\
INFO: task rmmod:512 blocked%s for more than 122 seconds.
      Tainted: G           OE      6.12.0 #1
"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.
task:rmmod           state:D stack:0     pid:512   tgid:512   ppid:400    flags:0x00004002
Call Trace:
 <TASK>
 __schedule+0x505/0xbf0
 schedule+0x27/0xf0
 schedule_timeout+0x12f/0x160
 __wait_for_common+0x91/0x190
 wait_for_completion+0x20/0x30
 kthread_stop+0x6a/0x180
 f_exit+0x5b/0xff0 [foo]
 __do_sys_delete_module+0x1b5/0x330
 </TASK>
"""
HUNG_TWICE = HUNG % '' + """\
INFO: task rmmod:512 is blocked on a mutex likely owned by task cat:600.
task:cat             state:D stack:0     pid:600   tgid:600   ppid:400    flags:0x00004002
Call Trace:
 other+0x5b/0xff0 [bar]
"""
STALL_ELSEWHERE = """\
rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
rcu: \t1-...!: (0 ticks this GP) idle=09b4/1/0x4000000000000000 softirq=0/0 fqs=0
Sending NMI from CPU 0 to CPUs 1:
NMI backtrace for cpu 1
""" + SPINS
NULL_CALL = HEAD.replace('8', '0') + """\
CPU: 1 PID: 267 Comm: kworker/1:1 Not tainted 6.1.0-50-amd64 #1
Workqueue: events f_work [foo]
RIP: 0010:0x0
Call Trace:
 process_one_work+0x1a3/0x3d0
 worker_thread+0x2f/0x3b0
 kthread+0x11c/0x160
Modules linked in: foo bar [last unloaded: baz(O)]
---[ end trace 0000000000000000 ]---
"""
BAR = '=' * 66 + '\n'

# id: (text, kind, cause, task, pid, function, module, other keys)
FORMS = {
    'soft lockup': ('watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [insmod:512]\n' + SPINS, 'stall',
                    'soft lockup - CPU#1 stuck for 26s! [insmod:512]', 'insmod', 512, 'f_spin', 'foo',
                    {'taint': 'GOE'}),
    'soft lockup, 4.x': ('NMI watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [insmod:512]\n' + SPINS, 'stall',
                         'soft lockup - CPU#1 stuck for 26s! [insmod:512]', 'insmod', 512, 'f_spin', 'foo', {}),
    'soft lockup, the rest lost': ('BUG: soft lockup - CPU#1 stuck for 26s! [insmod:512]\n', 'stall',
                                   'soft lockup - CPU#1 stuck for 26s! [insmod:512]', 'insmod', 512, None, None, {}),
    'hard lockup': ('watchdog: Watchdog detected hard LOCKUP on cpu 1\n' + SPINS, 'stall', 'hard LOCKUP on cpu 1',
                    'insmod', 512, 'f_spin', 'foo', {}),
    'hard lockup, 4.x': ('NMI watchdog: Watchdog detected hard LOCKUP on cpu 1\n' + SPINS, 'stall',
                         'hard LOCKUP on cpu 1', 'insmod', 512, 'f_spin', 'foo', {}),
    'workqueue lockup': ('BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 33s!\n', 'stall',
                         'workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 33s!', None, None, None,
                         None, {}),
    'a stall that another CPU saw': (STALL_ELSEWHERE, 'stall', 'rcu_preempt detected stalls on CPUs/tasks:', 'insmod',
                                     512, 'f_spin', 'foo', {}),
    'a stall, 3.x': (('INFO: rcu_sched self-detected stall on CPU { 1}  (t=60001 jiffies g=1 c=2 q=3)\nCall Trace:\n'
                     ' [<ffffffffa0ddb101>] f_init+0x101/0x1000 [foo]\n'), 'stall',
                     'rcu_sched self-detected stall on CPU { 1}  (t=60001 jiffies g=1 c=2 q=3)', None, None, 'f_init',
                     'foo', {}),
    'hung': (HUNG % '', 'hung', 'blocked for more than 122 seconds', 'rmmod', 512, 'f_exit', 'foo',
             {'waits_in': 'kthread_stop', 'taint': 'GOE'}),
    'hung, in I/O': (HUNG % ' in I/O wait', 'hung', 'blocked in I/O wait for more than 122 seconds', 'rmmod', 512,
                     'f_exit', 'foo', {'waits_in': 'kthread_stop'}),
    'hung, and whom it waits for': (HUNG_TWICE, 'hung', 'blocked for more than 122 seconds', 'rmmod', 512, 'f_exit',
                                    'foo', {'waits_in': 'kthread_stop'}),
    'KFENCE': (BAR + 'BUG: KFENCE: use-after-free read in f_get+0x12/0x34 [foo]\n\nUse-after-free read at 0x1 (in '
               'kfence-#12):\n f_get+0x12/0x34 [foo]\n\n' + CPU + BAR, 'warning',
               'KFENCE: use-after-free read in f_get+0x12/0x34 [foo]', 'insmod', 512, 'f_get', 'foo', {}),
    'KASAN, its CPU lost': (('BUG: KASAN: slab-use-after-free in f_get+0x12/0x34 [foo]\nRead of size 8 at addr '
                            'ffff88814c659de8 by task rmmod/300\n'), 'warning',
                            'KASAN: slab-use-after-free in f_get+0x12/0x34 [foo]', 'rmmod', 300, 'f_get', 'foo', {}),
    'KASAN, 4.x': (('BUG: KASAN: use-after-free in f_get+0x12/0x34 [foo] at addr ffff8800\nRead of size 8 by task '
                   'rmmod/300\n'), 'warning', 'KASAN: use-after-free in f_get+0x12/0x34 [foo] at addr ffff8800',
                   'rmmod', 300, 'f_get', 'foo', {}),
    'KMSAN': ('BUG: KMSAN: uninit-value in f_get+0x12/0x34 [foo]\n' + EXITS, 'warning',
              'KMSAN: uninit-value in f_get+0x12/0x34 [foo]', 'insmod', 512, 'f_get', 'foo', {}),
    'UBSAN': (BAR + 'UBSAN: shift-out-of-bounds in drivers/foo/foo.c:12:3\nshift exponent 99 is too large\n' + EXITS
              + BAR, 'warning', 'UBSAN: shift-out-of-bounds in drivers/foo/foo.c:12:3', 'insmod', 512, 'f_exit', 'foo',
              {}),
    'UBSAN, from 6.9 on': ('------------[ cut here ]------------\nUBSAN: array-index-out-of-bounds in foo.c:12:3\n'
                           'index 4 is out of range\n' + EXITS + '---[ end trace ]---\n', 'warning',
                           'UBSAN: array-index-out-of-bounds in foo.c:12:3', 'insmod', 512, 'f_exit', 'foo', {}),
    'scheduling while atomic': ('BUG: scheduling while atomic: insmod/512/0x00000002\n', 'warning',
                                'scheduling while atomic: insmod/512/0x00000002', 'insmod', 512, None, None, {}),
    'sleeping while atomic': (('BUG: sleeping function called from invalid context at mm/slab.h:5\nin_atomic(): 1, '
                              'irqs_disabled(): 0, non_block: 0, pid: 512, name: insmod\n'), 'warning',
                              'sleeping function called from invalid context at mm/slab.h:5', 'insmod', 512, None,
                              None, {}),
    'SLUB, overwritten': ('BUG kmalloc-64 (Tainted: G    B      OE    ): Poison overwritten\nINFO: Allocated in '
                          'f_init+0x1/0x2 [foo] age=1 cpu=0 pid=9\n' + EXITS, 'warning', 'Poison overwritten', 'insmod',
                          512, 'f_exit', 'foo', {'cache': 'kmalloc-64', 'taint': 'GBOE'}),
    'SLUB, not tainted': ('BUG foo_cache (Not tainted): Objects remaining on __kmem_cache_shutdown()\n' + EXITS,
                          'warning', 'Objects remaining on __kmem_cache_shutdown()', 'insmod', 512, 'f_exit', 'foo',
                          {'cache': 'foo_cache', 'taint': ''}),
    'objects left in a cache': ('kmem_cache_destroy foo_cache: Slab cache still has objects\n' + EXITS, 'warning',
                                'Slab cache still has objects', 'insmod', 512, 'f_exit', 'foo', {'cache': 'foo_cache'}),
    'objects left in a cache, with a warning': (
        '------------[ cut here ]------------\nkmem_cache_destroy foo_cache: Slab cache still has objects when called '
        'from f_exit+0x1f/0x36 [foo]\nWARNING: CPU: 1 PID: 512 at mm/slab_common.c:498 kmem_cache_destroy+0x5/0x10\n'
        + EXITS, 'warning', ('WARNING at mm/slab_common.c:498: kmem_cache_destroy foo_cache: Slab cache still has '
                             'objects when called from f_exit+0x1f/0x36 [foo]'), 'insmod', 512,
        'kmem_cache_destroy', '', {'cache': 'foo_cache'}),
    'a broken list': (OOPS.replace(HEAD, '------------[ cut here ]------------\nlist_del corruption, ffff888 is LIST_'
                                   'POISON1\nkernel BUG at lib/list_debug.c:47!\ninvalid opcode: 0000 [#1] SMP\n'),
                      'oops', 'kernel BUG at lib/list_debug.c:47', 'rmmod', 512, 'f_exit', 'foo', {'number': 1}),
    'stack guard page, 6.x': (OOPS.replace(HEAD, 'BUG: TASK stack guard page was hit at ffffc90000a7ff58 (stack is '
                                           'ffffc90000a80000..ffffc90000a84000)\nOops: stack guard page: 0000 [#1] '
                                           'PREEMPT SMP\n'), 'oops',
                              ('TASK stack guard page was hit at ffffc90000a7ff58 (stack is ffffc90000a80000..'
                              'ffffc90000a84000)'), 'rmmod', 512, 'f_exit', 'foo', {'address': None}),
    'double fault': (OOPS.replace(HEAD, 'double fault: 0000 [#2] SMP\n'), 'oops', 'double fault', 'rmmod', 512,
                     'f_exit', 'foo', {'number': 2}),
    'general protection': (OOPS.replace(HEAD, 'general protection fault, probably for non-canonical address '
                                        '0xdead000000000108: 0000 [#1] SMP\n'), 'oops',
                           'general protection fault, probably for non-canonical address 0xdead000000000108', 'rmmod',
                           512, 'f_exit', 'foo', {'address': 0xdead000000000108}),
    'a null pointer called': (NULL_CALL, 'oops', 'kernel NULL pointer dereference, address: 0000000000000000',
                              'kworker/1:1', 267, None, None,
                              {'pc': 0, 'freed_code': None, 'workqueue': 'events', 'work_of': 'foo'}),
    'the list of modules': (OOPS, 'oops', 'kernel NULL pointer dereference, address: 0000000000000008', 'rmmod', 512,
                            'f_exit', 'foo', {'loading': [], 'unloading': ['foo'], 'settled': [],
                                              'last_unloaded': 'baz'}),
    'a long list of modules': (
        OOPS.replace(' bar [last', ' bar\n ext4 jbd2\n foo_core(O) xfs(+) [last'), 'oops',
        'kernel NULL pointer dereference, address: 0000000000000008', 'rmmod', 512, 'f_exit', 'foo',
        {'loading': ['xfs'], 'unloading': ['foo'], 'last_unloaded': 'baz'}),
    'a long list of modules, and what another CPU printed in the midst of it': (
        OOPS.replace(' bar [last', ' bar\nusb 1-1: new device\n ext4 xfs(+) [last'), 'oops',
        'kernel NULL pointer dereference, address: 0000000000000008', 'rmmod', 512, 'f_exit', 'foo',
        {'loading': ['xfs'], 'unloading': ['foo'], 'last_unloaded': 'baz'}),
    'a list of modules that fills a record, and its end': (
        OOPS.replace(' bar [last', ' bar' * 245 + ' [last'), 'oops',
        'kernel NULL pointer dereference, address: 0000000000000008', 'rmmod', 512, 'f_exit', 'foo',
        {'loading': [], 'unloading': ['foo'], 'last_unloaded': 'baz'}),
    'a list of modules that fills a record and goes on in the next': (
        OOPS.replace(' bar [last unloaded: baz(O)]', ' bar' * 250 + '\n ext4 xfs(+)'), 'oops',
        'kernel NULL pointer dereference, address: 0000000000000008', 'rmmod', 512, 'f_exit', 'foo',
        {'loading': ['xfs'], 'unloading': ['foo'], 'last_unloaded': None}),
    'a list of modules that fills a record': (
        OOPS.replace(' bar [last unloaded: baz(O)]', ' bar' * 250), 'oops',
        'kernel NULL pointer dereference, address: 0000000000000008', 'rmmod', 512, 'f_exit', 'foo',
        {'loading': [], 'unloading': ['foo'], 'last_unloaded': None}),
    'a list of modules that is cut': (
        OOPS.replace(' bar [last', ' bar' * 400 + ' [last'), 'oops',
        'kernel NULL pointer dereference, address: 0000000000000008', 'rmmod', 512, 'f_exit', 'foo',
        {'loading': None, 'unloading': None, 'last_unloaded': None}),
    'died with a spin lock': (OOPS + 'note: rmmod[512] exited with preempt_count 1\n', 'oops',
                              'kernel NULL pointer dereference, address: 0000000000000008', 'rmmod', 512, 'f_exit',
                              'foo', {'preempt_count': 1}),
    'died with interrupts off': (OOPS + 'note: rmmod[512] exited with irqs disabled\n', 'oops',
                                 'kernel NULL pointer dereference, address: 0000000000000008', 'rmmod', 512, 'f_exit',
                                 'foo', {'preempt_count': None}),
}
for _name in ('possible recursive locking detected', 'inconsistent lock state', 'suspicious RCU usage',
              'SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected', 'held lock freed!',
              'possible irq lock inversion dependency detected', 'bad unlock balance detected!'):
    FORMS['lockdep, ' + _name] = ('WARNING: ' + _name + '\n' + LOCKS, 'lockdep', _name, 'insmod', 512, 'f_db', 'foo',
                                  {'wants': 'text_mutex', 'locks': ['module_mutex'], 'taint': 'GOE'})
for _head in ('[ INFO: possible circular locking dependency detected ]', '[ BUG: Invalid wait context ]'):
    FORMS['lockdep, ' + _head] = (_head + '\n' + LOCKS, 'lockdep', _head.partition(': ')[2][:-2], 'insmod', 512, 'f_db',
                                  'foo', {'wants': 'text_mutex', 'locks': ['module_mutex']})


def stamped(text, prefix='[  185.234789] '):
    return [prefix + line for line in text.splitlines()]


@pytest.mark.parametrize('row', FORMS.values(), ids=list(FORMS))
def test_each_form(row):
    text, kind, cause, task, pid, function, module, more = row
    for lines in (stamped(text), text.splitlines()):
        (report,) = oops.oopses(lines)
        found = [None if is_unavailable(report[key]) else report[key] for key in (
            'kind', 'cause', 'task', 'pid', 'function', 'module')]
        assert found == [kind, cause, task, pid, function, module]
        assert {key: report.get(key) for key in more} == more


@pytest.mark.parametrize('case', [name for name, row in FORMS.items() if row[1] != 'oops'])
def test_only_an_oops_says_that_a_task_died(case):
    (report,) = oops.oopses(stamped(FORMS[case][0]))
    told = attribution.attribution(report)
    assert (told['died_in'], told['of'], told['call']) == (None, None, None)
    # An oops after it is one of its own.
    both = oops.oopses(stamped(FORMS[case][0] + OOPS))
    assert [entry['kind'] for entry in both] == [FORMS[case][1], 'oops']
    assert attribution.attribution(both[1])['call'] == 'exit'


@pytest.mark.parametrize(('prefix', 'when'), [
    ('[  185.234789][ T9810] ', 185.234789), ('[  185.234789][    C1] ', 185.234789),
    ('<4>[  185.234789] ', 185.234789),
    ('May  3 09:41:17 host1 kernel: [  185.234789] ', 185.234789), ('May 13 09:41:17 host1 kernel: ', None),
    ('2024-05-03T09:41:17.123456+02:00 host1 kernel: [  185.234789] ', 185.234789),
    ('[Mon May  3 09:41:17 2021] ', None), ('kern  :alert : [  185.234789] ', 185.234789), (' ', None), ('', None)])
def test_each_prefix(prefix, when):
    (report,) = oops.oopses(stamped(OOPS, prefix))
    assert (None if is_unavailable(report['time']) else report['time']) == when
    told = attribution.attribution(report)
    assert (report['task'], report['function'], told['call'], told['of']) == ('rmmod', 'f_exit', 'exit', 'foo')


@pytest.mark.parametrize('prefix', ['May 13 09:41:17 host1 kernel: ', '2024-05-03T09:41:17+02:00 host1 kernel: '])
@pytest.mark.parametrize(('listed', 'is_known'), [
    (' bar' * 250, False), (' bar' * 250 + '\n ext4', True), (' bar' * 245 + ' [last unloaded: baz]', True),
    (' bar' * 200, True)])
def test_what_passed_a_log_on_may_have_cut_the_list_of_modules(prefix, listed, is_known):
    (report,) = oops.oopses(stamped(OOPS.replace(' bar [last unloaded: baz(O)]', listed), prefix))
    assert ('unloading' in report) is is_known


FORGED = [
    '{}[12]: segfault at 10 ip 000055d0c0ae0139 sp 00007ffd6f0a2e10 error 4 in a.out[55d0c0ae0000+1000]',
    '{}[12] trap divide error ip:55d0 sp:7ffd error:0', '{}[12]: unhandled exception: SP Alignment, ESR 0x2',
    '{} (12): drop_caches: 3', '{} (12) used greatest stack depth: 11000 bytes left',
    '{}/12: potentially unexpected fatal signal 11.', '{} invoked oom-killer: gfp_mask=0xcc0, order=0',
    '{}: page allocation failure: order:4, mode:0xcc0']


@pytest.mark.parametrize('line', FORGED)
@pytest.mark.parametrize('name', ['BUG: kernel NUL', 'RIP: 0010:f+0x1', '---[ end trace ', 'kernel BUG at x',
                                  'Oops: 0000 [#1]', 'WARNING: x at y', 'Unable to handl', 'INFO: task a:1 '])
def test_what_a_process_is_called_makes_no_report(name, line):
    assert oops.oopses(stamped('\n'.join([line.format(name), line.format('---[ end trace ')]))) == []


def test_a_name_with_a_newline_makes_no_report():
    text = '\\x0a'.join(OOPS.splitlines()).replace('\t', ' ')
    record = "4,1043,185234789,-;process 'a' launched '{}' with NULL argv: empty string added\n".format(text)
    lines = log_source.lines_of(record.encode())
    assert len(lines) == 1
    assert oops.oopses(lines) == []


def test_the_journal_is_asked_for_what_the_kernel_wrote(monkeypatch):
    asked = []

    def run(command, **_rest):
        asked.append(command)
        raise OSError

    monkeypatch.setattr(log_source.subprocess, 'run', run)
    assert is_unavailable(log_source.read(path='/dev/no_kmsg'))
    assert 'SYSLOG_FACILITY=0' in asked[0]


def test_marks_of_modules():
    listed = modules_linked_in('foo(OE+) bar(-) baz(O) ext4 foo_parked1(OE+) [last unloaded: qux(OE)]')
    assert listed == (['foo', 'foo_parked1'], ['bar'], ['baz', 'ext4'], 'qux')
    assert modules_linked_in('') == ([], [], [], '')


# id: (trace from the fault, function, module, what is left, stale buckets, with the table of running loads)
LOADER = {
    'in its own table': (['__x64_sys_finit_module'], 'idempotent_init_module', '', 'wedged'),
    'in the loader': (['load_module', '__do_sys_init_module'], 'kfree', '', 'wedged'),
    'in an init that left no frame': (['do_one_initcall', 'do_init_module', '__do_sys_init_module'], 'kfree', '', 'ok'),
    'in an init': (['f_init [foo]', 'do_one_initcall', 'do_init_module', '__do_sys_finit_module'], 'memcpy', '',
                   'stale_entry_suspected'),
    'in an exit': (['f_exit [foo]', '__do_sys_delete_module'], 'memcpy', '', 'ok'),
}


@pytest.mark.parametrize(('trace', 'function', 'module', 'state'), LOADER.values(), ids=list(LOADER))
def test_what_is_left_in_the_loader(trace, function, module, state):
    frames = [frame.replace(' [', '+0x1/0x2 [') if ' [' in frame else frame + '+0x1/0x2' for frame in trace]
    entry = {'kind': 'oops', 'function': function, 'module': module, 'trace': frames, 'cause': 'x', 'task': 'insmod'}
    entry.update(attribution.attribution(entry))
    assert crashes.loader([entry], True, unavailable('not counted')) == state


def test_a_load_of_a_kernel_without_names_may_have_left_an_entry():
    entry = {'kind': 'oops', 'function': unavailable('nameless'), 'module': 'foo', 'trace': [], 'cause': 'x',
             'task': 'modprobe', 'loading': ['foo']}
    entry.update(attribution.attribution(entry))
    assert crashes.loader([entry], True, unavailable('not counted')) == 'stale_entry_suspected'
    assert crashes.loader([entry], False, unavailable('no table')) == 'ok'


WORDS = sorted({word for row in FORMS.values() for line in row[0].splitlines() for word in line.split(' ')})


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(' '.join), max_size=40))
def test_any_words_give_reports(lines):
    for report in oops.oopses(lines):
        told = attribution.attribution(report)
        assert report['kind'] in ('oops', 'warning', 'hung', 'stall', 'lockdep')
        assert report['kind'] == 'oops' or told['call'] is None


def test_a_healthy_log_costs_little():
    lines = stamped('usb 1-1: new high-speed USB device number 4 using xhci_hcd\n' * 100000)
    assert not any(alarm in lines[0] for alarm in ALARMS)
    began = time.process_time()
    assert oops.oopses(lines) == []
    assert time.process_time() - began < 2


@pytest.mark.parametrize(('first', 'of'), [
    (OOPS, 'bar'),
    (OOPS.replace('[foo]', '[baz]').replace('foo(OE-)', 'baz(OE-)'), None),
], ids=['one of two is known to have died', 'either may have'])
def test_an_exit_without_a_frame_is_that_of_the_only_module_that_no_other_report_accounts_for(first, of):
    # Of a call at its end the compiler makes a jump: no frame of the exit is left.
    second = OOPS.replace('f_exit+0x5/0x10 [foo]', 'memmove+0x28/0x1b0').replace('foo(OE-) bar', 'foo(OE-) bar(OE-)')
    told = attribution.attributions(oops.oopses(stamped(first + second)))
    assert [entry['of'] for entry in told][1:] == [of]
