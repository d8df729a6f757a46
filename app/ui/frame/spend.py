"""What opens under the spend chip: today, the last days as bars, and where the money went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from ...jobs.costs import money
from ..theme import Theme
from ..widgets.basics import Button, Text, Wrapped, column, hairline, row
from ..widgets.floating import Popover
from ..widgets.small import Bar

_BARS_H, _MOST_LINES = 72, 4


@dataclass(frozen=True, slots=True)
class SpendView:
    """What the popover shows, in USD.

    Attributes:
        days: a short name and the sum of each day, the oldest first.
        parts: names of workflows or endpoints with their sums, the dearest first.
    """

    today: float
    week: float
    limit: float | None
    days: Sequence[tuple[str, float]]
    workflows: Sequence[tuple[str, float]]
    endpoints: Sequence[tuple[str, float]]
    unpriced: int = 0


class DayBars(QWidget):
    """A bar for each day with its name beneath; the highest fills the height."""

    def __init__(self, theme: Theme, days: Sequence[tuple[str, float]]) -> None:
        super().__init__()
        self._theme, self._days = theme, days
        self.setFixedHeight(_BARS_H)
        told = ", ".join(f"{name} {money(usd)}" for name, usd in days)
        self.setAccessibleName(f"Spend by day: {told}")
        self.setToolTip("\n".join(f"{name}  {money(usd)}" for name, usd in days))

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self._days:
            return
        painter, theme = QPainter(self), self._theme
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        most = max(usd for _, usd in self._days) or 1.0
        step = self.width() / len(self._days)
        names_h = 18
        for number, (name, usd) in enumerate(self._days):
            left, height = number * step + 4, max((self.height() - names_h - 4) * usd / most, 2.0)
            today = number == len(self._days) - 1
            painter.setBrush(theme.color("accent" if today else "violet" if usd else "track"))
            painter.drawRoundedRect(QRectF(left, self.height() - names_h - height, step - 8, height), 3, 3)
            painter.setFont(theme.font("caption"))
            painter.setPen(theme.color("text2" if today else "text3"))
            box = QRectF(number * step, self.height() - names_h, step, names_h)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), name)
            painter.setPen(Qt.PenStyle.NoPen)


def spend_popover(
    theme: Theme, view: SpendView, *, check: Callable[[Wrapped], object], limit: Callable[[], object]
) -> Popover:
    """``check`` sets our figures against RunPod's bill and writes into the text that it is given."""
    popover = Popover(theme, 340)
    popover.body.addWidget(Text(theme, "Spend on RunPod", "section"))
    of = f"of {money(view.limit)} today" if view.limit is not None else "today"
    popover.body.addLayout(
        row(Text(theme, money(view.today), "title"), Text(theme, of, "body", "text2"), None)
    )
    if view.limit is not None:
        bar, part = Bar(theme), view.today / view.limit
        bar.set_part(min(part, 1.0), "red_bar" if part >= 1 else "amber_bar" if part >= 0.8 else "blue_bar")
        popover.body.addWidget(bar)
    popover.body.addWidget(DayBars(theme, view.days))
    popover.body.addWidget(Text(theme, f"{money(view.week)} in the last 7 days", "caption", "text2"))
    for title, parts in (("By workflow", view.workflows), ("By endpoint", view.endpoints)):
        if parts:
            popover.body.addWidget(hairline())
            popover.body.addWidget(Text(theme, title, "caption_strong", "text2"))
            popover.body.addLayout(_lines(theme, parts[:_MOST_LINES]))
    popover.body.addWidget(hairline())
    note = "Estimate, RunPod's bill decides."
    if view.unpriced:
        jobs = "1 job has" if view.unpriced == 1 else f"{view.unpriced} jobs have"
        note += f" {jobs} no price and count as nothing."
    said = Wrapped(theme, note, "caption", "text3")
    popover.body.addWidget(said)
    compare, settings = Button(theme, "Compare with the bill"), Button(theme, "Daily limit…")
    compare.clicked.connect(lambda: check(said))
    settings.clicked.connect(popover.close)
    settings.clicked.connect(limit)
    popover.body.addLayout(row(compare, settings))
    return popover


def _lines(theme: Theme, parts: Sequence[tuple[str, float]]) -> QVBoxLayout:
    lines = column(gap=4)
    for name, usd in parts:
        line = row(gap=12)
        line.addWidget(Wrapped(theme, name, "body"), 1)
        line.addWidget(Text(theme, money(usd), "body", "text2"))
        lines.addLayout(line)
    return lines
