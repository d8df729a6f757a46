"""Fields to type into."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QPainter, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QComboBox, QLineEdit, QPlainTextEdit, QSizePolicy

from ..theme import Theme
from .basics import Button, set_property

_LEAST_W = 96
_EYE, _BESIDE_EYE = 26, 30


class SearchField(QLineEdit):
    """A field with a magnifying glass, and a cross that empties it."""

    def __init__(self, theme: Theme, prompt: str, width: int) -> None:
        super().__init__()
        self._theme = theme
        self.setPlaceholderText(prompt)
        self.setAccessibleName(prompt)
        self._width = width
        self.setFixedHeight(32)
        self.setMaximumWidth(width)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setClearButtonEnabled(True)
        self._glass = self.addAction(theme.icon("search", "text3"), QLineEdit.ActionPosition.LeadingPosition)
        theme.changed.connect(self._restyle)

    def sizeHint(self) -> QSize:
        return QSize(self._width, 32)

    def minimumSizeHint(self) -> QSize:
        return QSize(_LEAST_W, 32)

    def _restyle(self) -> None:
        self._glass.setIcon(self._theme.icon("search", "text3"))
        self.setFont(self._theme.font("body"))


class SecretField(QLineEdit):
    """A field for a key. It holds what is being typed, nothing else; a key in force is shown as its mask."""

    def __init__(self, theme: Theme, name: str, prompt: str) -> None:
        super().__init__()
        self._theme, self._prompt = theme, prompt
        self.setAccessibleName(name)
        self.setProperty("kind", "secret")
        self.setFixedHeight(32)
        self.setMinimumWidth(168)
        self.setMaximumWidth(264)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setEchoMode(QLineEdit.EchoMode.Password)
        self.setTextMargins(0, 0, _BESIDE_EYE, 0)
        self._key = self.addAction(theme.icon("key-round", "text3"), QLineEdit.ActionPosition.LeadingPosition)
        self.eye = Button(theme, "", "bare", icon="eye", size="small", tip="Show what is typed")
        self.eye.setParent(self)
        self.eye.setCheckable(True)
        self.eye.toggled.connect(self._reveal)
        self.textChanged.connect(self._typed)
        self.show_mask("")
        self._typed("")
        self._restyle()
        theme.changed.connect(self._restyle)

    def sizeHint(self) -> QSize:
        return QSize(240, 32)

    def show_mask(self, mask: str) -> None:
        """Show that there is a key, by what :func:`app.settings.masked` left of it."""
        self.setPlaceholderText(mask or self._prompt)
        set_property(self, "held", "true" if mask else "false")

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.eye.move(self.width() - _EYE - 6, (self.height() - self.eye.height()) // 2)

    def _typed(self, text: str) -> None:
        # What was typed to its end is hidden again.
        self.eye.setVisible(bool(text))
        if not text:
            self.eye.setChecked(False)

    def _reveal(self, shown: bool) -> None:
        self.setEchoMode(QLineEdit.EchoMode.Normal if shown else QLineEdit.EchoMode.Password)
        self.eye.set_icon("eye-off" if shown else "eye")
        self.eye.setToolTip("Hide what is typed" if shown else "Show what is typed")
        self.eye.setAccessibleName(self.eye.toolTip())

    def _restyle(self) -> None:
        self._key.setIcon(self._theme.icon("key-round", "text3"))
        self.eye.setFixedHeight(_EYE + 2)


class Choice(QComboBox):
    """One of a list, each with the same icon before it.

    Signals:
        chosen: the key that the user chose.
    """

    chosen = Signal(str)

    def __init__(self, theme: Theme, name: str, width: int, *, icon: str = "", role: str = "text2") -> None:
        super().__init__()
        self._theme, self._icon, self._role, self._wide = theme, icon, role, width
        self.setAccessibleName(name)
        self.setFixedHeight(32)
        self.setMinimumWidth(140)
        self.setMaximumWidth(width)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.activated.connect(lambda number: self.chosen.emit(str(self.itemData(number))))
        self._restyle()
        theme.changed.connect(self._restyle)

    def sizeHint(self) -> QSize:
        return QSize(self._wide, 32)

    def minimumSizeHint(self) -> QSize:
        return QSize(140, 32)

    def show_choices(self, choices: Sequence[tuple[str, str]], key: str) -> None:
        """Offer these, each by its key and its text; none of them is in force when the key is not there."""
        self.clear()
        for each, text in choices:
            self.addItem(text, each)
        self.setCurrentIndex(self.findData(key))
        self._restyle()

    def wheelEvent(self, event: QWheelEvent) -> None:
        # The wheel scrolls the page; it does not choose by accident.
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        role = "text2" if self.isEnabled() else "ctl"
        arrow = self._theme.pixmap("chevron-down", role, 16, self.devicePixelRatio())
        painter.drawPixmap(self.width() - 26, (self.height() - 16) // 2, arrow)

    def _restyle(self) -> None:
        self.setFont(self._theme.font("row"))
        if self._icon:
            for number in range(self.count()):
                self.setItemIcon(number, self._theme.icon(self._icon, self._role))


class LinesField(QPlainTextEdit):
    """A few lines to type. Tab leaves it; the wheel scrolls the page when all of it is in sight.

    Args:
        font: a role of the theme's.

    Signals:
        editingFinished: the user has left it.
    """

    editingFinished = Signal()

    def __init__(
        self, theme: Theme, height: int, *, prompt: str = "", name: str = "", font: str = "body"
    ) -> None:
        super().__init__()
        self._theme, self._font = theme, font
        self.setProperty("kind", "field")
        self.setPlaceholderText(prompt)
        self.setAccessibleName(name)
        self.setTabChangesFocus(True)
        self.setFixedHeight(height)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        self._restyle()
        theme.changed.connect(self._restyle)

    def text(self) -> str:
        return self.toPlainText()

    def setText(self, text: str) -> None:
        self.setPlainText(text)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        if event.reason() is not Qt.FocusReason.PopupFocusReason:
            self.editingFinished.emit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.verticalScrollBar().maximum() == 0:
            event.ignore()
        else:
            super().wheelEvent(event)

    def _restyle(self) -> None:
        self.setFont(self._theme.font(self._font))
