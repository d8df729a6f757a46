"""The models in the window: how folder and volume stand, and what a sync would do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .endpoint.account_model import Volume
from .errors import ComfyRunPodError, NeedsSetup
from .model_rows import earlier_of, plan_of
from .models_board import Board
from .models_files import ModelFiles
from .models_pod import PodSending
from .models_run import SyncRuns
from .preflight.report import Lack
from .settings import Settings
from .sync.model import Picture, Plan, Standing
from .sync.sync import ModelSync, Proving
from .syncing import Syncing, models_folder
from .ui.dialogs import chosen_path
from .ui.frame.window import Window
from .ui.models.page import ModelsPage
from .ui.models.shown import LimitShown, RowState, Transport, VolumeChoice, VolumeShown
from .ui.notices import Notice, Notices
from .ui.state import WindowState
from .ui.tasks import TaskScope

_TRANSPORT, _LIMIT, _VOLUME = "sync_transport", "sync_limit", "sync_volume"
#: The settings that folder, volume and its key hang on.
OF_MODELS = (
    *("models_dir", "comfyui_dir", "runpod_volume_id", "runpod_datacenter", "runpod_s3_url"),
    *("runpod_s3_access_key", "runpod_s3_secret_key", "runpod_api_key"),
)
_FROM_VOLUME = "From the volume"
#: How often it is shown what is being compared, in seconds.
_SHOW_S = 0.1


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
    """Looks at both sides, shows them, and hands on what is wanted."""

    def __init__(
        self, window: Window, notices: Notices, state: WindowState, scope: TaskScope, ties: ModelTies
    ) -> None:
        self.page: ModelsPage = window.models
        self._window, self._notices, self._state = window, notices, state
        self._scope, self._ties = scope, ties
        self.syncing = Syncing(ties.settings)
        self._board = Board()
        self._looking: asyncio.Task[None] | None = None
        self._checking = ""
        self._needs: NeedsSetup | None = None
        self._volumes: tuple[Volume, ...] = ()
        self._asked_volumes = False
        self.runs = SyncRuns(
            self.page, notices, scope, self.syncing, self._board, self._current, self._after_run
        )
        self._files = ModelFiles(self.page, scope, self._board, self.runs, self._verify)
        self._pod = PodSending(self.page, scope, self.syncing, ties.settings)
        with contextlib.suppress(ValueError):
            self.syncing.limit.set(float(state.text(_LIMIT)))
        self.page.show_limit(LimitShown(self.syncing.limit.rate))
        self.page.show_transport(self._transport)
        self._bind()

    def start(self) -> None:
        """Go on with a sync that the last end of the program cut off."""
        self._scope.start(self._go_on(), "sync-unfinished")

    def settings_changed(self) -> None:
        """Another folder, volume or key: what was seen is no longer true."""
        if not self.runs.is_running:
            self._scope.start(self._forget(), "sync-forget")

    async def upload(self, lacks: Sequence[Lack]) -> None:
        """Bring models that a workflow needs to the endpoint's volume. Raises as :meth:`SyncRuns.upload`."""
        await self.runs.upload(lacks, self._ties.settings().runpod_volume_id)

    async def close(self) -> None:
        """After the tasks have ended."""
        if self._board.one is not None:
            await self._board.one.close()
        await self.syncing.close()

    async def _go_on(self) -> None:
        # Asked first: without anything to go on with, no volume is looked for.
        if await self.syncing.unfinished() is not None:
            self.runs.go_on(self._place_of)

    # Looking.

    def look(self) -> None:
        """Compare both sides anew, unless that or a sync is under way."""
        if self._looking is None and not self.runs.is_running:
            self._looking = self._scope.start(self._look(), "sync-look")

    async def _look(self) -> None:
        board = self._board
        try:
            self._show_plan(busy=True)
            self._ask_volumes()
            try:
                one = await self._current()
                board.picture = await one.look()
            except NeedsSetup as error:
                await self._without_volume(error)
                return
            self._needs = None
            self._show_all()
            if any(each.standing is Standing.UNVERIFIED for each in board.picture.entries):
                board.picture = await self._proved(one, None)
                self._show_all()
        finally:
            self._looking = None
            if not self._scope.is_closed:
                self._show_plan()

    async def _current(self) -> ModelSync:
        """Folder and volume in force. Raises NeedsSetup."""
        volume, board = self._chosen_volume(), self._board
        one = await self.syncing.sync(volume_id=volume, data_centre=self._place_of(volume))
        if board.one is not None:
            if (board.one.folder, board.one.access) == (one.folder, one.access):
                await one.close()
                return board.one
            await board.one.close()
        board.one = one
        board.ticks.clear()
        return one

    def _verify(self, paths: set[str] | None) -> None:
        one, entries = self._board.one, self._board.picture.entries
        if self._looking is None and not self.runs.is_running and one is not None:
            both = {str(each.path) for each in entries if each.here is not None and each.there is not None}
            wanted = both if paths is None else both & paths
            self._looking = self._scope.start(self._compare(one, wanted), "sync-verify")

    async def _compare(self, one: ModelSync, paths: set[str]) -> None:
        try:
            self._show_plan(busy=True)
            self._board.picture = await self._proved(one, paths)
            self._show_all()
        finally:
            self._looking = None
            if not self._scope.is_closed:
                self._show_plan()
        wrong = [each for each in self._board.entries(paths) if each.standing is not Standing.SAME]
        text = f"{len(wrong)} differ." if wrong else "All are the same on both sides."
        files = "1 file" if len(paths) == 1 else f"{len(paths)} files"
        self._notices.tell(Notice(f"{files} compared", text, "error" if wrong else "done"))

    async def _proved(self, one: ModelSync, only: set[str] | None) -> Picture:
        """Read what needs to be compared, and show it row by row."""
        loop, last = asyncio.get_running_loop(), 0.0

        def tell(proving: Proving) -> None:
            nonlocal last
            if time.monotonic() - last > _SHOW_S:
                last = time.monotonic()
                loop.call_soon_threadsafe(self._show_checking, proving)

        return await one.prove(self._board.picture, tell, only=only, read_back=only is not None)

    def _show_checking(self, proving: Proving) -> None:
        path, rows = str(proving.path), self._board.rows
        before, self._checking = self._checking, path
        changed = [rows[before]] if before != path and before in rows else []
        if (row := rows.get(path)) is not None:
            changed.append(replace(row, state=RowState.CHECKING))
        self.page.update_rows(changed)

    # What is shown.

    def _show_all(self) -> None:
        self._checking = ""
        rows = self._board.make_rows()
        if rows:
            self.page.show_empty("")
        else:
            where = models_folder(self._ties.settings())
            self.page.show_empty("No models found", f"Looked in {where}.", "Choose another folder", "folder")
        self.page.show_rows(rows)
        self._scope.start(self._show_earlier(), "sync-earlier")

    async def _without_volume(self, error: NeedsSetup) -> None:
        """Say what is missing. Without S3 access the models here are shown all the same, for a pod."""
        self._needs, folder = error, models_folder(self._ties.settings())
        if self._board.one is not None:
            await self._board.one.close()
            self._board.one = None
        self._board.picture = Picture(())
        if folder is not None and self._chosen_volume() is not None:
            self._board.picture = await self.syncing.here(folder)
            self._show_all()
            return
        self.page.show_rows(())
        if folder is None:
            self.page.show_empty("No models folder", error.sentence, "Choose a folder", "folder")
        else:
            text = "Pick the volume that your endpoint uses."
            self.page.show_empty("No network volume", text, "Choose a volume", "volume")

    def _show_plan(self, *, busy: bool = False) -> None:
        self._board.volume_size = self._size_of(self._chosen_volume())
        plan = self._board.plan()
        at = self._board.picture.at or time.time()
        busy, pod = busy or self._looking is not None, self._transport == "runpodctl"
        self.page.show_plan(plan_of(plan, self._needs, busy=busy, checked_at=at, pod=pod))
        self._show_volume(plan)

    def _show_volume(self, plan: Plan) -> None:
        volume_id, picture = self._chosen_volume(), self._board.picture
        if volume_id is None or self._board.one is None:
            self.page.show_volume(None)
            return
        found = self._volume_of(volume_id)
        name = found.name if found is not None and found.name else volume_id
        place = found.data_centre if found is not None else self._ties.settings().runpod_datacenter
        folders = sorted(picture.folders.items(), key=lambda each: -each[1])
        self.page.show_volume(
            VolumeShown(
                volume_id,
                name,
                place or "",
                self._board.volume_size,
                picture.used,
                picture.used + plan.grows if plan.grows else None,
                sum(each.there is not None for each in picture.entries),
                tuple((folder or "models", length) for folder, length in folders),
                *picture.results,
                " ".join(picture.notes),
            )
        )

    async def _show_earlier(self) -> None:
        if (one := self._board.one) is not None:
            runs = await self.syncing.earlier(one.access.volume_id)
            self.page.show_earlier([earlier_of(run, time.time()) for run in runs])

    # The volume.

    def _chosen_volume(self) -> str | None:
        return self._state.text(_VOLUME) or self._ties.settings().runpod_volume_id or None

    def _volume_of(self, volume_id: str | None) -> Volume | None:
        return next((each for each in self._volumes if each.id == volume_id), None)

    def _place_of(self, volume_id: str | None) -> str | None:
        found = self._volume_of(volume_id)
        return None if found is None else found.data_centre

    def _size_of(self, volume_id: str | None) -> int | None:
        found = self._volume_of(volume_id)
        return None if found is None or found.size_gb is None else found.size_gb * 10**9

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
        self._looking, self._asked_volumes = None, False
        one, self._board.one = self._board.one, None
        if one is not None:
            await one.close()
        self._board.picture = Picture(())
        if self.page.isVisible():
            self.look()

    async def _after_run(self) -> None:
        """A sync has ended: let jobs go on that waited for a model, and look again."""
        await self._ties.arrived()
        if self.page.isVisible():
            self.look()

    # What the page says.

    @property
    def _transport(self) -> Transport:
        return "runpodctl" if self._state.text(_TRANSPORT) == "runpodctl" else "s3"

    def _bind(self) -> None:
        page, runs = self.page, self.runs
        page.appeared.connect(self.look)
        page.rescan_wanted.connect(self._rescan)
        page.sync_wanted.connect(self._sync)
        page.send_wanted.connect(self._sync)
        page.pause_wanted.connect(runs.pause)
        page.resume_wanted.connect(runs.resume)
        page.cancel_wanted.connect(runs.cancel)
        page.ticked.connect(self._tick)
        page.volume_chosen.connect(self._choose_volume)
        page.choose_volume_wanted.connect(self._ties.set_up_volume)
        page.key_wanted.connect(self._ties.set_up_volume)
        page.choose_folder_wanted.connect(lambda: self._scope.start(self._choose_folder(), "sync-folder"))
        page.transport_chosen.connect(self._choose_transport)
        page.limit_chosen.connect(self._choose_limit)
        page.fetch_results_wanted.connect(
            lambda: runs.fetch_results(self._ties.settings().output_dir / _FROM_VOLUME)
        )

    def _sync(self) -> None:
        if self._transport == "runpodctl":
            self._pod.begin(self._board.wish().only)
        else:
            self.runs.begin(self._board.wish())

    def _rescan(self) -> None:
        if not self.runs.is_running:
            self.page.show_run(None)
        self.look()

    def _tick(self, paths: list[str], wanted: bool) -> None:
        self.page.update_rows(self._board.tick(paths, wanted=wanted))
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
        start = models_folder(self._ties.settings()) or Path.home()
        chosen = await chosen_path(self._window, "Choose the folder with your models", str(start))
        if chosen is not None:
            await self._ties.change({"models_dir": str(chosen)})
