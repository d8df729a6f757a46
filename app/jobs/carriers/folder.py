"""A volume that is a folder on this computer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import uuid
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from worker.contract import OWN_FOLDER, RESULTS, FileEntry, inside

from ...errors import BadInput
from ...threads import go_on, in_thread
from .base import (
    MOST_LISTED,
    MOST_READ,
    Listed,
    Parcel,
    ResultDamaged,
    missing,
    plain_path,
    results_on_volume,
    sha256_of,
    too_large,
)

_PIECE = 1 << 20


class LocalFolder:
    """Carries by copying files."""

    cost, reads = "", True

    def __init__(self, volume: Path) -> None:
        self._volume = volume

    async def put(self, parcel: Parcel, *, uploader: str, again: bool = False) -> None:
        await in_thread(lambda stop: self._put(parcel, again, stop))

    async def fetch(self, entry: FileEntry, aside: Path) -> None:
        await in_thread(lambda stop: self._fetch(entry, aside, stop))

    async def read(self, path: PurePosixPath) -> bytes | None:
        return await asyncio.to_thread(self._read, path)

    async def listed(self, folder: PurePosixPath) -> list[Listed] | None:
        return await asyncio.to_thread(self._listed, folder)

    async def drop(self, entries: Sequence[FileEntry]) -> None:
        await asyncio.to_thread(self._drop, entries)

    async def close(self) -> None:
        """Nothing is held."""

    def _put(self, parcel: Parcel, again: bool, stop: threading.Event) -> None:
        stored = self._volume.joinpath(*parcel.stored_at.parts)
        if not again and stored.is_file() and stored.stat().st_size == parcel.size:
            with contextlib.suppress(OSError):  # what is used is not old
                os.utime(stored)
            return
        aside = stored.with_name(f"{stored.name}.{uuid.uuid4().hex}.part")
        try:
            stored.parent.mkdir(parents=True, exist_ok=True)
            _copy(parcel.path, aside, stop)
            if sha256_of(aside) != parcel.sha256:
                raise BadInput(f"The input file {parcel.path} changes while it is read.")
            aside.replace(stored)
        except OSError as error:
            raise BadInput(
                f"The input file {parcel.path} cannot be copied to the volume: {error.strerror}."
            ) from error
        finally:
            aside.unlink(missing_ok=True)

    def _fetch(self, entry: FileEntry, aside: Path, stop: threading.Event) -> None:
        try:
            path = inside(self._volume, plain_path(entry))
        except ValueError as error:
            raise ResultDamaged(f"{entry.filename} is said to lie outside the volume.") from error
        if not path.is_file():
            raise missing(entry)
        _copy(path, aside, stop)

    def _listed(self, folder: PurePosixPath) -> list[Listed]:
        found = []
        for path in islice(self._volume.joinpath(*folder.parts).rglob("*"), MOST_LISTED):
            with contextlib.suppress(OSError):
                if path.is_file():
                    about = path.stat()
                    below = PurePosixPath(*path.relative_to(self._volume).parts)
                    found.append(Listed(below, about.st_size, about.st_mtime))
        return found

    def _read(self, path: PurePosixPath) -> bytes | None:
        try:
            with inside(self._volume, path).open("rb") as file:
                content = file.read(MOST_READ + 1)
        except (OSError, ValueError):
            return None
        if len(content) > MOST_READ:
            raise too_large(path)
        return content

    def _drop(self, entries: Sequence[FileEntry]) -> None:
        for path in results_on_volume(entries):
            with contextlib.suppress(OSError, ValueError):
                results = inside(self._volume, PurePosixPath(OWN_FOLDER, RESULTS))
                found = inside(results, path.relative_to(PurePosixPath(OWN_FOLDER, RESULTS)))
                found.unlink(missing_ok=True)
                found.parent.rmdir()


def _copy(source: Path, target: Path, stop: threading.Event) -> None:
    with source.open("rb") as reading, target.open("wb") as writing:
        while piece := reading.read(_PIECE):
            go_on(stop)
            writing.write(piece)
        writing.flush()
        os.fsync(writing.fileno())
