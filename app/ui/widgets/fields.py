"""Fields to type into."""

from __future__ import annotations

from PySide6.QtWidgets import QLineEdit

from ..theme import Theme


class SearchField(QLineEdit):
    """A field with a magnifying glass, and a cross that empties it."""

    def __init__(self, theme: Theme, prompt: str, width: int) -> None:
        super().__init__()
        self._theme = theme
        self.setPlaceholderText(prompt)
        self.setAccessibleName(prompt)
        self.setFixedSize(width, 32)
        self.setClearButtonEnabled(True)
        self._glass = self.addAction(theme.icon("search", "text3"), QLineEdit.ActionPosition.LeadingPosition)
        theme.changed.connect(self._restyle)

    def _restyle(self) -> None:
        self._glass.setIcon(self._theme.icon("search", "text3"))
        self.setFont(self._theme.font("body"))
