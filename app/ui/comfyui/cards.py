"""The cards above the log: how ComfyUI is, why it does not run, and what a custom node would change."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from ..theme import Theme
from ..widgets.basics import Button, Elided, Icon, Text, Wrapped, clear, column, frame, row
from ..widgets.changes import ChangeList, versions
from ..widgets.small import Bar, Dot
from .parts import ActRow, CopyButton
from .shown import Act, Crash, Figures, Preview, RunState

_NOT_KNOWN = "–"
_CARD_H, _DOT = 70, 10
#: Word and colour of the spot.
_STATES: Final[dict[RunState, tuple[str, str]]] = {
    "not_set_up": ("Not set up", "ctl"),
    "stopped": ("Stopped", "ctl"),
    "starting": ("Starting", "amber_bar"),
    "running": ("Running", "green_bar"),
    "stopping": ("Stopping", "amber_bar"),
    "crashed": ("Crashed", "red_bar"),
    "watched": ("Running", "green_bar"),
}


class StateCard(QFrame):
    """Four figures side by side: state, address, GPU, VRAM."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "card")
        self._theme = theme
        self._dot = Dot(theme)
        self._dot.setFixedSize(_DOT, _DOT)
        self._state, self._since = Text(theme, "", "section"), Text(theme, "", "caption", "text2")
        self._address = Elided(theme, "", "section")
        self._gpu, self._memory = Elided(theme, "", "section"), Text(theme, "", "caption", "text2")
        self._vram = Text(theme, "", "strong")
        self.bar = Bar(theme)
        self.bar.setAccessibleName("VRAM in use")
        state = row(self._dot, gap=12)
        state.addLayout(column(None, self._state, self._since, None, gap=2), 1)
        gpu = row(gap=8)
        gpu.addWidget(self._gpu)
        gpu.addWidget(self._memory)
        gpu.addStretch(1)
        memory = column(None, gap=0)
        memory.addLayout(row(Text(theme, "VRAM", "caption", "text2"), None, self._vram))
        memory.addSpacing(10)
        memory.addWidget(self.bar)
        memory.addStretch(1)
        line = QHBoxLayout(self)
        line.setContentsMargins(20, 12, 20, 12)
        line.setSpacing(20)
        for number, cell in enumerate((state, self._named("Address", self._address), gpu, memory)):
            if number:
                line.addWidget(frame("divider"))
            line.addLayout(self._named("GPU", cell) if cell is gpu else cell, 1)
        self.setMinimumHeight(_CARD_H)

    def show_figures(self, figures: Figures) -> None:
        word, colour = _STATES[figures.state]
        self._dot.set_role(colour)
        self._state.setText(word)
        self._since.setText(figures.since)
        self._since.setVisible(bool(figures.since))
        self._address.setText(figures.address or _NOT_KNOWN)
        self._gpu.setText(figures.gpu or _NOT_KNOWN)
        self._memory.setText(figures.gpu_memory)
        self._vram.setText(figures.vram or _NOT_KNOWN)
        self.bar.set_part(figures.vram_part or 0.0, anew=True)
        self.bar.setToolTip(figures.vram)
        self.setAccessibleName(f"ComfyUI: {word} {figures.since}".strip())

    def _named(self, name: str, value: QWidget | QHBoxLayout) -> QHBoxLayout:
        cell = column(None, Text(self._theme, name, "caption", "text2"), gap=2)
        if isinstance(value, QWidget):
            cell.addWidget(value)
        else:
            cell.addLayout(value)
        cell.addStretch(1)
        whole = QHBoxLayout()
        whole.addLayout(cell, 1)
        return whole


class CrashCard(QFrame):
    """What went wrong, and what to do about it.

    Signals:
        start_wanted, diagnostics_wanted: its own buttons.
        remedy_wanted: the key of a further one.
    """

    start_wanted = Signal()
    diagnostics_wanted = Signal()
    remedy_wanted = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "error")
        self._theme = theme
        self._title, self._text = Wrapped(theme, "", "section"), Wrapped(theme)
        self._place = Wrapped(theme, "", "caption", "text2")
        for label in (self._title, self._text, self._place):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.start = Button(theme, "Start again", icon="rotate-ccw", size="small")
        self.start.clicked.connect(self.start_wanted)
        self.copy = CopyButton(theme, "Copy diagnostics")
        self.copy.clicked.connect(self.diagnostics_wanted)
        head = row(Icon(theme, "circle-alert", "red"), gap=10)
        head.addWidget(self._title, 1)
        self._remedies = ActRow(theme)
        self._remedies.acted.connect(self.remedy_wanted)
        acts = row(self._remedies, self.start, self.copy, None)
        inner = column(margins=(16, 14, 16, 16), gap=6)
        inner.addLayout(head)
        inner.addWidget(self._text)
        inner.addWidget(self._place)
        inner.addSpacing(4)
        inner.addLayout(acts)
        self.setLayout(inner)
        self.hide()

    def show_crash(self, crash: Crash | None) -> None:
        """None: there is nothing to tell."""
        self.setVisible(crash is not None)
        if crash is None:
            return
        self._title.setText(crash.title)
        self._text.setText(crash.text)
        self._place.setText(crash.place)
        self._place.setVisible(bool(crash.place))
        self._remedies.show_acts(crash.remedies)
        self.setAccessibleName(f"{crash.title}. {crash.text}")


class PreviewCard(QFrame):
    """What would change in Python's environment, before it does.

    Signals:
        accepted, refused: the answer.
    """

    accepted = Signal()
    refused = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "card")
        self._theme = theme
        self._title, self._text = Wrapped(theme, "", "section"), Wrapped(theme, "", "body", "text2")
        self._changes = ChangeList(theme)
        self._conflicts = column(gap=6)
        self.cancel = Button(theme, "Cancel", size="small")
        self.cancel.clicked.connect(self.refused)
        self._accept = ActRow(theme)
        self._accept.acted.connect(lambda _: self.accepted.emit())
        inner = column(margins=(16, 14, 16, 16), gap=6)
        inner.addWidget(self._title)
        inner.addWidget(self._text)
        inner.addSpacing(2)
        inner.addWidget(self._changes)
        inner.addLayout(self._conflicts)
        inner.addSpacing(4)
        inner.addLayout(row(None, self.cancel, self._accept))
        self.setLayout(inner)
        self.hide()

    def show_preview(self, preview: Preview | None) -> None:
        """None: nothing is asked."""
        self.setVisible(preview is not None)
        clear(self._conflicts)
        if preview is None:
            return
        self._title.setText(preview.title)
        self._text.setText(preview.text)
        self._text.setVisible(bool(preview.text))
        self._changes.show_changes(
            [(each.name, versions(each.before, each.after), each.is_conflict) for each in preview.changes]
        )
        for sentence in preview.conflicts:
            line = row(gap=8)
            line.addWidget(Icon(self._theme, "circle-alert", "red", 14), 0, Qt.AlignmentFlag.AlignTop)
            line.addWidget(Wrapped(self._theme, sentence, "caption", "red"), 1)
            self._conflicts.addLayout(line)
        anyway = bool(preview.conflicts) or any(change.is_conflict for change in preview.changes)
        accept = Act("accept", preview.verb, "primary")
        self._accept.show_acts(
            (replace(accept, text=f"{preview.verb} anyway", kind="danger") if anyway else accept,)
        )
        self.setAccessibleName(preview.title)
