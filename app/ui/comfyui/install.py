"""Installing ComfyUI: what is wanted, then its steps one below the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QLineEdit, QWidget

from ..theme import Theme
from ..widgets.basics import Button, Elided, Text, Wrapped, column, row
from ..widgets.busy import BusyButton, StepMark
from ..widgets.fields import Choice
from ..widgets.paint import TURNS
from ..widgets.small import Bar
from .parts import Field, line_field
from .shown import InstallRun, InstallState, InstallWish, StepRow, StepState, Torch, WishName

_TORCH: Final[tuple[tuple[Torch, str], ...]] = (
    ("default", "This machine (default)"),
    ("cpu", "CPU"),
    ("rocm", "ROCm"),
    ("custom", "Custom index…"),
)
_TITLES: Final[dict[InstallState, str]] = {
    "running": "Installing ComfyUI",
    "stopping": "Cancelling",
    "failed": "Installation failed",
    "cancelled": "Installation cancelled",
    "done": "ComfyUI is installed",
}
#: The row, the column and the width in columns of each field.
_PLACES: Final[dict[WishName, tuple[int, int, int]]] = {
    "folder": (0, 0, 2),
    "repository": (1, 0, 1),
    "version": (1, 1, 1),
    "torch": (2, 0, 1),
    "index": (2, 1, 1),
}
#: Icon, colour, colour of the bar, and the word for screen readers.
_STEPS: Final[dict[StepState, tuple[str, str, str, str]]] = {
    "waiting": ("circle-dashed", "grey", "blue_bar", "to come"),
    "running": (TURNS, "blue", "blue_bar", "running"),
    "done": ("check", "green", "green_bar", "done"),
    "failed": ("x", "red", "red_bar", "failed"),
    "skipped": ("circle-minus", "grey", "ctl", "skipped"),
}


class InstallForm(QWidget):
    """Signals: ``wanted`` with an :class:`InstallWish`; ``left`` without; ``browse_wanted`` for a folder."""

    wanted = Signal(object)
    left = Signal()
    browse_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        browse = Button(theme, "Browse…")
        browse.clicked.connect(self.browse_wanted)
        self.torch = Choice(theme, "torch for", 10_000)
        self.torch.show_choices(_TORCH, "default")
        self.torch.currentIndexChanged.connect(self._show_index)
        self.fields: dict[WishName, Field] = {
            "folder": Field(theme, "Folder", line_field(), browse),
            "repository": Field(theme, "Repository address", line_field()),
            "version": Field(theme, "Version", line_field("newest release")),
            "torch": Field(theme, "torch for", self.torch),
            "index": Field(theme, "Index address", line_field("https://…")),
        }
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(12)
        for name, (line, place, columns) in _PLACES.items():
            grid.addWidget(self.fields[name], line, place, 1, columns, Qt.AlignmentFlag.AlignTop)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        self.leave = Button(theme, "Not now", "ghost")
        self.leave.clicked.connect(self.left)
        self.install = Button(theme, "Install", "primary", icon="download")
        self.install.clicked.connect(lambda: self.wanted.emit(self.wish()))
        why = "ComfyUI and the Python packages that it needs go into this folder."
        inner = column(Text(theme, "Install ComfyUI", "section"), gap=4)
        inner.addWidget(Wrapped(theme, why, "body", "text2"))
        inner.addSpacing(10)
        inner.addLayout(grid)
        inner.addSpacing(14)
        inner.addLayout(row(None, self.leave, self.install))
        self.setLayout(inner)
        for field in self.fields.values():
            if isinstance(field.control, QLineEdit):
                field.control.returnPressed.connect(self.install.click)
        self._show_index()

    def wish(self) -> InstallWish:
        """What is typed."""
        torch: Torch = self.torch.currentData()
        index = self._text("index") if torch == "custom" else ""
        return InstallWish(
            self._text("folder"), self._text("repository"), self._text("version"), torch, index
        )

    def show_wish(self, wish: InstallWish) -> None:
        self.torch.setCurrentIndex(self.torch.findData(wish.torch))
        for name, field in self.fields.items():
            if isinstance(field.control, QLineEdit):
                field.control.setText(getattr(wish, name))
        self.show_problems({})

    def show_problems(self, problems: Mapping[WishName, str]) -> None:
        """A sentence for each field that cannot be used."""
        for name, field in self.fields.items():
            field.show_wrong(problems.get(name, ""))

    def line(self, name: WishName) -> QLineEdit:
        control = self.fields[name].control
        assert isinstance(control, QLineEdit)
        return control

    def _text(self, name: WishName) -> str:
        return self.line(name).text().strip()

    def _show_index(self) -> None:
        self.fields["index"].setVisible(self.torch.currentData() == "custom")


class StepLine(QWidget):
    """One step: its state, what it does, how long it took, how far it is."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.mark = StepMark(theme)
        self._title, self._duration = Text(theme, "", "row"), Text(theme, "", "caption", "text2")
        self._detail = Elided(theme, "", "caption", "text2")
        self.bar = Bar(theme)
        words = column(gap=1)
        words.addLayout(row(self._title, None, self._duration))
        words.addWidget(self._detail)
        words.addSpacing(4)
        words.addWidget(self.bar)
        line = row(self.mark, gap=12)
        line.addLayout(words, 1)
        self.setLayout(line)
        self._state: StepState = "waiting"

    def show_step(self, step: StepRow) -> None:
        icon, tone, bar, word = _STEPS[step.state]
        self.mark.set(icon, tone, f"{step.title}, {word}")
        self._title.setText(step.title)
        self._title.set_role("text3" if step.state in ("waiting", "skipped") else "text")
        self._duration.setText("Skipped" if step.state == "skipped" else step.duration)
        self._detail.setText(step.detail)
        self._detail.set_role("red" if step.state == "failed" else "text2")
        part = 1.0 if step.state == "done" else step.part
        # A step that is tried again begins anew.
        again = step.state == "waiting" or (step.state == "running" and self._state != "running")
        self.bar.set_part(part, bar, anew=again)
        self.bar.setAccessibleName(f"{step.title}, {word}")
        self._state = step.state

    def tick(self) -> None:
        if self._state == "running":
            self.mark.update()
            self.bar.update()


class InstallSteps(QWidget):
    """Signals: ``cancel_wanted``, ``retry_wanted``, ``discard_wanted``, ``closed``: its buttons."""

    cancel_wanted = Signal()
    retry_wanted = Signal()
    discard_wanted = Signal()
    closed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.run: InstallRun | None = None
        self.lines: list[StepLine] = []
        self._title, self._total = Text(theme, "", "section"), Text(theme, "", "caption", "text2")
        self._problem = Wrapped(theme, "", "body", "red")
        self.bar = Bar(theme, 8)
        self.bar.setProperty("large", True)
        self.bar.setAccessibleName("Installation")
        self.cancel = BusyButton(theme, "Cancel", icon="x", size="small")
        self.discard = Button(theme, "Discard", "danger", icon="trash-2", size="small")
        self.retry = Button(theme, "Retry", "primary", icon="rotate-ccw", size="small")
        self.close_button = Button(theme, "Close", size="small")
        for button, signal in (
            (self.cancel, self.cancel_wanted), (self.discard, self.discard_wanted),
            (self.retry, self.retry_wanted), (self.close_button, self.closed),
        ):  # fmt: skip
            button.clicked.connect(signal)
        words = column(None, self._title, self._total, None, gap=1)
        head = row()
        head.addLayout(words, 1)
        head.addLayout(row(self.cancel, self.discard, self.retry, self.close_button))
        self._steps = column(gap=10)
        inner = column(gap=10)
        inner.addLayout(head)
        inner.addWidget(self._problem)
        inner.addWidget(self.bar)
        inner.addSpacing(4)
        inner.addLayout(self._steps)
        self.setLayout(inner)

    def show_run(self, run: InstallRun) -> None:
        anew = self.run is None or self.run.state != run.state
        self.run = run
        self._title.setText(_TITLES[run.state])
        self._total.setText(run.total)
        self._total.setVisible(bool(run.total))
        self._problem.setText(run.problem)
        self._problem.setVisible(bool(run.problem))
        colour = {"failed": "red_bar", "cancelled": "amber_bar", "done": "green_bar"}.get(
            run.state, "blue_bar"
        )
        self.bar.set_part(1.0 if run.state == "done" else run.part, colour, anew=anew)
        stopping, ended = run.state == "stopping", run.state in ("failed", "cancelled")
        self.cancel.setVisible(run.state in ("running", "stopping"))
        self.cancel.set_busy(busy=stopping, why="The step under way is ending." if stopping else "")
        self.retry.setVisible(ended)
        self.discard.setVisible(ended)
        self.close_button.setVisible(run.state == "done")
        while len(self.lines) < len(run.steps):
            line = StepLine(self._theme)
            self.lines.append(line)
            self._steps.addWidget(line)
        for line, step in zip(self.lines, run.steps, strict=False):
            line.show_step(step)
        for number, line in enumerate(self.lines):
            line.setVisible(number < len(run.steps))

    @property
    def moves(self) -> bool:
        return self.run is not None and self.run.state in ("running", "stopping")

    def tick(self) -> None:
        self.cancel.tick()
        self.bar.update()
        for line in self.lines:
            line.tick()


class InstallCard(QFrame):
    """The form, or the steps of what it began; hidden while neither is wanted."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "card")
        self.form, self.steps = InstallForm(theme), InstallSteps(theme)
        self.steps.hide()
        self.setLayout(column(self.form, self.steps, margins=(16, 14, 16, 16)))
        self.hide()

    @property
    def is_form(self) -> bool:
        """Whether the form is what it shows."""
        return not self.isHidden() and not self.form.isHidden()

    def show_form(self) -> None:
        self.steps.hide()
        self.form.show()
        self.show()

    def show_run(self, run: InstallRun) -> None:
        self.form.hide()
        self.steps.show_run(run)
        self.steps.show()
        self.show()
