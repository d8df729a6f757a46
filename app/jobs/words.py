"""The words of a job, as every surface shows them: the window's rows and pills, and the command line.

Plain data. The texts are the design's; a test holds the two together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from worker.contract import Progress

from .cards import headline
from .costs import cost_of, money
from .figures import ago, day_of, duration, ended_at, ordinal, ran_s, size, span, waited_s
from .model import FROM_COMFYUI, Job, OutputFile
from .states import UNSENT, Hold, State
from .targets import DEMO, LOCAL, is_remote
from .timeline import Point, timeline

__all__ = [
    "LOST_CONTACT",
    "PILLS",
    "Group",
    "Pill",
    "Point",
    "ago",
    "cost",
    "cost_parts",
    "duration",
    "group",
    "is_remote",
    "makes",
    "ordinal",
    "pill",
    "ran_s",
    "second_line",
    "size",
    "span",
    "spoken",
    "target_name",
    "timeline",
    "waited_s",
]


@dataclass(frozen=True, slots=True)
class Pill:
    """A state as the window shows it.

    Attributes:
        tone: grey, blue, amber, green, red or violet.
        icon: Lucide's name.
    """

    text: str
    tone: str
    icon: str


PILLS: Final[dict[State, Pill]] = {
    State.PREPARING: Pill("Preparing", "grey", "loader-circle"),
    State.ON_HOLD: Pill("On hold", "amber", "pause"),
    State.UPLOADING: Pill("Uploading", "violet", "upload"),
    State.SUBMITTING: Pill("Sending", "violet", "upload"),
    State.WAITING: Pill("Waiting", "grey", "clock"),
    State.STARTING: Pill("Starting worker", "amber", "hourglass"),
    State.RUNNING: Pill("Running", "blue", "loader-circle"),
    State.CANCELLING: Pill("Cancelling", "grey", "loader-circle"),
    State.DOWNLOADING: Pill("Downloading", "violet", "download"),
    State.DONE: Pill("Done", "green", "check"),
    State.FAILED: Pill("Failed", "red", "x"),
    State.CANCELLED: Pill("Cancelled", "grey", "ban"),
    State.TIMED_OUT: Pill("Timed out", "red", "clock"),
}
LOST_CONTACT: Final = Pill("Lost contact", "amber", "plug")

_HOLDS: Final[dict[Hold, str]] = {
    Hold.MISSING: "Something is missing",
    Hold.LIMIT: "Daily limit reached",
    Hold.MAYBE_SENT: "May have been sent",
    Hold.ENGINE_DOWN: "Not reachable, trying again",
}
#: One and several of each kind of result.
_KINDS: Final[dict[str, tuple[str, str]]] = {
    "image": ("image", "images"),
    "animation": ("animation", "animations"),
    "video": ("video", "videos"),
    "audio": ("audio", "audios"),
    "model3d": ("3D model", "3D models"),
    "text": ("text", "texts"),
    "file": ("file", "files"),
}
#: An animation may be an image by the type of its file.
_KINDS_OF: Final = {"animation": {"animation", "image"}}
_SHAPES: Final = (".glb", ".gltf", ".obj", ".stl", ".ply", ".fbx", ".usdz")


class Group(StrEnum):
    """A section of the list of jobs, in the order shown."""

    RUNNING = "running"
    WAITING = "waiting"
    TODAY = "today"
    YESTERDAY = "yesterday"
    EARLIER = "earlier"

    @property
    def title(self) -> str:  # type: ignore[override]  # a group is no text to be put in title case
        return _GROUP_TITLES[self]


_GROUP_TITLES: Final[dict[Group, str]] = {
    Group.RUNNING: "Running",
    Group.WAITING: "Waiting",
    Group.TODAY: "Finished today",
    Group.YESTERDAY: "Yesterday",
    Group.EARLIER: "Earlier",
}


def pill(job: Job) -> Pill:
    """The pill of a job: its state, or that there is no news of it."""
    if job.lost_contact_since is not None and not job.is_final:
        return LOST_CONTACT
    return PILLS[job.state]


def second_line(job: Job, progress: Progress | None, place: int | None, now: float) -> str:
    """What stands under the pill. ``place`` is the job's in its target's queue, from 1."""
    if job.lost_contact_since is not None and not job.is_final:
        return f"No news for {span(now - job.lost_contact_since)}, still asking"
    match job.state:
        case State.ON_HOLD:
            return _on_hold(job)
        case State.WAITING:
            return f"{ordinal(place)} in queue" if place is not None else "In the queue"
        case State.RUNNING:
            return _running(progress)
        case State.DOWNLOADING:
            return _counted(job.outputs) or "Fetching results"
        case State.DONE:
            return _saved(job)
        case State.FAILED:
            return headline(job) or "No reason was given"
        case State.TIMED_OUT:
            ran = ran_s(job, now)
            said = headline(job) or "Stopped at the time limit"
            return said if ran is None else f"Stopped after {span(ran)}"
        case State.CANCELLED:
            return headline(job) or "Cancelled by you"
        case _:
            return {
                State.PREPARING: "Checking models",
                State.UPLOADING: "Sending inputs",
                State.SUBMITTING: "Sending the job",
                State.STARTING: "A worker is starting",
                State.CANCELLING: "Waiting for the worker to stop",
            }[job.state]


def makes(job: Job) -> str:
    """What a job makes, ``4 images · 896 × 1152``; once its results are known, what it has made."""
    wanted = job.expected
    if job.outputs or job.state is State.DONE:
        kinds = {_kind(output) for output in job.outputs}
        text = _counted(job.outputs, len(job.texts)) or "No files"
        same = wanted is not None and bool(kinds) and kinds <= _KINDS_OF.get(wanted.kind, {wanted.kind})
    elif wanted is not None:
        text, same = _some(wanted.kind, wanted.count), True
    else:
        return ""
    parts = [text]
    if wanted is not None and same and wanted.width is not None and wanted.height is not None:
        parts.append(f"{wanted.width} × {wanted.height}")
    return " · ".join([*parts, *(["from ComfyUI"] if job.origin == FROM_COMFYUI else [])])


def cost(job: Job, now: float) -> str:
    """What a job cost, or has so far; ``–`` for what costs nothing, empty while the price is not known."""
    if not is_remote(job.target):
        return "–"
    known = cost_of(job, now)
    return "" if known is None else money(known.total)


def cost_parts(job: Job, now: float) -> str:
    """How a job's cost comes about, in one line; empty while it is not known."""
    known = cost_of(job, now)
    if known is None or job.rate is None:
        return ""
    ran = ran_s(job, now) or 0.0
    on = f" on {job.gpu}" if job.gpu else ""
    if not job.is_final:
        return f"Estimate from {duration(ran)}{on} at ${job.rate:.5f} / s"
    parts = [f"run {money(known.run)}"]
    if known.start:
        parts.insert(0, f"start {money(known.start)}")
    if known.idle:
        parts.append(f"idle {money(known.idle)}")
    return f"{', '.join(parts)}{on} at ${job.rate:.5f} / s. An estimate: RunPod's bill decides"


def group(job: Job, now: float) -> Group:
    """The section that a job belongs to; days are the local calendar's."""
    if not job.is_final:
        begun = job.state in (State.RUNNING, State.DOWNLOADING) or job.started_at is not None
        return Group.RUNNING if begun else Group.WAITING
    day, today = day_of(ended_at(job)), day_of(now)
    if day >= today:
        return Group.TODAY
    return Group.YESTERDAY if day == today - timedelta(days=1) else Group.EARLIER


def target_name(target: str) -> str:
    """A target as people call it; an endpoint on RunPod by its id."""
    return {LOCAL: "This computer", DEMO: "Demo engine"}.get(target, target)


def spoken(job: Job, progress: Progress | None, now: float, *, place: int | None = None) -> str:
    """A job in one sentence, for screen readers."""
    where = {LOCAL: "this computer", DEMO: "the demo engine"}.get(job.target, "RunPod")
    between = "for" if job.state in UNSENT else "on"
    parts = [job.name, f"{pill(job).text.lower()} {between} {where}"]
    if job.state is State.RUNNING and progress is not None and job.lost_contact_since is None:
        parts.append(f"{progress.fraction * 100:.0f} percent")
        if progress.class_type:
            steps = f" step {progress.step} of {progress.steps}" if progress.steps > 1 else ""
            parts.append(f"{progress.class_type}{steps}")
    else:
        parts.append(second_line(job, progress, place, now).rstrip("."))
    for word, seconds in (("waited", waited_s(job, now)), ("ran", ran_s(job, now))):
        if seconds is not None:
            parts.append(f"{word} {_said(seconds)}")
    return ", ".join(parts)


def _on_hold(job: Job) -> str:
    if job.hold is Hold.MAYBE_SENT:
        return _HOLDS[job.hold]
    return headline(job) or _HOLDS.get(job.hold or Hold.MISSING, "")


def _running(progress: Progress | None) -> str:
    if progress is None:
        return "Started"
    if progress.class_type:
        steps = f" · {progress.step} / {progress.steps}" if progress.steps > 1 else ""
        return f"{progress.class_type}{steps}"
    return f"{progress.nodes_done} / {progress.nodes_total} nodes" if progress.nodes_total else "Started"


def _saved(job: Job) -> str:
    if not job.outputs:
        return "Done, a text" if job.texts else "Done, no files"
    sizes = [output.size for output in job.outputs if output.size is not None]
    return f"Saved, {size(sum(sizes))}" if len(sizes) == len(job.outputs) else "Saved"


def _counted(outputs: tuple[OutputFile, ...], texts: int = 0) -> str:
    counts = Counter(_kind(output) for output in outputs)
    counts["text"] += texts if not outputs else 0
    return ", ".join(_some(kind, counts[kind]) for kind in _KINDS if counts[kind])


def _some(kind: str, count: int | None) -> str:
    one, many = _KINDS.get(kind, _KINDS["file"])
    if count is None:
        return many[0].upper() + many[1:]
    return f"{count} {one if count == 1 else many}"


def _kind(output: OutputFile) -> str:
    main, _, sub = output.media_type.partition("/")
    if output.filename.lower().endswith(_SHAPES) or main == "model":
        return "model3d"
    if main == "image":
        return "animation" if sub == "gif" else "image"
    return main if main in ("video", "audio", "text") else "file"


def _said(seconds: float) -> str:
    """A duration in words: ``18 seconds``, ``3 minutes 5 seconds``."""
    minutes, rest = divmod(max(int(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    named = [(hours, "hour"), (minutes, "minute"), (rest, "second")]
    parts = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in named if count]
    return " ".join(parts[:2]) or "0 seconds"
