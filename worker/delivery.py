"""From files on disk to the answer's entries: in the answer itself, on the volume, or in a bucket.

The answer's size is known before anything is packed, so that the platform never gets one that it drops.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal

from . import bucket
from .config import Config
from .contract import FILE_LISTS, OWN_FOLDER, RESULTS, FileEntry
from .errors import JobError
from .outputs import OutputFile
from .validation import OutputMode, OutputWish

log = logging.getLogger(__name__)

#: What RunPod lets through, less what it adds around an answer.
_LIMIT, _SYNC_LIMIT = 9_500_000, 19_000_000
#: In bytes: ours is longer by a number and ``.part``.
_LONGEST_RESULT_NAME = 200
#: What an entry's JSON has beside its names and its data.
_ENTRY_BYTES = 400

Way = Literal["base64", "volume", "s3"]
_PLACES = {"base64": "in the answer", "volume": "on the network volume", "s3": "in the bucket"}


class Stopped(Exception):
    """Nobody waits for the results any more."""


@dataclass(frozen=True, slots=True)
class Packed:
    """The answer's lists of files, and what the client should know about them."""

    lists: dict[str, list[dict[str, Any]]]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one job's results go out.

    ``key`` is the folder on the volume and in the bucket. ``inline_bytes`` is the size up to which ``auto``
    keeps to base64, ``limit_bytes`` the one that the platform lets through.
    """

    config: Config
    mode: OutputMode
    key: str
    prefix: PurePosixPath | None
    inline_bytes: int
    limit_bytes: int
    #: Ends packing from another thread; what was packed by then is taken back.
    stop: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, config: Config, job_id: str, wish: OutputWish, key: str) -> Delivery:
        """The delivery that a request asks for.

        Raises:
            JobError: ``no_volume`` or ``no_bucket``, when what is asked for is not there.
        """
        sync = job_id.startswith("sync-")
        limit = config.max_answer_bytes or (_SYNC_LIMIT if sync else _LIMIT)
        inline = min(config.max_inline_bytes * (2 if sync else 1), limit)
        # A client of worker-comfyui knows: with a bucket, results are there.
        mode = wish.mode or ("s3" if config.bucket is not None else "auto")
        if mode == "s3" and config.bucket is None:
            raise JobError(
                "no_bucket",
                "The results are wanted in a bucket, and the worker has none.",
                hint="Set BUCKET_ENDPOINT_URL, BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY.",
            )
        if mode == "volume" and config.volume is None and config.bucket is None:
            raise JobError(
                "no_volume",
                "The results are wanted on a network volume, and none is mounted.",
                hint="Attach a network volume to the endpoint.",
            )
        return cls(config, mode, key, wish.prefix, inline, limit)

    def pack(self, files: Sequence[OutputFile], rest_bytes: int) -> Packed:
        """Hand the files over; ``rest_bytes`` is what else the answer holds. Blocks: reads, hashes, copies.

        Raises:
            JobError: ``result_too_large`` when no way is open, ``result_not_written`` when all of them fail;
                the files stay where ComfyUI put them.
        """
        total = rest_bytes + sum(self._inline_size(file, n) for n, file in enumerate(files))
        ways, trouble = self._ways(total), []
        if not files:
            return Packed(_sorted([]), [])
        for way in ways:
            try:
                entries = [self._entry(way, file, number) for number, file in enumerate(files)]
            except (OSError, bucket.NotUploaded) as error:
                said = (error.strerror if isinstance(error, OSError) else None) or str(error)
                log.warning("The results cannot be laid %s: %s", _PLACES[way], said)
                trouble.append(f"{_PLACES[way]}: {said}")
                continue
            return Packed(_sorted(entries), self._warnings(way, total, trouble))
        kept = [file.filename for file in files]
        if trouble:
            raise JobError(
                "result_not_written",
                f"The results could not be handed over ({'; '.join(trouble)}).",
                hint="Is there room on it? The files are still in ComfyUI's output folder.",
                details=kept,
            )
        raise JobError(
            "result_too_large",
            f"The results are {total / 1e6:.1f} MB as an answer, more than RunPod lets through, "
            "and there is neither a network volume nor a bucket for them.",
            hint="Attach a network volume to the endpoint. The files are still in ComfyUI's output folder.",
            details=kept,
        )

    def take_back(self) -> None:
        """Delete what was laid on the volume for this job. Blocks."""
        if self.config.volume is not None:
            folder = self.config.volume.joinpath(OWN_FOLDER, RESULTS, *self._folder())
            shutil.rmtree(folder, ignore_errors=True)

    def _ways(self, total: int) -> list[Way]:
        """The ways that are open, the wanted one first."""
        inline: list[Way] = ["base64"] if total <= self.limit_bytes else []
        elsewhere: list[Way] = [
            *(["volume"] if self.config.volume is not None else []),  # type: ignore[list-item]
            *(["s3"] if self.config.bucket is not None else []),  # type: ignore[list-item]
        ]
        if self.mode == "base64" or (self.mode == "auto" and total <= self.inline_bytes):
            return inline + elsewhere
        if self.mode == "s3":
            elsewhere.reverse()
        return elsewhere + inline

    def _warnings(self, way: Way, total: int, trouble: list[str]) -> list[str]:
        if trouble:
            return [f"The results are {_PLACES[way]}, since they could not be laid {'; '.join(trouble)}."]
        if self.mode == "base64" != way:
            return [f"The results are {_PLACES[way]}: {total / 1e6:.1f} MB are too much for an answer."]
        return []

    def _inline_size(self, file: OutputFile, number: int) -> int:
        names = 6 * (len(file.filename) + len(file.subfolder) + len(file.node_id))
        encoded = (file.size + 2) // 3 * 4
        twice = self.config.adds_message and number == 0
        return encoded * (2 if twice else 1) + names + _ENTRY_BYTES

    def _entry(self, way: Way, file: OutputFile, number: int) -> FileEntry:
        match way:
            case "base64":
                return self._into_answer(file)
            case "volume":
                return self._onto_volume(file, number)
            case "s3":
                return self._into_bucket(file, number)

    def _into_answer(self, file: OutputFile) -> FileEntry:
        digest, size, encoded = hashlib.sha256(), 0, []
        with file.open() as source:
            # In pieces, of a size that 3 divides: a whole one would keep all other threads waiting.
            while chunk := self._read(source, 3 << 18):
                digest.update(chunk)
                size += len(chunk)
                encoded.append(base64.b64encode(chunk).decode("ascii"))
        return _told(file, "base64", "".join(encoded), size, digest.hexdigest())

    def _read(self, source: BinaryIO, size: int) -> bytes:
        if self.stop.is_set():
            raise Stopped
        return source.read(size)

    def _onto_volume(self, file: OutputFile, number: int) -> FileEntry:
        if self.config.volume is None:
            raise FileNotFoundError(2, "no volume is mounted")
        relative = Path(OWN_FOLDER, RESULTS, *self._folder(), f"{number:04d}-{_short(file)}")
        target = self.config.volume / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(target.name + ".part")
        digest, size = hashlib.sha256(), 0
        try:
            with file.open() as source, aside.open("wb") as copy:
                while chunk := self._read(source, 1 << 20):
                    digest.update(chunk)
                    size += copy.write(chunk)
                copy.flush()
                os.fsync(copy.fileno())
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
        return _told(file, "volume", relative.as_posix(), size, digest.hexdigest())

    def _into_bucket(self, file: OutputFile, number: int) -> FileEntry:
        if self.config.bucket is None:
            raise bucket.NotUploaded("no bucket is configured")
        key = PurePosixPath(*self._folder(), f"{number:04d}-{_short(file)}").as_posix()
        digest = hashlib.sha256()
        with file.open() as source:
            while chunk := self._read(source, 1 << 20):
                digest.update(chunk)
        url = bucket.upload(self.config.bucket, key, file.open, file.size, file.media_type)
        return _told(file, "s3_url", url, file.size, digest.hexdigest())

    def _folder(self) -> tuple[str, ...]:
        return (*(self.prefix.parts if self.prefix is not None else ()), self.key)


def _short(file: OutputFile) -> str:
    name = PurePosixPath(file.filename).name
    if len(name.encode()) > _LONGEST_RESULT_NAME:
        name = PurePosixPath(name).suffix[-_LONGEST_RESULT_NAME // 8 :]
    return name


def _told(
    file: OutputFile, kind: Literal["base64", "volume", "s3_url"], data: str, size: int, sha256: str
) -> FileEntry:
    told = (file.subfolder, file.node_id, file.media_type, size, sha256, file.key, file.shown)
    return FileEntry(file.filename, kind, data, *told)


def _sorted(entries: list[FileEntry]) -> dict[str, list[dict[str, Any]]]:
    lists: dict[str, list[dict[str, Any]]] = {name: [] for name in FILE_LISTS}
    for entry in entries:
        kind = entry.media_type.split("/")[0]
        name = {"image": "images", "video": "videos", "audio": "audio"}.get(kind, "files")
        lists[name].append(entry.to_json())
    return lists
