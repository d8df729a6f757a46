"""The models of one folder and one volume: look, compare, plan, carry out. Asyncio, no Qt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from worker.contract import OWN_FOLDER, RESULTS

from ..errors import BadInput, ComfyRunPodError
from ..s3.access import VolumeAccess
from ..s3.body import Limit, hashes_of
from ..s3.bucket import Bucket, Stat
from ..s3.data_centres import MODELS
from ..s3.errors import FileChanged
from ..s3.flow import Crew, Flow
from ..s3.pace import Pace as LastPace
from ..s3.patience import Patience
from ..s3.records import FileMark, Hashes, Records
from ..s3.survey import Survey, survey
from ..threads import in_thread
from . import manifest
from .arrivals import Leftovers
from .compare import Knowledge, checked, compare, proved
from .model import Entry, Picture, Plan, Standing, Wish
from .plan import make_plan
from .scan import Rules, Scan, scan
from .transfer import Pace, Transfer

_LISTERS = 8
#: What else lies on a volume is counted for so many seconds only: it may be a million files.
_COUNTING_S = 15.0
_LEAVE_S = 0.8


class Busy(BadInput):
    """Another sync of this user runs."""

    code = "busy"


@dataclass(frozen=True, slots=True)
class Proving:
    """How far comparing contents is: bytes read of all that are to be, and the path that is read now."""

    done: int
    total: int
    path: PurePosixPath


class ModelSync:
    """What a folder of models and a volume have to do with each other.

    Args:
        folder: the models folder here.
        records: what is known of earlier transfers; shared, and closed by its owner.
        data_dir: where the lock of the one running sync is.
        prefix: the models folder on the volume.
    """

    def __init__(
        self,
        folder: Path,
        access: VolumeAccess,
        records: Records,
        data_dir: Path,
        *,
        prefix: PurePosixPath = MODELS,
        patience: Patience | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.folder, self.access = folder, access
        self.bucket = Bucket(access)
        self._records, self._data_dir = records, data_dir
        self._prefix, self._is_of_models = f"{prefix}/", prefix == MODELS
        self._patience, self._pace = patience or Patience(), pace or Pace()
        self._known: Knowledge | None = None
        self._rules = Rules()
        #: Any transfer does it too, one of nothing as well.
        self.left = Leftovers()

    async def look(self, rules: Rules | None = None, *, count_all: bool = True) -> Picture:
        """Both sides, compared by name, size and what is known of contents.

        Args:
            count_all: count the rest of the volume too, for as long as that takes at most.

        Raises:
            ComfyRunPodError: when the folder or the volume cannot be looked at.
        """
        self._rules = rules or Rules()
        return await in_thread(lambda stop: self._look(stop, count_all=count_all), leave_s=_LEAVE_S)

    async def prove(
        self,
        picture: Picture,
        tell: Callable[[Proving], None] = lambda _: None,
        *,
        only: Collection[str] | None = None,
        read_back: bool = False,
    ) -> Picture:
        """Compare the contents of files of one size that nobody compared; each file here is read once.

        Args:
            tell: called from another thread.
            only: these paths; None: all that need it.
            read_back: what hashes do not tell, and each of ``only``, is told by pieces read from the volume.

        Raises:
            ComfyRunPodError: when the volume cannot be read. What was learnt before stays known.
        """
        return await in_thread(
            lambda stop: self._prove(picture, tell, only, read_back, stop), leave_s=_LEAVE_S
        )

    def plan(self, picture: Picture, wish: Wish, *, volume_size: int | None = None) -> Plan:
        """What a sync would do."""
        known = self._known
        if known is not None:
            self.left = Leftovers.of(picture.entries, known)
        sha256_of = {
            str(each.path): sha256
            for each in picture.entries
            if known is not None
            and each.there is not None
            and (sha256 := known.sha256_there(each.path, each.there))
        }
        rate = LastPace(self._data_dir).last()
        return make_plan(picture, wish, self.folder, volume_size=volume_size, rate=rate, sha256_of=sha256_of)

    def transfer(self, plan: Plan, limit: Limit | None = None) -> Transfer:
        """The plan, ready to be started; hold :meth:`lock` meanwhile."""
        return Transfer(
            plan, self.bucket, self._prefix, self._records,
            limit=limit, patience=self._patience, pace=self._pace, writes_list=self._is_of_models,
            left=self.left,
        )  # fmt: skip

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held while a sync runs: two would send the same files. Blocks for the disk only.

        Raises:
            Busy: when another one runs, in this program or in another.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._data_dir / "sync.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise Busy(
                "Another sync is running.", hint="Wait for its end, or stop it in the window on Models."
            ) from error
        try:
            yield
        finally:
            lock.release()

    async def hash_of(self, file: Path) -> str:
        """The SHA-256 of a file here; read once, and known from then on.

        Raises:
            FileChanged: when it cannot be read.
        """
        return (await in_thread(lambda stop: self._hashes(file, stop), leave_s=_LEAVE_S)).sha256

    async def close(self) -> None:
        await in_thread(lambda _: self.bucket.close(), leave_s=_LEAVE_S)

    # In threads.

    def _look(self, stop: threading.Event, *, count_all: bool) -> Picture:
        crew, flow = Crew("sync-list", _LISTERS), Flow(stop)
        here_crew = Crew("sync-scan", 1)
        try:
            scanning: Future[Scan] = here_crew.start(lambda: scan(self.folder, self._rules, stop))
            models = survey(self.bucket, self._prefix, crew, self._patience, flow)
            results = survey(self.bucket, f"{OWN_FOLDER}/{RESULTS}/", crew, self._patience, flow)
            listed = manifest.read(self.bucket, self._prefix, self._patience, flow)
            rest, notes = self._rest(crew, stop) if count_all else (0, ())
            local = scanning.result()
        finally:
            crew.close()
            here_crew.close()
        self._known = Knowledge(
            listed,
            self._records.all_hashes(),
            self._records.proofs(self.bucket.name),
            {each.key: each for each in self._records.uploads(self.access.url, self.bucket.name)},
        )
        entries = [checked(each) for each in compare(local, models, self._prefix, self._rules, self._known)]
        return Picture(
            tuple(entries),
            sum(each.size for each in (*models.files, *results.files)) + rest,
            _by_folder(models, self._prefix),
            (sum(each.size for each in results.files), len(results.files)),
            notes,
            time.time(),
        )

    def _rest(self, crew: Crew, stop: threading.Event) -> tuple[int, tuple[str, ...]]:
        """Bytes of what is neither models nor results, as far as it can be counted soon."""
        enough = threading.Event()
        clock = threading.Timer(_COUNTING_S, enough.set)
        clock.daemon = True
        clock.start()
        skipped = (self._prefix, f"{OWN_FOLDER}/{RESULTS}/")
        try:
            found = survey(self.bucket, "", crew, self._patience, Flow(stop), skip=skipped, enough=enough)
        except ComfyRunPodError as error:
            return 0, (f"What else is on the volume is not known: {error.summary}",)
        finally:
            clock.cancel()
        note = () if not enough.is_set() else ("There is more on the volume than could be counted.",)
        return sum(each.size for each in found.files), note

    def _prove(
        self,
        picture: Picture,
        tell: Callable[[Proving], None],
        only: Collection[str] | None,
        read_back: bool,
        stop: threading.Event,
    ) -> Picture:
        known = self._known
        if known is None:
            return picture
        wanted = [each for each in picture.entries if _needs_proof(each, only)]
        total, done = sum(each.size for each in wanted), 0
        found: dict[PurePosixPath, Entry] = {}
        flow = Flow(stop)
        for entry in wanted:
            if entry.here is None or entry.there is None:
                continue
            start = done

            def count(size: int, entry: Entry = entry) -> None:
                nonlocal done
                done += size
                tell(Proving(done, total, entry.path))

            try:
                hashes = self._hashes(entry.here.place, stop, count)
                now, how = proved(
                    *(entry, hashes, known, self.bucket, flow), read_back=read_back, always=only is not None
                )
            except FileChanged as error:
                now, how = replace(entry, standing=Standing.LEFT_OUT, why=str(error)), ""
            if now.standing is Standing.SAME and how in ("etag", "sha256"):
                self._note(entry.there, hashes.sha256)
            elif now.standing is Standing.DIFFERS and how == "spot" and entry.there.etag:
                # Else its ETag would be believed again.
                self._note(entry.there, "")
            found[entry.path] = now
            done = start + entry.size
            tell(Proving(done, total, entry.path))
        self._known = replace(
            known, hashes=self._records.all_hashes(), proofs=self._records.proofs(self.bucket.name)
        )
        return replace(picture, entries=tuple(found.get(each.path, each) for each in picture.entries))

    def _note(self, there: Stat, sha256: str) -> None:
        self._records.note_proof(self.bucket.name, there.key, there.etag, there.size, sha256)

    def _hashes(
        self, file: Path, stop: threading.Event, count: Callable[[int], None] = lambda _: None
    ) -> Hashes:
        try:
            mark = FileMark.of(file)
            known = self._records.hashes(file, mark)
            if known is None or not known.md5:
                known = Hashes(*hashes_of(file, stop, count))
                if FileMark.of(file) != mark:
                    raise FileChanged(f"{file.name} changed while it was read.")
                self._records.note_hashes(file, mark, known)
        except OSError as error:
            raise FileChanged(f"{file.name} cannot be read: {error.strerror}.") from error
        return known


def _needs_proof(entry: Entry, only: Collection[str] | None) -> bool:
    if entry.here is None or entry.there is None or entry.here.mark.size != entry.there.size:
        return False
    return entry.standing is Standing.UNVERIFIED if only is None else str(entry.path) in only


def _by_folder(models: Survey, prefix: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in models.files:
        top, stroke, _ = each.key[len(prefix) :].partition("/")
        found[top if stroke else ""] = found.get(top if stroke else "", 0) + each.size
    return found
