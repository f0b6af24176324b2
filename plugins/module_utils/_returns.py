# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules return of loaded modules and of unloads: dictionaries with known keys."""

from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.kernelops.kmod.plugins.module_utils._file_types import ModuleDetails
from ansible_collections.kernelops.kmod.plugins.module_utils._types import (
    Diagnosis,
    Entry,
    Fact,
    Hazard,
    Holders,
    Kernel,
    ModuleFacts,
    Oops,
    Reachability,
    Task,
    TypedDict,
)


class Surveyed(TypedDict, total=False):
    """What :mod:`report` explains: each module's facts and details, those that use them, and what is of the kernel."""

    modules: Dict[str, Tuple[ModuleFacts, ModuleDetails]]
    dependents: Dict[str, ModuleFacts]
    warnings: List[str]
    helpers: Dict[str, str]  # why a compiled, or a synthesized helper cannot be used; empty where it can
    kernel: Kernel
    oopses: Fact[List[Oops]]
    loads: Tuple[bool, Fact[int]]  # whether there is a table of running loads, and its buckets that hold one


class ShownPointers(TypedDict):
    """The live struct module, its addresses as hexadecimal text."""

    module: str
    state: str
    refcount: int
    init: str
    exit: str
    source: str


class ShownHolders(Holders, total=False):
    """Who uses a module, tasks and modules among them; ``unavailable``: why the others were not looked for."""

    unavailable: str
    modules: List[str]
    tasks: List[Task]


class ShownEntry(TypedDict, total=False):
    """A module before and after an unload."""

    state: str
    refcount: Fact[int]
    used_by: List[str]
    permanent: bool
    pointers: Fact[ShownPointers]


class Remedy(Diagnosis):
    """A diagnosis, the step that would be taken by default, and the command to run, or what to do."""

    method: str
    next: str


class ShownModule(ModuleDetails, ShownEntry, total=False):
    """A module in ``ansible_facts.kmod``."""

    size: int
    taint: str
    address: Fact[str]
    holders: ShownHolders
    unexplained_references: Fact[int]
    oops: Fact[Oops]
    reachability: Reachability
    diagnosis: Remedy


class KmodFacts(TypedDict, total=False):
    """``ansible_facts.kmod``."""

    modules: Dict[str, ShownModule]
    kernel: Kernel


class Explained(TypedDict):
    """What kmod_facts returns, and what it warns of."""

    facts: KmodFacts
    warnings: List[str]


# Of an unload


class Step(TypedDict):
    """What was done, or would be."""

    module: str
    method: str
    action: str
    result: str
    changed: bool


class Look(TypedDict, total=False):
    """What the kernel itself saw before the helper wrote: whom it found in the module's code, and where."""

    result: str
    pid: int
    command: str
    cpu: int  # -1: a task that is on no CPU
    at: int
    tasks: int
    nanoseconds: int
    reason: str


class HelperReport(TypedDict, total=False):
    """What a helper did: the entry as it ``found`` and ``left`` it, the loader's table, its look."""

    reset: str
    found: Entry
    left: Entry
    loader: str
    buckets: int
    loading_pid: int
    look: Look
    hidden_symbols: int
    error: int
    undone: List[str]
    stays: bool  # its code is still to be called


class Compiled(TypedDict):
    """Where a compiled helper is looked for, and a key that is the same on all hosts that one build serves."""

    path: str
    key: str
    must_be_signed: bool


class HelperState(TypedDict, total=False):
    """The helper that a step needs."""

    kind: str
    needed: bool
    usable: Optional[bool]
    reason: str
    path: str
    compiled: Compiled


class Diff(TypedDict, total=False):
    """Before and after, for --diff."""

    before: Any
    after: Any
    before_header: str
    after_header: str


class Report(TypedDict, total=False):
    """What kmod_force_unload returns of one module."""

    name: str
    changed: bool
    failed: bool
    msg: str
    verdict: str
    reason: str
    method: str
    before: Fact[ShownEntry]
    after: Fact[ShownEntry]
    steps: List[Step]
    hazards: List[Hazard]
    reachability: Reachability
    helper: HelperState
    look: Look
    diff: Diff
    warnings: List[str]
    parked_as: str
    hangs_in: str


class Reports(TypedDict):
    """The same of several modules."""

    changed: bool
    failed: bool
    msg: str
    modules: List[Report]
    diff: List[Diff]
    warnings: List[str]
