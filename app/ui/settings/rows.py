"""Rows and cards of the Settings page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QLineEdit, QVBoxLayout, QWidget

from ..theme import Theme
from ..widgets.basics import Button, Text, Wrapped, column, frame, hairline, row, set_property


class SettingRow(QWidget):
    """A title, one sentence, and the control at the right; what is wrong is said beneath."""

    def __init__(self, theme: Theme, title: str, text: str, control: QWidget) -> None:
        super().__init__()
        self.title = title
        self._wrong = Wrapped(theme, "", "caption", "red")
        self._wrong.hide()
        about = Wrapped(theme, text, "caption", "text3")
        texts = column(Text(theme, title, "row"), about, self._wrong, gap=1)
        line = row(gap=24, margins=(20, 12, 20, 12))
        line.addLayout(texts, 1)
        line.addWidget(control, 0, Qt.AlignmentFlag.AlignVCenter)
        self.setLayout(line)
        self.text = f"{title} {text}"

    def show_wrong(self, text: str) -> None:
        """A sentence beneath the row; an empty one: all is well."""
        self._wrong.setText(text)
        self._wrong.setVisible(bool(text))


class Section(QWidget):
    """A head and a card of rows."""

    def __init__(self, theme: Theme, title: str, rows: Sequence[SettingRow]) -> None:
        super().__init__()
        self.rows = rows
        card = frame("card")
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
        self.setLayout(column(Text(theme, title, "section"), 10, card, gap=0))

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


class PathField(QWidget):
    """A path to type or to browse for.

    Signals:
        entered: a path that the user typed, or an empty text.
    """

    entered = Signal(str)

    def __init__(self, theme: Theme, name: str, browse: Callable[[], None]) -> None:
        super().__init__()
        self.field = QLineEdit()
        self.field.setAccessibleName(name)
        self.field.setFixedSize(288, 32)
        self.button = Button(theme, "Browse…")
        self.button.clicked.connect(browse)
        self.field.editingFinished.connect(self._finish)
        self._known = ""
        self.setLayout(row(self.field, self.button))

    def show_path(self, path: Path | None, *, fixed_by: str = "") -> None:
        self._known = _short(path)
        self.field.setText(self._known)
        self.field.setToolTip(f"Set by {fixed_by}" if fixed_by else str(path or ""))
        self.field.setReadOnly(bool(fixed_by))
        self.button.setEnabled(not fixed_by)
        self.mark_wrong(wrong=False)

    def mark_wrong(self, *, wrong: bool) -> None:
        set_property(self.field, "wrong", "true" if wrong else "false")

    def _finish(self) -> None:
        text = self.field.text().strip()
        if text != self._known:
            self.entered.emit(text)


def _short(path: Path | None) -> str:
    """As people write it, with ``~`` for their home."""
    if path is None:
        return ""
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except ValueError:
        return str(path)
