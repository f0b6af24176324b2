# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hostile local user or a hostile module could do, as SECURITY.md has it; the helper's file is in test_reset.

Whoever runs these tests stands for root, and what is foreign belongs to user 1000.
"""

import hashlib
import json
import os
import stat
from pathlib import Path

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import build, load
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError
from ansible_collections.kernelops.kmod.plugins.module_utils._lib import trust
from kbuild_workshop import Workshop

EVIL = b'not what was built\n'


@pytest.fixture
def owners(monkeypatch):
    found = builders.Owners()
    found.geteuid = lambda: 0
    monkeypatch.setattr(trust, 'os', found)
    monkeypatch.setattr(build.os, 'geteuid', lambda: 0)
    monkeypatch.delenv('SUDO_UID', raising=False)
    return found


@pytest.fixture
def workshop(tmp_path, monkeypatch, owners):  # noqa: ARG001 - owners first
    return Workshop(tmp_path, monkeypatch)


def refused(workshop, words, **options):
    """The error of a build that was refused before anything of it ran, and left all as it was."""
    before = workshop.left()
    with pytest.raises(KmodError, match=words) as caught:
        workshop.build(**options)
    assert not workshop.log.exists()
    assert workshop.left() == before
    return caught.value


# --- kmod_build runs as root what lies in its sources ---------------------------------------------------------------

# id: what is foreign
FOREIGN = {
    'the sources': lambda shop: shop.src, 'a source': lambda shop: shop.src / 'foo.c',
    'the directory above': lambda shop: shop.src.parent, 'the headers': lambda shop: shop.kdir,
    'a directory of the sources': lambda shop: shop.src / 'sub',
}


@pytest.mark.parametrize('what', FOREIGN)
def test_sources_of_another_user_are_not_built_by_root(what, workshop, owners):
    (workshop.src / 'sub').mkdir()
    owners.foreign = [FOREIGN[what](workshop)]
    error = refused(workshop, 'others than root could change what is built: .* it belongs to user 1000')
    assert error.next_step


def test_sources_of_who_became_root_by_sudo_are_built(workshop, owners, monkeypatch):
    owners.foreign = [workshop.src, workshop.src / 'foo.c']
    monkeypatch.setenv('SUDO_UID', '1000')
    assert workshop.build()['changed']


@pytest.mark.parametrize('caller', ['', 'root', '-1', '1000x', '9' * 30])
def test_a_strange_caller_is_trusted_no_more(caller, monkeypatch):
    monkeypatch.setenv('SUDO_UID', caller)
    assert trust.owners() == {0, os.geteuid()}


@pytest.mark.parametrize('mode', [0o777, 0o1777, 0o757], ids=oct)
@pytest.mark.parametrize('what', ['src', 'dest'])
def test_a_world_writable_directory_is_neither_built_in_nor_into(what, mode, workshop):
    directory = getattr(workshop, what)
    directory.mkdir(exist_ok=True)
    directory.chmod(mode)
    refused(workshop, 'everyone can write it')


def test_a_world_writable_source_is_not_built(workshop):
    (workshop.src / 'foo.c').chmod(0o646)
    refused(workshop, r'foo.c: everyone can write it \(mode 646\)')


def test_a_source_that_is_a_link_is_judged_by_where_it_leads(workshop, owners, tmp_path):
    (tmp_path / 'elsewhere.h').write_text('')
    owners.foreign = [tmp_path / 'elsewhere.h']
    (workshop.src / 'linked.h').symlink_to(tmp_path / 'elsewhere.h')
    refused(workshop, 'elsewhere.h: it belongs to user 1000')


def test_what_lies_behind_a_link_is_judged_too(workshop, owners, tmp_path):
    builders.write(tmp_path, 'shared/inc/deep.h', '')
    (workshop.src / 'inc').symlink_to(tmp_path / 'shared/inc')
    owners.foreign = [tmp_path / 'shared/inc/deep.h']
    refused(workshop, 'inc/deep.h: it belongs to user 1000')


def test_a_link_into_a_directory_of_another_user_is_not_followed(workshop, owners, tmp_path):
    builders.write(tmp_path, 'shared/deep.h', '')
    (workshop.src / 'linked.h').symlink_to(tmp_path / 'shared/deep.h')
    owners.foreign = [tmp_path / 'shared']
    refused(workshop, 'shared: it belongs to user 1000')


def test_another_users_sources_are_that_users_own_matter(workshop, owners, monkeypatch):
    monkeypatch.setattr(build.os, 'geteuid', lambda: 1000)
    owners.foreign = [workshop.src]
    assert workshop.build()['changed']


# --- the cache: dest and its stamp ----------------------------------------------------------------------------------

def rebuilt(workshop):
    """Whether the next run builds again, and so does not trust what it found."""
    return workshop.build()['changed']


def hostile_stamp(workshop):
    """A stamp that claims another file to be what was built."""
    path = workshop.dest / trust.STAMP
    stamp = json.loads(path.read_text())
    (workshop.dest / 'foo.ko').write_bytes(EVIL)
    stamp['modules'][0]['sha256'] = hashlib.sha256(EVIL).hexdigest()
    return path, json.dumps(stamp)


def by_link(workshop, owners, path, text):  # noqa: ARG001 - as the others
    path.unlink()
    (workshop.dest.parent / 'elsewhere.json').write_text(text)
    path.symlink_to(workshop.dest.parent / 'elsewhere.json')


def of_another_user(workshop, owners, path, text):  # noqa: ARG001
    path.write_text(text)
    owners.foreign = [path]


def world_writable(workshop, owners, path, text):  # noqa: ARG001
    path.write_text(text)
    path.chmod(0o666)


def a_pipe(workshop, owners, path, text):  # noqa: ARG001
    path.unlink()
    os.mkfifo(str(path))


def huge(workshop, owners, path, text):  # noqa: ARG001
    path.write_text(text + ' ' * build.LARGEST_STAMP)


@pytest.mark.parametrize('plant', [by_link, of_another_user, world_writable, a_pipe, huge])
def test_a_planted_stamp_is_not_believed(plant, workshop, owners):
    workshop.build()
    path, text = hostile_stamp(workshop)
    plant(workshop, owners, path, text)
    assert rebuilt(workshop)
    assert (workshop.dest / 'foo.ko').read_bytes() != EVIL
    assert not path.is_symlink()
    owners.foreign = []
    assert not rebuilt(workshop)


def test_the_stamp_that_is_its_own_is_believed(workshop):
    workshop.build()
    path, text = hostile_stamp(workshop)
    path.write_text(text)
    assert not rebuilt(workshop), 'the test above could not fail'


def test_a_built_file_that_was_swapped_for_a_link_is_built_again(workshop, tmp_path):
    workshop.build()
    built = workshop.dest / 'foo.ko'
    (tmp_path / 'same.ko').write_bytes(built.read_bytes())
    built.unlink()
    built.symlink_to(tmp_path / 'same.ko')
    assert rebuilt(workshop)
    assert not built.is_symlink()
    assert (tmp_path / 'same.ko').exists()


def test_a_link_in_the_place_of_what_is_written_is_replaced_and_not_followed(workshop, tmp_path):
    victim = tmp_path / 'victim'
    victim.write_bytes(b'precious')
    workshop.dest.mkdir()
    for name in ('foo.ko', trust.STAMP):
        (workshop.dest / name).symlink_to(victim)
    assert workshop.build()['changed']
    assert victim.read_bytes() == b'precious'
    assert not any((workshop.dest / name).is_symlink() for name in ('foo.ko', trust.STAMP))


def test_the_private_directory_is_for_its_owner_alone(workshop, monkeypatch):
    seen = []
    make = build.run

    def run(command, timeout, tried):
        tree = next(word for word in command if word.startswith('M='))[2:]
        seen.append(stat.S_IMODE(Path(tree).parent.stat().st_mode))
        return make(command, timeout, tried)

    monkeypatch.setattr(build, 'run', run)
    workshop.build()
    assert seen == [0o700]


# --- kmod_load loads the very bytes that it judged ------------------------------------------------------------------

@pytest.mark.parametrize('mode', [0o666, 0o646], ids=oct)
def test_a_module_file_that_everyone_can_write_is_not_loaded(mode, tmp_path):
    (tmp_path / 'foo.ko').write_bytes(b'')
    (tmp_path / 'foo.ko').chmod(mode)
    with pytest.raises(KmodError, match='others than its owner could have written it: .*everyone can write it'):
        load.read_file(str(tmp_path / 'foo.ko'))


def test_a_module_file_in_a_directory_that_everyone_can_write_is_not_loaded(tmp_path):
    (tmp_path / 'open').mkdir()
    (tmp_path / 'open/foo.ko').write_bytes(b'')
    (tmp_path / 'open').chmod(0o777)
    with pytest.raises(KmodError, match='/open: everyone can write it'):
        load.read_file(str(tmp_path / 'open/foo.ko'))


# --- who could have written a file ----------------------------------------------------------------------------------

def entry(mode, owner=0, group=0):
    return os.stat_result((mode, 1, 1, 1, owner, group, 0, 0, 0, 0))


FILE, DIRECTORY = stat.S_IFREG, stat.S_IFDIR
# id: (mode, owner, group): (trusted, sticky): words of the fault, or None
ENTRIES = {
    'root alone': (entry(FILE | 0o644), {0}, False, None),
    'another user': (entry(FILE | 0o644, 1000), {0}, False, 'it belongs to user 1000'),
    'another user, any will do': (entry(FILE | 0o644, 1000), None, False, None),
    'a trusted user': (entry(FILE | 0o644, 1000), {0, 1000}, False, None),
    'everyone': (entry(FILE | 0o646), None, False, 'everyone can write it (mode 646)'),
    'like /tmp': (entry(DIRECTORY | 0o1777), {0}, True, None),
    'like /tmp, but of another': (entry(DIRECTORY | 0o1777, 1000), {0}, True, 'it belongs to user 1000'),
    'like /tmp, where that will not do': (entry(DIRECTORY | 0o1777), {0}, False, 'everyone can write it (mode 1777)'),
    'a group': (entry(FILE | 0o664, 0, 50), {0}, False, 'the group 50 can write it (mode 664)'),
    "the owner's own group": (entry(FILE | 0o664, 1000, 1000), {1000}, False, None),
    "root's group": (entry(FILE | 0o664, 1000, 0), {1000}, False, None),
}


@pytest.mark.parametrize('case', ENTRIES)
def test_fault(case):
    found, trusted, sticky, why = ENTRIES[case]
    assert trust.fault(found, trusted, sticky) == why


def test_what_is_not_there_yet_is_judged_by_the_directories_above(tmp_path, owners):
    assert trust.fault_of_path(str(tmp_path / 'a/b/c'), {0}) is None
    owners.foreign = [tmp_path]
    assert trust.fault_of_path(str(tmp_path / 'a/b/c'), {0}) == f'{tmp_path}: it belongs to user 1000'


def test_a_limit_takes_no_memory(tmp_path):
    path = tmp_path / 'small'
    path.write_bytes(b'small')
    assert trust.read(str(path), None, 1 << 60) == b'small'
