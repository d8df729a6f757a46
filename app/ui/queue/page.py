"""The Queue page: head, drop zone, list or examples, and the inspector beside or above them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QModelIndex, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from ...desk import Desk
from ...errors import BadInput
from ...jobs.model import Job
from ...jobs.states import State
from ...workflows.parameters import parameters
from ..state import WindowState
from ..tasks import TaskScope
from ..theme import Theme
from ..theme.tokens import (
    FOLD_BELOW_W,
    INSPECTOR_MAX_W,
    INSPECTOR_MIN_W,
    INSPECTOR_W,
    LIST_MIN_W,
    MARGIN,
    SHORT_BELOW_H,
    WIDE_W,
)
from ..widgets.basics import Button, Icon, Text, column, frame, row
from ..widgets.motion import Motion
from .actions import Actions
from .delegate import Hit, JobDelegate, action_of
from .examples import EXAMPLES, ExampleCard
from .head import QueueHead
from .inspector import Inspector
from .menus import job_menu, more_menu
from .model import JobModel
from .pictures import PictureStore
from .view import JobList
from .viewer import Viewer
from .zone import DropZone

_NOTHING = {
    "failed": ("No failed jobs", "Everything in this list went well."),
    "active": ("Nothing is running", "Jobs appear here while they wait and run."),
    "done": ("No finished jobs", "Results appear here when jobs are done."),
}
#: The large drop zone and the examples on an empty page, at most so high.
_ZONE_H, _CARD_H = 328, 218
_REPAINT_MS = 50


class QueuePage(QWidget):
    """Signals:
    inspector_changed: the inspector opened, closed or changed its place.
    recent_wanted: the list of recent workflows is wanted.
    """

    inspector_changed = Signal()
    recent_wanted = Signal()

    def __init__(
        self,
        theme: Theme,
        desk: Desk,
        model: JobModel,
        pictures: PictureStore,
        actions: Actions,
        state: WindowState,
        scope: TaskScope,
        motion: Motion,
    ) -> None:
        super().__init__()
        self.setProperty("region", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme, self._desk, self._model, self._pictures = theme, desk, model, pictures
        self._actions, self._state, self._scope, self._motion = actions, state, scope, motion
        self._narrow = False
        self._wants_inspector = False
        self._pending = ""
        self._hint_act: Callable[[], None] = lambda: None
        self._read = False
        self._details_of = ("", "")
        self._inspector_w = INSPECTOR_W
        self.delegate = JobDelegate(theme, pictures, model.place)
        self.list = JobList(model, self.delegate)
        self.inspector = Inspector(
            theme, pictures, name=actions.name_of, other=lambda job_id: actions.other_place([job_id])
        )
        self.viewer: Viewer | None = None
        self._repaint = QTimer(self)
        self._repaint.setSingleShot(True)
        self._repaint.setInterval(_REPAINT_MS)
        self._repaint.timeout.connect(self.list.viewport().update)
        self._build()
        self._bind()
        self._show_state()

    # Building.

    def _build(self) -> None:
        self.head = QueueHead(self._theme)
        self.left = QWidget()
        self._stack = QStackedWidget()
        self._stack.addWidget(self._list_page())
        self._stack.addWidget(self._empty_page())
        # What is hidden here, as the examples, shall not push the inspector aside.
        self.left.setMinimumWidth(LIST_MIN_W)
        layout = QVBoxLayout(self.left)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.head)
        layout.addWidget(self._stack, 1)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setHandleWidth(1)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.left)
        self.splitter.addWidget(self.inspector)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setStretchFactor(1, 0)
        self.inspector.hide()
        whole = QHBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.splitter)

    def _list_page(self) -> QWidget:
        theme = self._theme
        self.zone = DropZone(theme, large=False)
        box = QWidget()
        box.setLayout(row(self.zone, margins=(MARGIN, 0, MARGIN, 0)))
        self._nothing_title, self._nothing_text = Text(theme, "", "section"), Text(theme, "", "body", "text2")
        show_all = Button(theme, "Show all")
        show_all.clicked.connect(self.head.show_all)
        self._nothing = QWidget()
        layout = column(None)
        icon = Icon(theme, "list-filter", "text3", 28)
        for part, gap in ((icon, 10), (self._nothing_title, 4), (self._nothing_text, 14), (show_all, 0)):
            layout.addWidget(part, alignment=Qt.AlignmentFlag.AlignHCenter)
            layout.addSpacing(gap)
        layout.addStretch(2)
        self._nothing.setLayout(layout)
        self._lists = QStackedWidget()
        self._lists.addWidget(self.list)
        self._lists.addWidget(self._nothing)
        page = QWidget()
        page.setLayout(column(box, 8, self._lists))
        return page

    def _empty_page(self) -> QWidget:
        theme = self._theme
        self.empty_zone = DropZone(theme, large=True)
        cards = QHBoxLayout()
        cards.setSpacing(16)
        for example in EXAMPLES:
            card = ExampleCard(theme, example)
            card.run.connect(self._actions.run_files)
            card.setMaximumHeight(_CARD_H)
            cards.addWidget(card, 1)
        self.hint = frame("hint")
        self.hint_text = Text(theme, "", "body", "text")
        self.hint_button = Button(theme, "", size="small")
        self.hint_button.clicked.connect(lambda: self._hint_act())
        self.hint.setLayout(
            row(
                Icon(theme, "flask-conical", "teal"),
                self.hint_text,
                None,
                self.hint_button,
                gap=12,
                margins=(16, 10, 12, 10),
            )
        )
        self.hint.hide()
        page = QWidget()
        layout = column(margins=(MARGIN, 0, MARGIN, MARGIN))
        layout.addWidget(self.empty_zone, 3)
        self.empty_zone.setMaximumHeight(_ZONE_H)
        layout.addSpacing(16)
        layout.addWidget(Text(theme, "Or start from an example", "strong"))
        layout.addSpacing(10)
        layout.addLayout(cards, 2)
        layout.addSpacing(16)
        layout.addWidget(self.hint)
        layout.addStretch(0)
        page.setLayout(layout)
        return page

    def _bind(self) -> None:
        actions, model = self._actions, self._model
        for zone in (self.zone, self.empty_zone):
            zone.open_wanted.connect(actions.choose_files)
        self.head.filtered.connect(self._filter)
        self.head.acted.connect(self._act_on_selected)
        self.head.more.clicked.connect(self._open_more)
        self.head.recent.clicked.connect(self.recent_wanted)
        self.list.hit.connect(self._hit)
        self.list.current_changed.connect(self._current_changed)
        self.list.selectionModel().selectionChanged.connect(self._selection_changed)
        self.list.customContextMenuRequested.connect(self._context_menu)
        self.list.doubleClicked.connect(lambda _: self.open_inspector())
        self.inspector.closed.connect(self.close_inspector)
        self.inspector.acted.connect(self._act)
        self.inspector.viewed.connect(self.open_viewer)
        model.counted.connect(self._show_state)
        model.dataChanged.connect(self._data_changed)
        model.modelReset.connect(self._show_state)
        self._pictures.arrived.connect(lambda _: self._repaint.start())
        self._motion.ticked.connect(self._repaint_moving)
        self.splitter.splitterMoved.connect(self._splitter_moved)
        self._theme.changed.connect(self.list.viewport().update)
        self._add_keys()

    def _add_keys(self) -> None:
        """Single letters work only when the list has the focus."""
        ids = self.list.selected_ids
        for keys, act in (
            ("Return", self.open_inspector),
            ("Enter", self.open_inspector),
            ("Space", lambda: self.open_viewer(0)),
            ("Delete", lambda: self._actions.cancel_or_remove(ids())),
            ("R", lambda: self._actions.retry(ids())),
            ("Shift+R", lambda: self._actions.run_on_other(ids())),
            ("E", self._tune),
            ("Ctrl+C", lambda: self._copy(ids())),
            ("Ctrl+Shift+C", self._copy_parameters),
            ("/", self.head.open_search),
            ("Menu", lambda: self._context_menu(self.list.visualRect(self.list.currentIndex()).center())),
        ):
            made = QShortcut(QKeySequence(keys), self.list)
            made.setContext(Qt.ShortcutContext.WidgetShortcut)
            made.activated.connect(act)

    # What the window calls.

    def select(self, job_id: str) -> None:
        """Show a job: select it, open its inspector."""
        if self.isHidden() or not self._model.index_of(job_id).isValid():
            self._pending = job_id
            return
        self._pending = ""
        self.list.select(job_id)
        if not self._narrow:
            self.open_inspector()

    def jobs_read(self) -> None:
        """The jobs of earlier days are known now; before, an empty list says nothing."""
        self._read = True
        self._show_state()

    def escape(self) -> bool:
        """Close or clear one thing; False when there was nothing."""
        if self._narrow and self.inspector.isVisible():
            self.close_inspector()
        elif self.head.search.text():
            self.head.search.clear()
        elif self.list.selected_ids():
            self.list.clearSelection()
            self.close_inspector()
        else:
            return False
        return True

    def open_search(self) -> None:
        self.head.open_search()

    def open_inspector(self) -> None:
        entry = self._model.jobs.get(self.list.current_id())
        if entry is None:
            return
        self._wants_inspector = True
        self.inspector.show_entry(entry)
        if self.inspector.isHidden():
            self.inspector.show()
            self._place_inspector()
        self._read_details()
        self.inspector_changed.emit()

    def close_inspector(self) -> None:
        had_focus = self.inspector.isAncestorOf(self.focusWidget()) if self.focusWidget() else False
        self._wants_inspector = False
        self.inspector.hide()
        if had_focus or self._narrow:
            self.list.setFocus(Qt.FocusReason.OtherFocusReason)
        self.inspector_changed.emit()

    def open_viewer(self, number: int) -> None:
        """Results at full size; the live preview of one that runs."""
        entry = self._model.jobs.get(self.list.current_id())
        if entry is None or self.viewer is None:
            return
        paths = [output.path for output in entry.job.outputs] if entry.job.state is State.DONE else []
        preview = self._pictures.preview(entry.job.id)
        if paths:
            self.viewer.open_results(paths, number)
            if not self.viewer.isVisible():
                self._actions.open_file(paths[min(number, len(paths) - 1)])
        elif preview is not None:
            self.viewer.show_preview(preview, entry.job.name)

    def show_drag(self, text: str, *, good: bool) -> None:
        self.zone.show_drag(text, good=good)
        self.empty_zone.show_drag(text, good=good)

    def right_edge(self) -> int:
        """How much of the right the inspector takes."""
        return self.inspector.width() if self.inspector.isVisible() else 0

    def save_state(self) -> None:
        self._state.put("inspector_width", str(self._inspector_w))
        self._state.put("had_jobs", "yes" if self._model.jobs else "no")

    def restore_state(self) -> None:
        kept = self._state.text("inspector_width")
        if kept.isdigit():
            self._inspector_w = min(max(int(kept), INSPECTOR_MIN_W), INSPECTOR_MAX_W)

    def show_hint(self, text: str, button: str, act: Callable[[], None]) -> None:
        """A note below the examples, as that the pictures are the demo engine's. An empty text: none."""
        self.hint.setVisible(bool(text))
        self.hint_text.setText(text)
        self.hint_button.set_label(button)
        self._hint_act = act

    # What happens.

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.inspector.set_short(short=self.window().height() < SHORT_BELOW_H)
        narrow = self.window().width() < FOLD_BELOW_W
        self.delegate.tiles = 4 if self.window().width() >= WIDE_W else 2
        if narrow != self._narrow:
            self._narrow = narrow
            self.head.set_narrow(narrow=narrow)
            self._place_inspector()
        elif narrow:
            self._place_inspector()
        self._show_count()

    def _place_inspector(self) -> None:
        """Beside the list; in a narrow window above it, at the right."""
        inspector = self.inspector
        if self._narrow:
            if inspector.parentWidget() is not self:
                shown = inspector.isVisibleTo(self)
                inspector.setParent(self)
                inspector.setVisible(shown)
            width = min(max(INSPECTOR_W, inspector.minimumSizeHint().width()), self.width())
            inspector.setGeometry(self.width() - width, 0, width, self.height())
            inspector.raise_()
        elif self.splitter.indexOf(inspector) < 0:
            shown = inspector.isVisibleTo(self)
            self.splitter.addWidget(inspector)
            inspector.setVisible(shown)
        if not self._narrow and inspector.isVisible():
            self.splitter.setSizes([self.width() - self._inspector_w - 1, self._inspector_w])
        self.inspector_changed.emit()

    def _splitter_moved(self) -> None:
        self._inspector_w = self.inspector.width()
        self.inspector_changed.emit()

    def _filter(self) -> None:
        self._model.show_only(self.head.filters.key(), self.head.search.text())  # type: ignore[arg-type]
        self._show_state()

    def _show_state(self, *_: object) -> None:
        known = bool(self._model.jobs) or (not self._read and self._state.text("had_jobs") == "yes")
        self._stack.setCurrentIndex(0 if known else 1)
        self.head.show_several(len(self.list.selected_ids()), jobs=known)
        empty = bool(self._model.jobs) and self._model.rowCount() == 0
        self._lists.setCurrentIndex(1 if empty else 0)
        if empty:
            title, text = _NOTHING.get(self.head.filters.key(), ("", ""))
            if self.head.search.text() or not title:
                title, text = "No job matches", f"{len(self._model.jobs)} jobs are hidden."
            self._nothing_title.setText(title)
            self._nothing_text.setText(text)
        self._show_count()
        moving = any(self._model.counts()) and not self._theme.reduced_motion
        self._motion.want(self, moving)
        if self._pending:
            self.select(self._pending)
        if self.inspector.isVisible() and self.inspector.job_id not in self._model.jobs:
            self.close_inspector()  # it was removed

    def _show_count(self) -> None:
        runs, waits = self._model.counts()
        text = f"{runs} running, {waits} waiting" if runs or waits else "Nothing running"
        if not self._model.jobs:
            text = "No jobs yet" if self._read else ""
        self.head.show_counts(text)

    def _repaint_moving(self) -> None:
        self.list.update_moving()
        if self.inspector.isVisible():
            self.inspector.update_moving()

    def _data_changed(self, first: QModelIndex, last: QModelIndex) -> None:
        if not self.inspector.isVisible():
            return
        row = self._model.index_of(self.inspector.job_id).row()
        entry = self._model.jobs.get(self.inspector.job_id)
        if entry is not None and first.row() <= row <= last.row():
            self.inspector.show_entry(entry)
            if self._details_of != (entry.job.id, entry.job.state):
                self._read_details()

    def _current_changed(self, job_id: str) -> None:
        entry = self._model.jobs.get(job_id)
        if entry is not None and self._wants_inspector and self.inspector.job_id != job_id:
            self.inspector.show_entry(entry)
            self._read_details()

    def _selection_changed(self) -> None:
        chosen = len(self.list.selected_ids())
        self.head.show_several(chosen, jobs=bool(self._model.jobs))
        if chosen == 1 and not self._narrow:
            self.open_inspector()

    def _read_details(self) -> None:
        entry = self._model.jobs.get(self.inspector.job_id)
        if entry is not None:
            fresh = self._details_of[0] != entry.job.id
            self._details_of = (entry.job.id, entry.job.state)
            self._scope.start(self._details(entry.job, fresh=fresh), "details")

    async def _details(self, job: Job, *, fresh: bool) -> None:
        moves = await self._desk.store.timeline(job.id)
        shown = None
        if fresh:
            try:
                shown = parameters((await self._desk.store.spec(job.id)).prompt)
            except BadInput:
                return  # removed while it was being read
        self.inspector.show_details(job.id, moves, shown)

    # Controls.

    def _hit(self, job_id: str, hit: Hit, where: QPoint) -> None:
        entry = self._model.jobs.get(job_id)
        if entry is None:
            return
        if hit is Hit.MENU:
            ids = self.list.selected_ids()
            self._open_menu(ids if job_id in ids else [job_id], where)
            return
        match action_of(entry.job)[1]:
            case "Cancel":
                self._actions.cancel([job_id])
            case "Retry":
                self._actions.retry([job_id])
            case _:
                self._actions.open_outputs(job_id)

    def _act(self, action: str, job_id: str) -> None:
        actions = self._actions
        match action:
            case "cancel":
                actions.cancel([job_id])
            case "retry" | "run_again":
                actions.retry([job_id])
            case "run_on_other":
                actions.run_on_other([job_id])
            case "tune":
                actions.tune(job_id)
            case "upload":
                actions.upload_and_run(job_id)
            case "ask_worker":
                actions.ask_worker(job_id)
            case "check_again":
                actions.check_again(job_id)
            case "remove":
                actions.remove([job_id])
            case "open_outputs":
                actions.open_outputs(job_id)
            case "copy_diagnostics":
                actions.copy_diagnostics(job_id, self.inspector.show_copied)
            case "copy_log":
                actions.copy_log(job_id)
            case "save_workflow":
                actions.save_workflow(job_id)

    def _tune(self) -> None:
        for job_id in self.list.selected_ids()[:1]:
            self._actions.tune(job_id)

    def _act_on_selected(self, action: str) -> None:
        ids, actions = self.list.selected_ids(), self._actions
        {"cancel": actions.cancel, "retry": actions.retry, "remove": actions.remove}[action](ids)

    def _context_menu(self, point: QPoint) -> None:
        index = self.list.indexAt(point)
        entry = self._model.entry(index)
        if entry is not None:
            self._open_menu(
                self.list.selected_ids() or [entry.job.id], self.list.viewport().mapToGlobal(point)
            )

    def _open_menu(self, ids: Sequence[str], where: QPoint) -> None:
        menu = self.menu_for(ids)
        menu.popup(where)

    def menu_for(self, ids: Sequence[str]) -> QMenu:
        """The menu of one or several jobs."""
        return job_menu(self, self._actions, self._model, ids)

    def _open_more(self) -> None:
        menu = more_menu(self, self._actions, self._model, self.list.selectAll)
        more = self.head.more
        menu.popup(more.mapToGlobal(QPoint(0, more.height() + 4)))

    def _copy(self, ids: Sequence[str]) -> None:
        if len(ids) == 1:
            self._actions.copy_diagnostics(ids[0])

    def _copy_parameters(self) -> None:
        self.inspector._parameters.copy()
