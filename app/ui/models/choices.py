"""What can be done with files: their menu, and the questions before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QMenu

from ..theme import Theme
from ..widgets.menus import menu
from .questions import Paths, Questions
from .shown import Choice, ModelRow
from .words import choice_text

if TYPE_CHECKING:
    from .pane import FilesPane

#: They are about one file.
_ONE_ONLY = (Choice.REVEAL, Choice.COPY_SHA256, Choice.COPY_PATH)
_GROUPS = (
    (
        Choice.UPLOAD,
        Choice.DOWNLOAD,
        Choice.OVERWRITE,
        Choice.OVERWRITE_LOCAL,
        Choice.KEEP_BOTH,
        Choice.RETRY,
    ),
    (Choice.IGNORE, Choice.VERIFY),
    (Choice.REVEAL, Choice.COPY_PATH, Choice.COPY_SHA256),
    (Choice.DELETE,),
)
_Item = tuple[str, Callable[[], object], bool]
_LINE: _Item = ("", lambda: None, True)


class Choices:
    """Asks what must be asked, then lets the pane say what is wanted."""

    def __init__(self, theme: Theme, pane: FilesPane) -> None:
        self._pane = pane
        self.questions = Questions(theme, pane)

    def of(self, rows: Sequence[ModelRow]) -> list[Choice]:
        """The choices that all of these files have, in the first one's order."""
        if not rows:
            return []
        common = set[Choice].intersection(*(set(row.choices) for row in rows))
        return [
            each for each in rows[0].choices if each in common and (len(rows) == 1 or each not in _ONE_ONLY)
        ]

    def menu(self, rows: Sequence[ModelRow]) -> QMenu:
        """All that can be done with these files; it deletes itself when it is closed."""
        able, items = self.of(rows), list[_Item]()
        can_tick = [row for row in rows if row.ticked is not None]
        if can_tick:
            wanted = not all(row.ticked for row in can_tick)
            paths = [row.path for row in can_tick]
            text = "Take into the sync\tSpace" if wanted else "Leave out of the sync\tSpace"
            items.append((text, lambda: self._pane.ticked.emit(paths, wanted), True))
        for group in _GROUPS:
            found: list[_Item] = [
                (
                    choice_text(choice, is_newer=all(row.is_newer for row in rows)),
                    lambda choice=choice: self.want(choice, rows),  # type: ignore[misc]
                    True,
                )
                for choice in group
                if choice in able
            ]
            items += [*([_LINE] if items and found else []), *found]
        return menu(self._pane, items)

    def want(self, choice: Choice, rows: Sequence[ModelRow]) -> None:
        """Ask where something would be lost, then say what is wanted."""
        if not rows:
            return
        pane, paths = self._pane, [row.path for row in rows]

        def say(which: Choice) -> Callable[[Paths], None]:
            return lambda paths: pane.row_wanted.emit(which, paths)

        match choice:
            case Choice.OVERWRITE:
                self.questions.overwrite(rows, say(choice), say(Choice.KEEP_BOTH))
            case Choice.OVERWRITE_LOCAL:
                self.questions.overwrite_local(rows, say(choice), say(Choice.KEEP_BOTH))
            case Choice.DELETE:
                self.questions.delete(rows, pane.deletions_wanted.emit)
            case _:
                pane.row_wanted.emit(choice, paths)
