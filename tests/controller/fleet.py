# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet answers to the playbook audit, and its report and page, made by Ansible's own template engine."""

import json

import builders
from engine import rendered

TEMPLATES = builders.CAPTURES.parents[2] / 'playbooks/templates'
GCC_12 = {'family': 'gcc', 'version': '12.2.0', 'vendor': 'Debian 12.2.0-14+deb12u1',
          'banner': 'gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0'}
GCC_13 = dict(GCC_12, version='13.2.0', vendor='Debian 13.2.0-25', banner='gcc-13 (Debian 13.2.0-25) 13.2.0')
CLANG = {'family': 'clang', 'version': '19.1.7', 'vendor': '', 'banner': 'clang version 19.1.7'}
LAYOUTS = {'6.1.0-56-amd64': {'size': 896, 'init': 312, 'exit': 848, 'source': 'btf'},
           '6.12.90+deb13-amd64': {'size': 1280, 'init': 312, 'exit': 1200, 'source': 'btf'},
           '7.3.1+deb13-arm64': {'unavailable': '/sys/kernel/btf/vmlinux: No such file or directory'}}
HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)>"\'&{{ 1 + 1 }}{% raw %}'


def told(release, modules, arch='x86_64', present=True):
    """What kmod_facts registers: modules are (verdict, method, reason, next) by name."""
    found = {name: {'state': 'live', 'refcount': 0, 'taint': 'OE', 'diagnosis': {
        'verdict': verdict, 'method': method, 'reason': reason, 'next': following, 'hazards': []}}
        for name, (verdict, method, reason, following) in modules.items()}
    kernel = {'release': release, 'arch': arch, 'loader': 'ok',
              'headers': {'dir': '/lib/modules/%s/build' % release, 'present': present}}
    return {'changed': False, 'ansible_facts': {'kmod': {'kernel': kernel, 'modules': found}}}


def compared(release, modules, compiler=None, recommended='gcc-12', arch='x86_64', present=True):
    """What kmod_toolchain_facts registers for one scope."""
    choice = {'cc': recommended, 'reason': 'the kernel was built by gcc 12.2.0'} if recommended else \
        {'unavailable': 'the host has no gcc'}
    return {'changed': False, 'ansible_facts': {'kmod_toolchain': {
        'kernel': {'release': release, 'arch': arch, 'compiler': compiler or GCC_12, 'layout': LAYOUTS[release],
                   'vermagic': release + ' SMP preempt mod_unload modversions '},
        'compilers': [], 'recommended_compiler': choice, 'modules': modules,
        'headers': {'dir': '/lib/modules/%s/build' % release, 'present': present},
        'mismatched': [name for name, file in modules.items() if file['severity'] == 'error']}}}


def file(verdict='match', severity='ok', reason='', path='kernel/drivers/x.ko', compilers=(GCC_12,), loaded=True):
    """One module file as kmod_toolchain_facts describes it."""
    return {'file': path, 'compilers': list(compilers), 'vermagic': '', 'verdict': verdict, 'severity': severity,
            'reason': reason, 'loaded': loaded, 'layout': {'size': 896, 'init': 312, 'exit': 848}}


def cure(name):
    """The command that kmod_facts names."""
    return 'ansible HOST -b -m kernelops.kmod.kmod_force_unload -a name=' + name


def playbook(name):
    """The command that kmod_facts names where the helper has to be built."""
    return "ansible-playbook kernelops.kmod.force_unload -l HOST -e '{force_unload_names: [%s]}'" % name


IDLE = ('unloadable', 'plain', 'x is live and unused.', 'nothing')
BUSY = ('in_use_unknown', 'none', 'x has 1 reference; who holds it was not looked for: ask for x by name.',
        'Find and end what uses it, then unload it again')
NO_POINTER = ('nicdrv has an exit function, but the kernel finds no pointer to it: the module was built with another '
              'layout of struct module than the running kernel has.')
LOST = ('exit_lost', 'reset', NO_POINTER, cure('nicdrv'))
DIED = ('init_died', 'park', 'The init of sensor died: kernel NULL pointer dereference in f_init.', playbook('sensor'))
PADDED = 'exit at 864 instead of 848: the module loads without a word, finds no exit, and never goes.'
PLAIN = {'ext4': BUSY, 'dummy': IDLE, 'virtio_net': BUSY, 'crc16': IDLE}
IN_TREE = {name: file(path='kernel/%s.ko' % name) for name in PLAIN}


def fleet():
    """Six hosts, three kernels: a layout mismatch, a death in init, other compilers, hostile text, two silent hosts."""
    old, new, arm = LAYOUTS
    mismatch = {'nicdrv': file('layout_mismatch', 'error', PADDED, '/opt/nic/nicdrv.ko', [GCC_12])}
    scanner = {'scanner': file('compiler_differs', 'warning', 'Built by gcc 13.2.0, the kernel by gcc 12.2.0; the '
                               'layout is the same, so it will unload.', 'updates/dkms/scanner.ko', [GCC_13])}
    later = {'later': file('vermagic_differs', 'error', 'Built for 6.1.0-49-amd64: the kernel refuses it.',
                           'updates/later.ko', [GCC_12, CLANG], loaded=False)}
    odd = {'odd': file('compiler_differs', 'warning', HOSTILE, HOSTILE,
                       [dict(GCC_13, version=HOSTILE, banner=HOSTILE)])}
    answers = {
        'web1': (told(old, dict(PLAIN, nicdrv=LOST)), [compared(old, dict(IN_TREE, **mismatch)), compared(old, {})]),
        'web2': (told(old, dict(PLAIN, nicdrv=LOST), present=False),
                 [compared(old, dict(IN_TREE, **mismatch), present=False),
                  compared(old, later, recommended='', present=False)]),
        'db1': (told(new, dict(PLAIN, sensor=DIED, scanner=IDLE)), [compared(new, dict(IN_TREE, **scanner), GCC_13)]),
        'edge1': (told(arm, dict(PLAIN, odd=('no_exit', 'reset', 'odd ' + HOSTILE, 'Read ' + HOSTILE)), 'aarch64'),
                  [compared(arm, dict(IN_TREE, **odd), CLANG, 'clang-19', 'aarch64')]),
        'edge2': (told(arm, PLAIN, 'aarch64'), [{'failed': True, 'msg': 'Failed to import pyelftools ' + HOSTILE}]),
        'gone<b>': ({'unreachable': True, 'msg': 'Failed to connect to the host via ssh:\n  no route ' + HOSTILE}, []),
    }
    return {host: {'audit_modules': about, 'audit_files': {'results': files}}
            for host, (about, files) in answers.items()}


def template(name, hosts, **variables):
    """What comes of a template of the playbook."""
    return rendered(TEMPLATES / name, dict(variables, ansible_play_hosts_all=list(hosts), hostvars=hosts))


def report_of(hosts):
    """The report as it is written."""
    text = template('audit.json.j2', hosts)
    # Before 2.19 a template that prints JSON gives what it says.
    return json.loads(text) if isinstance(text, str) else text


def page_of(hosts):
    """The page as it is written."""
    return template('audit.html.j2', hosts, audit_report=report_of(hosts))
