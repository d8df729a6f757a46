"""First run: where is ComfyUI? One that was found, another folder, or the demo engine; all can wait."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFileDialog, QFrame, QHBoxLayout, QWidget

from ...comfyui.find import Found
from ...jobs.words import size
from ..settings.page import choose_path
from ..tasks import TaskScope
from ..theme import Theme
from ..theme.tokens import SHORT_BELOW_H, TOP_BAR_H
from ..widgets.basics import Button, Elided, Icon, Text, Wrapped, column, frame, row, set_property
from ..widgets.late import LatePage, late
from ..widgets.mark import Mark
from ..widgets.small import PillLabel, StepCircle

_CARDS_W = 1056
_CARD_H, _CARD_SHORT_H = 336, 240
_STEPS = ("ComfyUI", "First workflow")


class Choice(QFrame):
    """A card: icon, title, sentence, points, and one button.

    Signals:
        taken: its button was pressed.
    """

    taken = Signal()

    def __init__(
        self, theme: Theme, icon: str, title: str, text: str, points: Sequence[str], button: str
    ) -> None:
        super().__init__()
        self._theme = theme
        self.setProperty("kind", "card")
        badge = frame("badge")
        badge.setFixedSize(44, 44)
        badge.setLayout(row(None, Icon(theme, icon, "accent_text", 20), None))
        self.pill = PillLabel(theme, "Found", "green")
        self.pill.hide()
        self._text = Text(theme, text, "body", "text2")
        self._text.setWordWrap(True)
        self._points = QWidget()
        self.button = Button(theme, button, size="large")
        self.button.clicked.connect(self.taken)
        layout = column(margins=(24, 24, 24, 24))
        layout.addLayout(row(badge, None, self.pill))
        for part, gap in ((Text(theme, title, "dialog"), 6), (self._text, 14), (self._points, 0)):
            layout.addSpacing(20 if part is not self._points and gap == 6 else 0)
            layout.addWidget(part)
            layout.addSpacing(gap)
        layout.addStretch(1)
        layout.addWidget(self.button)
        self._layout = layout
        self.setLayout(layout)
        self.show_points(points)

    def show_points(self, points: Sequence[str]) -> None:
        box = QWidget()
        layout = column(gap=5)
        for point in points:
            line = row(Icon(self._theme, "check", "text3", 14), gap=8)
            line.addWidget(Elided(self._theme, point, "caption", "text2"), 1)
            layout.addLayout(line)
        box.setLayout(layout)
        self._layout.replaceWidget(self._points, box)
        self._points.hide()
        self._points.deleteLater()
        self._points = box

    def show_text(self, text: str) -> None:
        self._text.setText(text)

    def set_short(self, *, short: bool) -> None:
        self._points.setVisible(not short)
        self.setMinimumHeight(_CARD_SHORT_H if short else _CARD_H)

    def set_first(self, *, first: bool) -> None:
        """The choice that most people want."""
        set_property(self, "chosen", "true" if first else "false")
        self.button.setProperty("kind", "primary" if first else "secondary")
        self.button.style().unpolish(self.button)
        self.button.style().polish(self.button)


class WelcomePage(LatePage):
    """Where ComfyUI is to come from.

    Signals: ``folder_chosen`` with ComfyUI's folder, ``install_wanted``, ``demo_chosen``, ``skipped``.
    """

    folder_chosen = Signal(object)
    install_wanted = Signal()
    demo_chosen = Signal()
    skipped = Signal()

    def __init__(self, theme: Theme, scope: TaskScope) -> None:
        super().__init__()
        self.setProperty("region", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme, self._scope = theme, scope
        self._found: Found | None = None
        self.show_found(None)

    def build(self) -> None:
        theme = self._theme
        self._later = Button(theme, "Set up later", "ghost")
        self._later.clicked.connect(self.skipped)
        bar = QWidget()
        bar.setProperty("region", "topbar")
        bar.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        bar.setFixedHeight(TOP_BAR_H)
        bar.setLayout(
            row(
                Mark(),
                Text(theme, "Comfy RunPod", "section"),
                None,
                self._later,
                gap=10,
                margins=(16, 0, 16, 0),
            )
        )
        self.title = Text(theme, "Welcome to Comfy RunPod", "hero")
        about = Text(
            theme,
            "Run ComfyUI workflows on this computer or on RunPod. First: where is ComfyUI?",
            "body",
            "text2",
        )
        self.mine = Choice(theme, "folder-open", "Use my ComfyUI", "", [], "Choose a folder…")
        self.install = Choice(
            theme,
            "download",
            "Install ComfyUI",
            "Downloads ComfyUI and its own Python into one folder you choose.",
            [
                "About 6 GB, 5 to 10 minutes",
                "Nothing else on the system changes",
                "Can go on where it stopped",
            ],
            "Choose a folder…",
        )
        self.install.taken.connect(self.install_wanted)
        self.demo = Choice(
            theme,
            "flask-conical",
            "Try the demo engine",
            "Explore the app with a built-in engine that makes sample pictures. No GPU, no account.",
            ["Ready in a second", "Queue, results and errors all work", "Switch to ComfyUI at any time"],
            "Start the demo",
        )
        self.mine.taken.connect(self._take_mine)
        self.demo.taken.connect(self.demo_chosen)
        self._problem = Wrapped(theme, "", "body", "red")
        self._problem.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._browse = Button(theme, "Browse…", "ghost", icon="folder")
        self._browse.clicked.connect(self._choose)
        self._another = QWidget()
        self._another.setLayout(
            row(None, Text(theme, "Another folder?", "body", "text3"), self._browse, None)
        )
        cards = QWidget()
        cards.setMaximumWidth(_CARDS_W)
        inner = row(gap=16)
        inner.addWidget(self.mine, 1)
        inner.addWidget(self.install, 1)
        inner.addWidget(self.demo, 1)
        cards.setLayout(inner)
        centre = Qt.AlignmentFlag.AlignHCenter
        middle = column(None)
        middle.addWidget(self.title, alignment=centre)
        middle.addSpacing(8)
        middle.addWidget(about, alignment=centre)
        middle.addSpacing(24)
        middle.addLayout(self._steps(theme))
        middle.addSpacing(32)
        middle.addLayout(row(24, cards, 24))
        middle.addSpacing(20)
        middle.addWidget(self._another)
        middle.addWidget(self._problem)
        middle.addStretch(1)
        layout = column(bar)
        layout.addLayout(middle, 1)
        self.setLayout(layout)

    @late
    def show_found(self, found: Found | None) -> None:
        """The ComfyUI that was found on this computer, if one was."""
        self._found = found if found is not None and not found.problem else None
        first = self._found is not None
        self.mine.pill.setVisible(first)
        self.mine.set_first(first=first)
        self.demo.set_first(first=not first)
        if self._found is None:
            self.mine.show_text(
                "Choose the folder that holds ComfyUI's main.py. Its files, models and nodes "
                "stay where they are."
            )
            self.mine.show_points(
                ["ComfyUI 0.3.64 or newer", "Started when it is needed", "Nothing in it is changed"]
            )
            self.mine.button.set_label("Choose a folder…")
        else:
            self.mine.show_text("We found one and will leave its files, models and nodes where they are.")
            self.mine.show_points(_points(self._found))
            self.mine.button.set_label("Use this folder")
        self._another.setVisible(first)
        self.show_problem(found.problem if found is not None else "")

    def show_problem(self, text: str) -> None:
        self._problem.setText(text)
        self._problem.setVisible(bool(text))

    def resizeEvent(self, event: QResizeEvent) -> None:
        for choice in (self.mine, self.install, self.demo):
            choice.set_short(short=self.window().height() < SHORT_BELOW_H)

    def _steps(self, theme: Theme) -> QHBoxLayout:
        line = row(None, gap=10)
        for number, name in enumerate(_STEPS, 1):
            circle = StepCircle(theme, number)
            circle.set_state("now" if number == 1 else "ahead")
            line.addWidget(circle)
            line.addWidget(Text(theme, name, "row", "text" if number == 1 else "text3"))
            if number < len(_STEPS):
                rule = frame("hairline")
                rule.setFixedWidth(48)
                line.addWidget(rule)
        line.addStretch(1)
        return line

    def _take_mine(self) -> None:
        if self._found is None:
            self._choose()
        else:
            self.folder_chosen.emit(self._found.folder)

    def _choose(self) -> None:
        self._scope.start(self._ask(), "choose-comfyui")

    async def _ask(self) -> None:
        path = await choose_path(self, "ComfyUI folder", QFileDialog.FileMode.Directory)
        if path is not None:
            self.folder_chosen.emit(path)


def _points(found: Found) -> list[str]:
    home = Path.home()
    shown = f"~/{found.folder.relative_to(home)}" if found.folder.is_relative_to(home) else str(found.folder)
    models = "" if found.models_bytes is None else f", {size(found.models_bytes)} of models"
    nodes = "1 custom node" if found.custom_nodes == 1 else f"{found.custom_nodes} custom nodes"
    return [
        f"{shown} · version {found.version}" if found.version else shown,
        f"{nodes}{models}",
        f"Python: {found.python}" if found.python else "Started when it is needed",
    ]
