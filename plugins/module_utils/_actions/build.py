# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds out-of-tree modules with kbuild in a private directory, and vets what came out before anyone may use it."""

# pylint: disable=ansible-bad-function  # it asks for Ansible's run_command; nothing here imports Ansible

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from typing import TYPE_CHECKING, Callable, Dict, List, NamedTuple, Optional, TypeVar

from ansible_collections.kernelops.kmod.plugins.module_utils import _file_types as types
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import build_sources, check_files
from ansible_collections.kernelops.kmod.plugins.module_utils._actions.build_sources import digest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import host_compilers, module_file, running_kernel
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import child_process, compiler_text, trust
from ansible_collections.kernelops.kmod.plugins.module_utils._rules import compiler_choice, file_fitness

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

T = TypeVar('T')
LAST_LINES = 12
LARGEST_STAMP = 4 << 20
LARGEST_MODULE = 1 << 30
# The third line of each .config
CONFIG_ARCH = re.compile(r'^# Linux/(\w+) ', re.MULTILINE)
UTS_RELEASE = re.compile(r'#define UTS_RELEASE "([^"]+)"')
ENVIRONMENT = {'LC_ALL': 'C', 'PATH': os.environ.get('PATH', '') + ':/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin'}


class Options(NamedTuple):
    """The options of kmod_build, and whether it runs in check mode."""

    src: Optional[str]
    kernel_release: Optional[str]
    kdir: Optional[str]
    cc: Optional[str]
    make_args: List[str]
    jobs: Optional[int]
    sign_key: Optional[str]
    sign_cert: Optional[str]
    dest: Optional[str]
    timeout: float
    state: str
    check_mode: bool
    files: Optional[Dict[str, str]] = None


class Build:
    """One build of the modules in a source directory for one kernel. What is read of the host has a deadline too."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.sources: build_sources.Sources = build_sources.Given(options.files) if options.files is not None \
            else build_sources.Directory(options.src or '')
        headers, os_release = child_process.with_deadline(
            lambda: (headers_release(options.kdir), read_os_release()), options.timeout, 'look for the headers')
        self.release = options.kernel_release or headers or os.uname().release
        self.kdir = options.kdir or f'/lib/modules/{self.release}/build'
        self.cross = ''
        # Without root's rights nobody gains any.
        self.trusted = trust.owners() if os.geteuid() == 0 else None
        self.arguments: List[str] = []
        self.dest = options.dest or options.src or ''
        self.tried = f'build {self.sources.told} for {self.release}'
        self.packages = compiler_choice.packages_for(os_release, self.release)

    def run(self) -> types.BuildResult:
        """The module's return values. Raises KmodError where nothing fit was built; then ``dest`` is as it was."""
        if self.options.state == 'clean':
            return self._clean(self._within(self._read_stamp))
        found = self._within(self._read_host)
        stamp, config = found['stamp'], found['config']
        self.cross, self.arguments = found['cross'], found['arguments']
        before = stamp.get('modules', [])
        result: types.BuildResult = {'changed': not found['built'], 'kdir': self.kdir, 'compiler': found['compiler'],
                                     'modules': before, 'warnings': [], 'diff': {}, 'msg': ''}
        if found['built']:
            return {**result, 'msg': f'Already built in {self.dest}.', 'diff': self._diff(before, before),
                    'warnings': warnings_of(before)}
        if self.options.check_mode:
            return {**result, 'msg': f'Would be built into {self.dest}.', 'diff': self._diff(before, None)}
        kernel = self._within(lambda: check_files.kernel() if self.release == os.uname().release else
                              check_files.installed_kernel(self.release, bool(self.cross), config))
        built = self._build(found['wanted'], kernel)
        return {**result, 'modules': built, 'warnings': warnings_of(built), 'diff': self._diff(before, built),
                'msg': 'Built {}.'.format(', '.join(entry['path'] for entry in built))}

    def _within(self, function: Callable[[], T]) -> T:
        return child_process.with_deadline(function, self.options.timeout, self.tried)

    def _read_host(self) -> types.Ahead:
        """What is asked for, what was built before, and by what it would be built."""
        stamp = self._read_stamp()
        sources = self._source_digests()
        config = self._checked_headers()
        compiler = self._compiler(config)
        wanted: types.Wanted = {
            'release': self.release, 'kdir': os.path.realpath(self.kdir), 'sources': sources,
            'config': digest(os.path.join(self.kdir, '.config')), 'cc': compiler['version_text'],
            'make_args': self.options.make_args, 'key': self._key_digest()}
        return {'stamp': stamp, 'config': config, 'compiler': compiler, 'wanted': wanted, 'cross': self.cross,
                'arguments': self.arguments,
                'built': stamp.get('wanted') == wanted and self._still_there(stamp['modules'])}

    def _diff(self, before: List[types.BuiltModule], built: Optional[List[types.BuiltModule]]) -> Dict[str, str]:
        def listed(modules: List[types.BuiltModule]) -> str:
            return ''.join('{}  {}\n'.format(entry['sha256'], entry['path']) for entry in modules)
        after = f'{self.sources.told}, built for {self.release}\n' if built is None else listed(built)
        return {'before_header': self.dest, 'after_header': self.dest, 'before': listed(before), 'after': after}

    def _read_stamp(self) -> types.Stamp:
        try:
            text = trust.read(os.path.join(self.dest, trust.STAMP), self.trusted, LARGEST_STAMP)
            stamp: object = json.loads(text.decode('utf-8'))
        except (OSError, ValueError):
            return {}
        return stamp if self._is_stamp(stamp) else {}

    def _is_stamp(self, stamp: object) -> 'TypeGuard[types.Stamp]':
        modules = stamp.get('modules') if isinstance(stamp, dict) else None
        return isinstance(modules, list) and all(self._is_ours(entry) for entry in modules)

    def _is_ours(self, entry: object) -> bool:
        """Whoever may write to ``dest`` may have written the stamp: it names no file elsewhere."""
        return (isinstance(entry, dict) and isinstance(entry.get('sha256'), str) and isinstance(entry.get('path'), str)
                and entry['path'] == os.path.join(self.dest, os.path.basename(entry['path'])))

    def _still_there(self, modules: List[types.BuiltModule]) -> bool:
        try:
            return all(hashlib.sha256(trust.read(entry['path'], self.trusted, LARGEST_MODULE)).hexdigest() ==
                       entry['sha256'] for entry in modules)
        except OSError:
            return False

    def _clean(self, stamp: types.Stamp) -> types.BuildResult:
        paths = [entry['path'] for entry in stamp.get('modules', [])] + [os.path.join(self.dest, trust.STAMP)]
        there = [path for path in paths if os.path.lexists(path)]
        if not self.options.check_mode:
            try:
                for path in there:
                    os.unlink(path)
            except OSError as error:
                raise KmodError(f'remove {error.filename}', error.strerror or str(error)) from error
        return {'changed': bool(there), 'modules': [], 'kdir': self.kdir, 'compiler': {}, 'warnings': [],
                'diff': {'before': ''.join(path + '\n' for path in there), 'after': ''},
                'msg': '{} {}.'.format('Would remove' if self.options.check_mode else 'Removed', ', '.join(there))
                       if there else 'Nothing to remove.'}

    def _source_digests(self) -> Dict[str, str]:
        if self.sources.path:
            self._vet_place(trust.fault_of_path, self.sources.path)
        digests = self.sources.digests(self.tried, self._vet_source)
        self._vet_place(trust.fault_of_path, self.dest, 'Choose a dest that only root can write')
        if 'Kbuild' not in digests and 'Makefile' not in digests:
            raise KmodError(self.tried, 'it has neither Kbuild nor Makefile', 'kbuild needs one with obj-m in it')
        return digests

    def _vet_source(self, path: str) -> None:
        # What a link leads to lies in a directory that was not looked at yet.
        self._vet_place(trust.fault_of_path if os.path.islink(path) else trust.fault_of_entry, path)

    def _vet_place(self, fault: Callable[..., Optional[str]], path: str,
                   advice: str = 'Copy the sources to a directory of root first') -> None:
        """The build runs as root what lies in its sources, and later runs trust what lies in ``dest``."""
        why = fault(path, self.trusted) if self.trusted else None
        if why:
            raise KmodError(self.tried, f'others than root could change what is built: {why}', advice)

    def _checked_headers(self) -> Dict[str, str]:
        advice = 'Install the package {}'.format(self.packages['headers'])
        for name in ('Makefile', '.config'):
            if not os.path.exists(os.path.join(self.kdir, name)):
                raise KmodError(self.tried, f'the headers of this kernel are not there ({self.kdir} has no {name})',
                                advice, package=self.packages['headers'])
        self._vet_place(trust.fault_of_path, self.kdir, advice)
        release = headers_release(self.kdir)
        if release and release != self.release:
            raise KmodError(self.tried, f'the headers in {self.kdir} are those of kernel {release}', advice,
                            package=self.packages['headers'])
        text = read_text(os.path.join(self.kdir, '.config'))
        match = CONFIG_ARCH.search(text)
        if match and match.group(1) != compiler_choice.kernel_arch(os.uname().machine):
            self.cross = match.group(1)
        return running_kernel.parse_config(text)

    def _compiler(self, config: Dict[str, str]) -> types.ChosenCompiler:
        kernel = compiler_text.parse_cc_line(config.get('CONFIG_CC_VERSION_TEXT', ''))
        if not has_program('make'):
            raise KmodError(self.tried, 'the host has no make', 'Install the package make', package='make')
        chosen = self._asked_for() if self.options.cc else self._best(kernel)
        linker: Optional[str] = None
        if chosen['llvm']:
            wanted = compiler_choice.linkers(chosen['cc'])
            linker = next((name for name in wanted if has_program(name)), None)
            if linker is None:
                package = wanted[0].replace('ld.lld', 'lld')
                raise KmodError(self.tried, '{} needs its linker, and the host has no {}'.format(
                    chosen['cc'], ' or '.join(wanted)), f'Install the package {package}', package=package)
        self.arguments = compiler_choice.make_arguments(chosen, linker, self.release, self.cross)
        return {'cc': chosen['cc'], 'llvm': chosen['llvm'], 'family': chosen['family'], 'version': chosen['version'],
                'same': chosen['same'], 'reason': chosen['reason'], 'version_text': chosen['version_text']}

    def _asked_for(self) -> types.ChosenCompiler:
        cc = str(self.options.cc)
        text = version_text(cc)
        if text is None:
            raise KmodError(self.tried, f'the compiler {cc} cannot be run', 'Install it, or leave out cc')
        parsed = compiler_text.parse_cc_line(text)
        return {'cc': cc, 'llvm': parsed['family'] == 'clang', 'family': parsed['family'],
                'version': parsed['version'], 'same': None, 'reason': 'asked for', 'version_text': text}

    def _best(self, kernel: types.CalledCompiler) -> types.ChosenCompiler:
        compilers = host_compilers.found(search=ENVIRONMENT['PATH'])
        chosen = compiler_choice.choose_compiler(kernel, compilers, self.cross)
        if chosen is None:
            raise self._no_compiler(kernel, compilers)
        text = next(entry['text'] for entry in compilers if entry['command'] == chosen['cc'])
        return {**chosen, 'version_text': text}

    def _no_compiler(self, kernel: types.CalledCompiler, compilers: List[types.HostCompiler]) -> KmodError:
        wanted = self.packages['compiler']
        if kernel['family']:
            wanted = '{}-{}'.format(kernel['family'], kernel['major'])
        built_by = ' '.join(word for word in (kernel['family'], kernel['version']) if word) or 'a compiler not named'
        machine = f' for {self.cross}' if self.cross else ''
        has = ', '.join(sorted({entry['command'] for entry in compilers if 'unavailable' not in entry})) or 'none'
        broken = ''.join('; ' + entry['unavailable'] for entry in compilers if 'unavailable' in entry)
        return KmodError(self.tried, f'the host has no compiler for it: the kernel{machine} was built by {built_by}, '
                         f'and the host has {has}{broken}', f'Install the package {wanted}', package=wanted)

    def _key_digest(self) -> Optional[str]:
        if not self.options.sign_key or not self.options.sign_cert:
            return None
        for path in (self.options.sign_key, self.options.sign_cert):
            if not os.path.isfile(path):
                raise KmodError(self.tried, f'there is no key file {path} on this host')
        return digest(self.options.sign_key) + digest(self.options.sign_cert)

    def _build(self, wanted: types.Wanted, kernel: types.SuitedKernel) -> List[types.BuiltModule]:
        made = missing_directories(self.dest)
        private: Optional[str] = None
        kept = False
        try:
            os.makedirs(self.dest, mode=0o755, exist_ok=True)
            private = tempfile.mkdtemp(prefix='.kmod_build-', dir=self.dest)
            tree = os.path.join(private, 'src')
            self.sources.copy_to(tree)
            self._make(tree)
            built = [self._vet(path, kernel) for path in sorted(built_modules(tree))]
            if not built:
                raise KmodError(self.tried, 'kbuild made no module', 'Is there an obj-m in its Kbuild or Makefile')
            if len({entry['path'] for entry in built}) < len(built):
                raise KmodError(self.tried, 'two of its directories build modules of one name', 'Build them one by one')
            places = [(entry.pop('built'), entry['path']) for entry in built]
            places.append((os.path.join(private, trust.STAMP), os.path.join(self.dest, trust.STAMP)))
            # All is written by now, so that a full disk leaves dest as it was.
            with open(places[-1][0], 'w') as stream:
                json.dump({'wanted': wanted, 'modules': built}, stream)
            for made_here, place in places:
                os.chmod(made_here, 0o644)
                os.replace(made_here, place)
            kept = True
        except OSError as error:
            raise KmodError(self.tried, f'{error.filename or self.dest}: {error.strerror or error}') from error
        finally:
            if private:
                shutil.rmtree(private, ignore_errors=True)
            if not kept:
                remove_directories(made)
        return built

    def _make(self, tree: str) -> None:
        command = ['make', '-C', self.kdir, 'M=' + tree, '-j%d' % (self.options.jobs or os.cpu_count() or 1)]
        command += self.arguments + self.options.make_args
        run(command + ['modules'], self.options.timeout, self.tried)

    def _vet(self, path: str, kernel: types.SuitedKernel) -> types.BuiltModule:
        if self.options.sign_key:
            config = running_kernel.parse_config(read_text(os.path.join(self.kdir, '.config')))
            run([os.path.join(self.kdir, 'scripts/sign-file'), config.get('CONFIG_MODULE_SIG_HASH', 'sha256'),
                 self.options.sign_key, str(self.options.sign_cert), path], self.options.timeout,
                f'sign {os.path.basename(path)}')
        name = os.path.basename(path)
        found = module_file.read(path, name)
        layout = found['layout']
        if is_unavailable(layout):
            raise KmodError(self.tried, '{}: {}'.format(name, layout['unavailable']))
        if found['release'] != self.release:
            raise KmodError(self.tried, '{} came out for kernel {}'.format(name, found['release']),
                            f'Give the headers of {self.release} as kdir')
        judged = file_fitness.judge(found, kernel)
        if judged['severity'] == 'error':
            reason = judged['reason']
            raise KmodError(self.tried, '{} does not suit the kernel: {}'.format(name, reason[:1].lower() + reason[1:]))
        return {'name': found['name'], 'path': os.path.join(self.dest, name), 'built': path,
                'signed': found['signed'], 'vermagic': found['vermagic'], 'sha256': digest(path),
                'layout': check_files.sizes(layout), **judged}


def warnings_of(modules: List[types.BuiltModule]) -> List[str]:
    """What a user should know of modules that were built all the same."""
    return ['{}: {}'.format(entry['path'], entry['reason']) for entry in modules if entry.get('severity') == 'warning']


def headers_release(kdir: Optional[str]) -> Optional[str]:
    """The kernel that the headers are of; None where they do not say.

    include/config/kernel.release is not it: Debian leaves the upstream version there.
    """
    match = UTS_RELEASE.search(read_text(os.path.join(kdir, 'include/generated/utsrelease.h'))) if kdir else None
    return match.group(1) if match else None


def missing_directories(path: str) -> List[str]:
    """The directories that making ``path`` would make, the deepest first."""
    missing = []
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    return missing


def remove_directories(paths: List[str]) -> None:
    """Removes the first with all in it, and of the others those that are empty then."""
    for path in paths[:1]:
        shutil.rmtree(path, ignore_errors=True)
    for path in paths[1:]:
        with contextlib.suppress(OSError):
            os.rmdir(path)


def built_modules(tree: str) -> List[str]:
    """Paths of all .ko files below ``tree``."""
    return [os.path.join(directory, name) for directory, dummy, files in os.walk(tree) for name in files
            if name.endswith('.ko')]


def run(command: List[str], timeout: float, tried: str) -> str:
    """Runs ``command`` and returns its output; a failure is a KmodError with its last lines."""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   env=ENVIRONMENT, start_new_session=True)
    except OSError as error:
        raise KmodError(tried, f'{command[0]}: {error.strerror}') from error
    try:
        output = process.communicate(timeout=timeout)[0].decode('utf-8', 'replace')
    except subprocess.TimeoutExpired as error:
        # make's compilers are in its process group, and end with it.
        os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=10)  # one that hangs in the kernel does not end
        raise KmodError(tried, f'{command[0]} did not end within {timeout:g} seconds', 'Raise timeout') from error
    if process.returncode:
        lines = [line for line in output.splitlines() if line.strip()][-LAST_LINES:]
        raise KmodError(tried, '{} ended with {}. Its last lines:\n{}'.format(
            os.path.basename(command[0]), process.returncode, '\n'.join(lines)), command=command, output=output[-8000:])
    return output


def has_program(name: str) -> bool:
    """Whether ``make`` would find a program of that name."""
    return shutil.which(name, path=ENVIRONMENT['PATH']) is not None


def version_text(cc: str) -> Optional[str]:
    """The first line of ``CC --version``; None where it cannot be run."""
    path = shutil.which(cc, path=ENVIRONMENT['PATH'])
    try:
        return host_compilers.first_line(path) if path else None
    except OSError:
        return None


def read_text(path: str) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        with open(path, errors='replace') as stream:
            return stream.read()
    except OSError:
        return ''


def read_os_release() -> Dict[str, str]:
    """os-release(5) as a dict."""
    lines = read_text('/etc/os-release').splitlines()
    return {name: value.strip('"\'') for name, dummy, value in (line.partition('=') for line in lines)}
