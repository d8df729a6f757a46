"""A job's way so far, point by point: painted, and readable as one text."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from ...jobs.words import Point, duration
from ..theme import Theme
from ..widgets.paint import paint_text

_LINE_H, _DOT_R, _COLUMN_W = 26, 4.5, 68
_ROLE = {"passed": "green_bar", "now": "blue_bar", "failed": "red_bar", "ahead": "ctl"}


class Timeline(QWidget):
    """Points from top to bottom: filled when passed, with a halo now, hollow to come, red when failed."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._points: Sequence[Point] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_points(self, points: Sequence[Point]) -> None:
        if len(points) != len(self._points):
            self.updateGeometry()
        self._points = points
        said = [f"{p.text}{'' if p.took_s is None else f', {duration(p.took_s)}'}" for p in points]
        self.setAccessibleName(f"Timeline: {'; '.join(said)}")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(200, len(self._points) * _LINE_H)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for number, point in enumerate(self._points):
            self._paint_point(painter, number, point)

    def _paint_point(self, painter: QPainter, number: int, point: Point) -> None:
        theme = self._theme
        box = QRect(0, number * _LINE_H, self.width(), _LINE_H)
        centre = QPointF(6, box.center().y() + 0.5)
        if number + 1 < len(self._points):
            painter.setPen(QPen(theme.color("line2"), 1))
            painter.drawLine(centre + QPointF(0, 8), centre + QPointF(0, _LINE_H - 8))
        colour = theme.color(_ROLE[point.state])
        painter.setPen(Qt.PenStyle.NoPen)
        if point.state == "now":
            halo = QColor(colour)
            halo.setAlphaF(0.25)
            painter.setBrush(halo)
            painter.drawEllipse(centre, _DOT_R + 2, _DOT_R + 2)
        if point.state == "ahead":
            painter.setPen(QPen(colour, 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(centre, _DOT_R - 1, _DOT_R - 1)
        else:
            painter.setBrush(colour)
            painter.drawEllipse(centre, _DOT_R, _DOT_R)
        right = Qt.AlignmentFlag.AlignRight
        column = round(_COLUMN_W * theme.text_scale)
        kind = "row" if point.state == "now" else "body"
        role = "text3" if point.state == "ahead" else "text"
        paint_text(painter, theme, box.adjusted(24, 0, -2 * column, 0), point.text, kind, role)
        if point.took_s is not None:
            took = box.adjusted(0, 0, -column, 0)
            paint_text(painter, theme, took, duration(point.took_s), "caption", "text2", right)
        clock = "now" if point.state == "now" else ""
        if point.at is not None and not clock:
            clock = time.strftime("%H:%M:%S", time.localtime(point.at))
        paint_text(painter, theme, box, clock, "caption", "text" if clock else "text3", right)
