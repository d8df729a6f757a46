"""Carries a plan out: small files many at a time, large ones two at a time, each with its own fate.

The work is done in threads of its own; :meth:`Transfer.look` tells how far it is, as often as somebody asks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial

from ..errors import ComfyRunPodError
from ..s3.body import Limit
from ..s3.bucket import Bucket
from ..s3.download import Fetcher
from ..s3.errors import AccessRefused, VolumeFull
from ..s3.flow import Crew, Slots
from ..s3.layout import LEAST_PART, PART
from ..s3.patience import Patience
from ..s3.records import Records
from ..s3.upload import Sender
from ..threads import Stopped, go_on
from .arrivals import Arrivals, Leftovers, key_of
from .model import Act, FilePhase, Phase, Plan, Progress, Step
from .tally import File, Tally

log = logging.getLogger(__name__)

#: What ends the whole sync: the next file would fail as well.
_GRAVE = (AccessRefused, VolumeFull)


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


class Transfer:
    """One sync under way.

    Args:
        prefix: where the models are on the volume; it ends with ``/``.
        limit: bytes per second for everything together; may be changed while it runs.
        writes_list: keep the list of models on the volume.
        left: what earlier syncs left undone; it is done too.
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
        left: Leftovers | None = None,
    ) -> None:
        self._bucket, self._prefix, self._records = bucket, prefix, records
        self._writes_list, self._left = writes_list, left or Leftovers()
        self.limit = limit or Limit()
        self._patience, self._pace = patience or Patience(), pace or Pace()
        self._stop, self._rest = threading.Event(), threading.Event()
        self._tally = Tally(plan.steps, self._stop, self._rest, self.limit)
        self._grave: ComfyRunPodError | None = None
        self._ended = threading.Event()
        self._arrivals = Arrivals(
            bucket, prefix, records, self._patience, self._stop, self._tally, self._failed,
            self._left.unlisted,
        )  # fmt: skip
        slots = self._pace.slots
        self._crew = Crew("sync-part", slots)
        self._sender = Sender(
            bucket, records, self._crew, Slots(slots), patience=self._patience,
            part=self._pace.part, least_part=self._pace.least_part,
        )  # fmt: skip
        self._fetcher = Fetcher(bucket, records, Slots(slots), patience=self._patience, span=self._pace.part)

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
        for file in self._tally.files:
            if file.phase is FilePhase.DONE:
                continue
            if file.step.act is Act.UPLOAD:
                self._sender.discard(self._key(file.step))
            elif file.step.act is Act.DOWNLOAD:
                self._fetcher.discard(file.step.place)

    def look(self) -> Progress:
        """How far it is. What is new since the last look is in ``changed``."""
        return self._tally.look()

    # The work.

    def _run(self) -> None:
        phase = Phase.FAILED
        try:
            files = self._tally.files
            deletions = [each for each in files if each.step.act is Act.DELETE]
            small = [each for each in files if self._is_small(each.step)]
            large = [
                each for each in files if each.step.act is not Act.DELETE and not self._is_small(each.step)
            ]
            # Room first.
            for key in self._left.over:
                self._patience.attempt(partial(self._sender.discard, key), self._stop)
            self._all(deletions, 1, self._delete)
            self._by_folder((each for each in small if each.step.there is None), self._arrivals.see_none)
            small = [each for each in small if each.phase is not FilePhase.FAILED]
            self._all(small, self._pace.small, partial(self._send, confirm=False))
            self._by_folder((each for each in small if each.sent is not None), self._arrivals.see)
            self._all(large, self._pace.large, self._bring)
            if self._writes_list:
                self._aside(self._arrivals.write_list)
            phase = Phase.FINISHED
        except Stopped:
            phase = Phase.STOPPED
        except ComfyRunPodError as error:
            self._grave = self._grave or error
        except Exception:
            # A mistake of ours, or a broken record: said like any other trouble, and nothing is left hanging.
            log.critical("A mistake in this program ended a sync:", exc_info=True)
            self._grave = ComfyRunPodError(
                "The sync ended by an error of this program.", hint="Its log tells more."
            )
        finally:
            if phase is not Phase.FINISHED:
                self._stop.set()
            self._tally.end(phase, None if self._grave is None else self._grave.problem)
            self._crew.close()
            self._ended.set()

    def _is_small(self, step: Step) -> bool:
        return step.act is Act.UPLOAD and step.size <= self._pace.part

    def _all(self, files: Iterable[File], at_once: int, work: Callable[[File], None]) -> None:
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
                if self._writes_list and self._arrivals.are_to_be_listed:
                    self._aside(self._arrivals.write_list)
        finally:
            for each in under_way:
                each.cancel()
            crew.close()
        self._go_on()

    def _by_folder(self, files: Iterable[File], work: Callable[[str, list[File]], None]) -> None:
        """One list tells of many files."""
        folders: dict[str, list[File]] = {}
        for each in files:
            folders.setdefault(self._key(each.step).rpartition("/")[0] + "/", []).append(each)
        for folder, members in folders.items():
            self._aside(partial(work, folder, members))
            self._go_on()

    def _go_on(self) -> None:
        """Raises what ends the whole."""
        if self._grave is not None:
            raise self._grave
        go_on(self._stop)

    def _aside(self, work: Callable[[], None]) -> None:
        """Have it done in a thread of its own: a request may hang, and a stop waits for none."""
        crew = Crew("sync-list", 1)
        future = crew.start(work)
        crew.close()
        while not wait([future], timeout=0.1).done:
            self._go_on()
        future.result()

    def _one(self, file: File, work: Callable[[File], None]) -> None:
        try:
            file.flow.go()
            if self._grave is not None:
                return
            self._tally.to(file, FilePhase.RUNNING)
            work(file)
        except Stopped:
            self._tally.to(file, FilePhase.WAITING)
        except ComfyRunPodError as error:
            self._failed(file, error)
        except OSError as error:
            # From this computer's disk; the volume's troubles have names of their own.
            self._failed(file, ComfyRunPodError(f"{file.step.path.name}: {error.strerror or error}."))

    def _failed(self, file: File, error: ComfyRunPodError) -> None:
        if isinstance(error, _GRAVE):
            self._grave = self._grave or error
        log.warning("%s: %s", file.step.path, error)
        self._tally.to(file, FilePhase.FAILED, problem=error.problem)

    def _bring(self, file: File) -> None:
        if file.step.act is Act.UPLOAD:
            self._send(file, confirm=True)
        else:
            self._fetch(file)

    def _send(self, file: File, *, confirm: bool) -> None:
        step = file.step
        if confirm or step.there is not None:
            self._arrivals.is_as_seen(file)
        sent = self._sender.send(self._key(step), step.place, file.flow, step.there, confirm=confirm)
        self._arrivals.sent(file, sent, is_seen=confirm)

    def _fetch(self, file: File) -> None:
        step = file.step
        fetched = self._fetcher.fetch(
            self._key(step), step.place, file.flow, sha256=step.sha256, overwrite=step.overwrites_here
        )
        self._tally.to(file, FilePhase.DONE, proof=fetched.proof)

    def _delete(self, file: File) -> None:
        self._arrivals.is_as_seen(file)
        self._patience.attempt(lambda: self._bucket.delete(self._key(file.step)), self._stop, file.flow.tell)
        self._arrivals.deleted(file)

    def _key(self, step: Step) -> str:
        return key_of(self._prefix, step)
