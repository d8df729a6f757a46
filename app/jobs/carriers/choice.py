"""Which carrier a target has: the one place that knows."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from worker.contract import FileEntry

from ...endpoint.client import JobClient
from ...errors import ComfyRunPodError
from ...s3.access import VolumeAccess
from ...s3.pace import Pace
from ...s3.records import RECORDS, Records
from ...settings import Settings
from .base import CannotCarry, Carrier, Listed, Parcel, ResultMissing
from .commands import Commands
from .s3 import VolumeS3

log = logging.getLogger(__name__)


def remote_carrier(
    endpoint_id: str, settings: Settings, client: Callable[[], Awaitable[JobClient]]
) -> Carrier:
    """The carrier of an endpoint on RunPod: S3 when there is a key, and its own worker."""
    pieces = Commands(endpoint_id, client)
    access = VolumeAccess.of(settings)
    if access is None:
        return pieces
    records = partial(Records, settings.data_dir / RECORDS)
    return Either(VolumeS3(access, pace=Pace(settings.data_dir), records=records), pieces)


class Either:
    """One carrier, and another for when that is no way: its key is wrong, or it is of another volume.

    The settings know one volume and several endpoints, so that it may well be another one.
    """

    def __init__(self, first: Carrier, then: Carrier) -> None:
        self._first = first
        self._then = then
        self.cost, self.reads = first.cost, first.reads or then.reads

    async def put(self, parcel: Parcel, *, uploader: str, again: bool = False) -> None:
        if not again:
            try:
                await self._first.put(parcel, uploader=uploader)
                return
            except CannotCarry as error:
                log.warning("%s", error)
        await self._then.put(parcel, uploader=uploader, again=again)

    async def fetch(self, entry: FileEntry, aside: Path) -> None:
        try:
            await self._first.fetch(entry, aside)
        except (CannotCarry, ResultMissing) as error:
            try:
                await self._then.fetch(entry, aside)
            except CannotCarry:
                raise error from None

    async def read(self, path: PurePosixPath) -> bytes | None:
        try:
            return await self._first.read(path)
        except CannotCarry:
            return await self._then.read(path)

    async def listed(self, folder: PurePosixPath) -> list[Listed] | None:
        try:
            return await self._first.listed(folder)
        except CannotCarry:
            return await self._then.listed(folder)

    async def drop(self, entries: Sequence[FileEntry]) -> None:
        try:
            await self._first.drop(entries)
        except ComfyRunPodError:
            await self._then.drop(entries)

    async def close(self) -> None:
        await self._first.close()
        await self._then.close()
