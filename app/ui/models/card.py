"""The card above the list: what a sync would do, how far it is, how it ended."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QFrame, QWidget

from ..theme import Theme
from ..widgets.basics import Button, Elided, Text, Wrapped, column, row
from ..widgets.busy import BusyMark
from ..widgets.menus import menu
from ..widgets.paint import TURNS
from ..widgets.small import Bar
from .shown import PlanShown, RunShown, SyncState, Transport
from .words import files, percent, plan_title, plan_verb, run_bytes, run_note, run_parts, run_title, time_left

_BAR_H = 8
_S = SyncState
_UNDER_WAY = (_S.RUNNING, _S.PAUSED, _S.WAITING)
#: Icon, its colour, and the bar's colour.
_LOOKS = {
    _S.RUNNING: ("", "blue", "blue_bar"),
    _S.PAUSED: ("", "amber", "amber_bar"),
    _S.WAITING: ("", "amber", "amber_bar"),
    _S.FINISHED: ("circle-check", "green", "green_bar"),
    _S.FAILED: ("circle-alert", "red", "red_bar"),
    _S.CANCELLED: ("ban", "text2", "amber_bar"),
}
_NOTE_ROLES = {"plain": "text2", "amber": "amber", "red": "red", "green": "green"}
_BUTTONS = (
    ("pause", "Pause", "secondary", "pause"),
    ("resume", "Resume", "primary", "play"),
    ("again", "Try again", "primary", "rotate-ccw"),
    ("retry", "Retry", "primary", "rotate-ccw"),
    ("cancel", "Cancel", "danger", "x"),
    ("sync", "Sync Models", "primary", "cloud-upload"),
)


class SyncCard(QFrame):
    """Shows the run while there is one, else the plan; hidden when there is nothing to say.

    Signals:
        pressed: ``pause``, ``resume`` (after a failure too), ``retry`` of what failed, ``cancel``,
            ``discard`` or ``sync``.
        closed: the user has read how the run ended.
    """

    pressed = Signal(str)
    closed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "card")
        self._plan = PlanShown()
        self._run: RunShown | None = None
        self._transport: Transport = "s3"
        self._of = (0, 0)
        self.mark, self.title = BusyMark(theme, TURNS, "blue"), Elided(theme, "", "section")
        self.buttons: dict[str, Button] = {}
        for key, text, kind, icon in _BUTTONS:
            self.buttons[key] = Button(theme, text, kind, icon=icon)
            sent = "resume" if key == "again" else key
            self.buttons[key].clicked.connect(lambda _=False, sent=sent: self.pressed.emit(sent))
        self.more = Button(theme, kind="icon", icon="ellipsis-vertical", tip="More")
        self.more.clicked.connect(self._open_more)
        self.close_button = Button(theme, kind="bare", icon="x", tip="Close")
        self.close_button.clicked.connect(self.closed)
        self.bar = Bar(theme, _BAR_H)
        self.bar.setProperty("large", True)
        self.bar.setAccessibleName("Sync")
        self.sizes, self.parts = Text(theme, "", "strong"), Elided(theme, "", "body", "text2")
        self.left = Text(theme, "", "strong")
        self.note = Wrapped(theme, "", "caption", "text2")
        head = row(self.mark, gap=8)
        head.addWidget(self.title, 1)
        for part in (*self.buttons.values(), self.more, self.close_button):
            head.addWidget(part)
        head.addStrut(32)
        self._figures = QWidget()
        line = row(self.sizes, gap=0)
        line.addWidget(self.parts, 1)
        line.addWidget(self.left)
        self._figures.setLayout(column(self.bar, gap=12))
        self._figures.layout().addLayout(line)  # type: ignore[union-attr]
        inner = column(margins=(16, 12, 16, 12), gap=12)
        inner.addLayout(head)
        inner.addWidget(self._figures)
        inner.addWidget(self.note)
        self.setLayout(inner)
        self._show()

    @property
    def moves(self) -> bool:
        return not self.isHidden() and (self.mark.moves or (self._run is not None and self._is_unknown()))

    def tick(self) -> None:
        self.mark.tick()
        if self._run is not None and self._is_unknown():
            self.bar.update()

    def show_plan(self, plan: PlanShown) -> None:
        self._plan = plan
        self._show()

    def show_run(self, run: RunShown | None) -> None:
        """None: the plan is shown again."""
        self._run = run
        self._show()

    def show_transport(self, transport: Transport) -> None:
        self._transport = transport
        self._show()

    def _show(self) -> None:
        if self._run is None:
            self._of = (0, 0)
            self._show_plan(self._plan)
        else:
            self._show_run(self._run)

    def _show_plan(self, plan: PlanShown) -> None:
        title = plan_title(plan)
        self.setVisible(bool(title or plan.note))
        self.title.setText(title)
        done = plan.role == "green" and not plan.busy
        self.mark.show_mark(
            TURNS if plan.busy else "circle-check" if done else "", "green" if done else "blue"
        )
        wanted = {"sync"} if plan.can_sync or (plan.files and not plan.busy) else set[str]()
        self._show_buttons(wanted)
        sync = self.buttons["sync"]
        sync.set_label(plan_verb(plan, self._transport))
        sync.setEnabled(plan.can_sync)
        why = "" if plan.can_sync else plan.note
        keys = QKeySequence("Ctrl+S").toString(QKeySequence.SequenceFormat.NativeText)
        sync.setToolTip(why or f"{plan_verb(plan, self._transport)} ({keys})")
        self._figures.hide()
        self._show_note(plan.note, _NOTE_ROLES[plan.role])
        self.setAccessibleName(" ".join(part for part in (title, plan.note) if part))

    def _show_run(self, run: RunShown) -> None:
        self.show()
        ended_badly = run.state is _S.FINISHED and run.failed > 0
        icon, tone, bar = _LOOKS[run.state]
        if ended_badly:
            icon, tone, bar = "triangle-alert", "amber", "amber_bar"
        self.mark.show_mark(icon, tone)
        self.title.setText(run_title(run))
        self._show_buttons(_wanted(run))
        self.buttons["retry"].set_label(f"Retry {files(run.failed)}")
        self.more.setVisible(run.state in _UNDER_WAY)
        self.close_button.setVisible(run.state not in _UNDER_WAY)
        self._figures.show()
        # A bar never goes back, but another sync begins anew.
        anew = self._of != (run.files, run.total)
        self._of = (run.files, run.total)
        part = run.done / run.total if run.total > 0 else None if run.state in _UNDER_WAY else 0.0
        self.bar.set_part(1.0 if run.state is _S.FINISHED and not run.failed else part, bar, anew=anew)
        sizes, parts = run_bytes(run), run_parts(run)
        self.sizes.setText(sizes)
        self.parts.setText(f"  ·  {parts}" if sizes and parts else parts)
        known = run.left_s is not None and run.state is _S.RUNNING
        self.left.setText(f"about {time_left(run.left_s or 0)}" if known else "")
        role = "red" if run.state is _S.FAILED else "amber" if run.state is _S.WAITING else "text2"
        self._show_note(run_note(run), role)
        self.setAccessibleName(f"{run_title(run)} {percent(run.done, run.total)}".strip())

    def _show_buttons(self, wanted: set[str]) -> None:
        for key, button in self.buttons.items():
            button.setVisible(key in wanted)
        self.more.hide()
        self.close_button.hide()

    def _show_note(self, text: str, role: str) -> None:
        self.note.setText(text)
        self.note.setVisible(bool(text))
        self.note.set_role(role)

    def _is_unknown(self) -> bool:
        return self._run is not None and self._run.total <= 0 and self._run.state in _UNDER_WAY

    def _open_more(self) -> None:
        discard = ("Stop and discard what was half sent…", lambda: self.pressed.emit("discard"), True)
        made = menu(self, [discard])
        made.popup(
            self.more.mapToGlobal(QPoint(self.more.width() - made.sizeHint().width(), self.more.height() + 4))
        )


def _wanted(run: RunShown) -> set[str]:
    match run.state:
        case _S.RUNNING | _S.WAITING:
            return {"pause", "cancel"}
        case _S.PAUSED:
            return {"resume", "cancel"}
        case _S.FAILED:
            return {"again"}
        case _S.FINISHED if run.failed:
            return {"retry"}
        case _:
            return set()
