"""Texts, buttons, hairlines and boxes with the theme's fonts and icons, following its changes."""

from __future__ import annotations

import re
from typing import TypeVar

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import (
    QContextMenuEvent,
    QFontMetrics,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..theme import Theme

_L = TypeVar("_L", bound=QBoxLayout)
#: A place inside a word where a line may end; it has no width.
_MAY_BREAK = "\u200b"
_PIECES = re.compile(r"[^_./\\-]{1,8}[_./\\-]?|[_./\\-]")


class Text(QLabel):
    """A label of the type scale in a colour role. Plain text: what comes from files is never markup."""

    def __init__(self, theme: Theme, text: str = "", kind: str = "body", role: str = "text") -> None:
        super().__init__(text)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self._theme, self._kind = theme, kind
        self.setProperty("role", role)
        self._restyle()
        theme.changed.connect(self._restyle)

    def set_role(self, role: str) -> None:
        if self.property("role") != role:
            self.setProperty("role", role)
            repolish(self)

    def _restyle(self) -> None:
        self.setFont(self._theme.font(self._kind))


class Wrapped(Text):
    """Several lines. Words longer than the room, as names of files, are broken too; copied they are whole.

    Args:
        longest: how many letters of a word fit; only longer ones are broken.
    """

    def __init__(
        self, theme: Theme, text: str = "", kind: str = "body", role: str = "text", *, longest: int = 34
    ) -> None:
        super().__init__(theme, "", kind, role)
        self._long_word = re.compile(rf"[!-~]{{{longest + 1},}}")
        self.setWordWrap(True)
        self.setText(text)

    def text(self) -> str:
        return super().text().replace(_MAY_BREAK, "")

    def setText(self, text: str) -> None:
        super().setText(self._long_word.sub(lambda word: _MAY_BREAK.join(_PIECES.findall(word[0])), text))
        self.setAccessibleName(text)

    def copy(self) -> None:
        """What is selected, else all of it."""
        QGuiApplication.clipboard().setText(self.selectedText().replace(_MAY_BREAK, "") or self.text())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if self.textInteractionFlags() & Qt.TextInteractionFlag.TextSelectableByMouse:
            menu = QMenu(self)
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.addAction("Copy").triggered.connect(self.copy)
            menu.popup(event.globalPos())


class Elided(Text):
    """One line that ends in an ellipsis where the room ends; the whole text is the tooltip then."""

    def __init__(self, theme: Theme, text: str = "", kind: str = "body", role: str = "text") -> None:
        super().__init__(theme, "", kind, role)
        self.setText(text)

    def setText(self, text: str) -> None:
        super().setText(" ".join(text.splitlines()))
        self._set_tip()

    def minimumSizeHint(self) -> QSize:
        return QSize(24, super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        return QSize(
            QFontMetrics(self.font()).horizontalAdvance(self.text()) + 2, super().sizeHint().height()
        )

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._set_tip()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(self._theme.color(str(self.property("role"))))
        painter.setFont(self.font())
        text = QFontMetrics(self.font()).elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(self.rect(), int(self.alignment() | Qt.AlignmentFlag.AlignVCenter), text)

    def _set_tip(self) -> None:
        short = QFontMetrics(self.font()).horizontalAdvance(self.text()) > self.width()
        self.setToolTip(self.text() if short else "")


class Button(QPushButton):
    """A button of one kind of the style sheet: primary, secondary, ghost, danger, link, icon, bare …"""

    def __init__(
        self,
        theme: Theme,
        text: str = "",
        kind: str = "secondary",
        *,
        icon: str = "",
        role: str = "",
        tip: str = "",
        keys: str = "",
        size: str = "",
    ) -> None:
        super().__init__(f" {text}" if icon and text else text)
        self._theme, self._icon_name = theme, icon
        self._role = role or _ICON_ROLE.get(kind, "text2")
        self.setProperty("kind", kind)
        if size:
            self.setProperty(size, True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setIconSize(QSize(16, 16))
        if keys:
            shown = QKeySequence(keys).toString(QKeySequence.SequenceFormat.NativeText)
            tip = f"{tip or text} ({shown})"
        if tip:
            self.setToolTip(tip)
        if not text:
            self.setAccessibleName(tip)
        self._restyle()
        theme.changed.connect(self._restyle)

    def set_icon(self, name: str, role: str = "") -> None:
        self._icon_name, self._role = name, role or self._role
        self._restyle()

    def set_label(self, text: str) -> None:
        self.setText(f" {text}" if self._icon_name and text else text)

    def _restyle(self) -> None:
        self.setFont(self._theme.font("row"))
        if self._icon_name:
            self.setIcon(self._theme.icon(self._icon_name, self._role, self.iconSize().width()))


_ICON_ROLE = {
    "primary": "on_accent",
    "destroy": "on_accent",
    "danger": "red",
    "secondary": "text",
    "link": "accent_text",
}


class Icon(QLabel):
    """An icon in a role's colour."""

    def __init__(self, theme: Theme, name: str, role: str = "text2", size: int = 16) -> None:
        super().__init__()
        self._theme, self._name, self._role, self._size = theme, name, role, size
        self.setFixedSize(size, size)
        self._restyle()
        theme.changed.connect(self._restyle)

    def set_icon(self, name: str, role: str) -> None:
        if (name, role) != (self._name, self._role):
            self._name, self._role = name, role
            self._restyle()

    def _restyle(self) -> None:
        self.setPixmap(self._theme.pixmap(self._name, self._role, self._size, self.devicePixelRatio()))


class KeyCap(Text):
    """A key as printed on a keyboard."""

    def __init__(self, theme: Theme, keys: str) -> None:
        shown = QKeySequence(keys).toString(QKeySequence.SequenceFormat.NativeText)
        super().__init__(theme, shown, "pill", "text2")
        self.setProperty("kind", "keycap")
        self.setFixedHeight(24)


def frame(kind: str) -> QFrame:
    """A box that the style sheet draws: card, error, note, popover, hairline, divider …"""
    made = QFrame()
    made.setProperty("kind", kind)
    return made


def hairline() -> QFrame:
    return frame("hairline")


def row(
    *parts: QWidget | int | None, gap: int = 8, margins: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> QHBoxLayout:
    """Parts side by side: a number is a gap in pixels, None takes the room that is left."""
    return _filled(QHBoxLayout(), parts, gap, margins)


def column(
    *parts: QWidget | int | None, gap: int = 0, margins: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> QVBoxLayout:
    """Parts one below the other, as :func:`row`."""
    return _filled(QVBoxLayout(), parts, gap, margins)


def _filled(
    layout: _L, parts: tuple[QWidget | int | None, ...], gap: int, margins: tuple[int, int, int, int]
) -> _L:
    layout.setContentsMargins(*margins)
    layout.setSpacing(gap)
    for part in parts:
        if part is None:
            layout.addStretch(1)
        elif isinstance(part, int):
            layout.addSpacing(part)
        else:
            layout.addWidget(part)
    return layout


def repolish(widget: QWidget) -> None:
    """Draw a widget anew after a property that the style sheet looks at has changed."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)
    widget.update()


def set_property(widget: QWidget, name: str, value: object) -> None:
    """Set a property that the style sheet looks at."""
    if widget.property(name) != value:
        widget.setProperty(name, value)
        repolish(widget)


def clear(layout: QBoxLayout) -> None:
    """Take everything out of a layout and let it go."""
    while (item := layout.takeAt(0)) is not None:
        if (widget := item.widget()) is not None:
            widget.hide()
            widget.deleteLater()
        elif isinstance(inner := item.layout(), QBoxLayout):
            clear(inner)
