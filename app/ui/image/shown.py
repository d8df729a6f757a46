"""What the Image page shows, as plain values. A controller makes them; the page draws them as they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Role = Literal["plain", "amber", "red", "green"]
#: What an empty page's button does: look for Docker again, or write a manifest from this computer's ComfyUI.
EmptyAct = Literal["check", "match"]
#: ``stopping``: the user has stopped it, and it has not ended yet.
WorkState = Literal["idle", "running", "stopping"]
#: The views of the panel at the right.
SideView = Literal["manifest", "parity", "findings", "layers", "history"]


class Stage(StrEnum):
    """The four stages, in their order."""

    BUILD = "build"
    TEST = "test"
    PUSH = "push"
    DEPLOY = "deploy"


class StageState(StrEnum):
    TO_COME = "to_come"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class StepState(StrEnum):
    """A step of a build, as BuildKit has them."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    #: Its result was there from a build before.
    CACHED = "cached"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PushState(StrEnum):
    """A layer of a push."""

    WAITING = "waiting"
    PREPARING = "preparing"
    PUSHING = "pushing"
    PUSHED = "pushed"
    EXISTS = "exists"
    RETRYING = "retrying"
    FAILED = "failed"


class Parity(StrEnum):
    """How something of the image is to its like on this computer."""

    SAME = "same"
    DIFFERS = "differs"
    NOT_IN_IMAGE = "not_in_image"
    IMAGE_ONLY = "image_only"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """Of a known vulnerability, the worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    UNKNOWN = "unknown"


# Head.


@dataclass(frozen=True, slots=True)
class TagShown:
    """A tag to choose. ``reason``: why it is proposed, or when it was built: ``Date and manifest``."""

    tag: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ImageShown:
    """The image in hand.

    Attributes:
        name: registry and image, without the tag: ``marta/comfy-worker``.
        tag: the one in force.
        label: what the chooser says in place of the tag, as ``v7 · flux + wan``; empty: the tag.
        proposals, built: tags to choose: new ones, and those of builds before, the latest first.
    """

    name: str
    tag: str
    label: str = ""
    proposals: tuple[TagShown, ...] = ()
    built: tuple[TagShown, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkShown:
    """Whether anything goes on.

    Attributes:
        can_run: the stages that can be run by themselves now; Build with its button runs all four.
        why_not: a sentence for the tooltip of what cannot be run.
    """

    state: WorkState = "idle"
    can_run: frozenset[Stage] = frozenset(Stage)
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class RegistryShown:
    """The sign-in to the registry, which is Docker's own.

    Attributes:
        user: empty: nobody is signed in, or it is not known.
        login: the command that signs in, as ``docker login ghcr.io``; empty: nothing is to be done.
    """

    user: str = ""
    login: str = ""


# Stages and their log.


@dataclass(frozen=True, slots=True)
class StageShown:
    """A stage's card, and the head of its section in the log.

    Attributes:
        detail: the card's line, as ``4.4 of 7.1 GB``.
        summary: the section's, as ``6 of 9 layers``; empty: the detail.
        took_s: how long it took, or takes so far; None: nothing is said.
        part: how much of it is done, 0 to 1; None: not known.
    """

    stage: Stage
    state: StageState = StageState.TO_COME
    detail: str = ""
    summary: str = ""
    took_s: float | None = None
    part: float | None = 0.0


@dataclass(frozen=True, slots=True)
class StepShown:
    """A step of the build.

    Attributes:
        id: of BuildKit's vertex, or what else is one step's only.
        title: as ``[comfy 4/9] RUN uv sync``.
        took_s: None: not known yet.
        note: as bytes under way, or why it failed.
    """

    id: str
    title: str
    state: StepState = StepState.WAITING
    took_s: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PushedLayer:
    """A layer on its way to the registry: one line of the push's log, which changes in place.

    Attributes:
        id: the short digest.
        done, total: bytes; a ``total`` of 0: not known.
        note: as ``connection reset``.
        at: when it became so, seconds since 1970.
    """

    id: str
    state: PushState
    done: int = 0
    total: int = 0
    note: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class FailureShown:
    """Why a stage failed: title of 2 to 5 words, one or two sentences, the place as code, and what helps.

    Attributes:
        can_retry: the stage can be run again from here.
    """

    stage: Stage
    title: str
    text: str
    place: str = ""
    can_retry: bool = True


@dataclass(frozen=True, slots=True)
class MadePicture:
    """A picture that the test made. ``thumbnail``: an encoded picture of at most 256 px."""

    path: str
    thumbnail: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class ResultShown:
    """What came of the test.

    Attributes:
        text: as ``1 workflow, 1 image, 9.1 s``.
        note: as ``Tested without GPU``; a sentence about it stands in ``hint``.
        parity: as ``28 of 30 nodes are the same, 2 differ``.
        parity_role: its colour.
    """

    pictures: tuple[MadePicture, ...] = ()
    text: str = ""
    note: str = ""
    hint: str = ""
    parity: str = ""
    parity_role: Role = "plain"


# The panel at the right.


@dataclass(frozen=True, slots=True)
class Compared:
    """Something that is pinned, and how it is to the one here.

    Attributes:
        detail: as ``8.22.1 · 3c1d7e0``, or ``a91f20c · local d04be77``.
        hint: more to know, for the tooltip.
        badge: in place of the parity's word.
    """

    name: str
    detail: str
    parity: Parity
    hint: str = ""
    badge: str = ""


@dataclass(frozen=True, slots=True)
class ManifestShown:
    """The manifest compared with this computer.

    Attributes:
        base: ComfyUI, and Python, CUDA and torch in one row.
        nodes_note: as ``23 pinned``; empty: their number.
        compared: what it is compared with, at the panel's head.
        differ: how many custom nodes are not as here: a card at the foot says so, and offers to match.
        note: a sentence above the rows, as that the lock is older than the manifest.
        can_match: whether the card's button can be pressed; ``why_not``: the tooltip of one that cannot.
    """

    base: tuple[Compared, ...] = ()
    nodes: tuple[Compared, ...] = ()
    system: tuple[Compared, ...] = ()
    python: tuple[Compared, ...] = ()
    nodes_note: str = ""
    compared: str = "compared with local"
    differ: int = 0
    note: str = ""
    can_match: bool = True
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class ParityShown:
    """What a test found in the image itself. ``text``: as ``of build 2026-11-28, 14:20``."""

    nodes: tuple[Compared, ...] = ()
    packages: tuple[Compared, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class FindingShown:
    """A known vulnerability.

    Attributes:
        id: as ``CVE-2026-1234``.
        where: as ``ComfyUI's lock`` or ``image``.
        fixed_in: the version that has it no more; empty: none is known.
        address: of its description; empty: it cannot be opened.
    """

    id: str
    package: str
    version: str
    severity: Severity
    title: str = ""
    where: str = ""
    fixed_in: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A secret or private key in the build context: nothing is built with it. ``reason`` never holds it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class FindingsShown:
    """``notes``: who looked at what, as ``Image not scanned: trivy and grype are not installed.``"""

    findings: tuple[FindingShown, ...] = ()
    refused: tuple[RefusedFile, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """A layer of the built image, in bytes. ``contents``: the largest of what is in it, by name and bytes."""

    title: str
    size: int
    contents: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class LayersShown:
    """``total``: bytes of the image; 0: the sum. ``note``: as how large it is once compressed."""

    layers: tuple[ImageLayer, ...] = ()
    total: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class PastRun:
    """A build or a deployment.

    Attributes:
        what: as ``Built``, ``Pushed``, ``Deployed``.
        when: as ``today 14:02``.
        version: as ``version 7``, of a deployment.
        is_live: the endpoint runs it now.
    """

    what: str
    tag: str
    when: str
    ok: bool = True
    digest: str = ""
    endpoint: str = ""
    version: str = ""
    note: str = ""
    is_live: bool = False


# Deployment, and questions.


@dataclass(frozen=True, slots=True)
class EndpointChoice:
    """An endpoint to deploy to. ``label``: as ``comfy-flux-prod``."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class DeployShown:
    """Where it is deployed to, and the way back.

    Attributes:
        endpoints: those that can be chosen; ``endpoint``: the id of the one in force.
        refusal: why it cannot be deployed, in a sentence, as of the tag ``latest``.
        live: as ``Version 7 is live on comfy-flux-prod.``
        back: what the button goes back to, as ``version 6``; empty: there is no way back.
    """

    endpoints: tuple[EndpointChoice, ...] = ()
    endpoint: str = ""
    refusal: str = ""
    live: str = ""
    back: str = ""


@dataclass(frozen=True, slots=True)
class DeployQuestion:
    """``running``: jobs that run there now. ``version``: as ``version 7``. ``note``: one sentence more."""

    endpoint: str
    version: str
    running: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class ManifestChange:
    """``before`` is empty for what is new, ``after`` for what goes."""

    name: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class MatchQuestion:
    """What matching this computer would change in the manifest.

    Attributes:
        rebuild: it is built right after.
        note: one sentence more, as what cannot be taken over.
    """

    changes: tuple[ManifestChange, ...]
    rebuild: bool = False
    note: str = ""
