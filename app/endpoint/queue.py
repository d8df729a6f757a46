"""The local endpoint's queue on disk. An accepted job and a final result survive a kill of the process.

Plain synchronous code for one thread, with the clock given from outside.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from .config import EndpointConfig
from .states import LOST_TWICE, MOVES, RETRYABLE, ForbiddenMove, Job, State
from .table import JobTable


class Verdict(Enum):
    """What became of a worker's post."""

    ACCEPTED = auto()
    IGNORED = auto()
    OVERSIZED = auto()


@dataclass(frozen=True, slots=True)
class Expired:
    """What :meth:`JobQueue.expire` did: how many jobs changed, and (worker, job) pairs to be stopped."""

    changed: int
    to_stop: tuple[tuple[str, str], ...]


class JobQueue:
    """All jobs of one endpoint, first in, first out.

    A job that is given back keeps its place, which is the front: everything before it was taken too.
    """

    def __init__(self, path: Path, config: EndpointConfig, *, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._progress: dict[str, str] = {}
        self._table = JobTable(path)

    def close(self) -> None:
        self._table.close()

    def recover(self) -> int:
        """After a start: queue again what ran when the endpoint ended. It does not count as a loss."""
        return len(self._queue_again(self._table.where("state = ?", State.IN_PROGRESS), loss=0))

    def submit(
        self,
        payload: Mapping[str, Any],
        *,
        sync: bool = False,
        execution_timeout_ms: int | None = None,
        ttl_ms: int | None = None,
    ) -> Job:
        """Queue a job; ``payload`` is what a worker gets beside the id (``input`` and maybe ``s3Config``)."""
        job_id = f"{'sync-' if sync else ''}{uuid.uuid4()}-u1"
        now = self._clock()
        with self._table.transaction():
            self._table.add(
                json.dumps({"id": job_id, **payload}),
                id=job_id,
                sync=sync,
                state=State.IN_QUEUE,
                execution_timeout_ms=execution_timeout_ms or self._config.execution_timeout_ms,
                ttl_ms=ttl_ms or self._config.ttl_ms,
                submitted_at=now,
                queued_at=now,
            )
        return self._table.where("id = ?", job_id)[0]

    def get(self, job_id: str) -> Job | None:
        found = self._table.where("id = ?", job_id)
        return found[0] if found else None

    def reply(self, job: Job) -> str:
        """The answer to a status request, with the latest progress of a running job."""
        return job.reply(self._progress.get(job.id))

    def set_ttl(self, job: Job, ttl_ms: int) -> Job:
        return self._table.write(job.id, ttl_ms=ttl_ms)

    def take(self, worker_id: str, count: int = 1) -> list[tuple[str, str]]:
        """Hand the next jobs to a worker: their ids and what it gets, as JSON text."""
        taken = []
        with self._table.transaction():
            for job in self._table.where("state = ?", State.IN_QUEUE, limit=count):
                self._move(job, State.IN_PROGRESS, worker=worker_id, taken_at=self._clock())
                taken.append((job.id, self._table.payload(job.id)))
        return taken

    def held(self, worker_id: str) -> list[Job]:
        """The jobs a worker has in hand."""
        return self._table.where("state = ? AND worker = ?", State.IN_PROGRESS, worker_id)

    def done(self, worker_id: str, job_id: str, body: Mapping[str, Any], size: int = 0) -> Verdict:
        """A worker's post for a job: its result, or a progress. ``size`` is the post's length in bytes.

        A result over the limit is lost: RunPod was seen to report such a job as COMPLETED without output.
        """
        job = self.get(job_id)
        oversized = size > self._config.limit(job is not None and job.sync)
        if body.get("status") == State.IN_PROGRESS:
            return Verdict.OVERSIZED if oversized else self.progress(worker_id, job_id, body.get("output"))
        if job is None or job.state != State.IN_PROGRESS or job.worker != worker_id:
            return Verdict.OVERSIZED if oversized else Verdict.IGNORED
        if oversized:
            self._finish(job, State.COMPLETED)
            return Verdict.OVERSIZED
        output = json.dumps(body["output"]) if "output" in body else None
        if "error" in body:
            self._finish(job, State.FAILED, output=output, error=json.dumps(body["error"]))
        else:
            self._finish(job, State.COMPLETED, output=output)
        return Verdict.ACCEPTED

    def progress(self, worker_id: str, job_id: str, output: Any) -> Verdict:
        """Keep a running job's latest progress. It is not written to disk: a restart runs the job again."""
        job = self.get(job_id)
        if job is None or job.worker != worker_id:
            return Verdict.IGNORED
        if job.state == State.IN_PROGRESS:
            self._progress[job_id] = json.dumps(output)
            return Verdict.ACCEPTED
        if self._config.strict_progress and job.state in (State.COMPLETED, State.FAILED):
            self._table.write(job.id, stray=json.dumps(output))
            return Verdict.ACCEPTED
        return Verdict.IGNORED

    def cancel(self, job: Job) -> Job:
        """Cancel an unfinished job; a finished one stays as it is."""
        return job if job.is_final else self._finish(job, State.CANCELLED)

    def retry(self, job: Job) -> Job | None:
        """Queue a FAILED or TIMED_OUT job again, at the end and with a new ttl; None for any other."""
        if job.state not in RETRYABLE:
            return None
        fresh = dict.fromkeys(("taken_at", "finished_at", "worker", "output", "error", "stray"))
        now = self._clock()
        with self._table.transaction():
            self._table.count("retried")
            return self._move(
                job,
                State.IN_QUEUE,
                **fresh,
                position=self._table.last_position() + 1,
                losses=0,
                retries=job.retries + 1,
                submitted_at=now,
                queued_at=now,
            )

    def purge(self) -> int:
        """Remove the waiting jobs; running ones go on. Returns how many were removed."""
        waiting = self._table.where("state = ?", State.IN_QUEUE)
        self._table.remove([job.id for job in waiting])
        return len(waiting)

    def give_back(
        self, worker_id: str, *, counted: bool = True, only: Collection[str] | None = None
    ) -> list[Job]:
        """Queue a worker's jobs again. ``counted``: the worker was lost, and a second loss fails a job."""
        jobs = [job for job in self.held(worker_id) if only is None or job.id in only]
        if counted:
            return self._queue_again(jobs, loss=1)
        with self._table.transaction():
            return [self._move(job, State.IN_QUEUE, worker=None, taken_at=None) for job in jobs]

    def expire(self, now: float | None = None) -> Expired:
        """Apply execution timeouts, ttls and retention as of ``now`` (the clock's time unless given)."""
        now = self._clock() if now is None else now
        late = self._table.where(
            "state = ? AND taken_at * 1000 + execution_timeout_ms < ? * 1000", State.IN_PROGRESS, now
        )
        for job in late:
            limit_s = job.execution_timeout_ms / 1000
            error = f"the job was stopped: it ran longer than its execution timeout of {limit_s:g} s"
            self._finish(job, State.TIMED_OUT, error=json.dumps(error))
        outlived = self._table.where("finished_at IS NULL AND submitted_at * 1000 + ttl_ms < ? * 1000", now)
        forgotten = self._table.where(
            "finished_at + CASE sync WHEN 0 THEN ? ELSE ? END < ?",
            self._config.run_retention_s,
            self._config.sync_retention_s,
            now,
        )
        gone = [job.id for job in outlived + forgotten]
        self._table.remove(gone)
        for job_id in gone:
            self._progress.pop(job_id, None)
        to_stop = tuple((job.worker, job.id) for job in late + outlived if job.worker is not None)
        return Expired(len(late) + len(gone), to_stop)

    def forgive(self, seconds: float, *, awake_s: float = 0.0) -> None:
        """Count ``seconds`` for no limit and no retention: this computer slept, or its clock was set.

        What was noted in the last ``awake_s`` seconds has the new time already.
        """
        now = self._clock()
        self._table.shift(seconds, since=now - awake_s, now=now)

    def counts(self) -> dict[str, int]:
        """The ``jobs`` of a health answer; completed, failed and retried count over the file's whole life."""
        states, total = self._table.per_state(), self._table.counters()
        return {
            "completed": total.get("completed", 0),
            "failed": total.get("failed", 0),
            "inProgress": states.get(State.IN_PROGRESS, 0),
            "inQueue": states.get(State.IN_QUEUE, 0),
            "retried": total.get("retried", 0),
        }

    def _queue_again(self, jobs: list[Job], *, loss: int) -> list[Job]:
        return [
            self._finish(job, State.FAILED, error=json.dumps(LOST_TWICE), losses=job.losses + 1)
            if job.losses and loss
            else self._requeue(job, loss)
            for job in jobs
        ]

    def _requeue(self, job: Job, loss: int) -> Job:
        with self._table.transaction():
            self._table.count("retried")
            return self._move(
                job,
                State.IN_QUEUE,
                worker=None,
                taken_at=None,
                queued_at=self._clock(),
                losses=job.losses + loss,
                retries=job.retries + 1,
            )

    def _finish(self, job: Job, state: State, **columns: Any) -> Job:
        with self._table.transaction():
            if state != State.CANCELLED:
                self._table.count("completed" if state == State.COMPLETED else "failed")
            return self._move(job, state, finished_at=self._clock(), **columns)

    def _move(self, job: Job, state: State, **columns: Any) -> Job:
        if state not in MOVES[job.state]:
            raise ForbiddenMove(f"{job.id}: {job.state} -> {state}")
        self._progress.pop(job.id, None)
        return self._table.write(job.id, state=state, **columns)
