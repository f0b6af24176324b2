# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host on which modules are built: headers, a compiler and a make that stand in for the real ones."""

import json
import sys

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import build, check_files
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError

# kbuild's part: notes its arguments and the tree's files, then does as the directory "outcome" says.
MAKE = '''#!%s
import json, os, shutil, subprocess, sys, time
given = dict(word.split('=', 1) for word in sys.argv[1:] if '=' in word)
tree, outcome = given['M'], os.environ['OUTCOME']
seen = sorted(os.path.relpath(os.path.join(place, name), tree)
              for place, dummy, names in os.walk(tree) for name in names)
with open(os.environ['LOG'], 'a') as stream:
    stream.write(json.dumps({'arguments': sys.argv[1:], 'tree': tree, 'seen': seen,
                             'stdin': sys.stdin.read(), 'lc_all': os.environ['LC_ALL']}) + '\\n')
def told(name):
    path = os.path.join(outcome, name)
    return open(path).read() if os.path.exists(path) else ''
print(told('say'), flush=True)
if told('sleep'):
    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
    with open(told('sleep'), 'w') as stream:
        stream.write('%%d %%d' %% (os.getpid(), child.pid))
    time.sleep(60)
for name in os.listdir(outcome):
    if name.endswith('.ko'):
        os.makedirs(os.path.join(tree, 'sub'), exist_ok=True)
        shutil.copy(os.path.join(outcome, name), os.path.join(tree, 'sub' if name.startswith('sub') else '', name))
sys.exit(int(told('exit') or 0))
''' % sys.executable
COMPILER = '#!%s\nimport sys\nprint(%r)\nsys.exit(0 if sys.argv[1:] == ["--version"] else 1)\n'
SIGN_FILE = '''#!%s
import sys
with open(sys.argv[4], 'ab') as stream:
    stream.write((' '.join(sys.argv[1:4])).encode() + b'~Module signature appended~\\n')
''' % sys.executable
GCC_LINE = 'gcc-12 (Debian 12.2.0-14) 12.2.0'
CONFIG = 'CONFIG_CC_VERSION_TEXT="%s"\nCONFIG_MODULE_SIG_HASH="sha512"\n' % GCC_LINE


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Workshop:
    """A host with headers, a compiler, make, and one source directory; each can be taken away."""

    def __init__(self, directory, monkeypatch):
        self.src, self.dest = directory / 'src', directory / 'dest'
        self.kdir, self.bin, self.outcome = directory / 'kdir', directory / 'bin', directory / 'outcome'
        self.log = directory / 'log'
        self.outcome.mkdir()
        builders.write(self.src, 'Kbuild', 'obj-m := foo.o\n')
        builders.write(self.src, 'foo.c', '/* foo */\n')
        builders.write(self.kdir, 'Makefile', '')
        builders.write(self.kdir, '.config', CONFIG)
        self.headers_of(builders.RELEASE)
        program(self.bin / 'make', MAKE)
        program(self.bin / 'gcc-12', COMPILER % (sys.executable, GCC_LINE))
        self.makes('foo')
        self.modules = directory / 'modules'
        self.in_tree(builders.RELEASE)
        monkeypatch.setattr(check_files, 'MODULES', str(self.modules))
        monkeypatch.setattr(build, 'ENVIRONMENT', {
            'PATH': str(self.bin), 'LC_ALL': 'C', 'OUTCOME': str(self.outcome), 'LOG': str(self.log)})
        monkeypatch.setattr(build, 'read_os_release', lambda: {'ID': 'debian'})

    def headers_of(self, release):
        builders.write(self.kdir, 'include/generated/utsrelease.h', '#define UTS_RELEASE "%s"\n' % release)

    def in_tree(self, release, name='fs/vfat.ko', **built):
        """A module that came with the kernel ``release``."""
        path = self.modules / release / 'kernel' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(builders.module_image(name='vfat', release=release, **built))

    def makes(self, name, **built):
        (self.outcome / (name + '.ko')).write_bytes(builders.module_image(name=name, **built))

    def options(self, **changes):
        values = {'src': str(self.src), 'files': None, 'dest': str(self.dest), 'kdir': str(self.kdir),
                  'kernel_release': builders.RELEASE, 'cc': None, 'make_args': [], 'jobs': None, 'sign_key': None,
                  'sign_cert': None, 'timeout': 60.0, 'state': 'built', 'check_mode': False}
        return build.Options(**dict(values, **changes))

    def build(self, **changes):
        return build.Build(self.options(**changes)).run()

    def refused(self, **changes):
        with pytest.raises(KmodError) as caught:
            self.build(**changes)
        return caught.value

    def runs(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def left(self):
        """Each file below src and dest, with its content."""
        return {str(path): path.read_bytes() for directory in (self.src, self.dest)
                for path in sorted(directory.rglob('*')) if path.is_file()}
