# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel in memory: module table, delete_module(2) and the helper, answering as real kernels do."""

import copy
import ctypes
import errno
import marshal
import shlex
import struct

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import compiled_helper, load, unload
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import (
    module_details,
    module_file,
    module_survey,
    module_table,
    running_kernel,
    struct_module,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import log_source
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import ladder

REPORT = struct.Struct('=II' + 'IiQQ' * 2 + 'IIi' + 'IiiIIiI' + 'QQ16s')
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
        self.registrations = {'found': [], 'unseen': [], 'blind': ''}
        # It is shown that nothing leads there, so that each step can be seen; see test_unload_unknown.py for the other.
        self.reachability, self.reached_meanwhile = builders.UNREACHABLE, None
        self.loader_tasks = []
        self.build_id = self.srcversion = unavailable('the module declares none')
        self.parameters = {}
        for key, value in changes.items():
            setattr(self, key, value)

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
        self.searches = []
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

    def survey(self, name, kernel=None, depth='needed', timeout=0, reached=None):  # noqa: ARG002
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
        number = {key: int(value) for key, value in asked.items() if key not in ('name', 'new_name')}
        self.calls.append('init_module %s%s' % (asked.get('name', 'loader'), ' look' if 'look' in asked else ''))
        if image != HELPER:
            return errno.ENOEXEC
        found = left = (0, 0, 0, 0)
        reset, loader, buckets, pid = 0, 0, 0, 0
        looked, hidden = (0, 0, -1, b''), 0
        if 'address' in asked:
            whom = ('nobody', 'tasks', 'user_tasks')[number.get('look_for', 0)]
            if 'look' not in asked:
                self.looked_for.append(whom)
            reset, found, left = self._reset(asked['name'], number, self.seen.get(whom), asked.get('new_name'))
            if whom != 'nobody' and reset not in (4, 6):
                looked = self.seen.get(whom, (1, 0, -1, b''))
            hidden = self.modules[asked['new_name']].hidden_symbols if reset == 8 else 0
        if 'idem_hash' in asked and reset < 3:
            loader, buckets, pid = self._clear_loader()
        result, task, cpu, command = looked
        report = REPORT.pack(0x3253524b, reset, *(found + left + (
            loader, buckets, pid, result, task, cpu, 100, hidden, 0, 0, 0, 5000000, command)))
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

    def _reset(self, name, number, seen, new_name):
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
        if new_name:
            return self._park(module, new_name)
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
                (module_survey, 'search', kernel.search),
                (module_survey, 'dependents', kernel.dependents),
                (compiled_helper, 'read_helper', read_helper), (struct_module, 'layout', lambda: builders.LAYOUT),
                (unload.os, 'geteuid', lambda: 0)):
            self.monkeypatch.setattr(module, name, replacement)
        return kernel

    @staticmethod
    def options(name='', **given):
        values = {'methods': list(ladder.METHODS), 'run_exit': 'auto', 'cascade': False, 'accept_hazards': [],
                  'helper': 'compiled', 'helper_path': None, 'timeout': 30.0, 'check_mode': False}
        return unload.Options(name=name, **dict(values, **given))

    def unload(self, name, **options):
        return unload.Unload(self.options(name, **options), self.kernel.facts).run()

    def refused(self, name, **options):
        """The error of an unload that is refused, and fails."""
        with pytest.raises(KmodError) as caught:
            self.unload(name, **options)
        return caught.value


class LoadingKernel(FakeKernel):
    """A kernel that also takes modules by init_module(2), and what is read of it then."""

    def __init__(self, *modules, **facts):
        super().__init__(*modules, **dict({'crc': None, 'layout': builders.LAYOUT, 'compiler': unavailable('unknown'),
                                           'vermagic': builders.RELEASE + ' SMP preempt mod_unload modversions '},
                                          **facts))
        self.log = ['[    1.000000] Linux version 6.1']
        self.oopses = []
        self.builtin = []
        self.files = {}
        # What init_module answers, what becomes of init (returns, dies, hangs), and what is written to the log then.
        self.answer, self.init, self.words = 0, 'returns', []
        # Values as sysfs shows them, other than asked for; None where there is no file.
        self.shows = {}

    def load(self, image, text):
        file = dict(module_file.describe(image, 'a.ko'), **load.identity(image, 'a.ko', ''))
        name = module_file.describe(image, 'a.ko')['name']
        self.calls.append('init_module %s %s' % (name, text))
        self.log += self.words
        if self.answer:
            return self.answer
        values = dict(dict(word.split('=', 1) for word in shlex.split(text)), **self.shows)
        module = self.modules[name] = FakeModule(
            name, build_id=file['build_id'] or unavailable('the file has none'), srcversion=file['srcversion'],
            parameters={key: value for key, value in values.items() if value is not None})
        if file['layout']['exit'] is None:
            module.exit, module.cleanup = 0, None
        if self.init == 'dies':
            module.state, module.refcount, module.oopses = 'coming', 2, [builders.oops(name)]
            raise KmodError('load a.ko', 'the process that acted ended without a word', 'Look at the kernel log')
        if self.init == 'hangs':
            module.state, module.refcount = 'coming', 2
            module.tasks = [builders.task('python3', 77)]
        if self.init in ('hangs', 'is late'):
            raise child_process.Deadline('load a.ko', 'no answer within 30 seconds', hangs_in='msleep')
        return 0

    def details(self, name, _files, _root='/'):
        module = self.modules[name]
        return {'build_id': module.build_id, 'srcversion': module.srcversion, 'parameters': module.parameters,
                'version': unavailable('the module declares none'), 'file': unavailable('loaded from elsewhere')}


class LoadingHost(Host):
    """A kernel in memory under kmod_load."""

    def start(self, *modules, **facts):
        kernel = LoadingKernel(*modules, **facts)
        self.monkeypatch.setattr('fake_kernel.FakeKernel', lambda *_modules, **_facts: kernel)
        self.boot()

        class Survey:
            """module_survey.Survey of this kernel."""

            def __init__(self, *_given):
                self.table = {'modules': {name: {'state': module.state} for name, module in kernel.modules.items()}}

            def __enter__(self):
                return self

            def __exit__(self, *_exception):
                pass

            def module(self, name, _depth):
                found = kernel.survey(name, kernel.facts)
                if name in kernel.builtin:
                    found['module']['state'] = 'builtin'
                return found

        class Since:
            """log_source.Since of this kernel."""

            def __init__(self):
                self.told = len(kernel.log)

            def lines(self):
                return kernel.log[self.told:]

        for module, name, replacement in (
                (module_survey, 'Survey', Survey), (loader_syscalls, 'init_module', kernel.load),
                (module_details, 'read', kernel.details), (module_details, 'files', lambda *_a, **_k: kernel.files),
                (module_table, 'is_builtin', lambda name, *_where: name in kernel.builtin),
                (log_source, 'Since', Since), (running_kernel, 'read', lambda: kernel.facts),
                (load, 'host', lambda _kernel: dict(kernel.facts, loader='wedged' if kernel.oopses else 'ok'))):
            self.monkeypatch.setattr(module, name, replacement)
        return kernel

    def load(self, path, *, check_mode=False, **options):
        values = dict({'params': {}, 'replace': False, 'timeout': 30.0}, **options)
        return load.Load(load.Options(path=str(path), check_mode=check_mode, **values)).run()

    def load_refused(self, path, **options):
        """The error of a load that is refused, or fails."""
        with pytest.raises(KmodError) as caught:
            self.load(path, **options)
        return caught.value
