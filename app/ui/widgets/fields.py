"""Fields to type into."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QLineEdit, QSizePolicy

from ..theme import Theme

_LEAST_W = 96


class SearchField(QLineEdit):
    """A field with a magnifying glass, and a cross that empties it."""

    def __init__(self, theme: Theme, prompt: str, width: int) -> None:
        super().__init__()
        self._theme = theme
        self.setPlaceholderText(prompt)
        self.setAccessibleName(prompt)
        self._width = width
        self.setFixedHeight(32)
        self.setMaximumWidth(width)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setClearButtonEnabled(True)
        self._glass = self.addAction(theme.icon("search", "text3"), QLineEdit.ActionPosition.LeadingPosition)
        theme.changed.connect(self._restyle)

    def sizeHint(self) -> QSize:
        return QSize(self._width, 32)

    def minimumSizeHint(self) -> QSize:
        return QSize(_LEAST_W, 32)

    def _restyle(self) -> None:
        self._glass.setIcon(self._theme.icon("search", "text3"))
        self.setFont(self._theme.font("body"))
