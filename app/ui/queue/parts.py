"""Parts of the inspector: the error card, the files there are, parameters, log and traceback."""

from __future__ import annotations

import re
from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontMetrics, QGuiApplication, QSyntaxHighlighter, QTextOption
from PySide6.QtWidgets import QFrame, QGridLayout, QPlainTextEdit, QVBoxLayout, QWidget

from ...jobs.cards import ErrorCard
from ...workflows.parameters import Parameter
from ..theme import Theme
from ..widgets.basics import Button, Elided, Icon, Text, Wrapped, clear, column, frame, row, set_property
from ..widgets.small import PillLabel

_LINES_SHOWN, _FILES_SHOWN = 4, 8
_LABEL_W = 76
_BOX_ICONS = {"error": "red", "note": "amber"}
_ERROR = re.compile(r"error|exception|traceback|failed|invalid|^\* |^ +- ", re.IGNORECASE)
_WARNING = re.compile(r"warn|rejected|ignored", re.IGNORECASE)


#: What a card offers: the name of the action, its text and its icon.
Remedy = tuple[str, str, str]


class ErrorBox(QFrame):
    """What went wrong, or what is missing: title, sentences, the place, what to do.

    Signals:
        acted: the name of the remedy that the user wants.
    """

    acted = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.setProperty("kind", "error")
        self._title = Wrapped(theme, "", "section")
        self._text, self._place = Wrapped(theme), Wrapped(theme, "", "caption", "text2")
        self._hint = Wrapped(theme, "", "caption", "text2")
        for label in (self._title, self._text, self._place, self._hint):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._icons = {kind: Icon(theme, "circle-alert", role) for kind, role in _BOX_ICONS.items()}
        self.remedies: list[Button] = []
        head = row(*self._icons.values(), gap=10)
        head.addWidget(self._title, 1)
        inner = column(margins=(16, 16, 16, 16), gap=8)
        inner.addLayout(head)
        for label in (self._text, self._place, self._hint):
            inner.addWidget(label)
        inner.addSpacing(4)
        self._acts = column(gap=8)
        inner.addLayout(self._acts)
        self.setLayout(inner)

    def show_error(self, card: ErrorCard, remedies: Sequence[Remedy], *, is_note: bool = False) -> None:
        """The first remedy is the one that is meant; ``is_note``: nothing has failed yet."""
        kind = "note" if is_note else "error"
        set_property(self, "kind", kind)
        for name, icon in self._icons.items():
            icon.setVisible(name == kind)
        self._title.setText(card.title)
        for label, text in ((self._text, card.text), (self._place, card.place), (self._hint, card.hint)):
            label.setText(text)
            label.setVisible(bool(text))
        clear(self._acts)
        self.remedies = []
        for number, (name, text, icon_name) in enumerate(remedies):
            look = "primary" if is_note and not number else "secondary"
            button = Button(self._theme, text, look, icon=icon_name)
            button.clicked.connect(lambda _=False, name=name: self.acted.emit(name))
            self._acts.addLayout(row(button, None))
            self.remedies.append(button)
        self.setAccessibleName(f"{card.title}. {card.text}")


class FileList(QWidget):
    """The files that are there instead of one that is missing; the closest is marked."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._head, self._count = (
            Text(theme, "", "caption_strong", "text2"),
            Text(theme, "", "caption", "text3"),
        )
        self._box = frame("card")
        self._lines = QVBoxLayout(self._box)
        self._lines.setContentsMargins(12, 10, 12, 10)
        self._lines.setSpacing(4)
        layout = column(gap=8)
        layout.addLayout(row(self._head, None, self._count))
        layout.addWidget(self._box)
        self.setLayout(layout)

    def show_files(self, kind: str, names: Sequence[str], closest: str | None) -> None:
        clear(self._lines)
        self._head.setText(f"Available in {kind}")
        self._count.setText(f"{len(names)} {'file' if len(names) == 1 else 'files'}")
        first = [name for name in names if name == closest]
        shown = [*first, *(name for name in names if name != closest)][:_FILES_SHOWN]
        for name in shown:
            line = QWidget()
            label = Elided(self._theme, name, "mono")
            parts = row(Icon(self._theme, "box", "text3", 14), gap=8)
            parts.addWidget(label, 1)
            if name == closest:
                parts.addWidget(PillLabel(self._theme, "closest", "violet"))
            line.setLayout(parts)
            self._lines.addWidget(line)
        if not shown:
            self._lines.addWidget(Text(self._theme, "None", "caption", "text3"))


class Parameters(QWidget):
    """Label and value, every value selectable, with buttons that copy and change them.

    Signals:
        change_wanted: the user wants to run it with other ones.
    """

    change_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._values: Sequence[Parameter] = ()
        self._grid_box = QWidget()
        self._copy = Button(theme, "Copy all", "ghost", icon="copy", size="small")
        self._copy.clicked.connect(self.copy)
        layout = column(gap=8)
        change = Button(theme, "Change…", "ghost", icon="sliders-horizontal", size="small")
        change.setToolTip("Run it with other values, once or several times (E)")
        change.clicked.connect(self.change_wanted)
        head = Text(theme, "Parameters", "caption_strong", "text2")
        layout.addLayout(row(head, None, change, self._copy, gap=4))
        layout.addWidget(self._grid_box)
        self._layout = layout
        self.setLayout(layout)

    def show_parameters(self, values: Sequence[Parameter]) -> None:
        self._values = values
        self.setVisible(bool(values))
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(5)
        grid.setColumnMinimumWidth(0, _LABEL_W)
        grid.setColumnStretch(1, 1)
        for number, each in enumerate(values):
            label = Text(self._theme, each.label, "caption", "text3")
            grid.addWidget(label, number, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(_Value(self._theme, each), number, 1)
        self._layout.replaceWidget(self._grid_box, box)
        self._grid_box.hide()
        self._grid_box.deleteLater()
        self._grid_box = box

    def as_text(self) -> str:
        return "\n".join(f"{each.label}: {each.value}" for each in self._values)

    def copy(self) -> None:
        QGuiApplication.clipboard().setText(self.as_text())


class _Value(QWidget):
    """A value of up to four lines, then "Show all"."""

    def __init__(self, theme: Theme, parameter: Parameter) -> None:
        super().__init__()
        text = Wrapped(theme, parameter.value, longest=20)
        text.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        text.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        layout = column(text, gap=2)
        if len(parameter.value) > 180 or parameter.value.count("\n") >= _LINES_SHOWN:
            text.setMaximumHeight(_LINES_SHOWN * QFontMetrics(text.font()).lineSpacing())
            more = Button(theme, "Show all", "link", size="small")
            more.clicked.connect(lambda: text.setMaximumHeight(16_777_215))
            more.clicked.connect(more.hide)
            layout.addWidget(more)
        self.setLayout(layout)


class _LogColours(QSyntaxHighlighter):
    """Whole lines in the colour of what they say: errors, warnings."""

    def __init__(self, theme: Theme, log: QPlainTextEdit) -> None:
        super().__init__(log.document())
        self._theme = theme
        theme.changed.connect(self.rehighlight)

    def highlightBlock(self, text: str) -> None:
        role = "red" if _ERROR.search(text) else "amber" if _WARNING.search(text) else ""
        if role:
            self.setFormat(0, len(text), self._theme.color(role))


class LogText(QPlainTextEdit):
    """Lines of a log or a traceback, to read, select and copy."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self._theme = theme
        self.setProperty("kind", "log")
        self.setReadOnly(True)
        self.setUndoRedoEnabled(False)
        self.setAccessibleName(name)
        self.setTabChangesFocus(True)
        self.setMinimumHeight(220)
        self._colours = _LogColours(theme, self)
        self.set_wrapped(wrapped=True)
        self._restyle()
        theme.changed.connect(self._restyle)

    def set_wrapped(self, *, wrapped: bool) -> None:
        mode = QTextOption.WrapMode
        self.setWordWrapMode(mode.WrapAtWordBoundaryOrAnywhere if wrapped else mode.NoWrap)

    def _restyle(self) -> None:
        self.setFont(self._theme.font("mono"))
