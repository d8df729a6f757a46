"""Where the columns of the list are, and the line above it that names and sorts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QRect, QSize, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QWidget

from ..theme import Theme
from ..theme.tokens import MARGIN
from ..widgets.basics import Button, Text
from ..widgets.paint import paint_icon, text_width
from .table import SortKey

ROW_H, _LINE_H = 36, 38
#: Widths of state, volume, local and size, and the gaps before state and after size.
_WIDE: Final = (224, 88, 88, 84, 9, 23)
_NARROW: Final = (176, 60, 52, 72, 8, 8)
_NARROW_BELOW = 800
_INDENT, _CHEVRON, _ICON, _MARK = 50, 14, 16, 12
_SORTS: Final[tuple[tuple[SortKey, str], ...]] = (("name", "Name"), ("size", "Size"), ("state", "State"))


def row_height(theme: Theme) -> int:
    return round(ROW_H * theme.text_scale)


@dataclass(frozen=True, slots=True)
class Columns:
    """The boxes of a row, in the list's coordinates."""

    fold: QRect
    tick: QRect
    name: QRect
    size: QRect
    local: QRect
    volume: QRect
    state: QRect

    @classmethod
    def of(cls, row: QRect, scale: float = 1.0) -> Columns:
        """The columns of a row, measured from its right edge.

        Args:
            scale: of the texts.
        """
        top, height = row.top(), row.height()
        widths = _WIDE if row.width() >= _NARROW_BELOW * scale else _NARROW
        state, volume, local, size, before_state, after_size = (round(width * scale) for width in widths)
        x = row.left() + row.width() - MARGIN - state
        boxes = [QRect(x, top, state, height)]
        x -= before_state
        for width in (volume, local):
            x -= width
            boxes.append(QRect(x, top, width, height))
        x -= after_size + size
        boxes.append(QRect(x, top, size, height))
        left = row.left() + MARGIN
        name = QRect(left + _INDENT, top, max(x - 8 - left - _INDENT, 0), height)
        middle = top + (height - _ICON) // 2
        fold = QRect(left + 8, top + (height - _CHEVRON) // 2, _CHEVRON, _CHEVRON)
        tick = QRect(left + 26, middle, _ICON, _ICON)
        return cls(fold, tick, name, boxes[3], boxes[2], boxes[1], boxes[0])


class _SortButton(Button):
    """A column's name; the one that the list is sorted by has an arrow."""

    def __init__(self, theme: Theme, text: str) -> None:
        super().__init__(theme, text, "column", tip=f"Sort by {text.lower()}")
        self._arrow = ""

    def show_order(self, *, sorts: bool, is_down: bool) -> None:
        self._arrow = ("chevron-down" if is_down else "chevron-up") if sorts else ""
        order = ("sorted, largest first" if is_down else "sorted, smallest first") if sorts else ""
        self.setAccessibleDescription(order)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(text_width(self._theme, self.text(), "pill") + 4 + _MARK, 24)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._arrow:
            left = text_width(self._theme, self.text(), "pill") + 4
            box = QRect(left, (self.height() - _MARK) // 2, _MARK, _MARK)
            paint_icon(QPainter(self), self._theme, self._arrow, "text3", box)

    def _restyle(self) -> None:
        super()._restyle()
        self.setFont(self._theme.font("pill"))


class ColumnLine(QWidget):
    """Names the columns, and sorts by three of them.

    Signals:
        sorted_by: what to sort by, and whether the largest comes first.
    """

    sorted_by = Signal(str, bool)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._key: SortKey = "name"
        self._is_down = False
        self.buttons = {key: _SortButton(theme, text) for key, text in _SORTS}
        self._places = [Text(theme, text, "pill", "text3") for text in ("Local", "Volume")]
        for each in (*self.buttons.values(), *self._places):
            each.setParent(self)
        for key, button in self.buttons.items():
            button.clicked.connect(lambda _=False, key=key: self._sort(key))
        self.setMinimumHeight(_LINE_H)
        self._show_order()
        theme.changed.connect(self._place)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def _sort(self, key: SortKey) -> None:
        self._is_down = not self._is_down if key == self._key else key == "size"
        self._key = key
        self._show_order()
        self.sorted_by.emit(key, self._is_down)

    def _show_order(self) -> None:
        for key, button in self.buttons.items():
            button.show_order(sorts=key == self._key, is_down=self._is_down)

    def _place(self) -> None:
        columns = Columns.of(self.rect(), self._theme.text_scale)
        for key, box in (("name", columns.name), ("size", columns.size), ("state", columns.state)):
            button = self.buttons[key]  # type: ignore[index]
            button.resize(button.sizeHint())
            # The size's name ends where the sizes end; its arrow stands beyond.
            left = box.left() if key != "size" else box.right() + 1 - button.width() + 4 + _MARK
            button.move(left, (self.height() - button.height()) // 2)
        for label, box in zip(self._places, (columns.local, columns.volume), strict=True):
            label.resize(label.sizeHint())
            label.move(box.center().x() + 1 - label.width() // 2, (self.height() - label.height()) // 2)
        for each in (*self.buttons.values(), *self._places):
            each.setVisible(True)
