"""The row where one of the account's endpoints is chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ...account_watch import AccountStatus
from ..theme import Theme
from .listed import ListedEditor
from .rows import SettingRow

_NAME = "Serverless endpoint"


class EndpointRow(SettingRow):
    """Args: ``ask`` has the account looked at once more."""

    def __init__(self, theme: Theme, ask: Callable[[], None]) -> None:
        self.editor = ListedEditor(theme, _NAME, "endpoint", icon="cloud", role="violet", width=264)
        super().__init__(theme, _NAME, "Where jobs on RunPod run.", self.editor)
        self._ask = ask
        self.editor.refresh.clicked.connect(self._refresh)

    def show_account(self, status: AccountStatus, reason: str, *, can_ask: bool) -> None:
        """Show what is known of the account; ``reason`` says what is missing to know it."""
        self.editor.refresh.setEnabled(can_ask)
        self.show_note(f"{status.problem} {status.hint}".strip() if can_ask else "")
        if not can_ask:
            self.editor.show_listed(None, reason, plain=not reason)
        elif status.checked_at:
            self.editor.show_listed(_choices(status))
        elif status.problem:
            self.editor.show_listed(None, plain=True)
        else:
            self.editor.show_listed(None, "Asking RunPod…")

    def _refresh(self) -> None:
        # Until the answer is here.
        self.editor.refresh.setEnabled(False)
        self._ask()


def _choices(status: AccountStatus) -> list[tuple[str, str]]:
    """Each by its name, and by its id where that is not enough."""
    names = Counter(listed.endpoint.name for listed in status.endpoints.values())
    return [
        (key, name if (name := listed.endpoint.name) and names[name] == 1 else key)
        for key, listed in status.endpoints.items()
    ]
