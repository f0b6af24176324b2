# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module loader's system calls, by ctypes: init_module(2), delete_module(2)."""

import ctypes
import errno
import os
from typing import Dict, Optional, Tuple, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError

# arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h
NUMBERS: Dict[str, Dict[str, int]] = {
    'x86_64': {'init_module': 175, 'delete_module': 176, 'finit_module': 313},
    'aarch64': {'init_module': 105, 'delete_module': 106, 'finit_module': 273},
}
# The same calls of a 32-bit program: arch/x86/entry/syscalls/syscall_32.tbl, arch/arm/tools/syscall.tbl
NARROW: Dict[str, Dict[str, int]] = {
    'x86_64': {'init_module': 128, 'delete_module': 129, 'finit_module': 350},
    'aarch64': {'init_module': 128, 'delete_module': 129, 'finit_module': 379},
}


def numbers(machine: Optional[str] = None) -> Dict[str, int]:
    """System call numbers by name for ``machine`` (default: this one, as ``uname -m`` spells it)."""
    machine = machine or os.uname().machine
    if machine not in NUMBERS:
        raise KmodError('call the module loader', f'the system call numbers of {machine} are not known here',
                        'Supported architectures are {}'.format(', '.join(sorted(NUMBERS))))
    return NUMBERS[machine]


def loader_calls(machine: Optional[str] = None) -> Tuple[Dict[str, str], Dict[str, str]]:
    """The loader's calls by their number as /proc/PID/syscall prints it: of a 64-bit program, and of a 32-bit one."""
    machine = machine or os.uname().machine
    wide, narrow = ({str(number): name for name, number in table.get(machine, {}).items()}
                    for table in (NUMBERS, NARROW))
    return wide, narrow


def _call(name: str, *arguments: Union[ctypes.c_char_p, ctypes.c_uint, ctypes.c_ulong]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(numbers()[name]), *arguments)
    return 0 if result == 0 else ctypes.get_errno()


def init_module(image: bytes, parameters: str) -> int:
    """init_module(2): loads the ELF ``image``; returns 0 or the errno."""
    return _call('init_module', ctypes.c_char_p(image), ctypes.c_ulong(len(image)),
                 ctypes.c_char_p(parameters.encode('utf-8')))


def delete_module(name: str, force: bool = False) -> int:
    """delete_module(2) with O_NONBLOCK, and O_TRUNC where ``force``; returns 0 or the errno."""
    flags = os.O_NONBLOCK | (os.O_TRUNC if force else 0)
    return _call('delete_module', ctypes.c_char_p(name.encode('utf-8')), ctypes.c_uint(flags))


def errno_text(number: int) -> str:
    """``EBUSY (Device or resource busy)``."""
    return f'{errno.errorcode.get(number, number)} ({os.strerror(number)})'
