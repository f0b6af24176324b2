# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a module and module files, made to order, so that a test's row says only what matters to it."""

import lzma
import os
import shutil
import struct
from pathlib import Path

CAPTURES = Path(__file__).parent / 'captures'
# The helper and three faults of the lab, as kbuild made them with the headers of Debian's kernel 6.1.
MODULE_FILES = Path(__file__).parent / 'module_files'
KERNELS = ('5.10', '6.1', '6.12', '7.3')
# Where each captured text lies on the host it is of.
PLACES = {
    'proc_modules': 'proc/modules', 'kallsyms': 'proc/kallsyms', 'proc_version': 'proc/version',
    'proc_sys_kernel_tainted': 'proc/sys/kernel/tainted', 'kptr_restrict': 'proc/sys/kernel/kptr_restrict',
    'lockdown': 'sys/kernel/security/lockdown', 'config': 'boot/config-{release}',
}

# Addresses as they look on x86-64: the kernel's own, a module's code, its struct module.
INIT = 0xffffffffc058d000
EXIT = 0xffffffffc0a96010
CLEANUP = 0xffffffffc0a96040
ADDRESS = 0xffffffffc0a99040
ANCHORS = {'modules': 0xffffffffb0000000, 'module_mutex': 0xffffffffb0000040, 'idem_hash': None, 'idem_lock': None,
           'idem_bytes': None}

RELEASE = '6.1.0-56-amd64'
LAYOUT = {'size': 896, 'init': 312, 'exit': 848}
# The parameters of a module file, as .modinfo has them.
PARAMETERS = ('parmtype=count:int', 'parm=count:How many', 'parm=own:Of its own kind', 'parmtype=label:charp')


def live(**changes):
    """Struct module of a healthy live module, as struct_module.read returns it."""
    return dict({'module': ADDRESS, 'state': 'live', 'refcount': 1, 'init': INIT, 'exit': EXIT, 'source': 'kcore'},
                **changes)


def task(command='insmod', pid=1876, function='f_init', **changes):
    """A task as _tasks returns it."""
    return dict({'pid': pid, 'tid': pid, 'command': command, 'function': function}, **changes)


def tasks(*found, unreadable=()):
    """Tasks as facts have them."""
    return {'tasks': list(found), 'unreadable': list(unreadable)}


def loader_task(call='finit_module', module='foo', waits_in='msleep', command='insmod', pid=1876):
    """A task inside the loader's system calls."""
    return {'pid': pid, 'tid': pid, 'command': command, 'kernel_thread': False, 'call': call, 'module': module,
            'waits_in': waits_in}


UNREACHABLE = {'answer': 'unreachable', 'reason': '', 'hits': []}
REACHABLE = {'answer': 'reachable', 'reason': 'misc_list points to f_device of it', 'hits': []}


def leftover(kind='misc', what='misc device /dev/foo', address=0xffffffffc0001000, **more):
    """As leftovers.entry has it."""
    return dict({'kind': kind, 'what': what, 'address': address, 'other': 0, 'more': 0,
                 'proof': address + 16}, **more)


def oops(module='foo', **changes):
    """An oops as oops returns it, of a task that is gone, in the init of ``module``."""
    return dict({
        'kind': 'oops', 'module': module, 'function': 'f_init', 'cause': 'BUG: kernel NULL pointer dereference',
        'died_in': 'init', 'of': module, 'call': 'init', 'locks': [],
        'pid': 1876, 'task': 'insmod', 'task_gone': True,
        'trace': ['do_one_initcall+0x56/0x220', 'do_init_module+0x4a/0x1f0', '__do_sys_finit_module+0xac/0x120'],
    }, **changes)


def exit_oops(module='foo', **changes):
    """The same in its exit."""
    return oops(module, **dict({
        'function': 'f_exit', 'died_in': 'exit', 'call': 'exit', 'task': 'rmmod',
        'trace': ['f_exit+0x5/0x10 [foo]', '__do_sys_delete_module.constprop.0+0x17e/0x2a0']}, **changes))


def holder(what='mount /mnt/data', end_with='umount /mnt/data', *, counts=True, active=False, **more):
    """A holder as _holders returns it."""
    return dict({'what': what, 'evidence': 'a list of the kernel', 'end_with': end_with, 'counts': counts,
                 'active': active}, **more)


def kernel(**changes):
    """The running kernel's facts, where nothing stands in the way."""
    return dict({
        'release': RELEASE, 'arch': 'x86_64', 'modules_disabled': 0, 'force_unload': True, 'lockdown': 'none',
        'module_signatures': 'permissive', 'kptr_restrict': 0, 'config': {'CONFIG_SMP': 'y'},
        'loads_refused': {'unsigned': '', 'from_memory': ''},
        'version_banner': 'Linux version %s (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP' % RELEASE,
    }, **changes)


def facts(state='live', refcount=0, used_by=(), permanent=False, taint='OE', **changes):
    """What module_survey.module returns for ``foo``, out of tree by default; ``changes`` are its other keys."""
    module = {'name': 'foo', 'state': state}
    if state not in ('absent', 'builtin'):
        module.update(refcount=refcount, used_by=list(used_by), permanent=permanent, struct_address=ADDRESS,
                      taint=taint)
    raw = refcount + 1 if isinstance(refcount, int) else 1
    return dict({
        'name': 'foo', 'kernel': kernel(), 'module': module,
        'live': live(state=state, refcount=raw, exit=0 if permanent else EXIT),
        'cleanup_module': None, 'exit_offsets': {'unavailable': 'its exit is not lost'},
        'tasks': {'tasks': [], 'unreadable': []}, 'loader_tasks': {'tasks': [], 'unreadable': []}, 'namespace': '',
        'spinning': [], 'holders': {}, 'holders_below': {}, 'oopses': [], 'oopses_lost': [],
        'reachability': {'answer': 'unknown', 'reason': 'not looked for', 'hits': []},
        'registrations': {'found': [], 'unseen': [], 'blind': '', 'leftovers': []},
        'anchors': dict(ANCHORS),
    }, **changes)


def captured(kernel_version, name):
    """A captured text of the host with that kernel."""
    return (CAPTURES / ('linux-' + kernel_version) / 'host' / name).read_text()


def captured_release(kernel_version):
    """What uname -r printed there."""
    return captured(kernel_version, 'uname').split()[2]


def captured_root(kernel_version, directory):
    """A root directory with the captured texts where the kernel shows them; as text, for the readers."""
    for name, place in PLACES.items():
        path = directory / place.format(release=captured_release(kernel_version))
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(CAPTURES / ('linux-' + kernel_version) / 'host' / name), str(path))
    return str(directory)


def write(directory, place, text):
    """Writes a file below a root directory, its directories too."""
    path = directory / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def module_image(*, name='kmod_reset', release=RELEASE, layout=None, machine=62, signed=False, interface='4'):
    """A relocatable file with what _module_file reads of a module, by the rules of elf(5), and no code at all."""
    layout = dict(LAYOUT, **(layout or {}))
    vermagic = '%s SMP preempt mod_unload modversions ' % release if release else ''
    functions = [symbol for symbol in ('init', 'exit') if layout[symbol] is not None]
    spelt = {'init': b'init_module', 'exit': b'cleanup_module'}
    symbols, relocations, strings = b'\0' * 24, b'', b'\0'
    for index, function in enumerate(functions, 1):
        symbols += struct.pack('<IBBHQQ', len(strings), 0x12, 0, 1, 0, 0)
        strings += spelt[function] + b'\0'
        relocations += struct.pack('<QQq', layout[function], index << 32 | 1, 0)
    info = b''.join(b'%s=%s\0' % item for item in (
        (b'license', b'GPL'), (b'name', name.encode()), (b'vermagic', vermagic.encode()),
        (b'interface', interface.encode())))
    # name, sh_type, content, sh_link
    sections = [
        (b'', 0, b'', 0),
        (b'.modinfo', 1, info, 0),
        (b'.gnu.linkonce.this_module', 1, b'\0' * layout['size'], 0),
        (b'.rela.gnu.linkonce.this_module', 4, relocations, 4),
        (b'.symtab', 2, symbols, 5),
        (b'.strtab', 3, strings, 0),
    ]
    names = b''.join(section[0] + b'\0' for section in sections) + b'.shstrtab\0'
    sections.append((b'.shstrtab', 3, names, 0))
    body, table, at = b'', b'', 0
    for section, kind, content, link in sections:
        table += struct.pack('<IIQQQQIIQQ', at, kind, 0, 0, 64 + len(body), len(content), link, 0, 8, 0)
        body += content
        at += len(section) + 1
    header = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\x02\x01\x01', 1, machine, 1, 0, 0, 64 + len(body), 0, 64, 0, 0,
                         64, len(sections), len(sections) - 1)
    return header + body + table + (b'~Module signature appended~\n' if signed else b'')


def module_with(*info, name='foo', **changes):
    """A module file of that name with these lines in .modinfo."""
    return module_image(name='\0'.join([name, *(info or ('srcversion=NEW', *PARAMETERS))]), **changes)


def unpacked(name):
    """One of the module files."""
    return lzma.decompress((MODULE_FILES / (name + '.ko.xz')).read_bytes())


def damaged(image, changes, cut):
    """A file with bytes changed, each (place, value), and as much of it as there is before a cut."""
    changed = bytearray(image)
    for at, value in changes:
        changed[at] = value
    return bytes(changed), bytes(changed[:cut])


class Owners:
    """The module os, but that who runs the tests stands for root, and what is ``foreign`` belongs to user 1000."""

    def __init__(self):
        self.foreign = []

    def __getattr__(self, name):
        return getattr(os, name)

    def _owned(self, found):
        others = [(path.stat().st_dev, path.stat().st_ino) for path in self.foreign]
        owner = 1000 if (found.st_dev, found.st_ino) in others else found.st_uid
        fields = list(found)[:10]
        fields[4] = 0 if owner == os.getuid() else owner
        return os.stat_result(fields)

    def stat(self, path):
        return self._owned(Path(path).stat())

    def fstat(self, descriptor):
        return self._owned(os.fstat(descriptor))
