"""The list of recent and kept workflows, under its button."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QRect, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QWidget

from ...jobs.words import ago
from ..theme import Theme
from ..widgets.basics import Button, Elided, Text, Wrapped, clear, column, row
from ..widgets.floating import Popover
from ..widgets.paint import paint_empty_tile, paint_picture
from ..widgets.scrolling import ScrollBox
from .pictures import PictureStore
from .recent import Recent, RecentWorkflows

_WIDTH, _TILE, _HIGHEST = 460, 40, 480


@dataclass(frozen=True, slots=True)
class RecentActs:
    """What can be done with a file of the list."""

    run: Callable[[Path], None]
    tune: Callable[[Path], None]


class _Tile(QWidget):
    """The first picture of its last result."""

    def __init__(self, theme: Theme, pictures: PictureStore, path: str) -> None:
        super().__init__()
        self._theme, self._pictures, self._path = theme, pictures, path
        self.setFixedSize(QSize(_TILE, _TILE))
        pictures.arrived.connect(lambda _: self.update())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRect(0, 0, _TILE, _TILE)
        picture = self._pictures.thumbnail(self._path) if self._path else None
        if picture is None:
            paint_empty_tile(painter, self._theme, box, "workflow")
        else:
            paint_picture(painter, picture, box, 6, square=True)


class RecentRow(QFrame):
    """Signals: ``run``, when the row itself is chosen."""

    run = Signal()

    def __init__(self, theme: Theme, pictures: PictureStore, recent: Recent) -> None:
        super().__init__()
        self.recent = recent
        self.setProperty("kind", "line")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(f"Run {recent.name}")
        self.setToolTip(recent.path)
        folder = Path(recent.path).parent.name
        when = f"{folder}/ · {ago(recent.at, time.time())}" if recent.at else f"{folder}/"
        words = column(Elided(theme, recent.name, "row"), Elided(theme, when, "caption", "text3"), gap=1)
        self.tune = Button(theme, kind="bare", icon="sliders-horizontal", tip="Change values…", size="small")
        self.keep = Button(
            theme, kind="bare", icon="star", role="amber" if recent.kept else "text3", size="small",
            tip="Keep no longer" if recent.kept else "Keep in this list",
        )  # fmt: skip
        self.forget = Button(theme, kind="bare", icon="x", tip="Take off this list", size="small")
        line = row(_Tile(theme, pictures, recent.picture), gap=12, margins=(8, 6, 8, 6))
        line.addLayout(words, 1)
        line.addLayout(row(self.tune, self.keep, self.forget, gap=2))
        self.setLayout(line)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.run.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.run.emit()
        else:
            super().keyPressEvent(event)


class RecentPopover(Popover):
    """Choosing a row runs it and closes the list."""

    def __init__(
        self, theme: Theme, pictures: PictureStore, recents: RecentWorkflows, acts: RecentActs
    ) -> None:
        super().__init__(theme, _WIDTH)
        self._theme, self._pictures, self._recents, self._acts = theme, pictures, recents, acts
        self._list = column(gap=2)
        self._list.addStretch(1)
        inner = QWidget()
        inner.setLayout(self._list)
        self._scroll = ScrollBox(inner, "Workflows")
        self.body.addWidget(Text(theme, "Workflows", "section"))
        self.body.addWidget(self._scroll)
        recents.changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        clear(self._list)
        for recent in self._recents.all:
            self._list.addWidget(self._row(recent))
        if not self._recents.all:
            text = "Workflows that you run appear here, with their last picture."
            self._list.addWidget(Wrapped(self._theme, text, "body", "text2"))
        self._list.addStretch(1)
        self._scroll.setFixedHeight(min(self._list.sizeHint().height() + 4, _HIGHEST))
        self._fit()

    def _row(self, recent: Recent) -> RecentRow:
        made = RecentRow(self._theme, self._pictures, recent)
        made.run.connect(lambda: self._chosen(self._acts.run, recent))
        made.tune.clicked.connect(lambda: self._chosen(self._acts.tune, recent))
        made.keep.clicked.connect(lambda: self._recents.keep(recent.path, kept=not recent.kept))
        made.forget.clicked.connect(lambda: self._recents.forget(recent.path))
        return made

    def _chosen(self, act: Callable[[Path], None], recent: Recent) -> None:
        self.close()
        act(Path(recent.path))
