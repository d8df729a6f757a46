"""Draws the rows of the job list, and tells which control of a row a point hits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPixmap
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from ...jobs.model import Job
from ...jobs.states import State
from ...jobs.words import (
    ago,
    cost,
    cost_parts,
    duration,
    is_remote,
    makes,
    pill,
    ran_s,
    second_line,
    waited_s,
)
from ..theme import Theme
from ..theme.tokens import MARGIN
from ..widgets.paint import (
    PILL_H,
    TURNS,
    centred,
    paint_bar,
    paint_empty_tile,
    paint_icon,
    paint_picture,
    paint_pill,
    paint_text,
    paint_tile,
    pill_height,
)
from .model import AnyIndex, Entry, Head, Role

_TILE, _TILE_GAP = 40, 8
_ACTIONS_W, _COST_W, _RAN_W, _WAITED_W, _GAP = 56, 60, 68, 52, 12
_STATE_W, _STATE_NARROW_W, _STATE_NARROW_BELOW, _NAME_LEAST_W = 216, 192, 860, 160
_FEW_COLUMNS_BELOW, _FEWEST_BELOW = 720, 640
_INSET, _FADE_S = 12, 0.2
_KIND_ICON = {"video": "film", "animation": "film", "audio": "music", "text": "file-text", "model3d": "box"}
#: What a state's bar looks like; other states have none.
_BAR = {
    State.RUNNING: "blue_bar",
    State.CANCELLING: "blue_bar",
    State.UPLOADING: "transfer",
    State.DOWNLOADING: "transfer",
}
_RETRIED = {State.FAILED, State.TIMED_OUT, State.CANCELLED}


class Hit(Enum):
    """What of a row was hit."""

    ROW = "row"
    STRIP = "strip"
    ACT = "act"
    MENU = "menu"


@dataclass(frozen=True, slots=True)
class Look:
    """What a row is beside its job. Qt's own flags cost more to combine than a row to draw."""

    selected: bool = False
    hovered: bool = False
    focused: bool = False


class Pictures(Protocol):
    """Where the delegate gets pictures from; None: not yet, it will be told when to draw again."""

    def thumbnail(self, path: str) -> QPixmap | None: ...

    def preview(self, job_id: str) -> QPixmap | None: ...


@dataclass(frozen=True, slots=True)
class Columns:
    """The boxes of a row, in the list's coordinates."""

    strip: QRect
    name: QRect
    state: QRect
    waited: QRect
    ran: QRect
    cost: QRect
    act: QRect
    menu: QRect

    @classmethod
    def of(cls, row: QRect, tiles: int) -> Columns:
        """The columns of a row, measured from the view's right edge. An empty box is not shown."""
        width, top, height = row.width(), row.top(), row.height()
        right = width - MARGIN
        act = QRect(right - 45, top, 24, height)
        menu = QRect(right - 20, top, 24, height)
        x = right - _ACTIONS_W
        widths = (
            _COST_W,
            _RAN_W if width >= _FEWEST_BELOW else 0,
            _WAITED_W if width >= _FEW_COLUMNS_BELOW else 0,
        )
        boxes = []
        for each in widths:
            x -= each
            boxes.append(QRect(x, top, each, height))
        state_w = _STATE_W if width >= _STATE_NARROW_BELOW else _STATE_NARROW_W
        strip = QRect(MARGIN, top, tiles * (_TILE + _TILE_GAP) - _TILE_GAP, height)
        left = strip.right() + 1 + 16
        # Before a name is cut too short, the state gives way.
        state_w = min(state_w, max(x - 2 * _GAP - left - _NAME_LEAST_W, 0))
        state = QRect(x - _GAP - state_w, top, state_w, height)
        name = QRect(left, top, max(state.left() - _GAP - left, 0), height)
        return cls(strip, name, state, boxes[2], boxes[1], boxes[0], act, menu)


class JobDelegate(QStyledItemDelegate):
    """Draws one row.

    Args:
        place: a waiting job's place in its queue.
    """

    def __init__(
        self,
        theme: Theme,
        pictures: Pictures,
        place: Callable[[Job], int | None],
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._theme, self._pictures, self._place, self._now = theme, pictures, place, now
        self.tiles = 2

    def hit(self, entry: Entry | None, row: QRect, point: QPoint) -> Hit | None:
        """What of a job's row is at a point; None for a head."""
        if entry is None:
            return None
        columns = Columns.of(row, self.tiles)
        if columns.menu.contains(point):
            return Hit.MENU
        if columns.act.contains(point):
            return Hit.ACT
        return Hit.STRIP if columns.strip.contains(point) and entry.job.outputs else Hit.ROW

    def tip(self, entry: Entry | None, row: QRect, point: QPoint) -> str:
        """The tooltip at a point."""
        if entry is None:
            return ""
        job, columns = entry.job, Columns.of(row, self.tiles)
        if columns.menu.contains(point):
            return "More"
        if columns.act.contains(point):
            return action_of(job)[1]
        if columns.state.contains(point):
            said = f"\nRunPod says {job.remote_word}" if job.remote_word and is_remote(job.target) else ""
            return second_line(job, entry.progress, self._place(job), self._now()) + said
        if columns.cost.contains(point):
            return cost_parts(job, self._now())
        if columns.name.contains(point):
            times = [f"waited {duration(w)}" for w in [waited_s(job, self._now())] if w is not None]
            times += [f"ran {duration(r)}" for r in [ran_s(job, self._now())] if r is not None]
            return "\n".join([job.name, makes(job), ", ".join(times)]).strip()
        return ""

    def moving(self, entry: Entry, row: QRect) -> list[QRect]:
        """The boxes of a row in which something turns or travels."""
        columns, boxes = Columns.of(row, self.tiles), []
        state = columns.state
        if pill(entry.job).icon == TURNS:
            boxes.append(QRect(state.left() + 6, state.top() + 10, 16, 22))
        if entry.part is None and entry.job.state in _BAR:
            boxes.append(QRect(state.left(), state.top() + 51, state.width(), 6))
        if time.monotonic() - entry.since < _FADE_S * 2:
            boxes.append(row)
        return boxes

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: AnyIndex) -> None:
        flags = QStyle.StateFlag
        shown = (flags.State_Selected, flags.State_MouseOver, flags.State_HasFocus)
        look = Look(*(bool(option.state & flag) for flag in shown))
        self.paint_row(
            painter, option.rect, index.data(Role.HEAD) or index.data(Role.ENTRY), look, option.rect
        )

    def paint_blank(self, painter: QPainter, box: QRect) -> None:
        """Draw the ground under the rows."""
        painter.fillRect(box, self._theme.color("bg1"))

    def paint_row(
        self, painter: QPainter, row: QRect, shown: Entry | Head | None, look: Look, dirty: QRect
    ) -> None:
        """Draw those parts of a row that lie inside ``dirty``."""
        if isinstance(shown, Head):
            self._paint_head(painter, row, shown)
        elif shown is not None:
            self._paint_job(painter, row, shown, look, dirty)

    def _paint_job(self, painter: QPainter, row: QRect, entry: Entry, look: Look, dirty: QRect) -> None:
        columns = Columns.of(row, self.tiles)
        fresh = (time.monotonic() - entry.since) / _FADE_S
        if fresh < 1 and not self._theme.reduced_motion:
            painter.setOpacity(max(fresh, 0.2))
        self._paint_ground(painter, row, look)
        if columns.strip.intersects(dirty):
            self._paint_strip(painter, columns.strip, entry)
        if columns.name.intersects(dirty):
            self._paint_name(painter, columns.name, entry.job)
        if columns.state.intersects(dirty):
            self._paint_state(painter, columns.state, entry)
        if dirty.right() > columns.state.right():
            self._paint_numbers(painter, columns, entry.job)
            self._paint_actions(painter, columns, entry.job)
        painter.setOpacity(1)

    def _paint_head(self, painter: QPainter, row: QRect, head: Head) -> None:
        theme = self._theme
        painter.setFont(theme.font("caption_strong"))
        box = row.adjusted(MARGIN, 0, -MARGIN, 0)
        paint_text(painter, theme, box, head.group.title, "caption_strong", "text2")
        width = painter.fontMetrics().horizontalAdvance(head.group.title)
        paint_text(painter, theme, box.adjusted(width + 10, 0, 0, 0), f"{head.count}", "caption", "text3")
        if head.is_first:
            columns = Columns.of(row, self.tiles)
            right = Qt.AlignmentFlag.AlignRight
            for title, column, pad in (
                ("Waited", columns.waited, 0), ("Ran", columns.ran, 8), ("Cost", columns.cost, 8)
            ):  # fmt: skip
                if not column.isEmpty():
                    paint_text(painter, theme, column.adjusted(0, 0, -pad, 0), title, "pill", "text3", right)

    def _paint_ground(self, painter: QPainter, row: QRect, look: Look) -> None:
        theme = self._theme
        ground = QRectF(row.adjusted(_INSET, 1, -_INSET, -1))
        painter.setPen(Qt.PenStyle.NoPen)
        if look.selected:
            painter.setBrush(theme.color("sel"))
            painter.drawRoundedRect(ground, 8, 8)
        elif look.hovered:
            colour = QColor(theme.color("bg3"))
            colour.setAlphaF(0.5)
            painter.setBrush(colour)
            painter.drawRoundedRect(ground, 8, 8)
        if look.focused:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.color("ring"), 2))
            painter.drawRoundedRect(ground.adjusted(1, 1, -1, -1), 7, 7)

    def _paint_strip(self, painter: QPainter, box: QRect, entry: Entry) -> None:
        job, theme = entry.job, self._theme
        tiles = [
            QRect(box.left() + n * (_TILE + _TILE_GAP), box.top() + 12, _TILE, _TILE)
            for n in range(self.tiles)
        ]
        if job.state in (State.FAILED, State.TIMED_OUT):
            paint_tile(painter, theme, tiles[0], "red_soft")
            paint_icon(painter, theme, "triangle-alert", "red", centred(tiles[0], 16))
            return
        wanted = job.expected.count if job.expected is not None else None
        total = len(job.outputs) if job.is_final else max(len(job.outputs), wanted or 1)
        for number, tile in enumerate(tiles[: min(total, self.tiles)]):
            self._paint_result(painter, tile, entry, number)
        left = total - self.tiles
        if left > 0:
            self._paint_more(painter, tiles[-1], left, covered=job.state is State.DONE)

    def _paint_result(self, painter: QPainter, tile: QRect, entry: Entry, number: int) -> None:
        job, theme = entry.job, self._theme
        kind = job.expected.kind if job.expected is not None else "image"
        # Paths are chosen before the files are there: only a done job has them.
        if number < len(job.outputs) and job.state is State.DONE:
            output = job.outputs[number]
            picture = self._pictures.thumbnail(output.path) if is_picture(output.path) else None
            if picture is not None:
                paint_picture(painter, picture, tile)
            else:
                paint_tile(painter, theme, tile, "bg3")
                if not is_picture(output.path):
                    icon = _KIND_ICON.get(output.media_type.split("/")[0], "file-text")
                    paint_icon(painter, theme, icon, "ctl", centred(tile, 16))
            return
        preview = self._pictures.preview(job.id) if number == 0 and job.state is State.RUNNING else None
        if preview is None:
            paint_empty_tile(painter, theme, tile, _KIND_ICON.get(kind, "image"))
            return
        paint_picture(painter, preview, tile)
        bar = QRect(tile.left() + 6, tile.bottom() - 8, _TILE - 12, 4)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("scrim"))
        painter.drawRoundedRect(QRectF(bar), 2, 2)
        painter.setBrush(Qt.GlobalColor.white)
        painter.drawRoundedRect(QRectF(bar.left(), bar.top(), bar.width() * (entry.part or 0), 4), 2, 2)

    def _paint_more(self, painter: QPainter, tile: QRect, more: int, *, covered: bool) -> None:
        theme = self._theme
        role = "scrim" if covered else "bg3"
        paint_tile(painter, theme, tile, role)
        centre = Qt.AlignmentFlag.AlignHCenter
        text = f"+{more + 1}" if more < 999 else "999+"
        paint_text(painter, theme, tile, text, "pill", "on_accent" if covered else "text2", centre)

    def _paint_name(self, painter: QPainter, box: QRect, job: Job) -> None:
        theme = self._theme
        paint_text(painter, theme, QRect(box.left(), box.top() + 11, box.width(), 20), job.name, "row")
        icon, tone = place_icon(job.target)
        paint_icon(painter, theme, icon, tone, QRect(box.left(), box.top() + 35, 14, 14))
        line = QRect(box.left() + 20, box.top() + 32, box.width() - 20, 20)
        paint_text(painter, theme, line, makes(job), "caption", "text2")

    def _paint_state(self, painter: QPainter, box: QRect, entry: Entry) -> None:
        job, theme, now = entry.job, self._theme, self._now()
        shown = pill(job)
        # A pill of larger text grows upwards: below it is the second line.
        height = pill_height(theme)
        top = box.top() + 10 + PILL_H - height
        width = paint_pill(painter, theme, box.left(), top, shown.text, shown.tone, shown.icon)
        aside = QRect(box.left() + width + 10, top, box.width() - width - 10, height)
        bar = _BAR.get(job.state) if job.lost_contact_since is None else None
        if job.is_final:
            paint_text(painter, theme, aside, ago(job.ended_at or job.changed_at, now), "caption", "text3")
        elif bar and entry.part is not None:
            percent = f"{entry.part * 100:.0f} %"
            paint_text(painter, theme, aside, percent, "pill", "text", Qt.AlignmentFlag.AlignRight)
        line = QRect(box.left(), box.top() + (30 if bar else 34), box.width(), 20)
        role = "red" if job.state in (State.FAILED, State.TIMED_OUT) else "text2"
        text = second_line(job, entry.progress, self._place(job), now)
        paint_text(painter, theme, line, text, "caption", role)
        if bar:
            paint_bar(painter, theme, QRect(box.left(), box.top() + 52, box.width(), 4), bar, entry.part)

    def _paint_numbers(self, painter: QPainter, columns: Columns, job: Job) -> None:
        now = self._now()
        waited, ran = waited_s(job, now), ran_s(job, now)
        for text, column, pad in (
            ("" if waited is None else duration(waited), columns.waited, 0),
            ("" if ran is None else duration(ran), columns.ran, 8),
            (cost(job, now), columns.cost, 8),
        ):
            if text and not column.isEmpty():
                box = column.adjusted(0, 0, -pad, 0)
                paint_text(painter, self._theme, box, text, "pill", "text2", Qt.AlignmentFlag.AlignRight)

    def _paint_actions(self, painter: QPainter, columns: Columns, job: Job) -> None:
        icon, _ = action_of(job)
        paint_icon(painter, self._theme, icon, "text2", centred(columns.act, 16))
        paint_icon(painter, self._theme, "ellipsis-vertical", "text2", centred(columns.menu, 16))


def action_of(job: Job) -> tuple[str, str]:
    """The icon and the word of a row's one action."""
    if not job.is_final:
        return "x", "Cancel"
    if job.state in _RETRIED:
        return "rotate-ccw", "Retry"
    return "folder-open", "Open outputs"


def place_icon(target: str) -> tuple[str, str]:
    """The icon of a place and its colour role."""
    return ("cloud", "violet") if is_remote(target) else ("monitor", "teal")


def is_picture(path: str) -> bool:
    """Whether Qt can read a thumbnail from it."""
    return Path(path).suffix.lower() in {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}
