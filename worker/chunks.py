"""The commands ``put``, ``get`` and ``drop``: big files in pieces, for clients that cannot reach the volume.

A client lays inputs under their SHA-256 and takes results away. Nothing else on the volume can be read,
written or deleted this way. Everything here blocks.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from .chunk_requests import Drop, Get, Put
from .contract import INPUTS, OWN_FOLDER, inside
from .errors import BadRequest, JobError

log = logging.getLogger(__name__)

Command = Callable[[Path | None, Mapping[str, Any]], dict[str, Any]]

#: To write into what is there, or into a new file; no way to say so has a name.
_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def put(volume: Path | None, source: Mapping[str, Any]) -> dict[str, Any]:
    """Take in a chunk; the answer tells from where on the file is wanted. The last one completes it.

    Raises:
        JobError: ``no_volume``, ``bad_input``, ``chunk_damaged``, ``disk_full``, ``volume_error``, and
            ``file_damaged`` when the whole is not what its name says: it must be sent anew then.
    """
    mounted, request = _mounted(volume), Put.parse(source)
    stored = _located(mounted, PurePosixPath(INPUTS, request.name))
    # Each uploader writes to a part of its own, so that two who send the same file cannot mix their bytes;
    # a lock would have to outlive crashes, and network volumes are not known to keep one. One uploader's
    # chunk may be written twice at once when the platform repeats a job: the same bytes at the same place.
    part = _located(mounted, PurePosixPath(INPUTS, f"{request.name}.{request.uploader}.part"))
    with _volume_trouble("The input could not be written"):
        if _size(stored) != request.size:
            received = _received(part, request)
            if received != request.size:
                return _told(request, received, complete=False)
            _complete(part, stored)
        part.unlink(missing_ok=True)
        return _told(request, request.size, complete=True)


def get(volume: Path | None, source: Mapping[str, Any]) -> dict[str, Any]:
    """Read a chunk of an input or a result.

    Raises:
        JobError: ``no_volume``, ``bad_input``, ``file_missing`` or ``volume_error``.
    """
    mounted, request = _mounted(volume), Get.parse(source)
    path = _located(mounted, request.path)
    if not path.is_file():
        raise JobError(
            "file_missing",
            f"{str(request.path)!r} is not on the volume.",
            hint="It was dropped, or nobody asked for it in time.",
        )
    with _volume_trouble("The file could not be read"):
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(request.offset)
            data = file.read(request.length)
        with contextlib.suppress(OSError):  # what is asked for is not old; a read-only volume is no obstacle
            os.utime(path)
    return {
        "status": "success",
        "data": base64.b64encode(data).decode("ascii"),
        "offset": request.offset,
        "size": size,
        "sha256": hashlib.sha256(data).hexdigest(),
        "end": request.offset + len(data) >= size,
    }


def drop(volume: Path | None, source: Mapping[str, Any]) -> dict[str, Any]:
    """Delete inputs and results; the answer names those that were there and are gone now.

    Raises:
        JobError: ``no_volume``, ``bad_input``; nothing is deleted then.
    """
    mounted, request = _mounted(volume), Drop.parse(source)
    located = [(path, _located(mounted, path)) for path in request.paths]
    dropped = [str(path) for path, target in located if _dropped(target, _room(mounted, path))]
    return {"status": "success", "dropped": dropped}


COMMANDS: dict[str, Command] = {"put": put, "get": get, "drop": drop}


def _received(part: Path, request: Put) -> int:
    """Write the chunk if it fits on to what is there; how much is there then."""
    there = _size(part) or 0
    if there > request.size:
        part.unlink()  # it was begun with another size
        there = 0
    if request.offset > there or not (request.data or request.size == 0):
        return there
    part.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(part, _OPEN), "r+b") as file:
        file.seek(request.offset)
        file.write(request.data)
    return max(there, request.offset + len(request.data))


def _complete(part: Path, stored: Path) -> None:
    with part.open("r+b") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found == stored.name:
            os.fsync(file.fileno())
    if found != stored.name:
        part.unlink(missing_ok=True)
        raise JobError(
            "file_damaged",
            "The input is not what its SHA-256 says; what arrived was thrown away.",
            hint="Send it again from the beginning.",
            details={"told": stored.name, "found": found},
        )
    part.replace(stored)


def _dropped(target: Path, room: Path) -> bool:
    try:
        target.unlink()
    except OSError as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            log.warning("A file stays on the volume: %s", error.strerror)
        return False
    for folder in target.parents:
        if folder == room:
            break
        try:
            folder.rmdir()
        except OSError:  # something else is in it
            break
    return True


def _told(request: Put, received: int, *, complete: bool) -> dict[str, Any]:
    path = f"{INPUTS}/{request.name}"
    return {"status": "success", "path": path, "received": received, "complete": complete}


def _mounted(volume: Path | None) -> Path:
    if volume is None:
        raise JobError(
            "no_volume",
            "Files cannot be kept: no network volume is mounted.",
            hint="Attach a network volume to the endpoint.",
        )
    return volume


def _located(volume: Path, path: PurePosixPath) -> Path:
    """The place on the volume, which no link on the way leads out of its room."""
    try:
        return inside(_room(volume, path), PurePosixPath(*path.parts[1:]))
    except (ValueError, OSError, RuntimeError) as error:
        raise BadRequest(f"{str(path)!r} leads out of its folder.") from error


def _room(volume: Path, path: PurePosixPath) -> Path:
    return inside(volume, PurePosixPath(OWN_FOLDER, path.parts[0]))


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


@contextlib.contextmanager
def _volume_trouble(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        why = "the volume is full" if full else f"{error.strerror or error}"
        raise JobError(
            "disk_full" if full else "volume_error",
            f"{what}: {why}.",
            hint="Make room on the network volume, or enlarge it." if full else "",
        ) from error
