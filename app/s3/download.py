"""One file from the volume: to a file beside its place, resumable, and moved there when it is whole.

All methods block.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ..errors import BadInput, Unreachable
from .body import hashes_of
from .bucket import Bucket, Stat
from .check import same_etag
from .errors import Damaged, NotThere, Offline
from .flow import Flow, Slots
from .patience import USUAL, Patience
from .records import FileMark, Hashes, Records

log = logging.getLogger(__name__)

#: The end of a name while a file comes. Such files are passed over wherever models are looked for.
ASIDE = ".part"
#: One request brings at most so many bytes: a connection that breaks costs no more.
_SPAN = 64 << 20
#: A file that became another one while it came is begun again so often.
_TURNS = 3


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is here now; ``proof`` as for what was sent (``sha256``, ``etag`` or ``size``)."""

    size: int
    sha256: str
    md5: str
    etag: str
    proof: str


class _Changed(Unreachable):
    """The volume has another file than a moment ago."""


class Fetcher:
    """Fetches files from one volume."""

    def __init__(
        self,
        bucket: Bucket,
        records: Records,
        slots: Slots,
        *,
        patience: Patience = USUAL,
        span: int = _SPAN,
    ) -> None:
        self._bucket, self._records, self._slots = bucket, records, slots
        self._patience, self._span = patience, span

    def fetch(
        self, key: str, target: Path, flow: Flow, *, sha256: str | None = None, overwrite: bool = False
    ) -> Fetched:
        """Have a file of the volume at ``target``. One that was begun goes on.

        Args:
            sha256: what it must have, where that is known.
            overwrite: replace what is at the target.

        Raises:
            BadInput: when something is at the target already, or there is no room here.
            NotThere: when the volume has no such file.
            Damaged: when what came is not what it should be.
            ComfyRunPodError: when it cannot be fetched; what came stays for the next time.
            Stopped: when asked to stop.
        """
        aside = target.with_name(target.name + ASIDE)
        if not overwrite and target.exists():
            raise BadInput(f"{target.name} is here already.", hint="Nothing is overwritten unasked.")
        for turn in range(1, _TURNS + 1):
            stat = self._patience.attempt(lambda: self._bucket.head(key), flow.stop, flow.tell)
            if stat is None:
                raise NotThere(f"The volume has no {target.name} any more.")
            try:
                self.bring(stat, aside, flow)
                fetched = self._proved(stat, aside, sha256, flow)
                break
            except (_Changed, Damaged) as error:
                flow.had(-_size(aside))
                self._drop(aside)
                if turn == _TURNS or (isinstance(error, Damaged) and turn > 1):
                    if isinstance(error, Damaged):
                        raise
                    raise Damaged(f"{target.name} keeps changing on the volume.") from error
                log.warning("%s: %s It is fetched again.", target.name, error)
        self._put_in_place(aside, target, overwrite=overwrite)
        self._records.end_download(aside)
        mark = FileMark.of(target)
        self._records.note_hashes(target, mark, Hashes(fetched.sha256, fetched.md5))
        self._records.note_proof(self._bucket.name, key, fetched.etag, fetched.size, fetched.sha256)
        return fetched

    def discard(self, target: Path) -> None:
        """Drop what came of a file that was begun."""
        aside = target.with_name(target.name + ASIDE)
        if self._records.download(aside) is not None:
            self._drop(aside)

    def _drop(self, aside: Path) -> None:
        aside.unlink(missing_ok=True)
        self._records.end_download(aside)

    def bring(self, stat: Stat, aside: Path, flow: Flow) -> None:
        """Have the bytes of a file at ``aside``, after those that are there. Raises as :meth:`fetch`."""
        mine = (self._bucket.access.url, self._bucket.name, stat.key, stat.etag, stat.size)
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            if self._records.download(aside) != mine:
                aside.unlink(missing_ok=True)
                self._records.begin_download(aside, *mine)
            there = min(_size(aside), stat.size)
            _has_room(aside.parent, stat.size - there)
            with aside.open("ab") as file:
                file.truncate(there)
                flow.had(there)
                while there < stat.size:
                    flow.go()
                    with self._slots.one(flow.stop):
                        read = partial(self._read_span, stat, file, flow)
                        there = self._patience.attempt(read, flow.stop, flow.tell)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise BadInput(f"{aside} cannot be written: {error.strerror}.") from error

    def _read_span(self, stat: Stat, file: BinaryIO, flow: Flow) -> int:
        """Read on from where the file ends; where it ends then. What came before a break stays."""
        at = file.seek(0, os.SEEK_END)
        end = min(at + self._span, stat.size)
        with self._bucket.reading(stat.key, at, end) as (etag, pieces):
            if etag != stat.etag:
                raise _Changed(f"{stat.key} changed on the volume.")
            for piece in pieces:
                flow.limit.take(len(piece), flow.stop)
                file.write(piece[: end - at])
                flow.count(len(piece[: end - at]))
                at = min(end, at + len(piece))
        if at < end:
            raise Offline("The connection to the volume ended too early.")
        return at

    def _proved(self, stat: Stat, aside: Path, sha256: str | None, flow: Flow) -> Fetched:
        try:
            found, md5 = hashes_of(aside, flow.stop)
        except OSError as error:
            raise BadInput(f"{aside} cannot be read: {error.strerror}.") from error
        if sha256 is not None and found != sha256:
            raise Damaged(f"{aside.stem} came with another content than it should have.")
        same = same_etag(stat.etag, aside, stat.size, md5, flow)
        if same is False and sha256 is None:
            log.warning("The ETag of %s is of no form that is known.", stat.key)
        proof = "sha256" if sha256 is not None else "etag" if same else "size"
        return Fetched(stat.size, found, md5, stat.etag, proof)

    def _put_in_place(self, aside: Path, target: Path, *, overwrite: bool) -> None:
        try:
            if overwrite:
                aside.replace(target)
                return
            try:
                # Unlike a move it fails when somebody made a file of this name meanwhile.
                os.link(aside, target)
            except FileExistsError as error:
                raise BadInput(
                    f"{target.name} is here already.", hint="Nothing is overwritten unasked."
                ) from error
            except OSError:
                # No hard links on this drive.
                if target.exists():
                    raise BadInput(f"{target.name} is here already.") from None
                aside.replace(target)
            else:
                aside.unlink()
        except OSError as error:
            raise BadInput(f"{target} cannot be written: {error.strerror}.") from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _has_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise BadInput(
            f"There is no room here: {size / 1e9:.1f} GB to fetch, {free / 1e9:.1f} GB free.",
            hint=f"Make room on the drive of {folder}.",
        )
