"""From files and earlier jobs to new jobs: read, held against their place, asked about, queued."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PySide6.QtWidgets import QFileDialog, QWidget

from ...desk import Desk
from ...errors import BadInput, NeedsSetup
from ...jobs.costs import money
from ...jobs.model import Job, JobSpec, new_job_id
from ...jobs.money import Money
from ...jobs.targets import is_remote
from ...settings import Settings
from ...workflows.collect import Dropped, Refused, collect
from ...workflows.fingerprint import fingerprint
from ...workflows.read import MissingNodes
from ..loop import shown
from ..notices import Notice, Notices
from ..state import WindowState

if TYPE_CHECKING:
    from ...preflight.intake import Intake, Taken
    from ...preflight.report import Lack, Report
    from ...workflows.convert import NodeCatalogue

_ASK_ABOVE = 20
_REFUSED_SHOWN = 3
_FILTERS = (
    "Workflows (*.json *.png *.apng *.webp *.jpg *.jpeg *.mp4 *.webm *.mkv *.mov *.flac *.mp3 *.opus *.ogg "
    "*.latent)"
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the actions need of the window: whose child a question is, and where the user is looking.

    Attributes:
        name: a target as people call it. price: what a worker of a target costs; empty when not known.
        intake: takes workflows in; only when ``app.services`` has been imported, which takes a while.
        offer_picture: a picture without a workflow was dropped; True when it is made use of.
        tune: opens the page where a job's values are changed.
        ask_worker: has a worker of its target say what a job lacks, which is billed on RunPod.
        upload: brings models of this computer to the volume.
        show_words: shows the jobs with these words only.
        ran: told which files were queued.
    """

    window: Callable[[], QWidget]
    select: Callable[[str], None]
    settings: Callable[[], Settings]
    target: Callable[[], str]
    name: Callable[[str], str]
    price: Callable[[str], str]
    other_target: Callable[[str], str | None]
    intake: Callable[[], Intake]
    offer_picture: Callable[[Path], Awaitable[bool]]
    tune: Callable[[JobSpec], Awaitable[object]]
    ask_worker: Callable[[JobSpec], Awaitable[Report]]
    upload: Callable[[Sequence[Lack]], Awaitable[None]]
    show_words: Callable[[str], None] = lambda _: None
    ran: Callable[[Sequence[str]], None] = lambda _: None


class Ask(Protocol):
    """Asks a question over the window; True when the user wants it done."""

    def __call__(
        self, title: str, text: str, safe: str, act: str, *, destroys: bool = True
    ) -> Awaitable[bool]: ...


class Launch:
    """Everything that ends with a job in the queue."""

    def __init__(
        self, desk: Desk, notices: Notices, state: WindowState, around: Surroundings, ask: Ask
    ) -> None:
        self._desk, self._notices, self._state, self._around, self._ask = desk, notices, state, around, ask

    async def choose(self) -> None:
        """Ask for files, then queue them."""
        dialog = QFileDialog(self._around.window(), "Open workflow", self._state.text("open_folder"))
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
        dialog.setNameFilters([_FILTERS, "All files (*)"])
        accepted = await shown(dialog)
        paths = [Path(name) for name in dialog.selectedFiles()]
        dialog.deleteLater()
        if accepted and paths:
            self._state.put("open_folder", str(paths[0].parent))
            await self.files(paths)

    async def files(self, paths: list[Path]) -> None:
        """Queue the workflows in files and folders on the target in force."""
        settings, target = self._around.settings(), self._around.target()
        found = await asyncio.to_thread(collect, paths)
        refused = [
            each
            for each in found.refused
            if not (each.is_picture and await self._around.offer_picture(each.path))
        ]
        self._tell_refused(refused)
        if not found.workflows:
            return
        _checked(target)
        taken = await self._taken(found.workflows, target)
        await self.queue([each.spec(str(settings.output_dir)) for each in taken])

    async def tune_file(self, path: Path) -> None:
        """Open the page where the values of a file's workflow are changed before it runs."""
        settings, target = self._around.settings(), self._around.target()
        found = await asyncio.to_thread(collect, [path])
        self._tell_refused(found.refused)
        _checked(target)
        for each in (await self._taken(found.workflows, target))[:1]:
            await self._around.tune(each.spec(str(settings.output_dir), anyway=True))

    async def queue(self, specs: Sequence[JobSpec]) -> bool:
        """Queue jobs of one target, with the questions that belong before them; False: the user said no."""
        if not specs or not await self._may_run(specs[0].target, specs):
            return False
        last = ""
        for spec in specs:
            last = (await self._desk.submit(spec)).id
        self._around.select(last)
        self._around.ran([spec.source for spec in specs])
        return True

    async def again(self, job: Job, target: str) -> Job | None:
        """Run a job that ended, or waits for what is missing, elsewhere; None: the user said no."""
        if not await self._may_run(target):
            return None
        spec = await self._desk.store.spec(job.id)
        await self._ready()
        report = await self._around.intake().judge(spec, target)
        again = await self._desk.submit(
            replace(spec, id=new_job_id(), target=target, lacks=report.hold, retry_of=job.id)
        )
        if job.lacks:
            # It has not run, and runs elsewhere now.
            await self._desk.cancel(job.id)
        return again

    async def looked_again(self, job: Job) -> Report:
        """What a job lacks at its place by now."""
        spec = await self._desk.store.spec(job.id)
        await self._ready()
        return await self._around.intake().judge(spec, job.target, anew=True)

    async def catalogue(self, target: str) -> NodeCatalogue | None:
        """What the nodes of a target may hold, as far as it is known."""
        await self._ready()
        return await self._around.intake().catalogue(target)

    async def judged(self, specs: Sequence[JobSpec]) -> list[JobSpec]:
        """The same jobs, each on hold from its beginning when it lacks something."""
        await self._ready()
        intake = self._around.intake()
        found = []
        for spec in specs:
            report = await intake.judge(spec, spec.target)
            found.append(replace(spec, lacks=report.hold))
        return found

    async def unchecked(self, spec: JobSpec) -> tuple[str, ...]:
        """What of a job nobody can be asked about for free: ``nodes``, ``models``."""
        await self._ready()
        return (await self._around.intake().judge(spec, spec.target)).unchecked

    async def upload(self, report: Report) -> None:
        """Bring the models that a job lacks to the volume."""
        await self._ready()
        await self._around.upload(report.to_upload)

    async def asked_worker(self, job: Job) -> Report | None:
        """What a worker says that a job lacks; None: the user did not want to pay for that."""
        if is_remote(job.target):
            price = self._around.price(job.target)
            title = f"Ask a worker of {self._around.name(job.target)}?"
            text = (
                f"One starts for it, and its time is billed{f' at {price}' if price else ''}. Nothing is run."
            )
            if not await self._ask(title, text, "Not now", "Ask", destroys=False):
                return None
        spec = await self._desk.store.spec(job.id)
        await self._ready()
        return await self._around.ask_worker(spec)

    async def estimate(self, target: str, specs: Sequence[JobSpec]) -> str:
        """What jobs may cost, as a sentence; empty for what costs nothing or is not known at all."""
        if not is_remote(target):
            return ""
        # In a thread: hundreds of workflows take a while.
        marks = await asyncio.to_thread(lambda: [fingerprint(spec.prompt) for spec in specs])
        usd = await Money(self._desk.store).estimate([(mark, target) for mark in marks])
        if usd is not None:
            return f"About {money(usd)} together, by earlier runs of the same."
        price = self._around.price(target)
        return f"A worker costs {price}; what these take is not known yet." if price else ""

    async def _ready(self) -> None:
        await asyncio.to_thread(importlib.import_module, "app.services")

    async def _taken(self, dropped: Sequence[Dropped], target: str) -> list[Taken]:
        await self._ready()
        intake = self._around.intake()
        taken: list[Taken] = []
        refused: list[Refused] = []
        for each in dropped:
            try:
                taken.append(await intake.take(each, target))
            except MissingNodes as error:
                report = await intake.lacking(each, target, error)
                text = " ".join(lack.text for lack in report.lacks[:_REFUSED_SHOWN])
                refused.append(Refused(each.path, error.title, f"{text} {error.problem.hint}".strip()))
            except BadInput as error:
                title = getattr(error, "title", f"{each.path.name} cannot run")
                refused.append(Refused(each.path, title, getattr(error, "text", error.summary)))
        self._tell_refused(refused)
        for made in [made for made in taken if made.warnings][:_REFUSED_SHOWN]:
            title = f"{made.name} was not quite as it should be"
            self._notices.tell(Notice(title, made.warnings[0], details="\n".join(made.warnings)))
        return taken

    async def _may_run(self, target: str, specs: Sequence[JobSpec] = ()) -> bool:
        """Asked before the first job on an endpoint, and before many; with what that may cost."""
        _checked(target)
        asked = self._state.texts("asked_targets")
        if is_remote(target) and target not in asked:
            title = f"Run on {self._around.name(target)}?"
            text = (
                f"Jobs there cost money while they run{_each(self._around.price(target))}. "
                "From now on, workflows dropped here go there at once."
            )
            if not await self._ask(title, text, "Not now", "Run", destroys=False):
                return False
            self._state.put("asked_targets", [*asked, target])
        count = len(specs)
        if count <= _ASK_ABOVE:
            return True
        title = f"Queue {count} workflows on {self._around.name(target)}?"
        text = f"They run one after the other. {await self.estimate(target, specs)}".strip()
        return await self._ask(title, text, "Not now", f"Queue {count}", destroys=False)

    def _tell_refused(self, refused: Sequence[Refused]) -> None:
        for each in refused[:_REFUSED_SHOWN]:
            self._notices.tell(
                Notice(each.title, each.text, "error", details=f"{each.path}\n{each.title}\n{each.text}")
            )
        if len(refused) > _REFUSED_SHOWN:
            more = len(refused) - _REFUSED_SHOWN
            names = "\n".join(f"{each.path}: {each.title}" for each in refused)
            self._notices.tell(Notice(f"{more} more files are not workflows", "", "error", details=names))


def _checked(target: str) -> None:
    if not target:
        raise NeedsSetup("No place to run is chosen.", hint="Choose one at the top left.")


def _each(price: str) -> str:
    return f", {price} for each worker" if price else ""
