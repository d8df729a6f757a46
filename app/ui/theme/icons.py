"""Lucide's icons in the colours of the scheme, drawn once for each size and device pixel ratio."""

from __future__ import annotations

from functools import cache, lru_cache

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QImage, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from ...files import resource

_STROKE, _STROKE_SMALL = "1.75", "2.25"
_SMALL = 12


@cache
def _source(name: str) -> str:
    return (resource("icons") / f"{name}.svg").read_text("utf-8")


def draw_icon(name: str, colour: str, size: int, ratio: float) -> QPixmap:
    """An icon, ``size`` logical pixels square.

    Raises:
        OSError: when there is no icon of that name.
    """
    pixmap = QPixmap.fromImage(_drawn(name, colour, size, round(size * ratio)))
    pixmap.setDevicePixelRatio(ratio)
    return pixmap


@lru_cache(maxsize=1024)
def _drawn(name: str, colour: str, size: int, pixels: int) -> QImage:
    """Kept as an image, which may outlive the application; a pixmap may not."""
    stroke = _STROKE_SMALL if size <= _SMALL else _STROKE
    text = _source(name).replace("currentColor", colour[:7] if len(colour) == 7 else f"#{colour[3:]}")
    text = text.replace('stroke-width="2"', f'stroke-width="{stroke}"')
    image = QImage(pixels, pixels, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(QByteArray(text.encode())).render(painter, QRectF(image.rect()))
    painter.end()
    return image
