"""The page of one endpoint: how it is, its workers, its times, and what its workers print."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QFrame, QWidget

from ...endpoint.account_model import LiveWorker
from ...jobs.times import Times
from ..theme import Theme
from ..theme.tokens import MARGIN, PAGE_HEAD_H
from ..widgets.basics import Button, Elided, Text, Wrapped, column, row
from ..widgets.fields import Choice
from ..widgets.log_view import LogView
from ..widgets.scrolling import ScrollBox
from ..widgets.side_page import SidePage
from ..widgets.small import PillLabel
from .times import TimesCard
from .workers import WorkerHeads, WorkerTable

_STACK_BELOW_W = 1080
_LOG_LEAST_H = 300
_GAP = 16
ALL = ""


class EndpointPage(SidePage):
    """Shows what it is told; :class:`app.details.EndpointDetails` tells it.

    Signals:
        worker_chosen: whose log is wanted: a worker's id, or empty for all.
        check_wanted, change_wanted, clear_wanted: its buttons.
    """

    worker_chosen = Signal(str)
    check_wanted = Signal()
    change_wanted = Signal()
    clear_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._ids: tuple[str, ...] = ()
        self._worker = ALL
        self._managed = True

    def build(self) -> None:
        theme = self._theme
        self.log = LogView(theme, "Log", "Log of the workers")
        self.log.setMinimumHeight(_LOG_LEAST_H)
        self.choice = Choice(theme, "Whose log", 184, icon="server")
        self.log.add_control(self.choice)
        self.times = TimesCard(theme)
        self._cards = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._cards.setSpacing(_GAP)
        self._cards.addWidget(self._workers_card(theme), 9, Qt.AlignmentFlag.AlignTop)
        self._cards.addWidget(self.times, 8, Qt.AlignmentFlag.AlignTop)
        content = QWidget()
        inner = column(margins=(MARGIN, 0, MARGIN, MARGIN), gap=_GAP)
        inner.addLayout(self._cards)
        inner.addWidget(self.log, 1)
        content.setLayout(inner)
        self._scroll = ScrollBox(content, "Endpoint")
        whole = column(self._head(theme))
        whole.addWidget(self._scroll, 1)
        self.setLayout(whole)
        self.choice.chosen.connect(self._choose)
        self.table.worker_chosen.connect(self._choose)
        self.show_ids(())

    # What is shown.

    @property
    def worker(self) -> str:
        """Whose log is shown; empty: everybody's."""
        return self._worker

    def show_endpoint(self, name: str, *, managed: bool) -> None:
        """Another endpoint; ``managed``: RunPod tells its workers, and it can be changed."""
        self.title.setText(name)
        self._worker = ALL
        self.log.clear_lines()
        self.log.show_note("")
        self._managed = managed
        self._heads.setVisible(managed)
        self.change_button.setVisible(managed)
        self.show_workers((), "")
        self.show_ids(())
        self.say_of_workers("")
        self.times.show_times((), "")

    def show_state(self, pill: tuple[str, str, str], facts: str) -> None:
        self.pill.set(*pill)
        self._facts.setText(facts)

    def show_clear(self, *, can: bool) -> None:
        """Whether jobs wait there that were sent from here."""
        self.clear_button.setVisible(can)

    def show_workers(self, workers: Sequence[LiveWorker], roll_out: str) -> None:
        self.table.show_workers(workers)
        self.table.mark(self._worker)
        self._roll_out.setText(roll_out)

    def say_of_workers(self, text: str, role: str = "text2") -> None:
        """A sentence in the card of the workers, as that there is none; empty: none."""
        self._said.setText(text)
        self._said.set_role(role)
        self._said.setVisible(bool(text))
        self.table.setVisible(bool(self.table.workers.rows) and self._managed)

    def show_ids(self, ids: Sequence[str]) -> None:
        """The workers whose logs can be chosen; the one that is shown stays even when it has gone."""
        ids = tuple(ids)
        if self._worker and self._worker not in ids:
            ids = (*ids, self._worker)
        if ids != self._ids or not self.choice.count():
            self._ids = ids
            self.choice.show_choices([(ALL, "All workers"), *((each, each) for each in ids)], self._worker)

    def show_times(self, times: Sequence[Times], since: str) -> None:
        self.times.show_times(times, since)

    def escape(self) -> None:
        if not self.log.escape():
            self.back_wanted.emit()

    def open_search(self) -> None:
        self.log.open_search()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        direction = QBoxLayout.Direction
        narrow = self.width() < _STACK_BELOW_W * self._theme.text_scale
        self._cards.setDirection(direction.TopToBottom if narrow else direction.LeftToRight)

    def _choose(self, worker: str) -> None:
        if worker != self._worker:
            self._worker = worker
            self.choice.setCurrentIndex(self.choice.findData(worker))
            self.table.mark(worker)
            self.log.clear_lines()
            self.log.show_note("")
            self.worker_chosen.emit(worker)

    # How it is built.

    def _head(self, theme: Theme) -> QWidget:
        self.back_button = Button(theme, kind="icon", icon="arrow-left", tip="Back", keys="Esc")
        self.back_button.clicked.connect(self.back_wanted)
        self.title, self.pill = Elided(theme, "", "title"), PillLabel(theme)
        self._facts = Elided(theme, "", "caption", "text3")
        self.check_button = Button(theme, "Check now", icon="refresh-cw", keys="F5")
        self.change_button = Button(theme, "Change…", icon="sliders-horizontal")
        self.clear_button = Button(theme, "Clear queue…", "danger", icon="trash-2")
        for button, wanted in (
            (self.check_button, self.check_wanted),
            (self.change_button, self.change_wanted),
            (self.clear_button, self.clear_wanted),
        ):
            button.clicked.connect(wanted)
        name = row(gap=10)
        name.addWidget(self.title, 0)
        name.addWidget(self.pill)
        name.addStretch(1)
        words = column(gap=1)
        words.addStretch(1)
        words.addLayout(name)
        words.addWidget(self._facts)
        words.addStretch(1)
        head = QWidget()
        head.setMinimumHeight(PAGE_HEAD_H)
        line = row(self.back_button, gap=12, margins=(MARGIN, 4, MARGIN, 8))
        line.addLayout(words, 1)
        line.addLayout(row(self.check_button, self.change_button, self.clear_button))
        head.setLayout(line)
        return head

    def _workers_card(self, theme: Theme) -> QWidget:
        card = QFrame()
        card.setProperty("kind", "card")
        self._roll_out = Text(theme, "", "caption", "text2")
        self._heads, self.table = WorkerHeads(theme), WorkerTable(theme)
        self._said = Wrapped(theme, "", "body", "text2")
        said = row(margins=(16, 0, 16, 0))
        said.addWidget(self._said)
        inner = column(margins=(0, 12, 0, 12), gap=4)
        inner.addLayout(row(Text(theme, "Workers", "section"), None, self._roll_out, margins=(16, 0, 16, 4)))
        inner.addWidget(self._heads)
        inner.addWidget(self.table)
        inner.addLayout(said)
        card.setLayout(inner)
        return card
