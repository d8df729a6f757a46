"""Small painted widgets: pill, bar, dot, switch, segmented control, step circle."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QButtonGroup, QCheckBox, QFrame, QProgressBar, QSizePolicy, QWidget

from ..theme import Theme
from .basics import Button, row
from .paint import paint_bar, paint_pill, pill_height, pill_width


class PillLabel(QWidget):
    """A state with its word and icon."""

    def __init__(self, theme: Theme, text: str = "", tone: str = "grey", icon: str = "") -> None:
        super().__init__()
        self._theme = theme
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.set(text, tone, icon)
        theme.changed.connect(self.updateGeometry)

    def set(self, text: str, tone: str, icon: str = "") -> None:
        self._text, self._tone, self._icon = text, tone, icon
        self.setAccessibleName(text)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(pill_width(self._theme, self._text, self._icon), pill_height(self._theme))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_pill(painter, self._theme, 0, 0, self._text, self._tone, self._icon)


class Bar(QProgressBar):
    """A progress bar, 4 px high; never goes back until it is reset."""

    def __init__(self, theme: Theme, height: int = 4) -> None:
        super().__init__()
        self._theme = theme
        self._part: float | None = 0.0
        self._role = "blue_bar"
        self.setRange(0, 1000)
        self.setTextVisible(False)
        self.setFixedHeight(height)

    def set_part(self, part: float | None, role: str = "blue_bar", *, anew: bool = False) -> None:
        """Fill to ``part`` (0 to 1); None for work of unknown length; ``anew`` may go back."""
        if part is not None and self._part is not None and not anew:
            part = max(part, self._part)
        self._part, self._role = part, role
        self.setValue(0 if part is None else round(part * 1000))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_bar(painter, self._theme, self.rect(), self._role, self._part)


class Dot(QWidget):
    """A round spot in a role's colour, 8 px."""

    def __init__(self, theme: Theme, role: str = "ctl") -> None:
        super().__init__()
        self._theme, self._role = theme, role
        self.setFixedSize(8, 8)

    def set_role(self, role: str) -> None:
        self._role = role
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color(self._role))
        painter.drawEllipse(self.rect())


class Switch(QCheckBox):
    """On or off; changes apply at once."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self._theme = theme
        self.setAccessibleName(name)
        self.setFixedSize(36, 20)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def hitButton(self, position: object) -> bool:
        return True

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setOpacity(1.0 if self.isEnabled() else 0.5)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("accent" if self.isChecked() else "ctl"))
        painter.drawRoundedRect(QRectF(self.rect()), 10, 10)
        painter.setBrush(Qt.GlobalColor.white)
        painter.drawEllipse(QRect(self.width() - 18 if self.isChecked() else 2, 2, 16, 16))


class Segments(QFrame):
    """A choice of few.

    Signals:
        chosen: the key that is in force now, by the user's doing.
    """

    chosen = Signal(str)

    def __init__(
        self, theme: Theme, choices: Sequence[tuple[str, str]], name: str, *, compact: bool = False
    ) -> None:
        super().__init__()
        self.setProperty("kind", "segments")
        self.setAccessibleName(name)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, Button] = {}
        for key, text in choices:
            button = Button(theme, text, "segment", size="compact" if compact else "")
            button.setCheckable(True)
            button.clicked.connect(lambda _=False, key=key: self.chosen.emit(key))
            self._group.addButton(button)
            self._buttons[key] = button
        self.setLayout(row(*self._buttons.values(), gap=2, margins=(2, 2, 2, 2)))
        self.setFixedHeight(32)
        # Compact ones take the width there is, and can be narrower than they would like.
        across = QSizePolicy.Policy.Preferred if compact else QSizePolicy.Policy.Fixed
        self.setSizePolicy(across, QSizePolicy.Policy.Fixed)

    def choose(self, key: str) -> None:
        self._buttons[key].setChecked(True)

    def set_text(self, key: str, text: str) -> None:
        """Another text for a choice, as one with a count."""
        if self._buttons[key].text() != text:
            self._buttons[key].setText(text)

    def key(self) -> str:
        return next((key for key, button in self._buttons.items() if button.isChecked()), "")


class StepCircle(QWidget):
    """A numbered step of a sequence, 24 px."""

    def __init__(self, theme: Theme, number: int) -> None:
        super().__init__()
        self._theme, self._number, self._state = theme, number, "ahead"
        self.setFixedSize(24, 24)

    def set_state(self, state: str) -> None:
        """``now``, ``passed`` or ``ahead``."""
        self._state = state
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("bg4" if self._state == "ahead" else "accent"))
        painter.drawEllipse(self.rect())
        painter.setFont(theme.font("caption_strong"))
        painter.setPen(theme.color("text2" if self._state == "ahead" else "on_accent"))
        painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignCenter), str(self._number))
