"""Settings: appearance, ComfyUI's folder, where results go, and what the program is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QFileDialog, QVBoxLayout, QWidget

from ... import __version__
from ...errors import BadInput
from ...files import resource
from ...settings import Settings
from ..desktop import open_path
from ..loop import shown
from ..tasks import TaskScope
from ..theme import Theme
from ..theme.tokens import MARGIN, PAGE_HEAD_H
from ..widgets.basics import Button, Text, column, row
from ..widgets.fields import SearchField
from ..widgets.scrolling import ScrollBox
from ..widgets.small import Segments, Switch
from .rows import PathField, Section, SettingRow

_NAV_W, _CONTENT_W = 208, 800
_APPEARANCE = (("system", "System"), ("light", "Light"), ("dark", "Dark"))
_SIZES = (("90", "90 %"), ("100", "100 %"), ("110", "110 %"), ("125", "125 %"))


class SettingsPage(QWidget):
    """Args: ``change`` saves values by name and puts them in force; it raises BadInput for wrong ones.
    ``problem_of`` says what is wrong with a ComfyUI folder.

    Signals:
        welcome_wanted: the first steps once more.
    """

    welcome_wanted = Signal()

    def __init__(
        self,
        theme: Theme,
        settings: Callable[[], Settings],
        change: Callable[[dict[str, Any]], Any],
        scope: TaskScope,
        fixed: frozenset[str],
        problem_of: Callable[[Path], Awaitable[str]],
    ) -> None:
        super().__init__()
        self.setProperty("region", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme, self._settings, self._change, self._scope, self._fixed = (
            theme,
            settings,
            change,
            scope,
            fixed,
        )
        self._problem_of = problem_of
        self._sections: dict[str, Section] = {}
        self._build()
        self.show_settings()

    def show_settings(self) -> None:
        """Show the values in force."""
        settings = self._settings()
        fixed = {name: f"the environment ({name.upper()})" for name in self._fixed}
        self._comfy.show_path(settings.comfyui_dir, fixed_by=fixed.get("comfyui_dir", ""))
        self._python.show_path(settings.comfyui_python, fixed_by=fixed.get("comfyui_python", ""))
        self._output.show_path(settings.output_dir)
        self._appearance.choose(settings.appearance)
        self._size.choose(str(settings.text_size))
        self._motion.setChecked(settings.motion == "reduced")

    def _build(self) -> None:
        theme = self._theme
        self.title = Text(theme, "Settings", "title")
        search = SearchField(theme, "Search settings", 220)
        search.textChanged.connect(self._find)
        self.search = search
        head = QWidget()
        head.setFixedHeight(PAGE_HEAD_H)
        head.setLayout(row(self.title, None, search, margins=(MARGIN, 0, MARGIN, 0)))
        self._build_controls()
        self._add_section("results", "Jobs and results", [self._output_row])
        self._add_section("comfyui", "ComfyUI", [self._comfy_row, self._python_row, self._welcome_row])
        self._add_section("appearance", "Appearance", self._appearance_rows())
        self._add_section("about", "About and licences", self._about_rows())
        nav = self._nav(
            ("results", "Queue and results", "list-video"),
            ("comfyui", "ComfyUI", "workflow"),
            ("appearance", "Appearance", "palette"),
            ("about", "About and licences", "info"),
        )
        content = QWidget()
        content.setMaximumWidth(_CONTENT_W)
        content.setLayout(column(*self._sections.values(), None, gap=24, margins=(0, 0, 0, MARGIN)))
        holder = QWidget()
        line = row(content, None)
        line.setStretch(0, 100)
        holder.setLayout(line)
        self._scroll = ScrollBox(holder, "Settings")
        body = row(nav, gap=32, margins=(16, 0, MARGIN, 0))
        body.addWidget(self._scroll, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(head)
        layout.addLayout(body, 1)

    def _build_controls(self) -> None:
        theme = self._theme
        self._comfy = PathField(theme, "ComfyUI folder", lambda: self._browse("comfyui_dir", self._comfy_row))
        self._python = PathField(
            theme, "ComfyUI's Python", lambda: self._browse_file("comfyui_python", self._python_row)
        )
        self._output = PathField(
            theme, "Save outputs to", lambda: self._browse("output_dir", self._output_row)
        )
        where = "The folder that holds main.py. Its files stay as they are."
        needed = "Only needed when it is not in a venv in or beside that folder."
        self._comfy_row = SettingRow(theme, "ComfyUI folder", where, self._comfy)
        self._python_row = SettingRow(theme, "Python of ComfyUI", needed, self._python)
        self._output_row = SettingRow(
            theme, "Save outputs to", "The same folder for every place to run.", self._output
        )
        again = Button(theme, "Show first steps")
        again.clicked.connect(self.welcome_wanted)
        self._welcome_row = SettingRow(
            theme, "First steps", "Choose a ComfyUI or the demo engine once more.", again
        )
        self._comfy.entered.connect(lambda text: self._set("comfyui_dir", text or None, self._comfy_row))
        self._python.entered.connect(lambda text: self._set("comfyui_python", text or None, self._python_row))
        self._output.entered.connect(lambda text: self._set("output_dir", text or None, self._output_row))

    def _appearance_rows(self) -> list[SettingRow]:
        theme = self._theme
        self._appearance = Segments(theme, _APPEARANCE, "Theme")
        self._size = Segments(theme, _SIZES, "Text size")
        self._motion = Switch(theme, "Reduce motion")
        rows = [
            SettingRow(theme, "Theme", "System follows the desktop, and changes with it.", self._appearance),
            SettingRow(theme, "Text size", "Makes every text larger or smaller.", self._size),
            SettingRow(theme, "Reduce motion", "Nothing turns, slides or travels.", self._motion),
        ]
        self._appearance.chosen.connect(lambda key: self._set("appearance", key, rows[0]))
        self._size.chosen.connect(lambda key: self._set("text_size", int(key), rows[1]))
        self._motion.toggled.connect(lambda on: self._set("motion", "reduced" if on else "system", rows[2]))
        return rows

    def _about_rows(self) -> list[SettingRow]:
        theme = self._theme
        licences = Button(theme, "Show licences")
        licences.clicked.connect(lambda: open_path(resource("licences")))
        data = Button(theme, "Open folder")
        data.clicked.connect(lambda: open_path(self._settings().data_dir))
        return [
            SettingRow(theme, f"Comfy RunPod {__version__}", "MIT licence.", QWidget()),
            SettingRow(
                theme,
                "Made with",
                "Qt (LGPL), Inter and JetBrains Mono (SIL OFL 1.1), Lucide icons (ISC).",
                licences,
            ),
            SettingRow(theme, "Data folder", "The list of jobs, logs and thumbnails.", data),
        ]

    def _add_section(self, key: str, title: str, rows: list[SettingRow]) -> None:
        self._sections[key] = Section(self._theme, title, rows)

    def _nav(self, *entries: tuple[str, str, str]) -> QWidget:
        box = QWidget()
        box.setFixedWidth(_NAV_W - 8)
        layout = column(gap=2)
        self._nav_group = QButtonGroup(self)
        for key, title, icon in entries:
            button = Button(self._theme, f" {title}", "rail", icon=icon)
            button.setCheckable(True)
            button.clicked.connect(lambda _=False, key=key: self._go_to(key))
            self._nav_group.addButton(button)
            layout.addWidget(button)
        self._nav_group.buttons()[0].setChecked(True)
        layout.addStretch(1)
        box.setLayout(layout)
        return box

    def _go_to(self, key: str) -> None:
        self._scroll.ensureWidgetVisible(self._sections[key], 0, 0)
        self._scroll.verticalScrollBar().setValue(self._sections[key].y())

    def _find(self, words: str) -> None:
        for section in self._sections.values():
            section.show_matching(words)

    def _set(self, name: str, value: Any, line: SettingRow) -> None:
        self._scope.start(self._save(name, value, line), f"set-{name}")

    async def _save(self, name: str, value: Any, line: SettingRow) -> None:
        field = {"comfyui_dir": self._comfy, "comfyui_python": self._python, "output_dir": self._output}.get(
            name
        )
        try:
            wrong = ""
            if name == "comfyui_dir" and value is not None:
                wrong = await self._problem_of(await asyncio.to_thread(Path(value).expanduser))
            if not wrong:
                await self._change({name: value})
        except BadInput as error:
            wrong = " ".join([error.summary, error.hint]).strip()
        if wrong:
            line.show_wrong(wrong)
            if field is not None:
                field.mark_wrong(wrong=True)
            return
        line.show_wrong("")
        self.show_settings()

    def _browse(self, name: str, line: SettingRow) -> None:
        self._scope.start(self._choose(name, line, QFileDialog.FileMode.Directory), "browse")

    def _browse_file(self, name: str, line: SettingRow) -> None:
        self._scope.start(self._choose(name, line, QFileDialog.FileMode.ExistingFile), "browse")

    async def _choose(self, name: str, line: SettingRow, mode: QFileDialog.FileMode) -> None:
        path = await choose_path(self, line.title, mode, getattr(self._settings(), name))
        if path is not None:
            await self._save(name, str(path), line)


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
