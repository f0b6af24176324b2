# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the host's compilers to use for a kernel, what kbuild is told of it, which packages it takes."""

import re
from typing import Dict, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils import _file_types as types

# By ID or ID_LIKE of os-release(5): the package with the headers of exactly one kernel release, and a compiler's.
PACKAGES = (
    (('debian', 'ubuntu'), 'linux-headers-%s', 'gcc'),
    (('fedora', 'rhel', 'centos'), 'kernel-devel-%s', 'gcc'),
    (('suse', 'opensuse', 'sles'), 'kernel-default-devel (for %s)', 'gcc'),
    (('arch',), 'linux-headers (for %s)', 'gcc'),
)
# The commands of a name: gcc-12, x86_64-linux-gnu-gcc-12, /opt/rh/gcc-toolset-12/root/usr/bin/gcc
TARGET = re.compile(r'(?:.*/)?(?P<target>\w+(?:-\w+){1,3})-(?:gcc|clang|cc)\b')
CLANG_SUFFIX = re.compile(r'clang(-\d+)$')
# uname's machine and the first word of a compiler's prefix -> kbuild's ARCH, by how they begin
ARCHITECTURES = (
    ('aarch64', 'arm64'), ('arm', 'arm'), ('x86', 'x86'), ('i386', 'x86'), ('i486', 'x86'), ('i586', 'x86'),
    ('i686', 'x86'), ('ppc', 'powerpc'), ('s390', 's390'), ('riscv', 'riscv'), ('loongarch', 'loongarch'),
    ('mips', 'mips'), ('sparc', 'sparc'), ('parisc', 'parisc'),
)
# Linux 5.18 and later know LLVM=-14; for those before, each tool is named.
LLVM_SUFFIX_SINCE = (5, 18)
LLVM_TOOLS = (('AR', 'llvm-ar'), ('NM', 'llvm-nm'), ('OBJCOPY', 'llvm-objcopy'), ('OBJDUMP', 'llvm-objdump'),
              ('READELF', 'llvm-readelf'), ('STRIP', 'llvm-strip'))


def kernel_arch(word: str) -> str:
    """The ARCH of kbuild for a machine as uname or a compiler's prefix spells it; an unknown word as it is."""
    for begin, arch in ARCHITECTURES:
        if word.startswith(begin):
            return arch
    return word


def choose_compiler(kernel: types.CalledCompiler, compilers: List[types.HostCompiler],
                    cross: str = '') -> Optional[types.ChosenCompiler]:
    """The one of ``compilers`` to build with for a kernel built by ``kernel``; None where there is none.

    The kernel's own version first, then one of the same major version, then the nearest of the family.
    Another family cannot build for this kernel: its options are not understood. ``cross`` is the kernel's ARCH where
    the host's is another; a compiler with another machine's prefix is of no use without.
    """
    own = kernel.get('command') or ''
    fit = [entry for entry in compilers if entry['family'] and kernel['family'] in (None, entry['family'])
           and 'unavailable' not in entry and _builds_for(entry, own, cross)]
    if kernel['family'] is None:
        # Nearly all kernels are built by gcc.
        fit = [entry for entry in fit if entry['family'] == 'gcc']
    if not fit:
        return None
    best = min(fit, key=lambda entry: _distance(kernel, entry) + _name_rank(entry['command'], own))
    reason = 'the kernel was built by {} {}'.format(kernel['family'], kernel['version']) if kernel['family'] \
        else 'the kernel was built by a compiler that its configuration does not name'
    if (best['family'], best['version']) != (kernel['family'], kernel['version']):
        reason += ', and the host has {} {}'.format(best['family'], best['version'] or 'of an unknown version')
    return {'cc': best['command'], 'llvm': best['family'] == 'clang', 'family': best['family'],
            'version': best['version'], 'target': best['target'], 'reason': reason,
            'same': kernel['family'] is not None and best['major'] is not None and best['major'] == kernel['major']}


def _builds_for(entry: types.HostCompiler, own: str, cross: str) -> bool:
    target = entry['target']
    if cross:
        # clang has all machines in one program
        return kernel_arch(target) == cross and 'linux' in target if target else entry['family'] == 'clang'
    match = TARGET.match(own)
    return not target or (match is not None and match.group('target') == target)


def _distance(kernel: types.CalledCompiler, entry: types.HostCompiler) -> Tuple[int, int, int]:
    """The smaller, the nearer; of two that are equally near, the newer."""
    if kernel['version'] is None or entry['version'] is None:
        return (3, 0, 0)
    if entry['version'] == kernel['version']:
        return (0, 0, 0)
    wanted, has = _numbers(kernel['version']), _numbers(entry['version'])
    if wanted[0] == has[0]:
        return (1, abs(wanted[1] - has[1]), -has[1])
    return (2, abs(wanted[0] - has[0]), -has[0])


def _numbers(version: str) -> List[int]:
    return [int(part) for part in version.split('.')] + [0]


def _name_rank(command: str, own: str) -> Tuple[int, str]:
    """The kernel's own word for it first: kbuild warns of another. Then names without a path or a prefix."""
    if command == own:
        return (0, command)
    return (4 if '/' in command else 3 if TARGET.match(command) else 2 if command == 'cc' else 1, command)


def linkers(cc: str) -> List[str]:
    """The linkers that go with a clang of that name, best first."""
    match = CLANG_SUFFIX.search(cc)
    return (['ld.lld' + match.group(1)] if match else []) + ['ld.lld']


def make_arguments(compiler: types.ChosenCompiler, linker: Optional[str], release: str, cross: str = '') -> List[str]:
    """What tells kbuild of the kernel ``release`` to use a compiler (:func:`choose_compiler`).

    ``linker`` is the one of :func:`linkers` that the host has: clang-14 with ld.lld-14 wants the other tools of that
    suffix too.
    """
    arguments = ['CC=' + compiler['cc']]
    if compiler['llvm']:
        suffix = (linker or '')[len('ld.lld'):]
        number = re.match(r'(\d+)\.(\d+)', release)
        if not suffix:
            arguments.append('LLVM=1')
        elif number and (int(number.group(1)), int(number.group(2))) >= LLVM_SUFFIX_SINCE:
            arguments.append('LLVM=' + suffix)
        else:
            arguments += ['LLVM=1', 'LD={}'.format(linker)] + [f'{name}={tool}{suffix}' for name, tool in LLVM_TOOLS]
    if cross:
        arguments.append('ARCH=' + cross)
        if compiler.get('target'):
            arguments.append('CROSS_COMPILE={}-'.format(compiler['target']))
    return arguments


def packages_for(os_release: Dict[str, str], release: str) -> Dict[str, str]:
    """``headers`` and ``compiler``: what to install on this distribution for the kernel ``release``."""
    words = [os_release.get('ID', '')] + os_release.get('ID_LIKE', '').split()
    for identifiers, headers, compiler in PACKAGES:
        if any(word.split('-')[0] in identifiers for word in words):
            return {'headers': headers % release, 'compiler': compiler}
    return {'headers': f'the headers of kernel {release}', 'compiler': 'gcc'}
