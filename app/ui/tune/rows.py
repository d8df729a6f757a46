"""One input of a workflow as a row: what it is, its value to change, and values to vary it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QLineEdit, QSizePolicy, QWidget

from ...errors import BadInput
from ...workflows.entered import checked
from ...workflows.tuning import Scalar, Tunable
from ..theme import Theme
from ..widgets.basics import Button, Elided, Wrapped, column, row, set_property
from ..widgets.fields import Choice, LinesField
from ..widgets.small import Switch

_LABEL_W, _FIELD_W, _TEXT_H = 176, 336, 84
#: More than that are typed: a list of them would take the window too long.
_MOST_CHOICES = 400


class TunableRow(QWidget):
    """Signals:
    edited: its value, or what it varies over, is another one now.
    choose_wanted: the user wants to pick a picture.
    """

    edited = Signal()
    choose_wanted = Signal(object)

    def __init__(self, theme: Theme, tunable: Tunable) -> None:
        super().__init__()
        self._theme, self.tunable = theme, tunable
        self.file: Path | None = None
        self._label = Elided(theme, tunable.label, "row")
        node = Elided(theme, f"{tunable.title} · {tunable.input}", "caption", "text3")
        labels = column(self._label, node, gap=1)
        names = QWidget()
        names.setFixedWidth(_LABEL_W)
        names.setLayout(labels)
        self._editor, self._read = self._made(theme)
        self.field = QLineEdit()
        self.field.setAccessibleName(f"Values of {tunable.label}")
        self.field.setPlaceholderText(_example(tunable))
        self.field.setMaximumWidth(_FIELD_W)
        self.field.textChanged.connect(self._changed)
        self.field.hide()
        self._wrong = Wrapped(theme, "", "caption", "red")
        self._wrong.hide()
        self.vary = Button(theme, "Vary", "ghost", size="small", tip="Run once for each of several values")
        self.vary.setCheckable(True)
        self.vary.setVisible(tunable.kind not in ("lines", "picture", "switch"))
        self.vary.toggled.connect(self._toggle)
        fields = column(self._editor, self.field, self._wrong, gap=2)
        line = row(gap=16, margins=(16, 8, 16, 8))
        line.addWidget(names, 0, Qt.AlignmentFlag.AlignTop)
        wide = tunable.kind == "lines"
        line.addLayout(fields, 1 if wide else 0)
        line.addWidget(self.vary, 0, Qt.AlignmentFlag.AlignTop)
        if not wide:
            for each in (self._editor, self.field):
                each.setMinimumWidth(_FIELD_W)
            line.addStretch(1)
        self.setLayout(line)

    @property
    def values(self) -> str:
        """What it shall vary over; empty: it does not."""
        return self.field.text().strip() if self.vary.isChecked() else ""

    @property
    def is_wrong(self) -> bool:
        return bool(self._wrong.text())

    def value(self) -> Scalar:
        """What is entered.

        Raises:
            BadInput: when the input cannot hold it; that is shown, too.
        """
        try:
            value = checked(self.tunable, self._read())
        except BadInput as error:
            self._show_wrong(error.sentence)
            raise
        self._show_wrong("")
        return value

    def is_changed(self) -> bool:
        """Whether another value was entered, or one that cannot be."""
        try:
            return self.value() != self.tunable.value
        except BadInput:
            return True

    def show_picture(self, path: Path) -> None:
        """Take a picture of the user's for the input."""
        self.file = path
        if isinstance(self._editor, _Picture):
            self._editor.name.setText(path.name)
        self._changed()

    def _show_wrong(self, text: str) -> None:
        self._wrong.setText(text)
        self._wrong.setVisible(bool(text))
        set_property(self._editor, "wrong", "true" if text else "false")

    def _changed(self, *_: object) -> None:
        changed = self.is_changed() or bool(self.values)
        self._label.set_role("accent_text" if changed else "text")
        self.edited.emit()

    def _toggle(self, on: bool) -> None:
        self.field.setVisible(on)
        self._editor.setVisible(not on)
        self.vary.set_label("One value" if on else "Vary")
        if on:
            self.field.setFocus()
        self._changed()

    def _made(self, theme: Theme) -> tuple[QWidget, Callable[[], Scalar]]:
        """The control, and what reads it."""
        tunable = self.tunable
        name = f"{tunable.label}, {tunable.title}"
        if tunable.kind == "picture":
            picture = _Picture(theme, name, str(tunable.value))
            picture.button.clicked.connect(lambda: self.choose_wanted.emit(self))
            return picture, lambda: tunable.value if self.file is None else self.file.name
        if tunable.kind == "switch":
            switch = Switch(theme, name)
            switch.setChecked(tunable.value is True)
            switch.toggled.connect(self._changed)
            box = QWidget()
            box.setLayout(row(switch, None))
            return box, switch.isChecked
        if tunable.choices and len(tunable.choices) <= _MOST_CHOICES:
            choices = tunable.choices
            choice = Choice(theme, name, _FIELD_W)
            known = [str(number) for number, each in enumerate(choices) if each == tunable.value]
            shown = [(str(number), str(each)) for number, each in enumerate(choices)]
            if not known:
                shown.insert(0, ("", f"{tunable.value} (not there)"))
            choice.show_choices(shown, known[0] if known else "")
            choice.chosen.connect(self._changed)

            def chosen() -> Scalar:
                key = str(choice.currentData())
                return choices[int(key)] if key else tunable.value

            return choice, chosen
        if tunable.kind == "lines":
            lines = LinesField(theme, _TEXT_H, name=name)
            lines.setPlainText(str(tunable.value))
            lines.textChanged.connect(self._changed)
            return lines, lines.toPlainText
        line = QLineEdit(_typed(tunable.value))
        line.setAccessibleName(name)
        line.setMaximumWidth(_FIELD_W)
        line.setCursorPosition(0)
        line.textChanged.connect(self._changed)
        return line, line.text


class _Picture(QFrame):
    """The name of an input picture, and a button that chooses another."""

    def __init__(self, theme: Theme, name: str, value: str) -> None:
        super().__init__()
        self.name = Elided(theme, value, "body")
        self.button = Button(theme, "Choose…", icon="image", size="small")
        self.button.setAccessibleName(f"Choose a picture for {name}")
        line = row(gap=10)
        line.addWidget(self.name, 1)
        line.addWidget(self.button)
        self.setLayout(line)
        self.setMaximumWidth(_FIELD_W)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


def _typed(value: Scalar) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _example(tunable: Tunable) -> str:
    if tunable.kind in ("whole", "number"):
        return "1..10, 5..7:0.5 or 20, 30, 40"
    return "Several, with commas between them"
