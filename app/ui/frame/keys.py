"""All shortcuts in one table, and the sheet that shows them."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QGridLayout, QWidget

from ..theme import Theme
from ..widgets.basics import KeyCap, Text, row
from ..widgets.floating import Popover

#: Keys and what they do, as the sheet shows them. Those of the list work when it has the focus.
KEYS: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("Everywhere", ("Ctrl+O", "Ctrl+V"), "Open or paste a workflow"),
    ("Everywhere", ("Ctrl+Shift+O",), "Recent and kept workflows"),
    (
        "Everywhere",
        ("Ctrl+1", "Ctrl+3", "Ctrl+4", "Ctrl+5", "Ctrl+,"),
        "Queue, Models, Image, ComfyUI, Settings",
    ),
    ("Everywhere", ("Ctrl+Shift+R",), "ComfyUI's Queue button: Local or RunPod"),
    ("Everywhere", ("Ctrl+T",), "Where workflows run"),
    ("Everywhere", ("Ctrl+F",), "Search on this page"),
    ("Everywhere", ("F5",), "Look again: ComfyUI, the endpoint, models, Docker"),
    ("Everywhere", ("F6", "Shift+F6"), "Next, previous region"),
    ("Everywhere", ("Esc",), "Close or clear what is open"),
    ("Everywhere", ("F1",), "This sheet"),
    ("Everywhere", ("Ctrl+Q",), "Quit"),
    ("In the list of jobs", ("Return", "Space"), "Details, full size"),
    ("In the list of jobs", ("Delete",), "Cancel or remove"),
    ("In the list of jobs", ("R", "Shift+R"), "Run again, on the other target"),
    ("In the list of jobs", ("E",), "Change values and run anew"),
    ("In the list of jobs", ("Ctrl+C", "Ctrl+Shift+C"), "Copy diagnostics, parameters"),
    ("In the list of jobs", ("Ctrl+A",), "Select all"),
    ("On Models", ("Ctrl+S",), "Sync Models"),
    ("On Models", ("Space",), "Take into the sync, or leave out"),
    ("On Models", ("Left", "Right"), "Fold, open a folder"),
    ("On Image", ("Ctrl+B",), "Build, test, push and deploy"),
)


class KeySheet(Popover):
    """Every shortcut, by where it works."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, 520)
        self.setAccessibleName("Keyboard shortcuts")
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(6)
        line, group = 0, ""
        for where, keys, does in KEYS:
            if where != group:
                group = where
                head = Text(theme, where, "caption_strong", "text2")
                head.setContentsMargins(0, 8 if line else 0, 0, 2)
                grid.addWidget(head, line, 0, 1, 2)
                line += 1
            caps = QWidget()
            caps.setLayout(row(*(KeyCap(theme, key) for key in keys), None, gap=6))
            grid.addWidget(Text(theme, does), line, 0)
            grid.addWidget(caps, line, 1)
            line += 1
        self.body.addWidget(box)

    def open_over(self, window: QWidget) -> None:
        self.setParent(window, self.windowFlags())
        self.adjustSize()
        self.move(window.mapToGlobal(window.rect().center()) - self.rect().center())
        self.show()
        self.setFocus(Qt.FocusReason.PopupFocusReason)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_F1, Qt.Key.Key_Escape):
            self.close()
