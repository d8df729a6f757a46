"""A list whose rows have one height, so that thousands of them need no layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, QPoint, QRect, Qt
from PySide6.QtGui import QRegion, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QListView

from ..widgets.scrolling import OverlayBar
from .model import AnyIndex

_STEP, _BELOW = 24, 12
_Hint = QAbstractItemView.ScrollHint


class EvenList(QListView):
    """Keeps QListView's roles for screen readers and replaces its layout, which asks the model twice a row.

    Args:
        row_height: in pixels; it may change with the theme, after which :meth:`doItemsLayout` is due.
    """

    def __init__(self, row_height: Callable[[], int]) -> None:
        super().__init__()
        self._row_height = row_height
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        OverlayBar(self)

    def rows_between(self, top: int, bottom: int) -> tuple[int, int]:
        """The first and the last row between two heights of the viewport; the last is before it for none."""
        height, offset = self._row_height(), self.verticalOffset()
        return max((top + offset) // height, 0), min((bottom + offset) // height, self._count() - 1)

    def verticalOffset(self) -> int:
        return self.verticalScrollBar().value()

    def horizontalOffset(self) -> int:
        return 0

    def isIndexHidden(self, index: AnyIndex) -> bool:
        return False

    def visualRect(self, index: AnyIndex) -> QRect:
        if not index.isValid():
            return QRect()
        height = self._row_height()
        return QRect(0, index.row() * height - self.verticalOffset(), self.viewport().width(), height)

    def indexAt(self, point: QPoint) -> QModelIndex:
        row = (point.y() + self.verticalOffset()) // self._row_height()
        return self.model().index(row, 0) if 0 <= row < self._count() else QModelIndex()

    def doItemsLayout(self) -> None:
        self.updateGeometries()
        self.viewport().update()

    def updateGeometries(self) -> None:
        page, bar = self.viewport().height(), self.verticalScrollBar()
        bar.setPageStep(page)
        bar.setSingleStep(_STEP)
        bar.setRange(0, max(self._count() * self._row_height() + _BELOW - page, 0))

    def scrollTo(self, index: AnyIndex, hint: _Hint = _Hint.EnsureVisible) -> None:
        box, bar = self.visualRect(index), self.verticalScrollBar()
        if box.top() < 0:
            bar.setValue(bar.value() + box.top())
        elif box.bottom() > self.viewport().height():
            bar.setValue(bar.value() + box.bottom() - self.viewport().height() + 4)

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        self.viewport().update()

    def moveCursor(
        self, action: QAbstractItemView.CursorAction, modifiers: Qt.KeyboardModifier
    ) -> QModelIndex:
        moves, last = QAbstractItemView.CursorAction, self._count() - 1
        page = max(self.viewport().height() // self._row_height() - 1, 1)
        steps = {
            moves.MoveUp: -1, moves.MovePrevious: -1, moves.MoveDown: 1, moves.MoveNext: 1,
            moves.MovePageUp: -page, moves.MovePageDown: page, moves.MoveHome: -last, moves.MoveEnd: last,
        }  # fmt: skip
        row = self.currentIndex().row() + steps.get(action, 0) if self.currentIndex().isValid() else 0
        return self.model().index(min(max(row, 0), last), 0)

    def setSelection(self, rect: QRect, command: QItemSelectionModel.SelectionFlag) -> None:
        top, bottom = sorted((rect.top(), rect.bottom()))
        first, last = self.rows_between(top, bottom)
        chosen = QItemSelection()
        if first <= last:
            chosen = QItemSelection(self.model().index(first, 0), self.model().index(last, 0))
        self.selectionModel().select(chosen, command)

    def visualRegionForSelection(self, selection: QItemSelection) -> QRegion:
        return QRegion(self.viewport().rect())

    def dataChanged(self, first: AnyIndex, last: AnyIndex, roles: Sequence[int] = ()) -> None:
        """Draw the changed rows that are in sight."""
        top, bottom = self.rows_between(0, self.viewport().height())
        for row in range(max(first.row(), top), min(last.row(), bottom) + 1):
            self.viewport().update(self.visualRect(self.model().index(row, 0)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.updateGeometries()

    def _count(self) -> int:
        model = self.model()
        return model.rowCount() if model is not None else 0
