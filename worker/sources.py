"""Where the content of an input comes from: the request, an address, or the volume and its store.

The store keeps files under their SHA-256, so that a client sends a big input once and names it afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .contract import inside
from .download import Downloader, Stop
from .errors import BadRequest, JobError
from .given import InputFile, stored_at

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sources:
    """Writes inputs to where they are wanted. Blocks; ``stop`` ends a download from another thread."""

    volume: Path | None = None
    downloader: Downloader = field(default_factory=Downloader)
    stop: Stop = field(default_factory=Stop)

    def write(self, file: InputFile, target: Path) -> None:
        """Write the file's content to ``target``, checked against its hash when the request names one.

        Raises:
            BadRequest: ``bad_input`` when the content is not what its hash says, or an address is refused.
            JobError: ``input_missing`` when the volume does not have it, and what a download raises.
            OSError: when the disk refuses.
        """
        if file.content is not None:
            target.write_bytes(file.content)
            self._check(file, hashlib.sha256(file.content).hexdigest() if file.sha256 else "")
        elif file.volume_path is not None:
            self._copy(file, file.volume_path, target)
        elif file.sha256 is not None and self._has(file.sha256):
            self._copy(file, stored_at(file.sha256), target)
            return
        elif file.url is not None:
            self._check(file, self.downloader.fetch(file.url, target, self.stop))
        else:
            raise _missing(file, "is not in the volume's store" if self.volume else "needs a network volume")
        if file.sha256 is not None and not self._has(file.sha256):
            self._keep(file.sha256, target)

    def _has(self, sha256: str) -> bool:
        return self.volume is not None and self.volume.joinpath(*stored_at(sha256).parts).is_file()

    def _copy(self, file: InputFile, path: PurePosixPath, target: Path) -> None:
        if self.volume is None:
            raise _missing(file, "needs a network volume")
        try:
            source = inside(self.volume, path)
        except (ValueError, OSError) as error:
            raise BadRequest(f"The volume_path of {str(file.name)!r} leads out of the volume.") from error
        if not source.is_file():
            raise _missing(file, f"is not on the volume as {str(path)!r}")
        digest = hashlib.sha256()
        with source.open("rb") as reading, target.open("wb") as writing:
            while chunk := reading.read(1 << 20):
                digest.update(chunk)
                writing.write(chunk)
        with contextlib.suppress(OSError):  # what is used is not old; a read-only volume is no obstacle
            os.utime(source)
        self._check(file, digest.hexdigest())

    def _check(self, file: InputFile, found: str) -> None:
        if file.sha256 is not None and found != file.sha256:
            raise BadRequest(
                f"The input file {str(file.name)!r} is damaged: its SHA-256 is not the one that was told.",
                details={"told": file.sha256, "found": found},
            )

    def _keep(self, sha256: str, content: Path) -> None:
        """Into the store; a store that refuses costs no job."""
        if self.volume is None:
            return
        try:
            kept = inside(self.volume, stored_at(sha256))
            kept.parent.mkdir(parents=True, exist_ok=True)
            aside = kept.with_name(f"{sha256}.{uuid.uuid4().hex}.part")
            try:
                shutil.copyfile(content, aside)
                aside.replace(kept)
            finally:
                aside.unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            log.warning("An input could not be kept on the volume: %s", error)


def _missing(file: InputFile, why: str) -> JobError:
    return JobError(
        "input_missing",
        f"The input file {str(file.name)!r} {why}.",
        hint="Send its content with the job.",
        details={"name": str(file.name), "sha256": file.sha256},
    )
