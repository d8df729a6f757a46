"""The installation in use: where it is, what runs it, and how it is started, changed in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QWidget

from ..theme import Theme
from ..widgets.basics import Button, Wrapped, column, row
from ..widgets.fields import LinesField
from .parts import Facts, Field, line_field, title_row
from .shown import InstallFacts, OptionName, Options

_NAMES: Final[tuple[OptionName, ...]] = ("arguments", "environment", "port", "models")
_LINES_H = 76
_NONE = "No ComfyUI yet. Install one, or choose its folder."


class OptionEditors(QWidget):
    """Each change counts as soon as its field is left. What is refused stays in its field, marked.

    Signals:
        changed: the :class:`Options` as they are typed now.
        browse_wanted: the user wants to look for the folder of models.
    """

    changed = Signal(object)
    browse_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        browse = Button(theme, "Browse…")
        browse.clicked.connect(self.browse_wanted)
        self._known = Options()
        self.controls: dict[OptionName, QLineEdit | LinesField] = {
            "arguments": line_field("--preview-method auto"),
            "environment": LinesField(theme, _LINES_H, prompt="NAME=VALUE, one a line", font="mono"),
            "port": line_field("automatic"),
            "models": line_field("the installation's own"),
        }
        self.fields: dict[OptionName, Field] = {
            "arguments": Field(theme, "Arguments", self.controls["arguments"]),
            "environment": Field(theme, "Environment", self.controls["environment"]),
            "port": Field(theme, "Port", self.controls["port"]),
            "models": Field(theme, "Models folder", self.controls["models"], browse),
        }
        self.setLayout(column(*self.fields.values(), gap=12))
        for control in self.controls.values():
            control.editingFinished.connect(self._finished)

    def options(self) -> Options:
        """What is typed."""
        return Options(**{name: self.controls[name].text().strip() for name in _NAMES})

    def show_options(self, options: Options) -> None:
        """What is in force now. What was typed and not taken stays in its field."""
        for name in _NAMES:
            control, before, now = self.controls[name], getattr(self._known, name), getattr(options, name)
            if control.text().strip() in (before, now):
                if control.text().strip() != now:
                    control.setText(now)
                self.fields[name].show_wrong("")
        self._known = options

    def show_problems(self, problems: Mapping[OptionName, str]) -> None:
        """A sentence for each field that cannot be used; the others are well."""
        for name, field in self.fields.items():
            field.show_wrong(problems.get(name, ""))

    def put(self, name: OptionName, text: str) -> None:
        """Fill a field as if it had been typed."""
        self.controls[name].setText(text)
        self._finished()

    def reset(self) -> None:
        """Show again what is in force."""
        for name in _NAMES:
            self.controls[name].setText(getattr(self._known, name))
        self.show_problems({})

    def _finished(self) -> None:
        # What was wrong is told again, also when it is the old value once more.
        if self.options() != self._known or any(field.wrong for field in self.fields.values()):
            self.changed.emit(self.options())


class InstallationSection(QWidget):
    """Signals: ``folder_wanted``: another one is wanted."""

    folder_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.change = Button(theme, "Change…", "link", size="small")
        self.change.setAccessibleName("Change ComfyUI's folder…")
        self.change.clicked.connect(self.folder_wanted)
        self._facts, self._none = Facts(theme), Wrapped(theme, _NONE, "caption", "text2")
        self._note = Wrapped(theme, "", "caption", "amber")
        self.editors = OptionEditors(theme)
        self.edit = Button(theme, "Edit…", size="small", tip="Arguments, environment, port, models folder")
        self.edit.clicked.connect(self._toggle)
        self._shown: InstallFacts | None = None
        layout = column(gap=8)
        layout.addLayout(title_row(theme, "Installation", self.change))
        for part in (self._none, self._facts, self.editors, self._note):
            layout.addWidget(part)
        layout.addLayout(row(self.edit, None))
        self.setLayout(layout)
        self.editors.hide()
        self.show_installation(None)

    @property
    def is_editing(self) -> bool:
        return not self.editors.isHidden()

    def show_installation(self, facts: InstallFacts | None) -> None:
        """None: there is none yet."""
        self._shown = facts
        self._none.setVisible(facts is None)
        self.edit.setVisible(facts is not None)
        self.change.setVisible(facts is not None)
        if facts is None:
            self.editors.hide()
        else:
            self.editors.show_options(facts.options)
        self._show_facts()

    def set_editing(self, *, editing: bool) -> None:
        """Open the editors, or close them and forget what was refused."""
        if editing != self.is_editing:
            self.editors.reset()
            self.editors.setVisible(editing)
            self._show_facts()

    def _toggle(self) -> None:
        self.set_editing(editing=not self.is_editing)
        if self.is_editing:
            self.editors.controls["arguments"].setFocus()

    def _show_facts(self) -> None:
        facts, editing = self._shown, self.is_editing
        self.edit.set_label("Done" if editing else "Edit…")
        self._note.setText(facts.note if facts is not None else "")
        self._note.setVisible(bool(self._note.text()))
        if facts is None:
            self._facts.show_lines(())
            return
        lines = [("Folder", facts.folder), ("Version", facts.version), ("Python", facts.python)]
        lines += [] if editing else [("Models", facts.models)]
        lines += [("Output", facts.output)]
        lines += [] if editing else [("Arguments", facts.arguments), ("Port", facts.port)]
        self._facts.show_lines(lines, mono=("Arguments",))
