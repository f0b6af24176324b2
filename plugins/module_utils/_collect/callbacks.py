# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others have registered with the kernel, from its own lists and tables: each entry with the pointers it holds.

Part of :mod:`registrations`, which keeps the entries that point into a module. By BTF, /proc/kcore and the symbol
table; a kind that this kernel keeps in another way costs that kind.
"""

import os
import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import (
    btf,
    kernel_lists,
    net_namespaces,
    static_data,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kcore import KernelMemory
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.kernel_lists import pointer
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory.symbols import Symbols

NAME_LENGTH = 64
# Wheels of a processor: NR_BASES in kernel/time/timer.c is 3 at most.
MOST_WHEELS = 4
# Pointer tables, in bytes: more than kprobe_table or chrdevs has on any kernel.
LARGEST_TABLE = 1 << 16
# Symbols that may be the head of a notifier chain.
CHAINS = ('_chain', '_chain_head', '_notifier', '_notifier_list', '_notify_list', '_handler_list')
# include/linux/notifier.h: where each kind of head has its first notifier_block.
HEADS = ('raw_notifier_head', 'atomic_notifier_head', 'blocking_notifier_head', 'srcu_notifier_head')
# MAJOR and MINOR in include/linux/kdev_t.h
MINOR_BITS = 20


class Undo(NamedTuple):
    """How an entry is taken back: what of :class:`_types.Leftover` is known where it is read."""

    kind: str
    address: int
    other: int = 0
    proof: int = 0


class Entry(NamedTuple):
    """One thing registered: where its struct lies and what it points to, by the names of the members."""

    what: Callable[[], str]
    pointers: List[Tuple[str, int]]
    undo: Optional[Undo] = None


class Listed(NamedTuple):
    """A kind that is one list of structs: its head, how it is linked (ring, hlist, next), what leads to its owner."""

    head: str
    struct: str
    link: str
    linked: str
    pointers: Tuple[str, ...]
    name: str
    shown: str
    undo: str = ''


LISTED = {
    'misc device': Listed('misc_list', 'miscdevice', 'list', 'ring', ('fops',), '*name', '/dev/%s', 'misc'),
    'network protocol': Listed('proto_list', 'proto', 'node', 'ring', ('owner',), 'name', '%s'),
    'terminal driver': Listed('tty_drivers', 'tty_driver', 'tty_drivers', 'ring', ('owner', 'ops'), '*driver_name',
                              '%s'),
    'algorithm': Listed('crypto_alg_list', 'crypto_alg', 'cra_list', 'ring', ('cra_module',), 'cra_driver_name', '%s'),
}
# The same kind in another shape; the first that this kernel's types have.
FILE_SYSTEMS = (
    Listed('file_systems', 'file_system_type', 'next', 'next', ('owner',), '*name', '%s', 'filesystem'),
    Listed('file_systems', 'file_system_type', 'list', 'hlist', ('owner',), '*name', '%s', 'filesystem'),
)


class Callbacks:
    """The entries of each kind, read when asked for. Every failure is a KmodError."""

    def __init__(self, root: str = '/', memory: Optional[KernelMemory] = None,
                 symbols: Optional[Symbols] = None) -> None:
        self._memory = memory or KernelMemory(root)
        self._symbols = symbols or Symbols(root)
        self._delays: Optional[int] = None  # what a delayed work's timer calls
        listed = {kind: self._reader(row) for kind, row in LISTED.items()}
        self.kinds: Dict[str, Callable[[], Iterator[Entry]]] = dict(listed, **{
            'character device': self._character_devices, 'network device': self._network_devices,
            'file system': self._file_systems, 'timer': self._timers, 'interrupt': self._interrupts,
            'kprobe': self._kprobes, 'notifier': self._notifiers,
        })

    def _reader(self, row: Listed) -> Callable[[], Iterator[Entry]]:
        return lambda: self._listed(row)

    def _symbol(self, name: str) -> int:
        return self._data(name)[0]

    def _data(self, name: str) -> Tuple[int, int]:
        """Address and size of a datum of the kernel; the size is 0 where it is not known."""
        try:
            return self._symbols.data(name)
        except KmodError:
            if self._symbols.lists_data():
                raise  # this kernel keeps it in another way
            if not static_data.tells(name):
                raise
            return static_data.find(name, self._symbols, self._memory)

    def _offsets(self, name: str, *members: str) -> Dict[str, int]:
        return btf.layout_of(self._memory.btf, {member: (name, member) for member in members})

    def _table(self, name: str) -> List[int]:
        """The pointers of a table, NULL too; it ends where the next symbol starts."""
        address, size = self._data(name)
        if not 0 < size <= LARGEST_TABLE:
            raise KmodError(f'read the kernel\'s {name}', 'its size is not known')
        return [value for (value,) in struct.iter_unpack('<Q', self._memory.kcore.read(address, size // 8 * 8))]

    def _listed(self, row: Listed) -> Iterator[Entry]:
        kcore, members = self._memory.kcore, [row.link, *row.pointers]
        name = row.name.lstrip('*')
        offsets = self._offsets(row.struct, *members, name)
        size = max(offsets.values()) + NAME_LENGTH
        head, link = self._symbol(row.head), offsets[row.link]
        if row.linked == 'ring':
            found = kernel_lists.ring(kcore, head, link, size, row.head)
        elif row.linked == 'hlist':
            found = kernel_lists.chain(kcore, kcore.u64(head), link, size, row.head)
        else:
            found = kernel_lists.pointers_chain(kcore, kcore.u64(head), link, size, row.head)
        for address, data in found:
            pointers = [(f'struct {row.struct}', address)]
            pointers += [(f'{row.struct}.{member}', pointer(data, offsets[member])) for member in row.pointers]
            undo = Undo(row.undo, address, proof=address + offsets[row.pointers[0]]) if row.undo else None
            yield Entry(self._namer(row, data, offsets[name]), pointers, undo)

    def _namer(self, row: Listed, data: bytes, at: int) -> Callable[[], str]:
        def name() -> str:
            text = self._memory.kcore.text(pointer(data, at)) if row.name.startswith('*') else _string(data[at:])
            return row.shown % text

        return name

    def _file_systems(self) -> Iterator[Entry]:
        for row in FILE_SYSTEMS:
            if self._memory.btf.has(row.struct, row.link):
                return self._listed(row)
        raise KmodError('walk file_systems', 'the kernel\'s file_system_type has neither next nor list')

    def _character_devices(self) -> Iterator[Entry]:
        """cdev_map in fs/char_dev.c: whatever cdev_add put there. Misc devices share one of the kernel's own."""
        kcore = self._memory.kcore
        probe = self._offsets('probe', 'next', 'dev', 'range', 'owner', 'data')
        cdev = self._offsets('cdev', 'owner', 'ops')
        start = kcore.u64(self._symbol('cdev_map')) + self._memory.btf.offset('kobj_map', 'probes')
        names: Dict[int, str] = _majors(self._memory.root)
        known: Dict[int, List[Tuple[str, int]]] = {}
        for (first,) in struct.iter_unpack('<Q', kcore.read(start, 8 * 255)):
            for _address, data in kernel_lists.pointers_chain(kcore, first, probe['next'], max(probe.values()) + 8,
                                                              'cdev_map'):
                pointers = [('probe.owner', pointer(data, probe['owner']))]
                device = pointer(data, probe['data'])
                if device and device not in known:
                    members = kcore.read(device, max(cdev.values()) + 8)
                    known[device] = [('struct cdev', device)]
                    known[device] += [(f'cdev.{member}', pointer(members, at)) for member, at in cdev.items()]
                pointers += known.get(device, [])
                number = struct.unpack_from('<I', data, probe['dev'])[0]
                yield Entry(_numbered(number, names), pointers,
                            Undo('cdev', device, proof=device + cdev['ops']) if device else None)

    def _network_devices(self) -> Iterator[Entry]:
        members = ['name', 'netdev_ops', 'ethtool_ops']
        for namespace in net_namespaces.namespaces(self._memory, self._symbol('net_namespace_list')):
            for place, data, at in net_namespaces.devices(self._memory, namespace.address, members, NAME_LENGTH):
                pointers = [('struct net_device', place)]
                pointers += [(f'net_device.{member}', pointer(data, at[member])) for member in members[1:]]
                yield Entry(_constant(_string(data[at['name']:][:16])), pointers,
                            Undo('netdev', place, proof=place + at['netdev_ops']))

    def _timers(self) -> Iterator[Entry]:
        """The timer wheels of all processors: timer_bases in kernel/time/timer.c, an hlist for each of its slots."""
        kcore, size = self._memory.kcore, self._memory.btf.size('timer_base')
        base = self._offsets('timer_base', 'vectors', 'running_timer')
        timer = self._offsets('timer_list', 'entry', 'function')
        first, room = self._data('timer_bases')
        seen = kernel_lists.Walk('the timer wheels')
        for offset in self._cpu_offsets():
            for number in range(min(max(room // size, 1), MOST_WHEELS)):
                wheel = (first + offset + number * size) % (1 << 64)
                data = kcore.read(wheel, size)
                for at in range(base['vectors'], size - 7, 8):
                    if pointer(data, at):
                        yield from self._timers_of(wheel + at, timer, seen)
                running = pointer(data, base['running_timer'])
                if running:
                    function = kcore.u64(running + timer['function'])
                    yield Entry(_constant(''), [('timer_list.function', function)])

    def _timers_of(self, slot: int, timer: Dict[str, int], seen: kernel_lists.Walk) -> List[Entry]:
        """The timers of one slot of a wheel. They move all the time: a chain that got lost is walked again."""
        found = kernel_lists.again(lambda: list(kernel_lists.chain(
            self._memory.kcore, self._memory.kcore.u64(slot), timer['entry'], timer['function'] + 8, 'a timer wheel')))
        return [self._timer(seen.count(address), pointer(data, timer['function']), timer['function'])
                for address, data in found]

    def _timer(self, timer: int, function: int, at: int) -> Entry:
        """A timer; of a delayed work, which queues itself again and so stays nowhere for long, what that calls."""
        if self._delays is None:
            self._delays = self._symbols.address('delayed_work_timer_fn') or 0
        pointers = [('timer_list.function', function), ('struct timer_list', timer)]
        if function != self._delays:
            return Entry(_constant(''), pointers, Undo('timer', timer, proof=timer + at))
        types = self._memory.btf
        work = timer - types.offset('delayed_work', 'timer') + types.offset('delayed_work', 'work')
        called = work + types.offset('work_struct', 'func')
        return Entry(_constant(''), [*pointers, ('work_struct.func', self._memory.kcore.u64(called))],
                     Undo('delayed_work', work, proof=called))

    def _cpu_offsets(self) -> List[int]:
        """What is added to a per-processor symbol for each processor that the kernel has room for."""
        return self._memory.cpu_offsets(self._symbol('__per_cpu_offset'))

    def _interrupts(self) -> Iterator[Entry]:
        """The actions of every irq_desc in kernel/irq/irqdesc.c; from 6.5 on they are in a maple tree."""
        kcore, types = self._memory.kcore, self._memory.btf
        try:
            descriptors = kernel_lists.maple_tree(self._memory, self._symbol('sparse_irqs'), 'sparse_irqs')
        except KmodError:
            descriptors = kernel_lists.xarray(self._memory, self._symbol('irq_desc_tree'), 'irq_desc_tree')
        first = types.offset('irq_desc', 'action')
        number = types.offset('irq_desc', 'irq_data') + types.offset('irq_data', 'irq')
        action = self._offsets('irqaction', 'handler', 'thread_fn', 'next', 'name', 'dev_id')
        for descriptor in descriptors:
            devices = set()
            for address, data in kernel_lists.pointers_chain(kcore, kcore.u64(descriptor + first), action['next'],
                                                             max(action.values()) + 8, 'the actions of an interrupt'):
                pointers = [('struct irqaction', address)]
                pointers += [(f'irqaction.{member}', pointer(data, action[member])) for member in
                             ('handler', 'thread_fn')]
                name, device = pointer(data, action['name']), pointer(data, action['dev_id'])
                # free_irq() takes the first that has it, whoever that is of.
                undo = Undo('interrupt', address, proof=address + action['handler']) if device not in devices else None
                devices.add(device)
                yield Entry(self._interrupt(kcore.u32(descriptor + number), name), pointers, undo)

    def _interrupt(self, number: int, name: int) -> Callable[[], str]:
        return lambda: '%d (%s)' % (number, self._memory.kcore.text(name) if name else 'no name')

    def _kprobes(self) -> Iterator[Entry]:
        """kprobe_table in kernel/kprobes.c. Several probes of one place hang on the list of one of the kernel's own."""
        kcore = self._memory.kcore
        members = ['hlist', 'list', 'addr', 'symbol_name', 'pre_handler', 'post_handler']
        offsets = self._offsets('kprobe', *members)
        size = max(offsets.values()) + 8
        for head in filter(None, self._table('kprobe_table')):
            for address, data in kernel_lists.chain(kcore, head, offsets['hlist'], size, 'kprobe_table'):
                yield self._kprobe(address, data, offsets)
                for other, more in kernel_lists.ring(kcore, address + offsets['list'], offsets['list'], size,
                                                     'the probes of one place'):
                    yield self._kprobe(other, more, offsets)

    def _kprobe(self, address: int, data: bytes, offsets: Dict[str, int]) -> Entry:
        def name() -> str:
            symbol = pointer(data, offsets['symbol_name'])
            return self._memory.kcore.text(symbol) if symbol else 'at %#x' % pointer(data, offsets['addr'])

        pointers = [(f'kprobe.{member}', pointer(data, offsets[member])) for member in ('pre_handler', 'post_handler')]
        # A kretprobe begins with its kprobe, which calls the kernel.
        returns = pointer(data, offsets['pre_handler']) == self._symbols.address('pre_handler_kretprobe')
        undo = Undo('kretprobe', address) if returns else \
            Undo('kprobe', address, proof=address + offsets['pre_handler'])
        return Entry(name, [*pointers, ('struct kprobe', address)], undo)

    def _notifiers(self) -> Iterator[Entry]:
        """Every notifier chain that has a symbol. Four kinds of head look alike there: each place is tried."""
        kcore = self._memory.kcore
        block = self._offsets('notifier_block', 'notifier_call', 'next')
        if not self._symbols.lists_data():
            yield from self._notifiers_by_code(block)
            return
        heads = sorted({self._memory.btf.offset(kind, 'head') for kind in HEADS})
        code = range(self._symbols.data('_stext')[0], self._symbols.data('_etext')[0])
        for name, start, room in self._symbols.data_ending(CHAINS):
            within = [head for head in heads if head + 8 <= room]
            try:
                data = kcore.read(start, within[-1] + 8) if within else b''
            except KmodError:
                continue
            if data and pointer(data, 0) not in code:  # else it is a notifier_block
                for head in within:
                    yield from self._notifier_chain(name, start, head, pointer(data, head), block)

    def _notifiers_by_code(self, block: Dict[str, int]) -> Iterator[Entry]:
        """Every notifier chain for which there is a function to register with it."""
        for function, head, kind in static_data.notifier_chains(self._symbols, self._memory):
            within = self._memory.btf.offset(kind, 'head')
            yield from self._notifier_chain(f'the chain of {function}', head, within,
                                            self._memory.kcore.u64(head + within), block)

    def _notifier_chain(self, name: str, start: int, head: int, first: int, block: Dict[str, int]) -> List[Entry]:
        """The blocks of a chain; none where what was taken for its head leads nowhere."""
        try:
            found = list(kernel_lists.pointers_chain(self._memory.kcore, first, block['next'],
                                                     max(block.values()) + 8, name))
        except KmodError:
            return []
        return [Entry(_constant('on ' + name), [('notifier_block.notifier_call', pointer(data, block['notifier_call'])),
                                                ('struct notifier_block', address)],
                      self._undo_notifier(name, start, head, address, address + block['notifier_call']))
                for address, data in found]

    def _undo_notifier(self, name: str, start: int, head: int, address: int, proof: int) -> Optional[Undo]:
        """How a block is taken off, which is told by where its chain's head has the first."""
        if name == 'netdev_chain':
            return Undo('netdevice_notifier', address, start, proof)
        for kind in ('atomic', 'blocking'):
            if head == self._memory.btf.offset(f'{kind}_notifier_head', 'head'):
                return Undo(f'{kind}_notifier', address, start, proof)
        return None


def _constant(text: str) -> Callable[[], str]:
    return lambda: text


def _string(data: bytes) -> str:
    return data.split(b'\0', 1)[0].decode('utf-8', 'backslashreplace')


def _numbered(number: int, names: Dict[int, str]) -> Callable[[], str]:
    major, minor = number >> MINOR_BITS, number & ((1 << MINOR_BITS) - 1)
    return lambda: '%s (%d:%d)' % (names.get(major, 'of no name'), major, minor)


def _majors(root: str) -> Dict[int, str]:
    """The names of the majors of character devices in /proc/devices."""
    try:
        with open(os.path.join(root, 'proc/devices'), errors='replace') as stream:
            lines = stream.read().partition('Block devices:')[0].splitlines()
    except OSError:
        return {}
    pairs = [line.split(None, 1) for line in lines]
    return {int(pair[0]): pair[1].strip() for pair in pairs if len(pair) == 2 and pair[0].isdigit()}
