"""Jobs on disk: SQLite with one writer thread. Every change is there before anything is done about it."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ..errors import BadInput
from ..workflows.fingerprint import fingerprint
from ..workflows.parameters import Expected
from . import runs
from .model import Job, JobSpec, Move
from .states import FINAL, Hold, State, check_move

T = TypeVar("T")

_VERSION = 2
_UNFINISHED = sorted(frozenset(State) - FINAL)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    target TEXT NOT NULL,
    job TEXT NOT NULL,
    spec TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, seq);
CREATE TABLE IF NOT EXISTS moves (
    id TEXT NOT NULL,
    at REAL NOT NULL,
    state TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS moves_by_id ON moves (id, at);
"""


class JobStore:
    """The table of jobs. Methods are safe to call from one event loop; reading works beside a writer."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="job-store")
        self._db: sqlite3.Connection | None = None
        self._closed = False

    async def open(self) -> None:
        """Create or open the file, readable by its user only.

        Raises:
            BadInput: when the file is no store of ours.
        """
        try:
            await self._run(self._open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what is being written, and let go of the file. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def add(self, spec: JobSpec, note: str = "", *, expected: Expected | None = None) -> Job:
        """Note a new job; ``expected`` is what it will make."""

        def write(db: sqlite3.Connection) -> Job:
            now = self._clock()
            job = Job(spec.id, 0, spec.name, spec.target, spec.output_dir, created_at=now, changed_at=now)
            kind = fingerprint(spec.prompt)
            job = replace(job, expected=expected, retry_of=spec.retry_of, workflow=kind)
            job = replace(job, source=spec.source, batch=spec.batch)
            job = replace(job, origin=spec.origin, shown_dir=spec.shown_dir)
            if spec.lacks is not None:
                job = replace(job, state=State.ON_HOLD, hold=Hold.MISSING, error=spec.lacks)
            with db:
                cursor = db.execute(
                    "INSERT INTO jobs (id, state, target, job, spec) VALUES (?, ?, ?, ?, ?)",
                    (job.id, job.state, job.target, "{}", json.dumps(spec.to_json())),
                )
                job = replace(job, seq=int(cursor.lastrowid or 0))
                db.execute("UPDATE jobs SET job = ? WHERE id = ?", (json.dumps(job.to_json()), job.id))
                _note_move(db, job.id, now, job.state, note)
            return job

        return await self._run(write)

    async def change(self, job_id: str, *, note: str = "", **values: Any) -> Job:
        """Set fields of a job; a new ``state`` must be allowed by the table of moves.

        Raises:
            IllegalMove: when it is not. Nothing is written then.
            BadInput: when there is no such job.
        """

        def write(db: sqlite3.Connection) -> Job:
            old = _one(db, job_id)
            state = State(values.get("state", old.state))
            check_move(old.state, state)
            now = self._clock()
            if state is not State.ON_HOLD:
                values.setdefault("hold", None)
            if state is not old.state:
                values.update(_times(old.state, state, now))
            new = replace(old, **{**values, "state": state, "changed_at": now})
            with db:
                if runs.used_a_worker(new) and not runs.used_a_worker(old):
                    new = runs.enter(db, new)
                db.execute(
                    "UPDATE jobs SET state = ?, job = ? WHERE id = ?",
                    (new.state, json.dumps(new.to_json()), old.id),
                )
                if state != old.state or note:
                    _note_move(db, old.id, now, state, note)
            return new

        return await self._run(write)

    async def get(self, job_id: str) -> Job:
        """The job with this id, or the only one whose id begins with it.

        Raises:
            BadInput: when there is none, or several.
        """
        return await self._run(lambda db: _one(db, job_id))

    async def find(self, job_id: str) -> Job | None:
        """The job with exactly this id, or None."""
        return await self._run(lambda db: next(iter(_select(db, "WHERE id = ?", (job_id,))), None))

    async def spec(self, job_id: str) -> JobSpec:
        def read(db: sqlite3.Connection) -> JobSpec:
            row = db.execute("SELECT spec FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if row is None:
                raise BadInput(f"There is no job {job_id!r}.", hint="It was removed.")
            return JobSpec.from_json(json.loads(row[0]))

        return await self._run(read)

    async def unfinished(self) -> list[Job]:
        """Jobs that are not in a final state, oldest first."""
        # By the states there are, not by those there are not: only that uses the index.
        marks = ",".join("?" * len(_UNFINISHED))
        return await self._run(lambda db: _select(db, f"WHERE state IN ({marks}) ORDER BY seq", _UNFINISHED))

    async def newest(self, limit: int = 50) -> list[Job]:
        """The newest jobs, newest first."""
        return await self._run(lambda db: _select(db, "ORDER BY seq DESC LIMIT ?", (limit,)))

    async def batch(self, batch_id: str) -> list[Job]:
        """The jobs of the batch with this id, or of the only one whose id begins with it; oldest first.

        Raises:
            BadInput: when there is none, or several.
        """
        return await self._run(lambda db: _batch(db, batch_id))

    async def page(self, before_seq: int | None, limit: int) -> list[Job]:
        """So many jobs older than the one with ``seq`` ``before_seq`` (None: the newest), newest first."""
        if before_seq is None:
            return await self.newest(limit)
        older = "WHERE seq < ? ORDER BY seq DESC LIMIT ?"
        return await self._run(lambda db: _select(db, older, (before_seq, limit)))

    async def counts(self) -> dict[State, int]:
        """How many jobs there are in each state; 0 for the others."""

        def read(db: sqlite3.Connection) -> dict[State, int]:
            # By the index alone: it has the states in their order.
            rows = db.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state")
            return dict.fromkeys(State, 0) | {State(state): count for state, count in rows}

        return await self._run(read)

    async def ids(self) -> set[str]:
        """The ids of all jobs."""
        return await self._run(lambda db: {job_id for (job_id,) in db.execute("SELECT id FROM jobs")})

    async def remove(self, ids: Iterable[str]) -> list[Job]:
        """Forget ended jobs with their timelines; those that are not there count as removed.

        All or none. Result files stay where they are.

        Raises:
            BadInput: naming a job that has not ended.
        """
        wanted = tuple(dict.fromkeys(ids))

        def write(db: sqlite3.Connection) -> list[Job]:
            found = [job for job_id in wanted for job in _select(db, "WHERE id = ?", (job_id,))]
            for job in found:
                if not job.is_final:
                    raise BadInput(
                        f"Job {job.id[:8]} ({job.name}) has not ended yet, so it stays in the list.",
                        hint="Cancel it first.",
                    )
            with db:
                for table in ("jobs", "moves"):
                    db.executemany(f"DELETE FROM {table} WHERE id = ?", [(job.id,) for job in found])
            return found

        return await self._run(write)

    async def timeline(self, job_id: str) -> list[Move]:
        def read(db: sqlite3.Connection) -> list[Move]:
            rows = db.execute("SELECT at, state, note FROM moves WHERE id = ? ORDER BY rowid", (job_id,))
            return [Move(at, State(state), note) for at, state, note in rows]

        return await self._run(read)

    async def runs_between(self, since: float = 0.0, until: float | None = None) -> list[runs.Run]:
        """What ran and ended in a time (seconds since 1970), oldest first; removed jobs are in it too."""
        return await self._run(lambda db: runs.select(db, since, until))

    async def runs_alike(self, workflow: str, target: str, limit: int = 20) -> list[runs.Run]:
        """The latest runs of a workflow (its fingerprint) on a target, newest first."""
        return await self._run(lambda db: runs.alike(db, workflow, target, limit))

    async def planned_paths(self) -> set[str]:
        """Paths that jobs not yet done have chosen for their results: only a downloading job has."""
        found = await self._run(lambda db: _select(db, "WHERE state = ?", (State.DOWNLOADING,)))
        return {output.path for job in found for output in job.outputs}

    def _open(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version not in range(_VERSION + 1):
            raise sqlite3.DatabaseError("it was written by a newer version of this program")
        if version < _VERSION:
            # Version 1 had no book of runs.
            with closing(db.executescript(_SCHEMA + runs.SCHEMA)):
                pass
            db.execute(f"PRAGMA user_version = {_VERSION}")
        if os.name == "posix":
            self._path.chmod(0o600)

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Private from its first moment: SQLite gives its side files the same mode.
            self._path.touch(mode=0o600)
            self._db = sqlite3.connect(self._path, timeout=30)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
        return self._db

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def call() -> T:
            try:
                return work(self._connection())
            except (sqlite3.DatabaseError, OSError) as error:
                raise BadInput(
                    f"The list of jobs {self._path} cannot be used: {error}.",
                    hint="Move the file away; a new list is begun then.",
                ) from error

        # Shielded: a write that has begun is finished even when its caller is cancelled.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, call))


def _times(old: State, state: State, now: float) -> dict[str, float | None]:
    """What a move to ``state`` says about a job's times."""
    if state is State.RUNNING:
        return {"started_at": now}
    if state in (State.WAITING, State.STARTING):
        # When it ran, its worker was lost: it runs anew.
        return {"started_at": None} | ({"sent_at": now} if old is State.SUBMITTING else {})
    return {"ended_at": now} if state in FINAL else {}


def _note_move(db: sqlite3.Connection, job_id: str, at: float, state: State, note: str) -> None:
    # A note may quote a server; half of a surrogate pair cannot be stored.
    text = note.encode("utf-8", "backslashreplace").decode()
    db.execute("INSERT INTO moves VALUES (?, ?, ?, ?)", (job_id, at, state, text))


def _select(db: sqlite3.Connection, where: str, values: Iterable[Any]) -> list[Job]:
    rows = db.execute(f"SELECT job FROM jobs {where}", tuple(values))
    return [Job.from_json(json.loads(raw)) for (raw,) in rows]


def _batch(db: sqlite3.Connection, batch_id: str) -> list[Job]:
    found: list[Job] = []
    if len(batch_id) >= 4 and batch_id.isalnum():
        # As it is written in the job's line; what else may hold these letters is sorted out here.
        written = json.dumps({"batch": batch_id})[1:-2]
        found = _select(db, "WHERE instr(job, ?) ORDER BY seq", (written,))
        found = [job for job in found if job.batch.startswith(batch_id)]
    found = [job for job in found if job.batch == batch_id] or found
    if len({job.batch for job in found}) > 1:
        raise BadInput(f"Several batches have an id that begins with {batch_id!r}.", hint="Give more of it.")
    if not found:
        raise BadInput(
            f"There is no batch {batch_id!r}.",
            hint="`comfy-runpod jobs list` shows the jobs with their batches.",
        )
    return found


def _one(db: sqlite3.Connection, job_id: str) -> Job:
    found = _select(db, "WHERE id = ?", (job_id,))
    if not found and len(job_id) >= 4 and job_id.isalnum():
        found = _select(db, "WHERE id GLOB ?", (f"{job_id}*",))
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"Several jobs have an id that begins with {job_id!r}.", hint="Give more of it.")
    raise BadInput(f"There is no job {job_id!r}.", hint="`comfy-runpod jobs list` shows the jobs.")
