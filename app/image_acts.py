"""What the Image page asks for beside runs: tags, the manifest matched, findings, layers, files to open."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import image_names
from .errors import ComfyRunPodError
from .image_board import ImageBoard
from .image_rows import findings_of, layers_of, match_question, parity_of
from .image_run import ImageRuns
from .image_work import Wish, report_file
from .ui.desktop import open_path, open_url
from .ui.image.page import ImagePage
from .ui.image.saving import chosen_target
from .ui.image.shown import FindingsShown, LayersShown, Stage
from .ui.notices import Notice, Notices
from .ui.tasks import TaskScope

_NO_TAG = (
    "A tag has letters, digits, underscores, full stops and hyphens, and begins with none of the last two."
)
_LARGEST_REPORT = 64 << 20


class ImageActs:
    """Args:
    show: shows image, work and deployment anew.
    """

    def __init__(
        self,
        page: ImagePage,
        notices: Notices,
        scope: TaskScope,
        board: ImageBoard,
        runs: ImageRuns,
        show: Callable[[], None],
    ) -> None:
        self._page, self._notices, self._scope = page, notices, scope
        self._board, self._runs, self._show = board, runs, show
        #: The images whose findings, layers and report are shown, or are on their way.
        self._scanned, self._layered, self._reported = "", "", ""
        self._aside: set[asyncio.Task[Any]] = set()
        self._bind()

    def built(self, name: str) -> None:
        """There is a new image: what was found in the one before is no longer of interest."""
        self._scanned = self._layered = ""
        self._reported = name
        self._page.show_parity(None)
        self._page.show_findings(FindingsShown())
        self._start_layers(name)
        if self._page.side.view == "findings":
            self._view_opened("findings")

    def show_report(self) -> None:
        """The report of the last test of the image in hand, when there was one."""
        image = self._board.image
        if image != self._reported:
            self._reported = image
            self._scope.start(self._show_report(image), "image-report")

    def stop(self) -> None:
        """End what goes on in the background."""
        for task in self._aside:
            task.cancel()

    def _bind(self) -> None:
        page, runs = self._page, self._runs
        page.run_wanted.connect(lambda stages, no_cache: runs.begin(Wish(tuple(stages), no_cache)))
        page.retry_wanted.connect(runs.retry)
        page.lock_wanted.connect(runs.lock)
        page.stop_wanted.connect(runs.stop)
        page.stop_wanted.connect(self.stop)
        page.tag_typed.connect(self._tag_typed)
        page.tag_wanted.connect(self._tag_wanted)
        page.match_wanted.connect(
            lambda rebuild: self._scope.start(self._match(rebuild=rebuild), "image-match")
        )
        page.back_wanted.connect(self._go_back)
        page.open_manifest_wanted.connect(lambda: open_path(self._board.imaging.manifest_file))
        page.picture_wanted.connect(lambda path: open_path(Path(path)))
        page.finding_wanted.connect(open_url)
        page.log_save_wanted.connect(lambda text: self._scope.start(self._save_log(text), "image-log"))
        page.view_opened.connect(self._view_opened)

    # Tags.

    def _tag_typed(self, text: str) -> None:
        self._page.show_tag_problem(_NO_TAG if text.strip() and not _is_tag(text) else "")

    def _tag_wanted(self, tag: str) -> None:
        if not _is_tag(tag):
            self._page.show_tag_problem(_NO_TAG)
        elif self._runs.is_running:
            self._notices.tell(Notice("A run is under way", "Its image keeps its tag.", "info"))
        else:
            self._board.chosen = tag.strip()
            self._show()
            self.show_report()
            self._layered = ""
            self._page.show_layers(LayersShown())

    # The manifest.

    async def _match(self, *, rebuild: bool) -> None:
        """Take over the versions of this computer, once the user has seen what changes."""
        if self._runs.is_running:
            self._notices.tell(Notice("A run is under way", "Wait for its end, or stop it.", "info"))
            return
        match = await self._board.imaging.match()
        if not match.changes:
            left = match_question(match, rebuild=rebuild).note
            self._notices.tell(Notice("The manifest is as this computer", left, "done"))
            return
        if not await self._page.ask_match(match_question(match, rebuild=rebuild)):
            return
        await self._board.imaging.save(match.manifest)
        if rebuild:
            self._runs.begin(Wish(tuple(Stage), prefer_local=True))
        else:
            self._runs.lock(prefer_local=True)

    def _go_back(self) -> None:
        if (back := self._board.back) is not None:
            self._runs.begin(Wish((Stage.DEPLOY,), image=back.before, back=back))

    # What is in the image.

    def _view_opened(self, view: str) -> None:
        """What takes long is looked for when somebody wants to see it."""
        image = self._board.image
        if view == "findings" and self._scanned != image:
            self._scanned = image
            self._start(self._scan(image), "image-scan")
        elif view == "layers" and self._layered != image:
            self._start_layers(image)

    def _start_layers(self, image: str) -> None:
        self._layered = image
        self._start(self._show_layers(image), "image-layers")

    def _start(self, work: Any, name: str) -> None:
        task = self._scope.start(work, name)
        if task is not None:
            self._aside.add(task)
            task.add_done_callback(self._aside.discard)

    async def _scan(self, image: str) -> None:
        self._page.show_findings(FindingsShown((), self._board.refused, ("Looking for vulnerabilities…",)))
        done = False
        try:
            engine = self._board.engine
            there = engine is not None and await engine.inspect(image) is not None
            found = await self._board.imaging.scan(image if there else None)
            done = True
            if self._scanned == image:
                self._page.show_findings(findings_of(found, self._board.refused))
        except ComfyRunPodError as error:
            self._page.show_findings(FindingsShown((), self._board.refused, (error.sentence,)))
        finally:
            if not done:
                self._scanned = ""

    async def _show_layers(self, image: str) -> None:
        engine = self._board.engine
        try:
            if engine is not None and await engine.inspect(image) is not None:
                layers = await self._board.imaging.layers(engine, image)
                if self._layered == image:
                    self._page.show_layers(layers_of(layers))
        except ComfyRunPodError as error:
            self._layered = ""
            self._page.show_layers(LayersShown(note=error.sentence))

    async def _show_report(self, image: str) -> None:
        told = await asyncio.to_thread(_read_report, report_file(self._board, image), image)
        if self._reported == image:
            at = told.get("at")
            when = float(at) if isinstance(at, int | float) else 0.0
            self._page.show_parity(parity_of(told, when, time.time()) if told else None)

    # Files.

    async def _save_log(self, text: str) -> None:
        path = await chosen_target(self._page, "Save the log", "image.log")
        if path is not None:
            await asyncio.to_thread(path.write_text, text, encoding="utf-8")


def _is_tag(text: str) -> bool:
    try:
        image_names.tag(text)
    except ValueError:
        return False
    return True


def _read_report(path: Path, image: str) -> dict[str, Any]:
    """The report kept for an image; empty when there is none. Blocks."""
    try:
        if path.stat().st_size > _LARGEST_REPORT:
            return {}
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) and told.get("image") == image else {}
