"""A control where one of what the account has is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..theme import Theme
from ..widgets.basics import Button, row
from ..widgets.fields import Choice
from .editors import Editor, TextField

#: Stands for "none of these" in the list; no id is empty.
_OTHER = ""


class ListedEditor(Editor):
    """A list to choose from; a field for an id while the list cannot be had.

    Args:
        name: what is chosen, as "Serverless endpoint".
        kind: one of them, as "endpoint".
        typed: whether an id may be typed too that the list does not have.
    """

    def __init__(
        self, theme: Theme, name: str, kind: str, *, icon: str, role: str, width: int, typed: bool = False
    ) -> None:
        super().__init__()
        self._kind, self._typed = kind, typed
        self._value, self._fixed, self._reason = "", "", ""
        self._choices: Sequence[tuple[str, str]] | None = None
        self._plain, self._typing = False, False
        self._shown: tuple[list[tuple[str, str]], str] | None = None
        self.choice = Choice(theme, name, width, icon=icon, role=role)
        self.plain = TextField(theme, f"Id of the {name.lower()}", width=width, prompt=f"The {kind}'s id")
        self.refresh = Button(theme, "", "icon", icon="refresh-cw", tip=f"Ask for the {kind}s again")
        self.choice.chosen.connect(self._chosen)
        self.plain.entered.connect(self.entered)
        self.refresh.clicked.connect(self._end_typing)
        self.setLayout(row(self.choice, self.plain, self.refresh))
        self._update()

    def show_value(self, value: Any, *, fixed: str = "") -> None:
        self._value, self._fixed, self._typing = value or "", fixed, False
        self.plain.show_value(value, fixed=fixed)
        self._update()

    def mark_wrong(self, *, wrong: bool) -> None:
        self.plain.mark_wrong(wrong=wrong)

    def is_typed_in(self) -> bool:
        return self._typing or self.plain.is_typed_in()

    def show_listed(
        self, choices: Sequence[tuple[str, str]] | None, reason: str = "", *, plain: bool = False
    ) -> None:
        """Offer these, each by its id and its text; without any, ``reason`` says why.

        Args:
            plain: an id can be typed instead.
        """
        self._choices, self._reason, self._plain = choices, reason, plain
        self._update()

    def _chosen(self, key: str) -> None:
        if key != _OTHER:
            self.entered.emit(key)
            return
        self._typing = True
        self._update()
        self.plain.field.setFocus()
        self.plain.field.selectAll()

    def _end_typing(self) -> None:
        self._typing = False
        self._update()

    def _update(self) -> None:
        plain = self._plain or self._typing
        self.choice.setVisible(not plain)
        self.plain.setVisible(plain)
        choices = list(self._choices or ())
        if self._value and self._value not in dict(choices):
            missing = self._choices is not None
            choices.append((self._value, f"{self._value} (not found)" if missing else self._value))
        if self._typed:
            choices.append((_OTHER, "Another id"))
        # Filled anew, an open list would close under the pointer.
        if self._shown != (choices, self._value):
            self._shown = choices, self._value
            self.choice.show_choices(choices, self._value or "-")
        article = "an" if self._kind[0] in "aeiou" else "a"
        some = f"Choose {article} {self._kind}" if self._choices else f"No {self._kind} yet"
        self.choice.setPlaceholderText(self._reason or some)
        self.choice.setEnabled(bool(choices) and not self._fixed and not self._reason)
        self.choice.setToolTip(self._fixed or self._reason)
