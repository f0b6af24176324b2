# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reset step: vets the helper file, loads it by init_module(2), reads its report.

The report and the parameters are those of roles/force_unload/files/kmod_reset/kmod_reset.c.
"""

import ctypes
import errno
import os
import stat
import struct
from typing import Any, Dict

from ansible_collections.kernelops.kmod.plugins.module_utils import _module_file, _struct_module, _syscalls
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, is_unavailable

REPORT = struct.Struct('<IIIiQQIiQQIIiI')
MAGIC = 0x5453524b
RESETS = ('not_asked', 'done', 'looked', 'lock_busy', 'not_found', 'not_itself', 'changed')
LOADERS = ('not_asked', 'clean', 'cleared', 'lock_busy', 'in_use')
LIMIT = 16 * 1024 * 1024
REFUSALS = {
    'lock_busy': ('module_mutex could not be taken: its owner may have died with it', 'Only a reboot helps then'),
    'not_found': ('the module table no longer has it at the address that was read', 'Run the task again'),
    'not_itself': ('what lies at its address is no sound struct module', 'Only a reboot helps'),
    'changed': ('it changed between reading and acting', 'Run the task again'),
}
LOAD_ERRORS = {
    errno.EKEYREJECTED: ('the kernel wants a signature that it trusts', 'Build the helper with sign_key and sign_cert'),
    errno.EPERM: ('the kernel is locked down, or kernel.modules_disabled=1',
                  'Only a signed helper, or a reboot, helps'),
    errno.ENOEXEC: ('the kernel calls it a file of another kernel', 'Build it against the headers of this kernel'),
    errno.EEXIST: ('another kmod_reset is being loaded', 'Run the task again'),
    errno.EBUSY: ('another kmod_reset is being loaded', 'Run the task again'),
}


def helper_path(release):
    # type: (str) -> str
    """Where the role puts the compiled helper for a kernel release."""
    return f'/var/lib/kmod_reset/{release}/kmod_reset.ko'


def read_helper(path):
    # type: (str) -> bytes
    """The helper's bytes, if nobody but root could have written them. Raises KmodError otherwise.

    The file is opened once, without following a link, and judged by what was opened; each directory above it must
    belong to root and be writable for nobody else, or be sticky.
    """
    tried = f'use the helper {path}'
    build = 'Build it with the role kernelops.kmod.force_unload, or with kmod_build'
    try:
        # Without O_NONBLOCK a fifo would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KmodError(tried, error.strerror or str(error), build) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise KmodError(tried, 'it is no regular file', build)
        if found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise KmodError(tried, 'others than root can write it (owner %d, mode %o)' % (
                found.st_uid, stat.S_IMODE(found.st_mode)), build)
        if found.st_size > LIMIT:
            raise KmodError(tried, 'it is larger than any helper', build)
        _check_directories(path, tried, build)
        with os.fdopen(descriptor, 'rb', closefd=False) as stream:
            return stream.read(LIMIT)
    finally:
        os.close(descriptor)


def _check_directories(path, tried, build):
    # type: (str, str, str) -> None
    directory = os.path.dirname(os.path.realpath(path))
    while True:
        found = os.stat(directory)
        writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if found.st_uid != 0 or writable:
            raise KmodError(tried, f'others than root can write the directory {directory}', build)
        if directory == '/':
            return
        directory = os.path.dirname(directory)


def vet_helper(path, kernel, layout):
    # type: (str, Dict[str, Any], Dict[str, Any]) -> bytes
    """The helper's bytes, if it was built for this very kernel. Raises KmodError otherwise."""
    image = read_helper(path)
    found = _module_file.describe(image, path)
    tried = f'use the helper {path}'
    build = 'Build it against the headers of {}'.format(kernel['release'])
    if found['release'] != kernel['release'] or found['machine'] != kernel['arch']:
        raise KmodError(tried, 'it was built for {} on {}, and this is {} on {}'.format(
            found['release'], found['machine'], kernel['release'], kernel['arch']), build)
    for key in ('size', 'init', 'exit'):
        if not is_unavailable(layout) and found['layout'][key] != layout[key]:
            raise KmodError(tried, 'its struct module has {} at {}, the running kernel\'s at {}'.format(
                key, found['layout'][key], layout[key]), build)
    if kernel['module_signatures'] == 'enforced' and not found['signed']:
        raise KmodError(tried, 'this kernel enforces module signatures (lockdown=%s), and it has none' % (
            kernel['lockdown'] if isinstance(kernel['lockdown'], str) else 'unknown'),
            'Build it with sign_key and sign_cert')
    return image


def _entry(state, refcount, init, leave):
    # type: (int, int, int, int) -> Dict[str, Any]
    states = _struct_module.STATES
    name = states[state] if state < len(states) else str(state)
    return {'state': name, 'refcount': refcount, 'init': init, 'exit': leave}


def parse_report(data):
    # type: (bytes) -> Dict[str, Any]
    """``reset`` and ``loader`` by name, the entry ``found`` and ``left``, ``buckets`` cut and the ``loading_pid``."""
    fields = REPORT.unpack(data)
    if fields[0] != MAGIC or fields[1] >= len(RESETS) or fields[10] >= len(LOADERS):
        raise KmodError('read the helper\'s report', 'it is not one', 'Is the helper file that of this collection')
    return {
        'reset': RESETS[fields[1]], 'found': _entry(*fields[2:6]), 'left': _entry(*fields[6:10]),
        'loader': LOADERS[fields[10]], 'buckets': fields[11], 'loading_pid': fields[12],
    }


def load_helper(image, parameters):
    # type: (bytes, Dict[str, Any]) -> Dict[str, Any]
    """Loads the helper, which never stays, and returns its report. Raises KmodError where it did not run."""
    buffer = ctypes.create_string_buffer(REPORT.size)
    words = [f'{key}={value}' for key, value in sorted(parameters.items())]
    error = _syscalls.init_module(image, ' '.join(words + [f'report={ctypes.addressof(buffer)}']))
    if error != errno.ECANCELED:
        why, advice = LOAD_ERRORS.get(error, ('the kernel refused it', 'Its words are in the kernel log'))
        raise KmodError('load the helper', f'{_syscalls.errno_text(error)}: {why}', advice)
    return parse_report(buffer.raw)


class Target:
    """One entry of the module table, reached through the helper. Each call loads the helper once."""

    def __init__(self, name, address, anchors, image):
        # type: (str, int, Dict[str, int], bytes) -> None
        """``address`` of its struct module; ``anchors``: the addresses ``modules`` and ``module_mutex``."""
        self.name = name
        self._image = image
        self._parameters = {'name': name, 'address': address, 'modules': anchors['modules'],
                            'module_lock': anchors['module_mutex']}

    def look(self):
        # type: () -> Dict[str, Any]
        """The entry as it is: state, refcount (raw), init, exit. Raises KmodError where there is no such entry."""
        report = load_helper(self._image, dict(self._parameters, look=1))
        if report['reset'] != 'looked':
            raise self._refusal(report)
        return report['found']

    def store(self, expect, write, loader):
        # type: (Dict[str, Any], Dict[str, Any], Dict[str, Any]) -> Dict[str, Any]
        """Writes ``write`` where the entry is ``expect``, and returns the report. Raises KmodError where it did not.

        ``loader`` are parameters to clear the loader's table as well, or empty.
        """
        values = dict(self._parameters, **loader)
        for prefix, entry in (('old', expect), ('new', write)):
            values[prefix + '_state'] = _struct_module.STATES.index(entry['state'])
            for key in ('refcount', 'init', 'exit'):
                values[f'{prefix}_{key}'] = entry[key]
        report = load_helper(self._image, values)
        if report['reset'] != 'done':
            raise self._refusal(report)
        return report

    def _refusal(self, report):
        # type: (Dict[str, Any]) -> KmodError
        why, advice = REFUSALS.get(report['reset'], ('the helper answered {}'.format(report['reset']), None))
        return KmodError(f'reset {self.name}', why, advice)


def loader_parameters(anchors, buckets):
    # type: (Dict[str, int], int) -> Dict[str, Any]
    """The helper's parameters to clear the loader's table of running loads; empty on a kernel that has none."""
    if not anchors['idem_hash'] or not anchors['idem_lock']:
        return {}
    return {'idem_hash': anchors['idem_hash'], 'idem_lock': anchors['idem_lock'], 'idem_buckets': buckets}
