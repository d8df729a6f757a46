"""What must hold for any window, whatever it shows: each check gives what is wrong, in words."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import (
    QAbstractItemView,
    QAbstractScrollArea,
    QLabel,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QWidget,
)

from app.ui.frame.focus import FocusRing
from app.ui.frame.notices import Toast
from app.ui.frame.window import Window
from app.ui.widgets.basics import Elided
from app.ui.widgets.small import PillLabel
from tests.gui.harness import box_in

Box = tuple[int, int, int, int]
_NO_LIMIT = 16_777_215


def shown(root: QWidget) -> Iterator[QWidget]:
    """Every visible widget in a window, itself left out."""
    return (child for child in root.findChildren(QWidget) if child.isVisible())


def near(found: Box, wanted: Box) -> bool:
    """Whether two boxes are the same to within two pixels."""
    return all(abs(a - b) <= 2 for a, b in zip(found, wanted, strict=True))


def regions(window: Window) -> dict[str, Box]:
    """Where the parts of the Queue page are that are in sight."""
    queue = window.queue
    parts: dict[str, QWidget] = {
        "rail": window.rail, "top bar": window.topbar, "page head": queue.head, "drop zone": queue.zone,
        "list": queue.list,
    }  # fmt: skip
    if queue.inspector.isVisible():
        parts["inspector"] = queue.inspector
    return {name: box_in(window, part) for name, part in parts.items()}


def clipped(root: QWidget) -> list[str]:
    """Labels, buttons and pills whose text does not fit; those that elide may be narrower than it."""
    found = []
    for child in shown(root):
        if isinstance(child, Elided):
            if child.height() < QFontMetrics(child.font()).height():
                found.append(f"{_name(child)}: {child.height()} px high")
        elif isinstance(child, QLabel) and child.text():
            found += _label(child)
        elif isinstance(child, QPushButton) and child.text():
            needed = child.minimumSizeHint()
            if child.width() < needed.width() or child.height() < QFontMetrics(child.font()).height():
                found.append(f"{_name(child)}: {child.width()} of {needed.width()}")
        elif isinstance(child, PillLabel) and child.width() < child.sizeHint().width():
            found.append(f"{_name(child)}: {child.width()} of {child.sizeHint().width()}")
    return found


def _label(label: QLabel) -> list[str]:
    metrics, box = QFontMetrics(label.font()), label.contentsRect()
    if not label.wordWrap():
        size = metrics.size(0, label.text())
        fits = box.width() >= size.width() and box.height() >= size.height()
        return [] if fits else [f"{_name(label)}: {box.width()} of {size.width()}"]
    if label.maximumHeight() < _NO_LIMIT:
        return []  # shows its first lines, and the rest on demand
    needed = label.heightForWidth(label.width())
    return [] if label.height() >= needed else [f"{_name(label)}: {label.height()} of {needed} high"]


def outside(root: QWidget) -> list[str]:
    """Widgets that stick out of what holds them, so that a part of them cannot be seen."""
    found = []
    for child in shown(root):
        parent = child.parentWidget()
        if (
            child.isWindow()
            or parent is None
            or child.size().isEmpty()
            or isinstance(child, FocusRing | Toast)
        ):
            continue
        if isinstance(parent.parentWidget(), QScrollArea):
            if child.width() > parent.width():
                found.append(f"{_name(child)} is wider than its scroll area")
        elif not parent.rect().adjusted(-1, -1, 1, 1).contains(child.geometry()):
            found.append(f"{_name(child)} {_box(child.geometry())} in {_name(parent)} {_box(parent.rect())}")
    return found


def overlapping(root: QWidget) -> list[str]:
    """Texts and controls that lie over another one beside them."""
    found = []
    leaves = [w for w in shown(root) if isinstance(w, QLabel | QPushButton) and not _floats(w)]
    boxes = [(w, QRect(w.mapTo(root, QPoint()), w.size())) for w in leaves]
    for number, (one, first) in enumerate(boxes):
        for other, second in boxes[number + 1 :]:
            if one.parentWidget() is other.parentWidget() and first.intersects(second):
                found.append(f"{_name(one)} {_box(first)} over {_name(other)} {_box(second)}")
    return found


def side_bars(root: QWidget) -> list[str]:
    """Horizontal scroll bars in sight, and areas that could be scrolled sideways."""
    bars = [
        bar
        for bar in root.findChildren(QScrollBar)
        if bar.orientation() is Qt.Orientation.Horizontal and bar.isVisible()
    ]
    areas = [
        a for a in shown(root) if isinstance(a, QAbstractScrollArea) and not isinstance(a, QAbstractItemView)
    ]
    wide = [area for area in areas if area.horizontalScrollBar().maximum() > 0]
    return [f"bar in {_name(bar.parentWidget())}" for bar in bars] + [f"{_name(a)} scrolls" for a in wide]


def too_small(root: QWidget, least: int = 12) -> list[str]:
    """Texts smaller than the type scale allows."""
    return [
        f"{_name(child)}: {child.font().pixelSize()} px"
        for child in shown(root)
        if isinstance(child, QLabel | QPushButton) and child.text() and child.font().pixelSize() < least
    ]


def faults(root: QWidget) -> list[str]:
    """All of the above."""
    return [*clipped(root), *outside(root), *overlapping(root), *side_bars(root), *too_small(root)]


def _floats(widget: QWidget) -> bool:
    parent: QWidget | None = widget
    while parent is not None:
        if isinstance(parent, Toast):
            return True
        parent = parent.parentWidget()
    return False


def _name(widget: QWidget | None) -> str:
    if widget is None:
        return "nothing"
    text = widget.text() if isinstance(widget, QLabel | QPushButton) else widget.accessibleName()
    return f"{type(widget).__name__} {text[:40]!r}" if text else type(widget).__name__


def _box(box: QRect) -> str:
    return f"({box.x()}, {box.y()}, {box.width()}, {box.height()})"
