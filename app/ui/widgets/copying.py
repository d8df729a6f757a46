"""Buttons that copy a text, and say so."""

from __future__ import annotations

from PySide6.QtCore import QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

from ..theme import Theme
from .basics import Button, Elided, row

_COPIED_MS = 2_000


class CopyButton(Button):
    """Copies a text, and says so for two seconds. Without a label it is an icon.

    Args:
        what: what it copies, for its tooltip.
    """

    def __init__(self, theme: Theme, what: str, label: str = "") -> None:
        kind = "secondary" if label else "bare"
        super().__init__(theme, label, kind, icon="copy", size="small", tip=f"Copy {what}")
        self._label, self.text_to_copy = label, ""
        if label:
            self.setAccessibleName(f"Copy {what}")
        self.clicked.connect(self._copy)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text_to_copy)
        self.set_icon("check", "green")
        if self._label:
            self.setMinimumWidth(self.width())
            self.set_label("Copied")
        QTimer.singleShot(_COPIED_MS, self, self._show_label)

    def _show_label(self) -> None:
        self.set_icon("copy", "text" if self._label else "text2")
        self.set_label(self._label)


class CopyLine(QWidget):
    """A text in type for code that is copied with a button; it ends in an ellipsis where the room does."""

    def __init__(self, theme: Theme, what: str, kind: str = "mono") -> None:
        super().__init__()
        self._text, self.copy = Elided(theme, "", kind, "text"), CopyButton(theme, what)
        line = row(gap=4)
        line.addWidget(self._text, 1)
        line.addWidget(self.copy)
        self.setLayout(line)
        self._what = what

    def show_text(self, text: str) -> None:
        self._text.setText(text)
        self._text.setAccessibleName(f"{self._what}: {text}")
        self.copy.text_to_copy = text
