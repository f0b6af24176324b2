# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each holder is told to be ended with."""

import os
import subprocess

import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect.holders import find_holders
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import root_files
from kernel_memory import write_files
from used_kernel import shown


@pytest.mark.parametrize(('pid', 'cgroup', 'command'), [
    (1, '0::/init.scope\n', ''), (7, '', 'kill 7'),
    (7, '0::/system.slice/foo.service\n', 'systemctl stop foo.service'),
    (7, '12:cpu:/a.service\n1:name=systemd:/system.slice/system-foo.slice/foo@1.service/inner\n0::/\n',
     'systemctl stop foo@1.service'),
    (7, '0::/system.slice/a\\x2db.service\n', "systemctl stop 'a\\x2db.service'"),
    (7, '0::/user.slice/user-0.slice/session-3.scope\n', 'kill 7'),
    (7, '0::/user.slice/user-0.slice/user@0.service/app.slice/foo.service\n', 'kill 7'),
    (7, '0::/machine.slice/c1.scope/system.slice/foo.service\n', 'kill 7'),
    (7, '0::/system.slice/ssh.service\n', 'kill 7'),
])
def test_a_process_ends_with_its_service_where_it_has_one(tmp_path, pid, cgroup, command):
    write_files(tmp_path, {'proc/%d/cgroup' % pid: cgroup})
    assert find_holders.ends_process(pid, str(tmp_path)) == command


def test_mounts_end_deepest_first_and_where_they_are(tmp_path):
    write_files(tmp_path, {
        'proc/self/ns/mnt': '-> mnt:[1]', 'proc/1/ns/mnt': '-> mnt:[1]', 'proc/9/ns/mnt': '-> mnt:[2]',
        'proc/1/mountinfo': ('1 0 8:1 / / rw shared:1 - foo /dev/a rw\n2 1 8:2 / /m rw shared:2 - foo /dev/b rw\n'
                             '3 2 8:3 / /m/b rw shared:3 - ext4 /dev/c rw\n4 1 8:4 / /mm rw - foo /dev/d rw\n'),
        # A slave of the host's /m goes with it; a private copy of /mm does not.
        'proc/9/mountinfo': ('7 0 8:1 / / rw master:1 - ext4 /dev/a rw\n8 7 8:2 / /m rw - foo /dev/b rw\n'
                             '9 3 8:4 / /mm rw shared:1 - foo /dev/d rw\n')})
    found = find_holders.find('foo', None, str(tmp_path))['mounts']
    assert shown(found, 'path', 'end_with') == [
        ('/', ''), ('/m', 'umount -R /m'), ('/mm', 'umount /mm'), ('/mm', 'nsenter -t 9 -m umount /mm')]


@pytest.mark.parametrize('argument', ['plain', '', 'a b', "it's", '$(reboot)', 'a\nb\\\x1b', 'ä\udcff', "a\n'b"])
def test_a_shell_reads_a_quoted_argument_as_it_was(argument):
    quoted = root_files.quoted(argument)
    assert quoted.isprintable()
    told = subprocess.run(['bash', '-c', "printf '%s.' " + quoted], stdout=subprocess.PIPE, check=True).stdout
    assert told == os.fsencode(argument) + b'.'
