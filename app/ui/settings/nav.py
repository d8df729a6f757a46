"""The list of sections beside the settings."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QWidget

from ..theme import Theme
from ..widgets.basics import Button, column


class SectionNav(QWidget):
    """Signals:
    chosen: the key of the section to go to.
    """

    chosen = Signal(str)

    def __init__(self, theme: Theme, sections: Sequence[tuple[str, str, str]], width: int) -> None:
        super().__init__()
        self.setFixedWidth(width)
        layout = column(gap=2)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, Button] = {}
        for key, title, icon in sections:
            button = Button(theme, f" {title}", "rail", icon=icon)
            button.setCheckable(True)
            button.clicked.connect(lambda _=False, key=key: self.chosen.emit(key))
            self._group.addButton(button)
            self._buttons[key] = button
            layout.addWidget(button)
        self.mark(sections[0][0])
        layout.addStretch(1)
        self.setLayout(layout)

    def mark(self, key: str) -> None:
        """Show which section is in sight."""
        self._buttons[key].setChecked(True)

    def marked(self) -> str:
        return next(key for key, button in self._buttons.items() if button.isChecked())
