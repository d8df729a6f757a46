"""The list of files under their folders. Rows of one height; only those in sight are drawn."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, QPoint, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractItemView

from ..theme import Theme
from ..widgets.paint import TURNS
from .columns import row_height
from .delegate import FileDelegate, Hit, Look, can_tick
from .even_list import EvenList
from .model import FilesModel
from .shown import ModelRow
from .table import Head
from .words import link_of, look_of, part_of


class FileList(EvenList):
    """One stop for the Tab key. Folding, selection and scroll place outlive any change of the rows.

    Signals:
        ticked: paths, and whether they are wanted.
        link_hit: the path whose link was clicked.
        chosen: other rows are selected, or another one is current.
    """

    ticked = Signal(list, bool)
    link_hit = Signal(str)
    chosen = Signal()

    def __init__(self, theme: Theme, model: FilesModel, delegate: FileDelegate) -> None:
        super().__init__(lambda: row_height(theme))
        self._files, self._delegate = model, delegate
        self._hovered = QModelIndex()
        self._kept: tuple[list[str], str, int] = ([], "", 0)
        self.setAccessibleName("Models")
        self.setMouseTracking(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setItemDelegate(delegate)
        model.modelAboutToBeReset.connect(self._keep)
        self.setModel(model)
        model.modelReset.connect(self._restore)
        self.selectionModel().selectionChanged.connect(self.chosen)
        theme.changed.connect(self._restyle)

    # What is where.

    def selected_rows(self) -> list[ModelRow]:
        """The selected files, from top to bottom."""
        places = set[int]()
        for each in self.selectionModel().selection():  # type: ignore[attr-defined]  # the stubs do not say so
            places.update(range(each.top(), each.bottom() + 1))
        items = self._files.table.items
        return [item for item in (items[place] for place in sorted(places)) if isinstance(item, ModelRow)]

    def current_row(self) -> ModelRow | None:
        item = self._files.item(self.currentIndex())
        return item if isinstance(item, ModelRow) else None

    def current_folder(self) -> str:
        """The folder whose head is current; empty: none is."""
        item = self._files.item(self.currentIndex())
        return item.folder if isinstance(item, Head) else ""

    def select(self, path: str) -> None:
        """Make a file the only selected one, in sight."""
        index = self._files.index_of(path)
        if index.isValid():
            flags = QItemSelectionModel.SelectionFlag
            self.selectionModel().setCurrentIndex(index, flags.ClearAndSelect)
            self.scrollTo(index)

    @property
    def moves(self) -> bool:
        """Whether anything in a row in sight turns or travels."""
        return any(_moves(item) for _, item in self._in_sight())

    # What keys do.

    def tick_chosen(self) -> None:
        """Tick the selected files, or all of the current folder; when all are ticked, take it away."""
        folder = self.current_folder()
        self._tick(self._files.table.of_folder(folder) if folder else self.selected_rows())

    def fold_current(self, *, folded: bool) -> None:
        """Fold the current folder or, from a file, the one around it; opened, go on to its first file."""
        index = self.currentIndex()
        item = self._files.item(index)
        if isinstance(item, Head):
            if item.is_open == folded:
                self._files.fold(item.folder, folded=folded)
            elif not folded and index.row() + 1 < self._files.rowCount():
                self._go_to(index.row() + 1)
        elif item is not None and folded:
            heads = (n for n in range(index.row(), -1, -1) if isinstance(self._files.table.items[n], Head))
            self._go_to(next(heads))

    def toggle_current(self) -> bool:
        """Fold or open the current folder; False when the current row is none."""
        item = self._files.item(self.currentIndex())
        if isinstance(item, Head):
            self._files.fold(item.folder, folded=item.is_open)
        return isinstance(item, Head)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        # Letters are commands, not the beginning of a name; the page has them as shortcuts.
        if event.text().strip() and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            event.ignore()
            return
        super().keyPressEvent(event)

    def _restyle(self) -> None:
        self.doItemsLayout()

    # Keeping selection and place.

    def _keep(self) -> None:
        current = self._files.item(self.currentIndex())
        kept = "" if current is None else current.folder if isinstance(current, Head) else current.path
        self._kept = ([row.path for row in self.selected_rows()], kept, self.verticalScrollBar().value())
        self._hovered = QModelIndex()

    def _restore(self) -> None:
        paths, current, scroll = self._kept
        flags, table = QItemSelectionModel.SelectionFlag, self._files.table
        place = table.place(current)
        if place is None:
            place = table.head_place(current)
        if place is not None:
            self.selectionModel().setCurrentIndex(self._files.index(place), flags.NoUpdate)
        chosen = QItemSelection()
        for first, last in _ranges(sorted(n for n in map(table.place, paths) if n is not None)):
            chosen.select(self._files.index(first), self._files.index(last))
        self.selectionModel().select(chosen, flags.ClearAndSelect)
        self.doItemsLayout()
        self.verticalScrollBar().setValue(scroll)
        if paths and chosen.isEmpty():
            self.chosen.emit()

    # Events.

    def update_moving(self) -> None:
        for index, item in self._in_sight():
            if _moves(item):
                self.viewport().update(self.visualRect(index))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        selection, current, has_focus = self.selectionModel(), self.currentIndex(), self.hasFocus()
        by_keyboard = has_focus and self.window().testAttribute(Qt.WidgetAttribute.WA_KeyboardFocusChange)
        top, bottom = self.rows_between(event.rect().top(), event.rect().bottom())
        for place in range(top, bottom + 1):
            index = self._files.index(place)
            is_current = has_focus and index == current
            hovered = index == self._hovered
            look = Look(selection.isSelected(index), hovered, is_current, by_keyboard and is_current)
            self._delegate.paint_row(painter, self.visualRect(index), self._files.table.items[place], look)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        point = event.position().toPoint()
        index = self.indexAt(point)
        if index != self._hovered:
            for each in (self._hovered, index):
                self.viewport().update(self.visualRect(each))
            self._hovered = index
        item, box = self._files.item(index), self.visualRect(index)
        plain = self._delegate.hit(item, box, point) in (None, Hit.ROW)
        shape = Qt.CursorShape
        self.viewport().setCursor(shape.ArrowCursor if plain else shape.PointingHandCursor)
        self.viewport().setToolTip(self._delegate.tip(item, box, point))

    def leaveEvent(self, event: object) -> None:
        self._hovered = QModelIndex()
        self.viewport().update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        if not self.currentIndex().isValid() and self._files.rowCount():
            self._go_to(0)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton or not self._press(event.position().toPoint()):
            super().mousePressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        # The second click on a box or a link counts as another click.
        if not self._press(event.position().toPoint()):
            super().mouseDoubleClickEvent(event)

    def _press(self, point: QPoint) -> bool:
        """What a click does apart from selecting."""
        index = self.indexAt(point)
        item = self._files.item(index)
        hit = self._delegate.hit(item, self.visualRect(index), point)
        if hit is Hit.TICK and item is not None:
            self._tick(self._files.table.of_folder(item.folder) if isinstance(item, Head) else [item])
        elif hit is Hit.FOLD and isinstance(item, Head):
            self.setFocus(Qt.FocusReason.MouseFocusReason)
            self.selectionModel().setCurrentIndex(index, QItemSelectionModel.SelectionFlag.NoUpdate)
            self._files.fold(item.folder, folded=item.is_open)
        elif hit is Hit.LINK and isinstance(item, ModelRow) and link_of(item) is not None:
            self.link_hit.emit(item.path)
        else:
            return False
        return True

    def _tick(self, rows: Sequence[ModelRow]) -> None:
        able = [row for row in rows if can_tick(row)]
        if able:
            self.ticked.emit([row.path for row in able], not all(row.ticked for row in able))

    def _go_to(self, place: int) -> None:
        flags = QItemSelectionModel.SelectionFlag
        self.selectionModel().setCurrentIndex(self._files.index(place), flags.ClearAndSelect)

    def _in_sight(self) -> list[tuple[QModelIndex, ModelRow]]:
        top, bottom = self.rows_between(0, self.viewport().height())
        items = self._files.table.items
        shown = [(place, items[place]) for place in range(top, bottom + 1)]
        return [(self._files.index(place), item) for place, item in shown if isinstance(item, ModelRow)]


def _moves(row: ModelRow) -> bool:
    return row.total <= 0 and part_of(row) is None and look_of(row).icon in (TURNS, "upload", "download")


def _ranges(places: Sequence[int]) -> list[tuple[int, int]]:
    """Places that follow each other, as first and last."""
    found: list[tuple[int, int]] = []
    for place in places:
        if found and found[-1][1] == place - 1:
            found[-1] = (found[-1][0], place)
        else:
            found.append((place, place))
    return found
