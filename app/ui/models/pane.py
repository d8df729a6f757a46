"""The left of the Models page: its head, the cards, and the list with what keys and clicks do in it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QMenu, QStackedWidget, QWidget

from ..theme import Theme
from ..widgets.basics import column
from ..widgets.empty import Empty
from .choices import Choices
from .columns import ColumnLine
from .delegate import FileDelegate
from .head import ModelsHead
from .model import FilesModel
from .shown import ModelRow
from .view import FileList
from .words import counted, files


class FilesPane(QWidget):
    """The files, and what the user wants with them.

    Args:
        cards: what stands between the head and the list.

    Signals:
        ticked, row_wanted, deletions_wanted, rescan_wanted: as of the page.
        selected: the path of the one selected file, or an empty text.
        opened: the details of the selected file are wanted in sight; side_wanted: the panel at the right.
        changed: rows came, went, or are others.
    """

    ticked = Signal(list, bool)
    row_wanted = Signal(object, list)
    deletions_wanted = Signal(list)
    rescan_wanted = Signal()
    selected = Signal(str)
    opened = Signal()
    side_wanted = Signal()
    changed = Signal()

    def __init__(self, theme: Theme, cards: Sequence[QWidget]) -> None:
        super().__init__()
        self._selected = ""
        self.model = FilesModel()
        self.head, self.columns = ModelsHead(theme), ColumnLine(theme)
        self.list = FileList(theme, self.model, FileDelegate(theme))
        self.choices = Choices(theme, self)
        self._nothing = Empty(theme, "list-filter")
        self._lists = QStackedWidget()
        self._lists.addWidget(self.list)
        self._lists.addWidget(self._nothing)
        layout = column(self.head, *cards, self.columns)
        layout.addWidget(self._lists, 1)
        self.setLayout(layout)
        self._bind()
        self._add_keys()
        self._show_selection()

    def row(self, path: str) -> ModelRow | None:
        return self.model.table.rows.get(path)

    def menu_for(self, rows: Sequence[ModelRow]) -> QMenu:
        """What can be done with these files."""
        return self.choices.menu(rows)

    def escape(self) -> None:
        """End a search, else let go of the selection."""
        if self.head.search.text():
            self.head.search.clear()
        else:
            self.list.clearSelection()

    def _bind(self) -> None:
        head, choices = self.head, self.choices
        head.filtered.connect(lambda: self.model.show_only(head.only, head.words))
        head.rescan_wanted.connect(self.rescan_wanted)
        head.side_wanted.connect(self.side_wanted)
        head.acted.connect(lambda choice: choices.want(choice, self.list.selected_rows()))
        head.more_wanted.connect(
            lambda: self._open_menu(head.more.mapToGlobal(QPoint(0, head.more.height() + 4)))
        )
        self.columns.sorted_by.connect(lambda key, is_down: self.model.sort_by(key, is_down=is_down))
        self.model.counted.connect(self._show_counts)
        self.list.ticked.connect(self.ticked)
        self.list.link_hit.connect(self._take_link)
        self.list.chosen.connect(self._show_selection)
        self.list.doubleClicked.connect(lambda _: self._open_current())
        self.list.customContextMenuRequested.connect(self._context_menu)
        self._nothing.pressed.connect(head.show_all)

    def _add_keys(self) -> None:
        """Those of the list, which work when it has the focus."""
        for keys, act in (
            ("Return", self._open_current),
            ("Enter", self._open_current),
            ("Space", self.list.tick_chosen),
            ("Left", lambda: self.list.fold_current(folded=True)),
            ("Right", lambda: self.list.fold_current(folded=False)),
            ("/", self.head.open_search),
            ("Menu", lambda: self._context_menu(self.list.visualRect(self.list.currentIndex()).center())),
        ):
            made = QShortcut(QKeySequence(keys), self.list)
            made.setContext(Qt.ShortcutContext.WidgetShortcut)
            made.activated.connect(act)

    def _show_counts(self) -> None:
        table = self.model.table
        count = len(table.rows)
        self.head.show_counts(counted(count, table.folders) if count else "", table.states)
        none = bool(count) and not table.items
        self._lists.setCurrentIndex(1 if none else 0)
        if none:
            hidden = f"{files(count)} {'is' if count == 1 else 'are'} hidden."
            self._nothing.show_text("Nothing matches these filters", hidden, "Clear filters")
        self._show_several(self.list.selected_rows())
        self.changed.emit()

    def _show_several(self, rows: Sequence[ModelRow]) -> None:
        self.head.show_several(len(rows), self.choices.of(rows) if len(rows) > 1 else [])

    def _show_selection(self) -> None:
        rows = self.list.selected_rows()
        self._show_several(rows)
        path = rows[0].path if len(rows) == 1 else ""
        if path != self._selected:
            self._selected = path
            self.selected.emit(path)

    def _open_current(self) -> None:
        """Of a file its details; a folder is folded or opened."""
        if not self.list.toggle_current() and self.list.current_row() is not None:
            self.opened.emit()

    def _take_link(self, path: str) -> None:
        row = self.model.table.rows[path]
        self.choices.want(row.choices[0], [row])

    def _context_menu(self, point: QPoint) -> None:
        if self.list.selected_rows():
            self._open_menu(self.list.viewport().mapToGlobal(point))

    def _open_menu(self, where: QPoint) -> None:
        self.menu_for(self.list.selected_rows()).popup(where)
