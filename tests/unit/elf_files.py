# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module files in any format of elf(5), made to order."""

import struct

import builders


def elf_module(sections, form='64-bit little-endian', machine=62):
    """A module in any format of elf(5), with the sections given beside those that every module has."""
    order, wide = '<' if 'little' in form else '>', form.startswith('64')
    symbols, relocations, strings = b'\0' * (24 if wide else 16), b'', b'\0'
    for index, (function, offset) in enumerate(((b'init_module', 312), (b'cleanup_module', 848)), 1):
        symbols += struct.pack(order + 'IBBHQQ', len(strings), 0x12, 0, 1, 0, 0) if wide else \
            struct.pack(order + 'IIIBBH', len(strings), 0, 0, 0x12, 0, 1)
        strings += function + b'\0'
        relocations += struct.pack(order + 'QQq', offset, index << 32 | 1, 0) if wide else \
            struct.pack(order + 'II', offset, index << 8 | 1)
    kept = {'.modinfo': b'name=a\0vermagic=%s SMP \0' % builders.RELEASE.encode()}
    kept.update(sections)
    rela = '.rela' if wide else '.rel'
    # name, sh_type, content, sh_link, sh_entsize
    table = [('', 0, b'', 0, 0), ('.symtab', 2, symbols, 2, 24 if wide else 16), ('.strtab', 3, strings, 0, 0),
             ('.gnu.linkonce.this_module', 1, b'\0' * 896, 0, 0),
             (rela + '.gnu.linkonce.this_module', 4 if wide else 9, relocations, 1, 24 if wide else 8)]
    table += [(name, 1, content, 0, 0) for name, content in kept.items()]
    names = b''.join(row[0].encode() + b'\0' for row in table) + b'.shstrtab\0'
    table.append(('.shstrtab', 3, names, 0, 0))
    start = 64 if wide else 52
    body, headers, at = b'', b'', 0
    for name, kind, content, link, entry in table:
        place = start + len(body)
        headers += struct.pack(order + ('IIQQQQIIQQ' if wide else '10I'), at, kind, 0, 0, place, len(content), link,
                               3 if entry in (8, 24) and 'rel' in name else 0, 8, entry)
        body += content
        at += len(name) + 1
    ident = b'\x7fELF' + (b'\x02' if wide else b'\x01') + (b'\x01' if order == '<' else b'\x02') + b'\x01'
    form = order + ('16sHHIQQQIHHHHHH' if wide else '16sHHIIIIIHHHHHH')
    header = struct.pack(form, ident, 1, machine, 1, 0, 0, start + len(body), 0, start, 0, 0, 64 if wide else 40,
                         len(table), len(table) - 1)
    return header + body + headers
