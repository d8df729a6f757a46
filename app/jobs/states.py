"""The states of a job and the table of allowed moves. Everything else asks this table."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    PREPARING = "preparing"
    ON_HOLD = "on_hold"
    UPLOADING = "uploading"
    SUBMITTING = "submitting"
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DOWNLOADING = "downloading"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class Hold(StrEnum):
    """Why a job is on hold."""

    MISSING = "missing"
    LIMIT = "limit"
    MAYBE_SENT = "maybe_sent"
    ENGINE_DOWN = "engine_down"


S = State
FINAL = frozenset({S.DONE, S.FAILED, S.CANCELLED, S.TIMED_OUT})
#: The platform has the job and is asked for it.
REMOTE = frozenset({S.WAITING, S.STARTING, S.RUNNING, S.CANCELLING, S.DOWNLOADING})
#: The job has yet to be sent.
UNSENT = frozenset({S.PREPARING, S.ON_HOLD, S.UPLOADING, S.SUBMITTING})

_REMOTE_ENDS = {S.DOWNLOADING, S.FAILED, S.CANCELLED, S.TIMED_OUT}
MOVES: dict[State, frozenset[State]] = {
    S.PREPARING: frozenset({S.ON_HOLD, S.UPLOADING, S.SUBMITTING, S.FAILED, S.CANCELLED}),
    S.ON_HOLD: frozenset({S.PREPARING, S.UPLOADING, S.SUBMITTING, S.WAITING, S.CANCELLED, S.FAILED}),
    S.UPLOADING: frozenset({S.SUBMITTING, S.PREPARING, S.ON_HOLD, S.FAILED, S.CANCELLED}),
    S.SUBMITTING: frozenset({S.WAITING, S.ON_HOLD, S.PREPARING, S.FAILED, S.CANCELLED}),
    # To preparing: the worker lacks an input, and nothing ran.
    S.WAITING: frozenset({S.STARTING, S.RUNNING, S.CANCELLING, S.PREPARING, *_REMOTE_ENDS}),
    S.STARTING: frozenset({S.WAITING, S.RUNNING, S.CANCELLING, S.PREPARING, *_REMOTE_ENDS}),
    # Back to waiting: the platform gave the job to the queue again, since its worker was lost.
    S.RUNNING: frozenset({S.WAITING, S.STARTING, S.CANCELLING, S.PREPARING, *_REMOTE_ENDS}),
    S.CANCELLING: frozenset({S.DOWNLOADING, S.CANCELLED, S.FAILED, S.TIMED_OUT}),
    S.DOWNLOADING: frozenset({S.DONE, S.FAILED}),
    S.DONE: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
    S.TIMED_OUT: frozenset(),
}


class IllegalMove(Exception):
    """A move that the table does not allow: a mistake of ours, or a race that was lost."""

    def __init__(self, old: State, new: State) -> None:
        super().__init__(f"A job cannot go from {old} to {new}.")
        self.old = old
        self.new = new


def check_move(old: State, new: State) -> None:
    """Raise :class:`IllegalMove` unless the table allows it; staying in a state is always allowed."""
    if old != new and new not in MOVES[old]:
        raise IllegalMove(old, new)
