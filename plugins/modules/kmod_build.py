# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r'''
module: kmod_build
short_description: Build out-of-tree kernel modules on the host that will run them
version_added: 0.1.0
description:
  - Builds the modules in a directory with kbuild, against the headers of one kernel, with the compiler that built that
    kernel where the host has it.
  - Builds in a private copy. A build that fails leaves O(dest) as it was.
  - Judges what came out against the kernel it is for. The layout of C(struct module), the vermagic and the compiler are
    compared with the running kernel, or for another kernel with a module that came with it. A module that the kernel
    would refuse, or would load and never let go, fails here. One that may be trouble is a warning.
  - Builds again only where the sources, the kernel's configuration, the compiler or the options changed.
author:
  - kernelops.kmod contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.kmod.attributes
options:
  src:
    description:
      - Directory on the host with the sources and a C(Kbuild) or C(Makefile) that has C(obj-m) in it.
      - Several objects to a module and several modules to a directory work as kbuild has them.
      - Either this or O(files) is required to build.
    type: path
  files:
    description:
      - The sources themselves, each file's text by its name, all in one directory; one is C(Kbuild) or C(Makefile).
      - Nothing of them is left on the host. Needs O(dest).
      - What they include from elsewhere on the host is built, but a change of it is not seen.
    type: dict
    version_added: 0.2.0
  dest:
    description:
      - Directory that the built modules are put into. The default is O(src).
    type: path
  kernel_release:
    description:
      - The kernel to build for, as C(uname -r) prints it. The default is the kernel of O(kdir), or without that the
        running kernel.
    type: str
  kdir:
    description:
      - The headers to build against. The default is C(/lib/modules/RELEASE/build).
    type: path
  cc:
    description:
      - The compiler. The default is the one that built the kernel, or else the nearest version of its family that the
        host has, in the C(PATH) or in Red Hat's C(devtoolset) and C(gcc-toolset).
      - A kernel built by clang is built for with C(LLVM=1), or with C(LLVM=-14) by C(clang-14) with C(ld.lld-14).
      - For headers of another machine, such as C(arm64), it is the compiler with that machine's prefix.
    type: str
  make_args:
    description:
      - Further arguments of C(make), such as V(CONFIG_DEBUG_INFO=).
    type: list
    elements: str
    default: []
  jobs:
    description:
      - How many compilers run at once. The default is the number of processors.
    type: int
  sign_key:
    description:
      - Private key to sign the modules with, such as DKMS's C(/var/lib/dkms/mok.key). Needs O(sign_cert).
    type: path
  sign_cert:
    description:
      - Certificate for O(sign_key), such as C(/var/lib/dkms/mok.pub).
    type: path
  timeout:
    description:
      - Seconds that the build may take.
    type: float
    default: 600
  state:
    description:
      - V(built) builds; V(clean) removes from O(dest) what an earlier run put there.
    type: str
    choices: [built, clean]
    default: built
notes:
  - Needs C(make), a compiler and the kernel's headers on the host; says which package is missing.
  - Shown on Debian's kernels 5.10, 6.1, 6.12 and 7.3 for x86-64, and 6.1 and 6.12 for AArch64.
  - Signing was not tested on a kernel that enforces it.
seealso:
  - module: kernelops.kmod.kmod_force_unload
'''

EXAMPLES = r'''
- name: Build the helper for the running kernel, without debug information
  kernelops.kmod.kmod_build:
    src: /usr/local/src/kmod_reset
    dest: /var/lib/kmod_reset/{{ ansible_facts.kernel }}
    make_args: [CONFIG_DEBUG_INFO_BTF_MODULES=, CONFIG_DEBUG_INFO=]

- name: Build all modules of a directory for another kernel that is installed, signed with the key of DKMS
  kernelops.kmod.kmod_build:
    src: /usr/local/src/mydrivers
    dest: /lib/modules/6.1.0-56-amd64/updates
    kernel_release: 6.1.0-56-amd64
    make_args: [KCFLAGS=-DDEBUG]
    sign_key: /var/lib/dkms/mok.key
    sign_cert: /var/lib/dkms/mok.pub

- name: Build a module whose sources lie beside the playbook, in one task
  kernelops.kmod.kmod_build:
    files:
      Kbuild: obj-m := hello.o
      hello.c: "{{ lookup('ansible.builtin.file', 'hello.c') }}"
    dest: /usr/local/lib/modules

- name: Take away what was built
  kernelops.kmod.kmod_build:
    src: /usr/local/src/kmod_reset
    dest: /var/lib/kmod_reset/{{ ansible_facts.kernel }}
    state: clean
'''

RETURN = r'''
modules:
  description: What was built; in check mode, what an earlier run built.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The module's name.
      type: str
      sample: kmod_reset
    path:
      description: Where it was put.
      type: str
      sample: /var/lib/kmod_reset/6.1.0-50-amd64/kmod_reset.ko
    sha256:
      description: Digest of the file.
      type: str
      sample: 5e5b6a0c8f3f2a6d0a37c8c1d7a3f1f3c3f4b6b6a2d1e0f9c8b7a6958473625140
    vermagic:
      description: The kernel it is for, as the kernel compares it.
      type: str
      sample: '6.1.0-50-amd64 SMP preempt mod_unload modversions '
    signed:
      description: Whether a signature is appended.
      type: bool
      sample: false
    layout:
      description: Size of C(struct module), byte offsets of C(init) and C(exit) in it; null without such a function.
      type: dict
      sample: {size: 896, init: 312, exit: 848}
    verdict:
      description: Whether it suits the kernel, as M(kernelops.kmod.kmod_toolchain_facts) says it.
      type: str
      sample: match
    severity:
      description: V(ok), V(info) or V(warning). On V(error) the task fails.
      type: str
      sample: ok
    reason:
      description: Why, in one or two sentences.
      type: str
      sample: Struct module has the kernel's layout and was built by its compiler, gcc 12.2.0.
compiler:
  description: The compiler that was taken, and why.
  returned: success
  type: dict
  sample:
    cc: gcc-12
    llvm: false
    family: gcc
    version: 12.2.0
    same: true
    reason: the kernel was built by gcc 12.2.0
    version_text: gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0
kdir:
  description: The headers that were built against.
  returned: success
  type: str
  sample: /lib/modules/6.1.0-50-amd64/build
package:
  description: The package that is missing.
  returned: when headers, make or a compiler are missing
  type: str
  sample: linux-headers-6.1.0-50-amd64
command:
  description: The command that failed, with its arguments.
  returned: when make or the signing failed
  type: list
  elements: str
  sample: [make, -C, /lib/modules/6.1.0-50-amd64/build, M=/var/lib/kmod_reset/.kmod_build-x1/src, CC=gcc-12, modules]
output:
  description: The end of what it printed.
  returned: when make or the signing failed
  type: str
  sample: "foo.c:3:1: error: unknown type name 'innt'"
'''

from typing import Dict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import build
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, printable, warn


def argument_spec() -> Dict[str, Dict[str, object]]:
    """The options, for the module and for its tests."""
    return {
        'src': {'type': 'path'},
        'files': {'type': 'dict'},
        'dest': {'type': 'path'},
        'kernel_release': {'type': 'str'},
        'kdir': {'type': 'path'},
        'cc': {'type': 'str'},
        'make_args': {'type': 'list', 'elements': 'str', 'default': []},
        'jobs': {'type': 'int'},
        'sign_key': {'type': 'path', 'no_log': False},
        'sign_cert': {'type': 'path'},
        'timeout': {'type': 'float', 'default': 600},
        'state': {'type': 'str', 'choices': ['built', 'clean'], 'default': 'built'},
    }


def main() -> None:
    """Arguments in, one call, the result out."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True,
                           mutually_exclusive=[['src', 'files']],
                           required_if=[('state', 'built', ('src', 'files'), True),
                                        ('state', 'clean', ('src', 'dest'), True)],
                           required_by={'sign_key': ('sign_cert',), 'files': ('dest',)})
    try:
        result = dict(build.Build(build.Options(check_mode=module.check_mode, **module.params)).run())
    except KmodError as error:
        module.fail_json(**printable(dict(error.facts, msg=str(error))))
    warn(module, result)
    module.exit_json(**printable(result))


if __name__ == '__main__':
    main()
