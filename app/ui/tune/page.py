"""The page where a job's values are changed before it runs anew, once or many times."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QLineEdit, QVBoxLayout, QWidget

from ...errors import BadInput
from ...preflight.variants import Wanted
from ...workflows.tuning import Place, Scalar, Tunable
from ..theme import Theme
from ..theme.tokens import MARGIN, PAGE_HEAD_H
from ..widgets.basics import Button, Elided, Text, Wrapped, clear, column, frame, hairline, row
from ..widgets.fields import SearchField
from ..widgets.scrolling import ScrollBox
from ..widgets.side_page import SidePage
from .rows import TunableRow

_SETTLED_MS = 300
_WIDEST = 980
#: Of all inputs so many are shown; a search finds the others.
_SHOWN = 60
_MOST_SEEDS = 1_000


class TunePage(SidePage):
    """Shows what it is told; :class:`app.tuner.Tuner` tells it.

    Signals:
        edited: what is wanted is settled, and is something else than before.
        run_wanted: the user wants it to run.
        picture_wanted: a file is to be chosen for a row. prompts_wanted, folder_wanted: likewise.
    """

    edited = Signal()
    run_wanted = Signal()
    picture_wanted = Signal(object)
    prompts_wanted = Signal()
    folder_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.rows: dict[Place, TunableRow] = {}
        self._others: tuple[Tunable, ...] = ()
        self._prompts: Path | None = None
        self._pictures: Path | None = None
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLED_MS)
        self._settle.timeout.connect(self.edited)

    def build(self) -> None:
        content = QWidget()
        inner = column(margins=(MARGIN, 0, MARGIN, MARGIN), gap=16)
        for part in (self._main_card(), self._many_card(), self._all_card()):
            part.setMaximumWidth(_WIDEST)
            inner.addWidget(part)
        inner.addStretch(1)
        content.setLayout(inner)
        whole = column(self._head())
        whole.addWidget(ScrollBox(content, "Values"), 1)
        whole.addWidget(hairline())
        whole.addWidget(self._foot())
        self.setLayout(whole)

    # What is shown.

    async def show_tunables(self, name: str, about: str, tunables: Sequence[Tunable]) -> None:
        """Another workflow; row by row, so that the window answers meanwhile."""
        self.title.setText(f"Change {name}")
        self._about.setText(about)
        self._forget()
        main = [each for each in tunables if each.is_main]
        self._others = tuple(each for each in tunables if not each.is_main)
        self._nothing.setVisible(not main)
        for each in main:
            self._add(each, self._main)
            await asyncio.sleep(0)
        kinds = {each.label.partition(" (")[0] for each in main}
        self._seeds_line.setVisible("Seed" in kinds)
        self._prompts_line.setVisible("Prompt" in kinds)
        self._pictures_line.setVisible("Picture" in kinds)
        self._many.setVisible(bool(kinds & {"Seed", "Prompt", "Picture"}))
        self.all_button.setText(f"All other inputs ({len(self._others)})")
        self._all.setVisible(bool(self._others))

    def show_outlook(self, text: str, wrong: str, button: str) -> None:
        """How many jobs it makes and what they may cost; ``wrong``: why it cannot run as it is."""
        self._outlook.setText(wrong or text)
        self._outlook.set_role("red" if wrong else "text2")
        self.run_button.setText(button)
        self.run_button.setEnabled(not wrong)

    def show_prompts(self, path: Path | None) -> None:
        self._prompts = path
        self._prompts_name.setText("None" if path is None else path.name)
        self._settle.start()

    def show_folder(self, path: Path | None) -> None:
        self._pictures = path
        self._pictures_name.setText("None" if path is None else f"{path.name}/")
        self._settle.start()

    def picture_row(self) -> TunableRow | None:
        """The first input that takes a picture."""
        return next((each for each in self.rows.values() if each.tunable.kind == "picture"), None)

    def wanted(self) -> Wanted:
        """What was entered.

        Raises:
            BadInput: for a value that cannot be.
        """
        changes: dict[Place, Scalar] = {}
        vary: dict[Place, str] = {}
        files: dict[str, Path] = {}
        for place, each in self.rows.items():
            if each.values:
                vary[place] = each.values
            elif each.is_changed():
                changes[place] = each.value()
            if each.file is not None:
                files[each.file.name] = each.file
        picture = self.picture_row()
        pictures = (picture.tunable.place, self._pictures) if picture and self._pictures else None
        return Wanted(changes, vary, self._seed_count(), self._prompts, pictures, files)

    async def open_all(self) -> None:
        """Show the other inputs, as far as the search leaves them."""
        words = self.search.text().casefold().split()
        self._all_box.show()
        self.search.show()
        found = [each for each in self._others if all(word in _said(each) for word in words)]
        others = [each for each in self.rows.values() if not each.tunable.is_main]
        for line in others:
            line.setVisible(False)
        for each in found[:_SHOWN]:
            if each.place not in self.rows:
                self._add(each, self._all_rows)
                await asyncio.sleep(0)
            self.rows[each.place].setVisible(True)
        # Changed ones stay in sight, found or not: what runs is what is seen.
        for line in others:
            if line.values or line.is_changed():
                line.setVisible(True)
        more = len(found) - _SHOWN
        self._more.setText(f"{more} more. Search to find them." if more > 0 else "")
        self._more.setVisible(more > 0)

    def open_search(self) -> None:
        if self._others:
            self.all_button.click()
            self.search.setFocus()

    # Entered.

    def _seed_count(self) -> int:
        text = self._seeds.text().strip()
        if not text:
            return 1
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= _MOST_SEEDS:
            raise BadInput(f"The number of seeds must be from 1 to {_MOST_SEEDS}.")
        return int(text)

    def _forget(self) -> None:
        for layout in (self._main, self._all_rows):
            clear(layout)
        self.rows = {}
        self._all_box.hide()
        self.search.hide()
        self.search.setText("")
        self._seeds.setText("")
        self.show_prompts(None)
        self.show_folder(None)

    def _add(self, tunable: Tunable, layout: QVBoxLayout) -> None:
        made = TunableRow(self._theme, tunable)
        made.edited.connect(self._settle.start)
        made.choose_wanted.connect(self.picture_wanted)
        self.rows[tunable.place] = made
        layout.addWidget(made)

    # How it is built.

    def _head(self) -> QWidget:
        theme = self._theme
        self.back_button = Button(theme, kind="icon", icon="arrow-left", tip="Back", keys="Esc")
        self.back_button.clicked.connect(self.back_wanted)
        self.title, self._about = Elided(theme, "", "title"), Elided(theme, "", "caption", "text3")
        words = column(gap=1)
        words.addStretch(1)
        words.addWidget(self.title)
        words.addWidget(self._about)
        words.addStretch(1)
        head = QWidget()
        head.setMinimumHeight(PAGE_HEAD_H)
        line = row(self.back_button, gap=12, margins=(MARGIN, 4, MARGIN, 8))
        line.addLayout(words, 1)
        head.setLayout(line)
        return head

    def _foot(self) -> QWidget:
        theme = self._theme
        self._outlook = Wrapped(theme, "", "body", "text2")
        self.run_button = Button(theme, "Run", "primary", icon="play")
        self.run_button.clicked.connect(self.run_wanted)
        foot = QWidget()
        line = row(gap=16, margins=(MARGIN, 12, MARGIN, 12))
        line.addWidget(self._outlook, 1)
        line.addWidget(self.run_button)
        foot.setLayout(line)
        return foot

    def _main_card(self) -> QWidget:
        card = frame("card")
        self._nothing = Wrapped(self._theme, "It has none of the usual values.", "body", "text2")
        self._nothing.setContentsMargins(16, 16, 16, 16)
        self._main = column(margins=(0, 8, 0, 8))
        box = column(self._nothing)
        box.addLayout(self._main)
        card.setLayout(box)
        return card

    def _many_card(self) -> QWidget:
        theme = self._theme
        self._seeds = QLineEdit()
        self._seeds.setAccessibleName("Number of seeds")
        self._seeds.setPlaceholderText("1")
        self._seeds.setFixedWidth(96)
        self._seeds.textChanged.connect(self._settle.start)
        self._prompts_name, self._pictures_name = (Elided(theme, "None", "body", "text2") for _ in range(2))
        prompts, folder = (
            Button(theme, "Choose…", icon=icon, size="small") for icon in ("file-text", "folder")
        )
        prompts.setAccessibleName("Choose a file with prompts")
        folder.setAccessibleName("Choose a folder of pictures")
        prompts.clicked.connect(self.prompts_wanted)
        folder.clicked.connect(self.folder_wanted)
        self._seeds_line = _line(theme, "Different seeds", "The workflow's own, then new ones.", self._seeds)
        self._prompts_line = _line(theme, "A prompt per line", "Of a text file.", self._prompts_name, prompts)
        self._pictures_line = _line(
            theme, "Every picture of a folder", "As the input picture.", self._pictures_name, folder
        )
        self._many = QWidget()
        card = frame("card")
        card.setLayout(
            column(self._seeds_line, self._prompts_line, self._pictures_line, margins=(0, 8, 0, 8))
        )
        self._many.setLayout(column(Text(theme, "Run it several times", "section"), card, gap=10))
        return self._many

    def _all_card(self) -> QWidget:
        theme = self._theme
        self.all_button = Button(theme, "All other inputs", "ghost")
        self.search = SearchField(theme, "Search inputs", 280)
        self.search.hide()
        self._more = Text(theme, "", "caption", "text3")
        self._all_rows = column()
        self._all_box: QFrame = frame("card")
        inner = column(margins=(0, 8, 0, 8))
        inner.addLayout(self._all_rows)
        inner.addLayout(row(self._more, None, margins=(16, 0, 16, 0)))
        self._all_box.setLayout(inner)
        self._all_box.hide()
        self._all = QWidget()
        whole = column(gap=10)
        whole.addLayout(row(self.all_button, None, self.search))
        whole.addWidget(self._all_box)
        self._all.setLayout(whole)
        return self._all


def _line(theme: Theme, title: str, text: str, *controls: QWidget) -> QWidget:
    line = row(gap=12, margins=(16, 8, 16, 8))
    line.addLayout(column(Text(theme, title, "row"), Text(theme, text, "caption", "text3"), gap=1), 1)
    for each in controls:
        line.addWidget(each, 0, Qt.AlignmentFlag.AlignVCenter)
    made = QWidget()
    made.setLayout(line)
    return made


def _said(tunable: Tunable) -> str:
    return f"{tunable.label} {tunable.title} {tunable.class_type} {tunable.where} {tunable.value}".casefold()
