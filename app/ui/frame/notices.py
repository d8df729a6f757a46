"""Toasts at the window's corner, and the list of all notices since the start."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QTimer, Signal
from PySide6.QtGui import QEnterEvent, QGuiApplication
from PySide6.QtWidgets import QFrame, QWidget

from ..notices import Kind, Notice, Notices
from ..theme import Theme
from ..widgets.basics import Button, Elided, Icon, Text, Wrapped, column, row
from ..widgets.floating import shadow

_ICON: dict[Kind, tuple[str, str]] = {
    "done": ("circle-check", "green"),
    "info": ("info", "accent_text"),
    "error": ("circle-alert", "red"),
}
_STAYS_S: dict[Kind, float | None] = {"done": 5, "info": 8, "error": None}
_AT_MOST, _WIDTH, _EDGE = 3, 400, 16


class Toast(QFrame):
    """One notice for a while; the pointer over it stops its clock.

    Signals:
        gone: it ended or was closed.
    """

    gone = Signal(object)

    def __init__(self, theme: Theme, notice: Notice) -> None:
        super().__init__()
        self.setProperty("kind", "toast")
        self.setFixedWidth(_WIDTH)
        self.setAccessibleName(f"{notice.title}. {notice.text}")
        self.setGraphicsEffect(shadow(theme, self))
        icon, role = _ICON[notice.kind]
        self.title, self.detail = (
            Elided(theme, notice.title, "strong"),
            Elided(theme, notice.text, "caption", "text2"),
        )
        # Hidden, never shown: without a parent it would be a window for a moment, and close an open menu.
        if not notice.text:
            self.detail.hide()
        texts = column(self.title, self.detail, gap=1)
        line = row(Icon(theme, icon, role, 18), gap=12, margins=(16, 10, 10, 10))
        line.addLayout(texts, 1)
        if notice.action and notice.act is not None:
            button = Button(theme, notice.action, size="small")
            button.clicked.connect(notice.act)
            button.clicked.connect(self.end)
            line.addWidget(button)
        close = Button(theme, kind="bare", icon="x", tip="Close", size="small")
        close.clicked.connect(self.end)
        line.addWidget(close)
        self.setLayout(line)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.end)
        stays = _STAYS_S[notice.kind]
        self._stays_ms = None if stays is None else int(stays * 1000)
        if self._stays_ms is not None:
            self._timer.start(self._stays_ms)

    def end(self) -> None:
        self._timer.stop()
        self.gone.emit(self)

    def enterEvent(self, event: QEnterEvent) -> None:
        self._timer.stop()
        super().enterEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        if self._stays_ms is not None:
            self._timer.start(self._stays_ms)
        super().leaveEvent(event)


class Toasts(QObject):
    """Puts toasts at the bottom right of ``area``, at most three, the newest at the bottom.

    Args:
        right_edge: how far from the area's right edge they keep, as for an open inspector.
    """

    def __init__(self, theme: Theme, area: QWidget, notices: Notices, right_edge: Callable[[], int]) -> None:
        super().__init__(area)
        self._theme, self._area, self._right_edge = theme, area, right_edge
        self.shown: list[Toast] = []
        notices.told.connect(self._show)
        area.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        wanted = QEvent.Type.Resize if watched is self._area else QEvent.Type.LayoutRequest
        if event.type() == wanted:
            self.arrange()
        return False

    def close_newest(self) -> bool:
        """Close one, as Esc does; False when there is none."""
        if not self.shown:
            return False
        self.shown[-1].end()
        return True

    def arrange(self) -> None:
        bottom = self._area.height() - _EDGE
        for toast in reversed(self.shown):
            toast.adjustSize()
            bottom -= toast.height()
            toast.move(self._area.width() - self._right_edge() - _EDGE - toast.width(), bottom)
            toast.raise_()
            bottom -= 8

    def _show(self, notice: Notice) -> None:
        if len(self.shown) == _AT_MOST:
            self.shown[0].end()
        toast = Toast(self._theme, notice)
        toast.setParent(self._area)
        toast.gone.connect(self._drop)
        toast.installEventFilter(self)
        self.shown.append(toast)
        # In its place first: shown in the corner, it would take the pointer there for one over it.
        self.arrange()
        toast.show()

    def _drop(self, toast: Toast) -> None:
        if toast in self.shown:
            self.shown.remove(toast)
        toast.hide()
        toast.deleteLater()
        self.arrange()


def notice_row(theme: Theme, notice: Notice) -> QFrame:
    """One line of the list of past notices."""
    icon, role = _ICON[notice.kind]
    box = QFrame()
    when = Text(theme, time.strftime("%H:%M", time.localtime(notice.at)), "caption", "text3")
    title, text = Wrapped(theme, notice.title, "row"), Wrapped(theme, notice.text, "caption", "text2")
    if not notice.text:
        text.hide()
    line = row(Icon(theme, icon, role, 16), gap=10, margins=(0, 6, 0, 6))
    line.addLayout(column(title, text, gap=1), 1)
    line.addWidget(when)
    copy = Button(theme, kind="bare", icon="copy", tip="Copy details", size="small")
    copy.clicked.connect(
        lambda: QGuiApplication.clipboard().setText(notice.details or f"{notice.title}\n{notice.text}")
    )
    line.addWidget(copy)
    box.setLayout(line)
    return box
