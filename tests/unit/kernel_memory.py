# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A root directory with the BTF of a real kernel and a /proc/kcore that holds what a test writes into its memory."""

import atexit
import functools
import lzma
import shutil
import struct
import tempfile
from pathlib import Path

from ansible_collections.kernelops.kmod.plugins.module_utils._lib.memory import btf

CAPTURES = Path(__file__).resolve().parent / 'captures'
KERNELS = ('linux-5.10', 'linux-6.1', 'linux-6.12', 'linux-7.3')
ARM_KERNELS = ('linux-arm64-6.1', 'linux-arm64-6.12')
ALL_KERNELS = KERNELS + ARM_KERNELS
PAGE = 4096


@functools.lru_cache(maxsize=None)
def btf_data(kernel):
    """The kernel's /sys/kernel/btf/vmlinux."""
    return lzma.decompress((CAPTURES / kernel / 'btf.xz').read_bytes())


@functools.lru_cache(maxsize=None)
def btf_of(kernel):
    """Its types."""
    return btf.Btf(btf_data(kernel))


@functools.lru_cache(maxsize=None)
def btf_file(kernel):
    """A file with them, for as long as the tests run."""
    directory = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, directory)
    path = Path(directory, kernel)
    path.write_bytes(btf_data(kernel))
    return path


def elf_header(count, table=64, entry=56, ident=b'\x7fELF\x02\x01\x01'):
    """The ELF64 header of a core file with ``count`` program headers."""
    return struct.pack('<16sHHIQQQIHHHHHH', ident, 4, 62, 1, 0, table, 0, 0, 64, entry, count, 0, 0, 0)


def program_header(kind, offset, address, size):
    """One program header."""
    return struct.pack('<IIQQQQQQ', kind, 7, offset, address, 0, size, size, PAGE)


class Memory:
    """Kernel memory, page by page; what was not written does not exist."""

    def __init__(self):
        self._pages = {}

    def write(self, address, data):
        """Puts bytes there."""
        while data:
            page, offset = divmod(address, PAGE)
            part = data[:PAGE - offset]
            self._pages.setdefault(page, bytearray(PAGE))[offset:offset + len(part)] = part
            address, data = address + len(part), data[len(part):]

    def u64(self, address, value):
        """Puts a pointer there."""
        self.write(address, struct.pack('<Q', value))

    def u32(self, address, value):
        """Puts an unsigned int there."""
        self.write(address, struct.pack('<I', value))

    def held(self):
        """The addresses of all that is not 0, eight bytes each."""
        return [page * PAGE + at for page in sorted(self._pages) for at in range(0, PAGE, 8)
                if any(self._pages[page][at:at + 8])]

    def core_file(self):
        """The memory as an ELF core file with a segment for each run of pages."""
        runs = []
        for page in sorted(self._pages):
            if runs and page == runs[-1][0] + len(runs[-1][1]):
                runs[-1][1].append(self._pages[page])
            else:
                runs.append((page, [self._pages[page]]))
        headers, contents = program_header(4, 0, 0, 0), b''
        start = 64 + 56 * (len(runs) + 1)
        for page, pages in runs:
            headers += program_header(1, start + len(contents), page * PAGE, len(pages) * PAGE)
            contents += b''.join(bytes(page) for page in pages)
        return elf_header(len(runs) + 1) + headers + contents


class Structs:
    """Structs of a kernel, in memory, each where there was none."""

    def __init__(self, kernel):
        self.types, self.memory, self.top = btf_of(kernel), Memory(), 0xFFFF888000100000

    def space(self, size):
        """Fresh memory, all zeroes."""
        self.top += (size + 63) // 64 * 64
        self.memory.write(self.top - (size + 63) // 64 * 64, bytes(size))
        return self.top - (size + 63) // 64 * 64

    def new(self, struct, **members):
        """A struct with these members, eight bytes each."""
        address = self.space(self.types.size(struct))
        for member, value in members.items():
            self.put(address, struct, member, value)
        return address

    def put(self, address, name, member, value):
        """Sets a member of a struct: a pointer, or bytes."""
        write = self.memory.write if isinstance(value, bytes) else self.memory.u64
        write(address + self.types.offset(name, member), value)

    def text(self, text):
        """A text that ends with NUL."""
        address = self.space(64)
        self.memory.write(address, text.encode() + b'\0')
        return address

    def ring(self, *nodes):
        """Links list_heads, the head first."""
        for node, following in zip(nodes, nodes[1:] + nodes[:1]):
            self.memory.u64(node, following)


def make_root(directory, kernel=None, memory=None):
    """Has BTF and kcore below the directory, as far as they are given; returns it as readers want it.

    All share one file of a kernel's types, and this process what it has read of it: five megabytes for each test would
    be gigabytes.
    """
    root = Path(str(directory))
    for name in ('sys/kernel/btf', 'proc'):
        (root / name).mkdir(parents=True, exist_ok=True)
    if kernel:
        types = root / 'sys/kernel/btf/vmlinux'
        if types.is_symlink():
            types.unlink()
        types.symlink_to(btf_file(kernel))
        btf._running[str(types)] = btf_of(kernel)
    if memory:
        (root / 'proc/kcore').write_bytes(memory.core_file())
    return str(directory)


def write_files(root, files):
    """Writes text files by their path below root; a value that begins with ``-> `` makes a symbolic link."""
    for name, text in files.items():
        path = Path(str(root)) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith('-> '):
            path.symlink_to(text[3:])
        else:
            path.write_text(text)
