# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel in memory: module table, delete_module(2) and the helper, answering as real kernels do."""

import copy
import ctypes
import errno
import marshal
import struct

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import (
    compiled_helper,
    unload,
    unload_options,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import (
    module_survey,
    module_table,
    struct_module,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import ladder

REPORT = struct.Struct('=II' + 'IiQQ' * 2 + 'IIi' + 'IiiIIiI' + 'QQ16s' + 'Q64s')
HELPER = builders.module_image()
STATES = ['live', 'coming', 'going']
ANCHORS = builders.ANCHORS
# From 6.5 on
LOADER = {'idem_hash': 0xffffffffb0000100, 'idem_lock': 0xffffffffb0000900, 'idem_bytes': 2048}

FAULTS = {
    'healthy': {},
    'init_oops': {'state': 'coming', 'refcount': 2, 'oopses': [builders.oops('init_oops')]},
    'exit_oops': {'state': 'going', 'refcount': 0, 'oopses': [builders.exit_oops('exit_oops')]},
    'leaked_ref': {'refcount': 4},
    'no_exit': {'exit': 0, 'cleanup': None},
    'layout_pad': {'exit': 0, 'cleanup': builders.CLEANUP},
}


class FakeModule:
    """A struct module: raw refcount, pointers; what it uses, and what was seen of it."""

    def __init__(self, name, **changes):
        self.name, self.state, self.refcount = name, 'live', 1
        self.init, self.exit = builders.INIT, builders.EXIT
        self.cleanup = builders.EXIT
        self.uses = []
        self.tasks, self.holders, self.oopses = [], {}, []
        self.symbols = self.hidden_symbols = 0
        self.address = builders.ADDRESS
        self.hidden = None
        self.registrations = {'found': [], 'unseen': [], 'blind': '', 'leftovers': []}
        # It is shown that nothing leads there, so that each step can be seen; see test_unload_unknown.py for the other.
        self.reachability, self.reached_meanwhile = builders.UNREACHABLE, None
        self.loader_tasks = []
        self.undo_results = {}
        self.build_id = self.srcversion = unavailable('the module declares none')
        self.parameters = {}
        for key, value in changes.items():
            setattr(self, key, value)

    def leave(self, *leftovers):
        """These are registered, and lead into it."""
        self.registrations = {**self.registrations, 'leftovers': list(leftovers), 'found': [
            {'kind': one['kind'], 'what': one['what'], 'evidence': 'seen'} for one in leftovers]}
        self.reachability = builders.REACHABLE if leftovers else builders.UNREACHABLE

    def taken_back(self, address):
        self.leave(*(one for one in self.registrations['leftovers'] if one['address'] != address))

    def entry(self):
        return {'state': self.state, 'refcount': self.refcount, 'init': self.init, 'exit': self.exit}


def stack(**changes):
    """Top uses middle and base, middle uses base: base has to go last."""
    modules = {'base': {'refcount': 3}, 'middle': {'refcount': 2, 'uses': ['base']},
               'top': {'uses': ['middle', 'base']}}
    for name, change in changes.items():
        modules[name].update(change)
    return [FakeModule(name, **values) for name, values in modules.items()]


def loader_step(facts):
    """What was done to the loader's table, and whether that changed it."""
    return [(step['result'], step['changed']) for step in facts['steps'] if step['action'] == 'clear_loader']


class FakeKernel:
    """Module table, delete_module(2) of kernel/module/main.c, and the helper kmod_reset, without a kernel."""

    def __init__(self, *modules, **facts):
        self.modules = {module.name: module for module in modules}
        self.facts = builders.kernel(**facts)
        self.calls = []
        self.searches, self.undone = [], []
        self.read_together = []
        self.exits = []
        self.helper = HELPER
        self.anchors = dict(ANCHORS)
        self.stale_buckets = 0
        self.loading_pids = []
        self.delete_errors = []
        self.deletes_nothing = False
        self.before_store = None
        # What the helper's look sees, by whom it looks for: (number of its result, pid, CPU, command).
        self.seen = {}
        # What each reset or park asked the helper to look for.
        self.looked_for = []

    def state(self):
        return copy.deepcopy({name: vars(module) for name, module in self.modules.items()})

    def used_by(self, name):
        return [module.name for module in self.modules.values() if name in module.uses]

    def survey(self, name, kernel=None, depth='needed', timeout=0, reached=None, leftovers=False):  # noqa: ARG002
        """As module_survey.module: a live module that nothing holds back is looked at closer only where asked for."""
        assert kernel in (None, self.facts)
        module = self.modules.get(name)
        if module is None:
            return dict(builders.facts('absent', kernel=self.facts), name=name)
        permanent = module.state == 'live' and bool(module.init and not module.exit)
        found = builders.facts(module.state, module.refcount - 1, self.used_by(name), permanent, name=name,
                               kernel=self.facts, anchors={})
        found['module'].update(name=name, struct_address=module.address, address=module.address)
        found['live'] = dict(module.entry(), module=module.address, source='kcore')
        if module.hidden or is_unavailable(module.address):
            found['live'] = unavailable(module.hidden) if module.hidden else module.address
        found.update(tasks=builders.tasks(*module.tasks), holders=module.holders, oopses=module.oopses,
                     loader_tasks=builders.tasks(*module.loader_tasks),
                     reachability=(reached or {}).get(name, module.reachability))
        if module.state == 'live' and not permanent and module.refcount == 1 and depth not in ('all', 'freed'):
            return found
        found.update(anchors=self.anchors, registrations=module.registrations)
        if permanent:
            found['cleanup_module'] = module.cleanup
        return found

    def search(self, names, timeout):
        """As module_survey.search, asked before anything is freed."""
        assert timeout > 0
        self.searches.append(list(names))
        return {name: self.modules[name].reached_meanwhile or self.modules[name].reachability for name in names}

    def dependents(self, users, _kernel):
        """As module_survey.dependents, of one level."""
        return {name: self.survey(name) for name in users}

    def delete_module(self, name, force=False):
        self.calls.append('delete_module %s%s' % (name, ' O_TRUNC' if force else ''))
        module = self.modules.get(name)
        if self.delete_errors:
            return self.delete_errors.pop(0)
        if module is None:
            return errno.ENOENT
        if self.used_by(name):
            return errno.EAGAIN
        if module.state != 'live' or (module.init and not module.exit and not force):
            return errno.EBUSY
        if module.refcount != 1 and not force:
            return errno.EAGAIN
        if self.deletes_nothing:
            return 0
        if module.exit:
            self.exits.append((name, module.exit))
        del self.modules[name]
        for used in module.uses:
            self.modules[used].refcount -= 1
        return 0

    def init_module(self, image, text):
        """kmod_reset_init of the helper's main.c."""
        asked = dict(word.split('=') for word in text.split(' '))
        number = {key: int(value) for key, value in asked.items() if key not in ('name', 'new_name', 'undo')}
        self.calls.append('init_module %s%s' % (asked.get('name', 'loader'), ' look' if 'look' in asked else ''))
        if image != HELPER:
            return errno.ENOEXEC
        found = left = (0, 0, 0, 0)
        reset, loader, buckets, pid = 0, 0, 0, 0
        looked, hidden, undone = (0, 0, -1, b''), 0, b''
        if 'address' in asked:
            whom = ('nobody', 'tasks', 'user_tasks')[number.get('look_for', 0)]
            if 'look' not in asked:
                self.looked_for.append(whom)
            reset, found, left = self._reset(asked['name'], number, self.seen.get(whom), asked)
            if whom != 'nobody' and reset not in (4, 6):
                looked = self.seen.get(whom, (1, 0, -1, b''))
            undone = self._undone(asked) if reset == 12 else b''
            hidden = self.modules[asked['new_name']].hidden_symbols if reset == 8 else 0
        if 'idem_hash' in asked and reset < 3:
            loader, buckets, pid = self._clear_loader()
        result, task, cpu, command = looked
        report = REPORT.pack(0x3353524b, reset, *(found + left + (
            loader, buckets, pid, result, task, cpu, 100, hidden, 0, 0, 0, 5000000, command, len(undone), undone)))
        ctypes.memmove(number['report'], report, len(report))
        return errno.ECANCELED

    def _packed(self, module):
        return (STATES.index(module.state), module.refcount, module.init, module.exit)

    def _park(self, module, new_name):
        found = self._packed(module)
        if new_name in self.modules:
            return 9, found, found
        if self.used_by(module.name):
            return 10, found, found
        self.modules[new_name] = self.modules.pop(module.name)
        module.name, module.hidden_symbols, module.symbols = new_name, module.symbols, 0
        return 8, found, found

    def _undone(self, asked):
        """undo_all of the helper's undo.c: the results by the address; one that is late is the last."""
        words = [int(word) for word in asked['undo'].split(',')]
        module, results = self.modules[asked['name']], b''
        for kind, address in zip(words[::5], words[1::5]):
            result = 0 if results.endswith(b'\x05') else module.undo_results.get(address, 1)
            self.undone.append((kind, address, result))
            results += bytes([result])
            if result == 1:
                module.taken_back(address)
        return results

    def _reset(self, name, number, seen, asked):
        assert (number['modules'], number['module_lock']) == (ANCHORS['modules'], ANCHORS['module_mutex'])
        if self.before_store and 'look' not in number and name in self.modules:
            self.before_store(self.modules[name])
        module = self.modules.get(name)
        if module is None or module.address != number['address']:
            return 4, (0, 0, 0, 0), (0, 0, 0, 0)
        if 'look' in number:
            return 2, self._packed(module), self._packed(module)
        found = self._packed(module)
        if found != tuple(number['old_' + key] for key in ('state', 'refcount', 'init', 'exit')):
            return 6, found, found
        if seen:
            return 7, found, found
        if 'undo' in asked:
            return 12, found, found
        if 'new_name' in asked:
            return self._park(module, asked['new_name'])
        module.state = STATES[number['new_state']]
        module.refcount, module.init, module.exit = (number['new_' + key] for key in ('refcount', 'init', 'exit'))
        return 1, found, self._packed(module)

    def table(self, _root='/'):
        """As module_table.read."""
        return {'modules': {name: self.survey(name)['module'] for name in self.modules}, 'warnings': []}

    def _clear_loader(self):
        pid = self.loading_pids.pop(0) if self.loading_pids else 0
        if pid:
            return 4, 0, pid
        buckets, self.stale_buckets = self.stale_buckets, 0
        return (2 if buckets else 1), buckets, 0


def direct(function, _seconds, _tried, outlives=False):  # noqa: ARG001 - as the real one
    """with_deadline without the child; what is handed over goes through its letter all the same."""
    return marshal.loads(marshal.dumps(function()))  # noqa: S302


class Together:
    """module_survey.Survey, of a kernel in which several modules are read with one search."""

    kernel = None

    def __init__(self, timeout):
        assert timeout > 0
        self.reached = {}

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        pass

    def with_anchors(self, names, depth, leftovers=False):
        asked = self.kernel.read_together
        if 'fails' in asked:
            raise KmodError('read', 'no memory')
        asked.extend(names)
        found = {name: self.kernel.survey(name, depth=depth, leftovers=leftovers) for name in names}
        self.reached = {name: facts['reachability'] for name, facts in found.items()
                        if facts['module']['state'] in ('coming', 'going')}
        self.kernel.searches.append(tuple(self.reached))
        return found


class Host:
    """A fake kernel under the code that is tested."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.kernel = None

    def boot(self, *modules, **facts):
        kernel = self.kernel = FakeKernel(*modules, **facts)

        def read_helper(path):
            if kernel.helper is None:
                raise KmodError('use the helper %s' % path, 'No such file or directory', 'Build it')
            return kernel.helper

        for module, name, replacement in (
                (module_table, 'read', kernel.table),
                (module_table, 'names', lambda: sorted(kernel.modules)),
                (child_process, 'with_deadline', direct), (loader_syscalls, 'init_module', kernel.init_module),
                (loader_syscalls, 'delete_module', kernel.delete_module), (module_survey, 'module', kernel.survey),
                (module_survey, 'search', kernel.search), (Together, 'kernel', kernel),
                (module_survey, 'Survey', Together), (module_survey, 'dependents', kernel.dependents),
                (compiled_helper, 'read_helper', read_helper), (struct_module, 'layout', lambda: builders.LAYOUT),
                (unload.os, 'geteuid', lambda: 0)):
            self.monkeypatch.setattr(module, name, replacement)
        return kernel

    @staticmethod
    def options(name='', **given):
        values = {'methods': list(ladder.BY_DEFAULT), 'run_exit': 'auto', 'cascade': False, 'accept_hazards': [],
                  'helper': 'compiled', 'helper_path': None, 'timeout': 30.0, 'check_mode': False}
        return unload_options.Options(name=name, **dict(values, **given))

    def unload(self, name, **options):
        return unload.Unload(self.options(name, **options), self.kernel.facts).run()

    def refused(self, name, **options):
        """The error of an unload that is refused, and fails."""
        with pytest.raises(KmodError) as caught:
            self.unload(name, **options)
        return caught.value
