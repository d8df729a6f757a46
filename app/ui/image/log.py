"""The log of all four stages: sections of which one is open, searched, wrapped, copied and saved as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QWidget

from ...log_lines import Line
from ..desktop import copy_text
from ..theme import Theme
from ..widgets.basics import Button, Text, column, hairline, row
from ..widgets.empty import Empty
from ..widgets.fields import SearchField
from ..widgets.log_pane import MOST_LINES, LogPane
from .finder import Finder, Place
from .sections import BuildSection, DeploySection, PaneSection, PushSection, TestSection
from .shown import PushedLayer, Stage, StageShown, StageState, StepShown
from .steps import Step
from .words import TITLES

#: So many lines at once, that the window never stands still for them: a full log takes 40 ms for them.
_BATCH_MS, _MOST_A_BATCH, _SEARCH_AFTER_MS = 50, 500, 150


class LogCard(QFrame):
    """The stage that runs is open, and folds when it is done, unless the user has opened another one.

    Signals:
        save_wanted: all that is in it, as one text.
    """

    save_wanted = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "card")
        self.build, self.test = BuildSection(theme), TestSection(theme)
        self.push, self.deploy = PushSection(theme), DeploySection(theme)
        self.sections: dict[Stage, BuildSection | PaneSection] = {
            each.stage: each for each in (self.build, self.test, self.push, self.deploy)
        }
        #: What has come, and is shown at the next beat: what one pane gets together costs it least.
        self._waiting: dict[LogPane, list[Line]] = {}
        self._by_hand = False
        self.finder = Finder(self._places)
        self._due, self._typed = QTimer(self), QTimer(self)
        self._rest = Empty(theme, "file-text")
        self._blank, self._last_line = QWidget(), hairline()
        self._build(theme)
        self._bind()
        self._fit()

    # What comes.

    def feed(self, stage: Stage, lines: Iterable[Line], step_id: str = "") -> None:
        """Lines of a stage; of the build with the step that says them."""
        section = self.sections[stage]
        self._hold(section.pane if isinstance(section, PaneSection) else self._step_pane(step_id), lines)

    def show_steps(self, steps: Sequence[StepShown]) -> None:
        self.build.steps.show_steps(steps)

    def show_layers(self, layers: Sequence[PushedLayer]) -> None:
        self._hold(self.push.pane, self.push.lines_of(tuple(layers)))

    def show_stages(self, stages: Sequence[StageShown]) -> None:
        for shown in stages:
            section = self.sections[shown.stage]
            before = section.shown.state
            section.show_stage(shown)
            if before is not shown.state:
                self._state_changed(section, shown.state)

    def clear_lines(self, stages: Iterable[Stage]) -> None:
        """Forget the lines of these stages; the log follows what runs again."""
        self._flush_all()
        for stage in stages:
            self.sections[stage].clear_lines()
        self._by_hand = False
        self._open(None)

    def open_stage(self, stage: Stage) -> None:
        """By the user's doing."""
        self._by_hand = True
        self._open(stage)

    @property
    def opened(self) -> Stage | None:
        return next((stage for stage, section in self.sections.items() if section.is_open), None)

    def text_of(self, stage: Stage) -> str:
        self._flush_all()
        return self.sections[stage].text()

    def text(self) -> str:
        """All stages that have said anything, each below its name."""
        said = [(TITLES[stage], self.text_of(stage)) for stage in self.sections]
        return "\n\n".join(f"{title}\n{lines}" for title, lines in said if lines)

    # What the page calls.

    def open_search(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    def escape(self) -> bool:
        """End a search; whether there was one."""
        if not self.search.text():
            return False
        self.search.clear()
        self._search()
        return True

    @property
    def moves(self) -> bool:
        return any(each.head.moves for each in self.sections.values()) or self.build.steps.moves

    def tick(self) -> None:
        for section in self.sections.values():
            if section.head.moves:
                section.head.update()
        self.build.steps.tick()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            back = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                if self._typed.isActive():
                    self._search()
                else:
                    self.finder.step(-1 if back else 1)
                return True
        return False

    # How it is built.

    def _build(self, theme: Theme) -> None:
        self.search = SearchField(theme, "Find in log", 180)
        self._count = Text(theme, "", "caption", "text2")
        self._count.hide()
        self.wrap = Button(theme, kind="bare", icon="wrap-text", tip="Wrap long lines")
        self.wrap.setCheckable(True)
        self.copy_button = Button(theme, kind="bare", icon="copy", tip="Copy the open part")
        self.save = Button(theme, kind="bare", icon="download", tip="Save the log…")
        tools = (self.wrap, self.copy_button, self.save)
        head = row(Text(theme, "Log", "section"), gap=8, margins=(16, 8, 10, 8))
        head.addStretch(1)
        head.addWidget(self._count)
        head.addWidget(self.search, 2)
        head.addLayout(row(*tools, gap=2))
        self._rest.show_text("No output yet", "The log starts with a build.", "")
        self._column = column(margins=(1, 0, 1, 1))
        self._column.addLayout(head)
        for section in self.sections.values():
            self._column.addWidget(hairline())
            self._column.addWidget(section)
        self._column.addWidget(self._last_line)
        self._column.addWidget(self._rest, 1)
        self._column.addWidget(self._blank, 1)
        self.setLayout(self._column)

    def _bind(self) -> None:
        for timer, after, act in (
            (self._due, _BATCH_MS, self._flush), (self._typed, _SEARCH_AFTER_MS, self._search)
        ):  # fmt: skip
            timer.setSingleShot(True)
            timer.setInterval(after)
            timer.timeout.connect(act)
        for section in self.sections.values():
            section.opened.connect(self.open_stage)
            section.folded.connect(self._folded)
            if isinstance(section, PaneSection):
                self.finder.take(section.pane)
        self.build.steps.step_made.connect(self._step_made)
        self.search.textChanged.connect(self._typed.start)
        self.search.installEventFilter(self)
        self.finder.counted.connect(self._show_count)
        self.wrap.toggled.connect(self._wrap)
        self.copy_button.clicked.connect(self._copy)
        self.save.clicked.connect(lambda: self.save_wanted.emit(self.text()))

    # What happens.

    def _hold(self, pane: LogPane, lines: Iterable[Line]) -> None:
        waiting = self._waiting.setdefault(pane, [])
        waiting.extend(lines)
        del waiting[:-MOST_LINES]
        if not self._due.isActive():
            self._due.start()

    def _flush(self) -> None:
        self._due.stop()
        room = _MOST_A_BATCH
        for pane in list(self._waiting):
            lines = self._waiting[pane]
            pane.add(lines[:room])
            self._waiting[pane] = lines[room:]
            room -= min(len(lines), room)
            if not self._waiting[pane]:
                del self._waiting[pane]
            if not room:
                break
        if self._waiting:
            self._due.start()
        self._fit()

    def _flush_all(self) -> None:
        while self._waiting:
            self._flush()

    def _step_pane(self, step_id: str) -> LogPane:
        return self.build.steps.step(step_id).pane

    def _step_made(self, step: Step) -> None:
        step.pane.set_wrapped(wrapped=self.wrap.isChecked())
        self.finder.take(step.pane)

    def _state_changed(self, section: BuildSection | PaneSection, state: StageState) -> None:
        if state is StageState.FAILED:
            self._flush_all()
            self._open(section.stage)
            section.show_error()
        elif state is StageState.RUNNING and not self._by_hand:
            self._open(section.stage)
        elif section.is_open and state is not StageState.RUNNING and not self._by_hand:
            self._open(None)

    def _open(self, stage: Stage | None) -> None:
        for section in self.sections.values():
            section.set_open(is_open=section.stage is stage)
        self._fit()

    def _folded(self, stage: Stage) -> None:
        self._by_hand = True
        self._open(None)

    def _fit(self) -> None:
        """The open section takes the height that there is."""
        opened = self.opened
        for section in self.sections.values():
            self._column.setStretchFactor(section, 1 if section.stage is opened else 0)
        none = opened is None and not any(section.has_lines for section in self.sections.values())
        self._last_line.setVisible(opened is None)
        self._rest.setVisible(none)
        self._blank.setVisible(opened is None and not none)

    def _places(self) -> list[Place]:
        def shows(stage: Stage, step: Step | None = None) -> None:
            self.open_stage(stage)
            if step is not None:
                step.open()
                self.build.steps.reveal(step)

        found: list[Place] = [
            (step.pane, lambda step=step: shows(Stage.BUILD, step))  # type: ignore[misc]
            for step in self.build.steps.steps.values()
        ]
        found += [
            (section.pane, lambda stage=stage: shows(stage))  # type: ignore[misc]
            for stage, section in self.sections.items()
            if isinstance(section, PaneSection)
        ]
        return found

    def _search(self) -> None:
        self._typed.stop()
        section = self.sections[self.opened] if self.opened is not None else None
        first = section.pane if isinstance(section, PaneSection) else None
        self.finder.search_for(self.search.text(), first)
        self._show_count()

    def _show_count(self) -> None:
        text = self.finder.text()
        self._count.setText(text)
        self._count.setVisible(bool(text))

    def _wrap(self, wrapped: bool) -> None:
        for pane, _ in self._places():
            pane.set_wrapped(wrapped=wrapped)
        self.wrap.set_icon("wrap-text", "accent_text" if wrapped else "text2")

    def _copy(self) -> None:
        """What is selected in the open part, else all of it; with none open all parts."""
        opened = self.opened
        if opened is None:
            copy_text(self.text())
            return
        section = self.sections[opened]
        panes = [section.pane] if isinstance(section, PaneSection) else [
            step.pane for step in self.build.steps.steps.values()
        ]  # fmt: skip
        selected = [pane.textCursor().selection().toPlainText() for pane in panes]
        copy_text("\n".join(text for text in selected if text) or self.text_of(opened))
