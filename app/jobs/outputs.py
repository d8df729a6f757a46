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

from worker.contract import FILE_LISTS, OWN_FOLDER, FileEntry, files_of, inside

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
    if isinstance(output, Mapping) and _is_known(output):
        try:
            return files_of(output)
        except ValueError as error:
            raise ResultDamaged(f"The worker's answer cannot be read: {error}") from error
    # Half of a surrogate pair is no UTF-8; as `\\udXXX` it is what JSON says too.
    content = json.dumps(output, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")
    digest = hashlib.sha256(content).hexdigest()
    data = base64.b64encode(content).decode("ascii")
    kind = "application/json"
    return [FileEntry("result.json", "base64", data, media_type=kind, size=len(content), sha256=digest)]


def plan(entries: list[FileEntry], folder: Path, taken: Collection[str]) -> tuple[OutputFile, ...]:
    """Choose a free path for each file, beside what is on disk and in ``taken``. Blocks; writes nothing."""
    # Names that differ in case only are one file on many disks.
    used = {path.casefold() for path in taken}
    planned: list[OutputFile] = []
    for entry in entries:
        path = _free_path(folder, PurePosixPath(entry.filename), used)
        used.add(str(path).casefold())
        planned.append(
            OutputFile(entry.filename, str(path), entry.node_id, entry.media_type, entry.size, entry.sha256)
        )
    return tuple(planned)


def is_plan_for(planned: Collection[OutputFile], entries: Collection[FileEntry]) -> bool:
    """Whether paths were chosen for these very files: an answer that was asked for again may be another."""
    return [(p.filename, p.sha256) for p in planned] == [(e.filename, e.sha256) for e in entries]


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
    # Of a length that every disk allows, and found again after a crash.
    aside = target.with_name(f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.part")
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
    """Delete what has been fetched from the volume, of our own folder there only. Blocks."""
    if volume is None:
        return
    for entry in entries:
        if entry.type == "volume":
            with contextlib.suppress(OSError, ValueError):
                path = inside(volume, _plain(entry.data))
                inside(volume / OWN_FOLDER, _plain(entry.data).relative_to(OWN_FOLDER))
                path.unlink(missing_ok=True)
                path.parent.rmdir()


def _is_known(output: Mapping[str, Any]) -> bool:
    """Whether it is our format or worker-comfyui 5.x's. Others use the same keys for something else."""
    lists = [output[key] for key in FILE_LISTS if output.get(key)]
    told = isinstance(output.get("images"), list) or isinstance(output.get("text"), list) or bool(lists)
    return told and all(
        isinstance(item, Mapping) and "filename" in item for each in lists for item in _items(each)
    )


def _items(listed: Any) -> list[Any]:
    return listed if isinstance(listed, list) else [None]


def _free_path(folder: Path, name: PurePosixPath, used: Collection[str]) -> Path:
    number = 1
    while True:
        mark = "" if number == 1 else f" ({number})"
        path = folder.joinpath(*name.parent.parts, f"{name.stem}{mark}{name.suffix}")
        if str(path).casefold() not in used and not os.path.lexists(path):
            return path
        number += 1


def _decoded(entry: FileEntry) -> bytes:
    data = entry.data
    if data.startswith("data:"):
        head, comma, data = data.partition(",")
        if not comma or not head.endswith(";base64"):
            raise ResultDamaged(f"{entry.filename} arrived damaged: its data URI is not in base64.")
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
