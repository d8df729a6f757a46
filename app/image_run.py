"""Runs of the image's stages: begun, shown, stopped, gone on with. One at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from .docker.engine import Engine
from .docker.errors import BuildFailed, NotSignedIn
from .errors import BadInput, ComfyRunPodError
from .image_board import ImageBoard, ImageTies
from .image_past import tag_of
from .image_rows import refused_of
from .image_stages import DONE, failure_of, said_by
from .image_telling import StageTeller
from .image_work import LOCK_STEP, ImageWork, Wish
from .ui.image.page import ImagePage
from .ui.image.shown import (
    FailureShown,
    FindingsShown,
    RegistryShown,
    Stage,
    StageShown,
    StageState,
    WorkState,
)
from .ui.notices import Notice, Notices
from .ui.tasks import TaskScope

_ENGINE_STAGES = (Stage.BUILD, Stage.TEST, Stage.PUSH)


class ImageRuns:
    """Carries out what is wanted, stage by stage, and ends at the first that fails.

    Args:
        changed: told when a run begins, is being stopped, or has ended.
        built: told the name of an image that was built.
        after: what to do when a run has ended.
    """

    def __init__(
        self,
        page: ImagePage,
        notices: Notices,
        scope: TaskScope,
        board: ImageBoard,
        ties: ImageTies,
        *,
        changed: Callable[[], None],
        built: Callable[[str], None],
        after: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._page, self._notices, self._scope = page, notices, scope
        self._board, self._ties = board, ties
        self._changed, self._built, self._after = changed, built, after
        self._teller = StageTeller(page)
        self._work = ImageWork(page, board, self._teller, ties)
        self._running: asyncio.Task[None] | None = None
        self._wish = Wish(())
        self.state: WorkState = "idle"
        #: The whole name of the image that the run is about.
        self.image = ""

    @property
    def is_running(self) -> bool:
        return self._running is not None

    @property
    def is_of_tag(self) -> bool:
        """Whether the run is about an image in hand, and not about the way back to another one."""
        return self._wish.back is None

    @property
    def has_deployed(self) -> bool:
        """Whether the last run may have given an endpoint another image."""
        return Stage.DEPLOY in self._wish.stages

    def begin(self, wish: Wish) -> None:
        """Start, unless one runs."""
        self._start(wish, self._run(wish))

    def lock(self, *, prefer_local: bool = False) -> None:
        """Lock the manifest and do no more."""
        wish = Wish((Stage.BUILD,), prefer_local=prefer_local, only_lock=True)
        self._start(wish, self._lock(prefer_local=prefer_local))

    def retry(self, stage: Stage) -> None:
        """Run the stage that failed and those that were to come after it, of the same image."""
        if self._wish.only_lock:
            self.lock(prefer_local=self._wish.prefer_local)
            return
        stages = self._wish.stages
        rest = stages[stages.index(stage) :] if stage in stages else (stage,)
        self.begin(replace(self._wish, stages=rest, image=self.image))

    def stop(self) -> None:
        if self._running is not None and self.state == "running":
            self._set("stopping")
            self._running.cancel()

    def _start(self, wish: Wish, work: Coroutine[Any, Any, None]) -> None:
        if self._running is not None:
            work.close()
            self._notices.tell(Notice("A run is under way", "Wait for its end, or stop it.", "info"))
            return
        self._wish, self.image = wish, wish.image
        self._running = self._scope.start(self._alone(work), "image-run")
        if self._running is None:
            work.close()
            return
        # Cancelled before its first step the task never gets to it.
        self._running.add_done_callback(lambda _: work.close())
        self._set("running")

    async def _alone(self, work: Coroutine[Any, Any, None]) -> None:
        ticking = self._scope.start(self._teller.tick(), "image-time")
        try:
            await work
        except asyncio.CancelledError:
            on_runpod = self._work.is_rolling_out and self._teller.running is Stage.DEPLOY
            self._teller.fail(StageState.CANCELLED, "RunPod goes on with it" if on_runpod else "")
            raise
        finally:
            # A mistake of ours is no reason to show a stage that runs for ever.
            self._teller.fail(StageState.FAILED)
            if ticking is not None:
                ticking.cancel()
            self._running = None
            self._set("idle")
            self._scope.start(self._after(), "image-after")

    def _set(self, state: WorkState) -> None:
        self.state = state
        self._changed()

    # The stages.

    async def _run(self, wish: Wish) -> None:
        stages, name = wish.stages, ""
        self._page.show_failure(None)
        self._teller.reset(self._begun_anew(stages))
        stage = stages[0]
        try:
            name = await self._image_of(wish)
            engine = await self._engine(stages)
            for stage in stages:
                await self._one(stage, engine, name, wish)
        except ComfyRunPodError as error:
            await self._failed(stage, error)
        else:
            done = [each for each in stages if self._teller.state(each) is StageState.DONE]
            if done:
                self._tell(Notice(DONE[done[-1]], tag_of(name), "done", "Show", self._show_page))

    def _begun_anew(self, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """What is no longer true: of another image nothing was tested, pushed or deployed yet."""
        if Stage.BUILD not in stages:
            return stages
        self._board.refused = ()
        self._page.show_result(None)
        return tuple(Stage)

    async def _image_of(self, wish: Wish) -> str:
        board = self._board
        if not wish.image:
            tag = board.tag
            if Stage.BUILD in wish.stages:
                tag = board.tag_to_build() or await board.imaging.propose_tag()
            self.image = board.imaging.name(tag)
            self._changed()
        return self.image

    async def _engine(self, stages: tuple[Stage, ...]) -> Engine | None:
        """Looked for anew: it may have been stopped since. None for stages that need none."""
        if not any(stage in _ENGINE_STAGES for stage in stages):
            return None
        self._board.engine = await self._board.imaging.engine()
        return self._board.engine

    async def _one(self, stage: Stage, engine: Engine | None, name: str, wish: Wish) -> None:
        if stage is Stage.DEPLOY:
            obstacle = self._work.deploy_obstacle() if len(wish.stages) > 1 else ""
            if obstacle:
                await self._teller.end(StageShown(stage, StageState.SKIPPED, obstacle))
            else:
                await self._work.deploy(name, wish)
        elif engine is not None and stage is Stage.BUILD:
            await self._work.build(engine, name, wish)
            self._built(name)
        elif engine is not None and stage is Stage.TEST:
            await self._work.test(engine, name)
        elif engine is not None:
            await self._work.push(engine, name)

    async def _lock(self, *, prefer_local: bool) -> None:
        self._page.show_failure(None)
        self._teller.reset([Stage.BUILD])
        self._teller.begin(Stage.BUILD, "Locking versions")
        try:
            count = await self._work.lock(prefer_local=prefer_local)
        except ComfyRunPodError as error:
            await self._failed(Stage.BUILD, error)
        else:
            locked = "1 package locked" if count == 1 else f"{count} packages locked"
            await self._teller.end(StageShown(Stage.BUILD, StageState.TO_COME, locked))

    # The end.

    async def _failed(self, stage: Stage, error: ComfyRunPodError) -> None:
        teller = self._teller
        await teller.said()
        if teller.running is None:
            # It was not even begun, as without a Docker.
            teller.begin(stage)
        step = LOCK_STEP if teller.is_under_way(LOCK_STEP) else ""
        if step or not teller.has_said:
            for line in said_by(error):
                teller.line(line, step)
            await teller.said()
        if not isinstance(error, BuildFailed):
            teller.error(error.sentence, step)
        teller.fail(StageState.FAILED, _short(failure := failure_of(stage, error)))
        if self._wish.back is not None or (stage is Stage.DEPLOY and isinstance(error, BadInput)):
            failure = replace(failure, can_retry=False)
        self._page.show_failure(failure)
        if isinstance(error, NotSignedIn):
            host = error.hint.partition("`")[2].partition("`")[0]
            self._page.show_registry(RegistryShown(login=host))
        if refused := refused_of(error):
            self._board.refused = refused
            self._page.show_findings(FindingsShown(refused=refused))
            self._page.show_view("findings")
        self._tell(Notice(failure.title, failure.text, "error", "Open", self._show_page))

    def _tell(self, notice: Notice) -> None:
        """For a user who looks at something else."""
        if not (self._page.isVisible() and self._page.window().isActiveWindow()):
            self._notices.tell(notice)

    def _show_page(self) -> None:
        self._ties.show_page()


def _short(failure: FailureShown) -> str:
    return failure.place or failure.title
