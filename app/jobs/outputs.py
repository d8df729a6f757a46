"""Fetching results: to a temporary file, checked, then moved into place. Names from a server are data."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from worker.contract import FileEntry, files_of, inside

from ..errors import ComfyRunPodError
from .model import OutputFile


class ResultDamaged(ComfyRunPodError):
    """A result is not what the answer says it is, or cannot be read."""

    code = "result_damaged"


def entries_of(output: Any) -> list[FileEntry]:
    """The files of an answer; an answer in a format we do not know is kept whole as one JSON file.

    Raises:
        ResultDamaged: when the answer names files in a way that cannot be used.
    """
    if isinstance(output, Mapping) and ("images" in output or output.get("status") in ("success", "error")):
        try:
            return files_of(output)
        except ValueError as error:
            raise ResultDamaged(f"The worker's answer cannot be read: {error}") from error
    content = json.dumps(output, indent=1, ensure_ascii=False).encode()
    digest = hashlib.sha256(content).hexdigest()
    data = base64.b64encode(content).decode("ascii")
    kind = "application/json"
    return [FileEntry("result.json", "base64", data, media_type=kind, size=len(content), sha256=digest)]


def plan(entries: list[FileEntry], folder: Path, taken: Collection[str]) -> tuple[OutputFile, ...]:
    """Choose a free path for each file, beside what is on disk and in ``taken``. Blocks; writes nothing."""
    used = {os.path.normcase(path) for path in taken}
    planned: list[OutputFile] = []
    for entry in entries:
        path = _free_path(folder, PurePosixPath(entry.filename), used)
        used.add(os.path.normcase(path))
        planned.append(
            OutputFile(entry.filename, str(path), entry.node_id, entry.media_type, entry.size, entry.sha256)
        )
    return tuple(planned)


def fetch(entry: FileEntry, planned: OutputFile, volume: Path | None) -> None:
    """Bring one file to its planned path; does nothing when it is there already. Blocks.

    Raises:
        ResultDamaged: when size or hash differ, or the file is not where the answer says.
        OSError: when the disk refuses.
    """
    target = Path(planned.path)
    if target.is_file() and planned.sha256 and _sha256(target) == planned.sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.part")
    try:
        if entry.type == "base64":
            _write(aside, _decoded(entry))
        elif entry.type == "volume":
            _copy(_on_volume(entry, volume), aside)
        else:
            raise ResultDamaged(f"{entry.filename} lies in a bucket, which cannot be read yet: {entry.data}")
        _check(aside, entry)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def drop_from_volume(entries: list[FileEntry], volume: Path | None) -> None:
    """Delete what has been fetched from the volume. Blocks."""
    if volume is None:
        return
    for entry in entries:
        if entry.type == "volume":
            with contextlib.suppress(OSError, ValueError):
                path = inside(volume, PurePosixPath(entry.data))
                path.unlink(missing_ok=True)
                path.parent.rmdir()


def _free_path(folder: Path, name: PurePosixPath, used: Collection[str]) -> Path:
    number = 1
    while True:
        mark = "" if number == 1 else f" ({number})"
        path = folder.joinpath(*name.parent.parts, f"{name.stem}{mark}{name.suffix}")
        if os.path.normcase(path) not in used and not path.exists():
            return path
        number += 1


def _decoded(entry: FileEntry) -> bytes:
    data = entry.data.partition(";base64,")[2] if entry.data.startswith("data:") else entry.data
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ResultDamaged(f"{entry.filename} arrived damaged: it is no base64.") from error


def _on_volume(entry: FileEntry, volume: Path | None) -> Path:
    if volume is None:
        raise ResultDamaged(
            f"{entry.filename} lies on the endpoint's network volume, which cannot be read from here.",
            path=entry.data,
        )
    try:
        path = inside(volume, _plain(entry.data))
    except ValueError as error:
        raise ResultDamaged(f"{entry.filename} is said to lie outside the volume.") from error
    if not path.is_file():
        raise ResultDamaged(f"{entry.filename} is no longer on the volume.", path=entry.data)
    return path


def _plain(data: str) -> PurePosixPath:
    path = PurePosixPath(data)
    if path.is_absolute() or ".." in path.parts or "\\" in data or "\x00" in data:
        raise ValueError(data)
    return path


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _copy(source: Path, path: Path) -> None:
    with source.open("rb") as reading, path.open("wb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())


def _check(path: Path, entry: FileEntry) -> None:
    size = path.stat().st_size
    if entry.size is not None and size != entry.size:
        raise ResultDamaged(f"{entry.filename} arrived with {size} bytes instead of {entry.size}.")
    if entry.sha256 is not None and _sha256(path) != entry.sha256:
        raise ResultDamaged(f"{entry.filename} arrived damaged: its SHA-256 is another.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
