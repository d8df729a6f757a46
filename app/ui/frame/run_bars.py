"""The latest runs of an endpoint as bars: how long each waited, started its worker, and ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from ...jobs.figures import duration
from ..theme import Theme

_HEIGHT, _WIDEST, _GAP = 48, 12, 2


@dataclass(frozen=True, slots=True)
class RunBar:
    """One run, in seconds: its wait for a warm worker, or the start of a cold one, and its run."""

    waited_s: float
    start_s: float
    run_s: float


class RunBars(QWidget):
    """The oldest at the left; the longest run fills the height."""

    def __init__(self, theme: Theme, bars: Sequence[RunBar], told: str) -> None:
        super().__init__()
        self._theme, self._bars = theme, bars
        self.setFixedHeight(_HEIGHT)
        self.setAccessibleName(f"The last {len(bars)} runs: {told}")
        longest = max((sum((bar.waited_s, bar.start_s, bar.run_s)) for bar in bars), default=0.0)
        self.setToolTip(f"Grey waited, amber started a worker, blue ran. The highest is {duration(longest)}.")

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, theme = QPainter(self), self._theme
        painter.setPen(Qt.PenStyle.NoPen)
        most = max((bar.waited_s + bar.start_s + bar.run_s for bar in self._bars), default=0.0) or 1.0
        step = min(self.width() / max(len(self._bars), 1), _WIDEST)
        for number, bar in enumerate(self._bars):
            bottom = float(self.height())
            for role, seconds in (
                ("blue_bar", bar.run_s), ("amber_bar", bar.start_s), ("ctl", bar.waited_s),
            ):  # fmt: skip
                height = self.height() * seconds / most
                painter.setBrush(theme.color(role))
                painter.drawRect(QRectF(number * step, bottom - height, step - _GAP, height))
                bottom -= height
