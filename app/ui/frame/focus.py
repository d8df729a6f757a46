"""The focus ring: 2 px wide, 2 px away from the control, after keyboard use only."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractItemView, QApplication, QWidget

from ..theme import Theme

_AWAY, _WIDE = 3, 2


class FocusRing(QWidget):
    """Lies over a window and takes no events. Lists draw their own ring, inside the row."""

    def __init__(self, theme: Theme, window: QWidget) -> None:
        super().__init__(window)
        self._theme, self._window = theme, window
        self._around: QWidget | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.hide()
        app = QApplication.instance()
        if isinstance(app, QApplication):
            app.focusChanged.connect(self._focus_changed)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Move, QEvent.Type.Resize):
            self._fit()
        elif event.type() in (QEvent.Type.Hide, QEvent.Type.Destroy):
            self._leave()
        return False

    def _focus_changed(self, _old: QWidget | None, new: QWidget | None) -> None:
        self._leave()
        window = self._window
        if new is None or new.window() is not window or isinstance(new, QAbstractItemView):
            return
        if window.testAttribute(Qt.WidgetAttribute.WA_KeyboardFocusChange):
            self._around = new
            new.installEventFilter(self)
            self._fit()
            self.show()
            self.raise_()

    def _leave(self) -> None:
        if self._around is not None:
            self._around.removeEventFilter(self)
            self._around = None
        self.hide()

    def _fit(self) -> None:
        if self._around is not None:
            corner = self._around.mapTo(self._window, QPoint(0, 0))
            room = _AWAY + _WIDE
            self.setGeometry(QRect(corner, self._around.size()).adjusted(-room, -room, room, room))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(self._theme.color("ring"), _WIDE))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 10, 10)
