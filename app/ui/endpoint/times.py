"""How long workflows wait, start and run on an endpoint: three marks of each, as words and as a strip."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QWidget

from ...jobs.figures import duration
from ...jobs.times import Percentiles, Times
from ..theme import Theme
from ..widgets.basics import Elided, Text, Wrapped, column, row
from ..widgets.scrolling import ScrollBox

_STRIP_H, _MOST_H = 6, 216
_MEANING = "Each: half of the jobs, nine in ten, and 99 in 100 took at most so long."
#: Title, and the colour of its strips.
_KINDS = (("Wait", "ctl"), ("Cold start", "amber_bar"), ("Run", "blue_bar"))


class SpreadStrip(QWidget):
    """A bar whose three steps end at the three marks.

    Args:
        most: what its whole width stands for, in seconds.
    """

    def __init__(self, theme: Theme, spread: Percentiles, most: float, role: str) -> None:
        super().__init__()
        self._theme, self._spread, self._most, self._role = theme, spread, most or 1.0, role
        self.setFixedHeight(_STRIP_H)
        self.setMinimumWidth(40)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        radius = self.height() / 2
        painter.setBrush(self._theme.color("track"))
        painter.drawRoundedRect(QRectF(self.rect()), radius, radius)
        spread = self._spread
        for seconds, strength in ((spread.p99, 0.35), (spread.p90, 0.6), (spread.p50, 1.0)):
            colour = QColor(self._theme.color(self._role))
            colour.setAlphaF(strength)
            painter.setBrush(colour)
            width = max(self.width() * min(seconds / self._most, 1.0), self.height())
            painter.drawRoundedRect(QRectF(0, 0, width, self.height()), radius, radius)


class TimesCard(QFrame):
    """All workflows that ran on the endpoint lately."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "card")
        self._theme = theme
        self._since = Text(theme, "", "caption", "text3")
        self._none = Wrapped(theme, "No job of this computer has run here yet.", "body", "text2")
        self._meaning = Wrapped(theme, _MEANING, "caption", "text3")
        self._grid_box = QWidget()
        self._scroll = ScrollBox(self._grid_box, "Times of workflows")
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        inner = column(margins=(16, 12, 0, 14), gap=8)
        inner.addLayout(row(Text(theme, "Times", "section"), None, self._since, margins=(0, 0, 16, 0)))
        inner.addWidget(self._none)
        inner.addWidget(self._scroll, 1)
        inner.addWidget(self._meaning)
        inner.addStretch(0)
        self.setLayout(inner)
        self.show_times((), "")

    def show_times(self, rows: Sequence[Times], since: str) -> None:
        """The workflows, the one that ran last first."""
        self._since.setText(since)
        self._none.setVisible(not rows)
        self._scroll.setVisible(bool(rows))
        self._meaning.setVisible(bool(rows))
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 16, 0)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(8)
        for place, title in enumerate(("Workflow", *(title for title, _ in _KINDS), "Jobs")):
            grid.addWidget(Text(self._theme, title, "caption", "text3"), 0, place)
        for number, each in enumerate(rows, 1):
            name = Elided(self._theme, each.name, "row")
            name.setMinimumWidth(72)
            grid.addWidget(name, number, 0)
            for place, (_, role) in enumerate(_KINDS, 1):
                spread, most = _of(each, place), _most(rows, place)
                grid.addWidget(_cell(self._theme, spread, most, role), number, place)
            count = Text(self._theme, str(each.run.count), "body", "text2")
            count.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            grid.addWidget(count, number, len(_KINDS) + 1)
            told = [
                f"{title.lower()} {_words(spread)}"
                for n, (title, _) in enumerate(_KINDS, 1)
                if (spread := _of(each, n)) is not None
            ]
            name.setAccessibleName(f"{each.name}, {each.run.count} jobs: {'; '.join(told)}")
        for place, stretch in enumerate((3, 2, 2, 2, 0)):
            grid.setColumnStretch(place, stretch)
        grid.setRowStretch(len(rows) + 1, 1)
        self._scroll.setWidget(box)
        box.setAutoFillBackground(False)
        self._scroll.setFixedHeight(min(box.sizeHint().height(), _MOST_H))


def _cell(theme: Theme, spread: Percentiles | None, most: float, role: str) -> QWidget:
    cell = QWidget()
    if spread is None:
        cell.setLayout(row(Text(theme, "–", "caption", "text3"), None))
    else:
        words = Elided(theme, _words(spread), "caption", "text2")
        cell.setLayout(column(SpreadStrip(theme, spread, most, role), words, gap=3))
    return cell


def _words(spread: Percentiles) -> str:
    return " · ".join(duration(each) for each in (spread.p50, spread.p90, spread.p99))


def _of(row: Times, place: int) -> Percentiles | None:
    return (row.waited, row.cold_start, row.run)[place - 1]


def _most(rows: Sequence[Times], place: int) -> float:
    return max((spread.p99 for each in rows if (spread := _of(each, place)) is not None), default=0.0)
