"""What came to the volume: seen there by a second look, and told to the volume's own list of models."""

from __future__ import annotations

import contextlib
import logging
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from ..errors import ComfyRunPodError
from ..s3.bucket import Bucket, Stat
from ..s3.errors import Damaged
from ..s3.flow import Flow
from ..s3.patience import Patience
from ..s3.records import FileMark, Records
from ..s3.survey import listed
from ..s3.upload import Sent
from . import manifest
from .compare import Knowledge
from .manifest import Listed
from .model import Entry, FilePhase, Standing, Step
from .tally import File, Tally

log = logging.getLogger(__name__)

#: The manifest is written at most so often while files go, in seconds.
_MANIFEST_S = 30.0


_HERE = platform.node()[:100]


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What a sync that was killed had brought and not come to note.

    Attributes:
        unlisted: what the volume's list lacks.
        over: the keys of files that are there, and of which our record says that they are under way.
    """

    unlisted: Mapping[PurePosixPath, Listed] = field(default_factory=dict)
    over: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.unlisted or self.over)

    @classmethod
    def of(cls, entries: Iterable[Entry], known: Knowledge) -> Leftovers:
        same = [each for each in entries if each.standing is Standing.SAME]
        keys = [each.there.key for each in same if each.there is not None]
        return cls(_unlisted(same, known), tuple(key for key in keys if key in known.uploads))


def _unlisted(same: Iterable[Entry], known: Knowledge) -> dict[PurePosixPath, Listed]:
    found: dict[PurePosixPath, Listed] = {}
    for each in same:
        here, there = each.here, each.there
        if here is None or there is None:
            continue
        hashes, listed = known.of_local(here), known.manifest.files.get(each.path)
        if hashes is None:
            continue
        says = None if listed is None else (listed.sha256, listed.size, listed.etag)
        if says != (hashes.sha256, there.size, there.etag):
            how = "etag" if there.etag and hashes.md5 == there.etag else "size"
            found[each.path] = Listed(
                there.size, hashes.sha256, there.etag, None, how, hashes.md5 or None,
                here.mark.mtime_ns, manifest.now(), _HERE,
            )  # fmt: skip
    return found


def key_of(prefix: str, step: Step) -> str:
    return f"{prefix}{step.source or step.path}"


class Arrivals:
    """Those of one sync.

    Args:
        prefix: where the models are on the volume; it ends with ``/``.
        failed: told of files that the volume does not have after all.
        added: what the list lacks already.
    """

    def __init__(
        self,
        bucket: Bucket,
        prefix: str,
        records: Records,
        patience: Patience,
        stop: threading.Event,
        tally: Tally,
        failed: Callable[[File, ComfyRunPodError], None],
        added: Mapping[PurePosixPath, Listed],
    ) -> None:
        self._bucket, self._prefix, self._records = bucket, prefix, records
        self._patience, self._stop = patience, stop
        self._tally, self._failed = tally, failed
        self._lock = threading.Lock()
        self._added: dict[PurePosixPath, Listed] = dict(added)
        self._removed: set[PurePosixPath] = set()
        self._written_at = 0.0

    def sent(self, file: File, sent: Sent, *, is_seen: bool) -> None:
        """A file was sent; unless somebody saw it there, that is still to be done."""
        mtime_ns: int | None = None
        with contextlib.suppress(OSError):
            mtime_ns = FileMark.of(file.step.place).mtime_ns
        file.sent = Listed(
            sent.size, sent.sha256, sent.etag, sent.part_size, sent.proof, sent.md5,
            mtime_ns, manifest.now(), _HERE,
        )  # fmt: skip
        self._tally.to(file, FilePhase.CHECKING, proof=sent.proof)
        if is_seen:
            self._arrived(file, file.sent)

    def deleted(self, file: File) -> None:
        with self._lock:
            self._removed.add(file.step.path)
        self._tally.to(file, FilePhase.DONE)

    def is_as_seen(self, file: File) -> None:
        """Only the file that the user saw on the volume may be replaced or deleted. Blocks.

        Raises:
            Damaged: when another one is there, or one where there was none.
        """
        step = file.step
        key = key_of(self._prefix, step)
        now = self._patience.attempt(lambda: self._bucket.head(key), self._stop, file.flow.tell)
        if now is None:
            return
        if step.there is None and not step.replaces:
            self._is_ours(file)
        elif now.etag != step.replaces or (step.there is not None and now.size != step.there.size):
            raise Damaged(
                f"{step.path.name} changed on the volume since it was looked at, and was left as it is.",
                hint="Look again, and choose anew.",
            )

    def see_none(self, folder: str, files: Sequence[File]) -> None:
        """The same for files of which the volume had none, with one list. Blocks."""
        for file, now in self._listed(folder, files):
            if now is not None:
                try:
                    self._is_ours(file)
                except Damaged as error:
                    self._failed(file, error)

    def _is_ours(self, file: File) -> None:
        """An upload of ours that was begun may have ended by itself since. Raises Damaged."""
        key = key_of(self._prefix, file.step)
        if self._records.upload(self._bucket.access.url, self._bucket.name, key) is None:
            raise Damaged(
                f"{file.step.path.name} came to the volume since it was looked at, and was left as it is.",
                hint="Look again.",
            )

    def see(self, folder: str, files: Sequence[File]) -> None:
        """Look whether they are in their folder: the API has said so of files that were not. Blocks."""
        for file, now in self._listed(folder, files):
            self._see(file, now)

    def _listed(self, folder: str, files: Sequence[File]) -> Iterator[tuple[File, Stat | None]]:
        flow = Flow(self._stop, tell=self._tally.teller(None))
        try:
            there = {stat.key: stat for stat in listed(self._bucket, folder, self._patience, flow).files}
        except ComfyRunPodError as error:
            for each in files:
                self._failed(each, error)
            return
        for each in files:
            yield each, there.get(key_of(self._prefix, each.step))

    def _see(self, file: File, stat: Stat | None) -> None:
        sent = file.sent
        if sent is None:
            return
        if stat is None or stat.size != sent.size:
            said = f"The volume said that it has {file.step.path.name}, and has it not."
            self._failed(file, Damaged(said, hint="Try again."))
            return
        if stat.etag != sent.etag:
            # Some servers compute it anew for their lists.
            sent = replace(sent, etag=stat.etag)
            self._records.note_proof(self._bucket.name, stat.key, stat.etag, stat.size, sent.sha256)
        self._arrived(file, sent)

    def _arrived(self, file: File, sent: Listed) -> None:
        with self._lock:
            self._added[file.step.path] = sent
        self._tally.to(file, FilePhase.DONE)

    @property
    def are_to_be_listed(self) -> bool:
        """Whether the list is to be written, as often as that is done while files go."""
        return self._has_news and time.monotonic() - self._written_at >= _MANIFEST_S

    @property
    def _has_news(self) -> bool:
        with self._lock:
            return bool(self._added or self._removed)

    def write_list(self) -> None:
        """Tell the volume what it has. Only other computers need it: a failure costs nobody a file. Blocks.

        Raises:
            Stopped: when asked to stop.
        """
        self._written_at = time.monotonic()
        if not self._has_news:
            return
        with self._lock:
            added, removed = dict(self._added), set(self._removed)
        # Without a connection nobody waits for ever for it.
        patience = replace(self._patience, offline_tries=self._patience.tries)
        flow = Flow(self._stop, tell=self._tally.teller(None))
        try:
            manifest.merge(self._bucket, self._prefix, added, removed, patience, flow)
        except ComfyRunPodError as error:
            log.warning("The list of models on the volume was not written: %s", error)
            return
        with self._lock:
            self._added = {path: each for path, each in self._added.items() if added.get(path) != each}
            self._removed -= removed
