"""Everything about one job, at the right of the list."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from ...jobs.cards import available, closest, error_card, log_lines, missing_name, traceback_text
from ...jobs.model import Job, Move
from ...jobs.states import State
from ...jobs.words import ago, cost, cost_parts, duration, is_remote, pill, target_name, timeline
from ...workflows.parameters import Parameter
from ..theme import Theme
from ..theme.tokens import INSPECTOR_MAX_W, INSPECTOR_MIN_W, PAGE_HEAD_H
from ..widgets.basics import Button, Elided, Text, Wrapped, column, hairline, row
from ..widgets.paint import TURNS
from ..widgets.scrolling import ScrollBox
from ..widgets.small import PillLabel, Segments
from .delegate import is_picture
from .model import Entry
from .parts import ErrorBox, FileList, LogText, Parameters, Remedy
from .pictures import PictureStore
from .preview import FilmStrip, Preview
from .timeline import Timeline

_PREVIEW_H, _PREVIEW_SHORT_H, _MARGIN = 256, 200, 16
_COPIED_MS = 2000
_TABS = (("log", "Log"), ("traceback", "Traceback"), ("timeline", "Timeline"), ("parameters", "Parameters"))
_BAD = {State.FAILED, State.TIMED_OUT}


class Inspector(QWidget):
    """Shows one job. Its foot has the two things that are most often wanted.

    Signals:
        closed: the user is done with it.
        acted: the name of an action and the job's id.
        viewed: the number of the result that the user wants at full size.
    """

    closed = Signal()
    acted = Signal(str, str)
    viewed = Signal(int)

    def __init__(
        self,
        theme: Theme,
        pictures: PictureStore,
        now: Callable[[], float] = time.time,
        name: Callable[[str], str] = target_name,
        other: Callable[[str], str] = lambda _: "",
    ) -> None:
        super().__init__()
        self.setProperty("region", "inspector")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setMaximumWidth(INSPECTOR_MAX_W)
        self.setAccessibleName("Job details")
        self._theme, self._pictures, self._now, self._name = theme, pictures, now, name
        #: What the other place to run a job is called; empty when there is none.
        self._other = other
        self._entry: Entry | None = None
        self._moves: Sequence[Move] = ()
        self._number = 0
        self._shown_error: object = None
        self._build()
        pictures.arrived.connect(self._picture_arrived)

    def _build(self) -> None:
        theme = self._theme
        self._title = Elided(theme, "", "section")
        close = Button(theme, kind="bare", icon="x", tip="Close", keys="Esc", size="small")
        close.clicked.connect(self.closed)
        head = QWidget()
        head.setFixedHeight(PAGE_HEAD_H - 8)
        line = row(margins=(16, 8, 12, 0))
        line.addWidget(self._title, 1)
        line.addWidget(close)
        head.setLayout(line)
        self._pill, self._about = PillLabel(theme), Elided(theme, "", "caption", "text2")
        state = row(margins=(16, 0, 16, 12))
        state.addWidget(self._pill)
        state.addWidget(self._about, 1)
        self._build_parts()
        body = QWidget()
        body.setLayout(self._body_layout())
        self._scroll = ScrollBox(body, "Details")
        self._foot_left, self._foot_right = Button(theme, "", size="snug"), Button(theme, "", size="snug")
        self._foot_left.clicked.connect(lambda: self._act(self._foot_left))
        self._foot_right.clicked.connect(lambda: self._act(self._foot_right))
        foot = row(margins=(16, 12, 16, 16))
        foot.addWidget(self._foot_left, 1)
        foot.addWidget(self._foot_right, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(1, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(head)
        layout.addLayout(state)
        layout.addWidget(self._scroll, 1)
        layout.addLayout(foot)

    def _build_parts(self) -> None:
        theme = self._theme
        self._error, self._files = ErrorBox(theme), FileList(theme)
        self._error.acted.connect(self._emit)
        self._preview, self._film = Preview(theme), FilmStrip(theme, self._pictures)
        self._preview.opened.connect(lambda: self.viewed.emit(self._number))
        self._film.chosen.connect(self._choose_result)
        self._timeline_head = Text(theme, "Timeline", "caption_strong", "text2")
        self._total = Text(theme, "", "caption", "text2")
        self._timeline, self._parameters = Timeline(theme), Parameters(theme)
        self._parameters.change_wanted.connect(lambda: self._emit("tune"))
        self._tabs = Segments(theme, _TABS, "Diagnostics", compact=True)
        self._tabs.choose("log")
        self._tabs.chosen.connect(self._show_tab)
        self._log, self._trace = LogText(theme, "Log"), LogText(theme, "Traceback")
        self._texts = QStackedWidget()
        self._texts.addWidget(self._log)
        self._texts.addWidget(self._trace)
        self._log_about = Text(theme, "", "caption", "text3")
        self._wrap = Button(theme, kind="bare", icon="wrap-text", tip="Wrap lines", size="small")
        self._wrap.setCheckable(True)
        self._wrap.setChecked(True)
        for text in (self._log, self._trace):
            self._wrap.toggled.connect(lambda on, text=text: text.set_wrapped(wrapped=on))
        copy = Button(theme, kind="bare", icon="copy", tip="Copy log", size="small")
        copy.clicked.connect(lambda: self._emit("copy_log"))
        self._log_foot = QWidget()
        self._log_foot.setLayout(row(self._log_about, None, self._wrap, copy, gap=4))
        self._note = Wrapped(theme, "", "caption", "amber")

    def _body_layout(self) -> QVBoxLayout:
        self._timeline_line = QWidget()
        self._timeline_line.setLayout(row(self._timeline_head, None, self._total))
        self._rule = hairline()
        # The log takes what room there is; where there is none, this does.
        self._filler = QWidget()
        self._filler.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        return column(
            self._error, self._files, self._note, self._preview, self._film, self._tabs, self._texts,
            self._log_foot, self._timeline_line, self._timeline, self._rule, self._parameters, self._filler,
            gap=8, margins=(_MARGIN, 0, _MARGIN, 12),
        )  # fmt: skip

    def minimumSizeHint(self) -> QSize:
        """Larger texts need more: neither the tabs of a failed job nor the buttons are ever cut."""
        foot = self._foot_left.minimumSizeHint().width() + 8 + self._foot_right.minimumSizeHint().width()
        least = max(self._tabs.minimumSizeHint().width(), foot) + 2 * _MARGIN + 1
        return QSize(max(INSPECTOR_MIN_W, least), super().minimumSizeHint().height())

    @property
    def job_id(self) -> str:
        """The job that is shown; an empty text for none."""
        return self._entry.job.id if self._entry is not None else ""

    @property
    def parameters_text(self) -> str:
        return self._parameters.as_text()

    @property
    def log_text(self) -> str:
        return self._log.toPlainText()

    def show_entry(self, entry: Entry) -> None:
        """Show a job, or what is new of the one shown."""
        fresh = entry.job.id != self.job_id
        self._entry = entry
        if fresh:
            self._number, self._moves, self._shown_error = 0, (), None
            self._parameters.show_parameters(())
            self._tabs.choose("log")
            self._scroll.verticalScrollBar().setValue(0)
        job = entry.job
        self._title.setText(job.name)
        shown = pill(job)
        self._pill.set(shown.text, shown.tone, shown.icon)
        self._about.setText(_about(job, self._name(job.target), self._now()))
        self._show_error(job)
        self._show_picture()
        self._show_timeline()
        self._show_foot(job)

    def show_details(
        self, job_id: str, moves: Sequence[Move], parameters: Sequence[Parameter] | None
    ) -> None:
        """What had to be read for it: the timeline, and the parameters when they are new."""
        if job_id != self.job_id:
            return
        self._moves = moves
        self._show_timeline()
        if parameters is not None:
            self._parameters.show_parameters(parameters)
        self._show_tab(self._tabs.key())

    def update_moving(self) -> None:
        """Draw the pill anew when its icon turns."""
        if self._entry is not None and pill(self._entry.job).icon == TURNS:
            self._pill.update()

    def set_short(self, *, short: bool) -> None:
        """Less height for the picture in a low window."""
        self._preview.setFixedHeight(_PREVIEW_SHORT_H if short else _PREVIEW_H)

    def show_copied(self) -> None:
        """The button says so for two seconds."""
        button = self._foot_left
        button.setText("Copied")
        QTimer.singleShot(_COPIED_MS, button, self._show_foot_again)

    def _show_foot_again(self) -> None:
        if self._entry is not None:
            self._show_foot(self._entry.job)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        else:
            super().keyPressEvent(event)

    # Parts.

    def _show_error(self, job: Job) -> None:
        bad = job.state in _BAD
        stuck = job.is_stuck or (job.error is not None and not job.is_final)
        self._error.setVisible(bad or job.is_stuck)
        for part in (self._tabs, self._texts, self._log_foot):
            part.setVisible(bad)
        if job.error is self._shown_error and self._shown_error is not None:
            self._show_tab(self._tabs.key())
            return
        self._shown_error = job.error
        card = error_card(job) if bad or stuck else None
        self._files.setVisible(False)
        self._note.setVisible(bool(stuck and not job.is_stuck) or bool(job.warnings))
        self._note.setText("\n".join([card.text, card.hint] if card and stuck else job.warnings).strip())
        if card is not None and (bad or job.is_stuck):
            other = self._other(job.id) if job.lacks else ""
            self._error.show_error(card, _remedies(job, other), is_note=job.lacks)
        if bad:
            self._show_diagnostics(job)
        self._show_tab(self._tabs.key())

    def _show_diagnostics(self, job: Job) -> None:
        lines, trace = log_lines(job), traceback_text(job)
        self._log.setPlainText("\n".join(lines) or "No log came with the failure.")
        self._log.moveCursor(self._log.textCursor().MoveOperation.End)
        self._trace.setPlainText(trace or "No traceback came with the failure.")
        self._log_about.setText(f"Last {len(lines)} lines from the worker" if lines else "")
        missing = missing_name(job)
        files = available(job)
        if missing is not None and missing.kind in files:
            names = files[missing.kind]
            self._files.show_files(missing.kind, names, closest(missing.name, names))
            self._files.setVisible(True)

    def _show_tab(self, key: str) -> None:
        """For a failed job one of the four at a time; for others timeline and parameters."""
        bad = self._entry is not None and self._entry.job.state in _BAD
        self._texts.setVisible(bad and key in ("log", "traceback"))
        self._log_foot.setVisible(bad and key == "log")
        self._filler.setVisible(self._texts.isHidden())
        self._texts.setCurrentWidget(self._trace if key == "traceback" else self._log)
        shows_timeline, shows_parameters = not bad or key == "timeline", not bad or key == "parameters"
        self._timeline.setVisible(shows_timeline)
        self._timeline_line.setVisible(shows_timeline)
        self._parameters.setVisible(shows_parameters and bool(self._parameters.as_text()))
        self._rule.setVisible(not bad and bool(self._parameters.as_text()))

    def _show_picture(self) -> None:
        entry = self._entry
        if entry is None:
            return
        job = entry.job
        visible = job.state not in _BAD and not (job.state is State.CANCELLED and not job.outputs)
        self._preview.setVisible(visible)
        paths = [output.path for output in job.outputs] if job.state is State.DONE else []
        wanted = job.expected.count if job.expected is not None and not job.is_final else None
        self._film.show_results(paths, max(len(paths), wanted or 0) if visible else 0, self._number, job.id)
        if not visible:
            return
        if paths:
            path = paths[min(self._number, len(paths) - 1)]
            shown = is_picture(path)
            picture = self._pictures.picture(path) if shown else None
            text = "" if shown else f"Open in player: {path.rsplit('/', 1)[-1]}"
            self._preview.show_picture(picture, icon="image" if shown else "film", text=text)
            return
        preview = self._pictures.preview(job.id)
        text = "Text only, see below" if job.texts else "" if job.is_final else "The preview appears here."
        self._preview.show_picture(preview, badge="Live preview" if preview is not None else "", text=text)

    def _show_timeline(self) -> None:
        if self._entry is None:
            return
        job, now = self._entry.job, self._now()
        self._timeline.show_points(timeline(job, self._moves, self._entry.progress, now))
        end = job.ended_at if job.is_final else now
        total = duration(max((end or now) - job.created_at, 0))
        paid = cost(job, now) if is_remote(job.target) else ""
        total = total if job.is_final else f"{total} so far"
        self._total.setText(" · ".join(part for part in (total, paid) if part))
        self._total.setToolTip(cost_parts(job, now))

    def _show_foot(self, job: Job) -> None:
        left, right = _foot(job)
        for button, (name, text, icon, kind) in ((self._foot_left, left), (self._foot_right, right)):
            button.setProperty("does", name)
            if button.property("kind") != kind:
                button.setProperty("kind", kind)
                button.style().unpolish(button)
                button.style().polish(button)
            button.set_icon(icon, "red" if kind == "danger" else "text")
            button.set_label(text)

    def _choose_result(self, number: int) -> None:
        self._number = number
        self._show_picture()

    def _picture_arrived(self, key: str) -> None:
        if self._entry is None or not self.isVisible():
            return
        job = self._entry.job
        paths = {output.path for output in job.outputs}
        if key == job.id or key.removeprefix("large:") in paths:
            self._show_picture()

    def _act(self, button: Button) -> None:
        self._emit(str(button.property("does")))

    def _emit(self, action: str) -> None:
        if self.job_id:
            self.acted.emit(action, self.job_id)


def _about(job: Job, where: str, now: float) -> str:
    parts = [where, f"job {job.id[:8]}"]
    if job.is_final and job.ended_at is not None:
        parts.append(ago(job.ended_at, now))
    return " · ".join(parts)


def _remedies(job: Job, other: str) -> list[Remedy]:
    """What can be done about a job that failed, or that waits for a word."""
    if job.lacks:
        elsewhere = [("run_on_other", f"Run on {other}", "monitor")] if other else []
        upload = [("upload", "Upload and run", "upload")] if job.can_upload and is_remote(job.target) else []
        return [
            *upload,
            ("check_again", "Check again", "refresh-cw"),
            ("retry", "Run anyway", "play"),
            *elsewhere,
            *([("ask_worker", "Ask a worker…", "server")] if is_remote(job.target) else []),
        ]
    return [("retry", "Send again" if job.is_stuck else "Retry", "rotate-ccw")]


def _foot(job: Job) -> tuple[tuple[str, str, str, str], tuple[str, str, str, str]]:
    """The two buttons at the foot: action, text, icon and kind of each."""
    if not job.is_final:
        return ("cancel", "Cancel job", "x", "danger"), (
            "save_workflow",
            "Save workflow…",
            "external-link",
            "secondary",
        )
    if job.state in _BAD:
        return (
            ("copy_diagnostics", "Copy diagnostics", "copy", "secondary"),
            ("save_workflow", "Save workflow…", "external-link", "secondary"),
        )
    if job.state is State.DONE:
        return ("open_outputs", "Open outputs", "folder-open", "secondary"), (
            "run_again",
            "Run again",
            "rotate-ccw",
            "secondary",
        )
    return ("retry", "Run again", "rotate-ccw", "secondary"), ("remove", "Remove", "trash-2", "secondary")
