"""Small parts of the ComfyUI page: facts by name, and fields with what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLineEdit, QPlainTextEdit, QVBoxLayout, QWidget

from ..theme import Theme
from ..widgets.basics import Button, Text, Wrapped, column, row, set_property
from .shown import Act

LABEL_W = 84
_FIELD_H, _TITLE_H = 32, 24
_COPIED_MS, _MOST_ACTS = 2_000, 3


class ActRow(QWidget):
    """Buttons that are given from outside. They are made once, so that Tab finds them where they stand.

    Signals:
        acted: the key of the one that was pressed.
    """

    acted = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._acts: tuple[Act, ...] = ()
        self.buttons = [Button(theme, size="small") for _ in range(_MOST_ACTS)]
        for number, button in enumerate(self.buttons):
            button.clicked.connect(lambda _=False, number=number: self.acted.emit(self._acts[number].key))
        self.setLayout(row(*self.buttons))
        self.show_acts(())

    def show_acts(self, acts: Sequence[Act]) -> None:
        """At most three."""
        self._acts = tuple(acts[:_MOST_ACTS])
        self.setVisible(bool(self._acts))
        for number, button in enumerate(self.buttons):
            button.setVisible(number < len(self._acts))
        for button, act in zip(self.buttons, self._acts, strict=False):
            button.set_label(act.text)
            button.setToolTip(act.tip)
            button.setEnabled(act.enabled)
            set_property(button, "kind", act.kind)


class CopyButton(Button):
    """Says for two seconds that something was copied."""

    def __init__(self, theme: Theme, text: str) -> None:
        super().__init__(theme, text, icon="copy", size="small")
        self._label = text
        self.clicked.connect(self._say)

    def _say(self) -> None:
        self.setMinimumWidth(self.width())
        self.set_label("Copied")
        QTimer.singleShot(_COPIED_MS, self, lambda: self.set_label(self._label))


class Facts(QWidget):
    """Names and values, one a line; values can be selected. Those without a value have no line."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.lines: tuple[tuple[str, str], ...] = ()
        self._box = QWidget()
        self._layout = column(self._box)
        self.setLayout(self._layout)

    def show_lines(self, lines: Sequence[tuple[str, str]], *, mono: Sequence[str] = ()) -> None:
        """``mono`` names those whose values are code."""
        lines = tuple((label, value) for label, value in lines if value)
        if lines == self.lines:
            return
        self.lines = lines
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(6)
        grid.setColumnMinimumWidth(0, LABEL_W)
        grid.setColumnStretch(1, 1)
        for number, (label, value) in enumerate(lines):
            shown = Wrapped(self._theme, value, "mono" if label in mono else "caption", longest=24)
            shown.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            shown.setAccessibleName(f"{label}: {value}")
            grid.addWidget(Text(self._theme, label, "caption", "text3"), number, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(shown, number, 1)
        self._layout.replaceWidget(self._box, box)
        self._box.hide()
        self._box.deleteLater()
        self._box = box
        self.setVisible(bool(lines))


def line_field(prompt: str = "") -> QLineEdit:
    field = QLineEdit()
    field.setPlaceholderText(prompt)
    field.setFixedHeight(_FIELD_H)
    return field


class Field(QWidget):
    """A control under its name; what is wrong is said beneath, and the control gets a red border.

    Args:
        beside: a button at its right, as one to browse with.
    """

    def __init__(self, theme: Theme, label: str, control: QWidget, beside: QWidget | None = None) -> None:
        super().__init__()
        self.control = control
        control.setAccessibleName(label)
        self._wrong = Wrapped(theme, "", "caption", "red")
        self._wrong.hide()
        line = row(gap=8)
        line.addWidget(control, 1)
        if beside is not None:
            line.addWidget(beside)
        layout: QVBoxLayout = column(Text(theme, label, "caption", "text3"), gap=4)
        layout.addLayout(line)
        layout.addWidget(self._wrong)
        self.setLayout(layout)

    @property
    def wrong(self) -> str:
        return self._wrong.text()

    def show_wrong(self, text: str) -> None:
        """A sentence; empty: all is well."""
        self._wrong.setText(text)
        self._wrong.setVisible(bool(text))
        self.control.setAccessibleDescription(text)
        set_property(self.control, "wrong", "true" if text else "false")


class OutputText(QPlainTextEdit):
    """What a program said, to read, select and copy."""

    def __init__(self, theme: Theme, name: str, text: str, height: int) -> None:
        super().__init__(text)
        self._theme = theme
        self.setProperty("kind", "log")
        self.setReadOnly(True)
        self.setUndoRedoEnabled(False)
        self.setAccessibleName(name)
        self.setTabChangesFocus(True)
        self.setFixedHeight(height)
        self.setFont(theme.font("mono"))

    def sizeHint(self) -> QSize:
        return QSize(120, self.height())

    def copy_all(self) -> None:
        QGuiApplication.clipboard().setText(self.toPlainText())


def title_row(theme: Theme, title: str, *parts: QWidget) -> QHBoxLayout:
    """A section's title, and what stands at its right."""
    line = row(Text(theme, title, "section"), None, *parts)
    line.addStrut(_TITLE_H)
    return line
