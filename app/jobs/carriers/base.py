"""What every carrier does, and how it fails."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from worker.contract import INPUTS, OWN_FOLDER, RESULTS, FileEntry

from ...errors import BadInput, ComfyRunPodError

#: In bytes: the largest answer that the platform lets through, with room to spare.
MOST_READ = 64 << 20
#: Files; more than any volume of models has.
MOST_LISTED = 20_000


class ResultDamaged(ComfyRunPodError):
    """A result is not what the answer says it is, or cannot be read."""

    code = "result_damaged"


class ResultMissing(ResultDamaged):
    """A result is not where the answer says."""


class CannotCarry(ComfyRunPodError):
    """This way is closed; waiting does not open it."""

    code = "too_large"


@dataclass(frozen=True, slots=True)
class Parcel:
    """An input that goes over the volume, since a request cannot hold it."""

    name: str
    path: Path
    sha256: str
    size: int

    @property
    def stored_at(self) -> PurePosixPath:
        """Its place below the volume's root."""
        return PurePosixPath(OWN_FOLDER, INPUTS, self.sha256)


@dataclass(frozen=True, slots=True)
class Listed:
    """A file on a volume: its path from the root, its size in bytes, and when it was changed, since 1970."""

    path: PurePosixPath
    size: int
    changed_at: float


class Carrier(Protocol):
    """Carries inputs to one target's volume, and results from it.

    Attributes:
        cost: a sentence for the job's timeline when carrying is not free, else empty.
        reads: whether :meth:`read` can find anything.
    """

    cost: str
    reads: bool

    async def put(self, parcel: Parcel, *, uploader: str, again: bool = False) -> None:
        """Have an input on the volume; it is sent only when it is not there.

        Args:
            uploader: the job's id; what it began to send is gone on with.
            again: it was said to be there, and the worker does not find it.

        Raises:
            Unreachable, RateLimited: for a passing fault; trying again goes on where it ended, if it can.
            ComfyRunPodError: for anything that the user must do something about.
        """

    async def fetch(self, entry: FileEntry, aside: Path) -> None:
        """Bring a result that lies on the volume to ``aside``; a part of it that is there may be kept.

        Raises:
            ResultDamaged: when it cannot be had any more.
            CannotCarry: when this is no way to get it.
            ComfyRunPodError: for a passing fault.
        """

    async def read(self, path: PurePosixPath) -> bytes | None:
        """A small file of our own folder on the volume; None where it is not, or cannot be read for free.

        Raises:
            ResultDamaged: when it is larger than any answer.
            ComfyRunPodError: for a passing fault.
        """

    async def listed(self, folder: PurePosixPath) -> list[Listed] | None:
        """The files below a folder of the volume; None where it cannot be listed for free.

        Raises:
            ComfyRunPodError: when it cannot be listed now.
        """

    async def drop(self, entries: Sequence[FileEntry]) -> None:
        """Delete fetched results from the volume; of our own folder there only.

        Raises:
            ComfyRunPodError: when that is not possible now; they stay until a worker prunes them.
        """

    async def close(self) -> None:
        """Let go of connections."""


def plain_path(entry: FileEntry) -> PurePosixPath:
    """Where a result lies, relative to the volume's root.

    Raises:
        ResultDamaged: when that would be somewhere else.
    """
    path = PurePosixPath(entry.data)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.data or "\x00" in entry.data:
        raise ResultDamaged(f"{entry.filename} is said to lie outside the volume.")
    return path


def results_on_volume(entries: Sequence[FileEntry]) -> list[PurePosixPath]:
    """The places of those results that lie in our own folder on the volume, as our workers tell them.

    Without a hash it is none of theirs, and whether we have it already could not be told again.
    """
    found = [PurePosixPath(entry.data) for entry in entries if entry.type == "volume" and entry.sha256]
    return [path for path in found if path.parts[:2] == (OWN_FOLDER, RESULTS) and _is_plain(path)]


def _is_plain(path: PurePosixPath) -> bool:
    text = str(path)
    return len(path.parts) > 2 and ".." not in path.parts and "\\" not in text and "\x00" not in text


def too_large(path: PurePosixPath) -> ResultDamaged:
    return ResultDamaged("A job's answer on the volume is larger than any can be.", path=str(path))


def missing(entry: FileEntry) -> ResultMissing:
    return ResultMissing(f"{entry.filename} is no longer on the volume.", path=entry.data)


def unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput(f"The input file {path} cannot be read: {error.strerror}.")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
