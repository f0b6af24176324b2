# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which compiler a text names: /proc/version, the first line of ``CC --version``, a string of ``.comment``."""

import re
from typing import List, Optional

from ansible_collections.kernelops.kmod.plugins.module_utils._file_types import CalledCompiler, Compiler, NamedCompiler

# The longest real text has 400 characters; what is longer than this is cut, so that no text costs much.
LIMIT = 4096
NUMBER = r'(\d{1,9}(?:\.\d{1,9}){0,3})'
CLANG = re.compile(r'\bclang version ' + NUMBER)
# What Linux 5.7 and older wrote to /proc/version: the last line of "gcc -v".
GCC_TOLD = re.compile(r'\bgcc version ' + NUMBER)
# CONFIG_CC_VERSION_TEXT begins with the command: a path, a cross prefix and a version of its own may be in it. 'gcc'
# may stand for Amazon's gcc10-gcc and for Buildroot's gcc.br_real, but gcc-ar is another program.
COMMAND = re.compile(r'(\S*?(?:gcc|\bcc)(?:-(\d+(?:\.\d+){0,3})|\.\w+)?)(?:\s|$)')
# In parentheses, but nobody's name
NO_VENDOR = ('GCC', 'GNU', 'prerelease', 'experimental')


def unknown(text: str) -> NamedCompiler:
    """The answer for a text that names no compiler."""
    return {'family': None, 'version': None, 'major': None, 'vendor': '', 'banner': text}


def parse_version_banner(text: str) -> NamedCompiler:
    """The compiler of the kernel that wrote ``text`` to /proc/version.

    ``Linux version RELEASE (USER@HOST) (COMPILER, LINKER) #1 ...``: both have parentheses of their own in them.
    """
    text = text[:LIMIT].strip()
    found = _groups(text)
    if len(found) < 2:
        return unknown(text)
    return {**_c_compiler(_before_comma(found[1])), 'banner': found[1].strip()}


def parse_cc_line(text: str) -> CalledCompiler:
    """The compiler whose ``--version`` begins with ``text``; ``command`` is the name that it was called by, or None."""
    text = text[:LIMIT].strip()
    found = _c_compiler(text)
    command: Optional[str] = None
    if found['family'] == 'clang':
        command = 'clang'
    elif found['family'] == 'gcc':
        match = COMMAND.match(text)
        command = match.group(1) if match else 'gcc'
    return {**found, 'command': command}


def parse_comment(text: str) -> NamedCompiler:
    """The compiler that left ``text`` in an object's ``.comment``; family None for ``Linker: LLD 14.0.6``."""
    text = text[:LIMIT].strip()
    if text.startswith('rustc version '):
        return _answer(text, 'rustc', _first_number(text[len('rustc version '):]), '')
    if CLANG.search(text):
        return _c_compiler(text)
    if text.startswith('GCC: '):
        return _answer(text, 'gcc', _first_number(_outside(text)), _vendor(_groups(text)))
    return unknown(text)


def same(one: Compiler, other: Compiler) -> bool:
    """Whether two answers name one compiler. Vendors are no matter: a distribution spells its own in several ways."""
    return (one['family'] is not None and one['version'] is not None
            and (one['family'], one['version']) == (other['family'], other['version']))


def _c_compiler(text: str) -> NamedCompiler:
    clang = CLANG.search(text)
    if clang:
        before = text[:clang.start()].strip()
        return _answer(text, 'clang', clang.group(1), before or _vendor(_groups(text[clang.end():])))
    told = GCC_TOLD.search(text)
    if told:
        return _answer(text, 'gcc', told.group(1), _vendor(_groups(text[told.end():])))
    named = COMMAND.match(text)
    if named:
        rest = text[named.end():]
        return _answer(text, 'gcc', _first_number(_outside(rest)) or named.group(2), _vendor(_groups(rest)))
    return unknown(text)


def _answer(text: str, family: str, version: Optional[str], vendor: str) -> NamedCompiler:
    return {'family': family, 'version': version, 'major': version.split('.')[0] if version else None,
            'vendor': vendor, 'banner': text}


def _vendor(groups: List[str]) -> str:
    """The first of what stands in parentheses that is a name, and not the address of a source repository."""
    for group in groups:
        if group.strip() not in NO_VENDOR and '://' not in group:
            return group.strip()
    return ''


def _first_number(text: str) -> Optional[str]:
    match = re.search(r'(?<![\w.+-])' + NUMBER, text)
    return match.group(1) if match else None


def _groups(text: str) -> List[str]:
    """What stands in the outermost parentheses of ``text``; the last may lack its end."""
    found = []
    depth = start = 0
    for index, character in enumerate(text):
        if character == '(':
            depth += 1
            if depth == 1:
                start = index + 1
        elif character == ')' and depth:
            depth -= 1
            if not depth:
                found.append(text[start:index])
    if depth:
        found.append(text[start:])
    return found


def _outside(text: str) -> str:
    """``text`` without what stands in parentheses."""
    kept = []
    depth = 0
    for character in text:
        if character == '(':
            depth += 1
            kept.append(' ')
        elif character == ')' and depth:
            depth -= 1
        elif not depth:
            kept.append(character)
    return ''.join(kept)


def _before_comma(text: str) -> str:
    """``text`` up to the first comma outside parentheses: behind it comes the linker."""
    depth = 0
    for index, character in enumerate(text):
        if character == '(':
            depth += 1
        elif character == ')' and depth:
            depth -= 1
        elif character == ',' and not depth:
            return text[:index]
    return text
