"""Setting ComfyUI up in the window: installing it, and its custom nodes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .comfy import Comfy
from .comfy_switch import Ties
from .comfyui.installation import Installation
from .errors import BadInput, ComfyRunPodError, NeedsSetup
from .log_lines import LineReader
from .ui.comfyui.page import ComfyPage
from .ui.comfyui.shown import (
    ChangeRow,
    InstallRun,
    InstallState,
    InstallWish,
    PackRow,
    PackState,
    Preview,
    StepRow,
    StepState,
    Torch,
    WishName,
)
from .ui.dialogs import chosen_path
from .ui.frame.window import Window
from .ui.notices import Notice, Notices
from .ui.tasks import TaskScope
from .ui.theme import Theme
from .ui.widgets.floating import Question

if TYPE_CHECKING:
    from .comfyui import install_steps, pack_list, packs
    from .comfyui.install import Installer
    from .comfyui.packs import Packs

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
_SLOW_S = 3.0
_PACKS_EVERY_S = 3.0


class ComfySetup:
    """Tells the page what there is to install, and carries out what is wanted.

    Args:
        comfy: owns ComfyUI; what changes here counts from its next start.
    """

    def __init__(
        self, theme: Theme, window: Window, comfy: Comfy, notices: Notices, scope: TaskScope, ties: Ties
    ) -> None:
        self._theme, self._window, self._comfy = theme, window, comfy
        self._notices, self._scope, self._ties = notices, scope, ties
        self.page: ComfyPage = window.comfyui
        self._installer: Installer | None = None
        self._installing: asyncio.Task[None] | None = None
        self._began: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._packs: Packs | None = None
        self._listed: dict[str, pack_list.Pack] = {}
        self._busy: set[str] = set()
        self._getting = False
        self._answer: asyncio.Future[bool] | None = None
        self._listing: asyncio.Task[None] | None = None
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

    # Custom nodes.

    def _begin_listing(self) -> None:
        if self._listing is None:
            self._listing = self._scope.start(self._keep_listing(), "custom-nodes")

    def _end_listing(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
            self._listing = None

    async def _keep_listing(self) -> None:
        while True:
            await self._list()
            await asyncio.sleep(_PACKS_EVERY_S)

    async def _list(self) -> None:
        from .comfyui.pack_logs import import_results_of

        book = await asyncio.to_thread(self._book)
        if book is None:
            self.page.show_packs((), "", "They are listed once a ComfyUI is set up.")
            return
        results = await asyncio.to_thread(import_results_of, self._logs / "comfyui.log")
        self._listed = _by_name(await book.listed(results))
        rows = [self._row(name, pack, loaded=bool(results)) for name, pack in self._listed.items()]
        order = {"failed": 0, "slow": 1}
        rows.sort(key=lambda row: order.get(row.state, 2))
        self.page.show_packs(rows, _summary(rows))

    def _row(self, name: str, pack: pack_list.Pack, *, loaded: bool) -> PackRow:
        state, note = _state_of(pack, loaded=loaded)
        actions = ["update"] if pack.commit else []
        actions += ["enable" if pack.state == "disabled" else "disable", "remove"]
        if name in self._busy:
            state, note, actions = "busy", "working", []
        return PackRow(
            name,
            state,
            note,
            pack.repository or "",
            (pack.commit or "")[:8],
            pack.version or "",
            pack.traceback or pack.error,
            tuple(actions),
        )

    def _book(self) -> Packs | None:
        """The packs of the installation in use; None when there is none. Blocks."""
        from .comfyui.packs import Packs
        from .comfyui.programs import find_git, find_uv

        settings = self._ties.settings()
        if settings.comfyui_dir is None:
            return None
        try:
            there = Installation.at(settings.comfyui_dir, settings.comfyui_python, settings.comfyui_args)
        except NeedsSetup:
            return None
        uv, git = _found(find_uv, "uv"), _found(find_git, "git")
        known = self._packs
        if known is None or (known.installation, known.programs) != (there, (uv, git)):
            # Kept while it is the same: it sees to it that there is one change at a time.
            known = self._packs = Packs(there, uv, git, self._logs / "packs.log")
        return known

    async def _add(self, address: str, commit: str) -> None:
        if self._getting:
            return
        book = await asyncio.to_thread(self._book)
        if book is None:
            self.page.show_pack_problem("Set up a ComfyUI first.")
            return
        self._getting = True
        self.page.show_pack_problem("")
        self._begin_log()
        try:
            preview = await book.prepare(address, commit, on_line=self._log_line)
        except BadInput as error:
            self.page.show_pack_problem(error.sentence)
            return
        finally:
            self._getting = False
        self.page.close_pack_form()
        try:
            await self._carry_out(book, preview)
        finally:
            await self._list()

    async def _act(self, name: str, action: str) -> None:
        book, pack = await asyncio.to_thread(self._book), self._listed.get(name)
        if book is None or pack is None or name in self._busy:
            return
        if action == "remove" and not await self._sure(pack):
            return
        self._busy.add(name)
        try:
            await self._list()
            match action:
                case "update":
                    self._begin_log()
                    preview = await book.prepare_update(pack, on_line=self._log_line)
                    await self._carry_out(book, preview)
                case "disable":
                    await book.disable(pack)
                case "enable":
                    await book.enable(pack)
                case "remove":
                    await book.remove(pack)
        finally:
            self._busy.discard(name)
            await self._list()

    async def _sure(self, pack: pack_list.Pack) -> bool:
        title = f"Remove {pack.name}?"
        text = "It goes to the system's bin. What it installed into ComfyUI's environment stays."
        return await Question(self._theme, self._window, title, text, "Keep", "Remove").ask()

    async def _carry_out(self, book: Packs, preview: packs.Preview) -> None:
        """Install what was looked at, at once when nothing but the pack changes; else only if agreed to."""
        try:
            if preview.commit == preview.before and not preview.changes:
                self._notices.tell(Notice(f"{preview.pack_name} is up to date", f"At {preview.commit[:8]}."))
                return
            # What cannot be met at all is refused below, with a sentence.
            if preview.effects.possible and preview.changes and not await self._agreed(preview):
                return
            done = await book.commit(preview, on_line=self._log_line)
        finally:
            if preview.workshop.exists():
                await book.discard(preview)
        text = f"At {done.commit[:8]}. ComfyUI loads it at its next start."
        text += " Its install.py was not run." if preview.has_install_script else ""
        what = "installed" if done.before is None else "updated"
        self._notices.tell(Notice(f"{done.name} is {what}", text, "done"))

    async def _agreed(self, preview: packs.Preview) -> bool:
        """Show what would change, and wait for the answer."""
        self._reply(agreed=False)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._answer = answer
        verb = "Install" if preview.before is None else "Update"
        text = "Its install.py is not run." if preview.has_install_script else ""
        changes = tuple(ChangeRow(c.name, c.before or "", c.after or "") for c in preview.changes)
        title = f"{verb} {preview.pack_name}: what changes in ComfyUI's environment"
        self.page.show_preview(Preview(title, changes, preview.conflicts, text, verb))
        try:
            return await answer
        finally:
            if self._answer is answer:
                self._answer = None
                self.page.show_preview(None)

    def _reply(self, *, agreed: bool) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(agreed)

    def _begin_log(self) -> None:
        self._reader = LineReader("custom nodes")

    def _log_line(self, line: str) -> None:
        self.page.log.feed(self._reader.read(line, time.time()))

    @property
    def _logs(self) -> Path:
        return self._ties.settings().data_dir / "comfyui" / "logs"

    def _bind(self) -> None:
        page, scope = self.page, self._scope
        self._begin_log()
        page.install_wanted.connect(self.install)
        page.install_cancel_wanted.connect(self._cancel_install)
        page.install_retry_wanted.connect(self._begin_install)
        page.install_discard_wanted.connect(lambda: scope.start(self._discard_install(), "discard-install"))
        page.path_wanted.connect(
            lambda what: scope.start(self._choose_folder(), "install-folder") if what == "install" else None
        )
        page.appeared.connect(self._begin_listing)
        page.vanished.connect(self._end_listing)
        page.pack_wanted.connect(lambda address, commit: scope.start(self._add(address, commit), "add-pack"))
        page.pack_action.connect(lambda name, action: scope.start(self._act(name, action), "act-pack"))
        page.preview_accepted.connect(lambda: self._reply(agreed=True))
        page.preview_refused.connect(lambda: self._reply(agreed=False))


def _by_name(packs: list[pack_list.Pack]) -> dict[str, pack_list.Pack]:
    """By the name that is shown: a disabled one beside another of its name has its folder's."""
    names = [pack.name for pack in packs]

    def shown(pack: pack_list.Pack) -> str:
        alone = names.count(pack.name) == 1 or pack.state != "disabled"
        return pack.name if alone else f"{pack.folder.parent.name}/{pack.folder.name}"

    return {shown(pack): pack for pack in packs}


def _state_of(pack: pack_list.Pack, *, loaded: bool) -> tuple[PackState, str]:
    if pack.state == "disabled":
        return "disabled", "disabled"
    if pack.state == "failed":
        return "failed", "import failed"
    if pack.import_s is None:
        return "unknown", "not loaded yet" if loaded else ""
    if pack.import_s >= _SLOW_S:
        return "slow", f"slow import, {pack.import_s:.1f} s"
    return "loaded", f"{pack.import_s:.1f} s"


def _summary(rows: Sequence[PackRow]) -> str:
    counts = [
        (sum(row.state in ("loaded", "slow") for row in rows), "loaded"),
        (sum(row.state == "failed" for row in rows), "failed"),
        (sum(row.state == "disabled" for row in rows), "disabled"),
        (sum(row.state == "unknown" for row in rows), "not loaded yet"),
    ]
    return ", ".join(f"{count} {word}" for count, word in counts if count)


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


def _found(find: Callable[[], Path], name: str) -> Path:
    """The program, or its bare name, which fails with a word of its own when it is needed."""
    try:
        return find()
    except NeedsSetup:
        return Path(name)
