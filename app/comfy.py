"""ComfyUI in the window: its page and chip, what its buttons do, and the switch of its Queue button."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .comfy_options import InstallationFacts
from .comfy_switch import QueueSwitch, Ties
from .comfyui.crash import Cause
from .comfyui.find import describe
from .comfyui.status import ComfyState, ComfyStatus, system_stats
from .desk import Desk
from .errors import BadInput, ComfyRunPodError
from .file_tail import FileTail
from .jobs.targets import DEMO
from .jobs.words import duration
from .log_lines import LineReader
from .settings import Settings, as_line
from .ui.comfyui.page import ComfyPage
from .ui.comfyui.shown import (
    Act,
    Crash,
    Figures,
    RunState,
)
from .ui.desktop import copy_text, open_url
from .ui.dialogs import chosen_path
from .ui.frame.places import chosen_place
from .ui.frame.popovers import comfy_popover
from .ui.frame.window import Window
from .ui.notices import Notice, Notices
from .ui.settings.editors import short_path
from .ui.state import WindowState
from .ui.tasks import TaskScope
from .ui.theme import Theme
from .ui.widgets.floating import Question

if TYPE_CHECKING:
    from .comfyui.house import House

PAGE = "comfyui"
_LOOK_EVERY_S, _LOG_EVERY_S, _TAIL = 3.0, 0.3, 2_000
_CHIP = {
    ComfyState.NOT_SET_UP: ("ComfyUI not set up", "ctl", "Set up"),
    ComfyState.STOPPED: ("ComfyUI stopped", "ctl", "Start"),
    ComfyState.STARTING: ("ComfyUI starting", "amber_bar", ""),
    ComfyState.RUNNING: ("ComfyUI running", "green_bar", ""),
    ComfyState.CRASHED: ("ComfyUI crashed", "red_bar", "Details"),
}
_STATES: dict[ComfyState, RunState] = {
    ComfyState.NOT_SET_UP: "not_set_up",
    ComfyState.STOPPED: "stopped",
    ComfyState.STARTING: "starting",
    ComfyState.RUNNING: "running",
    ComfyState.CRASHED: "crashed",
}


class Comfy:
    """Shows how ComfyUI is, and has it started, stopped and routed."""

    #: Where ComfyUI answers when nobody says otherwise.
    usual_url = "http://127.0.0.1:8188"

    def __init__(
        self,
        theme: Theme,
        window: Window,
        desk: Desk,
        notices: Notices,
        state: WindowState,
        scope: TaskScope,
        ties: Ties,
    ) -> None:
        self._theme, self._window, self._desk, self._notices = theme, window, desk, notices
        self._scope, self.ties = scope, ties
        settings = ties.settings()
        known = settings.comfyui_dir is not None or settings.comfyui_url is not None
        self.status = ComfyStatus(ComfyState.STOPPED if known else ComfyState.NOT_SET_UP)
        self._stopping = self._looked_around = False
        self._card: Crash | None = None
        self._watched: House | None = None
        self._log: asyncio.Task[None] | None = None
        self.page: ComfyPage = window.comfyui
        self._switch = QueueSwitch(theme, window, desk, state, scope, ties, lambda: self.status)
        self._installation = InstallationFacts(self.page, scope, ties, lambda: self.status)
        self._bind()
        self.show(self.status)

    def start(self) -> None:
        """Look at ComfyUI from now on, again and again."""
        self._scope.start(self._keep_looking(), "look")

    # How it is.

    async def look(self) -> None:
        if (house := self.house()) is None:
            return
        if house is not self._watched:
            self._watched = house
            house.watch(self.show)
        self._switch.look()
        self.show(await house.look())
        await self._installation.look()
        await self._look_around()

    def house(self) -> House | None:
        """The owner of this computer's ComfyUI, while this process runs the jobs."""
        return self._desk.services.house if self._desk.services is not None else None

    def show(self, status: ComfyStatus) -> None:
        strong, dot, link = _CHIP[status.state]
        settings = self.ties.settings()
        if status.state is ComfyState.NOT_SET_UP and chosen_place(settings) == DEMO:
            strong, dot, link = "Demo engine", "teal", ""
        fell = status.state is ComfyState.CRASHED and self.status.state is ComfyState.RUNNING
        self.status = status
        few = (strong if link else strong.split(" ")[0], "")
        self._window.topbar.comfy.show_state(strong, dot=dot, link=link, short=few)
        self._show_page(status, settings)
        self._switch.show()
        if fell:
            text = status.crash.text if status.crash is not None else status.detail
            self._notices.tell(
                Notice("ComfyUI stopped by itself", text, "error", "Start again", self.start_comfy)
            )

    def _show_page(self, status: ComfyStatus, settings: Settings) -> None:
        state = _STATES[status.state]
        if settings.comfyui_url is not None and status.state is ComfyState.RUNNING:
            state = "watched"
        if self._stopping:
            state = "stopping"
        since = ""
        if status.since is not None and status.state is ComfyState.RUNNING:
            at = time.strftime("%H:%M", time.localtime(status.since))
            since = f"since {at} · {duration(time.time() - status.since)}"
        used, total = status.vram_used or 0, status.vram_total or 0
        self.page.show_state(
            Figures(
                state,
                since,
                (status.url or "").partition("://")[2],
                status.gpu,
                f"{total / 1e9:.0f} GB" if total and status.gpu not in ("", "cpu") else "",
                f"{used / 1e9:.1f} / {total / 1e9:.0f} GB" if total else "",
                used / total if total else None,
            )
        )
        card = _crash_card(status) if status.state is ComfyState.CRASHED else None
        if card != self._card:
            # Made anew at each look, its buttons would lose the focus.
            self._card = card
            self.page.show_crash(card)

    async def _keep_looking(self) -> None:
        while True:
            shown = self._window.isVisible() and not self._window.isMinimized()
            if shown:
                await self.look()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _choose_folder(self) -> None:
        path = await chosen_path(self._window, "Folder with ComfyUI's main.py", str(Path.home()))
        if path is None:
            return
        found = await asyncio.to_thread(describe, path)
        if found.problem:
            raise BadInput(found.problem)
        await self.ties.change({"comfyui_dir": str(path), "comfyui_url": None})

    # Starting and stopping it.

    def start_comfy(self) -> None:
        self._scope.start(self._start(), "start-comfyui")

    async def _start(self) -> None:
        if (house := self.house()) is None:
            raise BadInput("Another Comfy RunPod runs the jobs, and ComfyUI with them.")
        try:
            await house.ensure()
        except ComfyRunPodError as error:
            if house.status.state is ComfyState.CRASHED and self._window.pages.currentWidget() is self.page:
                return  # the page says why
            raise error from None
        finally:
            await self.look()

    async def stop_comfy(self) -> bool:
        """End it, asking first when a job runs in it; whether it was ended."""
        if name := self.ties.running():
            title, stop = "Stop ComfyUI with a job running?", "Stop ComfyUI"
            text = f'The job "{name}" is lost.'
            if not await Question(self._theme, self._window, title, text, "Keep running", stop).ask():
                return False
        if (house := self.house()) is None:
            return False
        self._stopping = True
        self.show(self.status)
        try:
            await house.stop()
        finally:
            self._stopping = False
            await self.look()
        return True

    async def _restart(self) -> None:
        if await self.stop_comfy():
            await self._start()

    async def _restart_with_routing(self) -> None:
        """End the ComfyUI that somebody else started, and start the same one with the interception node."""
        from .comfyui.foreign import end, foreign_at

        url = self.ties.settings().comfyui_url
        if url is None:
            return
        foreign = await asyncio.to_thread(foreign_at, url)
        title = "Restart this ComfyUI with routing?"
        text = f"The one in process {foreign.pid} is ended. What runs in it is lost."
        if not await Question(self._theme, self._window, title, text, "Keep running", "Restart").ask():
            return
        await asyncio.to_thread(end, foreign)
        await self.ties.change(
            {
                "comfyui_url": None,
                "comfyui_dir": str(foreign.folder),
                "comfyui_python": str(foreign.python),
                "comfyui_args": list(foreign.args),
                "comfyui_port": foreign.port if foreign.port >= 1024 else None,
            }
        )
        await self._start()

    def open_popover(self) -> None:
        if (house := self.house()) is None:
            return
        comfy_popover(
            self._theme,
            house.status,
            start=self.start_comfy,
            stop=lambda: self._scope.start(self.stop_comfy(), "stop-comfyui"),
            browse=self._browse,
            set_up=self.ties.set_up,
            details=lambda: self._window.show_page(PAGE),
        ).open_under(self._window.topbar.comfy, right=True)

    def _linked(self) -> None:
        """The chip's link: Start, Details, Set up."""
        house = self.house()
        if house is not None and house.status.state is ComfyState.STOPPED:
            self.start_comfy()
        elif self.status.state is ComfyState.CRASHED:
            self._window.show_page(PAGE)
        else:
            self.ties.set_up()

    def _browse(self) -> None:
        open_url(self.status.url or "")

    def _remedy(self, key: str) -> None:
        if key == "free_port":
            self._scope.start(self._use_any_port(), "any-port")
        elif key == "watch":
            self._watch_one_at(f"http://127.0.0.1:{self.ties.settings().comfyui_port}")

    def _watch_one_at(self, url: str) -> None:
        """Use a ComfyUI that somebody else started."""
        self._scope.start(self.ties.change({"comfyui_url": url}), "watch-comfyui")

    async def _look_around(self) -> None:
        """Offer the ComfyUI that somebody else started at the usual port, once."""
        if self._looked_around or self.status.state not in (ComfyState.STOPPED, ComfyState.NOT_SET_UP):
            return
        url = self.usual_url
        if not self.page.isVisible() or await system_stats(url) is None:
            return
        self._looked_around = True
        text = f"It answers at {url.partition('://')[2]} and was started elsewhere."
        use = Notice("A ComfyUI runs here", text, "info", "Use it", lambda: self._watch_one_at(url))
        self._notices.tell(use)

    async def _use_any_port(self) -> None:
        await self.ties.change({"comfyui_port": None})
        await self._start()

    def _copy_diagnostics(self) -> None:
        status, settings = self.status, self.ties.settings()
        crash = status.crash
        log = "\n".join(crash.log) if crash is not None else ""
        code = "not known" if crash is None or crash.code is None else crash.signal_name or str(crash.code)
        copy_text(
            f"# ComfyUI stopped\n\n{status.detail}\n\n"
            f"- Exit: {code}\n- Folder: {short_path(settings.comfyui_dir or Path())}\n"
            f"- Arguments: {as_line(settings.comfyui_args) or 'none'}\n\n```\n{log}\n```\n"
        )

    # Its log.

    def _begin_log(self) -> None:
        if self._log is None:
            self._log = self._scope.start(self._read_log(), "comfyui-log")

    def _end_log(self) -> None:
        if self._log is not None:
            self._log.cancel()
            self._log = None

    async def _read_log(self) -> None:
        path = self.ties.settings().data_dir / "comfyui" / "logs" / "comfyui.log"
        tail, reader, at = FileTail(path, _TAIL), LineReader(), None
        self.page.log.clear_lines()
        while True:
            try:
                news = await asyncio.to_thread(tail.news)
            except OSError:
                news = []
            for line in news:
                self.page.log.feed(reader.read(line.text, at, replaces=line.replaces))
            # What was there before has no time; of what comes now it is known.
            at = time.time() if len(news) <= _TAIL else None
            # A long file is read on at once.
            await asyncio.sleep(0.0 if len(news) > _TAIL else _LOG_EVERY_S)

    def _bind(self) -> None:
        page, bar, scope = self.page, self._window.topbar, self._scope
        bar.comfy.clicked.connect(self.open_popover)
        bar.comfy.linked.connect(self._linked)
        page.appeared.connect(self._begin_log)
        page.vanished.connect(self._end_log)
        page.start_wanted.connect(self.start_comfy)
        page.stop_wanted.connect(lambda: scope.start(self.stop_comfy(), "stop-comfyui"))
        page.restart_wanted.connect(lambda: scope.start(self._restart(), "restart-comfyui"))
        page.route_restart_wanted.connect(lambda: scope.start(self._restart_with_routing(), "route"))
        page.browse_wanted.connect(self._browse)
        page.folder_wanted.connect(lambda: scope.start(self._choose_folder(), "comfyui-folder"))
        page.crash_remedy_wanted.connect(self._remedy)
        page.diagnostics_wanted.connect(self._copy_diagnostics)


def _crash_card(status: ComfyStatus) -> Crash:
    crash = status.crash
    if crash is None:
        return Crash("ComfyUI does not run", status.detail)
    return Crash(crash.title, f"{crash.text} {crash.hint}".strip(), remedies=_REMEDIES.get(crash.cause, ()))


_FREE_PORT = Act("free_port", "Use any free port")
_REMEDIES: dict[Cause, tuple[Act, ...]] = {
    "port_in_use": (_FREE_PORT,),
    "comfyui_there": (Act("watch", "Use the one there"), _FREE_PORT),
}
