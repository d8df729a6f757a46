"""The words of the Models page: its sentences, made from numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...jobs.figures import size, span
from ..widgets.paint import TURNS
from .shown import Choice, ModelRow, PlanShown, RowState, RunShown, SyncState, Transport

ROOT: Final = "(models folder)"
_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class Look:
    """A state's word, colour and icon. The normal cases are plain text, no pill."""

    text: str
    tone: str
    icon: str
    is_plain: bool = False


LOOKS: Final[dict[RowState, Look]] = {
    RowState.SAME: Look("In sync", "green", "check", is_plain=True),
    RowState.UNVERIFIED: Look("Same size", "text3", "check", is_plain=True),
    RowState.CHECKING: Look("Checking", "blue", TURNS),
    RowState.LOCAL_ONLY: Look("Local only", "grey", "monitor"),
    RowState.VOLUME_ONLY: Look("Volume only", "grey", "cloud"),
    RowState.DIFFERS: Look("Differs", "amber", "triangle-alert"),
    RowState.WAITING: Look("Waiting to upload", "grey", "clock"),
    RowState.UPLOADING: Look("Uploading", "blue", "upload"),
    RowState.DOWNLOADING: Look("Downloading", "blue", "download"),
    RowState.UPLOADED: Look("Uploaded", "green", "check"),
    RowState.DOWNLOADED: Look("Downloaded", "green", "check"),
    RowState.PAUSED: Look("Paused", "amber", "pause"),
    RowState.FAILED: Look("Failed", "red", "x"),
    RowState.BROKEN: Look("Truncated", "red", "circle-alert"),
    RowState.LEFT_OUT: Look("Left out", "grey", "circle-minus"),
}
_WAITING_DOWN: Final = Look("Waiting to download", "grey", "clock")
#: States whose bytes are counted in the row.
COUNTED: Final = (RowState.UPLOADING, RowState.DOWNLOADING, RowState.PAUSED, RowState.CHECKING)
UNDER_WAY: Final = (*COUNTED, RowState.WAITING)
#: Of a row's choices those that stand in it, as a link.
REMEDIES: Final = (
    Choice.UPLOAD, Choice.DOWNLOAD, Choice.OVERWRITE, Choice.OVERWRITE_LOCAL, Choice.KEEP_BOTH, Choice.RETRY
)  # fmt: skip
#: Text of each in a menu, and the shorter one in a row.
_CHOICES: Final[dict[Choice, tuple[str, str]]] = {
    Choice.UPLOAD: ("Upload", "Upload"),
    Choice.DOWNLOAD: ("Download", "Download"),
    Choice.OVERWRITE: ("Overwrite on the volume…", "Overwrite…"),
    Choice.OVERWRITE_LOCAL: ("Download over the file here…", "Download over…"),
    Choice.KEEP_BOTH: ("Keep both", "Keep both"),
    Choice.IGNORE: ("Ignore", "Ignore"),
    Choice.RETRY: ("Retry", "Retry"),
    Choice.VERIFY: ("Compare contents", "Compare"),
    Choice.DELETE: ("Delete from the volume…", "Delete…"),
    Choice.REVEAL: ("Show in folder", "Show"),
    Choice.COPY_SHA256: ("Copy SHA-256", "Copy SHA-256"),
    Choice.COPY_PATH: ("Copy path", "Copy path"),
}


def folder_of(path: str) -> str:
    """The group of a file."""
    head, slash, _ = path.partition("/")
    return head if slash else ROOT


def name_of(path: str) -> str:
    """A file's name inside its group."""
    head, slash, rest = path.partition("/")
    return rest if slash else head


def short_name(path: str) -> str:
    """The bare name without what every model file ends with."""
    name = path.rpartition("/")[2]
    return name.removesuffix(".safetensors") or name


def goes_down(row: ModelRow) -> bool:
    """Whether a file's bytes come here."""
    return row.is_down if row.is_down is not None else row.local_size is None


def look_of(row: ModelRow) -> Look:
    if row.state is RowState.WAITING and goes_down(row):
        return _WAITING_DOWN
    return LOOKS[row.state]


def row_size(row: ModelRow) -> int:
    """The size that a row shows: of the file here, else of the volume's."""
    return (row.local_size if row.local_size is not None else row.volume_size) or 0


def part_of(row: ModelRow) -> float | None:
    """How much of a row's work is done, 0 to 1; None: there is none, or it is not known."""
    return min(row.done / row.total, 1.0) if row.total > 0 and row.state in COUNTED else None


def link_of(row: ModelRow) -> Choice | None:
    """The choice that stands in a row; none while it is under way, or is part of the next sync anyway."""
    if row.state in UNDER_WAY or row.ticked:
        return None
    return next((choice for choice in row.choices[:1] if choice in REMEDIES), None)


def choice_text(choice: Choice, *, is_short: bool = False, is_newer: bool = False) -> str:
    if choice is Choice.OVERWRITE and is_newer:
        return "Upload newer…"
    return _CHOICES[choice][1 if is_short else 0]


def row_tip(row: ModelRow) -> str:
    """A row in lines: its path, both sizes, and what there is to know."""
    here = "not on this computer" if row.local_size is None else f"this computer {size(row.local_size)}"
    there = "not on the volume" if row.volume_size is None else f"volume {size(row.volume_size)}"
    lines = (row.path, f"{here}, {there}", row.note, row.hint)
    return "\n".join(line for line in lines if line)


def spoken(row: ModelRow) -> str:
    """A row in one sentence, for screen readers."""
    where = {
        (True, True): "on this computer and on the volume", (True, False): "on this computer only",
        (False, True): "on the volume only", (False, False): "nowhere",
    }[row.local_size is not None, row.volume_size is not None]  # fmt: skip
    parts = [name_of(row.path), folder_of(row.path), size(row_size(row)), where, look_of(row).text.lower()]
    part = part_of(row)
    if part is not None:
        parts.append(f"{int(part * 100)} percent")
    if row.left_s is not None and row.state in COUNTED:
        parts.append(time_left(row.left_s))
    parts += [text.rstrip(".") for text in (row.note, row.hint) if text]
    if row.ticked is not None:
        parts.append("ticked" if row.ticked else "not ticked")
    return ", ".join(parts)


def files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def counted(shown: int, folders: int) -> str:
    """``31 files in 9 folders``."""
    return f"{files(shown)} in {'1 folder' if folders == 1 else f'{folders} folders'}"


def time_left(seconds: float) -> str:
    """``35 s left``, ``4 min left``, ``1 h 20 min left``: to 5 s, to 1 min, above ten minutes to 5 min."""
    if seconds < _MINUTE - 2.5:
        return f"{max(round(seconds / 5) * 5, 5)} s left"
    minutes = max(round(seconds / _MINUTE), 1)
    if minutes >= 10:
        minutes = round(seconds / _MINUTE / 5) * 5
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min left"
    return f"{hours} h {minutes} min left" if minutes else f"{hours} h left"


def about(seconds: float) -> str:
    """``about 11 min``."""
    return f"about {time_left(seconds).removesuffix(' left')}"


def of_size(done: int, total: int) -> str:
    """``14.2 of 34.5 GB``; the unit stands once when it is the same."""
    first, second = size(done), size(total)
    value, _, unit = first.rpartition(" ")
    if not done:
        return f"0 of {second}"
    return f"{value if second.endswith(f' {unit}') else first} of {second}"


def rate(value: float) -> str:
    """``31.8 MB/s``."""
    return f"{size(int(value))}/s"


def percent(done: int, total: int) -> str:
    """``41 %``; 100 only when all is done, nothing while the total is not known."""
    return f"{min(done * 100 // total, 100)} %" if total > 0 else ""


def plan_title(plan: PlanShown) -> str:
    """``12 files · 34.5 GB to upload · about 18 min``."""
    if plan.text or not plan.files:
        return plan.text
    parts = [files(plan.files), f"{size(plan.bytes)} to {plan.way}"]
    return " · ".join([*parts, *([about(plan.takes_s)] if plan.takes_s is not None else [])])


def plan_verb(plan: PlanShown, transport: Transport) -> str:
    return plan.verb or ("Send by code" if transport == "runpodctl" else "Sync Models")


def run_title(run: RunShown) -> str:
    """``Syncing 12 files to the volume``, ``Paused at 41 %``, ``12 files uploaded in 17 min``."""
    if run.title:
        return run.title
    at = f" at {percent(run.done, run.total)}" if run.total else ""
    verb = "downloaded" if run.is_down else "uploaded"
    match run.state:
        case SyncState.PAUSED:
            return f"Paused{at}"
        case SyncState.FAILED:
            return f"Sync stopped{at}"
        case SyncState.CANCELLED:
            return f"Stopped by you{at}"
        case SyncState.FINISHED if run.failed:
            return f"{run.files_done} of {files(run.files)} {verb}. {run.failed} failed."
        case SyncState.FINISHED:
            took = f" in {span(run.took_s)}" if run.took_s is not None else ""
            return f"{files(run.files_done)} {verb}{took}"
        case _:
            return f"Syncing {files(run.files)} {'from' if run.is_down else 'to'} the volume"


def run_bytes(run: RunShown) -> str:
    if run.total <= 0:
        return ""
    return (
        size(run.total)
        if run.state is SyncState.FINISHED and not run.failed
        else of_size(run.done, run.total)
    )


def run_parts(run: RunShown) -> str:
    """``4 of 12 files done · 31.8 MB/s``."""
    if run.state is SyncState.FINISHED:
        return ""
    parts = [f"{run.files_done} of {files(run.files)} done"] if run.files else []
    if run.rate is not None and run.state is SyncState.RUNNING:
        parts.append(rate(run.rate))
    if run.failed:
        parts.append(f"{run.failed} failed")
    return " · ".join(parts)


def run_note(run: RunShown) -> str:
    if run.state is SyncState.WAITING and not run.note:
        again = f", retry in {max(round(run.retry_s), 1)} s" if run.retry_s is not None else ""
        return f"Waiting for the network{again}"
    return run.note


def stop_text(run: RunShown, half: int) -> str:
    """What stopping a sync keeps: ``4 files are on the volume. The 2 half-sent files go on …``."""
    verb = "is" if run.files_done == 1 else "are"
    where = "on this computer" if run.is_down else "on the volume"
    kept = f"{files(run.files_done)} {verb} {where}."
    half = run.half_sent or half
    if not half:
        return kept
    word = "half-fetched" if run.is_down else "half-sent"
    if half == 1:
        return f"{kept} The {word} file goes on from where it is next time."
    return f"{kept} The {half} {word} files go on from where they are next time."


def merged(folders: Sequence[tuple[str, int]], most: int = 4) -> list[tuple[str, int]]:
    """The largest folders, and the rest as one: ``loras, vae, other``."""
    ordered = sorted(folders, key=lambda each: -each[1])
    if len(ordered) <= most:
        return ordered
    rest = ordered[most - 1 :]
    names = [name for name, _ in rest[:2]] + (["other"] if len(rest) > 2 else [])
    return [*ordered[: most - 1], (", ".join(names), sum(count for _, count in rest))]
