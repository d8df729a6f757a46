"""Without a key to the volume: its files in pieces, through the worker's commands ``put``, ``get``, ``drop``.

Each piece is a job of the endpoint. All of them can be done twice without harm, so that a lost answer is no
trouble, and a part that arrived stays, so that trying again goes on after it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from worker.contract import INPUTS, MAX_CHUNK, OWN_FOLDER, FileEntry

from ...endpoint.asking import asked
from ...endpoint.client import JobClient
from ...endpoint.errors import SubmitUnanswered, UnknownJob
from ...errors import BadInput, Refused, Unreachable
from ...s3.errors import VolumeFull
from ..answers import error_of
from .base import (
    CannotCarry,
    Listed,
    Parcel,
    ResultDamaged,
    missing,
    plain_path,
    results_on_volume,
    unreadable,
)

log = logging.getLogger(__name__)

_TRIES = 4
_FIRST_PAUSE_S = 0.1
#: How long we wait for the endpoint to forget a piece that nobody wants any more.
_MOST_PATHS = 1000
#: What the worker says of a fault that may be gone the next time.
_PASSING = {"chunk_damaged", "volume_error", "worker_error"}


class _Said(Exception):
    """The worker refused, with a code of the commands' own."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error["summary"])
        self.code: str = error["code"]
        self.error = error


class Commands:
    """Carries through the endpoint itself.

    Args:
        client: gives the client of the endpoint, as the target has it.
        chunk: bytes of a piece at most.
    """

    reads = False
    cost = (
        "Big files go in pieces through the worker, which is slower and billed; "
        "with an S3 key of the volume in the settings they do not."
    )

    def __init__(
        self, endpoint_id: str, client: Callable[[], Awaitable[JobClient]], *, chunk: int = MAX_CHUNK
    ) -> None:
        self._endpoint = endpoint_id
        self._client = client
        self._chunk = chunk
        #: Hashes of inputs that were on the volume when we last looked: asking again would be billed, and
        #: the worker says when one is gone.
        self._stored: set[str] = set()
        #: Whether the worker has ever obeyed: one that has knows the commands.
        self._obeys = False

    async def put(self, parcel: Parcel, *, uploader: str, again: bool = False) -> None:
        if parcel.sha256 in self._stored and not again:
            return
        what = f"{parcel.name} ({parcel.size / 1e6:.1f} MB) is too large for a request, and"
        hint = "Attach a network volume to the endpoint, or use a smaller input."
        anew = False
        try:
            while True:
                try:
                    await self._put_all(parcel, uploader, what, hint)
                    break
                except _Said as said:
                    if said.code != "file_damaged" or anew:
                        raise
                    anew = True
        except _Said as said:
            full = said.code == "disk_full"
            kind = VolumeFull if full else CannotCarry
            raise kind(
                f"{parcel.name} cannot be stored on the volume of {self._endpoint}: {said}",
                hint=str(said.error["hint"]),
            ) from said
        self._stored.add(parcel.sha256)

    async def fetch(self, entry: FileEntry, aside: Path) -> None:
        path = plain_path(entry)
        if path.parts[:1] != (OWN_FOLDER,):
            raise CannotCarry(f"{entry.filename} lies where the worker hands nothing out: {entry.data}.")
        asked = {"command": "get", "path": str(path.relative_to(OWN_FOLDER)), "length": self._chunk}
        what = f"{entry.filename} lies on the volume of the endpoint, and"
        hint = "Set an S3 key of the volume; the file stays there for some days."
        there = await asyncio.to_thread(_size, aside)
        try:
            while True:
                told = await self._ask({**asked, "offset": there}, what, hint)
                end, size = told.get("end"), told.get("size")
                data = await asyncio.to_thread(_checked, told, entry)
                if entry.size is not None and size != entry.size:
                    raise ResultDamaged(f"{entry.filename} has {size} bytes instead of {entry.size}.")
                await asyncio.to_thread(_append, aside, there, data)
                there += len(data)
                if end is True:
                    return
                if not data:
                    raise ResultDamaged(f"{entry.filename} ends before its end.")
        except _Said as said:
            if said.code == "file_missing":
                raise missing(entry) from said
            raise CannotCarry(f"{what} it cannot be read: {said}", hint=str(said.error["hint"])) from said

    async def read(self, path: PurePosixPath) -> bytes | None:
        """Nothing: a worker would have to start for it, and that is billed."""
        return None

    async def listed(self, folder: PurePosixPath) -> list[Listed] | None:
        """Not for free either."""
        return None

    async def drop(self, entries: Sequence[FileEntry]) -> None:
        """Queued is enough: behind other jobs it may take long, and nobody needs to know of its end."""
        paths = [str(path.relative_to(OWN_FOLDER)) for path in results_on_volume(entries)]
        client = await self._client()
        for first in range(0, len(paths), _MOST_PATHS):
            await client.run({"command": "drop", "paths": paths[first : first + _MOST_PATHS]})

    async def close(self) -> None:
        """The client is the target's."""

    async def _put_all(self, parcel: Parcel, uploader: str, what: str, hint: str) -> None:
        asked = {"command": "put", "path": f"{INPUTS}/{parcel.sha256}", "size": parcel.size}
        there, stuck, data = 0, 0, b""
        while True:
            piece = await asyncio.to_thread(_as_piece, data)
            told = await self._ask({**asked, "uploader": uploader, "offset": there, **piece}, what, hint)
            if told.get("complete") is True:
                return
            received = told.get("received")
            if not isinstance(received, int) or not 0 <= received <= parcel.size:
                raise CannotCarry(f"{what} the worker of {self._endpoint} gives no sense.", hint=hint)
            # Another worker may have another volume; one that loses what it got is not sent to for ever.
            stuck = stuck + 1 if data and received <= there else 0
            if stuck == _TRIES:
                raise Unreachable(f"{parcel.name} does not get on to the volume of {self._endpoint}.")
            there = received
            try:
                data = await asyncio.to_thread(_piece, parcel.path, there, self._chunk)
            except OSError as error:
                raise unreadable(parcel.path, error) from error
            if not data:
                raise BadInput(f"The input file {parcel.path} is shorter than it was.")

    async def _ask(self, command: Mapping[str, Any], what: str, hint: str) -> dict[str, Any]:
        """The worker's answer to a command; passing faults are tried again."""
        trouble = ""
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(_FIRST_PAUSE_S * 4**attempt)
            try:
                reply = await asked(await self._client(), command)
            except (SubmitUnanswered, Refused) as error:
                if isinstance(error, Refused) and error.status < 500 and not isinstance(error, UnknownJob):
                    raise
                trouble = error.summary
                continue
            output = reply.output if isinstance(reply.output, dict) else {}
            if reply.status == "COMPLETED" and output.get("status") == "success" and _fits(command, output):
                self._obeys = True
                return output
            error_told = error_of(reply)
            trouble, code = error_told["summary"], str(output.get("code") or "")
            if code == "no_volume":
                raise CannotCarry(f"{what} the endpoint {self._endpoint} has no network volume.", hint=hint)
            if code in _PASSING or reply.status in ("TIMED_OUT", "CANCELLED"):
                continue
            if code and code != "bad_input":
                raise _Said(error_told)
            if not self._obeys:
                raise CannotCarry(
                    f"{what} the worker of {self._endpoint} carries no files in pieces.",
                    hint=f"{hint} Or run this program's own worker there.",
                    said=trouble,
                )
        raise Unreachable(f"The endpoint {self._endpoint} does not carry files at present: {trouble}")


def _fits(command: Mapping[str, Any], output: Mapping[str, Any]) -> bool:
    """Whether it is an answer to this command, and not what another worker says to anything."""
    return {"put": "received", "get": "data"}[command["command"]] in output


def _as_piece(data: bytes) -> dict[str, str]:
    encoded = base64.b64encode(data).decode("ascii")
    return {"data": encoded, "sha256": hashlib.sha256(data).hexdigest()}


def _piece(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _checked(told: Mapping[str, Any], entry: FileEntry) -> bytes:
    try:
        data = base64.b64decode(told["data"], validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Unreachable(f"A piece of {entry.filename} arrived damaged.") from error
    if hashlib.sha256(data).hexdigest() != told.get("sha256"):
        raise Unreachable(f"A piece of {entry.filename} arrived damaged.")
    return data


def _append(path: Path, offset: int, data: bytes) -> None:
    with path.open("ab") as file:
        file.truncate(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
