"""Installing ComfyUI in the window, step by step."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .comfy import Comfy
from .comfy_switch import Ties
from .errors import BadInput, ComfyRunPodError, NeedsSetup
from .log_lines import LineReader
from .ui.comfyui.page import ComfyPage
from .ui.comfyui.shown import (
    InstallRun,
    InstallState,
    InstallWish,
    StepRow,
    StepState,
    Torch,
    WishName,
)
from .ui.dialogs import chosen_path
from .ui.frame.window import Window
from .ui.notices import Notice, Notices
from .ui.tasks import TaskScope

if TYPE_CHECKING:
    from .comfyui import install_steps
    from .comfyui.install import Installer

#: PyTorch's own index has folders for what the usual one does not build for.
TORCH_INDEX = "https://download.pytorch.org/whl"
_INDEXES: dict[Torch, str] = {"default": "", "cpu": f"{TORCH_INDEX}/cpu", "rocm": f"{TORCH_INDEX}/rocm6.4"}
_TITLES = {
    "download": "Get ComfyUI",
    "environment": "Make its Python environment",
    "torch": "Install PyTorch",
    "requirements": "Install its requirements",
    "check": "Check that it can run",
}


class ComfySetup:
    """Tells the page what there is to install, and carries out what is wanted.

    Args:
        comfy: owns ComfyUI; what changes here counts from its next start.
    """

    def __init__(self, window: Window, comfy: Comfy, notices: Notices, scope: TaskScope, ties: Ties) -> None:
        self._window, self._comfy = window, comfy
        self._notices, self._scope, self._ties = notices, scope, ties
        self.page: ComfyPage = window.comfyui
        self._installer: Installer | None = None
        self._installing: asyncio.Task[None] | None = None
        self._began: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._bind()
        wish = InstallWish(folder=str(Path.home() / "ComfyUI"), repository=_comfyui_address())
        self.page.show_install_wish(wish)

    # Installing ComfyUI.

    def install(self, wish: InstallWish) -> None:
        """Begin; what cannot be used is said at its field."""
        from .comfyui.install import Installer
        from .comfyui.install_steps import InstallPlan
        from .comfyui.programs import find_git, find_uv

        folder, home, problems = Path(wish.folder), Path.home() / "ComfyUI", dict[WishName, str]()
        index = wish.index if wish.torch == "custom" else _INDEXES[wish.torch]
        with _noted(problems, "folder"):
            InstallPlan(folder if wish.folder else home)
        with _noted(problems, "repository"):
            InstallPlan(home, address=wish.repository)
        with _noted(problems, "version"):
            InstallPlan(home, version=wish.version)
        with _noted(problems, "index"):
            InstallPlan(home, torch_index=index)
        if not wish.folder:
            problems["folder"] = "Choose a folder."
        if wish.torch == "custom" and not index:
            problems["index"] = "Enter the address of an index."
        self.page.show_install_problems(problems)
        if problems:
            return
        plan = InstallPlan(folder, wish.repository, wish.version, index)
        try:
            programs = find_uv(), find_git()
        except NeedsSetup as error:
            self._notices.problem(error.problem)
            return
        self._installer = Installer(plan, *programs, self._logs / "install.log")
        self._begin_install()

    def _begin_install(self) -> None:
        if self._installer is not None and self._installing is None:
            self._installing = self._scope.start(self._install(self._installer), "install-comfyui")

    async def _install(self, installer: Installer) -> None:
        reader = LineReader()
        self._began.clear()
        self._took.clear()
        self.page.log.clear_lines()
        self._show_steps(installer, "running")
        try:
            installed = await installer.run(
                lambda step: self._stepped(installer, step),
                lambda line: self.page.log.feed(reader.read(line, time.time())),
            )
        except asyncio.CancelledError:
            if not self._scope.is_closed:
                self._show_steps(installer, "cancelled")
            raise
        except ComfyRunPodError as error:
            if self._began:
                self._show_steps(installer, "failed", error.sentence)
            else:
                # Nothing was begun: it is the folder that cannot be used.
                self._installer = None
                self.page.open_install_form()
                self.page.show_install_problems({"folder": error.summary})
            return
        finally:
            self._installing = None
        self._show_steps(installer, "done")
        self._installer = None
        # The Python that was set is of another one.
        chosen = {"comfyui_dir": str(installed.folder), "comfyui_python": None, "comfyui_url": None}
        await self._ties.change(chosen)
        self.page.show_install_steps(None)
        version = f" {installed.version}" if installed.version else ""
        self._notices.tell(
            Notice(
                f"ComfyUI{version} is installed",
                f"PyTorch {installed.torch} on {installed.device}.",
                "done",
                "Start",
                self._comfy.start_comfy,
            )
        )

    def _stepped(self, installer: Installer, step: install_steps.StepProgress) -> None:
        if step.state == "running":
            self._began.setdefault(step.step, time.monotonic())
        elif step.state == "done" and step.step in self._began:
            self._took[step.step] = time.monotonic() - self._began[step.step]
        stopping = self._installing is not None and self._installing.cancelling()
        self._show_steps(installer, "stopping" if stopping else "running")

    def _show_steps(self, installer: Installer, state: InstallState, problem: str = "") -> None:
        steps = tuple(
            StepRow(
                _TITLES[each.step],
                _step_state(each.state),
                each.text,
                f"{self._took[each.step]:.0f} s" if each.step in self._took else "",
                1.0 if each.state == "done" else each.part if each.state == "running" else 0.0,
            )
            for each in installer.steps
        )
        done = sum(each.state == "done" for each in installer.steps)
        current = min(done + 1, len(steps))
        self.page.show_install_steps(
            InstallRun(state, steps, f"Step {current} of {len(steps)}", done / len(steps), problem)
        )

    def _cancel_install(self) -> None:
        if self._installing is not None and self._installer is not None:
            self._show_steps(self._installer, "stopping")
            self._installing.cancel()

    async def _discard_install(self) -> None:
        if self._installer is None:
            return
        installer, self._installer = self._installer, None
        self._show_steps(installer, "stopping")
        try:
            gone = await installer.discard()
        except ComfyRunPodError as error:
            self._installer = installer
            self._show_steps(installer, "failed", error.sentence)
            return
        self.page.show_install_steps(None)
        if not gone:
            text = f"{installer.plan.folder} holds files of others, which stay."
            self._notices.tell(Notice("What was installed is gone", text))

    async def _choose_folder(self) -> None:
        path = await chosen_path(self._window, "Folder to install ComfyUI in", str(Path.home()))
        if path is not None:
            self.page.show_path("install", str(path / "ComfyUI" if any(path.iterdir()) else path))

    @property
    def _logs(self) -> Path:
        return self._ties.settings().data_dir / "comfyui" / "logs"

    def _bind(self) -> None:
        page, scope = self.page, self._scope
        page.install_wanted.connect(self.install)
        page.install_cancel_wanted.connect(self._cancel_install)
        page.install_retry_wanted.connect(self._begin_install)
        page.install_discard_wanted.connect(lambda: scope.start(self._discard_install(), "discard-install"))
        page.path_wanted.connect(
            lambda what: scope.start(self._choose_folder(), "install-folder") if what == "install" else None
        )


def _step_state(state: str) -> StepState:
    known: dict[str, StepState] = {"running": "running", "done": "done", "failed": "failed"}
    return known.get(state, "waiting")


@contextlib.contextmanager
def _noted(problems: dict[WishName, str], name: WishName) -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        problems[name] = error.summary


def _comfyui_address() -> str:
    from .comfyui.install_steps import COMFYUI

    return COMFYUI
