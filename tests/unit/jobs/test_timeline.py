"""A job's stations: what is passed, where it is, what is to come. Only what is really known."""

from __future__ import annotations

from typing import Any

import pytest

from app.jobs.model import Job, Move
from app.jobs.states import FINAL, State
from app.jobs.timeline import Point, timeline
from worker.contract import Progress

START = 1_000_000.0
S = State
TO_RUNNING = [(0, S.PREPARING), (1, S.SUBMITTING), (2, S.WAITING), (6, S.RUNNING)]
TO_DONE = [*TO_RUNNING, (24, S.DOWNLOADING), (26, S.DONE)]


def points(
    moves: list[tuple[float, State]], now: float, progress: Progress | None = None, **changes: Any
) -> list[Point]:
    at, state = moves[-1]
    if state in FINAL:
        changes.setdefault("ended_at", START + at)
    job = Job("id", 1, "n", "demo", "o", state=state, created_at=START, changed_at=START + at, **changes)
    return timeline(job, [Move(START + at, state) for at, state in moves], progress, START + now)


def brief(found: list[Point]) -> list[tuple[str, str, float | None, float | None]]:
    return [(p.text, p.state, p.took_s, None if p.at is None else p.at - START) for p in found]


def test_a_running_job() -> None:
    assert brief(points(TO_RUNNING, 18, Progress("3", "KSampler", 12, 20, 3, 7))) == [
        ("Queued", "passed", None, 0),
        ("Sent", "passed", 2, 2),
        ("Worker picked it up", "passed", 4, 6),
        ("Running node 4 / 7", "now", 12, None),
        ("Fetching results", "ahead", None, None),
        ("Done", "ahead", None, None),
    ]


def test_a_job_that_is_done() -> None:
    assert brief(points(TO_DONE, 99, execution_ms=17_500)) == [
        ("Queued", "passed", None, 0),
        ("Sent", "passed", 2, 2),
        ("Worker picked it up", "passed", 4, 6),
        ("Running", "passed", 17.5, 24),
        ("Fetching results", "passed", 2, 26),
        ("Done", "passed", None, 26),
    ]


def test_a_job_that_ran_between_two_looks() -> None:
    moves = [(0, S.PREPARING), (1, S.SUBMITTING), (2, S.WAITING), (9, S.DOWNLOADING), (10, S.DONE)]
    assert brief(points(moves, 99, execution_ms=3000, delay_ms=1500))[2:4] == [
        ("Worker picked it up", "passed", 1.5, None),
        ("Running", "passed", 3, 9),
    ]


def test_a_job_given_back_to_the_queue_waits_for_a_worker_again() -> None:
    again = [*TO_RUNNING, (60, S.WAITING)]
    assert [(p.text, p.state) for p in points(again, 70)][:4] == [
        ("Queued", "passed"),
        ("Sent", "passed"),
        ("Waiting for a worker", "now"),
        ("Worker picked it up", "ahead"),
    ]
    assert ("Worker picked it up", "passed", 78, 80) in brief(points([*again, (80, S.RUNNING)], 90))


@pytest.mark.parametrize(
    ("state", "text", "end"),
    [
        (S.FAILED, "Failed", "failed"),
        (S.TIMED_OUT, "Timed out", "failed"),
        (S.CANCELLED, "Cancelled", "ahead"),
    ],
)
def test_an_end_that_is_none_of_the_way(state: State, text: str, end: str) -> None:
    found = points([*TO_RUNNING, (16, state)], 99)
    assert brief(found)[-1] == (text, end, 10, 16)
    assert [p.text for p in found[:-1]] == ["Queued", "Sent", "Worker picked it up"]


def test_a_job_that_is_not_sent_yet() -> None:
    found = points([(0, S.PREPARING), (1, S.SUBMITTING), (2, S.PREPARING), (2, S.ON_HOLD)], 5)
    assert brief(found)[:3] == [
        ("Queued", "passed", None, 0),
        ("On hold", "now", 5, None),
        ("Sent", "ahead", None, None),
    ]


def test_a_job_being_cancelled_can_only_be_cancelled() -> None:
    found = points([*TO_RUNNING, (8, S.CANCELLING)], 9)
    assert [(p.text, p.state) for p in found[-2:]] == [("Cancelling", "now"), ("Cancelled", "ahead")]


@pytest.mark.parametrize("state", sorted(set(State) - FINAL))
def test_without_a_record_it_is_still_told_where_it_is(state: State) -> None:
    """The row is shown before its record is read."""
    job = Job("id", 1, "n", "demo", "o", state=state, created_at=START, changed_at=START)
    found = timeline(job, [], None, START + 3)
    assert [p.state for p in found].count("now") == 1
    assert found[-1].state == "ahead"
