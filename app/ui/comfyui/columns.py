"""How the ComfyUI page is laid out: what scrolls under its head, and the column beside it, or below it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QWidget

from ..theme import Theme
from ..theme.tokens import INSPECTOR_MAX_W, INSPECTOR_MIN_W, MARGIN
from ..widgets.basics import column, frame
from ..widgets.scrolling import ScrollBox
from .side import SideSections

SIDE_W = 352
#: Beside the column of the design there must be so much room for the log's head, at 100 % text size.
_MAIN_LEAST_W = 684
_GAP = 16
#: A form that has opened is scrolled into sight with so much below it: the button that closes it.
_BELOW_FORM_H = 52


class Columns(QWidget):
    """Cards above a log that takes the height that is left, and three sections at the right.

    Args:
        page: what it will stand in.
        cards: those above the log.
        forms: what opens inside and shall then be in sight.
    """

    def __init__(
        self,
        page: QWidget,
        theme: Theme,
        head: QWidget,
        cards: Sequence[QWidget],
        log: QWidget,
        side: SideSections,
        forms: Sequence[QWidget],
    ) -> None:
        super().__init__(page)
        self._theme, self._side, self._forms = theme, side, forms
        self._side_w = SIDE_W
        self._stacked: bool | None = None
        # From the outside in: each part is styled anew whenever what it stands in is put into something else.
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        # The column draws the line; the handle still takes the pointer two pixels beside it.
        self.splitter.setHandleWidth(0)
        self.splitter.setChildrenCollapsible(False)
        self._main, self._panel = QWidget(), QWidget()
        for number, part in enumerate((self._main, self._panel)):
            self.splitter.addWidget(part)
            self.splitter.setStretchFactor(number, 1 - number)
        self.setLayout(column(self.splitter))
        content = QWidget()
        self._scroll = ScrollBox(content, "ComfyUI")
        whole = column()
        self._main.setLayout(whole)
        whole.addWidget(head)
        whole.addWidget(self._scroll, 1)
        self._column = column(margins=(MARGIN, 0, MARGIN, MARGIN), gap=_GAP)
        content.setLayout(self._column)
        for card in cards:
            self._column.addWidget(card)
        self._column.addWidget(log, 1)
        # In a narrow page the column at the right comes down here.
        self._below = frame("card")
        self._below_layout = column()
        self._below.setLayout(self._below_layout)
        self._column.addWidget(self._below)
        self._column.addStretch(0)
        self._side_scroll = ScrollBox(side, "Node, installation and custom nodes")
        self._panel.setProperty("region", "inspector")
        self._panel.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._panel.setMinimumWidth(INSPECTOR_MIN_W)
        self._panel.setMaximumWidth(INSPECTOR_MAX_W)
        self._panel.setLayout(column(self._side_scroll, margins=(1, 0, 0, 0)))
        self.splitter.splitterMoved.connect(self._splitter_moved)
        for scroll in (self._scroll, self._side_scroll):
            scroll.verticalScrollBar().rangeChanged.connect(lambda *_, scroll=scroll: self._reveal(scroll))
        theme.changed.connect(self._arrange)

    @property
    def is_stacked(self) -> bool:
        """Whether the sections stand below the log."""
        return bool(self._stacked)

    @property
    def side_w(self) -> int:
        return self._side_w

    def show_side_w(self, width: int) -> None:
        self._side_w = min(max(width, INSPECTOR_MIN_W), INSPECTOR_MAX_W)
        self._arrange()

    def leave_room(self, *, free: bool) -> None:
        """``free``: the log is not shown, and nothing takes the height that is left."""
        self._column.setStretch(self._column.count() - 1, 1 if free else 0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        """Where there is too little room for the sections beside the log, they stand below it."""
        least = round(_MAIN_LEAST_W * self._theme.text_scale)
        stacked = self.width() < SIDE_W + least
        self._main.setMinimumWidth(0 if stacked else least)
        if stacked != self._stacked:
            self._stacked = stacked
            self._move_side(below=stacked)
        if not stacked:
            width = max(min(self._side_w, self.width() - least), INSPECTOR_MIN_W)
            self.splitter.setSizes([self.width() - width, width])

    def _move_side(self, *, below: bool) -> None:
        if below:
            self._side_scroll.takeWidget()
            self._below_layout.addWidget(self._side)
        elif self._side_scroll.widget() is None:
            self._side_scroll.setWidget(self._side)
            self._side.setAutoFillBackground(False)
        self._panel.setVisible(not below)
        self._below.setVisible(below)
        self._side.set_wide(wide=below)
        self._side.show()

    def _splitter_moved(self) -> None:
        self._side_w = self._panel.width()

    def _reveal(self, scroll: ScrollBox) -> None:
        """Keep a form in sight that has just opened or grown, while the user is in it."""
        focus = self.window().focusWidget()
        for form in self._forms:
            if focus is not None and form.isAncestorOf(focus) and scroll.isAncestorOf(form):
                scroll.ensureWidgetVisible(form, 0, _BELOW_FORM_H)
