# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds by kbuild: which compiler is told to make, how modules are signed, whether they suit the kernel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import builders
import pytest
from ansible_collections.kernelops.kmod.plugins.module_utils._collect import module_file, running_kernel, struct_module
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import unavailable
from ansible_collections.kernelops.kmod.plugins.module_utils._lib.elf import module_image
from kbuild_workshop import COMPILER, CONFIG, GCC_LINE, SIGN_FILE, Workshop, program


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    return Workshop(tmp_path, monkeypatch)


def clang_kernel(shop):
    builders.write(shop.kdir, '.config', 'CONFIG_CC_VERSION_TEXT="Debian clang version 14.0.6"\n')
    program(shop.bin / 'clang-14', COMPILER % (sys.executable, 'Debian clang version 14.0.6'))


@pytest.mark.parametrize(('linker', 'arguments'), [
    ('ld.lld-14', ['CC=clang-14', 'LLVM=-14']), ('ld.lld', ['CC=clang-14', 'LLVM=1'])])
def test_a_kernel_built_by_clang_is_built_for_with_llvm(linker, arguments, workshop):
    clang_kernel(workshop)
    program(workshop.bin / linker, '')
    compiler = workshop.build()['compiler']
    assert (compiler['llvm'], compiler['family'], compiler['version']) == (True, 'clang', '14.0.6')
    assert workshop.runs()[0]['arguments'][4:-1] == arguments


def test_clang_without_its_linker(workshop):
    clang_kernel(workshop)
    error = workshop.refused()
    assert 'clang-14 needs its linker, and the host has no ld.lld-14 or ld.lld' in str(error)
    assert error.facts['package'] == 'lld-14'


def test_the_compiler_asked_for_is_taken(workshop):
    program(workshop.bin / 'gcc-11', COMPILER % (sys.executable, 'gcc-11 (Debian 11.3.0-12) 11.3.0'))
    compiler = workshop.build(cc='gcc-11')['compiler']
    assert (compiler['cc'], compiler['version'], compiler['llvm'], compiler['reason']) == (
        'gcc-11', '11.3.0', False, 'asked for')
    assert 'CC=gcc-11' in workshop.runs()[0]['arguments']


def test_another_version_where_the_kernel_s_own_is_missing(workshop):
    (workshop.bin / 'gcc-12').rename(workshop.bin / 'gcc-12.broken')
    program(workshop.bin / 'gcc-11', COMPILER % (sys.executable, 'gcc-11 (Debian 11.3.0-12) 11.3.0'))
    compiler = workshop.build()['compiler']
    assert (compiler['cc'], compiler['same']) == ('gcc-11', False)
    assert compiler['reason'] == 'the kernel was built by gcc 12.2.0, and the host has gcc 11.3.0'


def test_a_compiler_that_cannot_be_run_is_named(workshop):
    program(workshop.bin / 'gcc-12', '#!%s\nimport sys\nsys.exit(3)\n' % sys.executable)
    assert 'gcc-12 --version ended with 3' in str(workshop.refused())


def test_a_kernel_of_another_machine_takes_the_compiler_with_its_prefix(workshop):
    other = 's390' if os.uname().machine != 's390x' else 'arm64'
    target = {'s390': 's390x-linux-gnu', 'arm64': 'aarch64-linux-gnu'}[other]
    builders.write(workshop.kdir, '.config', '#\n# Automatically generated file; DO NOT EDIT.\n'
                   '# Linux/%s 6.1.176 Kernel Configuration\n#\n%s' % (other, CONFIG))
    assert 'the kernel for %s was built by gcc 12.2.0' % other in str(workshop.refused())
    program(workshop.bin / (target + '-gcc-12'), COMPILER % (sys.executable, target + '-' + GCC_LINE))
    assert workshop.build()['compiler']['cc'] == target + '-gcc-12'
    assert workshop.runs()[0]['arguments'][4:-1] == [
        'CC=%s-gcc-12' % target, 'ARCH=' + other, 'CROSS_COMPILE=%s-' % target]


def test_headers_of_another_kernel_say_which_it_is(workshop):
    workshop.headers_of('6.1.0-50-amd64')
    workshop.makes('foo', release='6.1.0-50-amd64')
    workshop.in_tree('6.1.0-50-amd64')
    result = workshop.build(kernel_release=None)
    assert result['modules'][0]['vermagic'].startswith('6.1.0-50-amd64 ')


def test_a_module_is_signed_before_it_is_vetted(workshop):
    program(workshop.kdir / 'scripts/sign-file', SIGN_FILE)
    keys = {'sign_key': str(workshop.dest.parent / 'mok.key'), 'sign_cert': str(workshop.dest.parent / 'mok.pub')}
    for path in keys.values():
        builders.write(Path('/'), path.lstrip('/'), 'key')
    [module] = workshop.build(**keys)['modules']
    assert module['signed'] is True
    assert ('sha512 %(sign_key)s %(sign_cert)s' % keys).encode() in Path(module['path']).read_bytes()
    assert workshop.build(**keys)['changed'] is False
    for path in keys.values():
        Path(path).write_text('another')
        assert workshop.build(**keys)['changed'] is True


def test_a_failed_signature_is_an_error(workshop):
    program(workshop.kdir / 'scripts/sign-file', '#!%s\nimport sys\nsys.exit("no such key")\n' % sys.executable)
    for name in ('mok.key', 'mok.pub'):
        builders.write(workshop.dest.parent, name, '')
    error = workshop.refused(sign_key=str(workshop.dest.parent / 'mok.key'),
                             sign_cert=str(workshop.dest.parent / 'mok.pub'))
    assert 'Cannot sign foo.ko: sign-file ended with 1' in str(error)
    assert 'no such key' in str(error)
    assert not workshop.dest.exists()


RUNNING = os.uname().release


# id: (the running kernel's layout, words of the refusal or None)
LAYOUTS = {
    'the same': (dict(builders.LAYOUT, source='BTF'), None),
    'exit elsewhere': (dict(builders.LAYOUT, exit=864, source='BTF'),
                       'exit at 848 instead of 864. It loads without a word'),
    'another size': (dict(builders.LAYOUT, size=1280, source='BTF'), 'size 896 instead of 1280'),
    'unknown': (unavailable('no BTF'), None),
}


def facts_of_the_host(signatures='off'):
    return {'release': RUNNING, 'arch': os.uname().machine, 'module_signatures': signatures, 'config': {},
            'version_banner': 'Linux version %s (a@b) (%s) #1' % (RUNNING, GCC_LINE)}


@pytest.fixture
def running(workshop, monkeypatch):
    """Headers and a module for the kernel that runs."""
    monkeypatch.setattr(running_kernel, 'read', lambda *_root: facts_of_the_host())
    workshop.headers_of(RUNNING)
    workshop.makes('foo', release=RUNNING)
    workshop.in_tree(RUNNING)
    return workshop


@pytest.mark.parametrize(('layout', 'why'), LAYOUTS.values(), ids=list(LAYOUTS))
def test_a_module_for_the_running_kernel_has_its_layout(layout, why, running, monkeypatch):
    monkeypatch.setattr(struct_module, 'layout', lambda *_root: layout)
    if why is None:
        result = running.build(kernel_release=RUNNING)
        assert result['modules'][0]['verdict'] == 'match'
        assert result['warnings'] == []
    else:
        error = running.refused(kernel_release=RUNNING)
        assert 'foo.ko does not suit the kernel: struct module in the file has ' + why in str(error)
        assert not running.dest.exists()


def test_a_layout_that_is_not_known_is_a_warning(running, monkeypatch):
    monkeypatch.setattr(struct_module, 'layout', lambda *_root: unavailable('no BTF'))
    (running.modules / RUNNING / 'kernel/fs/vfat.ko').unlink()
    for dummy in range(2):
        result = running.build(kernel_release=RUNNING)
        assert result['modules'][0]['verdict'] == 'unknown'
        [warning] = result['warnings']
        assert warning.startswith(str(running.dest / 'foo.ko') + ': ')
        assert 'no BTF' in warning


def test_a_kernel_that_takes_signed_modules_only(running, monkeypatch):
    monkeypatch.setattr(running_kernel, 'read', lambda *_root: facts_of_the_host('enforced'))
    monkeypatch.setattr(struct_module, 'layout', lambda *_root: dict(builders.LAYOUT, source='BTF'))
    assert 'It has no signature' in running.build(kernel_release=RUNNING)['warnings'][0]


# id: (how the other kernel's own module is, words of the refusal or None)
OTHER_KERNELS = {
    'the same': ({}, None),
    'exit elsewhere': ({'layout': {'exit': 864}}, 'exit at 848 instead of 864'),
    'another size': ({'layout': {'size': 1280}}, 'size 896 instead of 1280'),
    'of another machine': ({'machine': 183}, None),
}


@pytest.mark.parametrize(('sample', 'why'), OTHER_KERNELS.values(), ids=list(OTHER_KERNELS))
def test_a_module_for_another_kernel_has_the_layout_of_that_one_s_modules(sample, why, workshop, monkeypatch):
    monkeypatch.setattr(struct_module, 'layout', lambda *_root: dict(builders.LAYOUT, size=1))
    workshop.in_tree(builders.RELEASE, **sample)
    # Neither of these says where both functions are.
    workshop.in_tree(builders.RELEASE, 'arch/aes.ko', layout={'exit': None, 'size': 2})
    workshop.in_tree(builders.RELEASE, 'arch/lib.ko', layout={'init': None, 'exit': None, 'size': 3})
    builders.write(workshop.modules, builders.RELEASE + '/kernel/arch/README', 'no module')
    if why is None:
        assert workshop.build()['modules'][0]['verdict'] == 'match'
    else:
        assert why in str(workshop.refused())
        assert not workshop.dest.exists()


@pytest.mark.parametrize(('spoil', 'why'), [
    (lambda path: path.unlink(), 'holds no module'),
    (lambda path: path.write_bytes(b'text'), 'none of 1 modules in '),
    (lambda path: path.write_bytes(builders.module_image(layout={'exit': None})), 'none of 1 modules in '),
], ids=['no module', 'a damaged one', 'none with both functions'])
def test_another_kernel_without_a_module_to_compare_with(spoil, why, workshop):
    spoil(workshop.modules / builders.RELEASE / 'kernel/fs/vfat.ko')
    result = workshop.build()
    assert (result['modules'][0]['verdict'], result['modules'][0]['severity']) == ('unknown', 'warning')
    assert 'this host runs another kernel, and ' in result['warnings'][0]
    assert why in result['warnings'][0]


def test_a_module_for_a_kernel_with_other_flags_is_refused(workshop):
    workshop.makes('bar', machine=3)
    assert 'bar.ko does not suit the kernel: it is a ' in str(workshop.refused())


def test_headers_that_do_not_say_their_release_are_taken(workshop):
    (workshop.kdir / 'include/generated/utsrelease.h').unlink()
    assert workshop.build()['changed'] is True


# --- a real signature ---------------------------------------------------------------------------------------------

# Where a host has kbuild's own signer: Debian's package, other distributions' headers, the lab's images.
SIGNERS = (
    (Path('/'), 'usr/lib/linux-kbuild-*/scripts/sign-file'), (Path('/'), 'usr/src/kernels/*/scripts/sign-file'),
    (Path.home(), '.cache/kernelops-kmod-lab/images/*/rootfs/usr/lib/linux-kbuild-*/scripts/sign-file'),
)


def a_signer():
    for path in [path for top, pattern in SIGNERS for path in sorted(top.glob(pattern))]:
        # Without arguments it shows its usage; one that lacks its libcrypto does not get as far.
        if b'Usage' in subprocess.run([str(path)], stderr=subprocess.PIPE, check=False).stderr:
            return path
    return None


SIGNER = a_signer()


@pytest.mark.skipif(not (SIGNER and shutil.which('openssl') and shutil.which('modinfo')),
                    reason='needs the sign-file of some kernel headers, openssl and modinfo')
@pytest.mark.parametrize('form', ['DER', 'PEM'])
def test_modinfo_names_the_key_that_a_module_is_signed_with(form, workshop):
    image = module_image.load(str(builders.MODULE_FILES / 'healthy-6.1.ko.xz'))
    release = module_file.describe(image, 'healthy')['release']
    workshop.headers_of(release)
    (workshop.outcome / 'foo.ko').unlink()
    (workshop.outcome / 'healthy.ko').write_bytes(image)
    (workshop.kdir / 'scripts').mkdir()
    (workshop.kdir / 'scripts/sign-file').symlink_to(SIGNER)
    # As DKMS makes its own: /var/lib/dkms/mok.key and mok.pub, which is DER.
    key, cert = str(workshop.dest.parent / 'mok.key'), str(workshop.dest.parent / 'mok.pub')
    subprocess.run(['openssl', 'req', '-new', '-x509', '-nodes', '-days', '36500', '-newkey', 'rsa:2048', '-subj',
                    '/CN=the key of this test', '-keyout', key, '-out', cert, '-outform', form],
                   check=True, stderr=subprocess.DEVNULL)
    [module] = workshop.build(kernel_release=release, sign_key=key, sign_cert=cert)['modules']
    assert module['signed'] is True

    def told(field):
        return subprocess.run(['modinfo', '-F', field, module['path']], stdout=subprocess.PIPE, check=True,
                              env={'LC_ALL': 'C', 'PATH': os.environ['PATH']}).stdout.decode().strip()

    assert told('signer') == 'the key of this test'
    assert told('sig_hashalgo') == 'sha512'
    assert told('sig_id') == 'PKCS#7'
    # What the kernel loads is what was built: the signature is behind it.
    assert Path(module['path']).read_bytes().startswith(image)
