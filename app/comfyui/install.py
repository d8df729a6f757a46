"""Installing ComfyUI step by step: the program by git, its Python and packages by uv."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from worker.process import clean_environment

from ..errors import BadInput, ComfyRunPodError
from ..threads import to_its_end
from .causes import failed
from .environments import Uv, python_in
from .find import describe
from .install_steps import (
    MARKER,
    VENV,
    Installed,
    InstallPlan,
    Note,
    Step,
    StepProgress,
    StepState,
    files_below,
    read_note,
    take_away,
)
from .programs import HOME, OnLine, masked, run
from .repositories import Git, newest_release, remove_tree

__all__ = ["InstallPlan", "Installed", "Installer", "OnProgress", "Step", "StepProgress", "StepState"]

OnProgress = Callable[[StepProgress], None]

_TORCH = ("torch", "torchvision", "torchaudio")
_LONGEST_TEXT = 200
#: Prints the version of torch and its device. A torchvision made for another torch cannot be imported.
_CHECK = """
import json
import torch
import torchvision

def device():
    for kind in ("cuda", "xpu", "mps"):
        part = getattr(torch, kind, None)
        if part is not None and part.is_available():
            name = getattr(part, "get_device_name", None)
            return name() if name else kind
    return "cpu"

print(json.dumps({"torch": str(torch.__version__), "device": str(device())}))
"""


class Installer:
    """Carries out one plan. After an error or a cancelled :meth:`run` the next goes on where it stopped.

    Until all is done the folder holds :data:`~app.comfyui.install_steps.MARKER`, and is no ComfyUI.
    """

    def __init__(self, plan: InstallPlan, uv: Path, git: Path, log_file: Path) -> None:
        self.plan = plan
        self.log_file = log_file
        #: How far it is.
        self.steps: tuple[StepProgress, ...] = tuple(map(StepProgress, Step))
        self._git, self._uv = Git(git, log_file), Uv(uv, log_file)
        self._on_progress: OnProgress | None = None
        self._note = Note()
        folder = plan.folder
        #: Holds the lock, and the clone until it is whole.
        self._workshop = folder.with_name(f".{folder.name}.installing")
        self._clone = self._workshop / "clone"
        self._venv = folder / VENV
        self._python = python_in(self._venv)
        self._given = {
            Step.DOWNLOAD: f"{masked(plan.address)} {plan.version}",
            Step.ENVIRONMENT: plan.python,
            Step.TORCH: masked(plan.torch_index),
            Step.REQUIREMENTS: "",
            Step.CHECK: "",
        }
        self._work = {
            Step.DOWNLOAD: self._download,
            Step.ENVIRONMENT: self._make_environment,
            Step.TORCH: self._install_torch,
            Step.REQUIREMENTS: self._install_requirements,
            Step.CHECK: self._check,
        }
        self._found = ("", "")

    async def run(self, on_progress: OnProgress | None = None, on_line: OnLine | None = None) -> Installed:
        """Do all steps that are not done yet.

        Args:
            on_progress: called on the loop with each change of a step.
            on_line: called on the loop with what git, uv and Python print.

        Raises:
            BadInput: when the folder is not empty or cannot be written, or is being installed by another.
            NeedsSetup: when git or uv is missing.
            ProcessFailed: naming the step's likely cause; ``details["log"]`` holds the last lines.
        """
        self._on_progress = on_progress
        self._git, self._uv = replace(self._git, on_line=on_line), replace(self._uv, on_line=on_line)
        try:
            async with self._claimed():
                await to_its_end(self._begin)
                for step in Step:
                    done = step in self._note.done
                    self._tell(
                        step,
                        StepState.DONE if done else StepState.WAITING,
                        text="done before" if done else "",
                    )
                for step, work in self._work.items():
                    if step not in self._note.done:
                        await self._do(step, work)
                await to_its_end((self.plan.folder / MARKER).unlink)
                version = (await asyncio.to_thread(describe, self.plan.folder)).version
                return Installed(self.plan.folder, self._python, version, *self._found)
        except OSError as error:
            raise BadInput(f"{self.plan.folder} cannot be written: {error.strerror}.") from error

    async def discard(self) -> bool:
        """Remove what was installed so far; whether nothing is left. A ComfyUI that is whole stays as it is.

        Files that the installation did not bring are kept, and the folder with them.

        Raises:
            BadInput: when the folder cannot be written, or is being installed by another.
        """
        try:
            async with self._claimed():
                return await to_its_end(self._take_away)
        except OSError as error:
            raise BadInput(f"{self.plan.folder} cannot be removed: {error.strerror}.") from error

    # -- what is there ---------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _claimed(self) -> AsyncIterator[None]:
        lock = FileLock(self._workshop / "lock", thread_local=False)
        try:
            await to_its_end(self._claim, lock)
            yield
        finally:
            await to_its_end(self._leave, lock)

    def _claim(self, lock: FileLock) -> None:
        self._workshop.mkdir(parents=True, exist_ok=True)
        if any(entry.name not in ("lock", "clone") for entry in self._workshop.iterdir()):
            raise BadInput(f"{self._workshop} is in the way.", hint="Move or remove that folder.")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise BadInput(f"ComfyUI is being installed into {self.plan.folder} already.") from None
        # One that was killed left it.
        remove_tree(self._clone)

    def _leave(self, lock: FileLock) -> None:
        if lock.is_locked:
            lock.release()
            with contextlib.suppress(OSError):
                remove_tree(self._workshop)

    def _begin(self) -> None:
        """Read how far an earlier run came, and look whether the folder can be used."""
        folder = self.plan.folder
        note = read_note(folder)
        if note is not None:
            note = note.still_done(self._given)
            if Step.DOWNLOAD not in note.done and not take_away(folder, note):
                raise self._not_empty()
            if Step.ENVIRONMENT in note.done and not self._python.is_file():
                note = note.only(Step.DOWNLOAD)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise self._not_empty()
        self._note = note or Note(was_there=folder.is_dir())

    def _not_empty(self) -> BadInput:
        return BadInput(
            f"{self.plan.folder} is not empty.", hint="Choose a folder that is empty or does not exist."
        )

    def _take_away(self) -> bool:
        note = read_note(self.plan.folder)
        return note is None or take_away(self.plan.folder, note)

    # -- the steps -------------------------------------------------------------------------------------------

    async def _do(self, step: Step, work: Callable[[], Awaitable[str]]) -> None:
        self._tell(step, StepState.RUNNING)
        try:
            text = await work()
        except asyncio.CancelledError:
            self._tell(step, StepState.WAITING, text="stopped")
            raise
        except ComfyRunPodError as error:
            self._tell(step, StepState.FAILED, text=error.summary)
            raise
        self._note = self._note.with_done(step, self._given[step])
        await to_its_end(self._note.save, self.plan.folder)
        self._tell(step, StepState.DONE, 1.0, text)

    async def _download(self) -> str:
        plan = self.plan
        version = plan.version or newest_release(await self._git.tags(plan.address))
        commit = await self._git.clone(
            plan.address,
            version,
            self._clone,
            lambda part: self._tell(Step.DOWNLOAD, StepState.RUNNING, part, version),
        )
        await to_its_end(self._move_in)
        return f"{version or 'the newest state'} ({commit[:8]})"

    def _move_in(self) -> None:
        """Put the clone, which is whole, where it belongs; from its first moment on it holds the note."""
        if not (self._clone / "main.py").is_file():
            raise BadInput(f"{masked(self.plan.address)} is not ComfyUI: it has no main.py.")
        self._note = replace(self._note, files=files_below(self._clone))
        self._note.with_done(Step.DOWNLOAD, self._given[Step.DOWNLOAD]).save(self._clone)
        if self._note.was_there:
            self.plan.folder.rmdir()
        self._clone.rename(self.plan.folder)

    async def _make_environment(self) -> str:
        await to_its_end(remove_tree, self._venv)
        await self._uv.make(self._venv, self.plan.python)
        return f"Python {self.plan.python}"

    async def _install_torch(self) -> str:
        said = await self._installed(Step.TORCH, "Installing PyTorch", _TORCH, self.plan.torch_index)
        return next((line[3:] for line in said if line.startswith(" + torch=")), "")

    async def _install_requirements(self) -> str:
        # Node managers expect pip. ComfyUI 0.3.64, for one, imports requests and does not name it.
        words = ["pip", "requests", "-r", str(self.plan.folder / "requirements.txt")]
        said = await self._installed(Step.REQUIREMENTS, "Installing ComfyUI's requirements", words)
        return f"{sum(line.startswith(' + ') for line in said)} packages"

    async def _installed(
        self, step: Step, doing: str, words: Sequence[str], index: str = ""
    ) -> tuple[str, ...]:
        return await self._uv.install(
            self._python,
            words,
            self.plan.folder,
            doing=doing,
            index=index,
            on_line=lambda line: self._tell(step, StepState.RUNNING, text=line.strip()[:_LONGEST_TEXT]),
        )

    async def _check(self) -> str:
        """Whether the new Python runs and imports PyTorch."""
        argv = [str(self._python), "-c", _CHECK]
        env, folder = clean_environment(keep=HOME), self.plan.folder
        ended = await run(argv, env=env, cwd=folder, log_file=self.log_file, on_line=self._git.on_line)
        try:
            if ended.code != 0 or not (folder / "main.py").is_file():
                raise failed("Checking the installation", ended.lines)
            told = json.loads(ended.lines[-1])
            self._found = (str(told["torch"]), str(told["device"]))
        except (IndexError, ValueError, KeyError, TypeError) as error:
            raise failed("Checking the installation", ended.lines) from error
        return f"PyTorch {self._found[0]} on {self._found[1]}"

    def _tell(self, step: Step, state: StepState, part: float | None = None, text: str = "") -> None:
        told = StepProgress(step, state, part, text)
        self.steps = tuple(told if each.step is step else each for each in self.steps)
        if self._on_progress is not None:
            self._on_progress(told)
