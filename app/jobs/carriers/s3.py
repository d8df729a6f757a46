"""A volume by RunPod's S3 API: the bucket is the volume, a key is a path on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from worker.contract import FileEntry

from ...errors import Unreachable
from ...s3.access import VolumeAccess
from ...s3.bucket import Bucket
from ...s3.download import Fetcher
from ...s3.errors import AccessRefused, NotThere
from ...s3.flow import Crew, Flow, Slots
from ...s3.pace import Pace
from ...s3.patience import Patience
from ...s3.records import Records
from ...s3.survey import survey
from ...s3.upload import Sender
from ...threads import Stopped, in_thread
from .base import (
    MOST_LISTED,
    MOST_READ,
    CannotCarry,
    Listed,
    Parcel,
    ResultDamaged,
    missing,
    plain_path,
    results_on_volume,
    too_large,
)

#: Inputs are smaller than models, and more of them come over bad lines; a part in bytes.
_PART = 16 << 20
_SLOTS = 2
#: The job's lane tries again, where its user sees it.
_ONCE = Patience(tries=1, offline_tries=1)
_LEAVE_S = 0.8


class VolumeS3:
    """Carries without the endpoint, and so without being billed.

    Args:
        records: where uploads are kept that another run of the program goes on with; None: nowhere.
    """

    cost, reads = "", True

    def __init__(
        self,
        access: VolumeAccess,
        *,
        part: int = _PART,
        pace: Pace | None = None,
        records: Callable[[], Records] | None = None,
    ) -> None:
        self._pace = pace
        self._access = access
        self._part = part
        self._bucket = Bucket(access)
        self._crew, self._slots = Crew("carrier", _SLOTS), Slots(_SLOTS)
        self._open = records or (lambda: Records(Path(":memory:")))
        self._records: Records | None = None

    async def put(self, parcel: Parcel, *, uploader: str, again: bool = False) -> None:
        await in_thread(lambda stop: self._put(parcel, again, Flow(stop)), leave_s=_LEAVE_S)

    async def fetch(self, entry: FileEntry, aside: Path) -> None:
        await in_thread(lambda stop: self._fetch(entry, aside, Flow(stop)), leave_s=_LEAVE_S)

    async def read(self, path: PurePosixPath) -> bytes | None:
        return await in_thread(lambda _: self._read(path), leave_s=_LEAVE_S)

    async def listed(self, folder: PurePosixPath) -> list[Listed] | None:
        return await in_thread(lambda stop: self._listed(folder, Flow(stop)), leave_s=_LEAVE_S)

    async def drop(self, entries: Sequence[FileEntry]) -> None:
        await in_thread(lambda _: self._drop(entries), leave_s=_LEAVE_S)

    async def close(self) -> None:
        self._crew.close()
        await in_thread(lambda _: self._let_go(), leave_s=_LEAVE_S)

    def _let_go(self) -> None:
        self._bucket.close()
        if self._records is not None:
            self._records.close()
            self._records = None

    def _put(self, parcel: Parcel, again: bool, flow: Flow) -> None:
        key = str(parcel.stored_at)
        sender = Sender(
            self._bucket, self._kept(), self._crew, self._slots, patience=_ONCE, part=self._part, least_part=1
        )
        begun = time.monotonic()
        with _trouble(f"{parcel.name} cannot be sent"):
            there = self._bucket.head(key)
            if not again and there is not None and there.size == parcel.size:
                return
            try:
                sender.send(key, parcel.path, flow, there)
            except Stopped:
                # Parts use the volume's room until then.
                sender.discard(key)
                raise
        if self._pace is not None:
            self._pace.note(parcel.size, time.monotonic() - begun)

    def _fetch(self, entry: FileEntry, aside: Path, flow: Flow) -> None:
        key = str(plain_path(entry))
        with _trouble(f"{entry.filename} cannot be read"):
            stat = self._bucket.head(key)
            if stat is None:
                raise missing(entry)
            if entry.size is not None and stat.size != entry.size:
                raise ResultDamaged(f"{entry.filename} has {stat.size} bytes instead of {entry.size}.")
            try:
                Fetcher(self._bucket, self._kept(), self._slots, patience=_ONCE).bring(stat, aside, flow)
            except NotThere as error:
                raise missing(entry) from error

    def _listed(self, folder: PurePosixPath, flow: Flow) -> list[Listed]:
        with _trouble(f"{folder} cannot be listed"):
            found = survey(self._bucket, f"{folder}/", self._crew, _ONCE, flow)
        return [
            Listed(PurePosixPath(each.key), each.size, each.changed_at) for each in found.files[:MOST_LISTED]
        ]

    def _read(self, path: PurePosixPath) -> bytes | None:
        with _trouble(f"{path.name} cannot be read"):
            stat = self._bucket.head(str(path))
            if stat is None:
                return None
            if stat.size > MOST_READ:
                raise too_large(path)
            with self._bucket.reading(str(path), 0) as (_, pieces):
                return b"".join(pieces)[:MOST_READ]

    def _drop(self, entries: Sequence[FileEntry]) -> None:
        with _trouble("Fetched results stay on the volume"):
            for path in results_on_volume(entries):
                self._bucket.delete(str(path))

    def _kept(self) -> Records:
        if self._records is None:
            self._records = self._open()
        return self._records


@contextmanager
def _trouble(what: str) -> Iterator[None]:
    """What failed, in front of why."""
    try:
        yield
    except AccessRefused as error:
        raise CannotCarry(f"{what}: {_begun(error)}", hint=error.hint) from error
    except Unreachable as error:
        raise Unreachable(f"{what}: {_begun(error)}", hint=error.hint) from error


def _begun(error: Exception) -> str:
    """A sentence that goes on after a colon."""
    text = str(error)
    return text[:1].lower() + text[1:]
