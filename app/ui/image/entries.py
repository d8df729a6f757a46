"""A list of groups that fold, with entries of two lines and a badge or a figure: any view of the panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QKeySequence, QPainter, QPen
from PySide6.QtWidgets import QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from ..desktop import copy_text
from ..theme import Theme
from ..widgets.paint import paint_icon, paint_pill, paint_text, pill_height, pill_width, text_width
from ..widgets.scrolling import OverlayBar
from .words import Look

_INDEX = QModelIndex | QPersistentModelIndex
_ENTRY_H, _LINE_H, _HEAD_H, _PAD, _ARROW = 50, 32, 36, 16, 14


@dataclass(frozen=True, slots=True)
class Entry:
    """``right``: a figure, where there is no badge. ``key``: comes back when it is opened, if any."""

    title: str
    detail: str = ""
    badge: Look | None = None
    right: str = ""
    hint: str = ""
    key: str = ""

    @property
    def spoken(self) -> str:
        badge = self.badge.text.lower() if self.badge is not None else ""
        return ", ".join(part for part in (self.title, self.detail, badge, self.right) if part)

    @property
    def tip(self) -> str:
        return "\n".join(part for part in (self.title, self.detail, self.hint) if part)


@dataclass(frozen=True, slots=True)
class Group:
    """Entries below a head; without a title they have none. ``folds``: it does, and is folded at first."""

    title: str
    entries: tuple[Entry, ...]
    right: str = ""
    folds: bool = False


@dataclass(frozen=True, slots=True)
class _Head:
    number: int
    group: Group
    is_open: bool


class EntryModel(QAbstractListModel):
    """What is in sight of the groups: heads and, of open ones, entries."""

    def __init__(self) -> None:
        super().__init__()
        self._groups: tuple[Group, ...] = ()
        self._opened: set[tuple[int, str]] = set()
        self.items: list[_Head | Entry] = []

    def show_groups(self, groups: Sequence[Group]) -> None:
        """The same rows keep their places, and with them the focus."""
        self._groups = tuple(groups)
        self._arrange()

    def toggle(self, place: int) -> bool:
        """Fold a group, or open it; whether there is one that folds."""
        item = self.items[place]
        if not isinstance(item, _Head) or not item.group.folds:
            return False
        self._opened ^= {(item.number, item.group.title)}
        self._arrange()
        return True

    def rowCount(self, parent: _INDEX | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.items)

    def data(self, index: _INDEX, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        item = self.items[index.row()]
        if isinstance(item, _Head):
            group = item.group
            fold = ("open" if item.is_open else "folded") if group.folds else ""
            said = ", ".join(part for part in (group.title, group.right, fold) if part)
            texts = (group.title, said, group.title)
        else:
            texts = (item.title, item.spoken, item.tip)
        roles = (
            Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole
        )  # fmt: skip
        return texts[roles.index(Qt.ItemDataRole(role))] if role in roles else None

    def _arrange(self) -> None:
        made: list[_Head | Entry] = []
        for number, group in enumerate(self._groups):
            is_open = not group.folds or (number, group.title) in self._opened
            made += [_Head(number, group, is_open)] if group.title else []
            made += group.entries if is_open else ()
        if len(made) != len(self.items):
            self.beginResetModel()
            self.items = made
            self.endResetModel()
        elif made != self.items:
            self.items = made
            self.dataChanged.emit(self.index(0), self.index(len(made) - 1))


class EntryDelegate(QStyledItemDelegate):
    """Draws heads and entries."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme

    def sizeHint(self, option: QStyleOptionViewItem, index: _INDEX) -> QSize:
        item = _item(index)
        high = _HEAD_H if isinstance(item, _Head) else _ENTRY_H if item.detail else _LINE_H
        return QSize(0, round(high * self._theme.text_scale))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _INDEX) -> None:
        theme, whole, item = self._theme, QRect(option.rect), _item(index)
        state: QStyle.StateFlag = option.state
        view: QWidget = option.widget
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        can_open = item.group.folds if isinstance(item, _Head) else bool(item.key)
        ground = QRectF(whole).adjusted(6, 2, -6, -2)
        if state & QStyle.StateFlag.State_MouseOver and can_open:
            colour = QColor(theme.color("bg3"))
            colour.setAlphaF(0.5)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawRoundedRect(ground, 6, 6)
        keyboard = view.window().testAttribute(Qt.WidgetAttribute.WA_KeyboardFocusChange)
        if state & QStyle.StateFlag.State_HasFocus and keyboard:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.color("ring"), 2))
            painter.drawRoundedRect(ground, 6, 6)
        box = whole.adjusted(_PAD, 0, -_PAD, 0)
        if isinstance(item, _Head):
            self._paint_head(painter, box, item)
        else:
            self._paint_entry(painter, box, item)
            if index.sibling(index.row() + 1, 0).isValid():
                painter.fillRect(QRect(0, whole.bottom(), whole.width(), 1), theme.color("line"))
        painter.restore()

    def _paint_head(self, painter: QPainter, box: QRect, head: _Head) -> None:
        theme, right = self._theme, Qt.AlignmentFlag.AlignRight
        if head.group.folds:
            arrow = "chevron-down" if head.is_open else "chevron-right"
            place = QRect(box.left(), box.top() + (box.height() - _ARROW) // 2, _ARROW, _ARROW)
            paint_icon(painter, theme, arrow, "text3", place)
            box = box.adjusted(_ARROW + 6, 0, 0, 0)
        paint_text(painter, theme, box, head.group.right, "caption", "text2", right)
        room = box.adjusted(0, 0, -text_width(theme, head.group.right, "caption") - 12, 0)
        paint_text(painter, theme, room, head.group.title, "caption_strong", "text2")

    def _paint_entry(self, painter: QPainter, box: QRect, entry: Entry) -> None:
        theme, taken = self._theme, 0
        if entry.badge is not None:
            look = entry.badge
            taken = pill_width(theme, look.text, look.icon)
            top = box.top() + (box.height() - pill_height(theme)) // 2
            paint_pill(painter, theme, box.right() + 1 - taken, top, look.text, look.tone, look.icon)
        elif entry.right:
            taken = text_width(theme, entry.right, "caption")
            align = Qt.AlignmentFlag.AlignRight
            paint_text(painter, theme, box, entry.right, "caption", "text2", align)
        room = box.adjusted(0, 0, -taken - (12 if taken else 0), 0)
        if not entry.detail:
            paint_text(painter, theme, room, entry.title, "caption", "text2")
            return
        line = round(17 * theme.text_scale)
        top = room.top() + (room.height() - 2 * line) // 2
        paint_text(painter, theme, QRect(room.left(), top, room.width(), line), entry.title, "row")
        below = QRect(room.left(), top + line, room.width(), line)
        paint_text(painter, theme, below, entry.detail, "caption", "text2")


class EntryList(QListView):
    """Up and down moves, Enter opens, Left and Right fold, Ctrl+C copies what a row says.

    Signals:
        opened: the key of an entry.
    """

    opened = Signal(str)

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self.entries = EntryModel()
        self._delegate = EntryDelegate(theme)
        self.setModel(self.entries)
        self.setItemDelegate(self._delegate)
        self.setAccessibleName(name)
        self.setMouseTracking(True)
        self.setSelectionMode(QListView.SelectionMode.NoSelection)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._bar = OverlayBar(self)
        self.clicked.connect(self._open)
        theme.changed.connect(self.scheduleDelayedItemsLayout)

    def show_groups(self, groups: Sequence[Group]) -> None:
        self.entries.show_groups(groups)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        index = self.currentIndex()
        if event.matches(QKeySequence.StandardKey.Copy) and index.isValid():
            copy_text(str(index.data(Qt.ItemDataRole.AccessibleTextRole)))
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._open(index)
        elif event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right) and index.isValid():
            item = self.entries.items[index.row()]
            if isinstance(item, _Head) and item.is_open is (event.key() == Qt.Key.Key_Left):
                self._open(index)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        if not self.currentIndex().isValid() and self.entries.items:
            self.setCurrentIndex(self.entries.index(0))

    def _open(self, index: QModelIndex) -> None:
        if not index.isValid():
            return
        place, item = index.row(), self.entries.items[index.row()]
        if self.entries.toggle(place):
            self.setCurrentIndex(self.entries.index(place))
        elif isinstance(item, Entry) and item.key:
            self.opened.emit(item.key)


def _item(index: _INDEX) -> _Head | Entry:
    model = index.model()
    assert isinstance(model, EntryModel)
    return model.items[index.row()]
