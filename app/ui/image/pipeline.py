"""The four stages side by side: how each is, and how far."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from ..theme import Theme
from ..widgets.basics import Icon, row
from ..widgets.paint import centred, paint_bar, paint_icon, paint_text, text_width
from .shown import Stage, StageShown, StageState
from .words import STAGES, TITLES, detail_of, spoken, took

_HEIGHT, _LEAST_W, _PAD, _ROUND, _BAR_H = 74, 120, 12, 32, 4
_BARS = {
    StageState.DONE: "green_bar", StageState.FAILED: "red_bar", StageState.CANCELLED: "ctl",
}  # fmt: skip


class StageCard(QAbstractButton):
    """A stage's icon, name, time, line and bar. A click opens its part of the log.

    Where there is little room the time goes first; it stands in the log and the tooltip, too.
    """

    def __init__(self, theme: Theme, stage: Stage) -> None:
        super().__init__()
        self._theme, self.shown = theme, StageShown(stage)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.show_stage(self.shown)
        theme.changed.connect(self.updateGeometry)

    def show_stage(self, shown: StageShown) -> None:
        before, self.shown = self.shown, shown
        is_same_run = before.state is shown.state is StageState.RUNNING
        if is_same_run and before.part is not None and shown.part is not None:
            # A bar never goes back while its stage runs.
            self._part: float | None = max(self._part or 0.0, shown.part)
        else:
            self._part = 1.0 if shown.state is StageState.DONE else shown.part
        self.setText(TITLES[shown.stage])
        self.setAccessibleName(spoken(shown))
        self.setToolTip("\n".join(part for part in (detail_of(shown), took(shown.took_s)) if part))
        self.update()

    @property
    def moves(self) -> bool:
        return self.shown.state is StageState.RUNNING

    def sizeHint(self) -> QSize:
        return QSize(_LEAST_W, round(_HEIGHT * self._theme.text_scale))

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, theme, shown = QPainter(self), self._theme, self.shown
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        look = STAGES[shown.state]
        painter.setPen(theme.color(self._edge()))
        painter.setBrush(theme.color("bg2"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 10, 10)
        box = self.rect().adjusted(_PAD, _PAD, -_PAD, -_PAD)
        ground = QRect(box.left(), box.top(), _ROUND, _ROUND)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color(f"{look.tone}_soft"))
        painter.drawEllipse(ground)
        paint_icon(painter, theme, look.icon, look.tone, centred(ground.adjusted(0, 0, -1, -1), 16))
        texts = box.adjusted(_ROUND + 10, 0, 0, 0)
        line = round(18 * theme.text_scale)
        self._paint_title(painter, QRect(texts.left(), texts.top() - 1, texts.width(), line))
        below = QRect(texts.left(), texts.top() + line, texts.width(), line)
        role = "red" if shown.state is StageState.FAILED else "text2"
        paint_text(painter, theme, below, detail_of(shown), "caption", role)
        bar = QRect(box.left(), box.bottom() + 1 - _BAR_H, box.width(), _BAR_H)
        paint_bar(painter, theme, bar, _BARS.get(shown.state, "blue_bar"), self._part)

    def _paint_title(self, painter: QPainter, box: QRect) -> None:
        theme, time = self._theme, took(self.shown.took_s)
        room = text_width(theme, self.text(), "section") + 8 + text_width(theme, time, "pill")
        if time and room <= box.width():
            paint_text(painter, theme, box, time, "pill", "text2", Qt.AlignmentFlag.AlignRight)
        ahead = self.shown.state in (StageState.TO_COME, StageState.SKIPPED)
        paint_text(painter, theme, box, self.text(), "section", "text2" if ahead else "text")

    def _edge(self) -> str:
        if self.shown.state is StageState.RUNNING:
            return "accent"
        if self.shown.state is StageState.FAILED:
            return "red_bar"
        return "line2" if self.underMouse() else "line"


class Pipeline(QWidget):
    """Signals: ``opened`` with a :class:`Stage` whose log is wanted."""

    opened = Signal(object)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.cards = {stage: StageCard(theme, stage) for stage in Stage}
        line = row(gap=6)
        for number, (stage, card) in enumerate(self.cards.items()):
            if number:
                line.addWidget(Icon(theme, "chevron-right", "text3", 12))
            line.addWidget(card, 1)
            card.clicked.connect(lambda _=False, stage=stage: self.opened.emit(stage))
        self.setLayout(line)

    def show_stages(self, stages: Sequence[StageShown]) -> None:
        for shown in stages:
            self.cards[shown.stage].show_stage(shown)

    @property
    def running(self) -> StageShown | None:
        """The first stage that runs."""
        return next((card.shown for card in self.cards.values() if card.moves), None)

    def tick(self) -> None:
        for card in self.cards.values():
            if card.moves:
                card.update()
