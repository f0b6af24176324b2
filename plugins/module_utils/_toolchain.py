# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which compiler built a kernel, which of the host's to use, whether two layouts of struct module are the same."""

import re
from typing import Any, Dict, List, Optional

# By ID or ID_LIKE of os-release(5): the package with the headers of exactly one kernel release, and a compiler's.
PACKAGES = (
    (('debian', 'ubuntu'), 'linux-headers-%s', 'gcc'),
    (('fedora', 'rhel', 'centos'), 'kernel-devel-%s', 'gcc'),
    (('suse', 'opensuse', 'sles'), 'kernel-default-devel (for %s)', 'gcc'),
    (('arch',), 'linux-headers (for %s)', 'gcc'),
)
# CONFIG_CC_VERSION_TEXT: the first line of "CC --version"
COMPILER = re.compile(r'(?P<command>\S*?(?P<family>gcc|clang)(?:-(?P<suffix>\d+(?:\.\d+)*))?)\s')
# GCC's line ends with its version, clang's has it after the word version.
GCC_VERSION = re.compile(r'(\d+\.\d+(?:\.\d+)*)')


def parse_compiler(text):
    # type: (str) -> Dict[str, Any]
    """``command``, ``family`` (gcc, clang or None), ``version`` and ``major`` from a line of ``CC --version``.

    Distributions put names and versions of their own in parentheses: those are passed over for gcc.
    """
    clang = re.search(r'clang version (\d+(?:\.\d+)*)', text)
    if clang:
        version = clang.group(1)  # type: Optional[str]
        return {'command': 'clang', 'family': 'clang', 'version': version, 'major': clang.group(1).split('.')[0]}
    match = COMPILER.match(text + ' ')
    if not match:
        return {'command': None, 'family': None, 'version': None, 'major': None}
    numbers = GCC_VERSION.findall(re.sub(r'\([^()]*\)', ' ', text[match.end():] if match else text))
    version = numbers[0] if numbers else match.group('suffix')
    return {'command': match.group('command'), 'family': match.group('family'), 'version': version,
            'major': version.split('.')[0] if version else None}


def compiler_candidates(kernel):
    # type: (Dict[str, Any]) -> List[str]
    """Commands to look for, best first, to build for a kernel whose compiler is ``kernel`` (:func:`parse_compiler`)."""
    if kernel['family'] == 'clang':
        return ['clang-{}'.format(kernel['major']), 'clang']
    names = [kernel['command'], 'gcc-{}'.format(kernel['major']) if kernel['major'] else None, 'gcc', 'cc']
    return [name for index, name in enumerate(names) if name and name not in names[:index]]


def choose_compiler(kernel, found):
    # type: (Dict[str, Any], Dict[str, Dict[str, Any]]) -> Optional[Dict[str, Any]]
    """The one of ``found`` (command -> :func:`parse_compiler`) to use: ``cc``, ``llvm``, ``same``, ``reason``; or None.

    The same family and major version first; then the same family. Another family cannot build for this kernel: its
    options are not understood.
    """
    of_family = [name for name in compiler_candidates(kernel) if name in found
                 and kernel['family'] in (None, found[name]['family'])]
    same = [name for name in of_family if found[name]['major'] == kernel['major']]
    for name in same + of_family:
        built_by = 'built by {} {}'.format(kernel['family'], kernel['version']) if kernel['family'] else \
            'built by a compiler that its configuration does not name'
        reason = f'the kernel was {built_by}'
        if name not in same:
            reason += ', and the host has {} {}'.format(found[name]['family'], found[name]['version'])
        return {'cc': name, 'llvm': found[name]['family'] == 'clang', 'same': name in same, 'reason': reason}
    return None


def packages_for(os_release, release):
    # type: (Dict[str, str], str) -> Dict[str, str]
    """``headers`` and ``compiler``: what to install on this distribution for the kernel ``release``."""
    words = [os_release.get('ID', '')] + os_release.get('ID_LIKE', '').split()
    for identifiers, headers, compiler in PACKAGES:
        if any(word.split('-')[0] in identifiers for word in words):
            return {'headers': headers % release, 'compiler': compiler}
    return {'headers': f'the headers of kernel {release}', 'compiler': 'gcc'}


def layout_differences(built, running):
    # type: (Dict[str, Any], Dict[str, Any]) -> List[str]
    """What differs between the layout in a module file and the kernel's, as ``exit at 864 instead of 848``.

    A function that the module does not have leaves no offset to compare (None).
    """
    differences = []
    for key, form in (('size', 'size %s instead of %s'), ('init', 'init at %s instead of %s'),
                      ('exit', 'exit at %s instead of %s')):
        if built.get(key) is not None and built[key] != running[key]:
            differences.append(form % (built[key], running[key]))
    return differences
