# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What travels of module files: what they are, whether they suit a kernel, how they are built and loaded."""

from typing import TYPE_CHECKING, Dict, List, Optional, Tuple, Union

from ansible_collections.kernelops.kmod.plugins.module_utils._types import Fact, Hazard, Headers, Unavailable

if TYPE_CHECKING:
    from typing import Literal, TypedDict
else:
    from ansible_collections.kernelops.kmod.plugins.module_utils._types import TypedDict

LAYOUT_KEYS: "Tuple[Literal['size', 'init', 'exit'], ...]" = ('size', 'init', 'exit')


# Compilers


class Compiler(TypedDict):
    """What a text tells of a compiler (:mod:`compiler_text`)."""

    family: Optional[str]  # gcc, clang, rustc; None: the text names none
    version: Optional[str]
    major: Optional[str]
    vendor: str  # in the distributor's own words; may be empty


class NamedCompiler(Compiler):
    """And the text itself."""

    banner: str


class CalledCompiler(NamedCompiler):
    """And the name that it was called by; None: not known."""

    command: Optional[str]


class HostCompiler(Compiler, total=False):
    """One of this host (:func:`host_compilers.found`); ``unavailable``: why it cannot be run."""

    text: str  # the first line of --version
    command: str  # its name; of one that no PATH has, its path
    path: str
    target: str  # aarch64-linux-gnu; empty for a name without
    unavailable: str


class ChosenCompiler(TypedDict, total=False):
    """The one to build with (:mod:`compiler_choice`); ``same``: family and major version are the kernel's."""

    cc: str
    llvm: bool
    family: Optional[str]
    version: Optional[str]
    target: str
    reason: str
    same: Optional[bool]
    version_text: str


class Layout(TypedDict):
    """struct module: its size, and where init and exit stand in it, in bytes; None: there is no such function."""

    size: int
    init: Optional[int]
    exit: Optional[int]


class FoundLayout(Layout):
    """And what tells of it: btf, or a module's file."""

    source: str


class LayoutInMemory(TypedDict):
    """What a loaded module shows of it."""

    size: Unavailable
    init: Unavailable
    exit: int


class ModuleFile(TypedDict):
    """What a module's file says of itself (:func:`module_file.describe`)."""

    name: str
    vermagic: str
    release: str  # its first word
    machine: str  # as uname -m has it
    format: str  # class and byte order
    signed: bool
    depends: Fact[List[str]]
    build_id: Optional[Fact[str]]  # None: it has none
    crc: Optional[Fact[int]]  # of module_layout; None: a file without versions
    compilers: Fact[List[NamedCompiler]]
    layout: Fact[FoundLayout]


class ModuleSource(TypedDict):
    """What else is read of a file that is to be loaded; ``parameters``: their types by name."""

    name: str
    srcversion: Fact[str]
    parameters: Dict[str, Optional[str]]


class LoadableFile(ModuleFile, ModuleSource):
    """A file that is to be loaded."""


class SuitedKernel(TypedDict):
    """The kernel that a file is to suit."""

    release: str
    arch: Fact[str]
    vermagic: Fact[str]
    crc: Optional[Fact[int]]  # None: a kernel without versions
    layout: Fact[FoundLayout]
    compiler: Fact[CalledCompiler]
    module_signatures: Fact[str]


class LoadingKernel(SuitedKernel):
    """And what else decides whether it takes the file."""

    modules_disabled: Fact[int]
    lockdown: Fact[str]
    loader: str  # crashes.loader


class Fitness(TypedDict):
    """Whether a file suits a kernel: one of file_fitness.VERDICTS, and of SEVERITIES."""

    verdict: str
    severity: str
    reason: str


class JudgedFile(LoadableFile):  # pylint: disable=duplicate-bases  # of dict, which pylint sees in both
    """And whether it suits the kernel."""

    fitness: Fitness


class CheckedFile(TypedDict, total=False):
    """A module and its fitness, as kmod_toolchain_facts returns it; one in short has no ``reason``."""

    name: str
    file: Fact[str]
    compilers: Fact[List[NamedCompiler]]
    vermagic: Fact[str]
    layout: Union[Layout, LayoutInMemory, Unavailable]
    permanent: bool
    loaded: bool
    verdict: str
    severity: str
    reason: str


class ModuleDetails(TypedDict, total=False):
    """What sysfs and modules.dep say of a loaded module (:mod:`module_details`)."""

    parameters: Dict[str, Fact[str]]
    version: Fact[str]
    srcversion: Fact[str]
    build_id: Fact[str]
    file: Fact[str]
    same_as_file: Fact[bool]


# Loads


class Reason(TypedDict):
    """Why a loaded module would not go (:mod:`diagnose`)."""

    verdict: str
    reason: str


class ModuleState(TypedDict, total=False):
    """A module as kmod_load returns it; of one that is not loaded, ``state`` alone."""

    state: str  # as in ModuleEntry
    refcount: Fact[int]
    used_by: List[str]
    permanent: bool
    build_id: Fact[str]
    srcversion: Fact[str]
    parameters: Dict[str, Fact[str]]


class Loaded(ModuleState, total=False):
    """The module of a file's name, where one is loaded, and the states of the modules that the file needs."""

    depends: Dict[str, str]
    diagnosis: Reason


class LoadOptions(TypedDict):
    """What was asked for; of a parameter, None stands for a value that no parameter can have."""

    params: Dict[str, Optional[str]]
    replace: bool


class LoadPlan(TypedDict):
    """What becomes of a file and the module of its name: load_plan.VERDICTS."""

    action: str  # none, load, replace, refuse
    verdict: str
    reason: str
    next: Optional[str]
    warnings: List[str]


class Unloading(TypedDict, total=False):
    """How the build that was loaded before was unloaded."""

    verdict: str
    reason: str
    method: str
    hazards: List[Hazard]
    after: str


class ModuleChange(TypedDict):
    """What Ansible shows with --diff."""

    before: Fact[ModuleState]
    after: Fact[ModuleState]


class LoadResult(TypedDict, total=False):
    """The return values of kmod_load."""

    changed: bool
    name: str
    verdict: str
    reason: str
    before: Fact[ModuleState]
    after: Fact[ModuleState]
    parameters: Dict[str, Fact[str]]
    kernel_log: Fact[List[str]]
    unload: Unloading
    diff: ModuleChange
    warnings: List[str]
    msg: str


# Builds


class BuiltModule(Fitness, total=False):
    """A module that was built into ``path``; ``built``: where it lies until all are."""

    name: str
    path: str
    built: str
    signed: bool
    vermagic: str
    sha256: str
    layout: Layout


class Wanted(TypedDict):
    """What a build depends on: where all is as it was, nothing is built again."""

    release: str
    kdir: str
    sources: Dict[str, str]
    config: str
    cc: str
    make_args: List[str]
    key: Optional[str]


class Stamp(TypedDict, total=False):
    """What an earlier build left beside its modules."""

    wanted: Wanted
    modules: List[BuiltModule]


class Ahead(TypedDict):
    """What is known before a build."""

    stamp: Stamp
    config: Dict[str, str]
    compiler: ChosenCompiler
    wanted: Wanted
    cross: str
    arguments: List[str]
    built: bool


class BuildResult(TypedDict):
    """The return values of kmod_build."""

    changed: bool
    modules: List[BuiltModule]
    kdir: str
    compiler: ChosenCompiler
    warnings: List[str]
    diff: Dict[str, str]
    msg: str


# Files that are checked


class ShownKernel(TypedDict):
    """The running kernel, as kmod_toolchain_facts returns it."""

    release: str
    arch: Fact[str]
    compiler: Fact[CalledCompiler]
    layout: Fact[FoundLayout]
    vermagic: Fact[str]


class Toolchain(TypedDict):
    """ansible_facts.kmod_toolchain."""

    kernel: ShownKernel
    compilers: List[HostCompiler]
    recommended_compiler: Fact[ChosenCompiler]
    headers: Headers
    modules: Dict[str, CheckedFile]
    counts: Dict[str, int]
    permanent: List[str]
    mismatched: List[str]


class Checked(TypedDict):
    """What kmod_toolchain_facts tells."""

    warnings: List[str]
    facts: Toolchain
