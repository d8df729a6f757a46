"""The list of jobs. Row heights are known from the groups, so that ten thousand rows need no layout."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, QPoint, QRect, Qt, Signal
from PySide6.QtGui import (
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QRegion,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractItemView, QListView, QWidget

from ..theme.tokens import GROUP_H, ROW_H
from ..widgets.scrolling import BAR_W, OverlayBar
from .delegate import Hit, JobDelegate, Look
from .model import AnyIndex, Entry, JobModel

_STEP = 24


class JobList(QListView):
    """Rows of jobs under group heads; one stop for the Tab key.

    It keeps QListView's roles for screen readers and replaces its layout: a change among ten thousand rows
    of two heights would cost it a third of a second.

    Signals:
        hit: the user clicked a control inside a row.
        current_changed: the id of the current job, or an empty text.
    """

    hit = Signal(str, object, QPoint)
    current_changed = Signal(str)

    def __init__(self, model: JobModel, delegate: JobDelegate, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._jobs, self._delegate = model, delegate
        self._hovered = QModelIndex()
        self.setAccessibleName("Jobs")
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        # It draws every point itself: only then Qt moves what is there when it is scrolled.
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setModel(model)
        self.setItemDelegate(delegate)
        OverlayBar(self)

    # What is where.

    def selected_ids(self) -> list[str]:
        """The selected jobs, from top to bottom."""
        rows = sorted(index.row() for index in self.selectionModel().selectedIndexes())
        entries = [self._jobs.entry(self._jobs.index(row)) for row in rows]
        return [entry.job.id for entry in entries if entry is not None]

    def current_id(self) -> str:
        entry = self._jobs.entry(self.currentIndex())
        return entry.job.id if entry is not None else ""

    def select(self, job_id: str) -> None:
        """Make a job the only selected one, in sight."""
        index = self._jobs.index_of(job_id)
        if index.isValid():
            flags = QItemSelectionModel.SelectionFlag
            self.selectionModel().setCurrentIndex(index, flags.ClearAndSelect)
            self.scrollTo(index)

    def visible_entries(self) -> list[Entry]:
        first, last = self._rows_between(0, self.viewport().height())
        entries = [self._jobs.entry(self._jobs.index(row)) for row in range(first, last + 1)]
        return [entry for entry in entries if entry is not None]

    def verticalOffset(self) -> int:
        return self.verticalScrollBar().value()

    def horizontalOffset(self) -> int:
        return 0

    def isIndexHidden(self, index: AnyIndex) -> bool:
        return False

    def visualRect(self, index: AnyIndex) -> QRect:
        if not index.isValid():
            return QRect()
        top, height = self._top(index.row())
        return QRect(0, top - self.verticalOffset(), self.viewport().width(), height)

    def indexAt(self, point: QPoint) -> QModelIndex:
        y = point.y() + self.verticalOffset()
        row = self._row_at(y)
        return self._jobs.index(row) if 0 <= y < self._height() and row >= 0 else QModelIndex()

    def _height(self) -> int:
        return sum(GROUP_H + count * ROW_H for _, count in self._jobs.rows_of_groups())

    def _top(self, row: int) -> tuple[int, int]:
        """Where a row begins in the whole list, and its height."""
        y = 0
        for head, count in self._jobs.rows_of_groups():
            if row == head:
                return y, GROUP_H
            if row <= head + count:
                return y + GROUP_H + (row - head - 1) * ROW_H, ROW_H
            y += GROUP_H + count * ROW_H
        return y, 0

    def _row_at(self, y: int) -> int:
        """The row at a height of the whole list; the last one below its end, -1 when there is none."""
        last = -1
        for head, count in self._jobs.rows_of_groups():
            if y < GROUP_H:
                return head
            if y < GROUP_H + count * ROW_H:
                return head + 1 + (y - GROUP_H) // ROW_H
            y -= GROUP_H + count * ROW_H
            last = head + count
        return last

    def _rows_between(self, top: int, bottom: int) -> tuple[int, int]:
        offset = self.verticalOffset()
        return max(self._row_at(top + offset), 0), self._row_at(bottom + offset)

    # Layout, scrolling, selecting.

    def doItemsLayout(self) -> None:
        self.updateGeometries()
        self.viewport().update()

    def updateGeometries(self) -> None:
        page = self.viewport().height()
        bar = self.verticalScrollBar()
        bar.setPageStep(page)
        bar.setSingleStep(_STEP)
        bar.setRange(0, max(self._height() + 12 - page, 0))

    def scrollTo(
        self, index: AnyIndex, hint: QAbstractItemView.ScrollHint = QAbstractItemView.ScrollHint.EnsureVisible
    ) -> None:
        box = self.visualRect(index)
        bar = self.verticalScrollBar()
        if box.top() < 0:
            # A group's first job brings its head into sight.
            above = GROUP_H if self._jobs.entry(self._jobs.index(index.row() - 1)) is None else 0
            bar.setValue(bar.value() + box.top() - above)
        elif box.bottom() > self.viewport().height():
            bar.setValue(bar.value() + box.bottom() - self.viewport().height() + 4)

    def moveCursor(
        self, action: QAbstractItemView.CursorAction, modifiers: Qt.KeyboardModifier
    ) -> QModelIndex:
        moves = QAbstractItemView.CursorAction
        page = max(self.viewport().height() // ROW_H - 1, 1)
        steps = {
            moves.MoveUp: -1, moves.MovePrevious: -1, moves.MoveDown: 1, moves.MoveNext: 1,
            moves.MovePageUp: -page, moves.MovePageDown: page,
        }  # fmt: skip
        last = self._jobs.rowCount() - 1
        if action == moves.MoveHome:
            return self._job_near(0, 1)
        if action == moves.MoveEnd:
            return self._job_near(last, -1)
        step = steps.get(action, 0)
        row = self.currentIndex().row() + step if self.currentIndex().isValid() else 0
        found = self._job_near(min(max(row, 0), last), 1 if step > 0 else -1)
        return found if found.isValid() else self._job_near(0, 1)

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        """Move what is drawn; only what comes into sight is drawn anew."""
        # Without the strip under the scroll bar, which is blank: over a sibling Qt would draw all anew.
        self.viewport().scroll(dx, dy, self.viewport().rect().adjusted(0, 0, -BAR_W, 0))

    def setSelection(self, rect: QRect, command: QItemSelectionModel.SelectionFlag) -> None:
        first, last = self._rows_between(min(rect.top(), rect.bottom()), max(rect.top(), rect.bottom()))
        if last < 0:
            return
        chosen = QItemSelection(self._jobs.index(first), self._jobs.index(last))
        self.selectionModel().select(chosen, command)

    def visualRegionForSelection(self, selection: QItemSelection) -> QRegion:
        return QRegion(self.viewport().rect())

    def _job_near(self, row: int, step: int) -> QModelIndex:
        """The job at a row, or the next one in the direction of the step: heads are passed over."""
        while 0 <= row < self._jobs.rowCount():
            index = self._jobs.index(row)
            if self._jobs.entry(index) is not None:
                return index
            row += step
        return QModelIndex()

    # Events.

    def dataChanged(self, first: AnyIndex, last: AnyIndex, roles: Sequence[int] = ()) -> None:
        """Draw the changed rows that are in sight; QListView would lay all of them out anew."""
        top, bottom = self._rows_between(0, self.viewport().height())
        for row in range(max(first.row(), top), min(last.row(), bottom) + 1):
            self.viewport().update(self.visualRect(self._jobs.index(row)))

    def update_moving(self) -> None:
        """Draw what turns and travels in the rows in sight, and nothing else of them."""
        top, bottom = self._rows_between(0, self.viewport().height())
        for row in range(top, bottom + 1):
            index = self._jobs.index(row)
            entry = self._jobs.entry(index)
            if entry is not None and not entry.job.is_final:
                for box in self._delegate.moving(entry, self.visualRect(index)):
                    self.viewport().update(box)

    def currentChanged(self, current: AnyIndex, previous: AnyIndex) -> None:
        super().currentChanged(current, previous)
        self.current_changed.emit(self.current_id())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for box in event.region():  # type: ignore[attr-defined]  # it is iterable; the stubs do not say so
            self._paint_rows(painter, box)

    def _paint_rows(self, painter: QPainter, box: QRect) -> None:
        painter.setClipRect(box)
        self._delegate.paint_blank(painter, box)
        if box.left() >= self.viewport().width() - BAR_W:
            return  # nothing of a row is under the scroll bar
        first, last = self._rows_between(box.top(), box.bottom())
        selection, current = self.selectionModel(), self.currentIndex()
        by_keyboard = self.hasFocus() and self.window().testAttribute(
            Qt.WidgetAttribute.WA_KeyboardFocusChange
        )
        for row in range(first, last + 1):
            index = self._jobs.index(row)
            hovered = row == self._hovered.row() and self._hovered.isValid()
            look = Look(selection.isSelected(index), hovered, by_keyboard and index == current)
            shown = self._jobs.row(row)
            self._delegate.paint_row(painter, self.visualRect(index), shown, look, box)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.updateGeometries()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        point = event.position().toPoint()
        index = self.indexAt(point)
        if index != self._hovered:
            self._hovered = index
            self.viewport().update()
        hit = self._delegate.hit(self._jobs.entry(index), self.visualRect(index), point)
        hand = Qt.CursorShape.PointingHandCursor if hit not in (None, Hit.ROW) else Qt.CursorShape.ArrowCursor
        self.viewport().setCursor(hand)
        self.viewport().setToolTip(self._delegate.tip(self._jobs.entry(index), self.visualRect(index), point))

    def leaveEvent(self, event: object) -> None:
        self._hovered = QModelIndex()
        self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        point = event.position().toPoint()
        index = self.indexAt(point)
        entry = self._jobs.entry(index)
        hit = self._delegate.hit(entry, self.visualRect(index), point)
        if entry is not None and event.button() == Qt.MouseButton.LeftButton and hit in (Hit.ACT, Hit.MENU):
            self.hit.emit(entry.job.id, hit, self.viewport().mapToGlobal(point))
            return
        super().mousePressEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        # Letters are commands here, not the beginning of a name; the page has them as shortcuts.
        if event.text().strip() and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            event.ignore()
            return
        super().keyPressEvent(event)
