"""Menus that are made anew each time they open."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMenu, QWidget


def menu(parent: QWidget, items: Sequence[tuple[str, Callable[[], object], bool]]) -> QMenu:
    """A menu of texts, what they do, and whether that is possible; an empty text is a line between.

    It deletes itself when it is closed.
    """
    made = QMenu(parent)
    made.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    for text, act, possible in items:
        if not text:
            made.addSeparator()
            continue
        action = made.addAction(text)
        action.triggered.connect(lambda _=False, act=act: act())
        action.setEnabled(possible)
    return made
