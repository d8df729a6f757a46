"""The Models page's values: a row for each standing and phase, cards, and earlier runs."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from app.errors import NeedsSetup, Problem
from app.model_rows import USUAL, earlier_of, known_of, lane_of, moving_row, plan_of, row_of, run_of
from app.s3.bucket import Stat
from app.s3.records import FileMark, RunRecord
from app.sync.known import Header
from app.sync.model import Act, Entry, FilePhase, FileProgress, LocalFile, Phase, Plan, Progress, Standing
from app.ui.models.shown import Choice, RowState, SyncState

PATH = PurePosixPath("loras/a.pt")
MAY, JUNE = datetime(2026, 5, 12, 9).timestamp(), datetime(2026, 6, 1, 9).timestamp()
WHY = "It is so."


def entry(
    standing: Standing,
    *,
    here: int | None = 2_000_000,
    there: int | None = 343_000_000,
    at: float = JUNE,
    **more: Any,
) -> Entry:
    local = None if here is None else LocalFile(PATH, Path("a.pt"), FileMark(here, int(at * 1e9)))
    stat = None if there is None else Stat("a", there, "e", MAY)
    return Entry(PATH, local, stat, standing, **more)


@pytest.mark.parametrize(
    ("standing", "state", "remedy"),
    [
        (Standing.SAME, RowState.SAME, Choice.VERIFY),
        (Standing.UNVERIFIED, RowState.UNVERIFIED, Choice.VERIFY),
        (Standing.DIFFERS, RowState.DIFFERS, Choice.OVERWRITE),
        (Standing.HERE, RowState.LOCAL_ONLY, Choice.UPLOAD),
        (Standing.THERE, RowState.VOLUME_ONLY, Choice.DOWNLOAD),
        (Standing.BROKEN, RowState.BROKEN, Choice.REVEAL),
        (Standing.LEFT_OUT, RowState.LEFT_OUT, Choice.COPY_PATH),
    ],
)
def test_each_standing_has_its_state_and_its_remedy(
    standing: Standing, state: RowState, remedy: Choice
) -> None:
    row = row_of(entry(standing, why=WHY), None)
    assert (row.path, row.state, row.choices[0]) == ("loras/a.pt", state, remedy)
    assert (row.local_size, row.volume_size) == (2_000_000, 343_000_000)
    assert row.hint == WHY
    # Said in the row itself only where nothing can be done about it on this page.
    assert row.note == (WHY if standing in (Standing.BROKEN, Standing.LEFT_OUT) else "")
    may_be_ticked = standing in (Standing.HERE, Standing.THERE)
    assert (row.ticked is not None) == may_be_ticked
    assert (Choice.DELETE in row.choices) == (standing is Standing.THERE)


def test_every_standing_has_a_row() -> None:
    for standing in Standing:
        assert row_of(entry(standing), None).choices


def test_ticks_are_the_users_or_the_usual_ones() -> None:
    assert {standing: row_of(entry(standing), None).ticked for standing in USUAL} == USUAL
    for standing, usual in USUAL.items():
        assert row_of(entry(standing), not usual).ticked is not usual
        assert row_of(entry(standing), not usual).usual_tick is usual
    assert row_of(entry(Standing.SAME), True).ticked is None


def test_a_file_of_one_side_has_one_size() -> None:
    row = row_of(entry(Standing.HERE, there=None), None)
    assert (row.local_size, row.volume_size, row.versus) == (2_000_000, None, "")
    row = row_of(entry(Standing.THERE, here=None), None)
    assert (row.local_size, row.volume_size, row.versus_local) == (None, 343_000_000, "")


def test_what_would_be_overwritten_is_told_with_size_and_day() -> None:
    row = row_of(entry(Standing.DIFFERS), None)
    assert row.is_newer
    assert row.versus == "The volume's file is older (343 MB, 12 May 2026)."
    assert row.versus_local == "The file here is newer (2.0 MB, 1 June 2026)."
    row = row_of(entry(Standing.DIFFERS, at=MAY - 86_400), None)
    assert not row.is_newer
    assert row.versus == "The volume's file is newer (343 MB, 12 May 2026)."
    assert row.versus_local == "The file here is older (2.0 MB, 11 May 2026)."


@pytest.mark.parametrize("at", [1e12, 1e18, -1e18])
def test_a_time_that_is_none_is_not_told(at: float) -> None:
    row = row_of(entry(Standing.DIFFERS, at=at), None)
    assert row.versus_local == "The file here has 2.0 MB."


def test_a_begun_upload_is_told() -> None:
    assert (
        row_of(entry(Standing.HERE, begun=1_500_000), None).hint == "1.5 MB of it are on the volume already."
    )
    assert row_of(entry(Standing.HERE, begun=1_500_000, why=WHY), None).hint == WHY


# While a sync is at it.


def file(phase: FilePhase, act: Act = Act.UPLOAD, **more: Any) -> FileProgress:
    return FileProgress(PATH, act, 2_000_000, 500_000, phase, 1e6, 1.5, **more)


@pytest.mark.parametrize(
    ("phase", "up", "down"),
    [
        (FilePhase.WAITING, RowState.WAITING, RowState.WAITING),
        (FilePhase.RUNNING, RowState.UPLOADING, RowState.DOWNLOADING),
        (FilePhase.CHECKING, RowState.CHECKING, RowState.CHECKING),
        (FilePhase.DONE, RowState.UPLOADED, RowState.DOWNLOADED),
        (FilePhase.FAILED, RowState.FAILED, RowState.FAILED),
    ],
)
def test_each_phase_has_its_state(phase: FilePhase, up: RowState, down: RowState) -> None:
    here = row_of(entry(Standing.HERE, there=None), None)
    there = row_of(entry(Standing.THERE, here=None), None)
    sent = moving_row(here, file(phase), paused=False)
    fetched = moving_row(there, file(phase, Act.DOWNLOAD), paused=False)
    assert (sent.state, fetched.state) == (up, down)
    assert (sent.is_down, fetched.is_down) == (False, True)
    assert (sent.done, sent.total, sent.left_s) == (500_000, 2_000_000, 1.5)
    # Only what is done is on both sides, and only then something can be compared.
    done = phase is FilePhase.DONE
    assert (sent.local_size, sent.volume_size) == (2_000_000, 2_000_000 if done else None)
    assert (fetched.local_size, fetched.volume_size) == (2_000_000 if done else None, 343_000_000)
    assert (Choice.VERIFY in sent.choices) == done
    assert not {Choice.UPLOAD, Choice.DOWNLOAD, Choice.DELETE} & {*sent.choices, *fetched.choices}


def test_paused_only_what_was_under_way_is_paused() -> None:
    row = row_of(entry(Standing.HERE, there=None), None)
    assert moving_row(row, file(FilePhase.RUNNING), paused=True).state is RowState.PAUSED
    for phase in set(FilePhase) - {FilePhase.RUNNING}:
        assert (
            moving_row(row, file(phase), paused=True).state
            is moving_row(row, file(phase), paused=False).state
        )


def test_a_failure_is_told_with_what_to_do() -> None:
    row = row_of(entry(Standing.HERE, there=None), None)
    failed = moving_row(row, file(FilePhase.FAILED, problem=Problem("It broke.", "Try again.")), paused=False)
    assert (failed.note, failed.hint, failed.choices[0]) == ("It broke.", "Try again.", Choice.RETRY)
    assert moving_row(row, file(FilePhase.FAILED), paused=False).note == ""


@pytest.mark.parametrize("proof", ["etag", "sha256", "spot", "size"])
def test_what_proves_that_a_file_arrived_is_told(proof: str) -> None:
    row = row_of(entry(Standing.HERE, there=None), None)
    assert "hecked" in moving_row(row, file(FilePhase.DONE, proof=proof), paused=False).hint


def test_a_lane_is_a_file_on_its_way() -> None:
    lane = lane_of(file(FilePhase.RUNNING, Act.DOWNLOAD))
    assert (lane.path, lane.done, lane.total, lane.rate, lane.is_down) == (
        "loras/a.pt",
        500_000,
        2_000_000,
        1e6,
        True,
    )


# The card.

AT = datetime(2026, 6, 1, 9, 5).timestamp()


def test_the_plans_card() -> None:
    def shown(plan: Plan, **more: Any) -> Any:
        return plan_of(
            plan, more.pop("needs", None), **({"busy": False, "checked_at": AT, "pod": False} | more)
        )

    some = Plan(files=3, size=10**9, seconds=60.0)
    card = shown(some)
    assert (card.files, card.bytes, card.takes_s, card.can_sync, card.role) == (3, 10**9, 60.0, True, "plain")
    pod = shown(some, pod=True)
    assert (pod.verb, pod.takes_s, pod.can_sync) == ("Send by code", None, True)
    warned = shown(replace(some, warnings=("The volume will be nearly full.", "Truncated, and not sent: x.")))
    assert (warned.role, warned.can_sync) == ("amber", True)
    assert warned.note == "The volume will be nearly full. Truncated, and not sent: x."
    full = shown(replace(some, obstacle="60.0 GB to upload, 59.0 GB free."))
    assert (full.text, full.note, full.role) == (
        "Not enough room on the volume", "60.0 GB to upload, 59.0 GB free.", "red",
    )  # fmt: skip
    assert not full.can_sync
    done = shown(Plan())
    assert (done.text, done.role, done.can_sync) == ("Everything is in sync. Checked 09:05.", "green", False)
    assert shown(Plan(warnings=("Truncated, and not sent: x.",))).role == "amber"
    busy = shown(some, busy=True)
    assert (busy.text, busy.busy, busy.can_sync) == ("Comparing…", True, False)
    needs = shown(some, needs=NeedsSetup("No network volume is set.", hint="Pick one."))
    assert (needs.text, needs.note, needs.can_sync) == ("No network volume is set.", "Pick one.", False)
    # A pod needs no volume's key.
    assert shown(some, needs=NeedsSetup("No key."), pod=True).can_sync


def progress(phase: Phase, **more: Any) -> Progress:
    return Progress(phase, 5, 10, 1, 2, 0, 3.0, 4.0, **more)


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        (Phase.RUNNING, SyncState.RUNNING),
        (Phase.PAUSED, SyncState.PAUSED),
        (Phase.FINISHED, SyncState.FINISHED),
        (Phase.STOPPED, SyncState.CANCELLED),
        (Phase.FAILED, SyncState.FAILED),
    ],
)
def test_the_runs_card(phase: Phase, state: SyncState) -> None:
    card = run_of(progress(phase), time.monotonic() - 5)
    assert (card.state, card.done, card.total, card.files_done, card.files) == (state, 5, 10, 1, 2)
    assert (card.rate, card.left_s, card.note, card.retry_s) == (3.0, 4.0, "", None)
    has_ended = phase not in (Phase.RUNNING, Phase.PAUSED)
    assert (card.took_s is not None) == has_ended
    assert card.took_s is None or card.took_s >= 5


def test_a_wait_and_what_ended_all_are_told() -> None:
    waiting = run_of(progress(Phase.RUNNING, waits=("The volume cannot be reached.", 7.0)), 0)
    assert (waiting.state, waiting.note, waiting.retry_s) == (
        SyncState.WAITING, "The volume cannot be reached.", 7.0,
    )  # fmt: skip
    # Paused, nobody waits for the network.
    assert run_of(progress(Phase.PAUSED, waits=("x", 7.0)), 0).state is SyncState.PAUSED
    failed = run_of(progress(Phase.FAILED, problem=Problem("It is full.", "Make room.")), 0)
    assert (failed.state, failed.note) == (SyncState.FAILED, "It is full. Make room.")


def test_the_direction_stays_when_nothing_is_under_way() -> None:
    assert run_of(progress(Phase.FINISHED, is_down=True), 0).is_down
    assert not run_of(progress(Phase.FINISHED, active=(file(FilePhase.RUNNING, Act.DOWNLOAD),)), 0).is_down


# What is known of a file, and earlier runs.


def test_what_a_file_says_of_itself() -> None:
    header = Header("LoRA", "sdxl", "A title", ("ohwx",), 1234, "BF16", (("Author", "Somebody"),))
    known = known_of("a.pt", "abc", header, "", "")
    assert (known.kind, known.base_model, known.triggers, known.sha256) == ("LoRA", "sdxl", ("ohwx",), "abc")
    assert known.extra == (
        ("Tensors", "1,234"), ("Data type", "BF16"), ("Title", "A title"), ("Author", "Somebody"),
    )  # fmt: skip
    assert known_of("a.pt", "", Header(), "", "Computing…").extra == ()
    broken = known_of("a.pt", "", None, "The end is missing.", "Computing…")
    assert (broken.problem, broken.sha256_note, broken.kind) == ("The end is missing.", "Computing…", "")


NOW = datetime(2026, 6, 10, 9, 40)


@pytest.mark.parametrize(
    ("before", "when"),
    [
        (timedelta(0), "today 09:40"),
        (timedelta(hours=9, minutes=40), "today 00:00"),
        (timedelta(hours=9, minutes=41), "yesterday 23:59"),
        (timedelta(days=1), "yesterday 09:40"),
        (timedelta(days=2), "Monday 09:40"),
        (timedelta(days=6), "Thursday 09:40"),
        (timedelta(days=7), "3 June 09:40"),
        (timedelta(days=120), "10 February 09:40"),
    ],
)
def test_earlier_runs_tell_the_day(before: timedelta, when: str) -> None:
    started = (NOW - before).timestamp()
    run = RunRecord(1, "v", "f", started, started + 60, {}, {"phase": "finished", "files": 3, "done": 3})
    assert earlier_of(run, NOW.timestamp()).when == when


@pytest.mark.parametrize(
    ("result", "text", "ok"),
    [
        ({"phase": "finished", "files": 3, "done": 3, "bytes": 12_100_000_000}, "3 files · 12.1 GB", True),
        ({"phase": "finished", "files": 1, "done": 1, "bytes": 5}, "1 file · 5 B", True),
        (
            {"phase": "finished", "files": 3, "done": 2, "failed": 1, "bytes": 5},
            "2 of 3 files · 1 failed",
            False,
        ),
        ({"phase": "stopped", "files": 3, "done": 1, "failed": 0}, "1 of 3 files · stopped", False),
        ({"phase": "failed", "files": 3, "done": 0, "failed": 1}, "0 of 3 files · 1 failed", False),
        (None, "0 of 0 files · stopped", False),
        ({"phase": 7, "files": "x", "done": None, "failed": []}, "0 of 0 files · stopped", False),
    ],
)
def test_earlier_runs_tell_how_they_ended(result: dict[str, object] | None, text: str, ok: bool) -> None:
    shown = earlier_of(RunRecord(1, "v", "f", NOW.timestamp(), 1.0, {}, result), NOW.timestamp())
    assert (shown.text, shown.ok) == (text, ok)
