"""The head of the Models page: title and counts, filter and search; what to do with several chosen files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QPoint, QRect, Qt, QTimer, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QMenu, QWidget

from ..theme import Theme
from ..theme.tokens import MARGIN, PAGE_HEAD_H
from ..widgets.basics import Button, Text, row
from ..widgets.fields import SearchField
from ..widgets.paint import paint_icon
from .shown import Choice, RowState
from .words import UNDER_WAY, choice_text

_SEARCH_AFTER_MS, _GAP, _MOST_BUTTONS, _ARROW = 150, 12, 2, 14
_S = RowState
FILTERS: Final[tuple[tuple[str, frozenset[RowState]], ...]] = (
    ("All states", frozenset()),
    ("In sync", frozenset({_S.SAME, _S.UNVERIFIED, _S.UPLOADED, _S.DOWNLOADED})),
    ("Local only", frozenset({_S.LOCAL_ONLY})),
    ("Volume only", frozenset({_S.VOLUME_ONLY})),
    ("Differs", frozenset({_S.DIFFERS})),
    ("Under way", frozenset(UNDER_WAY)),
    ("Problems", frozenset({_S.FAILED, _S.BROKEN, _S.LEFT_OUT})),
)


class _FilterButton(Button):
    """A button that opens a menu: an arrow stands at its right."""

    def __init__(self, theme: Theme, text: str, tip: str) -> None:
        super().__init__(theme, text, icon="list-filter", tip=tip)
        self.setProperty("drops", True)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        box = QRect(self.width() - 12 - _ARROW, (self.height() - _ARROW) // 2, _ARROW, _ARROW)
        paint_icon(QPainter(self), self._theme, "chevron-down", "text3", box)


class ModelsHead(QWidget):
    """Signals: ``filtered`` when states or words are others; ``rescan_wanted``; ``side_wanted``; ``acted``
    with a :class:`Choice` for the chosen files; ``more_wanted``: all of their choices.
    """

    filtered = Signal()
    rescan_wanted = Signal()
    side_wanted = Signal()
    acted = Signal(object)
    more_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._filter = 0
        self._counts: Counter[RowState] = Counter()
        self._choices: tuple[Choice, ...] = ()
        self._narrow = False
        self.title, self.count = Text(theme, "Models", "title"), Text(theme, "", "body", "text3")
        self.search = SearchField(theme, "Filter by name", 200)
        self.states = _FilterButton(theme, FILTERS[0][0], "Show files of one state only")
        self.rescan = Button(theme, "Rescan", icon="refresh-cw", tip="Look at both sides again", keys="F5")
        self.side = Button(theme, kind="icon", icon="hard-drive", tip="Volume, transport and details")
        self._normal, self._several = QWidget(), QWidget()
        self._normal.setLayout(row(self.search, self.states, self.rescan, gap=_GAP))
        self._chosen = Text(theme, "", "row")
        self.buttons = [Button(theme, "") for _ in range(_MOST_BUTTONS)]
        self.more = Button(theme, kind="icon", icon="ellipsis", tip="More for the selected files")
        self._several.setLayout(row(self._chosen, 8, *self.buttons, self.more))
        self._several.hide()
        self.setFixedHeight(PAGE_HEAD_H)
        parts = (self.title, self.count, None, self._normal, self._several, self.side)
        self.setLayout(row(*parts, gap=_GAP, margins=(MARGIN, 0, MARGIN, 0)))
        self._typed = QTimer(self)
        self._typed.setSingleShot(True)
        self._typed.setInterval(_SEARCH_AFTER_MS)
        self._typed.timeout.connect(self.filtered)
        self._bind()
        self.set_narrow(narrow=False)

    @property
    def only(self) -> frozenset[RowState]:
        """The states that are to be shown; none: all."""
        return FILTERS[self._filter][1]

    @property
    def words(self) -> str:
        return self.search.text().strip()

    def show_counts(self, text: str, states: Counter[RowState]) -> None:
        self._counts = states
        self.count.setText(text)
        self._fit()

    def show_several(self, chosen: int, choices: Sequence[Choice]) -> None:
        """``chosen`` selected files: above one, what can be done with them stands in place of the filter."""
        several = chosen > 1
        self._several.setVisible(several)
        self._normal.setVisible(not several)
        self.count.setVisible(not several)
        self._chosen.setText(f"{chosen} selected")
        self._choices = tuple(choices[:_MOST_BUTTONS])
        for number, button in enumerate(self.buttons):
            button.setVisible(number < len(self._choices))
            if number < len(self._choices):
                button.set_label(choice_text(self._choices[number], is_short=True))
        self.more.setVisible(len(choices) > 0)
        self._fit()

    def set_narrow(self, *, narrow: bool) -> None:
        """In a narrow window the side lies over the list, and a button here opens it."""
        self._narrow = narrow
        self.side.setVisible(narrow)
        self._fit()

    def open_search(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    def show_all(self) -> None:
        """Take away filter and words."""
        self.search.clear()
        self._choose_filter(0)

    def filter_menu(self) -> QMenu:
        """The states to choose from, with how many files are in each."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for number, (text, states) in enumerate(FILTERS):
            count = sum(self._counts[state] for state in states or self._counts)
            action = menu.addAction(f"{text}\t{count}")
            action.setCheckable(True)
            action.setChecked(number == self._filter)
            action.triggered.connect(lambda _=False, number=number: self._choose_filter(number))
        return menu

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _bind(self) -> None:
        self.search.textChanged.connect(self._typed.start)
        self.states.clicked.connect(self._open_filters)
        self.rescan.clicked.connect(self.rescan_wanted)
        self.side.clicked.connect(self.side_wanted)
        self.more.clicked.connect(self.more_wanted)
        for number, button in enumerate(self.buttons):
            button.clicked.connect(lambda _=False, number=number: self.acted.emit(self._choices[number]))

    def _open_filters(self) -> None:
        self.filter_menu().popup(self.states.mapToGlobal(QPoint(0, self.states.height() + 4)))

    def _choose_filter(self, number: int) -> None:
        self._filter = number
        self.states.set_label(FILTERS[number][0])
        self.states.set_icon("list-filter", "accent_text" if number else "text")
        self._typed.stop()
        self.filtered.emit()

    def _fit(self) -> None:
        """The counts give way first."""
        parts: list[QWidget] = [self.title, self.count, self.search, self.states, self.rescan]
        parts += [self.side] if self._narrow else []
        needed = sum(part.sizeHint().width() + _GAP for part in parts) - _GAP + 2 * MARGIN
        self.count.setVisible(self._several.isHidden() and needed <= self.width())
