"""Syncs in the window: begun, shown, paused, stopped, gone on with. One at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from .errors import BadInput, ComfyRunPodError
from .jobs.figures import size
from .model_rows import lane_of, moving_row, run_of
from .models_board import Board, paths_of
from .preflight.report import Lack
from .s3.records import RunRecord
from .sync.compare import place_here
from .sync.model import Act, Entry, FilePhase, Phase, Plan, Progress, Step, Wish
from .sync.sync import ModelSync
from .sync.transfer import Transfer
from .syncing import Syncing, wish_from_record
from .threads import in_thread
from .ui.models.page import ModelsPage
from .ui.models.shown import ModelRow, RowState
from .ui.notices import Notice, Notices
from .ui.tasks import TaskScope

_LEAVE_S = 0.8
#: Files under way at once, as the page counts them.
_LANES = 2


class SyncRuns:
    """Carries out what is wanted, and shows how far it is.

    Args:
        current: folder and volume in force; raises NeedsSetup.
        after: what to do when models came or went.
    """

    def __init__(
        self,
        page: ModelsPage,
        notices: Notices,
        scope: TaskScope,
        syncing: Syncing,
        board: Board,
        current: Callable[[], Coroutine[Any, Any, ModelSync]],
        after: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._page, self._notices, self._scope = page, notices, scope
        self._syncing, self._board = syncing, board
        self._current, self._after = current, after
        self._running: asyncio.Task[None] | None = None
        self._transfer: Transfer | None = None
        self._moving = asyncio.Lock()
        self.failed: set[str] = set()

    @property
    def is_running(self) -> bool:
        return self._running is not None or self._moving.locked()

    def begin(self, wish: Wish) -> None:
        """Start, unless one runs."""
        self._start(self._run(wish), "sync")

    def keep_both(self, paths: frozenset[str]) -> None:
        self._start(self._keep_both(paths), "sync-both")

    def fetch_results(self, folder: Path) -> None:
        self._start(self._fetch_results(folder), "sync-results")

    def go_on(self, place_of: Callable[[str], str | None]) -> None:
        """Go on with a sync that the end of the program cut off."""
        self._start(self._go_on(place_of), "sync-goes-on")

    def pause(self) -> None:
        if self._transfer is not None:
            self._transfer.pause()

    def resume(self) -> None:
        """Go on after a pause, or do again what failed."""
        if self._transfer is not None:
            self._transfer.resume()
        else:
            self.begin(self._board.wish())

    def cancel(self, keep: bool) -> None:
        """Stop; ``keep``: what was half sent stays for the next time."""
        if (transfer := self._transfer) is not None:
            transfer.stop()
            if not keep:
                self._scope.start(in_thread(lambda _: _discarded(transfer), leave_s=_LEAVE_S), "sync-discard")

    async def upload(self, lacks: Sequence[Lack], volume_id: str | None) -> None:
        """Bring models that a workflow needs to the volume; returns when they are there.

        Raises:
            NeedsSetup: when there is no S3 key for the volume.
            ComfyRunPodError: when one cannot be brought; the others may be.
        """
        async with self._moving:
            one = await self._syncing.sync(volume_id=volume_id)
            try:
                plan = await self._syncing.upload_plan(one, lacks)
                if not plan.steps:
                    return
                progress = await self._carry_out(one, plan, Wish(only=paths_of(plan)))
            finally:
                await one.close()
        if progress.problem is not None:
            raise ComfyRunPodError(progress.problem.summary, hint=progress.problem.hint)
        if progress.failed:
            rows = (self._board.rows.get(path) for path in paths_of(plan))
            note = next((row.note for row in rows if row is not None and row.state is RowState.FAILED), "")
            raise ComfyRunPodError(note or "A model could not be sent.")
        if progress.phase is not Phase.FINISHED:
            raise BadInput("The upload was stopped.", hint="Press Upload and run to go on with it.")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self.is_running:
            work.close()
            self._notices.tell(Notice("A sync is running", "Wait for its end, or stop it.", "info"))
            return
        self._running = self._scope.start(self._alone(work), name)
        if self._running is None:
            work.close()
        else:
            # Cancelled before its first step the task never gets to it.
            self._running.add_done_callback(lambda _: work.close())

    async def _alone(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with self._moving:
                await work
        finally:
            self._running = None
        await self._after()

    async def _run(self, wish: Wish) -> None:
        one = self._board.one or await self._current()
        plan = self._board.plan(wish)
        if plan.obstacle:
            raise BadInput(f"Not enough room on the volume: {plan.obstacle}", hint="Choose fewer files.")
        if plan.steps:
            await self._carry_out(one, plan, wish)

    async def _keep_both(self, paths: frozenset[str]) -> None:
        """The volume's file comes here under a name of its own; then the one here takes its place there."""
        one = self._board.one or await self._current()
        steps = tuple(
            _beside(each, one.folder) for each in self._board.entries(paths) if each.there is not None
        )
        both = Plan(steps, len(steps), sum(each.size for each in steps))
        progress = await self._carry_out(one, both, Wish(only=paths_of(both)), resumes=False)
        if progress.phase is Phase.FINISHED and not progress.failed:
            wish = Wish(upload=False, only=paths, overwrite=paths)
            await self._carry_out(one, self._board.plan(wish), wish)

    async def _fetch_results(self, folder: Path) -> None:
        one, started = self._board.one or await self._current(), time.monotonic()

        def tell(progress: Progress) -> None:
            self._page.show_run(run_of(progress, started))

        try:
            progress = await self._syncing.fetch_results(one, folder, tell, hold=self._hold)
        finally:
            self._transfer = None
        count = 0 if progress is None else progress.files_done
        files = "1 file is" if count == 1 else f"{count} files are"
        text = f"{files} in {folder}." if count else "What is there is too young, or was fetched before."
        self._notices.tell(Notice("Results of the volume", text, "done" if count else "info"))
        self._page.show_run(None)

    async def _go_on(self, place_of: Callable[[str], str | None]) -> None:
        run = await self._syncing.unfinished()
        if run is None:
            return
        one = await self._syncing.sync(
            folder=Path(run.folder), volume_id=run.volume, data_centre=place_of(run.volume)
        )
        try:
            picture = await one.look(count_all=False)
            wish = wish_from_record(run, picture)
            plan = one.plan(picture, wish)
            begun = sum(each.begun for each in picture.entries)
            if plan.steps:
                sent = f"{size(begun)} of {size(plan.size)} were sent before." if begun else ""
                self._notices.tell(Notice("Sync goes on", sent, "info", "Pause", self.pause))
            await self._carry_out(one, plan, wish, goes_on=run)
        finally:
            await one.close()

    def _hold(self, transfer: Transfer) -> None:
        self._transfer = transfer

    async def _carry_out(
        self,
        one: ModelSync,
        plan: Plan,
        wish: Wish,
        *,
        resumes: bool = True,
        goes_on: RunRecord | None = None,
    ) -> Progress:
        started = time.monotonic()
        self.failed = set()

        def tell(progress: Progress) -> None:
            self._show(progress, started)

        try:
            return await self._syncing.carry_out(
                one, plan, wish, tell, hold=self._hold, resumes=resumes, goes_on=goes_on
            )
        finally:
            self._transfer = None
            self._page.show_lanes([])

    def _show(self, progress: Progress, started: float) -> None:
        paused = progress.phase is Phase.PAUSED
        rows: list[ModelRow] = []
        for each in progress.changed:
            path = str(each.path)
            if each.act is Act.DELETE:
                continue
            if each.phase is FilePhase.FAILED:
                self.failed.add(path)
            known = self._board.rows.get(path) or ModelRow(path, None, None, RowState.WAITING)
            self._board.rows[path] = moving_row(known, each, paused=paused)
            rows.append(self._board.rows[path])
        self._page.update_rows(rows)
        self._page.show_lanes([lane_of(each) for each in progress.active[:_LANES]], _LANES)
        self._page.show_run(run_of(progress, started))


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
