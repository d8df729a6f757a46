"""A job on the local endpoint: its states, the allowed moves, and how RunPod would report it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"


#: Every move there is. A job can also be removed: by its ttl, after its retention, by a purge while it waits.
MOVES: dict[State, frozenset[State]] = {
    State.IN_QUEUE: frozenset({State.IN_PROGRESS, State.CANCELLED}),
    State.IN_PROGRESS: frozenset(
        {State.IN_QUEUE, State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMED_OUT}
    ),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset({State.IN_QUEUE}),
    State.CANCELLED: frozenset(),
    State.TIMED_OUT: frozenset({State.IN_QUEUE}),
}
UNFINISHED = frozenset({State.IN_QUEUE, State.IN_PROGRESS})
RETRYABLE = frozenset({State.FAILED, State.TIMED_OUT})

#: What RunPod was seen to report when the second attempt was lost too.
LOST_TWICE = "job timed out after 1 retries"


class ForbiddenMove(Exception):
    """A change that :data:`MOVES` does not hold: a mistake of ours."""


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the queue without its input. Times are seconds since the epoch; ``output`` is JSON text.

    Attributes:
        losses: workers that took it and were lost; the second one fails the job.
        retries: how often it was queued again, for whatever reason.
        stray: a progress that arrived after the result, in strict mode.
    """

    id: str
    position: int
    sync: bool
    state: State
    execution_timeout_ms: int
    ttl_ms: int
    submitted_at: float
    queued_at: float
    taken_at: float | None
    finished_at: float | None
    worker: str | None
    losses: int
    retries: int
    output: str | None
    error: str | None
    stray: str | None

    @property
    def is_final(self) -> bool:
        return self.state not in UNFINISHED

    def short_reply(self) -> str:
        """The answer to a submit, cancel or retry, as JSON text."""
        return json.dumps({"id": self.id, "status": self.state})

    def reply(self, progress: str | None = None) -> str:
        """The answer to a status request, as JSON text. As on RunPod, keys that are not set are absent."""
        shown: dict[str, object] = {"id": self.id, "status": self.state}
        if self.taken_at is not None:
            shown["delayTime"] = _ms(self.taken_at - self.queued_at)
        if self.taken_at is not None and self.finished_at is not None and self.state != State.CANCELLED:
            shown["executionTime"] = _ms(self.finished_at - self.taken_at)
        if self.worker is not None:
            shown["workerId"] = self.worker
        if self.retries:
            shown["retries"] = self.retries
        if self.error is not None:
            shown["error"] = json.loads(self.error)
        output = self.output
        if self.stray is not None:
            shown["status"] = State.IN_PROGRESS
            output = self.stray
        elif self.state == State.IN_PROGRESS:
            output = progress
        text = json.dumps(shown)
        # The output may be 20 MB: it goes out as it came in, unparsed.
        return text if output is None else f'{text[:-1]}, "output": {output}}}'


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
