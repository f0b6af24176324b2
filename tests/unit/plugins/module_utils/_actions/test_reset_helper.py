# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper file: whose it must be, what it was when it was built, for which kernel and of which version."""

import hashlib
import json
import lzma
import os
from pathlib import Path

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import compiled_helper
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import trust

IMAGE = builders.module_image()
DIGEST = hashlib.sha256(IMAGE).hexdigest()


@pytest.fixture
def owners(monkeypatch):
    found = builders.Owners()
    monkeypatch.setattr(trust, 'os', found)
    return found


@pytest.fixture
def helper(tmp_path):
    """The path of a helper that root alone could have written."""
    directory = tmp_path / 'kmod_reset'
    directory.mkdir(mode=0o755)
    path = directory / 'kmod_reset.ko'
    path.write_bytes(IMAGE)
    path.chmod(0o644)
    return path


def no_file(path):
    path.unlink()


def no_directory(path):
    path.unlink()
    path.parent.rmdir()


def symlink(path):
    path.rename(path.with_suffix('.real'))
    path.symlink_to(path.with_suffix('.real'))


def directory(path):
    path.unlink()
    path.mkdir()


def fifo(path):
    path.unlink()
    os.mkfifo(str(path))


def huge(path):
    with path.open('ab') as stream:
        stream.truncate(compiled_helper.LIMIT + 1)


# id: (what is done to the file, words of the refusal)
UNTRUSTED = {
    'missing': (no_file, 'No such file'),
    'its directory missing': (no_directory, 'No such file'),
    'a symbolic link': (symlink, 'symbolic links'),
    'a directory': (directory, 'no regular file'),
    'a fifo': (fifo, 'no regular file'),
    'huge': (huge, 'it has [0-9]+ bytes'),
    'group-writable': (lambda path: path.chmod(0o664), 'the group 0 can write it .*mode 664'),
    'world-writable': (lambda path: path.chmod(0o646), 'everyone can write it .*mode 646'),
    'in a group-writable directory': (lambda path: path.parent.chmod(0o775), '/kmod_reset: the group 0 can write it'),
    'in a world-writable directory': (lambda path: path.parent.chmod(0o777), '/kmod_reset: everyone can write it'),
    'below a world-writable directory': (lambda path: path.parent.parent.chmod(0o777), 'everyone can write it'),
}


def test_a_helper_of_root_is_read(owners, helper):
    assert owners.foreign == []
    assert compiled_helper.read_helper(str(helper)) == IMAGE


def test_a_sticky_directory_that_all_may_write_is_as_good_as_tmp(owners, helper):
    helper.parent.chmod(0o1777)
    assert owners.foreign == []
    assert compiled_helper.read_helper(str(helper)) == IMAGE


@pytest.mark.usefixtures('owners')
@pytest.mark.parametrize(('spoil', 'why'), UNTRUSTED.values(), ids=list(UNTRUSTED))
def test_an_untrusted_helper_is_refused(spoil, why, helper):
    spoil(helper)
    with pytest.raises(KmodError, match=why) as caught:
        compiled_helper.read_helper(str(helper))
    assert str(caught.value).startswith('Cannot use the helper %s: ' % helper)
    assert 'kernelops.kmod.force_unload' in caught.value.next_step


@pytest.mark.parametrize('level', [0, 1, 2], ids=['file', 'directory', 'directory above'])
def test_what_belongs_to_another_user_is_refused(level, owners, helper):
    owners.foreign = [([helper] + list(helper.parents))[level]]
    with pytest.raises(KmodError, match='it belongs to user 1000'):
        compiled_helper.read_helper(str(helper))


def test_a_link_among_the_directories_is_judged_by_where_it_leads(owners, helper, tmp_path):
    (tmp_path / 'link').symlink_to(helper.parent)
    through = str(tmp_path / 'link' / helper.name)
    assert compiled_helper.read_helper(through) == IMAGE
    owners.foreign = [helper.parent]
    with pytest.raises(KmodError, match='/kmod_reset: it belongs to user 1000'):
        compiled_helper.read_helper(through)


def test_no_descriptor_stays_open(owners, helper):
    before = sum(1 for dummy in Path('/proc/self/fd').iterdir())
    compiled_helper.read_helper(str(helper))
    for spoil in (directory, no_file):
        owners.foreign = []
        with pytest.raises(KmodError):
            compiled_helper.read_helper(str(spoiled(helper, spoil)))
    assert sum(1 for dummy in Path('/proc/self/fd').iterdir()) == before


def spoiled(helper, spoil):
    path = helper.with_name(spoil.__name__)
    path.write_bytes(IMAGE)
    spoil(path)
    return path


# id: (how the helper was built, the kernel, its layout, words of the refusal or None)
FIT = {
    'fits': ({}, {}, builders.LAYOUT, None),
    'layout unknown': ({'layout': {'exit': 864}}, {}, unavailable('no BTF'), None),
    'signed': ({'signed': True}, {'module_signatures': 'enforced'}, builders.LAYOUT, None),
    'unsigned where none is enforced': ({}, {'module_signatures': 'permissive'}, builders.LAYOUT, None),
    'another release': ({'release': '6.1.0-50-amd64'}, {}, builders.LAYOUT,
                        'built for 6.1.0-50-amd64 on x86_64, and this is 6.1.0-56-amd64 on x86_64'),
    'a release that only begins like it': ({'release': builders.RELEASE + '1'}, {}, builders.LAYOUT, 'built for'),
    'another machine': ({'machine': 183}, {}, builders.LAYOUT, 'on aarch64, and this is .* on x86_64'),
    'another size': ({'layout': {'size': 1280}}, {}, builders.LAYOUT, 'has size at 1280, the running kernel\'s at 896'),
    'init elsewhere': ({'layout': {'init': 304}}, {}, builders.LAYOUT, 'has init at 304, .* 312'),
    'exit elsewhere': ({'layout': {'exit': 864}}, {}, builders.LAYOUT, 'has exit at 864, .* 848'),
    'unsigned where enforced': ({}, {'module_signatures': 'enforced'}, builders.LAYOUT,
                                'signatures \\(lockdown=none\\)'),
    'unsigned under lockdown': ({}, {'module_signatures': 'enforced', 'lockdown': 'integrity'}, builders.LAYOUT,
                                'lockdown=integrity'),
    'unsigned, lockdown unknown': ({}, {'module_signatures': 'enforced', 'lockdown': unavailable('no securityfs')},
                                   builders.LAYOUT, 'lockdown=unknown'),
}


@pytest.mark.usefixtures('owners')
@pytest.mark.parametrize('row', FIT.values(), ids=list(FIT))
def test_the_helper_must_be_built_for_this_very_kernel(row, helper):
    built, kernel, layout, why = row
    image = builders.module_image(**built)
    helper.write_bytes(image)
    if why is None:
        assert compiled_helper.vet_helper(str(helper), builders.kernel(**kernel), layout) == image
        return
    with pytest.raises(KmodError, match=why) as caught:
        compiled_helper.vet_helper(str(helper), builders.kernel(**kernel), layout)
    assert str(caught.value).startswith('Cannot use the helper ')
    assert caught.value.next_step.startswith('Build it ')


@pytest.mark.usefixtures('owners')
@pytest.mark.parametrize('interface', ['', '1', '3', '40'])
def test_a_helper_of_another_version_is_refused(interface, helper):
    helper.write_bytes(builders.module_image(interface=interface))
    with pytest.raises(KmodError, match='built from another version of this collection. Build it again') as caught:
        compiled_helper.vet_helper(str(helper), builders.kernel(), builders.LAYOUT)
    assert str(caught.value).startswith('Cannot use the helper ')


@pytest.mark.usefixtures('owners')
def test_a_real_helper_of_the_first_version_is_refused(helper):
    helper.write_bytes(lzma.decompress((builders.MODULE_FILES / 'kmod_reset-6.1.ko.xz').read_bytes()))
    with pytest.raises(KmodError, match='another version of this collection'):
        compiled_helper.vet_helper(str(helper), builders.kernel(), builders.LAYOUT)


def test_the_version_is_that_of_the_source():
    header = (builders.CAPTURES.parents[2] / 'roles/force_unload/files/kmod_reset/kmod_reset.h').read_text()
    assert '#define INTERFACE\t"%s"' % compiled_helper.INTERFACE.decode().strip('interfac=\0') in header
    assert '#define REPORT_MAGIC\t0x%x' % compiled_helper.MAGIC in header


def stamp(helper, text=None, *, mode=0o644, digest=DIGEST, name='kmod_reset.ko'):
    path = helper.parent / trust.STAMP
    path.write_text(text or json.dumps({'wanted': {}, 'modules': [{'path': '/srv/%s' % name, 'sha256': digest}]}))
    path.chmod(mode)


@pytest.mark.usefixtures('owners')
@pytest.mark.parametrize('noted', [{}, {'name': 'other.ko', 'digest': 'f' * 64}], ids=['its own', 'of another file'])
def test_the_file_that_was_built_is_read(noted, helper):
    stamp(helper, **noted)
    assert compiled_helper.read_helper(str(helper)) == IMAGE


# id: (the stamp beside it, words of the refusal)
STAMPS = {
    'of another file': ({'digest': 'f' * 64}, 'not what was built'),
    'writable for others': ({'mode': 0o666}, 'by its stamp .*everyone can write it'),
    'no JSON': ({'text': '{'}, 'stamp .* is damaged'),
    'of another shape': ({'text': '[]'}, 'stamp .* is damaged'),
    'without a digest': ({'text': '{"modules": [{"path": "/srv/kmod_reset.ko"}]}'}, 'stamp .* is damaged'),
}


@pytest.mark.usefixtures('owners')
@pytest.mark.parametrize(('noted', 'why'), STAMPS.values(), ids=list(STAMPS))
def test_another_file_than_was_built_is_refused(noted, why, helper):
    stamp(helper, **noted)
    with pytest.raises(KmodError, match=why):
        compiled_helper.read_helper(str(helper))


@pytest.mark.usefixtures('owners')
def test_a_helper_that_was_cut_short_is_refused(helper):
    stamp(helper)
    helper.write_bytes(IMAGE[:-8])
    with pytest.raises(KmodError, match='another SHA-256'):
        compiled_helper.read_helper(str(helper))


@pytest.mark.usefixtures('owners')
def test_a_helper_that_is_no_module_is_refused(helper):
    helper.write_bytes(b'#!/bin/sh\n' + compiled_helper.INTERFACE)
    with pytest.raises(KmodError, match='no ELF file'):
        compiled_helper.vet_helper(str(helper), builders.kernel(), builders.LAYOUT)


def test_where_the_role_puts_it():
    assert compiled_helper.helper_path('6.1.0-56-amd64') == '/var/lib/kmod_reset/6.1.0-56-amd64/kmod_reset.ko'


@pytest.mark.parametrize('other', [
    {'release': '6.1.0-99-amd64'}, {'arch': 'aarch64'}, {'version_banner': 'Linux version 6.1 (gcc-13) #2 SMP'},
    {'config': {'CONFIG_SMP': 'y', 'CONFIG_MODVERSIONS': 'y'}}, {'config': unavailable('no file')},
], ids=lambda other: next(iter(other)))
def test_one_build_serves_hosts_of_one_kernel_alone(other):
    here = compiled_helper.fitting(builders.kernel(), builders.LAYOUT)
    assert here == compiled_helper.fitting(builders.kernel(taint=1, lockdown='integrity'),
                                           dict(builders.LAYOUT, source='file'))
    assert here != compiled_helper.fitting(builders.kernel(**other), builders.LAYOUT)
    for key in ('size', 'init', 'exit'):
        assert here != compiled_helper.fitting(builders.kernel(), dict(builders.LAYOUT, **{key: 8}))
    assert here != compiled_helper.fitting(builders.kernel(), unavailable('no BTF'))
