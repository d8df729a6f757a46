"""Rows and cards of the Settings page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from ..theme import Theme
from ..widgets.basics import Icon, Text, Wrapped, column, frame, hairline, row


class SettingRow(QWidget):
    """A title, one sentence, and the control at the right; what is wrong is said beneath.

    Args:
        below: a button for what can be done about it, beneath; the row does not show it by itself.
        under: something as wide as the row, under all of it.
    """

    def __init__(
        self,
        theme: Theme,
        title: str,
        text: str,
        control: QWidget,
        *,
        below: QWidget | None = None,
        under: QWidget | None = None,
    ) -> None:
        super().__init__()
        self.title = title
        self._theme = theme
        self._about, self._from = f"{title} {text}", ""
        self._is_wrong = self._is_noted = False
        self._origin = Wrapped(theme, "", "caption", "text3")
        self._origin.hide()
        about = Wrapped(theme, text, "caption", "text3")
        self._texts = texts = column(Text(theme, title, "row"), about, self._origin, gap=1)
        if below is not None:
            texts.addLayout(row(below, None, margins=(0, 4, 0, 0)))
        line = row(gap=24, margins=(20, 12, 20, 12))
        line.addLayout(texts, 1)
        line.addWidget(control, 0, Qt.AlignmentFlag.AlignVCenter)
        layout = column()
        layout.addLayout(line)
        if under is not None:
            layout.addWidget(under)
        self.setLayout(layout)

    @property
    def text(self) -> str:
        """Everything that a search looks at."""
        return f"{self._about} {self._from}"

    @property
    def is_wrong(self) -> bool:
        return self._is_wrong

    def show_origin(self, text: str) -> None:
        """The environment's name for the setting, and where its value comes from."""
        self._from = text
        self._origin.setText(text)
        self._origin.setVisible(bool(text))

    def show_wrong(self, text: str) -> None:
        """A sentence beneath the row; an empty one: all is well."""
        if text or self._is_wrong:
            self._is_wrong = bool(text)
            self._wrong.setText(text)
            self._wrong.setVisible(bool(text))

    def show_note(self, text: str) -> None:
        """Something to know that is no mistake."""
        if text or self._is_noted:
            self._is_noted = bool(text)
            self._note.setText(text)
            self._note.setVisible(bool(text))

    @cached_property
    def _wrong(self) -> Wrapped:
        return self._line("red", self._texts.indexOf(self._origin) + 1)

    @cached_property
    def _note(self) -> Wrapped:
        return self._line("amber", self._texts.indexOf(self._wrong) + 1)

    def _line(self, role: str, place: int) -> Wrapped:
        """A line for what few rows ever have to say."""
        line = Wrapped(self._theme, "", "caption", role)
        line.hide()
        self._texts.insertWidget(place, line)
        return line


class Section(QWidget):
    """A head and a card of rows; at the head's right how it stands, if anybody says so."""

    def __init__(self, theme: Theme, title: str, rows: Sequence[SettingRow]) -> None:
        super().__init__()
        self.rows = rows
        self._icon = Icon(theme, "circle-check", "green", 14)
        self._status = Text(theme, "", "pill", "green")
        self._icon.hide()
        self._status.hide()
        head = QWidget()
        head.setLayout(row(Text(theme, title, "section"), None, self._icon, self._status, gap=6))
        card = frame("card")
        self.setLayout(column(head, 10, card, gap=0))
        inside = QVBoxLayout(card)
        inside.setContentsMargins(1, 0, 1, 0)
        inside.setSpacing(0)
        self._lines: list[QFrame | None] = []
        for number, each in enumerate(rows):
            line = hairline() if number else None
            if line is not None:
                inside.addWidget(line)
            self._lines.append(line)
            inside.addWidget(each)

    @property
    def status(self) -> str:
        return self._status.text()

    def show_status(self, text: str) -> None:
        """That all is well, in a word or two; an empty text: nothing is known."""
        self._status.setText(text)
        self._status.setVisible(bool(text))
        self._icon.setVisible(bool(text))

    def show_matching(self, words: str) -> bool:
        """Show only rows with these words; whether any has them."""
        first, any_shown = True, False
        for line, each in zip(self._lines, self.rows, strict=True):
            fits = all(word in each.text.casefold() for word in words.casefold().split())
            each.setVisible(fits)
            if line is not None:
                line.setVisible(fits and not first)
            if fits:
                first, any_shown = False, True
        self.setVisible(any_shown)
        return any_shown
