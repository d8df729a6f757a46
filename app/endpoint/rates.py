"""Prices of endpoints, asked for once in a while and kept. Nobody waits long for one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..errors import ComfyRunPodError
from ..settings import RUNPOD_JOB_API, RUNPOD_MANAGEMENT_API, Settings
from .prices import Rate, rate_of

if TYPE_CHECKING:
    from .account import AccountClient

log = logging.getLogger(__name__)

#: How long prices are believed, how long it is not asked again after a failure, and how long one waits.
_KEPT_S, _PAUSE_S, _LIMIT_S = 3600.0, 120.0, 8.0


def is_managed(settings: Settings) -> bool:
    """Whether the management API is that of the job API; not where only the latter is somebody else's."""
    return settings.runpod_base_url == RUNPOD_JOB_API or settings.runpod_api_url != RUNPOD_MANAGEMENT_API


class RateCard:
    """The prices of all endpoints of an account.

    Args:
        client: gives a client of the account, asked for only when prices are; None: there is no key.
    """

    def __init__(
        self,
        client: Callable[[], Awaitable[AccountClient | None]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._clock = clock
        self._known: dict[str, Rate] = {}
        self._asked_until = float("-inf")
        self._asking = asyncio.Lock()

    async def of(self, endpoint_id: str) -> Rate | None:
        """The price of an endpoint's workers; None when RunPod names none or does not answer."""
        async with self._asking:
            if self._clock() > self._asked_until:
                await self._ask()
        return self._known.get(endpoint_id)

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_LIMIT_S):
                client = await self._client()
                if client is None:
                    self._asked_until = self._clock() + _PAUSE_S
                    return
                endpoints, gpus = await asyncio.gather(client.endpoints(), client.gpu_types())
        except (ComfyRunPodError, TimeoutError) as error:
            # What was known stays: a price of yesterday is better than none.
            log.info("Prices cannot be had at the moment: %s", error)
            self._asked_until = self._clock() + _PAUSE_S
            return
        rates = {each.id: rate_of(each, gpus) for each in endpoints}
        self._known = {name: rate for name, rate in rates.items() if rate is not None}
        self._asked_until = self._clock() + _KEPT_S
