"""What stands for work: icons that turn while it is under way, and the round mark of a step."""

from __future__ import annotations

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QIcon, QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QWidget

from ..theme import Theme
from .basics import Button, Icon
from .paint import TURNS, centred, paint_icon

_STEP = 32


def spinner(theme: Theme, role: str, size: int, ratio: float) -> QPixmap:
    """The icon of work under way as it stands now."""
    pixmap = QPixmap(round(size * ratio), round(size * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    paint_icon(painter, theme, TURNS, role, QRect(0, 0, size, size))
    painter.end()
    return pixmap


def spinner_icon(theme: Theme, role: str, size: int, ratio: float) -> QIcon:
    """The same for a button; it looks the same in a disabled one."""
    pixmap = spinner(theme, role, size, ratio)
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Disabled)
    return icon


class BusyButton(Button):
    """A button whose icon turns while what it began is under way; :meth:`tick` draws the next position."""

    is_busy = False

    def set_busy(self, *, busy: bool, why: str = "") -> None:
        """``why`` is the tooltip while it is busy, and cannot be pressed."""
        self.is_busy = busy
        self.setEnabled(not busy)
        self.setToolTip(why if busy else "")
        self._restyle()

    def tick(self) -> None:
        if self.is_busy:
            self._restyle()

    def _restyle(self) -> None:
        super()._restyle()
        if self.is_busy:
            self.setIcon(spinner_icon(self._theme, "text2", self.iconSize().width(), self.devicePixelRatio()))


class BusyMark(Icon):
    """An icon that turns while it stands for work under way; :meth:`tick` draws its next position."""

    moves = False

    def show_mark(self, icon: str, role: str) -> None:
        self.moves = icon == TURNS
        self.setVisible(bool(icon))
        if icon:
            self.set_icon(icon, role)

    def tick(self) -> None:
        if self.moves:
            self._restyle()

    def _restyle(self) -> None:
        if self.moves:
            self.setPixmap(spinner(self._theme, self._role, self._size, self.devicePixelRatio()))
        else:
            super()._restyle()


class StepMark(QWidget):
    """How a step is: its icon on a round ground, 32 px."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme, self.icon, self._tone = theme, "circle-dashed", "grey"
        self.setFixedSize(_STEP, _STEP)

    def set(self, icon: str, tone: str, name: str) -> None:
        self.setAccessibleName(name)
        if (icon, tone) != (self.icon, self._tone):
            self.icon, self._tone = icon, tone
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color(f"{self._tone}_soft"))
        painter.drawEllipse(self.rect())
        paint_icon(
            painter, self._theme, self.icon, self._tone, centred(self.rect().adjusted(0, 0, -1, -1), 16)
        )
