"""What delegates and widgets draw alike: pills, bars, tiles. Nothing is made inside but what is cached."""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPainterPath, QPen, QPixmap, QStaticText

from ..theme import Theme
from ..theme.fonts import make_font
from ..theme.tokens import TYPE
from .motion import travel, turn

PILL_H, BAR_H = 20, 4
_UNKNOWN_PART = 0.3
TURNS = "loader-circle"


def pill_height(theme: Theme) -> int:
    return round(PILL_H * theme.text_scale)


def pill_width(theme: Theme, text: str, icon: str = "") -> int:
    """The width of a pill in pixels."""
    return 16 + (16 if icon else 0) + _metrics(theme, "pill").horizontalAdvance(text)


def paint_pill(painter: QPainter, theme: Theme, x: int, y: int, text: str, tone: str, icon: str = "") -> int:
    """Draw a pill at its top left corner; its width."""
    height = pill_height(theme)
    width = pill_width(theme, text, icon)
    box = QRect(x, y, width, height)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color(f"{tone}_soft"))
    painter.drawRoundedRect(QRectF(box), height / 2, height / 2)
    left = x + 8
    if icon:
        paint_icon(painter, theme, icon, tone, QRect(left, y + (height - 12) // 2, 12, 12))
        left += 16
    paint_text(painter, theme, QRect(left, y, width, height), text, "pill", tone)
    return width


def paint_icon(painter: QPainter, theme: Theme, name: str, role: str, box: QRect) -> None:
    """Draw an icon; the one of work under way turns."""
    pixmap = theme.pixmap(name, role, box.width(), painter.device().devicePixelRatio())
    if name != TURNS or theme.reduced_motion:
        painter.drawPixmap(box.topLeft(), pixmap)
        return
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    painter.translate(QRectF(box).center())
    painter.rotate(turn())
    painter.drawPixmap(QPointF(-box.width() / 2, -box.height() / 2), pixmap)
    painter.restore()


def paint_text(
    painter: QPainter,
    theme: Theme,
    box: QRect,
    text: str,
    kind: str = "body",
    role: str = "text",
    align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
) -> None:
    """Draw one line, centred in height, with an ellipsis where the box ends."""
    font = theme.font(kind)
    painter.setFont(font)
    painter.setPen(theme.color(role))
    shaped, width, height = _shaped(kind, font.pixelSize(), text, max(box.width(), 0))
    left = box.left()
    if align is Qt.AlignmentFlag.AlignRight:
        left += box.width() - width
    elif align is Qt.AlignmentFlag.AlignHCenter:
        left += (box.width() - width) // 2
    painter.drawStaticText(left, box.top() + (box.height() - height) // 2, shaped)


def text_width(theme: Theme, text: str, kind: str) -> int:
    return _metrics(theme, kind).horizontalAdvance(text)


def paint_bar(painter: QPainter, theme: Theme, box: QRect, role: str, part: float | None) -> None:
    """Draw a bar filled to ``part`` (0 to 1); None: work of unknown length, which travels."""
    radius = box.height() / 2
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color("track"))
    painter.drawRoundedRect(QRectF(box), radius, radius)
    fill = QRectF(box)
    colour = theme.color(role)
    if part is None:
        fill.setWidth(box.width() * _UNKNOWN_PART)
        if theme.reduced_motion:
            colour = QColor(colour)
            colour.setAlphaF(0.5)
        else:
            fill.moveLeft(box.left() + (box.width() - fill.width()) * travel())
    else:
        fill.setWidth(box.width() * min(max(part, 0.0), 1.0))
    if fill.width() >= 1:
        painter.setBrush(colour)
        painter.drawRoundedRect(fill, radius, radius)


def paint_picture(
    painter: QPainter, pixmap: QPixmap, box: QRect, radius: int = 6, *, square: bool = True
) -> None:
    """Draw a picture that fills its box, with round corners; of a ``square`` one's middle."""
    painter.save()
    clip = QPainterPath()
    clip.addRoundedRect(QRectF(box), radius, radius)
    painter.setClipPath(clip)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    source = pixmap.rect()
    if square:
        side = min(pixmap.width(), pixmap.height())
        source = QRect((pixmap.width() - side) // 2, (pixmap.height() - side) // 2, side, side)
    painter.drawPixmap(box, pixmap, source)
    painter.restore()


def paint_empty_tile(painter: QPainter, theme: Theme, box: QRect, icon: str) -> None:
    """A result that is expected: dashed, with the icon of its kind."""
    pen = QPen(theme.color("line2"), 1)
    pen.setDashPattern([3, 3])
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRoundedRect(QRectF(box).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
    paint_icon(painter, theme, icon, "ctl", centred(box, 16))


def paint_tile(painter: QPainter, theme: Theme, box: QRect, role: str) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.color(role))
    painter.drawRoundedRect(QRectF(box), 6, 6)


def centred(box: QRect, size: int) -> QRect:
    """A square in the middle of a box."""
    return QRect(box.center().x() - size // 2 + 1, box.center().y() - size // 2 + 1, size, size)


def _metrics(theme: Theme, kind: str) -> QFontMetrics:
    return _metrics_of(kind, theme.font(kind).pixelSize())


@lru_cache(maxsize=64)
def _metrics_of(kind: str, pixels: int) -> QFontMetrics:
    return QFontMetrics(make_font(kind, pixels / TYPE[kind][0]))


@lru_cache(maxsize=4096)
def _shaped(kind: str, pixels: int, text: str, room: int) -> tuple[QStaticText, int, int]:
    """A text ready to be drawn, its width and height. Shaping costs most, and rows are drawn many times."""
    metrics = _metrics_of(kind, pixels)
    shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
    shaped = QStaticText(shown)
    shaped.setTextFormat(Qt.TextFormat.PlainText)
    shaped.prepare(font=make_font(kind, pixels / TYPE[kind][0]))
    return shaped, metrics.horizontalAdvance(shown), metrics.height()
