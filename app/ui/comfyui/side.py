"""The column beside the log, or below it: interception node, installation, custom nodes."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QBoxLayout, QWidget

from ..theme import Theme
from ..widgets.basics import Wrapped, column, frame, hairline, row
from ..widgets.small import PillLabel
from .installation import InstallationSection
from .packs import ROW_INSET, PackSection
from .parts import ActRow, Facts, title_row
from .shown import NodeFacts, NodeState

PADDING, _TOP = 16, 20
_ABOUT = "Sends ComfyUI's own Queue button to RunPod. You see previews and results in ComfyUI as usual."
_PILLS: Final[dict[NodeState, tuple[str, str, str]]] = {
    "active": ("Active", "green", "check"),
    "inactive": ("Not active", "grey", ""),
    "missing": ("Not installed", "amber", "triangle-alert"),
    "watched": ("Watched only", "grey", "eye"),
}


class NodeSection(QWidget):
    """The interception node. Signals: ``acted`` with the key of a button."""

    acted = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.pill, self._facts = PillLabel(theme), Facts(theme)
        self._acts = ActRow(theme)
        self._acts.acted.connect(self.acted)
        layout = column(gap=8)
        layout.addLayout(title_row(theme, "Interception node", self.pill))
        layout.addWidget(Wrapped(theme, _ABOUT, "caption", "text2"))
        layout.addWidget(self._facts)
        layout.addLayout(row(self._acts, None))
        self.setLayout(layout)
        self.show_node(NodeFacts("missing"))

    def show_node(self, node: NodeFacts) -> None:
        self.pill.set(*_PILLS[node.state])
        self._facts.show_lines(
            (("Routing", node.routing), ("Version", node.version), ("Last job", node.last_job))
        )
        self._acts.show_acts(node.acts)


class SideSections(QWidget):
    """The three sections, one below the other, or in two columns."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.node, self.installation = NodeSection(theme), InstallationSection(theme)
        self.packs = PackSection(theme)
        # Rows of the list are marked a little beyond its texts, so the texts of the rest stand in by as much.
        first = column(gap=PADDING, margins=(ROW_INSET, 0, ROW_INSET, 0))
        for part in (self.node, hairline(), self.installation):
            first.addWidget(part)
        first.addStretch(1)
        second = column(self.packs, None)
        across = row(hairline(), margins=(ROW_INSET, 0, ROW_INSET, 0))
        self._across, self._down = QWidget(), frame("divider")
        self._across.setLayout(across)
        self._outer = QBoxLayout(QBoxLayout.Direction.TopToBottom)
        self._outer.addLayout(first)
        self._outer.addWidget(self._across)
        self._outer.addWidget(self._down)
        self._outer.addLayout(second, 1)
        self.setLayout(self._outer)
        self.set_wide(wide=False)

    def set_wide(self, *, wide: bool) -> None:
        """In two columns."""
        direction, inset = QBoxLayout.Direction, PADDING - ROW_INSET
        self._outer.setDirection(direction.LeftToRight if wide else direction.TopToBottom)
        self._outer.setStretch(0, 1 if wide else 0)
        self._outer.setSpacing(inset if wide else PADDING)
        self._outer.setContentsMargins(inset, PADDING if wide else _TOP, inset, PADDING)
        self._across.setVisible(not wide)
        self._down.setVisible(wide)
