"""Carries a plan out: small files many at a time, large ones two at a time, each with its own fate.

The work is done in threads of its own; :meth:`Transfer.look` tells how far it is, as often as somebody asks.
"""

from __future__ import annotations

import logging
import platform
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath

from ..errors import ComfyRunPodError, Problem
from ..s3.body import Limit
from ..s3.bucket import Bucket, Stat
from ..s3.download import Fetcher
from ..s3.errors import AccessRefused, Damaged, VolumeFull
from ..s3.flow import Crew, Flow, Slots
from ..s3.patience import Patience, Waiting
from ..s3.records import FileMark, Records
from ..s3.survey import listed
from ..s3.upload import LEAST_PART, PART, Sender
from ..threads import Stopped
from . import manifest
from .manifest import Listed
from .meter import Meter
from .model import Act, FilePhase, FileProgress, Phase, Plan, Progress, Step

log = logging.getLogger(__name__)

#: The manifest is written at most so often while files go, in seconds.
_MANIFEST_S = 30.0
#: What ends the whole sync: the next file would fail as well.
_GRAVE = (AccessRefused, VolumeFull)
#: A request fails once more than that before its file is given up, when the answer was no good.
_AGAIN = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """How much goes at once.

    Attributes:
        part: the size of a part in bytes, and up to what size a file goes whole.
        slots: requests with bodies at a time.
        large, small: files at a time: of those that go in parts, and of the others.
    """

    part: int = PART
    least_part: int = LEAST_PART
    slots: int = 4
    large: int = 2
    small: int = 8


@dataclass(slots=True)
class _File:
    step: Step
    flow: Flow
    phase: FilePhase = FilePhase.WAITING
    done: int = 0
    shown: int = 0
    proof: str = ""
    problem: Problem | None = None
    sent: Listed | None = None
    meter: Meter | None = None


class Transfer:
    """One sync under way.

    Args:
        prefix: where the models are on the volume; it ends with ``/``.
        limit: bytes per second for everything together; may be changed while it runs.
        writes_list: keep the list of models on the volume.
    """

    def __init__(
        self,
        plan: Plan,
        bucket: Bucket,
        prefix: str,
        records: Records,
        *,
        limit: Limit | None = None,
        patience: Patience | None = None,
        pace: Pace | None = None,
        writes_list: bool = True,
    ) -> None:
        self._bucket, self._prefix, self._records = bucket, prefix, records
        self._writes_list = writes_list
        self.limit = limit or Limit()
        self._patience, self._pace = patience or Patience(), pace or Pace()
        self._stop, self._rest = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._files = {
            (step.act, step.path): _File(step, Flow(self._stop, self._rest, self.limit))
            for step in plan.steps
        }
        for file in self._files.values():
            file.flow.count = self._counter(file, moves=True)
            file.flow.had = self._counter(file, moves=False)
            file.flow.tell = self._teller(file)
        self._total = sum(file.step.size for file in self._files.values())
        self._moved = 0
        self._news: set[tuple[Act, PurePosixPath]] = set(self._files)
        self._waits: dict[tuple[Act, PurePosixPath], Waiting] = {}
        self._meter = Meter()
        self._grave: ComfyRunPodError | None = None
        self._phase = Phase.RUNNING
        self._ended = threading.Event()
        self._unlisted: dict[PurePosixPath, Listed] = {}
        self._deleted: set[PurePosixPath] = set()
        self._listed_at = 0.0
        slots = self._pace.slots
        self._slots = Slots(slots)
        self._crew = Crew("sync-part", slots)
        self._sender = Sender(
            bucket, records, self._crew, self._slots, patience=self._patience,
            part=self._pace.part, least_part=self._pace.least_part,
        )  # fmt: skip
        self._fetcher = Fetcher(bucket, records, Slots(slots), patience=self._patience)

    # From outside.

    def start(self) -> None:
        threading.Thread(target=self._run, name="sync", daemon=True).start()

    def pause(self) -> None:
        """Nothing new begins; what is under way ends."""
        self._rest.set()

    def resume(self) -> None:
        self._rest.clear()

    def stop(self) -> None:
        """End now. What was sent stays on record, for the next time."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Until it has ended; False: it has not yet."""
        return self._ended.wait(timeout)

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    @property
    def is_paused(self) -> bool:
        return self._rest.is_set()

    def discard(self) -> None:
        """Drop the parts of files that did not become whole, here and on the volume. Blocks.

        Raises:
            ComfyRunPodError: when the volume cannot be reached.
        """
        for file in self._files.values():
            if file.phase is FilePhase.DONE:
                continue
            if file.step.act is Act.UPLOAD:
                self._sender.discard(self._key(file.step))
            elif file.step.act is Act.DOWNLOAD:
                self._fetcher.discard(file.step.place)

    def look(self) -> Progress:
        """How far it is. What is new since the last look is in ``changed``."""
        with self._lock:
            news, self._news = self._news, set()
            waits = min(self._waits.values(), key=lambda each: each.until, default=None)
            resting = self._rest.is_set() and self._phase is Phase.RUNNING
            if resting and not any(each.phase is FilePhase.RUNNING for each in self._files.values()):
                self._meter.rest()
            else:
                self._meter.note(self._moved)
            changed = tuple(self._progress(self._files[each]) for each in news)
            active = tuple(
                self._progress(each)
                for each in self._files.values()
                if each.phase in (FilePhase.RUNNING, FilePhase.CHECKING)
            )
            done = sum(each.shown for each in self._files.values())
            moving = [each for each in self._files.values() if each.step.act is not Act.DELETE]
            return Progress(
                phase=Phase.PAUSED if resting else self._phase,
                done=done,
                total=self._total,
                files_done=sum(each.phase is FilePhase.DONE for each in moving),
                files=len(moving),
                failed=sum(each.phase is FilePhase.FAILED for each in self._files.values()),
                rate=self._meter.rate,
                left_s=self._meter.left_s(self._total - done),
                waits=None if waits is None else (waits.why, max(0.0, waits.until - time.monotonic())),
                changed=changed,
                active=active,
                moved=self._moved,
                problem=None if self._grave is None else self._grave.problem,
            )

    # The work.

    def _run(self) -> None:
        try:
            files = list(self._files.values())
            deletions = [each for each in files if each.step.act is Act.DELETE]
            uploads = [each for each in files if each.step.act is Act.UPLOAD]
            small = [each for each in uploads if each.step.size <= self._pace.part]
            large = [each for each in files if each.step.act is not Act.DELETE and each not in small]
            # Room first.
            self._all(deletions, 1, self._delete)
            self._all(small, self._pace.small, lambda file: self._send(file, confirm=False))
            self._confirm(small)
            self._all(large, self._pace.large, self._bring)
            self._write_manifest(at_last=True)
        except Stopped:
            pass
        except ComfyRunPodError as error:
            self._grave = self._grave or error
        finally:
            with self._lock:
                self._waits.clear()
                self._phase = (
                    Phase.FAILED if self._grave else Phase.STOPPED if self._stop.is_set() else Phase.FINISHED
                )
            self._crew.close()
            self._ended.set()

    def _all(self, files: Iterable[_File], at_once: int, work: Callable[[_File], None]) -> None:
        """Do the work for each file, so many at a time; wait for all."""
        files = list(files)
        if not files:
            return
        crew = Crew("sync-file", min(at_once, len(files)))
        under_way: list[Future[None]] = [crew.start(partial(self._one, file, work)) for file in files]
        try:
            while under_way and not self._stop.is_set() and self._grave is None:
                done, _ = wait(under_way, timeout=0.2)
                under_way = [each for each in under_way if each not in done]
                for each in done:
                    each.result()
                self._write_manifest(at_last=False)
        finally:
            for each in under_way:
                each.cancel()
            crew.close()
        if self._grave is not None:
            self._stop.set()
            raise self._grave
        if self._stop.is_set():
            raise Stopped

    def _one(self, file: _File, work: Callable[[_File], None]) -> None:
        try:
            file.flow.go()
            if self._grave is not None:
                return
            with self._lock:
                file.meter = Meter()
            self._to(file, FilePhase.RUNNING)
            work(file)
        except Stopped:
            self._to(file, FilePhase.WAITING)
        except ComfyRunPodError as error:
            self._failed(file, error)
        except OSError as error:
            # From this computer's disk; the volume's troubles have names of their own.
            self._failed(file, ComfyRunPodError(f"{file.step.path.name}: {error.strerror}."))

    def _failed(self, file: _File, error: ComfyRunPodError) -> None:
        if isinstance(error, _GRAVE):
            self._grave = self._grave or error
        log.warning("%s: %s", file.step.path, error)
        with self._lock:
            file.problem = error.problem
        self._to(file, FilePhase.FAILED)

    def _bring(self, file: _File) -> None:
        if file.step.act is Act.UPLOAD:
            self._send(file, confirm=True)
        else:
            self._fetch(file)

    def _send(self, file: _File, *, confirm: bool) -> None:
        step, key = file.step, self._key(file.step)
        if step.replaces:
            self._is_what_was_agreed(step)
        sent = self._sender.send(key, step.place, file.flow, step.there, confirm=confirm)
        with self._lock:
            file.proof = sent.proof
            file.sent = Listed(
                sent.size, sent.sha256, sent.etag, sent.part_size, sent.proof, sent.md5,
                FileMark.of(step.place).mtime_ns, manifest.now(), platform.node()[:100],
            )  # fmt: skip
            if confirm:
                self._unlisted[step.path] = file.sent
        self._to(file, FilePhase.DONE if confirm else FilePhase.CHECKING)

    def _fetch(self, file: _File) -> None:
        step = file.step
        fetched = self._fetcher.fetch(
            self._key(step), step.place, file.flow, sha256=step.sha256, overwrite=step.overwrites_here
        )
        with self._lock:
            file.proof = fetched.proof
        self._to(file, FilePhase.DONE)

    def _delete(self, file: _File) -> None:
        self._is_what_was_agreed(file.step)
        self._patience.attempt(lambda: self._bucket.delete(self._key(file.step)), self._stop, file.flow.tell)
        self._deleted.add(file.step.path)
        self._to(file, FilePhase.DONE)

    def _is_what_was_agreed(self, step: Step) -> None:
        """Only the file that the user saw may be replaced or deleted.

        Raises:
            Damaged: when another one is there.
        """
        now = self._patience.attempt(lambda: self._bucket.head(self._key(step)), self._stop)
        if now is not None and now.etag != step.replaces:
            raise Damaged(
                f"{step.path.name} changed on the volume since it was looked at, and was left as it is.",
                hint="Look again, and choose anew.",
            )

    def _confirm(self, files: list[_File]) -> None:
        """See that small files are there, folder by folder: the API has said so of files that were not."""
        sent = [each for each in files if each.sent is not None]
        folders: dict[str, list[_File]] = {}
        for each in sent:
            folders.setdefault(self._key(each.step).rpartition("/")[0] + "/", []).append(each)
        for folder, members in folders.items():
            flow = Flow(self._stop, self._rest)
            there = {stat.key: stat for stat in listed(self._bucket, folder, self._patience, flow).files}
            for each in members:
                self._confirmed(each, there.get(self._key(each.step)))

    def _confirmed(self, file: _File, stat: Stat | None) -> None:
        sent = file.sent
        if sent is None:
            return
        if stat is None or stat.size != sent.size:
            self._failed(
                file,
                Damaged(
                    f"The volume said that it has {file.step.path.name}, and has it not.", hint="Try again."
                ),
            )
            return
        if stat.etag != sent.etag:
            # Some servers compute it anew for their lists.
            file.sent = replace(sent, etag=stat.etag)
            self._records.note_proof(self._bucket.name, stat.key, stat.etag, stat.size, sent.sha256)
        with self._lock:
            self._unlisted[file.step.path] = file.sent or sent
        self._to(file, FilePhase.DONE)

    def _write_manifest(self, *, at_last: bool) -> None:
        """Tell the volume what it has. Only other computers need it: a failure costs nobody a file."""
        with self._lock:
            added, removed = dict(self._unlisted), set(self._deleted)
        if not self._writes_list or (not added and not removed):
            return
        if not at_last and time.monotonic() - self._listed_at < _MANIFEST_S:
            return
        self._listed_at = time.monotonic()
        try:
            manifest.merge(self._bucket, self._prefix, added, removed, self._patience, Flow(self._stop))
        except ComfyRunPodError as error:
            log.warning("The list of models on the volume was not written: %s", error)
            return
        with self._lock:
            self._unlisted = {path: each for path, each in self._unlisted.items() if added.get(path) != each}
            self._deleted -= removed

    # Numbers.

    def _key(self, step: Step) -> str:
        return f"{self._prefix}{step.source or step.path}"

    def _to(self, file: _File, phase: FilePhase) -> None:
        with self._lock:
            file.phase = phase
            if phase is FilePhase.DONE:
                file.done = file.shown = file.step.size
            self._waits.pop((file.step.act, file.step.path), None)
            self._news.add((file.step.act, file.step.path))

    def _counter(self, file: _File, *, moves: bool) -> Callable[[int], None]:
        def count(size: int) -> None:
            with self._lock:
                file.done = max(0, min(file.step.size, file.done + size))
                # Bars never go back.
                file.shown = max(file.shown, file.done)
                if moves and size > 0:
                    self._moved += size
                self._news.add((file.step.act, file.step.path))

        return count

    def _teller(self, file: _File) -> Callable[[Waiting | None], None]:
        def tell(waiting: Waiting | None) -> None:
            with self._lock:
                if waiting is None:
                    self._waits.pop((file.step.act, file.step.path), None)
                else:
                    self._waits[file.step.act, file.step.path] = waiting

        return tell

    def _progress(self, file: _File) -> FileProgress:
        rate = left = None
        if file.meter is not None and file.phase is FilePhase.RUNNING:
            file.meter.note(file.done)
            rate, left = file.meter.rate, file.meter.left_s(file.step.size - file.done)
        step = file.step
        return FileProgress(
            step.path, step.act, step.size, file.shown, file.phase, rate, left, file.proof, file.problem
        )
