"""The row where one of the account's endpoints is chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import ComfyRunPodError
from ..tasks import TaskScope
from ..theme import Theme
from ..widgets.basics import Button, row
from ..widgets.fields import Choice
from .account import AccountDoor, sentence
from .editors import Editor, TextField
from .rows import SettingRow

if TYPE_CHECKING:
    from ...endpoint.account_model import Endpoint

_NAME = "Serverless endpoint"


class EndpointEditor(Editor):
    """The account's endpoints by their names; a field for an id while the list cannot be had."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._value, self._fixed, self._reason = "", "", ""
        self._endpoints: tuple[Endpoint, ...] | None = None
        self.choice = Choice(theme, _NAME, 264, icon="cloud", role="violet")
        self.plain = TextField(theme, "Id of the serverless endpoint", width=264, prompt="The endpoint's id")
        self.refresh = Button(theme, "", "icon", icon="refresh-cw", tip="Ask for the endpoints again")
        self.choice.chosen.connect(self.entered.emit)
        self.plain.entered.connect(self.entered.emit)
        self.plain.hide()
        self.setLayout(row(self.choice, self.plain, self.refresh))

    def show_value(self, value: Any, *, fixed: str = "") -> None:
        self._value, self._fixed = value or "", fixed
        self.plain.show_value(value, fixed=fixed)
        self._update()

    def mark_wrong(self, *, wrong: bool) -> None:
        self.plain.mark_wrong(wrong=wrong)

    def show_endpoints(
        self, endpoints: tuple[Endpoint, ...] | None, reason: str = "", *, plain: bool
    ) -> None:
        """Offer these; without any ``reason`` says why, and ``plain`` whether an id can be typed instead."""
        self._endpoints, self._reason = endpoints, reason
        self.choice.setVisible(not plain)
        self.plain.setVisible(plain)
        self._update()

    def _update(self) -> None:
        found = self._endpoints or ()
        names = Counter(each.name for each in found)
        choices = [(each.id, each.name if names[each.name] == 1 and each.name else each.id) for each in found]
        if self._value and self._value not in dict(choices):
            missing = self._endpoints is not None
            choices.append((self._value, f"{self._value} (not found)" if missing else self._value))
        self.choice.show_choices(choices, self._value)
        self.choice.setPlaceholderText(self._reason or ("Choose an endpoint" if found else "No endpoint yet"))
        self.choice.setEnabled(bool(choices) and not self._fixed and not self._reason)
        self.choice.setToolTip(self._fixed or self._reason)


class EndpointRow(SettingRow):
    """Args:
    loaded: called with the endpoints when RunPod has told them.
    """

    def __init__(
        self,
        theme: Theme,
        door: AccountDoor | None,
        scope: TaskScope,
        loaded: Callable[[tuple[Endpoint, ...]], None],
    ) -> None:
        self.editor = EndpointEditor(theme)
        super().__init__(theme, _NAME, "Where jobs on RunPod run.", self.editor)
        self._door, self._scope, self._loaded = door, scope, loaded
        self._asked = 0
        self.editor.refresh.clicked.connect(lambda: scope.start(self.load(), "endpoints"))
        self.show_unknown(has_key=False)

    def show_unknown(self, *, has_key: bool) -> None:
        """Nobody has asked RunPod yet, or nobody can."""
        self._asked += 1
        self.show_note("")
        can_ask = self._door is not None and has_key
        self.editor.refresh.setEnabled(can_ask)
        self.editor.show_endpoints(
            None, "" if self._door is None else "Enter the API key first", plain=self._door is None
        )

    def show_endpoints(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._asked += 1
        self.show_note("")
        self.editor.refresh.setEnabled(True)
        self.editor.show_endpoints(endpoints, plain=False)

    async def load(self) -> None:
        """Ask RunPod. What comes after somebody asked again, or the key has changed, is not news."""
        if self._door is None:
            return
        self._asked += 1
        mine = self._asked
        self.editor.refresh.setEnabled(False)
        try:
            found = await self._door.endpoints()
        except ComfyRunPodError as error:
            if mine == self._asked:
                self.editor.show_endpoints(None, plain=True)
                self.show_note(sentence(error))
                self.editor.refresh.setEnabled(True)
            return
        if mine == self._asked:
            self.show_endpoints(found)
            self._loaded(found)
