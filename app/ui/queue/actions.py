"""What can be done with jobs and files from the window. Each starts a task that the window owns."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from ...desk import Desk
from ...errors import BadInput, NeedsSetup
from ...jobs.cards import log_lines
from ...jobs.model import Job
from ...jobs.report import diagnostics
from ...jobs.states import State
from ...jobs.targets import is_remote
from ...preflight.report import Report
from ...workflows.parameters import parameters
from ..desktop import copy_text, open_path
from ..loop import shown
from ..notices import Notice, Notices
from ..state import WindowState
from ..tasks import TaskScope
from ..theme import Theme
from ..widgets.floating import Question
from .launch import Launch, Surroundings
from .model import JobModel


class Actions:
    """Runs, cancels, repeats, removes and copies. Every method returns at once."""

    def __init__(
        self,
        theme: Theme,
        desk: Desk,
        model: JobModel,
        notices: Notices,
        state: WindowState,
        scope: TaskScope,
        around: Surroundings,
    ) -> None:
        self._theme, self._desk, self._model, self._notices = theme, desk, model, notices
        self._state, self._scope, self._around = state, scope, around
        #: Jobs whose models are on their way.
        self._uploading: set[str] = set()
        self.launch = Launch(desk, notices, state, around, self._ask)

    def run_files(self, paths: Sequence[Path]) -> None:
        """Queue the workflows in files and folders on the target in force."""
        self._scope.start(self.launch.files(list(paths)), "run-files")

    def choose_files(self) -> None:
        """Ask for files, then queue them."""
        self._scope.start(self.launch.choose(), "choose-files")

    def cancel(self, ids: Sequence[str]) -> None:
        self._scope.start(self._cancel(self._known(ids)), "cancel")

    def retry(self, ids: Sequence[str]) -> None:
        """Run ended jobs again; send those again that wait for the user's word."""
        self._scope.start(self._retry(self._known(ids)), "retry")

    def show_batch(self, batch: str) -> None:
        """Show the jobs of a batch, and no others."""
        self._around.show_words(f"batch:{batch[:8]}")

    def tune_file(self, path: Path) -> None:
        """Change the values of a workflow's file before it runs."""
        self._scope.start(self.launch.tune_file(path), "tune-file")

    def check_again(self, job_id: str) -> None:
        """Look again whether what a job waits for is there."""
        for job in self._known([job_id]):
            self._scope.start(self._check_again(job), "check-again")

    def tune(self, job_id: str) -> None:
        """Change a job's values, and run it anew."""
        self._scope.start(self._tune(job_id), "tune")

    def upload_and_run(self, job_id: str) -> None:
        """Bring the models that a job lacks to the volume; it goes on when all is there."""
        for job in self._known([job_id]):
            self._scope.start(self._upload_and_run(job), f"upload-{job.id}")

    def ask_worker(self, job_id: str) -> None:
        """Have a worker itself say what a job lacks, after a question, for it is billed."""
        for job in self._known([job_id]):
            self._scope.start(self._ask_worker(job), "ask-worker")

    def run_on_other(self, ids: Sequence[str]) -> None:
        """Run jobs again on the other target."""
        self._scope.start(self._run_on_other(self._known(ids)), "run-on-other")

    def remove(self, ids: Sequence[str]) -> None:
        """Take ended jobs off the list; their files stay."""
        self._scope.start(self._remove(self._known(ids)), "remove")

    def cancel_or_remove(self, ids: Sequence[str]) -> None:
        """What the delete key means: cancel what is active, else remove."""
        jobs = self._known(ids)
        active = [job.id for job in jobs if not job.is_final]
        (self.cancel if active else self.remove)(active or [job.id for job in jobs])

    def open_outputs(self, job_id: str) -> None:
        """Open the folder of a job's results; the only result itself when it is no picture."""
        for job in self._known([job_id]):
            folder = Path(job.outputs[0].path).parent if job.outputs else Path(job.output_dir)
            self._scope.start(self._open(folder), "open")

    def reveal(self, path: str) -> None:
        self._scope.start(self._open(Path(path).parent), "open")

    def open_file(self, path: str) -> None:
        """Open a result with the desktop's program for it."""
        self._scope.start(self._open(Path(path)), "open")

    def copy_diagnostics(self, job_id: str, done: Callable[[], None] = lambda: None) -> None:
        self._scope.start(self._copy_diagnostics(job_id, done), "copy-diagnostics")

    def copy_log(self, job_id: str) -> None:
        for job in self._known([job_id]):
            copy_text("\n".join(log_lines(job)))

    def copy_id(self, job_id: str) -> None:
        copy_text(job_id)

    def copy_prompt(self, job_id: str) -> None:
        """The text that its pictures are made from."""
        self._scope.start(self._copy_prompt(job_id), "copy-prompt")

    def other_place(self, ids: Sequence[str]) -> str:
        """What the other target of these jobs is called; empty when there is none, or not one for all."""
        others = {self._around.other_target(job.target) for job in self._known(ids)}
        other = others.pop() if len(others) == 1 else None
        return self._around.name(other) if other is not None else ""

    def name_of(self, target: str) -> str:
        """A target as people call it."""
        return self._around.name(target)

    def copy_workflow(self, job_id: str) -> None:
        """The API form of its workflow as JSON."""
        self._scope.start(self._copy_workflow(job_id), "copy-workflow")

    def save_workflow(self, job_id: str) -> None:
        self._scope.start(self._save_workflow(job_id), "save-workflow")

    def _known(self, ids: Sequence[str]) -> list[Job]:
        return [self._model.jobs[job_id].job for job_id in ids if job_id in self._model.jobs]

    # Jobs.

    async def _cancel(self, jobs: list[Job]) -> None:
        active = [job for job in jobs if not job.is_final]
        if not active or not await self._may_cancel(active):
            return
        for job in active:
            await self._desk.cancel(job.id)

    async def _may_cancel(self, jobs: list[Job]) -> bool:
        """Asked only where something is lost: work under way, or several jobs."""
        running = [job for job in jobs if job.state in (State.RUNNING, State.DOWNLOADING)]
        waiting = len(jobs) - len(running)
        if not running and len(jobs) == 1:
            return True
        if not running:
            title, text = f"Cancel {waiting} waiting jobs?", "They have not started, so they cost nothing."
            return await self._ask(title, text, "Keep jobs", f"Cancel {waiting} jobs")
        if len(jobs) == 1:
            paid = "What it has run so far is charged. " if is_remote(jobs[0].target) else ""
            text = f"{paid}Nothing is saved."
            return await self._ask("Cancel this running job?", text, "Keep running", "Cancel job")
        title = f"Cancel {len(jobs)} jobs?"
        text = f"{len(running)} of them run: nothing of these is saved. {waiting} have not started."
        return await self._ask(title, text, "Keep jobs", f"Cancel {len(jobs)} jobs")

    async def _retry(self, jobs: list[Job]) -> None:
        last = ""
        for job in jobs:
            if job.is_final or job.is_stuck:
                last = (await self._desk.retry(job.id)).id
        if last:
            self._around.select(last)

    async def _run_on_other(self, jobs: list[Job]) -> None:
        last = ""
        for job in jobs:
            target = self._around.other_target(job.target)
            if target is None:
                raise NeedsSetup(
                    "There is no other place to run.", hint="Set up ComfyUI or RunPod in Settings."
                )
            again = await self.launch.again(job, target)
            if again is None:
                return
            last = again.id
        if last:
            self._around.select(last)

    async def _tune(self, job_id: str) -> None:
        await self._around.tune(await self._desk.store.spec(job_id))

    async def _check_again(self, job: Job) -> None:
        """Whether what a job waits for is there by now; then it goes on."""
        await self._go_on(job, await self.launch.looked_again(job))

    async def _ask_worker(self, job: Job) -> None:
        report = await self.launch.asked_worker(job)
        if report is not None:
            await self._go_on(job, report)

    async def _upload_and_run(self, job: Job) -> None:
        if job.id in self._uploading:
            return
        report = await self.launch.looked_again(job)
        models = report.to_upload
        if not models:
            await self._go_on(job, report)
            return
        names = ", ".join(lack.name for lack in models)
        self._notices.tell(Notice(f"Uploading for {job.name}", f"{names}. The job goes on when it is there."))
        self._uploading.add(job.id)
        try:
            await self.launch.upload(report)
        finally:
            self._uploading.discard(job.id)
        await self._check_again(job)

    async def models_arrived(self) -> None:
        """Models came to the volume: jobs that waited for all of what is there by now go on."""
        waiting = [entry.job for entry in self._model.jobs.values() if entry.job.state is State.ON_HOLD]
        for job in waiting:
            if job.lacks and job.id not in self._uploading:
                report = await self.launch.looked_again(job)
                if report.is_ready:
                    await self._go_on(job, report)

    async def _go_on(self, job: Job, report: Report) -> None:
        """Say what a look at a job's needs gave; one that waited for them goes on when all is there."""
        texts = "\n".join(lack.text for lack in report.lacks)
        if not report.is_ready:
            text = f"{report.headline}."
            self._notices.tell(Notice(f"{job.name} lacks something", text, "error", details=texts))
        elif job.lacks:
            await self._desk.retry(job.id)
            self._notices.tell(Notice(f"{job.name} goes on", "All that it needs is there now.", "done"))
        else:
            self._notices.tell(
                Notice(f"{job.name} can run there", "Nothing is missing.", "done", details=texts)
            )

    async def _remove(self, jobs: list[Job]) -> None:
        ended = [job.id for job in jobs if job.is_final]
        if len(ended) < len(jobs):
            raise BadInput("Jobs that are not finished cannot be removed.", hint="Cancel them first.")
        if not ended:
            return
        if len(ended) > 1:
            title = f"Remove {len(ended)} jobs from the list?"
            if not await self._ask(
                title, "Their result files stay where they are.", "Keep", f"Remove {len(ended)} jobs"
            ):
                return
        await self._desk.remove(ended)

    async def _open(self, path: Path) -> None:
        there = await asyncio.to_thread(path.exists)
        if not there:
            raise BadInput(f"{path} is no longer there.", hint="It was moved or deleted.")
        if not open_path(path):
            copy_text(str(path))
            raise NeedsSetup(f"The desktop has no program for {path}.", hint="Its path is on the clipboard.")

    async def _copy_diagnostics(self, job_id: str, done: Callable[[], None]) -> None:
        for job in self._known([job_id]):
            moves = await self._desk.store.timeline(job.id)
            secrets = [self._around.settings().runpod_api_key.reveal()]
            copy_text(await asyncio.to_thread(diagnostics, job, moves, secrets=secrets))
            done()

    async def _copy_prompt(self, job_id: str) -> None:
        spec = await self._desk.store.spec(job_id)
        text = next((each.value for each in parameters(spec.prompt) if each.label == "Prompt"), "")
        if not text:
            raise BadInput(f"{spec.name} has no text prompt.", hint="Copy workflow copies all of it.")
        copy_text(text)

    async def _copy_workflow(self, job_id: str) -> None:
        spec = await self._desk.store.spec(job_id)
        copy_text(json.dumps(spec.prompt, indent=2, ensure_ascii=False))

    async def _save_workflow(self, job_id: str) -> None:
        spec = await self._desk.store.spec(job_id)
        dialog = QFileDialog(self._around.window(), "Save workflow", self._state.text("open_folder"))
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("json")
        dialog.selectFile(f"{spec.name}.json")
        accepted = await shown(dialog)
        chosen = dialog.selectedFiles()
        dialog.deleteLater()
        if accepted and chosen:
            text = json.dumps(spec.prompt, indent=2, ensure_ascii=False)
            try:
                await asyncio.to_thread(Path(chosen[0]).write_text, text, "utf-8")
            except OSError as error:
                raise BadInput(f"{chosen[0]} cannot be written: {error.strerror}.") from error

    async def _ask(self, title: str, text: str, safe: str, act: str, *, destroys: bool = True) -> bool:
        return await Question(
            self._theme, self._around.window(), title, text, safe, act, destroys=destroys
        ).ask()
