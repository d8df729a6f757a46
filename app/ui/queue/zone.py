"""The drop zone: the visible promise that the whole window accepts workflows."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from ..theme import Theme
from ..widgets.basics import Button, Icon, KeyCap, Text, column, row

_COMPACT_H, _LARGE_H = 48, 328
_COMPACT_TEXT = ".json, or what ComfyUI saved"
_LARGE_TEXT = "A ComfyUI workflow (.json), or a picture, video or sound made with ComfyUI"


class DropZone(QWidget):
    """Large on an empty page, one line else; lights up while something is dragged over the window.

    Signals:
        open_wanted: the user wants to choose files.
    """

    open_wanted = Signal()

    def __init__(self, theme: Theme, *, large: bool) -> None:
        super().__init__()
        self._theme, self._large = theme, large
        self._drag = ""
        self._icon = Icon(theme, "file-input", "accent_text", 36 if large else 18)
        self._title = Text(
            theme, "Drop a workflow here" if large else "Drop a workflow", "title" if large else "strong"
        )
        self._text = Text(theme, _LARGE_TEXT if large else _COMPACT_TEXT, "body", "text2")
        self._or = Text(theme, "or press", "body", "text2")
        self._key = KeyCap(theme, "Ctrl+O")
        self._over = Text(theme, "", "strong", "accent_text")
        self._over.hide()
        self.setAccessibleName("Drop a workflow")
        if large:
            self._build_large(theme)
        else:
            self.setFixedHeight(_COMPACT_H)
            line = row(self._icon, self._title, self._text, self._over, None, gap=10, margins=(16, 0, 16, 0))
            line.addLayout(row(self._or, self._key))
            self.setLayout(line)
            self.setCursor(Qt.CursorShape.PointingHandCursor)

    def _build_large(self, theme: Theme) -> None:
        self._button = Button(theme, "Open workflow…", "primary", icon="folder-open", keys="Ctrl+O")
        self._button.clicked.connect(self.open_wanted)
        self.setMinimumHeight(220)
        centre = Qt.AlignmentFlag.AlignHCenter
        layout = column(None)
        for part, gap in ((self._icon, 16), (self._title, 4), (self._text, 0), (self._over, 16)):
            layout.addWidget(part, alignment=centre)
            layout.addSpacing(gap)
        line = row(None, self._button, self._or, self._key, None, gap=12)
        layout.addLayout(line)
        layout.addStretch(1)
        self.setLayout(layout)

    def show_drag(self, text: str, *, good: bool) -> None:
        """Show what a release would do; an empty text: nothing is dragged."""
        self._drag = "" if not text else "good" if good else "bad"
        self._over.setText(text)
        self._over.set_role("accent_text" if good else "red")
        self._over.setVisible(bool(text))
        self._text.setVisible(not text)
        if not self._large:
            for part in (self._title, self._or, self._key):
                part.setVisible(not text)
        wrong = self._drag == "bad"
        self._icon.set_icon("circle-alert" if wrong else "file-input", "red" if wrong else "accent_text")
        self.update()

    def mouseReleaseEvent(self, event: object) -> None:
        if not self._large:
            self.open_wanted.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        if self._drag == "good":
            painter.setPen(QPen(theme.color("ring"), 2))
            painter.setBrush(theme.color("accent_soft"))
        else:
            pen = QPen(theme.color("line2"), 1.5)
            pen.setDashPattern([4, 4])
            painter.setPen(pen)
            painter.setBrush(theme.color("bg2") if self._large else theme.color("bg1"))
        painter.drawRoundedRect(box, 10, 10)
