"""What was begun on a volume, on disk: uploads with their parts, downloads, and hashes of files.

One SQLite file for each user, outside the models folder. All methods block, and may be called from threads.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadInput

#: The file's name in the data folder.
RECORDS = "transfers.sqlite"
_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS hashes(
  path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
  sha256 TEXT NOT NULL, md5 TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS proofs(
  volume TEXT NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,
  PRIMARY KEY(volume, key));
CREATE TABLE IF NOT EXISTS uploads(
  id INTEGER PRIMARY KEY, url TEXT NOT NULL, volume TEXT NOT NULL, key TEXT NOT NULL, upload_id TEXT NOT NULL,
  path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, layout TEXT NOT NULL,
  before TEXT NOT NULL, created REAL NOT NULL, UNIQUE(url, volume, key));
CREATE TABLE IF NOT EXISTS parts(
  upload INTEGER NOT NULL REFERENCES uploads(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  size INTEGER NOT NULL, etag TEXT NOT NULL, PRIMARY KEY(upload, number));
CREATE TABLE IF NOT EXISTS downloads(
  url TEXT NOT NULL, volume TEXT NOT NULL, key TEXT NOT NULL, path TEXT PRIMARY KEY, etag TEXT NOT NULL,
  size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS runs(
  id INTEGER PRIMARY KEY, volume TEXT NOT NULL, folder TEXT NOT NULL, started REAL NOT NULL, finished REAL,
  wish TEXT NOT NULL, result TEXT);
"""


#: Runs of equal parts: (how many, bytes); 0: on to the end of the file. The last run is of that kind.
Layout = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class FileMark:
    """What tells a local file from the one it was: size in bytes, change time, inode (0: there is none)."""

    size: int
    mtime_ns: int
    inode: int = 0

    @classmethod
    def of(cls, path: Path) -> FileMark:
        """Raises OSError."""
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino)


@dataclass(frozen=True, slots=True)
class Hashes:
    sha256: str
    md5: str


@dataclass(frozen=True, slots=True)
class Upload:
    """One that was begun.

    Attributes:
        before: the ETag of what was there under the key before; empty: nothing.
        parts: number to ETag of those that arrived.
    """

    id: int
    key: str
    upload_id: str
    path: str
    mark: FileMark
    layout: Layout
    before: str
    parts: dict[int, str]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A sync: when (seconds since 1970), what was wanted, and how it ended (None: it has not)."""

    id: int
    volume: str
    folder: str
    started: float
    finished: float | None
    wish: dict[str, object]
    result: dict[str, object] | None


class Records:
    """Opened with the first use of the file; :meth:`close` lets go of it.

    Raises:
        BadInput: when the file cannot be used.
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(file, timeout=30, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA foreign_keys=ON")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise BadInput(
                    f"{file.name} was written by a newer version of this program.",
                    hint="Update it.",
                    file=str(file),
                )
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version={_VERSION}")
        except (OSError, sqlite3.Error) as error:
            raise BadInput(f"The record of transfers cannot be used: {error}.", file=str(file)) from error

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # Hashes of local files.

    def hashes(self, path: Path, mark: FileMark) -> Hashes | None:
        """None when they are not known of the file as it is now."""
        with self._lock:
            row = self._db.execute(
                "SELECT sha256, md5 FROM hashes WHERE path=? AND size=? AND mtime_ns=? AND inode=?",
                (str(path), mark.size, mark.mtime_ns, _signed(mark.inode)),
            ).fetchone()
        return None if row is None else Hashes(*row)

    def all_hashes(self) -> dict[str, tuple[FileMark, Hashes]]:
        """By path; for looking at thousands of files at once."""
        with self._lock:
            rows = self._db.execute("SELECT path, size, mtime_ns, inode, sha256, md5 FROM hashes").fetchall()
        return {row[0]: (FileMark(row[1], row[2], _unsigned(row[3])), Hashes(row[4], row[5])) for row in rows}

    def note_hashes(self, path: Path, mark: FileMark, hashes: Hashes) -> None:
        with self._lock:
            self._db.execute(
                "INSERT OR REPLACE INTO hashes VALUES (?,?,?,?,?,?)",
                (str(path), mark.size, mark.mtime_ns, _signed(mark.inode), hashes.sha256, hashes.md5),
            )

    # What is known of files on volumes.

    def proofs(self, volume: str) -> dict[str, tuple[str, int, str]]:
        """ETag, size and SHA-256 of files that were proved to be there, by key."""
        with self._lock:
            rows = self._db.execute("SELECT key, etag, size, sha256 FROM proofs WHERE volume=?", (volume,))
            return {key: (etag, size, sha256) for key, etag, size, sha256 in rows.fetchall()}

    def note_proof(self, volume: str, key: str, etag: str, size: int, sha256: str) -> None:
        """The file of this key had this SHA-256 when it had this ETag."""
        with self._lock:
            self._db.execute(
                "INSERT OR REPLACE INTO proofs VALUES (?,?,?,?,?)", (volume, key, etag, size, sha256)
            )

    # Uploads.

    def upload(self, url: str, volume: str, key: str) -> Upload | None:
        with self._lock:
            row = self._db.execute(
                "SELECT id, key, upload_id, path, size, mtime_ns, layout, before FROM uploads"
                " WHERE url=? AND volume=? AND key=?",
                (url, volume, key),
            ).fetchone()
            return None if row is None else self._upload(row)

    def uploads(self, url: str, volume: str) -> list[Upload]:
        """Those begun on a volume."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, key, upload_id, path, size, mtime_ns, layout, before FROM uploads"
                " WHERE url=? AND volume=?",
                (url, volume),
            ).fetchall()
            return [self._upload(row) for row in rows]

    def _upload(self, row: tuple[int, str, str, str, int, int, str, str]) -> Upload:
        parts = self._db.execute("SELECT number, etag FROM parts WHERE upload=?", (row[0],)).fetchall()
        layout = tuple((count, size) for count, size in json.loads(row[6]))
        return Upload(row[0], row[1], row[2], row[3], FileMark(row[4], row[5]), layout, row[7], dict(parts))

    def begin_upload(
        self,
        url: str,
        volume: str,
        key: str,
        upload_id: str,
        path: Path,
        mark: FileMark,
        part: int,
        before: str,
    ) -> Upload:
        with self._all_or_nothing():
            self._db.execute("DELETE FROM uploads WHERE url=? AND volume=? AND key=?", (url, volume, key))
            self._db.execute(
                "INSERT INTO uploads"
                "(url, volume, key, upload_id, path, size, mtime_ns, layout, before, created)"
                " VALUES (?,?,?,?,?,?,?,?,?,?)",
                (
                    *(url, volume, key, upload_id, str(path), mark.size, mark.mtime_ns),
                    *(json.dumps([[0, part]]), before, time.time()),
                ),
            )
            made = self.upload(url, volume, key)
        assert made is not None
        return made

    def lay_out(self, upload: Upload, layout: Layout, keep_below: int) -> None:
        """Other parts from number ``keep_below`` on."""
        with self._all_or_nothing():
            self._db.execute("UPDATE uploads SET layout=? WHERE id=?", (json.dumps(layout), upload.id))
            self._db.execute("DELETE FROM parts WHERE upload=? AND number>=?", (upload.id, keep_below))

    def note_part(self, upload: Upload, number: int, size: int, etag: str) -> None:
        """It arrived whole."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO parts VALUES (?,?,?,?)", (upload.id, number, size, etag))

    def end_upload(self, upload: Upload) -> None:
        with self._lock:
            self._db.execute("DELETE FROM uploads WHERE id=?", (upload.id,))

    # Downloads.

    def download(self, path: Path) -> tuple[str, str, str, str, int] | None:
        """Address, volume, key, ETag and size of what was being fetched to this path."""
        with self._lock:
            row: tuple[str, str, str, str, int] | None = self._db.execute(
                "SELECT url, volume, key, etag, size FROM downloads WHERE path=?", (str(path),)
            ).fetchone()
        return row

    def begin_download(self, path: Path, url: str, volume: str, key: str, etag: str, size: int) -> None:
        with self._lock:
            self._db.execute(
                "INSERT OR REPLACE INTO downloads(url, volume, key, path, etag, size) VALUES (?,?,?,?,?,?)",
                (url, volume, key, str(path), etag, size),
            )

    def end_download(self, path: Path) -> None:
        with self._lock:
            self._db.execute("DELETE FROM downloads WHERE path=?", (str(path),))

    # Runs.

    def begin_run(self, volume: str, folder: str, wish: dict[str, object]) -> int:
        with self._lock:
            made = self._db.execute(
                "INSERT INTO runs(volume, folder, started, wish) VALUES (?,?,?,?)",
                (volume, folder, time.time(), json.dumps(wish)),
            )
            return int(made.lastrowid or 0)

    def change_run(self, run_id: int, wish: dict[str, object]) -> None:
        with self._lock:
            self._db.execute("UPDATE runs SET wish=? WHERE id=?", (json.dumps(wish), run_id))

    def end_run(self, run_id: int, result: dict[str, object]) -> None:
        with self._lock:
            self._db.execute(
                "UPDATE runs SET finished=?, result=? WHERE id=?", (time.time(), json.dumps(result), run_id)
            )

    def runs(self, volume: str | None = None, *, limit: int = 10) -> list[RunRecord]:
        """The newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, volume, folder, started, finished, wish, result FROM runs"
                " WHERE ? IS NULL OR volume=? ORDER BY id DESC LIMIT ?",
                (volume, volume, limit),
            ).fetchall()
        return [
            RunRecord(row[0], row[1], row[2], row[3], row[4], json.loads(row[5]), _said(row[6]))
            for row in rows
        ]

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _said(raw: str | None) -> dict[str, object] | None:
    found: dict[str, object] | None = None if raw is None else json.loads(raw)
    return found


def _signed(inode: int) -> int:
    """Windows has inodes of 64 bits, SQLite no unsigned numbers."""
    return inode - (1 << 64) if inode >= 1 << 63 else inode


def _unsigned(inode: int) -> int:
    return inode + (1 << 64) if inode < 0 else inode
