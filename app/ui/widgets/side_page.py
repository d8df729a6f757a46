"""What the window's pages have in common that no item of the rail opens."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QHideEvent, QShowEvent

from .late import LatePage


class SidePage(LatePage):
    """A page that is left with Esc or its Back button for the one before it.

    Signals:
        back_wanted: the user wants to leave.
        appeared: it came in sight.
        vanished: it went out of sight.
    """

    back_wanted = Signal()
    appeared = Signal()
    vanished = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("region", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)

    def escape(self) -> None:
        """Close or clear what is open in the page, else leave it."""
        self.back_wanted.emit()

    def open_search(self) -> None:
        """Begin to search in the page, where that is possible."""

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.appeared.emit()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.vanished.emit()
