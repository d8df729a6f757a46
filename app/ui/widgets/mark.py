"""The app's mark: one workflow, two places to run it."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

_MARK = 28


class Mark(QWidget):
    """The app's mark: one workflow, two places to run it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(_MARK, _MARK)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        paint_mark(painter, QRectF(self.rect()))


def paint_mark(painter: QPainter, box: QRectF) -> None:
    """Draw the mark into a square of any size."""
    unit = box.width() / _MARK
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    gradient = QLinearGradient(box.topLeft(), box.bottomRight())
    gradient.setColorAt(0, QColor("#8B7CFF"))
    gradient.setColorAt(1, QColor("#4F3FD0"))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(gradient)
    painter.drawRoundedRect(box, 8 * unit, 8 * unit)
    left, right = box.topLeft() + QPointF(8, 9) * unit, box.topLeft() + QPointF(20, 19) * unit
    curve = QPainterPath(left)
    curve.cubicTo(left + QPointF(8, 0) * unit, right - QPointF(8, 0) * unit, right)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor("white"), 2 * unit))
    painter.drawPath(curve)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor("white"))
    for node in (left, right):
        painter.drawEllipse(node, 2.8 * unit, 2.8 * unit)
    painter.setBrush(QColor(255, 255, 255, 130))
    painter.drawEllipse(box.topLeft() + QPointF(20, 9) * unit, 2.2 * unit, 2.2 * unit)
