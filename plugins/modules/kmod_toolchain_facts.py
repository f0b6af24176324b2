# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r'''
module: kmod_toolchain_facts
short_description: Tell beforehand which kernel modules will not load, or will load and never go
version_added: 0.1.0
description:
  - Returns the running kernel's compiler and layout, the host's compilers, and a verdict on each module file, as
    C(ansible_facts.kmod_toolchain).
  - That compilers differ proves nothing. What decides is the layout, the size of C(struct module) and the offsets of
    C(init) and C(exit) in it, in the file against that of the running kernel.
  - Reads C(.ko), C(.ko.gz), C(.ko.xz) and C(.ko.zst). Loads nothing, changes nothing.
  - A fact that cannot be had carries its reason, as in C(unavailable).
author:
  - kernelops.kmod contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.kmod.attributes.facts
options:
  names:
    description:
      - The modules to look at, by name. Their files are those that C(modules.dep) of the running kernel names.
    type: list
    elements: str
    default: []
  paths:
    description:
      - Module files to look at, and directories to look for them in.
      - They are judged for the running kernel, wherever they lie.
    type: list
    elements: path
    default: []
  scope:
    description:
      - The modules to look at where neither O(names) nor O(paths) are given.
      - V(loaded) is what is loaded; V(out_of_tree) what is loaded from outside of the kernel's own tree, or lies in
        C(/lib/modules/RELEASE) outside of C(kernel), such as in C(updates), C(extra) and C(weak-updates); V(all) is all
        of C(/lib/modules/RELEASE) and all that is loaded.
      - With V(all), and for a directory in O(paths), modules of severity V(ok) are listed in short, with C(file),
        C(verdict), C(severity) and C(loaded).
    type: str
    choices: [loaded, out_of_tree, all]
    default: loaded
  timeout:
    description:
      - Seconds for reading the kernel and its module table, and for each module file.
      - Where the kernel gives no answer, the task fails and names where the reading process hangs. A file that is not
        read in time is listed with that as its reason.
    type: float
    default: 30
notes:
  - Needs root to look at loaded modules whose file is not known, and nothing on the host but Python 3.6 or newer.
  - Modules of other machines (32-bit, big-endian) are described by pyelftools (C(python3-pyelftools)) where it is
    installed. Without it they are refused all the same. C(.ko.zst) needs C(zstd), C(python3-zstandard) or Python 3.14.
seealso:
  - module: kernelops.kmod.kmod_facts
  - module: kernelops.kmod.kmod_build
'''

EXAMPLES = r'''
- name: Will all that is loaded unload again?
  kernelops.kmod.kmod_toolchain_facts:

- name: Show those that will not
  ansible.builtin.debug:
    msg: "{{ ansible_facts.kmod_toolchain.modules[item].reason }}"
  loop: "{{ ansible_facts.kmod_toolchain.mismatched }}"

- name: Look at a module before it is loaded
  kernelops.kmod.kmod_toolchain_facts:
    paths: [/opt/driver/foo.ko]

- name: Look at all modules from elsewhere
  kernelops.kmod.kmod_toolchain_facts:
    scope: out_of_tree
'''

RETURN = r'''
ansible_facts:
  description: Facts to add to C(ansible_facts).
  returned: always
  type: dict
  contains:
    kmod_toolchain:
      description: The kernel's compiler and layout, the host's compilers, and the modules.
      type: dict
      contains:
        kernel:
          description:
            - The running kernel and the compiler that built it, as C(/proc/version) names it.
            - C(layout) is its C(struct module) in bytes; its C(source) is V(btf), or a module of the kernel's own tree.
              C(vermagic) is that of such a module.
          type: dict
          sample:
            release: 6.1.0-56-amd64
            arch: x86_64
            compiler:
              family: gcc
              version: 12.2.0
              major: '12'
              vendor: Debian 12.2.0-14+deb12u1
              banner: gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0
              command: gcc-12
            layout: {size: 896, init: 312, exit: 848, source: btf}
            vermagic: '6.1.0-56-amd64 SMP preempt mod_unload modversions '
        compilers:
          description: The compilers on the host. One that cannot be run has C(unavailable).
          type: list
          elements: dict
          sample:
            - command: gcc-12
              path: /usr/bin/gcc-12
              family: gcc
              version: 12.2.0
              major: '12'
              vendor: Debian 12.2.0-14+deb12u1
              target: ''
              text: gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0
        recommended_compiler:
          description: The one to build modules for this kernel with, and why.
          type: dict
          sample:
            cc: gcc-12
            llvm: false
            family: gcc
            version: 12.2.0
            same: true
            target: ''
            reason: the kernel was built by gcc 12.2.0
        headers:
          description: Where kbuild looks for the kernel's headers, and whether they are there.
          type: dict
          sample: {dir: /lib/modules/6.1.0-56-amd64/build, present: true}
        modules:
          description:
            - The modules by name; a second file of one name by its path.
            - C(verdict) is V(match), V(compiler_differs) (the layout is the same, so it will unload),
              V(vermagic_differs) (for another kernel or machine), V(layout_mismatch) (the kernel refuses it, or
              loads it and never lets it go) or V(unknown). C(severity) is V(ok), V(info), V(warning) or V(error).
            - C(compilers) are those that its objects name; rustc beside gcc is normal. C(layout) is that of the file,
              or what a loaded module without a file shows in memory.
          type: dict
          sample:
            foo:
              file: /lib/modules/6.1.0-56-amd64/updates/dkms/foo.ko
              compilers:
                - family: gcc
                  version: 12.2.0
                  major: '12'
                  vendor: Debian 12.2.0-14+deb12u1
                  banner: 'GCC: (Debian 12.2.0-14+deb12u1) 12.2.0'
              vermagic: '6.1.0-56-amd64 SMP preempt mod_unload modversions '
              layout: {size: 896, init: 312, exit: 864}
              verdict: layout_mismatch
              severity: error
              reason: >-
                Struct module in the file has exit at 864 instead of 848. It loads without a word and never goes: the
                kernel looks for its exit at 848, where there is none. Build it against the headers of 6.1.0-56-amd64
                with gcc 12.2.0, which built this kernel.
              loaded: false
        counts:
          description: How many modules have each verdict.
          type: dict
          sample: {match: 91, compiler_differs: 0, vermagic_differs: 0, layout_mismatch: 1, unknown: 0}
        permanent:
          description: Modules whose source has an init and no exit, so that they stay until the next boot by design.
          type: list
          elements: str
          sample: [vrf]
        mismatched:
          description: Modules whose severity is V(error).
          type: list
          elements: str
          sample: [foo]
hangs_in:
  description: Where in the kernel the process hangs that was to read.
  returned: when the kernel gave no answer within O(timeout)
  type: str
  sample: __mutex_lock+0x2d1/0x4a0
'''

from typing import Dict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import check_files
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, printable, warn


def argument_spec() -> Dict[str, Dict[str, object]]:
    """The options, for the module and for its tests."""
    return {
        'names': {'type': 'list', 'elements': 'str', 'default': []},
        'paths': {'type': 'list', 'elements': 'path', 'default': []},
        'scope': {'type': 'str', 'choices': list(check_files.SCOPES), 'default': 'loaded'},
        'timeout': {'type': 'float', 'default': 30},
    }


def main() -> None:
    """Arguments in, one call, the facts out."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    options = module.params
    try:
        found = dict(check_files.gather(options['names'], options['paths'], options['scope'],
                                        timeout=options['timeout']))
    except KmodError as error:
        module.fail_json(**printable(dict(error.facts, msg=str(error))))
    warn(module, found)
    module.exit_json(ansible_facts={'kmod_toolchain': printable(found['facts'])})


if __name__ == '__main__':
    main()
