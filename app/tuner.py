"""The page that changes a job's values: what it is told, and what becomes of what was entered there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import ComfyRunPodError
from .jobs.model import JobSpec
from .jobs.targets import is_remote
from .preflight.variants import variants
from .settings import Settings
from .ui.dialogs import chosen_path
from .ui.frame.window import Window
from .ui.queue.launch import Launch
from .ui.state import WindowState
from .ui.tasks import TaskScope
from .ui.theme import Theme
from .ui.tune.page import TunePage
from .ui.tune.rows import TunableRow
from .workflows.collect import PICTURES
from .workflows.convert import NodeCatalogue
from .workflows.tuning import tunables

PAGE = "tune"
_PICTURES = f"Pictures ({' '.join(f'*{suffix}' for suffix in sorted(PICTURES))})"
#: So many jobs are held against their place one by one; of more, the first ones speak for all.
_MOST_JUDGED = 50


@dataclass(frozen=True, slots=True)
class Ties:
    """What the page needs of the panel.

    Attributes:
        name: a target as people call it. target: where new jobs run.
    """

    settings: Callable[[], Settings]
    target: Callable[[], str]
    name: Callable[[str], str]


class Tuner:
    """Opens the page for a job, keeps its outlook, and queues what was entered."""

    def __init__(
        self,
        theme: Theme,
        window: Window,
        launch: Launch,
        state: WindowState,
        scope: TaskScope,
        ties: Ties,
    ) -> None:
        self._window, self._launch, self._state = window, launch, state
        self._scope, self._ties = scope, ties
        self._spec: JobSpec | None = None
        self._catalogue: NodeCatalogue | None = None
        self._looking: asyncio.Task[None] | None = None
        self.page = TunePage(theme)
        window.add_page(PAGE, self.page)
        page = self.page
        page.edited.connect(self._look)
        page.run_wanted.connect(lambda: scope.start(self._run(), "tune-run"))
        page.picture_wanted.connect(lambda row: scope.start(self._choose_picture(row), "tune-picture"))
        page.prompts_wanted.connect(lambda: scope.start(self._choose_prompts(), "tune-prompts"))
        page.folder_wanted.connect(lambda: scope.start(self._choose_folder(), "tune-folder"))
        page.all_button.clicked.connect(lambda: scope.start(page.open_all(), "tune-all"))
        page.search.textChanged.connect(lambda: scope.start(page.open_all(), "tune-search"))

    async def open(self, spec: JobSpec, *, picture: Path | None = None) -> bool:
        """Show the page for a job that runs where new jobs run; False: it takes no picture, and is not shown.

        Args:
            picture: the user's, for the first input that takes one.
        """
        target = self._ties.target() or spec.target
        self._spec = replace(spec, target=target, retry_of=None)
        self._catalogue = await self._launch.catalogue(target)
        found = await asyncio.to_thread(tunables, spec.prompt, self._catalogue)
        if picture is not None and not any(each.kind == "picture" for each in found):
            return False
        name = spec.name.partition(" · ")[0] if spec.batch else spec.name
        await self.page.show_tunables(
            name, f"Runs on {self._ties.name(target)} as a new job. The file stays as it is.", found
        )
        self._window.show_page(PAGE)
        if picture is not None:
            self.use_picture(picture)
        self._look()
        return True

    def use_picture(self, path: Path) -> bool:
        """Take a picture for the first input that takes one; False when there is none."""
        row = self.page.picture_row()
        if row is not None:
            row.show_picture(path)
        return row is not None

    async def _specs(self) -> list[JobSpec]:
        if self._spec is None:
            return []
        wanted = self.page.wanted()
        return await asyncio.to_thread(variants, self._spec, wanted, self._catalogue)

    def _look(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._looking = self._scope.start(self._show_outlook(), "tune-outlook")

    async def _show_outlook(self) -> None:
        try:
            specs = await self._specs()
        except ComfyRunPodError as error:
            self.page.show_outlook("", error.sentence, "Run")
            return
        count = len(specs)
        target = specs[0].target if specs else ""
        price = await self._launch.estimate(target, specs)
        free = "" if is_remote(target) else "They cost nothing here." if count > 1 else ""
        jobs = "1 job" if count == 1 else f"{count} jobs"
        unchecked = await self._launch.unchecked(specs[0]) if specs else ()
        known = f"Not checked there: {' and '.join(unchecked)}." if unchecked else ""
        text = f"{jobs} on {self._ties.name(target)}. {price or free} {known}".strip()
        self.page.show_outlook(text, "", "Run" if count == 1 else f"Run {count} jobs")

    async def _run(self) -> None:
        specs = [
            replace(spec, output_dir=str(self._ties.settings().output_dir)) for spec in await self._specs()
        ]
        judged = await self._launch.judged(specs[:_MOST_JUDGED])
        rest = specs[_MOST_JUDGED:]
        if rest and any(spec.lacks is not None for spec in judged):
            judged += await self._launch.judged(rest)
            rest = []
        if await self._launch.queue([*judged, *rest]):
            self._window.show_page("queue")

    async def _choose_picture(self, row: TunableRow) -> None:
        path = await self._chosen("Choose a picture", [_PICTURES, "All files (*)"])
        if path is not None:
            row.show_picture(path)

    async def _choose_prompts(self) -> None:
        self.page.show_prompts(
            await self._chosen("Choose a file with prompts", ["Texts (*.txt)", "All files (*)"])
        )

    async def _choose_folder(self) -> None:
        self.page.show_folder(await self._chosen("Choose a folder of pictures", None))

    async def _chosen(self, title: str, filters: list[str] | None) -> Path | None:
        """A file of the user's, or a folder without ``filters``; None: the user chose none."""
        chosen = await chosen_path(self._window, title, self._state.text("inputs_folder"), filters)
        if chosen is not None:
            self._state.put("inputs_folder", str(chosen if filters is None else chosen.parent))
        return chosen
