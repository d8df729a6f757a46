"""Draws the rows of the list, folders and files alike, and tells what of a row a point hits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem

from ...jobs.figures import size
from ..theme import Theme
from ..theme.tokens import MARGIN
from ..widgets.paint import (
    BAR_H,
    centred,
    paint_bar,
    paint_icon,
    paint_pill,
    paint_text,
    pill_height,
    text_width,
)
from .columns import ROW_H, Columns, row_height
from .model import AnyIndex
from .shown import ModelRow, RowState
from .table import Head, Item
from .words import (
    COUNTED,
    choice_text,
    files,
    link_of,
    look_of,
    name_of,
    part_of,
    row_size,
    row_tip,
    time_left,
)

_INSET, _GAP, _HEAD_TOP, _HEAD_BOTTOM = 12, 10, 6, 2
_RIGHT = Qt.AlignmentFlag.AlignRight
_NOTED = {RowState.FAILED: "red", RowState.BROKEN: "red"}
_MOVING = (RowState.UPLOADING, RowState.DOWNLOADING, RowState.PAUSED)


class Hit(Enum):
    """What of a row was hit."""

    ROW = "row"
    TICK = "tick"
    LINK = "link"
    FOLD = "fold"


@dataclass(frozen=True, slots=True)
class Look:
    """What a row is beside its contents. ``current``: the keyboard's row while the list has the focus."""

    selected: bool = False
    hovered: bool = False
    current: bool = False
    ringed: bool = False


class FileDelegate(QStyledItemDelegate):
    """Draws one row."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._hover = QColor()
        self._ring = QPen()
        theme.changed.connect(self._restyle)
        self._restyle()

    def sizeHint(self, option: QStyleOptionViewItem, index: AnyIndex) -> QSize:
        return QSize(0, row_height(self._theme))

    def hit(self, item: Item | None, row: QRect, point: QPoint) -> Hit | None:
        """What is at a point; None where there is no row."""
        if item is None:
            return None
        columns = Columns.of(row, self._theme.text_scale)
        if columns.tick.adjusted(-4, -8, 4, 8).contains(point) and can_tick(item):
            return Hit.TICK
        if isinstance(item, Head):
            return Hit.FOLD
        link = link_of(item)
        if link is not None:
            text = choice_text(link, is_short=True, is_newer=item.is_newer)
            width = text_width(self._theme, text, "pill")
            if columns.state.contains(point) and point.x() > columns.state.right() - width:
                return Hit.LINK
        return Hit.ROW

    def tip(self, item: Item | None, row: QRect, point: QPoint) -> str:
        """The tooltip at a point."""
        if item is None:
            return ""
        if self.hit(item, row, point) is Hit.TICK:
            return "Part of the next sync (Space)"
        return row_tip(item) if isinstance(item, ModelRow) else ""

    def paint_row(self, painter: QPainter, row: QRect, item: Item, look: Look) -> None:
        columns = Columns.of(row, self._theme.text_scale)
        if isinstance(item, Head):
            self._paint_head(painter, row, columns, item, look)
            return
        self._paint_ground(painter, row, look)
        self._paint_tick(painter, columns.tick, item, look)
        self._paint_name(painter, columns.name, item)
        self._paint_places(painter, columns, item)
        self._paint_state(painter, columns.state, item)

    def _paint_head(self, painter: QPainter, row: QRect, columns: Columns, head: Head, look: Look) -> None:
        theme = self._theme
        ground = row.adjusted(MARGIN, _HEAD_TOP, -MARGIN, -_HEAD_BOTTOM)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("bg3" if look.hovered or not theme.is_dark else "bg2"))
        painter.drawRoundedRect(QRectF(ground), 6, 6)
        if look.ringed:
            self._paint_ring(painter, QRectF(ground).adjusted(1, 1, -1, -1), 5)
        lower = (_HEAD_TOP - _HEAD_BOTTOM) // 2
        fold = columns.fold.translated(0, lower)
        paint_icon(painter, theme, "chevron-down" if head.is_open else "chevron-right", "text2", fold)
        box = columns.tick.translated(0, lower)
        if head.can_tick and (look.hovered or look.current or head.changed):
            paint_box(painter, theme, box, None if 0 < head.ticked < head.can_tick else head.ticked > 0)
        else:
            paint_icon(painter, theme, "folder", "text2", box)
        text = f"{files(head.files)} · {size(head.size)}"
        line = ground.adjusted(columns.name.left() - ground.left(), 0, -12, 0)
        paint_text(painter, theme, line, text, "caption", "text2", _RIGHT)
        room = line.adjusted(0, 0, -text_width(theme, text, "caption") - _GAP, 0)
        paint_text(painter, theme, room, head.folder, "strong")

    def _paint_ground(self, painter: QPainter, row: QRect, look: Look) -> None:
        ground = QRectF(row.adjusted(_INSET, 1, -_INSET, -1))
        painter.setPen(Qt.PenStyle.NoPen)
        if look.selected or look.hovered:
            painter.setBrush(self._theme.color("sel") if look.selected else self._hover)
            painter.drawRoundedRect(ground, 8, 8)
        if look.ringed:
            self._paint_ring(painter, ground.adjusted(1, 1, -1, -1), 7)

    def _paint_ring(self, painter: QPainter, box: QRectF, radius: int) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(self._ring)
        painter.drawRoundedRect(box, radius, radius)

    def _paint_tick(self, painter: QPainter, box: QRect, row: ModelRow, look: Look) -> None:
        if row.ticked is None:
            return
        if look.hovered or look.current or look.selected or row.ticked != row.usual_tick:
            paint_box(painter, self._theme, box, row.ticked)

    def _paint_name(self, painter: QPainter, box: QRect, row: ModelRow) -> None:
        theme = self._theme
        role = "text2" if row.ticked is False and row.usual_tick else "text"
        if not row.note:
            paint_text(painter, theme, box, name_of(row.path), "body", role)
            return
        half = box.height() // 2
        upper = QRect(box.left(), box.top() + 1, box.width(), half)
        paint_text(painter, theme, upper, name_of(row.path), "body", role)
        lower = QRect(box.left(), upper.bottom(), box.width(), half - 1)
        paint_text(painter, theme, lower, row.note, "caption", _NOTED.get(row.state, "text2"))

    def _paint_places(self, painter: QPainter, columns: Columns, row: ModelRow) -> None:
        theme = self._theme
        paint_text(painter, theme, columns.size, size(row_size(row)), "caption", "text2", _RIGHT)
        tone = "amber" if row.state is RowState.DIFFERS else "text2"
        for box, there in ((columns.local, row.local_size), (columns.volume, row.volume_size)):
            icon, role = ("check", tone) if there is not None else ("minus", "ctl")
            paint_icon(painter, theme, icon, role, centred(box, 16))

    def _paint_state(self, painter: QPainter, box: QRect, row: ModelRow) -> None:
        theme, look = self._theme, look_of(row)
        part = part_of(row)
        if row.state in _MOVING or part is not None:
            self._paint_moving(painter, box, row, part)
            return
        room = box
        link = link_of(row)
        if link is not None:
            text = choice_text(link, is_short=True, is_newer=row.is_newer)
            paint_text(painter, theme, box, text, "pill", "accent_text", _RIGHT)
            room = box.adjusted(0, 0, -text_width(theme, text, "pill") - _GAP, 0)
        if look.is_plain:
            paint_icon(painter, theme, look.icon, look.tone, QRect(box.left(), box.center().y() - 6, 14, 14))
            paint_text(painter, theme, room.adjusted(22, 0, 0, 0), look.text, "caption", "text2")
        else:
            top = box.top() + (box.height() - pill_height(theme)) // 2
            paint_pill(painter, theme, box.left(), top, look.text, look.tone, look.icon)

    def _paint_moving(self, painter: QPainter, box: QRect, row: ModelRow, part: float | None) -> None:
        """A state's word, the time left and the percentage over a bar."""
        theme, look = self._theme, look_of(row)
        scale = box.height() / ROW_H
        line = QRect(box.left(), box.top() + round(3 * scale), box.width(), round(20 * scale))
        paint_text(painter, theme, line, look.text, "pill", look.tone)
        left = text_width(theme, look.text, "pill") + 8
        shown = "" if part is None else f"{int(part * 100)} %"
        paint_text(painter, theme, line, shown, "pill", "text", _RIGHT)
        if row.left_s is not None and row.state in COUNTED:
            room = line.adjusted(left, 0, -text_width(theme, shown, "pill") - 8, 0)
            paint_text(painter, theme, room, time_left(row.left_s), "caption", "text2")
        bar = QRect(box.left(), box.top() + round(26 * scale), box.width(), BAR_H)
        paint_bar(painter, theme, bar, "amber_bar" if row.state is RowState.PAUSED else "blue_bar", part)

    def _restyle(self) -> None:
        self._hover = QColor(self._theme.color("bg3"))
        self._hover.setAlphaF(0.5)
        self._ring = QPen(self._theme.color("ring"), 2)


def can_tick(item: Item) -> bool:
    return item.can_tick > 0 if isinstance(item, Head) else item.ticked is not None


def paint_box(painter: QPainter, theme: Theme, box: QRect, ticked: bool | None) -> None:
    """A tick box; None: some of what it stands for are ticked."""
    inner = QRectF(box).adjusted(0.5, 0.5, -0.5, -0.5)
    painter.setPen(theme.color("ctl" if ticked is False else "accent"))
    painter.setBrush(theme.color("bg1" if ticked is False else "accent"))
    painter.drawRoundedRect(inner, 4, 4)
    if ticked is not False:
        icon = "minus" if ticked is None else "check"
        paint_icon(painter, theme, icon, "on_accent", box.adjusted(2, 2, -2, -2))
