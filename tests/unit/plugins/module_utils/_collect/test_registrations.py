# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module registered: one thing of each kind in the memory of four kernels, and memory that is broken."""

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import callbacks, registrations
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import kernel_lists
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_memory import ALL_KERNELS, make_root, write_files
from registered_kernel import CODE, CPUS, FUNCTION, KERNEL, OTHER, RANGES, RegisteredKernel, populated

FOUND = [
    ('misc device', '/dev/foo', 'miscdevice.fops is __this_module'),
    ('network protocol', 'foo', 'proto.owner is __this_module'),
    ('terminal driver', 'foo', 'tty_driver.owner is __this_module'),
    ('algorithm', 'foo', 'crypto_alg.cra_module is __this_module'),
    ('character device', 'foo (244:3)', 'cdev.owner is __this_module'),
    ('network device', 'foo0', 'net_device.netdev_ops is __this_module'),
    ('file system', 'foo', 'file_system_type.owner is __this_module'),
    ('timer', 'f_call', 'timer_list.function is f_call'),
    ('interrupt', '70 (foo)', 'irqaction.handler is f_call'),
    ('kprobe', 'vfs_foo', 'kprobe.pre_handler is f_call'),
    ('notifier', 'f_call on atomic_notifier_list', 'notifier_block.notifier_call is f_call'),
    ('high-resolution timer', 'f_tick', '/proc/timer_list'),
]
KINDS = [kind for kind, _what, _evidence in FOUND]


def of(root, name='foo', ranges=tuple(RANGES)):
    """What the reader finds: (kind, what, evidence)."""
    answer = registrations.Registrations(str(root)).of(name, ranges)
    return [(entry['kind'], entry['what'], entry['evidence']) for entry in answer['found']], answer['unseen']


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_each_kind_is_found_and_named(tmp_path, kernel):
    assert of(populated(kernel).root(tmp_path)) == (FOUND, [])


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_what_others_registered_is_theirs(tmp_path, kernel):
    root = populated(kernel).root(tmp_path)
    found, unseen = of(root, 'bar', [(OTHER, OTHER + 0x1000)])
    assert [kind for kind, _what, _evidence in found] == KINDS[:-1]
    assert found[8] == ('interrupt', '9 (bar)', 'irqaction.handler is f_other')
    assert found[10] == ('notifier', 'f_other on some_chain_head', 'notifier_block.notifier_call is f_other')
    assert of(root, 'baz', [(OTHER + 0x1000, OTHER + 0x2000)]) == ([], unseen)


def test_every_kind_has_a_row():
    assert {*callbacks.Callbacks('/nowhere').kinds, 'high-resolution timer'} == set(KINDS)


def test_drivers_are_those_that_sysfs_links(tmp_path):
    root = populated('linux-6.1').root(tmp_path)
    write_files(root, {f'sys/module/foo/drivers/{driver}': '-> ../../../bus' for driver in ('platform:foo', 'pci:foo')})
    assert of(root)[0][-2:] == [('driver', 'pci:foo', '/sys/module/foo/drivers'),
                                ('driver', 'platform:foo', '/sys/module/foo/drivers')]


# id: (the line of a timer, is it the module's)
TIMERS = {
    'the module is named': (' #1: <0000000000000000>, f_tick [foo], S:01', True),
    'with a build id': (' #1: <0000000000000000>, f_tick [foo 0123abcd], S:01', True),
    'another is named': (' #1: <0000000000000000>, f_tick [bar], S:01', False),
    '5.10: the function of this module alone': (' #1: f_timer, f_call, S:01', True),
    '5.10: a function of the kernel': (' #1: <000000001bee7318>, f_of_the_kernel, S:01', False),
    '5.10: a function of another': (' #1: <000000001bee7318>, f_other, S:01', False),
    '5.10: a function that is in two': (' #1: <000000001bee7318>, twice, S:01', False),
}


@pytest.mark.parametrize(('line', 'mine'), TIMERS.values(), ids=list(TIMERS))
def test_whose_a_high_resolution_timer_is(tmp_path, line, mine):
    root = RegisteredKernel('linux-5.10').close().root(tmp_path)
    write_files(root, {'proc/timer_list': f'active timers:\n{line}\n # expires at 1-1 nsecs [in 1 to 1 nsecs]\n'})
    with (tmp_path / 'proc/kallsyms').open('a') as stream:
        stream.write('%x t twice\t[bar]\n%x t twice\t[foo]\n' % (OTHER, CODE))
    found, _unseen = of(root)
    assert [kind for kind, _what, _evidence in found] == (['high-resolution timer'] if mine else [])


@pytest.mark.parametrize('kernel', ALL_KERNELS)
@pytest.mark.parametrize('chain', ['raw_chain', 'atomic_notifier_list', 'some_chain_head', 'srcu_notify_list'])
def test_each_kind_of_notifier_chain_is_walked(tmp_path, kernel, chain):
    made = RegisteredKernel(kernel)
    last = made.notifier(chain, FUNCTION)
    first = made.notifier(chain, KERNEL)
    made.put(first, 'notifier_block', 'next', last)
    assert of(made.close().root(tmp_path))[0][:-1] == [
        ('notifier', 'f_call on ' + chain, 'notifier_block.notifier_call is f_call')]


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_a_notifier_block_is_no_chain(tmp_path, kernel):
    made = RegisteredKernel(kernel)
    block = made.new('notifier_block', notifier_call=FUNCTION)
    made.memory.u64(made.symbols['block_notifier'] + 8, block)
    assert of(made.close().root(tmp_path))[0] == FOUND[-1:]


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_probes_of_one_place_are_each_looked_at(tmp_path, kernel):
    made = RegisteredKernel(kernel)
    place = made.kprobe(3, pre_handler=KERNEL)
    at = made.types.offset('kprobe', 'list')
    mine = made.new('kprobe', post_handler=FUNCTION, addr=KERNEL + 5)
    made.ring(place + at, made.new('kprobe', pre_handler=OTHER) + at, mine + at)
    assert of(made.close().root(tmp_path))[0][0] == ('kprobe', 'at 0xffffffff81001005', 'kprobe.post_handler is f_call')


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_a_timer_that_runs_now_counts_on_any_processor(tmp_path, kernel):
    made = RegisteredKernel(kernel)
    timer = made.new('timer_list', function=FUNCTION + 4)
    made.memory.u64(made.symbols['timer_bases'] + CPUS[1] + made.types.offset('timer_base', 'running_timer'), timer)
    assert of(made.close().root(tmp_path))[0][0] == ('timer', 'f_call+0x4', 'timer_list.function is f_call+0x4')


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_a_delayed_work_is_told_by_what_it_calls(tmp_path, kernel):
    made = RegisteredKernel(kernel)
    called = made.symbol('delayed_work_timer_fn', 8)
    work = made.new('delayed_work')
    timer = work + made.types.offset('delayed_work', 'timer')
    made.memory.u64(work + made.types.offset('work_struct', 'func'), FUNCTION)
    made.memory.u64(timer + made.types.offset('timer_list', 'function'), called)
    slot = made.types.offset('timer_base', 'vectors') + 8 * 9
    made.memory.u64(made.symbols['timer_bases'] + CPUS[1] + slot, timer)
    assert of(made.close().root(tmp_path))[0][0] == ('timer', 'f_call', 'work_struct.func is f_call')


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_shared_interrupts_and_threaded_handlers(tmp_path, kernel):
    made = RegisteredKernel(kernel)
    for number in range(1, 200, 21):
        made.interrupt(number, (KERNEL, OTHER, 'others'), (KERNEL, FUNCTION if number == 148 else 0, 'shared'))
    assert of(made.close().root(tmp_path))[0][:-1] == [
        ('interrupt', '148 (shared)', 'irqaction.thread_fn is f_call')]


@pytest.mark.parametrize('kernel', ALL_KERNELS)
def test_an_interrupt_that_another_has_for_the_same_device_before_cannot_be_given_back(tmp_path, kernel):
    """free_irq() takes the first with that device."""
    made = RegisteredKernel(kernel)
    made.interrupt(9, (OTHER, 0, 'theirs', 7), (FUNCTION, 0, 'ours', 8), (FUNCTION, 0, 'same', 7))
    root = made.close().root(tmp_path)
    entries = [entry for entry in callbacks.Callbacks(root).kinds['interrupt']() if entry.what().startswith('9 ')]
    assert [(entry.what(), bool(entry.undo)) for entry in entries] == [
        ('9 (theirs)', True), ('9 (ours)', True), ('9 (same)', False)]


def test_one_interrupt_alone_needs_no_node(tmp_path):
    made = RegisteredKernel('linux-7.3')
    made.interrupt(7, (FUNCTION, 0, 'alone'))
    made.close()
    made.memory.u64(made.symbols['sparse_irqs'] + made.types.offset('maple_tree', 'ma_root'), made.irqs[7])
    assert of(made.root(tmp_path))[0][0] == ('interrupt', '7 (alone)', 'irqaction.handler is f_call')


def test_several_of_a_kind_and_a_struct_that_lies_in_the_module(tmp_path):
    made = RegisteredKernel('linux-6.12')
    for name, fops in (('a', KERNEL), ('b', FUNCTION), ('c', FUNCTION)):
        made.on_ring('misc_list', 'miscdevice', 'list', fops=fops, name=made.text(name))
    where = made.rings['misc_list'][1] - made.types.offset('miscdevice', 'list')
    found, _unseen = of(made.close().root(tmp_path), ranges=[*RANGES, (where, where + 8)])
    assert found[:3] == [('misc device', '/dev/a', f'struct miscdevice is {where:#x}'),
                         ('misc device', '/dev/b', 'miscdevice.fops is f_call'),
                         ('misc device', '/dev/c', 'miscdevice.fops is f_call')]


# id: (what is broken, the kinds that it costs, why)
BROKEN = {
    'a list that goes in circles': (
        lambda made: made.memory.u64(made.rings['misc_list'][3], made.rings['misc_list'][2]),
        ['misc device'], 'walk misc_list: it goes in circles'),
    'a pointer to nowhere': (lambda made: made.memory.u64(made.rings['proto_list'][2], 0x1000),
                             ['network protocol'], 'no segment of'),
    'a list cut off': (lambda made: made.memory.u64(made.symbols['crypto_alg_list'], 0), ['algorithm'],
                       'no segment of'),
    'a symbol that is missing': (lambda made: made.symbols.pop('tty_drivers'), ['terminal driver'],
                                 "find the kernel's tty_drivers"),
    'a timer that points to itself': (
        lambda made: made.memory.u64(*[made.timer(0, 0, 100, KERNEL)] * 2), ['timer'], 'goes in circles'),
    'a table whose end is not known': (
        lambda made: made.symbols.update(kprobe_table=made.symbols['end_of_data'] + 0x100), ['kprobe'],
        'its size is not known'),
    'an interrupt to nowhere': (lambda made: made.put(made.irqs[9], 'irq_desc', 'action', 0x1000), ['interrupt'],
                                'no segment of'),
    'a device to nowhere': (lambda made: made.memory.u64(made.map + 8 * 253, 0x1000), ['character device'],
                            'no segment of'),
    'no processors': (lambda made: made.symbols.pop('__per_cpu_offset'), ['timer'], '__per_cpu_offset'),
}


@pytest.mark.parametrize('kernel', ALL_KERNELS)
@pytest.mark.parametrize('row', BROKEN.values(), ids=list(BROKEN))
def test_a_broken_list_costs_its_kind_only(tmp_path, kernel, row):
    break_it, kinds, why = row
    made = populated(kernel)
    break_it(made)
    found, (unseen,) = of(made.root(tmp_path))
    assert [kind for kind, _what, _evidence in found] == [kind for kind in KINDS if kind not in kinds]
    assert unseen.startswith(', '.join(f'{kind}s' for kind in kinds) + ': ')
    assert why in unseen


@pytest.mark.parametrize('kernel', ['linux-6.12', 'linux-7.3'])
def test_an_interrupt_tree_of_another_make_is_not_read(tmp_path, kernel):
    made = populated(kernel)
    root = made.symbols['sparse_irqs'] + made.types.offset('maple_tree', 'ma_root')
    made.memory.u64(root, made.maple_tree() & ~255 | 9 << 3 | 2)
    assert of(made.root(tmp_path))[1] == ['interrupts: Cannot walk sparse_irqs: it has a node of the unknown kind 9.']


@pytest.mark.parametrize(('name', 'text', 'why'), [
    ('sys/devices/system/cpu/possible', None, 'No such file'), ('sys/devices/system/cpu/possible', 'all\n', 'invalid')])
def test_processors_that_are_not_known(tmp_path, name, text, why):
    root = populated('linux-6.1').root(tmp_path)
    (tmp_path / name).unlink()
    if text:
        write_files(root, {name: text})
    found, (unseen,) = of(root)
    assert 'timer' not in [kind for kind, _what, _evidence in found]
    assert why in unseen


def test_a_kernel_that_shows_nothing_says_so_for_each_kind(tmp_path):
    found, unseen = of(make_root(tmp_path))
    assert found == []
    told = [kind for sentence in unseen for kind in sentence.split(': ')[0].split(', ')]
    assert sorted(told) == sorted(f'{kind}s' for kind in KINDS)


def test_hidden_addresses_are_said_to_be_hidden(tmp_path):
    root = populated('linux-6.12').root(tmp_path)
    symbols = (tmp_path / 'proc/kallsyms').read_text().splitlines()
    (tmp_path / 'proc/kallsyms').write_text('\n'.join('0' * 16 + line[16:] for line in symbols) + '\n')
    found, unseen = of(root)
    assert found == FOUND[-1:]
    assert len(unseen) == 1
    assert 'are hidden' in unseen[0]


def test_without_the_place_of_its_memory_nothing_is_its_own(tmp_path):
    found, unseen = of(populated('linux-6.12').root(tmp_path), ranges=[])
    assert found == FOUND[-1:]
    assert unseen == [', '.join(f'{kind}s' for kind in KINDS[:-1])
                      + ': where the memory of the module lies is not known']


def test_each_kind_is_read_once(tmp_path, monkeypatch):
    root = populated('linux-6.12').root(tmp_path)
    with KernelMemory(root) as memory:
        registered = registrations.Registrations(root, memory)
        first = registered.of('foo', RANGES)
        for walk in ('ring', 'chain', 'pointers_chain', 'maple_tree'):
            monkeypatch.setattr(kernel_lists, walk, lambda *_where: pytest.fail('walked again'))
        assert registered.of('foo', RANGES) == first


def test_a_walk_that_got_lost_is_repeated(tmp_path, monkeypatch):
    root = populated('linux-6.12').root(tmp_path)
    walks, ring = [], kernel_lists.ring

    def changing(kcore, head, link, size, what):
        walks.append(what)
        if walks.count('misc_list') < kernel_lists.WALKS and what == 'misc_list':
            raise kernel_lists.Walk(what).lost('it goes in circles')
        return ring(kcore, head, link, size, what)

    monkeypatch.setattr(kernel_lists, 'ring', changing)
    assert of(root) == (FOUND, [])
    assert walks.count('misc_list') == kernel_lists.WALKS


def test_a_list_without_end_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_lists, 'MOST', 3)
    _found, unseen = of(populated('linux-6.12').root(tmp_path))
    assert 'more than 3 entries' in ' '.join(unseen)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kernel=st.sampled_from(ALL_KERNELS))
def test_any_memory_is_read_or_refused(tmp_path_factory, data, kernel):
    made = populated(kernel)
    places = made.memory.held()
    values = st.one_of(st.sampled_from(places), st.sampled_from([0, 1, 2, 0x1000, FUNCTION, CODE, (1 << 64) - 1]),
                       st.integers(0, (1 << 64) - 1))
    for place, value in data.draw(st.lists(st.tuples(st.sampled_from(places), values), min_size=1, max_size=6)):
        made.memory.u64(place, value)
    found, unseen = of(made.root(tmp_path_factory.mktemp('memory')))
    assert {kind for kind, _what, _evidence in found} <= set(KINDS)
    assert all(sentence.endswith('.') for sentence in unseen)
