# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reset step: vets the helper file, loads it by init_module(2), reads its report.

The report and the parameters are those of roles/force_unload/files/kmod_reset: kmod_reset.h and main.c.
"""

import ctypes
import errno
import hashlib
import json
import os
import re
import struct
import time
from typing import Any, Dict, List, Optional, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_file, struct_module
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._file_types import LAYOUT_KEYS
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import loader_syscalls, trust
from ansible_collections.kernelops.kmod.plugins.module_utils._returns import HelperReport
from ansible_collections.kernelops.kmod.plugins.module_utils._types import (
    Anchors,
    Entry,
    Fact,
    Kernel,
    Leftover,
    StructLayout,
)

# Of the helper module.
Parameters = Dict[str, Union[int, str, None]]

NAME = 'kmod_reset'
# struct reset_report of kmod_reset.h
REPORT = struct.Struct('<IIIiQQIiQQIIiIiiIIiIQQ16sQ64s')
MAGIC = 0x3353524b
# What the helper's modinfo says where parameters and report are those known here.
INTERFACE = b'interface=4\0'
RESETS = ('not_asked', 'done', 'looked', 'lock_busy', 'not_found', 'not_itself', 'changed', 'in_use', 'parked',
          'name_taken', 'has_dependents', 'not_renamed', 'undone')
LOADERS = ('not_asked', 'clean', 'cleared', 'lock_busy', 'in_use')
LOOKS = ('not_asked', 'clear', 'task', 'cpu', 'silent', 'stalled', 'unfinished')
# What it takes back by which function of the kernel, in the order of its enum undo_kind, and what came of it.
UNDO_KINDS = {
    'nothing': '', 'misc': 'misc_deregister', 'cdev': 'cdev_del', 'device': 'device_destroy', 'class': 'class_destroy',
    'proc': 'proc_remove', 'debugfs': 'debugfs_remove', 'sysfs_file': 'sysfs_remove_file', 'kobject': 'kobject_put',
    'timer': 'timer_delete_sync', 'hrtimer': 'hrtimer_cancel', 'work': 'cancel_work_sync',
    'delayed_work': 'cancel_delayed_work_sync', 'interrupt': 'free_irq', 'kprobe': 'unregister_kprobe',
    'kretprobe': 'unregister_kretprobe', 'atomic_notifier': 'atomic_notifier_chain_unregister',
    'blocking_notifier': 'blocking_notifier_chain_unregister', 'netdevice_notifier': 'raw_notifier_chain_unregister',
    'netfilter': 'nf_unregister_net_hook', 'packet': 'dev_remove_pack', 'netdev': 'unregister_netdev',
    'filesystem': 'unregister_filesystem', 'sysctl': 'unregister_sysctl_table',
    'tracepoint': 'tracepoint_probe_unregister', 'ftrace': 'unregister_ftrace_function',
    'driver': 'driver_unregister', 'thread': 'kthread_stop', 'sysfs_group': 'sysfs_remove_group',
    'platform_device': 'platform_device_unregister', 'bus': 'bus_unregister', 'workqueue': 'destroy_workqueue',
}
UNDO_RESULTS = ('not_tried', 'done', 'not_there', 'in_use', 'unknown', 'late', 'own_code', 'died')
MOST_UNDONE = 64
# Whom the helper looks for in the module's code before it writes anything.
LOOK_FOR = ('nobody', 'tasks', 'user_tasks')
LIMIT = 16 * 1024 * 1024
# As modprobe takes them, a dash for an underscore apart.
MODULE_NAME = re.compile(r'[A-Za-z0-9_]+\Z')
TRIES = 10
PAUSE = 0.3
REFUSALS = {
    'lock_busy': ('module_mutex could not be taken: its owner may have died with it', 'Only a reboot helps then'),
    'not_found': ('the module table no longer has it at the address that was read', 'Run the task again'),
    'not_itself': ('what lies at its address is no sound struct module', 'Only a reboot helps'),
    'changed': ('it changed between reading and acting', 'Run the task again'),
    'name_taken': ('a module of the new name is loaded', 'Give another name'),
    'has_dependents': ('other modules use it, and would find neither its symbols nor its name', 'Unload those first'),
}
# The kernel's own look, by its result: why nothing was written, and what to do.
SEEN = {
    'task': ('{command} (pid {pid}) will return to its code at {at:#x}', 'End it, or let it finish'),
    'cpu': ('CPU {cpu} runs its code at {at:#x}, in {command} (pid {pid})',
            'Let it finish; when it never does, only a reboot helps'),
    'silent': ('CPU {cpu} does not answer, and may run its code',
               'Run the task again; when that CPU never answers, only a reboot helps'),
    'stalled': ('no RCU grace period ends, since some CPU is stuck in the kernel: nothing can be unloaded',
                'The kernel log names the CPU; only a reboot helps where it stays stuck'),
    'unfinished': ('the tasks of this host came and went too fast to be looked at: only {tasks} of them were',
                   'Run the task again'),
}
LOAD_ERRORS = {
    errno.EKEYREJECTED: ('the kernel wants a signature that it trusts', 'Build the helper with sign_key and sign_cert'),
    errno.EPERM: ('the kernel is locked down, or kernel.modules_disabled=1',
                  'Only a signed helper, or a reboot, helps'),
    errno.ENOEXEC: ('the kernel calls it a file of another kernel', 'Build it against the headers of this kernel'),
    errno.EEXIST: ('another kmod_reset is loaded', 'Run the task again'),
    errno.EBUSY: ('another kmod_reset is being loaded', 'Run the task again'),
}
STILL_LOADED = ('the one of an earlier run is still loaded: a CPU that is stuck in the kernel may still need it',
                'Run the task again; when that CPU never comes back, only a reboot helps')


def helper_path(release: str) -> str:
    """Where the role puts the compiled helper for a kernel release."""
    return f'/var/lib/kmod_reset/{release}/kmod_reset.ko'


def fitting(kernel: Kernel, layout: Fact[StructLayout]) -> str:
    """The same text for every host that one compiled helper fits: a SHA-256 of the kernel, its compiler and its layout.

    The banner of /proc/version names the compiler and the build; of the configuration, where the host has it, what is
    about modules and compilers counts.
    """
    about = {'release': kernel['release'], 'arch': kernel['arch'], 'version_banner': kernel['version_banner'],
             'config': kernel['config'], 'layout': layout if is_unavailable(layout) else {
                 'size': layout['size'], 'init': layout['init'], 'exit': layout['exit']}}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def read_helper(path: str) -> bytes:
    """The helper's bytes, if nobody but root could have written them. Raises KmodError otherwise.

    The file is opened once, without following a link, and judged by what was opened; each directory above it must
    belong to root and be writable for nobody else, or be sticky. Where kmod_build left its stamp beside it, the bytes
    must be those that were built: a file cut short, or replaced by hand, is refused.
    """
    tried = f'use the helper {path}'
    build = 'Build it with the role kernelops.kmod.force_unload, or with kmod_build'
    image = _read_trusted(path, tried, build)
    built = _digest_when_built(path, tried, build)
    if built and hashlib.sha256(image).hexdigest() != built:
        raise KmodError(tried, f'it is not what was built: {trust.STAMP} beside it has another SHA-256', build)
    return image


def _read_trusted(path: str, tried: str, build: str) -> bytes:
    try:
        why = trust.fault_of_path(os.path.dirname(path), {0}, sticky=True, by_group=False)
        if not why:
            return trust.read(path, {0}, LIMIT, by_group=False)
    except OSError as error:
        raise KmodError(tried, error.strerror or str(error), build) from error
    raise KmodError(tried, f'others than root could have written it: {why}', build)


def _digest_when_built(path: str, tried: str, build: str) -> Optional[str]:
    """The SHA-256 that kmod_build noted for the file; None where there is no stamp, or none of this file."""
    directory, name = os.path.split(path)
    stamp = os.path.join(directory, trust.STAMP)
    if not os.path.lexists(stamp):
        return None
    text = _read_trusted(stamp, f'{tried} by its stamp {trust.STAMP}', build)
    try:
        entries = [entry for entry in json.loads(text.decode('utf-8'))['modules']
                   if os.path.basename(entry['path']) == name]
        return entries[0]['sha256'] if entries else None
    except (ValueError, TypeError, KeyError) as error:
        raise KmodError(tried, f'the stamp {stamp} beside it is damaged', build) from error


def vet_helper(path: str, kernel: Kernel, layout: Fact[StructLayout]) -> bytes:
    """The helper's bytes, if it was built for this very kernel. Raises KmodError otherwise."""
    image = read_helper(path)
    found = module_file.describe(image, path)
    tried = f'use the helper {path}'
    build = 'Build it against the headers of {}'.format(kernel['release'])
    if INTERFACE not in image:
        raise KmodError(tried, 'it was built from another version of this collection', 'Build it again, from this one')
    if found['release'] != kernel['release'] or found['machine'] != kernel['arch']:
        raise KmodError(tried, 'it was built for {} on {}, and this is {} on {}'.format(
            found['release'], found['machine'], kernel['release'], kernel['arch']), build)
    inside = found['layout']
    if is_unavailable(inside):
        raise KmodError(tried, inside['unavailable'], build)
    for key in LAYOUT_KEYS:
        if not is_unavailable(layout) and inside[key] != layout[key]:
            raise KmodError(tried, 'its struct module has {} at {}, the running kernel\'s at {}'.format(
                key, inside[key], layout[key]), build)
    if kernel['module_signatures'] == 'enforced' and not found['signed']:
        raise KmodError(tried, 'this kernel enforces module signatures (lockdown=%s), and it has none' % (
            kernel['lockdown'] if isinstance(kernel['lockdown'], str) else 'unknown'),
            'Build it with sign_key and sign_cert')
    return image


def _entry(state: int, refcount: int, init: int, leave: int) -> Entry:
    states = struct_module.STATES
    name = states[state] if state < len(states) else str(state)
    return {'state': name, 'refcount': refcount, 'init': init, 'exit': leave}


def parse_report(data: bytes) -> HelperReport:
    """``reset`` and ``loader`` by name, the entry ``found`` and ``left``, ``buckets`` cut, the ``loading_pid``.

    ``look`` is what the kernel saw before it wrote: ``result`` by name, ``pid``, ``command`` and ``cpu`` of what was
    found (cpu -1: a task off its CPU), the address ``at`` in the module's code, how many ``tasks`` were looked at, in
    how many ``nanoseconds``. ``hidden_symbols`` counts those of a parked module, ``error`` is why it was not renamed,
    ``undone`` what came of each that was to be taken back.
    """
    fields = REPORT.unpack(data)
    if fields[0] != MAGIC or fields[1] >= len(RESETS) or fields[10] >= len(LOADERS) or fields[13] >= len(LOOKS) \
            or any(result >= len(UNDO_RESULTS) for result in fields[24]):
        raise KmodError('read the helper\'s report', 'it is not one', 'Is the helper file that of this collection')
    return {
        'reset': RESETS[fields[1]], 'found': _entry(*fields[2:6]), 'left': _entry(*fields[6:10]),
        'loader': LOADERS[fields[10]], 'buckets': fields[11], 'loading_pid': fields[12],
        'look': {'result': LOOKS[fields[13]], 'pid': fields[14], 'cpu': fields[15], 'tasks': fields[16],
                 'at': fields[20], 'nanoseconds': fields[21],
                 'command': fields[22].split(b'\0')[0].decode('utf-8', 'backslashreplace')},
        'hidden_symbols': fields[17], 'error': -fields[18],
        'undone': [UNDO_RESULTS[result] for result in fields[24][:fields[23]]],
    }


def insert_when_free(image: bytes, parameters: str) -> int:
    """init_module(2) of a helper, again while another is being loaded: 0 or the errno.

    One that had to stay is unloaded first, once nothing needs it any more.
    """
    error = errno.EEXIST
    for attempt in range(TRIES):
        error = loader_syscalls.init_module(image, parameters)
        if error not in (errno.EEXIST, errno.EBUSY):
            break
        if attempt:
            time.sleep(PAUSE)
        loader_syscalls.delete_module(NAME)
    return error


def load_error(error: int) -> KmodError:
    """What an errno of init_module(2) means for a helper."""
    why, advice = LOAD_ERRORS.get(error, ('the kernel refused it', 'Its words are in the kernel log'))
    if error in (errno.EEXIST, errno.EBUSY) and _stays_loaded():
        why, advice = STILL_LOADED
    return KmodError('load the helper', f'{loader_syscalls.errno_text(error)}: {why}', advice)


def load_helper(image: bytes, parameters: Parameters) -> HelperReport:
    """Loads the compiled helper and returns its report. Raises KmodError where it did not run.

    It never stays loaded, but where ``stays`` is true: its code is still to be called, by a CPU that does not answer or
    after a grace period that does not end.
    """
    buffer = ctypes.create_string_buffer(REPORT.size)
    words = [f'{key}={value}' for key, value in sorted(parameters.items())]
    error = insert_when_free(image, ' '.join(words + [f'report={ctypes.addressof(buffer)}']))
    if error not in (0, errno.ECANCELED):
        raise load_error(error)
    return {**parse_report(buffer.raw), 'stays': not error}


def _stays_loaded(root: str = '/') -> bool:
    try:
        with open(os.path.join(root, 'sys/module', NAME, 'initstate')) as stream:
            return stream.read().strip() == 'live'
    except OSError:
        return False


class Helper:
    """The compiled helper of the running kernel: what :mod:`unload` needs of either kind (:mod:`generated_helper`)."""

    def __init__(self, image: bytes) -> None:
        self._image = image

    def target(self, name: str, address: int, anchors: Anchors) -> 'Target':
        """The entry of a module: ``address`` of its struct module, ``anchors`` as module_survey has them."""
        return Target(name, address, anchors, self._image)

    def clear_loader(self, loader: Dict[str, int], _anchors: Anchors) -> HelperReport:
        """Empties the loader's table of running loads, under its lock, if nobody is inside finit_module(2)."""
        return load_helper(self._image, {**loader})


class Target:
    """One entry of the module table, reached through the helper. Each call loads the helper once."""

    def __init__(self, name: str, address: int, anchors: Anchors, image: bytes) -> None:
        """``address`` of its struct module; ``anchors``: the addresses ``modules`` and ``module_mutex``."""
        self.name = name
        self._image = image
        self._parameters: Parameters = {'name': name, 'address': address, 'modules': anchors['modules'],
                                        'module_lock': anchors['module_mutex']}

    def look(self) -> Entry:
        """The entry as it is: state, refcount (raw), init, exit. Raises KmodError where there is no such entry.

        Also where the helper had to stay loaded: no second one could be loaded to change anything.
        """
        report = load_helper(self._image, {**self._parameters, 'look': 1})
        if report['reset'] != 'looked':
            raise self._refusal(f'reset {self.name}', report)
        if report['stays']:
            raise _seen(f'reset {self.name}', report)
        return report['found']

    def store(self, expect: Entry, write: Entry, loader: Dict[str, int], look_for: str = 'tasks') -> HelperReport:
        """Writes ``write`` where the entry is ``expect``, and returns the report. Raises KmodError where it did not.

        ``loader`` are parameters to clear the loader's table as well, or empty. ``look_for`` says whom the helper looks
        for in the module's code first: ``tasks``, ``user_tasks`` (the module's exit will stop its kernel threads) or
        ``nobody``. Where it finds any, nothing is written, and the error has the fact ``hazard``: ``running_task``.
        """
        report = load_helper(self._image, {**self._expecting(expect, look_for), **loader, **self._values('new', write)})
        if report['reset'] != 'done':
            raise self._refusal(f'reset {self.name}', report)
        return report

    def park(self, expect: Entry, new_name: str, look_for: str = 'nobody') -> HelperReport:
        """Renames the module where its entry is ``expect``, and returns the report. Raises KmodError where it did not.

        Its code stays mapped and nobody's way changes, so nobody is looked for. What it exports is no longer offered to
        others: ``hidden_symbols`` in the report says how many. A module that others use is refused.
        """
        tried = f'park {self.name} as {new_name}'
        if not MODULE_NAME.match(new_name) or len(new_name) >= struct_module.NAME_LENGTH:
            raise KmodError(tried, 'that is no name of a module: letters, digits and underscores, %d at the most' % (
                struct_module.NAME_LENGTH - 1), 'Give another name')
        report = load_helper(self._image, {**self._expecting(expect, look_for), 'new_name': new_name})
        if report['reset'] != 'parked':
            raise self._refusal(tried, report)
        return report

    def undo(self, expect: Entry, leftovers: List[Leftover], look_for: str) -> HelperReport:
        """Takes back the first :data:`MOST_UNDONE` of the ``leftovers`` where the module's entry is ``expect``.

        ``undone`` in the report says what came of each. Raises KmodError where nothing was tried.
        """
        numbers = {kind: number for number, kind in enumerate(UNDO_KINDS)}
        words = [(numbers[one['kind']], one['address'], one['other'], one['more'], one['proof'])
                 for one in leftovers[:MOST_UNDONE]]
        told = ','.join(str(word) for step in words for word in step)
        report = load_helper(self._image, {**self._expecting(expect, look_for), 'undo': told})
        if report['reset'] != 'undone':
            raise self._refusal(f'take back what {self.name} left', report)
        return report

    def _expecting(self, expect: Entry, look_for: str) -> Parameters:
        return {**self._parameters, 'look_for': LOOK_FOR.index(look_for), **self._values('old', expect)}

    @staticmethod
    def _values(prefix: str, entry: Entry) -> Dict[str, int]:
        return {prefix + '_state': struct_module.STATES.index(entry['state']), prefix + '_refcount': entry['refcount'],
                prefix + '_init': entry['init'], prefix + '_exit': entry['exit']}

    def _refusal(self, tried: str, report: HelperReport) -> KmodError:
        if report['reset'] == 'in_use':
            return _seen(tried, report)
        why, advice = REFUSALS.get(report['reset'], ('the helper answered {}'.format(report['reset']), None))
        if report['reset'] == 'not_renamed':
            why = 'the kernel did not rename it: {}'.format(loader_syscalls.errno_text(report['error']))
            advice = 'Give another name'
        return KmodError(tried, why, advice)


def _seen(tried: str, report: HelperReport) -> KmodError:
    look = report['look']
    why, advice = SEEN.get(look['result'], ('the helper\'s look answered {result}', None))
    facts: Dict[str, Any] = {'look': look}
    if look['result'] != 'stalled':
        facts['hazard'] = 'running_task'
    stays = f'; {NAME} stays loaded until its code has been called there' if report['stays'] else ''
    return KmodError(tried, 'as the kernel itself sees, {}; nothing was written{}'.format(why.format(**look), stays),
                     advice, **facts)


def loader_parameters(anchors: Anchors, buckets: int) -> Dict[str, int]:
    """The helper's parameters to clear the loader's table of running loads; empty on a kernel that has none."""
    if not anchors['idem_hash'] or not anchors['idem_lock']:
        return {}
    return {'idem_hash': anchors['idem_hash'], 'idem_lock': anchors['idem_lock'], 'idem_buckets': buckets}
