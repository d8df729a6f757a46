"""The head of the Queue page: title and counts, filter and search; what to do with several selected jobs."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QWidget

from ..theme import Theme
from ..theme.tokens import MARGIN, PAGE_HEAD_H
from ..widgets.basics import Button, Text, row
from ..widgets.fields import SearchField
from ..widgets.small import Segments

_FILTERS = (("all", "All"), ("active", "Active"), ("failed", "Failed"), ("done", "Done"))
_SEARCH_AFTER_MS = 150
_GAP = 12


class QueueHead(QWidget):
    """Signals: ``filtered`` when filter or words are others; ``acted`` with cancel, retry or remove."""

    filtered = Signal()
    acted = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._narrow = self._opened = False
        self.title, self.count = Text(theme, "Queue", "title"), Text(theme, "", "body", "text3")
        self.filters = Segments(theme, _FILTERS, "Show")
        self.filters.choose("all")
        self.search = SearchField(theme, "Search jobs", 140)
        self.search_button = Button(theme, kind="icon", icon="search", tip="Search jobs", keys="Ctrl+F")
        self.search_button.hide()
        self.recent = Button(
            theme, kind="icon", icon="clock", tip="Recent and kept workflows", keys="Ctrl+Shift+O"
        )
        self.more = Button(theme, kind="icon", icon="ellipsis", tip="More")
        self._normal, self._several = QWidget(), QWidget()
        self._normal.setLayout(row(self.filters, self.search, self.search_button, gap=_GAP))
        self._chosen = Text(theme, "", "row")
        buttons = [
            self._button("cancel", Button(theme, "Cancel", "danger", icon="x")),
            self._button("retry", Button(theme, "Retry", icon="rotate-ccw")),
            self._button("remove", Button(theme, "Remove", icon="trash-2")),
        ]
        self._several.setLayout(row(self._chosen, 8, *buttons))
        self._several.hide()
        self.setFixedHeight(PAGE_HEAD_H)
        margins = (MARGIN, 0, MARGIN, 0)
        self.setLayout(
            row(
                self.title,
                self.count,
                None,
                self._normal,
                self._several,
                self.recent,
                self.more,
                gap=_GAP,
                margins=margins,
            )
        )
        self._typed = QTimer(self)
        self._typed.setSingleShot(True)
        self._typed.setInterval(_SEARCH_AFTER_MS)
        self._typed.timeout.connect(self.filtered)
        self.filters.chosen.connect(self.filtered)
        self.search.textChanged.connect(self._typed.start)
        self.search.installEventFilter(self)
        self.search_button.clicked.connect(self.open_search)

    def show_counts(self, text: str) -> None:
        self.count.setText(text)
        self._fit()

    def show_several(self, chosen: int, *, jobs: bool) -> None:
        """``chosen`` selected jobs: above one, what can be done with them stands in place of the filter."""
        self._several.setVisible(chosen > 1)
        self._normal.setVisible(jobs and chosen <= 1)
        self.more.setVisible(jobs and chosen <= 1)
        self._chosen.setText(f"{chosen} selected")

    def set_narrow(self, *, narrow: bool) -> None:
        """In a narrow window the search is a button until it is used, and the counts go."""
        self._narrow = narrow
        self._fit()

    def open_search(self) -> None:
        self._opened = True
        self._fit()
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    def show_words(self, words: str) -> None:
        """Show all jobs with these words."""
        self.filters.choose("all")
        self.search.setText(words)
        self._fit()
        self.filtered.emit()

    def show_all(self) -> None:
        """Take away filter and words."""
        self.filters.choose("all")
        self.search.clear()
        self.filtered.emit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.search and event.type() == QEvent.Type.FocusOut:
            self._opened = False
            self._fit()
        return False

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Beside an open inspector there may be too little room, in a wide window too."""
        room = (
            self.width()
            - 2 * MARGIN
            + _GAP
            - self._width_of(self.title, self.filters, self.recent, self.more)
        )
        wide = not self._narrow and self._width_of(self.search) <= room
        shown = wide or self._opened or bool(self.search.text())
        self.search.setVisible(shown)
        self.search_button.setVisible(not shown)
        self.count.setVisible(wide and self._width_of(self.search, self.count) <= room)

    def _width_of(self, *parts: QWidget) -> int:
        return sum(part.sizeHint().width() + _GAP for part in parts)

    def _button(self, action: str, button: Button) -> Button:
        button.clicked.connect(lambda: self.acted.emit(action))
        return button
