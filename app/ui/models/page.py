"""The Models page: files here and on the volume in their folders, the sync between them, and the volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QHideEvent, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QStackedWidget, QWidget

from ..desktop import announce
from ..theme import Theme
from ..theme.tokens import MARGIN, PAGE_HEAD_H
from ..widgets.basics import Text, column, row
from ..widgets.empty import Empty
from ..widgets.late import LatePage, late
from ..widgets.motion import Motion
from ..widgets.sides import Sides
from .card import SyncCard
from .pane import FilesPane
from .send import SendCard
from .shown import (
    EarlierShown,
    EmptyAct,
    KnownShown,
    LaneShown,
    LimitShown,
    ModelRow,
    PlanShown,
    RunShown,
    SendShown,
    SyncState,
    Transport,
    VolumeChoice,
    VolumeShown,
)
from .side import SIDE_W, SidePanel
from .words import percent, run_title

_ENDS = (SyncState.FINISHED, SyncState.FAILED)
_UNDER_WAY = (SyncState.RUNNING, SyncState.PAUSED, SyncState.WAITING)


class ModelsPage(LatePage):
    """Shows what it is told, and says what the user wants. All of it on the GUI thread.

    Signals:
        appeared, vanished: it came in sight, or went out of it.
        sync_wanted, pause_wanted, resume_wanted, retry_failed_wanted: of the sync; it is resumed after a
            failure too.
        cancel_wanted: it shall stop, after a question; False: what was half sent is to be removed.
        rescan_wanted, verify_wanted: look at both sides again; compare all contents.
        ticked: paths, and whether they shall be part of the next sync.
        row_wanted: a :class:`.shown.Choice` for paths, after its question was answered. Never ``DELETE``.
        deletions_wanted: paths to delete from the volume, named and confirmed by the user.
        volume_chosen: the id of a volume; choose_volume_wanted: one that is not listed, or the first.
        choose_folder_wanted, key_wanted: of an empty page: a folder of models, or the account's key.
        transport_chosen: ``s3`` or ``runpodctl``; limit_chosen: bytes a second, or None.
        selected: the path of the one selected file; empty: none, or several.
        fetch_results_wanted: fetch what workers left on the volume.
        send_wanted, send_cancel_wanted, send_restart_wanted: sending by code: begin, end, with a new code.
        worked: what goes on, and how much of it is done, for the rail: ``Syncing models``, ``41 %``.
    """

    appeared = Signal()
    vanished = Signal()
    sync_wanted = Signal()
    pause_wanted = Signal()
    resume_wanted = Signal()
    cancel_wanted = Signal(bool)
    rescan_wanted = Signal()
    ticked = Signal(list, bool)
    row_wanted = Signal(object, list)
    retry_failed_wanted = Signal()
    volume_chosen = Signal(str)
    choose_volume_wanted = Signal()
    choose_folder_wanted = Signal()
    key_wanted = Signal()
    transport_chosen = Signal(str)
    limit_chosen = Signal(object)
    selected = Signal(str)
    fetch_results_wanted = Signal()
    verify_wanted = Signal()
    send_wanted = Signal()
    send_cancel_wanted = Signal()
    send_restart_wanted = Signal()
    deletions_wanted = Signal(list)
    worked = Signal(str, str)

    def __init__(self, theme: Theme, motion: Motion) -> None:
        super().__init__()
        self._theme, self._motion = theme, motion
        self.setProperty("region", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._plan = PlanShown()
        self._run: RunShown | None = None
        self._send: SendShown | None = None
        self._transport: Transport = "s3"
        self._lanes = 0
        self._empty_act: EmptyAct = "volume"
        self._told = ("", "")
        self._side_w = SIDE_W

    def build(self) -> None:
        theme = self._theme
        self.card, self.send = SyncCard(theme), SendCard(theme)
        self._card_box, send_box = QWidget(), QWidget()
        for box, card in ((self._card_box, self.card), (send_box, self.send)):
            box.setLayout(column(card, margins=(MARGIN, 0, MARGIN, 4)))
        self.files = FilesPane(theme, (self._card_box, send_box))
        self.side = SidePanel(theme)
        self._arrange()
        self._bind()

    # What is shown.

    @late
    def show_rows(self, rows: Sequence[ModelRow]) -> None:
        """All files, in any order. Selection, folding and scroll place stay."""
        self.files.model.show_rows(rows)

    def update_rows(self, rows: Iterable[ModelRow]) -> None:
        """Some files that changed, or came; at most ten times a second."""
        self.files.model.update_rows(rows)

    @late
    def show_plan(self, plan: PlanShown) -> None:
        self._plan = plan
        self.card.show_plan(plan)
        self._want_motion()

    def show_run(self, run: RunShown | None) -> None:
        """A sync under way, or how it ended; None: the plan is shown again."""
        before, self._run = self._run, run
        self.card.show_run(run)
        if run is not None and run.state in _ENDS and (before is None or before.state != run.state):
            bad = run.state is SyncState.FAILED or run.failed > 0
            announce(self, " ".join(text for text in (run_title(run), run.note) if text), urgent=bad)
        self._tell_work()
        self._want_motion()

    @late
    def show_volume(self, volume: VolumeShown | None) -> None:
        """The volume in use; None: none is chosen."""
        self.side.volume.show_volume(volume)

    @late
    def show_volumes(self, volumes: Sequence[VolumeChoice]) -> None:
        """Those that can be chosen."""
        self.side.volume.show_volumes(volumes)

    @late
    def show_lanes(self, lanes: Sequence[LaneShown], slots: int = 0) -> None:
        """The files on their way now; ``slots``: how many there may be at once, 0: it is not said."""
        self._lanes = len(lanes)
        self.side.lanes.show_lanes(lanes, slots)
        self.side.show_lines()

    @late
    def show_earlier(self, earlier: Sequence[EarlierShown]) -> None:
        """Syncs of before, the latest first."""
        self.side.earlier.show_earlier(earlier)
        self.side.show_lines()

    @late
    def show_known(self, known: KnownShown | None) -> None:
        """What is known of the selected file; of another one it is left out."""
        self.side.file.show_known(known)

    def show_send(self, send: SendShown | None) -> None:
        """Sending by code, in place of plan and sync; None: it is over."""
        self._send = send
        self.send.show_send(send)
        self._card_box.setVisible(send is None)
        self._tell_work()
        self._want_motion()

    @late
    def show_limit(self, limit: LimitShown) -> None:
        self.side.transport.show_limit(limit)

    @late
    def show_transport(self, current: Transport, note: str = "") -> None:
        """The transport in force, and a sentence about it."""
        self._transport = current
        self.card.show_transport(current)
        self.side.transport.show_transport(current, note)

    @late
    def show_empty(self, title: str, text: str = "", button: str = "", act: EmptyAct = "volume") -> None:
        """Why there is no list, in its place; an empty title: there is one again."""
        self._empty_act = act
        self._empty.show_text(title, text, button)
        self._whole.setCurrentIndex(1 if title else 0)

    def side_width(self) -> int:
        """The width of the panel at the right, to be remembered."""
        return self.sides.side_w if self.is_built else self._side_w

    def show_side_width(self, width: int) -> None:
        self._side_w = width
        self._give_side(width)

    @late
    def _give_side(self, width: int) -> None:
        self.sides.show_side_w(width)

    # What the window calls.

    def escape(self) -> None:
        """Close the panel where it lies over the list, else end a search, else let go of the selection."""
        if self.sides.is_over:
            self.close_side()
        else:
            self.files.escape()

    def open_search(self) -> None:
        if self._whole.currentIndex() == 0:
            self.files.head.open_search()

    def rescan(self) -> None:
        """What F5 does here."""
        self.rescan_wanted.emit()

    def open_side(self) -> None:
        """Bring the panel in sight, with the selected file on top."""
        self.sides.set_over(over=True)
        self.side.show_top()

    def close_side(self) -> None:
        self.sides.set_over(over=False)
        self.files.list.setFocus(Qt.FocusReason.OtherFocusReason)

    def right_edge(self) -> int:
        """How much of the right the panel takes."""
        return self.side.width() if self.side.isVisible() else 0

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._want_motion()
        self.appeared.emit()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._motion.want(self, wanted=False)
        self.vanished.emit()

    # How it is built.

    def _arrange(self) -> None:
        # First of all: each part is styled anew whenever what it stands in is put into something else.
        self._whole = QStackedWidget()
        self.setLayout(column(self._whole))
        self.sides = Sides(self._theme, self.files, self.side, SIDE_W)
        self._empty = Empty(self._theme, "boxes")
        title = row(Text(self._theme, "Models", "title"), None, margins=(MARGIN, 0, MARGIN, 0))
        title.addStrut(PAGE_HEAD_H)
        layout = column()
        layout.addLayout(title)
        layout.addWidget(self._empty, 1)
        empty = QWidget()
        empty.setLayout(layout)
        self._whole.addWidget(self.sides)
        self._whole.addWidget(empty)

    def _bind(self) -> None:
        pane, card, side = self.files, self.card, self.side
        pane.ticked.connect(self.ticked)
        pane.row_wanted.connect(self.row_wanted)
        pane.deletions_wanted.connect(self.deletions_wanted)
        pane.rescan_wanted.connect(self.rescan_wanted)
        pane.selected.connect(self._select)
        pane.opened.connect(self.open_side)
        pane.side_wanted.connect(self.open_side)
        pane.changed.connect(self._rows_changed)
        card.pressed.connect(self._press)
        card.closed.connect(lambda: self.show_run(None))
        self.send.cancel_wanted.connect(self.send_cancel_wanted)
        self.send.restart_wanted.connect(self.send_restart_wanted)
        self.send.closed.connect(lambda: self.show_send(None))
        side.closed.connect(self.close_side)
        side.file.closed.connect(pane.list.clearSelection)
        side.volume.volume_chosen.connect(self.volume_chosen)
        side.volume.other_wanted.connect(self.choose_volume_wanted)
        side.volume.verify_wanted.connect(self.verify_wanted)
        side.volume.fetch_wanted.connect(self.fetch_results_wanted)
        side.transport.transport_chosen.connect(self.transport_chosen)
        side.transport.limit_chosen.connect(self.limit_chosen)
        self._empty.pressed.connect(self._press_empty)
        self.sides.narrowed.connect(lambda narrow: pane.head.set_narrow(narrow=narrow))
        self._motion.ticked.connect(self._tick)
        self._theme.changed.connect(pane.list.viewport().update)
        QShortcut(QKeySequence("Ctrl+S"), self).activated.connect(self._sync)

    # What happens.

    def _select(self, path: str) -> None:
        self.side.file.show_row(self.files.row(path))
        self.side.show_lines()
        self.side.show_top()
        self.selected.emit(path)

    def _rows_changed(self) -> None:
        if self.side.file.path:
            self.side.file.show_row(self.files.row(self.side.file.path))
        self._want_motion()

    def _press(self, key: str) -> None:
        signals = {
            "pause": self.pause_wanted, "resume": self.resume_wanted, "retry": self.retry_failed_wanted
        }  # fmt: skip
        if key in signals:
            signals[key].emit()
        elif key == "sync":
            self._sync()
        elif key == "discard":
            self.files.choices.questions.discard(lambda: self.cancel_wanted.emit(False))
        elif self._run is not None:
            self.files.choices.questions.stop(self._run, self._lanes, lambda: self.cancel_wanted.emit(True))

    def _sync(self) -> None:
        """What the plan's button does, when it can."""
        under_way = self._run is not None and self._run.state in _UNDER_WAY
        if self._plan.can_sync and not under_way and self._send is None:
            (self.send_wanted if self._transport == "runpodctl" else self.sync_wanted).emit()

    def _press_empty(self) -> None:
        acts = {
            "volume": self.choose_volume_wanted,
            "folder": self.choose_folder_wanted,
            "key": self.key_wanted,
        }
        acts[self._empty_act].emit()

    def _tell_work(self) -> None:
        """For the rail: what goes on, and how much of it is done."""
        run, send = self._run, self._send
        told = ("", "")
        if send is not None and not send.problem and not send.is_over:
            told = ("Sending models", percent(send.done, send.total))
        elif run is not None and run.state in _UNDER_WAY:
            paused = run.state is SyncState.PAUSED
            told = ("Sync paused" if paused else "Syncing models", percent(run.done, run.total))
        if told != self._told:
            self._told = told
            self.worked.emit(*told)

    # What moves.

    def _want_motion(self) -> None:
        moves = self.card.moves or self.send.moves or self.files.list.moves
        self._motion.want(self, wanted=moves and self.isVisible() and not self._theme.reduced_motion)

    def _tick(self) -> None:
        if self.isVisible():
            self.card.tick()
            self.send.tick()
            self.files.list.update_moving()
