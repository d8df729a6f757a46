"""Bringing one model to where it belongs: piece by piece, going on where an earlier attempt ended. Blocks."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .download import Stop
from .errors import JobError
from .model_part import CHECKPOINT, Part
from .model_request import ModelWish
from .model_sources import Opened, Source

_CHUNK = 1 << 18
#: Attempts without a single new byte between them, and the pause before each further one, in seconds.
_ATTEMPTS = 4
_PAUSE_S = 1.0
#: After these what came is not kept.
_USELESS = {"model_damaged", "model_too_large"}
#: Of a safetensors file's table of contents, in bytes.
_LONGEST_HEADER = 100 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model that is in its place. ``went_on`` is how much of it had been kept from earlier."""

    size: int
    sha256: str
    went_on: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """One download. ``report`` gets the bytes there and the bytes in all, 0 when unknown, often.

    ``reserve`` bytes stay free on the disk. ``pause_s`` grows with each attempt in vain.
    """

    wish: ModelWish
    target: Path
    source: Source
    max_bytes: int
    reserve: int
    report: Callable[[int, int], None]
    stop: Stop
    pause_s: float = _PAUSE_S

    def run(self) -> Fetched:
        """Fetch the file, check it, give it its name.

        Raises:
            JobError: ``download_failed``, ``download_refused``, ``model_too_large``, ``model_damaged``,
                ``model_exists``, ``disk_full``, ``model_not_written``. What came is kept where that helps.
        """
        part = Part(self.target, self.wish.source)
        try:
            digest = part.begin()
            went_on = part.size
            digest = self._complete(part, digest)
            self._check(part, digest)
            self._place(part)
        except JobError as error:
            if error.code in _USELESS:
                part.drop()
            raise
        except OSError as error:
            raise _not_written(self.wish, error) from error
        return Fetched(part.size, digest.hexdigest(), went_on)

    def _complete(self, part: Part, digest: hashlib._Hash) -> hashlib._Hash:
        vain = 0
        while not part.is_whole:
            before = part.size
            if before and part.version is None and self.wish.sha256 is None:
                digest = part.begin(afresh=True)  # nothing would tell whether the rest belongs to it
            try:
                digest = self._rest(part, digest)
            except JobError as error:
                vain = 0 if part.size > before else vain + 1
                if error.code != "download_failed" or self.stop.is_set or vain >= _ATTEMPTS:
                    raise
                digest = part.begin()
                self._wait(vain)
        return digest

    def _rest(self, part: Part, digest: hashlib._Hash) -> hashlib._Hash:
        """Fetch what is left; the hash of the whole."""
        with self.source.opened(part.size, part.version, self.stop) as opened:
            if opened.first != part.size:  # the file is another one by now, or comes from its beginning only
                digest = part.begin(afresh=True)
            if opened.first != part.size:
                raise _broken(opened.host, "it does not give the bytes that it is asked for")
            self._fits(opened, part.size)
            part.version, part.whole = opened.version, opened.size
            self._written(part, opened, digest)
            if opened.size is not None and part.size != opened.size:
                raise _broken(opened.host, f"it broke off after {part.size} of {opened.size} bytes")
            part.whole = part.size
        return digest

    def _written(self, part: Part, opened: Opened, digest: hashlib._Hash) -> None:
        with self._disk(), part.path.open("r+b") as file:
            file.seek(part.size)
            safe = part.size
            try:
                while chunk := self._read(opened):
                    file.write(chunk)
                    digest.update(chunk)
                    part.size += len(chunk)
                    self.report(part.size, opened.size or self.wish.size or 0)
                    if part.size > self._limit():
                        raise self._too_large()
                    if part.size - safe >= CHECKPOINT:
                        part.keep(file, digest)
                        safe = part.size
                        self._room(0)
            finally:
                part.keep(file, digest)

    def _read(self, opened: Opened) -> bytes:
        """The next piece; what the network raises is not to be taken for the disk's."""
        try:
            return opened.stream.read1(_CHUNK)
        except OSError as error:
            raise _Network(error) from error

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except _Network as error:
            raise error.error from error
        except OSError as error:
            raise _not_written(self.wish, error) from error

    def _limit(self) -> int:
        return min(self.max_bytes, self.wish.size or self.max_bytes)

    def _fits(self, opened: Opened, there: int) -> None:
        size = opened.size
        if size is not None and self.wish.size is not None and size != self.wish.size:
            raise _damaged(self.wish, f"it has {size} bytes, and {self.wish.size} were told")
        if size is not None and size > self.max_bytes:
            raise self._too_large()
        self._room((size or self.wish.size or there) - there)

    def _room(self, needed: int) -> None:
        """Whether so many bytes fit on the disk, and some are left."""
        free = shutil.disk_usage(self.target.parent).free
        if free < needed + self.reserve:
            raise JobError(
                "disk_full",
                f"The model {str(self.wish.name)!r} does not fit: {needed} bytes are to come, {free} free.",
                hint="Make room on the volume, or make it larger, and send the same request again.",
            )

    def _too_large(self) -> JobError:
        if self.wish.size is not None and self.wish.size <= self.max_bytes:
            return _damaged(self.wish, f"it has more than the {self.wish.size} bytes that were told")
        return JobError(
            "model_too_large",
            f"The model {str(self.wish.name)!r} is larger than the {self.max_bytes} bytes that are allowed.",
            hint="Raise MAX_MODEL_BYTES on the worker.",
        )

    def _check(self, part: Part, digest: hashlib._Hash) -> None:
        wish, why = self.wish, ""
        if wish.sha256 is not None:
            why = "" if digest.hexdigest() == wish.sha256 else "its SHA-256 is not the one that was told"
        elif wish.size not in (None, part.size):
            why = f"it has {part.size} bytes, and {wish.size} were told"
        else:
            why = _wrong_format(part.path, wish.name.suffix.lower())
        if why:
            raise _damaged(wish, why)

    def _place(self, part: Part) -> None:
        try:
            part.place(overwrite=self.wish.overwrite)
        except FileExistsError as error:
            raise exists(self.wish) from error

    def _wait(self, vain: int) -> None:
        deadline = time.monotonic() + self.pause_s * vain
        while time.monotonic() < deadline and not self.stop.is_set:
            time.sleep(min(0.1, self.pause_s))


class _Network(Exception):
    """Carries an error of the network past those of the disk."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def exists(wish: ModelWish) -> JobError:
    return JobError(
        "model_exists",
        f"There is another file with the name {str(wish.name)!r} in models/{wish.kind}.",
        hint="Take another name, or send 'overwrite': true. With 'sha256' the same file is known again.",
    )


def _wrong_format(path: Path, suffix: str) -> str:
    """Why a file without a told hash cannot be what its name says; empty when it can."""
    with path.open("rb") as file:
        head = file.read(9)
    if suffix == ".gguf":
        return "" if head[:4] == b"GGUF" else "it is no GGUF file"
    if suffix not in (".safetensors", ".sft"):
        return ""
    table = int.from_bytes(head[:8], "little")
    is_one = head[8:] == b"{" and table <= min(_LONGEST_HEADER, path.stat().st_size - 8)
    return "" if is_one else "it is no safetensors file"


def _damaged(wish: ModelWish, why: str) -> JobError:
    return JobError(
        "model_damaged",
        f"What came as the model {str(wish.name)!r} cannot be used: {why}.",
        hint="Are the address, the size and the hash those of one and the same file?",
    )


def _broken(host: str, why: str) -> JobError:
    return JobError(
        "download_failed",
        f"A model could not be fetched from {host}: {why}.",
        hint="Send the same request again: it goes on where it was.",
    )


def _not_written(wish: ModelWish, error: OSError) -> JobError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return JobError(
        "disk_full" if full else "model_not_written",
        f"The model {str(wish.name)!r} could not be written: {error.strerror or error}.",
        hint="Is there room on the volume, and may the worker write to its models folder?",
    )
