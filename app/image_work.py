"""Each of the four stages carried out: build, test, push, deploy, with what the page shows of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .docker.engine import Engine
from .docker.model import BuildProgress, PushProgress
from .errors import BadInput, NeedsSetup
from .files import write_private
from .image.deploy import Progress, checked_image
from .image.history import Event
from .image.model import NodePin
from .image_board import ImageBoard, ImageTies
from .image_past import back_to, tag_of
from .image_rows import parity_of
from .image_stages import (
    building,
    built,
    deployed,
    deploying,
    kept_pictures,
    pushed,
    pushed_layer,
    pushing,
    result_of,
    step_of,
    tested,
)
from .image_telling import StageTeller
from .ui.image.page import ImagePage
from .ui.image.shown import DeployQuestion, RegistryShown, Stage, StageShown, StageState

LOCK_STEP, _SOURCES_STEP = "lock", "sources"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be run.

    Attributes:
        prefer_local: a lock that is made takes the versions of this computer where it can.
        only_lock: the manifest is locked, and no stage is run.
        image: its whole name; empty: as is chosen, or proposed.
        back: the deployment to be undone; ``image`` is then the one before it.
    """

    stages: tuple[Stage, ...]
    no_cache: bool = False
    prefer_local: bool = False
    only_lock: bool = False
    image: str = ""
    back: Event | None = None


class ImageWork:
    """Every method raises ComfyRunPodError, and can be cancelled: then it leaves nothing behind.

    Attributes:
        is_rolling_out: RunPod has the image of the last deployment, and gives it to its workers.
    """

    def __init__(self, page: ImagePage, board: ImageBoard, teller: StageTeller, ties: ImageTies) -> None:
        self._page, self._board, self._teller, self._ties = page, board, teller, ties
        self.is_rolling_out = False

    # Build.

    async def lock(self, *, prefer_local: bool) -> int:
        """Lock the manifest; how many packages."""
        teller = self._teller
        teller.begin_step(LOCK_STEP, "Lock the versions of all packages")
        locked = await self._board.imaging.lock(
            prefer_local=prefer_local,
            on_source=lambda pin, part: teller.note_step(LOCK_STEP, _fetching(pin, part)),
            on_line=lambda line: teller.line(line, LOCK_STEP),
        )
        count = len(locked.packages)
        teller.line("1 package is locked." if count == 1 else f"{count} packages are locked.", LOCK_STEP)
        teller.end_step(LOCK_STEP)
        return count

    async def build(self, engine: Engine, name: str, wish: Wish) -> None:
        imaging, teller = self._board.imaging, self._teller
        teller.begin(Stage.BUILD, "Fetching the sources")
        if await imaging.locked() is None:
            teller.tell(StageShown(Stage.BUILD, StageState.RUNNING, "Locking versions", part=None))
            await self.lock(prefer_local=wish.prefer_local)
        done = await imaging.build(
            engine,
            name,
            no_cache=wish.no_cache,
            on_source=self._on_source(len((await imaging.manifest()).pins)),
            on_progress=self._on_build,
            on_line=lambda key, text: teller.line(text, key or ""),
        )
        await teller.end(built(done))

    def _on_source(self, count: int) -> Callable[[NodePin, float], None]:
        """Shows the sources that are fetched as one step."""
        at, teller = 0, self._teller
        teller.begin_step(_SOURCES_STEP, "Fetch the sources of ComfyUI and its nodes")

        def told(pin: NodePin, part: float) -> None:
            nonlocal at
            at += part >= 1.0
            if at < count:
                teller.note_step(_SOURCES_STEP, _fetching(pin, part))
            else:
                teller.end_step(_SOURCES_STEP)

        return told

    def _on_build(self, progress: BuildProgress) -> None:
        self._teller.steps(map(step_of, progress.steps))
        self._teller.tell(building(progress))

    # Test.

    async def test(self, engine: Engine, name: str) -> None:
        imaging, teller = self._board.imaging, self._teller
        where = "GPU" if engine.has_gpu else "processor"
        teller.begin(Stage.TEST, f"Runs on the {where}")
        if await engine.inspect(name) is None:
            raise BadInput(f"There is no image {name} to test.", hint="Build it first.")
        done = await imaging.test(
            engine, name, local_url=await self._ties.local_url(), on_line=lambda line: teller.line(line)
        )
        folder = self._board.settings().data_dir / "image" / "made" / tag_of(name)
        pictures = await asyncio.to_thread(kept_pictures, done.trial.made, folder)
        at, report = time.time(), done.to_json()
        path = report_file(self._board, name)
        await asyncio.to_thread(write_private, path, json.dumps({"image": name, "at": at, **report}))
        self._page.show_result(result_of(done, pictures))
        self._page.show_parity(parity_of(report, at, at))
        await teller.end(tested(done))

    # Push.

    async def push(self, engine: Engine, name: str) -> None:
        teller, since = self._teller, dict[tuple[str, str], float]()
        last = PushProgress()

        def told(progress: PushProgress) -> None:
            nonlocal last
            last, now = progress, time.time()
            self._page.show_pushed([
                pushed_layer(each, progress.note, since.setdefault((each.id, each.state), now))
                for each in progress.layers
            ])  # fmt: skip
            teller.tell(pushing(progress))

        teller.begin(Stage.PUSH, "Asking the registry")
        done = await self._board.imaging.push(engine, name, told, teller.line)
        self._page.show_registry(await self._signed_in(engine, name))
        teller.line(f"{name.rpartition(':')[0]}@{done.digest}")
        await teller.end(pushed(last.layers))

    async def _signed_in(self, engine: Engine, name: str) -> RegistryShown:
        """What took an image needs no sign-in, whatever Docker's store says."""
        return RegistryShown((await self._board.imaging.signed_in(engine, name)).user or "")

    # Deploy.

    def deploy_obstacle(self) -> str:
        """Why a run of all stages ends before this one; empty: it does not."""
        if not self._board.settings().runpod_api_key:
            return "No RunPod API key is set"
        return "" if self._board.endpoint else "No endpoint is chosen"

    async def deploy(self, name: str, wish: Wish) -> None:
        """Ask, and give the endpoint the image; without a yes the stage is skipped."""
        board, teller = self._board, self._teller
        self.is_rolling_out = False
        teller.begin(Stage.DEPLOY, "Asking RunPod")
        checked_image(name)
        if not (endpoint := board.endpoint):
            raise NeedsSetup("No endpoint is chosen.", hint="Choose one in the log's part of Deploy.")
        now = await (await board.imaging.account()).roll_out(endpoint)
        if wish.back is not None:
            version = f"the image of {back_to(wish.back)}"
        else:
            version = f"version {now.version + 1}" if now.version is not None else tag_of(name)
        note = "" if wish.back or board.was_pushed(name) else "It was not pushed from this computer."
        question = DeployQuestion(board.name_of(endpoint), version, self._ties.running(endpoint), note)
        if not await self._page.ask_deploy(question):
            await teller.end(StageShown(Stage.DEPLOY, StageState.SKIPPED, "Not deployed"))
            return
        last: Progress | None = None

        def told(progress: Progress) -> None:
            nonlocal last
            self.is_rolling_out = True
            if (shown := deploying(progress)) and progress != last:
                teller.line(shown.detail)
                teller.tell(shown)
            last = progress

        teller.line(f"{name} for {board.name_of(endpoint)}")
        done = await board.imaging.deploy(endpoint, name, told)
        board.endpoints = tuple(
            replace(each, image=name) if each.id == endpoint else each for each in board.endpoints
        )
        await teller.end(deployed(last, done.version))


def report_file(board: ImageBoard, name: str) -> Path:
    """Where the report of an image's last test is kept."""
    return board.settings().data_dir / "image" / "reports" / f"{tag_of(name)}.json"


def _fetching(pin: NodePin, part: float) -> str:
    return f"{pin.name} {part:.0%}" if 0 < part < 1 else pin.name
