"""The runnable examples on an empty page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QEvent, QRect, Qt, Signal
from PySide6.QtGui import QEnterEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QFrame, QWidget

from ...files import resource
from ..theme import Theme
from ..widgets.basics import Icon, Text, column, row, set_property
from ..widgets.paint import paint_picture


@dataclass(frozen=True, slots=True)
class Example:
    """A workflow that comes with the program and needs no models."""

    title: str
    makes: str
    name: str
    inputs: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """The workflow, and the pictures that it takes."""
        return [resource("workflows", name) for name in (f"{self.name}.json", *self.inputs)]

    @property
    def picture(self) -> Path:
        return resource("workflows", "previews", f"{self.name}.jpg")


EXAMPLES = (
    Example("First picture", "1 image · about 1 s", "hello"),
    Example("Six in a batch", "6 images · about 1 s", "batch"),
    Example("Soft focus", "1 image · about 2 s", "photo", ("photo.png",)),
    Example("Four ways to see it", "4 images · about 2 s", "variations", ("photo.png",)),
)


class _Cover(QWidget):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._picture = QPixmap(str(path))
        self.setMinimumHeight(80)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._picture.isNull():
            return
        # The widest part of it with the tile's shape, so that nothing is stretched.
        part = self.size().scaled(self._picture.size(), Qt.AspectRatioMode.KeepAspectRatio)
        left, top = (self._picture.width() - part.width()) // 2, (self._picture.height() - part.height()) // 2
        paint_cover = self._picture.copy(QRect(left, top, part.width(), part.height()))
        paint_picture(painter, paint_cover, self.rect(), 6, square=False)


class ExampleCard(QFrame):
    """Signals: ``run`` with the example's files."""

    run = Signal(object)

    def __init__(self, theme: Theme, example: Example) -> None:
        super().__init__()
        self._example = example
        self.setProperty("kind", "card")
        self.setAccessibleName(f"Run the example {example.title}, {example.makes}")
        self.setToolTip("Run this example")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        texts = column(Text(theme, example.title, "strong"), Text(theme, example.makes, "caption", "text2"))
        foot = row(margins=(8, 6, 8, 4))
        foot.addLayout(texts, 1)
        foot.addWidget(Icon(theme, "play", "text2"))
        cover = _Cover(example.picture)
        layout = column(margins=(8, 8, 8, 8))
        layout.addWidget(cover, 1)
        layout.addLayout(foot)
        self.setLayout(layout)
        self.setMinimumHeight(150)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.run.emit(self._example.files)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.run.emit(self._example.files)
        else:
            super().keyPressEvent(event)

    def enterEvent(self, event: QEnterEvent) -> None:
        set_property(self, "hovered", "true")

    def leaveEvent(self, event: QEvent) -> None:
        set_property(self, "hovered", "false")
