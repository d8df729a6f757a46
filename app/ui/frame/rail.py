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
from ..widgets.paint import paint_bar, paint_icon, paint_text

_WORK_H = 36


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


class RailWork(Button):
    """Work that goes on in the background: what it is, how much of it is done; a click opens its page."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, "", "rail", tip="Work in the background")
        self._what, self._share, self._icon = "", "", ""
        self._folded = False
        self.setFixedHeight(_WORK_H)

    def show_work(self, icon: str, what: str, share: str) -> None:
        """``share``: such as ``41 %``; empty: it is not known."""
        self._icon, self._what, self._share = icon, what, share
        said = f"{what} {share}".strip()
        self.setAccessibleName(said)
        self.setToolTip(said)
        self.update()

    def set_folded(self, folded: bool) -> None:
        self._folded = folded
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter, theme, inner = QPainter(self), self._theme, self.rect().adjusted(10, 0, -10, 0)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        icon = QRect(0, 0, 14, 14)
        icon.moveCenter(self.rect().center() if self._folded else inner.center())
        icon.moveTop(7)
        if not self._folded:
            icon.moveLeft(inner.left())
        paint_icon(painter, theme, self._icon, "text2", icon)
        if not self._folded:
            right = Qt.AlignmentFlag.AlignRight
            line = QRect(inner.left() + 21, 4, inner.width() - 21, 20)
            paint_text(painter, theme, line.adjusted(0, 0, -34, 0), self._what, "pill", "text2")
            paint_text(painter, theme, line, self._share, "pill", "text", right)
        digits = self._share.partition(" ")[0]
        part = int(digits) / 100 if digits.isdecimal() else 0.0
        paint_bar(painter, theme, QRect(inner.left(), 26, inner.width(), 4), "blue_bar", part)


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
        self._work = RailWork(theme)
        self._work_page, self._current = "", ""
        self._work.clicked.connect(lambda: self.chosen.emit(self._work_page))
        self._work_row = row(self._work, margins=(10, 0, 9, 8))
        self._column.addLayout(self._work_row)
        self._column.addWidget(hairline())
        self._foot = row(last, margins=(10, 12, 9, 0))
        self._column.addLayout(self._foot)
        self.set_folded(False)

    def choose(self, name: str) -> None:
        """Mark the item of a page; of a page that has none: no item."""
        self._current = name
        self._fit_work()
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

    def show_work(self, page: str, icon: str, what: str, share: str) -> None:
        """Work of a page, at the foot of the rail while another page is open; no ``what``: it is over."""
        self._work_page = page if what else ""
        self._work.show_work(icon, what, share)
        self._fit_work()

    def _fit_work(self) -> None:
        self._work.setVisible(bool(self._work_page) and self._work_page != self._current)

    def set_folded(self, folded: bool) -> None:
        """Icons only, with tooltips."""
        self.setFixedWidth(RAIL_FOLDED_W if folded else RAIL_W)
        self._name.setVisible(not folded)
        margin = 8 if folded else 10
        self._list.setContentsMargins(margin, 8, margin - 1, 0)
        self._foot.setContentsMargins(margin, 12, margin - 1, 0)
        self._work_row.setContentsMargins(margin, 0, margin - 1, 8)
        self._work.set_folded(folded)
        self._brand_row.setContentsMargins(14 if folded else 16, 0, 0, 0)
        for item in self._items.values():
            item.set_folded(folded)
