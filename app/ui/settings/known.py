"""The page's rows of what the account has: endpoint, volume, GPUs."""

from __future__ import annotations

from collections.abc import Callable

from ...account_watch import AccountStatus
from ...endpoint.account_model import counted
from ...endpoint.rates import is_managed
from ...settings import Settings
from ..tasks import TaskScope
from ..theme import Theme
from .account import AccountDoor
from .endpoints import EndpointRow
from .gpus import GpuRow
from .volumes import VolumeRow


class KnownRows:
    """Args:
    ask: has the account looked at once more.
    loaded: called when the volumes are known.
    """

    def __init__(
        self,
        theme: Theme,
        door: AccountDoor | None,
        scope: TaskScope,
        ask: Callable[[], None],
        loaded: Callable[[], None],
    ) -> None:
        self._door = door
        self.endpoint = EndpointRow(theme, ask)
        self.volume = VolumeRow(theme, door, scope, loaded)
        self.gpus = GpuRow(theme, door, scope)

    def show(self, status: AccountStatus, settings: Settings) -> str:
        """Show what is known; how the account stands, in a word or two."""
        key = settings.runpod_api_key
        can_ask = self._door is not None and bool(key) and is_managed(settings)
        reason = "Enter the API key first" if self._door is not None and not key else ""
        listed = status.endpoints.get(settings.runpod_endpoint_id or "") if can_ask else None
        endpoint = listed.endpoint if listed is not None else None
        self.endpoint.show_account(status, reason, can_ask=can_ask)
        self.volume.show_account(key, can_ask=can_ask)
        self.volume.show_choice(settings, endpoint)
        self.gpus.show_account(endpoint, reason, can_ask=can_ask)
        if not can_ask or status.problem or not status.checked_at:
            return ""
        return f"Connected · {counted(status.endpoints)}"
