"""Model sync with the settings in force: which folder, which volume, what was begun and not ended. No Qt."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from worker.contract import OWN_FOLDER, RESULTS, safe_name

from .errors import BadInput, NeedsSetup
from .s3.access import VolumeAccess
from .s3.body import Limit
from .s3.data_centres import MODELS, has_s3
from .s3.pace import Pace as LastPace
from .s3.records import RECORDS, Records, RunRecord
from .settings import Settings
from .sync.compare import checked, place_here
from .sync.model import Act, Entry, Phase, Picture, Plan, Progress, Standing, Step, Wish
from .sync.scan import Rules, scan
from .sync.sync import ModelSync
from .sync.transfer import Transfer
from .threads import in_thread
from .vault import API_KEY, S3_ACCESS_KEY, S3_SECRET_KEY, with_keys

if TYPE_CHECKING:
    from .endpoint.account_model import Volume
    from .preflight.report import Lack
    from .sync.runpodctl.model import Item

log = logging.getLogger(__name__)

#: News of a transfer are told so often at most, in seconds.
_TELL_S = 0.1
#: A transfer that is told to stop is left to itself after so many seconds.
_LEAVE_S = 0.8
_MAKE_A_KEY = (
    "Make one in RunPod's console under Settings, S3 API keys, and enter it in Settings, or keep it with "
    "`comfy-runpod key set s3-access` and `s3-secret`."
)
#: Results younger than that may be waited for by somebody, in seconds.
_SETTLED_S = 3600.0


class Syncing:
    """The syncs of one user: what they share, and how one is carried out.

    Args:
        settings: those in force.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._records: Records | None = None
        #: Bytes per second for all transfers; the user may change it while they run.
        self.limit = Limit()

    async def records(self) -> Records:
        """Raises BadInput when the record cannot be used."""
        if self._records is None:
            self._records = await asyncio.to_thread(Records, self._settings().data_dir / RECORDS)
        return self._records

    async def sync(
        self, *, folder: Path | None = None, volume_id: str | None = None, data_centre: str | None = None
    ) -> ModelSync:
        """A folder and a volume; those of the settings unless others are given.

        Raises:
            NeedsSetup: when there is no folder, no volume, or no S3 key for it.
            BadInput: when the record of transfers cannot be used.
        """
        settings = self._settings()
        here = folder or models_folder(settings)
        if here is None:
            raise NeedsSetup("No models folder is set.", hint="Name it, or set up ComfyUI in Settings.")
        return ModelSync(
            here, await self.access(volume_id, data_centre), await self.records(), settings.data_dir
        )

    async def access(self, volume_id: str | None = None, data_centre: str | None = None) -> VolumeAccess:
        """Raises NeedsSetup when there is no volume, no S3 key, or no S3 API where it lies."""
        settings = self._settings()
        if not settings.runpod_s3_access_key:
            settings = await asyncio.to_thread(with_keys, settings, S3_ACCESS_KEY, S3_SECRET_KEY)
        if not (volume_id or settings.runpod_volume_id):
            raise NeedsSetup("No network volume is set.", hint="Pick the volume that your endpoint uses.")
        place = data_centre or settings.runpod_datacenter
        if place and not settings.runpod_s3_url and not has_s3(place):
            raise NeedsSetup(
                f"RunPod has no S3 API in {place}.",
                hint="Send models with runpodctl to a pod that has the volume: `--transport runpodctl`.",
            )
        access = VolumeAccess.of(settings, volume_id, data_centre)
        if access is None:
            keys = settings.runpod_s3_access_key and settings.runpod_s3_secret_key
            raise NeedsSetup(
                "The data centre of the volume is not set." if keys else "There is no S3 key for the volume.",
                hint="Set it in Settings, or with RUNPOD_DATACENTER." if keys else _MAKE_A_KEY,
            )
        return access

    async def volumes(self) -> tuple[Volume, ...]:
        """The account's volumes; none without an API key. Raises ComfyRunPodError when it cannot be asked."""
        settings = self._settings()
        if not settings.runpod_api_key:
            settings = await asyncio.to_thread(with_keys, settings, API_KEY)
        if not settings.runpod_api_key:
            return ()
        # It brings an HTTP library that nothing else here needs.
        from .endpoint.account import AccountClient

        return await AccountClient(settings.runpod_api_url, settings.runpod_api_key).volumes()

    async def upload_plan(self, sync: ModelSync, lacks: Sequence[Lack]) -> Plan:
        """What a workflow lacks on the volume and this computer has. What is there already is left out.

        Raises:
            BadInput: when a file is not here, or the volume has another of its name.
            ComfyRunPodError: when the volume cannot be asked.
        """
        steps: list[Step] = []
        for lack in lacks:
            step = await asyncio.to_thread(_step, lack)
            key = str(MODELS / step.path)
            there = await in_thread(lambda _, key=key: sync.bucket.head(key), leave_s=_LEAVE_S)  # type: ignore[misc]
            if there is not None and there.size != step.size:
                raise BadInput(
                    f"The volume has another {lack.name}, of {there.size} bytes instead of {step.size}.",
                    hint="Rename one of the two.",
                )
            if there is None:
                steps.append(step)
        return Plan(tuple(steps), len(steps), sum(step.size for step in steps))

    async def here(self, folder: Path) -> Picture:
        """The models of a folder, without a volume to compare with. Raises BadInput: there is no folder."""

        def look(stop: threading.Event) -> Picture:
            found = scan(folder, Rules(), stop).files
            entries = (checked(Entry(each.path, each, None, Standing.HERE)) for each in found)
            return Picture(tuple(entries), at=time.time())

        return await in_thread(look, leave_s=_LEAVE_S)

    async def items(self, folder: Path, rules: Rules, only: Collection[str] | None = None) -> list[Item]:
        """Models of a folder for a pod, with the hashes that are known.

        Args:
            only: these paths; None: all.

        Raises:
            BadInput: when there is no such folder, or nothing in it.
        """
        from .sync.runpodctl.model import Item

        records = await self.records()

        def look(stop: threading.Event) -> list[Item]:
            files = scan(folder, rules, stop).files
            found = [each for each in files if only is None or str(each.path) in only]
            known = {each.path: records.hashes(each.place, each.mark) for each in found}
            return [
                Item(
                    each.path,
                    each.place,
                    each.mark.size,
                    hashes.sha256 if (hashes := known[each.path]) else None,
                )
                for each in found
            ]

        items = await in_thread(look, leave_s=_LEAVE_S)
        if not items:
            raise BadInput(f"There are no models in {folder}.", hint="Choose another folder.")
        return items

    async def fetch_results(
        self,
        one: ModelSync,
        folder: Path,
        tell: Callable[[Progress], None] = lambda _: None,
        *,
        hold: Callable[[Transfer], None] = lambda _: None,
        told: Callable[[Plan], None] = lambda _: None,
        dry_run: bool = False,
    ) -> Progress | None:
        """Bring results that workers left on the volume to a folder; what is here, whole, is dropped there.

        Those of the last hour stay: a panel elsewhere may be about to fetch them.

        Args:
            told: told what is to be brought, before.

        Raises:
            BadInput: while jobs on RunPod are not finished: their results come by themselves.
            ComfyRunPodError: when the volume cannot be looked at.
        """
        await self._no_jobs_wait()
        results = ModelSync(
            folder, one.access, await self.records(), self._settings().data_dir,
            prefix=PurePosixPath(OWN_FOLDER, RESULTS),
        )  # fmt: skip
        try:
            await asyncio.to_thread(lambda: folder.mkdir(parents=True, exist_ok=True))
            progress: Progress | None = None
            for act in (Act.DOWNLOAD, Act.DELETE):
                picture = await results.prove(await results.look(count_all=False), read_back=True)
                plan = _plan_of_results(picture, folder, act)
                if act is Act.DOWNLOAD:
                    told(plan)
                if dry_run or not plan.steps:
                    continue
                ended = await self.carry_out(results, plan, Wish(), tell, hold=hold)
                progress = progress or ended
                if ended.phase is not Phase.FINISHED:
                    return ended
            return progress
        finally:
            await results.close()

    async def _no_jobs_wait(self) -> None:
        # They bring all that knows of workflows.
        from .jobs.store import JobStore
        from .jobs.targets import is_remote

        store = JobStore(self._settings().data_dir / "jobs.sqlite")
        await store.open()
        try:
            waiting = [job for job in await store.unfinished() if is_remote(job.target)]
        finally:
            await store.close()
        if waiting:
            raise BadInput(
                f"{len(waiting)} of your jobs on RunPod are not finished: their results come by themselves.",
                hint="Fetch what is left once they have ended.",
            )

    async def carry_out(
        self,
        sync: ModelSync,
        plan: Plan,
        wish: Wish,
        tell: Callable[[Progress], None] = lambda _: None,
        *,
        hold: Callable[[Transfer], None] = lambda _: None,
        goes_on: RunRecord | None = None,
        resumes: bool = False,
    ) -> Progress:
        """Do what a plan says; how it ended.

        Args:
            tell: told how far it is, at most ten times a second.
            hold: given the transfer, to pause or stop it.
            goes_on: the record of the run that this one goes on with.
            resumes: cancelled, it is gone on with at the next start of the window.

        Raises:
            Busy: when another sync runs.
        """
        records = await self.records()
        with sync.lock():
            run = (
                goes_on.id
                if goes_on
                else records.begin_run(sync.access.volume_id, str(sync.folder), wish_to_json(wish, plan))
            )
            transfer = sync.transfer(plan, self.limit)
            hold(transfer)
            moving_s = 0.0
            transfer.start()
            try:
                while not transfer.has_ended:
                    began = time.monotonic()
                    await asyncio.sleep(_TELL_S)
                    progress = transfer.look()
                    if progress.phase is not Phase.PAUSED and progress.waits is None:
                        moving_s += time.monotonic() - began
                    tell(progress)
            except asyncio.CancelledError:
                transfer.stop()
                await asyncio.shield(asyncio.to_thread(transfer.wait, _LEAVE_S))
                if not resumes:
                    records.end_run(run, {**_result(transfer.look()), "phase": Phase.STOPPED})
                raise
            progress = transfer.look()
            tell(progress)
            records.end_run(run, _result(progress))
        if progress.phase is Phase.FINISHED:
            settings = self._settings()
            await asyncio.to_thread(LastPace(settings.data_dir).note, progress.moved, moving_s)
        return progress

    async def unfinished(self) -> RunRecord | None:
        """A run that was to go on and has not."""
        records = await self.records()
        newest = await asyncio.to_thread(records.runs, None, limit=1)
        return newest[0] if newest and newest[0].finished is None else None

    async def earlier(self, volume_id: str, *, limit: int = 5) -> list[RunRecord]:
        records = await self.records()
        runs = await asyncio.to_thread(records.runs, volume_id, limit=limit)
        return [run for run in runs if run.finished is not None]

    async def close(self) -> None:
        if self._records is not None:
            await asyncio.to_thread(self._records.close)
            self._records = None


def models_folder(settings: Settings) -> Path | None:
    """Where this computer's models are; None when nothing says so."""
    if settings.models_dir is not None:
        return settings.models_dir
    return None if settings.comfyui_dir is None else settings.comfyui_dir / "models"


def staging_folder(models: Path) -> Path:
    """Beside the models, so that links need no second copy; outside what is synced."""
    return models.parent / ".comfy-runpod-staging"


def wish_to_json(wish: Wish, plan: Plan) -> dict[str, object]:
    """What is needed to go on with a run; ``agreed``: the files there that may be replaced or deleted."""
    return {
        "upload": wish.upload,
        "download": wish.download,
        "only": None if wish.only is None else sorted(wish.only),
        "skip": sorted(wish.skip),
        "agreed": {str(step.path): step.replaces for step in plan.steps if step.replaces},
        "delete": sorted(wish.delete),
        "overwrite_here": sorted(wish.overwrite_here),
    }


def wish_from_record(run: RunRecord, picture: Picture) -> Wish:
    """What is left of a run. Only files that are as they were then may be replaced or deleted."""
    wish = run.wish
    agreed = wish.get("agreed")
    before = agreed if isinstance(agreed, dict) else {}
    same = {
        str(each.path)
        for each in picture.entries
        if each.there is not None and before.get(str(each.path)) == each.there.etag
    }
    delete = same & _texts(wish.get("delete"))
    return Wish(
        upload=bool(wish.get("upload")),
        download=bool(wish.get("download")),
        only=None if wish.get("only") is None else _texts(wish.get("only")),
        skip=_texts(wish.get("skip")),
        overwrite=frozenset(same - delete),
        delete=frozenset(delete),
    )


def _texts(value: object) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()


def _plan_of_results(picture: Picture, folder: Path, act: Act) -> Plan:
    """What is to be fetched, or what is here and to be dropped there."""
    wanted = Standing.THERE if act is Act.DOWNLOAD else Standing.SAME
    steps = tuple(
        Step(
            *(act, each.path, place_here(folder, each.path), each.size if act is Act.DOWNLOAD else 0),
            *("A worker left it.", each.there.etag),
            there=each.there,
        )
        for each in picture.entries
        if each.standing is wanted
        and each.there is not None
        and time.time() - each.there.changed_at > _SETTLED_S
    )
    size = sum(step.size for step in steps)
    return Plan(steps, len(steps) if act is Act.DOWNLOAD else 0, size)


def _step(lack: Lack) -> Step:
    """Raises BadInput."""
    try:
        # A workflow gave the name.
        path = PurePosixPath(*safe_name(lack.folder).parts, *safe_name(lack.name).parts)
        if lack.here is None:
            raise BadInput(f"{lack.name} is not on this computer.")
        return Step(Act.UPLOAD, path, lack.here, lack.here.stat().st_size, "A workflow needs it.")
    except (ValueError, OSError) as error:
        raise BadInput(f"{lack.name} cannot be sent: {error}.") from error


def _result(progress: Progress) -> dict[str, object]:
    return {
        "phase": progress.phase,
        "files": progress.files,
        "done": progress.files_done,
        "failed": progress.failed,
        "bytes": progress.done,
        "moved": progress.moved,
    }
