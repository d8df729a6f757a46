"""The head of the ComfyUI page: its title, and the buttons that fit the state."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from ..theme import Theme
from ..theme.tokens import MARGIN, PAGE_HEAD_H
from ..widgets.basics import Text, row
from ..widgets.busy import BusyButton
from .shown import RunState

#: Key, text, kind and icon of each, from left to right.
_BUTTONS: Final = (
    ("route", "Restart with routing", "secondary", "waypoints"),
    ("restart", "Restart", "secondary", "rotate-ccw"),
    ("stop", "Stop", "secondary", "square"),
    ("folder", "Choose folder…", "secondary", "folder-open"),
    ("browse", "Open in browser", "primary", "external-link"),
    ("install", "Install ComfyUI…", "primary", "download"),
    ("start", "Start ComfyUI", "primary", "play"),
    ("again", "Start again", "primary", "rotate-ccw"),
)
_SHOWN: Final[dict[RunState, tuple[str, ...]]] = {
    "not_set_up": ("folder", "install"),
    "stopped": ("start",),
    "starting": ("stop",),
    "running": ("restart", "stop", "browse"),
    "stopping": ("stop",),
    "crashed": ("again",),
    "watched": ("route", "browse"),
}


class ComfyHead(QWidget):
    """Signals: ``pressed`` with the key of a button."""

    pressed = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.buttons: dict[str, BusyButton] = {}
        line = row(Text(theme, "ComfyUI", "title"), None, gap=12, margins=(MARGIN, 0, MARGIN, 0))
        for key, text, kind, icon in _BUTTONS:
            button = BusyButton(theme, text, kind, icon=icon)
            button.clicked.connect(lambda _=False, key=key: self.pressed.emit(key))
            self.buttons[key] = button
            line.addWidget(button)
        self.setLayout(line)
        self.setMinimumHeight(PAGE_HEAD_H)
        self.show_state("stopped", installing=False)

    def show_state(self, state: RunState, *, installing: bool) -> None:
        """``installing``: the card of it is open, so no button has to open it."""
        for key, button in self.buttons.items():
            button.setVisible(key in _SHOWN[state] and not (installing and key == "install"))
        stopping = state == "stopping"
        self.buttons["stop"].set_busy(busy=stopping, why="ComfyUI is stopping." if stopping else "")

    @property
    def moves(self) -> bool:
        return self.buttons["stop"].is_busy

    def tick(self) -> None:
        self.buttons["stop"].tick()
