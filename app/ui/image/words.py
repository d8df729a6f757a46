"""The words of the Image page: its sentences, made from plain values, and the looks of its states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...jobs.figures import size
from ..widgets.paint import TURNS
from .shown import (
    DeployQuestion,
    Parity,
    PushedLayer,
    PushState,
    Severity,
    Stage,
    StageShown,
    StageState,
    StepState,
)

_MINUTE, _HOUR = 60, 3600
_BAR_SIGNS, _WORD_W = 24, 20
TITLES: Final[dict[Stage, str]] = {
    Stage.BUILD: "Build", Stage.TEST: "Test", Stage.PUSH: "Push", Stage.DEPLOY: "Deploy"
}  # fmt: skip
#: For the rail, while it runs.
_WORK: Final[dict[Stage, str]] = {
    Stage.BUILD: "Building image", Stage.TEST: "Testing image",
    Stage.PUSH: "Pushing image", Stage.DEPLOY: "Deploying image",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """A state's word, colour and icon."""

    text: str
    tone: str
    icon: str


STAGES: Final[dict[StageState, Look]] = {
    StageState.TO_COME: Look("To come", "grey", "circle-dashed"),
    StageState.RUNNING: Look("Running", "blue", TURNS),
    StageState.DONE: Look("Done", "green", "check"),
    StageState.FAILED: Look("Failed", "red", "x"),
    StageState.SKIPPED: Look("Skipped", "grey", "circle-minus"),
    StageState.CANCELLED: Look("Cancelled", "grey", "ban"),
}
STEPS: Final[dict[StepState, Look]] = {
    StepState.WAITING: Look("Waiting", "grey", "circle-dashed"),
    StepState.RUNNING: Look("Running", "blue", TURNS),
    StepState.DONE: Look("Done", "green", "check"),
    StepState.CACHED: Look("Cached", "green", "check"),
    StepState.FAILED: Look("Failed", "red", "x"),
    StepState.CANCELLED: Look("Cancelled", "grey", "ban"),
}
PARITY: Final[dict[Parity, Look]] = {
    Parity.SAME: Look("Same", "green", "check"),
    Parity.DIFFERS: Look("Differs", "amber", "triangle-alert"),
    Parity.NOT_IN_IMAGE: Look("Not in image", "red", "x"),
    Parity.IMAGE_ONLY: Look("Image only", "grey", "cloud"),
    Parity.UNKNOWN: Look("Unknown", "grey", "circle-dashed"),
}
SEVERITIES: Final[dict[Severity, Look]] = {
    Severity.CRITICAL: Look("Critical", "red", "circle-alert"),
    Severity.HIGH: Look("High", "red", "circle-alert"),
    Severity.MEDIUM: Look("Medium", "amber", "triangle-alert"),
    Severity.LOW: Look("Low", "grey", "info"),
    Severity.UNKNOWN: Look("Unknown", "grey", "info"),
}
#: Word and colour of a layer on its way.
_PUSHES: Final[dict[PushState, tuple[str, str]]] = {
    PushState.WAITING: ("Waiting", "text2"),
    PushState.PREPARING: ("Preparing", "text2"),
    PushState.PUSHING: ("Pushing", "blue"),
    PushState.PUSHED: ("Pushed", "green"),
    PushState.EXISTS: ("Layer already exists", "text2"),
    PushState.RETRYING: ("Retrying", "amber"),
    PushState.FAILED: ("Failed", "red"),
}


def took(seconds: float | None) -> str:
    """``48 s``, ``3 min 05 s``, ``1 h 02 min``; below ten seconds with a decimal, for steps of a build."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def detail_of(shown: StageShown) -> str:
    """A card's line; a state that is none of the usual ones says itself."""
    plain = shown.state in (StageState.SKIPPED, StageState.CANCELLED, StageState.FAILED)
    return shown.detail or (STAGES[shown.state].text if plain else "")


def spoken(shown: StageShown) -> str:
    """A stage in one sentence, for screen readers."""
    part = f"{round(shown.part * 100)} percent" if _counts(shown) and shown.part is not None else ""
    parts = (TITLES[shown.stage], STAGES[shown.state].text.lower(), shown.detail, part, took(shown.took_s))
    return ", ".join(each for each in parts if each)


def work(shown: StageShown) -> tuple[str, str]:
    """What goes on, and how much of it is done, for the rail: ``Pushing image``, ``62 %``."""
    share = f"{int(shown.part * 100)} %" if shown.part is not None else ""
    return _WORK[shown.stage], share


def layer_line(layer: PushedLayer) -> str:
    """``Pushing  [=====>   ]  1.5 GB / 2.4 GB``, ``Pushed    412 MB``."""
    word = _PUSHES[layer.state][0]
    if layer.state is PushState.PUSHING and layer.total > 0:
        filled = min(round(layer.done / layer.total * _BAR_SIGNS), _BAR_SIGNS)
        bar = f"{'=' * max(filled - 1, 0)}{'>' if filled else ''}"
        return f"{word}  [{bar:<{_BAR_SIGNS}}]  {size(layer.done)} / {size(layer.total)}"
    about = layer.note or (size(layer.total) if layer.state is PushState.PUSHED and layer.total else "")
    return f"{word:<{_WORD_W}}  {about}" if about else word


def layer_role(state: PushState) -> str:
    return _PUSHES[state][1]


def nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def differ_title(count: int) -> str:
    """``2 nodes differ from this computer``."""
    return f"{nodes(count)} {'differs' if count == 1 else 'differ'} from this computer"


def deploy_text(question: DeployQuestion) -> str:
    """``1 job is running and finishes on the old image. New jobs use version 7.``"""
    count = question.running
    jobs = f"{count} jobs are running and finish" if count > 1 else "1 job is running and finishes"
    before = f"{jobs} on the old image. " if count else ""
    note = f" {question.note}" if question.note else ""
    return f"{before}New jobs use {question.version}.{note}"


def _counts(shown: StageShown) -> bool:
    return shown.state is StageState.RUNNING and bool(shown.part)
