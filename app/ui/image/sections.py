"""A stage's part of the log: a head that folds, and below it the stage's lines or steps."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QWidget

from ...log_lines import Line
from ..theme import Theme
from ..widgets.basics import column, hairline
from .folds import FoldHead
from .panes import StagePane
from .shown import PushedLayer, PushState, RegistryShown, Stage, StageShown, StageState
from .steps import BuildSteps
from .strips import DeployStrip, ResultStrip
from .words import STAGES, TITLES, layer_line, layer_role, took


class Section(QWidget):
    """Args:
        body: what is in sight while it is open.

    Signals:
        opened, folded: by the user, with the :class:`Stage`.
    """

    opened = Signal(object)
    folded = Signal(object)

    def __init__(self, theme: Theme, stage: Stage, body: QWidget) -> None:
        super().__init__()
        self.stage, self.body = stage, body
        self.shown = StageShown(stage)
        #: What its head says while it is to come, and nothing else is known of it.
        self.before = ""
        self.head = FoldHead(theme)
        self._line = hairline()
        whole = column(self.head, self._line)
        whole.addWidget(body, 1)
        self.setLayout(whole)
        self.head.clicked.connect(
            lambda: (self.opened if self.head.isChecked() else self.folded).emit(self.stage)
        )
        self.show_stage(self.shown)
        self.set_open(is_open=False)

    @property
    def is_open(self) -> bool:
        return self.head.isChecked()

    def set_open(self, *, is_open: bool) -> None:
        self.head.setChecked(is_open)
        self.body.setVisible(is_open)
        self._line.setVisible(is_open)

    def show_stage(self, shown: StageShown) -> None:
        self.shown = shown
        summary = shown.summary or shown.detail
        if not summary and shown.state in (StageState.SKIPPED, StageState.CANCELLED, StageState.FAILED):
            summary = STAGES[shown.state].text.lower()
        elif not summary and shown.state is StageState.TO_COME:
            summary = self.before
        self.head.show_texts(STAGES[shown.state], TITLES[shown.stage], summary, took(shown.took_s))


class BuildSection(Section):
    def __init__(self, theme: Theme) -> None:
        self.steps = BuildSteps(theme)
        super().__init__(theme, Stage.BUILD, self.steps)

    @property
    def has_lines(self) -> bool:
        return bool(self.steps.steps)

    def text(self) -> str:
        return self.steps.text()

    def show_error(self) -> None:
        self.steps.show_error()

    def clear_lines(self) -> None:
        self.steps.clear_steps()


class PaneSection(Section):
    """Args:
    strip: what stands above the lines.
    """

    def __init__(self, theme: Theme, stage: Stage, strip: QWidget | None = None) -> None:
        self.pane = StagePane(theme, f"Log of {TITLES[stage]}", self._role_of)
        box = QFrame()
        box.setProperty("kind", "console")
        box.setProperty("flat", True)
        inside = column(*([strip] if strip is not None else []))
        inside.addWidget(self.pane, 1)
        box.setLayout(inside)
        super().__init__(theme, stage, box)

    @property
    def has_lines(self) -> bool:
        return self.pane.line_count() > 0

    def text(self) -> str:
        return self.pane.visible_text()

    def show_error(self) -> None:
        self.pane.go_to_level("error")

    def clear_lines(self) -> None:
        self.pane.clear_lines()

    def _role_of(self, line: Line) -> str:
        return ""


class TestSection(PaneSection):
    def __init__(self, theme: Theme) -> None:
        self.result = ResultStrip(theme)
        super().__init__(theme, Stage.TEST, self.result)


class PushSection(PaneSection):
    """Layers stand among the lines, each as one that changes in place."""

    def __init__(self, theme: Theme) -> None:
        self._layers: dict[str, PushedLayer] = {}
        super().__init__(theme, Stage.PUSH)

    def show_registry(self, registry: RegistryShown) -> None:
        """Who is signed in to the registry."""
        self.before = f"Signed in as {registry.user}" if registry.user else ""
        if registry.login:
            self.before = "Not signed in"
        self.show_stage(self.shown)

    def lines_of(self, layers: tuple[PushedLayer, ...]) -> list[Line]:
        """Those that have changed, as lines to show."""
        changed = [layer for layer in layers if self._layers.get(layer.id) != layer]
        self._layers |= {layer.id: layer for layer in changed}
        return [
            Line(
                layer_line(layer),
                "error" if layer.state is PushState.FAILED else "info",
                layer.at,
                layer.id,
                replaces=True,
            )
            for layer in changed
        ]

    def clear_lines(self) -> None:
        super().clear_lines()
        self._layers.clear()

    def _role_of(self, line: Line) -> str:
        layer = self._layers.get(line.prefix)
        return layer_role(layer.state) if layer is not None and line.prefix else ""


class DeploySection(PaneSection):
    def __init__(self, theme: Theme) -> None:
        self.strip = DeployStrip(theme)
        super().__init__(theme, Stage.DEPLOY, self.strip)
