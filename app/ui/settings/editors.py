"""The controls of settings: each shows one value, and says what the user made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QWidget

from ...errors import BadInput
from ..theme import Theme
from ..widgets.basics import Button, Text, row, set_property
from ..widgets.small import Segments, Switch


class Editor(QWidget):
    """One setting's control.

    Signals:
        entered: the value to save, None to take the setting away. A text that cannot be read comes as it is.
    """

    entered = Signal(object)

    def show_value(self, value: Any, *, fixed: str = "") -> None:
        """Show a value in force; ``fixed`` says who decides it when the user cannot."""
        raise NotImplementedError

    def mark_wrong(self, *, wrong: bool) -> None:
        """Draw the control as one that holds what cannot be used."""

    def is_typed_in(self) -> bool:
        """Whether the user is in the middle of it."""
        return False


class TextField(Editor):
    """A line of text: as it is, or read and shown by functions.

    Args:
        read: makes the value of a text that is not empty; it raises ValueError or BadInput when it cannot.
        unit: the word behind the field.
        sign: what stands before the text, inside the field.
    """

    def __init__(
        self,
        theme: Theme,
        name: str,
        *,
        width: int = 288,
        prompt: str = "",
        unit: str = "",
        read: Callable[[str], Any] = str,
        show: Callable[[Any], str] = str,
    ) -> None:
        super().__init__()
        self._read, self._show, self._known = read, show, ""
        self.field = QLineEdit()
        self.field.setAccessibleName(name)
        self.field.setPlaceholderText(prompt)
        self.field.setFixedHeight(32)
        self.field.setMinimumWidth(min(width, 140))
        self.field.setFixedWidth(width)
        self.field.editingFinished.connect(self._finish)
        self.setLayout(row(self.field, *([Text(theme, unit, "body", "text2")] if unit else [])))

    def show_value(self, value: Any, *, fixed: str = "") -> None:
        self._known = "" if value is None else self._show(value)
        self.field.setText(self._known)
        self.field.setCursorPosition(0)
        self.field.setToolTip(fixed or self._known)
        self.field.setReadOnly(bool(fixed))
        self.mark_wrong(wrong=False)

    def mark_wrong(self, *, wrong: bool) -> None:
        set_property(self.field, "wrong", "true" if wrong else "false")

    def is_typed_in(self) -> bool:
        return self.field.hasFocus() and self.field.isModified()

    def value(self) -> Any:
        """What is typed: None for nothing, and the text itself when it cannot be read."""
        text = self.field.text().strip()
        try:
            return self._read(text) if text else None
        except (BadInput, ValueError):
            return text

    def _finish(self) -> None:
        # What was wrong is told again, also when it is the old value once more.
        is_news = self.field.text().strip() != self._known or self.field.property("wrong") == "true"
        if is_news and not self.field.isReadOnly():
            self.entered.emit(self.value())


class LimitField(TextField):
    """An amount that can be switched off: None then."""

    def __init__(self, theme: Theme, name: str, usual: float) -> None:
        super().__init__(theme, name, width=96, read=_dollars_typed, show=_dollars)
        self._usual = usual
        self.switch = Switch(theme, f"{name} on")
        self.layout().setSpacing(16)  # type: ignore[union-attr]
        self.layout().addWidget(self.switch)  # type: ignore[union-attr]
        self.switch.toggled.connect(self._switched)

    def show_value(self, value: Any, *, fixed: str = "") -> None:
        amount = value
        if amount is None:
            amount = self.value() if isinstance(self.value(), float) else self._usual
        super().show_value(amount, fixed=fixed)
        self.field.setEnabled(value is not None)
        self.switch.blockSignals(True)
        self.switch.setChecked(value is not None)
        self.switch.blockSignals(False)
        self.switch.setEnabled(not fixed)
        self.switch.setToolTip(fixed)

    def _switched(self, on: bool) -> None:
        amount = self.value()
        self.entered.emit((self._usual if amount is None else amount) if on else None)


class SwitchField(Editor):
    """On or off."""

    def __init__(self, theme: Theme, name: str, *, on: Any = True, off: Any = False) -> None:
        super().__init__()
        self._on, self._off = on, off
        self.switch = Switch(theme, name)
        self.switch.toggled.connect(lambda checked: self.entered.emit(self._on if checked else self._off))
        self.setLayout(row(self.switch))

    def show_value(self, value: Any, *, fixed: str = "") -> None:
        self.switch.blockSignals(True)
        self.switch.setChecked(value == self._on)
        self.switch.blockSignals(False)
        self.switch.setEnabled(not fixed)
        self.switch.setToolTip(fixed)


class SegmentsField(Editor):
    """One of few."""

    def __init__(self, theme: Theme, name: str, choices: Sequence[tuple[Any, str]]) -> None:
        super().__init__()
        self._values = {str(value): value for value, _ in choices}
        self.segments = Segments(theme, [(str(value), text) for value, text in choices], name)
        self.segments.chosen.connect(lambda key: self.entered.emit(self._values[key]))
        self.setLayout(row(self.segments))

    def show_value(self, value: Any, *, fixed: str = "") -> None:
        self.segments.choose(str(value))
        self.segments.setEnabled(not fixed)
        self.segments.setToolTip(fixed)


class PathField(TextField):
    """A path to type or to browse for.

    Signals:
        browse_wanted: the user wants to look for it.
    """

    browse_wanted = Signal()

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__(theme, name, show=short_path)
        self.button = Button(theme, "Browse…")
        self.button.clicked.connect(self.browse_wanted)
        self.layout().addWidget(self.button)  # type: ignore[union-attr]

    def show_value(self, value: Any, *, fixed: str = "") -> None:
        super().show_value(value, fixed=fixed)
        if not fixed:
            self.field.setToolTip(str(value or ""))
        self.button.setEnabled(not fixed)
        self.button.setToolTip(fixed)


def short_path(path: Path) -> str:
    """As people write it, with ``~`` for their home."""
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except ValueError:
        return str(path)


def in_units_of(seconds: int) -> Callable[[float], str]:
    """Seconds in minutes, hours …"""
    return lambda value: f"{value / seconds:.4g}"


def typed_in_units_of(seconds: int) -> Callable[[str], float]:
    return lambda text: float(text) * seconds


def _dollars(amount: float) -> str:
    return f"$ {amount:.2f}"


def _dollars_typed(text: str) -> float:
    return float(text.removeprefix("$"))
