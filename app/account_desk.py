"""The account as the Settings page meets it: keys are tested and kept, volumes and GPUs listed. Knows no Qt.

What talks to RunPod is imported when it is needed first: the window is there before it.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from .settings import Secret, Settings, from_environment
from .vault import API_KEY, NAMES, forget, with_keys, write

if TYPE_CHECKING:
    from .endpoint.account import AccountClient, KeyCheck
    from .endpoint.account_model import Volume
    from .endpoint.prices import GpuType

#: Somebody waits for the answer.
_PATIENCE_S, _ATTEMPTS = 10.0, 2


class AccountDesk:
    """Args:
    settings: the settings in force.
    use: puts a key in force at once, by the name of its setting; an empty one: there is none any more.
    """

    def __init__(self, settings: Callable[[], Settings], use: Callable[[str, Secret], None]) -> None:
        self._settings, self._use = settings, use
        self._only_here: set[str] = set()

    @property
    def only_here(self) -> frozenset[str]:
        """The keys in force that no keyring could take."""
        return frozenset(self._only_here)

    async def look(self) -> None:
        """Put the keys in force that only the keyring has. A locked one asks its user first."""
        missing = [name for name in NAMES if not getattr(self._settings(), name)]
        if not missing:
            return
        found = await asyncio.to_thread(with_keys, self._settings(), *missing)
        for name in missing:
            # One may have been entered meanwhile.
            if getattr(found, name) and not getattr(self._settings(), name):
                self._use(name, getattr(found, name))

    async def check(self, secret: Secret | None = None) -> KeyCheck:
        """Whether RunPod accepts a key, by default the one in force. Raises what is not the key's fault."""
        return await (await self._client(secret)).check_key()

    async def keep(self, name: str, secret: Secret) -> str:
        """Keep a key in the keyring and put it in force; the keyring's name.

        Raises:
            NoKeyring: the key is in force all the same, for as long as this process lives.
        """
        self._only_here.add(name)
        try:
            place = await asyncio.to_thread(write, name, secret)
            self._only_here.discard(name)
        finally:
            if name not in from_environment():
                self._use(name, secret)
        return place

    async def forget(self, name: str) -> bool:
        """Take a key out of the keyring and out of force; whether the keyring had it. Raises NoKeyring."""
        if name in self._only_here:
            self._only_here.discard(name)
            had = False
        else:
            had = await asyncio.to_thread(forget, name)
        if name not in from_environment():
            self._use(name, Secret(""))
        return had

    async def volumes(self) -> tuple[Volume, ...]:
        """The account's network volumes. Raises KeyRefused and what else went wrong."""
        return await (await self._client(None)).volumes()

    async def gpu_types(self) -> tuple[GpuType, ...]:
        """What there is to run on, what it costs and whether it is free. Raises as :meth:`volumes`."""
        return await (await self._client(None)).gpu_types(availability=True)

    async def _client(self, secret: Secret | None) -> AccountClient:
        module = await asyncio.to_thread(importlib.import_module, "app.endpoint.account")
        settings = self._settings()
        client: AccountClient = module.AccountClient(
            settings.runpod_api_url,
            secret or getattr(settings, API_KEY),
            timeout_s=_PATIENCE_S,
            attempts=_ATTEMPTS,
        )
        return client
