"""The Settings page: sections of settings, a search over all of them, and saving what was changed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from ...account_watch import AccountStatus
from ...errors import BadInput
from ...s3.data_centres import has_s3, s3_url
from ...settings import Origin, Settings, can_be, names_in_file, origin_of
from ..loop import shown
from ..tasks import TaskScope
from ..theme import Theme
from ..theme.tokens import MARGIN, PAGE_HEAD_H
from ..widgets.basics import Text, column, row
from ..widgets.fields import SearchField
from ..widgets.late import LatePage, late
from ..widgets.scrolling import ScrollBox
from ..widgets.small import Segments
from . import sections
from .account import AccountDoor, KeyRow
from .docker import PushedRow
from .editors import Editor, PathField, TextField
from .known import KnownRows
from .nav import SectionNav
from .rows import Section, SettingRow
from .sections import Entry
from .volumes import changes_with, place_note

_NAV_W, _CONTENT_W, _NEAR = 208, 800, 40
#: Paths that are files; all others are folders.
_FILES = ("comfyui_python", "docker_program")


class SettingsPage(LatePage):
    """Args: ``change`` saves values by name and puts them in force; it raises BadInput for wrong ones.
    ``fixed`` are the settings that the environment decides. ``problem_of`` says what is wrong with a ComfyUI
    folder. ``door`` leads to the keyring and the account; without it keys cannot be entered.

    Signals:
        welcome_wanted: the first steps once more.
        account_wanted: the account is to be looked at once more, for :meth:`show_account`.
    """

    welcome_wanted, account_wanted = Signal(), Signal()

    def __init__(
        self,
        theme: Theme,
        settings: Callable[[], Settings],
        change: Callable[[dict[str, Any]], Any],
        scope: TaskScope,
        fixed: frozenset[str],
        problem_of: Callable[[Path], Awaitable[str]],
        door: AccountDoor | None = None,
    ) -> None:
        super().__init__()
        self.setProperty("region", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme, self._settings, self._change, self._scope = theme, settings, change, scope
        self._fixed, self._problem_of, self._door = fixed, problem_of, door
        self._in_file: frozenset[str] = frozenset()
        self._looked = False
        self._status = AccountStatus()
        self._saving = asyncio.Lock()
        self.entries: dict[str, Entry] = {}
        self.rows: dict[str, SettingRow] = {}
        self.keys: dict[str, KeyRow] = {}
        self._sections: dict[str, list[Section]] = {}
        self.show_settings()

    # What is shown.

    @late
    def show_settings(self, saved: str = "") -> None:
        """Show the values in force; what is being typed stays, but for the setting that was ``saved``."""
        settings = self._settings()
        for name, entry in self.entries.items():
            origin = self._origin(name, settings)
            self.rows[name].show_origin(origin.text)
            if name != saved and (self.rows[name].is_wrong or entry.editor.is_typed_in()):
                continue
            entry.editor.show_value(getattr(settings, name), fixed=self._fixed_by(entry, origin))
        for name, line in self.keys.items():
            line.show_key(getattr(settings, name), self._origin(name, settings))
        self._pushed.show_settings(settings)
        self._show_known()

    @late
    def show_account(self, status: AccountStatus) -> None:
        """What is known of the account with the key in force."""
        self._status = status
        self._show_known()

    def keys_changed(self) -> None:
        """Another key is in force."""
        self.show_settings()

    def escape(self) -> None:
        self.search.clear()

    def open_search(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._scope.start(self._opened(), "settings")

    async def _opened(self) -> None:
        """Ask the file, and the first time the keyring, what nobody had to know before."""
        await self._read_file()
        docker = await asyncio.to_thread(shutil.which, "docker")
        _prompt(self.entries["docker_program"].editor, docker or "Not found on PATH")
        if self._door is not None and not self._looked:
            self._looked = True
            await self._door.look()
            self.keys_changed()
        self._look_around()

    def _look_around(self) -> None:
        """What comes in sight now asks for what it shows."""
        if not self._known.volume.visibleRegion().isEmpty():
            self._known.volume.come_in_sight()

    def _show_known(self) -> None:
        settings = self._settings()
        self._account.show_status(self._known.show(self._status, settings))
        place = settings.runpod_datacenter
        self.rows["runpod_datacenter"].show_note(
            place_note(settings, self._known.volume.of(settings.runpod_volume_id))
        )
        address = s3_url(place) if place and has_s3(place) else "https://"
        _prompt(self.entries["runpod_s3_url"].editor, address)
        if self.isVisible():
            self._look_around()

    async def _read_file(self) -> None:
        try:
            self._in_file = await asyncio.to_thread(names_in_file, self._settings().config_file)
        except BadInput:
            # Saving says what is wrong with the file; here nothing is lost but a word.
            self._in_file = frozenset()
        self.show_settings()

    def _origin(self, name: str, settings: Settings) -> Origin:
        only_here = self._door.only_here if self._door is not None else frozenset()
        return origin_of(name, settings, in_file=self._in_file, only_here=only_here)

    def _fixed_by(self, entry: Entry, origin: Origin) -> str:
        if entry.name in self._fixed:
            return f"From the environment ({origin.variable})"
        return f"Set {origin.variable} in the environment to change this" if entry.read_only else ""

    # How it is built.

    def build(self) -> None:
        theme = self._theme
        self.title = Text(theme, "Settings", "title")
        self.search = SearchField(theme, "Search settings", 220)
        self.search.textChanged.connect(self._find)
        head = QWidget()
        head.setFixedHeight(PAGE_HEAD_H)
        head.setLayout(row(self.title, None, self.search, margins=(MARGIN, 0, MARGIN, 0)))
        content = QWidget()
        content.setMaximumWidth(_CONTENT_W)
        inner = column(gap=24, margins=(0, 0, 0, MARGIN))
        content.setLayout(inner)
        holder = QWidget()
        line = row(content, None)
        line.setStretch(0, 100)
        holder.setLayout(line)
        self._scroll = ScrollBox(holder, "Settings")
        self.nav = SectionNav(theme, sections.SECTIONS, _NAV_W - 8)
        self.nav.chosen.connect(self._go_to)
        self._scroll.verticalScrollBar().valueChanged.connect(self._scrolled)
        body = row(self.nav, gap=32, margins=(16, 0, MARGIN, 0))
        body.addWidget(self._scroll, 1)
        layout = column(head)
        layout.addLayout(body, 1)
        self.setLayout(layout)
        # Only now: each part is styled anew whenever what it stands in is put into something else.
        self._build_sections(inner)
        self._none = Text(theme, "No setting has these words.", "body", "text3")
        self._none.hide()
        inner.addWidget(self._none)
        inner.addStretch(1)

    def _build_sections(self, layout: QVBoxLayout) -> None:
        theme = self._theme

        def add(key: str, title: str, rows: Sequence[SettingRow]) -> None:
            section = Section(theme, title, rows)
            self._sections.setdefault(key, []).append(section)
            layout.addWidget(section)

        add(
            "runpod",
            "Account",
            [self._key_row("runpod_api_key", "API key", sections.API_WHY, self._tested)],
        )
        self._account = self._sections["runpod"][0]
        self._known = known = KnownRows(
            theme, self._door, self._scope, self.account_wanted.emit, self._show_known
        )
        for name, line in (("runpod_endpoint_id", known.endpoint), ("runpod_volume_id", known.volume)):
            self._take(Entry(name, line.title, "", line.editor), line)
        add("runpod", "Endpoint", [known.endpoint, known.gpus])
        add("jobs", "Queue and limits", self._made(sections.jobs(theme)))
        keys = [
            self._key_row("runpod_s3_access_key", "S3 access key", sections.S3_WHY),
            self._key_row("runpod_s3_secret_key", "S3 secret key", "Comes with the S3 access key."),
        ]
        add("volume", "Models and volume", [known.volume, *self._made(sections.volume(theme)), *keys])
        self._pushed = PushedRow(theme)
        *names, program = self._made(sections.docker(theme))
        add("docker", "Docker", [*names, self._pushed, program])
        again = sections.first_steps(theme, self.welcome_wanted.emit)
        add("comfyui", "ComfyUI", [*self._made(sections.comfyui(theme)), again])
        add("appearance", "Appearance", self._made(sections.appearance(theme)))
        add("advanced", "Advanced", self._made(sections.advanced(theme)))
        add("about", "About and licences", sections.about(theme, lambda: self._settings().data_dir))
        self._appearance = self.entries["appearance"].editor.findChild(Segments)
        self._comfy, self._comfy_row = self.entries["comfyui_dir"].editor, self.rows["comfyui_dir"]

    def _key_row(
        self, name: str, title: str, text: str, checked: Callable[[bool], None] | None = None
    ) -> KeyRow:
        line = KeyRow(self._theme, name, title, text, self._door, self._scope, self.keys_changed, checked)
        self.keys[name] = line
        return line

    def _made(self, entries: list[Entry]) -> list[SettingRow]:
        for entry in entries:
            self._take(entry, SettingRow(self._theme, entry.title, entry.text, entry.editor))
            if isinstance(entry.editor, PathField):
                entry.editor.browse_wanted.connect(
                    lambda entry=entry: self._scope.start(self._choose(entry), "browse")
                )
        return [self.rows[entry.name] for entry in entries]

    def _take(self, entry: Entry, line: SettingRow) -> None:
        self.entries[entry.name], self.rows[entry.name] = entry, line
        entry.editor.entered.connect(
            lambda value: self._scope.start(self._save(entry, value), f"set-{entry.name}")
        )

    def _go_to(self, key: str) -> None:
        self.search.clear()
        self._scroll.verticalScrollBar().setValue(self._sections[key][0].y())
        # The last ones are too short to come to the top.
        self.nav.mark(key)

    def _scrolled(self, at: int) -> None:
        heads = {key: group[0].y() for key, group in self._sections.items() if group[0].isVisible()}
        self.nav.mark(
            max(
                (key for key in heads if heads[key] <= at + _NEAR),
                key=heads.__getitem__,
                default=self.nav.marked(),
            )
        )
        self._look_around()

    def _find(self, words: str) -> None:
        found = [each.show_matching(words) for group in self._sections.values() for each in group]
        self._none.setVisible(not any(found))

    def _tested(self, works: bool) -> None:
        """RunPod has said whether it accepts the key in force."""
        self._account.show_status((self._account.status or "Connected") if works else "")
        self.account_wanted.emit()

    # What the user changes.

    async def _save(self, entry: Entry, value: Any) -> None:
        name, line = entry.name, self.rows[entry.name]
        # One after the other: each reads the file and writes it anew.
        async with self._saving:
            try:
                wrong = await self._wrong(entry, value)
                changes = self._changes(name, value)
                if not wrong:
                    await self._change(changes)
            except BadInput as error:
                wrong = error.sentence
            line.show_wrong(wrong)
            entry.editor.mark_wrong(wrong=bool(wrong))
            if not wrong:
                for each in changes:
                    # What was typed there is no longer what counts.
                    if each in self.rows:
                        self.rows[each].show_wrong("")
                self.show_settings(saved=name)
                await self._read_file()

    async def _wrong(self, entry: Entry, value: Any) -> str:
        if not can_be(entry.name, value):
            return entry.wrong
        if entry.name == "comfyui_dir" and value is not None:
            return await self._problem_of(await asyncio.to_thread(Path(value).expanduser))
        if entry.name == "docker_program" and value is not None:
            found = await asyncio.to_thread(lambda: shutil.which(Path(value).expanduser()))
            return "" if found else entry.wrong
        return ""

    def _changes(self, name: str, value: Any) -> dict[str, Any]:
        """The value and what follows it: a volume's data centre, and the choice of where workflows run when
        that was the endpoint left behind.
        """
        settings = self._settings()
        if name == "runpod_volume_id":
            return {name: value, **changes_with(self._known.volume.of(value), self._fixed)}
        follows = name == "runpod_endpoint_id" and value and settings.target == settings.runpod_endpoint_id
        return {name: value, **({"target": value} if follows and settings.target else {})}

    async def _choose(self, entry: Entry) -> None:
        kind = QFileDialog.FileMode.ExistingFile if entry.name in _FILES else QFileDialog.FileMode.Directory
        path = await choose_path(self, entry.title, kind, getattr(self._settings(), entry.name))
        if path is not None:
            await self._save(entry, str(path))


def _prompt(editor: Editor, text: str) -> None:
    """What stands in an empty field."""
    if isinstance(editor, TextField):
        editor.field.setPlaceholderText(text)


async def choose_path(
    parent: QWidget, title: str, mode: QFileDialog.FileMode, begin: Path | None = None
) -> Path | None:
    """Ask for a file or folder; None when the user chose none."""
    dialog = QFileDialog(parent, title, str(begin or Path.home()))
    dialog.setFileMode(mode)
    accepted = await shown(dialog)
    chosen = dialog.selectedFiles()
    dialog.deleteLater()
    return Path(chosen[0]) if accepted and chosen else None
