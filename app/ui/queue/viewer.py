"""Results at full size, over the whole window: fit or 1:1, zoom, pan, and through all results of a job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPixmap,
    QWheelEvent,
)
from PySide6.QtWidgets import QApplication, QWidget

from ..theme import Theme
from ..widgets.basics import Button, Elided, Text, row
from .delegate import is_picture
from .pictures import PictureStore

_BAR_H, _LEAST, _MOST = 56, 0.02, 16.0


class Viewer(QWidget):
    """Covers ``area`` while it is open. Esc closes, arrows step, F fits, 1 shows pixel for pixel.

    Signals:
        reveal_wanted: the path of a result whose folder the user wants.
        closed: the pages are in sight again.
    """

    reveal_wanted = Signal(str)
    closed = Signal()

    def __init__(self, theme: Theme, pictures: PictureStore, area: QWidget) -> None:
        super().__init__(area)
        self._theme, self._pictures, self._area_widget = theme, pictures, area
        self._paths: Sequence[str] = ()
        self._number = 0
        self._pixmap: QPixmap | None = None
        self._zoom: float | None = None
        self._shift = QPointF()
        self._dragged: QPointF | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Result at full size")
        self._name = Elided(theme, "", "section")
        self._about = Text(theme, "", "body", "text2")
        self._fit = Button(theme, "Fit", tip="Fit into the window", keys="F")
        self._real = Button(theme, "1:1", tip="Pixel for pixel", keys="1")
        copy = Button(theme, kind="icon", icon="copy", tip="Copy picture", keys="Ctrl+C")
        reveal = Button(theme, kind="icon", icon="folder-open", tip="Show in folder")
        close = Button(theme, kind="icon", icon="x", tip="Close", keys="Esc")
        self._fit.clicked.connect(lambda: self._set_zoom(None))
        self._real.clicked.connect(lambda: self._set_zoom(1.0))
        copy.clicked.connect(self._copy)
        reveal.clicked.connect(lambda: self.reveal_wanted.emit(self._path()))
        close.clicked.connect(self.close_viewer)
        self._bar = QWidget(self)
        self._bar.setProperty("region", "topbar")
        self._bar.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        line = row(
            self._name, self._about, None, self._fit, self._real, copy, reveal, close, margins=(16, 0, 16, 0)
        )
        self._bar.setLayout(line)
        pictures.full.connect(self._take_in)
        area.installEventFilter(self)
        self.hide()

    def open_results(self, paths: Sequence[str], number: int) -> None:
        """Show the results of a job, beginning with one of them."""
        self._paths = [path for path in paths if is_picture(path)]
        if not self._paths:
            return
        wanted = paths[number] if number < len(paths) else self._paths[0]
        self._number = self._paths.index(wanted) if wanted in self._paths else 0
        self.setGeometry(self._area_widget.rect())
        self.show()
        self.raise_()
        self.setFocus(Qt.FocusReason.PopupFocusReason)
        self._load()

    def show_preview(self, picture: QPixmap, name: str) -> None:
        """Show a live preview as large as it goes."""
        self._paths, self._pixmap, self._zoom = [], picture, None
        self._name.setText(name)
        self._about.setText("Live preview")
        self.setGeometry(self._area_widget.rect())
        self.show()
        self.raise_()
        self.setFocus(Qt.FocusReason.PopupFocusReason)

    def close_viewer(self) -> bool:
        """False when it was not open."""
        if not self.isVisible():
            return False
        self.hide()
        self._pixmap = None
        self.closed.emit()
        return True

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self.setGeometry(self._area_widget.rect())
        return False

    def resizeEvent(self, event: object) -> None:
        self._bar.setGeometry(0, 0, self.width(), _BAR_H)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        match event.key():
            case Qt.Key.Key_Escape | Qt.Key.Key_Space:
                self.close_viewer()
            case Qt.Key.Key_Right | Qt.Key.Key_Down:
                self._step(1)
            case Qt.Key.Key_Left | Qt.Key.Key_Up:
                self._step(-1)
            case Qt.Key.Key_F | Qt.Key.Key_0:
                self._set_zoom(None)
            case Qt.Key.Key_1:
                self._set_zoom(1.0)
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                self._zoom_by(1.25)
            case Qt.Key.Key_Minus:
                self._zoom_by(0.8)
            case Qt.Key.Key_C if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
                self._copy()
            case _:
                super().keyPressEvent(event)

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Tab stays here: what is behind cannot be seen."""
        stops: list[QWidget] = [self, *self._bar.findChildren(Button)]
        now = QApplication.focusWidget()
        place = stops.index(now) if now in stops else 0
        reason = Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason
        stops[(place + (1 if forward else -1)) % len(stops)].setFocus(reason)
        return True

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._zoom_by(1.0015 ** event.angleDelta().y())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._dragged = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._dragged is not None:
            self._shift += event.position() - self._dragged
            self._dragged = event.position()
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._dragged = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._set_zoom(1.0 if self._zoom is None else None)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(self._theme.color("bg0")))
        if self._pixmap is None:
            return
        scale = self._scale()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, scale < 2)
        size = self._pixmap.size().toSizeF() * scale
        area = self._area()
        corner = area.center() - QPointF(size.width() / 2, size.height() / 2) + self._shift
        painter.setClipRect(area)
        painter.drawPixmap(QRectF(corner, size), self._pixmap, QRectF(self._pixmap.rect()))

    def _path(self) -> str:
        return self._paths[self._number] if self._paths else ""

    def _area(self) -> QRectF:
        return QRectF(0, _BAR_H, self.width(), self.height() - _BAR_H)

    def _scale(self) -> float:
        """Logical pixels for a pixel of the picture; 1:1 is one for one of the screen's."""
        if self._pixmap is None:
            return 1.0
        if self._zoom is not None:
            return self._zoom / self.devicePixelRatio()
        area = self._area().adjusted(24, 24, -24, -24)
        fit = min(area.width() / self._pixmap.width(), area.height() / self._pixmap.height())
        return min(fit, 2.0)

    def _step(self, step: int) -> None:
        if self._paths:
            self._number = (self._number + step) % len(self._paths)
            self._load()

    def _load(self) -> None:
        self._pixmap = self._pictures.picture(self._path())
        self._zoom, self._shift = None, QPointF()
        self._name.setText(Path(self._path()).name)
        self._about.setText(f"{self._number + 1} of {len(self._paths)}")
        self._pictures.ask_full(self._path())
        self.update()

    def _take_in(self, path: str, image: QImage) -> None:
        if path != self._path() or not self.isVisible():
            return
        if image.isNull():
            self._about.setText("This file cannot be shown.")
            return
        self._pixmap = QPixmap.fromImage(image)
        self._about.setText(f"{self._number + 1} of {len(self._paths)} · {image.width()} × {image.height()}")
        self.update()

    def _set_zoom(self, zoom: float | None) -> None:
        self._zoom, self._shift = zoom, QPointF()
        self.update()

    def _zoom_by(self, factor: float) -> None:
        now = self._scale() * self.devicePixelRatio()
        self._zoom = min(max(now * factor, _LEAST), _MOST)
        self.update()

    def _copy(self) -> None:
        if self._pixmap is not None:
            QGuiApplication.clipboard().setPixmap(self._pixmap)
