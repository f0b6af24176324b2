# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the kernel refused a module, from the words that it left in its log (kernel/module/main.c, version.c, btf.c).

An errno such as EINVAL stands for many causes; those words tell which.
"""

import re
from typing import List, NamedTuple, Optional

STAMP = re.compile(r'\A\[ *[0-9.]+\](?:\[ *[TC][0-9]+\])? ')
SYMBOLS_SHOWN = 5


class Refusal(NamedTuple):
    """The kind of cause, the symbols that it is about, what it means, what to do."""

    kind: str
    symbols: List[str]
    says: str
    next: str


class Cause(NamedTuple):
    """How the kernel words a cause; ``symbol`` is a group of the pattern where it names one."""

    kind: str
    pattern: str
    says: str
    next: str


# The first that any line has: what the kernel says last is often only what followed from it.
CAUSES = (
    Cause('btf_mismatch', r'failed to validate module \[{name}\] BTF: -?\d+',
          'the BTF in {name}.ko was made against another vmlinux than the running kernel\'s',
          'build it against the vmlinux of the running kernel, or without BTF (CONFIG_DEBUG_INFO_BTF_MODULES= on the '
          'make line)'),
    Cause('no_symbol_version', r'(?:{name}: )?no symbol version for (?P<symbol>\w+)',
          '{name}.ko was built without the versions of symbols that another module exports (err -22 is not -2: they '
          'exist)',
          'build it again with that module\'s Module.symvers (KBUILD_EXTRA_SYMBOLS)'),
    Cause('symbol_version', r'{name}: disagrees about version of symbol (?P<symbol>\w+)',
          '{name}.ko was built against another version of {symbols}',
          'build it again against the headers of the running kernel, and of the module that exports the symbol'),
    Cause('vermagic', r"{name}: version magic '[^']*' should be '[^']*'",
          '{name}.ko was built for another kernel, or with another configuration',
          'build it again against the headers of the running kernel'),
    Cause('unknown_symbol', r'{name}: Unknown symbol (?P<symbol>\w+) \(err (?:0|-2)\)',
          'neither the kernel nor a loaded module has {symbols}',
          'load the module that exports the symbol first (modprobe does so by itself), or build it for this kernel'),
    Cause('duplicate_symbol', r'{name}: exports duplicate symbol (?P<symbol>\w+)',
          'a module that is loaded exports {symbols} already',
          'unload that module first'),
    Cause('struct_module_size', r'{name}: \.gnu\.linkonce\.this_module section size must match',
          '{name}.ko was built with a struct module of another size than the running kernel\'s',
          'build it again with the headers, the configuration and the compiler of the running kernel'),
    Cause('relocation', r'(?:{name}: )?(?:x86/modules: )?(?:Unknown rela relocation|Skipping invalid relocation|'
          r'overflow in relocation type)',
          '{name}.ko has a relocation that this kernel\'s loader does not know',
          'build it again with the compiler and the assembler that built the kernel'),
)


def explained(answer: str, name: str, log: List[str]) -> Optional[Refusal]:
    """What the log says of a load of module ``name`` to which the kernel gave the ``answer`` (``EINVAL``), or None."""
    lines = [STAMP.sub('', line) for line in log]
    for cause in CAUSES:
        pattern = re.compile(cause.pattern.replace('{name}', re.escape(name)))
        found = [match for match in map(pattern.search, lines) if match]
        if not found:
            continue
        symbols: List[str] = []
        for match in found:
            symbol = match.groupdict().get('symbol')
            if symbol and symbol not in symbols:
                symbols.append(symbol)
        shown = ', '.join(symbols[:SYMBOLS_SHOWN])
        says = 'the kernel answered {} because {}'.format(answer, cause.says.format(name=name, symbols=shown))
        return Refusal(cause.kind, symbols, says, cause.next)
    return None
