"""The steps of a build, one below the other, each with a log of its own that folds."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QFrame, QWidget

from ..theme import Theme
from ..widgets.basics import column, row
from ..widgets.scrolling import ScrollBox
from .folds import FoldHead
from .panes import StepPane
from .shown import StepShown, StepState
from .words import STEPS, took

_INSET, _AROUND = 20, 48
#: What no step said.
OTHER = StepShown("", "Other output", StepState.DONE)


class Step(QWidget):
    """A step's head, and its lines.

    It opens by itself while it runs, and when it has failed; what the user opened or folded stays so.
    """

    def __init__(self, theme: Theme, shown: StepShown) -> None:
        super().__init__()
        self.shown = shown
        self._by_hand = False
        self.head = FoldHead(theme, _INSET, is_step=True)
        self.pane = StepPane(theme, f"Log of {shown.title}")
        self.pane.hide()
        whole = column(self.head)
        whole.addLayout(row(self.pane, margins=(_INSET, 0, 0, 0)))
        self.setLayout(whole)
        self.head.clicked.connect(self._clicked)
        self.head.toggled.connect(self._fit)
        self.pane.counted.connect(self._fit)
        self.show_step(shown)

    def show_step(self, shown: StepShown) -> None:
        self.shown = shown
        look = STEPS[shown.state]
        cached = look.text if shown.state is StepState.CACHED else ""
        right = "  ·  ".join(part for part in (shown.note, cached, took(shown.took_s)) if part)
        self.head.show_texts(look, shown.title, "", right)
        if shown.state is StepState.FAILED:
            self.head.setChecked(True)
        elif not self._by_hand and shown is not OTHER:
            self.head.setChecked(shown.state is StepState.RUNNING)

    def open(self) -> None:
        """Bring its lines in sight, to stay."""
        self._by_hand = True
        self.head.setChecked(True)

    def _clicked(self) -> None:
        self._by_hand = True

    def _fit(self) -> None:
        self.pane.setVisible(self.head.isChecked() and self.pane.line_count() > 0)


class BuildSteps(QFrame):
    """Follows its end until the user scrolls away from it.

    Signals:
        step_made: a :class:`Step` that has come.
    """

    step_made = Signal(object)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.setProperty("kind", "console")
        self.setProperty("flat", True)
        self.steps: dict[str, Step] = {}
        self._following = True
        self._revealed: Step | None = None
        self._content = content = QWidget()
        self._column = column(margins=(0, 6, 0, 6))
        self._column.addStretch(1)
        content.setLayout(self._column)
        self._scroll = ScrollBox(content, "Steps of the build")
        self.setLayout(column(self._scroll))
        bar = self._scroll.verticalScrollBar()
        bar.rangeChanged.connect(self._range_changed)
        bar.valueChanged.connect(self._moved)

    def show_steps(self, steps: Sequence[StepShown]) -> None:
        """All steps known, in their order; those that have come before keep their lines."""
        for shown in steps:
            if shown.id in self.steps:
                self.steps[shown.id].show_step(shown)
            else:
                self._make(shown)

    def step(self, step_id: str) -> Step:
        """Where the lines of a step go; those of an unknown one stand apart."""
        if step_id not in self.steps:
            step_id = ""
        return self.steps[step_id] if step_id in self.steps else self._make(OTHER)

    def clear_steps(self) -> None:
        for step in self.steps.values():
            self._column.removeWidget(step)
            step.hide()
            step.deleteLater()
        self.steps.clear()
        self._revealed = None
        self._following = True

    def show_error(self) -> None:
        """Bring the first error of the step that failed in sight."""
        failed = next((each for each in self.steps.values() if each.shown.state is StepState.FAILED), None)
        if failed is not None:
            failed.open()
            failed.pane.go_to_level("error")
            self.reveal(failed)

    def reveal(self, step: Step) -> None:
        """Bring the line of a step in sight at which its log stands, once all have their places, too."""
        self._following, self._revealed = False, step
        self._column.activate()
        content = self._content
        place = step.pane.cursorRect().bottom() if step.pane.line_count() else 0
        bottom = step.pane.mapTo(content, QPoint(0, place)).y() if step.pane.isVisibleTo(content) else 0
        self._scroll.ensureVisible(0, max(bottom, step.mapTo(content, QPoint(0, 0)).y()), 0, _AROUND)

    def text(self) -> str:
        """What all steps said, each below its title."""
        said = [(step.shown.title, step.pane.visible_text()) for step in self.steps.values()]
        return "\n".join(f"{title}\n{lines}" if lines else title for title, lines in said)

    @property
    def moves(self) -> bool:
        return any(step.head.moves for step in self.steps.values())

    def tick(self) -> None:
        for step in self.steps.values():
            if step.head.moves:
                step.head.update()

    def _make(self, shown: StepShown) -> Step:
        made = Step(self._theme, shown)
        self.steps[shown.id] = made
        self._column.insertWidget(self._column.count() - 1, made)
        self.step_made.emit(made)
        return made

    def _range_changed(self, least: int, most: int) -> None:
        if self._following:
            self._scroll.verticalScrollBar().setValue(most)
        elif self._revealed is not None:
            self.reveal(self._revealed)

    def _moved(self, value: int) -> None:
        self._following = value >= self._scroll.verticalScrollBar().maximum()

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._revealed = None
        super().wheelEvent(event)
