"""The picture in the inspector, and the strip of all results below it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QSizePolicy, QWidget

from ..theme import Theme
from ..widgets.paint import paint_empty_tile, paint_icon, paint_picture, paint_text, paint_tile, text_width
from .delegate import Pictures, is_picture

_TILE, _GAP = 44, 8


class Preview(QWidget):
    """One picture, contained and never cropped, on neutral ground. A click opens it at full size.

    Signals:
        opened: the user wants the full size.
    """

    opened = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._picture: QPixmap | None = None
        self._badge, self._icon, self._text = "", "image", ""
        self.setFixedHeight(256)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_picture(
        self, picture: QPixmap | None, *, badge: str = "", icon: str = "image", text: str = ""
    ) -> None:
        """``icon`` and ``text`` stand there while there is no picture."""
        self._picture, self._badge, self._icon, self._text = picture, badge, icon, text
        self.setAccessibleName(badge or "Result" if picture is not None else text or "No picture yet")
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.opened.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.opened.emit()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(QPen(theme.color("line"), 1))
        painter.setBrush(theme.color("bg1"))
        painter.drawRoundedRect(box, 8, 8)
        if self._picture is None:
            middle = QRect(self.width() // 2 - 14, self.height() // 2 - 24, 28, 28)
            paint_icon(painter, theme, self._icon, "ctl", middle)
            line = QRect(8, middle.bottom() + 8, self.width() - 16, 20)
            paint_text(painter, theme, line, self._text, "caption", "text3", Qt.AlignmentFlag.AlignHCenter)
        else:
            clip = QPainterPath()
            clip.addRoundedRect(box, 8, 8)
            painter.setClipPath(clip)
            painter.drawPixmap(_contained(self._picture, self.rect()), self._picture)
            painter.setClipping(False)
        if self._badge:
            self._paint_badge(painter)

    def _paint_badge(self, painter: QPainter) -> None:
        theme = self._theme
        box = QRect(10, 10, text_width(theme, self._badge, "pill") + 32, 24)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("scrim"))
        painter.drawRoundedRect(QRectF(box), 12, 12)
        painter.setBrush(theme.color("blue_bar"))
        painter.drawEllipse(QRectF(box.left() + 9, box.center().y() - 3, 7, 7))
        paint_text(painter, theme, box.adjusted(22, 0, 0, 0), self._badge, "pill", "on_accent")


class FilmStrip(QWidget):
    """All results of a job as small tiles; those to come are dashed. Arrow keys choose.

    Signals:
        chosen: the number of the result, from 0.
    """

    chosen = Signal(int)

    def __init__(self, theme: Theme, pictures: Pictures) -> None:
        super().__init__()
        self._theme, self._pictures = theme, pictures
        self._paths: Sequence[str] = ()
        self._first_preview = ""
        self._total, self._current = 0, 0
        self.setFixedHeight(_TILE)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_results(self, paths: Sequence[str], total: int, current: int, preview_of: str = "") -> None:
        """``total`` counts those to come as well; ``preview_of`` a running job whose preview comes first."""
        self._paths, self._total, self._current, self._first_preview = paths, total, current, preview_of
        self.setAccessibleName(f"Results, {current + 1} of {total}")
        self.setVisible(total > 1)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(200, _TILE)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._choose(int(event.position().x()) // (_TILE + _GAP) + self._first())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
        else:
            self._choose(self._current + step)

    def _choose(self, number: int) -> None:
        if 0 <= number < len(self._paths):
            self.chosen.emit(number)

    def _fits(self) -> int:
        return max((self.width() + _GAP) // (_TILE + _GAP), 1)

    def _first(self) -> int:
        """The strip follows the chosen result."""
        return max(min(self._current - self._fits() // 2, self._total - self._fits()), 0)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        first = self._first()
        for place, number in enumerate(range(first, min(first + self._fits(), self._total))):
            tile = QRect(place * (_TILE + _GAP), 0, _TILE, _TILE)
            self._paint_tile(painter, tile, number)
            if number == self._current and self._paths:
                painter.setPen(QPen(self._theme.color("ring"), 2))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(QRectF(tile).adjusted(1, 1, -1, -1), 6, 6)

    def _paint_tile(self, painter: QPainter, tile: QRect, number: int) -> None:
        if number < len(self._paths):
            path = self._paths[number]
            picture = self._pictures.thumbnail(path) if is_picture(path) else None
        else:
            picture = (
                self._pictures.preview(self._first_preview) if number == 0 and self._first_preview else None
            )
            if picture is None:
                paint_empty_tile(painter, self._theme, tile, "image")
                return
        if picture is None:
            paint_tile(painter, self._theme, tile, "bg3")
            return
        paint_picture(painter, picture, tile)


def _contained(picture: QPixmap, box: QRect) -> QRect:
    """Where a picture is drawn: as large as fits, in the middle, never larger than twice itself."""
    size = picture.deviceIndependentSize().toSize()
    room = size.scaled(box.size(), Qt.AspectRatioMode.KeepAspectRatio)
    if room.width() > size.width() * 2:
        room = size * 2
    left = box.left() + (box.width() - room.width()) // 2
    return QRect(left, box.top() + (box.height() - room.height()) // 2, room.width(), room.height())
