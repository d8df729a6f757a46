"""What the ComfyUI page shows, as plain values. A controller makes them; the page draws them as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``watched``: it runs, and somebody else started it.
RunState = Literal["not_set_up", "stopped", "starting", "running", "stopping", "crashed", "watched"]
NodeState = Literal["active", "inactive", "missing", "watched"]
PackState = Literal["loaded", "slow", "failed", "disabled", "busy", "unknown"]
StepState = Literal["waiting", "running", "done", "failed", "skipped"]
InstallState = Literal["running", "stopping", "failed", "cancelled", "done"]
Torch = Literal["default", "cpu", "rocm", "custom"]
#: The names of :class:`Options`, by which a problem of one of them is told.
OptionName = Literal["arguments", "environment", "port", "models"]
#: The names of :class:`InstallWish`.
WishName = Literal["folder", "repository", "version", "torch", "index"]


@dataclass(frozen=True, slots=True)
class Act:
    """A button: its key comes back when it is pressed. ``tip`` says why one that is not enabled is not."""

    key: str
    text: str
    kind: Literal["primary", "secondary", "danger"] = "secondary"
    tip: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Figures:
    """The card at the top. What is not known is empty and shown as a dash.

    Attributes:
        since: such as ``since 09:12 · 5 h 20 min``.
        vram: such as ``7.9 / 12 GB``.
        vram_part: how much of it is in use, 0 to 1; None: not known.
    """

    state: RunState
    since: str = ""
    address: str = ""
    gpu: str = ""
    gpu_memory: str = ""
    vram: str = ""
    vram_part: float | None = None


@dataclass(frozen=True, slots=True)
class Crash:
    """Why it does not run: title of 2 to 5 words, one or two sentences, the place, further remedies."""

    title: str
    text: str
    place: str = ""
    remedies: tuple[Act, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """The interception node. Empty texts have no row."""

    state: NodeState
    routing: str = ""
    version: str = ""
    last_job: str = ""
    acts: tuple[Act, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """How ComfyUI is started, as it is typed.

    Attributes:
        environment: one ``NAME=VALUE`` a line.
        port: a number; empty: one is chosen by itself.
        models: a folder; empty: the installation's own.
    """

    arguments: str = ""
    environment: str = ""
    port: str = ""
    models: str = ""


@dataclass(frozen=True, slots=True)
class InstallFacts:
    """The installation in use. Empty texts have no row.

    Attributes:
        options: what its editors begin with.
        note: something to know of it, as that a change counts from the next start.
    """

    folder: str
    version: str = ""
    python: str = ""
    models: str = ""
    output: str = ""
    arguments: str = ""
    port: str = ""
    options: Options = Options()
    note: str = ""


@dataclass(frozen=True, slots=True)
class PackRow:
    """A custom node.

    Attributes:
        note: at the right of its row: ``1.1 s``, ``import failed``, ``disabled``.
        commit: the short one.
        error: what Python said when it was imported.
        actions: of ``update``, ``disable``, ``enable`` and ``remove`` those that can be asked for.
    """

    name: str
    state: PackState
    note: str = ""
    repository: str = ""
    commit: str = ""
    version: str = ""
    error: str = ""
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstallWish:
    """What is to be installed.

    Attributes:
        version: a tag, branch or commit; empty: the newest release.
        index: the address of a Python package index, for a ``custom`` torch only.
    """

    folder: str = ""
    repository: str = ""
    version: str = ""
    torch: Torch = "default"
    index: str = ""


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step of an installation. ``part``: how much of it is done, 0 to 1; None: not known."""

    title: str
    state: StepState = "waiting"
    detail: str = ""
    duration: str = ""
    part: float | None = 0.0


@dataclass(frozen=True, slots=True)
class InstallRun:
    """An installation under way, or how it ended.

    Attributes:
        total: such as ``Step 3 of 5 · about 4 min left``.
        problem: why it failed, in a sentence.
    """

    state: InstallState
    steps: tuple[StepRow, ...]
    total: str = ""
    part: float | None = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A package that changes. ``before`` is empty for a new one, ``after`` for one that goes."""

    name: str
    before: str = ""
    after: str = ""
    is_conflict: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What a custom node would change in Python's environment.

    Attributes:
        conflicts: sentences: who will not work with the changes.
        verb: of the button, with ``anyway`` where there are conflicts.
    """

    title: str
    changes: tuple[ChangeRow, ...]
    conflicts: tuple[str, ...] = ()
    text: str = ""
    verb: str = "Install"
