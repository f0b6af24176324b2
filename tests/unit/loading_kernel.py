# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel in memory, which also takes modules by init_module(2)."""


import shlex

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import (
    load,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import (
    module_details,
    module_file,
    module_survey,
    module_table,
    running_kernel,
)
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.kernel_log import log_source
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, loader_syscalls
from fake_kernel import FakeKernel, FakeModule, Host


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
