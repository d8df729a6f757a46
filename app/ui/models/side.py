"""The panel beside the list: the selected file, the volume, the transport, what is on its way."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from ..theme import Theme
from ..theme.tokens import PAGE_HEAD_H
from ..widgets.basics import Button, Text, column, hairline, row
from ..widgets.scrolling import ScrollBox
from ..widgets.sides import Panel
from .activity import EarlierSection, LaneSection
from .known import FileSection
from .transport import TransportSection
from .volume import VolumeSection

SIDE_W = 336
_PADDING, _TOP = 16, 20


class SidePanel(Panel):
    """Signals: ``closed``: the panel, where it lies over the list."""

    closed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.file, self.volume = FileSection(theme), VolumeSection(theme)
        self.transport = TransportSection(theme)
        self.lanes, self.earlier = LaneSection(theme), EarlierSection(theme)
        self._close = Button(theme, kind="bare", icon="x", tip="Close", keys="Esc")
        self._close.clicked.connect(self.closed)
        self._head = QWidget()
        self._head.setFixedHeight(PAGE_HEAD_H)
        title = Text(theme, "Volume and details", "section")
        self._head.setLayout(row(title, None, self._close, margins=(_PADDING, 0, 8, 0)))
        self._sections = (self.file, self.volume, self.transport, self.lanes, self.earlier)
        self._lines = [hairline() for _ in self._sections[1:]]
        content = QWidget()
        self._column = column(margins=(_PADDING, _TOP, _PADDING, _PADDING), gap=_PADDING)
        for number, section in enumerate(self._sections):
            if number:
                self._column.addWidget(self._lines[number - 1])
            self._column.addWidget(section)
        self._column.addStretch(1)
        content.setLayout(self._column)
        self._scroll = ScrollBox(content, "Volume, transport and details")
        whole = column(self._head, margins=(1, 0, 0, 0))
        whole.addWidget(self._scroll, 1)
        self.setLayout(whole)
        self.set_over(over=False)
        self.show_lines()

    def set_over(self, *, over: bool) -> None:
        """Over the list it has a head of its own, with a button that closes it."""
        self._head.setVisible(over)
        self._column.setContentsMargins(_PADDING, 0 if over else _TOP, _PADDING, _PADDING)

    def show_lines(self) -> None:
        """A hairline stands above each section but the first that is shown."""
        above = False
        for section, line in zip(self._sections, [None, *self._lines], strict=True):
            if line is not None:
                line.setVisible(above and not section.isHidden())
            above = above or not section.isHidden()

    def show_top(self) -> None:
        self._scroll.verticalScrollBar().setValue(0)
