"""A list of what would change: a name, and its version before and after."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QGridLayout, QWidget

from ..theme import Theme
from .basics import Elided, Text
from .scrolling import ScrollBox

_MOST_H = 184


class ChangeList(ScrollBox):
    """As high as its lines, up to a limit; then it scrolls."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(QWidget(), "Changes")
        self._theme = theme

    def show_changes(self, changes: Sequence[tuple[str, str, bool]]) -> None:
        """Name, what :func:`versions` made, and whether it is wrong; without any it is hidden."""
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 16, 0)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        for number, (label, said, is_wrong) in enumerate(changes):
            name = Text(self._theme, label, "row", "red" if is_wrong else "text")
            value = Elided(self._theme, said, "mono", "red" if is_wrong else "text2")
            value.setAccessibleName(f"{label}: {said}")
            grid.addWidget(name, number, 0)
            grid.addWidget(value, number, 1)
        self.setWidget(box)
        box.setAutoFillBackground(False)
        self.setVisible(bool(changes))
        self.setFixedHeight(min(box.sizeHint().height(), _MOST_H))


def versions(before: str, after: str) -> str:
    """``1.0 → 1.1``; what has none before is new, what has none after goes away."""
    if not before:
        return f"new, {after}"
    return f"{before} → {after}" if after else f"{before}, goes away"
