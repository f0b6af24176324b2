# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What travels between readers, rules and actions: dictionaries with known keys, as JSON and marshal carry them.

A fact that could not be read is :class:`Unavailable`, with the reason, in place of the value (:class:`Fact`).
"""

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple, TypeVar, Union

if TYPE_CHECKING:
    # Others have it from here.
    from typing import TypedDict as TypedDict  # noqa: PLC0414  # pylint: disable=useless-import-alias
else:
    try:
        from typing import TypedDict
    except ImportError:  # Python 3.6 and 3.7: there a dictionary, and nothing more
        class TypedDict(dict):
            """Stands in for typing.TypedDict."""

            def __init_subclass__(cls, total=True):
                """Takes what typing.TypedDict takes."""

T = TypeVar('T')


class Unavailable(TypedDict):
    """A fact that cannot be had."""

    unavailable: str


Fact = Union[T, Unavailable]
# Start and end of each part of a module's memory.
Ranges = List[Tuple[int, int]]


# The kernel and its modules, as they were read


class ModuleEntry(TypedDict, total=False):
    """A line of /proc/modules; of one that is ``absent`` or ``builtin`` name and state alone."""

    name: str
    state: str  # live, coming, going, absent, builtin
    size: int
    refcount: Fact[int]  # as the kernel shows it: without the loader's base of 1
    used_by: List[str]
    permanent: bool
    address: int
    taint: str
    struct_address: Fact[int]


class ModuleTable(TypedDict):
    """/proc/modules."""

    modules: Dict[str, ModuleEntry]
    warnings: List[str]


class StructModule(TypedDict):
    """The live struct module; ``refcount`` is raw, its base is 1."""

    module: int
    state: str
    refcount: int
    init: int
    exit: int
    source: str


class StructLayout(TypedDict, total=False):
    """The running kernel's struct module: bytes, and byte offsets of members; of a file what that tells."""

    size: int
    state: int
    list: int
    name: int
    mkobj_mod: int
    init: int
    exit: int
    refcount: int
    source: str


class Entry(TypedDict):
    """What the helper compares and writes of it."""

    state: str
    refcount: int
    init: int
    exit: int


class ExitOffsets(TypedDict):
    """Where a module's struct has the address of its exit, and where the kernel looks for it: byte offsets."""

    module: int
    kernel: int


class TaskKeys(TypedDict, total=False):
    """What is told of a task (``call``, ``module``: None if not known)."""

    pid: int
    tid: int
    kernel_thread: bool
    command: str
    function: Optional[str]
    call: str
    module: Optional[str]
    waits_in: Optional[str]  # None: it is on a CPU
    started: float  # seconds after the boot
    kernel_seconds: float


class Task(TaskKeys, total=False):
    """A task in a module's code, or inside the loader's system calls."""

    evidence: str
    what: str  # of one that is told as a holder: in a phrase
    end_with: str  # the command that ends it, or an empty text


class Tasks(TypedDict):
    """Tasks of one kind, and why some could not be read."""

    tasks: List[Task]
    unreadable: List[str]


class HolderKeys(TaskKeys, total=False):
    """What is told of a holder, by its kind."""

    kind: str
    path: Fact[str]
    fd: Optional[int]  # None: no descriptor leads to it
    device: str
    type: str  # of a file system; of an IPsec state
    namespace: Union[int, str, None]  # of a network device: None is the host's own, else a pid in it or its file
    up: bool
    carries: str
    protocol: str
    sockets: int
    algorithm: str
    driver: str
    references: int
    algorithms: List[str]
    control: str
    inode: int


class Holder(Task, HolderKeys, total=False):
    """Who uses a module."""

    counts: bool  # it holds a reference
    active: bool  # it holds none, and unloading would break something in use


class Holders(TypedDict, total=False):
    """All holders by kind; ``unread``: why others could not be looked for; ``hint``: how one looks by hand."""

    processes: Fact[List[Holder]]
    mounts: Fact[List[Holder]]
    network: Fact[List[Holder]]
    devices: Fact[List[Holder]]
    protocols: Fact[List[Holder]]
    algorithms: Fact[List[Holder]]
    others: Fact[List[Holder]]
    unread: List[str]
    hint: str
    notes: List[str]


def by_kind(holders: Holders) -> List[Tuple[str, Optional[Fact[List[Holder]]]]]:
    """The holders of each kind with its name; None where that was not looked for."""
    return [('processes', holders.get('processes')), ('mounts', holders.get('mounts')),
            ('network', holders.get('network')), ('devices', holders.get('devices')),
            ('protocols', holders.get('protocols')), ('algorithms', holders.get('algorithms')),
            ('others', holders.get('others'))]


class Oops(TypedDict, total=False):
    """A report of the kernel log (:func:`oops.oopses`), and what of it crashed (:mod:`attribution`)."""

    kind: str  # oops, warning, hung, stall, lockdep
    cause: Fact[str]
    function: Fact[str]
    offset: Fact[int]
    module: Fact[str]  # empty: the kernel itself
    task: Fact[str]
    pid: Fact[int]
    time: Fact[float]
    taint: Fact[str]
    trace: List[str]
    address: int
    number: int
    pc: int
    code_of: List[str]
    workqueue: str
    work_of: str
    loading: List[str]
    unloading: List[str]
    settled: List[str]
    last_unloaded: str
    freed_code: bool
    preempt_count: int
    waits_in: Optional[str]
    wants: str
    cache: str
    died_in: Optional[str]  # init, exit, probe, worker
    of: Optional[str]  # the module whose init, exit, probe or worker that was
    call: Optional[str]  # init, exit; None: it was not inside the loader's call
    locks: List[str]
    task_gone: bool


class Registered(TypedDict):
    """What a module registered with the kernel."""

    kind: str
    what: str
    evidence: str


class Leftover(TypedDict):
    """What a module left registered, and the kernel takes back; addresses of kernel memory."""

    kind: str  # as in compiled_helper.UNDO_KINDS
    what: str
    address: int
    other: int  # what it is registered with
    more: int
    proof: int  # where a word is that leads into the module


class Registrations(TypedDict):
    """All that was found; ``unseen``: why some could not be; ``blind``: why none could be.

    ``leftovers``: those of what was found that the kernel can take back.
    """

    found: List[Registered]
    leftovers: List[Leftover]
    unseen: List[str]
    blind: str


class Hit(TypedDict):
    """A word of kernel memory that points into a module."""

    place: str
    address: str
    target: str
    what: str


class Reachability(TypedDict):
    """What can still lead into a module; ``bytes`` of memory were read in ``seconds``."""

    answer: str  # reachable, unreachable, unknown
    reason: str
    hits: List[Hit]
    count: int
    bytes: int
    seconds: float


class LoadsRefused(TypedDict):
    """Why a helper would not be loaded, by what it lacks; empty where it would."""

    unsigned: str
    from_memory: str


class Taint(TypedDict):
    """/proc/sys/kernel/tainted."""

    value: int
    flags: List[str]


class Headers(TypedDict):
    """Where kbuild for the kernel is looked for, and whether it is there."""

    dir: str
    present: bool


class Kernel(TypedDict, total=False):
    """The running kernel."""

    release: str
    arch: str
    version_banner: Fact[str]
    taint: Fact[Taint]
    lockdown: Fact[str]
    module_signatures: Fact[str]
    loads_refused: LoadsRefused
    oops_count: Fact[int]
    modules_disabled: Fact[int]
    kptr_restrict: Fact[int]
    panic_on_oops: Fact[int]
    force_unload: Fact[bool]
    headers: Headers
    config: Fact[Dict[str, str]]
    oopses: Fact[int]  # as shown
    loader: str  # as shown


class Anchors(TypedDict, total=False):
    """Addresses that the helper needs; the last three are None before 6.5. Empty where no helper may be needed."""

    modules: int
    module_mutex: int
    idem_hash: Optional[int]
    idem_lock: Optional[int]
    idem_bytes: Optional[int]


class ModuleFacts(TypedDict, total=False):
    """All that was read of one module: what :mod:`diagnose` judges (:meth:`module_survey.Survey.module`)."""

    name: str
    kernel: Kernel
    module: ModuleEntry
    live: Fact[StructModule]
    cleanup_module: Union[int, Unavailable, None]  # the address of its exit by the symbol table; None: it has none
    exit_offsets: Fact[ExitOffsets]
    tasks: Tasks
    loader_tasks: Tasks
    namespace: str
    spinning: Fact[List[Task]]
    holders: Fact[Holders]
    holders_below: Holders
    oopses: Fact[List[Oops]]
    oopses_lost: List[str]
    reachability: Reachability
    registrations: Registrations
    anchors: Fact[Anchors]


# What was judged and planned


class Hazard(TypedDict):
    """What makes an unload unsafe: a code of hazards.HAZARDS, the reason in words, what was found."""

    code: str
    reason: str
    evidence: List[Any]


class Diagnosis(TypedDict):
    """Why a module cannot go."""

    verdict: str
    reason: str
    hazards: List[Hazard]


class Plan(TypedDict):
    """The one step that gets a module out (``none``: no step); ``refusal``: why none is taken; ``next``: what to do."""

    method: str
    runs_exit: bool
    refusal: Optional[str]
    next: Optional[str]
