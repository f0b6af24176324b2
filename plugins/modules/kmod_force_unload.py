# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r'''
module: kmod_force_unload
short_description: Get a stuck kernel module out of the running kernel
version_added: 0.1.0
description:
  - Unloads a kernel module that C(rmmod) refuses with "in use" or "Device or resource busy", without a reboot.
  - Reads the module table, C(struct module) in the running kernel, the tasks, the holders and the kernel log.
  - Decides why the module cannot go, takes the one step that will work with the least force, reads again and reports
    what it saw.
  - Refuses a module in whose code a task still runs, or that something still uses, and names the task, process, mount
    or dependent module and the command that ends that. What could not be seen counts as found.
  - Frees the code of a module only where its own exit runs on a module that nothing uses, or where it is shown that
    nothing in the kernel can reach that code any more. For that the kernel's memory is searched for words that point
    into the module, and searched again right before its code is freed.
  - Parks a module whose init or exit died, or that has no exit, where something points into it, or where memory could
    not be searched. It stays in the kernel under another name, out of the way of a fixed build.
  - A module that is not loaded is V(ok), unchanged.
author:
  - kernelops.kmod contributors (@kernelops)
extends_documentation_fragment:
  - kernelops.kmod.attributes
options:
  name:
    description:
      - The module, as C(lsmod) shows it. V(-) and V(_) mean the same.
      - Either this or O(names) is required.
    type: str
  names:
    description:
      - Several modules, in this order, as by a call for each; what became of them is in RV(modules). Memory is searched
        for all of them at once, and again before code is freed, by a search that is no older than it took and
        since which no exit has run.
      - One that is refused keeps no other from being tried. The module fails then, once all were tried. Where one fails
        half way the rest are left alone.
      - Check mode foresees each as those before it will leave it.
    type: list
    elements: str
    version_added: 0.2.0
  methods:
    description:
      - The steps that may be taken. The one with the least force that will work is taken.
      - V(plain) is C(delete_module), as C(rmmod) calls it.
      - V(kernel_force) is the same with C(O_TRUNC), as C(rmmod --force) calls it. It helps a live module whose
        references are leaked on a kernel with C(CONFIG_MODULE_FORCE_UNLOAD=y), and taints it.
      - V(reset) loads a helper (see O(helper)), which sets state, reference count and pointers of this one module and
        never stays loaded; then V(plain) follows at once.
      - V(kernel_force) and V(reset) are taken where it is shown that nothing can reach the module's code any more,
        where the hazards that stand in the way are accepted by name (see O(accept_hazards)), or where the reset makes
        the module's own exit run on a module that nothing uses.
      - V(undo) is for a module whose init or exit died, and is not among the default. Before anything else the compiled
        helper has the kernel's own functions take back what the module left registered, such as its device, file, hook,
        timer, work, driver or thread, each of which is a step of its own in RV(steps). What then still leads into the
        module decides whether it is unloaded by V(reset) or parked, so name those, too. A fixed build can register the
        same again. Memory that the module allocated stays allocated, and hardware stays as it is. What the
        module's own code would be called for (a network device that is up, a driver that has a device), what somebody
        else has a pointer to, and what the kernel does not give back within ten seconds are left.
      - V(park) unloads nothing. The compiled helper renames the module to C(NAME_parkedN), and its code stays in the
        kernel, so that nothing that it registered dangles and a fixed build of the same name can be loaded beside it.
        That build cannot register the same again, such as a device of the same name. It is the last step for a module
        whose init or exit died, or that has no exit. A live module that is in use is parked only where V(park) is all
        that is named. A parked module is unloaded by this module under its new name.
      - A module whose exported symbols others use is neither reset nor parked.
    type: list
    elements: str
    choices: [plain, kernel_force, undo, reset, park]
    default: [plain, kernel_force, reset, park]
  run_exit:
    description:
      - Whether the module's own exit function runs.
      - V(auto) runs it, but for a module whose init or exit died half way. Where the kernel lost the pointer to it (a
        layout mismatch), the pointer is restored first.
      - V(always) runs it whatever happened before. An exit that undoes what init never did crashes.
      - V(never) frees the module without it. What it registered then dangles.
    type: str
    choices: [auto, always, never]
    default: auto
  cascade:
    description:
      - Unload the modules that use this one first, in the right order, under the same options.
      - Nothing is unloaded where one of them would be refused.
    type: bool
    default: false
  accept_hazards:
    description:
      - Hazards that shall not lead to a refusal. Each must be named; none is accepted by default, and to accept one is
        not to accept another.
      - V(running_task) is a task in the module's code, or inside the system call that loads or unloads it. Freeing that
        code under it crashes the kernel.
      - V(undecided) means that nothing shows whether the module's init or exit still runs or died, or who holds its
        references, or that what would show it could not be read. Whoever uses it unseen crashes the kernel.
      - V(in_use) is a process, mount, network device, disk, rule or the like found to use the module.
      - V(dangling_references) is something found that would point into freed code, such as a device, a timer or a
        kernel thread that the module registered, or a word of the kernel's memory. The method V(park) is the safe way.
      - V(reachability_unknown) means that nothing shows that the kernel can no longer reach the code of a module whose
        exit does not run, since its memory could not be searched, or not to the end in time. What the module left and
        nobody has seen crashes the kernel when it is used.
      - V(locks_held) is a lock of the kernel, or one that the module may have taken itself, that died with the task
        that held it. Whoever takes it waits for ever.
      - V(foreign_oops) is an oops outside the module, which may have left kernel locks held. A reboot is required where
        the kernel's loader died with them.
      - Before it writes, the compiled helper looks once more whether a task or a CPU is in the module's code. To accept
        V(running_task) leaves that out as well.
    type: list
    elements: str
    choices:
      - running_task
      - undecided
      - in_use
      - dangling_references
      - reachability_unknown
      - locks_held
      - foreign_oops
    default: []
  helper:
    description:
      - Which helper V(reset) and V(park) use.
      - V(compiled) is the one at O(helper_path), which takes the kernel's locks and looks, before it writes, whether
        anything runs in the module's code.
      - V(synthesized) is written by Python on the host, for this one module, where there are neither headers nor a
        compiler. It compares and stores the same, but takes no lock, looks at no stack, and cannot V(park).
      - V(auto) takes the compiled one where it is there and fits the running kernel, and else the synthesized one.
    type: str
    choices: [auto, compiled, synthesized]
    default: auto
  helper_path:
    description:
      - The compiled helper. Must belong to root, as must each directory above it, and be built for the running kernel.
      - The default is C(/var/lib/kmod_reset/RELEASE/kmod_reset.ko), where the role P(kernelops.kmod.force_unload#role)
        puts it.
    type: path
  helper_will_be_built:
    description:
      - In check mode, whether the compiled helper will have been built by the time that the module runs in earnest, as
        the role P(kernelops.kmod.force_unload#role) does. Then what it will do is foreseen.
      - Otherwise a helper that is lacking is the same error in check mode as in a run.
    type: bool
    default: false
    version_added: 0.2.0
  timeout:
    description:
      - Seconds for each of reading and acting, above 0 and below a million. A kernel whose locks died gives an answer
        after that, not a hang. The search of memory ends after four fifths of it.
    type: float
    default: 30
notes:
  - Needs root on the host, and nothing there but Python 3.6 or newer.
  - Shown on Debian's kernels 5.10, 6.1, 6.12 and 7.3 for x86-64, and 6.1 and 6.12 for AArch64.
seealso:
  - module: kernelops.kmod.kmod_build
'''

EXAMPLES = r'''
- name: Unload a module that nothing uses, or that has lost its exit
  kernelops.kmod.kmod_force_unload:
    name: layout_pad

- name: Free a module whose init died and left nothing, or park it where it left something
  kernelops.kmod.kmod_force_unload:
    name: init_oops

- name: Only with what the kernel offers, nothing loaded
  kernelops.kmod.kmod_force_unload:
    name: dummy
    methods: [plain, kernel_force]

- name: The modules that use it go first
  kernelops.kmod.kmod_force_unload:
    name: used_base
    cascade: true

- name: Have what a module left taken back, so that the fixed build can register it again
  kernelops.kmod.kmod_force_unload:
    name: init_misc
    methods: [undo, reset, park]

- name: Load the fixed build in the place of the parked one
  kernelops.kmod.kmod_load:
    path: /usr/local/lib/modules/init_oops.ko

# Only where you know from elsewhere that nobody uses it: whoever does crashes the host when its code is gone.
- name: Unload a module although who holds its references could not be seen
  kernelops.kmod.kmod_force_unload:
    name: leaked_ref
    accept_hazards: [undecided]

- name: Unload two modules in one task
  kernelops.kmod.kmod_force_unload:
    names: [layout_pad, leaked_ref]

# Ad hoc: ansible web1 -b -m kernelops.kmod.kmod_force_unload -a name=layout_pad
'''

RETURN = r'''
modules:
  description:
    - What became of each of the O(names), in their order.
    - Each has its C(name), whether it C(failed), C(changed), its C(msg), and what is returned of one module.
  returned: when O(names) was given
  type: list
  elements: dict
  sample:
    - name: layout_pad
      failed: false
      changed: true
      msg: layout_pad is unloaded by reset.
      verdict: exit_lost
      method: reset
verdict:
  description:
    - Why the module could not go, as found before anything was done.
    - One of V(unloadable), V(absent), V(builtin), V(has_dependents), V(init_running), V(init_waiting), V(init_died),
      V(exit_running), V(exit_waiting), V(exit_died), V(no_exit), V(exit_lost), V(in_use), V(in_use_unknown),
      V(references_leaked), V(unload_disabled).
  returned: when O(name) was given and the module could be read
  type: str
  sample: init_died
reason:
  description: The verdict in one sentence, with what it rests on.
  returned: when O(name) was given and the module could be read
  type: str
  sample: 'The init of init_oops died: BUG: kernel NULL pointer dereference, address: 0000000000000000 in f_init.'
method:
  description:
    - The step that was taken, or would be in check mode; V(none) where nothing is to be done or may be.
    - Where the helper that it needs is lacking, the module fails with the step that it is needed for.
  returned: when O(name) was given and the module could be read
  type: str
  sample: park
before:
  description:
    - The module as it was; V(state) alone for one that is not loaded or built in.
    - V(pointers) is C(struct module) as read from the running kernel, or the reason why it could not be read.
  returned: when O(name) was given and the module could be read
  type: dict
  sample:
    state: coming
    refcount: 1
    used_by: []
    permanent: false
    pointers:
      module: '0xffffffffc0a99040'
      state: coming
      refcount: 2
      init: '0xffffffffc058d000'
      exit: '0xffffffffc0a96010'
      source: kcore
after:
  description:
    - The same, read again afterwards; in check mode as it would be.
    - The name of a parked module is V(absent) as well, free for a fixed build.
  returned: when O(name) was given and the module could be read
  type: dict
  sample: {state: absent}
steps:
  description: What was done, in order, to this module and to its dependents.
  returned: when O(name) was given and the module could be read
  type: list
  elements: dict
  contains:
    module:
      description: The module that the step was for.
      type: str
      sample: init_oops
    method:
      description: The step of the ladder.
      type: str
      sample: reset
    action:
      description: One of V(reset), V(restore), V(delete_module), V(rename), V(clear_loader).
      type: str
      sample: delete_module
    result:
      description: What came of it.
      type: str
      sample: unloaded
    changed:
      description: Whether it changed the kernel.
      type: bool
      sample: true
parked_as:
  description: The name that the module bears now, or would in check mode; its code is still in the kernel.
  returned: when the module was parked
  type: str
  sample: init_oops_parked1
reachability:
  description:
    - Whether something in the kernel's memory can still lead into the module, as M(kernelops.kmod.kmod_facts) tells it.
    - C(answer) is V(unknown) where nothing depends on it, so that memory was not searched.
  returned: when O(name) was given and the module could be read
  type: dict
  sample:
    answer: unreachable
    reason: 'no word of kernel memory points into init_oops: 274 MB were read'
    hits: []
    count: 0
    bytes: 287309824
    seconds: 0.41
hazards:
  description: What makes a forced unload unsafe, accepted or not.
  returned: when O(name) was given and the module could be read
  type: list
  elements: dict
  contains:
    code:
      description: The code for O(accept_hazards).
      type: str
      sample: running_task
    reason:
      description: The hazard in words.
      type: str
      sample: 'the init of init_hang still runs: insmod (pid 1876, in f_init)'
    evidence:
      description: The tasks, holders, oopses or registrations that were found.
      type: list
      elements: raw
      sample: [{pid: 1876, tid: 1876, command: insmod, function: f_init}]
look:
  description:
    - What the kernel itself saw in the helper's last look, before anything was written; empty where there was none.
    - C(result) is V(clear) where neither a task nor a CPU is in the module's code, V(not_asked) where nobody was looked
      for, since O(accept_hazards) has V(running_task), a live module was parked, or the helper was synthesized (then
      with a C(reason)). On V(task), V(cpu), V(silent), V(stalled) and V(unfinished) nothing was written.
    - C(tasks) were looked at in C(nanoseconds). C(pid), C(command), C(cpu) and the address C(at) are of what was found.
  returned: when O(name) was given and the module could be read
  type: dict
  sample: {result: clear, tasks: 97, nanoseconds: 2181000, pid: 0, command: '', cpu: -1, at: 0}
helper:
  description:
    - The helper that the V(reset) and V(park) need; where none is C(usable), V(reason) says why, in check mode too.
    - Of a synthesized one, C(path) is the module file that it took the layout from.
    - C(compiled), where a compiled one will do, is where that is looked for, and a C(key) that is the same on all hosts
      that one build serves (a SHA-256 of release, architecture, banner, configuration and layout of the kernel);
      C(must_be_signed) where this kernel takes only modules that are signed by a key it trusts.
  returned: when O(name) was given and the module could be read
  type: dict
  sample:
    kind: compiled
    path: /var/lib/kmod_reset/6.1.0-50-amd64/kmod_reset.ko
    needed: true
    usable: true
    reason: built for this kernel, owned by root
    compiled:
      path: /var/lib/kmod_reset/6.1.0-50-amd64/kmod_reset.ko
      key: 6f1ed002ab5595859014ebf0951522d9a0c1ee2ad8b3a0bd0a1d0e1e6fc0f2d5
      must_be_signed: false
hangs_in:
  description: Where in the kernel the process hangs that was to read the module, or to act on it.
  returned: when reading or acting took longer than O(timeout)
  type: str
  sample: __mutex_lock+0x2d1/0x4a0
'''

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kernelops.kmod.plugins.module_utils._actions import unload_each, unload_options
from ansible_collections.kernelops.kmod.plugins.module_utils._errors import KmodError, printable, warn


def argument_spec() -> Dict[str, Any]:
    """The options, for the module and for its tests."""
    return {
        'name': {'type': 'str'},
        'names': {'type': 'list', 'elements': 'str'},
        'methods': {'type': 'list', 'elements': 'str', 'choices': ['plain', 'kernel_force', 'undo', 'reset', 'park'],
                    'default': ['plain', 'kernel_force', 'reset', 'park']},
        'run_exit': {'type': 'str', 'choices': ['auto', 'always', 'never'], 'default': 'auto'},
        'cascade': {'type': 'bool', 'default': False},
        'accept_hazards': {'type': 'list', 'elements': 'str', 'default': [],
                           'choices': ['running_task', 'undecided', 'in_use', 'dangling_references',
                                       'reachability_unknown', 'locks_held', 'foreign_oops']},
        'helper': {'type': 'str', 'choices': ['auto', 'compiled', 'synthesized'], 'default': 'auto'},
        'helper_path': {'type': 'path'},
        'helper_will_be_built': {'type': 'bool', 'default': False},
        'timeout': {'type': 'float', 'default': 30},
    }


def main() -> None:
    """Arguments in, one call, the result out."""
    module = AnsibleModule(argument_spec=argument_spec(), mutually_exclusive=[['name', 'names']],
                           required_one_of=[['name', 'names']], supports_check_mode=True)
    options = unload_options.Options(check_mode=module.check_mode, **{
        name: module.params[name] for name in unload_options.Options._fields if name != 'check_mode'})
    names = module.params['names']
    try:
        result = unload_each.one(options) if names is None else unload_each.run(names, options)
    except KmodError as error:
        warn(module, error.facts)
        module.fail_json(**printable(dict(error.facts, msg=str(error))))
    warn(module, result)
    (module.fail_json if result.get('failed') else module.exit_json)(**printable(result))


if __name__ == '__main__':
    main()
