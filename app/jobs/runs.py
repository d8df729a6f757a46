"""The book of what ran: one line for each job that used a worker. It stays when the job is removed.

Functions on an open database, used by the store within its own transactions.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, fields, replace

from .model import Job

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY,
    at REAL NOT NULL,
    target TEXT NOT NULL,
    name TEXT NOT NULL,
    workflow TEXT NOT NULL,
    worker TEXT,
    cold INTEGER NOT NULL,
    waited_s REAL NOT NULL,
    run_s REAL NOT NULL,
    idle_s REAL NOT NULL,
    rate REAL
);
CREATE INDEX IF NOT EXISTS runs_by_time ON runs (at);
CREATE INDEX IF NOT EXISTS runs_by_worker ON runs (target, worker, at);
CREATE INDEX IF NOT EXISTS runs_by_workflow ON runs (workflow, target, at);
"""
#: Between two jobs of a warm worker, beyond its idle timeout: our clock and RunPod's differ a little.
_SLACK_S = 5.0


@dataclass(frozen=True, slots=True)
class Run:
    """One use of a worker.

    Attributes:
        at: when it ended, in seconds since 1970.
        workflow: its fingerprint.
        cold: the worker had to start for it; then ``waited_s`` holds that start.
        idle_s: how long the worker idled after it, as billed.
        rate: USD per second; None when it was not known, or nothing was charged.
    """

    id: str
    at: float
    target: str
    name: str
    workflow: str
    worker: str | None
    cold: bool
    waited_s: float
    run_s: float
    idle_s: float
    rate: float | None

    @property
    def start_usd(self) -> float:
        return self.waited_s * (self.rate or 0.0) if self.cold else 0.0

    @property
    def run_usd(self) -> float:
        return self.run_s * (self.rate or 0.0)

    @property
    def idle_usd(self) -> float:
        return self.idle_s * (self.rate or 0.0)

    @property
    def usd(self) -> float:
        return self.start_usd + self.run_usd + self.idle_usd


_NAMES = ", ".join(f.name for f in fields(Run))
_MARKS = ", ".join("?" * len(fields(Run)))


def used_a_worker(job: Job) -> bool:
    """Whether the job ran, and how long is known now."""
    return job.execution_ms is not None or (job.is_final and job.started_at is not None)


def enter(db: sqlite3.Connection, job: Job) -> Job:
    """Enter a job that ran, once; the job with what the book says of it."""
    if db.execute("SELECT 1 FROM runs WHERE id = ?", (job.id,)).fetchone():
        return job
    run = _run_of(job)
    before = _before_on_worker(db, run)
    begun, idle_s = run.at - run.run_s, job.idle_s
    warm = before is not None and (idle_s is None or begun - before.at <= idle_s + _SLACK_S)
    run = replace(run, cold=run.worker is not None and not warm, idle_s=idle_s or 0.0)
    if warm and before is not None and begun - before.at < before.idle_s:
        # The worker did not idle out: its wait ended with this job.
        _shorten(db, before.id, max(begun - before.at, 0.0))
    values = [getattr(run, f.name) for f in fields(Run)]
    db.execute(f"INSERT INTO runs ({_NAMES}) VALUES ({_MARKS})", values)
    return replace(job, cold=run.cold)


def select(db: sqlite3.Connection, since: float, until: float | None = None) -> list[Run]:
    """The runs that ended in a time, oldest first."""
    rows = db.execute(
        f"SELECT {_NAMES} FROM runs WHERE at >= ? AND at < ? ORDER BY at",
        (since, 1e18 if until is None else until),
    )
    return [_read(row) for row in rows]


def alike(db: sqlite3.Connection, workflow: str, target: str, limit: int) -> list[Run]:
    """The latest runs of a workflow on a target, newest first."""
    rows = db.execute(
        f"SELECT {_NAMES} FROM runs WHERE workflow = ? AND target = ? ORDER BY at DESC LIMIT ?",
        (workflow, target, limit),
    )
    return [_read(row) for row in rows]


def _run_of(job: Job) -> Run:
    seen = job.ended_at if job.ended_at is not None else job.changed_at
    if job.execution_ms is not None:
        run_s = job.execution_ms / 1000
    else:
        run_s = max(seen - (job.started_at or seen), 0.0)
    sent = job.sent_at if job.sent_at is not None else job.created_at
    waited_s = (job.delay_ms or 0) / 1000
    # When it ended there, which may be long before it was seen from here; never later than that.
    at = min(sent + waited_s + run_s, seen) if job.execution_ms is not None else seen
    return Run(
        job.id, at, job.target, job.name, job.workflow, job.worker_id, False, waited_s, run_s, 0.0, job.rate
    )


def _before_on_worker(db: sqlite3.Connection, run: Run) -> Run | None:
    if run.worker is None:
        return None
    row = db.execute(
        f"SELECT {_NAMES} FROM runs WHERE target = ? AND worker = ? AND at <= ? ORDER BY at DESC LIMIT 1",
        (run.target, run.worker, run.at),
    ).fetchone()
    return None if row is None else _read(row)


def _shorten(db: sqlite3.Connection, job_id: str, idle_s: float) -> None:
    db.execute("UPDATE runs SET idle_s = ? WHERE id = ?", (idle_s, job_id))
    row = db.execute("SELECT job FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is not None:
        job = replace(Job.from_json(json.loads(row[0])), idle_s=idle_s)
        db.execute("UPDATE jobs SET job = ? WHERE id = ?", (json.dumps(job.to_json()), job_id))


def _read(row: tuple[object, ...]) -> Run:
    run = Run(*row)  # type: ignore[arg-type]  # the table's own columns
    return replace(run, cold=bool(run.cold))
