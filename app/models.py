"""The models in the window: how folder and volume stand, what a sync would do, and the sync itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .endpoint.account_model import Volume
from .errors import BadInput, ComfyRunPodError, NeedsSetup
from .jobs.figures import size
from .model_rows import (
    USUAL,
    earlier_of,
    known_of,
    lane_of,
    moving_row,
    plan_of,
    row_of,
    run_of,
)
from .models_pod import PodSending
from .preflight.report import Lack
from .s3.records import RunRecord
from .settings import Settings
from .sync.compare import place_here
from .sync.known import Truncated, read_header
from .sync.model import Act, Entry, FilePhase, Phase, Picture, Plan, Progress, Standing, Step, Wish
from .sync.sync import ModelSync, Proving
from .sync.transfer import Transfer
from .syncing import Syncing, models_folder, wish_from_record
from .threads import in_thread
from .ui.desktop import copy_text, open_path
from .ui.dialogs import chosen_path
from .ui.frame.window import Window
from .ui.models.page import ModelsPage
from .ui.models.shown import (
    Choice,
    LimitShown,
    ModelRow,
    RowState,
    Transport,
    VolumeChoice,
    VolumeShown,
)
from .ui.notices import Notice, Notices
from .ui.state import WindowState
from .ui.tasks import TaskScope

_LEAVE_S = 0.8
_TRANSPORT, _LIMIT, _VOLUME = "sync_transport", "sync_limit", "sync_volume"
#: The settings that folder, volume and its key hang on.
OF_MODELS = (
    *("models_dir", "comfyui_dir", "runpod_volume_id", "runpod_datacenter", "runpod_s3_url"),
    *("runpod_s3_access_key", "runpod_s3_secret_key", "runpod_api_key"),
)
_FROM_VOLUME = "From the volume"


@dataclass(frozen=True, slots=True)
class ModelTies:
    """What this needs of the panel.

    Attributes:
        change: saves settings and puts them in force.
        set_up_volume: shows where volume and key are set.
        arrived: told when models came to the volume: jobs may wait for them.
    """

    settings: Callable[[], Settings]
    change: Callable[[dict[str, Any]], Coroutine[Any, Any, None]]
    set_up_volume: Callable[[], object]
    arrived: Callable[[], Coroutine[Any, Any, None]]


class Models:
    """Shows the models, and syncs them. One sync at a time."""

    def __init__(
        self, window: Window, notices: Notices, state: WindowState, scope: TaskScope, ties: ModelTies
    ) -> None:
        self.page: ModelsPage = window.models
        self._window, self._notices, self._state = window, notices, state
        self._scope, self._ties = scope, ties
        self.syncing = Syncing(ties.settings)
        self._one: ModelSync | None = None
        self._picture = Picture(())
        self._rows: dict[str, ModelRow] = {}
        self._ticks: dict[str, bool] = {}
        self._looking: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._transfer: Transfer | None = None
        self._volumes: tuple[Volume, ...] = ()
        self._asked_volumes = False
        self._stopped_by_user = False
        self._failed: set[str] = set()
        self._selected = self._checking = ""
        self._moving = asyncio.Lock()
        self.pod = PodSending(
            self.page, notices, scope, self.syncing, ties.settings, lambda: self._chosen_folder()
        )
        self._bind()
        limit = state.text(_LIMIT)
        with contextlib.suppress(ValueError):
            self.syncing.limit.set(float(limit) if limit else None)
        self.page.show_limit(LimitShown(self.syncing.limit.rate))
        self.page.show_transport(self._transport)

    def start(self) -> None:
        """Go on with a sync that the last end of the program cut off."""
        self._scope.start(self._go_on(), "sync-goes-on")

    def settings_changed(self) -> None:
        """Another folder, volume or key: look anew when somebody looks."""
        if self._running is None:
            self._scope.start(self._forget(), "sync-forget")

    async def close(self) -> None:
        """After the tasks have ended."""
        if self._one is not None:
            await self._one.close()
        await self.syncing.close()

    async def upload(self, lacks: Sequence[Lack]) -> None:
        """Bring models that a workflow needs to the volume; returns when they are there.

        Raises:
            NeedsSetup: when there is no S3 key for the volume.
            ComfyRunPodError: when one cannot be brought; the others may be.
        """
        async with self._moving:
            one = await self.syncing.sync(volume_id=self._ties.settings().runpod_volume_id)
            try:
                plan = await self.syncing.upload_plan(one, lacks)
                if not plan.steps:
                    return
                progress = await self._carry_out(one, plan, Wish(only=_paths(plan)), resumes=True)
            finally:
                await one.close()
        failed = [each for each in self._rows.values() if each.state is RowState.FAILED]
        if progress.problem is not None:
            raise ComfyRunPodError(progress.problem.summary, hint=progress.problem.hint)
        if progress.failed:
            note = next((each.note for each in failed if each.path in _paths(plan)), "It could not be sent.")
            raise ComfyRunPodError(note)
        if progress.phase is not Phase.FINISHED:
            raise BadInput("The upload was stopped.", hint="Press Upload and run to go on with it.")

    # Looking.

    def look(self) -> None:
        """Compare both sides anew, unless that or a sync is under way."""
        if self._looking is None and self._running is None:
            self._looking = self._scope.start(self._look(), "sync-look")

    async def _look(self) -> None:
        try:
            self._show_plan(busy=True)
            self._ask_volumes()
            try:
                one = await self._current()
            except NeedsSetup as error:
                self._show_needs(error)
                return
            self._picture = await one.look()
            self._show_all()
            unverified = any(each.standing is Standing.UNVERIFIED for each in self._picture.entries)
            if unverified:
                self._picture = await self._proved(one, self._picture)
                self._show_all()
        finally:
            self._looking = None
            if not self._scope.is_closed:
                self._show_plan()

    async def _current(self) -> ModelSync:
        volume = self._chosen_volume()
        one = await self.syncing.sync(volume_id=volume, data_centre=self._place_of(volume))
        if self._one is not None:
            if (self._one.folder, self._one.access) == (one.folder, one.access):
                await one.close()
                return self._one
            await self._one.close()
        self._one = one
        self._ticks.clear()
        return one

    async def _proved(self, one: ModelSync, picture: Picture, only: set[str] | None = None) -> Picture:
        """Read what needs to be compared, and show it row by row."""
        loop = asyncio.get_running_loop()
        last = 0.0

        def tell(proving: Proving) -> None:
            nonlocal last
            if time.monotonic() - last > 0.1:
                last = time.monotonic()
                loop.call_soon_threadsafe(self._show_checking, str(proving.path))

        proved = await one.prove(picture, tell, only=only, read_back=only is not None)
        if (path := self._checking) and path in self._rows:
            self.page.update_rows([self._rows[path]])
        return proved

    def _show_checking(self, path: str) -> None:
        before, self._checking = self._checking, path
        rows = [self._rows[before]] if before != path and before in self._rows else []
        if (row := self._rows.get(path)) is not None:
            rows.append(replace(row, state=RowState.CHECKING))
        self.page.update_rows(rows)

    def _show_all(self) -> None:
        self._checking = ""
        rows = [row_of(each, self._ticks.get(str(each.path))) for each in self._picture.entries]
        self._rows = {row.path: row for row in rows}
        self.page.show_empty("")
        if not rows:
            where = self._one.folder if self._one is not None else ""
            self.page.show_empty("No models found", f"Looked in {where}.", "Choose another folder", "folder")
        self.page.show_rows(rows)
        self._show_volume()
        self._scope.start(self._show_earlier(), "sync-earlier")

    def _show_needs(self, error: NeedsSetup) -> None:
        if models_folder(self._ties.settings()) is None:
            self.page.show_empty("No models folder", error.sentence, "Choose a folder", "folder")
        elif self._chosen_volume() is None:
            text = "Pick the volume that your endpoint uses."
            self.page.show_empty("No network volume", text, "Choose a volume", "volume")
        else:
            self.page.show_empty("The volume cannot be reached", error.sentence, "Open Settings", "key")

    def _show_plan(self, *, busy: bool = False) -> None:
        pod = self._transport == "runpodctl"
        plan = Plan() if self._one is None else self._plan()
        busy = busy or self._looking is not None
        self.page.show_plan(plan_of(plan, busy=busy, checked_at=self._picture.at or time.time(), pod=pod))
        self._show_volume(plan)

    def _plan(self, wish: Wish | None = None) -> Plan:
        if self._one is None:
            return Plan()
        return self._one.plan(self._picture, wish or self._wish(), volume_size=self._volume_size())

    def _wish(self) -> Wish:
        """All that is ticked."""
        only = {
            str(each.path)
            for each in self._picture.entries
            if each.standing in USUAL and self._ticks.get(str(each.path), USUAL[each.standing])
        }
        return Wish(download=True, only=frozenset(only))

    # The volume.

    def _chosen_volume(self) -> str | None:
        return self._state.text(_VOLUME) or self._ties.settings().runpod_volume_id or None

    def _chosen_folder(self) -> Path | None:
        return models_folder(self._ties.settings())

    def _volume_of(self, volume_id: str | None) -> Volume | None:
        return next((each for each in self._volumes if each.id == volume_id), None)

    def _place_of(self, volume_id: str | None) -> str | None:
        found = self._volume_of(volume_id)
        return None if found is None else found.data_centre

    def _volume_size(self) -> int | None:
        found = self._volume_of(self._chosen_volume())
        return None if found is None or found.size_gb is None else found.size_gb * 10**9

    def _show_volume(self, plan: Plan | None = None) -> None:
        volume_id = self._chosen_volume()
        if volume_id is None or self._one is None:
            self.page.show_volume(None)
            return
        found, picture = self._volume_of(volume_id), self._picture
        place = found.data_centre if found is not None else self._ties.settings().runpod_datacenter
        folders = sorted(picture.folders.items(), key=lambda each: -each[1])
        self.page.show_volume(
            VolumeShown(
                volume_id,
                (found.name if found is not None else "") or volume_id,
                place or "",
                self._volume_size(),
                picture.used,
                None if plan is None or not plan.grows else picture.used + plan.grows,
                sum(each.there is not None for each in picture.entries),
                tuple((name or "models", length) for name, length in folders),
                *picture.results,
                " ".join(picture.notes),
            )
        )

    def _ask_volumes(self) -> None:
        if not self._asked_volumes:
            self._asked_volumes = True
            self._scope.start(self._read_volumes(), "sync-volumes")

    async def _read_volumes(self) -> None:
        try:
            self._volumes = await self.syncing.volumes()
        except ComfyRunPodError:
            # The page works without their names and sizes.
            self._asked_volumes = False
            return
        self.page.show_volumes([
            VolumeChoice(each.id, " · ".join(filter(None, (each.name or each.id, each.data_centre))))
            for each in self._volumes
        ])  # fmt: skip
        self._show_plan()

    def _choose_volume(self, volume_id: str) -> None:
        mine = self._ties.settings().runpod_volume_id
        self._state.put(_VOLUME, "" if volume_id == mine else volume_id)
        self.settings_changed()

    async def _forget(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._looking = None
        if self._one is not None:
            one, self._one = self._one, None
            await one.close()
        self._picture, self._rows = Picture(()), {}
        if self.page.isVisible():
            self.look()

    # Syncing.

    def _sync(self) -> None:
        if self._transport == "runpodctl":
            self.pod.begin()
        else:
            self._begin(self._wish())

    def _begin(self, wish: Wish) -> None:
        """Start, unless one runs."""
        if self._running is not None:
            self._notices.tell(Notice("A sync is running", "Wait for its end, or stop it.", "info"))
            return
        self._running = self._scope.start(self._run(wish), "sync")

    async def _run(self, wish: Wish) -> None:
        try:
            one = self._one or await self._current()
            plan = self._plan(wish)
            if plan.obstacle:
                raise BadInput(f"Not enough room on the volume: {plan.obstacle}", hint="Choose fewer files.")
            if plan.steps:
                async with self._moving:
                    await self._carry_out(one, plan, wish, resumes=True)
        finally:
            self._running = None
        await self._after()

    async def _carry_out(
        self,
        one: ModelSync,
        plan: Plan,
        wish: Wish,
        *,
        resumes: bool,
        goes_on: RunRecord | None = None,
        paused: bool = False,
    ) -> Progress:
        started = time.monotonic()
        self._stopped_by_user, self._failed = False, set()

        def hold(transfer: Transfer) -> None:
            self._transfer = transfer
            if paused:
                transfer.pause()

        def tell(progress: Progress) -> None:
            self._show_run(progress, started)

        try:
            return await self.syncing.carry_out(
                one, plan, wish, tell, hold=hold, resumes=resumes, goes_on=goes_on
            )
        finally:
            self._transfer = None

    def _show_run(self, progress: Progress, started: float) -> None:
        paused = progress.phase is Phase.PAUSED
        rows: list[ModelRow] = []
        for each in progress.changed:
            path = str(each.path)
            if each.act is Act.DELETE:
                continue
            row = self._rows.get(path) or ModelRow(path, None, None, RowState.WAITING)
            if each.phase is FilePhase.FAILED:
                self._failed.add(path)
            rows.append(moving_row(row, each, paused=paused))
            self._rows[path] = rows[-1]
        self.page.update_rows(rows)
        self.page.show_lanes([lane_of(each) for each in progress.active], 2)
        self.page.show_run(run_of(progress, started))

    async def _after(self) -> None:
        """A sync has ended: look again, and let jobs go on that waited for a model."""
        await self._ties.arrived()
        if self.page.isVisible():
            self.look()

    def _pause(self) -> None:
        if self._transfer is not None:
            self._transfer.pause()

    def _resume(self) -> None:
        if self._transfer is not None:
            self._transfer.resume()
        else:
            self._begin(self._wish())

    def _cancel(self, keep: bool) -> None:
        transfer = self._transfer
        if transfer is None:
            return
        self._stopped_by_user = True
        transfer.stop()
        if not keep:
            self._scope.start(in_thread(lambda _: _discarded(transfer), leave_s=_LEAVE_S), "sync-discard")

    async def _go_on(self) -> None:
        run = await self.syncing.unfinished()
        if run is None:
            return
        settings = self._ties.settings()
        one = await self.syncing.sync(
            folder=Path(run.folder),
            volume_id=run.volume,
            data_centre=self._place_of(run.volume) or settings.runpod_datacenter,
        )
        try:
            picture = await one.look(count_all=False)
            wish = wish_from_record(run, picture)
            plan = one.plan(picture, wish)
            begun = sum(each.begun for each in picture.entries)
            self._running = asyncio.current_task()
            if plan.steps:
                share = f"{size(begun)} of {size(plan.size)} were sent before." if begun else ""
                self._notices.tell(Notice("Sync goes on", share, "info", "Pause", self._pause))
                if self._one is None and self._chosen_volume() == run.volume:
                    self._one, self._picture = one, picture
                    self._show_all()
            async with self._moving:
                await self._carry_out(one, plan, wish, resumes=True, goes_on=run)
        finally:
            self._running = None
            if one is not self._one:
                await one.close()
        await self._after()

    # What is wanted of single files.

    def _row_wanted(self, choice: Choice, paths: list[str]) -> None:
        chosen = frozenset(paths)
        match choice:
            case Choice.UPLOAD:
                self._begin(Wish(only=chosen))
            case Choice.DOWNLOAD:
                self._begin(Wish(upload=False, download=True, only=chosen))
            case Choice.OVERWRITE:
                self._begin(Wish(upload=False, only=chosen, overwrite=chosen))
            case Choice.OVERWRITE_LOCAL:
                self._begin(Wish(upload=False, only=chosen, overwrite_here=chosen))
            case Choice.KEEP_BOTH:
                self._running = self._running or self._scope.start(self._keep_both(chosen), "sync-both")
            case Choice.RETRY:
                self._retry(chosen)
            case Choice.VERIFY:
                self._verify(set(paths))
            case Choice.IGNORE:
                self._rows = {
                    path: replace(row, state=RowState.LEFT_OUT, note="Ignored for now.")
                    if path in chosen
                    else row
                    for path, row in self._rows.items()
                }
                self.page.update_rows(self._rows[path] for path in paths)
            case Choice.REVEAL | Choice.COPY_PATH | Choice.COPY_SHA256:
                for entry in self._entries(chosen):
                    self._scope.start(self._about(choice, entry), "sync-about")
            case Choice.DELETE:
                self._delete(paths)

    def _entries(self, paths: Iterable[str]) -> list[Entry]:
        wanted = set(paths)
        return [each for each in self._picture.entries if str(each.path) in wanted]

    def _retry(self, paths: frozenset[str]) -> None:
        """Do again what failed, as it was."""
        overwrite = frozenset(
            str(each.path) for each in self._entries(paths) if each.standing is Standing.DIFFERS
        )
        self._begin(Wish(download=True, only=paths, overwrite=overwrite))

    def _verify(self, paths: set[str] | None) -> None:
        if self._looking is None and self._running is None and self._one is not None:
            both = {
                str(each.path)
                for each in self._picture.entries
                if each.here is not None and each.there is not None
            }
            wanted = both if paths is None else both & paths
            self._looking = self._scope.start(self._compare(self._one, wanted), "sync-verify")

    async def _compare(self, one: ModelSync, paths: set[str]) -> None:
        try:
            self._show_plan(busy=True)
            self._picture = await self._proved(one, self._picture, paths)
            self._show_all()
            wrong = [each for each in self._entries(paths) if each.standing is not Standing.SAME]
            text = f"{len(wrong)} differ." if wrong else "All are the same on both sides."
            files = "1 file" if len(paths) == 1 else f"{len(paths)} files"
            self._notices.tell(Notice(f"{files} compared", text, "error" if wrong else "done"))
        finally:
            self._looking = None
            if not self._scope.is_closed:
                self._show_plan()

    async def _keep_both(self, paths: frozenset[str]) -> None:
        """The volume's file comes here under a name of its own; then the one here takes its place there."""
        try:
            one = self._one or await self._current()
            steps = tuple(
                _beside(each, one.folder) for each in self._entries(paths) if each.there is not None
            )
            both = Plan(steps, len(steps), sum(each.size for each in steps))
            async with self._moving:
                progress = await self._carry_out(one, both, Wish(only=_paths(both)), resumes=False)
                if progress.phase is Phase.FINISHED and not progress.failed:
                    wish = Wish(upload=False, only=paths, overwrite=paths)
                    await self._carry_out(one, self._plan(wish), wish, resumes=True)
        finally:
            self._running = None
        await self._after()

    def _delete(self, paths: list[str]) -> None:
        chosen = frozenset(paths)
        self._begin(Wish(upload=False, only=chosen, delete=chosen))

    async def _about(self, choice: Choice, entry: Entry) -> None:
        match choice:
            case Choice.REVEAL if entry.here is not None:
                open_path(entry.here.place.parent)
            case Choice.COPY_PATH:
                copy_text(str(entry.path))
            case Choice.COPY_SHA256 if entry.here is not None and self._one is not None:
                copy_text(await self._one.hash_of(entry.here.place))
            case _:
                pass

    def _select(self, path: str) -> None:
        self._selected = path
        if path:
            self._scope.start(self._show_known(path), "sync-known")
        else:
            self.page.show_known(None)

    async def _show_known(self, path: str) -> None:
        """What a file says of itself, then its hash, which takes a while for a large one."""
        entry = next(iter(self._entries({path})), None)
        if entry is None or entry.here is None or self._one is None:
            self.page.show_known(known_of(path, "", None, "", "Not on this computer."))
            return
        place, problem, header = entry.here.place, "", None
        try:
            header = await asyncio.to_thread(read_header, place)
        except Truncated as error:
            problem = str(error)
        except OSError as error:
            problem = f"It cannot be read: {error.strerror}."
        self.page.show_known(known_of(path, "", header, problem, "Computing…"))
        sha256 = await self._one.hash_of(place)
        if self._selected == path:
            self.page.show_known(known_of(path, sha256, header, problem, ""))

    async def _show_earlier(self) -> None:
        if self._one is not None:
            runs = await self.syncing.earlier(self._one.access.volume_id)
            self.page.show_earlier([earlier_of(run, time.time()) for run in runs])

    async def _fetch_results(self) -> None:
        folder = self._ties.settings().output_dir / _FROM_VOLUME
        started = time.monotonic()
        try:
            one = self._one or await self._current()

            def hold(transfer: Transfer) -> None:
                self._transfer = transfer

            async with self._moving:
                progress = await self.syncing.fetch_results(
                    one, folder, lambda each: self.page.show_run(run_of(each, started)), hold=hold
                )
        finally:
            self._transfer = self._running = None
        count = 0 if progress is None else progress.files_done
        text = f"{count} files are in {folder}." if count else "What is there is too young, or was fetched."
        self._notices.tell(Notice("Results of the volume", text, "done" if count else "info"))
        self.page.show_run(None)
        self.look()

    # What the page says.

    @property
    def _transport(self) -> Transport:
        return "runpodctl" if self._state.text(_TRANSPORT) == "runpodctl" else "s3"

    def _bind(self) -> None:
        page = self.page
        page.appeared.connect(self.look)
        page.rescan_wanted.connect(self._rescan)
        page.sync_wanted.connect(self._sync)
        page.send_wanted.connect(self.pod.begin)
        page.pause_wanted.connect(self._pause)
        page.resume_wanted.connect(self._resume)
        page.cancel_wanted.connect(self._cancel)
        page.ticked.connect(self._tick)
        page.row_wanted.connect(self._row_wanted)
        page.deletions_wanted.connect(self._delete)
        page.retry_failed_wanted.connect(lambda: self._retry(frozenset(self._failed)))
        page.verify_wanted.connect(lambda: self._verify(None))
        page.selected.connect(self._select)
        page.volume_chosen.connect(self._choose_volume)
        page.choose_volume_wanted.connect(self._ties.set_up_volume)
        page.key_wanted.connect(self._ties.set_up_volume)
        page.choose_folder_wanted.connect(
            lambda: self._scope.start(self._choose_folder(), "sync-choose-folder")
        )
        page.transport_chosen.connect(self._choose_transport)
        page.limit_chosen.connect(self._choose_limit)
        page.fetch_results_wanted.connect(self._want_results)

    def _rescan(self) -> None:
        if self._running is None:
            self.page.show_run(None)
        self.look()

    def _want_results(self) -> None:
        self._running = self._running or self._scope.start(self._fetch_results(), "sync-results")

    def _tick(self, paths: list[str], wanted: bool) -> None:
        for path in paths:
            self._ticks[path] = wanted
        self._rows.update(
            {path: replace(self._rows[path], ticked=wanted) for path in paths if path in self._rows}
        )
        self.page.update_rows(self._rows[path] for path in paths if path in self._rows)
        self._show_plan()

    def _choose_transport(self, transport: Transport) -> None:
        self._state.put(_TRANSPORT, transport)
        self.page.show_transport(transport)
        self._show_plan()

    def _choose_limit(self, rate: float | None) -> None:
        self.syncing.limit.set(rate)
        self._state.put(_LIMIT, "" if rate is None else str(rate))
        self.page.show_limit(LimitShown(rate))

    async def _choose_folder(self) -> None:
        start = str(self._chosen_folder() or Path.home())
        chosen = await chosen_path(self._window, "Choose the folder with your models", start)
        if chosen is not None:
            await self._ties.change({"models_dir": str(chosen)})
            self.settings_changed()


def _paths(plan: Plan) -> frozenset[str]:
    return frozenset(str(step.path) for step in plan.steps)


def _beside(entry: Entry, folder: Path) -> Step:
    """The volume's file, to be fetched under a name that nothing here has."""
    path, there = entry.path, entry.there
    number, other = 1, path
    while place_here(folder, other).exists():
        other = path.with_name(f"{path.stem}-volume{'' if number == 1 else number}{path.suffix}")
        number += 1
    length = 0 if there is None else there.size
    return Step(
        *(Act.DOWNLOAD, other, place_here(folder, other), length, "Both are kept."), there=there, source=path
    )


def _discarded(transfer: Transfer) -> None:
    transfer.wait(5)
    transfer.discard()
