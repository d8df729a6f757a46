"""The image in the window: what is there, how it is to this computer, and what was done with it."""

from __future__ import annotations

import asyncio
import contextlib
import time

from .docker.engine import Engine
from .errors import BadInput, ComfyRunPodError, NeedsSetup
from .image.model import Manifest
from .image.trial import LABEL
from .image_acts import ImageActs
from .image_board import ImageBoard, ImageTies
from .image_past import deploy_of, history_of
from .image_rows import broken_manifest, image_of, manifest_of, no_engine, registry_of_image
from .image_run import ImageRuns
from .imaging import Imaging
from .ui.image.page import ImagePage
from .ui.image.shown import RegistryShown, Stage, WorkShown
from .ui.notices import Notices
from .ui.state import WindowState
from .ui.tasks import TaskScope

_ENDPOINT = "image_endpoint"
#: Between looks for a Docker that is not there, in seconds, while the page is in sight.
POLL_S = 4.0


class ImagePresenter:
    """Looks at engine, manifest, account and history, shows them, and hands on what is wanted.

    Made when the page is in sight for the first time.
    """

    def __init__(
        self, page: ImagePage, notices: Notices, state: WindowState, scope: TaskScope, ties: ImageTies
    ) -> None:
        self._page, self._state, self._scope, self._ties = page, state, scope, ties
        self.poll_s = POLL_S
        self.board = ImageBoard(Imaging(ties.settings), ties.settings, picked=state.text(_ENDPOINT))
        self.runs = ImageRuns(
            *(page, notices, scope, self.board, ties),
            changed=self._show,
            built=lambda name: self.acts.built(name),
            after=self._after_run,
        )
        self.acts = ImageActs(page, notices, scope, self.board, self.runs, self._show)
        self._looking: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._cleared = False
        page.appeared.connect(self.look)
        page.vanished.connect(self._stop_polling)
        page.check_wanted.connect(self.look)
        page.endpoint_chosen.connect(self._choose_endpoint)

    def look(self) -> None:
        """Look at everything anew, unless that or a run is under way."""
        if self._looking is None and not self.runs.is_running:
            self._looking = self._scope.start(self._look(), "image-look")

    def settings_changed(self) -> None:
        """Another ComfyUI, Docker, image, key or endpoint."""
        if self._page.isVisible():
            self._scope.start(self._look_again(), "image-look-again")

    async def _look_again(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        self.look()

    async def _look(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for each in (self._find_engine(), self._read_manifest(), self._ask_account()):
                    group.create_task(each)
        finally:
            self._looking = None

    async def _after_run(self) -> None:
        """What was done is known, tags and the lock may be others."""
        await self._read_manifest()
        if self.runs.has_deployed:
            await self._ask_account()

    # Docker.

    async def _find_engine(self) -> None:
        board = self.board
        try:
            board.engine, board.problem = await board.imaging.engine(), None
        except NeedsSetup as error:
            is_same = board.problem is not None and no_engine(board.problem) == no_engine(error)
            board.engine, board.problem = None, error
            if not is_same:
                self._page.show_empty(*no_engine(error), "Check again", "check")
                self._page.show_registry(RegistryShown())
                self._show()
            self._poll()
            return
        self._page.show_empty("")
        self._show()
        await self._ask_engine(board.engine)

    async def _ask_engine(self, engine: Engine) -> None:
        with contextlib.suppress(ComfyRunPodError):
            sign_in = await self.board.imaging.signed_in(engine, self.board.image)
            self._page.show_registry(registry_of_image(sign_in, self.board.image))
            if not self._cleared:
                # What a kill of the program left of a test.
                self._cleared = True
                await engine.stop_containers(LABEL)

    def _poll(self) -> None:
        if self._polling is None and self._page.isVisible():
            self._polling = self._scope.start(self._keep_polling(), "image-poll")

    async def _keep_polling(self) -> None:
        """Until there is a Docker that can build."""
        try:
            while self.board.engine is None:
                await asyncio.sleep(self.poll_s)
                if self._looking is None and not self.runs.is_running:
                    await self._find_engine()
        finally:
            self._polling = None

    def _stop_polling(self) -> None:
        if self._polling is not None:
            self._polling.cancel()

    # Manifest, tags and history.

    async def _read_manifest(self) -> None:
        board = self.board
        try:
            board.manifest, board.broken = await board.imaging.manifest(), ""
        except BadInput as error:
            board.manifest, board.broken = None, error.summary
            self._page.show_manifest(broken_manifest(error))
        with contextlib.suppress(BadInput):
            await board.read_events()
        self._show()
        self._show_past()
        self.acts.show_report()
        if board.manifest is not None:
            await self._compare(board.manifest)

    async def _compare(self, manifest: Manifest) -> None:
        fresh, compared, why = False, None, ""
        try:
            fresh = await self.board.imaging.locked() is not None
            self._page.show_manifest(manifest_of(manifest, None, fresh=fresh, busy=True))
            compared = await self.board.imaging.compared()
        except ComfyRunPodError as error:
            why = error.summary
        self._page.show_manifest(manifest_of(manifest, compared, fresh=fresh, why=why))

    # The account.

    async def _ask_account(self) -> None:
        board = self.board
        if not self._ties.settings().runpod_api_key:
            board.endpoints, board.endpoint_note = (), "No RunPod API key is set. Add it in Settings."
        else:
            try:
                board.endpoints = await (await board.imaging.account()).endpoints()
                board.endpoint_note = ""
            except ComfyRunPodError as error:
                # All but a deployment goes without them.
                board.endpoint_note = error.sentence
        board.back = await board.imaging.back(board.endpoint) if board.endpoint else None
        self._show()
        self._show_past()

    def _choose_endpoint(self, endpoint_id: str) -> None:
        self.board.picked = endpoint_id
        self._state.put(_ENDPOINT, endpoint_id)
        self._scope.start(self._show_endpoint(), "image-endpoint")

    async def _show_endpoint(self) -> None:
        board = self.board
        board.back = await board.imaging.back(board.endpoint) if board.endpoint else None
        self._show()

    # What is shown.

    def _show(self) -> None:
        """Image, work and deployment."""
        board, now, runs = self.board, time.time(), self.runs
        image = runs.image if runs.is_running and runs.image and runs.is_of_tag else board.image
        tag = image.rpartition(":")[2]
        usual = self._ties.settings().docker_tag
        self._page.show_image(image_of(board.base, tag, board.proposal, usual, board.events, now))
        self._page.show_work(self._work())
        self._page.show_deploy(
            deploy_of(board.endpoints, board.endpoint, image, board.endpoint_note, board.live, board.back)
        )

    def _work(self) -> WorkShown:
        board = self.board
        if board.problem is not None and not self.runs.is_running:
            return WorkShown("idle", frozenset(), board.problem.summary)
        if board.engine is None and not self.runs.is_running:
            return WorkShown("idle", frozenset(), "Docker is being looked for.")
        can_run = frozenset(Stage) - ({Stage.BUILD} if board.broken else frozenset())
        return WorkShown(self.runs.state, can_run, board.broken)

    def _show_past(self) -> None:
        board = self.board
        live = {board.live} if board.live is not None else set()
        self._page.show_history(history_of(board.events, board.name_of, live, time.time()))
