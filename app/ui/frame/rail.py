"""The rail at the left: the mark, the pages, and background work at its foot."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRect, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QButtonGroup, QVBoxLayout, QWidget

from ..theme import Theme
from ..theme.tokens import RAIL_FOLDED_W, RAIL_W, TOP_BAR_H
from ..widgets.basics import Button, Text, hairline, row, set_property
from ..widgets.mark import Mark
from ..widgets.paint import paint_text


class RailItem(Button):
    """One page, with a count at its right when there is one."""

    def __init__(self, theme: Theme, text: str, icon: str, keys: str) -> None:
        super().__init__(theme, text, "rail", icon=icon, tip=text, keys=keys)
        self._label, self._count, self._folded = text, "", False
        self.setCheckable(True)
        self.setIconSize(QSize(18, 18))
        self.setAccessibleName(text)
        self.toggled.connect(lambda on: self.set_icon(icon, "accent_text" if on else "text3"))
        self.set_icon(icon, "text3")
        self.set_folded(False)

    def set_count(self, text: str) -> None:
        self._count = text
        self.setAccessibleDescription(text)
        self.update()

    def set_folded(self, folded: bool) -> None:
        self._folded = folded
        set_property(self, "folded", folded)
        self.set_label("" if folded else f" {self._label}")

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._count and not self._folded:
            painter = QPainter(self)
            box = QRect(0, 0, self.width() - 10, self.height())
            paint_text(painter, self._theme, box, self._count, "pill", "text2", Qt.AlignmentFlag.AlignRight)


class Rail(QWidget):
    """Pages to choose from.

    Signals:
        chosen: the name of the page.
    """

    chosen = Signal(str)

    def __init__(self, theme: Theme, pages: Sequence[tuple[str, str, str, str]]) -> None:
        """``pages``: name, title, icon and shortcut of each; the last one stands at the foot."""
        super().__init__()
        self.setProperty("region", "rail")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._name = Text(theme, "Comfy RunPod", "section")
        self._brand = QWidget()
        self._brand.setFixedHeight(TOP_BAR_H)
        self._brand_row = row(Mark(), self._name, None, margins=(16, 0, 0, 0), gap=10)
        self._brand.setLayout(self._brand_row)
        self._items = {name: RailItem(theme, title, icon, keys) for name, title, icon, keys in pages}
        self._group = QButtonGroup(self)
        for name, item in self._items.items():
            self._group.addButton(item)
            item.clicked.connect(lambda _=False, name=name: self.chosen.emit(name))
        *upper, last = self._items.values()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 1, 12)
        self._column.setSpacing(0)
        self._column.addWidget(self._brand)
        self._list = QVBoxLayout()
        self._list.setContentsMargins(10, 8, 9, 0)
        self._list.setSpacing(4)
        for item in upper:
            self._list.addWidget(item)
        self._column.addLayout(self._list)
        self._column.addStretch(1)
        self._column.addWidget(hairline())
        self._foot = row(last, margins=(10, 12, 9, 0))
        self._column.addLayout(self._foot)
        self.set_folded(False)

    def choose(self, name: str) -> None:
        """Mark the item of a page; of a page that has none: no item."""
        if name in self._items:
            self._items[name].setChecked(True)
            return
        self._group.setExclusive(False)
        for item in self._items.values():
            item.setChecked(False)
        self._group.setExclusive(True)

    def set_count(self, name: str, text: str) -> None:
        """A count or percentage beside a page's name."""
        self._items[name].set_count(text)

    def set_folded(self, folded: bool) -> None:
        """Icons only, with tooltips."""
        self.setFixedWidth(RAIL_FOLDED_W if folded else RAIL_W)
        self._name.setVisible(not folded)
        margin = 8 if folded else 10
        self._list.setContentsMargins(margin, 8, margin - 1, 0)
        self._foot.setContentsMargins(margin, 12, margin - 1, 0)
        self._brand_row.setContentsMargins(14 if folded else 16, 0, 0, 0)
        for item in self._items.values():
            item.set_folded(folded)
