"""The files for Qt: one list of heads and rows. Changed on the GUI thread only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, Qt, Signal

from ...jobs.figures import size
from .shown import ModelRow, RowState
from .table import Head, Item, SortKey, Table
from .words import files, name_of, row_tip, spoken

AnyIndex = QModelIndex | QPersistentModelIndex
_ENABLED = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemNeverHasChildren
_CHOSEN = _ENABLED | Qt.ItemFlag.ItemIsSelectable


class FilesModel(QAbstractListModel):
    """Folders are rows of a flat list: a tree view asks for every row of 5,000 before it draws the first.

    Signals:
        counted: rows came or went, or their states are others.
    """

    counted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()

    def item(self, index: AnyIndex) -> Item | None:
        """What a row is of; None for an invalid index."""
        return self.table.items[index.row()] if index.isValid() else None

    def index_of(self, path: str) -> QModelIndex:
        """Where a file is; an invalid index when it is not shown."""
        place = self.table.place(path)
        return QModelIndex() if place is None else self.index(place)

    def show_rows(self, rows: Sequence[ModelRow]) -> None:
        """Show these in place of all; when they are the same files, their rows stay."""
        table = Table(self.table)
        table.show(rows)
        if table.shows_as(self.table):
            self.table = table
            if table.items:
                self.dataChanged.emit(self.index(0), self.index(len(table.items) - 1))
        else:
            self.beginResetModel()
            self.table = table
            self.endResetModel()
        self.counted.emit()

    def update_rows(self, rows: Iterable[ModelRow]) -> None:
        """Change some rows; neighbours are told of together."""
        places = self.table.update(rows)
        if places is None:
            self._arrange()
            return
        first = 0
        for n, place in enumerate(places):
            if n + 1 == len(places) or places[n + 1] != place + 1:
                self.dataChanged.emit(self.index(places[first]), self.index(place))
                first = n + 1
        if places:
            self.counted.emit()

    def sort_by(self, key: SortKey, *, is_down: bool) -> None:
        self.table.sort, self.table.is_down = key, is_down
        self._arrange()

    def show_only(self, states: frozenset[RowState], words: str) -> None:
        """Filter by state, when there are any, and by words of the path."""
        if (states, words) != (self.table.only, self.table.words):
            self.table.only, self.table.words = states, words
            self._arrange()

    def fold(self, folder: str, *, folded: bool) -> None:
        if folded != (folder in self.table.folded):
            (self.table.folded.add if folded else self.table.folded.discard)(folder)
            self._arrange()

    # What Qt asks.

    def rowCount(self, parent: AnyIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.table.items)

    def flags(self, index: AnyIndex) -> Qt.ItemFlag:
        item = self.item(index)
        if item is None:
            return Qt.ItemFlag.NoItemFlags
        return _CHOSEN if isinstance(item, ModelRow) else _ENABLED

    def data(self, index: AnyIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        item = self.item(index)
        if item is None:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return item.folder if isinstance(item, Head) else name_of(item.path)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return _said(item) if isinstance(item, Head) else spoken(item)
        if role == Qt.ItemDataRole.ToolTipRole and isinstance(item, ModelRow):
            return row_tip(item)
        return None

    def _arrange(self) -> None:
        self.beginResetModel()
        self.table.arrange()
        self.endResetModel()
        self.counted.emit()


def _said(head: Head) -> str:
    parts = ["folder", head.folder, files(head.files), size(head.size), "open" if head.is_open else "folded"]
    return ", ".join(parts)
