"""The workers of an endpoint as a table: who they are, how they are, what they run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from PySide6.QtCore import (
    QAbstractListModel,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from ...endpoint.account_model import LiveWorker
from ...jobs.figures import duration
from ..theme import Theme
from ..widgets.paint import paint_pill, paint_text, pill_height
from ..widgets.scrolling import OverlayBar

ROW_H, HEAD_H = 36, 24
_MOST_ROWS = 5
_GAP = 12
#: Name and width of each column, in pixels; the one of 0 takes the rest.
_COLUMNS: Final = (
    ("Worker", 116), ("State", 104), ("GPU", 0), ("Version", 96), ("Up for", 60), ("Data centre", 84),
)  # fmt: skip
#: RunPod's word, ours, its colour and icon.
_STATES: Final[dict[str, tuple[str, str, str]]] = {
    "RUNNING": ("Running", "blue", "play"),
    "IDLE": ("Idle", "green", "check"),
    "INITIALIZING": ("Starting", "amber", "hourglass"),
    "THROTTLED": ("Throttled", "amber", "triangle-alert"),
    "UNHEALTHY": ("Unhealthy", "red", "x"),
}
_INDEX = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker in words."""

    id: str
    state: tuple[str, str, str]
    gpu: str
    version: str
    is_stale: bool
    up: str
    centre: str
    remote_word: str = ""

    @classmethod
    def of(cls, worker: LiveWorker) -> WorkerRow:
        known = str(worker.version) if worker.version is not None else ""
        if worker.is_stale:
            known = f"{known} · outdated" if known else "outdated"
        gpu = (worker.gpu_type or "").removeprefix("NVIDIA ").removeprefix("GeForce ")
        many = f"{worker.gpu_count} × " if gpu and (worker.gpu_count or 1) > 1 else ""
        return cls(
            worker.id,
            _STATES.get(worker.status, (worker.status.capitalize() or "Not known", "grey", "")),
            f"{many}{gpu}" or "–",
            known or "–",
            worker.is_stale,
            duration(worker.uptime_s) if worker.uptime_s is not None else "–",
            worker.data_centre or "–",
            worker.status,
        )

    def spoken(self) -> str:
        """All of it as one sentence."""
        parts = [f"Worker {self.id}", self.state[0].lower(), self.gpu, f"version {self.version}"]
        return ", ".join([*parts, f"up for {self.up}", f"data centre {self.centre}"])


class WorkerModel(QAbstractListModel):
    """The rows, in RunPod's order."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[WorkerRow] = []

    def show_workers(self, workers: Sequence[LiveWorker]) -> None:
        """Change what changed; the same workers keep their rows, and with them the selection."""
        rows = [WorkerRow.of(worker) for worker in workers]
        if [row.id for row in rows] != [row.id for row in self.rows]:
            self.beginResetModel()
            self.rows = rows
            self.endResetModel()
        elif rows != self.rows:
            self.rows = rows
            self.dataChanged.emit(self.index(0), self.index(len(rows) - 1))

    def rowCount(self, parent: _INDEX | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def data(self, index: _INDEX, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return row.id
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return row.spoken()
        if role == Qt.ItemDataRole.ToolTipRole:
            told = [row.id, f"RunPod says {row.remote_word}" if row.remote_word else "", row.gpu]
            return "\n".join(part for part in told if part)
        return None


class WorkerDelegate(QStyledItemDelegate):
    """Draws a row."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme

    def sizeHint(self, option: QStyleOptionViewItem, index: _INDEX) -> QSize:
        return QSize(0, round(ROW_H * self._theme.text_scale))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _INDEX) -> None:
        theme = self._theme
        box: QRect = option.rect
        state: QStyle.StateFlag = option.state
        row: WorkerRow = index.model().rows[index.row()]  # type: ignore[attr-defined]
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ground = ""
        if state & QStyle.StateFlag.State_Selected:
            ground = "sel"
        elif state & QStyle.StateFlag.State_MouseOver:
            ground = "bg3"
        if ground:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color(ground))
            painter.drawRoundedRect(QRectF(box).adjusted(4, 1, -4, -1), 6, 6)
        boxes = columns(box, theme.text_scale)
        paint_text(painter, theme, boxes[0], row.id, "mono")
        top = box.top() + (box.height() - pill_height(theme)) // 2
        paint_pill(painter, theme, boxes[1].left(), top, *row.state)
        paint_text(painter, theme, boxes[2], row.gpu, "body")
        paint_text(painter, theme, boxes[3], row.version, "body", "amber" if row.is_stale else "text")
        paint_text(painter, theme, boxes[4], row.up, "body", "text2")
        paint_text(painter, theme, boxes[5], row.centre, "body", "text2")
        painter.restore()


class WorkerTable(QListView):
    """As high as its rows, up to five of them.

    Signals:
        worker_chosen: the id of the row that the user chose.
    """

    worker_chosen = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.workers = WorkerModel()
        self._delegate = WorkerDelegate(theme)
        self.setModel(self.workers)
        self.setItemDelegate(self._delegate)
        self.setAccessibleName("Workers")
        self.setMouseTracking(True)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setUniformItemSizes(True)
        self._bar = OverlayBar(self)
        self.clicked.connect(lambda index: self.worker_chosen.emit(self.workers.rows[index.row()].id))
        self.activated.connect(lambda index: self.worker_chosen.emit(self.workers.rows[index.row()].id))
        theme.changed.connect(self._fit)
        self._fit()

    def show_workers(self, workers: Sequence[LiveWorker]) -> None:
        self.workers.show_workers(workers)
        self._fit()

    def mark(self, worker_id: str) -> None:
        """Select the row of a worker; an empty id, or one that is not there: none."""
        row = next((n for n, each in enumerate(self.workers.rows) if each.id == worker_id), -1)
        if row < 0:
            self.clearSelection()
            return
        index, flag = self.workers.index(row), QItemSelectionModel.SelectionFlag.ClearAndSelect
        self.selectionModel().setCurrentIndex(index, flag)

    def _fit(self) -> None:
        rows = min(max(len(self.workers.rows), 1), _MOST_ROWS)
        self.setFixedHeight(rows * round(ROW_H * self._theme.text_scale))


class WorkerHeads(QWidget):
    """The names of the columns."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.setFixedHeight(HEAD_H)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        for (name, _), box in zip(_COLUMNS, columns(self.rect(), self._theme.text_scale), strict=True):
            paint_text(painter, self._theme, box, name, "caption", "text3")


def columns(row: QRect, scale: float) -> list[QRect]:
    """The boxes of a row's columns."""
    inner = row.adjusted(16, 0, -16, 0)
    fixed = sum(round(width * scale) for _, width in _COLUMNS) + _GAP * (len(_COLUMNS) - 1)
    boxes, left = [], inner.left()
    for _, width in _COLUMNS:
        wide = round(width * scale) if width else max(inner.width() - fixed, 0)
        boxes.append(QRect(left, inner.top(), wide, inner.height()))
        left += wide + _GAP
    return boxes
