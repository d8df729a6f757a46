"""The custom nodes of ComfyUI in the window: listed, got, updated, switched off and on, removed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .comfy_switch import Ties
from .comfyui.installation import Installation
from .errors import BadInput, NeedsSetup
from .log_lines import LineReader
from .ui.comfyui.page import ComfyPage
from .ui.comfyui.shown import ChangeRow, PackRow, PackState, Preview
from .ui.frame.window import Window
from .ui.notices import Notice, Notices
from .ui.tasks import TaskScope
from .ui.theme import Theme
from .ui.widgets.floating import Question

if TYPE_CHECKING:
    from .comfyui import pack_list, packs
    from .comfyui.packs import Packs

_SLOW_S, _PACKS_EVERY_S = 3.0, 3.0


class CustomNodes:
    """Tells the page which there are, and carries out what is wanted."""

    def __init__(self, theme: Theme, window: Window, notices: Notices, scope: TaskScope, ties: Ties) -> None:
        self._theme, self._window, self._notices, self._ties = theme, window, notices, ties
        self._scope = scope
        self.page: ComfyPage = window.comfyui
        self._packs: Packs | None = None
        self._listed: dict[str, pack_list.Pack] = {}
        self._rows: Sequence[PackRow] | None = None
        self._busy: set[str] = set()
        self._getting = False
        self._answer: asyncio.Future[bool] | None = None
        self._listing: asyncio.Task[None] | None = None
        self._begin_log()
        page = self.page
        page.appeared.connect(self._begin_listing)
        page.vanished.connect(self.end_listing)
        page.pack_wanted.connect(lambda address, commit: scope.start(self._add(address, commit), "add-pack"))
        page.pack_action.connect(lambda name, action: scope.start(self._act(name, action), "act-pack"))
        page.preview_accepted.connect(lambda: self._reply(agreed=True))
        page.preview_refused.connect(lambda: self._reply(agreed=False))

    def _begin_listing(self) -> None:
        if self._listing is None:
            self._listing = self._scope.start(self._keep_listing(), "custom-nodes")

    def end_listing(self) -> None:
        """Look no more until the page comes in sight again."""
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
            self._rows = None
            self.page.show_packs((), "", "They are listed once a ComfyUI is set up.")
            return
        results = await asyncio.to_thread(import_results_of, self._logs / "comfyui.log")
        self._listed = _by_name(await book.listed(results))
        rows = [self._row(name, pack, loaded=bool(results)) for name, pack in self._listed.items()]
        order = {"failed": 0, "slow": 1}
        rows.sort(key=lambda row: order.get(row.state, 2))
        if rows != self._rows:
            # A list that is made anew loses the row that has the focus.
            self._rows = rows
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
            if not preview.effects.possible:
                await self._carry_out(book, preview)  # says why not
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


def _found(find: Callable[[], Path], name: str) -> Path:
    """The program, or its bare name, which fails with a word of its own when it is needed."""
    try:
        return find()
    except NeedsSetup:
        return Path(name)
