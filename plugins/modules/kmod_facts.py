# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r'''
module: kmod_facts
short_description: Tell why a kernel module cannot be unloaded, and who holds it
version_added: 0.1.0
description:
  - Returns the running kernel and its modules as C(ansible_facts.kmod).
  - Each module has a verdict, the reason in one sentence, who holds it, the oops that did it, the command that helps.
  - Loads nothing, changes nothing. C(struct module) is read from C(/proc/kcore) by the kernel's own type information.
  - A fact that cannot be had carries its reason, as in C(unavailable).
  - The M(kernelops.kmod.kmod_force_unload) module decides by the same diagnosis.
author:
  - kernelops.kmod contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.kmod.attributes.facts
options:
  names:
    description:
      - The modules to look at. Empty means all that are loaded.
      - What costs more than a tenth of a second, such as the search for holders, is done for modules asked for by name
        and for modules that died or have no exit.
    type: list
    elements: str
    default: []
  gather_subset:
    description:
      - What to return. V(!x) means all but V(x).
      - V(kernel) is the running kernel; V(state) what the module table and sysfs show; V(pointers) the live
        C(struct module); V(holders) who uses the module; V(oops) the oops in its code; V(reachability) what in the
        kernel's memory points into it.
      - Memory is searched where an unload depends on it, for a module that died, has no exit, or has references that
        nobody is seen to hold. To have it searched for any module of O(names), name V(reachability) itself. It ends
        after at most four fifths of the O(timeout).
      - The state and the diagnosis of each module are always there.
    type: list
    elements: str
    default: [all]
  timeout:
    description:
      - Seconds that all of it may take. On a kernel whose locks died with their owner some files in C(/proc) are never
        read. The task then fails and names where the reading process hangs.
    type: float
    default: 30
notes:
  - Needs root for most of it, and nothing on the host but Python 3.6 or newer.
seealso:
  - module: kernelops.kmod.kmod_force_unload
'''

EXAMPLES = r'''
- name: Why does this module not go?
  kernelops.kmod.kmod_facts:
    names: [foo]

- name: Show it
  ansible.builtin.debug:
    var: ansible_facts.kmod.modules.foo.diagnosis

- name: Only the running kernel and the verdicts of all modules
  kernelops.kmod.kmod_facts:
    gather_subset: [kernel]
'''

RETURN = r'''
ansible_facts:
  description: Facts to add to C(ansible_facts).
  returned: always
  type: dict
  contains:
    kmod:
      description: The running kernel and its modules.
      type: dict
      contains:
        kernel:
          description:
            - The running kernel.
            - C(loader) is V(ok), V(stale_entry_suspected) (a load that died left an entry in the kernel's table of
              running loads, and the next C(finit_module) may crash) or V(wedged) (nothing can be loaded any more).
            - C(module_signatures) is V(off), V(permissive) or V(enforced).
            - C(oopses) is how many the kernel log still has, warnings not counted; C(oops_count) how many the kernel
              has counted since the boot, from 6.2 on. What a program wrote into the log does not count.
            - C(loads_refused) says why this kernel would not load a helper that is C(unsigned), or any that comes
              C(from_memory); an empty text where it would.
          returned: when in gather_subset
          type: dict
          sample:
            release: 6.1.0-56-amd64
            arch: x86_64
            version_banner: Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) (gcc-12 ...) ...
            taint: {value: 12424, flags: [died, warn, out_of_tree_module, unsigned_module]}
            lockdown: none
            module_signatures: permissive
            modules_disabled: 0
            kptr_restrict: 0
            panic_on_oops: 0
            force_unload: true
            headers: {dir: /lib/modules/6.1.0-56-amd64/build, present: true}
            oopses: 1
            oops_count: {unavailable: '/sys/kernel/oops_count: No such file or directory'}
            loads_refused: {unsigned: '', from_memory: ''}
            loader: ok
        modules:
          description:
            - The modules by name.
            - In C(holders), every entry has C(what) (a phrase), C(evidence), C(end_with) (the command that ends it,
              empty where none is safe), C(counts) (it holds a reference) and C(active) (it holds none, and unloading
              would break something in use).
            - C(processes) have the module's file, device or socket open or mapped, or are about to receive it; C(fd) is
              null where no descriptor leads to it. The module's kernel threads are in C(others).
            - C(network) are the network devices of every network namespace. C(namespace) is null for the host's own,
              else a pid in it or a file that names it; C(carries) is V(the default route), V(this ssh connection) or
              empty.
            - C(devices) are bound to its drivers, or disks of its block major, each with who is on it; C(protocols) and
              C(algorithms) those of its own that somebody uses.
            - C(others) have a C(kind). They are kernel threads, rules of iptables and nf_tables, ipsets, queueing
              disciplines, classifiers and actions, congestion control, IPsec states, virtual servers (each in every
              network namespace), devices of the device-mapper, I/O schedulers, arrays, configfs items, consoles,
              streams of sound cards, watchdogs, I2C adapters, AF_ALG sockets, virtual machines, NFS mounts and
              livepatches.
            - C(unread) says what could hold the module and could not be read. It counts as found.
            - C(hint) says how one looks by hand for holders of such a module that cannot be listed, or not all of them.
              It is empty for a module of a family that is not known.
            - C(oops) is the one that ended its init or exit, or else the last that has to do with it. C(died_in) is
              V(init), V(exit), V(probe), V(worker) or null, C(of) the module that it was of, C(locks) what its
              task held; V(in F) is a lock that the function F may have taken.
            - The verdicts and hazards of C(diagnosis) are those of M(kernelops.kmod.kmod_force_unload); C(method) is
              the step that it would take by default, C(next) the command to run, or what to do.
            - In C(reachability), C(answer) is V(reachable), V(unreachable) or V(unknown), with the C(reason) in one
              sentence. C(hits) are the words of kernel memory that point into the module, up to twenty of the
              C(count) that there are. Each has a C(place) (the slab cache, the datum of the kernel, the task whose
              stack it is), an C(address), the C(target) in the module, and C(what) it most likely is, empty where that
              has no name. C(bytes) were read, in C(seconds). What the kernel keeps of every module is left out.
          type: dict
          sample:
            init_hang:
              state: coming
              refcount: 1
              size: 28672
              address: '0xffffffffc0a9b000'
              used_by: []
              permanent: false
              taint: OE
              parameters: {}
              version: {unavailable: the module declares none}
              srcversion: 7D3A1C0E7B2F4D5A6C8E9F0
              build_id: 6b1f0f6d1f5e7a3b8c9d0e1f2a3b4c5d6e7f8091
              file: {unavailable: 'modules.dep does not name it: it was loaded from elsewhere'}
              same_as_file: {unavailable: 'modules.dep does not name it: it was loaded from elsewhere'}
              pointers:
                module: '0xffffffffc0a9e040'
                state: coming
                refcount: 2
                init: '0xffffffffc058d000'
                exit: '0xffffffffc0a9b010'
                source: kcore
              holders:
                modules: []
                processes: []
                mounts: []
                network: []
                devices: []
                protocols: []
                algorithms: []
                others: []
                unread: []
                hint: ''
                notes: []
                tasks: [{pid: 1876, tid: 1876, command: insmod, function: init_hang_init}]
              unexplained_references: 0
              oops: {}
              diagnosis:
                verdict: init_waiting
                reason: 'The init of init_hang has not returned: insmod (pid 1876, in init_hang_init, waits in msleep).'
                method: none
                hazards:
                  - code: running_task
                    reason: >-
                      the init of init_hang has not returned: insmod (pid 1876, in init_hang_init, waits in msleep)
                    evidence: [{pid: 1876, tid: 1876, command: insmod, function: init_hang_init, waits_in: msleep}]
                next: Let it finish, or end what it waits for; when it never does, only a reboot helps.
              reachability:
                answer: unknown
                reason: 'memory was not searched for pointers into it: nothing depends on it'
                hits: []
                count: 0
                bytes: 0
                seconds: 0.0
hangs_in:
  description: Where in the kernel the process hangs that was to read.
  returned: when reading took longer than O(timeout)
  type: str
  sample: __mutex_lock+0x2d1/0x4a0
'''

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import module_facts
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, printable, warn


def argument_spec() -> Dict[str, Any]:
    """The options, for the module and for its tests."""
    return {
        'names': {'type': 'list', 'elements': 'str', 'default': []},
        'gather_subset': {'type': 'list', 'elements': 'str', 'default': ['all']},
        'timeout': {'type': 'float', 'default': 30},
    }


def main() -> None:
    """Arguments in, one call, the facts out."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        found = module_facts.answer(module.params['names'], module.params['gather_subset'], module.params['timeout'])
    except KmodError as error:
        module.fail_json(**printable(dict(error.facts, msg=str(error))))
    warn(module, found)
    module.exit_json(ansible_facts={'kmod': printable(found['facts'])})


if __name__ == '__main__':
    main()
