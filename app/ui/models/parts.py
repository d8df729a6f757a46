"""Small parts of the Models page: names and values, a stacked bar, a card to choose by."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QRadioButton, QSizePolicy, QWidget

from ..theme import Theme
from ..widgets.basics import Text, Wrapped, column, row, set_property

_TITLE_H, _LABEL_W = 24, 100
_BAR_H, _RING = 8, 16
#: Colours of a stacked bar's pieces, the largest first.
PIECES = ("transfer", "blue_bar", "green_bar", "amber_bar")


class Facts(QWidget):
    """Names and values, one a line; lines are made once and change their texts."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._lines: list[tuple[QWidget, Text, Wrapped]] = []
        self._column = column(gap=6)
        self.setLayout(self._column)

    def show_lines(self, lines: Sequence[tuple[str, str]]) -> None:
        """Those without a value have no line."""
        shown = [(label, value) for label, value in lines if value]
        while len(self._lines) < len(shown):
            self._lines.append(self._made())
        for number, (box, label, value) in enumerate(self._lines):
            box.setVisible(number < len(shown))
            if number < len(shown) and (label.text(), value.text()) != shown[number]:
                label.setText(shown[number][0])
                value.setText(shown[number][1])
                value.setAccessibleName(": ".join(shown[number]))
        self.setVisible(bool(shown))

    def _made(self) -> tuple[QWidget, Text, Wrapped]:
        box, label = QWidget(), Text(self._theme, "", "caption", "text2")
        value = Wrapped(self._theme, "", "caption", "text", longest=24)
        value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        label.setMinimumWidth(_LABEL_W)
        line = row(gap=8)
        line.addWidget(label, 0, Qt.AlignmentFlag.AlignTop)
        line.addWidget(value, 1)
        box.setLayout(line)
        self._column.addWidget(box)
        return box, label, value


class StackBar(QWidget):
    """What a whole is made of, as pieces side by side; the rest of it is blank."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.parts: tuple[float, ...] = ()
        self.setFixedHeight(_BAR_H)

    def show_parts(self, parts: Sequence[float], said: str) -> None:
        """``parts``: of the whole, 0 to 1 together. ``said``: the same in words."""
        self.setAccessibleName(said)
        if tuple(parts) != self.parts:
            self.parts = tuple(parts)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, theme = QPainter(self), self._theme
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        box, radius = QRectF(self.rect()), self.height() / 2
        painter.setBrush(theme.color("track"))
        painter.drawRoundedRect(box, radius, radius)
        left = 0.0
        for number, part in enumerate(self.parts):
            width = box.width() * part
            painter.setBrush(theme.color(PIECES[min(number, len(PIECES) - 1)]))
            # Round at the left end only, which the first piece is; a hair of the track divides them.
            piece = QRectF(left, 0, max(width - 1, 1), box.height())
            painter.setClipRect(piece)
            painter.drawRoundedRect(
                piece if number else box, 0 if number else radius, 0 if number else radius
            )
            painter.setClipping(False)
            left += width


class ChoiceCard(QRadioButton):
    """One of several ways, as a card: a ring, a title and a sentence. Keys and screen readers see a radio."""

    def __init__(self, theme: Theme, title: str, text: str) -> None:
        super().__init__()
        self._theme = theme
        self.setProperty("kind", "choice")
        self.setAccessibleName(title)
        self.setAccessibleDescription(text)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        texts = column(Text(theme, title, "row"), gap=2)
        self._text = Wrapped(theme, text, "caption", "text2")
        texts.addWidget(self._text)
        line = row(gap=0, margins=(12 + _RING + 12, 10, 12, 10))
        line.addLayout(texts, 1)
        self.setLayout(line)
        for part in self.findChildren(QWidget):
            part.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.toggled.connect(lambda on: set_property(self, "chosen", "true" if on else "false"))

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        layout = self.layout()
        return layout.totalHeightForWidth(width) if layout is not None else super().heightForWidth(width)

    def sizeHint(self) -> QSize:
        layout = self.layout()
        return layout.totalSizeHint() if layout is not None else super().sizeHint()

    def minimumSizeHint(self) -> QSize:
        return QSize(160, self.heightForWidth(max(self.width(), 160)))

    def hitButton(self, position: object) -> bool:
        return True

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, theme = QPainter(self), self._theme
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        on = self.isChecked()
        painter.setPen(theme.color("accent" if on else "line2" if self.underMouse() else "line"))
        painter.setBrush(theme.color("bg2"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 10, 10)
        ring = QRectF(12.5, 12.5, _RING - 1, _RING - 1)
        painter.setPen(theme.color("accent" if on else "ctl"))
        painter.setBrush(theme.color("accent" if on else "bg2"))
        painter.drawEllipse(ring)
        if on:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("on_accent"))
            painter.drawEllipse(ring.center(), 3, 3)


def title_row(theme: Theme, title: str, *parts: QWidget, kind: str = "section") -> QHBoxLayout:
    """A section's title, and what stands at its right."""
    line = row(Text(theme, title, kind), None, *parts)
    line.addStrut(_TITLE_H)
    return line
