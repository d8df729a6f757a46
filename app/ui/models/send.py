"""Sending to a running pod: the one-time code, large, and the two commands for the pod's terminal."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QFrame, QWidget

from ..theme import Theme
from ..widgets.basics import Button, Elided, Text, Wrapped, column, row
from ..widgets.busy import BusyMark
from ..widgets.copying import CopyButton, CopyLine
from ..widgets.paint import TURNS
from ..widgets.small import Bar
from .shown import SendShown
from .words import of_size, percent, rate

_BAR_H = 8


class _Code(Text):
    """A code that can be read from across the desk, and selected."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, "", "mono")
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def _restyle(self) -> None:
        font = QFont(self._theme.font("mono"))
        font.setPixelSize(self._theme.font("title").pixelSize())
        font.setWeight(QFont.Weight.DemiBold)
        self.setFont(font)


class SendCard(QFrame):
    """Signals: ``cancel_wanted``, ``restart_wanted`` for a new code, ``closed`` when it has ended."""

    cancel_wanted = Signal()
    restart_wanted = Signal()
    closed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "card")
        self._send: SendShown | None = None
        self._of = ("", 0)
        self.mark, self.title = BusyMark(theme, TURNS, "blue"), Elided(theme, "", "section")
        self.batch = Text(theme, "", "body", "text2")
        self.cancel = Button(theme, "Cancel", "danger", icon="x")
        self.restart = Button(theme, "New code", "primary", icon="rotate-ccw")
        self.close_button = Button(theme, kind="bare", icon="x", tip="Close")
        self.cancel.clicked.connect(self.cancel_wanted)
        self.restart.clicked.connect(self.restart_wanted)
        self.close_button.clicked.connect(self.closed)
        self.code, self.copy = _Code(theme), CopyButton(theme, "the code", "Copy code")
        self.receive = CopyLine(theme, "the command that receives")
        self.extract = CopyLine(theme, "the command that unpacks")
        self.bar = Bar(theme, _BAR_H)
        self.bar.setProperty("large", True)
        self.bar.setAccessibleName("Sent")
        self.sizes, self.rate = Text(theme, "", "strong"), Text(theme, "", "body", "text2")
        self.problem, self.note = Wrapped(theme, "", "body", "red"), Wrapped(theme, "", "caption", "text2")
        self._build(theme)
        self.hide()

    @property
    def moves(self) -> bool:
        return not self.isHidden() and self.mark.moves

    def tick(self) -> None:
        self.mark.tick()

    def show_send(self, send: SendShown | None) -> None:
        """None: nothing is being sent, and the card goes."""
        self._send = send
        self.setVisible(send is not None)
        if send is None:
            self.mark.show_mark("", "blue")
            return
        under_way = not send.problem and not send.is_over
        icon = TURNS if under_way else "circle-check" if send.is_over else "circle-alert"
        self.mark.show_mark(icon, "blue" if under_way else "green" if send.is_over else "red")
        self.title.setText(send.phase)
        self.batch.setText(send.batch)
        self.cancel.setVisible(under_way)
        self.restart.setVisible(send.can_restart and not send.is_over)
        self.close_button.setVisible(not under_way)
        with_code = bool(send.code) and not send.is_over
        self._code_box.setVisible(with_code)
        self.code.setText(send.code)
        self.code.setAccessibleName(f"One-time code: {send.code}")
        self.copy.text_to_copy = send.code
        # When all is sent the second command is still to come: only it tells whether all arrived.
        for box, line, text, is_due in (
            (self._receive_box, self.receive, send.receive, with_code),
            (self._extract_box, self.extract, send.extract, bool(send.code)),
        ):
            box.setVisible(is_due and bool(text))
            line.show_text(text)
        self._show_figures(send)
        for label, text in ((self.problem, send.problem), (self.note, send.note)):
            label.setText(text)
            label.setVisible(bool(text))
        self.setAccessibleName(f"{send.phase} {percent(send.done, send.total)}".strip())

    def _show_figures(self, send: SendShown) -> None:
        self._figures.setVisible(send.total > 0)
        if send.total > 0:
            anew, self._of = (send.code, send.total) != self._of, (send.code, send.total)
            role = "red_bar" if send.problem else "green_bar" if send.is_over else "blue_bar"
            self.bar.set_part(send.done / send.total, role, anew=anew)
            self.sizes.setText(of_size(send.done, send.total))
            self.rate.setText(f"  ·  {rate(send.rate)}" if send.rate is not None else "")

    def _build(self, theme: Theme) -> None:
        head = row(self.mark, gap=8)
        head.addWidget(self.title, 1)
        for each in (self.batch, self.restart, self.cancel, self.close_button):
            head.addWidget(each)
        head.addStrut(32)
        self._code_box = QWidget()
        self._code_box.setLayout(row(self.code, 4, self.copy, None, gap=8))
        self._receive_box = _named(theme, "1. In the pod's terminal, receive", self.receive)
        self._extract_box = _named(theme, "2. When it has arrived, unpack", self.extract)
        self._figures = QWidget()
        figures = column(self.bar, gap=8)
        figures.addLayout(row(self.sizes, self.rate, None, gap=0))
        self._figures.setLayout(figures)
        inner = column(margins=(16, 12, 16, 14), gap=10)
        inner.addLayout(head)
        parts = (
            self.problem, self._code_box, self._receive_box, self._extract_box, self._figures, self.note
        )  # fmt: skip
        for part in parts:
            inner.addWidget(part)
        self.setLayout(inner)


def _named(theme: Theme, name: str, line: CopyLine) -> QWidget:
    box = QFrame()
    box.setProperty("kind", "command")
    box.setLayout(row(line, margins=(10, 0, 2, 0)))
    whole = QWidget()
    whole.setLayout(column(Text(theme, name, "caption", "text2"), box, gap=4))
    return whole
