"""The queue's table in SQLite: rows in, rows out, no decisions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .states import Job, State

_COLUMNS = ", ".join(Job.__dataclass_fields__)
_SCHEMA = """
PRAGMA user_version = 1;
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, position INTEGER NOT NULL, sync INTEGER NOT NULL, state TEXT NOT NULL,
    execution_timeout_ms INTEGER NOT NULL, ttl_ms INTEGER NOT NULL, submitted_at REAL NOT NULL,
    queued_at REAL NOT NULL, taken_at REAL, finished_at REAL, worker TEXT,
    losses INTEGER NOT NULL DEFAULT 0, retries INTEGER NOT NULL DEFAULT 0,
    output TEXT, error TEXT, stray TEXT);
CREATE TABLE IF NOT EXISTS payloads (id TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS jobs_in_order ON jobs (state, position);
CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (finished_at);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


class JobTable:
    """One connection. A commit is on disk when it returns (WAL, ``synchronous=FULL``)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # It holds what users ask for, and their S3 keys if they send some.
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Inside another transaction it is a part of that one."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def add(self, payload: str, **columns: Any) -> None:
        """Add a row at the end. The payload has a table of its own, so that looking through rows is quick."""
        self._db.execute("INSERT INTO payloads VALUES (?, ?)", (columns["id"], payload))
        columns["position"] = self.last_position() + 1
        marks = ", ".join("?" * len(columns))
        self._db.execute(f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({marks})", (*columns.values(),))

    def write(self, job_id: str, **columns: Any) -> Job:
        names = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*columns.values(), job_id))
        return self.where("id = ?", job_id)[0]

    def remove(self, job_ids: Sequence[str]) -> None:
        if not job_ids:
            return
        with self.transaction():
            for table in ("jobs", "payloads"):
                self._db.executemany(f"DELETE FROM {table} WHERE id = ?", [(job_id,) for job_id in job_ids])

    def where(self, condition: str, *values: Any, limit: int = -1) -> list[Job]:
        """The rows for a condition of ours (never of a user's), in queue order, without their payloads."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM jobs WHERE {condition} ORDER BY position LIMIT ?", (*values, limit)
        )
        return [_job(row) for row in rows.fetchall()]

    def payload(self, job_id: str) -> str:
        (text,) = self._db.execute("SELECT text FROM payloads WHERE id = ?", (job_id,)).fetchone()
        return str(text)

    def shift(self, seconds: float, *, since: float, now: float) -> None:
        """Move all times of all jobs by so many seconds, but those noted from ``since`` to ``now``."""
        names = ("submitted_at", "queued_at", "taken_at", "finished_at")
        moved = ", ".join(
            f"{name} = CASE WHEN {name} BETWEEN :since AND :now THEN {name} ELSE {name} + :seconds END"
            for name in names
        )
        self._db.execute(f"UPDATE jobs SET {moved}", {"seconds": seconds, "since": since, "now": now})

    def last_position(self) -> int:
        (last,) = self._db.execute("SELECT COALESCE(MAX(position), 0) FROM jobs").fetchone()
        return int(last)

    def per_state(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall())

    def count(self, name: str) -> None:
        """Add one to a counter that lives as long as the file."""
        self._db.execute(
            "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1", (name,)
        )

    def counters(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT name, value FROM counters").fetchall())


def _job(row: tuple[Any, ...]) -> Job:
    columns = dict(zip(Job.__dataclass_fields__, row, strict=True))
    return Job(**{**columns, "sync": bool(columns["sync"]), "state": State(columns["state"])})
