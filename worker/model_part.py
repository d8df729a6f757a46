"""A model on its way: what of it is on the disk, and how much of that can be trusted.

    .model.safetensors.<source>.part        what came so far
    .model.safetensors.<source>.part.json   how many bytes of it are safe, their hash, and the file's version

Both lie beside the target, so that the last step is a rename. A worker may be killed at any instant.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

#: After so many new bytes the note is written, in bytes.
CHECKPOINT = 64 << 20
_CHUNK = 1 << 20
#: Of a note, in bytes.
_LONGEST_NOTE = 4096


@dataclass(slots=True)
class Part:
    """The kept part of one file; blocks.

    ``version`` is the server's word for the file's state, if it said one; ``whole`` the whole file's size.
    """

    target: Path
    source: str
    version: str | None = None
    whole: int | None = None
    size: int = 0

    @property
    def is_whole(self) -> bool:
        return self.size > 0 and self.size == self.whole

    @property
    def path(self) -> Path:
        return self.target.with_name(f".{self.target.name[:200]}.{self.source}.part")

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def begin(self, *, afresh: bool = False) -> hashlib._Hash:
        """Have the file stand at its last safe byte; the hash of what is there."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        self.version, self.whole, self.size = None, None, 0
        note = {} if afresh else self._read_note()
        done, told = note.get("done"), note.get("sha256")
        if isinstance(done, int) and done > 0 and self._hashed(done, digest) and digest.hexdigest() == told:
            self.size = done
            self.version = note["version"] if isinstance(note.get("version"), str) else None
            self.whole = note["whole"] if isinstance(note.get("whole"), int) else None
            os.truncate(self.path, done)
            return digest
        self.note.unlink(missing_ok=True)
        self.path.write_bytes(b"")
        return hashlib.sha256()

    def keep(self, file: BinaryIO, digest: hashlib._Hash) -> None:
        """Make what was written so far safe."""
        file.flush()
        os.fsync(file.fileno())
        told = {
            "done": self.size,
            "sha256": digest.hexdigest(),
            "version": self.version,
            "whole": self.whole,
        }
        aside = self.note.with_name(f"{self.note.name}.{uuid.uuid4().hex[:8]}")
        try:
            aside.write_text(json.dumps(told), encoding="utf-8")
            aside.replace(self.note)
        finally:
            aside.unlink(missing_ok=True)

    def drop(self) -> None:
        for path in (self.path, self.note):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def place(self, *, overwrite: bool) -> None:
        """Give the file its name.

        Raises:
            FileExistsError: when a file has it and is not to be overwritten.
            OSError: when the disk refuses.
        """
        if overwrite:
            self.path.replace(self.target)
        else:
            try:
                os.link(self.path, self.target)
            except FileExistsError:
                raise
            except OSError:  # no links on this file system
                if self.target.exists():
                    raise FileExistsError(str(self.target)) from None
                self.path.replace(self.target)
        self.drop()

    def _read_note(self) -> dict[str, Any]:
        try:
            with self.note.open("rb") as file:
                note = json.loads(file.read(_LONGEST_NOTE))
        except (OSError, ValueError, RecursionError):
            return {}
        return note if isinstance(note, dict) else {}

    def _hashed(self, size: int, digest: hashlib._Hash) -> bool:
        """Whether the file has so many bytes."""
        try:
            with self.path.open("rb") as file:
                while size > 0 and (chunk := file.read(min(_CHUNK, size))):
                    digest.update(chunk)
                    size -= len(chunk)
        except OSError:
            return False
        return size == 0


def sha256_of(path: Path) -> str:
    """Blocks.

    Raises:
        OSError: when the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
