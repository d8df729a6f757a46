"""What opens beside a custom node: where it comes from, what went wrong, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtWidgets import QWidget

from ..theme import Theme
from ..widgets.basics import Button, Text, Wrapped, row
from ..widgets.floating import Popover
from ..widgets.paint import TURNS
from ..widgets.small import PillLabel
from .parts import CopyButton, Facts, OutputText
from .shown import PackRow, PackState

_WIDTH, _ERROR_H = 352, 128
_PILLS: Final[dict[PackState, tuple[str, str, str]]] = {
    "loaded": ("Loaded", "green", "check"),
    "slow": ("Slow import", "amber", "clock"),
    "failed": ("Import failed", "red", "x"),
    "disabled": ("Disabled", "grey", "ban"),
    "busy": ("Changing", "blue", TURNS),
    "unknown": ("Not imported yet", "grey", ""),
}
_ACTIONS: Final[dict[str, tuple[str, str, str]]] = {
    "update": ("Update", "secondary", "refresh-cw"),
    "disable": ("Disable", "secondary", "ban"),
    "enable": ("Enable", "secondary", "check"),
    "remove": ("Remove…", "danger", "trash-2"),
}


def pack_popover(theme: Theme, pack: PackRow, act: Callable[[str], object]) -> Popover:
    """``act`` is called with the key of an action, after the popover has closed."""
    popover = Popover(theme, _WIDTH)
    head = row()
    head.addWidget(Wrapped(theme, pack.name, "section", longest=20), 1)
    head.addWidget(PillLabel(theme, *_PILLS[pack.state]))
    popover.body.addLayout(head)
    facts = Facts(theme)
    popover.body.addWidget(facts)
    lines = [("Repository", pack.repository), ("Commit", pack.commit), ("Version", pack.version)]
    took = pack.note if pack.state in ("loaded", "slow") else ""
    facts.show_lines([*lines, ("Import", took)], mono=("Commit",))
    buttons: list[QWidget] = []
    for key in pack.actions:
        text, kind, icon = _ACTIONS[key]
        button = Button(theme, text, kind, icon=icon, size="small")
        button.clicked.connect(popover.close)
        button.clicked.connect(lambda _=False, key=key: act(key))
        buttons.append(button)
    if pack.error:
        popover.body.addWidget(Text(theme, "Import error", "caption", "text3"))
        error = OutputText(theme, f"Import error of {pack.name}", pack.error, _ERROR_H)
        popover.body.addWidget(error)
        copy = CopyButton(theme, "Copy error")
        copy.clicked.connect(error.copy_all)
        buttons.append(copy)
    popover.body.addSpacing(2 if buttons else 0)
    for first in range(0, len(buttons), 2):
        line = row()
        for each in buttons[first : first + 2]:
            line.addWidget(each, 1)
        popover.body.addLayout(line)
    return popover
