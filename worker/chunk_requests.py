"""Reading the commands ``put``, ``get`` and ``drop``: what comes from outside is checked here."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from .contract import INPUTS, MAX_CHUNK, RESULTS, checked_job_id, safe_name
from .errors import BadRequest, JobError

_SHA256 = re.compile("[0-9a-f]{64}")
_LONGEST_DATA = (MAX_CHUNK + 2) // 3 * 4
_MOST_BYTES = 1 << 50
_MOST_PATHS = 1000


@dataclass(frozen=True, slots=True)
class Put:
    """One chunk of an input. A chunk without bytes only asks how much is there.

    ``uploader`` tells clients apart that send the same file at the same time.
    """

    name: str
    offset: int
    size: int
    data: bytes
    uploader: str

    @classmethod
    def parse(cls, source: Mapping[str, Any]) -> Put:
        """Raises BadRequest, and JobError ``chunk_damaged`` when the chunk is not what its hash says."""
        path = _room_path(source.get("path"))
        if len(path.parts) != 2 or path.parts[0] != INPUTS or not _SHA256.fullmatch(path.name):
            raise BadRequest("'path' of a put must be 'inputs/' and the file's SHA-256.")
        size, offset = (_whole(source, key, 0, _MOST_BYTES) for key in ("size", "offset"))
        data = _chunk(source.get("data"))
        if offset + len(data) > size:
            raise BadRequest("The chunk goes beyond the 'size' of its file.")
        if hashlib.sha256(data).hexdigest() != _hash(source.get("sha256")):
            raise JobError("chunk_damaged", "The chunk arrived damaged.", hint="Send it again.")
        return cls(path.name, offset, size, data, _uploader(source.get("uploader")))


@dataclass(frozen=True, slots=True)
class Get:
    """A question for one chunk; ``path`` is below our own folder."""

    path: PurePosixPath
    offset: int
    length: int

    @classmethod
    def parse(cls, source: Mapping[str, Any]) -> Get:
        """Raises BadRequest."""
        return cls(
            _room_path(source.get("path")),
            _whole(source, "offset", 0, _MOST_BYTES),
            _whole(source, "length", 1, MAX_CHUNK),
        )


@dataclass(frozen=True, slots=True)
class Drop:
    """Files to be deleted; the paths are below our own folder."""

    paths: tuple[PurePosixPath, ...]

    @classmethod
    def parse(cls, source: Mapping[str, Any]) -> Drop:
        """Raises BadRequest."""
        paths = source.get("paths")
        if not isinstance(paths, list) or len(paths) > _MOST_PATHS:
            raise BadRequest(f"'paths' must be a list of at most {_MOST_PATHS} paths.")
        return cls(tuple(_room_path(path) for path in paths))


def _room_path(raw: object) -> PurePosixPath:
    try:
        path = safe_name(raw)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if len(path.parts) < 2 or path.parts[0] not in (INPUTS, RESULTS):
        raise BadRequest(f"{str(path)!r} is neither below 'inputs/' nor below 'results/'.")
    return path


def _whole(source: Mapping[str, Any], key: str, least: int, most: int) -> int:
    value = source.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadRequest(f"{key!r} must be a whole number from {least} to {most}.")
    return value


def _chunk(raw: object) -> bytes:
    if not isinstance(raw, str) or len(raw) > _LONGEST_DATA:
        raise BadRequest(f"'data' must be base64 of at most {MAX_CHUNK} bytes.")
    try:
        return base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError) as error:
        raise JobError("chunk_damaged", "The chunk arrived damaged: it is no base64.") from error


def _hash(raw: object) -> str:
    if not isinstance(raw, str) or not _SHA256.fullmatch(raw):
        raise BadRequest("'sha256' must be the chunk's SHA-256 in 64 small hexadecimal digits.")
    return raw


def _uploader(raw: object) -> str:
    if raw is None:
        return ""
    try:
        return checked_job_id(raw)
    except ValueError as error:
        raise BadRequest("'uploader' must be 1 to 64 letters, digits, '-' or '_'.") from error
