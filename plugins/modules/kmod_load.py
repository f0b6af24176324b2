# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r'''
module: kmod_load
short_description: Load a kernel module file, unless it would get stuck
version_added: 0.1.0
description:
  - Loads a C(.ko) file into the running kernel by the system call C(init_module), with parameters.
  - Compares the file with the running kernel first, and refuses what would get stuck or be rejected before the kernel
    sees it. That is another layout of C(struct module), another kernel's file, a missing signature where one is
    enforced, a module that it needs and that is not loaded, a parameter that it does not have.
  - A file whose build is loaded already, by its build id, is V(ok), unchanged.
  - Where the kernel refuses the file all the same, says why in words and shows what the kernel wrote to its log.
  - Reads again afterwards and reports what it saw.
author:
  - kernelops.kmod contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.kmod.attributes
options:
  path:
    description:
      - The module file on the host. It may be compressed by C(gzip), C(xz) or C(zstd).
      - Modules that it needs are not loaded with it. They are named where they are missing.
    type: path
    required: true
  params:
    description:
      - Parameters by name. V(-) and V(_) in a name mean the same.
      - A truth value is handed over as V(1) or V(0), a list with commas between its items.
      - A value may have spaces. It cannot have quotes or control characters, which the kernel cannot be handed.
      - Where this build is loaded with other values, that is a warning, and with O(replace) it is loaded again.
        Parameters that are not named here are left as they are.
    type: dict
    default: {}
  replace:
    description:
      - Unload another build of the same name first, as C(rmmod) would.
      - What cannot be unloaded so is left in place, and the task fails with the reason. Then
        M(kernelops.kmod.kmod_force_unload) may help.
    type: bool
    default: false
  timeout:
    description:
      - Seconds for each of reading, unloading and loading.
      - An init that takes longer is left to finish, and the task fails and names it.
    type: float
    default: 30
notes:
  - Needs root on the host, and nothing there but Python 3.6 or newer.
  - Loads nothing by C(finit_module), C(insmod) or C(modprobe). An earlier death in init can make those hang.
  - IMA and LoadPin, where they appraise modules by their file, refuse C(init_module).
  - Shown on Debian's kernels 5.10, 6.1, 6.12 and 7.3 for x86-64, and 6.1 and 6.12 for AArch64.
seealso:
  - module: kernelops.kmod.kmod_build
  - module: kernelops.kmod.kmod_force_unload
'''

EXAMPLES = r'''
- name: Load what was built
  kernelops.kmod.kmod_load:
    path: /usr/local/lib/modules/foo.ko

- name: With parameters, in place of whatever build is loaded
  kernelops.kmod.kmod_load:
    path: /usr/local/lib/modules/foo.ko
    params:
      debug: true
      label: two words
      ports: [8080, 8081]
    replace: true

# Ad hoc: ansible web1 -b -m kernelops.kmod.kmod_load -a path=/usr/local/lib/modules/foo.ko
'''

RETURN = r'''
name:
  description: The module's name, from its file.
  returned: when the file and what is loaded could be read
  type: str
  sample: foo
verdict:
  description:
    - What was found, as one code.
    - V(loadable), V(same_build), V(parameters_differ), V(other_build) or V(build_unknown) say what was loaded before.
    - V(bad_parameter), V(builtin), V(stuck), V(replace_refused), V(layout_mismatch), V(vermagic_differs),
      V(unsigned), V(load_disabled), V(loader_wedged) and V(depends_missing) are refused before the kernel sees the
      file.
    - V(kernel_refused), V(init_running) and V(init_died) are what the kernel made of it.
  returned: when the file and what is loaded could be read
  type: str
  sample: layout_mismatch
reason:
  description: The verdict in one sentence, with what it rests on.
  returned: when the file and what is loaded could be read
  type: str
  sample: foo is not loaded.
before:
  description:
    - The module of that name as it was; V(state) alone for one that is not loaded.
    - Of the parameters, those that O(params) names.
  returned: when the file and what is loaded could be read
  type: dict
  sample: {state: absent}
after:
  description: The same, read again afterwards; in check mode as it would be.
  returned: when the file and what is loaded could be read
  type: dict
  sample:
    state: live
    refcount: 0
    used_by: []
    permanent: false
    build_id: 3f0e1a6d1c2b4a59688776655443322110ffeedd
    srcversion: 533BB7E5866E52F63B9ACCB
    parameters: {debug: 'Y'}
parameters:
  description: All parameters as sysfs shows them afterwards, or why one cannot be read; in check mode, O(params).
  returned: when the file and what is loaded could be read
  type: dict
  sample: {debug: 'Y', label: two words}
kernel_log:
  description: What came to the kernel log during the load, at most forty lines; or why that cannot be told.
  returned: when the file and what is loaded could be read
  type: raw
  sample: ['[  185.234789] foo: Unknown symbol bar (err -2)']
unload:
  description: How it went with the build that was loaded before.
  returned: when O(replace) unloads one, or would
  type: dict
  contains:
    verdict:
      description: As kmod_force_unload has it.
      type: str
      sample: unloadable
    reason:
      description: The verdict in one sentence.
      type: str
      sample: foo is live and unused.
    method:
      description: The step that was taken, or V(none).
      type: str
      sample: plain
    hazards:
      description: What makes it unsafe to unload it, as kmod_force_unload has them.
      type: list
      elements: dict
      sample: []
    after:
      description: Its state afterwards; in check mode as it would be.
      type: str
      sample: absent
hangs_in:
  description: Where in the kernel the process hangs that was to read what is loaded.
  returned: when reading took longer than O(timeout)
  type: str
  sample: __mutex_lock+0x2d1/0x4a0
'''

from typing import Dict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import load
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, printable, warn


def argument_spec() -> Dict[str, Dict[str, object]]:
    """The options, for the module and for its tests."""
    return {
        'path': {'type': 'path', 'required': True},
        'params': {'type': 'dict', 'default': {}},
        'replace': {'type': 'bool', 'default': False},
        'timeout': {'type': 'float', 'default': 30},
    }


def main() -> None:
    """Arguments in, one call, the result out."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = dict(load.Load(load.Options(check_mode=module.check_mode, **module.params)).run())
    except KmodError as error:
        warn(module, error.facts)
        module.fail_json(**printable(dict(error.facts, msg=str(error))))
    warn(module, result)
    module.exit_json(**printable(result))


if __name__ == '__main__':
    main()
