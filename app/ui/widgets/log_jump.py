"""The pill over a log that brings its newest line back in sight."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject

from ..theme import Theme
from .basics import Button
from .log_pane import LogPane
from .scrolling import BAR_W


class LogJump(Button):
    """There while the user has left the end of the log; counts what came since."""

    def __init__(self, theme: Theme, pane: LogPane) -> None:
        super().__init__(theme, "Jump to newest", icon="arrow-down", size="small")
        self._pane = pane
        self.setParent(pane)
        self.hide()
        pane.installEventFilter(self)
        pane.moved.connect(self._show)
        self.clicked.connect(pane.to_end)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _show(self) -> None:
        below, shown = self._pane.below, not self._pane.is_following and bool(self._pane.line_count())
        self.set_label(f"Jump to newest ({below})" if below else "Jump to newest")
        self.setVisible(shown)
        if shown:
            self._place()

    def _place(self) -> None:
        self.adjustSize()
        area = self._pane.rect()
        self.move(area.right() - self.width() - BAR_W - 8, area.bottom() - self.height() - 12)
        self.raise_()
