"""What stands in place of a list or a page when there is nothing to show."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from ..theme import Theme
from .basics import Button, Icon, Text, Wrapped, column

_TEXT_W = 420


class Empty(QWidget):
    """An icon, a title, a sentence and a button. Signals: ``pressed``."""

    pressed = Signal()

    def __init__(self, theme: Theme, icon: str) -> None:
        super().__init__()
        self._title, self._text = Text(theme, "", "section"), Wrapped(theme, "", "body", "text2")
        self._text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._text.setFixedWidth(_TEXT_W)
        self.button = Button(theme, "")
        self.button.clicked.connect(self.pressed)
        layout = column(None)
        parts = ((Icon(theme, icon, "text3", 28), 10), (self._title, 4), (self._text, 14), (self.button, 0))
        for part, gap in parts:
            layout.addWidget(part, alignment=Qt.AlignmentFlag.AlignHCenter)
            layout.addSpacing(gap)
        layout.addStretch(2)
        self.setLayout(layout)

    def show_text(self, title: str, text: str, button: str) -> None:
        self._title.setText(title)
        self._text.setText(text)
        self.button.set_label(button)
        self.button.setVisible(bool(button))
