"""The stations of a job's way with their times, for the inspector. Only what is really known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from worker.contract import Progress

from .figures import ended_at
from .model import Job, Move
from .states import UNSENT, State

Station = Literal["passed", "now", "ahead", "failed"]

_COLD = "A cold worker started and picked it up"
_SENT, _PICKED, _RAN, _FETCHED, _DONE = "Sent", "Worker picked it up", "Running", "Fetching results", "Done"
_ENDS: Final[dict[State, tuple[str, Station]]] = {
    State.DONE: (_DONE, "passed"),
    State.FAILED: ("Failed", "failed"),
    State.TIMED_OUT: ("Timed out", "failed"),
    # Grey, as what is to come: it is no fault.
    State.CANCELLED: ("Cancelled", "ahead"),
}
_NOW: Final[dict[State, str]] = {
    State.PREPARING: "Preparing",
    State.ON_HOLD: "On hold",
    State.UPLOADING: "Uploading",
    State.SUBMITTING: "Sending",
    State.WAITING: "Waiting for a worker",
    State.STARTING: "A worker is starting",
    State.RUNNING: _RAN,
    State.CANCELLING: "Cancelling",
    State.DOWNLOADING: _FETCHED,
}


@dataclass(frozen=True, slots=True)
class Point:
    """One station.

    Attributes:
        took_s: from the station before, in seconds; so far, when it is the present one.
        at: when it was passed (seconds since 1970); None when it is not, or when that was not seen.
    """

    text: str
    state: Station
    took_s: float | None = None
    at: float | None = None


def timeline(job: Job, moves: Sequence[Move], progress: Progress | None, now: float) -> list[Point]:
    """The stations that a job has passed, where it is, and what is to come."""
    points = _passed(job, _entered(moves))
    since = max((point.at for point in points if point.at is not None), default=job.created_at)
    if job.is_final:
        text, state = _ENDS[job.state]
        end = ended_at(job)
        took_s = None if job.state is State.DONE else max(end - since, 0.0)
        return [*points, Point(text, state, took_s, end)]
    points.append(Point(_present(job, progress), "now", max(now - since, 0.0)))
    if job.state is State.CANCELLING:
        return [*points, Point("Cancelled", "ahead")]
    return points + [Point(text, "ahead") for text in _to_come(job.state)]


def _entered(moves: Sequence[Move]) -> dict[State, float]:
    """When each state was entered on the way that led to the present one."""
    entered: dict[State, float] = {}
    before: State | None = None
    for move in moves:
        if move.state is before:
            continue
        if move.state is State.WAITING and State.WAITING in entered:
            # Given back to the queue: its worker was lost. It was sent at the first time all the same.
            entered = {state: at for state, at in entered.items() if state in (*UNSENT, State.WAITING)}
        elif move.state in UNSENT:
            entered = {state: at for state, at in entered.items() if state in UNSENT}
            entered[move.state] = move.at
        else:
            entered[move.state] = move.at
        before = move.state
    return entered


def _passed(job: Job, entered: dict[State, float]) -> list[Point]:
    points = [Point("Queued", "passed", at=job.created_at)]
    sent, began, ran = (entered.get(state) for state in (State.WAITING, State.RUNNING, State.DOWNLOADING))
    if sent is not None:
        points.append(Point(_SENT, "passed", max(sent - job.created_at, 0.0), sent))
    picked = _COLD if job.cold else _PICKED
    if began is not None:
        took_s = None if sent is None else max(began - sent, 0.0)
        points.append(Point(picked, "passed", took_s, began))
    elif ran is not None:
        # It ran between two looks.
        points.append(Point(picked, "passed", None if job.delay_ms is None else job.delay_ms / 1000))
    if ran is not None:
        took_s = None if began is None else max(ran - began, 0.0)
        points.append(Point(_RAN, "passed", _seconds(job.execution_ms, took_s), ran))
    if job.state is State.DONE:
        end = ended_at(job)
        points.append(Point(_FETCHED, "passed", None if ran is None else max(end - ran, 0.0), end))
    return points


def _present(job: Job, progress: Progress | None) -> str:
    if job.state is State.RUNNING and progress is not None and progress.nodes_total > 0:
        number = min(progress.nodes_done + 1, progress.nodes_total)
        return f"{_RAN} node {number} / {progress.nodes_total}"
    return _NOW[job.state]


def _to_come(state: State) -> tuple[str, ...]:
    whole = (_SENT, _PICKED, _RAN, _FETCHED, _DONE)
    if state in UNSENT:
        return whole
    return whole[{State.WAITING: 1, State.STARTING: 1, State.RUNNING: 3}.get(state, 4) :]


def _seconds(milliseconds: int | None, otherwise: float | None) -> float | None:
    return otherwise if milliseconds is None else milliseconds / 1000
