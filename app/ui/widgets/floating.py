"""What floats above the pages: popovers under a control, and questions that block."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QKeyEvent
from PySide6.QtWidgets import QDialog, QFrame, QGraphicsDropShadowEffect, QVBoxLayout, QWidget

from ..loop import shown
from ..theme import Theme
from .basics import Button, Wrapped, column, frame, row

_SHADOW_ROOM = 24


def shadow(theme: Theme, parent: QWidget) -> QGraphicsDropShadowEffect:
    """What lets a floating box stand out; for the few of them only, never for lists."""
    effect = QGraphicsDropShadowEffect(parent)
    effect.setOffset(0, 8)
    effect.setBlurRadius(_SHADOW_ROOM)
    effect.setColor(QColor(0, 0, 0, 170 if theme.is_dark else 56))
    return effect


class Popover(QWidget):
    """A box under a control. Esc, a click elsewhere or losing the focus closes it; the focus goes back."""

    def __init__(self, theme: Theme, width: int) -> None:
        super().__init__(
            None,
            Qt.WindowType.Popup | Qt.WindowType.FramelessWindowHint | Qt.WindowType.NoDropShadowWindowHint,
        )
        self.setAttribute(Qt.WidgetAttribute.WA_TranslucentBackground)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box = frame("popover")
        box.setFixedWidth(width)
        box.setGraphicsEffect(shadow(theme, box))
        self.body = QVBoxLayout(box)
        self.body.setContentsMargins(16, 14, 16, 16)
        self.body.setSpacing(8)
        room = _SHADOW_ROOM
        self.setLayout(column(box, margins=(room, 4, room, room)))
        self._came_from: QWidget | None = None
        # After its texts have got their new size.
        theme.changed.connect(self._fit, Qt.ConnectionType.QueuedConnection)

    def _fit(self) -> None:
        self.adjustSize()

    def open_under(self, control: QWidget, *, right: bool = False) -> None:
        """Show below ``control``, at its left or right edge, inside the screen."""
        self.adjustSize()
        self._came_from = control
        # Its window keeps it; without a parent it would be gone with the caller's last reference.
        self.setParent(control.window(), self.windowFlags())
        place = control.mapToGlobal(QPoint(control.width() if right else 0, control.height() + 4))
        x = place.x() - (self.width() - _SHADOW_ROOM if right else _SHADOW_ROOM)
        screen = control.screen().availableGeometry()
        x = min(max(x, screen.left() - _SHADOW_ROOM), screen.right() - self.width() + _SHADOW_ROOM)
        self.move(x, place.y())
        self.show()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close()
            if self._came_from is not None:
                self._came_from.setFocus(Qt.FocusReason.PopupFocusReason)
        else:
            super().keyPressEvent(event)


class Question(QDialog):
    """A question about loss or money: the safe answer is the default and takes Enter and Esc."""

    def __init__(
        self,
        theme: Theme,
        parent: QWidget,
        title: str,
        text: str,
        safe: str,
        act: str,
        *,
        destroys: bool = True,
    ) -> None:
        super().__init__(parent, Qt.WindowType.FramelessWindowHint | Qt.WindowType.Dialog)
        self.setAttribute(Qt.WidgetAttribute.WA_TranslucentBackground)
        self.setWindowTitle(title)
        box: QFrame = frame("dialog")
        box.setFixedWidth(440)
        box.setGraphicsEffect(shadow(theme, box))
        head, body = Wrapped(theme, title, "dialog"), Wrapped(theme, text, "body", "text2")
        self.safe_button = Button(theme, safe)
        self.act_button = Button(theme, act, "destroy" if destroys else "primary")
        self.safe_button.setDefault(True)
        self.act_button.setAutoDefault(False)
        self.safe_button.clicked.connect(self.reject)
        self.act_button.clicked.connect(self.accept)
        self._inner = column(head, 8, body, 24, margins=(24, 24, 24, 24))
        self._inner.addLayout(row(None, self.safe_button, self.act_button))
        box.setLayout(self._inner)
        room = _SHADOW_ROOM
        self.setLayout(column(box, margins=(room, room, room, room)))
        self.safe_button.setFocus(Qt.FocusReason.PopupFocusReason)

    def insert(self, part: QWidget) -> None:
        """Put something below the text, as a list of what it is about."""
        self._inner.insertWidget(self._inner.count() - 2, part)
        self._inner.insertSpacing(self._inner.count() - 3, 12)

    async def ask(self) -> bool:
        """Whether the user chose to act."""
        try:
            return await shown(self) == QDialog.DialogCode.Accepted
        finally:
            self.deleteLater()
