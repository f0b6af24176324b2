# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel in memory: module table, delete_module(2) and the helper, answering as real kernels do."""

import copy
import ctypes
import errno
import json
import struct

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils import (
    _ladder,
    _reset,
    _struct_module,
    _survey,
    _syscalls,
    _unload,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable

REPORT = struct.Struct('=II' + 'IiQQ' * 2 + 'IIiI')
HELPER = builders.module_image()
STATES = ['live', 'coming', 'going']
ANCHORS = builders.ANCHORS
# From 6.5 on
LOADER = {'idem_hash': 0xffffffffb0000100, 'idem_lock': 0xffffffffb0000900, 'idem_bytes': 2048}

FAULTS = {
    'healthy': {},
    'init_oops': {'state': 'coming', 'refcount': 2, 'oopses': [builders.oops('init_oops')]},
    'exit_oops': {'state': 'going', 'refcount': 0, 'oopses': [builders.oops('exit_oops', function='f_exit')]},
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
        self.address = builders.ADDRESS
        self.hidden = None
        for key, value in changes.items():
            setattr(self, key, value)

    def entry(self):
        return {'state': self.state, 'refcount': self.refcount, 'init': self.init, 'exit': self.exit}


class FakeKernel:
    """Module table, delete_module(2) of kernel/module/main.c, and the helper kmod_reset, without a kernel."""

    def __init__(self, *modules, **facts):
        self.modules = {module.name: module for module in modules}
        self.facts = builders.kernel(**facts)
        self.calls = []
        self.exits = []
        self.helper = HELPER
        self.anchors = dict(ANCHORS)
        self.stale_buckets = 0
        self.loading_pids = []
        self.delete_errors = []
        self.deletes_nothing = False
        self.before_store = None

    def state(self):
        return copy.deepcopy({name: vars(module) for name, module in self.modules.items()})

    def used_by(self, name):
        return [module.name for module in self.modules.values() if name in module.uses]

    def survey(self, name, kernel=None, depth='needed'):
        """As _survey.module: a live module that nothing holds back is looked at closer only where that is asked for."""
        assert kernel is self.facts
        module = self.modules.get(name)
        if module is None:
            return dict(builders.facts('absent', kernel=self.facts), name=name)
        permanent = module.state == 'live' and bool(module.init and not module.exit)
        found = builders.facts(module.state, module.refcount - 1, self.used_by(name), permanent, name=name,
                               kernel=self.facts, anchors={})
        found['module'].update(name=name, struct_address=module.address)
        found['live'] = dict(module.entry(), module=module.address, source='kcore') if not module.hidden else \
            unavailable(module.hidden)
        if module.state == 'live' and not permanent and module.refcount == 1 and depth != 'all':
            return found
        found.update(anchors=self.anchors, tasks={'tasks': module.tasks, 'unreadable': []}, holders=module.holders,
                     oopses=module.oopses)
        if permanent:
            found['cleanup_module'] = module.cleanup
        return found

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
        """kmod_reset_init of kmod_reset.c."""
        asked = dict(word.split('=') for word in text.split(' '))
        number = {key: int(value) for key, value in asked.items() if key != 'name'}
        self.calls.append('init_module %s%s' % (asked.get('name', 'loader'), ' look' if 'look' in asked else ''))
        if image != HELPER:
            return errno.ENOEXEC
        found = left = (0, 0, 0, 0)
        reset, loader, buckets, pid = 0, 0, 0, 0
        if 'address' in asked:
            reset, found, left = self._reset(asked['name'], number)
        if 'idem_hash' in asked:
            loader, buckets, pid = self._clear_loader()
        report = REPORT.pack(0x5453524b, reset, *(found + left + (loader, buckets, pid, 0)))
        ctypes.memmove(number['report'], report, len(report))
        return errno.ECANCELED

    def _packed(self, module):
        return (STATES.index(module.state), module.refcount, module.init, module.exit)

    def _reset(self, name, number):
        assert (number['modules'], number['module_lock']) == (ANCHORS['modules'], ANCHORS['module_mutex'])
        module = self.modules.get(name)
        if module is None or module.address != number['address']:
            return 4, (0, 0, 0, 0), (0, 0, 0, 0)
        if 'look' in number:
            return 2, self._packed(module), self._packed(module)
        if self.before_store:
            self.before_store(module)
        found = self._packed(module)
        if found != tuple(number['old_' + key] for key in ('state', 'refcount', 'init', 'exit')):
            return 6, found, found
        module.state = STATES[number['new_state']]
        module.refcount, module.init, module.exit = (number['new_' + key] for key in ('refcount', 'init', 'exit'))
        return 1, found, self._packed(module)

    def _clear_loader(self):
        pid = self.loading_pids.pop(0) if self.loading_pids else 0
        if pid:
            return 4, 0, pid
        buckets, self.stale_buckets = self.stale_buckets, 0
        return (2 if buckets else 1), buckets, 0


def direct(function, _seconds, _tried, outlives=False):  # noqa: ARG001 - as the real one
    """with_deadline without the child; what is handed over goes through JSON all the same."""
    return json.loads(json.dumps(function()))


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
                (_syscalls, 'with_deadline', direct), (_syscalls, 'init_module', kernel.init_module),
                (_syscalls, 'delete_module', kernel.delete_module), (_survey, 'module', kernel.survey),
                (_reset, 'read_helper', read_helper), (_struct_module, 'layout', lambda: builders.LAYOUT),
                (_unload.os, 'geteuid', lambda: 0)):
            self.monkeypatch.setattr(module, name, replacement)
        return kernel

    def unload(self, name, *, check_mode=False, **options):
        values = dict({'methods': list(_ladder.METHODS), 'run_exit': 'auto', 'cascade': False, 'accept_hazards': [],
                       'helper_path': None, 'timeout': 30.0}, **options)
        return _unload.Unload(_unload.Options(name=name, check_mode=check_mode, **values), self.kernel.facts).run()

    def refused(self, name, **options):
        """The error of an unload that is refused, and fails."""
        with pytest.raises(KmodError) as caught:
            self.unload(name, **options)
        return caught.value
