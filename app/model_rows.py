"""How files stand and how far a sync is, as the Models page shows it. Knows no Qt and decides nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from .errors import ComfyRunPodError
from .jobs.figures import size
from .s3.records import RunRecord
from .sync.known import Header
from .sync.model import Act, Entry, FilePhase, FileProgress, Phase, Plan, Progress, Standing
from .ui.models.shown import (
    Choice,
    EarlierShown,
    KnownShown,
    LaneShown,
    ModelRow,
    PlanShown,
    RowState,
    RunShown,
    SyncState,
)

_STATES: Final[Mapping[Standing, RowState]] = {
    Standing.SAME: RowState.SAME,
    Standing.UNVERIFIED: RowState.UNVERIFIED,
    Standing.DIFFERS: RowState.DIFFERS,
    Standing.HERE: RowState.LOCAL_ONLY,
    Standing.THERE: RowState.VOLUME_ONLY,
    Standing.BROKEN: RowState.BROKEN,
    Standing.LEFT_OUT: RowState.LEFT_OUT,
}
_HERE = (Choice.REVEAL, Choice.COPY_PATH, Choice.COPY_SHA256)
_CHOICES: Final[Mapping[Standing, tuple[Choice, ...]]] = {
    Standing.SAME: (Choice.VERIFY, *_HERE),
    Standing.UNVERIFIED: (Choice.VERIFY, Choice.OVERWRITE, Choice.OVERWRITE_LOCAL, *_HERE),
    Standing.DIFFERS: (
        *(Choice.OVERWRITE, Choice.OVERWRITE_LOCAL, Choice.KEEP_BOTH, Choice.IGNORE, Choice.VERIFY),
        *_HERE,
    ),
    Standing.HERE: (Choice.UPLOAD, *_HERE),
    Standing.THERE: (Choice.DOWNLOAD, Choice.COPY_PATH, Choice.DELETE),
    Standing.BROKEN: _HERE,
    Standing.LEFT_OUT: (Choice.COPY_PATH,),
}
_RUN_STATES: Final[Mapping[Phase, SyncState]] = {
    Phase.RUNNING: SyncState.RUNNING,
    Phase.PAUSED: SyncState.PAUSED,
    Phase.FINISHED: SyncState.FINISHED,
    Phase.STOPPED: SyncState.CANCELLED,
    Phase.FAILED: SyncState.FAILED,
}
#: In English whatever the system speaks, as all that is around them.
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: Standings of which the user says file by file whether they are part of a sync, and what is usual.
USUAL: Final[Mapping[Standing, bool]] = {Standing.HERE: True, Standing.THERE: False}


def row_of(entry: Entry, ticked: bool | None) -> ModelRow:
    """A file while nothing is done with it."""
    here, there = entry.here, entry.there
    usual = USUAL.get(entry.standing)
    newer = bool(here and there and here.mark.mtime_ns / 1e9 > there.changed_at)
    return ModelRow(
        path=str(entry.path),
        local_size=None if here is None else here.mark.size,
        volume_size=None if there is None else there.size,
        state=_STATES[entry.standing],
        note=entry.why if entry.standing in (Standing.BROKEN, Standing.LEFT_OUT) else "",
        hint=entry.why or (f"{size(entry.begun)} of it are on the volume already." if entry.begun else ""),
        ticked=None if usual is None else usual if ticked is None else ticked,
        usual_tick=bool(usual),
        choices=_CHOICES[entry.standing],
        is_newer=newer,
        versus="" if there is None else _versus("The volume's file", not newer, there.size, there.changed_at),
        versus_local=""
        if here is None
        else _versus("The file here", newer, here.mark.size, here.mark.mtime_ns / 1e9),
    )


def _versus(what: str, newer: bool, length: int, at: float) -> str:
    try:
        day = datetime.fromtimestamp(at)
    except (ValueError, OverflowError, OSError):
        # Of a drive or a server whose times are none.
        return f"{what} has {size(length)}."
    when = f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
    return f"{what} is {'newer' if newer else 'older'} ({size(length)}, {when})."


def moving_row(row: ModelRow, file: FileProgress, *, paused: bool) -> ModelRow:
    """The same file while a sync is at it."""
    down = file.act is Act.DOWNLOAD
    state, note, hint = RowState.WAITING, "", row.hint
    choices: tuple[Choice, ...] = tuple(each for each in row.choices if each in _HERE)
    local, volume = row.local_size, row.volume_size
    match file.phase:
        case FilePhase.RUNNING if paused:
            state = RowState.PAUSED
        case FilePhase.RUNNING:
            state = RowState.DOWNLOADING if down else RowState.UPLOADING
        case FilePhase.CHECKING:
            state = RowState.CHECKING
        case FilePhase.DONE:
            state, choices = (RowState.DOWNLOADED if down else RowState.UPLOADED), (Choice.VERIFY, *_HERE)
            local, volume = (file.size, volume) if down else (local, file.size)
            hint = _PROOFS.get(file.proof, "")
        case FilePhase.FAILED:
            state, choices = RowState.FAILED, (Choice.RETRY, *choices)
            if file.problem is not None:
                note, hint = file.problem.summary, file.problem.hint
        case _:
            pass
    return ModelRow(
        row.path, local, volume, state, file.done, file.size, file.left_s, note, hint,
        choices=choices, is_down=down,
    )  # fmt: skip


_PROOFS: Final[Mapping[str, str]] = {
    "etag": "Every part was checked, and the whole by the volume's own checksum.",
    "sha256": "Checked by SHA-256.",
    "spot": "Every part was checked, and pieces of the whole were read back.",
    "size": "Checked by its size.",
}


def plan_of(
    plan: Plan, needs: ComfyRunPodError | None, *, busy: bool, checked_at: float, pod: bool
) -> PlanShown:
    """The card while nothing is moved.

    Args:
        needs: why there is no volume to compare with.
        pod: models go to a pod, and not to the volume.
    """
    if busy:
        return PlanShown("Comparing…", busy=True)
    if needs is not None and not pod:
        return PlanShown(needs.summary, note=needs.hint, role="amber")
    if plan.obstacle:
        return PlanShown(
            "Not enough room on the volume", plan.files, plan.size, plan.obstacle, "red", takes_s=plan.seconds
        )
    note = " ".join((*_differing(plan), *plan.warnings))
    if not plan.files:
        clock = datetime.fromtimestamp(checked_at)
        text = "Nothing to sync." if note else "Everything is in sync."
        return PlanShown(f"{text} Checked {clock:%H:%M}.", note=note, role="amber" if note else "green")
    acts = {step.act for step in plan.steps}
    way = "upload" if acts == {Act.UPLOAD} else "download" if acts == {Act.DOWNLOAD} else "move"
    return PlanShown(
        files=plan.files, bytes=plan.size, note=note, role="amber" if plan.warnings else "plain",
        can_sync=True, takes_s=None if pod else plan.seconds, verb="Send by code" if pod else "",
        way="send" if pod else way,
    )  # fmt: skip


def _differing(plan: Plan) -> tuple[str, ...]:
    if not plan.differing:
        return ()
    count = "1 file differs and stays" if plan.differing == 1 else f"{plan.differing} files differ and stay"
    return (f"{count} as {'it is' if plan.differing == 1 else 'they are'} unless you choose.",)


def run_of(progress: Progress, started: float) -> RunShown:
    """The card during a sync, and at its end."""
    state = _RUN_STATES[progress.phase]
    note, retry = "", None
    if progress.problem is not None:
        note = f"{progress.problem.summary} {progress.problem.hint}".strip()
    elif progress.waits is not None and state is SyncState.RUNNING:
        state, note, retry = SyncState.WAITING, *progress.waits
    ended = state in (SyncState.FINISHED, SyncState.FAILED, SyncState.CANCELLED)
    return RunShown(
        done=progress.done, total=progress.total, files_done=progress.files_done, files=progress.files,
        rate=progress.rate, left_s=progress.left_s, state=state, note=note, retry_s=retry,
        failed=progress.failed, took_s=time.monotonic() - started if ended else None,
        is_down=progress.is_down,
    )  # fmt: skip


def lane_of(file: FileProgress) -> LaneShown:
    return LaneShown(str(file.path), file.done, file.size, file.rate, is_down=file.act is Act.DOWNLOAD)


def known_of(path: str, sha256: str, header: Header | None, problem: str, note: str) -> KnownShown:
    if header is None:
        return KnownShown(path, sha256, problem=problem, sha256_note=note)
    extra = [("Tensors", f"{header.tensors:,}")] if header.tensors else []
    extra += [("Data type", header.dtype)] if header.dtype else []
    extra += [("Title", header.title)] if header.title else []
    return KnownShown(
        path,
        sha256,
        header.kind,
        header.base_model,
        header.triggers,
        (*extra, *header.details),
        problem,
        note,
    )


def earlier_of(run: RunRecord, now: float) -> EarlierShown:
    result = run.result or {}
    done, files, failed = (_count(result.get(name)) for name in ("done", "files", "failed"))
    well = result.get("phase") == Phase.FINISHED and not failed
    counted = f"{files} file{'' if files == 1 else 's'}" if well else f"{done} of {files} files"
    tail = size(_count(result.get("bytes"))) if well else "stopped" if not failed else f"{failed} failed"
    then, today = datetime.fromtimestamp(run.started), datetime.fromtimestamp(now)
    days = (today.date() - then.date()).days
    day = (
        "today"
        if not days
        else "yesterday"
        if days == 1
        else _DAYS[then.weekday()]
        if days < 7
        else f"{then.day} {_MONTHS[then.month - 1]}"
    )
    return EarlierShown(f"{counted} · {tail}", f"{day} {then:%H:%M}", ok=well)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
