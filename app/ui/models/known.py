"""The selected file: both sizes, how it is, its checksum, and what its own header says."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from ...jobs.figures import size
from ..theme import Theme
from ..widgets.basics import Button, Text, Wrapped, column, row
from ..widgets.copying import CopyLine
from ..widgets.small import PillLabel
from .parts import Facts, title_row
from .shown import KnownShown, ModelRow
from .words import folder_of, look_of, name_of


class FileSection(QWidget):
    """Shown while one file is selected. Signals: ``closed``: no file shall be selected."""

    closed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._row: ModelRow | None = None
        self._known: KnownShown | None = None
        self.close_button = Button(theme, kind="bare", icon="x", size="small", tip="Close the details")
        self.close_button.clicked.connect(self.closed)
        self._name = Wrapped(theme, "", "row", longest=24)
        self.pill = PillLabel(theme)
        self._note, self._problem = (
            Wrapped(theme, "", "caption", "text2"),
            Wrapped(theme, "", "caption", "red"),
        )
        self._facts = Facts(theme)
        self.sha, self.triggers = (
            CopyLine(theme, "the SHA-256"),
            CopyLine(theme, "the trigger words", "caption"),
        )
        self._sha_box = _under(theme, "SHA-256", self.sha)
        self._triggers_box = _under(theme, "Trigger words", self.triggers)
        layout = column(gap=8)
        layout.addLayout(title_row(theme, "Selected file", self.close_button))
        layout.addWidget(self._name)
        layout.addLayout(row(self.pill, None))
        parts = (self._problem, self._note, self._facts, self._sha_box, self._triggers_box)
        for part in parts:
            layout.addWidget(part)
        self.setLayout(layout)
        self.hide()

    @property
    def path(self) -> str:
        """The file that is shown; empty: none."""
        return self._row.path if self._row is not None else ""

    def show_row(self, row: ModelRow | None) -> None:
        """None: no file is selected. What is known of another file is forgotten."""
        self._row = row
        if row is None or (self._known is not None and self._known.path != row.path):
            self._known = None
        self._show()

    def show_known(self, known: KnownShown | None) -> None:
        """Of a file that is not the selected one it is left out."""
        if known is None or known.path == self.path:
            self._known = known
            self._show()

    def _show(self) -> None:
        row, known = self._row, self._known
        self.setVisible(row is not None)
        if row is None:
            return
        self._name.setText(name_of(row.path))
        look = look_of(row)
        self.pill.set(look.text, "grey" if look.tone == "text3" else look.tone, look.icon)
        note = " ".join(text for text in (row.note, row.hint) if text)
        self._note.setText(note)
        self._note.setVisible(bool(note))
        problem = known.problem if known is not None else ""
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        lines = [("Folder", folder_of(row.path)), ("This computer", _size(row.local_size))]
        lines += [("Volume", _size(row.volume_size))]
        if known is not None:
            lines += [("Type", known.kind), ("Base model", known.base_model), *known.extra]
            if not known.sha256:
                lines += [("SHA-256", known.sha256_note)]
        self._facts.show_lines(lines)
        self._sha_box.setVisible(known is not None and bool(known.sha256))
        self.sha.show_text(known.sha256 if known is not None else "")
        words = ", ".join(known.triggers) if known is not None else ""
        self._triggers_box.setVisible(bool(words))
        self.triggers.show_text(words)


def _size(count: int | None) -> str:
    return "not there" if count is None else size(count)


def _under(theme: Theme, name: str, line: CopyLine) -> QWidget:
    box = QWidget()
    box.setLayout(column(Text(theme, name, "caption", "text2"), line, gap=0))
    return box
