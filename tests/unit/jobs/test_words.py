"""The words of a job are the design's (ui.md §4 and §5), in the window and on the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.commands.display import job_line
from app.jobs.figures import ago, duration, ordinal, ran_s, size, span, waited_s
from app.jobs.model import Job, OutputFile
from app.jobs.states import FINAL, UNSENT, Hold, State
from app.jobs.words import (
    Group,
    Pill,
    cost,
    group,
    is_remote,
    makes,
    pill,
    second_line,
    spoken,
    target_name,
)
from app.workflows.parameters import Expected
from worker.contract import Progress

NOW = datetime(2026, 3, 12, 14, 0, 0).timestamp()
FILES = tuple(OutputFile(f"{n}.png", f"/out/{n}.png", "9", "image/png", 1_850_000) for n in range(4))

#: ui.md's table, and the two states that it has no row for. Nothing tells yet that a job is throttled.
PILLS = {
    "preparing": ("Preparing", "grey", "loader-circle"),
    "on_hold": ("On hold", "amber", "pause"),
    "uploading": ("Uploading", "violet", "upload"),
    "submitting": ("Sending", "violet", "upload"),
    "waiting": ("Waiting", "grey", "clock"),
    "starting": ("Starting worker", "amber", "hourglass"),
    "running": ("Running", "blue", "loader-circle"),
    "cancelling": ("Cancelling", "grey", "loader-circle"),
    "downloading": ("Downloading", "violet", "download"),
    "done": ("Done", "green", "check"),
    "failed": ("Failed", "red", "x"),
    "cancelled": ("Cancelled", "grey", "ban"),
    "timed_out": ("Timed out", "red", "clock"),
}


def job(state: State = State.RUNNING, **changes: Any) -> Job:
    values: dict[str, Any] = {"created_at": NOW - 22, "changed_at": NOW, "state": state}
    if state in FINAL:
        values["ended_at"] = NOW - 120
    values |= {"name": "Flux portrait", "target": "abcd1234", "output_dir": "/out"}
    return Job(id="7c1f0e92aa", seq=1, **{**values, **changes})


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_the_designs_pill(state: State) -> None:
    assert pill(job(state)) == Pill(*PILLS[state])


@pytest.mark.parametrize("state", list(State))
def test_no_news_is_shown_instead_until_the_end(state: State) -> None:
    lost = job(state, lost_contact_since=NOW - 121)
    if state in FINAL:
        assert pill(lost) == pill(job(state))
    else:
        assert pill(lost) == Pill("Lost contact", "amber", "plug")
        assert second_line(lost, None, 2, NOW) == "No news for 2 min, still asking"


@pytest.mark.parametrize("state", list(State))
def test_the_command_line_speaks_the_same_words(state: State) -> None:
    line = job_line(job(state))
    assert line.split("  ")[1].strip().startswith(PILLS[state][0].lower())


SAMPLER = Progress("3", "SamplerCustomAdvanced", 12, 20, 3, 5)
LINES: list[tuple[Job, Progress | None, int | None, str]] = [
    (job(State.PREPARING), None, None, "Checking models"),
    (job(State.WAITING), None, 2, "2nd in queue"),
    (job(State.WAITING), None, None, "In the queue"),
    (job(State.STARTING), None, None, "A worker is starting"),
    (job(State.RUNNING), SAMPLER, None, "SamplerCustomAdvanced · 12 / 20"),
    (job(State.RUNNING), Progress("8", "VAEDecode", 1, 1), None, "VAEDecode"),
    (job(State.RUNNING), Progress(nodes_done=3, nodes_total=7), None, "3 / 7 nodes"),
    (job(State.RUNNING), Progress(), None, "Started"),
    (job(State.RUNNING), None, None, "Started"),
    (job(State.DOWNLOADING, outputs=FILES), None, None, "4 images"),
    (job(State.DOWNLOADING), None, None, "Fetching results"),
    (job(State.DONE, outputs=FILES), None, None, "Saved, 7.4 MB"),
    (job(State.DONE, outputs=(replace(FILES[0], size=None),)), None, None, "Saved"),
    (job(State.DONE, texts=("a",)), None, None, "Done, a text"),
    (job(State.DONE), None, None, "Done, no files"),
    (job(State.FAILED, error={"summary": "It broke.\nmore"}), None, None, "It broke."),
    (job(State.FAILED), None, None, "No reason was given"),
    (job(State.CANCELLED), None, None, "Cancelled by you"),
    (job(State.CANCELLED, error={"summary": "Somebody else."}), None, None, "Somebody else."),
    (job(State.TIMED_OUT, execution_ms=900_000), None, None, "Stopped after 15 min"),
    (job(State.TIMED_OUT, error={"summary": "Too long."}), None, None, "Too long."),
    (job(State.ON_HOLD, hold=Hold.MAYBE_SENT, error={"summary": "x"}), None, None, "May have been sent"),
    (job(State.ON_HOLD, hold=Hold.LIMIT), None, None, "Daily limit reached"),
    (job(State.ON_HOLD, hold=Hold.MISSING, error={"summary": "1 model."}), None, None, "1 model."),
    (job(State.ON_HOLD, hold=Hold.ENGINE_DOWN), None, None, "Not reachable, trying again"),
]


@pytest.mark.parametrize(("shown", "progress", "place", "text"), LINES)
def test_the_second_line(shown: Job, progress: Progress | None, place: int | None, text: str) -> None:
    assert second_line(shown, progress, place, NOW) == text


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("hold", [None, *Hold])
def test_there_is_something_to_say_in_every_state(state: State, hold: Hold | None) -> None:
    shown = job(state, hold=hold)
    for text in (second_line(shown, None, None, NOW), spoken(shown, None, NOW)):
        assert text
        assert not text.endswith(".")


# -- what it makes --------------------------------------------------------------------------------------

GIF = OutputFile("a.gif", "/out/a.gif", media_type="image/gif")
MP4 = OutputFile("a.mp4", "/out/a.mp4", media_type="video/mp4")
GLB = OutputFile("a.GLB", "/out/a.GLB", media_type="application/octet-stream")
IMAGES = Expected("image", 4, 896, 1152)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (job(expected=IMAGES), "4 images · 896 × 1152"),
        (job(expected=Expected("video", 1, 832, 480)), "1 video · 832 × 480"),
        (job(expected=Expected("audio", 1, None, None)), "1 audio"),
        (job(expected=Expected("image", None, 512, 512)), "Images · 512 × 512"),
        (job(expected=Expected("model3d", 2, None, 5)), "2 3D models"),
        (job(expected=Expected("of a newer version", 2, None, None)), "2 files"),
        (job(), ""),
        (job(State.DONE, expected=IMAGES, outputs=FILES[:3]), "3 images · 896 × 1152"),
        (job(State.DONE, expected=IMAGES, outputs=(*FILES[:1], MP4)), "1 image, 1 video"),
        (job(State.DONE, expected=Expected("animation", 1, 64, 64), outputs=FILES[:1]), "1 image · 64 × 64"),
        (job(State.DONE, outputs=(GIF, GLB)), "1 animation, 1 3D model"),
        (job(State.DONE, expected=IMAGES, texts=("a", "b")), "2 texts"),
        (job(State.DONE, expected=IMAGES), "No files"),
        (job(State.FAILED, expected=IMAGES), "4 images · 896 × 1152"),
    ],
)
def test_what_a_job_makes(shown: Job, text: str) -> None:
    assert makes(shown) == text


# -- groups, places, times ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "where"),
    [
        *(
            (job(state), Group.WAITING)
            for state in (*UNSENT, State.WAITING, State.STARTING, State.CANCELLING)
        ),
        *((job(state), Group.RUNNING) for state in (State.RUNNING, State.DOWNLOADING)),
        (job(State.CANCELLING, started_at=NOW - 5), Group.RUNNING),
        *((job(state), Group.TODAY) for state in FINAL),
        (job(State.DONE, ended_at=datetime(2026, 3, 12, 0, 0, 0).timestamp()), Group.TODAY),
        (job(State.DONE, ended_at=NOW + 90_000), Group.TODAY),
        (job(State.DONE, ended_at=datetime(2026, 3, 11, 23, 59, 59).timestamp()), Group.YESTERDAY),
        (job(State.DONE, ended_at=datetime(2026, 3, 11, 0, 0, 0).timestamp()), Group.YESTERDAY),
        (job(State.DONE, ended_at=datetime(2026, 3, 10, 23, 59, 59).timestamp()), Group.EARLIER),
        (job(State.DONE, ended_at=None, changed_at=0.0), Group.EARLIER),
    ],
)
def test_the_group(shown: Job, where: Group) -> None:
    assert group(shown, NOW) is where


def test_yesterday_is_the_calendars_when_the_clocks_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        sunday, saturday = datetime(2026, 3, 29, 23, 30), datetime(2026, 3, 28, 0, 30)
        assert group(job(State.DONE, ended_at=saturday.timestamp()), sunday.timestamp()) is Group.YESTERDAY
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_groups_have_the_designs_titles_in_its_order() -> None:
    titles = ["Running", "Waiting", "Finished today", "Yesterday", "Earlier"]
    assert [each.title for each in Group] == titles


def test_targets_by_their_names() -> None:
    assert [target_name(name) for name in ("local", "demo", "abcd1234")] == [
        "This computer",
        "Demo engine",
        "abcd1234",
    ]
    assert [is_remote(name) for name in ("local", "demo", "abcd1234")] == [False, False, True]
    assert [cost(job(target=name), NOW) for name in ("local", "demo", "abcd1234")] == ["–", "–", ""]


@pytest.mark.parametrize(
    ("shown", "waited", "ran"),
    [
        (job(State.PREPARING), 22, None),
        (job(State.WAITING), 22, None),
        (job(State.RUNNING, started_at=NOW - 18), 4, 18),
        (job(State.CANCELLING, started_at=NOW - 18), 4, 18),
        (job(State.DONE, created_at=NOW - 200, delay_ms=4000, execution_ms=61_500), 4, 61.5),
        (job(State.DOWNLOADING, started_at=NOW - 18, execution_ms=17_000, delay_ms=1), 4, 17),
        (job(State.DOWNLOADING, execution_ms=17_000, delay_ms=1000), 1, 17),
        (job(State.DOWNLOADING, execution_ms=17_000), None, 17),
        (job(State.CANCELLED, created_at=NOW - 180), 60, None),
        (job(State.CANCELLED, created_at=NOW - 180, started_at=NOW - 150), 30, 30),
        (job(State.RUNNING, created_at=NOW + 5, started_at=NOW + 4), 0, 0),
    ],
)
def test_waited_and_ran(shown: Job, waited: float | None, ran: float | None) -> None:
    assert waited_s(shown, NOW) == waited
    assert ran_s(shown, NOW) == ran


@pytest.mark.parametrize(
    ("make", "value", "text"),
    [
        *((duration, v, t) for v, t in ((0, "0 s"), (-3, "0 s"), (4.9, "4 s"), (72, "72 s"), (99.9, "99 s"))),
        *((duration, v, t) for v, t in ((100, "1:40"), (185, "3:05"), (3599, "59:59"), (3727, "1:02:07"))),
        *((span, v, t) for v, t in ((40, "40 s"), (60, "1 min"), (7200, "2 h"), (432_000, "5 days"))),
        *((size, v, t) for v, t in ((0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (64_300, "64.3 kB"))),
        *((size, v, t) for v, t in ((7_400_000, "7.4 MB"), (99_960_000, "100 MB"), (343_000_000, "343 MB"))),
        *((size, v, t) for v, t in ((999_949, "1.0 MB"), (34_500_000_000, "34.5 GB"), (10**16, "10000 TB"))),
        *((ordinal, v, t) for v, t in ((1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"))),
        *(
            (ordinal, v, t)
            for v, t in ((12, "12th"), (13, "13th"), (21, "21st"), (112, "112th"), (101, "101st"))
        ),
    ],
)
def test_numbers(make: Callable[[Any], str], value: float, text: str) -> None:
    assert make(value) == text


@pytest.mark.parametrize(
    ("passed", "text"),
    [(-5, "just now"), (59, "just now"), (120, "2 min ago"), (10_800, "3 h ago"), (86_399, "23 h ago")],
)
def test_ago(passed: float, text: str) -> None:
    assert ago(NOW - passed, NOW) == text


def test_ago_becomes_a_date() -> None:
    assert ago(datetime(2026, 1, 5, 10).timestamp(), NOW) == "5 Jan"
    assert ago(datetime(2025, 12, 31, 23).timestamp(), NOW) == "31 Dec 2025"


@given(st.integers(0, 10**14))
def test_a_size_is_never_a_thousand_of_its_unit(n: int) -> None:
    assert float(size(n).split()[0]) < 1000


# -- for the ear ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "progress", "text"),
    [
        (
            job(name="Flux portrait, studio light", started_at=NOW - 18),
            Progress("3", "SamplerCustomAdvanced", 12, 20, 3, 6),
            "Flux portrait, studio light, running on RunPod, 60 percent, "
            "SamplerCustomAdvanced step 12 of 20, waited 4 seconds, ran 18 seconds",
        ),
        (
            job(State.DONE, target="local", outputs=FILES, delay_ms=1000, execution_ms=185_000),
            None,
            "Flux portrait, done on this computer, Saved, 7.4 MB, waited 1 second, ran 3 minutes 5 seconds",
        ),
        (
            job(State.PREPARING, target="demo", created_at=NOW),
            None,
            "Flux portrait, preparing for the demo engine, Checking models, waited 0 seconds",
        ),
        (
            job(lost_contact_since=NOW - 60, started_at=NOW - 3622, created_at=NOW - 3622),
            SAMPLER,
            "Flux portrait, lost contact on RunPod, No news for 1 min, still asking, "
            "waited 0 seconds, ran 1 hour 22 seconds",
        ),
    ],
)
def test_a_job_in_one_sentence(shown: Job, progress: Progress | None, text: str) -> None:
    assert spoken(shown, progress, NOW) == text


def test_a_waiting_jobs_place_is_said() -> None:
    assert "2nd in queue" in spoken(job(State.WAITING), None, NOW, place=2)
